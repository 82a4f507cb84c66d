"""What the reports of compare.py and resume_demo.py share."""

from __future__ import annotations

import importlib.metadata
import sys


def count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def renewed(text: str, table: str, marks: tuple[str, str]) -> str:
    """A text whose part between the marks is the table."""
    before, rest = text.split(marks[0])
    return f"{before}{marks[0]}\n\n{table}\n\n{marks[1]}{rest.split(marks[1])[1]}"


def versions(packages: list[str]) -> dict[str, str]:
    """Those of Python and of the packages that are installed."""
    result = {"Python": sys.version.split()[0]}
    for package in packages:
        try:
            result[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return result
