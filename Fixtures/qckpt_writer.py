"""An encoder and writer of qcodec checkpoints, apart from the Swift one: from the text of Spec/ alone.

It makes the fixtures. Slow and plain; NumPy float32 and float64 operations are the spec's, one for one.
"""

import json
import pathlib
import struct
import sys

import lz4.block
import numpy as np
import xxhash
import zstandard

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "Spec" / "Reference"))
import qckpt_reader as spec  # noqa: E402  (tables, layouts and bounds only)

CODE = {name: code for code, (name, _) in spec.DTYPES.items()}
BITS = {name: bits for name, bits in spec.DTYPES.values()}
MASK = (1 << 64) - 1


def scheme(map_, bits, signed, scaling="block", block=None, rounding="nearest", seed=0, rule=None, table=None,
           imported=False):
    """A scheme; block and rule default to the map's own."""
    default = "signed-extreme" if map_ in spec.SIGNED_EXTREME and signed and scaling != "rank1" else "absmax"
    return dict(map=map_, bits=bits, signed=signed, scaling=scaling,
                block=(block or (256 if bits == 8 else 128)) if scaling == "block" else None, rounding=rounding, seed=seed,
                rule=rule or default, table=table, imported=imported)


class Record(spec.Tensor):
    """A tensor to be written; the fields that the reader's functions expect."""

    def __init__(self, name, dtype, shape, data, how=None, role=0, reason=0):
        self.name, self.dtype, self.shape, self.data, self.how = name, dtype, tuple(shape), data, how
        self.role, self.reason, self.quantized = role, reason, how is not None
        self.elements = int(np.prod(self.shape, dtype=object))
        self.source_bytes, self.bit_width = len(data), BITS[dtype]
        assert self.elements * self.bit_width == self.source_bytes * 8, name
        self.max_abs = self.max_scaled = self.squared_error = self.squared_source = self.guaranteed = 0.0
        self.zeros = self.signs = 0
        if how:
            self.map, self.bits, self.signed = how["map"], how["bits"], how["signed"]
            self.scaling, self.block, self.rounding = how["scaling"], how["block"], how["rounding"]
            self.rule, self.seed = how["rule"], how["seed"]
            named = spec.NAMED.get((self.map, self.bits, self.signed))
            self.table = np.asarray(how["table"], np.float32) if self.map == "custom" else named


# Stream.md: scales


def extreme(values, rule):
    """The scale of the elements that share one."""
    if not len(values) or not np.any(values):
        return np.float32(0)
    first = values[int(np.argmax(np.abs(values)))]
    return first if rule == "signed-extreme" else np.abs(first)


def scale_vector(t, x):
    grid = x.reshape(t.shape)
    if t.elements == 0 or t.scaling == "block":
        return np.zeros(0, np.float32)
    if t.scaling == "tensor":
        groups = [x]
    elif t.scaling == "row":
        groups = grid.reshape(t.shape[0], -1)
    elif t.scaling == "column":
        groups = grid.reshape(-1, t.shape[-1]).T
    else:
        axes = [axis for axis, length in enumerate(t.shape) if length != 1]
        groups = [np.take(grid, i, axis).ravel() for axis in axes for i in range(t.shape[axis])]
    return np.array([extreme(group, t.rule) for group in groups], np.float32)


# Stream.md: codes


def mix(x):
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def random_number(seed, name, index):
    """The 24-bit number of an element."""
    counter = mix((spec.xxh3(name.encode()) + index * 0x9E3779B97F4A7C15) & MASK)
    return mix(seed ^ counter) >> 40


def choose(t, x, scales, first):
    with np.errstate(all="ignore"):
        y = np.where(scales == 0, np.float32(0), x / scales).astype(np.float32)
    table, limits, count = t.table, spec.thresholds(t.table), spec.distinct(t.table)
    codes = np.searchsorted(limits, y, side="left")
    if t.rounding == "stochastic":
        for i, value in enumerate(y):
            if value == table[codes[i]]:
                continue
            low = codes[i] if value > table[codes[i]] else codes[i] - 1
            if low < 0 or low + 1 >= count:
                continue
            below, above = float(table[low]), float(table[low + 1])
            place = (float(value) - below) / (above - below)
            codes[i] = low + (random_number(t.seed, t.name, first + i) * 2.0**-24 < place)
    if t.rounding == "nearest-keep-nonzero" and np.any(table == 0):
        zero = int(np.argmax(table == 0))
        moved = (codes == zero) & (x != 0)
        negative = (x < 0) != (scales < 0)
        codes = np.where(moved, np.where(negative & t.signed, zero - 1, zero + 1), codes)
    if t.map == "linear-nozero" and t.signed:
        positive = int(np.argmax(table > 0))
        near = (codes == positive) | (codes == positive - 1)
        codes = np.where(near, np.where(x < 0, positive - 1, positive), codes)
    return codes.astype(np.uint8)


