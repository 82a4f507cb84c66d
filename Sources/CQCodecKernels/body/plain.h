// Encoding under tables and block scales where no statistics are asked for: loops for each kind of table, whose parts
// stay in registers.

/// The ways to find codes; those of buckets differ by the level.
enum {
  KERNEL(by_steps),
  KERNEL(by_levels),
  KERNEL(by_words_signed),
  KERNEL(by_words_unsigned),
  KERNEL(by_planes_mirrored),
  KERNEL(by_planes_unsigned),
  KERNEL(by_planes_signed),
};

/// What a way needs of a table.
typedef struct {
  const qcodec_table *table;
  float levels[4][16];
#if defined(LEVEL_AVX512)
  KERNEL(byte_planes) planes;
#endif
} KERNEL(finder);

#if defined(LEVEL_AVX512)
INLINE int layout_of(int way) {
  return way == KERNEL(by_planes_mirrored)   ? qcodec_planes_mirrored
         : way == KERNEL(by_planes_unsigned) ? qcodec_planes_unsigned
                                             : qcodec_planes_signed;
}
#endif

INLINE KERNEL(finder) finder_of(const qcodec_table *table, int way) {
  KERNEL(finder) result;
  result.table = table;
  if (way == KERNEL(by_levels)) sixteen_levels(table, result.levels);
#if defined(LEVEL_AVX512)
  if (way >= KERNEL(by_planes_mirrored)) result.planes = planes_of(table);
#endif
  return result;
}

/// A block's scale as its elements meet it.
typedef struct {
  float scale;
  /// 1 / scale, rounded.
  float inverse;
  /// Whether quotients follow from the inverse.
  int multiplies;
} KERNEL(divisor);

INLINE KERNEL(divisor) divisor_of(float scale) {
  KERNEL(divisor) result;
  // A block of zeros: its quotients are zeros.
  result.scale = scale == 0 ? 1 : scale;
  result.inverse = 1 / result.scale;
  float magnitude = __builtin_fabsf(result.scale);
  result.multiplies = magnitude >= 0x1p-60f && magnitude <= 0x1p60f;
  return result;
}

/// x / scale, rounded as a division rounds it where the quotient is 2^-32 or more; below, something below 2^-31.
///
/// With r = 1/scale rounded, q = x·r lies within 1.5 units of the quotient, the remainder x - q·scale is a float32, and
/// q plus the remainder times r is off by 2^-24 of the remainder's share: less than a quotient of two float32 keeps
/// from the middle between two neighbours, so that it rounds to the same side (Markstein, 1990). That needs fused products; scales
/// within 2^±60 keep the remainder of such quotients clear of underflow.
INLINE f32x16 quotient16(f32x16 x, const KERNEL(divisor) *by, int multiplies) {
#if defined(LEVEL_AVX512) || defined(LEVEL_AVX2)
  if (multiplies) {
    f32x16 inverse = (f32x16)by->inverse, q = x * inverse;
    f32x16 remainder = __builtin_elementwise_fma(-q, (f32x16)by->scale, x);
    return __builtin_elementwise_fma(remainder, inverse, q);
  }
#endif
  (void)multiplies;
  return x / by->scale;
}

/// The codes of 64 elements, packed.
INLINE void encode64(
  const KERNEL(finder) *finder, int way, int bits, const float *x, const KERNEL(divisor) *by, int multiplies,
  uint8_t *target
) {
  const qcodec_table *table = finder->table;
  f32x16 y[4];
  u8x64 codes;
  if (way == KERNEL(by_steps) && multiplies) {
#pragma clang loop unroll(full)
    for (int v = 0; v < 4; v++) y[v] = load16(x + 16 * v);
    codes = search_uniform(table, y, by->scale, by->inverse * table->factor, table->offset);
  } else {
#pragma clang loop unroll(full)
    for (int v = 0; v < 4; v++) y[v] = quotient16(load16(x + 16 * v), by, multiplies);
    if (way == KERNEL(by_steps)) codes = search_uniform(table, y, 1, table->factor, table->offset);
    else if (way == KERNEL(by_levels)) codes = search_sixteen(finder->levels, y);
#if defined(LEVEL_AVX512)
    else if (way >= KERNEL(by_planes_mirrored)) codes = search_planes(table, &finder->planes, y, layout_of(way));
#endif
    else codes = search_words(table, y, way == KERNEL(by_words_signed));
  }
  if (bits == 8) *(u8x64u *)target = codes;
  else *(u8x32u *)target = nibbles64(codes);
}

