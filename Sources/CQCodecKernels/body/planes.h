// Byte planes: byte p of every element in plane p, and back, by halving: the even and the odd bytes of a run of
// elements are two runs of elements half as large.

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#if defined(LEVEL_AVX512)
#define PLANE_BYTES 64
#elif defined(LEVEL_AVX2)
#define PLANE_BYTES 32
#else
#define PLANE_BYTES 16
#endif

// One register of a plane, and the elements that two, four and eight of them make.
typedef uint8_t KERNEL(u8p1) __attribute__((ext_vector_type(PLANE_BYTES)));
typedef uint8_t KERNEL(u8p2) __attribute__((ext_vector_type(2 * PLANE_BYTES)));
typedef uint8_t KERNEL(u8p4) __attribute__((ext_vector_type(4 * PLANE_BYTES)));
typedef uint8_t KERNEL(u8p8) __attribute__((ext_vector_type(8 * PLANE_BYTES)));

/// The even or the odd bytes of two registers.
INLINE KERNEL(u8p1) halve(KERNEL(u8p1) a, KERNEL(u8p1) b, int odd) {
#if defined(LEVEL_AVX2)
  const __m256i low = _mm256_set1_epi16(0xFF);
  __m256i x = odd ? _mm256_srli_epi16((__m256i)a, 8) : _mm256_and_si256((__m256i)a, low);
  __m256i y = odd ? _mm256_srli_epi16((__m256i)b, 8) : _mm256_and_si256((__m256i)b, low);
  return (KERNEL(u8p1))_mm256_permute4x64_epi64(_mm256_packus_epi16(x, y), 0xD8);
#elif defined(__SSE2__) && !defined(LEVEL_AVX512)
  const __m128i low = _mm_set1_epi16(0xFF);
  __m128i x = odd ? _mm_srli_epi16((__m128i)a, 8) : _mm_and_si128((__m128i)a, low);
  __m128i y = odd ? _mm_srli_epi16((__m128i)b, 8) : _mm_and_si128((__m128i)b, low);
  return (KERNEL(u8p1))_mm_packus_epi16(x, y);
#else
  KERNEL(u8p2) v;
  v.lo = a, v.hi = b;
  return odd ? v.odd : v.even;
#endif
}

// Two, four or eight registers of elements into as many planes whose distance is `distance` bytes.
INLINE void split2(const KERNEL(u8p1) *v, size_t distance, uint8_t *target) {
  KERNEL(u8p1) even = halve(v[0], v[1], 0), odd = halve(v[0], v[1], 1);
  memcpy(target, &even, PLANE_BYTES);
  memcpy(target + distance, &odd, PLANE_BYTES);
}

INLINE void split4(const KERNEL(u8p1) *v, size_t distance, uint8_t *target) {
  KERNEL(u8p1) even[2], odd[2];
#pragma clang loop unroll(full)
  for (int i = 0; i < 2; i++) even[i] = halve(v[2 * i], v[2 * i + 1], 0), odd[i] = halve(v[2 * i], v[2 * i + 1], 1);
  split2(even, 2 * distance, target);
  split2(odd, 2 * distance, target + distance);
}

INLINE void split8(const KERNEL(u8p1) *v, size_t distance, uint8_t *target) {
  KERNEL(u8p1) even[4], odd[4];
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) even[i] = halve(v[2 * i], v[2 * i + 1], 0), odd[i] = halve(v[2 * i], v[2 * i + 1], 1);
  split4(even, 2 * distance, target);
  split4(odd, 2 * distance, target + distance);
}

INLINE KERNEL(u8p2) join2(const uint8_t *source, size_t distance) {
  KERNEL(u8p1) first, second;
  memcpy(&first, source, PLANE_BYTES);
  memcpy(&second, source + distance, PLANE_BYTES);
  KERNEL(u8p2) v;
  v.even = first, v.odd = second;
  return v;
}

INLINE KERNEL(u8p4) join4(const uint8_t *source, size_t distance) {
  KERNEL(u8p4) v;
  v.even = join2(source, 2 * distance), v.odd = join2(source + distance, 2 * distance);
  return v;
}

INLINE KERNEL(u8p8) join8(const uint8_t *source, size_t distance) {
  KERNEL(u8p8) v;
  v.even = join4(source, 2 * distance), v.odd = join4(source + distance, 2 * distance);
  return v;
}

INLINE void split_as(const uint8_t *source, size_t count, int planes, uint8_t *target) {
  size_t i = 0;
  for (; i + PLANE_BYTES <= count; i += PLANE_BYTES) {
    KERNEL(u8p1) v[8];
    memcpy(v, source + i * (size_t)planes, PLANE_BYTES * (size_t)planes);
    if (planes == 2) split2(v, count, target + i);
    else if (planes == 4) split4(v, count, target + i);
    else split8(v, count, target + i);
  }
  for (; i < count; i++) {
    for (size_t p = 0; p < (size_t)planes; p++) target[p * count + i] = source[i * (size_t)planes + p];
  }
}

INLINE void join_as(const uint8_t *source, size_t count, int planes, uint8_t *target) {
  size_t i = 0;
  for (; i + PLANE_BYTES <= count; i += PLANE_BYTES) {
    if (planes == 2) {
      KERNEL(u8p2) v = join2(source + i, count);
      memcpy(target + 2 * i, &v, sizeof v);
    } else if (planes == 4) {
      KERNEL(u8p4) v = join4(source + i, count);
      memcpy(target + 4 * i, &v, sizeof v);
    } else {
      KERNEL(u8p8) v = join8(source + i, count);
      memcpy(target + 8 * i, &v, sizeof v);
    }
  }
  for (; i < count; i++) {
    for (size_t p = 0; p < (size_t)planes; p++) target[i * (size_t)planes + p] = source[p * count + i];
  }
}

static void KERNEL(split_planes)(const uint8_t *source, size_t count, int planes, uint8_t *target) {
  switch (planes) {
    case 2: split_as(source, count, 2, target); break;
    case 4: split_as(source, count, 4, target); break;
    default: split_as(source, count, 8, target);
  }
}

static void KERNEL(join_planes)(const uint8_t *source, size_t count, int planes, uint8_t *target) {
  switch (planes) {
    case 2: join_as(source, count, 2, target); break;
    case 4: join_as(source, count, 4, target); break;
    default: join_as(source, count, 8, target);
  }
}
