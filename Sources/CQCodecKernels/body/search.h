// From normalised values to codes: the number of thresholds below each.

/// The exact code of one value, starting from a code that is not above it.
INLINE uint32_t step_up(const qcodec_table *table, float y, int code) {
  if (code < 0) code = 0;
  while (code < table->distinct - 1 && table->thresholds[code] < y) code++;
  return (uint32_t)code;
}

/// Codes whose doubtful ones are settled by the thresholds themselves; each code is at most one above the exact one.
INLINE u8x64 settle64(const qcodec_table *table, const f32x16 x[4], float scale, u8x64 codes, uint64_t doubtful) {
  // In memory from here on: vectors indexed by a variable would be there in every tile.
  float values[64];
  uint8_t bytes[64];
  for (int v = 0; v < 4; v++) store16(values + 16 * v, x[v]);
  *(u8x64u *)bytes = codes;
  for (; doubtful; doubtful &= doubtful - 1) {
    int i = __builtin_ctzll(doubtful);
    bytes[i] = (uint8_t)step_up(table, values[i] / scale, bytes[i] - 1);
  }
  return *(u8x64u *)bytes;
}

// MARK: Evenly spaced entries

// Thresholds lie within 2^-16 steps of the half steps, and the sum of an offset and a product of up to 256 with a
// rounded factor is off by less than 2^-14: within 2^-13 of a half step the thresholds themselves decide.
#define DOUBT 0x1p-13f

/// The codes of values `x` that number `x · factor + offset`, but for doubts: there y = x / scale is what counts.
INLINE u8x64 search_uniform(
  const qcodec_table *table, const f32x16 x[4], float scale, float factor, float offset
) {
  i32x16 least[4], greatest[4];
#pragma clang loop unroll(full)
  for (int v = 0; v < 4; v++) {
    // Fused or not: the doubt is greater than what they differ by.
    least[v] = rint16(MULTIPLY_ADD(x[v], (f32x16)factor, (f32x16)(offset - DOUBT)));
    greatest[v] = rint16(MULTIPLY_ADD(x[v], (f32x16)factor, (f32x16)(offset + DOUBT)));
  }
  const u8x64 last = (u8x64)(uint8_t)(table->distinct - 1);
  u8x64 code = __builtin_elementwise_min(narrow64(least), last);
  u8x64 other = __builtin_elementwise_min(narrow64(greatest), last);
  if (__builtin_expect(differ64(code, other), 0)) {
    return settle64(table, x, scale, code, differences64(code, other));
  }
  return code;
}

// MARK: Sixteen entries

/// The thresholds as four levels of a binary search, each of which repeats: a level's index is the code so far, or its
/// negative where comparisons give -1.
INLINE void sixteen_levels(const qcodec_table *table, float levels[4][16]) {
  const f32u *t = table->thresholds;
#if defined(LEVEL_AVX2)
  const int direction = -1;
#else
  const int direction = 1;
#endif
  for (int i = 0; i < 16; i++) {
    int code = direction * i;
    levels[0][i] = t[7];
    levels[1][i] = t[8 * (code & 1) + 3];
    levels[2][i] = t[4 * (code & 3) + 1];
    levels[3][i] = t[2 * (code & 7)];
  }
}

INLINE u8x64 search_sixteen(const float levels[4][16], const f32x16 y[4]) {
  i32x16 code[4];
#pragma clang loop unroll(full)
  for (int v = 0; v < 4; v++) {
#if defined(LEVEL_AVX512)
    // The sign of a difference is the comparison, under gradual underflow; a funnel shift appends it to the code.
    __m512i q = _mm512_srli_epi32((__m512i)(load16(levels[0]) - y[v]), 31);
#pragma clang loop unroll(full)
    for (int l = 1; l < 4; l++) {
      f32x16 threshold = (f32x16)_mm512_permutexvar_ps(q, (__m512)load16(levels[l]));
      q = _mm512_shldi_epi32(q, (__m512i)(threshold - y[v]), 1);
    }
    code[v] = (i32x16)q;
#elif defined(LEVEL_AVX2)
    i32x16 q = y[v] > levels[0][0];
    f32x16 threshold = selectf16(q, (f32x16)levels[1][1], (f32x16)levels[1][0]);
    q = q + q + (y[v] > threshold);
#pragma clang loop unroll(full)
    for (int l = 2; l < 4; l++) q = q + q + (y[v] > lookup8(levels[l], (u32x16)q));
    code[v] = __builtin_elementwise_abs(q);
#else
    // Without look-ups in registers it takes less to compare with all fifteen.
    i32x16 q = (i32x16)0;
#pragma clang loop unroll(full)
    for (int l = 0; l < 4; l++) {
#pragma clang loop unroll(full)
      for (int i = 0; i < 1 << l; i++) q -= y[v] > levels[l][i];
    }
    code[v] = q;
#endif
  }
  return narrow64(code);
}

