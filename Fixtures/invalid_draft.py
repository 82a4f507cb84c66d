"""Checkpoints to be spoiled: laid out as a writer does, edited in any part, and closed with every hash right again."""

import struct

import qckpt_writer as writer
from qckpt_writer import Record, scheme, spec

# Fields of a tensor record, of a chunk record and of the trailer: where they are and how they are packed.
RECORD = {
    "name_offset": (0, "Q"), "name_length": (8, "I"), "dtype": (12, "B"), "role": (13, "B"), "encoding": (14, "B"),
    "ndim": (15, "B"), "dims_index": (16, "Q"), "first": (24, "Q"), "count": (32, "Q"), "map": (40, "B"), "bits": (41, "B"),
    "signed": (42, "B"), "scaling": (43, "B"), "block": (44, "B"), "domain": (45, "B"), "rounding": (46, "B"),
    "rule": (47, "B"), "table": (48, "I"), "reason": (52, "B"), "stride": (53, "B"), "reserved": (54, "H"),
    "reference": (56, "Q"), "seed": (64, "Q"), "max_abs": (72, "d"), "max_scaled": (80, "d"), "squared_error": (88, "d"),
    "squared_source": (96, "d"), "zeros": (104, "Q"), "signs": (112, "Q"), "guaranteed": (120, "d"), "relative": (128, "d"),
}
CHUNK = {"offset": (0, "Q"), "stored": (8, "I"), "raw": (12, "I"), "hash": (16, "Q"), "codec": (24, "B"), "kind": (25, "B"),
         "reserved": (26, "H"), "owner": (28, "I")}
PAIR = {"first": (0, "I"), "second": (4, "I"), "eps": (8, "d"), "squared_error": (16, "d"), "squared_update": (24, "d"),
        "max_abs": (32, "d"), "zeroed": (40, "Q"), "signs": (48, "Q")}
TRAILER = {name: (8 * i, "Q") for i, name in enumerate((
    "dir_offset", "dir_length", "dir_hash", "meta_offset", "meta_length", "meta_hash", "header_hash", "file_length",
    "count", "reserved"))}


def put(target, fields, name, value):
    offset, form = fields[name]
    struct.pack_into("<" + form, target, offset, value)


class Draft:
    """A checkpoint in parts. The body is laid out when it is made; records, names and the rest may be edited after."""

    def __init__(self, tensors, metadata=b"", order=None, stage=None, start=None, gap=None, arrange=list):
        """`stage(t, number, kind, payload)` gives codec and stored bytes; `gap` is a chunk before which 64 zeros stand;
        `arrange` puts the chunks in another order."""
        self.tensors, self.text = tensors, metadata
        self.order = order or sorted(tensors, key=lambda t: t.raw_name)
        self.body, self.chunks, self.leads = bytearray(start or writer.header()), [], []
        chunks = arrange(list(writer.in_file_order(
            tensors, lambda t: t.payloads(), lambda t: (t.payloads(), t.second.payloads()))))
        for place, (t, number, *_) in enumerate(chunks):
            t.first = t.first if number else place
        number_of = writer.ordinals(chunks)
        for t, number, kind, payload in chunks:
            codec, stored = stage(t, number, kind, payload) if stage else (0, payload)
            digest = spec.xxh3(stored)
            text = b"" if number else writer.preamble(
                t, t.raw_name, None if t.second is None else number_of[id(t.second)])
            frame = (len(stored), codec, kind, 0, number_of[id(t)], number, digest)
            lead = writer.lead(text, len(self.body), frame)
            if gap == len(self.chunks):
                lead = lead[:-24] + bytes(64) + lead[-24:]
            self.leads.append(len(self.body))
            self.body += lead
            self.chunks.append(bytearray(struct.pack(
                "<QIIQBBHI", len(self.body), len(stored), len(payload), digest, codec, kind, 0, self.order.index(t))))
            self.body += stored
        self.chunks_end = len(self.body)
        self.body = bytearray(writer.pad(bytes(self.body)))
        self._directory()

    def _directory(self):
        self.records, self.dims, self.tables, self.names, offsets = [], [], b"", b"", {}
        for t in self.order:
            table = t.table_section()
            if table and table not in offsets:
                offsets[table] = len(self.tables)
                self.tables += table
            second = spec.NONE64 if t.second is None else self.order.index(t.second)
            self.records.append(bytearray(t.record(len(self.names), len(self.dims), offsets.get(table, spec.NONE32), second)))
            self.dims += t.shape
            self.names += t.raw_name
        self.pairs, self.counts, self.trailing, self.in_trailer = [], {}, b"", {}

    # Editing

    def set(self, index=0, **values):
        """Changes fields of a tensor record."""
        for name, value in values.items():
            put(self.records[index], RECORD, name, value)
        return self

    def chunk(self, index=0, **values):
        """Changes fields of a chunk record."""
        for name, value in values.items():
            put(self.chunks[index], CHUNK, name, value)
        return self

    def pair(self, first=0, second=1, **values):
        """Adds a pair record."""
        record = bytearray(struct.pack("<2I4d2Q", first, second, 1e-8, 0.5, 2.0, 0.25, 0, 0))
        for name, value in values.items():
            put(record, PAIR, name, value)
        self.pairs.append(record)
        return self

    def trailer(self, **values):
        """Sets fields of the trailer that would otherwise follow from the rest."""
        self.in_trailer.update(values)
        return self

    def change(self, **values):
        """Replaces parts: dims, names, tables, counts, text, trailing."""
        self.__dict__.update(values)
        return self

    def flip(self, offset, bit=1):
        """Changes a bit of the body, whose hashes stay."""
        self.body[offset] ^= bit
        return self

    # Places in the file

    @property
    def meta_at(self):
        return len(self.body)

    @property
    def dir_at(self):
        return spec.aligned(len(self.body) + len(self.text))

    def record_at(self, index=0, field="name_offset"):
        return self.dir_at + 64 + 136 * index + RECORD[field][0]

    @property
    def chunks_at(self):
        return self.record_at(len(self.records)) + 8 * len(self.dims)

    def chunk_at(self, index=0, field="offset"):
        return self.chunks_at + 32 * index + CHUNK[field][0]

    def pair_at(self, index=0):
        return self.chunk_at(len(self.chunks)) + 56 * index

    @property
    def tables_at(self):
        return self.pair_at(len(self.pairs))

    @property
    def names_at(self):
        return self.tables_at + len(self.tables)

    def stored_at(self, index=0):
        """Where a chunk's stored bytes begin."""
        return struct.unpack_from("<Q", self.chunks[index])[0]

    # Closing

    def listing(self):
        counts = {"tensors": len(self.records), "chunks": len(self.chunks), "dims": len(self.dims),
                  "tables": len(self.tables), "names": len(self.names), "pairs": len(self.pairs), "r0": 0, "r1": 0,
                  **self.counts}
        return (struct.pack("<8Q", *counts.values()) + b"".join(map(bytes, self.records))
                + struct.pack(f"<{len(self.dims)}Q", *self.dims) + b"".join(map(bytes, self.chunks))
                + b"".join(map(bytes, self.pairs)) + self.tables + self.names + self.trailing)

    def bytes(self):
        data, listing = writer.pad(bytes(self.body) + self.text), self.listing()
        assert len(data) == self.dir_at
        data = writer.pad(data + listing)
        fields = {
            "dir_offset": self.dir_at, "dir_length": len(listing), "dir_hash": spec.xxh3(listing),
            "meta_offset": self.meta_at, "meta_length": len(self.text), "meta_hash": spec.xxh3(self.text),
            "header_hash": struct.unpack_from("<Q", self.body, 56)[0], "file_length": len(data) + 96,
            "count": len(self.records), "reserved": 0, **self.in_trailer}
        return data + writer.trailer(fields.values())


