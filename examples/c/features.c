/* Features of a picture as JSON: the class token, and the mean of the patch tokens: features MODEL SIZE PICTURE.pnm */
#include "common.h"

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: features MODEL SIZE PICTURE.pnm\n");
        return 2;
    }
    mr_model *model;
    check(mr_model_open(argv[1], NULL, &model), NULL);
    mr_model_facts facts = {0};
    facts.size = sizeof facts;
    check(mr_model_about(model, &facts), model);
    fprintf(stderr, "%s on %s\n", facts.name, facts.runs_on);

    mr_extractor_options options = {0};
    options.size = sizeof options;
    options.threads = 2;
    options.height = options.width = (size_t)atol(argv[2]);
    mr_extractor *extractor;
    check(mr_extractor_open(model, &options, &extractor), model);

    mr_frame frame = read_picture(argv[3]);
    mr_feature_shape shape = {0};
    shape.size = sizeof shape;
    check(mr_extractor_run(extractor, &frame, NULL, &shape), extractor);
    size_t count = shape.tokens * shape.dim;
    float *cls = malloc(shape.dim * sizeof *cls), *patch = malloc(count * sizeof *patch);
    if (!cls || !patch) return 2;
    check(mr_extractor_copy(extractor, -1, cls, shape.dim, NULL), extractor);
    check(mr_extractor_copy(extractor, 0, patch, count, NULL), extractor);

    /* Nine digits are enough to read the same float again. */
    printf("{\"rows\": %zu, \"columns\": %zu, \"cls\": [", shape.rows, shape.columns);
    for (size_t i = 0; i < shape.dim; i++) printf("%s%.9g", i ? ", " : "", (double)cls[i]);
    printf("], \"mean\": [");
    for (size_t i = 0; i < shape.dim; i++) {
        double sum = 0.0;
        for (size_t k = 0; k < shape.tokens; k++) sum += patch[k * shape.dim + i];
        printf("%s%.9g", i ? ", " : "", sum / (double)shape.tokens);
    }
    puts("]}");

    free(cls);
    free(patch);
    free((void *)frame.pixels);
    check(mr_extractor_close(extractor), extractor);
    check(mr_model_close(model), model);
    return 0;
}
