// A bias for each channel and SELU, and their gradients.
#pragma once

#include "sharing.h"

namespace {

constexpr float kScale = 1.0507009873554804934193349852946f, kScaleAlpha = 1.7580993408473768599402175208123f;

// e to the power of what is at most 0, within 2 units of the last place; 0 below -87. What is no number stays none.
//
// Source: the reduction of Cody and Waite, and the coefficients of Cephes's expf.
inline Vector exponential(Vector value) {
  const Vector zero = {}, least_of_all = zero - 87.0f;
  value = select((Mask)(value < least_of_all), least_of_all, value);
  const float rounder = 12582912.0f;  // 1.5 * 2^23: what is added to it is rounded to a whole number
  const Vector shifted = value * 1.44269504088896341f + rounder, whole = shifted - rounder;
  const Vector rest = (value - whole * 0.693359375f) - whole * -2.12194440e-4f;
  Vector sum = rest * 1.9875691500e-4f + 1.3981999507e-3f;
  sum = sum * rest + 8.3334519073e-3f;
  sum = sum * rest + 4.1665795894e-2f;
  sum = sum * rest + 1.6666665459e-1f;
  sum = sum * rest + 5.0000001201e-1f;
  sum = sum * rest * rest + rest + 1.0f;
  const Bits power = (Bits)((Mask)shifted - 0x4b400000) << 23;  // the whole number, where an exponent lies
  return (Vector)((Bits)sum + power);
}

template <typename Element>
void write_selu(int64_t channels, const Element *x, const float *bias, int64_t first, int64_t last, Element *y) {
  for (int64_t at = first * channels; at < last * channels; at += channels)
    for (int64_t channel = 0; channel < channels; channel += kWidth) {
      const int64_t left = channels - channel;
      const Vector value = load_of(x + at + channel, left) + load(bias + channel), zero = {};
      const Vector below = exponential(select((Mask)(value > zero), zero, value)) * kScaleAlpha - kScaleAlpha;
      store_of(y + at + channel, select((Mask)(value > zero), value * kScale, below), left);
    }
}

// Writes the gradients of values first..last of some vectors of channels from what SELU gave, each `apart` from the one
// before, and adds them up.
template <int kCount, typename Element>
inline __attribute__((always_inline)) void some_selu_gradients(int64_t channels, int64_t channel, const Element *y,
                                                               const Element *gradient, int64_t first, int64_t last,
                                                               Element *of_x, int64_t apart, double *sums) {
  const int64_t left = kCount > 1 ? kCount * kWidth : channels - channel;
  Vector sum[kCount] = {};
  for (int64_t value = first; value < last; ++value)
#pragma GCC unroll 8
    for (int v = 0; v < kCount; ++v) {
      const int64_t at = value * channels + channel + v * kWidth;
      const Vector made = load_of(y + at, left), zero = {};
      const Vector slope = select((Mask)(made > zero), zero + kScale, made + kScaleAlpha);
      const Vector given = load_of(gradient + at, left) * slope;
      store_of(of_x + value * apart + channel + v * kWidth, given, left);
      sum[v] += given;
    }
  for (int v = 0; v < kCount; ++v)
    for (int64_t i = 0; i < least(kWidth, left - v * kWidth); ++i) sums[channel + v * kWidth + i] += sum[v][i];
}

template <typename Element>
void write_selu_gradients(int64_t channels, const Element *y, const Element *gradient, int64_t first, int64_t last,
                          Element *of_x, int64_t apart, double *sums) {
  for (int64_t end; first < last; first = end) {
    end = least(last, first + kSummed);
    int64_t channel = 0;
    for (; channel + 2 * kWidth <= channels; channel += 2 * kWidth)
      some_selu_gradients<2>(channels, channel, y, gradient, first, end, of_x, apart, sums);
    for (; channel < channels; channel += kWidth)
      some_selu_gradients<1>(channels, channel, y, gradient, first, end, of_x, apart, sums);
  }
}

// The gradient of the bias from what the threads have added up.
inline void write_bias_gradient(int64_t channels, int size, const double *sums, float *of_bias) {
  for (int64_t channel = 0; channel < channels; ++channel) {
    double sum = 0;
    for (int worker = 0; worker < size; ++worker) sum += sums[worker * channels + channel];
    of_bias[channel] = (float)sum;
  }
}

template <typename Element>
int32_t bias_selu(int64_t values, int64_t channels, const Element *x, const float *bias, Element *y) {
  const int size = ception::threads();
  const ception::Scratch room(padded(channels));
  if (!room.data()) return 1;
  memset(room.data(), 0, sizeof(float) * padded(channels));
  memcpy(room.data(), bias, sizeof(float) * channels);
  const int64_t blocks = blocks_of(values, size);
  auto write = [&](int64_t item, int) {
    write_selu(channels, x, room.data(), values * item / blocks, values * (item + 1) / blocks, y);
  };
  each(blocks, size, write);
  return 0;
}

template <typename Element>
int32_t bias_selu_gradients(int64_t values, int64_t channels, const Element *y, const Element *gradient, Element *of_x,
                            float *of_bias) {
  const int size = ception::threads();
  const ception::Scratch memory(2 * size * channels);
  if (!memory.data()) return 1;
  double *sums = zeros(memory, size * channels);
  const int64_t blocks = blocks_of(values, size);
  auto write = [&](int64_t item, int worker) {
    write_selu_gradients(channels, y, gradient, values * item / blocks, values * (item + 1) / blocks, of_x, channels,
                         sums + worker * channels);
  };
  each(blocks, size, write);
  write_bias_gradient(channels, size, sums, of_bias);
  return 0;
}

}  // namespace
