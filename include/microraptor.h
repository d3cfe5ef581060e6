/* Microraptor for C and C++: frozen vision transformers and light heads on the machine beside the patient.
 *
 *     mr_model *model;      mr_head *head;      mr_pipeline *pipeline;
 *     mr_model_open("model.safetensors", NULL, &model);
 *     mr_head_open("head.safetensors", &head);
 *     mr_pipeline_open(model, &head, 1, NULL, &pipeline);
 *     mr_frame frame = {sizeof frame, MR_FORMAT_GREY8, width, height};
 *     frame.pixels = pixels;
 *     if (mr_pipeline_push(pipeline, &frame, NULL) != MR_STATUS_OK) puts(mr_message(pipeline));
 *     mr_answer answer = {sizeof answer};
 *     mr_pipeline_answer(pipeline, 0, &answer);
 *
 * Every function returns a status, and mr_message says why a call failed. Structures begin with their size, which the
 * caller sets; the other fields may be zero, and later versions add fields at the end. A handle is a number, not an address:
 * one that was closed, or of another kind, is an error.
 *
 * Threads: models and heads may be used by several threads at once, and closed while pipelines of them are in use. A
 * pipeline or an extractor is used by one thread at a time, not always the same (another one gets MR_STATUS_BUSY); only
 * its _cancel and _close may come from other threads at any time. Messages belong to the thread whose call failed. Nothing
 * here calls back, installs a signal handler or moves the caller's thread to other cores.
 */


#ifndef MICRORAPTOR_H
#define MICRORAPTOR_H

/* Made of src/ffi by cbindgen (tests/header.rs): do not edit. */

#include <stddef.h>
#include <stdint.h>

// Changes whenever a program that was built with the header must be built again: the first number of the library's soname.
#define MR_ABI 0

// What a call returns.
typedef enum {
    // Done.
    MR_STATUS_OK = 0,
    // A NULL, a size, a length or a value that the call does not take.
    MR_STATUS_ARGUMENT = 1,
    // The handle was closed, or never was one.
    MR_STATUS_CLOSED = 2,
    // Another thread uses the handle at this moment.
    MR_STATUS_BUSY = 3,
    // A file or a model cannot be read, or does not fit the others.
    MR_STATUS_MODEL = 4,
    // The frame is refused.
    MR_STATUS_FRAME = 5,
    // The caller's buffer is too small; the message says how long it must be.
    MR_STATUS_SMALL = 6,
    // Another thread cancelled the call.
    MR_STATUS_CANCELLED = 7,
    // The deadline passed before there was an answer.
    MR_STATUS_LATE = 8,
    // The run failed.
    MR_STATUS_RUN = 9,
    // A fault of the library, which is to be reported. The handle may be closed, but should not be used.
    MR_STATUS_FAULT = 10,
    // This machine computes something else than was validated, to the bit: the message says what.
    MR_STATUS_ATTEST = 11,
} mr_status;

// How pixels lie in memory. 16-bit samples are in the machine's byte order.
typedef enum {
    // One byte a pixel.
    MR_FORMAT_GREY8 = 1,
    // Two bytes a pixel.
    MR_FORMAT_GREY16 = 2,
    // Red, green, blue, a byte each.
    MR_FORMAT_RGB8 = 3,
    // Blue, green, red.
    MR_FORMAT_BGR8 = 4,
    // Red, green, blue and a byte that is ignored.
    MR_FORMAT_RGBA8 = 5,
    // Blue, green, red and a byte that is ignored.
    MR_FORMAT_BGRA8 = 6,
    // Red, green, blue, two bytes each.
    MR_FORMAT_RGB16 = 7,
    // A plane of luma, then one of Cb and Cr in turn at half the width and height.
    MR_FORMAT_NV12 = 8,
    // Luma, Cb, luma, Cr of two pixels, a byte each.
    MR_FORMAT_YUYV = 9,
} mr_format;

