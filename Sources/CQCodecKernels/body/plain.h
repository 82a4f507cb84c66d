// Encoding under tables and block scales where no statistics are asked for: one loop over tiles for each kind of table,
// which keeps the table's parts in registers.

/// The ways to find codes.
enum {
  KERNEL(by_steps),
  KERNEL(by_levels),
  KERNEL(by_words_signed),
  KERNEL(by_words_unsigned),
  KERNEL(by_planes_mirrored),
  KERNEL(by_planes_unsigned),
  KERNEL(by_planes_signed),
};

/// A table with its levels, where its search has them.
typedef struct {
  const qcodec_table *table;
  float levels[4][16];
} KERNEL(finder);

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

/// The codes of tiles of one scale, packed.
INLINE void encode_tiles(
  const KERNEL(finder) *finder, int way, int bits, const float *x, size_t tiles, const KERNEL(divisor) *by,
  int multiplies, uint8_t *restrict target
) {
  const qcodec_table *table = finder->table;
#if defined(LEVEL_AVX512)
  const int layout = way == KERNEL(by_planes_mirrored)   ? qcodec_planes_mirrored
                     : way == KERNEL(by_planes_unsigned) ? qcodec_planes_unsigned
                                                         : qcodec_planes_signed;
  const KERNEL(byte_planes) planes = planes_of(table);
#endif
  const float factor = by->inverse * table->factor;
  for (; tiles; tiles--, x += TILE, target += TILE * bits / 8) {
    f32x16 y[4];
    u8x64 codes;
#pragma clang loop unroll(full)
    for (int v = 0; v < 4; v++) y[v] = load16(x + 16 * v);
    if (way == KERNEL(by_steps) && multiplies) {
      codes = search_uniform(table, y, by->scale, factor, table->offset);
    } else {
#pragma clang loop unroll(full)
      for (int v = 0; v < 4; v++) y[v] = quotient16(y[v], by, multiplies);
      if (way == KERNEL(by_steps)) codes = search_uniform(table, y, 1, table->factor, table->offset);
      else if (way == KERNEL(by_levels)) codes = search_sixteen(finder->levels, y);
#if defined(LEVEL_AVX512)
      else if (way >= KERNEL(by_planes_mirrored)) codes = search_planes(table, &planes, y, layout);
#endif
      else codes = search_words(table, y, way == KERNEL(by_words_signed));
    }
    if (bits == 8) *(u8x64u *)target = codes;
    else *(u8x32u *)target = nibbles64(codes);
  }
}

// Functions of their own, not inlined: a call in the same loop, such as one for a tail, would drive the table's parts out
// of the registers.
typedef void (*KERNEL(tile_encoder))(
  const KERNEL(finder) *, const float *, size_t tiles, const KERNEL(divisor) *, uint8_t *);

#define TILE_ENCODER(way, bits)                                                                              \
  static __attribute__((noinline)) void KERNEL(encode_##way##_##bits)(                                       \
    const KERNEL(finder) *finder, const float *x, size_t tiles, const KERNEL(divisor) *by, uint8_t *target \
  ) {                                                                                                        \
    if (by->multiplies) encode_tiles(finder, KERNEL(way), bits, x, tiles, by, 1, target);                    \
    else encode_tiles(finder, KERNEL(way), bits, x, tiles, by, 0, target);                                   \
  }
TILE_ENCODER(by_steps, 4)
TILE_ENCODER(by_steps, 8)
TILE_ENCODER(by_levels, 4)
TILE_ENCODER(by_words_signed, 8)
TILE_ENCODER(by_words_unsigned, 8)
#if defined(LEVEL_AVX512)
TILE_ENCODER(by_planes_mirrored, 8)
TILE_ENCODER(by_planes_unsigned, 8)
TILE_ENCODER(by_planes_signed, 8)
#endif

static KERNEL(tile_encoder) KERNEL(tile_encoder_of)(const qcodec_table *table) {
  if (table->search == qcodec_search_sixteen) return KERNEL(encode_by_levels_4);
  if (table->search == qcodec_search_uniform) {
    return table->bits == 4 ? KERNEL(encode_by_steps_4) : KERNEL(encode_by_steps_8);
  }
#if defined(LEVEL_AVX512)
  switch (table->layout) {
    case qcodec_planes_mirrored: return KERNEL(encode_by_planes_mirrored_8);
    case qcodec_planes_unsigned: return KERNEL(encode_by_planes_unsigned_8);
    case qcodec_planes_signed: return KERNEL(encode_by_planes_signed_8);
  }
#endif
  return table->is_signed ? KERNEL(encode_by_words_signed_8) : KERNEL(encode_by_words_unsigned_8);
}

/// What does not fill a tile.
static __attribute__((noinline)) void KERNEL(encode_rest)(
  KERNEL(tile_encoder) encode, const KERNEL(finder) *finder, const float *x, size_t count,
  const KERNEL(divisor) *by, uint8_t *codes
) {
  const int bits = finder->table->bits;
  float padded[TILE];
  uint8_t packed[TILE];
  memset(padded, 0, sizeof padded);
  memcpy(padded, x, 4 * count);
  encode(finder, padded, 1, by, packed);
  if (bits == 4 && count % 2) packed[count / 2] &= 0xF0;
  memcpy(codes, packed, (count * (size_t)bits + 7) / 8);
}

static int KERNEL(encode_plain)(
  const qcodec_table *table, const float *x, size_t count, size_t block, int rule, float *scales, uint8_t *codes
) {
  if (count == 0) return 0;
  const size_t bits = (size_t)table->bits;
  KERNEL(tile_encoder) encode = KERNEL(tile_encoder_of)(table);
  KERNEL(finder) finder = {.table = table};
  sixteen_levels(table, finder.levels);
  KERNEL(extreme) next = find_extreme(x, count < block ? count : block);
  for (size_t start = 0, size; start < count; start += size) {
    size = count - start < block ? count - start : block;
    KERNEL(extreme) extreme = next;
    // The next extreme first: its elements come from memory while this block's are encoded.
    size_t rest = count - start - size;
    if (rest) next = find_extreme(x + start + size, rest < block ? rest : block);
    if (extreme.found & (table->is_signed ? qcodec_found_nonfinite : ~0)) return extreme.found;
    float scale = rule & qcodec_rule_signed ? extreme.extreme : __builtin_fabsf(extreme.extreme);
    // Rounded scales make quotients beyond ±1, which count as ±1: no threshold lies there, so the codes are the same.
    if (rule & qcodec_rule_rounded) scale = rounded_scale(scale);
    if (__builtin_isinf(scale)) return qcodec_found_nonfinite;
    scales[start / block] = scale;
    const KERNEL(divisor) by = divisor_of(scale);
    uint8_t *target = codes + start * bits / 8;
    size_t whole = size / TILE * TILE;
    if (whole) encode(&finder, x + start, whole / TILE, &by, target);
    if (whole < size) {
      KERNEL(encode_rest)(encode, &finder, x + start + whole, size - whole, &by, target + whole * bits / 8);
    }
  }
  return 0;
}
