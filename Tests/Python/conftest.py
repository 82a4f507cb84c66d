"""What the Python tests share: the command under test, the reference reader and the real states."""

import importlib
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from installed import Installed, run

ROOT = pathlib.Path(__file__).resolve().parents[2]
# As modules of their own names, so that reader, writer and generator share one set of tables and one error type.
sys.path[:0] = [str(ROOT / "Spec" / "Reference"), str(ROOT / "Fixtures"), str(ROOT / "Tests" / "Faults")]


@pytest.fixture(scope="session")
def root():
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def reader():
    """The reference reader, as a module."""
    return importlib.import_module("qckpt_reader")


@pytest.fixture(scope="session")
def writer():
    """The writer that makes the fixtures: apart from the command, from the text of Spec/ alone."""
    return importlib.import_module("qckpt_writer")


@pytest.fixture(scope="session")
def binary():
    """The path of the command under test."""
    return os.environ.get("QCODEC_BINARY", str(ROOT / ".build" / "release" / "qcodec"))


@pytest.fixture(scope="session")
def qcodec(binary):
    """Runs the command; returns the finished process, or the parsed document with json_output=True."""

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


@pytest.fixture(scope="session")
def installed(root, tmp_path_factory):
    """A prefix into which `make install` put everything."""
    prefix = tmp_path_factory.mktemp("prefix")
    run(["make", "-C", root, "install", f"PREFIX={prefix}"])
    return Installed(prefix)


@pytest.fixture(scope="session")
def swift_examples(root):
    """The folder of the programs in Swift that use the libraries as another package does: the example, the tutorial's steps."""
    command = [
        "swift", "build", "-c", "release", "--package-path", root / "Sources" / "Examples" / "swift", "--scratch-path",
        root / ".build" / "examples"]
    assert "warning: " not in "".join(re.findall(r"Sources/Examples/.*", run(command)))
    return pathlib.Path(run([*command, "--show-bin-path"]).strip())
