"""The package's types, as checkers see them through py.typed."""

import subprocess
import sys


def test_annotations_hold(root):
    package = root / "Sources" / "PyQCodec"
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", package / "pyproject.toml", "--cache-dir", "/dev/null", package / "src" / "qcodec"],
        capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
