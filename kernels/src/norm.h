// Batch normalisation over some values (pixels) of all channels.
#pragma once

#include "vectors.h"

namespace {

constexpr int64_t kSummed = 64;  // values whose sums are kept in single precision before they are added up

// Adds the sums of x - shift and of its square to `sums` and `squares`, for values first..last.
void add_moments(int64_t channels, const float *x, const float *shift, int64_t first, int64_t last, double *sums,
                 double *squares) {
  for (int64_t start = first; start < last; start += kSummed) {
    const int64_t end = least(last, start + kSummed);
    for (int64_t channel = 0; channel < channels; channel += kWidth) {
      const int64_t count = least(kWidth, channels - channel);
      const bool full = count == kWidth;
      const Vector from = full ? load(shift + channel) : load_some(shift + channel, count);
      Vector sum = {}, square = {};
      for (int64_t value = start; value < end; ++value) {
        const float *at = x + value * channels + channel;
        const Vector moved = (full ? load(at) : load_some(at, count)) - from;
        sum += moved;
        square += moved * moved;
      }
      for (int64_t i = 0; i < count; ++i) sums[channel + i] += sum[i], squares[channel + i] += square[i];
    }
  }
}

// y = (x - mean) * by + beta: a mean far from 0 costs no digits.
void scale(int64_t channels, const float *x, const float *mean, const float *by, const float *beta, int64_t first,
           int64_t last, float *y) {
  for (int64_t value = first; value < last; ++value) {
    const float *from = x + value * channels;
    float *to = y + value * channels;
    for (int64_t channel = 0; channel < channels; ++channel) to[channel] = (from[channel] - mean[channel]) * by[channel] + beta[channel];
  }
}

// Adds the sums of the gradient and of the gradient times x - mean.
void add_gradient_sums(int64_t channels, const float *x, const float *mean, const float *gradient, int64_t first,
                       int64_t last, double *sums, double *products) {
  for (int64_t start = first; start < last; start += kSummed) {
    const int64_t end = least(last, start + kSummed);
    for (int64_t channel = 0; channel < channels; channel += kWidth) {
      const int64_t count = least(kWidth, channels - channel);
      const bool full = count == kWidth;
      const Vector from = full ? load(mean + channel) : load_some(mean + channel, count);
      Vector sum = {}, product = {};
      for (int64_t value = start; value < end; ++value) {
        const int64_t at = value * channels + channel;
        const Vector given = full ? load(gradient + at) : load_some(gradient + at, count);
        sum += given;
        product += given * ((full ? load(x + at) : load_some(x + at, count)) - from);
      }
      for (int64_t i = 0; i < count; ++i) sums[channel + i] += sum[i], products[channel + i] += product[i];
    }
  }
}

// to = (gradient - its mean) * by + (x - mean) * slope.
void combine(int64_t channels, const float *x, const float *mean, const float *gradient, const float *mean_gradient,
             const float *by, const float *slope, int64_t first, int64_t last, float *to) {
  for (int64_t value = first; value < last; ++value) {
    const int64_t at = value * channels;
    for (int64_t channel = 0; channel < channels; ++channel)
      to[at + channel] = (gradient[at + channel] - mean_gradient[channel]) * by[channel] +
                         (x[at + channel] - mean[channel]) * slope[channel];
  }
}

}  // namespace