// MARK: Buckets

/// Buckets by sign and upper bits of the pattern: one word holds a bucket's first code and its threshold; the
/// comparison is the carry of a sum.
INLINE u8x64 search_words(const qcodec_table *table, const f32x16 y[4], int is_signed) {
  const int low = table->low_bits;
  const uint32_t mask = (1u << low) - 1;
  // Negative values have their buckets behind the others.
  const i32x16 shift = (i32x16)(32 << (23 - low));
  i32x16 code[4];
#pragma clang loop unroll(full)
  for (int v = 0; v < 4; v++) {
    i32x16 bits = (i32x16)y[v], sign = bits >> 31;
    u32x16 pattern = is_signed ? max16((u32x16)bits & 0x7FFFFFFFu, (u32x16)0x30000000u)
                               : (u32x16)__builtin_elementwise_max(bits, (i32x16)0x30000000);
    u32x16 key = (pattern >> low) - (96u << (23 - low)), within = pattern & mask;
    if (is_signed) {
      key += (u32x16)(sign & shift);
      within ^= (u32x16)sign & mask;
    }
    code[v] = (i32x16)((look_up_words(table->words, key) + within) >> low);
  }
  return narrow64(code);
}

#if defined(LEVEL_AVX512)
/// The tables of the search below, in registers as far as there are enough.
typedef struct {
  __m512i warp[2];
  __m512i base[8], first[8], second[8];
} KERNEL(byte_planes);

INLINE KERNEL(byte_planes) planes_of(const qcodec_table *table) {
  KERNEL(byte_planes) result;
  for (int i = 0; i < 2; i++) result.warp[i] = _mm512_loadu_si512(table->warp + 16 * i);
#pragma clang loop unroll(full)
  for (int i = 0; i < 8; i++) {
    result.base[i] = _mm512_loadu_si512(table->base + 64 * i);
    result.first[i] = _mm512_loadu_si512(table->first + 64 * i);
    result.second[i] = _mm512_loadu_si512(table->second + 64 * i);
  }
  return result;
}

/// table[index] of 256 bytes, or of the second 256 where `upper` says so.
INLINE __m512i look_up_plane(const __m512i table[8], __m512i index, __mmask64 upper, int layout) {
  __mmask64 high = _mm512_movepi8_mask(index);
  __m512i a = _mm512_mask_blend_epi8(
    high, _mm512_permutex2var_epi8(table[0], index, table[1]), _mm512_permutex2var_epi8(table[2], index, table[3]));
  if (layout == qcodec_planes_mirrored) return a;
  __m512i b = _mm512_mask_blend_epi8(
    high, _mm512_permutex2var_epi8(table[4], index, table[5]), _mm512_permutex2var_epi8(table[6], index, table[7]));
  return _mm512_mask_blend_epi8(upper, a, b);
}

/// 64 values warped: their buckets' numbers and the next two bytes, byte by byte.
typedef struct {
  __m512i bucket, first, second;
  __mmask64 negative;
} KERNEL(warped);

