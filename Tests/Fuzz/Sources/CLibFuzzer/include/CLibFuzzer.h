// What libFuzzer calls, implemented in Swift, and what it offers: https://llvm.org/docs/LibFuzzer.html

#ifndef CLIBFUZZER_H
#define CLIBFUZZER_H

#include <stddef.h>
#include <stdint.h>

/// Called once, before anything else.
int LLVMFuzzerInitialize(int *argc, char ***argv);

/// Judges one input; 0 lets it into the corpus, -1 does not.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/// Changes an input in place to at most max_size bytes; returns its new size.
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

/// libFuzzer's own mutations, dictionary included.
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

#endif
