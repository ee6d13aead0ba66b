// The part of TensorFlow's C interface that is used, looked up in the TensorFlow that runs: so one build fits all.
//
// Source: tensorflow/c/{kernels,ops,tf_status,tf_tensor}.h of TensorFlow 2.21, which promises to keep this interface.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ception::tensorflow {

struct Status;
struct Tensor;
struct Context;
struct Construction;
struct KernelBuilder;
struct OpBuilder;

constexpr int kFloat = 1, kBfloat16 = 14, kInvalidArgument = 3, kResourceExhausted = 8;

struct Interface {
  Status *(*TF_NewStatus)();
  void (*TF_DeleteStatus)(Status *);
  int (*TF_GetCode)(const Status *);
  void (*TF_SetStatus)(Status *, int code, const char *message);
  void (*TF_DeleteTensor)(Tensor *);
  int (*TF_TensorType)(const Tensor *);
  int (*TF_NumDims)(const Tensor *);
  int64_t (*TF_Dim)(const Tensor *, int);
  void *(*TF_TensorData)(const Tensor *);
  void (*TF_GetInput)(Context *, int, Tensor **, Status *);
  Tensor *(*TF_AllocateOutput)(Context *, int, int type, const int64_t *dims, int rank, size_t bytes, Status *);
  void (*TF_OpKernelContext_Failure)(Context *, Status *);
  void (*TF_OpKernelConstruction_Failure)(Construction *, Status *);
  void (*TF_OpKernelConstruction_GetAttrInt32)(Construction *, const char *, int32_t *, Status *);
  void (*TF_OpKernelConstruction_GetAttrFloat)(Construction *, const char *, float *, Status *);
  KernelBuilder *(*TF_NewKernelBuilder)(const char *op, const char *device, void *(*create)(Construction *),
                                        void (*compute)(void *, Context *), void (*destroy)(void *));
  void (*TF_RegisterKernelBuilder)(const char *name, KernelBuilder *, Status *);
  OpBuilder *(*TF_NewOpDefinitionBuilder)(const char *);
  void (*TF_OpDefinitionBuilderAddAttr)(OpBuilder *, const char *);
  void (*TF_OpDefinitionBuilderAddInput)(OpBuilder *, const char *);
  void (*TF_OpDefinitionBuilderAddOutput)(OpBuilder *, const char *);
  void (*TF_RegisterOpDefinition)(OpBuilder *, Status *);
};

}  // namespace ception::tensorflow
