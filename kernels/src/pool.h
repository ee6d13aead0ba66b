// The largest value of each window, for one picture and a range of its channels.
#pragma once

#include "ception_kernels.h"
#include "sharing.h"

namespace {

// The places of a window that lie inside of a map of `size`, for the output at `at`.
struct Inside {
  int64_t first, last;
};

inline Inside inside(int64_t at, int64_t stride, int64_t before, int64_t window, int64_t size) {
  const int64_t start = at * stride - before;
  return {most(0, -start), least(window, size - start)};
}

template <typename Element>
void largest(const ception_windows &w, const Element *x, int64_t first, int64_t last, Element *y) {
  for (int64_t row = 0; row < w.out_height; ++row) {
    const Inside rows = inside(row, w.down, w.top, w.window_height, w.height);
    for (int64_t column = 0; column < w.out_width; ++column) {
      const Inside columns = inside(column, w.right, w.left, w.window_width, w.width);
      const Element *start = x + ((row * w.down - w.top) * w.width + column * w.right - w.left) * w.channels;
      for (int64_t channel = first; channel < last; channel += kWidth) {
        const int64_t count = least(kWidth, last - channel);
        const float lowest = -__builtin_inff();
        Vector found = lowest - Vector{};
        for (int64_t i = rows.first; i < rows.last; ++i)
          for (int64_t j = columns.first; j < columns.last; ++j) {
            const Element *at = start + (i * w.width + j) * w.channels + channel;
            const Vector value = load_of(at, count);
            found = select((Mask)(value <= found), found, value);  // what is no number stays
          }
        store_of(y + (row * w.out_width + column) * w.channels + channel, found, count);
      }
    }
  }
}

// Adds a vector of gradients to the first places of a window that have its largest values.
template <typename Element>
inline __attribute__((always_inline)) void add_to_window(const ception_windows &w, Inside rows, Inside columns,
                                                         const Element *x, Vector highest, Vector given,
                                                         int64_t count, Element *of_x) {
  const Vector none = {};
  for (int64_t i = rows.first; i < rows.last; ++i)
    for (int64_t j = columns.first; j < columns.last; ++j) {
      const int64_t at = (i * w.width + j) * w.channels;
      const Mask here = (Mask)(load_of(x + at, count) == highest);
      store_of(of_x + at, load_of(of_x + at, count) + select(here, given, none), count);
      given = select(here, none, given);
    }
}

template <typename Element>
void add_to_largest(const ception_windows &w, const Element *x, const Element *y, const Element *gradient, int64_t first,
                    int64_t last, Element *of_x) {
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

template <typename Element>
int32_t max_pool(const ception_windows *windows, const Element *x, Element *y) {
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

template <typename Element>
int32_t max_pool_gradient(const ception_windows *windows, const Element *x, const Element *y, const Element *gradient,
                          Element *of_x) {
  const ception_windows &w = *windows;
  const int size = ception::threads();
  const int64_t in = w.height * w.width * w.channels, out = w.out_height * w.out_width * w.channels;
  const Channels cut(w, size);
  auto clear = [&](int64_t item, int) { memset(of_x + item * in, 0, sizeof(Element) * in); };
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
