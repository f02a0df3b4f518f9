"""No module imports itself by way of others, imports inside functions counted."""

from __future__ import annotations

import ast

import pytest

from tests import ROOT
from tests.house.sources import tree

PACKAGES = [name for name in ("spikecore", "benchmarks") if (ROOT / name).is_dir()]


def modules(package):
    """Files by the name of their module."""
    names = {}
    for path in (ROOT / package).rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def statements(tree):
    """All statements below a node but those for a type checker; an expression has none."""
    left = [tree]
    while left:
        node = left.pop()
        if not (isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"):
            yield node
            for part in ("body", "orelse", "handlers", "finalbody"):
                below = getattr(node, part, ())
                left += below if isinstance(below, list) else ()  # that of a lambda is an expression


def imported(tree, names):
    """Modules among ``names`` that a syntax tree imports anywhere but for a type checker."""
    for node in statements(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            full = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            yield from (full[name] if full[name] in names else node.module for name in full)


def circle(graph):
    """The modules of one circle, in order, or none."""
    state, path = {}, []

    def visit(module):
        state[module] = "open"
        path.append(module)
        for other in sorted(graph.get(module, ())):
            if state.get(other) == "open":
                return path[path.index(other) :]
            if other not in state and (found := visit(other)):
                return found
        path.pop()
        state[module] = "done"
        return []

    return next((found for module in sorted(graph) if module not in state and (found := visit(module))), [])


@pytest.mark.parametrize("package", PACKAGES)
def test_there_is_no_circle_of_imports(package):
    names = modules(package)
    graph = {name: set(imported(tree(path), names)) & set(names) - {name} for name, path in names.items()}
    assert sum(map(len, graph.values())) > len(graph)
    assert circle(graph) == []


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["b", "c"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    late = ast.parse("def f():\n    from spikecore.x import y\n    import spikecore.z")
    assert set(imported(late, {"spikecore.x", "spikecore.x.y", "spikecore.z"})) == {"spikecore.x.y", "spikecore.z"}
