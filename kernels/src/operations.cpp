// The operations, compiled once for each set of instructions: CEPTION_NAME is the table that this copy fills.
#include "operations.h"

#include "depthwise.h"
#include "norm.h"
#include "pool.h"
#include "product.h"
#include "threads.h"
#include "vectors.h"

using ception::Scratch;
using ception::share_out;

namespace {

// Calls a function object for each item, in all threads.
template <typename Body>
void each(int64_t items, int size, Body &body) {
  share_out(items, size, [](void *context, int64_t item, int worker) { (*static_cast<Body *>(context))(item, worker); },
            &body);
}

// What the threads have summed up apart, in double or single precision.
template <typename Number>
void sum_up(int size, int64_t count, const Number *parts, float *to) {
  for (int64_t i = 0; i < count; ++i) {
    Number sum = 0;
    for (int worker = 0; worker < size; ++worker) sum += parts[worker * count + i];
    to[i] = (float)sum;
  }
}

// Scratch memory as doubles, all 0.
double *zeros(const Scratch &scratch, int64_t count) {
  return (double *)memset(scratch.data(), 0, sizeof(double) * count);
}

int32_t product(int64_t m, int64_t n, int64_t k, const float *a, int32_t transposed_a, const float *b,
                int32_t transposed_b, float *c) {
  const int size = ception::threads();
  const int64_t down = transposed_a ? 1 : k, right = transposed_a ? m : 1;
  const Scratch columns(k * packed_columns(n)), rows(size * kPacked);
  if (!columns.data() || !rows.data()) return 1;
  const int64_t part = depth_of(k), parts = ceiling(k, part);
  auto pack = [&](int64_t item, int) {
    const int64_t p = item * part;
    pack_columns(least(part, k - p), n, b + p * (transposed_b ? 1 : n), transposed_b ? 1 : n, transposed_b ? k : 1,
                 columns.data() + p * packed_columns(n));
  };
  each(parts, size, pack);
  const int64_t tiles = ceiling(m, kRows), blocks = least(tiles, most(size, ceiling(m, kBlock)));
  auto block = [&](int64_t item, int worker) {
    const int64_t first = tiles * item / blocks * kRows, last = least(m, tiles * (item + 1) / blocks * kRows);
    multiply(last - first, n, k, a + first * down, down, right, columns.data(), c + first * n, n, false,
             rows.data() + worker * kPacked);
  };
  each(blocks, size, block);
  return 0;
}

// How the rows of each picture are cut, so that all threads have work.
struct Bands {
  int64_t rows, of_each, number;

