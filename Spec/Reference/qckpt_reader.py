"""The reference reader of qcodec checkpoints, in the order of Spec/Checkpoint.md, Stream.md and ErrorBounds.md.

    python qckpt_reader.py FILE              prints a JSON summary; exit status 3 and "code: message" for what is invalid
    python qckpt_reader.py --salvage FILE    prints what is whole of a file without its end

A base is looked for where the metadata say.

Plain on purpose: it holds a file in memory, checks everything, and decodes a chunk at a time with NumPy float32. The rules
are those of the library, in the order in which they are checked there; nothing else is shared with it.
"""

import hashlib
import json
import pathlib
import re
import struct
import sys
import unicodedata

import lz4.block
import numpy as np
import xxhash
import zstandard

MAGIC = b"\x89QCK\r\n\x1a\n"
END_MAGIC = b"QCKPTEND"
CHUNK_ELEMENTS = CHUNK_SCALES = 262_144
LOSSLESS_CHUNK = 1 << 20
NONE64, NONE32 = (1 << 64) - 1, (1 << 32) - 1
DTYPES = {
    1: ("F32", 32), 2: ("F64", 64), 3: ("F16", 16), 4: ("BF16", 16), 5: ("I8", 8), 6: ("I16", 16), 7: ("I32", 32),
    8: ("I64", 64), 9: ("U8", 8), 10: ("U16", 16), 11: ("U32", 32), 12: ("U64", 64), 13: ("BOOL", 8), 14: ("F8_E4M3", 8),
    15: ("F8_E5M2", 8), 16: ("F8_E8M0", 8), 17: ("F8_E4M3FNUZ", 8), 18: ("F8_E5M2FNUZ", 8), 19: ("C64", 64),
    20: ("C128", 128), 21: ("F4", 4), 22: ("F6_E2M3", 6), 23: ("F6_E3M2", 6),
}
MAPS = {1: "dynamic", 2: "linear", 3: "linear-nozero", 4: "dynamic-nozero", 5: "normal", 6: "custom", 7: "log",
        8: "cubic"}
SCALINGS = {1: "tensor", 2: "block", 3: "row", 4: "column", 5: "rank1"}
DOMAINS = {0: "value", 1: "update"}
ROUNDINGS = {1: "nearest", 2: "nearest-keep-nonzero", 3: "stochastic", 4: "unknown"}
RULES = {1: "signed-extreme", 2: "absmax", 3: "unknown"}
WIDTHS = (2, 3, 4, 5, 6, 8)
# The named maps that hold +1 and, signed, not −1.
SIGNED_EXTREME = ("dynamic", "cubic")
CODES, SCALES, LOSSLESS = 0, 1, 2
# How stored bytes make a payload: beyond the lossless stage only in a file with a base.
EQUAL, DIFFERENCES = 3, (4, 5)
# Required features, and those of this version.
FEATURES = {0: "escapes", 1: "base-file", 2: "encryption"}
ESCAPES, BASE_FILE, MOST_BASES = 1 << 0, 1 << 1, 64
KNOWN_FEATURES = ESCAPES | BASE_FILE
PAIR = ("first", "second", "eps", "squared_error", "squared_update", "max_abs", "v_zeroed", "sign_changes")


