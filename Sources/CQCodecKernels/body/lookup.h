// Table look-ups, the one thing that instruction sets do in ways of their own.

typedef uint8_t u8x64 __attribute__((ext_vector_type(64)));
typedef uint16_t u16x32 __attribute__((ext_vector_type(32)));
typedef uint8_t u8x32 __attribute__((ext_vector_type(32)));
typedef u8x64 u8x64u __attribute__((aligned(1)));
typedef u8x32 u8x32u __attribute__((aligned(1)));

/// table[index] for indices of 0 to 15.
INLINE f32x16 lookup16(const float *table, u32x16 index) {
#if defined(LEVEL_AVX512)
  return (f32x16)_mm512_permutexvar_ps((__m512i)index, (__m512)load16(table));
#elif defined(LEVEL_AVX2)
  __m256 low = _mm256_loadu_ps(table), high = _mm256_loadu_ps(table + 8);
  __m256i a = (__m256i)index.lo, b = (__m256i)index.hi;
  f32x16 result;
  // Bit 3 of an index, moved to the sign, chooses the half.
  result.lo = (__typeof__(result.lo))_mm256_blendv_ps(
    _mm256_permutevar8x32_ps(low, a), _mm256_permutevar8x32_ps(high, a), (__m256)_mm256_slli_epi32(a, 28));
  result.hi = (__typeof__(result.hi))_mm256_blendv_ps(
    _mm256_permutevar8x32_ps(low, b), _mm256_permutevar8x32_ps(high, b), (__m256)_mm256_slli_epi32(b, 28));
  return result;
#else
  f32x16 result;
  for (int i = 0; i < 16; i++) result[i] = table[index[i]];
  return result;
#endif
}

#if defined(LEVEL_AVX2)
/// table[index] of eight; of an index the low three bits count.
INLINE f32x16 lookup8(const float *table, u32x16 index) {
  __m256 all = _mm256_loadu_ps(table);
  f32x16 result;
  result.lo = (__typeof__(result.lo))_mm256_permutevar8x32_ps(all, (__m256i)index.lo);
  result.hi = (__typeof__(result.hi))_mm256_permutevar8x32_ps(all, (__m256i)index.hi);
  return result;
}
#endif

#if defined(LEVEL_AVX512)
/// table[index] of 256 bytes, 64 at a time.
INLINE __m512i lookup_bytes(const uint8_t *table, __m512i index) {
  __m512i low = _mm512_permutex2var_epi8(
    _mm512_loadu_si512(table), index, _mm512_loadu_si512(table + 64));
  __m512i high = _mm512_permutex2var_epi8(
    _mm512_loadu_si512(table + 128), index, _mm512_loadu_si512(table + 192));
  return _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high);
}
#endif

#if defined(LEVEL_AVX2)
/// entries[codes[i]] of eight codes, by a load each: a gather takes longer. Codes come from four 16-bit parts of one
/// word: taking a register's two lowest bytes is one instruction each, and loads are what such code is short of.
INLINE __m256 look_up_codes8(const float *entries, const uint8_t *codes) {
  uint64_t all;
  memcpy(&all, codes, 8);
  uint32_t a = (uint32_t)all, b = a >> 16, c = (uint32_t)(all >> 32), d = c >> 16;
  // Registers as they are: the compiler would shift the whole word anew for each code.
  __asm__("" : "+Q"(a), "+Q"(b), "+Q"(c), "+Q"(d));
  return _mm256_setr_ps(
    entries[(uint8_t)a], entries[(uint8_t)(a >> 8)], entries[(uint8_t)b], entries[b >> 8], entries[(uint8_t)c],
    entries[(uint8_t)(c >> 8)], entries[(uint8_t)d], entries[d >> 8]);
}

#endif

/// table[index] of a table in memory: by a load each, as a gather takes longer.
INLINE u32x16 look_up_words(const uint32_t *table, u32x16 index) {
  u32x16 result;
#pragma clang loop unroll(full)
  for (int i = 0; i < 16; i++) result[i] = table[index[i]];
  return result;
}

/// Whether any of 64 bytes differ.
INLINE int differ64(u8x64 a, u8x64 b) {
#if defined(LEVEL_AVX512)
  return _mm512_cmpneq_epu8_mask((__m512i)a, (__m512i)b) != 0;
#else
  typedef uint64_t u64x8 __attribute__((ext_vector_type(8)));
  return __builtin_reduce_or((u64x8)(a ^ b)) != 0;
#endif
}

/// Which of 64 bytes differ, the first in the lowest bit.
INLINE uint64_t differences64(u8x64 a, u8x64 b) {
#if defined(LEVEL_AVX512)
  return _mm512_cmpneq_epu8_mask((__m512i)a, (__m512i)b);
#else
  uint64_t result = 0;
  for (int i = 0; i < 64; i++) result |= (uint64_t)(a[i] != b[i]) << i;
  return result;
#endif
}

/// The greatest rank of 64 codes.
INLINE uint32_t greatest_rank64(const qcodec_cells *table, const uint8_t *codes) {
#if defined(LEVEL_AVX512)
  u8x64 ranks = (u8x64)lookup_bytes(table->rank, _mm512_loadu_si512(codes));
  return __builtin_reduce_max(ranks);
#else
  uint32_t greatest = 0;
  for (int i = 0; i < 64; i++) {
    uint32_t rank = table->rank[codes[i]];
    greatest = rank > greatest ? rank : greatest;
  }
  return greatest;
#endif
}

#if defined(LEVEL_AVX512)
/// The entries of a table, in registers: the four byte planes of 256, or sixteen.
typedef struct {
  __m512i planes[4][4];
  __m512 sixteen;
} KERNEL(entries);

