/* What the convolutional layers of a network compute, forward and backward, on a CPU in float32 or bfloat16.

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

/* What numbers the maps, and the kernels of depthwise convolutions, are. All is computed in float32, statistics in more. */
enum { CEPTION_FLOAT32 = 0, CEPTION_BFLOAT16 = 1 };

/* How maps are read: normalised, as (x - mean) * gamma / sqrt(variance + epsilon) + beta, where mean is not null, and then
   clipped at 0 where `clipped` is not 0. Null where a reading is asked for: as they are.

   Where mean and variance are those of the maps of several processes, `added` adds up numbers over all of them, in place;
   gradients call it once, from the thread that called them. Or `apart` is not 0: then the maps' gradient that depthwise
   gradients give is that of what was read, which `ception_finish_gradient` goes on from once the caller has added up. */
typedef struct {
  const float *mean, *variance, *gamma, *beta;
  float epsilon;
  int32_t clipped, apart;
  void (*added)(double *numbers, int64_t count);
} ception_reading;

CEPTION_API int32_t ception_depthwise(const ception_windows *windows, int32_t element, const ception_reading *reading,
                                      const void *x, const void *kernel, void *y);
/* Where the maps are normalised, mean and variance are taken for those of x; else of_gamma and of_beta may be null. */
CEPTION_API int32_t ception_depthwise_gradients(const ception_windows *windows, int32_t element,
                                                const ception_reading *reading, const void *x, const void *kernel,
                                                const void *gradient, void *of_x, void *of_kernel, float *of_gamma,
                                                float *of_beta);

/* Of each channel; the variance is that of the values: divided by their number. */
CEPTION_API int32_t ception_moments(int64_t values, int64_t channels, int32_t element, const void *x, float *mean,
                                    float *variance);
/* What is read of maps that are normalised, and its gradients, for which mean and variance are those of x. Those of gamma
   and beta alone where of_x is null. */
CEPTION_API int32_t ception_normalize(int64_t values, int64_t channels, int32_t element, const ception_reading *reading,
                                      const void *x, void *y);
CEPTION_API int32_t ception_normalize_gradients(int64_t values, int64_t channels, int32_t element,
                                                const ception_reading *reading, const void *x, const void *gradient,
                                                void *of_x, float *of_gamma, float *of_beta);
/* The gradient of x from that of what was read, and from those of gamma and beta, added up over `all` values; of_x may be
   the gradient. */
CEPTION_API int32_t ception_finish_gradient(int64_t values, int64_t channels, int32_t element,
                                            const ception_reading *reading, const void *x, const void *gradient,
                                            const float *of_gamma, const float *of_beta, int64_t all, void *of_x);

/* SELU of x and a bias for each channel; the gradients follow from what it gave. */
CEPTION_API int32_t ception_bias_selu(int64_t values, int64_t channels, int32_t element, const void *x,
                                      const float *bias, void *y);
CEPTION_API int32_t ception_bias_selu_gradients(int64_t values, int64_t channels, int32_t element, const void *y,
                                                const void *gradient, void *of_x, float *of_bias);

/* A convolution across all channels, in float32: the kernel is (window_height, window_width, channels, filters), y (batch,
   out_height, out_width, filters); and the gradients of x and of the kernel. */
CEPTION_API int32_t ception_convolution(const ception_windows *windows, int64_t filters, const float *x,
                                        const float *kernel, float *y);
CEPTION_API int32_t ception_convolution_gradient(const ception_windows *windows, int64_t filters, const float *kernel,
                                                 const float *gradient, float *of_x);
CEPTION_API int32_t ception_convolution_kernel_gradient(const ception_windows *windows, int64_t filters, const float *x,
                                                        const float *gradient, float *of_kernel);

/* A convolution across all channels, a bias and SELU, in float32, for windows that cover few numbers. The gradients
   follow from y: those of kernel and bias. */
CEPTION_API int32_t ception_convolution_selu(const ception_windows *windows, int64_t filters, const float *x,
                                             const float *kernel, const float *bias, float *y);
CEPTION_API int32_t ception_convolution_selu_gradients(const ception_windows *windows, int64_t filters, const float *x,
                                                       const float *y, const float *gradient, float *of_kernel,
                                                       float *of_bias);

/* A convolution of each channel alone, one of what it gives across all channels, a bias and SELU, in float32. The pointwise
   kernel is (channels, filters). */
CEPTION_API int32_t ception_separable_selu(const ception_windows *windows, int64_t filters, const float *x,
                                           const float *kernel, const float *pointwise, const float *bias, float *y);
CEPTION_API int32_t ception_separable_selu_gradients(const ception_windows *windows, int64_t filters, const float *x,
                                                     const float *kernel, const float *pointwise, const float *y,
                                                     const float *gradient, float *of_x, float *of_kernel,
                                                     float *of_pointwise, float *of_bias);

CEPTION_API int32_t ception_max_pool(const ception_windows *windows, int32_t element, const void *x, void *y);
/* The gradient goes to the first place of each window that has its largest value. */
CEPTION_API int32_t ception_max_pool_gradient(const ception_windows *windows, int32_t element, const void *x,
                                              const void *y, const void *gradient, void *of_x);

#ifdef __cplusplus
}
#endif
#endif
