// Sixteen lanes at a time, whatever the machine's registers hold: clang lowers these types to one zmm, two ymm or four
// xmm or NEON registers. Included once a kernel level, inside its target attribute; KERNEL(name) adds its name.

#pragma STDC FP_CONTRACT OFF
// Everything that takes or returns a vector is inlined: no such call has an ABI.
#pragma clang diagnostic ignored "-Wpsabi"

// Elements that are worked on together.
#define TILE 64

#define INLINE static inline __attribute__((always_inline))

typedef float f32x16 __attribute__((ext_vector_type(16)));
typedef int32_t i32x16 __attribute__((ext_vector_type(16)));
typedef uint32_t u32x16 __attribute__((ext_vector_type(16)));
typedef float f32x4 __attribute__((ext_vector_type(4)));
typedef double f64x4 __attribute__((ext_vector_type(4)));
typedef int64_t i64x4 __attribute__((ext_vector_type(4)));
typedef uint64_t u64x4 __attribute__((ext_vector_type(4)));
typedef double f64x16 __attribute__((ext_vector_type(16)));
typedef int64_t i64x16 __attribute__((ext_vector_type(16)));
typedef uint8_t u8x16 __attribute__((ext_vector_type(16)));
typedef uint16_t u16x16 __attribute__((ext_vector_type(16)));
typedef int16_t i16x32 __attribute__((ext_vector_type(32)));
// The same for loads and stores anywhere: callers' memory has any alignment.
typedef float f32u __attribute__((aligned(1)));
typedef f32x16 f32x16u __attribute__((aligned(1)));
typedef f32x4 f32x4u __attribute__((aligned(1)));
typedef u32x16 u32x16u __attribute__((aligned(1)));
typedef u16x16 u16x16u __attribute__((aligned(1)));
typedef u8x16 u8x16u __attribute__((aligned(1)));

INLINE f32x16 load16(const f32u *p) { return *(const f32x16u *)p; }
INLINE void store16(f32u *p, f32x16 v) { *(f32x16u *)p = v; }
INLINE void store_bytes16(uint8_t *p, u8x16 v) { *(u8x16u *)p = v; }
INLINE u8x16 load_bytes16(const uint8_t *p) { return *(const u8x16u *)p; }
INLINE u32x16 bits16(f32x16 v) { return (u32x16)v; }
INLINE u32x16 magnitude16(f32x16 v) { return (u32x16)v & 0x7FFFFFFFu; }
INLINE u32x16 select16(i32x16 mask, u32x16 yes, u32x16 no) { return ((u32x16)mask & yes) | (~(u32x16)mask & no); }
INLINE f32x16 selectf16(i32x16 mask, f32x16 yes, f32x16 no) {
  return (f32x16)select16(mask, (u32x16)yes, (u32x16)no);
}
INLINE u32x16 max16(u32x16 a, u32x16 b) { return __builtin_elementwise_max(a, b); }
INLINE u32x16 min16(u32x16 a, u32x16 b) { return __builtin_elementwise_min(a, b); }

INLINE uint32_t greatest16(u32x16 v) { return __builtin_reduce_max(v); }
INLINE uint32_t least16(u32x16 v) { return __builtin_reduce_min(v); }
INLINE int any16(i32x16 mask) {
#if defined(LEVEL_AVX512)
  return _mm512_test_epi32_mask((__m512i)mask, (__m512i)mask) != 0;
#elif defined(LEVEL_AVX2)
  __m256i both = (__m256i)(mask.lo | mask.hi);
  return !_mm256_testz_si256(both, both);
#else
  return __builtin_reduce_or(mask) != 0;
#endif
}

// The nearest integer of a float of magnitude below 2^22, ties to even.
INLINE i32x16 rint16(f32x16 v) {
#if defined(LEVEL_AVX512)
  return (i32x16)_mm512_cvtps_epi32((__m512)v);
#else
  // The sum with 1.5 · 2^23 has no bits below one.
  return (i32x16)(v + 12582912.0f) - 0x4B400000;
#endif
}


// Four elements as float64. From memory this takes half of what it does from the parts of a wider register.
INLINE f64x4 widen4(const f32u *p) { return __builtin_convertvector(*(const f32x4u *)p, f64x4); }
// Has what was stored at p loaded from memory.
INLINE void through_memory(const f32u *p) { __asm__ volatile("" : : "r"(p) : "memory"); }

INLINE f64x16 widen16(f32x16 v) { return __builtin_convertvector(v, f64x16); }
typedef uint32_t u32x32 __attribute__((ext_vector_type(32)));

