/* Frames as from a camera, each with a deadline: camera MODEL HEAD DEADLINE_MS FRAMES PICTURE.pnm
 *
 * The picture stands for the camera's buffer. A late frame is dropped, and counted. */
#include "common.h"

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: camera MODEL HEAD DEADLINE_MS FRAMES PICTURE.pnm\n");
        return 2;
    }
    mr_model *model;
    mr_head *head;
    check(mr_model_open(argv[1], NULL, &model), NULL);
    check(mr_head_open(argv[2], &head), NULL);
    mr_pipeline_options options = {0};
    options.size = sizeof options;
    options.threads = 2;
    mr_pipeline *pipeline;
    check(mr_pipeline_open(model, &head, 1, &options, &pipeline), model);

    mr_frame frame = read_picture(argv[5]);
    mr_limits limits = {0};
    limits.size = sizeof limits;
    limits.deadline_us = (uint64_t)(atof(argv[3]) * 1000.0);
    long answered = 0, late = 0;
    for (long i = 0, frames = atol(argv[4]); i < frames; i++) {
        mr_status status = mr_pipeline_push(pipeline, &frame, &limits);
        if (status == MR_STATUS_LATE) {
            late++;
            continue;
        }
        check(status, pipeline);
        answered++;
        mr_answer answer = {0};
        answer.size = sizeof answer;
        check(mr_pipeline_answer(pipeline, 0, &answer), pipeline);
    }
    mr_times times = {0};
    times.size = sizeof times;
    check(mr_pipeline_times(pipeline, &times), pipeline);
    printf("{\"answered\": %ld, \"late\": %ld}\n", answered, late);
    if (answered > 0) {
        double n = (double)answered;
        fprintf(stderr, "us a frame: copy %.0f, resize %.0f, backbone %.0f, heads %.0f\n", (double)times.convert_us / n,
                (double)times.resize_us / n, (double)times.backbone_us / n, (double)times.heads_us / n);
    }

    free((void *)frame.pixels);
    check(mr_pipeline_close(pipeline), pipeline);
    check(mr_head_close(head), head);
    check(mr_model_close(model), model);
    return 0;
}
