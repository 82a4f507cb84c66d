#if defined(__x86_64__)

#include <immintrin.h>

#include "levels.h"

#pragma clang attribute push( \
  __attribute__((target( \
    "avx2,bmi,bmi2,avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vbmi,avx512vbmi2"))), \
  apply_to = function)
#define LEVEL_AVX512 1
#define KERNEL(name) name##_avx512
#include "body/all.h"
#pragma clang attribute pop

#endif
