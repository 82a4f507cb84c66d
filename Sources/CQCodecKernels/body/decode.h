// Decoding under tables.

/// 64 codes of one byte each from a packed run; `first` is even.
INLINE void codes_of_tile(const uint8_t *packed, int bits, size_t first, uint8_t *codes) {
  if (bits == 8) memcpy(codes, packed + first, TILE);
  else unpack64(packed + first / 2, codes);
}

/// One value at a time, for what does not fill a tile.
INLINE float decode_one(const qcodec_table *table, const uint8_t *codes, size_t index, float scale) {
  uint8_t code = table->bits == 8 ? codes[index] : index % 2 ? codes[index / 2] & 15 : codes[index / 2] >> 4;
  return table->entries[code] * scale + 0.0f;
}

/// Elements of one scale, from element `first` of the codes.
INLINE void decode_run(
  const qcodec_table *table, const uint8_t *codes, size_t first, float scale, size_t count, float *values
) {
  size_t i = 0;
  if (first % 2 && count) values[i] = decode_one(table, codes, first, scale), i = 1;
#if defined(LEVEL_AVX512) || defined(LEVEL_AVX2)
  if (table->bits == 4) {
    // A scaled table of sixteen costs one product an entry; each rounds as the element's own would.
    float scaled[16];
    store16(scaled, load16(table->entries) * scale + 0.0f);
    for (; i + 16 <= count; i += 16) {
      uint64_t packed;
      memcpy(&packed, codes + (first + i) / 2, 8);
      // The first element is the high nibble: bytes swapped, nibbles stand in order from the top.
      packed = __builtin_bswap64(packed);
      const u32x16 shifts = {28, 24, 20, 16, 12, 8, 4, 0, 28, 24, 20, 16, 12, 8, 4, 0};
      u32x16 words;
      words.lo = (__typeof__(words.lo))(uint32_t)(packed >> 32);
      words.hi = (__typeof__(words.hi))(uint32_t)packed;
      store16(values + i, lookup16(scaled, words >> shifts & 15u));
    }
  }
#endif
  for (; i + TILE <= count; i += TILE) {
    uint8_t bytes[TILE];
    f32x16 out[4];
    codes_of_tile(codes, table->bits, first + i, bytes);
    decode_tile(table, bytes, 0, scale, out);
#pragma clang loop unroll(full)
    for (int v = 0; v < 4; v++) store16(values + i + 16 * v, out[v]);
  }
  for (; i < count; i++) values[i] = decode_one(table, codes, first + i, scale);
}

static void KERNEL(decode_blocks)(
  const qcodec_table *table, const uint8_t *codes, const float *scales, size_t first, size_t count, size_t block,
  float *values
) {
  for (size_t done = 0; done < count;) {
    size_t place = first + done, rest = block - place % block, run = count - done < rest ? count - done : rest;
    decode_run(table, codes, place, scales[place / block], run, values + done);
    done += run;
  }
}