// The colours that luma and chroma stand for.
typedef enum {
    // BT.601: cameras and old video.
    MR_COLOUR_MATRIX_BT601 = 0,
    // BT.709: HD video.
    MR_COLOUR_MATRIX_BT709 = 1,
    // BT.2020.
    MR_COLOUR_MATRIX_BT2020 = 2,
} mr_colour_matrix;

// The values that luma and chroma take.
typedef enum {
    // Luma from 16 to 235, chroma from 16 to 240: video.
    MR_COLOUR_RANGE_LIMITED = 0,
    // All values: JPEG, most webcams.
    MR_COLOUR_RANGE_FULL = 1,
} mr_colour_range;

// A model that gives features.
typedef struct mr_extractor mr_extractor;

// A backbone.
typedef struct mr_model mr_model;

// A model with heads, its threads and its memory.
typedef struct mr_pipeline mr_pipeline;

// A head: what makes classes or masks of a backbone's features.
typedef struct mr_head mr_head;

// What an extractor runs, and on what.
typedef struct {
    // sizeof(mr_extractor_options).
    size_t size;
    // Number of threads, the caller's among them; 0 for one.
    size_t threads;
    // The cores of its own threads, such as "0-3"; NULL for any.
    const char *cores;
    // Height of the network's input, a multiple of the patch; 0 for 224, or the only height that the model takes.
    size_t height;
    // Its width; 0 as above.
    size_t width;
    // Blocks whose patch tokens are wanted too, from 0, ascending.
    const size_t *layers;
    // Their number.
    size_t layer_count;
} mr_extractor_options;

// A frame, which the caller keeps until the call returns: nobody changes the bytes from the first pixel to the last
// meanwhile. They are copied once.
typedef struct {
    // sizeof(mr_frame).
    size_t size;
    // One of mr_format.
    uint32_t format;
    // In pixels, at least 8; even for NV12 and YUYV.
    uint32_t width;
    // In pixels, at least 8; even for NV12.
    uint32_t height;
    // How many bits 16-bit samples use, from the lowest: 9 to 16, or 0 for 16.
    uint32_t bits;
    // The pixels, or luma.
    const void *pixels;
    // Bytes from one row to the next; 0 if nothing is between them.
    size_t stride;
    // The second plane of NV12, or NULL.
    const void *chroma;
    // Its stride; 0 if nothing is between its rows.
    size_t chroma_stride;
    // One of mr_colour_matrix, for NV12 and YUYV.
    uint32_t matrix;
    // One of mr_colour_range, for NV12 and YUYV.
    uint32_t range;
} mr_frame;

// Bounds of one call.
typedef struct {
    // sizeof(mr_limits).
    size_t size;
    // How long the call may take, in microseconds; 0 for any time. It is looked at between the blocks of the network and
    // before the answer is given.
    uint64_t deadline_us;
} mr_limits;

// Shapes of the features of the last frame. A token has `dim` floats.
typedef struct {
    // sizeof(mr_feature_shape).
    size_t size;
    // Width of a token.
    size_t dim;
    // Rows of patches; 0 if they are not known.
    size_t rows;
    // Columns of patches; 0 if they are not known.
    size_t columns;
    // Number of patch tokens.
    size_t tokens;
    // Number of layers beside the last.
    size_t layers;
} mr_feature_shape;

// How a model is opened. All zero is a good choice.
typedef struct {
    // sizeof(mr_model_options).
    size_t size;
    // The instruction set, as the program's --isa; NULL for the one that MICRORAPTOR_ISA names, or the fastest of this CPU.
    // The bits are the same for int8.
    const char *isa;
    // Not 0: do not compare what this machine computes with what the model's file stores (MR_STATUS_ATTEST if it is something
    // else).
    uint32_t no_attest;
} mr_model_options;

