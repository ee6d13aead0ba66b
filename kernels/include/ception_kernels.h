/* What the convolutional layers of a network compute, forward and backward, in float32 on a CPU.

   Tensors are contiguous (batch, height, width, channels), kernels (height, width, channels) where each channel is
   convolved alone and (channels, filters) where all are. Nothing is kept between calls but threads and scratch memory.
   A function returns 0, or 1 where memory ran out. Any number of threads may call at once. */
#ifndef CEPTION_KERNELS_H
#define CEPTION_KERNELS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define CEPTION_API __declspec(dllexport)
#else
#define CEPTION_API __attribute__((visibility("default")))
#endif

/* Windows moved over maps; top and left are the margins before the first row and column. */
typedef struct {
  int64_t batch, height, width, channels;
  int64_t window_height, window_width, down, right, top, left;
  int64_t out_height, out_width;
} ception_windows;

/* The version of this interface. */
CEPTION_API int32_t ception_interface(void);
/* Which instructions are used: avx512, avx2 or portable. CEPTION_KERNELS in the environment names others. */
CEPTION_API const char *ception_instructions(void);
/* How many threads compute; the machine's number until it is set. */
CEPTION_API int32_t ception_threads(void);
CEPTION_API void ception_set_threads(int32_t threads);

/* c (m, n) = a (m, k) b (k, n); transposed_a: a is stored (k, m); transposed_b: b is stored (n, k). */
CEPTION_API int32_t ception_product(int64_t m, int64_t n, int64_t k, const float *a, int32_t transposed_a,
                                    const float *b, int32_t transposed_b, float *c);

CEPTION_API int32_t ception_depthwise(const ception_windows *windows, const float *x, const float *kernel, float *y);
CEPTION_API int32_t ception_depthwise_gradients(const ception_windows *windows, const float *x, const float *kernel,
                                                const float *gradient, float *of_x, float *of_kernel);

/* A depthwise convolution with strides of 1, and a product over its result, which is never stored as a whole. */
CEPTION_API int32_t ception_separable(const ception_windows *windows, int64_t filters, const float *x,
                                      const float *depthwise, const float *pointwise, float *y);
CEPTION_API int32_t ception_separable_gradients(const ception_windows *windows, int64_t filters, const float *x,
                                                const float *depthwise, const float *pointwise, const float *gradient,
                                                float *of_x, float *of_depthwise, float *of_pointwise);

/* The variance is that of the values: divided by their number. */
CEPTION_API int32_t ception_batch_norm(int64_t values, int64_t channels, const float *x, const float *gamma,
                                       const float *beta, float epsilon, float *y, float *mean, float *variance);
CEPTION_API int32_t ception_batch_norm_gradients(int64_t values, int64_t channels, const float *x, const float *gamma,
                                                 const float *mean, const float *variance, float epsilon,
                                                 const float *gradient, float *of_x, float *of_gamma, float *of_beta);

CEPTION_API int32_t ception_max_pool(const ception_windows *windows, const float *x, float *y);
/* The gradient goes to the first place of each window that has its largest value. */
CEPTION_API int32_t ception_max_pool_gradient(const ception_windows *windows, const float *x, const float *y,
                                              const float *gradient, float *of_x);

#ifdef __cplusplus
}
#endif
#endif
