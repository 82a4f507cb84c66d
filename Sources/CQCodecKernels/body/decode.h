// Decoding under tables.

/// One value at a time, for what does not fill a tile.
INLINE float decode_one(const qcodec_table *table, const uint8_t *codes, size_t index, float scale) {
  uint8_t code = table->bits == 8 ? codes[index] : index % 2 ? codes[index / 2] & 15 : codes[index / 2] >> 4;
  return table->entries[code] * scale + 0.0f;
}

// MARK: One scale a block

#if defined(LEVEL_AVX512)

/// Elements of one scale, from element `first` of the codes.
INLINE void decode_run_8(
  const KERNEL(entries) *t, const uint8_t *codes, size_t first, float scale, size_t count, f32u *restrict values
) {
  f32x16 out[4];
  size_t i = 0;
  for (; i + TILE <= count; i += TILE) {
    look_up_entries64(t, _mm512_loadu_si512(codes + first + i), out);
#pragma clang loop unroll(full)
    for (int v = 0; v < 4; v++) store16(values + i + 16 * v, out[v] * scale + 0.0f);
  }
  if (i == count) return;
  const __mmask64 rest = ~0ull >> (TILE - (count - i));
  look_up_entries64(t, _mm512_maskz_loadu_epi8(rest, codes + first + i), out);
#pragma clang loop unroll(full)
  for (int v = 0; v < 4; v++) {
    _mm512_mask_storeu_ps(values + i + 16 * v, (__mmask16)(rest >> (16 * v)), (__m512)(out[v] * scale + 0.0f));
  }
}

/// The entries of sixteen codes of eight bytes, the first in the high nibble of the first byte.
INLINE __m512 decode_nibbles16(__m512 entries, __m512i bytes) {
  // Into each pair of words, of which the low four bits count: a byte from its fourth bit on, and from its first.
  const __m512i shifts = _mm512_setr_epi64(
    0x0000000000000004, 0x000000080000000C, 0x0000001000000014, 0x000000180000001C, 0x0000002000000024,
    0x000000280000002C, 0x0000003000000034, 0x000000380000003C);
  return _mm512_permutexvar_ps(_mm512_multishift_epi64_epi8(shifts, bytes), entries);
}

/// The same for codes of four bits, of which `first` is even.
INLINE void decode_run_4(
  const KERNEL(entries) *t, const uint8_t *codes, size_t first, float scale, size_t count, f32u *restrict values
) {
  // A scaled table costs one product an entry; each rounds as the element's own would.
  const __m512 scaled = (__m512)((f32x16)t->sixteen * scale + 0.0f);
  codes += first / 2;
  size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    uint64_t bytes;
    memcpy(&bytes, codes + i / 2, 8);
    _mm512_storeu_ps(values + i, decode_nibbles16(scaled, _mm512_set1_epi64((long long)bytes)));
  }
  if (i == count) return;
  const __mmask16 rest = (__mmask16)((1u << (count - i)) - 1);
  __m128i bytes = _mm_maskz_loadu_epi8((__mmask16)((1u << (count - i + 1) / 2) - 1), codes + i / 2);
  _mm512_mask_storeu_ps(values + i, rest, decode_nibbles16(scaled, _mm512_broadcastq_epi64(bytes)));
}

#else

typedef struct {
  const qcodec_table *table;
} KERNEL(entries);

INLINE KERNEL(entries) entries_of(const qcodec_table *table) { return (KERNEL(entries)){table}; }

/// Elements of one scale, from element `first` of the codes.
INLINE void decode_run_8(
  const KERNEL(entries) *t, const uint8_t *codes, size_t first, float scale, size_t count, f32u *restrict values
) {
  const float *entries = t->table->entries;
  codes += first;
  size_t i = 0;
  // Loads of one entry each: a gather takes longer.
  for (; i + 16 <= count; i += 16) {
    f32x16 found;
#if defined(LEVEL_AVX2)
    found.lo = (__typeof__(found.lo))look_up_codes8(entries, codes + i);
    found.hi = (__typeof__(found.hi))look_up_codes8(entries, codes + i + 8);
#else
#pragma clang loop unroll(full)
    for (int k = 0; k < 16; k++) found[k] = entries[codes[i + (size_t)k]];
#endif
    store16(values + i, found * scale + 0.0f);
  }
  for (; i < count; i++) values[i] = entries[codes[i]] * scale + 0.0f;
}

/// The same for codes of four bits, of which `first` is even.
INLINE void decode_run_4(
  const KERNEL(entries) *t, const uint8_t *codes, size_t first, float scale, size_t count, f32u *restrict values
) {
  // A scaled table of sixteen costs one product an entry; each rounds as the element's own would.
  float scaled[16];
  store16(scaled, load16(t->table->entries) * scale + 0.0f);
  codes += first / 2;
  size_t i = 0;
#if defined(LEVEL_AVX2)
  const __m256 low = _mm256_loadu_ps(scaled), high = _mm256_loadu_ps(scaled + 8);
  for (; i + 8 <= count; i += 8) {
    int bytes;
    memcpy(&bytes, codes + i / 2, 4);
    // The first element is the high nibble; of an index the low three bits count.
    __m256i words = _mm256_srlv_epi32(_mm256_set1_epi32(bytes), _mm256_setr_epi32(4, 0, 12, 8, 20, 16, 28, 24));
    // Bit 3 of an index, moved to the sign, chooses the half.
    __m256 chosen = _mm256_blendv_ps(
      _mm256_permutevar8x32_ps(low, words), _mm256_permutevar8x32_ps(high, words),
      (__m256)_mm256_slli_epi32(words, 28));
    _mm256_storeu_ps((float *)(values + i), chosen);
  }
#endif
  for (; i + 2 <= count; i += 2) values[i] = scaled[codes[i / 2] >> 4], values[i + 1] = scaled[codes[i / 2] & 15];
  if (i < count) values[i] = scaled[codes[i / 2] >> 4];
}

#endif

/// Elements of one scale from any element of the codes on.
INLINE void decode_run(
  const qcodec_table *table, const KERNEL(entries) *entries, const uint8_t *codes, size_t first, float scale,
  size_t count, f32u *values
) {
  if (table->bits == 8) return decode_run_8(entries, codes, first, scale, count, values);
  if (first % 2 && count) {
    *values = decode_one(table, codes, first, scale);
    first++, values++, count--;
  }
  decode_run_4(entries, codes, first, scale, count, values);
}

static void KERNEL(decode_blocks)(
  const qcodec_table *table, const uint8_t *codes, const f32u *scales, size_t first, size_t count, size_t block,
  f32u *values
) {
  if (count == 0) return;
  const KERNEL(entries) entries = entries_of(table);
  scales += first / block;
  if (table->bits == 4 && first % 2) {
    *values = decode_one(table, codes, first, *scales);
    first++, values++, count--;
    scales += first % block == 0;
  }
  size_t run = block - first % block;
  for (size_t done = 0; done < count; done += run, run = block, scales++) {
    if (run > count - done) run = count - done;
    if (table->bits == 8) decode_run_8(&entries, codes, first + done, *scales, run, values + done);
    else decode_run_4(&entries, codes, first + done, *scales, run, values + done);
  }
}
