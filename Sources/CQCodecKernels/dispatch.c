#include "levels.h"

// The kernels of a level that the caller knows to be supported.
static const qcodec_kernels *kernels(int level) {
#if defined(__x86_64__)
  switch (level) {
    case qcodec_level_avx512: return &qcodec_kernels_avx512;
    case qcodec_level_avx2: return &qcodec_kernels_avx2;
    default: return &qcodec_kernels_sse2;
  }
#else
  (void)level;
  return &qcodec_kernels_neon;
#endif
}

int qcodec_level_supported(int level) {
  switch (level) {
    case qcodec_level_scalar: return 1;
#if defined(__x86_64__)
    case qcodec_level_sse2: return 1;
    case qcodec_level_avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c") &&
             __builtin_cpu_supports("popcnt") && __builtin_cpu_supports("bmi2");
    case qcodec_level_avx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2") &&
             __builtin_cpu_supports("fma") && __builtin_cpu_supports("popcnt") && __builtin_cpu_supports("bmi2");
#elif defined(__aarch64__)
    case qcodec_level_neon: return 1;
#endif
    default: return 0;
  }
}

int qcodec_level_best(void) {
  static const int order[] = {qcodec_level_avx512, qcodec_level_avx2, qcodec_level_neon, qcodec_level_sse2};
  for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
    if (qcodec_level_supported(order[i])) return order[i];
  }
  return qcodec_level_scalar;
}

int qcodec_encode_blocks(
  int level, const qcodec_table *table, const float *x, size_t count, size_t block, int rule, int dtype,
  float *scales, uint8_t *codes, qcodec_statistics *statistics, const qcodec_spacing *spacing
) {
  return kernels(level)->encode_blocks(table, x, count, block, rule, dtype, scales, codes, statistics, spacing);
}

int qcodec_encode_update(
  int level, const qcodec_table *table, const float *x, const float *divisors, size_t count, size_t block, int rule,
  int dtype, float *scales, uint8_t *codes, float *scratch, qcodec_statistics *statistics,
  const qcodec_spacing *spacing
) {
  return kernels(level)->encode_update(
    table, x, divisors, count, block, rule, dtype, scales, codes, scratch, statistics, spacing);
}

int qcodec_inverses(int level, const qcodec_table *table, const float *columns, size_t length, float *inverses) {
  return kernels(level)->inverses(table, columns, length, inverses);
}

int qcodec_encode_scaled(
  int level, const qcodec_table *table, const float *x, size_t count, const qcodec_scale_rows *scales, int dtype,
  uint8_t *codes, qcodec_statistics *statistics
) {
  return kernels(level)->encode_scaled(table, x, count, scales, dtype, codes, statistics);
}

void qcodec_decode_blocks(
  int level, const qcodec_table *table, const uint8_t *codes, const float *scales, size_t first, size_t count,
  size_t block, float *values
) {
  kernels(level)->decode_blocks(table, codes, scales, first, count, block, values);
}

void qcodec_decode_scaled(
  int level, const qcodec_table *table, const uint8_t *codes, size_t first, size_t count,
  const qcodec_scale_rows *scales, float *values
) {
  kernels(level)->decode_scaled(table, codes, first, count, scales, values);
}

int qcodec_encode_log(
  int level, const float *x, size_t count, size_t block, int bits, int dtype, float *ends, uint8_t *codes,
  qcodec_statistics *statistics, const qcodec_spacing *spacing
) {
  return kernels(level)->encode_log(x, count, block, bits, dtype, ends, codes, statistics, spacing);
}

void qcodec_decode_log(
  int level, const uint8_t *codes, const float *ends, size_t first, size_t count, size_t block, int bits, float *values
) {
  kernels(level)->decode_log(codes, ends, first, count, block, bits, values);
}

int qcodec_encode_pair(
  int level, const qcodec_pair *pair, const float *first, const float *second, size_t count, float *scales,
  uint8_t *codes, float *ends, uint8_t *second_codes, float *scratch, qcodec_statistics *statistics,
  qcodec_statistics *second_statistics
) {
  return kernels(level)->encode_pair(
    pair, first, second, count, scales, codes, ends, second_codes, scratch, statistics, second_statistics);
}

void qcodec_decode_pair(
  int level, const qcodec_pair *pair, const float *scales, const uint8_t *codes, const float *ends,
  const uint8_t *second_codes, size_t first, size_t count, float *values, float *second_values
) {
  kernels(level)->decode_pair(pair, scales, codes, ends, second_codes, first, count, values, second_values);
}

void qcodec_measure_updates(
  int level, const float *m, const float *v, const float *decoded_m, const float *decoded_v, size_t count,
  double epsilon, qcodec_update_error *error
) {
  kernels(level)->update_error(m, v, decoded_m, decoded_v, count, epsilon, error);
}

void qcodec_extremes(
  int level, const void *x, int dtype, size_t place, size_t count, size_t length, int rule, float *rows, float *columns
) {
  kernels(level)->extremes(x, dtype, place, count, length, rule, rows, columns);
}

int qcodec_scan(int level, const void *x, int dtype, size_t count, qcodec_range *range) {
  return kernels(level)->scan(x, dtype, count, range);
}

void qcodec_divisors(int level, float *values, size_t count) { kernels(level)->divisors(values, count); }

void qcodec_multiply(int level, float *values, const float *divisors, size_t count) {
  kernels(level)->multiply(values, divisors, count);
}

void qcodec_widen(int level, const void *source, int dtype, size_t count, float *values) {
  kernels(level)->widen(source, dtype, count, values);
}

void qcodec_narrow(int level, const float *values, int dtype, size_t count, void *target) {
  kernels(level)->narrow(values, dtype, count, target);
}

void qcodec_split_planes(int level, const void *source, size_t count, int planes, void *target) {
  kernels(level)->split_planes(source, count, planes, target);
}

void qcodec_join_planes(int level, const void *source, size_t count, int planes, void *target) {
  kernels(level)->join_planes(source, count, planes, target);
}

void qcodec_pack_codes(int level, const uint8_t *codes, size_t count, int bits, uint8_t *target) {
  kernels(level)->pack_codes(codes, count, bits, target);
}

void qcodec_unpack_codes(
  int level, const uint8_t *packed, size_t first, size_t count, int bits, uint8_t *codes
) {
  kernels(level)->unpack_codes(packed, first, count, bits, codes);
}

int qcodec_step_chunk(
  int level, const qcodec_step *step, const qcodec_tensor_step *tensor, size_t start, size_t count, float *scratch
) {
  return kernels(level)->optimizer_step(step, tensor, start, count, scratch);
}

void qcodec_squares(int level, const void *x, int dtype, size_t count, double sums[16]) {
  kernels(level)->squares(x, dtype, count, sums);
}

void qcodec_lamb_squares(
  int level, const qcodec_step *step, const qcodec_tensor_step *tensor, size_t start, size_t count, float *scratch,
  double sums[16]
) {
  kernels(level)->lamb_squares(step, tensor, start, count, scratch, sums);
}

void qcodec_factor_squares(
  int level, const qcodec_step *step, const qcodec_tensor_step *tensor, size_t start, size_t rows, size_t columns,
  double *row_sums, double *column_sums
) {
  kernels(level)->factor_squares(step, tensor, start, rows, columns, row_sums, column_sums);
}