def pack(codes, bits):
    if bits == 8:
        return codes.tobytes()
    even = np.concatenate([codes, np.zeros(len(codes) % 2, np.uint8)])
    return (even[0::2] << 4 | even[1::2]).tobytes()


# Stream.md: statistics


def tree(terms):
    """Sixteen partial sums, each in order, added as a balanced tree of neighbours."""
    padded = np.concatenate([terms, np.zeros(-len(terms) % 16)]).reshape(-1, 16)
    sums = np.cumsum(padded, axis=0)[-1] if len(padded) else np.zeros(16)
    while len(sums) > 1:
        sums = sums[0::2] + sums[1::2]
    return float(sums[0])


def measure(t, x, payload, first):
    """Adds what encoding did to a chunk."""
    decoded, codes, scales = spec.decode_stream(chunk_view(t, len(x), first), payload)
    value = spec.widen(spec.narrow(decoded, t.dtype), t.dtype).astype(np.float64)
    wide = x.astype(np.float64)
    error, magnitude = wide - value, np.abs(scales.astype(np.float64))
    t.squared_error += tree(error * error)
    t.squared_source += tree(wide * wide)
    t.max_abs = max(t.max_abs, float(np.max(np.abs(error), initial=0)))
    scaled = magnitude != 0
    t.max_scaled = max(t.max_scaled, float(np.max(np.abs(error[scaled]) / magnitude[scaled], initial=0)))
    t.zeros += int(np.sum((wide != 0) & (value == 0)))
    t.signs += int(np.sum((wide != 0) & (value != 0) & ((wide < 0) != (value < 0))))
    if t.rounding != "unknown":
        t.guaranteed = max(t.guaranteed, float(np.max(spec.element_bounds(t, codes, scales), initial=0)))


class chunk_view(spec.Tensor):
    """A chunk as if it were a tensor, with its elements' scales at hand."""

    def __init__(self, t, count, first):
        self.__dict__.update(t.__dict__)
        self.elements = count
        if t.scaling != "block":
            self.scales_of_elements = spec.element_scales(t, t.vector, first, count)
            self.scaling, self.shape = "column", (1, count)


def encode(t):
    """[(kind, payload)] of a tensor, its statistics filled in."""
    if not t.quantized:
        size = spec.LOSSLESS_CHUNK
        return [(spec.LOSSLESS, t.data[i:i + size]) for i in range(0, len(t.data), size)]
    x = spec.widen(t.data, t.dtype)
    t.vector = scale_vector(t, x)
    assert spec.resolved_scaling(t) == (t.scaling, t.block), t.name
    vector = t.vector.astype("<f4").tobytes()
    chunks = [(spec.SCALES, vector[i:i + (1 << 20)]) for i in range(0, len(vector), 1 << 20)]
    for start in range(0, t.elements, spec.CHUNK_ELEMENTS):
        part = x[start:start + spec.CHUNK_ELEMENTS]
        if t.scaling == "block":
            own = np.array([extreme(part[i:i + t.block], t.rule) for i in range(0, len(part), t.block)], np.float32)
            scales, prefix = np.repeat(own, t.block)[:len(part)], own.astype("<f4").tobytes()
            payload = prefix + pack(choose(t, part, scales, start), t.bits)
            measured = [payload]
        else:
            scales = spec.element_scales(t, t.vector, start, len(part))
            payload = pack(choose(t, part, scales, start), t.bits)
            measured = [scales.astype("<f4").tobytes(), payload]
        measure(t, part, measured, start)
        chunks.append((spec.CODES, payload))
    if t.rounding == "unknown":
        t.guaranteed = float("nan")
    return chunks


# Checkpoint.md


def squeeze(payload, kind, planes, compression):
    """(codec, stored bytes): a gain under 1/64 is not taken."""
    if compression == "none" or not payload:
        return 0, payload
    source = payload
    if kind == spec.LOSSLESS and planes > 1:
        source = np.frombuffer(payload, np.uint8).reshape(-1, planes).T.tobytes()
    if compression == "lz4":
        codec, stored = 1, lz4.block.compress(source, store_size=False)
    else:
        codec, stored = 2, zstandard.ZstdCompressor(level=1).compress(source)
    gain = len(payload) - len(stored)
    return (codec, stored) if gain > 0 and 64 * gain >= len(payload) else (0, payload)


def pad(data):
    return data + bytes(-len(data) % 64)


