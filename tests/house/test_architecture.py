"""docs/architecture.md names the folders that are there, and no others; names and docstrings say what they are for."""

from __future__ import annotations

import ast
import functools
import re

import pytest

from tests import ROOT
from tests.house.doors import CORE
from tests.house.sources import tree

PAGE, CONTRIBUTING = ROOT / "docs" / "architecture.md", ROOT / "CONTRIBUTING.md"
pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="docs/ is not part of this tree")


def folders_in_tree():
    """The folders of the package that the tree names, by their paths below spikecore/, and its lines by folder."""
    tree = PAGE.read_text("utf-8").split("\nspikecore/\n")[1].split("\nbenchmarks/")[0]
    lines, path = {"": ""}, []
    for line in tree.splitlines():
        start = re.match(r"^((?:  ){1,3})(?=\S)(?:(\w+)/(?= |$))?", line)
        if start:  # else what a line says of the one above
            path = [*path[: len(start[1]) // 2 - 1], *([start[2]] if start[2] else [])]
        lines["/".join(path)] = f"{lines.get('/'.join(path), '')}{line}\n"
    return lines


def test_the_tree_names_every_folder_and_no_other():
    package = ROOT / "spikecore"
    there = {path.parent.relative_to(package).as_posix() for path in package.rglob("*.py")} - {"."}
    assert {name for name in folders_in_tree() if name} == there


def test_the_source_distribution_has_every_folder():
    named = re.findall(r"^(\w+)/ ", PAGE.read_text("utf-8").split("## The tree")[1].split("```")[1], re.MULTILINE)
    assert {"plugins", "tests"} <= set(named)
    included = re.search(r"targets\.sdist\]\ninclude = \[(.*)\]", (ROOT / "pyproject.toml").read_text("utf-8")).group(1)
    assert set(named) | {"spikecore"} <= set(re.findall(r'"(.*?)"', included))


def test_every_name_is_a_file():
    for folder, text in folders_in_tree().items():
        below = {path.name for path in (ROOT / "spikecore" / folder).rglob("*.py")}
        assert set(re.findall(r"\w+\.py\b", text)) - below == set(), folder


def test_every_file_says_in_its_first_line_what_is_in_it():
    lines = {}
    for path, node in definitions():
        if not isinstance(node, ast.Module):
            continue
        first = (ast.get_docstring(node) or "").partition("\n")[0]
        assert len(first) > 10, path
        assert lines.setdefault(first, path) == path, f"{path} and {lines[first]} say the same"


DEFINITIONS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@functools.lru_cache(maxsize=None)
def definitions():
    """All modules, classes and functions of the package, each with the path of its file; no look into expressions."""
    found = []
    for path in sorted((ROOT / "spikecore").rglob("*.py")):
        left = [tree(path)]
        while left:
            node = left.pop()
            found += [(path, node)] if isinstance(node, DEFINITIONS) else []
            left += [each for part in ("body", "orelse", "handlers", "finalbody") for each in getattr(node, part, ())]
    return found


def test_a_class_name_stands_for_one_thing():
    """A name that is defined in several files is in the page's list, which says why; nothing is listed that is gone."""
    files = {}
    for path, node in definitions():
        if isinstance(node, ast.ClassDef):
            files.setdefault(node.name, set()).add(path)
    part = CONTRIBUTING.read_text("utf-8").split("## Names that stand for several things")[1].split("\n## ")[0]
    same, different = part.split("**Different things**")
    listed = {
        *re.findall(r"`(\w+)`", same.split("`spikecore.nn`")[1]),
        *re.findall(r"^\| `(\w+)`", different, re.MULTILINE),
    }
    assert {name for name, where in files.items() if len(where) > 1} - listed == set()
    assert listed - set(files) == set()


def test_docstrings_begin_with_their_subject():
    vague = re.compile(r"(What|Whatever|What's|Who|Whoever|Whose|Somebody|Someone|Nobody|Likewise)\b")
    found = [(path, ast.get_docstring(node, clean=False) or "") for path, node in definitions()]
    assert [(path, text) for path, text in found if vague.match(text.lstrip())] == []


def test_each_stop_of_the_tour_is_one_short_file():
    tour = PAGE.read_text("utf-8").split("## A tour in five stops")[1].split("## Ideas")[0]
    stops = re.findall(r"^\d\. \*\*(.*?)\*\*", tour, re.MULTILINE)
    files = [re.search(r"`(\S+)`", stop)[1] if "`" in stop else "docs/architecture.md" for stop in stops]
    assert len(files) == 5
    for name in files:
        assert len((ROOT / name).read_text("utf-8").splitlines()) <= 200, name


def test_the_reading_list_is_one_of_a_day():
    """It names files of the core, each once, with fewer than 8,000 lines together."""
    table = PAGE.read_text("utf-8").split("## The reading list of a day")[1].split("## The tree")[0]
    names = re.findall(r"`([\w/]+\.py)`", table)
    assert len(names) == len(set(names)) > 20
    assert {name.split("/")[0] for name in names} <= set(CORE)
    assert sum(len((ROOT / "spikecore" / name).read_text("utf-8").splitlines()) for name in names) <= 8_000
