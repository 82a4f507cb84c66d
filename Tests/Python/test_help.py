"""What the command says of itself: help with examples that work, completions of shells, and pages of the manual."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

SUBCOMMANDS = ["encode", "decode", "inspect", "verify", "plan", "report", "diff", "hash", "bench"]


@pytest.fixture(scope="module")
def document(binary):
    """Everything that the parser knows."""
    return json.loads(subprocess.run([binary, "--experimental-dump-help"], check=True, capture_output=True).stdout)["command"]


def examples(text):
    """The lines below EXAMPLES: of a help's or discussion's text."""
    (part,) = re.findall(r"^EXAMPLES:\n((?:  \S.*\n?)+)", text, re.M)
    return [line.strip() for line in part.splitlines()]


def command_help(binary, *subcommand):
    done = subprocess.run([binary, *subcommand, "--help"], check=True, capture_output=True, env={**os.environ, "COLUMNS": "80"})
    assert done.stderr == b""
    return done.stdout.decode()


@pytest.fixture(scope="module")
def workshop(binary, states, tmp_path_factory):
    """A folder with the files that examples name, and with the command on the path; benchmarks are made short."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "bin").mkdir()
    shim = folder / "bin" / "qcodec"
    shim.write_text(
        '#!/bin/sh\n[ "$1" != bench ] || set -- "$@" --quick --elements 4096 --runs 1 --size 262144 --threads 1\n'
        f'exec "{binary}" "$@"\n')
    shim.chmod(0o755)
    for name in ("optimizer.safetensors", "o.safetensors", "a.safetensors"):
        shutil.copy(states[0], folder / name)
    for name in ("optimizer.qckpt", "before.qckpt", "after.qckpt", "a.qckpt", "b.qckpt", "o.qckpt"):
        subprocess.run([binary, "encode", states[0], "-o", folder / name, "--quiet"], check=True)
    data = bytearray((folder / "optimizer.qckpt").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "damaged.qckpt").write_bytes(data)
    manifest = subprocess.run([binary, "hash", "optimizer.qckpt"], cwd=folder, check=True, capture_output=True).stdout
    (folder / "manifest").write_bytes(manifest)
    for name in ("a", "b"):
        values = np.linspace(0.1, 1, 8192, dtype=np.float32)
        np.savez(folder / f"{name}.npz", **{f"exp_avg.{name}": values, f"exp_avg_sq.{name}": values})
    (folder / "rules.yaml").write_text("rules:\n  - match: {}\n    action: lossless\n")
    return folder


@pytest.mark.parametrize("subcommand", ["", *SUBCOMMANDS])
def test_examples_do_what_they_say(binary, workshop, subcommand):
    text = command_help(binary, *subcommand.split())
    lines = examples(text)
    assert len(lines) >= 3 and all(line.startswith(f"qcodec {subcommand}".strip()) for line in lines)
    # The parser does not break the line of usage.
    assert max(len(line) for line in text.splitlines() if not line.startswith("USAGE:")) <= 80
    path = f"{workshop / 'bin'}:{os.environ['PATH']}"
    # What differs, is lost, or not within a limit has status 1; nothing here is wrong otherwise.
    failing = ("diff a.npz", "diff optimizer", "--salvage", "uniq")
    for line in lines:
        kernels = subprocess.run(
            ["sh", "-c", line], cwd=workshop, capture_output=True, env={**os.environ, "PATH": path})
        error = kernels.stderr.decode()
        if "this machine does not run" in error:
            continue
        assert kernels.returncode == 0 or kernels.returncode == 1 and any(part in line for part in failing), (line, error)


def test_everything_has_its_words(document):
    commands = {command["commandName"]: command for command in document["subcommands"]}
    assert [name for name in commands if name != "help"] == SUBCOMMANDS
    for name in SUBCOMMANDS:
        assert commands[name]["abstract"].endswith(".") and "EXAMPLES:" in commands[name]["discussion"]
        for argument in commands[name]["arguments"]:
            assert argument["shouldDisplay"] and argument.get("abstract", "").endswith("."), (name, argument)


# Completions



def test_arguments_say_what_completes_them(document):
    commands = {command["commandName"]: command for command in document["subcommands"]}
    kinds = {
        (name, argument["valueName"]): argument["completionKind"]
        for name in SUBCOMMANDS for argument in commands[name]["arguments"] if "completionKind" in argument}
    tensors = {"file": {"extensions": ["safetensors", "qckpt", "npy", "npz", "json"]}}
    checkpoint = {"file": {"extensions": ["qckpt"]}}
    for place in [("encode", "inputs"), ("diff", "a"), ("diff", "b"), ("bench", "file"), ("verify", "original"),
                  ("plan", "inputs"), ("report", "original")]:
        assert kinds.pop(place) == tensors
    for place in [("decode", "file"), ("inspect", "file"), ("verify", "file"), ("encode", "output"),
                  ("report", "file")]:
        assert kinds.pop(place) == checkpoint
    assert kinds.pop(("plan", "output")) == {"file": {"extensions": ["json"]}}
    assert kinds.pop(("report", "output")) == {"file": {"extensions": ["html"]}}
    assert kinds.pop(("plan", "compression"))["list"]["values"] == ["none", "lz4", "zstd"]
    assert kinds.pop(("decode", "output")) == {"file": {"extensions": ["safetensors"]}}
    assert kinds.pop(("hash", "files")) == {"file": {"extensions": []}}
    assert "custom" in kinds.pop(("encode", "policy"))
    assert [kinds.pop(("encode", name))["list"]["values"] for name in ("compression", "scale", "nonfinite")] == [
        ["none", "lz4", "zstd"], ["auto", "absmax"], ["error", "raw"]]
    assert {"scalar", "avx2", "all"} <= set(kinds.pop(("bench", "level,…"))["list"]["values"])
    assert set(kinds) == {("bench", "folder")} and kinds[("bench", "folder")] == {"directory": {}}


