"""Importing spikecore is cheap and has no effects: no array library before one is needed, no core that knows one."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys

import pytest

import spikecore as sc
from tests import ROOT
from tests.house.sources import nodes

ARRAY_LIBRARIES = {"numpy", "torch", "cupy", "array_api_compat", "array_api_strict", "numba", "triton", "matplotlib"}


def run(script):
    command = [sys.executable, "-c", script]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout


def loaded_after(statement):
    modules = run(f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})")
    return set(modules.split()) & ARRAY_LIBRARIES


def test_import_loads_no_array_library():
    assert loaded_after("import spikecore") == set()
    assert loaded_after("import spikecore as sc; sc.Model; sc.Leaky; sc.functional; sc.spikegen; sc.verify") == set()
    assert loaded_after("import spikecore as sc; sc.Sequential(sc.Linear(2, 2), sc.Leaky())") == set()


def test_the_numpy_engine_does_without_torch():
    assert "torch" not in loaded_after("import spikecore as sc; sc.Model(sc.Linear(2, 2), 'numpy')([[1.0, 2.0]], 3)")


def test_import_is_cheap():
    """It loads nothing else of the library, and takes little of the processor, which no load changes."""
    script = "import sys; import spikecore; print(*(name for name in sys.modules if name.startswith('spikecore')))"
    assert run(script).split() == ["spikecore"]
    script = "import time; start = time.process_time(); import spikecore; print(time.process_time() - start)"
    assert min(float(run(script)) for _ in range(3)) < 0.1


def test_every_public_name_is_found():
    needs = {"nir": "nir", "nn": "torch"}  # nir is not made for Python below 3.9
    here = [name for name in sc.__all__ if name not in needs or importlib.util.find_spec(needs[name])]
    assert set(sc.__all__) - set(here) <= set(needs)
    for name in here:
        assert getattr(sc, name) is not None
    assert set(dir(sc)) == set(sc.__all__)
    with pytest.raises(AttributeError, match="module 'spikecore' has no attribute 'Leeky'"):
        _ = sc.Leeky


def imports(path):
    """The top-level names of what a file imports, type-checking blocks included."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module


API = sorted((ROOT / "spikecore" / "api").rglob("*.py"))


def test_the_core_imports_neither_array_libraries_nor_engines():
    below = "arguments files installing on_use other_names printing progress samples".split()  # data and plots, too
    own = ("spikecore.api", *(f"spikecore.{name}" for name in below))
    found = {(path.name, name) for path in API for name in imports(path)}
    assert not [each for each in found if each[1].partition(".")[0] in ARRAY_LIBRARIES]
    assert not [each for each in found if each[1].startswith("spikecore") and not each[1].startswith(own)]


def test_the_core_does_not_branch_on_engines():
    """No comparison looks at what an engine is called or where it lives."""
    for path in API:
        text = path.read_text("utf-8")
        named = "engine.name" in text or "engine.device" in text  # to look up a segment takes long
        compared = [
            ast.get_source_segment(text, node)
            for node in (nodes(path) if named else ())
            if isinstance(node, ast.Compare)
        ]
        assert not [line for line in compared if "engine.name" in line or "engine.device" in line], path
