// The C interface: each call goes to the copy of the operations that fits the processor.
#include <cstdlib>
#include <cstring>

#include "operations.h"
#include "threads.h"

namespace ception {
namespace {

const Operations &fitting() {
#if defined(CEPTION_X86)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw"))
    return operations_avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return operations_avx2;
#endif
  return operations_portable;
}

// What the environment names, where the processor has it: never more than that.
const Operations &chosen() {
  const Operations &best = fitting();
  const char *named = std::getenv("CEPTION_KERNELS");
  if (!named) return best;
  if (std::strcmp(named, "portable") == 0) return operations_portable;
#if defined(CEPTION_X86)
  if (std::strcmp(named, "avx2") == 0 && &best != &operations_portable) return operations_avx2;
#endif
  return best;
}

const Operations &operations() {
  static const Operations &found = chosen();
  return found;
}

}  // namespace
}  // namespace ception

using ception::operations;

extern "C" {

int32_t ception_interface(void) { return 6; }

const char *ception_instructions(void) { return operations().name; }

int32_t ception_threads(void) { return ception::threads(); }

void ception_set_threads(int32_t threads) { ception::set_threads(threads); }

int32_t ception_product(int64_t m, int64_t n, int64_t k, const float *a, int32_t transposed_a, const float *b,
                        int32_t transposed_b, float *c) {
  return operations().product(m, n, k, a, transposed_a, b, transposed_b, c);
}

int32_t ception_depthwise(const ception_windows *windows, int32_t element, const ception_reading *reading, const void *x,
                          const void *kernel, void *y) {
  return operations().depthwise(windows, element, reading, x, kernel, y);
}

int32_t ception_depthwise_gradients(const ception_windows *windows, int32_t element, const ception_reading *reading,
                                    const void *x, const void *kernel, const void *gradient, void *of_x,
                                    void *of_kernel, float *of_gamma, float *of_beta) {
  return operations().depthwise_gradients(windows, element, reading, x, kernel, gradient, of_x, of_kernel, of_gamma,
                                          of_beta);
}

int32_t ception_moments(int64_t values, int64_t channels, int32_t element, const void *x, float *mean,
                        float *variance) {
  return operations().moments(values, channels, element, x, mean, variance);
}

int32_t ception_normalize(int64_t values, int64_t channels, int32_t element, const ception_reading *reading,
                          const void *x, void *y) {
  return operations().normalize(values, channels, element, reading, x, y);
}

int32_t ception_normalize_gradients(int64_t values, int64_t channels, int32_t element, const ception_reading *reading,
                                    const void *x, const void *gradient, void *of_x, float *of_gamma, float *of_beta) {
  return operations().normalize_gradients(values, channels, element, reading, x, gradient, of_x, of_gamma, of_beta);
}

int32_t ception_finish_gradient(int64_t values, int64_t channels, int32_t element, const ception_reading *reading,
                                const void *x, const void *gradient, const float *of_gamma, const float *of_beta,
                                int64_t all, void *of_x) {
  return operations().finish_gradient(values, channels, element, reading, x, gradient, of_gamma, of_beta, all, of_x);
}

int32_t ception_bias_selu(int64_t values, int64_t channels, int32_t element, const void *x, const float *bias, void *y) {
  return operations().bias_selu(values, channels, element, x, bias, y);
}

int32_t ception_bias_selu_gradients(int64_t values, int64_t channels, int32_t element, const void *y,
                                    const void *gradient, void *of_x, float *of_bias) {
  return operations().bias_selu_gradients(values, channels, element, y, gradient, of_x, of_bias);
}

int32_t ception_convolution(const ception_windows *windows, int64_t filters, const float *x, const float *kernel,
                            float *y) {
  return operations().convolution(windows, filters, x, kernel, y);
}

int32_t ception_convolution_gradient(const ception_windows *windows, int64_t filters, const float *kernel,
                                     const float *gradient, float *of_x) {
  return operations().convolution_gradient(windows, filters, kernel, gradient, of_x);
}

int32_t ception_convolution_kernel_gradient(const ception_windows *windows, int64_t filters, const float *x,
                                            const float *gradient, float *of_kernel) {
  return operations().convolution_kernel_gradient(windows, filters, x, gradient, of_kernel);
}

int32_t ception_convolution_selu(const ception_windows *windows, int64_t filters, const float *x, const float *kernel,
                                 const float *bias, float *y) {
  return operations().convolution_selu(windows, filters, x, kernel, bias, y);
}

int32_t ception_convolution_selu_gradients(const ception_windows *windows, int64_t filters, const float *x,
                                           const float *y, const float *gradient, float *of_kernel, float *of_bias) {
  return operations().convolution_selu_gradients(windows, filters, x, y, gradient, of_kernel, of_bias);
}

int32_t ception_separable_selu(const ception_windows *windows, int64_t filters, const float *x, const float *kernel,
                               const float *pointwise, const float *bias, float *y) {
  return operations().separable_selu(windows, filters, x, kernel, pointwise, bias, y);
}

int32_t ception_separable_selu_gradients(const ception_windows *windows, int64_t filters, const float *x,
                                         const float *kernel, const float *pointwise, const float *y,
                                         const float *gradient, float *of_x, float *of_kernel, float *of_pointwise,
                                         float *of_bias) {
  return operations().separable_selu_gradients(windows, filters, x, kernel, pointwise, y, gradient, of_x, of_kernel,
                                               of_pointwise, of_bias);
}

int32_t ception_max_pool(const ception_windows *windows, int32_t element, const void *x, void *y) {
  return operations().max_pool(windows, element, x, y);
}

int32_t ception_max_pool_gradient(const ception_windows *windows, int32_t element, const void *x, const void *y,
                                  const void *gradient, void *of_x) {
  return operations().max_pool_gradient(windows, element, x, y, gradient, of_x);
}
}
