"""What `make install` puts in place, and how programs are compiled against it."""

import os
import subprocess

STRICT = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-O1", "-g"]


def run(command, status=0, **keywords):
    """Runs a command and returns its standard output."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, **keywords)
    assert done.returncode == status, f"{command}: {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


class Installed:
    """A prefix into which `make install` put everything."""

    def __init__(self, prefix):
        self.prefix = prefix
        self.headers = sorted((prefix / "include").glob("qcodec*.h"))
        self.library = prefix / "lib" / "libcqcodec.so"
        self.environment = {
            **os.environ, "PKG_CONFIG_PATH": str(prefix / "lib" / "pkgconfig"), "LD_LIBRARY_PATH": str(prefix / "lib")}

    def package(self, *options):
        return run(["pkg-config", *options, "qcodec"], env=self.environment).split()

    def compile(self, compiler, source, output, *options):
        """Compiles one file as the comment at its top says, with every warning an error."""
        run([*compiler, *STRICT, source, *self.package("--cflags", "--libs"), *options, "-o", output],
            env=self.environment)
        return output

    def start(self, *command, status=0):
        return run(command, status, env=self.environment)
