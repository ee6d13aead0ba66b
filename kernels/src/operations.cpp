// The operations, compiled once for each set of instructions: CEPTION_NAME is the table that this copy fills.
#include "operations.h"

#include "across_channels.h"
#include "convolutions.h"
#include "norm.h"
#include "pool.h"
#include "whole_layers.h"

namespace {

// A pointer that a call passes, to numbers of the kind that the call says.
template <typename Element>
struct Pointer {
  const void *value;
  operator const Element *() const { return static_cast<const Element *>(value); }
  operator Element *() const { return static_cast<Element *>(const_cast<void *>(value)); }
};

// Calls an operation for the numbers that it is asked for: `of(pointer)` is one to these.
#define CEPTION_CALL(name, ...)                                          \
  [&](auto element) {                                                    \
    using Element = decltype(element);                                   \
    const auto of = [](const void *value) { return Pointer<Element>{value}; }; \
    return name<Element>(__VA_ARGS__);                                   \
  }

template <typename Call>
int32_t of_element(int32_t element, const Call &call) {
  return element == CEPTION_BFLOAT16 ? call(Bfloat16{}) : call(float{});
}

int32_t any_depthwise(const ception_windows *windows, int32_t element, const ception_reading *reading, const void *x,
                      const void *kernel, void *y) {
  return of_element(element, CEPTION_CALL(depthwise, windows, reading, of(x), of(kernel), of(y)));
}

int32_t any_depthwise_gradients(const ception_windows *windows, int32_t element, const ception_reading *reading,
                                const void *x, const void *kernel, const void *gradient, void *of_x, void *of_kernel,
                                float *of_gamma, float *of_beta) {
  return of_element(element, CEPTION_CALL(depthwise_gradients, windows, reading, of(x), of(kernel), of(gradient),
                                          of(of_x), of(of_kernel), of_gamma, of_beta));
}

int32_t any_moments(int64_t values, int64_t channels, int32_t element, const void *x, float *mean, float *variance) {
  return of_element(element, CEPTION_CALL(moments, values, channels, of(x), mean, variance));
}

int32_t any_normalize(int64_t values, int64_t channels, int32_t element, const ception_reading *reading, const void *x,
                      void *y) {
  return of_element(element, CEPTION_CALL(normalize, values, channels, reading, of(x), of(y)));
}

int32_t any_normalize_gradients(int64_t values, int64_t channels, int32_t element, const ception_reading *reading,
                                const void *x, const void *gradient, void *of_x, float *of_gamma, float *of_beta) {
  return of_element(element, CEPTION_CALL(normalize_gradients, values, channels, reading, of(x), of(gradient), of(of_x),
                                          of_gamma, of_beta));
}

int32_t any_finish_gradient(int64_t values, int64_t channels, int32_t element, const ception_reading *reading,
                            const void *x, const void *gradient, const float *of_gamma, const float *of_beta, int64_t all,
                            void *of_x) {
  return of_element(element, CEPTION_CALL(finish_gradient, values, channels, reading, of(x), of(gradient), of_gamma,
                                          of_beta, all, of(of_x)));
}

int32_t any_bias_selu(int64_t values, int64_t channels, int32_t element, const void *x, const float *bias, void *y) {
  return of_element(element, CEPTION_CALL(bias_selu, values, channels, of(x), bias, of(y)));
}

int32_t any_bias_selu_gradients(int64_t values, int64_t channels, int32_t element, const void *y, const void *gradient,
                                void *of_x, float *of_bias) {
  return of_element(element, CEPTION_CALL(bias_selu_gradients, values, channels, of(y), of(gradient), of(of_x), of_bias));
}

int32_t any_max_pool(const ception_windows *windows, int32_t element, const void *x, void *y) {
  return of_element(element, CEPTION_CALL(max_pool, windows, of(x), of(y)));
}

int32_t any_max_pool_gradient(const ception_windows *windows, int32_t element, const void *x, const void *y,
                              const void *gradient, void *of_x) {
  return of_element(element, CEPTION_CALL(max_pool_gradient, windows, of(x), of(y), of(gradient), of(of_x)));
}

}  // namespace

#define CEPTION_TEXT_OF(name) #name
#define CEPTION_TEXT(name) CEPTION_TEXT_OF(name)
#define CEPTION_TABLE_OF(name) operations_##name
#define CEPTION_TABLE(name) CEPTION_TABLE_OF(name)

namespace ception {
extern const Operations CEPTION_TABLE(CEPTION_NAME) = {
    CEPTION_TEXT(CEPTION_NAME), product, any_depthwise, any_depthwise_gradients, any_moments, any_normalize,
    any_normalize_gradients, any_finish_gradient, any_bias_selu, any_bias_selu_gradients, convolution,
    convolution_gradient, convolution_kernel_gradient, convolution_selu, convolution_selu_gradients, separable_selu, separable_selu_gradients, any_max_pool, any_max_pool_gradient,
};
}  // namespace ception
