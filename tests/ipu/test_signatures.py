"""The IPU engine takes from PopTorch only what PopTorch 3.4 has, and the simulation has the same signatures.

``poptorch_signatures.json`` holds facts about the public source: names, arguments, defaults.
"""

from __future__ import annotations

import ast
import inspect
import json
from pathlib import Path

import pytest

from tests import ROOT

pytest.importorskip("torch", reason="the IPU engine is made of torch ops")

from spikecore.engines.ipu import simulation
from spikecore.engines.ipu.simulation import optim, options

HERE = Path(__file__).parent
FACTS = json.loads((HERE / "poptorch_signatures.json").read_text())
SIGNATURES = FACTS["signatures"]
ENGINE = ROOT / "spikecore" / "engines" / "ipu"
OWNERS = {
    "poptorch": simulation,
    "poptorch.options.Options": options.Options,
    "poptorch.options._TrainingOptions": options.TrainingOptions,
    "poptorch.options._PrecisionOptions": options.PrecisionOptions,
    "poptorch.options._PopartOptions": options.PopartOptions,
    "poptorch.PoplarExecutor": simulation.PoplarExecutor,
    "poptorch.Block": simulation.Block,
    **{f"poptorch.optim.{kind.__name__}": kind for kind in (optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop)},
}


def written(owner, member):
    """What the simulation itself writes under a name: in a module, in a class or in a base of it."""
    kinds = getattr(owner, "__mro__", (owner,))
    homes = [one for one in kinds if getattr(one, "__module__", "spikecore").partition(".")[0] == "spikecore"]
    return next((vars(one)[member] for one in homes if member in vars(one)), None)


def simulated():
    """(name, function) of everything that the simulation shares with PopTorch."""
    for name in SIGNATURES:
        owner, _, member = name.rpartition(".")
        found = written(OWNERS[owner], member) if owner in OWNERS else None
        if found is not None:
            yield name, found.fget if isinstance(found, property) else getattr(found, "__func__", found)


def shown(function):
    """A signature as the facts have it."""
    marks = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    for one in inspect.signature(function).parameters.values():
        default = "" if one.default is one.empty else f"={one.default!r}"
        yield f"{marks.get(one.kind, '')}{one.name}{default}"


@pytest.mark.parametrize(("name", "function"), list(simulated()), ids=lambda x: x if isinstance(x, str) else "")
def test_the_simulation_has_poptorchs_signatures(name, function):
    assert list(shown(function)) == SIGNATURES[name]


def test_nothing_else_is_offered():
    """Every public name of the simulation is one of PopTorch's."""
    known = {name.split(".")[1] for name in SIGNATURES if name.startswith("poptorch.")}
    renamed = {"Error", "optim", "Options", *FACTS["enums"]}
    assert set(simulation.__all__) <= known | renamed
    for enum, members in FACTS["enums"].items():
        assert {m.name: str(m.value) for m in getattr(simulation, enum)} == members


def chain(node):
    """The dotted name of an attribute access, [] if it does not begin with a name."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    return [node.id, *parts] if isinstance(node, ast.Name) else []


# What the engine's sources call their PopTorch objects.
VARIABLES = {
    ("poptorch",): "poptorch",
    ("poptorch", "optim"): "poptorch.optim",
    ("poptorch", "Block"): "poptorch.Block",
    ("options",): "poptorch.options.Options",
    ("options", "Training"): "poptorch.options._TrainingOptions",
    ("options", "Precision"): "poptorch.options._PrecisionOptions",
    ("options", "_Popart"): "poptorch.options._PopartOptions",
    ("self", "model"): "poptorch.PoplarExecutor",
    ("self", "training", "model"): "poptorch.PoplarExecutor",
}
FILES = sorted(ENGINE.glob("*.py"))


def calls(tree):
    """(fact, call) of each call of PopTorch in a source."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and chain(node.func):
            *owner, member = chain(node.func)
            owner = owner or ["poptorch"] * (member == "for_loop")  # it is handed on by itself
            if tuple(owner) in VARIABLES:
                yield f"{VARIABLES[tuple(owner)]}.{member}", node


def accepts(signature, call):
    """Whether a call fits a signature."""
    names = [one.lstrip("*").partition("=")[0] for one in signature if one != "self"]
    open_ended = any(one.startswith("*") for one in signature)
    keywords = [one.arg for one in call.keywords if one.arg is not None]
    positional = [one for one in call.args if not isinstance(one, ast.Starred)]
    return set(keywords) <= set(names) and (open_ended or len(positional) + len(keywords) <= len(names))


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_calls_exist_in_poptorch(path):
    for fact, call in calls(ast.parse(path.read_text())):
        if fact == "poptorch.Options":
            fact = "poptorch.options.Options.__init__"
        if fact.startswith("poptorch.optim."):
            fact += ".__init__"
        assert fact in SIGNATURES, f"{path.name}:{call.lineno}: PopTorch has no {fact}"
        assert accepts(SIGNATURES[fact], call), f"{path.name}:{call.lineno}: {fact} takes {SIGNATURES[fact]}"


def test_the_scan_sees_the_engines_calls():
    """The test above would not pass by finding nothing."""
    found = {fact for path in FILES for fact, _ in calls(ast.parse(path.read_text()))}
    assert {"poptorch.trainingModel", "poptorch.optim.Adam", "poptorch.options.Options.deviceIterations"} <= found
    assert "poptorch.for_loop" in found
    assert {"poptorch.PoplarExecutor.copyWeightsToHost", "poptorch.PoplarExecutor.setOptimizer"} <= found
    wrong = ast.parse("poptorch.trainingModel(module, optimiser=optimizer)")
    ((fact, call),) = calls(wrong)
    assert not accepts(SIGNATURES[fact], call)


def test_attributes_exist_in_poptorch():
    """What is read of ``poptorch`` without being called."""
    allowed = {name.split(".")[1] for name in SIGNATURES} | {"Options", *FACTS["enums"]}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            parts = chain(node) if isinstance(node, ast.Attribute) else []
            if parts[:1] == ["poptorch"]:
                assert parts[1] in allowed, f"{path.name}:{node.lineno}: poptorch.{parts[1]}"
                if parts[1] in FACTS["enums"] and len(parts) > 2:
                    assert parts[2] in FACTS["enums"][parts[1]]


def test_nothing_is_imported_from_poptorch():
    """It comes in through ``IpuEngine.poptorch`` alone."""
    for path in ENGINE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                modules = [alias.name for alias in node.names] + [getattr(node, "module", "") or ""]
                assert not any(module.partition(".")[0] == "poptorch" for module in modules)