  Bands(int64_t batch, int64_t rows, int size, int64_t smallest)
      : rows(rows), of_each(most(1, least(ceiling(4 * size, most(batch, 1)), rows / smallest))), number(batch * of_each) {
    if (batch >= 4 * size) of_each = 1, number = batch;
  }
  int64_t picture(int64_t item) const { return item / of_each; }
  int64_t first(int64_t item) const { return rows * (item % of_each) / of_each; }
  int64_t last(int64_t item) const { return rows * (item % of_each + 1) / of_each; }
};

int32_t depthwise(const ception_windows *windows, const float *x, const float *kernel, float *y) {
  const ception_windows &w = *windows;
  const int size = ception::threads();
  const int64_t in = w.height * w.width * w.channels, row = w.out_width * w.channels;
  const Bands bands(w.batch, w.out_height, size, 1);
  auto band = [&](int64_t item, int) {
    const int64_t picture = bands.picture(item), first = bands.first(item);
    depthwise_rows(w, x + picture * in, kernel, first, bands.last(item), y + (picture * w.out_height + first) * row);
  };
  each(bands.number, size, band);
  return 0;
}

int32_t depthwise_gradients(const ception_windows *windows, const float *x, const float *kernel, const float *gradient,
                            float *of_x, float *of_kernel) {
  const ception_windows &w = *windows;
  const int size = ception::threads();
  const int64_t in = w.height * w.width * w.channels, row = w.out_width * w.channels;
  const int64_t weights = w.window_height * w.window_width * w.channels;
  const Scratch sums(size * weights), back(weights);
  if (!sums.data() || !back.data()) return 1;
  memset(sums.data(), 0, sizeof(float) * size * weights);
  const bool unstrided = w.down == 1 && w.right == 1;
  const ception_windows reverse = turned(w);
  turn(w, kernel, back.data());
  const Bands bands(w.batch, w.out_height, size, 1);
  auto band = [&](int64_t item, int worker) {
    const int64_t picture = bands.picture(item), first = bands.first(item);
    add_kernel_gradient(w, x + picture * in, gradient + (picture * w.out_height + first) * row, first, bands.last(item),
                        sums.data() + worker * weights);
  };
  each(bands.number, size, band);
  sum_up(size, weights, sums.data(), of_kernel);
  if (unstrided) return depthwise(&reverse, gradient, back.data(), of_x);
  auto picture = [&](int64_t item, int) { scatter(w, kernel, gradient + item * w.out_height * row, of_x + item * in); };
  each(w.batch, size, picture);
  return 0;
}

// Rows of outputs whose depthwise result is kept at a time.
int64_t group_of(const ception_windows &w) { return most(1, least(w.out_height, 420 / most(1, w.out_width))); }

int32_t separable(const ception_windows *windows, int64_t filters, const float *x, const float *depthwise_kernel,
                  const float *pointwise, float *y) {
  const ception_windows &w = *windows;
  const int size = ception::threads();
  const int64_t in = w.height * w.width * w.channels, group = group_of(w), kept = group * w.out_width * w.channels;
  const Scratch columns(w.channels * packed_columns(filters)), rows(size * kPacked), maps(size * kept);
  if (!columns.data() || !rows.data() || !maps.data()) return 1;
  pack_whole(w.channels, filters, pointwise, filters, 1, columns.data());
  const int64_t groups = ceiling(w.out_height, group);
  auto of_group = [&](int64_t item, int worker) {
    const int64_t picture = item / groups, first = item % groups * group, last = least(w.out_height, first + group);
    float *map = maps.data() + worker * kept;
    depthwise_rows(w, x + picture * in, depthwise_kernel, first, last, map);
    multiply((last - first) * w.out_width, filters, w.channels, map, w.channels, 1, columns.data(),
             y + (picture * w.out_height + first) * w.out_width * filters, filters, false,
             rows.data() + worker * kPacked);
  };
  each(w.batch * groups, size, of_group);
  return 0;
}

// What a thread needs for the gradients of a separable convolution.
struct OfThread {
  int64_t map, gradient, weights, filters, rows, columns, all;

  OfThread(const ception_windows &w, int64_t filters_of_all, int64_t group, int64_t band)
      : map(0),
        gradient(map + group * w.out_width * w.channels),
        weights(gradient + (band + w.window_height - 1) * w.out_width * w.channels),
        filters(weights + w.window_height * w.window_width * w.channels),
        rows(filters + w.channels * filters_of_all),
        columns(rows + kPacked),
        all((columns + kDepth * packed_columns(filters_of_all) + 15) / 16 * 16) {}
};

// What the gradients of a separable convolution are computed from, a band of a picture at a time.
struct SeparableGradients {
  const ception_windows &w, reverse;
  const Bands bands;
  const OfThread at;
  int64_t filters, group;
  const float *x, *depthwise_kernel, *gradient, *turned_kernel, *transposed;
  float *of_x, *own;

  void operator()(int64_t item, int worker) const {
    float *mine = own + worker * at.all;
    const int64_t picture = bands.picture(item), row = w.out_width * w.channels;
    const float *maps = x + picture * w.height * w.width * w.channels;
    const float *given = gradient + picture * w.out_height * w.out_width * filters;
    // the band of the outputs, whose share of the kernels' gradients this is
    const int64_t first = w.out_height * (item % bands.of_each) / bands.of_each;
    const int64_t last = w.out_height * (item % bands.of_each + 1) / bands.of_each;
    for (int64_t start = first; start < last; start += group) add_pointwise(mine, maps, given, start, last);
    // rows of the depthwise result whose gradient the band of the input needs, and that of the outputs
    const int64_t top = bands.first(item), bottom = bands.last(item);
    const int64_t from = most(0, least(first, top - reverse.top));
    const int64_t to = least(w.out_height, most(last, bottom - reverse.top + w.window_height - 1));
    float *between = mine + at.gradient;
    multiply((to - from) * w.out_width, w.channels, filters, given + from * w.out_width * filters, filters, 1,
             transposed, between, w.channels, false, mine + at.rows);
    add_kernel_gradient(w, maps, between + (first - from) * row, first, last, mine + at.weights);
    depthwise_rows(reverse, between - from * row, turned_kernel, top, bottom,
                   of_x + (picture * w.height + top) * w.width * w.channels);
  }

