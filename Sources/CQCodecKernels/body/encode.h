// Encoding under tables and block scales.

#define TILE 64

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

/// Takes in what a tile of one scale decodes to; returns the greatest rank of its codes.
INLINE uint32_t measure_tile(
  measures_t *m, const qcodec_table *table, const qcodec_radii *radii, const float *x, const uint8_t *codes, float scale,
  int count, int dtype
) {
  f32x16 values[4];
  decode_tile(table, codes, 0, scale, values);
  if (__builtin_expect(count == TILE, 1)) {
#pragma clang loop unroll(full)
    for (int v = 0; v < 4; v++) measure16(m, load16(x + 16 * v), round_to(values[v], dtype), 16);
    return greatest_rank64(radii, codes);
  }
  uint32_t rank = 0;
  for (int i = 0; i < count; i++) rank = radii->rank[codes[i]] > rank ? radii->rank[codes[i]] : rank;
  for (int v = 0; 16 * v < count; v++) {
    float padded[16] = {0};
    int rest = count - 16 * v < 16 ? count - 16 * v : 16;
    memcpy(padded, x + 16 * v, 4 * (size_t)rest);
    measure16(m, load16(padded), round_to(values[v], dtype), rest);
  }
  return rank;
}

/// Takes in the errors of a block of one scale.
INLINE void close_block(measures_t *m, float scale, uint32_t rank, qcodec_statistics *s) {
  double greatest = __builtin_reduce_max(m->greatest), magnitude = __builtin_fabs((double)scale);
  s->max_abs_error = greatest > s->max_abs_error ? greatest : s->max_abs_error;
  if (magnitude == 0) return;
  double scaled = greatest / magnitude, radius = magnitude * s->radii->radii[rank];
  s->max_scaled_error = scaled > s->max_scaled_error ? scaled : s->max_scaled_error;
  s->scaled_radius = radius > s->scaled_radius ? radius : s->scaled_radius;
}

INLINE int encode_blocks_as(
  const qcodec_table *table, int kind, const float *x, size_t count, size_t block, int rule, int dtype,
  float *scales, uint8_t *codes, qcodec_statistics *statistics
) {
  float levels[4][16];
  if (kind == qcodec_search_sixteen) sixteen_levels(table, levels);
  measures_t measures;
  if (statistics) measures_begin(&measures, statistics);
  const int bits = table->bits;
  for (size_t start = 0; start < count; start += block) {
    size_t size = count - start < block ? count - start : block;
    for (size_t ahead = 0; ahead < size; ahead += 16) __builtin_prefetch(x + start + block + ahead);
    KERNEL(extreme) extreme = find_extreme(x + start, size);
    if (extreme.found & (table->is_signed ? qcodec_found_nonfinite : ~0)) return extreme.found;
    float scale = rule & qcodec_rule_signed ? extreme.extreme : __builtin_fabsf(extreme.extreme);
    if (rule & qcodec_rule_rounded) scale = rounded_scale(scale);
    if (__builtin_isinf(scale)) return qcodec_found_nonfinite;
    scales[start / block] = scale;
    uint32_t rank = 0;
    if (statistics) measures.greatest = (f64x16)0.0;
    for (size_t i = 0; i < size; i += TILE) {
      int tile = size - i < TILE ? (int)(size - i) : TILE;
      uint8_t bytes[TILE];
      encode_tile(
        table, levels, kind, x + start + i, 0, scale, rule & qcodec_rule_rounded, tile, bits, codes + (start + i) * (size_t)bits / 8, bytes);
      if (statistics) {
        uint32_t own = measure_tile(
          &measures, table, statistics->radii, x + start + i, bytes, scale, tile, dtype);
        rank = own > rank ? own : rank;
      }
    }
    if (statistics) close_block(&measures, scale, rank, statistics);
  }
  if (statistics) measures_end(&measures, statistics);
  return 0;
}

static int KERNEL(encode_blocks)(
  const qcodec_table *table, const float *x, size_t count, size_t block, int rule, int dtype, float *scales,
  uint8_t *codes, qcodec_statistics *statistics
) {
  if (table->search == qcodec_search_uniform) {
    return encode_blocks_as(
      table, qcodec_search_uniform, x, count, block, rule, dtype, scales, codes, statistics);
  }
  if (table->search == qcodec_search_sixteen) {
    return encode_blocks_as(
      table, qcodec_search_sixteen, x, count, block, rule, dtype, scales, codes, statistics);
  }
  return encode_blocks_as(
    table, qcodec_search_buckets, x, count, block, rule, dtype, scales, codes, statistics);
}
