// Depthwise and separable convolutions of whole batches, and their gradients.
#pragma once

#include "depthwise.h"
#include "product.h"

namespace {

template <typename Element>
int32_t depthwise(const ception_windows *windows, const ception_reading *said, const Element *x, const Element *kernel,
                  Element *y) {
  const ception_windows &w = *windows;
  const int size = ception::threads();
  const int64_t in = w.height * w.width * w.channels, row = w.out_width * w.channels, lines = lines_of(w);
  const ception::Scratch own(size * lines), packed(packed_kernel(w)), factors(kOfReading * padded(w.channels));
  if (!own.data() || !packed.data() || !factors.data()) return 1;
  const Reading reading = prepared(said, w.channels, factors.data());
  pack_kernel(w, kernel, false, packed.data());
  const Bands bands(w.batch, w.out_height, size, 1);
  auto band = [&](int64_t item, int worker) {
    const int64_t picture = bands.picture(item), first = bands.first(item);
    depthwise_rows(w, reading, x + picture * in, packed.data(), first, bands.last(item),
                   y + (picture * w.out_height + first) * row, own.data() + worker * lines);
  };
  each(bands.number, size, band);
  return 0;
}

// The gradient of the kernel from what the threads have added up for the turned one.
template <typename Element>
void write_kernel_gradient(const ception_windows &w, int size, const float *of_threads, int64_t apart, Element *to) {
  const int64_t places = w.window_height * w.window_width, room = padded(w.channels);
  for (int64_t place = 0; place < places; ++place)
    for (int64_t channel = 0; channel < w.channels; channel += kWidth) {
      Vector sum = {};
      for (int worker = 0; worker < size; ++worker)
        sum += load(of_threads + worker * apart + (places - 1 - place) * room + channel);
      store_of(to + place * w.channels + channel, sum, w.channels - channel);
    }
}

template <typename Element>
int32_t depthwise_gradients(const ception_windows *windows, const ception_reading *said, const Element *x,
                            const Element *kernel, const Element *gradient, Element *of_x, Element *of_kernel,
                            float *of_gamma, float *of_beta) {
  const ception_windows &w = *windows;
  const int size = ception::threads();
  const int64_t in = w.height * w.width * w.channels, out = w.out_height * w.out_width * w.channels;
  const int64_t floats = floats_of_sums(w), lines = lines_of(turned(w)), room = padded(w.channels);
  const ception::Scratch added(size * floats), memory(4 * size * w.channels), own(size * lines);
  const ception::Scratch packed(packed_kernel(w)), factors((kOfReading + kOfSlopes) * room);
  if (!added.data() || !memory.data() || !own.data() || !packed.data() || !factors.data()) return 1;
  double *all = zeros(memory, 2 * size * w.channels);
  memset(added.data(), 0, sizeof(float) * size * floats);
  const Reading reading = prepared(said, w.channels, factors.data());
  pack_kernel(w, kernel, true, packed.data());
  const Bands bands(w.batch, w.height, size, 1);
  auto band = [&](int64_t item, int worker) {
    float *mine = added.data() + worker * floats;
    const Sums sums{mine, mine + packed_kernel(w), all + 2 * worker * w.channels};
    const int64_t picture = bands.picture(item);
    gradients_of_rows(w, reading, x + picture * in, packed.data(), gradient + picture * out, bands.first(item),
                      bands.last(item), of_x + picture * in, sums, own.data() + worker * lines);
  };
  each(bands.number, size, band);
  write_kernel_gradient(w, size, added.data(), floats, of_kernel);
  if (!reading.is_normed()) return 0;
  const int64_t values = w.batch * w.height * w.width, blocks = blocks_of(values, size);
  const Slopes slopes = slopes_of(*said, values, w.channels, all, all + w.channels, size, 2 * w.channels,
                                  factors.data() + kOfReading * room, of_gamma, of_beta);
  auto finish = [&](int64_t item, int) {
    combine(reading, slopes, false, w.channels, x, of_x, values * item / blocks, values * (item + 1) / blocks, of_x);
  };
  each(blocks, size, finish);
  return 0;
}

// Rows of outputs whose depthwise result is kept at a time.
int64_t group_of(const ception_windows &w) { return most(1, least(w.out_height, 420 / most(1, w.out_width))); }

int32_t separable(const ception_windows *windows, int64_t filters, const float *x, const float *depthwise_kernel,
                  const float *pointwise, float *y) {
  const ception_windows &w = *windows;
  const int size = ception::threads();
  const int64_t in = w.height * w.width * w.channels, group = group_of(w), kept = group * w.out_width * w.channels;
  const int64_t lines = lines_of(w);
  const ception::Scratch columns(w.channels * packed_columns(filters)), rows(size * kPacked), maps(size * kept);
  const ception::Scratch own(size * lines), packed(packed_kernel(w));
  if (!columns.data() || !rows.data() || !maps.data() || !own.data() || !packed.data()) return 1;
  pack_whole(w.channels, filters, pointwise, filters, 1, columns.data());
  pack_kernel(w, depthwise_kernel, false, packed.data());
  const int64_t groups = ceiling(w.out_height, group);
  auto of_group = [&](int64_t item, int worker) {
    const int64_t picture = item / groups, first = item % groups * group, last = least(w.out_height, first + group);
    float *map = maps.data() + worker * kept;
    depthwise_rows(w, Reading(), x + picture * in, packed.data(), first, last, map, own.data() + worker * lines);
    multiply((last - first) * w.out_width, filters, w.channels, map, w.channels, 1, columns.data(),
             y + (picture * w.out_height + first) * w.out_width * filters, filters, false,
             rows.data() + worker * kPacked);
  };
  each(w.batch * groups, size, of_group);
  return 0;
}

// What a thread needs for the gradients of a separable convolution.
struct OfThread {
  int64_t map, gradient, weights, filters, rows, columns, lines, all;

