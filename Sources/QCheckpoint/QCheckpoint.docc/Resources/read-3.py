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


def decode_log(payload, elements, block):
    """Elements of a chunk under `log` with 8 bits: the lo and hi of each block, then a byte an element."""
    blocks = -(-elements // block)
    low, high = np.frombuffer(payload, "<u4", 2 * blocks).reshape(blocks, 2).T.astype(np.int64)
    codes = np.frombuffer(payload, np.uint8, elements, 8 * blocks).astype(np.int64)
    of = np.arange(elements) // block
    zeros = (low >> 31)[of]  # the sign of lo: code 0 is +0
    low &= 0x7FFFFFFF
    steps = 255 - zeros
    pattern = low[of] + np.rint((codes - zeros) * ((high - low)[of] / steps)).astype(np.int64)
    pattern[(zeros == 1) & ((codes == 0) | (high[of] == 0))] = 0
    return pattern.astype(np.uint32).view(np.float32)