/// Buckets of uneven width: a rotation and an exclusive or, by exponent, put the bucket's number into the top byte (and
/// one bit) and the rest of the mantissa below.
INLINE KERNEL(warped) warp_planes(const KERNEL(byte_planes) *t, const f32x16 y[4], int layout) {
  __m512i w[4];
  __mmask16 signs[4];
#pragma clang loop unroll(full)
  for (int v = 0; v < 4; v++) {
    __m512i a = (__m512i)_mm512_range_ps((__m512)y[v], _mm512_set1_ps(0x1p-31f), 0x0B);
    signs[v] = layout == qcodec_planes_unsigned ? 0 : _mm512_movepi32_mask((__m512i)y[v]);
    __m512i by_exponent = _mm512_permutex2var_epi32(t->warp[0], _mm512_srli_epi32(a, 23), t->warp[1]);
    w[v] = _mm512_xor_si512(_mm512_rolv_epi32(a, by_exponent), by_exponent);
  }
  // Bytes 3 and 2 of each word, elements in order.
  __m512i pick = _mm512_set_epi8(
    127, 123, 119, 115, 111, 107, 103, 99, 95, 91, 87, 83, 79, 75, 71, 67,
    126, 122, 118, 114, 110, 106, 102, 98, 94, 90, 86, 82, 78, 74, 70, 66,
    63, 59, 55, 51, 47, 43, 39, 35, 31, 27, 23, 19, 15, 11, 7, 3,
    62, 58, 54, 50, 46, 42, 38, 34, 30, 26, 22, 18, 14, 10, 6, 2);
  // Hidden from the compiler, which would take the permutations apart into more of narrower ones.
  __asm__("" : "+v"(pick));
  // Bytes 1 and 0, of which only byte 1 is used.
  const __m512i pick_low = _mm512_sub_epi8(pick, _mm512_set1_epi8(2));
  // Each pick gives, in 128-bit lanes: byte 2 of v0, byte 3 of v0, byte 2 of v1, byte 3 of v1.
  __m512i p01 = _mm512_permutex2var_epi8(w[0], pick, w[1]), p23 = _mm512_permutex2var_epi8(w[2], pick, w[3]);
  __m512i q01 = _mm512_permutex2var_epi8(w[0], pick_low, w[1]), q23 = _mm512_permutex2var_epi8(w[2], pick_low, w[3]);
  KERNEL(warped) result;
  result.bucket = _mm512_shuffle_i64x2(p01, p23, 0xDD);
  result.first = _mm512_shuffle_i64x2(p01, p23, 0x88);
  result.second = _mm512_shuffle_i64x2(q01, q23, 0xDD);
  result.negative = _mm512_kunpackd(_mm512_kunpackw(signs[3], signs[2]), _mm512_kunpackw(signs[1], signs[0]));
  return result;
}

/// The codes of warped values, compared with their buckets' thresholds plane by plane; the doubtful ones equal a
/// threshold in sixteen bits and may be off by one.
INLINE u8x64 search_planes(
  const qcodec_table *table, const KERNEL(byte_planes) *t, const KERNEL(warped) *w, int layout, uint64_t *doubtful
) {
  __mmask64 upper = layout == qcodec_planes_unsigned ? _mm512_movepi8_mask(w->first) : w->negative;
  __m512i base = look_up_plane(t->base, w->bucket, upper, layout);
  __m512i t1 = look_up_plane(t->first, w->bucket, upper, layout);
  __m512i t2 = look_up_plane(t->second, w->bucket, upper, layout);
  __mmask64 equal = _mm512_cmpeq_epu8_mask(w->first, t1);
  __mmask64 above = _mm512_cmpgt_epu8_mask(w->first, t1) | _mm512_mask_cmpgt_epu8_mask(equal, w->second, t2);
  *doubtful = _mm512_mask_cmpeq_epu8_mask(equal, w->second, t2);
  __m512i code = _mm512_mask_add_epi8(base, above, base, _mm512_set1_epi8(1));
  if (layout != qcodec_planes_unsigned) {
    const __m512i zero = _mm512_set1_epi8((char)table->zero);
    // Mirrored tables may have fewer thresholds below zero than above.
    __m512i below = _mm512_sub_epi8(zero, _mm512_min_epu8(code, zero));
    code = _mm512_mask_blend_epi8(w->negative, _mm512_add_epi8(code, zero), below);
  }
  return (u8x64)code;
}
#endif

// MARK: Any table

/// The codes of 64 normalised values, one byte each.
INLINE void search64(
  const qcodec_table *table, const float levels[4][16], int kind, const f32x16 y[4], uint8_t *codes
) {
  u8x64 result;
  if (kind == qcodec_search_uniform) {
    result = search_uniform(table, y, 1, table->factor, table->offset);
  } else if (kind == qcodec_search_sixteen) {
    result = search_sixteen(levels, y);
  } else {
#if defined(LEVEL_AVX512)
    if (table->layout) {
      const int layout = table->layout;
      KERNEL(byte_planes) planes = planes_of(table);
      KERNEL(warped) warped = warp_planes(&planes, y, layout);
      uint64_t doubtful;
      result = search_planes(table, &planes, &warped, layout, &doubtful);
      if (__builtin_expect(doubtful != 0, 0)) result = settle64(table, y, 1, result, doubtful);
    } else
#endif
    {
      result = search_words(table, y, table->is_signed);
    }
  }
  *(u8x64u *)codes = result;
}
