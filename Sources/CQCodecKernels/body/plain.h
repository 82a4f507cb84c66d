// Encoding under tables and block scales where no statistics are asked for: one loop over tiles for each kind of table,
// which keeps the table's parts in registers.

/// The ways to find codes; by byte planes there are three more.
enum {
  KERNEL(by_steps_4),
  KERNEL(by_steps_8),
  KERNEL(by_levels),
  KERNEL(by_words_signed),
  KERNEL(by_words_unsigned),
};

/// A table with its levels, where its search has them.
typedef struct {
  const qcodec_table *table;
  float levels[4][16];
} KERNEL(finder);

/// The quotients of 64 elements. Exact ones: the divider works beside the units that are busy with the search, so that
/// products with an inverse, which would have to be corrected, gain nothing.
INLINE void quotients64(const float *x, float scale, f32x16 y[4]) {
#pragma clang loop unroll(full)
  for (int v = 0; v < 4; v++) y[v] = load16(x + 16 * v) / scale;
}

/// The codes of tiles of one scale, packed.
INLINE void encode_tiles(
  const KERNEL(finder) *finder, int way, const float *x, size_t tiles, float scale, uint8_t *target
) {
  const qcodec_table *table = finder->table;
  const int bits = way == KERNEL(by_steps_4) || way == KERNEL(by_levels) ? 4 : 8;
  const float magnitude = __builtin_fabsf(scale);
  for (; tiles; tiles--, x += TILE, target += TILE * bits / 8) {
    f32x16 y[4];
    u8x64 codes;
    if (way == KERNEL(by_steps_4) || way == KERNEL(by_steps_8)) {
      // A product does where neither overflows nor is subnormal: what it is off by is within the doubt.
      if (__builtin_expect(magnitude >= 0x1p-100f && magnitude <= 0x1p100f, 1)) {
#pragma clang loop unroll(full)
        for (int v = 0; v < 4; v++) y[v] = load16(x + 16 * v);
        codes = search_uniform(table, y, scale, table->factor / scale, table->offset);
      } else {
        quotients64(x, scale, y);
        codes = search_uniform(table, y, 1, table->factor, table->offset);
      }
    } else {
      quotients64(x, scale, y);
      codes = way == KERNEL(by_levels) ? search_sixteen(finder->levels, y)
                                       : search_words(table, y, way == KERNEL(by_words_signed));
    }
    if (bits == 8) *(u8x64u *)target = codes;
    else *(u8x32u *)target = nibbles64(codes);
  }
}

#if defined(LEVEL_AVX512)
/// The same by byte planes. Each tile is warped while the one before is looked up: one after the other they would wait
/// for each other's results, for longer than the processor looks ahead.
INLINE void encode_tiles_by_planes(
  const KERNEL(finder) *finder, int layout, const float *x, size_t tiles, float scale, uint8_t *target
) {
  const qcodec_table *table = finder->table;
  const KERNEL(byte_planes) planes = planes_of(table);
  f32x16 y[4];
  quotients64(x, scale, y);
  KERNEL(warped) next = warp_planes(&planes, y, layout);
  for (size_t i = 0; i < tiles; i++) {
    const KERNEL(warped) warped = next;
    if (i + 1 < tiles) {
      quotients64(x + TILE * (i + 1), scale, y);
      next = warp_planes(&planes, y, layout);
    }
    uint64_t doubtful;
    u8x64 codes = search_planes(table, &planes, &warped, layout, &doubtful);
    if (__builtin_expect(doubtful != 0, 0)) {
      f32x16 own[4];
      for (int v = 0; v < 4; v++) own[v] = load16(x + TILE * i + 16 * (size_t)v);
      codes = settle64(table, own, scale, codes, doubtful);
    }
    *(u8x64u *)(target + TILE * i) = codes;
  }
}
#endif

// Functions of their own, not inlined: a call in the same loop, such as one for a tail, would drive the table's parts
// out of the registers.
typedef void (*KERNEL(tile_encoder))(
  const KERNEL(finder) *, const float *x, size_t tiles, float scale, uint8_t *target);

#define TILE_ENCODER(name, body, way)                                                                 \
  static __attribute__((noinline)) void KERNEL(name)(                                                 \
    const KERNEL(finder) *finder, const float *x, size_t tiles, float scale, uint8_t *target          \
  ) {                                                                                                 \
    body(finder, way, x, tiles, scale, target);                                                       \
  }
