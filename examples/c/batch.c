/* Several pictures of one size as a clip, answered as a whole: batch MODEL HEAD PICTURE.pnm... */
#include "common.h"

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: batch MODEL HEAD PICTURE.pnm...\n");
        return 2;
    }
    size_t count = (size_t)argc - 3;
    mr_model *model;
    mr_head *head;
    check(mr_model_open(argv[1], NULL, &model), NULL);
    check(mr_head_open(argv[2], &head), NULL);
    mr_pipeline_options options = {0};
    options.size = sizeof options;
    options.threads = 2;
    mr_pipeline *pipeline;
    check(mr_pipeline_open(model, &head, 1, &options, &pipeline), model);

    mr_frame *frames = malloc(count * sizeof *frames);
    if (!frames) return 2;
    for (size_t i = 0; i < count; i++) frames[i] = read_picture(argv[3 + i]);
    check(mr_pipeline_extend(pipeline, frames, count, NULL), pipeline);
    check(mr_pipeline_finish(pipeline, NULL), pipeline);
    print_json(pipeline);

    for (size_t i = 0; i < count; i++) free((void *)frames[i].pixels);
    free(frames);
    check(mr_pipeline_close(pipeline), pipeline);
    check(mr_head_close(head), head);
    check(mr_model_close(model), model);
    return 0;
}
