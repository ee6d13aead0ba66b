// The operations for TensorFlow: registered while this library is loaded by `tf.load_op_library`.
//
// Gradients are operations of their own; which belongs to which is said in Python.
#include <dlfcn.h>

#include <algorithm>
#include <initializer_list>
#include <vector>

#include "ception_kernels.h"
#include "tensorflow_c.h"

namespace ception::tensorflow {
namespace {

Interface api;

bool find_interface() {
#if defined(__APPLE__)
  void *library = dlopen("libtensorflow_framework.2.dylib", RTLD_NOW | RTLD_NOLOAD);
#else
  void *library = dlopen("libtensorflow_framework.so.2", RTLD_NOW | RTLD_NOLOAD);
#endif
  if (!library) return false;
  bool found = true;
  const auto look_up = [&](auto &function, const char *name) {
    function = reinterpret_cast<std::decay_t<decltype(function)>>(dlsym(library, name));
    found = found && function;
  };
#define LOOK_UP(name) look_up(api.name, #name)
  LOOK_UP(TF_NewStatus);
  LOOK_UP(TF_DeleteStatus);
  LOOK_UP(TF_GetCode);
  LOOK_UP(TF_SetStatus);
  LOOK_UP(TF_DeleteTensor);
  LOOK_UP(TF_TensorType);
  LOOK_UP(TF_NumDims);
  LOOK_UP(TF_Dim);
  LOOK_UP(TF_TensorData);
  LOOK_UP(TF_GetInput);
  LOOK_UP(TF_AllocateOutput);
  LOOK_UP(TF_OpKernelContext_Failure);
  LOOK_UP(TF_OpKernelConstruction_Failure);
  LOOK_UP(TF_OpKernelConstruction_GetAttrInt32);
  LOOK_UP(TF_OpKernelConstruction_GetAttrFloat);
  LOOK_UP(TF_NewKernelBuilder);
  LOOK_UP(TF_RegisterKernelBuilder);
  LOOK_UP(TF_NewOpDefinitionBuilder);
  LOOK_UP(TF_OpDefinitionBuilderAddAttr);
  LOOK_UP(TF_OpDefinitionBuilderAddInput);
  LOOK_UP(TF_OpDefinitionBuilderAddOutput);
  LOOK_UP(TF_RegisterOpDefinition);
#undef LOOK_UP
  return found;
}

using Shape = std::vector<int64_t>;

int64_t count(const Shape &shape) {
  int64_t product = 1;
  for (int64_t size : shape) product *= size;
  return product;
}

// One call of an operation: its inputs and outputs, and what went wrong.
class Call {
 public:
  Call(Context *context, int inputs) : context_(context), status_(api.TF_NewStatus()) {
    for (int number = 0; number < inputs; ++number) {
      Tensor *tensor = nullptr;
      api.TF_GetInput(context, number, &tensor, status_);
      if (!tensor) return;
      tensors_.push_back(tensor);
      Shape shape(api.TF_NumDims(tensor));
      for (size_t axis = 0; axis < shape.size(); ++axis) shape[axis] = api.TF_Dim(tensor, static_cast<int>(axis));
      shapes_.push_back(shape);
      inputs_.push_back(api.TF_TensorData(tensor));
      if (number == 0) type_ = api.TF_TensorType(tensor);
    }
  }

  ~Call() {
    if (api.TF_GetCode(status_) != 0) api.TF_OpKernelContext_Failure(context_, status_);
    for (Tensor *tensor : tensors_) api.TF_DeleteTensor(tensor);
    api.TF_DeleteStatus(status_);
  }

  Call(const Call &) = delete;
  Call &operator=(const Call &) = delete;

  bool fine() const { return api.TF_GetCode(status_) == 0; }
  const Shape &shape(int number) const { return shapes_[number]; }
  const void *input(int number) const { return inputs_[number]; }
  const float *floats(int number) const { return static_cast<const float *>(inputs_[number]); }
  int32_t element() const { return type_ == kBfloat16 ? CEPTION_BFLOAT16 : CEPTION_FLOAT32; }  // of the first input

  void *output(int number, const Shape &shape) { return allocated(number, shape, type_, type_ == kFloat ? 4 : 2); }
  float *float_output(int number, const Shape &shape) {
    return static_cast<float *>(allocated(number, shape, kFloat, sizeof(float)));
  }

