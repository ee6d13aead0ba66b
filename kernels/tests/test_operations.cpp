// The operations against the plainest way to compute them in double precision, over many shapes.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "ception_kernels.h"

namespace {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

int failures = 0;
std::mt19937 generator(1);

Floats drawn(int64_t count) {
  std::normal_distribution<float> normal;
  Floats values(count);
  for (auto &value : values) value = normal(generator);
  return values;
}

double within = 1e-5;  // of the largest expected value, or of the largest term of a sum that nearly cancels

void check(const std::string &what, const Floats &found, const Doubles &expected, double largest = 1e-6) {
  double difference = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    const double apart = std::fabs(found[i] - expected[i]);
    difference = apart <= difference ? difference : apart;  // and what is no number
    largest = std::max(largest, std::fabs(expected[i]));
  }
  if (found.size() == expected.size() && difference <= within * largest) return;
  ++failures;
  std::printf("%s: %g of %g\n", what.c_str(), difference, largest);
}

// Numbers as an operation takes and gives them: floats, or their upper halves.
struct Numbers {
  int32_t element;
  Floats floats;
  std::vector<uint16_t> halves;

  Numbers(int32_t element, const Floats &values) : element(element), floats(values), halves(values.size()) {
    if (element == CEPTION_FLOAT32) return;
    for (size_t i = 0; i < values.size(); ++i) {
      uint32_t bits;
      std::memcpy(&bits, &values[i], sizeof bits);
      halves[i] = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    }
    floats = read();
  }
  Numbers(int32_t element, int64_t count) : Numbers(element, Floats(count, std::numeric_limits<float>::infinity())) {}

  void *at() { return element == CEPTION_FLOAT32 ? (void *)floats.data() : (void *)halves.data(); }
  Floats read() const {
    if (element == CEPTION_FLOAT32) return floats;
    Floats values(halves.size());
    for (size_t i = 0; i < values.size(); ++i) {
      const uint32_t bits = (uint32_t)halves[i] << 16;
      std::memcpy(&values[i], &bits, sizeof bits);
    }
    return values;
  }
};

// What maps are normalised with, and what that gives.
struct Normed {
  int64_t values, channels;
  bool clipped;
  Floats mean, variance, gamma, beta;
  ception_reading reading() const {
    return {mean.data(), variance.data(), gamma.data(), beta.data(), 1e-3f, clipped, 0, nullptr};
  }
  double inverse(int64_t channel) const { return 1 / std::sqrt((double)variance[channel] + 1e-3f); }

  Floats read(const Floats &x) const {
    Floats y(x.size());
    for (int64_t i = 0; i < values * channels; ++i) {
      const int64_t c = i % channels;
      const double value = (x[i] - (double)mean[c]) * inverse(c) * gamma[c] + beta[c];
      y[i] = (float)(clipped && value < 0 ? 0 : value);
    }
    return y;
  }

  // Gradients of x, gamma and beta from those of what was read; the largest term of the first.
  double through(const Floats &x, Doubles given, Doubles &of_x, Doubles &of_gamma, Doubles &of_beta) const {
    const Floats y = read(x);
    of_x.assign(x.size(), 0), of_gamma.assign(channels, 0), of_beta.assign(channels, 0);
    double term = 0;
    for (int64_t i = 0; i < values * channels; ++i) {
      const int64_t c = i % channels;
      if (clipped && y[i] == 0) given[i] = 0;
      of_beta[c] += given[i];
      of_gamma[c] += given[i] * (x[i] - (double)mean[c]) * inverse(c);
      term = std::max(term, std::fabs(gamma[c] * inverse(c) * given[i]));
    }
    for (int64_t i = 0; i < values * channels; ++i) {
      const int64_t c = i % channels;
      of_x[i] = gamma[c] * inverse(c) *
                (given[i] - of_beta[c] / values - (x[i] - (double)mean[c]) * inverse(c) * of_gamma[c] / values);
    }
    return term;
  }
};

