// The operations for XLA, which JAX compiles to: one handler each, registered from Python by `jax.ffi`.
#include <atomic>
#include <cstddef>
#include <cstring>
#include <vector>

#include "framework.h"
#include "xla_c.h"

namespace ception::xla {
namespace {

std::atomic<int> minor_version{kMinor};  // which XLA is told that this was written for

// One call of an operation: its inputs and outputs, which XLA has made, and what went wrong.
class Call {
 public:
  explicit Call(const Frame *frame) : frame_(frame) {
    for (int64_t number = 0; number < frame->arguments.size; ++number) shapes_.push_back(shape_of(argument(number)));
  }

  bool fine() const { return !message_; }
  const Shape &shape(int number) const { return shapes_[number]; }
  const void *input(int number) const { return argument(number).data; }
  const float *floats(int number) const { return static_cast<const float *>(input(number)); }
  int32_t element() const { return argument(0).type == kBfloat16 ? CEPTION_BFLOAT16 : CEPTION_FLOAT32; }

  void *output(int number, const Shape &shape) { return made(number, shape, argument(0).type); }
  float *float_output(int number, const Shape &shape) { return static_cast<float *>(made(number, shape, kFloat32)); }

  bool require(bool fits, const char *message) {
    if (fine() && !fits) message_ = message, code_ = kInvalidArgument;
    return fine();
  }

  void ended(int32_t failed) {
    if (failed) message_ = "out of memory", code_ = kResourceExhausted;
  }

  Error *error() const {
    if (fine()) return nullptr;
    NewError made{offsetof(NewError, code) + sizeof(int), nullptr, message_, code_};
    return frame_->interface->new_error(&made);
  }

 private:
  const Buffer &argument(int64_t number) const { return *static_cast<Buffer *>(frame_->arguments.buffers[number]); }
  static Shape shape_of(const Buffer &buffer) { return Shape(buffer.dims, buffer.dims + buffer.rank); }

  void *made(int number, const Shape &shape, int type) {
    const Buffer &result = *static_cast<Buffer *>(frame_->results.buffers[number]);
    return require(shape_of(result) == shape && result.type == type, "a result does not fit the inputs") ? result.data
                                                                                                        : nullptr;
  }

  const Frame *frame_;
  std::vector<Shape> shapes_;
  const char *message_ = nullptr;
  int code_ = 0;
};

Attributes attributes_of(const AttributesByName &given) {
  Attributes found;
  const auto take = [](const Scalar &scalar, int type, void *into) {
    if (scalar.type == type) std::memcpy(into, scalar.value, 4);
  };
  for (int64_t number = 0; number < given.size; ++number) {
    if (given.types[number] != kScalar) continue;
    const Scalar &scalar = *static_cast<Scalar *>(given.values[number]);
    const Name &name = *given.names[number];
    const auto named = [&](const char *wanted) {
      return name.length == std::strlen(wanted) && std::memcmp(name.letters, wanted, name.length) == 0;
    };
    if (named("window_height")) take(scalar, kInt32, &found.window_height);
    if (named("window_width")) take(scalar, kInt32, &found.window_width);
    if (named("down")) take(scalar, kInt32, &found.down);
    if (named("right")) take(scalar, kInt32, &found.right);
    if (named("same")) take(scalar, kInt32, &found.same);
    if (named("clipped")) take(scalar, kInt32, &found.clipped);
    if (named("apart")) take(scalar, kInt32, &found.apart);
    if (named("all")) take(scalar, kInt32, &found.all);
    if (named("transposed_a")) take(scalar, kInt32, &found.transposed_a);
    if (named("transposed_b")) take(scalar, kInt32, &found.transposed_b);
    if (named("epsilon")) take(scalar, kFloat32, &found.epsilon);
  }
  return found;
}

// Whether XLA only asks which version a handler was written for.
bool tell_version(const Frame *frame) {
  if (!frame->extensions || frame->extensions->type != kMetadata) return false;
  Metadata *metadata = reinterpret_cast<MetadataExtension *>(frame->extensions)->metadata;
  metadata->version.major_version = kMajor, metadata->version.minor_version = minor_version;
  metadata->traits = 0;
  return true;
}

// Whether the inputs are what an operation takes: a letter for each, T for the kind of numbers of the first, f for float32.
bool are_taken(const Buffers &inputs, const char *wanted) {
  if (inputs.size != static_cast<int64_t>(std::strlen(wanted))) return false;
  const auto type = [&](int64_t number) { return static_cast<Buffer *>(inputs.buffers[number])->type; };
  for (int64_t number = 0; number < inputs.size; ++number)
    if (type(number) != (wanted[number] == 'T' ? type(0) : kFloat32)) return false;
  return type(0) == kFloat32 || type(0) == kBfloat16;
}

Error *handle(const Frame *frame, const char *inputs, int64_t outputs, void (*body)(const Attributes &, Call &)) {
  if (tell_version(frame)) return nullptr;
  Call call(frame);
  if (call.require(are_taken(frame->arguments, inputs) && frame->results.size == outputs,
                   "other inputs or outputs than the operation has"))
    body(attributes_of(frame->attributes), call);
  return call.error();
}

}  // namespace
}  // namespace ception::xla

using ception::xla::Call;
using ception::xla::Error;
using ception::xla::Frame;
using ception::xla::handle;

extern "C" {

// Say that the handlers were written for an earlier version of the interface: the minor number, as the major one is 0.
CEPTION_API void ception_xla_set_version(int32_t minor) { ception::xla::minor_version = minor; }
CEPTION_API int32_t ception_xla_latest_version(void) { return ception::xla::kMinor; }

#define HANDLER(name, inputs, outputs, ...) \
  CEPTION_API Error *ception_xla_##name(Frame *frame) { return handle(frame, inputs, outputs, ception::__VA_ARGS__); }
HANDLER(product, "ff", 1, product<Call>)
HANDLER(moments, "T", 2, moments<Call>)
HANDLER(normalize, "Tffff", 1, normalize<Call>)
HANDLER(normalize_gradients, "TffffT", 3, normalize_gradients<true, Call>)
HANDLER(factor_gradients, "TffffT", 2, normalize_gradients<false, Call>)
HANDLER(finish_gradient, "TffffTff", 1, finish_gradient<Call>)
HANDLER(depthwise, "TT", 1, depthwise<false, Call>)
HANDLER(depthwise_gradients, "TTT", 2, depthwise_gradients<false, Call>)
HANDLER(normalized_depthwise, "TTffff", 1, depthwise<true, Call>)
HANDLER(normalized_depthwise_gradients, "TTffffT", 4, depthwise_gradients<true, Call>)
HANDLER(bias_selu, "Tf", 1, bias_selu<Call>)
HANDLER(bias_selu_gradients, "TT", 2, bias_selu_gradients<Call>)
HANDLER(convolution, "TT", 1, convolution<Call>)
HANDLER(convolution_gradient, "TTT", 1, convolution_gradient<Call>)
HANDLER(convolution_kernel_gradient, "TT", 1, convolution_kernel_gradient<Call>)
HANDLER(convolution_selu, "TTf", 1, convolution_selu<Call>)
HANDLER(convolution_selu_gradients, "TTTT", 2, convolution_selu_gradients<Call>)
HANDLER(separable_selu, "TTTf", 1, separable_selu<Call>)
HANDLER(separable_selu_gradients, "TTTTT", 4, separable_selu_gradients<Call>)
HANDLER(max_pool, "T", 1, max_pool<Call>)
HANDLER(max_pool_gradient, "TTT", 1, max_pool_gradient<Call>)
}