// Facts of a model. The texts last as long as the model is open.
typedef struct {
    // sizeof(mr_model_facts).
    size_t size;
    // Its name.
    const char *name;
    // SHA-256 of its file, in hexadecimal.
    const char *sha256;
    // What runs it.
    const char *runs_on;
    // Width of a token; 0 if it is not known before a run.
    size_t dim;
    // Number of blocks; 0 if it is not known.
    size_t blocks;
    // Side of a patch, of which both sides of an input are multiples; 0 if it is not known.
    size_t patch;
    // Height of the only input that the model takes; 0 if it takes others.
    size_t fixed_height;
    // Its width.
    size_t fixed_width;
} mr_model_facts;

// Facts of a head. The texts last as long as the head is open.
typedef struct {
    // sizeof(mr_head_facts).
    size_t size;
    // Its kind, such as linear or segment.
    const char *kind;
    // Number of classes; of a mask the first is the background.
    size_t classes;
    // Whether an image may have several classes or none.
    uint32_t multi_label;
    // Whether it answers with a mask.
    uint32_t mask;
    // Height of the network's input.
    size_t height;
    // Its width.
    size_t width;
} mr_head_facts;

// What a pipeline runs on. All zero is a good choice.
typedef struct {
    // sizeof(mr_pipeline_options).
    size_t size;
    // Number of threads, the caller's among them; 0 for one.
    size_t threads;
    // The cores of its own threads, such as "0-3" or "0,2"; NULL for any. The caller's thread stays where it is.
    const char *cores;
    // The most memory that it keeps of a clip or a volume, in bytes; 0 for 1 GiB.
    size_t limit;
    // Not 0: do not compare what this machine computes with what the heads' files store (MR_STATUS_ATTEST if it is something
    // else).
    uint32_t no_attest;
} mr_pipeline_options;

// What a head says of a frame or a clip. Pointers lead into the pipeline's memory.
typedef struct {
    // sizeof(mr_answer).
    size_t size;
    // The place of the head among those of the pipeline.
    size_t head;
    // Probability of each class, in their order; NULL for a mask.
    const double *probabilities;
    // Their number.
    size_t class_count;
    // The classes that are there: one, unless the head is multi-label.
    const size_t *classes;
    // Their number.
    size_t present;
    // The class of each pixel, row by row, frame by frame, without gaps; NULL for classes.
    const uint8_t *mask;
    // Number of frames of the mask.
    size_t mask_frames;
    // Height of the mask: that of the frame.
    size_t mask_height;
    // Width of the mask: that of the frame.
    size_t mask_width;
    // How unlike the training images it is: about 1 for those. 0 if the head does not know.
    double ood_score;
    // From where on it counts as outside.
    double ood_threshold;
    // Whether the head knows how unlike it is.
    uint32_t ood_known;
    // Whether it counts as outside.
    uint32_t ood_outside;
} mr_answer;

// Time that the stages have taken since they were last asked for, in microseconds.
typedef struct {
    // sizeof(mr_times).
    size_t size;
    // From the caller's memory to a picture.
    uint64_t convert_us;
    // From a picture to the network's input.
    uint64_t resize_us;
    // In the network.
    uint64_t backbone_us;
    // In the heads.
    uint64_t heads_us;
} mr_times;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The library's [`MR_ABI`]: that of the header should be the same.
uint32_t mr_abi(void);

// The library's version, such as 0.1.0.
const char *mr_version(void);

// Makes an extractor.
//
// `options` is NULL or points to options, `extractor` is NULL or a place for a handle.
mr_status mr_extractor_open(mr_model *model,
                            const mr_extractor_options *options,
                            mr_extractor **extractor);

// Computes the features of a frame, which mr_extractor_copy gives.
//
// `frame` is NULL or points to a frame whose pixels nobody changes during the call, `limits` is NULL or points to
// limits, `shape` is NULL or points to a shape whose size is set.
mr_status mr_extractor_run(mr_extractor *extractor,
                           const mr_frame *frame,
                           const mr_limits *limits,
                           mr_feature_shape *shape);