// Normalisation by random numbers beside the moments of x.
Normed normed_by(int64_t values, int64_t channels, Numbers &x, bool clipped) {
  Normed made{values, channels, clipped, Floats(channels), Floats(channels), drawn(channels), drawn(channels)};
  ception_moments(values, channels, x.element, x.at(), made.mean.data(), made.variance.data());
  return made;
}

void test_product(int64_t m, int64_t n, int64_t k) {
  for (int turned = 0; turned < 4; ++turned) {
    const bool of_a = turned & 1, of_b = turned & 2;
    const Floats a = drawn(m * k), b = drawn(k * n);
    Floats c(m * n, NAN);
    Doubles expected(m * n);
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j)
        for (int64_t p = 0; p < k; ++p)
          expected[i * n + j] += (double)a[of_a ? p * m + i : i * k + p] * b[of_b ? j * k + p : p * n + j];
    ception_product(m, n, k, a.data(), of_a, b.data(), of_b, c.data());
    check("product", c, expected, 1);
  }
}

// Calls a function for each place of each window that lies inside: with the output's, the window's and the input's.
void walk(const ception_windows &w, const std::function<void(int64_t, int64_t, int64_t)> &body) {
  for (int64_t picture = 0; picture < w.batch; ++picture)
    for (int64_t row = 0; row < w.out_height; ++row)
      for (int64_t column = 0; column < w.out_width; ++column)
        for (int64_t i = 0; i < w.window_height; ++i)
          for (int64_t j = 0; j < w.window_width; ++j) {
            const int64_t down = row * w.down - w.top + i, right = column * w.right - w.left + j;
            if (down < 0 || down >= w.height || right < 0 || right >= w.width) continue;
            const int64_t out = ((picture * w.out_height + row) * w.out_width + column) * w.channels;
            body(out, (i * w.window_width + j) * w.channels,
                 ((picture * w.height + down) * w.width + right) * w.channels);
          }
}

int64_t inputs(const ception_windows &w) { return w.batch * w.height * w.width * w.channels; }
int64_t outputs(const ception_windows &w) { return w.batch * w.out_height * w.out_width * w.channels; }

struct Gradients {
  Doubles of_x, of_kernel;
};

Gradients expected_gradients(const ception_windows &w, const Floats &x, const Floats &kernel, const Doubles &given) {
  Gradients found{Doubles(x.size()), Doubles(kernel.size())};
  walk(w, [&](int64_t out, int64_t place, int64_t in) {
    for (int64_t channel = 0; channel < w.channels; ++channel) {
      found.of_x[in + channel] += given[out + channel] * kernel[place + channel];
      found.of_kernel[place + channel] += given[out + channel] * x[in + channel];
    }
  });
  return found;
}

Doubles expected_depthwise(const ception_windows &w, const Floats &x, const Floats &kernel) {
  Doubles y(outputs(w));
  walk(w, [&](int64_t out, int64_t place, int64_t in) {
    for (int64_t channel = 0; channel < w.channels; ++channel)
      y[out + channel] += (double)x[in + channel] * kernel[place + channel];
  });
  return y;
}

enum Kind { kPlain, kClipped, kNormed, kNormedAndClipped };

