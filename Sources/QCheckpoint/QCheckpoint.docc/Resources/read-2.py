import struct

import numpy as np
import xxhash

data = open("state.qckpt", "rb").read()
trailer = data[-96:]
directory_at, directory_length, directory_sum = struct.unpack_from("<3Q", trailer, 0)
(trailer_sum,) = struct.unpack_from("<Q", trailer, 88)
assert trailer[80:88] == b"QCKPTEND"
assert trailer_sum == xxhash.xxh3_64_intdigest(trailer[:88])

directory = data[directory_at : directory_at + directory_length]
assert directory_sum == xxhash.xxh3_64_intdigest(directory)
tensors, chunks, dims, table_bytes, name_bytes, pairs = struct.unpack_from("<6Q", directory, 0)
dims_at = 64 + 136 * tensors
chunks_at = dims_at + 8 * dims
names_at = len(directory) - name_bytes


def record(index):
    """Name, dims, first chunk, number of chunks and the eight bytes of the scheme."""
    at = 64 + 136 * index
    name, length, rank, first_dim = struct.unpack_from("<QI3xBQ", directory, at)
    first_chunk, count = struct.unpack_from("<2Q", directory, at + 24)
    shape = struct.unpack_from(f"<{rank}Q", directory, dims_at + 8 * first_dim)
    text = directory[names_at + name :][:length].decode()
    return text, shape, first_chunk, count, directory[at + 40 : at + 48]


for index in range(tensors):
    print(record(index))
