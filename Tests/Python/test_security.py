"""That SECURITY.md and the README's table of dependencies name what there is."""

import re
import tomllib

import pytest


@pytest.fixture(scope="module")
def security(root):
    return (root / "SECURITY.md").read_text()


def test_every_file_and_test_that_is_named_exists(root, security):
    paths = set(re.findall(r"`((?:Tests|Fixtures|Spec)/[^`*]+)`", security))
    assert len(paths) >= 6
    assert [path for path in sorted(paths) if not (root / path).exists()] == []
    sources = "".join(path.read_text() for path in (root / "Tests").rglob("*") if path.suffix in (".swift", ".py", ".c"))
    names = re.findall(r"\*((?:test_)?\w+)\*(?= in| *\|)", security)
    assert len(names) >= 3
    assert [name for name in names if name not in sources] == []


def test_every_fixture_and_command_that_is_named_exists(root, security):
    invalid = root / "Fixtures" / "invalid"
    for pattern in re.findall(r"`(?:Fixtures/invalid/)?((?:version|feature|header-reserved)-\*)`", security):
        assert list(invalid.glob(pattern)), pattern
    for name in ("reference-self", "pair-self", "metadata-very-deep"):
        assert f"`{name}`" in security and (invalid / f"{name}.qckpt").exists(), name
    makefile = (root / "Makefile").read_text()
    for target in set(re.findall(r"`make (\w[\w-]*)", security)):
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_the_table_of_dependencies_is_that_of_the_packages(root):
    """Lowest versions: what Package.swift and pyproject.toml ask for."""
    readme = (root / "README.md").read_text()
    table = dict(re.findall(r"^\| (\S+) \| (\S+) \|", readme, re.M))
    package = (root / "Package.swift").read_text()
    asked = {url.rsplit("/", 1)[1].lower(): version for url, version in re.findall(
        r'\.package\(url: "([^"]+)", from: "([^"]+)"\)', package)}
    project = tomllib.loads((root / "Sources" / "PyQCodec" / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *(text for group in project["optional-dependencies"].values() for text in group)]
    asked |= dict(text.split(">=") for text in needed)
    assert len(asked) == 6
    for name, version in asked.items():
        assert table.get(name) == version, name
    for package_name in re.findall(r'apt: "([^"]+)"', package):
        assert package_name in readme, package_name
