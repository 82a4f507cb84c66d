// The header is all there is to this target: its functions are Swift, in QCodecABI. This checks that it is plain C.
#include "qcodec.h"

_Static_assert(sizeof(qcodec_read_request) == 3 * sizeof(void *), "requests are laid out without gaps");
