// A header alone is no target.
#include "CLibFuzzer.h"