def header(required=0, version=(0, 1), length=64, reserved=bytes(24), optional=0):
    body = spec.MAGIC + struct.pack("<HHIQQ", *version, length, required, optional) + reserved
    return body + struct.pack("<Q", spec.xxh3(body))


def trailer(fields):
    body = struct.pack("<10Q", *fields) + spec.END_MAGIC
    return body + struct.pack("<Q", spec.xxh3(body))


def scheme_bytes(t):
    if not t.quantized:
        return bytes(8)
    code = lambda names, name: next(k for k, v in names.items() if v == name)  # noqa: E731
    return bytes([
        code(spec.MAPS, t.map), t.bits, t.signed, code(spec.SCALINGS, t.scaling),
        t.block.bit_length() - 1 if t.block else 0, 0, code(spec.ROUNDINGS, t.rounding), code(spec.RULES, t.rule)])


def table_bytes(t):
    entries = t.table.astype("<f4").tobytes()
    custom = t.map == "custom"
    start = bytes([scheme_bytes(t)[0], t.bits, t.signed, bool(t.how["imported"])])
    return start + struct.pack("<IQ", len(t.table) if custom else 0, spec.xxh3(entries)) + (entries if custom else b"")


def tensor_record(t, name_offset, dims_index, table):
    body = struct.pack("<QI4B3Q", name_offset, len(t.name.encode()), CODE[t.dtype], t.role, t.quantized, len(t.shape),
                       dims_index, t.first, t.count)
    body += scheme_bytes(t) + struct.pack("<IBBHQQ", table, t.reason, 1, 0, spec.NONE64, t.seed if t.quantized else 0)
    relative = float("nan") if t.quantized else 0.0
    return body + struct.pack("<4d2Q2d", t.max_abs, t.max_scaled, t.squared_error, t.squared_source, t.zeros, t.signs,
                              t.guaranteed, relative)


def directory(tensors, chunks):
    order = sorted(tensors, key=lambda t: t.name.encode())
    tables, records, dims, names = {}, b"", b"", b""
    section = b""
    for t in order:
        offset = spec.NONE32
        if t.quantized:
            table = table_bytes(t)
            if table not in tables:
                tables[table] = len(section)
                section += table
            offset = tables[table]
        records += tensor_record(t, len(names), len(dims) // 8, offset)
        dims += struct.pack(f"<{len(t.shape)}Q", *t.shape)
        names += t.name.encode()
    listed = b"".join(struct.pack("<QIIQBBHI", *chunk[:6], 0, order.index(chunk[6])) for chunk in chunks)
    sizes = (len(order), len(chunks), len(dims) // 8, len(section), len(names), 0, 0, 0)
    return struct.pack("<8Q", *sizes) + records + dims + listed + section + names


def lead(t, end, frame):
    """The bytes before a chunk: the tensor's preamble before its first, the frame before each."""
    start = b""
    if frame[5] == 0:
        name = t.name.encode()
        start = struct.pack("<HBB", len(name) - 1, CODE[t.dtype], len(t.shape)) + scheme_bytes(t)
        start += struct.pack(f"<{len(t.shape)}Q", *t.shape)
        start += (t.table.astype("<f4").tobytes() if t.quantized and t.map == "custom" else b"") + name
        start = bytes(-end % 8) + struct.pack("<I", spec.xxh3(start) & spec.NONE32) + start
    return start + bytes(-(end + len(start) + 24) % 64) + struct.pack("<IBBHIIQ", *frame)


def build(tensors, metadata=None, compression="none", optional=0):
    """The bytes of a checkpoint whose tensors are written in the order given."""
    data, chunks, started = header(optional=optional), [], 0
    for t in tensors:
        t.first = len(chunks)
        for kind, payload in encode(t):
            codec, stored = squeeze(payload, kind, max(1, t.bit_width // 8), compression)
            number, digest = len(chunks) - t.first, spec.xxh3(stored)
            data += lead(t, len(data), (len(stored), codec, kind, 0, started, number, digest))
            chunks.append((len(data), len(stored), len(payload), digest, codec, kind, t))
            data += stored
        t.count = len(chunks) - t.first
        started += t.count > 0
    data = pad(data)
    text = b"" if metadata is None else json.dumps(
        metadata, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return finish(data, text, directory(tensors, chunks), len(tensors))


def finish(data, text, listing, count):
    """Adds metadata, directory and trailer to a padded header and chunks."""
    meta_offset = len(data)
    data = pad(data + text)
    dir_offset = len(data)
    data = pad(data + listing)
    header_hash = struct.unpack_from("<Q", data, 56)[0]
    return data + trailer((dir_offset, len(listing), spec.xxh3(listing), meta_offset, len(text), spec.xxh3(text),
                           header_hash, len(data) + 96, count, 0))
