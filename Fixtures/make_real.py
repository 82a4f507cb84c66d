"""Cuts the real state of Fixtures/real out of a larger one: python make_real.py STATE.safetensors

Whole tensors are taken as they are; a second run on the same input gives the same bytes.
"""

import json
import pathlib
import struct
import sys

KEEP = [
    f"{kind}/{name}"
    for name in ("blocks.3.fc.weight", "blocks.3.proj.weight", "blocks.3.qkv.bias", "blocks.3.ln1.weight", "wpe.weight")
    for kind in ("exp_avg", "exp_avg_sq")
] + ["param/blocks.3.proj.weight", "param/blocks.3.ln1.weight", "rng/torch"]


def main(path):
    state = pathlib.Path(path).read_bytes()
    length = struct.unpack("<Q", state[:8])[0]
    header = json.loads(state[8:8 + length])
    data = memoryview(state)[8 + length:]
    entries, body = {"__metadata__": header["__metadata__"]}, bytearray()
    for name in sorted(KEEP, key=lambda n: (header[n]["dtype"] != "F32", n)):
        begin, end = header[name]["data_offsets"]
        start = len(body)
        body += data[begin:end]
        entries[name] = {
            "dtype": header[name]["dtype"], "shape": header[name]["shape"], "data_offsets": [start, len(body)]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    target = pathlib.Path(__file__).parent / "real" / "gpt-char.safetensors"
    target.write_bytes(struct.pack("<Q", len(text)) + text + body)
    print(target, target.stat().st_size)


if __name__ == "__main__":
    main(*sys.argv[1:])
