"""Progress on a terminal: what is drawn, how wide, how often, and that nothing of it stays.

Work of any size is made long: one of its reads waits for more than a second, by the shim of Tests/Faults.
"""

import os
import re
import signal
import struct
import subprocess
import sys
import time

import faults
import pytest

import terminal

SIZE = 96 << 20
# The read that waits: commands have begun by then, and much is left.
WAITING = 10
FULL = re.compile(
    r"(?P<percent>[ 0-9]{3}) %  \[(?P<bar>[ ▏▎▍▌▋▊▉█]{8,40})\]  (?P<done>[0-9.]+ [KMG]?i?B) / (?P<total>[0-9.]+ [KMG]?i?B)"
    r"(  [0-9.]+ [KMG]?i?B/s)?(  \d+:\d\d left)?")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the shim is for Linux")


@pytest.fixture(scope="module")
def files(binary, tmp_path_factory):
    """A state of zeros that takes no room on a disk, and checkpoints of it, one of them with a byte changed at its end."""
    folder = tmp_path_factory.mktemp("progress")
    state, coded, damaged = (folder / name for name in ("state.safetensors", "state.qckpt", "damaged.qckpt"))
    half = SIZE // 2
    header = ",".join(
        f'"{name}":{{"dtype":"F32","shape":[{half // 4}],"data_offsets":[{i * half},{(i + 1) * half}]}}'
        for i, name in enumerate(("exp_avg", "exp_avg_sq"))).join("{}").encode()
    header += b" " * (-len(header) % 8)
    with open(state, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + SIZE)
    subprocess.run(
        [binary, "encode", state, "-o", coded, "--quiet", "--compression", "none", "--policy", "lossless"], check=True)
    data = bytearray(coded.read_bytes())
    data[SIZE] ^= 1
    damaged.write_bytes(data)
    yield {"folder": folder, "state": state, "coded": coded, "damaged": damaged, "out": folder / "out"}
    for path in folder.iterdir():
        path.unlink()


COMMANDS = {
    "encode": "encode {state} -o {out} --threads 1",
    "bounded": "encode {state} -o {out} --max-abs-error 0.1rms --threads 1",
    "decode": "decode {coded} -o {out} --threads 1",
    "salvage": "decode --salvage {damaged} -o {out} --threads 1",
    "verify": "verify {coded} --threads 1",
    "against": "verify {coded} --against {state} --threads 1",
    "diff": "diff {state} {coded} --threads 1",
    "hash": "hash {coded} --threads 1",
    "codes": "hash {coded} --json --threads 1",
}


