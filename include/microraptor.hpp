/* Microraptor for C++17: handles that close themselves, and failures as exceptions. */
#ifndef MICRORAPTOR_HPP
#define MICRORAPTOR_HPP

#include "microraptor.h"

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace microraptor {

/* A call that failed. */
struct Error : std::runtime_error {
    mr_status status;
    Error(mr_status status, const char *message) : std::runtime_error(message), status(status) {}
};

inline void throw_unless_ok(mr_status status, const void *handle)
{
    if (status != MR_STATUS_OK) throw Error(status, mr_message(handle));
}

/* An owned handle. */
template <typename T, mr_status (*close)(T *)> class Handle {
public:
    Handle(Handle &&other) noexcept : handle(std::exchange(other.handle, nullptr)) {}
    Handle &operator=(Handle &&other) noexcept
    {
        std::swap(handle, other.handle);
        return *this;
    }
    ~Handle() { close(handle); }
    T *get() const { return handle; }

protected:
    Handle() = default;
    T *handle = nullptr;
};

class Model : public Handle<mr_model, mr_model_close> {
public:
    explicit Model(const std::string &path) { throw_unless_ok(mr_model_open(path.c_str(), nullptr, &handle), nullptr); }
};

class Head : public Handle<mr_head, mr_head_close> {
public:
    explicit Head(const std::string &path) { throw_unless_ok(mr_head_open(path.c_str(), &handle), nullptr); }
    std::string class_name(std::size_t index) const
    {
        const char *name;
        throw_unless_ok(mr_head_class(handle, index, &name), handle);
        return name;
    }
};

/* A frame of `format` in memory of the caller's. */
inline mr_frame frame(mr_format format, std::uint32_t width, std::uint32_t height, const void *pixels, std::size_t stride = 0)
{
    mr_frame frame{};
    frame.size = sizeof frame;
    frame.format = format;
    frame.width = width;
    frame.height = height;
    frame.pixels = pixels;
    frame.stride = stride;
    return frame;
}

class Pipeline : public Handle<mr_pipeline, mr_pipeline_close> {
public:
    Pipeline(const Model &model, const std::vector<const Head *> &heads, std::size_t threads = 1)
    {
        std::vector<mr_head *> handles;
        for (const Head *head : heads) handles.push_back(head->get());
        mr_pipeline_options options{};
        options.size = sizeof options;
        options.threads = threads;
        throw_unless_ok(mr_pipeline_open(model.get(), handles.data(), handles.size(), &options, &handle), model.get());
    }
    /* The answers for one frame, within so many microseconds (0: any time). They last until the next call. */
    std::vector<mr_answer> push(const mr_frame &frame, std::uint64_t deadline_us = 0)
    {
        mr_limits limits{sizeof limits, deadline_us};
        throw_unless_ok(mr_pipeline_push(handle, &frame, &limits), handle);
        std::size_t count = 0;
        throw_unless_ok(mr_pipeline_answers(handle, &count), handle);
        std::vector<mr_answer> answers(count);
        for (std::size_t i = 0; i < count; i++) {
            answers[i].size = sizeof(mr_answer);
            throw_unless_ok(mr_pipeline_answer(handle, i, &answers[i]), handle);
        }
        return answers;
    }
    /* Ends the call that runs in another thread. */
    void cancel() { mr_pipeline_cancel(handle); }
};

} // namespace microraptor

#endif
