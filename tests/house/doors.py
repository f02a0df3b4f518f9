"""The core and the rooms that stand on it, as pyproject.toml has them; what rooms import from the core."""

from __future__ import annotations

import ast
import re

from tests import ROOT
from tests.house.sources import nodes, tree

PACKAGE = ROOT / "spikecore"
FACES = (
    "backprop base compression errors functional init nn plasticity schedule spikegen surrogate utils".split()
)  # modules of public names
WHOLE = "the module"  # how the page says that a module itself is imported


def parts(key):
    """The top-level modules of the core, or of the rooms, by the contract between them."""
    contract = (ROOT / "pyproject.toml").read_text("utf-8").split('id = "doors"')[1].split("[[tool.")[0]
    listed = re.search(rf"^{key} = \[(.*?)\]", contract, re.DOTALL | re.MULTILINE)[1]
    return re.findall(r'"spikecore\.(\w+)"', listed)


CORE, ROOMS = parts("source_modules"), parts("forbidden_modules")


def files(part):
    """The files of a top-level module or package."""
    path = PACKAGE / part
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def is_module(name):
    """Whether a dotted name is that of a module of ours."""
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def imported(path):
    """What a file imports of this package, anywhere: pairs of a module and a name, or ``WHOLE``."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from ((alias.name, WHOLE) for alias in node.names if alias.name.startswith("spikecore"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "spikecore":
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield (inner, WHOLE) if is_module(inner) else (node.module, alias.name)


def public(face):
    """The names that a module offers to users."""
    path = min(files(face))
    stub = path.with_suffix(".pyi")  # has the names that are resolved on first use
    names = set()
    for node in tree(stub if stub.is_file() else path).body:
        if isinstance(node, ast.ImportFrom):
            names |= {alias.name for alias in node.names if alias.asname == alias.name}
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            names |= set(ast.literal_eval(node.value))
    return {name for name in names if not name.startswith("_")}


def used_by_rooms():
    """What rooms import from the core that is no public name: names by module, and who imports them."""
    import spikecore

    offered = {"spikecore": {*spikecore.__all__, WHOLE}, **{f"spikecore.{f}": public(f) | {WHOLE} for f in FACES}}
    used = {}
    for room in ROOMS:
        for path in files(room):
            for module, name in imported(path):
                if (module.split(".") + [""])[1] not in ROOMS and name not in offered.get(module, ()):
                    used.setdefault(module, {}).setdefault(name, path.relative_to(ROOT).as_posix())
    return used