  // How x is read by the statistics and factors from an input on; all belong to its channels.
  ception_reading reading(int number, float epsilon, int32_t clipped) const {
    return {floats(number), floats(number + 1), floats(number + 2), floats(number + 3), epsilon, clipped};
  }
  bool fits_reading(int number) const {
    if (shapes_[0].empty() || count(shapes_[0]) == 0) return false;
    for (int of = number; of < number + 4; ++of)
      if (shapes_[of] != Shape{shapes_[0].back()}) return false;
    return true;
  }

  // Whether shapes are as the operation needs them; else the call fails.
  bool require(bool fits, const char *message) {
    if (fine() && !fits) api.TF_SetStatus(status_, kInvalidArgument, message);
    return fine();
  }

  void ended(int32_t failed) {
    if (failed) api.TF_SetStatus(status_, kResourceExhausted, "out of memory");
  }

 private:
  void *allocated(int number, const Shape &shape, int type, size_t size) {
    Tensor *tensor = api.TF_AllocateOutput(context_, number, type, shape.data(), static_cast<int>(shape.size()),
                                           count(shape) * size, status_);
    if (!tensor) return nullptr;
    tensors_.push_back(tensor);
    return api.TF_TensorData(tensor);
  }

  Context *context_;
  Status *status_;
  std::vector<Tensor *> tensors_;
  std::vector<Shape> shapes_;
  std::vector<const void *> inputs_;
  int type_ = kFloat;
};

struct Attributes {
  int32_t window_height = 0, window_width = 0, down = 1, right = 1, same = 0, clipped = 0;
  float epsilon = 0;
};

ception_windows windows_of(const Attributes &attributes, const Shape &x) {
  ception_windows w{x[0], x[1], x[2], x[3], attributes.window_height, attributes.window_width, attributes.down,
                    attributes.right, 0, 0, 0, 0};
  const auto outputs = [&](int64_t size, int64_t window, int64_t stride) {
    return attributes.same ? (size + stride - 1) / stride : std::max<int64_t>(0, (size - window) / stride + 1);
  };
  const auto before = [&](int64_t size, int64_t window, int64_t stride, int64_t made) {
    return attributes.same ? std::max<int64_t>(0, (made - 1) * stride + window - size) / 2 : 0;
  };
  w.out_height = w.height < w.window_height && !attributes.same ? 0 : outputs(w.height, w.window_height, w.down);
  w.out_width = w.width < w.window_width && !attributes.same ? 0 : outputs(w.width, w.window_width, w.right);
  w.top = before(w.height, w.window_height, w.down, w.out_height);
  w.left = before(w.width, w.window_width, w.right, w.out_width);
  return w;
}

Shape outputs_of(const ception_windows &w, int64_t channels) { return {w.batch, w.out_height, w.out_width, channels}; }

// Whether the kernel at `number` is one of the windows, for each channel of the input.
bool fits(const Call &call, const Attributes &attributes, int number) {
  const Shape &x = call.shape(0), &kernel = call.shape(number);
  return x.size() == 4 && kernel.size() == 4 && kernel[0] == attributes.window_height &&
         kernel[1] == attributes.window_width && kernel[2] == x[3] && kernel[3] == 1;
}

constexpr const char *kKernelDoesNotFit = "the kernel does not fit the input";
constexpr const char *kGradientDoesNotFit = "the gradient does not fit the input";
constexpr const char *kStatisticsDoNotFit = "mean, variance, gamma and beta do not fit the input, or it is empty";

template <bool normed>
void depthwise(const Attributes &attributes, Context *context) {
  Call call(context, normed ? 6 : 2);
  if (!call.fine() || !call.require(fits(call, attributes, 1), kKernelDoesNotFit)) return;
  if (normed && !call.require(call.fits_reading(2), kStatisticsDoNotFit)) return;
  const ception_windows w = windows_of(attributes, call.shape(0));
  ception_reading reading{nullptr, nullptr, nullptr, nullptr, 0, attributes.clipped};
  if (normed) reading = call.reading(2, attributes.epsilon, attributes.clipped);
  if (void *y = call.output(0, outputs_of(w, w.channels)))
    call.ended(ception_depthwise(&w, call.element(), &reading, call.input(0), call.input(1), y));
}

template <bool normed>
void depthwise_gradients(const Attributes &attributes, Context *context) {
  constexpr int given = normed ? 6 : 2;
  Call call(context, given + 1);
  if (!call.fine() || !call.require(fits(call, attributes, 1), kKernelDoesNotFit)) return;
  if (normed && !call.require(call.fits_reading(2), kStatisticsDoNotFit)) return;
  const ception_windows w = windows_of(attributes, call.shape(0));
  if (!call.require(call.shape(given) == outputs_of(w, w.channels), kGradientDoesNotFit)) return;
  ception_reading reading{nullptr, nullptr, nullptr, nullptr, 0, attributes.clipped};
  float *of_gamma = nullptr, *of_beta = nullptr;
  if (normed) {
    reading = call.reading(2, attributes.epsilon, attributes.clipped);
    of_gamma = call.float_output(2, {w.channels}), of_beta = call.float_output(3, {w.channels});
    if (!of_gamma || !of_beta) return;
  }
  void *of_x = call.output(0, call.shape(0)), *of_kernel = call.output(1, call.shape(1));
  if (of_x && of_kernel)
    call.ended(ception_depthwise_gradients(&w, call.element(), &reading, call.input(0), call.input(1),
                                           call.input(given), of_x, of_kernel, of_gamma, of_beta));
}

void moments(const Attributes &, Context *context) {
  Call call(context, 1);
  if (!call.fine() || !call.require(!call.shape(0).empty() && count(call.shape(0)) > 0, "there are no values")) return;
  const int64_t channels = call.shape(0).back();
  float *mean = call.float_output(0, {channels}), *variance = call.float_output(1, {channels});
  if (mean && variance)
    call.ended(ception_moments(count(call.shape(0)) / channels, channels, call.element(), call.input(0), mean, variance));
}

void normalize(const Attributes &attributes, Context *context) {
  Call call(context, 5);
  if (!call.fine() || !call.require(call.fits_reading(1), kStatisticsDoNotFit)) return;
  const int64_t channels = call.shape(0).back(), values = count(call.shape(0)) / channels;
  const ception_reading reading = call.reading(1, attributes.epsilon, attributes.clipped);
  if (void *y = call.output(0, call.shape(0)))
    call.ended(ception_normalize(values, channels, call.element(), &reading, call.input(0), y));
}

void normalize_gradients(const Attributes &attributes, Context *context) {
  Call call(context, 6);
  if (!call.fine() || !call.require(call.fits_reading(1), kStatisticsDoNotFit)) return;
  if (!call.require(call.shape(5) == call.shape(0), kGradientDoesNotFit)) return;
  const int64_t channels = call.shape(0).back(), values = count(call.shape(0)) / channels;
  const ception_reading reading = call.reading(1, attributes.epsilon, attributes.clipped);
  void *of_x = call.output(0, call.shape(0));
  float *of_gamma = call.float_output(1, {channels}), *of_beta = call.float_output(2, {channels});
  if (of_x && of_gamma && of_beta)
    call.ended(ception_normalize_gradients(values, channels, call.element(), &reading, call.input(0), call.input(5),
                                           of_x, of_gamma, of_beta));
}

void bias_selu(const Attributes &, Context *context) {
  Call call(context, 2);
  if (!call.fine()) return;
  const Shape &x = call.shape(0);
  if (!call.require(!x.empty() && count(x) > 0 && call.shape(1) == Shape{x.back()}, "the bias does not fit")) return;
  if (void *y = call.output(0, x))
    call.ended(ception_bias_selu(count(x) / x.back(), x.back(), call.element(), call.input(0), call.floats(1), y));
}

void bias_selu_gradients(const Attributes &, Context *context) {
  Call call(context, 2);
  if (!call.fine()) return;
  const Shape &y = call.shape(0);
  if (!call.require(!y.empty() && count(y) > 0 && call.shape(1) == y, kGradientDoesNotFit)) return;
  void *of_x = call.output(0, y);
  float *of_bias = call.float_output(1, {y.back()});
  if (of_x && of_bias)
    call.ended(ception_bias_selu_gradients(count(y) / y.back(), y.back(), call.element(), call.input(0), call.input(1),
                                           of_x, of_bias));
}

// Which attributes an operation has beside the kind of its numbers.
constexpr int kWindows = 1, kEpsilon = 2, kClipped = 4;

template <int has>
void *create(Construction *construction) {
  Status *status = api.TF_NewStatus();
  auto *attributes = new Attributes;
  if (has & kWindows) {
    api.TF_OpKernelConstruction_GetAttrInt32(construction, "window_height", &attributes->window_height, status);
    api.TF_OpKernelConstruction_GetAttrInt32(construction, "window_width", &attributes->window_width, status);
    api.TF_OpKernelConstruction_GetAttrInt32(construction, "down", &attributes->down, status);
    api.TF_OpKernelConstruction_GetAttrInt32(construction, "right", &attributes->right, status);
    api.TF_OpKernelConstruction_GetAttrInt32(construction, "same", &attributes->same, status);
  }
  if (has & kClipped) api.TF_OpKernelConstruction_GetAttrInt32(construction, "clipped", &attributes->clipped, status);
  if (has & kEpsilon) api.TF_OpKernelConstruction_GetAttrFloat(construction, "epsilon", &attributes->epsilon, status);
  if (api.TF_GetCode(status) != 0) api.TF_OpKernelConstruction_Failure(construction, status);
  api.TF_DeleteStatus(status);
  return attributes;
}

template <void (*body)(const Attributes &, Context *)>
void compute(void *attributes, Context *context) {
  body(*static_cast<const Attributes *>(attributes), context);
}

void destroy(void *attributes) { delete static_cast<Attributes *>(attributes); }

template <void (*body)(const Attributes &, Context *), int has>
void add(const char *name, std::initializer_list<const char *> inputs, std::initializer_list<const char *> outputs) {
  Status *status = api.TF_NewStatus();
  OpBuilder *op = api.TF_NewOpDefinitionBuilder(name);
  if (has & kWindows)
    for (const char *attribute : {"window_height: int", "window_width: int", "down: int", "right: int", "same: int"})
      api.TF_OpDefinitionBuilderAddAttr(op, attribute);
  if (has & kEpsilon) api.TF_OpDefinitionBuilderAddAttr(op, "epsilon: float");
  if (has & kClipped) api.TF_OpDefinitionBuilderAddAttr(op, "clipped: int");
  api.TF_OpDefinitionBuilderAddAttr(op, "T: {float, bfloat16}");
  for (const char *input : inputs) api.TF_OpDefinitionBuilderAddInput(op, input);
  for (const char *output : outputs) api.TF_OpDefinitionBuilderAddOutput(op, output);
  api.TF_RegisterOpDefinition(op, status);
  if (api.TF_GetCode(status) == 0)
    api.TF_RegisterKernelBuilder(
        name, api.TF_NewKernelBuilder(name, "CPU", create<has>, compute<body>, destroy), status);
  api.TF_DeleteStatus(status);
}

bool register_all() {
  if (!find_interface()) return false;
  add<moments, 0>("CeptionMoments", {"x: T"}, {"mean: float", "variance: float"});
  add<normalize, kEpsilon | kClipped>(
      "CeptionNormalize", {"x: T", "mean: float", "variance: float", "gamma: float", "beta: float"}, {"y: T"});
  add<normalize_gradients, kEpsilon | kClipped>(
      "CeptionNormalizeGradients",
      {"x: T", "mean: float", "variance: float", "gamma: float", "beta: float", "gradient: T"},
      {"of_x: T", "of_gamma: float", "of_beta: float"});
  add<depthwise<false>, kWindows | kClipped>("CeptionDepthwise", {"x: T", "kernel: T"}, {"y: T"});
  add<depthwise_gradients<false>, kWindows | kClipped>(
      "CeptionDepthwiseGradients", {"x: T", "kernel: T", "gradient: T"}, {"of_x: T", "of_kernel: T"});
  add<depthwise<true>, kWindows | kEpsilon | kClipped>(
      "CeptionNormalizedDepthwise",
      {"x: T", "kernel: T", "mean: float", "variance: float", "gamma: float", "beta: float"}, {"y: T"});
  add<depthwise_gradients<true>, kWindows | kEpsilon | kClipped>(
      "CeptionNormalizedDepthwiseGradients",
      {"x: T", "kernel: T", "mean: float", "variance: float", "gamma: float", "beta: float", "gradient: T"},
      {"of_x: T", "of_kernel: T", "of_gamma: float", "of_beta: float"});
  add<bias_selu, 0>("CeptionBiasSelu", {"x: T", "bias: float"}, {"y: T"});
  add<bias_selu_gradients, 0>("CeptionBiasSeluGradients", {"y: T", "gradient: T"}, {"of_x: T", "of_bias: float"});
  return true;
}

const bool registered = register_all();

}  // namespace
}  // namespace ception::tensorflow