  // Adds what a group of rows gives to the gradient of the pointwise kernel.
  void add_pointwise(float *mine, const float *maps, const float *given, int64_t start, int64_t last) const {
    const int64_t end = least(last, start + group), places = (end - start) * w.out_width, part = depth_of(places);
    depthwise_rows(w, maps, depthwise_kernel, start, end, mine + at.map);
    for (int64_t p = 0; p < places; p += part) {
      const int64_t depth = least(part, places - p);
      pack_columns(depth, filters, given + (start * w.out_width + p) * filters, filters, 1, mine + at.columns);
      multiply(w.channels, filters, depth, mine + at.map + p * w.channels, 1, w.channels, mine + at.columns,
               mine + at.filters, filters, true, mine + at.rows);
    }
  }
};

int32_t separable_gradients(const ception_windows *windows, int64_t filters, const float *x,
                            const float *depthwise_kernel, const float *pointwise, const float *gradient, float *of_x,
                            float *of_depthwise, float *of_pointwise) {
  const ception_windows &w = *windows;
  const int size = ception::threads();
  const int64_t weights = w.window_height * w.window_width * w.channels, matrix = w.channels * filters;
  const Bands bands(w.batch, w.height, size, 8);
  const int64_t group = group_of(w);
  const OfThread at(w, filters, group, ceiling(w.height, bands.of_each));
  const Scratch transposed(filters * packed_columns(w.channels)), own(size * at.all), back(weights);
  if (!transposed.data() || !own.data() || !back.data()) return 1;
  pack_whole(filters, w.channels, pointwise, 1, filters, transposed.data());
  turn(w, depthwise_kernel, back.data());
  for (int worker = 0; worker < size; ++worker)
    memset(own.data() + worker * at.all + at.weights, 0, sizeof(float) * (weights + matrix));
  SeparableGradients gradients{w, turned(w), bands, at, filters, group, x, depthwise_kernel, gradient, back.data(),
                               transposed.data(), of_x, own.data()};
  each(bands.number, size, gradients);
  for (int64_t i = 0; i < weights + matrix; ++i) {
    float sum = 0;
    for (int worker = 0; worker < size; ++worker) sum += own.data()[worker * at.all + at.weights + i];
    *(i < weights ? of_depthwise + i : of_pointwise + i - weights) = sum;
  }
  return 0;
}

int64_t blocks_of(int64_t values, int size) { return least(ceiling(values, kSummed), 4 * size); }

int32_t batch_norm(int64_t values, int64_t channels, const float *x, const float *gamma, const float *beta,
                   float epsilon, float *y, float *mean, float *variance) {
  const int size = ception::threads();
  const Scratch memory(4 * size * channels), factors(channels);
  if (!memory.data() || !factors.data()) return 1;
  double *sums = zeros(memory, 2 * size * channels), *squares = sums + size * channels;
  const int64_t blocks = blocks_of(values, size);
  auto moments = [&](int64_t item, int worker) {  // of what is left of the first value, so that little is cancelled
    add_moments(channels, x, x, values * item / blocks, values * (item + 1) / blocks, sums + worker * channels,
                squares + worker * channels);
  };
  each(blocks, size, moments);
  float *by = factors.data();
  for (int64_t channel = 0; channel < channels; ++channel) {
    double sum = 0, square = 0;
    for (int worker = 0; worker < size; ++worker)
      sum += sums[worker * channels + channel], square += squares[worker * channels + channel];
    const double moved = sum / values, found = square / values - moved * moved;
    mean[channel] = (float)(x[channel] + moved);
    variance[channel] = (float)(found > 0 ? found : found < 0 ? 0 : found);  // what is no number stays
    by[channel] = (float)(gamma[channel] / __builtin_sqrt((double)variance[channel] + epsilon));
  }
  auto write = [&](int64_t item, int) {
    scale(channels, x, mean, by, beta, values * item / blocks, values * (item + 1) / blocks, y);
  };
  each(blocks, size, write);
  return 0;
}

int32_t batch_norm_gradients(int64_t values, int64_t channels, const float *x, const float *gamma, const float *mean,
                             const float *variance, float epsilon, const float *gradient, float *of_x, float *of_gamma,
                             float *of_beta) {
  const int size = ception::threads();
  const Scratch memory(4 * size * channels), factors(3 * channels);
  if (!memory.data() || !factors.data()) return 1;
  double *sums = zeros(memory, 2 * size * channels), *products = sums + size * channels;
  const int64_t blocks = blocks_of(values, size);
  auto add = [&](int64_t item, int worker) {
    add_gradient_sums(channels, x, mean, gradient, values * item / blocks, values * (item + 1) / blocks,
                      sums + worker * channels, products + worker * channels);
  };
  each(blocks, size, add);
  float *by = factors.data(), *slope = by + channels, *mean_gradient = slope + channels;
  for (int64_t channel = 0; channel < channels; ++channel) {
    double sum = 0, product = 0;
    for (int worker = 0; worker < size; ++worker)
      sum += sums[worker * channels + channel], product += products[worker * channels + channel];
    const double inverse = 1 / __builtin_sqrt((double)variance[channel] + epsilon), factor = gamma[channel] * inverse;
    of_beta[channel] = (float)sum;
    of_gamma[channel] = (float)(product * inverse);
    by[channel] = (float)factor, slope[channel] = (float)(-factor * inverse * inverse * product / values);
    mean_gradient[channel] = (float)(sum / values);
  }
  auto write = [&](int64_t item, int) {
    combine(channels, x, mean, gradient, mean_gradient, by, slope, values * item / blocks,
            values * (item + 1) / blocks, of_x);
  };
  each(blocks, size, write);
  return 0;
}

// Pictures, cut into ranges of channels where there are fewer pictures than threads.
struct Channels {
  int64_t vectors, of_each, number, channels;