INLINE KERNEL(entries) entries_of(const qcodec_table *table) {
  KERNEL(entries) result;
#pragma clang loop unroll(full)
  for (int p = 0; p < 4; p++) {
#pragma clang loop unroll(full)
    for (int i = 0; i < 4; i++) result.planes[p][i] = _mm512_loadu_si512(table->planes[p] + 64 * i);
  }
  result.sixteen = (__m512)load16(table->entries);
  return result;
}

/// The entries of 64 codes of 8 bits.
INLINE void look_up_entries64(const KERNEL(entries) *t, __m512i codes, f32x16 out[4]) {
  // In this order the in-lane unpacking below puts the elements right.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  __m512i index = _mm512_permutexvar_epi32(order, codes), b[4];
  __mmask64 high = _mm512_movepi8_mask(index);
#pragma clang loop unroll(full)
  for (int p = 0; p < 4; p++) {
    __m512i low_half = _mm512_permutex2var_epi8(t->planes[p][0], index, t->planes[p][1]);
    __m512i high_half = _mm512_permutex2var_epi8(t->planes[p][2], index, t->planes[p][3]);
    b[p] = _mm512_mask_blend_epi8(high, low_half, high_half);
  }
  __m512i low01 = _mm512_unpacklo_epi8(b[0], b[1]), high01 = _mm512_unpackhi_epi8(b[0], b[1]);
  __m512i low23 = _mm512_unpacklo_epi8(b[2], b[3]), high23 = _mm512_unpackhi_epi8(b[2], b[3]);
  out[0] = (f32x16)_mm512_unpacklo_epi16(low01, low23);
  out[1] = (f32x16)_mm512_unpackhi_epi16(low01, low23);
  out[2] = (f32x16)_mm512_unpacklo_epi16(high01, high23);
  out[3] = (f32x16)_mm512_unpackhi_epi16(high01, high23);
}
#endif

/// entries[codes[i]] of 64 codes of 8 bits.
INLINE void entries64(const qcodec_table *table, const uint8_t *codes, f32x16 out[4]) {
#if defined(LEVEL_AVX512)
  KERNEL(entries) entries = entries_of(table);
  look_up_entries64(&entries, _mm512_loadu_si512(codes), out);
#else
#pragma clang loop unroll(full)
  for (int v = 0; v < 4; v++) {
    f32x16 values;
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; i++) values[i] = table->entries[codes[16 * v + i]];
    out[v] = values;
  }
#endif
}

/// 64 codes of one byte each from words of 0 to 255; words beyond are taken for the nearer end.
INLINE u8x64 narrow64(const i32x16 v[4]) {
#if defined(LEVEL_AVX512)
  __m512i low = _mm512_packs_epi32((__m512i)v[0], (__m512i)v[1]);
  __m512i high = _mm512_packs_epi32((__m512i)v[2], (__m512i)v[3]);
  // Packing works within 128 bits.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return (u8x64)_mm512_permutexvar_epi32(order, _mm512_packus_epi16(low, high));
#elif defined(LEVEL_AVX2)
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  u8x64 result;
  __m256i low = _mm256_packs_epi32((__m256i)v[0].lo, (__m256i)v[0].hi);
  __m256i high = _mm256_packs_epi32((__m256i)v[1].lo, (__m256i)v[1].hi);
  result.lo = (u8x32)_mm256_permutevar8x32_epi32(_mm256_packus_epi16(low, high), order);
  low = _mm256_packs_epi32((__m256i)v[2].lo, (__m256i)v[2].hi);
  high = _mm256_packs_epi32((__m256i)v[3].lo, (__m256i)v[3].hi);
  result.hi = (u8x32)_mm256_permutevar8x32_epi32(_mm256_packus_epi16(low, high), order);
  return result;
#else
  u8x64 result;
  for (int i = 0; i < 4; i++) {
    i32x16 inside = __builtin_elementwise_min(__builtin_elementwise_max(v[i], (i32x16)0), (i32x16)255);
    store_bytes16((uint8_t *)&result + 16 * i, __builtin_convertvector(inside, u8x16));
  }
  return result;
#endif
}

/// Codes of 4 bits, two a byte with the first in the high nibble, from one byte each.
INLINE u8x32 nibbles64(u8x64 codes) {
#if defined(LEVEL_AVX512)
  __m512i pairs = _mm512_maddubs_epi16((__m512i)codes, _mm512_set1_epi16(0x0110));
  return (u8x32)_mm512_cvtepi16_epi8(pairs);
#elif defined(LEVEL_AVX2)
  __m256i low = _mm256_maddubs_epi16((__m256i)codes.lo, _mm256_set1_epi16(0x0110));
  __m256i high = _mm256_maddubs_epi16((__m256i)codes.hi, _mm256_set1_epi16(0x0110));
  return (u8x32)_mm256_permute4x64_epi64(_mm256_packus_epi16(low, high), 0xD8);
#else
  u16x32 pairs = (u16x32)codes;
  return __builtin_convertvector((pairs << 4 | pairs >> 8) & 0xFF, u8x32);
#endif
}

INLINE void pack64(const uint8_t *codes, uint8_t *target) { *(u8x32u *)target = nibbles64(*(const u8x64u *)codes); }

INLINE void unpack64(const uint8_t *packed, uint8_t *codes) {
  u16x32 bytes = __builtin_convertvector(*(const u8x32u *)packed, u16x32);
  *(u8x64u *)codes = (u8x64)((bytes >> 4) | (bytes & 15) << 8);
}
