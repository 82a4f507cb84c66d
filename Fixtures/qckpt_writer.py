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
import steps  # noqa: E402

CODE = {name: code for code, (name, _) in spec.DTYPES.items()}
BITS = {name: bits for name, bits in spec.DTYPES.values()}
MASK = (1 << 64) - 1


def scheme(map_, bits, signed, scaling="block", block=None, rounding="nearest", seed=0, rule=None, table=None,
           imported=False, domain="value", escapes=None):
    """A scheme; block and rule default to the map's own. `escapes` lists runs, (first element, length, form), if any:
    bits of floats, or (bits, e) of multiples of 2^e."""
    rule = rule or ("signed-extreme" if map_ in spec.SIGNED_EXTREME and signed and scaling != "rank1" else "absmax")
    default = (256 if bits == 8 else 128) * (2 if map_ == "log" else 1)
    return dict(map=map_, bits=bits, signed=signed, scaling=scaling,
                block=(block or default) if scaling == "block" else None, rounding=rounding, seed=seed, rule=rule,
                table=table, imported=imported, domain=domain, escapes=escapes)


class Record(spec.Tensor):
    """A tensor to be written; the fields that the reader's functions expect.

    `second` is the second moment of a tensor of the update domain, `epsilon` that of the update that is measured.
    """

    def __init__(self, name, dtype, shape, data, how=None, role=0, reason=0, second=None, epsilon=None):
        self.name, self.dtype, self.shape, self.data, self.how = name, dtype, tuple(shape), data, how
        self.role, self.reason, self.quantized = role, reason, how is not None
        self.second, self.epsilon, self.update, self.stride = second, epsilon, None, 1
        self.elements = int(np.prod(self.shape, dtype=object))
        self.source_bytes, self.bit_width = len(data), BITS[dtype]
        assert self.elements * self.bit_width == self.source_bytes * 8, name
        self.max_abs = self.max_scaled = self.squared_error = self.squared_source = self.guaranteed = 0.0
        self.zeros = self.signs = 0
        self.relative = 0.0
        # ("absolute", σ), ("rms", f) or ("octaves", o) as Stream.md, *Steps*, has them.
        self.step = None
        if how:
            self.map, self.bits, self.signed = how["map"], how["bits"], how["signed"]
            self.scaling, self.block, self.rounding = how["scaling"], how["block"], how["rounding"]
            self.rule, self.seed, self.domain, self.imported = how["rule"], how["seed"], how["domain"], how["imported"]
            self.escapes, self.runs = how["escapes"] is not None, how["escapes"] or []
            named = spec.NAMED.get((self.map, self.bits, self.signed))
            self.table = np.asarray(how["table"], np.float32) if self.map == "custom" else named
            self.relative = 0.0 if self.has_relative else float("nan")
        assert (second is None) == (self.domain == "value"), name


# Stream.md: scales


def extreme(t, values):
    """The scale of the elements that share one."""
    if not len(values) or not np.any(values):
        return np.float32(0)
    first = values[int(np.argmax(np.abs(values)))]
    scale = first if t.rule == "signed-extreme" else np.abs(first)
    return rounded(scale) if t.domain == "update" else scale


def rounded(scale):
    """The nearest float32 whose low eight bits are zero, ties to even."""
    bits = int(np.float32(scale).view(np.uint32))
    magnitude = bits & 0x7FFFFFFF
    magnitude = (magnitude + 0x7F + (magnitude >> 8 & 1)) & ~0xFF
    return np.uint32(magnitude and bits & 0x80000000 | magnitude).view(np.float32)


def scale_vector(t, x):
    """The scale vector of a tensor whose elements, or quotients, are x."""
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
    return np.array([extreme(t, group) for group in groups], np.float32)


def ends(x):
    """lo and hi of a block of the log map."""
    patterns = x.view(np.uint32) & 0x7FFFFFFF
    present = patterns[patterns > 0]
    least, greatest = (int(present.min()), int(present.max())) if len(present) else (0, 0)
    flag = 0x80000000 if len(present) < len(x) else 0
    return np.array([least | flag, greatest], np.uint32).view(np.float32)


# Stream.md: codes