void test_depthwise(const ception_windows &w, int32_t element, Kind kind) {
  Numbers x(element, drawn(inputs(w))), kernel(element, drawn(w.window_height * w.window_width * w.channels));
  Numbers given(element, drawn(outputs(w))), y(element, outputs(w)), of_x(element, inputs(w));
  Numbers of_kernel(element, kernel.floats.size());
  const bool is_normed = kind >= kNormed, clipped = kind == kClipped || kind == kNormedAndClipped;
  const int64_t values = w.batch * w.height * w.width;
  const Normed normed = normed_by(values, w.channels, x, clipped);
  ception_reading reading = normed.reading();
  if (!is_normed) reading.mean = nullptr;
  const ception_reading *how = kind == kPlain ? nullptr : &reading;
  Floats maps = is_normed ? normed.read(x.floats) : x.floats, of_gamma(w.channels, NAN), of_beta(w.channels, NAN);
  if (clipped)
    for (auto &value : maps) value = std::max(value, 0.f);
  ception_depthwise(&w, element, how, x.at(), kernel.at(), y.at());
  check("depthwise", y.read(), expected_depthwise(w, maps, kernel.floats), 1);
  ception_depthwise_gradients(&w, element, how, x.at(), kernel.at(), given.at(), of_x.at(), of_kernel.at(),
                              of_gamma.data(), of_beta.data());
  Gradients expected =
      expected_gradients(w, maps, kernel.floats, Doubles(given.floats.begin(), given.floats.end()));
  check("depthwise, of the kernel", of_kernel.read(), expected.of_kernel, 1);
  if (clipped)
    for (size_t i = 0; i < maps.size(); ++i) expected.of_x[i] *= maps[i] > 0;
  if (!is_normed) return check("depthwise, of x", of_x.read(), expected.of_x);
  Doubles for_x, for_gamma, for_beta;
  const double term = normed.through(x.floats, expected.of_x, for_x, for_gamma, for_beta);
  check("depthwise, of x that is normalised", of_x.read(), for_x, term);
  reading.apart = 1;
  ception_depthwise_gradients(&w, element, how, x.at(), kernel.at(), given.at(), of_x.at(), of_kernel.at(),
                              of_gamma.data(), of_beta.data());
  check("depthwise, of what was read", of_x.read(), expected.of_x);
  ception_finish_gradient(values, w.channels, element, how, x.at(), of_x.at(), of_gamma.data(), of_beta.data(), values,
                          of_x.at());
  check("depthwise, of x in two steps", of_x.read(), for_x, term);
  check("depthwise, of gamma", of_gamma, for_gamma, std::sqrt(values));
  check("depthwise, of beta", of_beta, for_beta, std::sqrt(values));
}

void test_batch_norm(int64_t values, int64_t channels, int32_t element, float away, bool clipped) {
  Floats numbers = drawn(values * channels);
  for (auto &value : numbers) value += away;  // a mean far from 0 must not cost the variance its digits
  Numbers x(element, numbers), given(element, drawn(values * channels)), y(element, values * channels);
  Numbers of_x(element, values * channels);
  const Normed normed = normed_by(values, channels, x, clipped);
  Doubles means(channels), variances(channels);
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t i = 0; i < values; ++i) means[c] += (double)x.floats[i * channels + c] / values;
    for (int64_t i = 0; i < values; ++i) variances[c] += std::pow(x.floats[i * channels + c] - means[c], 2) / values;
  }
  check("mean", normed.mean, means, 1);
  check("variance", normed.variance, variances);
  if (away != 0) return;  // rounding of x itself is large then
  const ception_reading reading = normed.reading();
  Floats of_gamma(channels, NAN), of_beta(channels, NAN);
  ception_normalize(values, channels, element, &reading, x.at(), y.at());
  ception_normalize_gradients(values, channels, element, &reading, x.at(), given.at(), of_x.at(), of_gamma.data(),
                              of_beta.data());
  const Floats read = normed.read(x.floats);
  Doubles for_x, for_gamma, for_beta, gradient(given.floats.begin(), given.floats.end());
  const double term = normed.through(x.floats, gradient, for_x, for_gamma, for_beta);
  check("batch norm", y.read(), Doubles(read.begin(), read.end()));
  check("batch norm, of x", of_x.read(), for_x, term);
  check("batch norm, of gamma", of_gamma, for_gamma, 1);
  check("batch norm, of beta", of_beta, for_beta, 1);
  of_gamma.assign(channels, NAN), of_beta.assign(channels, NAN);
  ception_normalize_gradients(values, channels, element, &reading, x.at(), given.at(), nullptr, of_gamma.data(),
                              of_beta.data());
  check("batch norm, of gamma alone", of_gamma, for_gamma, 1);
  ception_finish_gradient(values, channels, element, &reading, x.at(), given.at(), of_gamma.data(), of_beta.data(), values,
                          of_x.at());
  check("batch norm, of x in two steps", of_x.read(), for_x, term);
}

