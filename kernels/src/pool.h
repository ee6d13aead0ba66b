// The largest value of each window, for one picture and a range of its channels.
#pragma once

#include "depthwise.h"
#include "vectors.h"

namespace {

void largest(const ception_windows &w, const float *x, int64_t first, int64_t last, float *y) {
  for (int64_t row = 0; row < w.out_height; ++row) {
    const Inside rows = inside(row, w.down, w.top, w.window_height, w.height);
    for (int64_t column = 0; column < w.out_width; ++column) {
      const Inside columns = inside(column, w.right, w.left, w.window_width, w.width);
      const float *start = x + ((row * w.down - w.top) * w.width + column * w.right - w.left) * w.channels;
      for (int64_t channel = first; channel < last; channel += kWidth) {
        const int64_t count = least(kWidth, last - channel);
        const float lowest = -__builtin_inff();
        Vector found = lowest - Vector{};
        for (int64_t i = rows.first; i < rows.last; ++i)
          for (int64_t j = columns.first; j < columns.last; ++j) {
            const float *at = start + (i * w.width + j) * w.channels + channel;
            const Vector value = count == kWidth ? load(at) : load_some(at, count);
            found = select((Mask)(value <= found), found, value);  // what is no number stays
          }
        store_some(y + (row * w.out_width + column) * w.channels + channel, found, count);
      }
    }
  }
}

// Adds a vector of gradients to the first places of a window that have its largest values.
inline __attribute__((always_inline)) void add_to_window(const ception_windows &w, Inside rows, Inside columns,
                                                         const float *x, Vector highest, Vector given, int64_t count,
                                                         float *of_x) {
  const Vector none = {};
  for (int64_t i = rows.first; i < rows.last; ++i)
    for (int64_t j = columns.first; j < columns.last; ++j) {
      const int64_t at = (i * w.width + j) * w.channels;
      const Mask here = (Mask)(load_some(x + at, count) == highest);
      store_some(of_x + at, load_some(of_x + at, count) + select(here, given, none), count);
      given = select(here, none, given);
    }
}

void add_to_largest(const ception_windows &w, const float *x, const float *y, const float *gradient, int64_t first,
                    int64_t last, float *of_x) {
  for (int64_t row = 0; row < w.out_height; ++row) {
    const Inside rows = inside(row, w.down, w.top, w.window_height, w.height);
    for (int64_t column = 0; column < w.out_width; ++column) {
      const Inside columns = inside(column, w.right, w.left, w.window_width, w.width);
      const int64_t start = ((row * w.down - w.top) * w.width + column * w.right - w.left) * w.channels;
      const int64_t out = (row * w.out_width + column) * w.channels;
      int64_t channel = first;
      for (; channel + kWidth <= last; channel += kWidth)
        add_to_window(w, rows, columns, x + start + channel, load(y + out + channel), load(gradient + out + channel),
                      kWidth, of_x + start + channel);
      if (channel < last)
        add_to_window(w, rows, columns, x + start + channel, load_some(y + out + channel, last - channel),
                      load_some(gradient + out + channel, last - channel), last - channel, of_x + start + channel);
    }
  }
}

}  // namespace
