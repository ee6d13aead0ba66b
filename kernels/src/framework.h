// The operations as a framework calls them: which shapes fit, what comes out, and which call of the C interface it is.
//
// A Call is one call of an operation by a framework. It has the shapes and values of the inputs, gives memory for the
// outputs, or null where it cannot, and keeps what went wrong:
//   bool fine() const; bool require(bool fits, const char *message); void ended(int32_t failed);
//   int32_t element() const;  of the first input
//   const Shape &shape(int) const; const void *input(int) const; const float *floats(int) const;
//   void *output(int, const Shape &);  of the first input's kind of numbers
//   float *float_output(int, const Shape &);
#pragma once

#include <algorithm>
#include <vector>

#include "ception_kernels.h"

namespace ception {
namespace {

using Shape = std::vector<int64_t>;

int64_t count(const Shape &shape) {
  int64_t product = 1;
  for (int64_t size : shape) product *= size;
  return product;
}

struct Attributes {
  int32_t window_height = 0, window_width = 0, down = 1, right = 1, same = 0, clipped = 0, apart = 0;
  int32_t transposed_a = 0, transposed_b = 0, all = 0;
  float epsilon = 0;
};

constexpr const char *kKernelDoesNotFit = "the kernel does not fit the input";
constexpr const char *kGradientDoesNotFit = "the gradient does not fit the input";
constexpr const char *kStatisticsDoNotFit = "mean, variance, gamma and beta do not fit the input, or it is empty";

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

Shape outputs_of(const ception_windows &w) { return {w.batch, w.out_height, w.out_width, w.channels}; }

// Whether the kernel at `number` is one of the windows, for each channel of the input.
template <typename Call>
bool fits(const Call &call, const Attributes &attributes, int number) {
  const Shape &x = call.shape(0), &kernel = call.shape(number);
  return x.size() == 4 && kernel.size() == 4 && kernel[0] == attributes.window_height &&
         kernel[1] == attributes.window_width && kernel[2] == x[3] && kernel[3] == 1;
}

// How x is read by the statistics and factors from an input on; all belong to its channels.
template <typename Call>
ception_reading reading_of(const Call &call, int number, const Attributes &attributes) {
  return {call.floats(number), call.floats(number + 1), call.floats(number + 2), call.floats(number + 3),
          attributes.epsilon, attributes.clipped, attributes.apart, nullptr};
}

template <typename Call>
bool fits_reading(const Call &call, int number) {
  if (call.shape(0).empty() || count(call.shape(0)) == 0) return false;
  for (int of = number; of < number + 4; ++of)
    if (call.shape(of) != Shape{call.shape(0).back()}) return false;
  return true;
}

template <bool normed, typename Call>
void depthwise(const Attributes &attributes, Call &call) {
  if (!call.require(fits(call, attributes, 1), kKernelDoesNotFit)) return;
  if (normed && !call.require(fits_reading(call, 2), kStatisticsDoNotFit)) return;
  const ception_windows w = windows_of(attributes, call.shape(0));
  ception_reading reading{nullptr, nullptr, nullptr, nullptr, 0, attributes.clipped, 0, nullptr};
  if (normed) reading = reading_of(call, 2, attributes);
  if (void *y = call.output(0, outputs_of(w)))
    call.ended(ception_depthwise(&w, call.element(), &reading, call.input(0), call.input(1), y));
}

template <bool normed, typename Call>
void depthwise_gradients(const Attributes &attributes, Call &call) {
  constexpr int given = normed ? 6 : 2;
  if (!call.require(fits(call, attributes, 1), kKernelDoesNotFit)) return;
  if (normed && !call.require(fits_reading(call, 2), kStatisticsDoNotFit)) return;
  const ception_windows w = windows_of(attributes, call.shape(0));
  if (!call.require(call.shape(given) == outputs_of(w), kGradientDoesNotFit)) return;
  ception_reading reading{nullptr, nullptr, nullptr, nullptr, 0, attributes.clipped, 0, nullptr};
  float *of_gamma = nullptr, *of_beta = nullptr;
  if (normed) {
    reading = reading_of(call, 2, attributes);
    of_gamma = call.float_output(2, {w.channels}), of_beta = call.float_output(3, {w.channels});
    if (!of_gamma || !of_beta) return;
  }
  void *of_x = call.output(0, call.shape(0)), *of_kernel = call.output(1, call.shape(1));
  if (of_x && of_kernel)
    call.ended(ception_depthwise_gradients(&w, call.element(), &reading, call.input(0), call.input(1),
                                           call.input(given), of_x, of_kernel, of_gamma, of_beta));
}

template <typename Call>
void moments(const Attributes &, Call &call) {
  if (!call.require(!call.shape(0).empty() && count(call.shape(0)) > 0, "there are no values")) return;
  const int64_t channels = call.shape(0).back();
  float *mean = call.float_output(0, {channels}), *variance = call.float_output(1, {channels});
  if (mean && variance)
    call.ended(ception_moments(count(call.shape(0)) / channels, channels, call.element(), call.input(0), mean, variance));
}

template <typename Call>
void normalize(const Attributes &attributes, Call &call) {
  if (!call.require(fits_reading(call, 1), kStatisticsDoNotFit)) return;
  const int64_t channels = call.shape(0).back(), values = count(call.shape(0)) / channels;
  const ception_reading reading = reading_of(call, 1, attributes);
  if (void *y = call.output(0, call.shape(0)))
    call.ended(ception_normalize(values, channels, call.element(), &reading, call.input(0), y));
}

// Those of x, gamma and beta; of the last two alone for a part of the values that were normalised together.
template <bool whole, typename Call>
void normalize_gradients(const Attributes &attributes, Call &call) {
  if (!call.require(fits_reading(call, 1), kStatisticsDoNotFit)) return;
  if (!call.require(call.shape(5) == call.shape(0), kGradientDoesNotFit)) return;
  const int64_t channels = call.shape(0).back(), values = count(call.shape(0)) / channels;
  const ception_reading reading = reading_of(call, 1, attributes);
  void *of_x = whole ? call.output(0, call.shape(0)) : nullptr;
  float *of_gamma = call.float_output(whole, {channels}), *of_beta = call.float_output(whole + 1, {channels});
  if ((!whole || of_x) && of_gamma && of_beta)
    call.ended(ception_normalize_gradients(values, channels, call.element(), &reading, call.input(0), call.input(5),
                                           of_x, of_gamma, of_beta));
}

template <typename Call>
void finish_gradient(const Attributes &attributes, Call &call) {
  if (!call.require(fits_reading(call, 1) && attributes.all > 0, kStatisticsDoNotFit)) return;
  const Shape &x = call.shape(0), of_channel{x.back()};
  if (!call.require(call.shape(5) == x && call.shape(6) == of_channel && call.shape(7) == of_channel, kGradientDoesNotFit))
    return;
  const ception_reading reading = reading_of(call, 1, attributes);
  if (void *of_x = call.output(0, x))
    call.ended(ception_finish_gradient(count(x) / x.back(), x.back(), call.element(), &reading, call.input(0),
                                       call.input(5), call.floats(6), call.floats(7), attributes.all, of_x));
}

template <typename Call>
void bias_selu(const Attributes &, Call &call) {
  const Shape &x = call.shape(0);
  if (!call.require(!x.empty() && count(x) > 0 && call.shape(1) == Shape{x.back()}, "the bias does not fit")) return;
  if (void *y = call.output(0, x))
    call.ended(ception_bias_selu(count(x) / x.back(), x.back(), call.element(), call.input(0), call.floats(1), y));
}

template <typename Call>
void bias_selu_gradients(const Attributes &, Call &call) {
  const Shape &y = call.shape(0);
  if (!call.require(!y.empty() && count(y) > 0 && call.shape(1) == y, kGradientDoesNotFit)) return;
  void *of_x = call.output(0, y);
  float *of_bias = call.float_output(1, {y.back()});
  if (of_x && of_bias)
    call.ended(ception_bias_selu_gradients(count(y) / y.back(), y.back(), call.element(), call.input(0), call.input(1),
                                           of_x, of_bias));
}

// The outputs of windows of which each gives the filters that the kernel at `number` has.
template <typename Call>
Shape filtered(const Call &call, const Attributes &attributes, int number) {
  Shape made = outputs_of(windows_of(attributes, call.shape(0)));
  made[3] = call.shape(number)[3];
  return made;
}

template <typename Call>
bool fits_convolution(const Call &call, const Attributes &attributes) {
  const Shape &x = call.shape(0), &kernel = call.shape(1);
  return call.element() == CEPTION_FLOAT32 && x.size() == 4 && kernel.size() == 4 && kernel[2] == x[3] &&
         kernel[0] == attributes.window_height && kernel[1] == attributes.window_width;
}

template <typename Call>
void convolution(const Attributes &attributes, Call &call) {
  if (!call.require(fits_convolution(call, attributes), kKernelDoesNotFit)) return;
  const ception_windows w = windows_of(attributes, call.shape(0));
  if (float *y = call.float_output(0, filtered(call, attributes, 1)))
    call.ended(ception_convolution(&w, call.shape(1)[3], call.floats(0), call.floats(1), y));
}

// Of x, of which the shape alone counts.
template <typename Call>
void convolution_gradient(const Attributes &attributes, Call &call) {
  if (!call.require(fits_convolution(call, attributes), kKernelDoesNotFit)) return;
  if (!call.require(call.shape(2) == filtered(call, attributes, 1), kGradientDoesNotFit)) return;
  const ception_windows w = windows_of(attributes, call.shape(0));
  if (float *of_x = call.float_output(0, call.shape(0)))
    call.ended(ception_convolution_gradient(&w, call.shape(1)[3], call.floats(1), call.floats(2), of_x));
}

template <typename Call>
void convolution_kernel_gradient(const Attributes &attributes, Call &call) {
  const Shape &x = call.shape(0), &gradient = call.shape(1);
  if (!call.require(x.size() == 4 && gradient.size() == 4 && call.element() == CEPTION_FLOAT32, "there are no maps")) return;
  const ception_windows w = windows_of(attributes, x);
  Shape made = outputs_of(w);
  made[3] = gradient[3];
  if (!call.require(gradient == made, kGradientDoesNotFit)) return;
  if (float *of_kernel = call.float_output(0, {w.window_height, w.window_width, w.channels, made[3]}))
    call.ended(ception_convolution_kernel_gradient(&w, made[3], call.floats(0), call.floats(1), of_kernel));
}

template <typename Call>
void convolution_selu(const Attributes &attributes, Call &call) {
  if (!call.require(fits_convolution(call, attributes) && call.shape(2) == Shape{call.shape(1)[3]}, kKernelDoesNotFit))
    return;
  const ception_windows w = windows_of(attributes, call.shape(0));
  const int64_t filters = call.shape(1)[3];
  if (float *y = call.float_output(0, filtered(call, attributes, 1)))
    call.ended(ception_convolution_selu(&w, filters, call.floats(0), call.floats(1), call.floats(2), y));
}

template <typename Call>
void convolution_selu_gradients(const Attributes &attributes, Call &call) {
  if (!call.require(fits_convolution(call, attributes), kKernelDoesNotFit)) return;
  const Shape made = filtered(call, attributes, 1);
  if (!call.require(call.shape(2) == made && call.shape(3) == made, kGradientDoesNotFit)) return;
  const ception_windows w = windows_of(attributes, call.shape(0));
  float *of_kernel = call.float_output(0, call.shape(1)), *of_bias = call.float_output(1, {made[3]});
  if (of_kernel && of_bias)
    call.ended(ception_convolution_selu_gradients(&w, made[3], call.floats(0), call.floats(2), call.floats(3), of_kernel,
                                                  of_bias));
}

// Whether what a separable convolution with SELU reads fits together: maps, both kernels, and the bias or the outputs.
template <typename Call>
bool fits_separable(const Call &call, const Attributes &attributes, bool given_outputs) {
  if (call.element() != CEPTION_FLOAT32 || !fits(call, attributes, 1)) return false;
  const Shape &pointwise = call.shape(2);
  if (pointwise.size() != 4 || pointwise[0] != 1 || pointwise[1] != 1 || pointwise[2] != call.shape(0)[3]) return false;
  const Shape made = filtered(call, attributes, 2);
  return given_outputs ? call.shape(3) == made && call.shape(4) == made : call.shape(3) == Shape{pointwise[3]};
}

template <typename Call>
void separable_selu(const Attributes &attributes, Call &call) {
  if (!call.require(fits_separable(call, attributes, false), kKernelDoesNotFit)) return;
  const ception_windows w = windows_of(attributes, call.shape(0));
  const int64_t filters = call.shape(2)[3];
  if (float *y = call.float_output(0, filtered(call, attributes, 2)))
    call.ended(ception_separable_selu(&w, filters, call.floats(0), call.floats(1), call.floats(2), call.floats(3), y));
}

template <typename Call>
void separable_selu_gradients(const Attributes &attributes, Call &call) {
  if (!call.require(fits_separable(call, attributes, true), kGradientDoesNotFit)) return;
  const ception_windows w = windows_of(attributes, call.shape(0));
  const int64_t filters = call.shape(2)[3];
  float *of_x = call.float_output(0, call.shape(0)), *of_kernel = call.float_output(1, call.shape(1));
  float *of_pointwise = call.float_output(2, call.shape(2)), *of_bias = call.float_output(3, {filters});
  if (of_x && of_kernel && of_pointwise && of_bias)
    call.ended(ception_separable_selu_gradients(&w, filters, call.floats(0), call.floats(1), call.floats(2),
                                                call.floats(3), call.floats(4), of_x, of_kernel, of_pointwise, of_bias));
}

template <typename Call>
void product(const Attributes &attributes, Call &call) {
  const Shape &a = call.shape(0), &b = call.shape(1);
  if (!call.require(a.size() == 2 && b.size() == 2 && call.element() == CEPTION_FLOAT32, "no matrices of float32")) return;
  const int64_t m = a[attributes.transposed_a ? 1 : 0], k = a[attributes.transposed_a ? 0 : 1];
  const int64_t n = b[attributes.transposed_b ? 0 : 1];
  if (!call.require(b[attributes.transposed_b ? 1 : 0] == k, "the matrices do not fit each other")) return;
  if (float *c = call.float_output(0, {m, n}))
    call.ended(ception_product(m, n, k, call.floats(0), attributes.transposed_a, call.floats(1), attributes.transposed_b, c));
}

template <typename Call>
void max_pool(const Attributes &attributes, Call &call) {
  if (!call.require(call.shape(0).size() == 4, "there are no maps")) return;
  const ception_windows w = windows_of(attributes, call.shape(0));
  if (void *y = call.output(0, outputs_of(w)))
    call.ended(ception_max_pool(&w, call.element(), call.input(0), y));
}

template <typename Call>
void max_pool_gradient(const Attributes &attributes, Call &call) {
  if (!call.require(call.shape(0).size() == 4, "there are no maps")) return;
  const ception_windows w = windows_of(attributes, call.shape(0));
  const Shape made = outputs_of(w);
  if (!call.require(call.shape(1) == made && call.shape(2) == made, kGradientDoesNotFit)) return;
  if (void *of_x = call.output(0, call.shape(0)))
    call.ended(ception_max_pool_gradient(&w, call.element(), call.input(0), call.input(1), call.input(2), of_x));
}

}  // namespace
}  // namespace ception