void test_bias_selu(int64_t values, int64_t channels, int32_t element) {
  Floats numbers = drawn(values * channels);
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] *= i % 7 ? 2 : 40;  // far below 0, too
  Numbers x(element, numbers), given(element, drawn(values * channels)), y(element, values * channels);
  Numbers of_x(element, values * channels);
  const Floats bias = drawn(channels);
  Floats of_bias(channels, NAN);
  ception_bias_selu(values, channels, element, x.at(), bias.data(), y.at());
  ception_bias_selu_gradients(values, channels, element, y.at(), given.at(), of_x.at(), of_bias.data());
  Doubles expected(x.floats.size()), for_x(x.floats.size()), for_bias(channels);
  const double scale = 1.0507009873554805, alpha = 1.6732632423543772;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double value = (double)x.floats[i] + bias[i % channels];
    expected[i] = value > 0 ? scale * value : scale * alpha * std::expm1(value);
    for_x[i] = given.floats[i] * (value > 0 ? scale : scale * alpha * std::exp(value));
    for_bias[i % channels] += for_x[i];
  }
  check("SELU", y.read(), expected);
  check("SELU, of x", of_x.read(), for_x, 1);
  check("SELU, of the bias", of_bias, for_bias, std::sqrt(values));
}

// What SELU gives of maps (values, depth), a matrix (depth, filters) and a bias, and the gradients.
struct WithSelu {
  Doubles y, of_map, of_matrix, of_bias;

  WithSelu(const Doubles &map, int64_t depth, const Floats &matrix, const Floats &bias, const Floats &given)
      : y(given.size()), of_map(map.size()), of_matrix(matrix.size()), of_bias(bias.size()) {
    const double scale = 1.0507009873554805, alpha = 1.6732632423543772;
    const int64_t filters = bias.size();
    for (size_t i = 0; i < y.size(); ++i) {
      const int64_t filter = i % filters, at = i / filters * depth;
      double value = bias[filter];
      for (int64_t p = 0; p < depth; ++p) value += map[at + p] * matrix[p * filters + filter];
      y[i] = value > 0 ? scale * value : scale * alpha * std::expm1(value);
      const double slope = given[i] * (value > 0 ? scale : scale * alpha * std::exp(value));
      of_bias[filter] += slope;
      for (int64_t p = 0; p < depth; ++p) {
        of_map[at + p] += slope * matrix[p * filters + filter];
        of_matrix[p * filters + filter] += slope * map[at + p];
      }
    }
  }
};

void test_separable_selu(const ception_windows &w, int64_t filters) {
  const Floats x = drawn(inputs(w)), kernel = drawn(w.window_height * w.window_width * w.channels), bias = drawn(filters);
  const Floats pointwise = drawn(w.channels * filters), given = drawn(outputs(w) / w.channels * filters);
  Doubles map(outputs(w)), for_x(x.size()), for_kernel(kernel.size());
  walk(w, [&](int64_t out, int64_t place, int64_t in) {
    for (int64_t channel = 0; channel < w.channels; ++channel)
      map[out + channel] += (double)x[in + channel] * kernel[place + channel];
  });
  const WithSelu expected(map, w.channels, pointwise, bias, given);
  walk(w, [&](int64_t out, int64_t place, int64_t in) {
    for (int64_t channel = 0; channel < w.channels; ++channel) {
      for_x[in + channel] += expected.of_map[out + channel] * kernel[place + channel];
      for_kernel[place + channel] += expected.of_map[out + channel] * x[in + channel];
    }
  });
  Floats y(given.size(), NAN), of_x(x.size(), NAN), of_kernel(kernel.size(), NAN), of_pointwise(pointwise.size(), NAN);
  Floats of_bias(filters, NAN);
  ception_separable_selu(&w, filters, x.data(), kernel.data(), pointwise.data(), bias.data(), y.data());
  ception_separable_selu_gradients(&w, filters, x.data(), kernel.data(), pointwise.data(), y.data(), given.data(),
                                   of_x.data(), of_kernel.data(), of_pointwise.data(), of_bias.data());
  const double of_sums = std::sqrt(given.size() / filters * w.channels);
  check("separable convolution and SELU", y, expected.y, 1);
  check("separable convolution and SELU, of x", of_x, for_x, 1);
  check("separable convolution and SELU, of the kernel", of_kernel, for_kernel, of_sums);
  check("separable convolution and SELU, of the pointwise kernel", of_pointwise, expected.of_matrix, of_sums);
  check("separable convolution and SELU, of the bias", of_bias, expected.of_bias, of_sums);
}

