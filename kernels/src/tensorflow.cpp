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
      inputs_.push_back(static_cast<const float *>(api.TF_TensorData(tensor)));
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
  const float *input(int number) const { return inputs_[number]; }

  float *output(int number, const Shape &shape) {
    Tensor *tensor = api.TF_AllocateOutput(context_, number, kFloat, shape.data(), static_cast<int>(shape.size()),
                                           count(shape) * sizeof(float), status_);
    if (!tensor) return nullptr;
    tensors_.push_back(tensor);
    return static_cast<float *>(api.TF_TensorData(tensor));
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
  Context *context_;
  Status *status_;
  std::vector<Tensor *> tensors_;
  std::vector<Shape> shapes_;
  std::vector<const float *> inputs_;
};

struct Attributes {
  int32_t window_height = 0, window_width = 0, down = 1, right = 1, same = 0;
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

bool fits_pointwise(const Call &call, int number) {
  const Shape &kernel = call.shape(number);
  return kernel.size() == 4 && kernel[0] == 1 && kernel[1] == 1 && kernel[2] == call.shape(0)[3];
}

bool is(const Shape &shape, const Shape &wanted) { return shape == wanted; }

void depthwise(const Attributes &attributes, Context *context) {
  Call call(context, 2);
  if (!call.fine() || !call.require(fits(call, attributes, 1), "the kernel does not fit the input")) return;
  const ception_windows w = windows_of(attributes, call.shape(0));
  if (float *y = call.output(0, outputs_of(w, w.channels)))
    call.ended(ception_depthwise(&w, call.input(0), call.input(1), y));
}

void depthwise_gradients(const Attributes &attributes, Context *context) {
  Call call(context, 3);
  if (!call.fine() || !call.require(fits(call, attributes, 1), "the kernel does not fit the input")) return;
  const ception_windows w = windows_of(attributes, call.shape(0));
  if (!call.require(is(call.shape(2), outputs_of(w, w.channels)), "the gradient does not fit the input")) return;
  float *of_x = call.output(0, call.shape(0)), *of_kernel = call.output(1, call.shape(1));
  if (of_x && of_kernel)
    call.ended(ception_depthwise_gradients(&w, call.input(0), call.input(1), call.input(2), of_x, of_kernel));
}

void separable(const Attributes &attributes, Context *context) {
  Call call(context, 3);
  if (!call.fine() || !call.require(fits(call, attributes, 1) && fits_pointwise(call, 2), "the kernels do not fit"))
    return;
  const ception_windows w = windows_of(attributes, call.shape(0));
  const int64_t filters = call.shape(2)[3];
  if (float *y = call.output(0, outputs_of(w, filters)))
    call.ended(ception_separable(&w, filters, call.input(0), call.input(1), call.input(2), y));
}

void separable_gradients(const Attributes &attributes, Context *context) {
  Call call(context, 4);
  if (!call.fine() || !call.require(fits(call, attributes, 1) && fits_pointwise(call, 2), "the kernels do not fit"))
    return;
  const ception_windows w = windows_of(attributes, call.shape(0));
  const int64_t filters = call.shape(2)[3];
  if (!call.require(is(call.shape(3), outputs_of(w, filters)), "the gradient does not fit the input")) return;
  float *of_x = call.output(0, call.shape(0)), *of_depthwise = call.output(1, call.shape(1));
  float *of_pointwise = call.output(2, call.shape(2));
  if (of_x && of_depthwise && of_pointwise)
    call.ended(ception_separable_gradients(&w, filters, call.input(0), call.input(1), call.input(2), call.input(3),
                                           of_x, of_depthwise, of_pointwise));
}

void batch_norm(const Attributes &attributes, Context *context) {
  Call call(context, 3);
  if (!call.fine() || !call.require(!call.shape(0).empty() && count(call.shape(0)) > 0, "there are no values")) return;
  const int64_t channels = call.shape(0).back(), values = count(call.shape(0)) / channels;
  const bool fit = is(call.shape(1), {channels}) && is(call.shape(2), {channels});
  if (!call.require(fit, "gamma and beta do not fit the input")) return;
  float *y = call.output(0, call.shape(0)), *mean = call.output(1, {channels}), *variance = call.output(2, {channels});
  if (y && mean && variance)
    call.ended(ception_batch_norm(values, channels, call.input(0), call.input(1), call.input(2), attributes.epsilon, y,
                                  mean, variance));
}

void batch_norm_gradients(const Attributes &attributes, Context *context) {
  Call call(context, 5);
  if (!call.fine() || !call.require(!call.shape(0).empty() && count(call.shape(0)) > 0, "there are no values")) return;
  const int64_t channels = call.shape(0).back(), values = count(call.shape(0)) / channels;
  const bool fit = is(call.shape(1), {channels}) && is(call.shape(2), {channels}) && is(call.shape(3), {channels}) &&
                   is(call.shape(4), call.shape(0));
  if (!call.require(fit, "gamma, statistics and gradient do not fit the input")) return;
  float *of_x = call.output(0, call.shape(0)), *of_gamma = call.output(1, {channels});
  float *of_beta = call.output(2, {channels});
  if (of_x && of_gamma && of_beta)
    call.ended(ception_batch_norm_gradients(values, channels, call.input(0), call.input(1), call.input(2),
                                            call.input(3), attributes.epsilon, call.input(4), of_x, of_gamma, of_beta));
}

void max_pool(const Attributes &attributes, Context *context) {
  Call call(context, 1);
  if (!call.fine() || !call.require(call.shape(0).size() == 4, "the input has no height and width")) return;
  const ception_windows w = windows_of(attributes, call.shape(0));
  if (float *y = call.output(0, outputs_of(w, w.channels))) call.ended(ception_max_pool(&w, call.input(0), y));
}

void max_pool_gradient(const Attributes &attributes, Context *context) {
  Call call(context, 3);
  if (!call.fine() || !call.require(call.shape(0).size() == 4, "the input has no height and width")) return;
  const ception_windows w = windows_of(attributes, call.shape(0));
  const Shape made = outputs_of(w, w.channels);
  if (!call.require(is(call.shape(1), made) && is(call.shape(2), made), "the gradient does not fit the input")) return;
  if (float *of_x = call.output(0, call.shape(0)))
    call.ended(ception_max_pool_gradient(&w, call.input(0), call.input(1), call.input(2), of_x));
}

template <bool has_windows, bool has_epsilon>
void *create(Construction *construction) {
  Status *status = api.TF_NewStatus();
  auto *attributes = new Attributes;
  if (has_windows) {
    api.TF_OpKernelConstruction_GetAttrInt32(construction, "window_height", &attributes->window_height, status);
    api.TF_OpKernelConstruction_GetAttrInt32(construction, "window_width", &attributes->window_width, status);
    api.TF_OpKernelConstruction_GetAttrInt32(construction, "down", &attributes->down, status);
    api.TF_OpKernelConstruction_GetAttrInt32(construction, "right", &attributes->right, status);
    api.TF_OpKernelConstruction_GetAttrInt32(construction, "same", &attributes->same, status);
  }
  if (has_epsilon) api.TF_OpKernelConstruction_GetAttrFloat(construction, "epsilon", &attributes->epsilon, status);
  if (api.TF_GetCode(status) != 0) api.TF_OpKernelConstruction_Failure(construction, status);
  api.TF_DeleteStatus(status);
  return attributes;
}

template <void (*body)(const Attributes &, Context *)>
void compute(void *attributes, Context *context) {
  body(*static_cast<const Attributes *>(attributes), context);
}

void destroy(void *attributes) { delete static_cast<Attributes *>(attributes); }

template <void (*body)(const Attributes &, Context *), bool has_windows, bool has_epsilon>
void add(const char *name, std::initializer_list<const char *> inputs, std::initializer_list<const char *> outputs) {
  Status *status = api.TF_NewStatus();
  OpBuilder *op = api.TF_NewOpDefinitionBuilder(name);
  if (has_windows)
    for (const char *attribute : {"window_height: int", "window_width: int", "down: int", "right: int", "same: int"})
      api.TF_OpDefinitionBuilderAddAttr(op, attribute);
  if (has_epsilon) api.TF_OpDefinitionBuilderAddAttr(op, "epsilon: float");
  for (const char *input : inputs) api.TF_OpDefinitionBuilderAddInput(op, input);
  for (const char *output : outputs) api.TF_OpDefinitionBuilderAddOutput(op, output);
  api.TF_RegisterOpDefinition(op, status);
  if (api.TF_GetCode(status) == 0)
    api.TF_RegisterKernelBuilder(
        name, api.TF_NewKernelBuilder(name, "CPU", create<has_windows, has_epsilon>, compute<body>, destroy), status);
  api.TF_DeleteStatus(status);
}

bool register_all() {
  if (!find_interface()) return false;
  add<depthwise, true, false>("CeptionDepthwise", {"x: float", "kernel: float"}, {"y: float"});
  add<depthwise_gradients, true, false>("CeptionDepthwiseGradients", {"x: float", "kernel: float", "gradient: float"},
                                        {"of_x: float", "of_kernel: float"});
  add<separable, true, false>("CeptionSeparable", {"x: float", "depthwise: float", "pointwise: float"}, {"y: float"});
  add<separable_gradients, true, false>("CeptionSeparableGradients",
                                        {"x: float", "depthwise: float", "pointwise: float", "gradient: float"},
                                        {"of_x: float", "of_depthwise: float", "of_pointwise: float"});
  add<batch_norm, false, true>("CeptionBatchNorm", {"x: float", "gamma: float", "beta: float"},
                               {"y: float", "mean: float", "variance: float"});
  add<batch_norm_gradients, false, true>(
      "CeptionBatchNormGradients",
      {"x: float", "gamma: float", "mean: float", "variance: float", "gradient: float"},
      {"of_x: float", "of_gamma: float", "of_beta: float"});
  add<max_pool, true, false>("CeptionMaxPool", {"x: float"}, {"y: float"});
  add<max_pool_gradient, true, false>("CeptionMaxPoolGradient", {"x: float", "y: float", "gradient: float"},
                                      {"of_x: float"});
  return true;
}

const bool registered = register_all();

}  // namespace
}  // namespace ception::tensorflow
