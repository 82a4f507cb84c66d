#include <math.h>
#include <string.h>

#include "CQCodecKernels.h"

// Preparing a table: done once for each tensor, so plainly.

static uint32_t pattern(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  return bits;
}

static float value(uint32_t bits) {
  float result;
  memcpy(&result, &bits, 4);
  return result;
}

static uint32_t count_below(const qcodec_table *t, float y) {
  uint32_t low = 0, high = (uint32_t)(t->distinct - 1);
  while (low < high) {
    uint32_t middle = (low + high) / 2;
    if (t->thresholds[middle] < y) low = middle + 1;
    else high = middle;
  }
  return low;
}

// Whether codes follow from y · factor + offset to within 2^-16 steps of the thresholds.
static int is_uniform(qcodec_table *t) {
  int last = t->distinct - 1;
  if (t->distinct < 3) return 0;
  double step = ((double)t->entries[last] - t->entries[0]) / last;
  double factor = 1 / step, offset = -(double)t->entries[0] / step;
  if (factor != (float)factor || offset != (float)offset) {
    // Steps of 1/127 and 1/255 are no float32; their inverses are integers.
    factor = nearbyint(factor), offset = nearbyint(offset);
  }
  // Entries close together, far from zero: the terms would be so large that their sum has not the digits.
  if (factor > 256 || fabs(offset) > 256) return 0;
  for (int i = 0; i < last; i++) {
    if (fabs(t->thresholds[i] * factor + offset - (i + 0.5)) > 0x1p-16) return 0;
  }
  t->factor = (float)factor, t->offset = (float)offset;
  return 1;
}

// At most one threshold in each bucket of a sign and the patterns' upper bits, from 2^-31 to below 2.
static int build_words(qcodec_table *t) {
  for (int k = 4; k <= 8; k++) {
    int low = 23 - k;
    uint32_t mask = (1u << low) - 1, half = 32u << k;
    int fits = 1;
    for (uint32_t key = 0; key < 2 * half && fits; key++) {
      uint32_t start = ((key % half) + (96u << k)) << low;
      float near = value(start), far = value(start | mask);
      int negative = key >= half;
      // Below zero the far end is the least value.
      uint32_t first = count_below(t, negative ? -far : near), last = count_below(t, negative ? -near : far);
      if (last - first > 1) {
        fits = 0;
      } else if (key < 2 * 32 * 256) {
        uint32_t word = first << low;
        if (last > first) {
          uint32_t inside = pattern(t->thresholds[first]) & 0x7FFFFFFFu & mask;
          word += negative ? inside : mask - inside;
        }
        t->words[key] = word;
      }
    }
    if (fits) {
      t->low_bits = low;
      return 1;
    }
  }
  return 0;
}

// Whether the thresholds below zero are the first of those above, negated.
static int is_mirrored(const qcodec_table *t) {
  int total = t->distinct - 1, below = 0;
  while (below < total && t->thresholds[below] < 0) below++;
  if (!t->is_signed || total - below < below) return 0;
  for (int i = 0; i < below; i++) {
    if (t->thresholds[below - 1 - i] != -t->thresholds[below + i]) return 0;
  }
  return 1;
}

// The magnitudes of the thresholds on one side of zero, ascending.
typedef struct {
  uint32_t patterns[256];
  int count;
} side;

static side side_of(const qcodec_table *t, int negative) {
  side result;
  result.count = negative ? t->zero : t->distinct - 1 - t->zero;
  for (int i = 0; i < result.count; i++) {
    result.patterns[i] = pattern(t->thresholds[negative ? t->zero - 1 - i : t->zero + i]) & 0x7FFFFFFFu;
  }
  return result;
}

// The bits below the exponent that leave a bucket of this exponent one threshold at most.
static int bits_for(const side *s, uint32_t exponent, int most) {
  for (int bits = 0; bits <= most; bits++) {
    int fits = 1;
    for (int i = 1; i < s->count; i++) {
      uint32_t a = s->patterns[i - 1], b = s->patterns[i];
      if (b >> 23 == exponent && a >> (23 - bits) == b >> (23 - bits)) fits = 0;
    }
    if (fits) return bits;
  }
  return most + 1;
}