// Copies features of the last frame: `layer` is -1 for the class token (`dim` floats), 0 for the patch tokens
// (`tokens` x `dim`), and 1 on for those of the layers that were asked for, in their order. The first `count` floats are
// written; `capacity` says how many there is room for.
//
// `out` is NULL or points to `capacity` floats, which nobody else uses during the call; `count` is NULL or points to a
// number.
mr_status mr_extractor_copy(mr_extractor *extractor,
                            int32_t layer,
                            float *out,
                            size_t capacity,
                            size_t *count);

// Ends the call that runs on the extractor in another thread: it returns MR_STATUS_CANCELLED.
mr_status mr_extractor_cancel(mr_extractor *extractor);

// Closes an extractor; NULL is nothing.
mr_status mr_extractor_close(mr_extractor *extractor);

// Opens a model: a file that `microraptor convert` wrote, a checkpoint, or an ONNX file. "demo" is the built-in one; a
// file of that name is "./demo".
//
// `path` is NULL or a text that ends with a zero byte, `options` NULL or options, `model` NULL or a place for a handle.
mr_status mr_model_open(const char *path,
                        const mr_model_options *options,
                        mr_model **model);

// Opens a model from the bytes of a file that `microraptor convert` wrote. They are not needed afterwards.
//
// `bytes` is NULL or points to `length` bytes; the rest as [`mr_model_open`].
mr_status mr_model_open_memory(const void *bytes,
                               size_t length,
                               const mr_model_options *options,
                               mr_model **model);

// Writes the facts of a model.
//
// `facts` is NULL or points to facts whose size is set.
mr_status mr_model_about(mr_model *model, mr_model_facts *facts);

// Closes a model; NULL is nothing. What was made of it stays as it is.
mr_status mr_model_close(mr_model *model);

// Opens a head: a file that `microraptor train` wrote, or an ONNX file with its description beside it.
//
// `path` is NULL or a text that ends with a zero byte, `head` NULL or a place for a handle.
mr_status mr_head_open(const char *path,
                       mr_head **head);

// Opens a head from the bytes of a file that `microraptor train` wrote. They are not needed afterwards.
//
// `bytes` is NULL or points to `length` bytes, `head` NULL or a place for a handle.
mr_status mr_head_open_memory(const void *bytes,
                              size_t length,
                              mr_head **head);

// Writes the facts of a head.
//
// `facts` is NULL or points to facts whose size is set.
mr_status mr_head_about(mr_head *head, mr_head_facts *facts);

// Writes the name of a class. It lasts as long as the head is open.
//
// `name` is NULL or a place for a pointer.
mr_status mr_head_class(mr_head *head, size_t index, const char **name);

// Closes a head; NULL is nothing. What was made of it stays as it is.
mr_status mr_head_close(mr_head *head);

// Puts heads on a model.
//
// `heads` is NULL or points to `count` handles, `options` NULL or options, `pipeline` NULL or a place for a handle.
mr_status mr_pipeline_open(mr_model *model,
                           mr_head *const *heads,
                           size_t count,
                           const mr_pipeline_options *options,
                           mr_pipeline **pipeline);

// Selects the heads that answer, by their places, from the next frame on; the current clip is forgotten.
//
// `heads` is NULL or points to `count` places.
mr_status mr_pipeline_select(mr_pipeline *pipeline,
                             const size_t *heads,
                             size_t count);

// Begins a clip, a volume or a picture that stands for itself, whose frames have this size, and forgets the one before.
// `name` is used in messages; NULL for none.
//
// `name` is NULL or a text that ends with a zero byte.
mr_status mr_pipeline_begin(mr_pipeline *pipeline,
                            const char *name,
                            size_t height,
                            size_t width);

