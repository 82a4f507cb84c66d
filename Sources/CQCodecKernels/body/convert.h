// Dtypes, and the update domain's element-wise steps.

static void KERNEL(divisors)(f32u *values, size_t count) {
  size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    f32x16 v = load16(values + i), root = __builtin_elementwise_sqrt(v);
    store16(values + i, selectf16(v > 0, root, (f32x16)1.0f));
  }
  for (; i < count; i++) values[i] = values[i] > 0 ? __builtin_sqrtf(values[i]) : 1;
}

static void KERNEL(multiply)(f32u *values, const f32u *divisors, size_t count) {
  size_t i = 0;
  for (; i + 16 <= count; i += 16) store16(values + i, load16(values + i) * load16(divisors + i) + 0.0f);
  for (; i < count; i++) values[i] = values[i] * divisors[i] + 0.0f;
}

INLINE void widen_as(const uint8_t *source, int dtype, size_t count, f32u *values) {
  size_t i = 0;
  for (; i + 16 <= count; i += 16) store16(values + i, load_as(source, i, dtype));
  if (i < count) {
    f32x16 rest = load_some_as(source, i, count - i, dtype);
    memcpy(values + i, &rest, 4 * (count - i));
  }
}

static void KERNEL(widen)(const void *source, int dtype, size_t count, f32u *values) {
  switch (dtype) {
    case qcodec_dtype_bf16: widen_as(source, qcodec_dtype_bf16, count, values); break;
    case qcodec_dtype_f16: widen_as(source, qcodec_dtype_f16, count, values); break;
    default: memcpy(values, source, 4 * count);
  }
}

INLINE u16x16 narrow16(f32x16 v, int dtype) {
  return dtype == qcodec_dtype_f16 ? narrow_f16(v) : __builtin_convertvector(narrow_bf16(v), u16x16);
}

INLINE void narrow_as(const f32u *values, int dtype, size_t count, uint8_t *target) {
  size_t i = 0;
  for (; i + 16 <= count; i += 16) *(u16x16u *)(target + 2 * i) = narrow16(load16(values + i), dtype);
  if (i < count) {
    f32x16 rest = (f32x16)0.0f;
    memcpy(&rest, values + i, 4 * (count - i));
    u16x16 half = narrow16(rest, dtype);
    memcpy(target + 2 * i, &half, 2 * (count - i));
  }
}

static void KERNEL(narrow)(const f32u *values, int dtype, size_t count, void *target) {
  switch (dtype) {
    case qcodec_dtype_bf16: narrow_as(values, qcodec_dtype_bf16, count, target); break;
    case qcodec_dtype_f16: narrow_as(values, qcodec_dtype_f16, count, target); break;
    default: memcpy(target, values, 4 * count);
  }
}
