// What is compiled once for each set of instructions, and how one of them is chosen.
#pragma once

#include "ception_kernels.h"

namespace ception {

struct Operations {
  const char *name;
  decltype(&ception_product) product;
  decltype(&ception_depthwise) depthwise;
  decltype(&ception_depthwise_gradients) depthwise_gradients;
  decltype(&ception_moments) moments;
  decltype(&ception_normalize) normalize;
  decltype(&ception_normalize_gradients) normalize_gradients;
  decltype(&ception_finish_gradient) finish_gradient;
  decltype(&ception_bias_selu) bias_selu;
  decltype(&ception_bias_selu_gradients) bias_selu_gradients;
  decltype(&ception_convolution) convolution;
  decltype(&ception_convolution_gradient) convolution_gradient;
  decltype(&ception_convolution_kernel_gradient) convolution_kernel_gradient;
  decltype(&ception_convolution_selu) convolution_selu;
  decltype(&ception_convolution_selu_gradients) convolution_selu_gradients;
  decltype(&ception_separable_selu) separable_selu;
  decltype(&ception_separable_selu_gradients) separable_selu_gradients;
  decltype(&ception_max_pool) max_pool;
  decltype(&ception_max_pool_gradient) max_pool_gradient;
};

extern const Operations operations_portable, operations_avx2, operations_avx512;

}  // namespace ception