// Answers the next frame, alone. Heads that need all frames of a clip answer in mr_pipeline_finish. After a failure, the
// frames since mr_pipeline_begin or mr_pipeline_finish are forgotten (not after MR_STATUS_ARGUMENT, _CLOSED and _BUSY).
//
// `frame` is NULL or points to a frame whose pixels nobody changes during the call, `limits` NULL or limits.
mr_status mr_pipeline_push(mr_pipeline *pipeline,
                           const mr_frame *frame,
                           const mr_limits *limits);

// Takes the next frames of a clip or a volume, some of which run beside each other on the pipeline's threads; the answers
// are those of mr_pipeline_finish. All frames say the same size of the structure. Failures are as in mr_pipeline_push.
//
// `frames` is NULL or points to `count` frames whose pixels nobody changes during the call, `limits` NULL or limits.
mr_status mr_pipeline_extend(mr_pipeline *pipeline,
                             const mr_frame *frames,
                             size_t count,
                             const mr_limits *limits);

// Answers for all frames since the last call, and forgets them. Without a frame there are no answers.
//
// `limits` is NULL or points to limits.
mr_status mr_pipeline_finish(mr_pipeline *pipeline,
                             const mr_limits *limits);

// Writes the number of answers of the last call.
//
// `count` is NULL or points to a number.
mr_status mr_pipeline_answers(mr_pipeline *pipeline, size_t *count);

// Writes an answer of the last call. What it points to lasts until the next call on the pipeline that is not one of
// mr_pipeline_answers, _answer, _mask, _json, _times and _cancel: until mr_pipeline_close, too, in whichever thread.
//
// `answer` is NULL or points to an answer whose size is set.
mr_status mr_pipeline_answer(mr_pipeline *pipeline,
                             size_t index,
                             mr_answer *answer);

// Copies a mask into the caller's memory: the class of each pixel, a byte each, with `stride` bytes from row to row (0:
// nothing between them). `frame` is 0 unless the answer is for several.
//
// `out` is NULL or points to `length` bytes, which nobody else uses during the call.
mr_status mr_pipeline_mask(mr_pipeline *pipeline,
                           size_t index,
                           size_t frame,
                           uint8_t *out,
                           size_t stride,
                           size_t length);

// Writes the answers of the last call as JSON, with a zero byte behind, and its length without. Where the memory is too
// small, only the length is written, and the status says so.
//
// `out` is NULL or points to `capacity` bytes, which nobody else uses during the call; `length` is NULL or points to a
// number.
mr_status mr_pipeline_json(mr_pipeline *pipeline,
                           char *out,
                           size_t capacity,
                           size_t *length);

// Writes the time that each stage has taken since the last call of this function.
//
// `times` is NULL or points to times whose size is set.
mr_status mr_pipeline_times(mr_pipeline *pipeline, mr_times *times);

// Ends the call that runs on the pipeline in another thread: it returns MR_STATUS_CANCELLED. Without one, nothing happens.
mr_status mr_pipeline_cancel(mr_pipeline *pipeline);

// Closes a pipeline; NULL is nothing. A call that runs on it in another thread ends as usual.
mr_status mr_pipeline_close(mr_pipeline *pipeline);

// What is said of a call that failed on this thread: of the last one, or with a handle of the last one on it. One line
// of UTF-8, or an empty one; it lasts until the next call that fails on this thread.
const char *mr_message(const void *handle);

// A short name of a status, such as `late`; of other numbers `unknown`.
const char *mr_status_name(uint32_t status);

// From now on refuses models and heads without a signature that counts: docs/trust.md says what `keys` may be. `seen` is
// the file that keeps the highest version seen of each; NULL for one beside `keys`. The trust file is read again whenever
// something is opened. The built-in model needs no signature; what is opened from memory has none, and is refused.
// There is no way back: another call names other files.
//
// `keys` is NULL or a text that ends with a zero byte, and so is `seen`.
mr_status mr_trust(const char *keys,
                   const char *seen);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* MICRORAPTOR_H */