class Part(Record):
    """A tensor of a draft: its payloads are given, its name is any bytes."""

    def __init__(self, name, dtype, shape, payloads=None, how=None, second=None, **fields):
        self.raw_name = name if isinstance(name, bytes) else name.encode()
        elements = 1
        for length in shape:
            elements *= length
        super().__init__("", dtype, shape, bytes(elements * writer.BITS[dtype] // 8), how, second=second)
        self.given = payloads
        self.__dict__.update(fields)

    def payloads(self):
        if self.given is not None:
            return self.given
        assert not self.quantized
        return [(spec.LOSSLESS, self.data)] if self.data else []

    def table_section(self):
        return writer.table_bytes(self)

    def record(self, name_offset, dims_index, table, second):
        self.name = self.raw_name.decode(errors="replace")
        body = bytearray(writer.tensor_record(self, name_offset, dims_index, table, second))
        put(body, RECORD, "name_length", len(self.raw_name))
        return body


def lossless(name="a", count=3, dtype="U8", shape=None):
    """A small lossless tensor."""
    shape = (count,) if shape is None else shape
    part = Part(name, dtype, shape)
    part.data = bytes(1 + i % 250 for i in range(len(part.data)))
    return part


def quantized(map_="dynamic", bits=8, signed=True, name="a", count=5, shape=None, scales=(1.5,), codes=None, dtype="F32",
              block=32, guaranteed=9.0, second=None, **how):
    """A small quantized tensor of given scales and codes, all codes the first by default; `second` puts it in the update
    domain."""
    shape = (count,) if shape is None else shape
    if how.get("scaling", "block") == "block":
        how["block"] = block
    domain = "value" if second is None else "update"
    part = Part(name, dtype, shape, how=scheme(map_, bits, signed, domain=domain, **how), second=second, guaranteed=guaranteed)
    if part.has_relative:
        part.relative = guaranteed
    if part.rounding == "unknown":
        part.guaranteed = float("nan")
    stream = struct.pack(f"<{len(scales)}f", *scales)
    packed = bytes((part.elements * bits + 7) // 8) if codes is None else codes
    if part.scaling == "block":
        part.given = [(spec.CODES, stream + packed)] if part.elements else []
    else:
        part.given = [(spec.SCALES, stream), (spec.CODES, packed)]
    return part


def log(name="v", ends=(0.5, 2.0), bits=8, **how):
    """A small tensor under the log map."""
    return quantized("log", bits, False, name=name, scales=ends, **how)


def pair(first="m", second="v", of_second=None, **how):
    """A first moment in the update domain and its second moment."""
    v = log(second, shape=how.get("shape"), count=how.get("count", 5)) if of_second is None else of_second
    return [quantized(how.pop("map_", "linear"), name=first, second=v, **how), v]
