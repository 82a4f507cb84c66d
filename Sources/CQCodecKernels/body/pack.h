// Codes of any width as the format stores them, and one byte each: a string of bits, the first code first and the most
// significant bit of each first. Eight codes are as many bytes as a code has bits.

#if defined(LEVEL_AVX2) || defined(LEVEL_AVX512)

/// The string of eight codes at the top of a word, of which the codes are the bytes, the first the most significant.
INLINE uint64_t pack8(uint64_t codes, int bits) {
  return _pext_u64(codes, ((1ull << bits) - 1) * 0x0101010101010101ull) << (64 - 8 * bits);
}

/// The inverse; what follows the eight codes counts for nothing.
INLINE uint64_t unpack8(uint64_t packed, int bits) {
  return _pdep_u64(packed >> (64 - 8 * bits), ((1ull << bits) - 1) * 0x0101010101010101ull);
}

#else

/// The string of eight codes at the top of a word, of which the codes are the bytes, the first the most significant.
INLINE uint64_t pack8(uint64_t codes, int bits) {
  // Neighbours are put together: bytes to pairs, pairs to fours, fours to all eight.
  const uint64_t pairs = 0x00FF00FF00FF00FFull, fours = 0x0000FFFF0000FFFFull;
  codes = (codes >> 8 & pairs) << bits | (codes & pairs);
  codes = (codes >> 16 & fours) << (2 * bits) | (codes & fours);
  codes = (codes >> 32) << (4 * bits) | (codes & 0xFFFFFFFFull);
  return codes << (64 - 8 * bits);
}

/// The inverse; what follows the eight codes counts for nothing.
INLINE uint64_t unpack8(uint64_t packed, int bits) {
  const uint64_t low = (1ull << 4 * bits) - 1, pair = ((1ull << 2 * bits) - 1) * 0x0000000100000001ull;
  const uint64_t one = ((1ull << bits) - 1) * 0x0001000100010001ull;
  packed >>= 64 - 8 * bits;
  packed = (packed >> (4 * bits)) << 32 | (packed & low);
  packed = (packed >> (2 * bits) & pair) << 16 | (packed & pair);
  return (packed >> bits & one) << 8 | (packed & one);
}

#endif

INLINE uint64_t load_word(const uint8_t *source, size_t count) {
  uint64_t word = 0;
  memcpy(&word, source, count);
  return __builtin_bswap64(word);
}

INLINE void store_word(uint64_t word, uint8_t *target, size_t count) {
  word = __builtin_bswap64(word);
  memcpy(target, &word, count);
}

INLINE void pack_width(const uint8_t *codes, size_t count, int bits, uint8_t *target) {
  size_t i = 0;
  // Whole words where 32 codes of two bits or more fill one; the next codes overwrite what is left of it.
  for (; i + 32 <= count; i += 8, target += bits) store_word(pack8(load_word(codes + i, 8), bits), target, 8);
  for (; i < count; i += 8, target += bits) {
    size_t rest = count - i < 8 ? count - i : 8;
    store_word(pack8(load_word(codes + i, rest), bits), target, (rest * (size_t)bits + 7) / 8);
  }
}

INLINE void unpack_width(const uint8_t *packed, size_t first, size_t count, int bits, uint8_t *codes) {
  packed += first / 8 * (size_t)bits;
  // Codes of the first eight before `first`, which are not wanted.
  size_t skipped = first % 8, i = 0;
  if (skipped && count) {
    size_t own = 8 - skipped < count ? 8 - skipped : count;
    uint64_t word = load_word(packed, ((skipped + own) * (size_t)bits + 7) / 8);
    store_word(unpack8(word, bits) << (8 * skipped), codes, own);
    packed += bits, i = own;
  }
  for (; i + 32 <= count; i += 8, packed += bits) store_word(unpack8(load_word(packed, 8), bits), codes + i, 8);
  for (; i < count; i += 8, packed += bits) {
    size_t rest = count - i < 8 ? count - i : 8;
    store_word(unpack8(load_word(packed, (rest * (size_t)bits + 7) / 8), bits), codes + i, rest);
  }
}

static void KERNEL(pack_codes)(const uint8_t *codes, size_t count, int bits, uint8_t *target) {
  // A body for each width, in which shifts and masks are constants.
  switch (bits) {
    case 2: return pack_width(codes, count, 2, target);
    case 3: return pack_width(codes, count, 3, target);
    case 4: return pack_width(codes, count, 4, target);
    case 5: return pack_width(codes, count, 5, target);
    case 6: return pack_width(codes, count, 6, target);
    default: memcpy(target, codes, count);
  }
}

static void KERNEL(unpack_codes)(const uint8_t *packed, size_t first, size_t count, int bits, uint8_t *codes) {
  switch (bits) {
    case 2: return unpack_width(packed, first, count, 2, codes);
    case 3: return unpack_width(packed, first, count, 3, codes);
    case 4: return unpack_width(packed, first, count, 4, codes);
    case 5: return unpack_width(packed, first, count, 5, codes);
    case 6: return unpack_width(packed, first, count, 6, codes);
    default: memcpy(codes, packed + first, count);
  }
}
