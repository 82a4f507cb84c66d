// Dtypes, and the update domain's element-wise steps.

static void KERNEL(divisors)(float *values, size_t count) {
  size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    f32x16 v = load16(values + i), root = __builtin_elementwise_sqrt(v);
    store16(values + i, selectf16(v > 0, root, (f32x16)1.0f));
  }
  for (; i < count; i++) values[i] = values[i] > 0 ? __builtin_sqrtf(values[i]) : 1;
}

static void KERNEL(multiply)(float *values, const float *divisors, size_t count) {
  size_t i = 0;
  for (; i + 16 <= count; i += 16) store16(values + i, load16(values + i) * load16(divisors + i) + 0.0f);
  for (; i < count; i++) values[i] = values[i] * divisors[i] + 0.0f;
}

static void KERNEL(widen)(const void *source, int dtype, size_t count, float *values) {
  if (dtype == qcodec_dtype_f32) {
    memcpy(values, source, 4 * count);
    return;
  }
  const uint8_t *bytes = source;
  for (size_t i = 0; i < count; i += 16) {
    size_t lanes = count - i < 16 ? count - i : 16;
    u16x16 half = (u16x16)0;
    memcpy(&half, bytes + 2 * i, 2 * lanes);
    f32x16 value = dtype == qcodec_dtype_bf16 ? widen_bf16(half) : widen_f16(half);
    memcpy(values + i, &value, 4 * lanes);
  }
}

static void KERNEL(narrow)(const float *values, int dtype, size_t count, void *target) {
  if (dtype == qcodec_dtype_f32) {
    memcpy(target, values, 4 * count);
    return;
  }
  uint8_t *bytes = target;
  for (size_t i = 0; i < count; i += 16) {
    size_t lanes = count - i < 16 ? count - i : 16;
    f32x16 value = (f32x16)0.0f;
    memcpy(&value, values + i, 4 * lanes);
    u16x16 half = __builtin_convertvector(dtype == qcodec_dtype_bf16 ? narrow_bf16(value) : narrow_f16(value), u16x16);
    memcpy(bytes + 2 * i, &half, 2 * lanes);
  }
}
