// The operations against the plainest way to compute them in double precision, over many shapes.
#include <cmath>
#include <cstdio>
#include <cstdlib>
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

// The largest difference must be at most 1e-5 of the largest expected value, or of the largest term of a sum that
// nearly cancels.
void check(const std::string &what, const Floats &found, const Doubles &expected, double largest = 1e-6) {
  double difference = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    const double apart = std::fabs(found[i] - expected[i]);
    difference = apart <= difference ? difference : apart;  // and what is no number
    largest = std::max(largest, std::fabs(expected[i]));
  }
  if (found.size() == expected.size() && difference <= 1e-5 * largest) return;
  ++failures;
  std::printf("%s: %g of %g\n", what.c_str(), difference, largest);
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
    check("product", c, expected);
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

void test_depthwise(const ception_windows &w) {
  const Floats x = drawn(inputs(w)), kernel = drawn(w.window_height * w.window_width * w.channels);
  const Floats given = drawn(outputs(w));
  Floats y(outputs(w), NAN), of_x(x.size(), NAN), of_kernel(kernel.size(), NAN);
  ception_depthwise(&w, x.data(), kernel.data(), y.data());
  check("depthwise", y, expected_depthwise(w, x, kernel));
  ception_depthwise_gradients(&w, x.data(), kernel.data(), given.data(), of_x.data(), of_kernel.data());
  const Gradients expected = expected_gradients(w, x, kernel, Doubles(given.begin(), given.end()));
  check("depthwise, of x", of_x, expected.of_x);
  check("depthwise, of the kernel", of_kernel, expected.of_kernel, 1);
}

void test_separable(const ception_windows &w, int64_t filters) {
  const Floats x = drawn(inputs(w)), depthwise = drawn(w.window_height * w.window_width * w.channels);
  const Floats pointwise = drawn(w.channels * filters);
  const int64_t places = w.batch * w.out_height * w.out_width;
  const Floats given = drawn(places * filters);
  const Doubles between = expected_depthwise(w, x, depthwise);
  Doubles expected(places * filters), of_between(outputs(w)), of_pointwise(pointwise.size());
  for (int64_t place = 0; place < places; ++place)
    for (int64_t i = 0; i < w.channels; ++i)
      for (int64_t j = 0; j < filters; ++j) {
        expected[place * filters + j] += between[place * w.channels + i] * pointwise[i * filters + j];
        of_between[place * w.channels + i] += (double)given[place * filters + j] * pointwise[i * filters + j];
        of_pointwise[i * filters + j] += between[place * w.channels + i] * given[place * filters + j];
      }
  Floats y(places * filters, NAN), of_x(x.size(), NAN), of_depthwise(depthwise.size(), NAN);
  Floats of_matrix(pointwise.size(), NAN);
  ception_separable(&w, filters, x.data(), depthwise.data(), pointwise.data(), y.data());
  check("separable", y, expected);
  ception_separable_gradients(&w, filters, x.data(), depthwise.data(), pointwise.data(), given.data(), of_x.data(),
                              of_depthwise.data(), of_matrix.data());
  const Gradients gradients = expected_gradients(w, x, depthwise, of_between);
  check("separable, of x", of_x, gradients.of_x);
  check("separable, of the depthwise kernel", of_depthwise, gradients.of_kernel);
  check("separable, of the pointwise kernel", of_matrix, of_pointwise);
}