def mix(x):
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def random_number(seed, name, index):
    """The 24-bit number of an element."""
    counter = mix((spec.xxh3(name.encode()) + index * 0x9E3779B97F4A7C15) & MASK)
    return mix(seed ^ counter) >> 40


def choose(t, x, scales, first, divided_by=None):
    operand = x if divided_by is None else x / divided_by
    with np.errstate(all="ignore"):
        y = np.where(scales == 0, np.float32(0), operand / scales).astype(np.float32)
    if divided_by is not None:
        y = np.clip(y, np.float32(-1), np.float32(1))
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
        moved = (codes == zero) & (x != 0) & (scales != 0)
        negative = (x < 0) != (scales < 0)
        codes = np.where(moved, np.where(negative & t.signed, zero - 1, zero + 1), codes)
    if t.map == "linear-nozero" and t.signed:
        positive = int(np.argmax(table > 0))
        near = (codes == positive) | (codes == positive - 1)
        codes = np.where(near, np.where((x < 0) & (scales != 0), positive - 1, positive), codes)
    return codes.astype(np.uint8)


def choose_log(t, x, low, high, first):
    """Codes of elements under the ends of the block of each."""
    block = spec.Ends(low, high, t.bits)
    patterns = x.view(np.uint32).astype(np.int64) & 0x7FFFFFFF
    steps = (1 << t.bits) - 1 - block.zeros
    with np.errstate(all="ignore"):
        factor = np.where(block.span == 0, 0, steps / block.span)
    k = np.where(patterns == 0, 0, np.rint((patterns - block.base) * factor)).astype(np.int64)
    if t.rounding == "stochastic":
        for i in np.flatnonzero(patterns):
            own, at = patterns[i] - block.base[i], lambda n, i=i: np.rint(n * block.step[i])  # noqa: E731
            if at(k[i]) == own:
                continue
            lower = k[i] - (at(k[i]) > own)
            place = (own - at(lower)) / (at(lower + 1) - at(lower))
            k[i] = lower + (random_number(t.seed, t.name, first + int(i)) * 2.0**-24 < place)
    return np.where(patterns == 0, 0, k + block.zeros).astype(np.uint8)


def pack(codes, bits):
    """A string of bits, the first code first and the most significant bit of each first; zeros behind the last."""
    return np.packbits(np.unpackbits(codes[:, None], axis=1)[:, 8 - bits:].ravel()).tobytes()


# Stream.md: escapes


def form_field(form):
    """The upper 14 bits of a run's second word."""
    return form if isinstance(form, int) else form[0] | form[1] + 150 << 6


def section(t, x, first):
    """The escapes of a chunk of the elements x, whose runs are given for the tensor."""
    runs = [(begin - first, length, form) for begin, length, form in t.runs if first <= begin < first + len(x)]
    head, values = struct.pack("<I", len(runs)), b""
    for begin, length, form in runs:
        head += struct.pack("<2I", begin, length - 1 | form_field(form) << 18)
        stored = [stored_value(t, value, form) for value in x[begin:begin + length]]
        values += b"".join(bytes(value[place] for value in stored) for place in range(len(stored[0])))
    return head + values


