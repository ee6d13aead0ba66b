// Convolutions of each channel alone, for rows of one picture, and their gradients.
//
// Rows are read into lines of floats, with zeros around them and behind the last channel, which stay in the cache: all
// that follows has whole vectors and no edges.
#pragma once

#include "norm.h"

namespace {

// Floats of the kernel as `pack_kernel` leaves it.
inline int64_t packed_kernel(const ception_windows &w) { return w.window_height * w.window_width * padded(w.channels); }

// The kernel in whole vectors; turned by half a circle for the gradient.
template <typename Element>
void pack_kernel(const ception_windows &w, const Element *kernel, bool turned, float *to) {
  const int64_t places = w.window_height * w.window_width, room = padded(w.channels);
  for (int64_t place = 0; place < places; ++place) {
    const Element *from = kernel + (turned ? places - 1 - place : place) * w.channels;
    for (int64_t channel = 0; channel < w.channels; channel += kWidth)
      store(to + place * room + channel, load_of(from + channel, w.channels - channel));
  }
}

// Columns of a line: all that windows cover.
inline int64_t span(const ception_windows &w) { return most(0, w.out_width - 1) * w.right + w.window_width; }

// Floats that the lines of some windows take.
inline int64_t lines_of(const ception_windows &w) { return (w.window_height + 1) * span(w) * padded(w.channels); }

// The last rows of a picture that were read, as many as a window is high.
template <typename Element>
struct Lines {
  const ception_windows &w;
  const Reading &reading;
  const Element *x;
  float *memory;
  int64_t room, length, next = 0;

  Lines(const ception_windows &w, const Reading &reading, const Element *x, float *memory)
      : w(w), reading(reading), x(x), memory(memory), room(padded(w.channels)), length(span(w) * padded(w.channels)) {
    memset(memory, 0, sizeof(float) * lines_of(w));
  }

  // Reads what the windows of a row of outputs need.
  void prepare(int64_t out) {
    const int64_t start = out * w.down - w.top;
    for (next = most(next, start); next < least(w.height, start + w.window_height); ++next) fill(next);
  }

  // A row as it was read; zeros where the picture has none.
  const float *line(int64_t row) const {
    return memory + (row < 0 || row >= w.height ? w.window_height : row % w.window_height) * length;
  }

