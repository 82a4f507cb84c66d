"""The reference reader of qcodec checkpoints, in the order of Spec/Checkpoint.md, Stream.md and ErrorBounds.md.

    python qckpt_reader.py FILE              prints a JSON summary; exit status 3 and "code: message" for what is invalid
    python qckpt_reader.py --salvage FILE    prints what is whole of a file without its end

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
ROUNDINGS = {1: "nearest", 2: "nearest-keep-nonzero", 3: "stochastic", 4: "unknown"}
RULES = {1: "signed-extreme", 2: "absmax", 3: "unknown"}
# The named maps that hold +1 and, signed, not −1.
SIGNED_EXTREME = ("dynamic", "cubic")
CODES, SCALES, LOSSLESS = 0, 1, 2


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


class Checkpoint:
    """A whole file, its header, trailer and directory checked."""

    def __init__(self, data):
        self.data = bytes(data)
        header_hash = self._header()
        self._trailer(header_hash)
        self._directory()
        self.leads = []
        self._chunk_table()

    def _header(self):
        data = self.data
        if not data.startswith(MAGIC):
            short = len(data) and MAGIC.startswith(data)
            raise QckptError("truncated" if short else "notACheckpoint", "no magic number")
        require(len(data) >= 64, "truncated", "the file ends within its header")
        major, minor, length, required, optional = struct.unpack_from("<HHIQQ", data, 8)
        (digest,) = struct.unpack_from("<Q", data, 56)
        require(digest == xxh3(data[:56]), "headerCorrupt", "wrong checksum")
        require((major, minor) == (0, 1), "unsupportedVersion", f"version {major}.{minor}")
        require(length == 64, "headerCorrupt", f"header of {length} bytes")
        require(required == 0, "unsupportedFeature", f"feature bits {required:#x}")
        require(not any(data[32:56]), "reservedBits", "reserved bytes of the header")
        self.version = (major, minor)
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
        tensors, chunks, dims, table_bytes, name_bytes, *reserved = struct.unpack_from("<8Q", data)
        require(tensors == self.tensor_count, "invalidDirectory", "another number of tensors")
        require(not any(reserved), "reservedBits", "reserved fields of the directory")
        require(64 + tensors * 136 + dims * 8 + chunks * 32 + table_bytes + name_bytes == len(data),
                "invalidDirectory", "sections do not fill the directory")
        at = 64 + tensors * 136
        self.dims = struct.unpack_from(f"<{dims}Q", data, at)
        self.chunks_at = at + dims * 8
        self.chunk_count = chunks
        tables_at = self.chunks_at + chunks * 32
        self.table_data = data[tables_at:tables_at + table_bytes]
        self.names = data[tables_at + table_bytes:]
        self.next_table, self.tables = 0, {}
        self.next_name = self.next_dim = 0
        self.tensors = [self._tensor(data[64 + i * 136:200 + i * 136]) for i in range(tensors)]
        require(self.next_name == name_bytes and self.next_dim == dims, "invalidDirectory", "names or dims left over")
        require(self.next_table == table_bytes, "invalidMapTable", "tables left over")
        self.chunks = [self._chunk(i) for i in range(chunks)]
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
         stride, reserved, reference, t.seed) = struct.unpack_from("<QI4BQQQ8sIBBHQQ", record)
        (t.max_abs, t.max_scaled, t.squared_error, t.squared_source, t.zeros, t.signs, t.guaranteed,
         t.guaranteed_rel) = struct.unpack_from("<4d2Q2d", record, 72)
        require(dtype in DTYPES, "invalidDirectory", f"dtype {dtype}")
        require(role <= 5 and reason <= 4, "invalidDirectory", "role or reason")
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
        require(reference == NONE64, "invalidReference", "a reference")
        require(stride == 1, "invalidChunkTable", f"stride {stride}")
        require(encoding <= 1, "invalidScheme", f"encoding {encoding}")
        if t.quantized:
            self._scheme(t, table)
        else:
            require(not any(t.scheme_bytes) and table == NONE32 and not any(record[64:136]), "invalidScheme",
                    "a lossless tensor with a scheme or errors")
        return t

    def _scheme(self, t, table):
        read_scheme(t)
        t.table, imported = self._table(table, *t.scheme_bytes[:3])
        require(not imported or t.rounding == "unknown", "invalidScheme", "an import with a known rounding")
        require(t.dtype in ("F32", "F16", "BF16"), "invalidScheme", f"quantized {t.dtype}")
        require(t.reason == 0, "invalidScheme", "a reason to be lossless")
        for error in (t.max_abs, t.max_scaled, t.squared_error, t.squared_source):
            require(0 <= error < np.inf, "invalidDirectory", "a recorded error")
        require(np.isnan(t.guaranteed) if t.rounding == "unknown" else t.guaranteed >= 0, "invalidDirectory",
                "a guarantee")

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
        require(fields[4] <= 2 and fields[5] <= 2, "invalidChunkTable", "compression or kind")
        require(fields[6] == 0, "reservedBits", "reserved field of a chunk")
        return fields

    def _chunk_table(self):
        index, position, started = 0, 64, 0
        while index < len(self.chunks):
            owner = self.chunks[index][7]
            require(owner < len(self.tensors), "invalidChunkTable", "a chunk of no tensor")
            t = self.tensors[owner]
            require(t.first == index and t.count > 0, "invalidChunkTable", "a chunk that its tensor does not own")
            plan = expected_chunks(t)
            require(len(plan) == t.count, "invalidChunkTable", "another number of chunks")
            for number, (kind, raw) in enumerate(plan):
                offset, stored, raw_length, digest, codec, own_kind, _, own = self.chunks[index]
                require((own_kind, raw_length, own) == (kind, raw, owner), "invalidChunkTable", "not what is due")
                frame = struct.pack("<IBBHIIQ", stored, codec, kind, 0, started, number, digest)
                lead = lead_bytes(position, b"" if number else preamble(t), frame)
                require(offset == position + len(lead), "invalidChunkTable", "a hole or an overlap")
                require(stored == raw if codec == 0 else stored < raw, "invalidChunkTable", "stored length")
                self.leads.append((position, lead))
                position = offset + stored
                require(position <= self.meta_offset, "invalidChunkTable", "a chunk beyond the end")
                index += 1
            started += 1
        require(aligned(position) == self.meta_offset, "invalidChunkTable", "the chunks end elsewhere")
        require(sum(t.count for t in self.tensors) == len(self.chunks), "invalidChunkTable", "shared chunks")
        for t in self.tensors:
            require(t.count == len(expected_chunks(t)), "invalidChunkTable", "missing chunks")

    # Payloads

    def payload(self, index):
        offset, stored, raw_length, digest, codec, kind, _, owner = self.chunks[index]
        data = self.data[offset:offset + stored]
        require(xxh3(data) == digest, "chunkCorrupt", f"chunk {index}")
        try:
            if codec == 1:
                data = lz4.block.decompress(data, uncompressed_size=raw_length)
            elif codec == 2:
                size = zstandard.frame_content_size(data)
                require(size in (-1, raw_length), "decompressionFailed", f"chunk {index}")
                data = zstandard.ZstdDecompressor().decompress(data, max_output_size=raw_length, allow_extra_data=False)
        except (lz4.block.LZ4BlockError, zstandard.ZstdError) as error:
            raise QckptError("decompressionFailed", str(error)) from None
        require(len(data) == raw_length, "decompressionFailed", f"chunk {index}")
        planes = max(1, self.tensors[owner].bit_width // 8)
        if kind == LOSSLESS and codec and planes > 1:
            data = np.frombuffer(data, np.uint8).reshape(planes, -1).T.tobytes()
        return data

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
            return b"".join(self.payload(i) for i in range(t.first, t.first + t.count))
        values, _, _ = self.decode(t)
        return narrow(values, t.dtype)

    def decode(self, t):
        """(float32 values, codes, scale of each element) of a quantized tensor."""
        return decode_stream(t, (self.payload(i) for i in range(t.first, t.first + t.count)))


def measure_shape(t):
    t.elements = 0 if 0 in t.shape else 1
    for length in t.shape:
        t.elements *= length
        require(t.elements < 1 << 64, "limitExceeded", "too many elements")
    require(t.elements * t.bit_width < 1 << 64, "limitExceeded", "too many bytes")
    require(t.elements * t.bit_width % 8 == 0, "invalidShape", "not whole bytes")
    t.source_bytes = t.elements * t.bit_width // 8


def read_scheme(t):
    """The eight bytes of a scheme, of a tensor record or a preamble."""
    map_, bits, signed, scaling, block, domain, rounding, rule = t.scheme_bytes
    require(map_ in MAPS, "invalidScheme", f"map {map_}")
    require(domain <= 1, "invalidScheme", f"domain {domain}")
    require(MAPS[map_] != "log" and domain == 0, "unsupportedFeature", "log map or update domain")
    require(bits in (4, 8), "unsupportedFeature", f"{bits} bits")
    require(signed <= 1, "invalidScheme", f"signedness {signed}")
    require(scaling in SCALINGS and (5 <= block <= 16 if scaling == 2 else block == 0), "invalidScheme", "scaling")
    require(rounding in ROUNDINGS, "invalidScheme", f"rounding {rounding}")
    require(rule in RULES, "invalidScheme", f"scale rule {rule}")
    t.map, t.bits, t.signed, t.rounding, t.rule = MAPS[map_], bits, bool(signed), ROUNDINGS[rounding], RULES[rule]
    t.scaling, t.block = SCALINGS[scaling], 1 << block if scaling == 2 else None


def preamble(t):
    """What stands before a tensor's first chunk."""
    body = struct.pack("<HBB", len(t.raw_name) - 1, t.dtype_code, len(t.shape)) + t.scheme_bytes
    body += struct.pack(f"<{len(t.shape)}Q", *t.shape)
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
        found, end = {}, 64
        while end is not None and end < len(self.data):
            end = self._chunk_after(end, found) or self._resume(end + 15 & ~7)
        self.tensors, self.chunks = [t for t in found.values() if len(t.chunks) == t.count], []
        for number, t in enumerate(self.tensors):
            t.name, t.first = t.raw_name.decode(), len(self.chunks)
            self.chunks += [(*t.chunks[i], number) for i in range(t.count)]

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
        if reserved or codec > 2 or number >= t.count or t.plan[number][0] != kind:
            return None
        raw, data = t.plan[number][1], self.data[offset:offset + stored]
        if len(data) < stored or (stored != raw if codec == 0 else stored >= raw):
            return None
        if xxh3(data) == digest:
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
                read_scheme(t)
            entries = 1 << t.bits if t.quantized and t.map == "custom" else 0
            length = 16 + 8 * ndim + 4 * entries + name_length + 1
            data = self.data[at:at + length]
            if len(data) < length or digest != xxh3(data[4:]) & NONE32:
                return None, 0
            t.shape = struct.unpack_from(f"<{ndim}Q", data, 16)
            t.raw_name = data[16 + 8 * ndim + 4 * entries:]
            t.raw_name.decode()
            measure_shape(t)
            if t.quantized:
                self._salvaged_table(t, data[16 + 8 * ndim:][:4 * entries])
            t.plan = expected_chunks(t)
        except (QckptError, UnicodeDecodeError):
            return None, 0
        t.count = len(t.plan)
        return (t, length) if t.plan else (None, 0)

    def _salvaged_table(self, t, entries):
        require(t.dtype in ("F32", "F16", "BF16"), "invalidScheme", f"quantized {t.dtype}")
        t.table = np.frombuffer(entries, "<f4") if entries else NAMED.get((t.map, t.bits, t.signed))
        require(t.table is not None, "invalidMapTable", "no such named map")
        if entries:
            check_custom(t.table, t.signed, t.rounding == "unknown")


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
    if t.elements == 0 or t.scaling == "block":
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
    if t.rounding == "nearest-keep-nonzero" and t.map == "custom" and t.signed:
        require(t.table[0] != 0, "invalidScheme", "keep-nonzero without a negative entry")
    require(t.elements < 1 << 60 and scale_count(t) < 1 << 60, "limitExceeded", "too many elements")
    scales = scale_count(t)
    require((scales + t.elements) // CHUNK_ELEMENTS <= len_limit(t) + 1, "invalidChunkTable", "another number of chunks")
    plan = [(SCALES, 4 * min(CHUNK_SCALES, scales - i)) for i in range(0, scales, CHUNK_SCALES)]
    for start in range(0, t.elements, CHUNK_ELEMENTS):
        n = min(CHUNK_ELEMENTS, t.elements - start)
        blocks = -(-n // t.block) if t.scaling == "block" else 0
        plan.append((CODES, 4 * blocks + (n if t.bits == 8 else (n + 1) // 2)))
    return plan


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


def decode_stream(t, payloads):
    payloads, vector, count = iter(payloads), np.zeros(0, np.float32), scale_count(t)
    while len(vector) < count:
        vector = np.concatenate([vector, np.frombuffer(next(payloads), "<f4")])
    check_scales(t, vector)
    values, all_codes, all_scales = [], [], []
    for chunk, payload in enumerate(payloads):
        start = chunk * CHUNK_ELEMENTS
        n = min(CHUNK_ELEMENTS, t.elements - start)
        blocks = -(-n // t.block) if t.scaling == "block" else 0
        packed = np.frombuffer(payload[4 * blocks:], np.uint8)
        if t.bits == 4:
            require(n % 2 == 0 or packed[-1] & 15 == 0, "invalidCode", "a nibble after the last code")
            packed = np.stack([packed >> 4, packed & 15], 1).reshape(-1)[:n]
        if t.scaling == "block":
            own = np.frombuffer(payload[:4 * blocks], "<f4")
            check_scales(t, own)
            scales = np.repeat(own, t.block)[:n]
        else:
            scales = element_scales(t, vector, start, n)
        require(not np.any(np.isnan(t.table[packed])), "invalidCode", "a code without a value")
        with np.errstate(all="ignore"):
            values.append(t.table[packed] * scales + np.float32(0))
        all_codes.append(packed)
        all_scales.append(scales)
    empty = (np.zeros(0, np.float32), np.zeros(0, np.uint8), np.zeros(0, np.float32))
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


def radii(table, signed, rounding, dtype):
    """R(c) of every code."""
    wide = np.asarray(table, np.float64)
    last = distinct(table) - 1
    limits = thresholds(table).astype(np.float64)
    delta = {"F32": 0.0, "BF16": 2.0**-8, "F16": 2.0**-11}[dtype]
    has_zero = bool(np.any(table == 0))
    result = []
    for code in range(len(table)):
        c = min(code, last)
        if rounding == "stochastic":
            low, high = (wide[c - 1] if c else -float(signed)), (wide[c + 1] if c < last else 1.0)
        else:
            low, high = (limits[c - 1] if c else -float(signed)), (limits[c] if c < last else 1.0)
            if rounding == "nearest-keep-nonzero" and has_zero:
                if wide[c] == 0:
                    low = high = 0.0
                else:
                    low = 0.0 if c and wide[c - 1] == 0 else low
                    high = 0.0 if c < last and wide[c + 1] == 0 else high
        radius = max(wide[c] - low, high - wide[c], 0.0)
        result.append(radius + 2.0**-23 + delta * abs(wide[c]))
    return np.array(result)


def absolute_term(dtype):
    return {"F32": 2.0**-149, "BF16": 2.0**-133 + 2.0**-149, "F16": 2.0**-24 + 2.0**-149}[dtype]


LARGEST = {"F32": (2 - 2.0**-23) * 2.0**127, "BF16": (2 - 2.0**-7) * 2.0**127, "F16": 65504.0}


def element_bounds(t, codes, scales):
    magnitude = np.abs(scales.astype(np.float64))
    bound = (magnitude * radii(t.table, t.signed, t.rounding, t.dtype)[codes] + absolute_term(t.dtype)) * (1 + 2.0**-40)
    bound[magnitude > LARGEST[t.dtype]] = np.inf
    return np.where(magnitude == 0, 0.0, bound)


def guarantee(checkpoint, t):
    """The guarantee recomputed from codes and scales; None where nothing is guaranteed."""
    if not t.quantized:
        return 0.0
    if t.rounding == "unknown":
        return None
    _, codes, scales = checkpoint.decode(t)
    return float(np.max(element_bounds(t, codes, scales), initial=0.0))


def described(checkpoint, t):
    return {"name": t.name, "dtype": t.dtype, "shape": list(t.shape),
            "sha256": hashlib.sha256(checkpoint.read(t)).hexdigest()}


def summary(checkpoint):
    """What a checkpoint holds, with the SHA-256 of each tensor's decoded bytes."""
    checkpoint.check_all_bytes()
    tensors = []
    for t in checkpoint.tensors:
        recomputed = guarantee(checkpoint, t)
        require(recomputed is None or recomputed <= t.guaranteed, "boundViolated", t.name)
        tensors.append({
            **described(checkpoint, t), "guaranteed_max_abs_error": None if recomputed is None else t.guaranteed})
    return {"format_version": "%d.%d" % checkpoint.version, "metadata": checkpoint.metadata(), "tensors": tensors}


def main(arguments):
    data = pathlib.Path(arguments[-1]).read_bytes()
    if arguments[0] == "--salvage":
        found = Salvage(data)
        return {"tensors": [described(found, t) for t in found.tensors]}
    return summary(Checkpoint(data))


if __name__ == "__main__":
    try:
        print(json.dumps(main(sys.argv[1:]), indent=2))
    except QckptError as defect:
        print(defect, file=sys.stderr)
        sys.exit(3)
