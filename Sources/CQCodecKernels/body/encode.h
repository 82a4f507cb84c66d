// What encoding in blocks makes scales of.

/// The extreme of a block, and what the reference must look at.
typedef struct {
  float extreme;
  int found;
} KERNEL(extreme);

/// What tells sorts of values apart: the greatest patterns as signed and as unsigned integers. Positive values order as
/// signed patterns, negative ones as unsigned.
typedef struct {
  i32x16 above;
  u32x16 below;
} KERNEL(sorts);

INLINE KERNEL(sorts) no_sorts(void) { return (KERNEL(sorts)){(i32x16)INT32_MIN, (u32x16)0u}; }

INLINE void take_sorts(KERNEL(sorts) *sorts, f32x16 x) {
  sorts->above = __builtin_elementwise_max(sorts->above, (i32x16)x);
  sorts->below = max16(sorts->below, bits16(x));
}

/// The element of largest magnitude with its sign, the first among equals, of elements whose greatest patterns are known.
INLINE KERNEL(extreme) extreme_between(int32_t above, uint32_t below, const f32u *x, size_t count) {
  uint32_t up = above > 0 ? (uint32_t)above : 0, down = below > 0x80000000u ? below & 0x7FFFFFFFu : 0;
  uint32_t greatest = up > down ? up : down;
  KERNEL(extreme) result;
  result.found = (greatest >= 0x7F800000u ? qcodec_found_nonfinite : 0) | (down ? qcodec_found_negative : 0);
  uint32_t pattern = down > up ? down | 0x80000000u : up;
  if (__builtin_expect(up == down && up != 0, 0)) {
    for (size_t i = 0; i < count; i++) {
      memcpy(&pattern, x + i, 4);
      if ((pattern & 0x7FFFFFFFu) == greatest) break;
    }
  }
  memcpy(&result.extreme, &pattern, 4);
  return result;
}

/// The element of largest magnitude with its sign, the first among equals.
INLINE KERNEL(extreme) find_extreme(const f32u *x, size_t count) {
  KERNEL(sorts) sorts = no_sorts();
  size_t i = 0;
  for (; i + 16 <= count; i += 16) take_sorts(&sorts, load16(x + i));
  int32_t above = __builtin_reduce_max(sorts.above);
  uint32_t below = greatest16(sorts.below);
  for (; i < count; i++) {
    uint32_t bits;
    memcpy(&bits, x + i, 4);
    above = (int32_t)bits > above ? (int32_t)bits : above;
    below = bits > below ? bits : below;
  }
  return extreme_between(above, below, x, count);
}

/// A block's scale, or more where the spacing asks for it. Returns what was found: elements beyond a scale that clamps
/// are the reference's.
INLINE int space_out(const qcodec_spacing *spacing, float *scale) {
  if (!spacing || !(spacing->scale > 0)) return 0;
  if (*scale > spacing->scale) return spacing->clamps ? qcodec_found_nonfinite : 0;
  *scale = spacing->scale;
  return 0;
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
