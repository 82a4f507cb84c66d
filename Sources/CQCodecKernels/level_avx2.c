#if defined(__x86_64__)

#include <immintrin.h>

#include "levels.h"

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,popcnt,bmi,bmi2"))), apply_to = function)
#define LEVEL_AVX2 1
#define KERNEL(name) name##_avx2
#include "body/all.h"
#pragma clang attribute pop

#endif
