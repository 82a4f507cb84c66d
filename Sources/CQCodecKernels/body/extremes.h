// The first passes over a tensor: extremes of rows and columns, and what a scheme must know of all values.

// Rows taken at once: what belongs to columns, of which there may be more than first-level cache holds, is then read
// and written once for all of them. Measured: with 4096 columns 8 rows take 0.7 times as long as 1, 4 rows 0.8.
#define BAND 8

/// Sixteen elements of a dtype as float32.
INLINE f32x16 load_as(const uint8_t *x, size_t i, int dtype) {
  if (dtype == qcodec_dtype_bf16) return widen_bf16(*(const u16x16u *)(x + 2 * i));
  if (dtype == qcodec_dtype_f16) return widen_f16(*(const u16x16u *)(x + 2 * i));
  return *(const f32x16u *)(x + 4 * i);
}

/// Up to sixteen elements, then zeros.
INLINE f32x16 load_some_as(const uint8_t *x, size_t i, size_t count, int dtype) {
  uint8_t bytes[64] = {0};
  size_t size = dtype == qcodec_dtype_f32 ? 4 : 2;
  memcpy(bytes, x + size * i, size * count);
  return load_as(bytes, 0, dtype);
}

INLINE int found_sorts(const KERNEL(sorts) *sorts) {
  int32_t above = __builtin_reduce_max(sorts->above);
  uint32_t below = greatest16(sorts->below);
  return (above >= 0x7F800000 || below >= 0xFF800000u ? qcodec_found_nonfinite : 0) |
         (below > 0x80000000u ? qcodec_found_negative : 0);
}

/// Takes sixteen columns of `rows` rows, 1 or BAND, into the extremes of the columns and of each row.
INLINE void take_columns(const f32x16 *x, int rows, int is_signed, f32x16 *column, f32x16 *greatest) {
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
    f32x16 magnitude = (f32x16)magnitude16(x[r]);
    greatest[r] = greater16(magnitude, greatest[r]);
    if (is_signed) *column = selectf16(magnitude > (f32x16)magnitude16(*column), x[r], *column);
    else *column = greater16(magnitude, *column);
  }
}

/// `rows` rows of `count` elements, 1 or BAND, whose distance is `length` elements.
INLINE void take_rows(
  const uint8_t *x, int dtype, int rows, size_t length, size_t count, int is_signed, f32u *row, f32u *column
) {
  f32x16 greatest[BAND] = {(f32x16)0.0f}, own[BAND];
  size_t i = 0;
  for (; i + 16 <= count; i += 16) {
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) own[r] = load_as(x, (size_t)r * length + i, dtype);
    f32x16 extremes = load16(column + i);
    take_columns(own, rows, is_signed, &extremes, greatest);
    store16(column + i, extremes);
  }
  if (i < count) {
    size_t rest = count - i;
    for (int r = 0; r < rows; r++) own[r] = load_some_as(x, (size_t)r * length + i, rest, dtype);
    f32x16 extremes = load_some_as((const uint8_t *)(column + i), 0, rest, qcodec_dtype_f32);
    take_columns(own, rows, is_signed, &extremes, greatest);
    memcpy(column + i, &extremes, 4 * rest);
  }
  for (int r = 0; row && r < rows; r++) {
    float own_greatest = __builtin_reduce_max(greatest[r]);
    row[r] = own_greatest > row[r] ? own_greatest : row[r];
  }
}

/// One row without columns: the element of largest magnitude with its sign, the first among equals.
INLINE void take_row(const uint8_t *x, int dtype, size_t count, f32u *row) {
  KERNEL(sorts) sorts = no_sorts();
  size_t i = 0;
  for (; i + 16 <= count; i += 16) take_sorts(&sorts, load_as(x, i, dtype));
  if (i < count) take_sorts(&sorts, load_some_as(x, i, count - i, dtype));
  // Positive values order as signed patterns, negative ones as unsigned.
  int32_t above = __builtin_reduce_max(sorts.above);
  uint32_t below = greatest16(sorts.below), pattern;
  uint32_t up = above > 0 ? (uint32_t)above : 0, down = below > 0x80000000u ? below & 0x7FFFFFFFu : 0;
  memcpy(&pattern, row, 4);
  if ((up > down ? up : down) > (pattern & 0x7FFFFFFFu)) {
    pattern = down > up ? down | 0x80000000u : up;
    if (__builtin_expect(up == down, 0)) {
      f32x16 own;
      for (i = 0;; i++) {
        own = load_some_as(x, i, 1, dtype);
        memcpy(&pattern, &own, 4);
        if ((pattern & 0x7FFFFFFFu) == up) break;
      }
    }
    memcpy(row, &pattern, 4);
  }
}

