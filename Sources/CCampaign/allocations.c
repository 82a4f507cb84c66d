// Counts allocations by standing in for malloc and its relatives in the whole process, as glibc allows programs to.

#include "campaign.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif

#if defined(__GLIBC__) && !defined(SANITIZED)

#include <malloc.h>

// glibc's own, under the names that it keeps for such programs.
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

static atomic_long allocated;
static atomic_long peak;
static atomic_long start;

static void add(long bytes) {
  long now = atomic_fetch_add_explicit(&allocated, bytes, memory_order_relaxed) + bytes;
  long before = atomic_load_explicit(&peak, memory_order_relaxed);
  while (now > before
         && !atomic_compare_exchange_weak_explicit(&peak, &before, now, memory_order_relaxed, memory_order_relaxed)) {
  }
}

static void *counted(void *block) {
  if (block != NULL) add((long)malloc_usable_size(block));
  return block;
}

void *malloc(size_t size) { return counted(__libc_malloc(size)); }

void *calloc(size_t count, size_t size) { return counted(__libc_calloc(count, size)); }

void *realloc(void *block, size_t size) {
  long before = block == NULL ? 0 : (long)malloc_usable_size(block);
  void *result = __libc_realloc(block, size);
  // While it is copied both are there.
  if (result != NULL) counted(result);
  if (result != NULL || size == 0) add(-before);
  return result;
}

void free(void *block) {
  if (block == NULL) return;
  add(-(long)malloc_usable_size(block));
  __libc_free(block);
}

void *memalign(size_t alignment, size_t size) { return counted(__libc_memalign(alignment, size)); }

void *aligned_alloc(size_t alignment, size_t size) { return counted(__libc_memalign(alignment, size)); }

int posix_memalign(void **place, size_t alignment, size_t size) {
  if (alignment < sizeof(void *) || (alignment & (alignment - 1)) != 0) return EINVAL;
  void *block = counted(__libc_memalign(alignment, size));
  if (block == NULL) return ENOMEM;
  *place = block;
  return 0;
}

bool campaign_counts_allocations(void) { return true; }

void campaign_reset_peak(void) {
  long now = atomic_load(&allocated);
  atomic_store(&start, now);
  atomic_store(&peak, now);
}

size_t campaign_peak(void) {
  long beyond = atomic_load(&peak) - atomic_load(&start);
  return beyond > 0 ? (size_t)beyond : 0;
}

#else

bool campaign_counts_allocations(void) { return false; }

void campaign_reset_peak(void) {}

size_t campaign_peak(void) { return 0; }

#endif