/// The elements of a block.
INLINE void encode_run(
  const KERNEL(finder) *finder, int way, int bits, const float *x, size_t count, float scale, uint8_t *codes
) {
  const KERNEL(divisor) by = divisor_of(scale);
  size_t i = 0;
  if (__builtin_expect(by.multiplies, 1)) {
    for (; i + TILE <= count; i += TILE) encode64(finder, way, bits, x + i, &by, 1, codes + i * (size_t)bits / 8);
  }
  for (; i < count; i += TILE) {
    size_t rest = count - i < TILE ? count - i : TILE;
    float padded[TILE];
    uint8_t packed[TILE];
    memset(padded, 0, sizeof padded);
    memcpy(padded, x + i, 4 * rest);
    encode64(finder, way, bits, padded, &by, 0, packed);
    if (bits == 4 && rest % 2) packed[rest / 2] &= 0xF0;
    memcpy(codes + i * (size_t)bits / 8, packed, (rest * (size_t)bits + 7) / 8);
  }
}

INLINE int encode_plain_as(
  const qcodec_table *table, int way, int bits, const float *x, size_t count, size_t block, int rule, float *scales,
  uint8_t *codes
) {
  if (count == 0) return 0;
  const KERNEL(finder) finder = finder_of(table, way);
  KERNEL(extreme) next = find_extreme(x, count < block ? count : block);
  for (size_t start = 0; start < count; start += block) {
    size_t size = count - start < block ? count - start : block;
    KERNEL(extreme) extreme = next;
    // The next extreme first: its elements come from memory while this block's are encoded.
    size_t rest = count - start - size;
    if (rest) next = find_extreme(x + start + block, rest < block ? rest : block);
    if (extreme.found & (table->is_signed ? qcodec_found_nonfinite : ~0)) return extreme.found;
    float scale = rule & qcodec_rule_signed ? extreme.extreme : __builtin_fabsf(extreme.extreme);
    // Rounded scales make quotients that lie beyond ±1 and ask for ±1: as no threshold does, their codes are the same.
    if (rule & qcodec_rule_rounded) scale = rounded_scale(scale);
    if (__builtin_isinf(scale)) return qcodec_found_nonfinite;
    scales[start / block] = scale;
    encode_run(&finder, way, bits, x + start, size, scale, codes + start * (size_t)bits / 8);
  }
  return 0;
}

static int KERNEL(encode_plain)(
  const qcodec_table *table, const float *x, size_t count, size_t block, int rule, float *scales, uint8_t *codes
) {
#define ENCODE(way, bits) encode_plain_as(table, KERNEL(way), bits, x, count, block, rule, scales, codes)
  if (table->search == qcodec_search_sixteen) return ENCODE(by_levels, 4);
  if (table->search == qcodec_search_uniform) return table->bits == 8 ? ENCODE(by_steps, 8) : ENCODE(by_steps, 4);
#if defined(LEVEL_AVX512)
  if (table->layout == qcodec_planes_mirrored) return ENCODE(by_planes_mirrored, 8);
  if (table->layout == qcodec_planes_unsigned) return ENCODE(by_planes_unsigned, 8);
  if (table->layout == qcodec_planes_signed) return ENCODE(by_planes_signed, 8);
#endif
  return table->is_signed ? ENCODE(by_words_signed, 8) : ENCODE(by_words_unsigned, 8);
#undef ENCODE
}