  Channels(const ception_windows &w, int size)
      : vectors(ceiling(w.channels, kWidth)),
        of_each(w.batch >= 4 * size ? 1 : most(1, least(vectors, ceiling(4 * size, most(1, w.batch))))),
        number(w.batch * of_each),
        channels(w.channels) {}
  int64_t picture(int64_t item) const { return item / of_each; }
  int64_t first(int64_t item) const { return vectors * (item % of_each) / of_each * kWidth; }
  int64_t last(int64_t item) const { return least(channels, vectors * (item % of_each + 1) / of_each * kWidth); }
};

int32_t max_pool(const ception_windows *windows, const float *x, float *y) {
  const ception_windows &w = *windows;
  const int size = ception::threads();
  const int64_t in = w.height * w.width * w.channels, out = w.out_height * w.out_width * w.channels;
  const Channels cut(w, size);
  auto part = [&](int64_t item, int) {
    const int64_t picture = cut.picture(item);
    largest(w, x + picture * in, cut.first(item), cut.last(item), y + picture * out);
  };
  each(cut.number, size, part);
  return 0;
}

int32_t max_pool_gradient(const ception_windows *windows, const float *x, const float *y, const float *gradient,
                          float *of_x) {
  const ception_windows &w = *windows;
  const int size = ception::threads();
  const int64_t in = w.height * w.width * w.channels, out = w.out_height * w.out_width * w.channels;
  const Channels cut(w, size);
  auto clear = [&](int64_t item, int) { memset(of_x + item * in, 0, sizeof(float) * in); };
  each(w.batch, size, clear);
  auto part = [&](int64_t item, int) {
    const int64_t picture = cut.picture(item);
    add_to_largest(w, x + picture * in, y + picture * out, gradient + picture * out, cut.first(item), cut.last(item),
                   of_x + picture * in);
  };
  each(cut.number, size, part);
  return 0;
}

}  // namespace

#define CEPTION_TEXT_OF(name) #name
#define CEPTION_TEXT(name) CEPTION_TEXT_OF(name)
#define CEPTION_TABLE_OF(name) operations_##name
#define CEPTION_TABLE(name) CEPTION_TABLE_OF(name)

namespace ception {
extern const Operations CEPTION_TABLE(CEPTION_NAME) = {
    CEPTION_TEXT(CEPTION_NAME), product, depthwise, depthwise_gradients, separable, separable_gradients,
    batch_norm, batch_norm_gradients, max_pool, max_pool_gradient,
};
}  // namespace ception
