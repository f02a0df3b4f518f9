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
from tests.core_alone import FOLDERS, make_tree, run
from tests.house.doors import CORE, FACES, PACKAGE, ROOMS, WHOLE, files, imported, is_module, nodes, used_by_rooms

PAGE = ROOT / "docs" / "packages_on_top.md"


def on_the_page():
    """Names by module, as the tables of the page have them."""
    rows = re.findall(r"^\| `(spikecore(?:\.\w+)*)` \| (.*?) \|", PAGE.read_text("utf-8"), re.MULTILINE)
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
    for node in nodes(path):
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


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_it_uses_and_where_to_begin(room):
    text = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text("utf-8")))
    assert len(text.splitlines()) <= 30
    assert "Of the core it uses " in text
    start = text.split("Begin with ")[1]
    named = re.findall(r"`([\w/]+\.py)`", start)
    assert named
    assert all((PACKAGE / room / name).is_file() for name in named)


ALONE = """
import importlib, pathlib
import numpy as np
import spikecore as sc

assert pathlib.Path(sc.__file__).parent.parent == pathlib.Path.cwd()
for room in ROOMS:
    try:
        importlib.import_module(f"spikecore.{room}")
    except ModuleNotFoundError:
        continue
    raise AssertionError(f"{room} is here")
rng = np.random.default_rng(0)
x, y = rng.random((32, 6), dtype=np.float32), rng.integers(0, 3, 32)
net = sc.Sequential(sc.Linear(6, 12), sc.Leaky(beta=0.9), sc.Linear(12, 3), sc.Leaky(beta=0.9))
model = sc.Model(net, engine="numpy", seed=0)
how = {"num_steps": 5, "progress": False}
model.fit(x, y, epochs=2, validation=(x, y), schedule=sc.schedule.cosine(), **how)
model.fit(x, y, epochs=1, learning="eprop", **how)
assert sc.verify(model, x[:4], y[:4], num_steps=5).ok
model.save("model.sc")
again = sc.load("model.sc")
assert (again(x, 5).spikes == model(x, 5).spikes).all()
assert (again.stream().step(x[:1]) == model(x[:1], 5).spikes[0]).all()
sc.compression.prune(model, 0.5)
small = sc.compression.quantize(model, states=16, x=x, num_steps=5)
lost = sc.compression.sparsity(model).sparsity
print(lost, small.evaluate(x, y, **how)["accuracy"], model.predict(x, num_steps=5).shape)
"""


def test_the_core_trains_saves_and_runs_where_there_is_no_room(tmp_path):
    """``make core`` runs all of the core's tests so; this is what can be seen of it in seconds."""
    tree = make_tree(tmp_path / "tree")
    done = run(tree, "-c", ALONE.replace("ROOMS", repr(ROOMS)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("0.5 ")


def test_tests_of_the_core_import_no_room_and_no_test_of_one():
    """Nor do they look up one of them, ``sc.datasets``. Names in scripts that they run are seen by ``make core``."""
    ties = []
    for path in (path for folder in FOLDERS for path in (ROOT / "tests" / folder).rglob("*.py")):
        used = {name for name, what in imported(path)} | {f"{name}.{what}" for name, what in imported(path)}
        used |= {
            f"spikecore.{node.attr}"
            for node in nodes(path)
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") in ("sc", "spikecore")
        }
        tests = {node.module or "" for node in nodes(path) if isinstance(node, ast.ImportFrom)}
        ties += [(path.name, name) for name in used if name.split(".")[1:2] and name.split(".")[1] in ROOMS]
        ties += [
            (path.name, name)
            for name in tests
            if name.startswith("tests.") and (ROOT / "tests" / name.split(".")[1]).is_dir()
            if name.split(".")[1] not in FOLDERS
        ]
    assert ties == []
