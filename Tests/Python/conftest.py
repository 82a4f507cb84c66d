"""What the Python tests share: the command under test, the reference reader and the real state."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def _load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def reader():
    """The reference reader, as a module."""
    return _load(ROOT / "Spec" / "Reference" / "qckpt_reader.py")


@pytest.fixture(scope="session")
def golden():
    """The generator of the golden files, which has a writer of its own."""
    return _load(ROOT / "Fixtures" / "make_golden.py")


@pytest.fixture(scope="session")
def qcodec():
    """Runs the command; returns the finished process, or the parsed document with json=True."""
    binary = os.environ.get("QCODEC_BINARY", str(ROOT / ".build" / "release" / "qcodec"))

    def run(*arguments, status=0, json_output=False, **keywords):
        command = [binary, *map(str, arguments)] + (["--json"] if json_output else [])
        done = subprocess.run(command, capture_output=True, **keywords)
        assert done.returncode == status, (command, done.returncode, done.stderr.decode(errors="replace"))
        return json.loads(done.stdout) if json_output else done

    return run


@pytest.fixture(scope="session")
def states():
    """The real optimizer states that the project ships."""
    found = sorted((ROOT / "Fixtures" / "real").glob("*.safetensors"))
    assert found
    return found