  OfThread(const ception_windows &w, int64_t filters_of_all, int64_t group, int64_t band)
      : map(0),
        gradient(map + group * w.out_width * w.channels),
        weights(padded(gradient + (band + w.window_height - 1) * w.out_width * w.channels)),
        filters(weights + floats_of_sums(w)),
        rows(filters + w.channels * filters_of_all),
        columns(rows + kPacked),
        lines(columns + kDepth * packed_columns(filters_of_all)),
        all(ceiling(lines + most(lines_of(w), lines_of(turned(w))), 16) * 16) {}
};

// What the gradients of a separable convolution are computed from, a band of a picture at a time.
struct SeparableGradients {
  const ception_windows &w, reverse;
  const Bands bands;
  const OfThread at;
  int64_t filters, group;
  const float *x, *kernel, *turned_kernel, *gradient, *transposed;
  float *of_x, *own;

  void operator()(int64_t item, int worker) const {
    float *mine = own + worker * at.all;
    const int64_t picture = bands.picture(item), row = w.out_width * w.channels;
    const float *maps = x + picture * w.height * w.width * w.channels;
    const float *given = gradient + picture * w.out_height * w.out_width * filters;
    // the band of the outputs, whose share of the pointwise kernel's gradient this is
    const int64_t first = w.out_height * (item % bands.of_each) / bands.of_each;
    const int64_t last = w.out_height * (item % bands.of_each + 1) / bands.of_each;
    for (int64_t start = first; start < last; start += group) add_pointwise(mine, maps, given, start, last);
    // rows of the depthwise result whose gradient the band of the input needs
    const int64_t top = bands.first(item), bottom = bands.last(item);
    const int64_t from = most(0, top - reverse.top);
    const int64_t to = most(from, least(w.out_height, bottom - reverse.top + w.window_height - 1));
    float *between = mine + at.gradient;
    multiply((to - from) * w.out_width, w.channels, filters, given + from * w.out_width * filters, filters, 1,
             transposed, between, w.channels, false, mine + at.rows);
    const Sums sums{mine + at.weights, mine + at.weights + packed_kernel(w), nullptr};
    gradients_of_rows(w, Reading(), maps, turned_kernel, between - from * row, top, bottom,
                      of_x + picture * w.height * w.width * w.channels, sums, mine + at.lines);
  }

  // Adds what a group of rows gives to the gradient of the pointwise kernel.
  void add_pointwise(float *mine, const float *maps, const float *given, int64_t start, int64_t last) const {
    const int64_t end = least(last, start + group), places = (end - start) * w.out_width, part = depth_of(places);
    depthwise_rows(w, Reading(), maps, kernel, start, end, mine + at.map, mine + at.lines);
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
  const int64_t weights = packed_kernel(w), matrix = w.channels * filters;
  const Bands bands(w.batch, w.height, size, 8);
  const int64_t group = group_of(w);
  const OfThread at(w, filters, group, ceiling(w.height, bands.of_each));
  const ception::Scratch transposed(filters * packed_columns(w.channels)), own(size * at.all), packed(2 * weights);
  if (!transposed.data() || !own.data() || !packed.data()) return 1;
  pack_whole(filters, w.channels, pointwise, 1, filters, transposed.data());
  pack_kernel(w, depthwise_kernel, false, packed.data());
  pack_kernel(w, depthwise_kernel, true, packed.data() + weights);
  for (int worker = 0; worker < size; ++worker)
    memset(own.data() + worker * at.all + at.weights, 0, sizeof(float) * (floats_of_sums(w) + matrix));
  SeparableGradients gradients{w, turned(w), bands, at, filters, group, x, packed.data(), packed.data() + weights,
                               gradient, transposed.data(), of_x, own.data()};
  each(bands.number, size, gradients);
  write_kernel_gradient(w, size, own.data() + at.weights, at.all, of_depthwise);
  for (int64_t i = 0; i < matrix; ++i) {
    float sum = 0;
    for (int worker = 0; worker < size; ++worker) sum += own.data()[worker * at.all + at.filters + i];
    of_pointwise[i] = sum;
  }
  return 0;
}

}  // namespace
