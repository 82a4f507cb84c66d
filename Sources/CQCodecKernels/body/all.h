// Every kernel body for one level; the including file has set the target and KERNEL.

#include "vector.h"

#include "lookup.h"

#include "search.h"

#include "measure.h"

#include "encode.h"

#include "blocks.h"

#include "decode.h"

#include "extremes.h"

#include "scaled.h"

#include "log.h"

#include "convert.h"

#include "planes.h"

#include "pack.h"

#include "update.h"

#include "step.h"

#include "coded.h"

#include "optimizer.h"

const qcodec_kernels KERNEL(qcodec_kernels) = {
  KERNEL(encode_blocks), KERNEL(encode_update), KERNEL(inverses), KERNEL(encode_scaled), KERNEL(decode_blocks),
  KERNEL(decode_scaled), KERNEL(encode_log), KERNEL(decode_log), KERNEL(encode_pair), KERNEL(decode_pair),
  KERNEL(update_error), KERNEL(extremes), KERNEL(scan), KERNEL(divisors), KERNEL(multiply), KERNEL(widen),
  KERNEL(narrow), KERNEL(split_planes), KERNEL(join_planes), KERNEL(pack_codes), KERNEL(unpack_codes),
  KERNEL(optimizer_step), KERNEL(squares), KERNEL(lamb_squares), KERNEL(factor_squares),
};
