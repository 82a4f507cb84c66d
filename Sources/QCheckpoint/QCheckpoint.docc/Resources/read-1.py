import struct

import numpy as np
import xxhash

data = open("state.qckpt", "rb").read()
trailer = data[-96:]
directory_at, directory_length, directory_sum = struct.unpack_from("<3Q", trailer, 0)
(trailer_sum,) = struct.unpack_from("<Q", trailer, 88)
assert trailer[80:88] == b"QCKPTEND"
assert trailer_sum == xxhash.xxh3_64_intdigest(trailer[:88])
