// A camera of Linux that is played from files: preloaded into a program (LD_PRELOAD), it answers the calls of Video for
// Linux 2 on /dev/video9, as linux/videodev2.h and the kernel's documentation of it say. For tests on machines without a
// camera, and without the module v4l2loopback. That it is like a camera is what ffmpeg has to say (.ci/scripts).
//
//   cc -shared -fPIC -pthread -o shim.so v4l2_shim.c -ldl
//
//   V4L2_SHIM=YUYV:64x48     pixel format and size; optional words after it, separated by spaces:
//     stride=N colorspace=N quantization=N field=N (their numbers in videodev2.h), fps=N (30), files=DIR (0.bin, 1.bin...),
//     mplane (a multi-planar device), gap=N (the driver drops 2 frames before the Nth), error=N (the Nth is marked as
//     damaged), unplug=N (it goes away instead of giving the Nth, and comes back at the third attempt to open it)
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 8 };

static const char *const DEVICE = "/dev/video9";

static struct {
    int fd, buffers, streaming, refusals;
    unsigned next, sequence;
    void *memory[MOST];
    int queue[MOST], queued;
    pthread_t feeder;
    struct v4l2_pix_format format;
    unsigned fps, gap, error, unplug, mplane;
    char files[4096];
} camera = {.fd = -1, .fps = 30, .gap = -1, .error = -1, .unplug = -1};

static long (*real_syscall)(long, ...);
static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static void *(*real_mmap)(void *, size_t, int, int, int, off_t);

static unsigned number(const char *text, const char *name, unsigned otherwise) {
    const char *at = strstr(text, name);
    return at ? strtoul(at + strlen(name), NULL, 10) : otherwise;
}

// Before main, or earlier if the constructor of a library opens a file.
__attribute__((constructor)) static void prepare(void) {
    if (real_mmap) return;
    real_syscall = dlsym(RTLD_NEXT, "syscall");
    real_open = dlsym(RTLD_NEXT, "open");
    real_close = dlsym(RTLD_NEXT, "close");
    real_mmap = dlsym(RTLD_NEXT, "mmap");
    const char *text = getenv("V4L2_SHIM");
    unsigned width = 0, height = 0;
    char code[5] = "";
    if (!text || sscanf(text, "%4[^:]:%ux%u", code, &width, &height) != 3) return;
    struct v4l2_pix_format *format = &camera.format;
    format->width = width;
    format->height = height;
    format->pixelformat = v4l2_fourcc(code[0], code[1], code[2], code[3]);
    unsigned row = strcmp(code, "YUYV") == 0 ? 2 * width : strchr(code, '3') ? 3 * width : width;
    format->bytesperline = number(text, " stride=", row);
    format->sizeimage = 4 * (format->bytesperline + width) * height + 65536;
    format->colorspace = number(text, " colorspace=", V4L2_COLORSPACE_SRGB);
    format->quantization = number(text, " quantization=", 0);
    format->field = number(text, " field=", V4L2_FIELD_NONE);
    camera.fps = number(text, " fps=", camera.fps);
    camera.gap = number(text, " gap=", camera.gap);
    camera.error = number(text, " error=", camera.error);
    camera.unplug = number(text, " unplug=", camera.unplug);
    camera.mplane = strstr(text, " mplane") != NULL;
    const char *files = strstr(text, " files=");
    if (files) sscanf(files, " files=%4000s", camera.files);
}

static int fails(int error) {
    errno = error;
    return -1;
}

// A frame is there each time the interval is over.
static void *feed(void *unused) {
    (void)unused;
    struct timespec interval = {camera.fps == 1, camera.fps == 1 ? 0 : 1000000000 / camera.fps};
    while (camera.streaming) {
        nanosleep(&interval, NULL);
        if (eventfd_write(camera.fd, 1)) break;
    }
    return NULL;
}

static int on(void) {
    if (camera.streaming || camera.queued == 0) return fails(EINVAL);
    camera.streaming = 1;
    return pthread_create(&camera.feeder, NULL, feed, NULL) ? fails(ENOMEM) : 0;
}

static int off(void) {
    if (camera.streaming) {
        camera.streaming = 0;
        pthread_join(camera.feeder, NULL);
    }
    camera.queued = 0;
    return 0;
}

static int described(struct v4l2_buffer *buffer) {
    if (buffer->type != V4L2_BUF_TYPE_VIDEO_CAPTURE || (int)buffer->index >= camera.buffers) return fails(EINVAL);
    buffer->length = camera.format.sizeimage;
    buffer->m.offset = buffer->index * 4096;
    buffer->flags = V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
    return 0;
}

static int enqueue(struct v4l2_buffer *buffer) {
    if (described(buffer)) return -1;
    for (int i = 0; i < camera.queued; i++)
        if (camera.queue[i] == (int)buffer->index) return fails(EINVAL);
    camera.queue[camera.queued++] = buffer->index;
    return 0;
}