void test_convolution(const ception_windows &w, int64_t filters) {
  const Floats x = drawn(inputs(w)), kernel = drawn(w.window_height * w.window_width * w.channels * filters);
  const Floats given = drawn(outputs(w) / w.channels * filters);
  Doubles expected(given.size()), for_x(x.size()), for_kernel(kernel.size());
  walk(w, [&](int64_t out, int64_t place, int64_t in) {
    for (int64_t channel = 0; channel < w.channels; ++channel)
      for (int64_t filter = 0; filter < filters; ++filter) {
        const int64_t made = out / w.channels * filters + filter, of = (place + channel) * filters + filter;
        expected[made] += (double)x[in + channel] * kernel[of];
        for_x[in + channel] += (double)given[made] * kernel[of];
        for_kernel[of] += (double)given[made] * x[in + channel];
      }
  });
  Floats y(given.size(), NAN), of_x(x.size(), NAN), of_kernel(kernel.size(), NAN);
  ception_convolution(&w, filters, x.data(), kernel.data(), y.data());
  ception_convolution_gradient(&w, filters, kernel.data(), given.data(), of_x.data());
  ception_convolution_kernel_gradient(&w, filters, x.data(), given.data(), of_kernel.data());
  check("convolution", y, expected, 1);
  check("convolution, of x", of_x, for_x, 1);
  check("convolution, of the kernel", of_kernel, for_kernel, std::sqrt(given.size() / filters));
}

void test_convolution_selu(const ception_windows &w, int64_t filters) {
  const int64_t depth = w.window_height * w.window_width * w.channels;
  const Floats x = drawn(inputs(w)), kernel = drawn(depth * filters), bias = drawn(filters);
  const Floats given = drawn(outputs(w) / w.channels * filters);
  Doubles map(outputs(w) / w.channels * depth);
  walk(w, [&](int64_t out, int64_t place, int64_t in) {
    for (int64_t channel = 0; channel < w.channels; ++channel)
      map[out / w.channels * depth + place + channel] = x[in + channel];
  });
  const WithSelu expected(map, depth, kernel, bias, given);
  Floats y(given.size(), NAN), of_kernel(kernel.size(), NAN), of_bias(filters, NAN);
  ception_convolution_selu(&w, filters, x.data(), kernel.data(), bias.data(), y.data());
  ception_convolution_selu_gradients(&w, filters, x.data(), y.data(), given.data(), of_kernel.data(), of_bias.data());
  const double of_sums = std::sqrt(given.size() / filters);
  check("convolution and SELU", y, expected.y, 1);
  check("convolution and SELU, of the kernel", of_kernel, expected.of_matrix, of_sums);
  check("convolution and SELU, of the bias", of_bias, expected.of_bias, of_sums);
}

