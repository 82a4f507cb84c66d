"""Answers for the fuzz target `reference` what the reference reader makes of files that come one after another.

Standard input: for each file its length, 4 bytes, and its bytes. Standard output: a line of JSON for each, `code` of the
refusal and whether it came on opening, or the names and XXH3-64 of all tensors.
"""

import json
import pathlib
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "Spec" / "Reference"))
import qckpt_reader as spec  # noqa: E402


def answer(data):
    opened = False
    try:
        checkpoint = spec.Checkpoint(data)
        opened = True
        spec.summary(checkpoint)
        return {"tensors": [[t.name, "%016x" % spec.xxh3(checkpoint.read(t))] for t in checkpoint.tensors]}
    except spec.QckptError as error:
        return {"code": error.code, "opened": opened}
    except Exception as error:  # whatever it is, the target is to hear of it
        return {"crash": repr(error)}


def main():
    source, sink = sys.stdin.buffer, sys.stdout
    while head := source.read(4):
        length = struct.unpack("<I", head)[0]
        sink.write(json.dumps(answer(source.read(length))).encode() + b"\n")
        sink.flush()


main()
