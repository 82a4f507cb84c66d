// From normalised values to codes: the number of thresholds below each.

/// The exact code of one value, starting from a code that is not above it.
INLINE uint32_t step_up(const qcodec_table *table, float y, int code) {
  if (code < 0) code = 0;
  while (code < table->distinct - 1 && table->thresholds[code] < y) code++;
  return (uint32_t)code;
}

/// Evenly spaced entries: arithmetic, and the thresholds themselves for what lies within 2^-15 steps of one.
INLINE u32x16 search_uniform(const qcodec_table *table, f32x16 y) {
  f32x16 place = y * table->factor + table->offset;
  i32x16 nearest = rint16(place);
  f32x16 rest = place - __builtin_convertvector(nearest, f32x16);
  i32x16 last = (i32x16)(table->distinct - 1);
  i32x16 code = __builtin_elementwise_min(__builtin_elementwise_max(nearest, (i32x16)0), last);
  // Thresholds are float32 values near the half steps, off by less than 2^-15 steps.
  i32x16 doubtful = (i32x16)(magnitude16(rest) > 0x3EFFFC00u);
  if (__builtin_expect(any16(doubtful), 0)) {
    for (int i = 0; i < 16; i++) {
      if (doubtful[i]) code[i] = (int32_t)step_up(table, y[i], nearest[i] - 1);
    }
  }
  return (u32x16)code;
}

/// Any sixteen entries: four levels of a binary search whose tables lie in registers.
INLINE u32x16 search_sixteen(const float levels[4][16], f32x16 y) {
  u32x16 code = (u32x16)-(y > levels[0][0]);
  code = code * 2 - (u32x16)(y > lookup8(levels[1], code));
  code = code * 2 - (u32x16)(y > lookup8(levels[2], code));
  return code * 2 - (u32x16)(y > lookup8(levels[3], code));
}

INLINE void sixteen_levels(const qcodec_table *table, float levels[4][16]) {
  const float *t = table->thresholds;
  for (int i = 0; i < 16; i++) {
    levels[0][i] = t[7];
    levels[1][i] = t[8 * (i & 1) + 3];
    levels[2][i] = t[4 * (i & 3) + 1];
    levels[3][i] = t[2 * (i & 7)];
  }
}

/// Buckets by sign and upper bits of the pattern: one word holds a bucket's first code and its threshold; the
/// comparison is the carry of a sum.
INLINE u32x16 search_words(const qcodec_table *table, f32x16 y) {
  const int low = table->low_bits;
  const uint32_t mask = (1u << low) - 1;
  u32x16 sign = bits16(y) >> 31;
  u32x16 pattern = max16(magnitude16(y), (u32x16)0x30000000u);
  u32x16 key = (pattern >> low) - (96u << (23 - low)) + (sign << (28 - low));
  u32x16 word;
#pragma clang loop unroll(full)
  for (int i = 0; i < 16; i++) word[i] = table->words[key[i]];
  u32x16 within = (pattern & mask) ^ (-sign & mask);
  return (word + within) >> low;
}

#if defined(LEVEL_AVX512)
INLINE __m512i lookup_bytes512(const uint8_t *table, __m512i index, __mmask64 upper) {
  return _mm512_mask_blend_epi8(upper, lookup_bytes(table, index), lookup_bytes(table + 256, index));
}

