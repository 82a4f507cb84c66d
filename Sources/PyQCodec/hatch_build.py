"""Builds libcqcodec.so and the command in the enclosing checkout and puts them into the wheel."""

import pathlib
import platform
import re
import subprocess
import sys

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class QCodecBuildHook(BuildHookInterface):
    """Runs `make library`, which is `swift build --product cqcodec -Xswiftc -static-stdlib` and what it needs."""

    def initialize(self, version, build_data):
        checkout = pathlib.Path(self.root).resolve().parents[1]
        if not (checkout / "Package.swift").is_file():
            raise RuntimeError(
                "the qcodec package is built from a checkout of qcodec, whose Sources/PyQCodec this folder is, with Swift "
                "6.3 on PATH: it compiles libcqcodec.so. Clone the repository and run `pip install ./Sources/PyQCodec`, or "
                "install a wheel"
            )
        done = subprocess.run(["make", "-C", str(checkout), "library"], stdout=sys.stderr)
        if done.returncode:
            raise RuntimeError(f"`make library` failed in {checkout}; what it printed stands above")
        built = checkout / ".build" / "library" / "release"
        library, command = built / "libcqcodec.so", built / "qcodec"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{tag(library, command)}"
        build_data["force_include"][str(library)] = "qcodec/libcqcodec.so"
        build_data["shared_scripts"][str(command)] = "qcodec"


def tag(*files):
    """The platform tag: as old a glibc as the files were linked to."""
    newest = max(int(minor) for file in files for minor in re.findall(rb"GLIBC_2\.(\d+)", file.read_bytes()))
    return f"manylinux_2_{newest}_{platform.machine()}"
