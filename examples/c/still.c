/* A still picture, and any number of heads: still MODEL PICTURE.pnm HEAD... */
#include "common.h"

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: still MODEL PICTURE.pnm HEAD...\n");
        return 2;
    }
    size_t count = (size_t)argc - 3;
    mr_model *model;
    check(mr_model_open(argv[1], NULL, &model), NULL);
    mr_head **heads = malloc(count * sizeof *heads);
    if (!heads) return 2;
    for (size_t i = 0; i < count; i++) check(mr_head_open(argv[3 + i], &heads[i]), NULL);

    mr_pipeline_options options = {0};
    options.size = sizeof options;
    options.threads = 2;
    mr_pipeline *pipeline;
    check(mr_pipeline_open(model, heads, count, &options, &pipeline), model);

    mr_frame frame = read_picture(argv[2]);
    check(mr_pipeline_push(pipeline, &frame, NULL), pipeline);
    print_json(pipeline);

    /* The same answers as structures. */
    size_t answers;
    check(mr_pipeline_answers(pipeline, &answers), pipeline);
    for (size_t i = 0; i < answers; i++) {
        mr_answer answer = {0};
        answer.size = sizeof answer;
        check(mr_pipeline_answer(pipeline, i, &answer), pipeline);
        if (answer.mask) {
            /* A mask, into memory of ours: here with a row of zeros between two rows. */
            size_t stride = 2 * answer.mask_width, length = stride * answer.mask_height;
            unsigned char *mask = calloc(length, 1);
            if (!mask) return 2;
            check(mr_pipeline_mask(pipeline, i, 0, mask, stride, length), pipeline);
            size_t pixels = 0;
            for (size_t k = 0; k < length; k++) pixels += mask[k] != 0;
            fprintf(stderr, "head %zu: %zu pixels are not background\n", answer.head, pixels);
            free(mask);
        } else {
            for (size_t k = 0; k < answer.class_count; k++) {
                const char *name;
                check(mr_head_class(heads[answer.head], k, &name), heads[answer.head]);
                fprintf(stderr, "head %zu: %s %.4f\n", answer.head, name, answer.probabilities[k]);
            }
        }
    }

    free((void *)frame.pixels);
    check(mr_pipeline_close(pipeline), pipeline);
    for (size_t i = 0; i < count; i++) check(mr_head_close(heads[i]), heads[i]);
    check(mr_model_close(model), model);
    free(heads);
    return 0;
}
