// What encoding did: float64 sums in sixteen lanes, element i of the chunk in lane i mod 16.

typedef struct {
  f64x16 squared_error, squared_source, greatest;
  i32x16 zeros, signs;
} KERNEL(measures);
#define measures_t KERNEL(measures)

INLINE void measures_begin(measures_t *m, const qcodec_statistics *s) {
  memcpy(&m->squared_error, s->squared_error, sizeof m->squared_error);
  memcpy(&m->squared_source, s->squared_source, sizeof m->squared_source);
  m->zeros = m->signs = (i32x16)0;
}

INLINE void measures_end(const measures_t *m, qcodec_statistics *s) {
  memcpy(s->squared_error, &m->squared_error, sizeof m->squared_error);
  memcpy(s->squared_source, &m->squared_source, sizeof m->squared_source);
  s->zeros_created += (uint64_t)-__builtin_reduce_add(m->zeros);
  s->sign_changes += (uint64_t)-__builtin_reduce_add(m->signs);
}

INLINE f32x16 round_to(f32x16 v, int dtype) {
  if (dtype == qcodec_dtype_bf16) return (f32x16)(narrow_bf16(v) << 16);
  if (dtype == qcodec_dtype_f16) return widen_f16(narrow_f16(v));
  return v;
}

/// Sixteen elements from lane 0; elements beyond `count` are not counted.
INLINE void measure16(measures_t *m, f32x16 x, f32x16 value, int count) {
  if (__builtin_expect(count < 16, 0)) {
    for (int i = count; i < 16; i++) x[i] = value[i] = 0;
  }
  f64x16 wide = widen16(x), error = wide - widen16(value);
  m->squared_error += error * error;
  m->squared_source += wide * wide;
  m->greatest = larger16(m->greatest, __builtin_elementwise_abs(error));
  // Rare: something became zero, or has another sign than it had.
  i32x16 odd = (value == 0 | (i32x16)(bits16(x) ^ bits16(value)) < 0) & (x != 0);
  if (any16(odd)) {
    i32x16 vanished = value == 0;
    m->zeros += odd & vanished;
    m->signs += odd & ~vanished;
  }
}
