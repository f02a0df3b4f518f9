"""The core knows no room; rooms use of the core what a page says, as somebody else's package would."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import subprocess
import sys

import pytest

from spikecore import arguments
from tests import ROOT
from tests.house.doors import CORE, FACES, PACKAGE, ROOMS, WHOLE, files, is_module, used_by_rooms

PAGE = ROOT / "docs" / "packages_on_top.md"


def on_the_page():
    """Names by module, as the tables of the page have them."""
    rows = re.findall(r"^\| `(spikecore[\w.]*)` \| (.*?) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert len(rows) == len({module for module, _ in rows}), "each module has one row"
    return {
        module: set(re.findall(r"`(\w+)`", names)) | ({WHOLE} if names.startswith(WHOLE) else set())
        for module, names in rows
    }


def test_every_module_is_in_the_core_or_a_room():
    there = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert there - {"__init__", "__main__"} == {*CORE, *ROOMS}
    assert len(CORE) + len(ROOMS) == len({*CORE, *ROOMS})
    assert set(FACES) < set(CORE)


def test_the_contract_of_layers_has_the_same_rooms_above_the_core():
    layers = (ROOT / "pyproject.toml").read_text("utf-8").split('id = "layers"')[1].split("[[tool.")[0]
    above, below = layers.split("# the core")
    assert {*re.findall(r"\((\w+)\)", above)} == {*ROOMS, "__main__"}
    assert {*re.findall(r"\w+", " ".join(re.findall(r'"(.*)"', below)))} == set(CORE)


@pytest.mark.skipif(not PAGE.is_file(), reason="docs/ is not part of this tree")
def test_rooms_use_of_the_core_what_the_page_says_and_the_page_says_no_more():
    used, told = used_by_rooms(), on_the_page()
    missing = [f"{module}: {name} ({who})" for module, names in used.items() for name, who in names.items()
               if name not in told.get(module, ())]  # fmt: skip
    unused = [f"{module}: {name}" for module, names in told.items() for name in names - set(used.get(module, ()))]
    assert not missing, "rooms import what docs/packages_on_top.md does not list: public names come from spikecore"
    assert not unused, "docs/packages_on_top.md lists what no room imports"


def strings(path):
    """The strings of a file that are nothing but the name of a module of ours, or of something in one."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            module, _, _ = node.value.partition(":")
            if re.fullmatch(r"spikecore(\.\w+)+", module) and is_module(module):
                yield module


def test_the_core_names_rooms_in_strings_only_where_snntorch_has_the_module():
    """A module that is imported by its name is a tie, too. ``snn.spikeplot`` and others are names of snnTorch's."""
    ties = {
        path.relative_to(PACKAGE).as_posix(): module
        for part in CORE
        for path in files(part)
        for module in strings(path)
        if module.split(".")[1] in ROOMS
    }
    assert ties == {
        "nn/export_nir.py": "spikecore.nir",
        "nn/import_nir.py": "spikecore.nir",
        "nn/spikeplot.py": "spikecore.spikeplot",
    }


KINDS = """
import importlib, sys
from spikecore import arguments
places = lambda: {kind for kind in arguments.KINDS if isinstance(kind, str)}
print(*places())
import spikecore as sc
sc.Model, sc.functional.activity, sc.verify, sc.samples
print(*places())
"""


def test_each_room_tells_arguments_its_own_classes():
    """The module of arguments knows no class; the core then tells its own; and each class is where it is said to be."""
    alone, core = subprocess.run(
        [sys.executable, "-c", KINDS.replace("sc.samples", "importlib.import_module('spikecore.samples')")],
        check=True, capture_output=True, text=True, cwd=ROOT,
    ).stdout.split("\n")[:2]  # fmt: skip
    assert alone == ""
    assert "spikecore.api.training.model:Model" in core.split()
    assert not [place for place in core.split() if place.split(".")[1].partition(":")[0] in ROOMS]
    for room in ("datasets", "eventprop", "hardware", "spikeplot", "tracking"):
        importlib.import_module(f"spikecore.{room}")
    places = {place for place in arguments.KINDS if isinstance(place, str)}
    assert {place.split(".")[1] for place in places - set(core.split())} >= {"datasets", "eventprop", "hardware"}
    for place in places:
        module, _, name = place.partition(":")
        if importlib.util.find_spec(module.partition(".")[0]) is not None:
            assert isinstance(getattr(importlib.import_module(module), name), type), place