/// Buckets of uneven width, 64 values at a time: a rotation and an exclusive or, by exponent, put the bucket's number
/// into the top byte (and one bit) and the rest of the mantissa below; bytes are looked up and compared plane by plane.
INLINE void search_planes(const qcodec_table *table, const f32x16 y[4], int mirrored, uint8_t *codes) {
  const __m512i warp0 = _mm512_loadu_si512(table->warp), warp1 = _mm512_loadu_si512(table->warp + 16);
  __m512i w[4];
  __mmask64 negative = 0;
#pragma clang loop unroll(full)
  for (int v = 0; v < 4; v++) {
    __m512i bits = (__m512i)y[v];
    __m512i a = (__m512i)_mm512_range_ps((__m512)y[v], _mm512_set1_ps(0x1p-31f), 0x0B);
    if (mirrored) {
      __mmask16 sign = _mm512_movepi32_mask(bits);
      negative |= (__mmask64)sign << (16 * v);
      // Below zero a value is above a threshold from the threshold's magnitude on.
      a = _mm512_mask_add_epi32(a, sign, a, _mm512_set1_epi32(1));
    }
    __m512i t = _mm512_permutex2var_epi32(warp0, _mm512_srli_epi32(a, 23), warp1);
    w[v] = _mm512_xor_si512(_mm512_rolv_epi32(a, t), t);
  }
  // Byte planes of all 64: byte 3, 2, 1 and 0 of each word, elements in order.
  const __m512i pick = _mm512_set_epi8(
    127, 123, 119, 115, 111, 107, 103, 99, 95, 91, 87, 83, 79, 75, 71, 67, 126, 122, 118, 114, 110, 106, 102, 98, 94, 90,
    86, 82, 78, 74, 70, 66, 63, 59, 55, 51, 47, 43, 39, 35, 31, 27, 23, 19, 15, 11, 7, 3, 62, 58, 54, 50, 46, 42, 38, 34,
    30, 26, 22, 18, 14, 10, 6, 2);
  // Each pick gives, in 128-bit lanes: byte 2 of v0, byte 3 of v0, byte 2 of v1, byte 3 of v1.
  __m512i p01 = _mm512_permutex2var_epi8(w[0], pick, w[1]), p23 = _mm512_permutex2var_epi8(w[2], pick, w[3]);
  __m512i f1 = _mm512_shuffle_i64x2(p01, p23, 0x88), bucket = _mm512_shuffle_i64x2(p01, p23, 0xDD);
  const __m512i pick_low = _mm512_sub_epi8(pick, _mm512_set1_epi8(2));
  __m512i q01 = _mm512_permutex2var_epi8(w[0], pick_low, w[1]), q23 = _mm512_permutex2var_epi8(w[2], pick_low, w[3]);
  __m512i f3 = _mm512_shuffle_i64x2(q01, q23, 0x88), f2 = _mm512_shuffle_i64x2(q01, q23, 0xDD);
  __m512i base, t1, t2;
  __mmask64 upper = mirrored ? 0 : _mm512_movepi8_mask(f1);
  if (mirrored) {
    base = lookup_bytes(table->base, bucket), t1 = lookup_bytes(table->first, bucket);
    t2 = lookup_bytes(table->second, bucket);
  } else {
    base = lookup_bytes512(table->base, bucket, upper), t1 = lookup_bytes512(table->first, bucket, upper);
    t2 = lookup_bytes512(table->second, bucket, upper);
  }
  __mmask64 equal1 = _mm512_cmpeq_epu8_mask(f1, t1);
  __mmask64 above = _mm512_cmpgt_epu8_mask(f1, t1) | _mm512_mask_cmpgt_epu8_mask(equal1, f2, t2);
  __mmask64 equal2 = _mm512_mask_cmpeq_epu8_mask(equal1, f2, t2);
  if (__builtin_expect(equal2 != 0, 0)) {
    __m512i t3 = mirrored ? lookup_bytes(table->third, bucket) : lookup_bytes512(table->third, bucket, upper);
    above |= _mm512_mask_cmpgt_epu8_mask(equal2, f3, t3);
  }
  __m512i code = _mm512_mask_add_epi8(base, above, base, _mm512_set1_epi8(1));
  if (mirrored) {
    const __m512i zero = _mm512_set1_epi8((char)table->zero);
    __m512i below = _mm512_sub_epi8(zero, _mm512_min_epu8(code, zero));
    code = _mm512_mask_blend_epi8(negative, _mm512_add_epi8(code, zero), below);
  }
  _mm512_storeu_si512(codes, code);
}
#endif

/// The codes of 64 normalised values, one byte each.
INLINE void search64(const qcodec_table *table, const float levels[4][16], int kind, const f32x16 y[4], uint8_t *codes) {
#if defined(LEVEL_AVX512)
  if (kind == qcodec_search_buckets && table->warp_bits) {
    if (table->mirrored) {
      search_planes(table, y, 1, codes);
    } else {
      search_planes(table, y, 0, codes);
    }
    return;
  }
#endif
#pragma clang loop unroll(full)
  for (int v = 0; v < 4; v++) {
    u32x16 code = kind == qcodec_search_uniform ? search_uniform(table, y[v])
                  : kind == qcodec_search_sixteen ? search_sixteen(levels, y[v])
                                                  : search_words(table, y[v]);
    store_bytes16(codes + 16 * v, __builtin_convertvector(code, u8x16));
  }
}
