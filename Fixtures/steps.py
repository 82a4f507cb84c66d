"""Stream.md, *Steps*: what a second writer makes of the step of a tensor."""

import math

import numpy as np
import qckpt_reader as spec

GREATEST = {"F32": 0x7F7FFFFF, "BF16": 0x7F7F0000, "F16": 0x477FE000}


def floats(pattern):
    return np.array(pattern, np.uint32).view(np.float32)


def steps_to_one(bits, signed):
    """n, the steps of the linear map from zero to one."""
    return (1 << (bits - 1 if signed else bits)) - 1


def least_scale(t, step, rounded):
    """The least scale of a linear map; `rounded` is the rounding of scales of the update domain."""
    with np.errstate(over="ignore"):
        scale = np.float32(np.float64(steps_to_one(t.bits, t.signed)) * step)
    if t.domain == "update":
        return min(rounded(scale), floats(0x7F7FFF00))
    return min(scale, floats(GREATEST[t.dtype]))


def five_bits(value):
    """The nearest number of five significant bits, ties to even."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(float(np.rint(mantissa * 32)), exponent - 5)


def quotients(x, second):
    """u with a second moment as given, or the elements where there is none."""
    return x if second is None else x / np.where(second > 0, np.sqrt(np.maximum(second, 0)), np.float32(1))


def squares(x, tree):
    total = 0.0
    for start in range(0, len(x), spec.CHUNK_ELEMENTS):
        part = x[start:start + spec.CHUNK_ELEMENTS].astype(np.float64)
        total += tree(part * part)
    return total


def square_step(factor, x, tree):
    """The step of a factor of the root mean square."""
    count = int(np.count_nonzero(x))
    return five_bits(factor * math.sqrt(squares(x, tree) / count)) if count else 0.0


def former_steps(factor, x, bits, signed, tree):
    """The steps that are tried before it, the greatest first."""
    count = int(np.count_nonzero(x))
    if not count:
        return
    least = float(np.min(np.abs(x[x != 0])))
    spread = math.sqrt(len(x)) + factor / 2 * math.sqrt(count)
    lowest = max(factor * 0.875 * math.sqrt(squares(x, tree)) / spread, least / (2 * steps_to_one(bits, signed)))
    step = five_bits(least)
    while step >= lowest:
        yield step
        mantissa, exponent = math.frexp(step)
        step = math.ldexp(mantissa - (1 / 64 if mantissa == 0.5 else 1 / 32), exponent)


def log_step(octaves, bits, dtype):
    """w, the patterns of a step."""
    most = (GREATEST[dtype] - (1 << 23)) // ((1 << bits) - 1)
    return min(max(1, int(np.rint(octaves * 2.0**23))), most)


def grid_ends(least, greatest, mean, lowest, step, bits, dtype):
    """The patterns of lo and hi of a block on the grid; None where none holds it."""
    count = (1 << bits) - 2
    reach = count * step
    # Python's // rounds down.
    most = (min(least, GREATEST[dtype] - reach) - lowest) // step
    fewest = -((lowest - max(greatest - reach, min(lowest, 1 << 23))) // step)
    if fewest > most:
        return None
    wanted = (mean - lowest + step // 2) // step - count // 2
    low = lowest + min(max(wanted, fewest), most) * step
    return low | 0x80000000, low + reach


def spaced(x, lowest, step, bits, dtype, own):
    """lo and hi of a block with a step; `own` are those of the canonical encoder."""
    patterns = (x.view(np.uint32) & 0x7FFFFFFF).astype(np.int64)
    present = patterns[patterns > 0]
    if not len(present):
        return own
    found = grid_ends(int(present.min()), int(present.max()), int(present.sum()) // len(present), lowest, step, bits, dtype)
    return own if found is None else np.array(found, np.uint32).view(np.float32)