// The lower words of float64 patterns.
INLINE u32x16 low_words16(f64x16 v) {
  u32x32 words = (u32x32)v;
  return __builtin_shufflevector(words, words, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
}

// The nearest integers of float64 of 0 to 2^31, ties to even: the sum with 2^52 has no bits below one.
INLINE u32x16 rint64x16(f64x16 v) { return low_words16(v + 0x1p52); }

// a · b + c, fused where there is an instruction for it: only for callers whose result is the same either way.
#if defined(LEVEL_AVX512) || defined(LEVEL_AVX2)
#define MULTIPLY_ADD(a, b, c) __builtin_elementwise_fma(a, b, c)
#else
#define MULTIPLY_ADD(a, b, c) ((a) * (b) + (c))
#endif

// Integers below 2^31: signed conversion is one instruction everywhere, unsigned is not.
INLINE f64x16 double16(u32x16 v) { return __builtin_convertvector((i32x16)v, f64x16); }

// The larger of two that are no NaN: one instruction, where the library's maximum minds NaN.
INLINE f64x16 larger16(f64x16 a, f64x16 b) { return a > b ? a : b; }
INLINE f32x16 greater16(f32x16 a, f32x16 b) { return a > b ? a : b; }
INLINE f32x16 lesser16(f32x16 a, f32x16 b) { return a < b ? a : b; }

// Elements of a dtype as float32, exact, and back, to nearest even; dtype as in qcodec_dtype.
INLINE f32x16 widen_bf16(u16x16 v) { return (f32x16)(__builtin_convertvector(v, u32x16) << 16); }

INLINE u32x16 narrow_bf16(f32x16 v) {
  u32x16 bits = (u32x16)v;
  u32x16 rounded = (bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16;
  return select16((bits & 0x7FFFFFFFu) > 0x7F800000u, bits >> 16 | 0x40u, rounded);
}

INLINE f32x16 widen_f16(u16x16 v) {
#if defined(LEVEL_AVX512) || defined(LEVEL_AVX2)
  // The instruction sets a bit of signalling NaN: these take the long way.
  __m256i pattern = _mm256_and_si256((__m256i)v, _mm256_set1_epi16(0x7FFF));
  __m256i nan = _mm256_cmpgt_epi16(pattern, _mm256_set1_epi16(0x7C00));
  if (__builtin_expect(_mm256_testz_si256(nan, nan), 1)) {
#if defined(LEVEL_AVX512)
    return (f32x16)_mm512_cvtph_ps((__m256i)v);
#else
    f32x16 result;
    result.lo = (__typeof__(result.lo))_mm256_cvtph_ps((__m128i)v.lo);
    result.hi = (__typeof__(result.hi))_mm256_cvtph_ps((__m128i)v.hi);
    return result;
#endif
  }
#endif
  u32x16 half = __builtin_convertvector(v, u32x16);
  u32x16 sign = (half & 0x8000u) << 16, magnitude = (half & 0x7FFFu) << 13;
  // The product with 2^112 puts the exponent right, subnormals included.
  u32x16 finite = (u32x16)((f32x16)magnitude * 0x1p112f);
  return (f32x16)(sign | select16(magnitude >= 0x0F800000u, magnitude | 0x7F800000u, finite));
}

INLINE u16x16 narrow_f16(f32x16 v) {
#if defined(LEVEL_AVX512) || defined(LEVEL_AVX2)
  // The instruction keeps bits of a NaN: these take the long way.
  if (__builtin_expect(!any16(v != v), 1)) {
#if defined(LEVEL_AVX512)
    return (u16x16)_mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT);
#else
    u16x16 result;
    result.lo = (__typeof__(result.lo))_mm256_cvtps_ph((__m256)v.lo, _MM_FROUND_TO_NEAREST_INT);
    result.hi = (__typeof__(result.hi))_mm256_cvtps_ph((__m256)v.hi, _MM_FROUND_TO_NEAREST_INT);
    return result;
#endif
  }
#endif
  u32x16 sign = (u32x16)v >> 16 & 0x8000u, bits = (u32x16)v & 0x7FFFFFFFu;
  u32x16 small = (u32x16)((f32x16)bits + 0.5f) - 0x3F000000u;
  u32x16 normal = (bits + 0xFFFu + (bits >> 13 & 1u) - 0x38000000u) >> 13;
  u32x16 result = select16(bits < 0x38800000u, small, normal);
  result = select16(bits >= 0x477FF000u, (u32x16)(0x7C00u), result);
  return __builtin_convertvector(sign | select16(bits > 0x7F800000u, (u32x16)(0x7E00u), result), u16x16);
}