 private:
  void fill(int64_t row) {
    float *to = memory + row % w.window_height * length + w.left * room;
    const Element *from = x + row * w.width * w.channels;
    const int64_t columns = least(w.width, span(w) - w.left);
    for (int64_t column = 0; column < columns; ++column, to += room, from += w.channels)
      for (int64_t channel = 0; channel < w.channels; channel += kWidth)
        store(to + channel, read(reading, load_of(from + channel, w.channels - channel), channel));
  }
};

constexpr int kAtOnce = 4;  // outputs beside each other, which share what they read

// Columns that are gone through for one vector of channels before the next one: all of a row where its channels are few,
// so that the kernel stays in registers; else kAtOnce, for what lies beside each other in memory is read together.
inline int64_t columns_at_once(int64_t width, int64_t channels) { return channels <= kGrouped ? width : kAtOnce; }

// Outputs `first`..`last` of a row, at least kAtOnce, of windows of 3 x 3 with strides of 1 to the right, for channels from
// `begin` on and before `end`.
template <typename Element>
inline void outputs_of_3x3(const float *const lines[3], int64_t first, int64_t last, int64_t channels, int64_t begin,
                           int64_t end, const float *kernel, Element *y) {
  const int64_t room = padded(channels);
  for (int64_t channel = begin; channel < end; channel += kWidth) {
    Vector of[9];
#pragma GCC unroll 9
    for (int place = 0; place < 9; ++place) of[place] = load(kernel + place * room + channel);
    for (int64_t start = first; start < last; start += kAtOnce) {
      const int64_t column = least(start, last - kAtOnce);  // the last ones may be computed twice
      Vector sums[kAtOnce] = {};
#pragma GCC unroll 3
      for (int i = 0; i < 3; ++i) {
        Vector in[kAtOnce + 2];
#pragma GCC unroll 6
        for (int j = 0; j < kAtOnce + 2; ++j) in[j] = load(lines[i] + (column + j) * room + channel);
#pragma GCC unroll 4
        for (int at = 0; at < kAtOnce; ++at)
          sums[at] += in[at] * of[3 * i] + in[at + 1] * of[3 * i + 1] + in[at + 2] * of[3 * i + 2];
      }
#pragma GCC unroll 4
      for (int at = 0; at < kAtOnce; ++at) store_of(y + (column + at) * channels + channel, sums[at], channels - channel);
    }
  }
}

// One output of any window.
template <typename Element>
void output_of(const ception_windows &w, const Lines<Element> &lines, const float *kernel, int64_t row, int64_t column,
               Element *y) {
  const int64_t room = lines.room;
  for (int64_t channel = 0; channel < w.channels; channel += kWidth) {
    Vector sum = {};
    for (int64_t i = 0; i < w.window_height; ++i) {
      const float *line = lines.line(row * w.down - w.top + i) + column * w.right * room + channel;
      for (int64_t j = 0; j < w.window_width; ++j)
        sum += load(line + j * room) * load(kernel + (i * w.window_width + j) * room + channel);
    }
    store_of(y + channel, sum, w.channels - channel);
  }
}

// Rows of outputs of one picture: y has row `first` first. Lines that were read for earlier rows are not read again.
template <typename Element>
void depthwise_rows(Lines<Element> &lines, const float *kernel, int64_t first, int64_t last, Element *y) {
  const ception_windows &w = lines.w;
  const bool quick = w.window_height == 3 && w.window_width == 3 && w.right == 1 && w.out_width >= kAtOnce;
  for (int64_t row = first; row < last; ++row, y += w.out_width * w.channels) {
    lines.prepare(row);
    if (!quick) {
      for (int64_t column = 0; column < w.out_width; ++column)
        output_of(w, lines, kernel, row, column, y + column * w.channels);
      continue;
    }
    const float *read[3];
    for (int i = 0; i < 3; ++i) read[i] = lines.line(row * w.down - w.top + i);
    const int64_t together = columns_at_once(w.out_width, w.channels);
    for (int64_t channel = 0; channel < w.channels; channel += kGrouped)
      for (int64_t start = 0; start < w.out_width; start += together)
        outputs_of_3x3(read, least(start, w.out_width - kAtOnce), least(w.out_width, start + together), w.channels,
                       channel, least(w.channels, channel + kGrouped), kernel, y);
  }
}

// The windows whose convolution with the turned kernel gives the input's gradient where strides are 1.
inline ception_windows turned(const ception_windows &w) {
  ception_windows back = w;
  back.height = w.out_height, back.width = w.out_width, back.out_height = w.height, back.out_width = w.width;
  back.top = w.window_height - 1 - w.top, back.left = w.window_width - 1 - w.left;
  back.down = back.right = 1;
  return back;
}

// What a thread adds up for the gradients: of the turned kernel; of the gradients of what was normalised, and of these
// times x - mean, for one row and for all.
struct Sums {
  float *of_kernel, *row;
  double *all;
};

inline int64_t floats_of_sums(const ception_windows &w) { return packed_kernel(w) + 2 * padded(w.channels); }

// Some values of x as they were read, and what the gradient of that adds to the sums and becomes.
struct Read {
  Vector moved, value;