# Encodes a stream that never ends, and tells which signal ended the command.
INTERRUPTED = """
import signal, subprocess, sys
signal.signal(signal.SIGINT, lambda *_: None)
command = subprocess.Popen([sys.argv[1], "encode", "-", "-o", sys.argv[3]], stdin=subprocess.PIPE)
with open(sys.argv[2], "rb") as file:
    command.stdin.write(file.read(1 << 20))
    command.stdin.flush()
print("ended by", -command.wait())
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    return faults.compile_shim(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def run(binary, files, shim):
    """Runs a command line on a terminal; one of its reads waits for more than a second."""
    waiting = {
        "LD_PRELOAD": str(shim), "QFAULT_ROOT": str(files["folder"]), "QFAULT_CALLS": "read", "QFAULT_AT": str(WAITING),
        "QFAULT_ACT": "wait"}

    def run(command, environment=None, **keywords):
        arguments = [part.format(**files) for part in command.split()]
        return terminal.run([binary, *arguments], environment={**waiting, **(environment or {})}, **keywords)

    return run


@pytest.mark.parametrize("name", COMMANDS)
def test_every_long_command_shows_how_far_it_is(run, name):
    shown = run(COMMANDS[name], columns=100)
    # Of equal chunks one stands for another: nothing is lost.
    assert shown.status == 0
    assert shown.frames
    if name == "salvage":
        # How much there is to look through is not known before.
        assert re.fullmatch(r"[0-9.]+ [KM]iB(  [0-9.]+ [KMG]iB/s)?  \d+:\d\d", shown.frames[0])
        return
    matches = [FULL.fullmatch(frame) for frame in shown.frames]
    assert all(matches), shown.frames
    percents = [int(match["percent"]) for match in matches]
    # Nothing is left over, and 100 % is the end alone.
    assert percents == sorted(percents) and percents[0] < 100 and percents[-1] == 100
    assert all(match["done"] == match["total"] for match, percent in zip(matches, percents) if percent == 100)
    assert set(matches[0]["bar"]) != {"█"} and set(matches[-1]["bar"]) == {"█"}
    assert shown.frames[-1].endswith("  0:00 left")
    # The line is wiped before anything else is said, and is not there in the end.
    assert "%" not in shown.rest and shown.text.rstrip("\r\n").rfind("\r\x1b[K") > shown.text.rfind(" left")


def test_totals_are_those_of_the_work(run):
    def totals(name):
        return {FULL.fullmatch(frame)["total"] for frame in run(COMMANDS[name], columns=100).frames}

    assert totals("encode") == totals("decode") == totals("hash") == {"96.0 MiB"}
    # Tensors are looked over, then written.
    assert totals("bounded") == {"192.0 MiB"}
    # The bytes of the file and of its tensors; both sides; pairs of moments once more.
    assert totals("verify") == {"192.0 MiB"}
    assert totals("against") == {"288.0 MiB"}
    assert totals("diff") == {"384.0 MiB"}


@pytest.mark.parametrize("columns", [6, 12, 20, 30, 40, 60, 80])
def test_a_line_fits_its_terminal(run, columns):
    shown = run(COMMANDS["encode"], columns=columns)
    assert shown.frames
    assert max(map(len, shown.frames)) < columns
    assert shown.frames[-1].startswith("100 %"[:columns - 1])
    # A bar of eight characters and more, or none.
    assert columns == 60 or ("[" in shown.frames[-1]) == (columns > 60), shown.frames


def test_a_terminal_that_becomes_narrow(run):
    shown = run(COMMANDS["verify"], columns=120, at_progress=lambda own: terminal.resize(own, 24))
    assert shown.status == 0 and len(shown.frames[0]) > 24 and len(shown.frames[-1]) < 24


def test_lines_are_drawn_ten_times_a_second_at_most(run):
    begun = time.monotonic()
    shown = run(COMMANDS["against"])
    assert 1 <= len(shown.frames) <= 10 * (time.monotonic() - begun) + 1


def test_colors_only_where_they_are_wanted(run):
    green = "\x1b[32m"
    assert green in run(COMMANDS["hash"]).text
    assert green in run(COMMANDS["hash"], environment={"NO_COLOR": ""}).text
    plain = run(COMMANDS["hash"], environment={"NO_COLOR": "1"})
    assert plain.frames and "\x1b[32m" not in plain.text


def test_ascii_where_the_locale_is_no_unicode(run):
    shown = run(COMMANDS["hash"], environment={"LANG": "C"})
    assert shown.frames and shown.text.isascii() and re.search(r"\[#{8,40}\]", shown.frames[-1])


@pytest.mark.parametrize("command", ["verify {coded} --quiet", "encode {state} -o {out} --quiet"])
def test_quiet_commands_are_quiet(run, command):
    assert run(command + " --threads 1").text == ""


def test_no_line_where_none_can_be_drawn(run):
    assert run(COMMANDS["verify"], environment={"TERM": "dumb"}).frames == []
    # Short work, and standard error elsewhere.
    assert run("inspect {coded}").frames == []
    shown = run(COMMANDS["verify"], output_alone=True)
    assert shown.frames == [] and "state.qckpt: ok" in shown.text


def test_the_line_is_gone_before_an_error_is_told(run):
    shown = run("verify {damaged} --threads 1")
    assert shown.status == 3
    lines = shown.rest.splitlines()
    assert lines and all(line.startswith("qcodec: ") for line in lines)
    assert re.search(r"(^|\x1b\[K)qcodec: ", shown.text)


def test_standard_input_is_counted_while_it_is_spooled(binary, files, tmp_path):
    script = '(head -c 1000000; sleep 1.4; cat) <"$1" | "$0" encode - -o "$2"'
    shown = terminal.run(["/bin/sh", "-c", script, binary, files["state"], tmp_path / "out"])
    assert shown.status == 0
    assert re.fullmatch(r"(976\.6 KiB|[0-9.]+ MiB)(  [0-9.]+ [KMG]?iB/s)?  0:0\d", shown.frames[0])
    assert "out: 2 tensors" in shown.rest


def test_an_interrupted_command_leaves_no_line(binary, files, tmp_path):
    shown = terminal.run(
        [sys.executable, "-c", INTERRUPTED, binary, files["state"], tmp_path / "out"],
        at_progress=lambda own: os.write(own, b"\x03"))
    assert shown.frames and terminal.FRAME.findall(shown.text)[-1] == ""
    assert shown.rest.replace("^C", "").strip() == f"ended by {signal.SIGINT.value}"
    assert list(tmp_path.iterdir()) == []


def test_a_benchmark_counts_measurements(run):
    shown = run("bench {state} --elements 2097152 --runs 1", columns=100)
    assert shown.status == 0 and "of memcpy" in shown.rest
    matches = [re.fullmatch(r"[ 0-9]{3} %  \[[^]]+\]  (\d+)(?: measurements)? / 20 measurements(  \d+:\d\d left)?", frame)
               for frame in shown.frames]
    assert all(matches), shown.frames
    assert [int(match[1]) for match in matches] == sorted(int(match[1]) for match in matches)
    assert matches[-1][1] == "20"
    assert run("bench {state} --elements 2097152 --runs 1 --quiet").frames == []
