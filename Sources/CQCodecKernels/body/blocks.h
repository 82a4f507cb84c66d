// Encoding under tables and block scales: one loop over tiles for each kind of table, which keeps the table's parts in
// registers.

/// The ways to find codes; by byte planes there are three more.
enum {
  KERNEL(by_steps_4),
  KERNEL(by_steps_8),
  KERNEL(by_levels),
  KERNEL(by_words_signed),
  KERNEL(by_words_unsigned),
};

struct KERNEL(finder);

/// The codes of tiles of one scale, packed.
typedef void (*KERNEL(tile_encoder))(
  const struct KERNEL(finder) *, const f32u *x, size_t tiles, float scale, uint8_t *target);

/// A table with its levels, where its search has them, and the loop that suits it.
typedef struct KERNEL(finder) {
  const qcodec_table *table;
  KERNEL(tile_encoder) encode;
  float levels[4][16];
} KERNEL(finder);

/// The quotients of 64 elements. Exact ones: the divider works beside the units that are busy with the search, so that
/// products with an inverse, which would have to be corrected, gain nothing.
INLINE void quotients64(const f32u *x, float scale, f32x16 y[4]) {
#pragma clang loop unroll(full)
  for (int v = 0; v < 4; v++) y[v] = load16(x + 16 * v) / scale;
}

/// The codes of tiles of one scale, packed.
INLINE void encode_tiles(
  const KERNEL(finder) *finder, int way, const f32u *x, size_t tiles, float scale, uint8_t *target
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
  const KERNEL(finder) *finder, int layout, const f32u *x, size_t tiles, float scale, uint8_t *target
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

#define TILE_ENCODER(name, body, way)                                                                 \
  static __attribute__((noinline)) void KERNEL(name)(                                                 \
    const KERNEL(finder) *finder, const f32u *x, size_t tiles, float scale, uint8_t *target          \
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

static KERNEL(finder) KERNEL(finder_of)(const qcodec_table *table) {
  KERNEL(finder) finder = {.table = table, .encode = KERNEL(tile_encoder_of)(table)};
  sixteen_levels(table, finder.levels);
  return finder;
}

/// What does not fill a tile.
static __attribute__((noinline)) void KERNEL(encode_rest)(
  const KERNEL(finder) *finder, const f32u *x, size_t count, float scale, uint8_t *codes
) {
  const int bits = finder->table->bits;
  float padded[TILE];
  uint8_t packed[TILE];
  memset(padded, 0, sizeof padded);
  memcpy(padded, x, 4 * count);
  finder->encode(finder, padded, 1, scale, packed);
  if (bits == 4 && count % 2) packed[count / 2] &= 0xF0;
  memcpy(codes, packed, (count * (size_t)bits + 7) / 8);
}

/// The codes of a block. Quotients beyond ±1, which rounded scales make, have the codes of ±1: no threshold lies there.
INLINE void encode_block(const KERNEL(finder) *finder, const f32u *x, size_t size, float scale, uint8_t *codes) {
  // Under a scale of zero, be it a rounded one, every quotient counts as zero.
  if (scale == 0) scale = __builtin_inff();
  size_t whole = size / TILE * TILE;
  if (whole) finder->encode(finder, x, whole / TILE, scale, codes);
  if (whole < size) {
    KERNEL(encode_rest)(finder, x + whole, size - whole, scale, codes + whole * (size_t)finder->table->bits / 8);
  }
}

/// find_extreme where none is below zero: half the work.
INLINE KERNEL(extreme) find_greatest(const f32u *x, size_t count) {
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

static int KERNEL(encode_blocks)(
  const qcodec_table *table, const f32u *x, size_t count, size_t block, int rule, int dtype, f32u *scales,
  uint8_t *codes, qcodec_statistics *statistics, const qcodec_spacing *spacing
) {
  if (count == 0) return 0;
  const KERNEL(finder) finder = KERNEL(finder_of)(table);
  const size_t size_of_first = count < block ? count : block;
  KERNEL(extreme) next = table->is_signed ? find_extreme(x, size_of_first) : find_greatest(x, size_of_first);
  for (size_t start = 0, size; start < count; start += size) {
    size = count - start < block ? count - start : block;
    KERNEL(extreme) extreme = next;
    // The next extreme first: its elements come from memory while this block's are encoded.
    size_t rest = count - start - size;
    if (rest > block) rest = block;
    const f32u *ahead = x + start + size;
    if (rest) next = table->is_signed ? find_extreme(ahead, rest) : find_greatest(ahead, rest);
    if (extreme.found & (table->is_signed ? qcodec_found_nonfinite : ~0)) return extreme.found;
    float scale = rule == qcodec_rule_signed ? extreme.extreme : __builtin_fabsf(extreme.extreme);
    if (__builtin_isinf(scale) || space_out(spacing, &scale)) return qcodec_found_nonfinite;
    *scales++ = scale;
    uint8_t *target = codes + start * (size_t)table->bits / 8;
    encode_block(&finder, x + start, size, scale, target);
    if (statistics) KERNEL(measure_block)(table, x + start, target, scale, size, dtype, statistics);
  }
  return 0;
}