  template <typename Element>
  Read(const Reading &reading, const Element *x, int64_t channel, int64_t left) : moved(load_of(x, left)), value(moved) {
    if (reading.is_normed()) {
      moved -= load(reading.mean + channel);
      value = moved * load(reading.by + channel) + load(reading.beta + channel);
    }
    if (reading.clipped) value = clipped(value);
  }
};

// The gradients of kCount inputs beside each other, for windows of 3 x 3 with strides of 1 and channels from `begin` on
// and before `end`; lines are of the gradient.
template <int kCount, typename Element>
inline __attribute__((always_inline)) void gradients_of_3x3(const float *const lines[3], const Reading &reading,
                                                            int64_t channels, int64_t begin, int64_t end,
                                                            const float *kernel, const Element *x, Element *of_x,
                                                            const Sums &sums) {
  const int64_t room = padded(channels);
  for (int64_t channel = begin; channel < end; channel += kWidth) {
    const int64_t left = channels - channel;
    Vector moved[kCount], value[kCount], made[kCount] = {};
#pragma GCC unroll 4
    for (int at = 0; at < kCount; ++at) {
      const Read found(reading, x + at * channels + channel, channel, left);
      moved[at] = found.moved, value[at] = found.value;
    }
#pragma GCC unroll 3
    for (int i = 0; i < 3; ++i) {
      Vector in[kCount + 2];
#pragma GCC unroll 6
      for (int j = 0; j < kCount + 2; ++j) in[j] = load(lines[i] + j * room + channel);
#pragma GCC unroll 3
      for (int j = 0; j < 3; ++j) {
        const Vector of = load(kernel + (3 * i + j) * room + channel);
        float *to = sums.of_kernel + (3 * i + j) * room + channel;
        Vector sum = load(to);
#pragma GCC unroll 4
        for (int at = 0; at < kCount; ++at) made[at] += in[at + j] * of, sum += value[at] * in[at + j];
        store(to, sum);
      }
    }
    Vector sum = {}, product = {};
#pragma GCC unroll 4
    for (int at = 0; at < kCount; ++at) {
      if (reading.clipped) made[at] = select((Mask)(value[at] > Vector{}), made[at], Vector{});
      sum += made[at], product += made[at] * moved[at];
      store_of(of_x + at * channels + channel, made[at], left);
    }
    if (!reading.is_normed()) continue;
    store(sums.row + channel, load(sums.row + channel) + sum);
    store(sums.row + room + channel, load(sums.row + room + channel) + product);
  }
}

// The gradient of one input of any windows.
template <typename Element>
void gradient_of(const ception_windows &w, const Reading &reading, const float *kernel, const Element *gradient,
                 int64_t row, int64_t column, const Element *x, Element *of_x, const Sums &sums) {
  const int64_t room = padded(w.channels), places = w.window_height * w.window_width;
  for (int64_t channel = 0; channel < w.channels; channel += kWidth) {
    const int64_t left = w.channels - channel;
    const Read found(reading, x + channel, channel, left);
    Vector made = {};
    for (int64_t i = 0; i < w.window_height; ++i) {
      const int64_t down = row + w.top - i, out_row = down / w.down;
      if (down < 0 || down % w.down || out_row >= w.out_height) continue;
      for (int64_t j = 0; j < w.window_width; ++j) {
        const int64_t right = column + w.left - j, out_column = right / w.right;
        if (right < 0 || right % w.right || out_column >= w.out_width) continue;
        const int64_t place = (places - 1 - (i * w.window_width + j)) * room + channel;
        const Vector given = load_of(gradient + (out_row * w.out_width + out_column) * w.channels + channel, left);
        made += given * load(kernel + place);
        store(sums.of_kernel + place, load(sums.of_kernel + place) + found.value * given);
      }
    }
    if (reading.clipped) made = select((Mask)(found.value > Vector{}), made, Vector{});
    store_of(of_x + channel, made, left);
    if (!reading.is_normed()) continue;
    store(sums.row + channel, load(sums.row + channel) + made);
    store(sums.row + room + channel, load(sums.row + room + channel) + made * found.moved);
  }
}

// Adds the sums of a row to those of all.
inline void add_row(int64_t channels, const Sums &sums) {
  const int64_t room = padded(channels);
  for (int64_t channel = 0; channel < channels; ++channel) {
    sums.all[channel] += sums.row[channel];
    sums.all[channels + channel] += sums.row[room + channel];
  }
  memset(sums.row, 0, sizeof(float) * 2 * room);
}

// The gradients of a row of inputs, for windows of 3 x 3 with strides of 1; the lines are of the gradient, from row `top` on.
template <typename Element>
void gradients_of_row(const ception_windows &w, const Lines<Element> &lines, int64_t top, const Reading &reading,
                      const float *kernel, const Element *x, Element *of_x, const Sums &sums) {
  const float *given[3];
  for (int i = 0; i < 3; ++i) given[i] = lines.line(top + i);
  for (int64_t channel = 0; channel < w.channels; channel += kGrouped) {
    const int64_t end = least(w.channels, channel + kGrouped);
    for (int64_t column = 0; column < w.width;) {
      const int64_t at = column * w.channels;
      const float *from[3];
      for (int i = 0; i < 3; ++i) from[i] = given[i] + column * lines.room;
      const bool whole = w.width - column >= kAtOnce;
      if (whole)
        gradients_of_3x3<kAtOnce>(from, reading, w.channels, channel, end, kernel, x + at, of_x + at, sums);
      else
        gradients_of_3x3<1>(from, reading, w.channels, channel, end, kernel, x + at, of_x + at, sums);
      column += whole ? kAtOnce : 1;
    }
  }
}

// The gradients of rows of inputs of one picture, which x and of_x have whole; the kernel is a turned one. The memory is
// for `lines_of` the turned windows.
template <typename Element>
void gradients_of_rows(const ception_windows &w, const Reading &reading, const Element *x, const float *kernel,
                       const Element *gradient, int64_t first, int64_t last, Element *of_x, const Sums &sums,
                       float *memory) {
  const ception_windows back = turned(w);
  const Reading plain;
  const bool quick = w.window_height == 3 && w.window_width == 3 && w.down == 1 && w.right == 1;
  Lines<Element> lines(back, plain, gradient, memory);
  for (int64_t row = first; row < last; ++row) {
    const Element *from = x + row * w.width * w.channels;
    Element *to = of_x + row * w.width * w.channels;
    if (quick) {
      lines.prepare(row);
      gradients_of_row(w, lines, row - back.top, reading, kernel, from, to, sums);
    } else {
      for (int64_t column = 0, at = 0; column < w.width; ++column, at += w.channels)
        gradient_of(w, reading, kernel, gradient, row, column, from + at, to + at, sums);
    }
    if (reading.is_normed()) add_row(w.channels, sums);
  }
}

}  // namespace