class QckptError(Exception):
    """A defect: its code as the spec names it, and where."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code


def require(truth, code, message):
    if not truth:
        raise QckptError(code, message)


def xxh3(data):
    return xxhash.xxh3_64_intdigest(data)


def aligned(offset, to=64):
    return (offset + to - 1) & ~(to - 1)


# Maps.md


def named_tables():
    """{(map, bits, signed): float32 entries}, read from the tables of Maps.md."""
    text = (pathlib.Path(__file__).resolve().parents[1] / "Maps.md").read_text()
    pattern = r"### ([a-z-]+), (\d) bits, (signed|unsigned)\n.*?digest `([0-9a-f]{16})`.*?```\n(.*?)```"
    tables = {}
    for name, bits, sign, digest, words in re.findall(pattern, text, re.S):
        table = np.array([int(word, 16) for word in words.split()], np.uint32).view(np.float32)
        assert xxh3(table.astype("<f4").tobytes()) == int(digest, 16) and len(table) == 1 << int(bits)
        tables[name, int(bits), sign == "signed"] = table
    return tables


NAMED = named_tables()


def distinct(table):
    """How many entries there are before the padding."""
    for i in range(len(table) - 1):
        if table[i] == table[i + 1]:
            return i + 1
    return len(table)


def thresholds(table):
    wide = np.asarray(table, np.float64)[:distinct(table)]
    return ((wide[:-1] + wide[1:]) / 2).astype(np.float32)


def check_custom(table, signed, imported):
    require(not np.any(np.isinf(table)), "invalidMapTable", "an infinite entry")
    if imported:
        return
    low = -1 if signed else 0
    require(np.all((table >= low) & (table <= 1)), "invalidMapTable", "an entry lies outside the range")
    require(table[-1] == 1, "invalidMapTable", "the last entry is not +1")
    count, limits = distinct(table), thresholds(table)
    require(np.all(table[count:] == table[count - 1]), "invalidMapTable", "padding differs from its entry")
    require(np.all((table[:count - 1] < limits) & (limits < table[1:count])), "invalidMapTable",
            "a threshold is not between its entries")


# Checkpoint.md: header, trailer, directory


class Tensor:
    """A tensor record with its shape, scheme and chunks."""

    map = scaling = rounding = reference = None
    domain, imported, escapes = "value", False, False

    @property
    def is_referable(self):
        """Whether a first moment may be divided by the root of this tensor."""
        return self.quantized and self.domain == "value" and not self.signed and not self.imported

    @property
    def has_relative(self):
        return self.rounding != "unknown" and (self.map == "log" or self.domain == "update")


class Checkpoint:
    """A whole file, its header, trailer and directory checked.

    Its base is the checkpoint of `bases` with the right digest, or what lies where the metadata say, from `folder` on.
    """

    def __init__(self, data, bases=(), folder=None, depth=0):
        self.data = bytes(data)
        header_hash = self._header()
        self._trailer(header_hash)
        self._directory()
        self._references()
        self.leads = []
        self._chunk_table()
        self._check_pairs()
        self.digest = xxhash.xxh3_128_digest(self.data[-96:])
        self.base, self.base_defect = None, None
        if self.base_digest is not None:
            try:
                self.base = self._find_base(bases, folder, depth)
            except QckptError as defect:
                self.base_defect = defect

    def _header(self):
        data = self.data
        if not data.startswith(MAGIC):
            short = len(data) and MAGIC.startswith(data)
            raise QckptError("truncated" if short else "notACheckpoint", "no magic number")
        require(len(data) >= 64, "truncated", "the file ends within its header")
        major, minor, length, required, optional = struct.unpack_from("<HHIQQ", data, 8)
        (digest,) = struct.unpack_from("<Q", data, 56)
        require(digest == xxh3(data[:56]), "headerCorrupt", "wrong checksum")
        require(major == 1, "unsupportedVersion", f"version {major}.{minor}")
        require(length == 64, "headerCorrupt", f"header of {length} bytes")
        unknown = required & ~KNOWN_FEATURES
        features = [FEATURES.get(bit, f"bit {bit}") for bit in range(64) if unknown >> bit & 1]
        require(not features, "unsupportedFeature", ", ".join(features))
        self.base_digest = data[32:48] if required & BASE_FILE else None
        require(not any(data[32 if self.base_digest is None else 48:56]), "reservedBits", "reserved bytes of the header")
        self.version, self.features = (major, minor), required
        return digest

    def _trailer(self, header_hash):
        require(len(self.data) >= 160, "truncated", "the file ends before its trailer")
        start = len(self.data) - 96
        (self.dir_offset, self.dir_length, dir_hash, self.meta_offset, self.meta_length, meta_hash, recorded_header,
         file_length, self.tensor_count, reserved, magic, digest) = struct.unpack_from("<10Q8sQ", self.data, start)
        require(magic == END_MAGIC, "truncated", "no trailer")
        require(digest == xxh3(self.data[start:start + 88]), "trailerCorrupt", "wrong checksum")
        if file_length != len(self.data):
            raise QckptError("truncated" if file_length > len(self.data) else "trailerCorrupt", "another length")
        require(recorded_header == header_hash, "headerCorrupt", "header and trailer disagree")
        require(reserved == 0, "reservedBits", "reserved field of the trailer")
        require(self.meta_length <= 256 << 20, "limitExceeded", "metadata above 256 MiB")
        require(self.tensor_count <= 1 << 32, "limitExceeded", "more than 2^32 tensors")
        require(self.meta_offset % 64 == 0 and 64 <= self.meta_offset <= start, "trailerCorrupt", "place of metadata")
        require(aligned(self.meta_offset + self.meta_length) == self.dir_offset, "trailerCorrupt", "place of directory")
        require(aligned(self.dir_offset + self.dir_length) == start, "trailerCorrupt", "place of trailer")
        self.directory = self.data[self.dir_offset:self.dir_offset + self.dir_length]
        require(xxh3(self.directory) == dir_hash, "directoryCorrupt", "wrong checksum")
        self.meta_hash = meta_hash

    def _directory(self):
        data = self.directory
        require(len(data) >= 64, "invalidDirectory", "too short")
        tensors, chunks, dims, table_bytes, name_bytes, pairs, *reserved = struct.unpack_from("<8Q", data)
        require(tensors == self.tensor_count, "invalidDirectory", "another number of tensors")
        require(not any(reserved), "reservedBits", "reserved fields of the directory")
        require(64 + tensors * 136 + dims * 8 + chunks * 32 + pairs * 56 + table_bytes + name_bytes == len(data),
                "invalidDirectory", "sections do not fill the directory")
        at = 64 + tensors * 136
        self.dims = struct.unpack_from(f"<{dims}Q", data, at)
        self.chunks_at = at + dims * 8
        self.chunk_count = chunks
        pairs_at = self.chunks_at + chunks * 32
        tables_at = pairs_at + pairs * 56
        self.table_data = data[tables_at:tables_at + table_bytes]
        self.names = data[tables_at + table_bytes:]
        self.next_table, self.tables = 0, {}
        self.next_name = self.next_dim = 0
        self.tensors = [self._tensor(data[64 + i * 136:200 + i * 136]) for i in range(tensors)]
        require(self.next_name == name_bytes and self.next_dim == dims, "invalidDirectory", "names or dims left over")
        require(self.next_table == table_bytes, "invalidMapTable", "tables left over")
        self.chunks = [self._chunk(i) for i in range(chunks)]
        self.pairs = [self._pair(data[pairs_at + i * 56:pairs_at + i * 56 + 56]) for i in range(pairs)]
        for i, tensor in enumerate(self.tensors):
            try:
                tensor.name = tensor.raw_name.decode()
            except UnicodeDecodeError:
                raise QckptError("invalidName", "a name is not UTF-8") from None
            if i and self.tensors[i - 1].raw_name >= tensor.raw_name:
                same = self.tensors[i - 1].raw_name == tensor.raw_name
                raise QckptError("duplicateName" if same else "invalidDirectory", "names are not ascending")

    def _tensor(self, record):
        t = Tensor()
        (name_offset, name_length, dtype, role, encoding, ndim, dims_index, t.first, t.count, t.scheme_bytes, table, reason,
         t.stride, reserved, reference, t.seed) = struct.unpack_from("<QI4BQQQ8sIBBHQQ", record)
        (t.max_abs, t.max_scaled, t.squared_error, t.squared_source, t.zeros, t.signs, t.guaranteed,
         t.guaranteed_rel) = struct.unpack_from("<4d2Q2d", record, 72)
        require(dtype in DTYPES, "invalidDirectory", f"dtype {dtype}")
        require(role <= 5 and reason <= 8, "invalidDirectory", "role or reason")
        require(1 <= name_length <= 65536, "invalidName", f"a name of {name_length} bytes")
        require(name_offset == self.next_name and name_length <= len(self.names) - name_offset, "invalidDirectory",
                "names are not end to end")
        t.raw_name = self.names[name_offset:name_offset + name_length]
        self.next_name += name_length
        require(ndim <= 32, "invalidShape", f"{ndim} dims")
        require(dims_index == self.next_dim and ndim <= len(self.dims) - dims_index, "invalidDirectory",
                "dims are not end to end")
        t.shape = self.dims[dims_index:dims_index + ndim]
        self.next_dim += ndim
        require(t.first + t.count <= self.chunk_count, "invalidChunkTable", "chunks beyond the table")
        t.dtype_code, (t.dtype, t.bit_width) = dtype, DTYPES[dtype]
        t.role, t.reason, t.quantized = role, reason, encoding == 1
        measure_shape(t)
        require(reserved == 0, "reservedBits", "reserved fields of a tensor")
        require(encoding <= 1, "invalidScheme", f"encoding {encoding}")
        if t.quantized:
            self._scheme(t, table)
        else:
            require(not any(t.scheme_bytes) and table == NONE32 and reason <= 4, "invalidScheme",
                    "a lossless tensor with a scheme")
        t.reference = None if reference == NONE64 else reference
        require((t.domain == "update") == (reference != NONE64), "invalidReference", "a reference, or none")
        require(reference == NONE64 or reference < self.tensor_count, "invalidReference", "a reference to no tensor")
        if t.quantized:
            check_errors(t)
        else:
            require(not any(record[64:136]), "invalidScheme", "a lossless tensor with errors")
        return t

    def _scheme(self, t, table):
        read_scheme(t, self.features)
        if t.map == "log":
            require(table == NONE32, "invalidScheme", "the log map has no table")
            t.table = None
        else:
            t.table, t.imported = self._table(table, *t.scheme_bytes[:2], int(t.signed))
        require(not t.imported or t.rounding == "unknown", "invalidScheme", "an import with a known rounding")
        require(t.dtype in ("F32", "F16", "BF16"), "invalidScheme", f"quantized {t.dtype}")
        require(t.reason == 0 or (t.reason >= 5 and t.domain == "value"), "invalidScheme", "a reason")

    def _table(self, offset, map_, bits, signed):
        if offset in self.tables:
            known, entries, imported = self.tables[offset]
            require(known == (map_, bits, signed), "invalidMapTable", "a table of another map")
            return entries, imported
        data = self.table_data[offset:]
        require(offset == self.next_table and len(data) >= 16, "invalidMapTable", "no table begins there")
        own_map, own_bits, own_signed, flags, count, digest = struct.unpack_from("<4BIQ", data)
        require((own_map, own_bits, own_signed) == (map_, bits, signed), "invalidMapTable", "a table of another map")
        require(flags <= 1, "reservedBits", "a reserved flag of a table")
        custom = MAPS[map_] == "custom"
        require(count == (1 << bits if custom else 0) and len(data) >= 16 + 4 * count, "invalidMapTable", "entries")
        if custom:
            entries = np.frombuffer(data[16:16 + 4 * count], "<f4")
            check_custom(entries, bool(signed), flags == 1)
            require(digest == xxh3(data[16:16 + 4 * count]), "invalidMapTable", "digest")
        else:
            require(flags == 0, "invalidMapTable", "a named import")
            entries = NAMED.get((MAPS[map_], bits, bool(signed)))
            require(entries is not None and digest == xxh3(entries.astype("<f4").tobytes()), "invalidMapTable",
                    "no such named map")
        self.next_table = offset + 16 + 4 * count
        self.tables[offset] = ((map_, bits, signed), entries, flags == 1)
        return entries, flags == 1

    def _chunk(self, index):
        fields = struct.unpack_from("<QIIQBBHI", self.directory, self.chunks_at + index * 32)
        most = 2 if self.base_digest is None else 5
        require(fields[4] <= most and fields[5] <= 2, "invalidChunkTable", "compression or kind")
        require(fields[6] == 0, "reservedBits", "reserved field of a chunk")
        return fields

    def _pair(self, record):
        first, second, *numbers, zeroed, signs = struct.unpack("<2I4d2Q", record)
        require(all(0 <= number < np.inf for number in numbers), "invalidDirectory", "a recorded update error")
        return first, second, *numbers, zeroed, signs

    def _references(self):
        referred = set()
        for index, t in enumerate(self.tensors):
            if t.reference is not None:
                second = self.tensors[t.reference]
                require(t.reference != index and second.is_referable and second.shape == t.shape, "invalidReference",
                        "no second moment to divide by")
                require(t.reference not in referred, "invalidReference", "a second reference to one tensor")
                referred.add(t.reference)
        for index, t in enumerate(self.tensors):
            paired = t.elements > 0 and (t.reference is not None or index in referred)
            require(t.stride == (2 if paired else 1), "invalidChunkTable", f"stride {t.stride}")

    def _chunk_table(self):
        for t in self.tensors:
            t.plan = expected_chunks(t)
            require(len(t.plan) == t.count, "invalidChunkTable", "another number of chunks")
        for ordinal, t in enumerate(sorted((t for t in self.tensors if t.count), key=lambda t: t.first)):
            t.ordinal = ordinal
        for t in self.tensors:
            t.places, t.seen = self._places(t), 0
        position = 64
        for index, (offset, stored, raw, digest, codec, kind, _, owner) in enumerate(self.chunks):
            require(owner < len(self.tensors), "invalidChunkTable", "a chunk of no tensor")
            t = self.tensors[owner]
            number = t.seen
            require(number < t.count and t.places[number] == index and (number or t.first == index), "invalidChunkTable",
                    "a chunk that its tensor does not own")
            require(kind == t.plan[number][0] and raw in raw_lengths(t, number), "invalidChunkTable", "not what is due")
            frame = struct.pack("<IBBHIIQ", stored, codec, kind, 0, t.ordinal, number, digest)
            lead = lead_bytes(position, b"" if number else self._preamble_of(t), frame)
            require(offset == position + len(lead), "invalidChunkTable", "a hole or an overlap")
            require(fits(codec, kind, stored, raw), "invalidChunkTable", "compression or stored length")
            self.leads.append((position, lead))
            position, t.seen = offset + stored, number + 1
            require(position <= self.meta_offset, "invalidChunkTable", "a chunk beyond the end")
        require(aligned(position) == self.meta_offset, "invalidChunkTable", "the chunks end elsewhere")
        require(all(t.seen == t.count for t in self.tensors), "invalidChunkTable", "missing chunks")

    def _places(self, t):
        """Where in the chunk records a tensor's chunks are."""
        scales, start = scale_chunks(t), t.first + scale_chunks(t)
        if t.reference is not None:
            second = self.tensors[t.reference]
            start = second.first + scale_chunks(second) + 1
        return [*range(t.first, t.first + scales), *range(start, start + t.stride * (t.count - scales), t.stride)]

    def _preamble_of(self, t):
        return preamble(t, None if t.reference is None else self.tensors[t.reference].ordinal)

    def _check_pairs(self):
        following = 0
        for first, second, *_, zeroed, signs in self.pairs:
            require(following <= first < len(self.tensors) and second < len(self.tensors) and first != second
                    and self.tensors[first].shape == self.tensors[second].shape, "invalidReference", "no pair")
            require(max(zeroed, signs) <= self.tensors[first].elements, "invalidDirectory", "more than all elements")
            following = first + 1

    # The base

    def _find_base(self, bases, folder, depth):
        require(depth < MOST_BASES, "limitExceeded", "a chain of more than 64 bases")
        for base in bases:
            if base.digest == self.base_digest:
                return base
        name = (self.metadata().get("base") or {}).get("name")
        usable = isinstance(name, str) and name and not name.startswith("/") and "\0" not in name
        require(folder is not None and usable, "baseMissing", self.base_digest.hex())
        path = pathlib.Path(folder, name)
        require(path.is_file(), "baseMissing", self.base_digest.hex())
        base = Checkpoint(path.read_bytes(), bases, path.parent, depth + 1)
        require(base.digest == self.base_digest, "baseMismatch", self.base_digest.hex())
        return base

    def base_payload(self, index):
        """The payload of the base's chunk that corresponds to one."""
        if self.base_defect:
            raise self.base_defect
        t = self.tensors[self.chunks[index][7]]
        other = next((other for other in self.base.tensors if other.raw_name == t.raw_name), None)
        require(other is not None and (other.dtype, other.shape, other.scheme_bytes)
                == (t.dtype, t.shape, t.scheme_bytes), "baseMismatch", "no such tensor in the base")
        require(t.map != "custom" or other.table.tobytes() == t.table.tobytes(), "baseMismatch", "another table")
        data = self.base.payload(other.places[t.places.index(index)])
        # Under a scheme with escapes chunks are of several lengths.
        require(len(data) == self.chunks[index][2], "baseMismatch", "a chunk of another length")
        return data

    # Payloads

    def payload(self, index):
        offset, stored, raw_length, digest, codec, kind, _, owner = self.chunks[index]
        if codec == EQUAL:
            data = self.base_payload(index)
            require(xxh3(data) == digest, "chunkCorrupt", f"chunk {index} of the base")
            return data
        data = self.data[offset:offset + stored]
        require(xxh3(data) == digest, "chunkCorrupt", f"chunk {index}")
        before = self.base_payload(index) if codec in DIFFERENCES else None
        codec -= 0 if before is None else 3
        try:
            if codec == 1:
                data = lz4.block.decompress(data, uncompressed_size=raw_length)
            elif codec == 2:
                size = zstandard.frame_content_size(data)
                require(size in (-1, raw_length), "decompressionFailed", f"chunk {index}")
                require(zstandard.get_frame_parameters(data).has_checksum, "decompressionFailed", f"chunk {index}")
                data = zstandard.ZstdDecompressor().decompress(data, max_output_size=raw_length, allow_extra_data=False)
        except (lz4.block.LZ4BlockError, zstandard.ZstdError) as error:
            raise QckptError("decompressionFailed", str(error)) from None
        require(len(data) == raw_length, "decompressionFailed", f"chunk {index}")
        planes = max(1, self.tensors[owner].bit_width // 8)
        if kind == LOSSLESS and codec and planes > 1:
            data = np.frombuffer(data, np.uint8).reshape(planes, -1).T.tobytes()
        return data if before is None else add_difference(data, before, numbers(kind, self.tensors[owner].dtype))

    def check_all_bytes(self):
        for index, (start, lead) in enumerate(self.leads):
            self.payload(index)
            require(self.data[start:start + len(lead)] == lead, "leadCorrupt", "not what the directory says")
        self.metadata()
        last = self.chunks[-1][0] + self.chunks[-1][1] if self.chunks else 64
        for end in (last, self.meta_offset + self.meta_length, self.dir_offset + self.dir_length):
            require(not any(self.data[end:aligned(end)]), "paddingNotZero", "between parts")

    def metadata(self):
        text = self.data[self.meta_offset:self.meta_offset + self.meta_length]
        require(xxh3(text) == self.meta_hash, "metadataCorrupt", "wrong checksum")
        if not text:
            return {}
        try:
            document = strict_json(text)
        except (ValueError, RecursionError) as error:
            raise QckptError("metadataCorrupt", str(error)) from None
        require(isinstance(document, dict), "metadataCorrupt", "no object")
        return document

    def find(self, name):
        return next(t for t in self.tensors if t.name == name)

    def read(self, t):
        """The tensor's bytes in its dtype."""
        if not t.quantized:
            return b"".join(map(self.payload, t.places))
        values, _, _ = self.decode(t)
        return narrow(values, t.dtype)

    def decode(self, t):
        """(float32 values, codes, scale of each element) of a quantized tensor."""
        return decode_stream(t, map(self.payload, t.places), self.divisors(t))

    def divisors(self, t):
        """What the elements of a tensor of the update domain are divided by, else None."""
        return None if t.reference is None else divisors(self.decode(self.tensors[t.reference])[0])


def fits(codec, kind, stored, raw):
    """Whether a chunk of a kind can be stored so, in so many bytes."""
    if codec == EQUAL:
        return stored == 0
    if codec and kind == SCALES:
        return False
    return stored == raw if codec == 0 else stored < raw


def numbers(kind, dtype):
    """The unsigned integers that are subtracted."""
    bits = dict(DTYPES.values())[dtype] if kind == LOSSLESS else 8
    return {8: "<u8", 4: "<u4", 2: "<u2"}.get(bits // 16 if dtype in ("C64", "C128") else bits // 8, "u1")


def add_difference(difference, base, integers):
    """The payload whose difference to the base's this is."""
    z, a = np.frombuffer(difference, integers), np.frombuffer(base, integers)
    return (a + (z >> z.dtype.type(1) ^ -(z & z.dtype.type(1)))).astype(z.dtype).tobytes()


def take_difference(payload, base, integers):
    """The inverse."""
    b, a = np.frombuffer(payload, integers), np.frombuffer(base, integers)
    d = b - a
    return (d << d.dtype.type(1) ^ -(d >> d.dtype.type(8 * d.dtype.itemsize - 1))).astype(d.dtype).tobytes()


def measure_shape(t):
    t.elements = 0 if 0 in t.shape else 1
    for length in t.shape:
        t.elements *= length
        require(t.elements < 1 << 64, "limitExceeded", "too many elements")
    require(t.elements * t.bit_width < 1 << 64, "limitExceeded", "too many bytes")
    require(t.elements * t.bit_width % 8 == 0, "invalidShape", "not whole bytes")
    t.source_bytes = t.elements * t.bit_width // 8


def read_scheme(t, features):
    """The eight bytes of a scheme, of a tensor record or a preamble, under the required features of the file."""
    map_, bits, signed, scaling, block, domain, rounding, rule = t.scheme_bytes
    require(map_ in MAPS, "invalidScheme", f"map {map_}")
    require(domain <= 1, "invalidScheme", f"domain {domain}")
    require(bits in WIDTHS, "unsupportedFeature", f"{bits} bits")
    require(signed <= (3 if features & ESCAPES else 1), "invalidScheme", f"signedness and flags {signed}")
    require(scaling in SCALINGS and (5 <= block <= 16 if scaling == 2 else block == 0), "invalidScheme", "scaling")
    require(rounding in ROUNDINGS, "invalidScheme", f"rounding {rounding}")
    require(rule in RULES, "invalidScheme", f"scale rule {rule}")
    t.map, t.bits, t.signed, t.rounding, t.rule = MAPS[map_], bits, bool(signed & 1), ROUNDINGS[rounding], RULES[rule]
    t.scaling, t.block = SCALINGS[scaling], 1 << block if scaling == 2 else None
    t.domain, t.escapes = DOMAINS[domain], bool(signed & 2)


def check_errors(t):
    for error in (t.max_abs, t.max_scaled, t.squared_error, t.squared_source):
        require(0 <= error < np.inf, "invalidDirectory", "a recorded error")
    require(max(t.zeros, t.signs) <= t.elements, "invalidDirectory", "a count of more than all elements")
    for guarantee, exists in ((t.guaranteed, t.rounding != "unknown"), (t.guaranteed_rel, t.has_relative)):
        require(0 <= guarantee < np.inf if exists else np.isnan(guarantee), "invalidDirectory", "a guarantee")


def preamble(t, second):
    """What stands before a tensor's first chunk; `second` is the ordinal of its second moment, or None."""
    body = struct.pack("<HBB", len(t.raw_name) - 1, t.dtype_code, len(t.shape)) + t.scheme_bytes
    body += struct.pack(f"<{len(t.shape)}Q", *t.shape)
    body += b"" if second is None else struct.pack("<Q", second)
    if t.quantized and t.map == "custom":
        body += t.table.astype("<f4").tobytes()
    body += t.raw_name
    return struct.pack("<I", xxh3(body) & NONE32) + body


def lead_bytes(end, text, frame):
    """The bytes from the end of what comes before up to a chunk's stored bytes."""
    text = bytes(-end % 8) + text if text else b""
    return text + bytes(-(end + len(text) + len(frame)) % 64) + frame


class Salvage(Checkpoint):
    """The whole tensors of a file that has lost its end, by what stands before each chunk."""

    def __init__(self, data):
        self.data = bytes(data)
        try:
            self._header()
        except QckptError as defect:
            if defect.code != "headerCorrupt":
                raise
        self.base_digest, found, end = None, {}, 64
        while end is not None and end < len(self.data):
            end = self._chunk_after(end, found) or self._resume(end + 15 & ~7)
        whole = [ordinal for ordinal, t in found.items() if self._is_whole(t, found)]
        self.tensors, self.chunks = [found[ordinal] for ordinal in whole], []
        for number, t in enumerate(self.tensors):
            t.name, t.places = t.raw_name.decode(), range(len(self.chunks), len(self.chunks) + t.count)
            t.reference = None if t.reference is None else whole.index(t.reference)
            self.chunks += [(*t.chunks[i], number) for i in range(t.count)]

    @staticmethod
    def _is_whole(t, found):
        """A first moment in the update domain is whole only with its second moment."""
        parts = [t]
        if t.reference is not None:
            second = found.get(t.reference)
            if second is None or not second.is_referable or second.shape != t.shape:
                return False
            parts.append(second)
        return all(len(part.chunks) == part.count for part in parts)

    def _chunk_after(self, end, found):
        """Takes in the chunk that follows `end`; where it ends, or None where none follows."""
        t, length = self._preamble(aligned(end, 8))
        offset = aligned((aligned(end, 8) + length if t else end) + 24)
        if offset > len(self.data):
            return None
        stored, codec, kind, reserved, ordinal, number, digest = struct.unpack_from("<IBBHIIQ", self.data, offset - 24)
        if t and number == 0 and ordinal not in found:
            found[ordinal] = t
        elif t or ordinal not in found:
            return None
        t = found[ordinal]
        if reserved or codec > 5 or number >= t.count or t.plan[number][0] != kind:
            return None
        lengths, data = raw_lengths(t, number), self.data[offset:offset + stored]
        if len(data) < stored or not (stored in lengths if codec == 0 else fits(codec, kind, stored, lengths[-1])):
            return None
        # What needs a base is lost: it has none at hand.
        if codec < EQUAL and xxh3(data) == digest:
            raw = stored if codec == 0 else lengths[0] if len(lengths) == 1 else inflated(data, codec, lengths[-1])
            if raw in lengths and (codec == 0 or raw > stored):
                t.chunks[number] = (offset, stored, raw, digest, codec, kind, 0)
        return offset + stored

    def _resume(self, start):
        """The next multiple of 8 at which a preamble stands, or None."""
        return next((at for at in range(start, len(self.data), 8) if self._preamble(at)[0]), None)

    def _preamble(self, at):
        """(tensor, length) of the preamble at an offset; (None, 0) where there is none."""
        data, t = self.data[at:at + 16], Tensor()
        if len(data) < 16 or data[6] not in DTYPES or data[7] > 32:
            return None, 0
        digest, name_length, t.dtype_code, ndim, t.scheme_bytes = struct.unpack("<IHBB8s", data)
        t.dtype, t.bit_width = DTYPES[t.dtype_code]
        t.quantized, t.chunks, t.seed, t.count = any(t.scheme_bytes), {}, 0, len(self.data) // 64
        try:
            if t.quantized:
                read_scheme(t, ESCAPES)
            entries = 4 << t.bits if t.map == "custom" else 0
            words = ndim + (t.domain == "update")
            length = 16 + 8 * words + entries + name_length + 1
            data = self.data[at:at + length]
            if len(data) < length or digest != xxh3(data[4:]) & NONE32:
                return None, 0
            *t.shape, = struct.unpack_from(f"<{words}Q", data, 16)
            t.reference = t.shape.pop() if words > ndim else None
            require(t.reference is None or t.reference < 1 << 32, "invalidReference", "no ordinal")
            t.raw_name = data[16 + 8 * words + entries:]
            t.raw_name.decode()
            measure_shape(t)
            if t.quantized:
                self._salvaged_table(t, data[16 + 8 * words:][:entries])
            t.plan = expected_chunks(t)
        except (QckptError, UnicodeDecodeError):
            return None, 0
        t.count = len(t.plan)
        return (t, length) if t.plan else (None, 0)

    def _salvaged_table(self, t, entries):
        require(t.dtype in ("F32", "F16", "BF16"), "invalidScheme", f"quantized {t.dtype}")
        t.table = np.frombuffer(entries, "<f4") if entries else NAMED.get((t.map, t.bits, t.signed))
        require(t.table is not None or t.map == "log", "invalidMapTable", "no such named map")
        if entries:
            t.imported = t.rounding == "unknown"
            check_custom(t.table, t.signed, t.imported)


def strict_json(data):
    """A JSON document of UTF-8 by RFC 8259; keys are unique under normalisation, numbers fit 64 bits. Raises ValueError."""

    def no_duplicates(pairs):
        refuse(len({unicodedata.normalize("NFC", key) for key, _ in pairs}) != len(pairs), "duplicate key")
        return dict(pairs)

    def integer(text):
        refuse(not -(1 << 63) <= int(text) < 1 << 63, "an integer beyond 64 bits")
        return int(text)

    def number(text):
        refuse(not np.isfinite(float(text)), "a number beyond float64")
        return float(text)

    def levels(value):
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if inner is None else 1 + max(map(levels, inner), default=0)

    document = json.loads(data.decode(), object_pairs_hook=no_duplicates, parse_int=integer, parse_float=number,
                          parse_constant=lambda name: refuse(True, name))
    refuse(levels(document) > 128, "more than 128 levels")
    # An unpaired surrogate has no UTF-8 form.
    json.dumps(document, ensure_ascii=False).encode()
    return document


def refuse(truth, message):
    if truth:
        raise ValueError(message)


# Stream.md


def resolved_scaling(t):
    """The scaling that the tensor's own becomes for its shape."""
    default = 256 if t.bits == 8 else 128
    if t.scaling in ("row", "column") and len(t.shape) < 2:
        return "block", default
    axes = [length for length in t.shape if length != 1]
    if t.scaling == "rank1" and (len(axes) < 2 or sum(axes) * 32 > t.elements):
        return "block", 128
    return t.scaling, t.block


def scale_count(t):
    if t.elements == 0 or t.scaling in (None, "block"):
        return 0
    return {"tensor": 1, "row": t.shape[0] if t.shape else 1, "column": t.shape[-1] if t.shape else 1,
            "rank1": sum(n for n in t.shape if n != 1)}[t.scaling]


def expected_chunks(t):
    """(kind, bytes) of each chunk that shape and scheme imply."""
    if not t.quantized:
        whole, rest = divmod(t.source_bytes, LOSSLESS_CHUNK)
        require(whole <= len_limit(t), "invalidChunkTable", "another number of chunks")
        return [(LOSSLESS, LOSSLESS_CHUNK)] * whole + ([(LOSSLESS, rest)] if rest else [])
    require(resolved_scaling(t) == (t.scaling, t.block), "invalidScheme", "a scaling that the shape cannot have")
    signed_extreme = t.rule == "signed-extreme"
    allowed = t.scaling != "rank1" and (t.map == "custom" or (t.map in SIGNED_EXTREME and t.signed))
    require(not signed_extreme or allowed, "invalidScheme", "a signed extreme")
    require(t.rounding == "stochastic" or t.seed == 0, "invalidScheme", "a seed without stochastic rounding")
    require(t.rule != "unknown" or t.rounding == "unknown", "invalidScheme", "a known rounding with an unknown rule")
    require(not t.escapes or t.rounding != "unknown", "invalidScheme", "escapes under an unknown rounding")
    if t.rounding == "nearest-keep-nonzero" and t.map == "custom" and t.signed:
        require(t.table[0] != 0, "invalidScheme", "keep-nonzero without a negative entry")
    require(t.domain == "value" or (t.signed and not t.imported), "invalidScheme", "an unsigned update or an import")
    if t.map == "log":
        require(t.scaling == "block" and not t.signed and t.rounding in ("nearest", "stochastic") and t.rule == "absmax",
                "invalidScheme", "the log map with another scheme than its own")
    require(t.elements < 1 << 60 and scale_count(t) < 1 << 60, "limitExceeded", "too many elements")
    scales = scale_count(t)
    require((scales + t.elements) // CHUNK_ELEMENTS <= len_limit(t) + 1, "invalidChunkTable", "another number of chunks")
    plan = [(SCALES, 4 * min(CHUNK_SCALES, scales - i)) for i in range(0, scales, CHUNK_SCALES)]
    for start in range(0, t.elements, CHUNK_ELEMENTS):
        n = min(CHUNK_ELEMENTS, t.elements - start)
        blocks = -(-n // t.block) if t.scaling == "block" else 0
        plan.append((CODES, block_bytes(t) * blocks + -(-n * t.bits // 8)))
    return plan


def raw_lengths(t, number):
    """The bytes that a chunk may have before the lossless stage."""
    kind, base = t.plan[number]
    if kind != CODES or not t.escapes:
        return range(base, base + 1)
    n = min(CHUNK_ELEMENTS, t.elements - CHUNK_ELEMENTS * (number - scale_chunks(t)))
    return range(base + 4, base + 4 + 12 * n + 1)


def inflated(data, codec, limit):
    """How many bytes stored ones decompress to, -1 for none."""
    try:
        if codec == 1:
            return len(lz4.block.decompress(data, uncompressed_size=limit))
        return len(zstandard.ZstdDecompressor().decompress(data, max_output_size=limit, allow_extra_data=False))
    except (lz4.block.LZ4BlockError, zstandard.ZstdError):
        return -1


def block_bytes(t):
    """The bytes that stand for a block before the codes: its scale, or its two ends."""
    return 8 if t.map == "log" else 4


def scale_chunks(t):
    return -(-scale_count(t) // CHUNK_SCALES)


def len_limit(t):
    """The chunks that the record states: no list is made longer than that."""
    return t.count


def element_scales(t, vector, start, n):
    """The scale of elements start … start + n under every scaling but block."""
    index = np.arange(start, start + n, dtype=np.uint64)
    if t.scaling == "tensor":
        return np.full(n, vector[0], np.float32)
    if t.scaling == "row":
        return vector[(index // np.uint64(t.elements // t.shape[0])).astype(np.int64)]
    if t.scaling == "column":
        return vector[(index % np.uint64(t.shape[-1])).astype(np.int64)]
    result, end = np.full(n, np.inf, np.float32), len(vector)
    for length in reversed([m for m in t.shape if m != 1]):
        end -= length
        result = np.minimum(result, vector[end + (index % np.uint64(length)).astype(np.int64)])
        index = index // np.uint64(length)
    return result


def check_scales(t, scales):
    require(np.all(np.isfinite(scales)), "invalidScale", "a scale is not finite")
    if t.rule == "absmax" or t.scaling == "rank1":
        require(not np.any(np.signbit(scales)), "invalidScale", "a negative scale")


def check_ends(low, high):
    least = np.abs(low)
    good = np.isfinite(low) & np.isfinite(high) & ~np.signbit(high) & (high >= least)
    good &= (least > 0) | ((high == 0) & np.signbit(low))
    require(np.all(good), "invalidScale", "the ends of a block")


class Ends:
    """Blocks of the log map, one for each element or one for each block."""

    def __init__(self, low, high, bits):
        self.low, self.high = np.abs(low), high
        self.zeros = np.signbit(low).astype(np.int64)
        self.base = low.view(np.uint32).astype(np.int64) & 0x7FFFFFFF
        self.span = high.view(np.uint32).astype(np.int64) - self.base
        self.step = self.span / ((1 << bits) - 1 - self.zeros)

    def pattern(self, codes):
        """P of the values of codes; 0, which is P(0), for a code of zero."""
        k = codes.astype(np.int64) - self.zeros
        return np.where(k < 0, 0, self.base + np.rint(k * self.step).astype(np.int64))


def floats(patterns):
    return patterns.astype(np.uint32).view(np.float32)


class Escapes:
    """The elements of a chunk whose values stand beside its codes."""

    def __init__(self, t, section, n):
        (count,) = struct.unpack_from("<I", section)
        require(count <= (len(section) - 4) // 8, "invalidEscape", "runs beyond the section")
        at, following, index, patterns, reach, steps = 4 + 8 * count, 0, [], [], [], []
        for run in range(count):
            first, word = struct.unpack_from("<2I", section, 4 + 8 * run)
            length, bits, biased = (word & 0x3FFFF) + 1, word >> 18 & 63, word >> 24
            require(self._is_form(t, bits, biased), "invalidEscape", f"{bits} bits, exponent {biased}")
            require(following <= first < n and length <= n - first, "invalidEscape", "a run that is out of place")
            width = -(-bits // 8)
            require(length * width <= len(section) - at, "invalidEscape", "values are cut short")
            following = first + length
            planes = np.frombuffer(section[at:at + length * width], np.uint8).reshape(width, length).astype(np.int64)
            stored = (planes << 8 * np.arange(width)[:, None]).sum(0)
            patterns.append(self._multiples(stored, bits, biased - 150) if biased else self._floats(stored, bits, width))
            index += range(first, following)
            reach += [1 << 31 - bits if bits < 32 and not biased and t.dtype == "F32" else 0] * length
            steps += [2.0**(biased - 150) if biased else 0.0] * length
            at += length * width
        require(at == len(section), "invalidEscape", "bytes after the last value")
        self.index, self.reach, self.steps = np.array(index, np.int64), np.array(reach, np.int64), np.array(steps)
        self.patterns = np.concatenate([*patterns, np.zeros(0, np.int64)])
        if t.dtype == "F16":
            self.values = (self.patterns >> 16).astype("<u2").view("<f2").astype(np.float32)
        else:
            self.values = floats(self.patterns)
        require(np.all(np.isfinite(self.values)), "invalidEscape", "a value that is not finite")
        require(t.signed or not np.any(self.patterns >> 31), "invalidEscape", "a negative value under an unsigned map")

    @staticmethod
    def _is_form(t, bits, biased):
        if biased:
            return bits in (8, 16, 24) and t.dtype == "F32" and t.map != "log" and t.domain == "value"
        return 9 <= bits <= 32 if t.dtype == "F32" else bits == 16

    @staticmethod
    def _floats(stored, bits, width):
        require(not np.any(stored & (1 << 8 * width - bits) - 1), "invalidEscape", "bits that the form has not")
        return stored << 32 - 8 * width

    @staticmethod
    def _multiples(stored, bits, exponent):
        signed = np.where(stored >> bits - 1, stored - (1 << bits), stored)
        with np.errstate(over="ignore"):
            return (signed * 2.0**exponent).astype(np.float32).view(np.uint32).astype(np.int64)

    def bounds(self, relative_to_x):
        """What is guaranteed of each: of |x − x̂|, and of |x − x̂| / |x|."""
        magnitude = self.patterns & 0x7FFFFFFF
        below, at, above = (floats(magnitude + d).astype(np.float64) for d in (-self.reach, 0, self.reach))
        exact = (self.reach == 0) | (magnitude == 0)
        with np.errstate(all="ignore"):
            relative = np.maximum((at - below) / below, (above - at) / above) * FACTOR
        return np.where(exact, self.steps / 2, above - at), np.where(exact, 0.0, relative) if relative_to_x else None


def escapes_of(t, payloads):
    """The escapes of each chunk of codes."""
    found = []
    for chunk, payload in enumerate(payloads[scale_chunks(t):]):
        n = min(CHUNK_ELEMENTS, t.elements - chunk * CHUNK_ELEMENTS)
        found.append(Escapes(t, payload[code_bytes(t, n):], n))
    return found


def code_bytes(t, n):
    """The bytes of a chunk of n elements before its escapes."""
    blocks = -(-n // t.block) if t.scaling == "block" else 0
    return block_bytes(t) * blocks + -(-n * t.bits // 8)


def divisors(second):
    """d of a pair: the root of the second moment's values, 1 where they are 0."""
    with np.errstate(invalid="ignore"):
        return np.where(second > 0, np.sqrt(second), np.float32(1))


def unpack(packed, n, bits):
    """The first n codes of a string of bits, the most significant bit of each first."""
    string = np.unpackbits(packed)
    require(not np.any(string[n * bits:]), "invalidCode", "bits after the last code")
    weights = (1 << np.arange(bits)[::-1]).astype(np.uint8)
    return (string[:n * bits].reshape(n, bits) * weights).sum(1, dtype=np.uint8)


def decode_stream(t, payloads, divided_by=None, laid=True):
    """(float32 values, codes, scale of each element); of the log map a block's ends stand for scales.

    With `laid` escaped elements have the values beside the codes, else what their codes decode to.
    """
    payloads, vector, count = iter(payloads), np.zeros(0, np.float32), scale_count(t)
    while len(vector) < count:
        vector = np.concatenate([vector, np.frombuffer(next(payloads), "<f4")])
    check_scales(t, vector)
    values, all_codes, all_scales = [], [], []
    for chunk, payload in enumerate(payloads):
        start = chunk * CHUNK_ELEMENTS
        n = min(CHUNK_ELEMENTS, t.elements - start)
        escapes = Escapes(t, payload[code_bytes(t, n):], n) if t.escapes else None
        payload = payload[:code_bytes(t, n)]
        prefix = block_bytes(t) * -(-n // t.block) if t.scaling == "block" else 0
        packed, own = np.frombuffer(payload[prefix:], np.uint8), np.frombuffer(payload[:prefix], "<f4")
        packed = unpack(packed, n, t.bits)
        if t.map == "log":
            check_ends(own[0::2], own[1::2])
            scales = np.repeat(own.reshape(-1, 2), t.block, 0)[:n]
            products = floats(Ends(*scales.T.copy(), t.bits).pattern(packed))
        else:
            check_scales(t, own)
            scales = np.repeat(own, t.block)[:n] if t.scaling == "block" else element_scales(t, vector, start, n)
            require(not np.any(np.isnan(t.table[packed])), "invalidCode", "a code without a value")
            with np.errstate(all="ignore"):
                products = t.table[packed] * scales + np.float32(0)
        if divided_by is not None:
            with np.errstate(all="ignore"):
                products = products * divided_by[start:start + n] + np.float32(0)
        if escapes is not None and laid:
            products[escapes.index] = escapes.values
        values.append(products)
        all_codes.append(packed)
        all_scales.append(scales)
    empty = (np.zeros(0, np.float32), np.zeros(0, np.uint8), np.zeros((0, 2) if t.map == "log" else 0, np.float32))
    return tuple(np.concatenate(parts or [none]) for parts, none in zip((values, all_codes, all_scales), empty))


def narrow(values, dtype):
    """float32 values as bytes of a dtype, rounded to nearest even."""
    if dtype == "F32":
        return values.astype("<f4").tobytes()
    if dtype == "F16":
        with np.errstate(all="ignore"):
            return values.astype("<f2").tobytes()
    bits = values.view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + (bits >> np.uint64(16) & np.uint64(1))) >> np.uint64(16)).astype("<u2")
    nan = (bits >> np.uint64(16)).astype("<u2") | np.uint16(0x40)
    return np.where(np.isnan(values), nan, rounded).astype("<u2").tobytes()


def widen(data, dtype):
    """Bytes of f32, bf16 or f16 as float32; exact."""
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(data, "<f4" if dtype == "F32" else "<f2").astype(np.float32)


# ErrorBounds.md


DELTA = {"F32": 0.0, "BF16": 2.0**-8, "F16": 2.0**-11}
NARROWING = {"F32": 0.0, "BF16": 2.0**-133, "F16": 2.0**-24}
LARGEST = {"F32": (2 - 2.0**-23) * 2.0**127, "BF16": (2 - 2.0**-7) * 2.0**127, "F16": 65504.0}
FACTOR = 1 + 2.0**-40


def radii(t):
    """R(c) of every code."""
    table = t.table
    wide = np.asarray(table, np.float64)
    last = distinct(table) - 1
    limits = thresholds(table).astype(np.float64)
    has_zero = bool(np.any(table == 0))
    update = t.domain == "update"
    top, slack = (1 + 2.0**-15, 2.0**-21) if update else (1.0, 2.0**-23)
    bottom = -top if t.signed else 0.0
    result = []
    for code in range(len(table)):
        c = min(code, last)
        if t.rounding == "stochastic":
            low, high = (wide[c - 1] if c else bottom), (wide[c + 1] if c < last else top)
        else:
            low, high = (limits[c - 1] if c else bottom), (limits[c] if c < last else top)
            if t.rounding == "nearest-keep-nonzero" and has_zero:
                if wide[c] == 0:
                    low = high = 0.0
                else:
                    low = 0.0 if c and wide[c - 1] == 0 else low
                    high = 0.0 if c < last and wide[c + 1] == 0 else high
        radius = max(wide[c] - low, high - wide[c], 0.0)
        result.append(radius + slack + DELTA[t.dtype] * abs(wide[c]))
    return np.array(result)


def log_bounds(t, low, high, codes):
    """The guarantees of blocks, absolute and relative, given for each of their elements."""
    ends, delta, tau = Ends(low, high, t.bits), DELTA[t.dtype], NARROWING[t.dtype]
    codes = codes.astype(np.int64)
    moved = ends.step + 1 if t.rounding == "stochastic" else ends.step / 2 + 0.5
    reach = np.minimum(moved + 2.0**-16, ends.span).astype(np.int64)
    # No element was beyond what may have come to the greatest code, or to the least; the code of zero apart.
    decoded = np.maximum(ends.pattern(in_blocks(t, codes, np.maximum)), ends.base)
    last = np.minimum(decoded + reach, ends.base + ends.span)
    present = in_blocks(t, np.where(codes < ends.zeros, 1 << t.bits, codes), np.minimum)
    nearest = np.where(present == 1 << t.bits, ends.base, ends.pattern(present))
    bottom = np.maximum(nearest - reach, ends.base)
    start = np.minimum(bottom, 1 << 23)
    with np.errstate(all="ignore"):
        top = floats(last).astype(np.float64)
        absolute = top - floats(last - reach).astype(np.float64)
        value = floats(start).astype(np.float64)
        ratio = (floats(start + reach).astype(np.float64) - value) / value
        absolute = (absolute + delta * top + tau) * FACTOR
        relative = (ratio + delta * (1 + ratio) + tau / floats(bottom).astype(np.float64)) * FACTOR
    zeros, beyond = ends.base == 0, high.astype(np.float64) > LARGEST[t.dtype]
    return tuple(np.where(zeros, 0.0, np.where(beyond, np.inf, bound)) for bound in (absolute, relative))


def in_blocks(t, values, choose):
    """For each element the chosen one of its block's values; its own without blocks."""
    if t.scaling != "block" or not len(values):
        return values
    starts = np.arange(0, len(values), t.block)
    return np.repeat(choose.reduceat(values, starts), t.block)[:len(values)]


def bounds(t, codes, scales, divided_by=None):
    """What is guaranteed of each element: of |x − x̂|, and of the relative error, None where there is none."""
    if t.map == "log":
        return log_bounds(t, *scales.T.copy(), codes)
    magnitude, tau = np.abs(scales.astype(np.float64)), NARROWING[t.dtype] + 2.0**-149
    radius = radii(t)[codes]
    if divided_by is not None:
        divisor = divided_by.astype(np.float64)
        # Elements of a block are bounded together.
        radius, greatest = in_blocks(t, radius, np.maximum), in_blocks(t, divisor, np.maximum)
        quotient = magnitude * radius + 2.0**-140
        return (quotient * greatest + tau) * FACTOR, (quotient + tau / in_blocks(t, divisor, np.minimum)) * FACTOR
    scaled = magnitude * radius
    bound = np.where(magnitude > LARGEST[t.dtype], np.inf, (scaled + tau) * FACTOR)
    return np.where(magnitude == 0, 0.0, bound), None


def guarantee(checkpoint, t):
    """The absolute and the relative guarantee recomputed from codes and scales; None for one that does not exist."""
    if not t.quantized:
        return 0.0, None
    if t.rounding == "unknown":
        return None, None
    values, codes, scales = checkpoint.decode(t)
    divided_by = checkpoint.divisors(t)
    absolute, relative = bounds(t, codes, scales, divided_by)
    if t.escapes:
        escapes = escapes_of(t, [checkpoint.payload(place) for place in t.places])
        absolute, relative = with_escapes(t, absolute, relative, divided_by, escapes)
    if t.domain == "update" and not np.all(np.isfinite(widen(narrow(values, t.dtype), t.dtype))):
        return np.inf, np.inf
    return tuple(None if each is None else float(np.max(each, initial=0.0)) for each in (absolute, relative))


def with_escapes(t, absolute, relative, divided_by, chunks):
    """The bounds of elements of chunks, and those of their escapes added."""
    for chunk, escapes in enumerate(chunks):
        own, ratio = escapes.bounds(t.map == "log")
        if divided_by is not None:
            ratio = own / divided_by[chunk * CHUNK_ELEMENTS + escapes.index].astype(np.float64) * FACTOR
        absolute = np.append(absolute, own)
        relative = None if relative is None else np.append(relative, ratio)
    return absolute, relative


def read_file(path, bases=()):
    """The checkpoint at a path, its base beside it."""
    path = pathlib.Path(path)
    return Checkpoint(path.read_bytes(), bases, path.parent)


def described(checkpoint, t):
    return {"name": t.name, "dtype": t.dtype, "shape": list(t.shape),
            "sha256": hashlib.sha256(checkpoint.read(t)).hexdigest()}


def summary(checkpoint):
    """What a checkpoint holds, with the SHA-256 of each tensor's decoded bytes."""
    checkpoint.check_all_bytes()
    tensors = []
    for t in checkpoint.tensors:
        absolute, relative = guarantee(checkpoint, t)
        require(absolute is None or absolute <= t.guaranteed, "boundViolated", t.name)
        require(relative is None or relative <= t.guaranteed_rel, "boundViolated", t.name)
        tensors.append({
            **described(checkpoint, t), "guaranteed_max_abs_error": None if absolute is None else t.guaranteed,
            "guaranteed_max_rel_error": None if relative is None else t.guaranteed_rel,
            "second_moment": None if t.reference is None else checkpoint.tensors[t.reference].name})
    names = [t.name for t in checkpoint.tensors]
    pairs = [dict(zip(PAIR, (names[pair[0]], names[pair[1]], *pair[2:]))) for pair in checkpoint.pairs]
    base = None if checkpoint.base_digest is None else checkpoint.base_digest.hex()
    return {"format_version": "%d.%d" % checkpoint.version, "base": base, "metadata": checkpoint.metadata(), "tensors": tensors,
            "update_errors": pairs}


def main(arguments):
    if arguments[0] == "--salvage":
        found = Salvage(pathlib.Path(arguments[-1]).read_bytes())
        return {"tensors": [described(found, t) for t in found.tensors]}
    return summary(read_file(arguments[-1]))


if __name__ == "__main__":
    try:
        print(json.dumps(main(sys.argv[1:]), indent=2))
    except QckptError as defect:
        print(defect, file=sys.stderr)
        sys.exit(3)