static int dequeue(struct v4l2_buffer *buffer) {
    eventfd_t one;
    if (!camera.streaming || camera.queued == 0) return fails(EINVAL);
    if (camera.next == camera.unplug) {
        camera.unplug = -1;
        camera.refusals = 2;
        return fails(ENODEV);
    }
    if (eventfd_read(camera.fd, &one)) return -1;
    char name[4200];
    snprintf(name, sizeof name, "%s/%u.bin", camera.files, camera.next);
    int file = real_open(name, O_RDONLY);
    // After the last one it gives nothing, and goes on to say so.
    if (file < 0) return fails(EIO);
    buffer->index = camera.queue[0];
    memmove(camera.queue, camera.queue + 1, sizeof(int) * --camera.queued);
    described(buffer);
    ssize_t used = read(file, camera.memory[buffer->index], buffer->length);
    real_close(file);
    if (camera.next == camera.gap) camera.sequence += 2;
    if (camera.next == camera.error) buffer->flags |= V4L2_BUF_FLAG_ERROR;
    buffer->bytesused = used;
    buffer->sequence = camera.sequence++;
    buffer->field = camera.format.field;
    // It was exposed 20 ms ago.
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    long long microseconds = now.tv_sec * 1000000LL + now.tv_nsec / 1000 - 20000;
    buffer->timestamp.tv_sec = microseconds / 1000000;
    buffer->timestamp.tv_usec = microseconds % 1000000;
    camera.next++;
    return 0;
}

static int request(struct v4l2_requestbuffers *wanted) {
    off();
    camera.buffers = wanted->count > MOST ? MOST : wanted->count;
    wanted->count = camera.buffers;
    return 0;
}

static int control(unsigned long call, void *argument) {
    struct v4l2_capability *capability = argument;
    struct v4l2_fmtdesc *described_format = argument;
    struct v4l2_format *format = argument;
    struct v4l2_streamparm *parameters = argument;
    struct v4l2_input *input = argument;
    switch ((unsigned)call) {
    case VIDIOC_QUERYCAP:
        memset(capability, 0, sizeof *capability);
        strcpy((char *)capability->driver, "shim");
        strcpy((char *)capability->card, "played from files");
        capability->device_caps =
            (camera.mplane ? V4L2_CAP_VIDEO_CAPTURE_MPLANE : V4L2_CAP_VIDEO_CAPTURE) | V4L2_CAP_STREAMING;
        capability->capabilities = capability->device_caps | V4L2_CAP_DEVICE_CAPS;
        return 0;
    case VIDIOC_ENUM_FMT:
        if (described_format->index > 0) return fails(EINVAL);
        described_format->pixelformat = camera.format.pixelformat;
        described_format->flags = 0;
        strcpy((char *)described_format->description, "the only one");
        return 0;
    case VIDIOC_G_FMT:
    case VIDIOC_S_FMT:
    case VIDIOC_TRY_FMT:
        if (format->type != V4L2_BUF_TYPE_VIDEO_CAPTURE) return fails(EINVAL);
        format->fmt.pix = camera.format;
        return 0;
    case VIDIOC_G_PARM:
    case VIDIOC_S_PARM:
        parameters->parm.capture.capability = V4L2_CAP_TIMEPERFRAME;
        parameters->parm.capture.timeperframe = (struct v4l2_fract){1, camera.fps};
        return 0;
    case VIDIOC_ENUMINPUT:
        if (input->index > 0) return fails(EINVAL);
        memset(input, 0, sizeof *input);
        strcpy((char *)input->name, "camera");
        input->type = V4L2_INPUT_TYPE_CAMERA;
        return 0;
    case VIDIOC_G_INPUT: *(int *)argument = 0; return 0;
    case VIDIOC_S_INPUT: return *(int *)argument ? fails(EINVAL) : 0;
    case VIDIOC_REQBUFS: return request(argument);
    case VIDIOC_QUERYBUF: return described(argument);
    case VIDIOC_QBUF: return enqueue(argument);
    case VIDIOC_DQBUF: return dequeue(argument);
    case VIDIOC_STREAMON: return on();
    case VIDIOC_STREAMOFF: return off();
    default: return fails(ENOTTY);
    }
}

static int opened(int flags) {
    if (camera.refusals > 0) return camera.refusals--, fails(ENODEV);
    if (camera.fd >= 0) return fails(EBUSY);
    camera.sequence = 0;
    return camera.fd = eventfd(0, EFD_SEMAPHORE | (flags & O_NONBLOCK ? EFD_NONBLOCK : 0));
}

#define OPENS(name)                                                  \
    int name(const char *path, int flags, ...) {                     \
        prepare();                                                   \
        if (strcmp(path, DEVICE) == 0) return opened(flags);         \
        va_list rest;                                                \
        va_start(rest, flags);                                       \
        int mode = va_arg(rest, int);                                \
        va_end(rest);                                                \
        return real_open(path, flags, mode);                         \
    }
OPENS(open)
OPENS(open64)

int close(int fd) {
    prepare();
    if (fd >= 0 && fd == camera.fd) {
        off();
        camera.fd = -1;
    }
    return real_close(fd);
}

long syscall(long call, ...) {
    long a[6];
    va_list rest;
    va_start(rest, call);
    for (int i = 0; i < 6; i++) a[i] = va_arg(rest, long);
    va_end(rest);
    prepare();
    if (call == SYS_ioctl && (int)a[0] == camera.fd && camera.fd >= 0) return control(a[1], (void *)a[2]);
    return real_syscall(call, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int ioctl(int fd, unsigned long call, ...) {
    va_list rest;
    va_start(rest, call);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    prepare();
    if (fd >= 0 && fd == camera.fd) return control(call, argument);
    return real_syscall(SYS_ioctl, fd, call, argument);
}

void *mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset) {
    prepare();
    if (fd < 0 || fd != camera.fd) return real_mmap(at, length, protection, flags, fd, offset);
    void *memory = real_mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    camera.memory[offset / 4096 % MOST] = memory;
    return memory;
}

void *mmap64(void *at, size_t length, int protection, int flags, int fd, off_t offset) {
    return mmap(at, length, protection, flags, fd, offset);
}
