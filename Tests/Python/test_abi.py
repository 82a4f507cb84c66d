"""The C interface as it is installed: what the library shows and needs, a program in C that calls every function, under
valgrind too, and the examples in C, C++ and Swift."""

import pathlib
import re
import struct
import subprocess

import pytest

from installed import run


@pytest.fixture(scope="session")
def declared(installed):
    """The functions of the headers, without types of functions."""
    text = re.sub(r"//.*", "", "".join(header.read_text() for header in installed.headers))
    names = re.findall(r"\b(qcodec_\w+)\(", text)
    assert len(names) == len(set(names)) and len(names) > 50
    return set(names)


# What is installed


def test_the_library_shows_the_functions_of_the_header_and_nothing_else(installed, declared):
    lines = run(["nm", "-D", "--defined-only", "--extern-only", installed.library]).splitlines()
    assert {line.split()[-1] for line in lines} == declared


def test_the_library_needs_nothing_of_swift_and_no_compression_library(installed):
    for file in (installed.library, installed.prefix / "bin" / "qcodec"):
        needed = run(["ldd", file]).lower()
        assert "libc.so" in needed and "not found" not in needed
        for word in ("swift", "foundation", "lz4", "zstd", "xxhash", "libz."):
            assert word not in needed, (file, needed)


def test_package_and_command_name_the_same_version(installed):
    version = installed.package("--modversion")[0]
    assert version in run([installed.prefix / "bin" / "qcodec", "--version"])
    assert f"-L{installed.prefix}/lib" in installed.package("--libs")
    assert f"-I{installed.prefix}/include" in installed.package("--cflags")


def test_the_installed_command_encodes_and_verifies(installed, states, tmp_path):
    command, output = installed.prefix / "bin" / "qcodec", tmp_path / "state.qckpt"
    run([command, "encode", states[0], "-o", output])
    run([command, "verify", output, "--against", states[0]])


def test_header_is_c99_c11_and_cpp_without_a_warning(installed, tmp_path):
    for compiler, name in ((["gcc", "-std=c99"], "h.c"), (["gcc", "-std=c11"], "h.c"), (["g++", "-std=c++11"], "h.cpp")):
        source = tmp_path / name
        source.write_text("#include <qcodec.h>\nint main(void) { return qcodec_abi_version() == QCODEC_ABI_VERSION ? 0 : 1; }\n")
        installed.start(installed.compile(compiler, source, tmp_path / "h"))


# The program in C


@pytest.fixture(scope="session")
def program(root, installed, tmp_path_factory):
    source = root / "Tests" / "ABI" / "test_abi.c"
    return installed.compile(
        ["gcc", "-std=c11"], source, tmp_path_factory.mktemp("abi") / "test_abi", "-lm", "-lpthread")


def test_the_program_calls_every_function(root, declared):
    text = (root / "Tests" / "ABI" / "test_abi.c").read_text()
    missing = {name for name in declared if not re.search(rf"\b{name}\b", text)}
    assert not missing


def test_every_function_does_what_its_comment_says(installed, program, tmp_path):
    assert installed.start(program, tmp_path).endswith(" 0 failures\n")


@pytest.mark.parametrize("level", ["scalar", "sse2"])
def test_other_kernels_do_the_same(installed, program, tmp_path, level):
    command = ["env", f"QCODEC_KERNELS={level}", program, tmp_path]
    assert installed.start(*command).endswith(" 0 failures\n")


def test_nothing_is_lost_or_read_uninitialised(installed, program, tmp_path):
    # What the runtime of Swift makes once and keeps is reachable until the end, and no error.
    command = [
        "valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full", "--show-leak-kinds=definite",
        "--errors-for-leak-kinds=definite", program, tmp_path]
    assert installed.start(*command).endswith(" 0 failures\n")


# Examples


def losses(text):
    """Step and loss of every line that has them."""
    return [(int(step), float(loss)) for step, loss in re.findall(r"^step (\d+) loss ([\d.e-]+)$", text, re.MULTILINE)]


def resumed_beside_straight(train, straight, halves):
    """Trains 200 steps in one process, and 100 in each of two; returns both losses, and that at the beginning."""
    whole = losses(train(straight, 200))
    first, second = losses(train(halves, 100)), losses(train(halves, 100))
    assert [step for step, _ in whole + first + second] == [0, 200, 0, 100, 100, 200]
    # Parameters are kept bit for bit.
    assert first[1] == second[0]
    return whole[1][1], second[1][1], whole[0][1]


