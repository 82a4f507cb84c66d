// One table of functions a kernel level; inside this target only.
#ifndef QCODEC_LEVELS_H
#define QCODEC_LEVELS_H

#include <math.h>
#include <string.h>

#include "CQCodecKernels.h"

typedef struct {
  int (*encode_blocks)(
    const qcodec_table *, const float *, size_t, size_t, int, int, float *, uint8_t *, qcodec_statistics *,
    const qcodec_spacing *);
  int (*encode_update)(
    const qcodec_table *, const float *, const float *, size_t, size_t, int, int, float *, uint8_t *, float *,
    qcodec_statistics *, const qcodec_spacing *);
  int (*inverses)(const qcodec_table *, const float *, size_t, float *);
  int (*encode_scaled)(
    const qcodec_table *, const float *, size_t, const qcodec_scale_rows *, int, uint8_t *, qcodec_statistics *);
  void (*decode_blocks)(const qcodec_table *, const uint8_t *, const float *, size_t, size_t, size_t, float *);
  void (*decode_scaled)(const qcodec_table *, const uint8_t *, size_t, size_t, const qcodec_scale_rows *, float *);
  int (*encode_log)(
    const float *, size_t, size_t, int, int, float *, uint8_t *, qcodec_statistics *, const qcodec_spacing *);
  void (*decode_log)(const uint8_t *, const float *, size_t, size_t, size_t, int, float *);
  int (*encode_pair)(
    const qcodec_pair *, const float *, const float *, size_t, float *, uint8_t *, float *, uint8_t *, float *,
    qcodec_statistics *, qcodec_statistics *);
  void (*decode_pair)(
    const qcodec_pair *, const float *, const uint8_t *, const float *, const uint8_t *, size_t, size_t, float *,
    float *);
  void (*update_error)(
    const float *, const float *, const float *, const float *, size_t, double, qcodec_update_error *);
  void (*extremes)(const void *, int, size_t, size_t, size_t, int, float *, float *);
  int (*scan)(const void *, int, size_t, qcodec_range *);
  void (*divisors)(float *, size_t);
  void (*multiply)(float *, const float *, size_t);
  void (*widen)(const void *, int, size_t, float *);
  void (*narrow)(const float *, int, size_t, void *);
  void (*split_planes)(const uint8_t *, size_t, int, uint8_t *);
  void (*join_planes)(const uint8_t *, size_t, int, uint8_t *);
  void (*pack_codes)(const uint8_t *, size_t, int, uint8_t *);
  void (*unpack_codes)(const uint8_t *, size_t, size_t, int, uint8_t *);
  int (*optimizer_step)(const qcodec_step *, const qcodec_tensor_step *, size_t, size_t, float *);
  void (*squares)(const void *, int, size_t, double *);
  void (*lamb_squares)(const qcodec_step *, const qcodec_tensor_step *, size_t, size_t, float *, double *);
  void (*factor_squares)(const qcodec_step *, const qcodec_tensor_step *, size_t, size_t, size_t, double *, double *);
} qcodec_kernels;

// As in CQCodecKernels.h: they share a prefix with what libcqcodec shows.
#pragma GCC visibility push(hidden)
#if defined(__x86_64__)
extern const qcodec_kernels qcodec_kernels_sse2, qcodec_kernels_avx2, qcodec_kernels_avx512;
#elif defined(__aarch64__)
extern const qcodec_kernels qcodec_kernels_neon;
#endif
#pragma GCC visibility pop

#endif