def script(binary, shell, folder):
    path = folder / f"qcodec.{shell}"
    path.write_bytes(
        subprocess.run([binary, "--generate-completion-script", shell], check=True, capture_output=True).stdout)
    return path


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_sound(binary, tmp_path, shell):
    path = script(binary, shell, tmp_path)
    assert b"qcodec" in path.read_bytes()
    if not shutil.which(shell):
        pytest.skip(f"there is no {shell}")
    done = subprocess.run([shell, "-n", path], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("line, offered", [
    ("qcodec ver", ["verify"]),
    ("qcodec encode --meas", ["--measure-update"]),
    ("qcodec encode x --compression ", ["lz4", "none", "zstd"]),
    ("qcodec encode x --nonfinite r", ["raw"]),
    ("qcodec encode x --policy pap", ["paper4", "paper8"]),
    ("qcodec encode x --policy rul", ["rules.json", "rules.yaml"]),
    ("qcodec encode x --policy more/", ["more/own.yml"]),
    ("qcodec inspect op", ["optimizer.qckpt"]),
    ("qcodec encode op", ["optimizer.qckpt", "optimizer.safetensors"]),
    ("qcodec bench --kernels sc", ["scalar"]),
    ("qcodec bench --checkpoint m", ["more"]),
    ("qcodec diff optimizer.qckpt --max", ["--max-abs", "--max-rel-l2"]),
])
def test_bash_completes(binary, tmp_path, line, offered):
    path = script(binary, "bash", tmp_path)
    folder = tmp_path / "here"
    (folder / "more").mkdir(parents=True)
    for name in ("optimizer.qckpt", "optimizer.safetensors", "optimizer.txt", "rules.json", "rules.yaml", "rules.txt",
                 "more/own.yml"):
        (folder / name).touch()
    (folder / "bin").mkdir()
    (folder / "bin" / "qcodec").symlink_to(pathlib.Path(binary).resolve())
    # As readline calls it: the words, where the cursor is, and the function.
    ask = r'''
      source "$1"
      COMP_LINE="$2" COMP_POINT=${#2}
      read -ra COMP_WORDS <<<"$2"
      [[ "$2" != *" " ]] || COMP_WORDS+=("")
      COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
      _qcodec qcodec "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
      printf '%s\n' "${COMPREPLY[@]}"
    '''
    done = subprocess.run(
        ["bash", "--norc", "-c", ask, "bash", path, line], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"})
    assert done.stderr == ""
    assert sorted({word.strip() for word in done.stdout.splitlines()}) == offered


# The manual


@pytest.fixture(scope="module")
def pages(binary, root, tmp_path_factory):
    """The folder of the pages."""
    folder = tmp_path_factory.mktemp("manual") / "man"
    subprocess.run([sys.executable, root / "Sources" / "Manual" / "manual.py", binary, folder], check=True)
    return folder


def test_there_is_a_page_for_each_command(pages, document):
    assert sorted(path.name for path in pages.iterdir()) == sorted(
        ["qcodec.1", *(f"qcodec-{name}.1" for name in SUBCOMMANDS)])
    for command in document["subcommands"]:
        if command["commandName"] == "help":
            continue
        text = (pages / f"qcodec-{command['commandName']}.1").read_text()
        for argument in command["arguments"]:
            for name in argument.get("names", []):
                dashes = r"\-" if name["kind"] == "short" else r"\-\-"
                assert dashes + name["name"].replace("-", r"\-") in text
        assert ".SH EXAMPLES" in text and "EXAMPLES:" not in text


@pytest.mark.parametrize("tool", [
    ["groff", "-man", "-ww", "-Tutf8", "-Kutf8"], ["man", "--warnings", "-E", "UTF-8", "-l"], ["mandoc", "-T", "lint"]])
def test_readers_of_manuals_do_not_complain(pages, tool):
    if not shutil.which(tool[0]):
        pytest.skip(f"there is no {tool[0]}")
    for path in sorted(pages.iterdir()):
        if tool[0] == "mandoc":
            # It wants a date, which equal files from equal sources cannot have, and has ideas of its own on style.
            done = subprocess.run([*tool, "-W", "error", path], capture_output=True, text=True)
            assert done.returncode == 0, done.stdout
            continue
        done = subprocess.run([*tool, path], capture_output=True, text=True, env={**os.environ, "LC_ALL": "C.UTF-8"})
        assert (done.returncode, done.stderr) == (0, "")
        assert "EXAMPLES" in re.sub("\x1b\\[[0-9;]*m|.\b", "", done.stdout)


def test_a_page_says_what_the_help_says(pages, binary):
    if not shutil.which("man"):
        pytest.skip("there is no man")
    done = subprocess.run(
        ["man", "-E", "UTF-8", "-l", pages / "qcodec-hash.1"], capture_output=True, text=True, check=True,
        env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "200", "MAN_KEEP_FORMATTING": ""})
    text = re.sub("\x1b\\[[0-9;]*m|.\b", "", done.stdout)
    for line in examples(command_help(binary, "hash")):
        assert line in text
    assert r"\n, \t, \\, \u{…}" in re.sub(r"\s+", " ", text)


def test_installation_puts_everything_in_its_place(installed):
    share = pathlib.Path(installed.prefix) / "share"
    assert {path.name for path in (share / "man" / "man1").iterdir()} >= {"qcodec.1", "qcodec-encode.1", "qcodec-bench.1"}
    for place in ("bash-completion/completions/qcodec", "zsh/site-functions/_qcodec", "fish/vendor_completions.d/qcodec.fish"):
        assert b"qcodec" in (share / place).read_bytes()