void test_max_pool(const ception_windows &w, int32_t element, bool equal_values) {
  Floats values = drawn(inputs(w));
  if (equal_values)
    for (auto &value : values) value = value < 1 ? 0 : value;
  Numbers numbers(element, values), gradients(element, drawn(outputs(w)));
  const Floats &x = numbers.floats, &given = gradients.floats;
  Doubles expected(outputs(w), -std::numeric_limits<double>::infinity()), of_x(x.size());
  std::vector<int64_t> found(outputs(w), -1);
  walk(w, [&](int64_t out, int64_t, int64_t in) {
    for (int64_t channel = 0; channel < w.channels; ++channel)
      if (x[in + channel] > expected[out + channel])
        expected[out + channel] = x[in + channel], found[out + channel] = in + channel;
  });
  for (size_t i = 0; i < found.size(); ++i) of_x[found[i]] += given[i];
  Numbers y(element, outputs(w)), gradient(element, inputs(w));
  ception_max_pool(&w, element, numbers.at(), y.at());
  check("max pool", y.read(), expected);
  ception_max_pool_gradient(&w, element, numbers.at(), y.at(), gradients.at(), gradient.at());
  check("max pool, of x", gradient.read(), of_x, 1);
}

ception_windows windows(int64_t batch, int64_t height, int64_t width, int64_t channels, int64_t window, int64_t stride,
                        bool same) {
  ception_windows w{batch, height, width, channels, window, window, stride, stride, 0, 0, 0, 0};
  const auto outputs_of = [&](int64_t size) { return same ? (size + stride - 1) / stride : (size - window) / stride + 1; };
  const auto margin = [&](int64_t size) {
    return same ? std::max<int64_t>(0, (outputs_of(size) - 1) * stride + window - size) / 2 : 0;
  };
  w.out_height = outputs_of(height), w.out_width = outputs_of(width), w.top = margin(height), w.left = margin(width);
  return w;
}

// The same work from several threads at once, each of which must get what one alone gets, bit for bit.
void test_many_callers() {
  const ception_windows w = windows(7, 9, 9, 35, 3, 1, true);
  const Floats x = drawn(inputs(w)), kernel = drawn(9 * 35), given = drawn(outputs(w));
  const auto computed = [&] {
    Floats all(x.size() + kernel.size() + 35 * 35);
    float *of_kernel = all.data() + x.size(), *product = of_kernel + kernel.size();
    ception_depthwise_gradients(&w, CEPTION_FLOAT32, nullptr, x.data(), kernel.data(), given.data(), all.data(), of_kernel,
                                nullptr, nullptr);
    ception_product(35, 35, inputs(w) / 35, x.data(), 1, given.data(), 0, product);
    return all;
  };
  const Floats expected = computed();
  std::vector<std::thread> callers;
  std::vector<int> wrong(4);
  for (int caller = 0; caller < 4; ++caller)
    callers.emplace_back([&, caller] {
      for (int i = 0; i < 20; ++i) wrong[caller] += computed() != expected;
    });
  for (auto &caller : callers) caller.join();
  for (int count : wrong) failures += count;
}

// What is no number is rounded to none, numbers to the nearest, and halves in between to even ones.
void test_rounding() {
  const Floats one{1, 1, 1, 1, 1}, hard{1 + 1.f / 256, 1 + 3.f / 256, -3e38f, 1e-38f, NAN};
  const ception_reading reading{one.data(), one.data(), hard.data(), hard.data(), 0, 0, 0, nullptr};
  Numbers x(CEPTION_BFLOAT16, one), y(CEPTION_BFLOAT16, 5);
  ception_normalize(1, 5, CEPTION_BFLOAT16, &reading, x.at(), y.at());  // gives beta: x is its mean
  const Floats found = y.read();
  failures += found[0] != 1 || found[1] != 1 + 4.f / 256 || std::fabs(found[2] / -3e38 - 1) > 4e-3 || !(found[4] != found[4]);
}