@pytest.fixture(scope="session")
def c_example(root, installed, tmp_path_factory):
    return installed.compile(
        ["gcc", "-std=c11"], root / "Sources" / "Examples" / "c" / "train.c", tmp_path_factory.mktemp("c") / "train",
        "-lm")


@pytest.fixture(scope="session")
def state(installed, c_example, tmp_path_factory):
    """A checkpoint of the example in C."""
    path = tmp_path_factory.mktemp("state") / "state.qckpt"
    installed.start(c_example, path, "--steps", "20")
    return path


def test_training_in_c_goes_on_as_if_nothing_had_been(installed, c_example, tmp_path):
    straight, resumed, beginning = resumed_beside_straight(
        lambda path, steps: installed.start(c_example, path, "--steps", steps), tmp_path / "a", tmp_path / "b")
    assert straight < beginning / 2
    # Moments pass through 8 bits once, at step 100, which moves the loss by 1e-6; without first moments it would be off by
    # 1.5e-4, without any by 3e-3.
    assert abs(resumed - straight) < 2e-5


def test_training_in_c_names_what_is_wrong_with_a_file(installed, c_example, state, tmp_path):
    damaged = tmp_path / "damaged"
    damaged.write_bytes(state.read_bytes()[:-1])
    done = subprocess.run(
        [c_example, damaged, "--steps", "1"], env=installed.environment, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith(f"train: {damaged}: ")
    assert damaged.read_bytes() == state.read_bytes()[:-1]


@pytest.fixture(scope="session")
def cpp_example(root, installed, tmp_path_factory):
    return installed.compile(
        ["g++", "-std=c++17"], root / "Sources" / "Examples" / "cpp" / "look.cpp", tmp_path_factory.mktemp("cpp") / "look")


def test_the_example_in_cpp_lists_and_verifies(installed, cpp_example, state, reader):
    lines = installed.start(cpp_example, state).splitlines()
    names = [t.name.decode() if isinstance(t.name, bytes) else t.name for t in reader.Checkpoint(state.read_bytes()).tensors]
    assert [line.split(" [")[0] for line in lines[:-1]] == names and lines[-1] == "verified"
    assert sum("relative L2 error" in line for line in lines) == 2


def test_the_example_in_cpp_reads_rows(installed, cpp_example, state, reader):
    checkpoint = reader.Checkpoint(state.read_bytes())
    name = "hidden.weight.exp_avg"
    tensor = next(t for t in checkpoint.tensors if t.name in (name, name.encode()))
    data = bytes(checkpoint.read(tensor))
    rows = installed.start(cpp_example, state, name, 10, 3).splitlines()
    assert rows[3:] == ["verified"]
    for row, line in zip((10, 11, 12), rows):
        place, numbers = line.split(":")
        expected = struct.unpack_from("<32f", data, row * 32 * 4)
        assert int(place) == row
        assert [float(number) for number in numbers.split()] == pytest.approx(expected, rel=1e-5, abs=0)


def test_the_example_in_cpp_fails_with_a_place(installed, cpp_example, state, tmp_path):
    damaged = tmp_path / "damaged.qckpt"
    content = bytearray(state.read_bytes())
    content[700] ^= 1
    damaged.write_bytes(content)
    for arguments, words in (
        ([damaged], ["checksum", "byte"]), ([state, "none", 0, 1], ["there is no tensor 'none'"]),
        ([state, "hidden.weight", 255, 2], ["rows 255..<257"]), ([tmp_path / "none"], ["none"])):
        done = subprocess.run(
            [cpp_example, *map(str, arguments)], env=installed.environment, capture_output=True, text=True)
        assert done.returncode == 1 and all(word in done.stderr for word in words), done.stderr


@pytest.fixture(scope="session")
def swift_example(root):
    scratch = root / ".build" / "examples"
    command = [
        "swift", "build", "-c", "release", "--package-path", root / "Sources" / "Examples" / "swift", "--scratch-path",
        scratch]
    assert "warning: " not in "".join(re.findall(r"Sources/Examples/.*", run(command)))
    return pathlib.Path(run([*command, "--show-bin-path"]).strip()) / "Train"


def test_training_in_swift_goes_on_as_if_nothing_had_been(swift_example, tmp_path):
    straight, resumed, beginning = resumed_beside_straight(
        lambda path, steps: run([swift_example, path, steps]), tmp_path / "a", tmp_path / "b")
    assert straight < beginning / 100
    # As in C; this one moves by 2e-7 of 0.00275.
    assert abs(resumed - straight) < 4e-6
