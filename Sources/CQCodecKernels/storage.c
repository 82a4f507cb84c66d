// glibc declares these calls for GNU sources alone, which is why Swift does not see them.
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>

#include "CQCodecKernels.h"

void qcodec_reserve(int descriptor, uint64_t offset, uint64_t count) {
#if defined(__linux__)
  (void)fallocate(descriptor, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)count);
#else
  (void)descriptor, (void)offset, (void)count;
#endif
}

int qcodec_can_allocate(size_t size) {
  // What malloc would do for so much, which a compiler may leave out where nothing uses the memory.
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
  if (memory == MAP_FAILED) return 0;
  (void)munmap(memory, size);
  return 1;
}

void qcodec_begin_writeback(int descriptor, uint64_t offset, uint64_t count) {
#if defined(__linux__)
  (void)sync_file_range(descriptor, (off_t)offset, (off_t)count, SYNC_FILE_RANGE_WRITE);
#else
  (void)descriptor, (void)offset, (void)count;
#endif
}
