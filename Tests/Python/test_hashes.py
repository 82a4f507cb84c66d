"""`qcodec hash` against Spec/Hashes.md, by the reference reader and the Python package xxhash."""

import importlib
import re

import pytest

import tensorfile


@pytest.fixture(scope="module")
def hashes(reader):
    """The reference implementation, as a module; `reader` puts it on the path."""
    assert reader
    return importlib.import_module("qckpt_hashes")


@pytest.fixture(scope="module")
def vectors(root):
    """The rows of Spec/Hashes.md as (dtype, shape, bytes, hash), and the hash of the file of the first and the last."""
    text = (root / "Spec" / "Hashes.md").read_text()
    (body,) = re.findall(r"^```vectors tensor-hash\n(.*?)^```$", text, re.S | re.M)
    rows = [re.split(r"  +", line) for line in body.splitlines()]
    assert rows[0] == ["dtype", "shape", "bytes", "values"] and len(rows) > 4

    def row(dtype, shape, data, digest):
        lengths = () if shape == "-" else tuple(map(int, shape.split(",")))
        return dtype, lengths, b"" if data == "-" else bytes.fromhex(data), digest

    (whole,) = re.findall(r"^The file of the tensors .* has `([0-9a-f]{32})`\.$", text, re.M)
    return [row(*cells) for cells in rows[1:]], whole


def test_vectors_are_those_of_the_reference(hashes, vectors):
    rows, whole = vectors
    for dtype, shape, data, digest in rows:
        assert hashes.value_hash(dtype, shape, data) == digest
    assert hashes.file_hash({"a": rows[0][3], "b": rows[-1][3]}) == whole


def test_vectors_are_those_of_the_command(qcodec, vectors, tmp_path):
    rows, whole = vectors
    path = tmp_path / "vectors.safetensors"
    path.write_bytes(tensorfile.dump({str(i): tensorfile.Entry(*row[:3]) for i, row in enumerate(rows)}))
    lines = qcodec("hash", path).stdout.decode().splitlines()
    assert lines[1:] == [f"{row[3]}  -  {path}\t{i}" for i, row in enumerate(rows)]
    path.write_bytes(tensorfile.dump({"b": tensorfile.Entry(*rows[-1][:3]), "a": tensorfile.Entry(*rows[0][:3])}))
    assert qcodec("hash", path).stdout.decode().splitlines()[0] == f"{whole}  -  {path}"


def test_manifests_of_every_golden_file_are_those_of_the_reference(root, hashes, qcodec):
    paths = sorted((root / "Fixtures" / "golden").glob("*.qckpt"))
    assert len(paths) > 15
    expected = [line for path in paths for line in hashes.manifest(str(path))]
    assert qcodec("hash", *paths).stdout.decode().splitlines() == expected


@pytest.mark.parametrize("preset", ["adam8", "adam4", "paper8", "paper4", "lossless"])
@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_manifests_of_real_states_are_those_of_the_reference(hashes, qcodec, states, tmp_path, preset, compression):
    for state in states:
        target, decoded = tmp_path / "state.qckpt", tmp_path / "decoded.safetensors"
        qcodec("encode", state, "-o", target, "--policy", preset, "--compression", compression)
        lines = qcodec("hash", target).stdout.decode().splitlines()
        assert lines == hashes.manifest(str(target))
        # What was decoded to safetensors has the same values.
        qcodec("decode", target, "-o", decoded)
        tensors, _ = tensorfile.load(decoded.read_bytes())
        values = {name: hashes.value_hash(*tensors[name]) for name in tensors}
        found = [line.split("  ")[0] for line in qcodec("hash", decoded).stdout.decode().splitlines()]
        assert found == [hashes.file_hash(values), *(values[name] for name in sorted(values, key=str.encode))]
        assert [line.split("  ")[0] for line in lines] == found


def test_json_says_the_same(hashes, qcodec, root):
    path = root / "Fixtures" / "golden" / "pair-chunks.qckpt"
    (file,) = qcodec("hash", path, json_output=True)["files"]
    lines = [line.split("\t")[0].split("  ") for line in hashes.manifest(str(path))]
    assert [(file["values"], file["stored"]), *((t["values"], t["stored"]) for t in file["tensors"])] == [
        (values, stored) for values, stored, _ in lines]
