/* Counts what a pipeline allocates for each frame after the first few: allocations MODEL HEAD PICTURE.pnm
 *
 * glibc lets a program put its own malloc before the library's. */
#include "../../examples/c/common.h"

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static long count;

void *malloc(size_t length)
{
    __atomic_fetch_add(&count, 1, __ATOMIC_RELAXED);
    return __libc_malloc(length);
}
void *calloc(size_t number, size_t length)
{
    __atomic_fetch_add(&count, 1, __ATOMIC_RELAXED);
    return __libc_calloc(number, length);
}
void *realloc(void *old, size_t length)
{
    __atomic_fetch_add(&count, 1, __ATOMIC_RELAXED);
    return __libc_realloc(old, length);
}
int posix_memalign(void **out, size_t alignment, size_t length)
{
    __atomic_fetch_add(&count, 1, __ATOMIC_RELAXED);
    *out = __libc_memalign(alignment, length);
    return *out ? 0 : 12;
}
void *aligned_alloc(size_t alignment, size_t length)
{
    __atomic_fetch_add(&count, 1, __ATOMIC_RELAXED);
    return __libc_memalign(alignment, length);
}

int main(int argc, char **argv)
{
    if (argc != 4) return 2;
    mr_model *model;
    mr_head *head;
    mr_pipeline *pipeline;
    mr_extractor *extractor;
    check(mr_model_open(argv[1], NULL, &model), NULL);
    check(mr_head_open(argv[2], &head), NULL);
    check(mr_pipeline_open(model, &head, 1, NULL, &pipeline), model);
    check(mr_extractor_open(model, NULL, &extractor), model);
    mr_frame frame = read_picture(argv[3]);
    mr_answer answer = {0};
    answer.size = sizeof answer;
    float token[4096];
    for (int i = 0; i < 8; i++) {
        long before = count;
        check(mr_pipeline_push(pipeline, &frame, NULL), pipeline);
        check(mr_pipeline_answer(pipeline, 0, &answer), pipeline);
        long after = count;
        check(mr_extractor_run(extractor, &frame, NULL, NULL), extractor);
        check(mr_extractor_copy(extractor, -1, token, 4096, NULL), extractor);
        printf("frame %d: pipeline %ld, extractor %ld\n", i, after - before, count - after);
        if (i == 7 && count != before) {
            fprintf(stderr, "error: the last frame allocated\n");
            return 1;
        }
    }
    return 0;
}