INLINE void extremes_as(
  const uint8_t *x, int dtype, size_t place, size_t count, size_t length, int is_signed, f32u *rows, f32u *columns
) {
  const size_t size = dtype == qcodec_dtype_f32 ? 4 : 2;
  for (size_t done = 0, row = 0; done < count; place = 0) {
    size_t rest = count - done, run = length - place < rest ? length - place : rest;
    f32u *own = rows ? rows + row : 0;
    const uint8_t *from = x + size * done;
    if (!columns) {
      take_row(from, dtype, run, own);
    } else if (place == 0 && rest / BAND >= length) {
      take_rows(from, dtype, BAND, length, length, is_signed, own, columns);
      run = BAND * length, row += BAND - 1;
    } else {
      take_rows(from, dtype, 1, length, run, is_signed, own, columns + place);
    }
    done += run, row++;
  }
}

static void KERNEL(extremes)(
  const void *x, int dtype, size_t place, size_t count, size_t length, int rule, f32u *rows, f32u *columns
) {
  const int is_signed = rule & qcodec_rule_signed;
  switch (dtype) {
    case qcodec_dtype_bf16:
      if (is_signed) extremes_as(x, qcodec_dtype_bf16, place, count, length, 1, rows, columns);
      else extremes_as(x, qcodec_dtype_bf16, place, count, length, 0, rows, columns);
      break;
    case qcodec_dtype_f16:
      if (is_signed) extremes_as(x, qcodec_dtype_f16, place, count, length, 1, rows, columns);
      else extremes_as(x, qcodec_dtype_f16, place, count, length, 0, rows, columns);
      break;
    default:
      if (is_signed) extremes_as(x, qcodec_dtype_f32, place, count, length, 1, rows, columns);
      else extremes_as(x, qcodec_dtype_f32, place, count, length, 0, rows, columns);
  }
}

/// float32 patterns. A zero's magnitude, less one, is the greatest there is, and so never the least.
INLINE int scan_wide(const uint8_t *x, size_t count, qcodec_range *range) {
  KERNEL(sorts) sorts = no_sorts();
  u32x16 least = (u32x16)UINT32_MAX;
  for (size_t i = 0; i < count; i += 16) {
    size_t rest = count - i;
    f32x16 own = rest >= 16 ? load_as(x, i, qcodec_dtype_f32) : load_some_as(x, i, rest, qcodec_dtype_f32);
    take_sorts(&sorts, own);
    least = min16(least, magnitude16(own) - 1u);
  }
  int32_t above = __builtin_reduce_max(sorts.above);
  uint32_t below = greatest16(sorts.below), down = least16(least) + 1;
  if (above > (int32_t)range->greatest) range->greatest = (uint32_t)above;
  if (below > 0x80000000u + range->greatest) range->greatest = below & 0x7FFFFFFFu;
  if (down != 0 && down < range->least) range->least = down;
  return found_sorts(&sorts);
}

INLINE uint32_t widened_pattern(uint32_t pattern, int dtype) {
  uint16_t half = (uint16_t)pattern;
  f32x16 wide = load_some_as((const uint8_t *)&half, 0, 1, dtype);
  return bits16(wide)[0];
}

/// Patterns of 16 bits, which order as those of the values that they widen to.
INLINE int scan_narrow(const uint8_t *x, int dtype, size_t count, qcodec_range *range) {
  const uint32_t infinity = dtype == qcodec_dtype_bf16 ? 0x7F80 : 0x7C00;
  i16x32 above = (i16x32)INT16_MIN;
  u16x32 below = (u16x32)0, least = (u16x32)UINT16_MAX;
  for (size_t i = 0; i < count; i += 32) {
    u16x32 own = (u16x32)0;
    if (__builtin_expect(count - i >= 32, 1)) memcpy(&own, x + 2 * i, sizeof own);
    else memcpy(&own, x + 2 * i, 2 * (count - i));
    above = __builtin_elementwise_max(above, (i16x32)own);
    below = __builtin_elementwise_max(below, own);
    least = __builtin_elementwise_min(least, (own & 0x7FFF) - 1);
  }
  int positive = __builtin_reduce_max(above);
  uint32_t up = positive > 0 ? (uint32_t)positive : 0, negative = __builtin_reduce_max(below);
  uint32_t down = negative > 0x8000 ? negative & 0x7FFF : 0, smallest = __builtin_reduce_min(least);
  uint32_t greatest = widened_pattern(up > down ? up : down, dtype);
  if (greatest > range->greatest) range->greatest = greatest;
  if (smallest != UINT16_MAX) {
    smallest = widened_pattern(smallest + 1, dtype);
    if (smallest < range->least) range->least = smallest;
  }
  return (up >= infinity || down >= infinity ? qcodec_found_nonfinite : 0) | (down ? qcodec_found_negative : 0);
}

static int KERNEL(scan)(const void *x, int dtype, size_t count, qcodec_range *range) {
  if (dtype == qcodec_dtype_bf16) return scan_narrow(x, qcodec_dtype_bf16, count, range);
  if (dtype == qcodec_dtype_f16) return scan_narrow(x, qcodec_dtype_f16, count, range);
  return scan_wide(x, count, range);
}