TILE_ENCODER(encode_steps_4, encode_tiles, KERNEL(by_steps_4))
TILE_ENCODER(encode_steps_8, encode_tiles, KERNEL(by_steps_8))
TILE_ENCODER(encode_levels, encode_tiles, KERNEL(by_levels))
TILE_ENCODER(encode_words_signed, encode_tiles, KERNEL(by_words_signed))
TILE_ENCODER(encode_words_unsigned, encode_tiles, KERNEL(by_words_unsigned))
#if defined(LEVEL_AVX512)
TILE_ENCODER(encode_planes_mirrored, encode_tiles_by_planes, qcodec_planes_mirrored)
TILE_ENCODER(encode_planes_unsigned, encode_tiles_by_planes, qcodec_planes_unsigned)
TILE_ENCODER(encode_planes_signed, encode_tiles_by_planes, qcodec_planes_signed)
#endif

static KERNEL(tile_encoder) KERNEL(tile_encoder_of)(const qcodec_table *table) {
  if (table->search == qcodec_search_sixteen) return KERNEL(encode_levels);
  if (table->search == qcodec_search_uniform) {
    return table->bits == 4 ? KERNEL(encode_steps_4) : KERNEL(encode_steps_8);
  }
#if defined(LEVEL_AVX512)
  switch (table->layout) {
    case qcodec_planes_mirrored: return KERNEL(encode_planes_mirrored);
    case qcodec_planes_unsigned: return KERNEL(encode_planes_unsigned);
    case qcodec_planes_signed: return KERNEL(encode_planes_signed);
  }
#endif
  return table->is_signed ? KERNEL(encode_words_signed) : KERNEL(encode_words_unsigned);
}

/// What does not fill a tile.
static __attribute__((noinline)) void KERNEL(encode_rest)(
  KERNEL(tile_encoder) encode, const KERNEL(finder) *finder, const float *x, size_t count, float scale, uint8_t *codes
) {
  const int bits = finder->table->bits;
  float padded[TILE];
  uint8_t packed[TILE];
  memset(padded, 0, sizeof padded);
  memcpy(padded, x, 4 * count);
  encode(finder, padded, 1, scale, packed);
  if (bits == 4 && count % 2) packed[count / 2] &= 0xF0;
  memcpy(codes, packed, (count * (size_t)bits + 7) / 8);
}

/// find_extreme where none is below zero: half the work.
INLINE KERNEL(extreme) find_greatest(const float *x, size_t count) {
  u32x16 greatest = (u32x16)0;
  size_t i = 0;
  for (; i + 16 <= count; i += 16) greatest = max16(greatest, bits16(load16(x + i)));
  uint32_t pattern = greatest16(greatest);
  for (; i < count; i++) {
    uint32_t bits;
    memcpy(&bits, x + i, 4);
    pattern = bits > pattern ? bits : pattern;
  }
  // A sign, be it of a zero.
  if (__builtin_expect(pattern >> 31, 0)) return find_extreme(x, count);
  KERNEL(extreme) result = {.found = pattern >= 0x7F800000u ? qcodec_found_nonfinite : 0};
  memcpy(&result.extreme, &pattern, 4);
  return result;
}

static int KERNEL(encode_plain)(
  const qcodec_table *table, const float *x, size_t count, size_t block, int rule, float *scales, uint8_t *codes
) {
  if (count == 0) return 0;
  const size_t bits = (size_t)table->bits;
  KERNEL(tile_encoder) encode = KERNEL(tile_encoder_of)(table);
  KERNEL(finder) finder = {.table = table};
  sixteen_levels(table, finder.levels);
  const size_t size_of_first = count < block ? count : block;
  KERNEL(extreme) next = table->is_signed ? find_extreme(x, size_of_first) : find_greatest(x, size_of_first);
  for (size_t start = 0, size; start < count; start += size) {
    size = count - start < block ? count - start : block;
    KERNEL(extreme) extreme = next;
    // The next extreme first: its elements come from memory while this block's are encoded.
    size_t rest = count - start - size;
    if (rest > block) rest = block;
    const float *ahead = x + start + size;
    if (rest) next = table->is_signed ? find_extreme(ahead, rest) : find_greatest(ahead, rest);
    if (extreme.found & (table->is_signed ? qcodec_found_nonfinite : ~0)) return extreme.found;
    float scale = rule & qcodec_rule_signed ? extreme.extreme : __builtin_fabsf(extreme.extreme);
    // Rounded scales make quotients beyond ±1, which count as ±1: no threshold lies there, so the codes are the same.
    if (rule & qcodec_rule_rounded) scale = rounded_scale(scale);
    if (__builtin_isinf(scale)) return qcodec_found_nonfinite;
    *scales++ = scale;
    // Under a scale of zero, be it a rounded one, every quotient counts as zero.
    if (scale == 0) scale = __builtin_inff();
    uint8_t *target = codes + start * bits / 8;
    size_t whole = size / TILE * TILE;
    if (whole) encode(&finder, x + start, whole / TILE, scale, target);
    if (whole < size) {
      KERNEL(encode_rest)(encode, &finder, x + start + whole, size - whole, scale, target + whole * bits / 8);
    }
  }
  return 0;
}
