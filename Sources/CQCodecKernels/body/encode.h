// Encoding under tables: block scales, or a scale an element.

/// The extreme of a block, and what the reference must look at.
typedef struct {
  float extreme;
  int found;
} KERNEL(extreme);

/// The element of largest magnitude with its sign, the first among equals.
INLINE KERNEL(extreme) find_extreme(const float *x, size_t count) {
  // Positive values order as signed patterns, negative ones as unsigned.
  i32x16 positive = (i32x16)INT32_MIN;
  u32x16 negative = (u32x16)0;
  size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    u32x16 bits = bits16(load16(x + i));
    positive = __builtin_elementwise_max(positive, (i32x16)bits);
    negative = max16(negative, bits);
  }
  int32_t above = __builtin_reduce_max(positive);
  uint32_t below = greatest16(negative);
  for (; i < count; i++) {
    uint32_t bits;
    memcpy(&bits, x + i, 4);
    above = (int32_t)bits > above ? (int32_t)bits : above;
    below = bits > below ? bits : below;
  }
  uint32_t up = above > 0 ? (uint32_t)above : 0, down = below > 0x80000000u ? below & 0x7FFFFFFFu : 0;
  uint32_t greatest = up > down ? up : down;
  KERNEL(extreme) result;
  result.found = (greatest >= 0x7F800000u ? qcodec_found_nonfinite : 0) | (down ? qcodec_found_negative : 0);
  uint32_t pattern = down > up ? down | 0x80000000u : up;
  if (__builtin_expect(up == down && up != 0, 0)) {
    for (i = 0; i < count; i++) {
      memcpy(&pattern, x + i, 4);
      if ((pattern & 0x7FFFFFFFu) == greatest) break;
    }
  }
  memcpy(&result.extreme, &pattern, 4);
  return result;
}

/// The nearest float32 whose low 8 mantissa bits are zero, ties to even.
INLINE float rounded_scale(float scale) {
  uint32_t bits;
  memcpy(&bits, &scale, 4);
  uint32_t magnitude = bits & 0x7FFFFFFFu, rounded = (magnitude + 0x7F + (magnitude >> 8 & 1)) & ~0xFFu;
  bits = rounded == 0 ? 0 : (bits & 0x80000000u) | rounded;
  memcpy(&scale, &bits, 4);
  return scale;
}

/// Packs the first `count` of 64 codes, one byte each.
INLINE void store_codes(uint8_t *codes, int count, int bits, uint8_t *target) {
  if (count == TILE) {
    if (bits == 8) memcpy(target, codes, TILE);
    else pack64(codes, target);
    return;
  }
  if (bits == 8) {
    memcpy(target, codes, (size_t)count);
    return;
  }
  if (count & 1) codes[count] = 0;
  uint8_t packed[TILE / 2];
  pack64(codes, packed);
  memcpy(target, packed, (size_t)(count + 1) / 2);
}

/// The codes of up to 64 elements, and the values they decode to where asked for.
INLINE void encode_tile(
  const qcodec_table *table, const float levels[4][16], int kind, const float *x, const float *scales, float scale,
  int clamps, int count, int bits, uint8_t *target, uint8_t *codes
) {
  float padded[TILE], padded_scales[TILE];
  if (__builtin_expect(count < TILE, 0)) {
    memset(padded, 0, sizeof padded);
    memcpy(padded, x, 4 * (size_t)count);
    x = padded;
    if (scales) {
      memset(padded_scales, 0, sizeof padded_scales);
      memcpy(padded_scales, scales, 4 * (size_t)count);
      scales = padded_scales;
    }
  }
  f32x16 y[4];
#pragma clang loop unroll(full)
  for (int v = 0; v < 4; v++) {
    f32x16 value = load16(x + 16 * v);
    if (scales) {
      f32x16 s = load16(scales + 16 * v);
      y[v] = selectf16(s == 0, (f32x16)0.0f, value / s);
    } else {
      y[v] = scale == 0 ? (f32x16)0.0f : value / scale;
    }
    // Compared, not chosen by instruction: no quotient is NaN.
    if (clamps) y[v] = selectf16(y[v] > 1, (f32x16)1.0f, selectf16(y[v] < -1, (f32x16)-1.0f, y[v]));
  }
  search64(table, levels, kind, y, codes);
  store_codes(codes, count, bits, target);
}

/// entries[code] · scale + 0 of 64 codes, one byte each.
INLINE void decode_tile(const qcodec_table *table, const uint8_t *codes, const float *scales, float scale, f32x16 out[4]) {
  if (table->bits == 8) {
    entries64(table, codes, out);
  } else {
#pragma clang loop unroll(full)
    for (int v = 0; v < 4; v++) {
      out[v] = lookup16(table->entries, __builtin_convertvector(load_bytes16(codes + 16 * v), u32x16));
    }
  }
#pragma clang loop unroll(full)
  for (int v = 0; v < 4; v++) out[v] = out[v] * (scales ? load16(scales + 16 * v) : (f32x16)scale) + 0.0f;
}

static int KERNEL(scan)(const float *x, size_t count) { return find_extreme(x, count).found; }

static void KERNEL(encode_scaled)(
  const qcodec_table *table, const float *x, const float *scales, size_t count, int dtype, uint8_t *codes,
  qcodec_statistics *statistics
) {
  float levels[4][16];
  sixteen_levels(table, levels);
  for (size_t i = 0; i < count; i += TILE) {
    int tile = count - i < TILE ? (int)(count - i) : TILE;
    uint8_t bytes[TILE];
    encode_tile(
      table, levels, table->search, x + i, scales + i, 0, 0, tile, table->bits, codes + i * (size_t)table->bits / 8, bytes);
    if (statistics) KERNEL(measure_scaled)(table, x + i, scales + i, bytes, (size_t)tile, dtype, statistics);
  }
}