void test_maps(const ception_windows &w, int32_t element) {
  within = element == CEPTION_FLOAT32 ? 1e-5 : 2e-2;
  for (Kind kind : {kPlain, kClipped, kNormed, kNormedAndClipped}) test_depthwise(w, element, kind);
  for (bool equal_values : {true, false}) test_max_pool(w, element, equal_values);
  within = 1e-5;
}

void test_windows() {
  for (int64_t batch : {1, 3})
    for (int64_t size : {4, 7, 12})
      for (int64_t channels : {1, 5, 33})
        for (int64_t window : {1, 2, 3, 5})
          for (bool same : {true, false}) {
            if (!same && window > size) continue;
            for (int64_t stride : {1, 2})
              for (int64_t filters : {1, 32, 45}) {
                const ception_windows w = windows(batch, size, size + 1, channels, window, stride, same);
                test_separable_selu(w, filters);
                if (channels < 33) test_convolution_selu(w, filters);
              }
            for (int64_t stride : {1, 2})
              for (int32_t element : {CEPTION_FLOAT32, CEPTION_BFLOAT16})
                test_maps(windows(batch, size, size + 1, channels, window, stride, same), element);
          }
  ception_windows uneven = windows(2, 9, 8, 6, 3, 2, false);
  uneven.window_width = 2, uneven.right = 1, uneven.out_width = 7;
  for (const ception_windows &w : {windows(2, 5, 4, 300, 3, 1, true), windows(1, 4, 3, 512, 3, 1, true),
                                   windows(0, 4, 4, 5, 3, 1, true), uneven}) {
    test_separable_selu(w, 45);
    test_separable_selu(w, 512);
    if (w.channels < 10) test_convolution_selu(w, 45);
  }
  for (Kind kind : {kPlain, kClipped, kNormed, kNormedAndClipped})
    test_depthwise(windows(2, 9, 15, 150, 3, 1, true), CEPTION_FLOAT32, kind);
}

void test_convolutions() {
  for (int64_t batch : {1, 3})
    for (int64_t size : {4, 7, 12})
      for (int64_t channels : {1, 5, 33})
        for (int64_t window : {1, 2, 3, 5})
          for (int64_t stride : {1, 2})
            for (int64_t filters : {1, 32, 45})
              for (bool same : {true, false})
                if (same || window <= size) test_convolution(windows(batch, size, size + 1, channels, window, stride, same), filters);
  ception_windows uneven = windows(2, 9, 8, 6, 3, 2, false);
  uneven.window_width = 2, uneven.right = 1, uneven.out_width = 7;
  for (const ception_windows &w : {windows(2, 5, 4, 300, 3, 1, true), windows(1, 4, 3, 512, 1, 2, true),
                                   windows(0, 4, 4, 5, 3, 1, true), windows(1, 3, 290, 2, 3, 1, true), uneven})
    test_convolution(w, 45);
}

}  // namespace

int main() {
  for (int threads : {1, 3}) {
    ception_set_threads(threads);
    for (int64_t m : {1, 13, 29, 260})
      for (int64_t n : {1, 31, 70})
        for (int64_t k : {1, 17, 300, 512, 1000}) test_product(m, n, k);
    test_windows();
    for (int64_t values : {1, 2, 100, 700})
      for (int64_t channels : {1, 7, 33})
        for (bool clipped : {false, true}) {
          for (float away : {0.f, 100.f}) test_batch_norm(values, channels, CEPTION_FLOAT32, away, clipped);
          within = 2e-2;
          test_batch_norm(values, channels, CEPTION_BFLOAT16, 0, clipped);
          test_bias_selu(values, channels, CEPTION_BFLOAT16);
          within = 1e-5;
          test_bias_selu(values, channels, CEPTION_FLOAT32);
        }
    test_many_callers();
  }
  test_rounding();
  for (int threads : {1, 3}) {
    ception_set_threads(threads);
    test_convolutions();
  }
  std::printf("%s: %d failures\n", ception_instructions(), failures);
  return failures != 0;
}