void test_batch_norm(int64_t values, int64_t channels, float away) {
  Floats x = drawn(values * channels);
  for (auto &value : x) value += away;  // a mean far from 0 must not cost the variance its digits
  const Floats gamma = drawn(channels), beta = drawn(channels), given = drawn(values * channels);
  const float epsilon = 1e-3f;
  Floats y(x.size(), NAN), mean(channels, NAN), variance(channels, NAN);
  Floats of_x(x.size(), NAN), of_gamma(channels, NAN), of_beta(channels, NAN);
  ception_batch_norm(values, channels, x.data(), gamma.data(), beta.data(), epsilon, y.data(), mean.data(),
                     variance.data());
  ception_batch_norm_gradients(values, channels, x.data(), gamma.data(), mean.data(), variance.data(), epsilon,
                               given.data(), of_x.data(), of_gamma.data(), of_beta.data());
  Doubles means(channels), variances(channels), normed(x.size()), for_gamma(channels), for_beta(channels);
  Doubles for_x(x.size());
  double term = 0;
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t i = 0; i < values; ++i) means[c] += (double)x[i * channels + c] / values;
    for (int64_t i = 0; i < values; ++i) variances[c] += std::pow(x[i * channels + c] - means[c], 2) / values;
    const double inverse = 1 / std::sqrt(variances[c] + epsilon);
    for (int64_t i = 0; i < values; ++i) {
      const int64_t at = i * channels + c;
      normed[at] = (x[at] - means[c]) * inverse * gamma[c] + beta[c];
      for_beta[c] += given[at];
      for_gamma[c] += given[at] * (x[at] - means[c]) * inverse;
    }
    for (int64_t i = 0; i < values; ++i) {
      const int64_t at = i * channels + c;
      term = std::max(term, std::fabs(gamma[c] * inverse * given[at]));
      for_x[at] = gamma[c] * inverse *
                  (given[at] - for_beta[c] / values - (x[at] - means[c]) * inverse * for_gamma[c] / values);
    }
  }
  check("mean", mean, means);
  check("variance", variance, variances);
  if (away != 0) return;  // rounding of x itself is large then
  check("batch norm", y, normed);
  check("batch norm, of x", of_x, for_x, term);
  check("batch norm, of gamma", of_gamma, for_gamma);
  check("batch norm, of beta", of_beta, for_beta);
}

void test_max_pool(const ception_windows &w, bool equal_values) {
  Floats x = drawn(inputs(w));
  if (equal_values)
    for (auto &value : x) value = value < 1 ? 0 : value;
  const Floats given = drawn(outputs(w));
  Doubles expected(outputs(w), -std::numeric_limits<double>::infinity()), of_x(x.size());
  std::vector<int64_t> found(outputs(w), -1);
  walk(w, [&](int64_t out, int64_t, int64_t in) {
    for (int64_t channel = 0; channel < w.channels; ++channel)
      if (x[in + channel] > expected[out + channel])
        expected[out + channel] = x[in + channel], found[out + channel] = in + channel;
  });
  for (size_t i = 0; i < found.size(); ++i) of_x[found[i]] += given[i];
  Floats y(outputs(w), NAN), gradient(x.size(), NAN);
  ception_max_pool(&w, x.data(), y.data());
  check("max pool", y, expected);
  ception_max_pool_gradient(&w, x.data(), y.data(), given.data(), gradient.data());
  check("max pool, of x", gradient, of_x);
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
  const ception_windows w = windows(6, 9, 9, 35, 3, 1, true);
  const Floats x = drawn(inputs(w)), depthwise = drawn(9 * 35), pointwise = drawn(35 * 20);
  const Floats given = drawn(6 * 81 * 20);
  const auto computed = [&] {
    Floats all(x.size() + depthwise.size() + pointwise.size());
    ception_separable_gradients(&w, 20, x.data(), depthwise.data(), pointwise.data(), given.data(), all.data(),
                                all.data() + x.size(), all.data() + x.size() + depthwise.size());
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

}  // namespace

int main() {
  for (int threads : {1, 3}) {
    ception_set_threads(threads);
    for (int64_t m : {1, 13, 29, 260})
      for (int64_t n : {1, 31, 70})
        for (int64_t k : {1, 17, 300, 512}) test_product(m, n, k);
    for (int64_t batch : {1, 3})
      for (int64_t size : {4, 7, 12})
        for (int64_t channels : {1, 5, 33})
          for (int64_t window : {1, 2, 3, 5})
            for (bool same : {true, false}) {
              if (!same && window > size) continue;
              for (int64_t stride : {1, 2}) {
                test_depthwise(windows(batch, size, size + 1, channels, window, stride, same));
                for (bool equal_values : {true, false})
                  test_max_pool(windows(batch, size, size + 1, channels, window, stride, same), equal_values);
              }
              test_separable(windows(batch, size, size + 1, channels, window, 1, same), channels + 2);
            }
    test_separable(windows(2, 40, 15, 20, 3, 1, true), 300);
    for (int64_t values : {1, 2, 100, 700})
      for (int64_t channels : {1, 7, 33})
        for (float away : {0.f, 100.f}) test_batch_norm(values, channels, away);
    test_many_callers();
  }
  std::printf("%s: %d failures\n", ception_instructions(), failures);
  return failures != 0;
}
