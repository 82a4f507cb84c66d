"""Writes Fixtures/invalid: small checkpoints of which each breaks one rule, all else and every hash being right.

    python make_invalid.py            writes the files and expected.json
    python make_invalid.py --check    compares them with what would be written
"""

import itertools
import json
import pathlib
import sys

import invalid_base
import invalid_directory
import invalid_escapes
import invalid_file
import invalid_pairs
from qckpt_writer import spec

FOLDER = pathlib.Path(__file__).resolve().parent / "invalid"


def refusal(data):
    """The code with which the reference reader refuses a file, or None."""
    try:
        spec.summary(spec.Checkpoint(data, folder=FOLDER))
    except spec.QckptError as error:
        return error.code
    return None


def make():
    """{file name: bytes}, expected.json among them."""
    files, expected = {}, {}
    modules = (invalid_file, invalid_directory, invalid_pairs, invalid_escapes, invalid_base)
    for valid in (each for module in modules if hasattr(module, "unspoiled") for each in module.unspoiled()):
        assert refusal(valid) is None, "a file that is not yet spoiled is refused"
    for name, data, what in itertools.chain(*(module.cases() for module in modules)):
        assert name not in files, name
        files[name], expected[name] = data, what
    files["expected.json"] = json.dumps(expected, indent=1, sort_keys=True).encode() + b"\n"
    return files


def main(arguments):
    files = make()
    if arguments == ["--check"]:
        there = {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.name != "README.md"}
        wrong = sorted(name for name in files.keys() | there.keys() if files.get(name) != there.get(name))
        sys.exit(f"differ: {wrong}" if wrong else 0)
    for old in [*FOLDER.glob("*.qckpt"), *FOLDER.glob("*.json")]:
        old.unlink()
    FOLDER.mkdir(exist_ok=True)
    for name, data in files.items():
        (FOLDER / name).write_bytes(data)
    print(f"{len(files) - 1} files, {sum(map(len, files.values()))} bytes")
    for name, what in json.loads(files["expected.json"]).items():
        found = refusal(files[name])
        if found != what["code"]:
            print(f"{name}: {what['code']} is due, the reference reader says {found}")


if __name__ == "__main__":
    main(sys.argv[1:])
