// A still picture in C++: still-cpp MODEL PICTURE.pnm HEAD
#include "common.h"

#include <microraptor.hpp>

#include <iostream>

int main(int argc, char **argv)
try {
    if (argc != 4) {
        std::cerr << "usage: still-cpp MODEL PICTURE.pnm HEAD\n";
        return 2;
    }
    const microraptor::Model model(argv[1]);
    const microraptor::Head head(argv[3]);
    microraptor::Pipeline pipeline(model, {&head});
    const mr_frame frame = read_picture(argv[2]);
    for (const mr_answer &answer : pipeline.push(frame)) {
        for (std::size_t i = 0; i < answer.class_count; i++)
            std::cout << head.class_name(i) << ' ' << answer.probabilities[i] << '\n';
        if (answer.mask) std::cout << answer.mask_width << " x " << answer.mask_height << '\n';
    }
    std::free(const_cast<void *>(frame.pixels));
    return 0;
} catch (const microraptor::Error &error) {
    std::cerr << "error: " << mr_status_name(error.status) << ": " << error.what() << '\n';
    return 2;
}
