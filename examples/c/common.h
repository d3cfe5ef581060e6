/* What the examples share: a picture in PGM or PPM (8 bits), and what to do when a call fails. */
#ifndef COMMON_H
#define COMMON_H

#include <microraptor.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ends the program with what `handle` (or NULL) says of the call that failed. */
static inline void check(mr_status status, const void *handle)
{
    if (status != MR_STATUS_OK) {
        fprintf(stderr, "error: %s: %s\n", mr_status_name(status), mr_message(handle));
        exit(2);
    }
}

/* Reads `path` into memory that the caller frees, as frame.pixels. */
static inline mr_frame read_picture(const char *path)
{
    mr_frame frame;
    memset(&frame, 0, sizeof frame);
    unsigned width, height, most;
    char kind;
    FILE *file = fopen(path, "rb");
    if (!file || fscanf(file, "P%c %u %u %u", &kind, &width, &height, &most) != 4 || fgetc(file) == EOF ||
        (kind != '5' && kind != '6') || most != 255 || width > 16384 || height > 16384) {
        fprintf(stderr, "error: %s: give a PGM or PPM of 8 bits\n", path);
        exit(2);
    }
    size_t length = (size_t)width * height * (kind == '6' ? 3 : 1);
    unsigned char *pixels = (unsigned char *)malloc(length);
    if (!pixels || fread(pixels, 1, length, file) != length) {
        fprintf(stderr, "error: %s ends early\n", path);
        exit(2);
    }
    fclose(file);
    frame.size = sizeof frame;
    frame.format = kind == '6' ? MR_FORMAT_RGB8 : MR_FORMAT_GREY8;
    frame.width = width;
    frame.height = height;
    frame.pixels = pixels;
    return frame;
}

/* Prints the answers of the last call as a line of JSON. */
static inline void print_json(mr_pipeline *pipeline)
{
    size_t length = 0;
    if (mr_pipeline_json(pipeline, NULL, 0, &length) != MR_STATUS_SMALL) {
        fprintf(stderr, "error: %s\n", mr_message(pipeline));
        exit(2);
    }
    char *text = (char *)malloc(length + 1);
    if (!text) exit(2);
    check(mr_pipeline_json(pipeline, text, length + 1, &length), pipeline);
    puts(text);
    free(text);
}

#endif
