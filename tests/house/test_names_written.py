"""Code that this suite does not run, or not everywhere, writes no name of ``spikecore`` that is not there."""

from __future__ import annotations

import ast
import importlib

import pytest

from tests import ROOT

FILES = [path for folder in ("plugins", "examples", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))]


def written(tree):
    """Each name of the package that the code writes with dots, after ``import spikecore as NAME``."""
    names = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        for alias in getattr(node, "names", ())
        if isinstance(node, ast.Import) and alias.name == "spikecore"
    }
    for node in ast.walk(tree):
        dotted, inner = [], node
        while isinstance(inner, ast.Attribute):
            dotted.insert(0, inner.attr)
            inner = inner.value
        if dotted and isinstance(inner, ast.Name) and inner.id in names:
            yield dotted


@pytest.mark.skipif(not FILES, reason="plugins, examples and benchmarks are not part of this tree")
def test_names_of_the_package_are_there():
    found = {tuple(dotted[:2]) for path in FILES for dotted in written(ast.parse(path.read_text(encoding="utf-8")))}
    assert len(found) > 50
    for first, *second in found:
        package = importlib.import_module("spikecore")
        thing = getattr(package, first, None)
        assert thing is not None, f"sc.{first}"
        if second and type(thing).__name__ == "module":
            assert hasattr(thing, second[0]), f"sc.{first}.{second[0]}"