// Fills in a bucket of patterns from `start` to `end`: the thresholds before it, and its own as the kernel warps it.
static void fill_bucket(qcodec_table *t, const side *s, int place, uint32_t start, uint32_t end, uint32_t warp) {
  int before = 0;
  while (before < s->count && s->patterns[before] < start) before++;
  uint32_t warped = 0xFFFFFFFFu;
  if (before < s->count && s->patterns[before] <= end) {
    uint32_t threshold = s->patterns[before], rotation = warp & 31;
    warped = (threshold << rotation | threshold >> (32 - rotation) % 32) ^ warp;
  }
  t->base[place] = (uint8_t)before;
  t->first[place] = (uint8_t)(warped >> 16), t->second[place] = (uint8_t)(warped >> 8);
}

// Buckets of uneven width for the byte-plane search, the same on both sides of zero; none where they are too many.
static void build_planes(qcodec_table *t) {
  while (t->zero < t->distinct - 1 && t->thresholds[t->zero] < 0) t->zero++;
  int layout = is_mirrored(t) ? qcodec_planes_mirrored : t->is_signed ? qcodec_planes_signed : qcodec_planes_unsigned;
  const int width = layout == qcodec_planes_unsigned ? 9 : 8;
  const side above = side_of(t, 0), below = side_of(t, layout == qcodec_planes_signed);
  int bits_of[32], total = 0;
  for (int e = 0; e < 32; e++) {
    int a = bits_for(&above, (uint32_t)(96 + e), width);
    int b = layout == qcodec_planes_signed ? bits_for(&below, (uint32_t)(96 + e), width) : 0;
    bits_of[e] = a > b ? a : b;
    if (bits_of[e] > width) return;
    total += 1 << bits_of[e];
  }
  if (total > 1 << width) return;
  int next = 0;
  for (int bits = width; bits >= 0; bits--) {
    for (int e = 0; e < 32; e++) {
      if (bits_of[e] != bits) continue;
      uint32_t exponent = (uint32_t)(96 + e), rotation = (uint32_t)(bits + 9 - width);
      uint32_t field = (exponent << bits) & ((1u << width) - 1);
      uint32_t warp = (field ^ (uint32_t)next) << (32 - width) | rotation;
      t->warp[exponent & 31] = warp;
      for (int sub = 0; sub < 1 << bits; sub++, next++) {
        uint32_t start = exponent << 23 | (uint32_t)sub << (23 - bits), end = start + (1u << (23 - bits)) - 1;
        // Of nine bits the kernel has the upper eight as an index and the last as a choice of half.
        int place = layout == qcodec_planes_unsigned ? (next & 1) << 8 | next >> 1 : next;
        fill_bucket(t, &above, place, start, end, warp);
        if (layout == qcodec_planes_signed) fill_bucket(t, &below, 256 + place, start, end, warp);
      }
    }
  }
  t->layout = layout;
}

int qcodec_table_prepare(
  qcodec_table *t, const float *entries, const float *thresholds, int distinct, int bits, int is_signed
) {
  memset(t, 0, sizeof *t);
  t->bits = bits, t->is_signed = is_signed, t->distinct = distinct;
  memcpy(t->entries, entries, sizeof(float) << bits);
  for (int i = 0; i < 256; i++) t->thresholds[i] = i < distinct - 1 ? thresholds[i] : INFINITY;
  for (int p = 0; p < 4; p++) {
    for (int c = 0; c < 1 << bits; c++) t->planes[p][c] = (uint8_t)(pattern(entries[c]) >> (8 * p));
  }
  if (is_uniform(t)) {
    t->search = qcodec_search_uniform;
    return 1;
  }
  if (bits == 4) {
    t->search = qcodec_search_sixteen;
    return 1;
  }
  for (int i = 0; i < distinct - 1; i++) {
    // Magnitudes below 2^-31 share a bucket; zero as a threshold would divide it.
    if (fabsf(thresholds[i]) < 0x1p-31f) return 0;
  }
  if (!build_words(t)) return 0;
  t->search = qcodec_search_buckets;
  build_planes(t);
  return 1;
}
