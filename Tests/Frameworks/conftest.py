"""What the tests with frameworks share: the package from the checkout, frameworks that may be absent, processes anew."""

import importlib
import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCES = ROOT / "Sources" / "PyQCodec" / "src"

# An installed package is the one under test.
if importlib.util.find_spec("qcodec") is None:
    sys.path.insert(0, str(SOURCES))


def need(*names):
    """Imports frameworks and returns the first; without one, skips the module by its name, and fails it where CI is set."""
    modules = []
    for name in names:
        try:
            modules.append(importlib.import_module(name))
        except ImportError as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(f"{name} is not installed ({error})", allow_module_level=True)
    return modules[0]


@pytest.fixture
def python(tmp_path):
    """Runs a script in a new process, in the test's folder, and returns what it wrote; `fails` expects that it ends so."""

    def run(script, *arguments, fails=False):
        paths = [str(pathlib.Path(importlib.import_module("qcodec").__file__).parents[1]), os.environ.get("PYTHONPATH")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "CUDA_VISIBLE_DEVICES": ""}
        environment.setdefault("OMP_NUM_THREADS", "1")
        done = subprocess.run(
            [sys.executable, str(script), *map(str, arguments)], cwd=tmp_path, env=environment, capture_output=True,
            text=True, timeout=300,
        )
        assert (done.returncode != 0) == fails, done.stderr[-4000:]
        return done.stderr if fails else done.stdout

    return run
