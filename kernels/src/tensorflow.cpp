// The operations for TensorFlow: registered while this library is loaded by `tf.load_op_library`.
//
// Gradients are operations of their own; which belongs to which is said in Python.
#include <dlfcn.h>

#include <initializer_list>
#include <vector>

#include "framework.h"
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

template <void (*body)(const Attributes &, Call &), int inputs>
void compute(void *attributes, Context *context) {
  Call call(context, inputs);
  if (call.fine()) body(*static_cast<const Attributes *>(attributes), call);
}

void destroy(void *attributes) { delete static_cast<Attributes *>(attributes); }

template <void (*body)(const Attributes &, Call &), int has, int given>
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
        name, api.TF_NewKernelBuilder(name, "CPU", create<has>, compute<body, given>, destroy), status);
  api.TF_DeleteStatus(status);
}

bool register_all() {
  if (!find_interface()) return false;
  add<moments<Call>, 0, 1>("CeptionMoments", {"x: T"}, {"mean: float", "variance: float"});
  add<normalize<Call>, kEpsilon | kClipped, 5>(
      "CeptionNormalize", {"x: T", "mean: float", "variance: float", "gamma: float", "beta: float"}, {"y: T"});
  add<normalize_gradients<true, Call>, kEpsilon | kClipped, 6>(
      "CeptionNormalizeGradients",
      {"x: T", "mean: float", "variance: float", "gamma: float", "beta: float", "gradient: T"},
      {"of_x: T", "of_gamma: float", "of_beta: float"});
  add<depthwise<false, Call>, kWindows | kClipped, 2>("CeptionDepthwise", {"x: T", "kernel: T"}, {"y: T"});
  add<depthwise_gradients<false, Call>, kWindows | kClipped, 3>(
      "CeptionDepthwiseGradients", {"x: T", "kernel: T", "gradient: T"}, {"of_x: T", "of_kernel: T"});
  add<depthwise<true, Call>, kWindows | kEpsilon | kClipped, 6>(
      "CeptionNormalizedDepthwise",
      {"x: T", "kernel: T", "mean: float", "variance: float", "gamma: float", "beta: float"}, {"y: T"});
  add<depthwise_gradients<true, Call>, kWindows | kEpsilon | kClipped, 7>(
      "CeptionNormalizedDepthwiseGradients",
      {"x: T", "kernel: T", "mean: float", "variance: float", "gamma: float", "beta: float", "gradient: T"},
      {"of_x: T", "of_kernel: T", "of_gamma: float", "of_beta: float"});
  add<bias_selu<Call>, 0, 2>("CeptionBiasSelu", {"x: T", "bias: float"}, {"y: T"});
  add<bias_selu_gradients<Call>, 0, 2>("CeptionBiasSeluGradients", {"y: T", "gradient: T"}, {"of_x: T", "of_bias: float"});
  add<convolution_selu<Call>, kWindows, 3>("CeptionConvolutionSelu", {"x: T", "kernel: T", "bias: float"}, {"y: T"});
  add<convolution_selu_gradients<Call>, kWindows, 4>("CeptionConvolutionSeluGradients",
                                                     {"x: T", "kernel: T", "y: T", "gradient: T"},
                                                     {"of_kernel: T", "of_bias: float"});
  add<separable_selu<Call>, kWindows, 4>("CeptionSeparableSelu", {"x: T", "kernel: T", "pointwise: T", "bias: float"},
                                         {"y: T"});
  add<separable_selu_gradients<Call>, kWindows, 5>(
      "CeptionSeparableSeluGradients", {"x: T", "kernel: T", "pointwise: T", "y: T", "gradient: T"},
      {"of_x: T", "of_kernel: T", "of_pointwise: T", "of_bias: float"});
  add<max_pool<Call>, kWindows, 1>("CeptionMaxPool", {"x: T"}, {"y: T"});
  add<max_pool_gradient<Call>, kWindows, 3>("CeptionMaxPoolGradient", {"x: T", "y: T", "gradient: T"}, {"of_x: T"});
  return true;
}

const bool registered = register_all();

}  // namespace
}  // namespace ception::tensorflow
