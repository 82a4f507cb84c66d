"""A safetensors reader and writer of a few lines, so that no test rests on the package or the command alone."""

import json
import struct
from typing import NamedTuple


class Entry(NamedTuple):
    """A tensor of a file: its dtype by name, its shape and its bytes."""

    dtype: str
    shape: tuple
    data: bytes


def dump(tensors, metadata=None):
    """The file of {name: Entry} in the order given."""
    header, end = {"__metadata__": metadata} if metadata else {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + len(data)]}
        end += len(data)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([struct.pack("<Q", len(text)), text, *(entry.data for entry in tensors.values())])


def load(data):
    """({name: Entry} in the order of their bytes, metadata) of a file."""
    (length,) = struct.unpack_from("<Q", data)
    header, body = json.loads(data[8:8 + length]), memoryview(data)[8 + length:]
    metadata = header.pop("__metadata__", {})
    ordered = sorted(header.items(), key=lambda item: item[1]["data_offsets"])
    tensors = {
        name: Entry(entry["dtype"], tuple(entry["shape"]), bytes(body[slice(*entry["data_offsets"])]))
        for name, entry in ordered}
    return tensors, metadata