def stored_value(t, value, form):
    """The bytes of an escape, the lowest first."""
    if not isinstance(form, int):
        bits, exponent = form
        multiple = int(np.rint(np.float64(value) * 2.0**-exponent))
        assert abs(multiple) < 1 << bits - 1, (t.name, value)
        return (multiple & (1 << bits) - 1).to_bytes(bits // 8, "little")
    if t.dtype != "F32":
        return spec.narrow(np.array([value], np.float32), t.dtype)
    dropped, pattern = 32 - form, int(np.float32(value).view(np.uint32))
    if dropped:
        pattern = pattern + (1 << dropped - 1) - 1 + (pattern >> dropped & 1) >> dropped << dropped
    return struct.pack("<I", pattern)[4 - -(-form // 8):]


# Stream.md: statistics


def tree(terms):
    """Sixteen partial sums, each in order, added as a balanced tree of neighbours."""
    padded = np.concatenate([terms, np.zeros(-len(terms) % 16)]).reshape(-1, 16)
    sums = np.cumsum(padded, axis=0)[-1] if len(padded) else np.zeros(16)
    while len(sums) > 1:
        sums = sums[0::2] + sums[1::2]
    return float(sums[0])


def measure(t, x, payload, first, divided_by=None):
    """Adds what encoding did to a chunk."""
    view = chunk_view(t, len(x), first)
    decoded, codes, scales = spec.decode_stream(view, payload, divided_by)
    escapes = spec.Escapes(t, payload[-1][spec.code_bytes(view, len(x)):], len(x)) if t.escapes else None
    value = spec.widen(spec.narrow(decoded, t.dtype), t.dtype).astype(np.float64)
    assert divided_by is None or np.all(np.isfinite(value)), t.name
    wide = x.astype(np.float64)
    error = wide - value
    t.squared_error += tree(error * error)
    t.squared_source += tree(wide * wide)
    t.max_abs = max(t.max_abs, float(np.max(np.abs(error), initial=0)))
    t.zeros += int(np.sum((wide != 0) & (value == 0)))
    t.signs += int(np.sum((wide != 0) & (value != 0) & ((wide < 0) != (value < 0))))
    if t.map != "log":
        if divided_by is not None:
            quotients = spec.decode_stream(view, payload, laid=False)[0].astype(np.float64)
            error = (x / divided_by).astype(np.float64) - quotients
        magnitude = np.abs(scales.astype(np.float64))
        scaled = magnitude != 0
        if escapes is not None:
            scaled[escapes.index] = False
        t.max_scaled = max(t.max_scaled, float(np.max(np.abs(error[scaled]) / magnitude[scaled], initial=0)))
    if t.rounding != "unknown":
        absolute, relative = spec.bounds(t, codes, scales, divided_by)
        if escapes is not None:
            absolute, relative = spec.with_escapes(t, absolute, relative, divided_by, [escapes])
        t.guaranteed = max(t.guaranteed, float(np.max(absolute, initial=0)))
        if relative is not None:
            t.relative = max(t.relative, float(np.max(relative, initial=0)))


class Update:
    """What coding a pair did to the update m / (√v + ε)."""

    def __init__(self, epsilon):
        self.epsilon, self.squared_error, self.squared_update, self.max_abs = epsilon, 0.0, 0.0, 0.0
        self.zeroed = self.signs = 0

    def add(self, m, v, decoded_m, decoded_v):
        """A chunk, all in float64."""
        with np.errstate(all="ignore"):
            u = np.where((m == 0) & (v == 0), 0, m / (np.sqrt(v) + self.epsilon))
            decoded = np.where((decoded_m == 0) & (decoded_v == 0), 0, decoded_m / (np.sqrt(decoded_v) + self.epsilon))
            error = np.abs(u - decoded)
        self.squared_error += tree(error * error)
        self.squared_update += tree(u * u)
        self.max_abs = max(self.max_abs, float(np.max(error, initial=0)))
        self.zeroed += int(np.sum((v != 0) & (decoded_v == 0)))
        self.signs += int(np.sum((m != 0) & (decoded_m != 0) & ((m < 0) != (decoded_m < 0))))


class chunk_view(spec.Tensor):
    """A chunk as if it were a tensor, with its elements' scales at hand."""

    def __init__(self, t, count, first):
        self.__dict__.update(t.__dict__)
        self.elements = count
        if t.scaling != "block":
            self.scaling, self.shape = "column", (1, count)


def step_of(t, x, operand, divided_by):
    """(the least scale, (the least pattern, the patterns of a step) or None) that a tensor's step makes."""
    if t.step is None:
        return np.float32(0), None
    kind, value = t.step
    if kind == "octaves":
        present = (x.view(np.uint32) & 0x7FFFFFFF)[x != 0]
        return np.float32(0), (int(present.min()), steps.log_step(value, t.bits, t.dtype)) if len(present) else None
    if kind == "rms":
        coded = steps.quotients(x, None if t.domain == "value" else spec.widen(t.second.data, t.second.dtype))
        for step in steps.former_steps(value, coded, t.bits, t.signed, tree):
            least = steps.least_scale(t, step, rounded)
            if keeps(t, x, operand, divided_by, least):
                return least, None
        value = steps.square_step(value, coded, tree)
    return steps.least_scale(t, value, rounded), None


def keeps(t, x, operand, divided_by, least):
    """Whether a tensor decodes to itself under a least scale."""
    payloads = [payload for _, _, payload in coded_chunks(t, x, operand, divided_by, least, None)]
    decoded = spec.decode_stream(t, [t.vector.astype("<f4").tobytes(), *payloads] if len(t.vector) else payloads, divided_by)[0]
    return spec.narrow(decoded, t.dtype) == bytes(t.data)


def coded_chunks(t, x, operand, divided_by, least, grid):
    """(first element, the scales of its elements before it, payload) of each chunk of codes; fills in the scale vector."""
    t.vector = scale_vector(t, operand)
    t.vector = np.maximum(t.vector, least) if least else t.vector
    for start in range(0, t.elements, spec.CHUNK_ELEMENTS):
        end = min(t.elements, start + spec.CHUNK_ELEMENTS)
        part, d = x[start:end], None if divided_by is None else divided_by[start:end]
        blocks = range(0, len(part), t.block) if t.scaling == "block" else []
        if t.map == "log":
            own = [ends(part[i:i + t.block]) for i in blocks]
            if grid:
                own = [steps.spaced(part[i:i + t.block], *grid, t.bits, t.dtype, canonical) for i, canonical in zip(blocks, own)]
            own = np.array(own)
            low, high = np.repeat(own, t.block, 0)[:len(part)].T.copy()
            codes, before = choose_log(t, part, low, high, start), []
        elif t.scaling == "block":
            own = np.array([extreme(t, operand[start + i:min(start + i + t.block, end)]) for i in blocks], np.float32)
            own = np.maximum(own, least) if least else own
            codes, before = choose(t, part, np.repeat(own, t.block)[:len(part)], start, d), []
        else:
            own, scales = np.zeros(0), spec.element_scales(t, t.vector, start, len(part))
            codes, before = choose(t, part, scales, start, d), [scales.astype("<f4").tobytes()]
        payload = own.astype("<f4").tobytes() + pack(codes, t.bits)
        yield start, before, payload + (section(t, part, start) if t.escapes else b"")


def encode(t, divided_by=None):
    """[(kind, payload)] of a tensor, its statistics filled in; `divided_by` holds the divisors of the update domain."""
    if not t.quantized:
        size = spec.LOSSLESS_CHUNK
        return [(spec.LOSSLESS, t.data[i:i + size]) for i in range(0, len(t.data), size)]
    x = spec.widen(t.data, t.dtype)
    operand = x if divided_by is None else x / divided_by
    assert np.all(np.isfinite(operand)), t.name
    coded = list(coded_chunks(t, x, operand, divided_by, *step_of(t, x, operand, divided_by)))
    assert spec.resolved_scaling(t) == (t.scaling, t.block), t.name
    vector = t.vector.astype("<f4").tobytes()
    chunks = [(spec.SCALES, vector[i:i + (1 << 20)]) for i in range(0, len(vector), 1 << 20)]
    for start, before, payload in coded:
        end = min(t.elements, start + spec.CHUNK_ELEMENTS)
        measure(t, x[start:end], [*before, payload], start, None if divided_by is None else divided_by[start:end])
        chunks.append((spec.CODES, payload))
    if t.rounding == "unknown":
        t.guaranteed = float("nan")
    return chunks


def encode_pair(first):
    """The chunks of a first moment and of its second; the update's error is measured if that is asked for."""
    second = first.second
    of_second = encode(second)
    decoded_v = spec.decode_stream(second, [payload for _, payload in of_second])[0]
    divisors = spec.divisors(decoded_v)
    of_first = encode(first, divisors)
    if first.epsilon is not None and first.elements:
        first.update = Update(first.epsilon)
        decoded_m = spec.decode_stream(first, [payload for _, payload in of_first], divisors)[0]
        sides = [spec.widen(t.data, t.dtype) for t in (first, second)]
        sides += [spec.widen(spec.narrow(x, t.dtype), t.dtype) for x, t in ((decoded_m, first), (decoded_v, second))]
        for start in range(0, first.elements, spec.CHUNK_ELEMENTS):
            first.update.add(*(x[start:start + spec.CHUNK_ELEMENTS].astype(np.float64) for x in sides))
    return of_first, of_second


def in_file_order(tensors, payloads=encode, pair=encode_pair):
    """(tensor, number of the chunk in it, kind, payload) of each chunk, in the order of the file.

    A pair stands where its first moment does: the scales of both, then their chunks in turn, the second moment's first.
    """
    seconds, total = [t.second for t in tensors if t.second is not None], 0
    for t in tensors:
        if any(t is second for second in seconds):
            continue
        if t.second is None:
            chunks = [(t, number, *chunk) for number, chunk in enumerate(payloads(t))]
        else:
            both = [[(owner, number, *chunk) for number, chunk in enumerate(part)]
                    for owner, part in zip((t, t.second), pair(t))]
            scales = [[chunk for chunk in part if chunk[2] == spec.SCALES] for part in both]
            first, second = (part[len(own):] for part, own in zip(both, scales))
            chunks = [*scales[0], *scales[1], *(chunk for turn in zip(second, first) for chunk in turn)]
            t.stride = t.second.stride = 2 if t.elements else 1
        for each in (t, t.second):
            if each is not None:
                own = [place for place, chunk in enumerate(chunks) if chunk[0] is each]
                each.first, each.count = total + min(own, default=0), len(own)
        yield from chunks
        total += len(chunks)


# Checkpoint.md


def squeeze(payload, kind, planes, compression):
    """(codec, stored bytes): a gain under 1/64 is not taken, and scale vectors stay plain."""
    if compression == "none" or not payload or kind == spec.SCALES:
        return 0, payload
    source = payload
    if kind == spec.LOSSLESS and planes > 1:
        source = np.frombuffer(payload, np.uint8).reshape(-1, planes).T.tobytes()
    if compression == "lz4":
        codec, stored = 1, lz4.block.compress(source, store_size=False)
    else:
        codec, stored = 2, zstandard.ZstdCompressor(level=1, write_checksum=True).compress(source)
    gain = len(payload) - len(stored)
    return (codec, stored) if gain > 0 and 64 * gain >= len(payload) else (0, payload)


def relate(payload, kind, t, compression, before):
    """(codec, stored bytes, what the checksum is of) of a chunk in whose place the base has a payload, or None."""
    planes = max(1, t.bit_width // 8)
    if before == payload:
        return spec.EQUAL, b"", payload
    codec, stored = squeeze(payload, kind, planes, compression)
    if before is not None:
        difference = spec.take_difference(payload, before, spec.numbers(kind, t.dtype))
        other, less = squeeze(difference, kind, planes, compression)
        if other and len(less) < len(stored):
            codec, stored = other + 3, less
    return codec, stored, stored


def payload_before(base, t, number):
    """The base's payload of a tensor's chunk; None where it has no such tensor."""
    other = None if base is None else next((other for other in base.tensors if other.raw_name == t.name.encode()), None)
    if other is None or (other.dtype, other.shape, other.scheme_bytes) != (t.dtype, t.shape, scheme_bytes(t)):
        return None
    if t.quantized and t.map == "custom" and other.table.tobytes() != t.table.astype("<f4").tobytes():
        return None
    return base.payload(other.places[number])


def pad(data):
    return data + bytes(-len(data) % 64)


def header(required=0, version=(1, 0), length=64, reserved=bytes(24), optional=0):
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
        code(spec.MAPS, t.map), t.bits, t.signed | t.escapes << 1, code(spec.SCALINGS, t.scaling),
        t.block.bit_length() - 1 if t.block else 0, code(spec.DOMAINS, t.domain), code(spec.ROUNDINGS, t.rounding),
        code(spec.RULES, t.rule)])


def table_bytes(t):
    """The entry of the map tables; nothing for a tensor that has no table."""
    if not t.quantized or t.map == "log":
        return b""
    entries = t.table.astype("<f4").tobytes()
    custom = t.map == "custom"
    start = bytes([scheme_bytes(t)[0], t.bits, t.signed, bool(t.how["imported"])])
    return start + struct.pack("<IQ", len(t.table) if custom else 0, spec.xxh3(entries)) + (entries if custom else b"")


def tensor_record(t, name_offset, dims_index, table, second=spec.NONE64):
    body = struct.pack("<QI4B3Q", name_offset, len(t.name.encode()), CODE[t.dtype], t.role, t.quantized, len(t.shape),
                       dims_index, t.first, t.count)
    body += scheme_bytes(t) + struct.pack("<IBBHQQ", table, t.reason, t.stride, 0, second, t.seed if t.quantized else 0)
    return body + struct.pack("<4d2Q2d", t.max_abs, t.max_scaled, t.squared_error, t.squared_source, t.zeros, t.signs,
                              t.guaranteed, t.relative)


def pair_record(first, second, update):
    return struct.pack("<2I4d2Q", first, second, update.epsilon, update.squared_error, update.squared_update,
                       update.max_abs, update.zeroed, update.signs)


def directory(tensors, chunks):
    order = sorted(tensors, key=lambda t: t.name.encode())
    place = {id(t): index for index, t in enumerate(order)}
    tables, records, dims, names = {}, b"", b"", b""
    section = b""
    for t in order:
        table, offset = table_bytes(t), spec.NONE32
        if table:
            if table not in tables:
                tables[table] = len(section)
                section += table
            offset = tables[table]
        second = spec.NONE64 if t.second is None else place[id(t.second)]
        records += tensor_record(t, len(names), len(dims) // 8, offset, second)
        dims += struct.pack(f"<{len(t.shape)}Q", *t.shape)
        names += t.name.encode()
    listed = b"".join(struct.pack("<QIIQBBHI", *chunk[:6], 0, place[id(chunk[6])]) for chunk in chunks)
    pairs = [pair_record(index, place[id(t.second)], t.update) for index, t in enumerate(order) if t.update]
    sizes = (len(order), len(chunks), len(dims) // 8, len(section), len(names), len(pairs), 0, 0)
    return struct.pack("<8Q", *sizes) + records + dims + listed + b"".join(pairs) + section + names


def preamble(t, name, second=None):
    """What stands before the first chunk of a tensor; `second` is the ordinal of its second moment."""
    start = struct.pack("<HBB", len(name) - 1, CODE[t.dtype], len(t.shape)) + scheme_bytes(t)
    start += struct.pack(f"<{len(t.shape)}Q", *t.shape) + (b"" if second is None else struct.pack("<Q", second))
    start += (t.table.astype("<f4").tobytes() if t.quantized and t.map == "custom" else b"") + name
    return struct.pack("<I", spec.xxh3(start) & spec.NONE32) + start


def lead(start, end, frame):
    """The bytes before a chunk: a preamble, which may be empty, and the frame."""
    start = bytes(-end % 8) + start if start else b""
    return start + bytes(-(end + len(start) + 24) % 64) + struct.pack("<IBBHIIQ", *frame)


def ordinals(chunks):
    """{id of a tensor: its place in the order of first chunks}."""
    found = {}
    for t, *_ in chunks:
        found.setdefault(id(t), len(found))
    return found


def build(tensors, metadata=None, compression="none", base=None, base_name=None, **head):
    """The bytes of a checkpoint whose tensors are written in the order given, under a header with what `head` gives; `base`
    is a checkpoint of the reference reader, or None."""
    if base is not None:
        head |= dict(required=spec.BASE_FILE, reserved=base.digest + bytes(8))
        metadata = {**(metadata or {}), "base": {"digest": base.digest.hex(), "name": base_name}}
    data, chunks, ordered = header(**head), [], list(in_file_order(tensors, encode))
    number_of = ordinals(ordered)
    for t, number, kind, payload in ordered:
        codec, stored, summed = relate(payload, kind, t, compression, payload_before(base, t, number))
        digest, start = spec.xxh3(summed), b""
        if number == 0:
            start = preamble(t, t.name.encode(), None if t.second is None else number_of[id(t.second)])
        data += lead(start, len(data), (len(stored), codec, kind, 0, number_of[id(t)], number, digest))
        chunks.append((len(data), len(stored), len(payload), digest, codec, kind, t))
        data += stored
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
