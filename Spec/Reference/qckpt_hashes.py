"""The hashes of Hashes.md, by the reference reader and the Python package xxhash.

    python qckpt_hashes.py FILE…    prints the manifest of checkpoints, as `qcodec hash` does
"""

import pathlib
import struct
import sys

import xxhash

import qckpt_reader


def value_hash(dtype, shape, data):
    """The hash of a tensor's values, of its bytes in its dtype."""
    return xxhash.xxh3_128_hexdigest(f"{dtype} {','.join(map(str, shape))}\n".encode("ascii") + bytes(data))


def stored_hash(checkpoint, t):
    """The hash of a tensor's chunks as they lie in the file."""
    places = [checkpoint.chunks[place][:2] for place in t.places]
    return xxhash.xxh3_128_hexdigest(b"".join(checkpoint.data[start:start + length] for start, length in places))


def file_hash(hashes):
    """The hash of a file by {name: hash}."""
    ordered = sorted((name.encode(), bytes.fromhex(digest)) for name, digest in hashes.items())
    return xxhash.xxh3_128_hexdigest(
        b"".join(digest + struct.pack("<Q", len(name)) + name for name, digest in ordered))


def escaped(name):
    """A name as manifests write it."""
    special = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}

    def one(letter):
        code = ord(letter)
        hidden = code < 0x20 or 0x7F <= code <= 0x9F or code in (0x2028, 0x2029)
        return special.get(letter, f"\\u{{{code:x}}}" if hidden else letter)

    return "".join(map(one, name))


def manifest(path):
    """The lines of a checkpoint."""
    checkpoint = qckpt_reader.read_file(path)
    values = {t.name: value_hash(t.dtype, t.shape, checkpoint.read(t)) for t in checkpoint.tensors}
    stored = {t.name: stored_hash(checkpoint, t) for t in checkpoint.tensors}
    whole = f"{file_hash(values)}  {file_hash(stored)}  {escaped(path)}"
    return [whole, *(f"{values[name]}  {stored[name]}  {escaped(path)}\t{escaped(name)}" for name in values)]


if __name__ == "__main__":
    for file in sys.argv[1:]:
        print("\n".join(manifest(file)))
