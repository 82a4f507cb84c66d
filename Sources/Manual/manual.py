"""Writes the pages of the manual from what the command says of itself: `manual.py QCODEC FOLDER`.

qcodec.1 and a page for each subcommand, in the macros of man(7), from the document of `--experimental-dump-help`. The
command's help is the only source, so that pages cannot say otherwise.
"""

import json
import pathlib
import re
import subprocess
import sys

HEADING = "EXAMPLES:"


def escaped(text):
    """Text that roff takes as it is: no line of it is a request, and no hyphen becomes a dash."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join("\\&" + line if line[:1] in (".", "'") else line for line in text.split("\n"))


def paragraphs(text):
    """A discussion's paragraphs, each as its lines; examples, which are lines as they stand, apart."""
    prose, _, examples = text.partition(HEADING)
    return [part for part in re.split(r"\n\s*\n", prose.strip()) if part], examples.strip("\n").splitlines()


def words(argument):
    """How an argument is written on the command line, in bold what is to be typed and in italics what stands for else."""
    value = f"\\fI{escaped(argument['valueName'])}\\fR" if argument["kind"] != "flag" else ""
    names = sorted(argument.get("names", []), key=lambda name: name["kind"] != "short")
    spelled = [("-" if name["kind"] == "short" else "--") + name["name"] for name in names]
    return ", ".join(f"\\fB{escaped(name)}\\fR" for name in spelled), value


def synopsis(name, command):
    """The line that shows what goes with what."""
    arguments = shown(command)
    parts = [f"\\fB{escaped(name)}\\fR"]
    if any(argument["kind"] != "positional" for argument in arguments):
        parts.append("[\\fIoptions\\fR]")
    if subcommands(command):
        parts.append("\\fIsubcommand\\fR")
    for argument in arguments:
        if argument["kind"] == "positional":
            _, value = words(argument)
            text = value + (" ..." if argument["isRepeating"] else "")
            parts.append(f"[{text}]" if argument["isOptional"] else text)
        elif argument["kind"] == "option" and not argument["isOptional"]:
            parts.insert(1, " ".join(words(argument)))
    return " ".join(parts)


def shown(command):
    return [argument for argument in command.get("arguments", []) if argument["shouldDisplay"]]


def subcommands(command):
    """All but `help`, which these pages stand for."""
    return [other for other in command.get("subcommands", []) if other["commandName"] != "help"]


def entry(argument):
    """An argument with all that is known of it."""
    names, value = words(argument)
    text = argument.get("abstract", "")
    notes = []
    if argument.get("allValues"):
        notes.append("one of " + ", ".join(argument["allValues"]))
    if argument.get("defaultValue"):
        notes.append("by default " + argument["defaultValue"])
    if notes:
        text = f"{text} ({'; '.join(notes)})"
    return [".TP", " ".join(part for part in (names, value) if part), escaped(text)]


def page(name, command, version):
    """One page."""
    prose, examples = paragraphs(command.get("discussion", ""))
    abstract = command["abstract"].rstrip(".")
    lines = [
        '.\\" Made by Sources/Manual/manual.py from the help of the command.',
        f'.TH "{name.upper().replace(" ", "-")}" "1" "" "{escaped(version)}" "qcodec"', ".SH NAME",
        f"{escaped(name.replace(' ', '-'))} \\- {escaped(abstract[0].lower() + abstract[1:])}", ".SH SYNOPSIS",
        synopsis(name, command)]
    if prose:
        lines.append(".SH DESCRIPTION")
        for number, part in enumerate(prose):
            lines += ([".PP"] if number else []) + [escaped(part)]
    positional = [argument for argument in shown(command) if argument["kind"] == "positional"]
    options = [argument for argument in shown(command) if argument["kind"] != "positional"]
    for heading, arguments in (("ARGUMENTS", positional), ("OPTIONS", options)):
        if arguments:
            lines.append(f".SH {heading}")
            lines += [line for argument in arguments for line in entry(argument)]
    if subcommands(command):
        lines.append(".SH SUBCOMMANDS")
        for other in subcommands(command):
            lines += [".TP", f"\\fB{escaped(other['commandName'])}\\fR", escaped(other["abstract"])]
    if examples:
        lines += [".SH EXAMPLES", ".EX", *(escaped(line.strip()) for line in examples), ".EE"]
    return lines


def pages(document, version):
    """Every page by the name of its file."""
    root = document["command"]
    top = root["commandName"]
    names = {top: root, **{f"{top} {other['commandName']}": other for other in subcommands(root)}}
    for name, command in names.items():
        others = [other.replace(" ", "-") for other in names if other != name]
        related = ", ".join(f"\\fB{escaped(other)}\\fR(1)" for other in (others if name == top else [top]))
        lines = page(name, command, version) + [".SH SEE ALSO", related]
        yield name.replace(" ", "-") + ".1", "\n".join(lines) + "\n"


def main(qcodec, folder):
    def ask(option):
        return subprocess.run([qcodec, option], check=True, capture_output=True, text=True).stdout

    target = pathlib.Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    for name, text in pages(json.loads(ask("--experimental-dump-help")), ask("--version").strip()):
        (target / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: manual.py QCODEC FOLDER")
    main(*sys.argv[1:])
