// Convolutions of each channel alone, for rows of one picture.
#pragma once

#include "vectors.h"

namespace {

// The places of a window that lie inside of a map of `size`, for the output at `at`.
struct Inside {
  int64_t first, last;
};

inline Inside inside(int64_t at, int64_t stride, int64_t before, int64_t window, int64_t size) {
  const int64_t start = at * stride - before;
  return {most(0, -start), least(window, size - start)};
}

// One vector of channels along a row of outputs, any window. `count` channels of it are there.
inline __attribute__((always_inline)) void row_of(const ception_windows &w, const float *x, const float *kernel,
                                                  int64_t row, int64_t first, int64_t last, int64_t count, float *y) {
  const Inside rows = inside(row, w.down, w.top, w.window_height, w.height);
  for (int64_t column = first; column < last; ++column) {
    const Inside columns = inside(column, w.right, w.left, w.window_width, w.width);
    Vector sum = {};
    for (int64_t i = rows.first; i < rows.last; ++i)
      for (int64_t j = columns.first; j < columns.last; ++j) {
        const int64_t place = (row * w.down - w.top + i) * w.width + column * w.right - w.left + j;
        sum += load_some(x + place * w.channels, count) * load_some(kernel + (i * w.window_width + j) * w.channels, count);
      }
    store_some(y + column * w.channels, sum, count);
  }
}

constexpr int kAtOnce = 4;  // outputs beside each other, which share what they read

// All full vectors of channels of kAtOnce outputs whose windows of 3 x 3, with strides of 1 to the right, lie inside.
// Channels are gone through innermost, because they lie beside each other in memory.
inline __attribute__((always_inline)) void outputs_of_3x3(const ception_windows &w, const float *x, const float *kernel,
                                                          float *y) {
  const int64_t below = w.width * w.channels;
  for (int64_t channel = 0; channel + kWidth <= w.channels; channel += kWidth) {
    Vector sums[kAtOnce] = {};
#pragma GCC unroll 3
    for (int i = 0; i < 3; ++i) {
      Vector of[3], in[kAtOnce + 2];
#pragma GCC unroll 3
      for (int j = 0; j < 3; ++j) of[j] = load(kernel + (3 * i + j) * w.channels + channel);
#pragma GCC unroll 6
      for (int j = 0; j < kAtOnce + 2; ++j) in[j] = load(x + i * below + j * w.channels + channel);
#pragma GCC unroll 4
      for (int at = 0; at < kAtOnce; ++at)
        sums[at] += in[at] * of[0] + in[at + 1] * of[1] + in[at + 2] * of[2];
    }
#pragma GCC unroll 4
    for (int at = 0; at < kAtOnce; ++at) store(y + at * w.channels + channel, sums[at]);
  }
}

// Adds what such outputs give to the kernel's gradient.
inline __attribute__((always_inline)) void add_outputs_of_3x3(const ception_windows &w, const float *x,
                                                              const float *gradient, float *kernel) {
  const int64_t below = w.width * w.channels;
  for (int64_t channel = 0; channel + kWidth <= w.channels; channel += kWidth) {
    Vector given[kAtOnce];
#pragma GCC unroll 4
    for (int at = 0; at < kAtOnce; ++at) given[at] = load(gradient + at * w.channels + channel);
#pragma GCC unroll 3
    for (int i = 0; i < 3; ++i) {
      Vector in[kAtOnce + 2];
#pragma GCC unroll 6
      for (int j = 0; j < kAtOnce + 2; ++j) in[j] = load(x + i * below + j * w.channels + channel);
#pragma GCC unroll 3
      for (int j = 0; j < 3; ++j) {
        float *to = kernel + (3 * i + j) * w.channels + channel;
        store(to, load(to) + (in[j] * given[0] + in[j + 1] * given[1] + in[j + 2] * given[2] + in[j + 3] * given[3]));
      }
    }
  }
}

// The outputs whose windows lie inside of the map along a row: from first on, before last.
inline Inside whole_windows(int64_t outputs, int64_t stride, int64_t before, int64_t window, int64_t size) {
  const int64_t first = least(outputs, ceiling(before, stride));
  const int64_t room = size + before - window;
  return {first, room < 0 ? first : most(first, least(outputs, room / stride + 1))};
}

// Whether the quick functions for windows of 3 x 3 may be used.
inline bool is_quick(const ception_windows &w) { return w.window_height == 3 && w.window_width == 3 && w.right == 1; }

// Rows of outputs of one picture: y has row `first` first.
void depthwise_rows(const ception_windows &w, const float *x, const float *kernel, int64_t first, int64_t last, float *y) {
  const Inside rows = whole_windows(w.out_height, w.down, w.top, w.window_height, w.height);
  const Inside columns = whole_windows(w.out_width, w.right, w.left, w.window_width, w.width);
  const int64_t full = w.channels / kWidth * kWidth, rest = w.channels - full;
  for (int64_t row = first; row < last; ++row, y += w.out_width * w.channels) {
    int64_t begin = 0, end = 0;  // of the columns that are computed quickly
    if (is_quick(w) && row >= rows.first && row < rows.last) {
      begin = columns.first, end = begin + (columns.last - begin) / kAtOnce * kAtOnce;
      for (int64_t column = begin; column < end; column += kAtOnce)
        outputs_of_3x3(w, x + ((row * w.down - w.top) * w.width + column - w.left) * w.channels, kernel,
                       y + column * w.channels);
    }
    for (int64_t channel = 0; channel < full; channel += kWidth) {
      row_of(w, x + channel, kernel + channel, row, 0, begin, kWidth, y + channel);
      row_of(w, x + channel, kernel + channel, row, end, w.out_width, kWidth, y + channel);
    }
    if (rest) row_of(w, x + full, kernel + full, row, 0, w.out_width, rest, y + full);
  }
}

// The windows whose convolution with the turned kernel gives the input's gradient where strides are 1.
inline ception_windows turned(const ception_windows &w) {
  ception_windows back = w;
  back.height = w.out_height, back.width = w.out_width, back.out_height = w.height, back.out_width = w.width;
  back.top = w.window_height - 1 - w.top, back.left = w.window_width - 1 - w.left;
  return back;
}

void turn(const ception_windows &w, const float *kernel, float *to) {
  const int64_t places = w.window_height * w.window_width;
  for (int64_t place = 0; place < places; ++place)
    memcpy(to + place * w.channels, kernel + (places - 1 - place) * w.channels, sizeof(float) * w.channels);
}

// The input's gradient of one picture, for any strides.
void scatter(const ception_windows &w, const float *kernel, const float *gradient, float *of_x) {
  memset(of_x, 0, sizeof(float) * w.height * w.width * w.channels);
  for (int64_t row = 0; row < w.out_height; ++row) {
    const Inside rows = inside(row, w.down, w.top, w.window_height, w.height);
    for (int64_t column = 0; column < w.out_width; ++column) {
      const Inside columns = inside(column, w.right, w.left, w.window_width, w.width);
      const float *given = gradient + (row * w.out_width + column) * w.channels;
      for (int64_t i = rows.first; i < rows.last; ++i)
        for (int64_t j = columns.first; j < columns.last; ++j) {
          const float *of = kernel + (i * w.window_width + j) * w.channels;
          float *to = of_x + ((row * w.down - w.top + i) * w.width + column * w.right - w.left + j) * w.channels;
          for (int64_t channel = 0; channel < w.channels; ++channel) to[channel] += given[channel] * of[channel];
        }
    }
  }
}

// Adds what a row of outputs gives to the kernel's gradient, any window.
inline __attribute__((always_inline)) void add_row(const ception_windows &w, const float *x, const float *gradient,
                                                   int64_t row, int64_t first, int64_t last, int64_t count, float *sums) {
  const Inside rows = inside(row, w.down, w.top, w.window_height, w.height);
  for (int64_t column = first; column < last; ++column) {
    const Inside columns = inside(column, w.right, w.left, w.window_width, w.width);
    const Vector given = load_some(gradient + column * w.channels, count);
    for (int64_t i = rows.first; i < rows.last; ++i)
      for (int64_t j = columns.first; j < columns.last; ++j) {
        const int64_t place = (row * w.down - w.top + i) * w.width + column * w.right - w.left + j;
        float *to = sums + (i * w.window_width + j) * w.channels;
        store_some(to, load_some(to, count) + load_some(x + place * w.channels, count) * given, count);
      }
  }
}

// Adds what rows of outputs of one picture give to the kernel's gradient; the gradient has row `first` first.
void add_kernel_gradient(const ception_windows &w, const float *x, const float *gradient, int64_t first, int64_t last,
                         float *sums) {
  const Inside rows = whole_windows(w.out_height, w.down, w.top, w.window_height, w.height);
  const Inside columns = whole_windows(w.out_width, w.right, w.left, w.window_width, w.width);
  const int64_t full = w.channels / kWidth * kWidth, rest = w.channels - full;
  for (int64_t row = first; row < last; ++row, gradient += w.out_width * w.channels) {
    int64_t begin = 0, end = 0;  // of the columns that are computed quickly
    if (is_quick(w) && row >= rows.first && row < rows.last) {
      begin = columns.first, end = begin + (columns.last - begin) / kAtOnce * kAtOnce;
      for (int64_t column = begin; column < end; column += kAtOnce)
        add_outputs_of_3x3(w, x + ((row * w.down - w.top) * w.width + column - w.left) * w.channels,
                           gradient + column * w.channels, sums);
    }
    for (int64_t channel = 0; channel < full; channel += kWidth) {
      add_row(w, x + channel, gradient + channel, row, 0, begin, kWidth, sums + channel);
      add_row(w, x + channel, gradient + channel, row, end, w.out_width, kWidth, sums + channel);
    }
    if (rest) add_row(w, x + full, gradient + full, row, 0, w.out_width, rest, sums + full);
  }
}

}  // namespace
