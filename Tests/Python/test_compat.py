"""Fixtures/compat against every reader: what was frozen with format 1.0 does not change, and is read as it was read then."""

import hashlib
import importlib
import json
import subprocess
import sys

import pytest

import tensorfile

# The SHA-256 of SHA256SUMS, which Fixtures/freeze.py said when it wrote the folder. It never changes.
FROZEN = "3e068cfc39b62b95cfb41125dcd4ae0fc7a6dc074f64897d11ff6810617d818d"
# Files with a tensor of a dtype that safetensors has no name for.
NOT_IN_SAFETENSORS = {"golden/c128.qckpt"}


@pytest.fixture(scope="module")
def folder(root):
    return root / "Fixtures" / "compat" / "1.0"


@pytest.fixture(scope="module")
def expected(folder):
    """What the reference reader found on the day, for each file by its path in the folder."""
    return json.loads((folder / "expected.json").read_text())


@pytest.fixture(scope="module")
def freeze():
    """The script that wrote the folder, as a module."""
    return importlib.import_module("freeze")


def test_no_file_was_changed_added_or_removed(folder):
    sums = (folder / "SHA256SUMS").read_bytes()
    assert hashlib.sha256(sums).hexdigest() == FROZEN, "what is frozen is never written again"
    listed = dict(reversed(line.split("  ", 1)) for line in sums.decode().splitlines())
    there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    assert set(listed) | {"SHA256SUMS"} == set(there)
    for name, digest in listed.items():
        assert hashlib.sha256(there[name].read_bytes()).hexdigest() == digest, name


def test_every_checkpoint_of_the_folder_has_its_expectations(folder, expected):
    assert sorted(expected) == sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.qckpt"))


def test_the_reference_reader_finds_what_it_found(freeze, folder, expected):
    for name, then in expected.items():
        assert freeze.found(folder / name) == then, name


def test_the_command_verifies_every_file(qcodec, folder, expected):
    for name in expected:
        qcodec("verify", folder / name)


def test_the_command_decodes_every_tensor_to_the_bytes_of_then(qcodec, folder, expected, tmp_path):
    target = tmp_path / "decoded.safetensors"
    for name, then in expected.items():
        if name in NOT_IN_SAFETENSORS:
            qcodec("decode", folder / name, "-o", target, status=3)
            continue
        qcodec("decode", folder / name, "-o", target)
        tensors, _ = tensorfile.load(target.read_bytes())
        found = {tensor: (t.dtype, list(t.shape), hashlib.sha256(t.data).hexdigest()) for tensor, t in tensors.items()}
        assert found == {t["name"]: (t["dtype"], t["shape"], t["sha256"]) for t in then["tensors"]}, name


def test_the_script_leaves_a_folder_alone_that_is_there(root, tmp_path):
    (tmp_path / "kept").touch()
    command = [sys.executable, root / "Fixtures" / "freeze.py", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.endswith("what is frozen is never written again\n")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
