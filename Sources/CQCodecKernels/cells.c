#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "CQCodecKernels.h"

// Whether a code other than zero's stands for values that are not of its sign, as the lowest positive entry of a map
// without zero does.
static int is_mixed(const qcodec_table *table) {
  for (int c = 0; c < table->distinct; c++) {
    float entry = table->entries[c];
    float low = c > 0 ? table->thresholds[c - 1] : table->is_signed ? -1 : 0;
    float high = c < table->distinct - 1 ? table->thresholds[c] : 1;
    // A value on a threshold has the lower code.
    if ((entry > 0 && low < 0) || (entry < 0 && high >= 0)) return 1;
  }
  return 0;
}

typedef struct {
  double radius;
  int code;
} ranked;

// By radius, codes in order among equals.
static int compare_ranked(const void *left, const void *right) {
  const ranked *a = left, *b = right;
  if (a->radius != b->radius) return a->radius < b->radius ? -1 : 1;
  return a->code - b->code;
}

void qcodec_cells_prepare(qcodec_cells *cells, const qcodec_table *table, const double *radii) {
  int count = 1 << table->bits;
  memset(cells, 0, sizeof *cells);
  ranked order[256];
  for (int c = 0; c < count; c++) order[c] = (ranked){radii[c], c};
  qsort(order, (size_t)count, sizeof *order, compare_ranked);
  for (int rank = 0; rank < count; rank++) {
    int c = order[rank].code;
    cells->rank[c] = (uint8_t)rank, cells->code[rank] = (uint8_t)c;
    cells->radii[rank] = radii[c];
    cells->nearly[c] = (float)radii[c];
  }
  cells->last = count - 1, cells->zero = -1, cells->least = INFINITY;
  for (int c = 0; c < table->distinct; c++) {
    float magnitude = fabsf(table->entries[c]);
    if (magnitude == 0) cells->zero = c;
    else cells->least = magnitude < cells->least ? magnitude : cells->least;
  }
  cells->mixed = is_mixed(table);
}
