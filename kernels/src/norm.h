// Batch normalisation over some values (pixels) of all channels, and how other operations read what it would give.
#pragma once

#include "ception_kernels.h"
#include "sharing.h"

namespace {

// How values are read: as (x - mean) * by + beta where they are normalised, then clipped at 0 or not. All that belongs to
// a channel lies in whole vectors, zeros behind the last channel.
struct Reading {
  const float *mean = nullptr, *by = nullptr, *beta = nullptr;
  bool clipped = false;

  bool is_normed() const { return mean != nullptr; }
};

constexpr int64_t kOfReading = 3;  // floats for each channel

// A reading as the interface says it, with its numbers in `memory`.
Reading prepared(const ception_reading *said, int64_t channels, float *memory) {
  Reading made;
  if (!said) return made;
  made.clipped = said->clipped;
  if (!said->mean) return made;
  const int64_t room = padded(channels);
  memset(memory, 0, sizeof(float) * kOfReading * room);
  memcpy(memory, said->mean, sizeof(float) * channels);
  for (int64_t channel = 0; channel < channels; ++channel)
    memory[room + channel] = (float)(said->gamma[channel] / __builtin_sqrt((double)said->variance[channel] + said->epsilon));
  memcpy(memory + 2 * room, said->beta, sizeof(float) * channels);
  made.mean = memory, made.by = memory + room, made.beta = memory + 2 * room;
  return made;
}

inline Vector clipped(Vector value) { return select((Mask)(value <= Vector{}), Vector{}, value); }  // no number stays

inline Vector read(const Reading &reading, Vector value, int64_t channel) {
  if (reading.is_normed())  // a mean far from 0 costs no digits
    value = (value - load(reading.mean + channel)) * load(reading.by + channel) + load(reading.beta + channel);
  return reading.clipped ? clipped(value) : value;
}

// Adds the sums of x - shift and of its square for values first..last of kCount vectors of channels.
template <int kCount, typename Element>
inline __attribute__((always_inline)) void add_some_moments(int64_t channels, const Element *x, const float *shift,
                                                            int64_t first, int64_t last, int64_t left, double *sums,
                                                            double *squares) {
  Vector from[kCount], sum[kCount] = {}, square[kCount] = {};
#pragma GCC unroll 8
  for (int v = 0; v < kCount; ++v) from[v] = load(shift + v * kWidth);
  for (int64_t value = first; value < last; ++value)
#pragma GCC unroll 8
    for (int v = 0; v < kCount; ++v) {
      const Vector moved = load_of(x + value * channels + v * kWidth, kCount > 1 ? kWidth : left) - from[v];
      sum[v] += moved;
      square[v] += moved * moved;
    }
  for (int v = 0; v < kCount; ++v)
    for (int64_t i = 0; i < least(kWidth, left - v * kWidth); ++i)
      sums[v * kWidth + i] += sum[v][i], squares[v * kWidth + i] += square[v][i];
}

// Adds the sums of x - shift and of its square to `sums` and `squares`, for values first..last.
template <typename Element>
void add_moments(int64_t channels, const Element *x, const float *shift, int64_t first, int64_t last, double *sums,
                 double *squares) {
  for (int64_t start = first; start < last; start += kSummed) {
    const int64_t end = least(last, start + kSummed);
    int64_t channel = 0;
    for (; channel + kGrouped <= channels; channel += kGrouped)
      add_some_moments<kGroup>(channels, x + channel, shift + channel, start, end, kGrouped, sums + channel, squares + channel);
    for (; channel < channels; channel += kWidth)
      add_some_moments<1>(channels, x + channel, shift + channel, start, end, channels - channel, sums + channel,
                          squares + channel);
  }
}

template <typename Element>
void write_read(const Reading &reading, int64_t channels, const Element *x, int64_t first, int64_t last, Element *y) {
  for (int64_t value = first; value < last; ++value) {
    const int64_t at = value * channels;
    for (int64_t channel = 0; channel < channels; channel += kWidth) {
      const int64_t left = channels - channel;
      store_of(y + at + channel, read(reading, load_of(x + at + channel, left), channel), left);
    }
  }
}

// Adds the sums of the gradient, where nothing was clipped, and of it times x - mean, of kCount vectors of channels.
template <int kCount, typename Element>
inline __attribute__((always_inline)) void add_some_gradients(const Reading &reading, int64_t channels, int64_t channel,
                                                              const Element *x, const Element *gradient, int64_t first,
                                                              int64_t last, double *sums, double *products) {
  const int64_t left = channels - channel;
  Vector mean[kCount], by[kCount], beta[kCount], sum[kCount] = {}, product[kCount] = {};
#pragma GCC unroll 8
  for (int v = 0; v < kCount; ++v) {
    const int64_t of = channel + v * kWidth;
    mean[v] = load(reading.mean + of), by[v] = load(reading.by + of), beta[v] = load(reading.beta + of);
  }
  for (int64_t value = first; value < last; ++value)
#pragma GCC unroll 8
    for (int v = 0; v < kCount; ++v) {
      const int64_t at = value * channels + channel + v * kWidth;
      const Vector moved = load_of(x + at, kCount > 1 ? kWidth : left) - mean[v];
      Vector given = load_of(gradient + at, kCount > 1 ? kWidth : left);
      if (reading.clipped) given = select((Mask)(moved * by[v] + beta[v] > Vector{}), given, Vector{});
      sum[v] += given;
      product[v] += given * moved;
    }
  for (int v = 0; v < kCount; ++v)
    for (int64_t i = 0; i < least(kWidth, left - v * kWidth); ++i)
      sums[channel + v * kWidth + i] += sum[v][i], products[channel + v * kWidth + i] += product[v][i];
}

template <typename Element>
void add_gradient_sums(const Reading &reading, int64_t channels, const Element *x, const Element *gradient, int64_t first,
                       int64_t last, double *sums, double *products) {
  constexpr int kHalf = kGroup / 2;  // which leaves registers for what is read
  for (int64_t start = first; start < last; start += kSummed) {
    const int64_t end = least(last, start + kSummed);
    int64_t channel = 0;
    for (; channel + kHalf * kWidth <= channels; channel += kHalf * kWidth)
      add_some_gradients<kHalf>(reading, channels, channel, x, gradient, start, end, sums, products);
    for (; channel < channels; channel += kWidth)
      add_some_gradients<1>(reading, channels, channel, x, gradient, start, end, sums, products);
  }
}

// What the gradient of what is normalised becomes: (gradient - mean_gradient) * by + (x - mean) * slope.
struct Slopes {
  float *mean_gradient, *slope;
};

constexpr int64_t kOfSlopes = 2;  // floats for each channel

// Doubles that the threads add up to, and beside them what `slopes_of` needs.
constexpr int64_t of_totals(int64_t channels, int size) { return 2 * (size + 1) * channels + 1; }

// Gradients for gamma and beta, and what those for x follow from. The totals are the threads' sums and products, those of
// each thread `apart` from the one before, and room behind them.
Slopes slopes_of(const ception_reading &said, int64_t values, int64_t channels, double *sums, double *products, int size,
                 int64_t apart, float *memory, float *of_gamma, float *of_beta) {
  const int64_t room = padded(channels);
  memset(memory, 0, sizeof(float) * kOfSlopes * room);
  const Slopes made{memory, memory + room};
  double *whole = sums + 2 * size * channels;
  const auto inverse = [&](int64_t channel) { return 1 / __builtin_sqrt((double)said.variance[channel] + said.epsilon); };
  for (int64_t channel = 0; channel < channels; ++channel) {
    double sum = 0, product = 0;
    for (int worker = 0; worker < size; ++worker)
      sum += sums[worker * apart + channel], product += products[worker * apart + channel];
    of_beta[channel] = (float)sum;
    of_gamma[channel] = (float)(product * inverse(channel));
    whole[channel] = sum, whole[channels + channel] = product;
  }
  if (said.apart) return made;
  whole[2 * channels] = (double)values;
  if (said.added) said.added(whole, 2 * channels + 1);
  for (int64_t channel = 0; channel < channels; ++channel) {
    const double by = inverse(channel), count = whole[2 * channels];
    made.slope[channel] = (float)(-said.gamma[channel] * by * by * by * whole[channels + channel] / count);
    made.mean_gradient[channel] = (float)(whole[channel] / count);
  }
  return made;
}

// The gradient of x from that of what was read; it is clipped now where `masked`, or was before.
template <typename Element>
void combine(const Reading &reading, const Slopes &slopes, bool masked, int64_t channels, const Element *x,
             const Element *gradient, int64_t first, int64_t last, Element *to) {
  for (int64_t value = first; value < last; ++value) {
    const int64_t start = value * channels;
    for (int64_t channel = 0; channel < channels; channel += kWidth) {
      const int64_t left = channels - channel, at = start + channel;
      const Vector by = load(reading.by + channel), moved = load_of(x + at, left) - load(reading.mean + channel);
      Vector given = load_of(gradient + at, left);
      if (masked) given = select((Mask)(moved * by + load(reading.beta + channel) > Vector{}), given, Vector{});
      store_of(to + at, (given - load(slopes.mean_gradient + channel)) * by + moved * load(slopes.slope + channel), left);
    }
  }
}

template <typename Element>
int32_t moments(int64_t values, int64_t channels, const Element *x, float *mean, float *variance) {
  const int size = ception::threads();
  const ception::Scratch memory(4 * size * channels), first(padded(channels));
  if (!memory.data() || !first.data()) return 1;
  double *sums = zeros(memory, 2 * size * channels), *squares = sums + size * channels;
  float *shift = first.data();  // the first value: of what is left of it little is cancelled
  for (int64_t channel = 0; channel < channels; channel += kWidth)
    store(shift + channel, load_of(x + channel, channels - channel));
  const int64_t blocks = blocks_of(values, size);
  auto add = [&](int64_t item, int worker) {
    add_moments(channels, x, shift, values * item / blocks, values * (item + 1) / blocks, sums + worker * channels,
                squares + worker * channels);
  };
  each(blocks, size, add);
  for (int64_t channel = 0; channel < channels; ++channel) {
    double sum = 0, square = 0;
    for (int worker = 0; worker < size; ++worker)
      sum += sums[worker * channels + channel], square += squares[worker * channels + channel];
    const double moved = sum / values, found = square / values - moved * moved;
    mean[channel] = (float)(shift[channel] + moved);
    variance[channel] = (float)(found > 0 ? found : found < 0 ? 0 : found);  // what is no number stays
  }
  return 0;
}

template <typename Element>
int32_t normalize(int64_t values, int64_t channels, const ception_reading *said, const Element *x, Element *y) {
  const int size = ception::threads();
  const ception::Scratch memory(kOfReading * padded(channels));
  if (!memory.data()) return 1;
  const Reading reading = prepared(said, channels, memory.data());
  const int64_t blocks = blocks_of(values, size);
  auto write = [&](int64_t item, int) {
    write_read(reading, channels, x, values * item / blocks, values * (item + 1) / blocks, y);
  };
  each(blocks, size, write);
  return 0;
}

template <typename Element>
int32_t normalize_gradients(int64_t values, int64_t channels, const ception_reading *said, const Element *x,
                            const Element *gradient, Element *of_x, float *of_gamma, float *of_beta) {
  const int size = ception::threads();
  const ception::Scratch memory(2 * of_totals(channels, size)), factors((kOfReading + kOfSlopes) * padded(channels));
  if (!memory.data() || !factors.data()) return 1;
  double *sums = zeros(memory, of_totals(channels, size)), *products = sums + size * channels;
  const Reading reading = prepared(said, channels, factors.data());
  const int64_t blocks = blocks_of(values, size);
  auto add = [&](int64_t item, int worker) {
    add_gradient_sums(reading, channels, x, gradient, values * item / blocks, values * (item + 1) / blocks,
                      sums + worker * channels, products + worker * channels);
  };
  each(blocks, size, add);
  const Slopes slopes = slopes_of(*said, values, channels, sums, products, size, channels,
                                  factors.data() + kOfReading * padded(channels), of_gamma, of_beta);
  if (!of_x) return 0;
  auto write = [&](int64_t item, int) {
    combine(reading, slopes, reading.clipped, channels, x, gradient, values * item / blocks,
            values * (item + 1) / blocks, of_x);
  };
  each(blocks, size, write);
  return 0;
}

template <typename Element>
int32_t finish_gradient(int64_t values, int64_t channels, const ception_reading *said, const Element *x,
                        const Element *gradient, const float *of_gamma, const float *of_beta, int64_t all, Element *of_x) {
  const int64_t room = padded(channels);
  const ception::Scratch factors((kOfReading + kOfSlopes) * room);
  if (!factors.data()) return 1;
  const Reading reading = prepared(said, channels, factors.data());
  const Slopes slopes{factors.data() + kOfReading * room, factors.data() + (kOfReading + 1) * room};
  memset(slopes.mean_gradient, 0, sizeof(float) * kOfSlopes * room);
  for (int64_t channel = 0; channel < channels; ++channel) {
    const double variance = (double)said->variance[channel] + said->epsilon;
    slopes.slope[channel] = (float)(-said->gamma[channel] / variance * of_gamma[channel] / all);
    slopes.mean_gradient[channel] = (float)((double)of_beta[channel] / all);
  }
  const int size = ception::threads();
  const int64_t blocks = blocks_of(values, size);
  auto write = [&](int64_t item, int) {
    combine(reading, slopes, reading.clipped, channels, x, gradient, values * item / blocks,
            values * (item + 1) / blocks, of_x);
  };
  each(blocks, size, write);
  return 0;
}

}  // namespace
