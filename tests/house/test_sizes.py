"""Functions have few parameters, and files few lines: what is longer has its reason here."""

from __future__ import annotations

import ast

import pytest

from tests import ROOT
from tests.house.sources import tree

MOST_PARAMETERS, MOST_LINES = 10, 400
SNNTORCH = "snnTorch's signature, which programs of snnTorch's call"
POPTORCH = "PopTorch's signature, which programs of PopTorch's call"
OPTIONS = "the options of a command: each is asked for by its name"
WORD = "the word's own arguments, by the names with which it is called"
BATCH = "a batch, how it is fed, and how it is learned from, by the names that fit has for them"
#: How many parameters a function has, without self, and why.
LONG = {
    "api/spikegen/targets.py: targets_convert": (19, SNNTORCH),
    "api/spikegen/targets.py: targets_latency": (14, SNNTORCH),
    "api/spikegen/targets.py: targets_rate": (12, SNNTORCH),
    "api/spikegen/timing.py: latency": (13, SNNTORCH),
    "spikeplot/counts.py: spike_count": (15, SNNTORCH),
    "spikeplot/membranes.py: traces": (11, SNNTORCH),
    "engines/ipu/simulation/optim.py: SGD.__init__": (15, POPTORCH),
    "engines/ipu/simulation/optim.py: Adam.__init__": (16, POPTORCH),
    "engines/ipu/simulation/optim.py: AdamW.__init__": (17, POPTORCH),
    "engines/ipu/simulation/optim.py: RMSprop.__init__": (15, POPTORCH),
    "api/core/rules.py: _transposed_input": (11, WORD),
    "api/core/rules.py: _transposed_weight": (11, WORD),
    "api/training/fit.py: fit": (17, BATCH),
    "api/training/own_loop.py: train_step": (12, BATCH),
    "api/training/quantize.py: quantize": (14, "bits of each part of a network, and the samples that show its ranges"),
    "api/verification/verify.py: verify": (11, BATCH),
    "engines/ipu/networks.py: check_model": (11, BATCH),
    "samples/loader.py: Loader.__init__": (
        11,
        "samples, their order, and who loads them, as torch's DataLoader has it",
    ),
    "cli/command_machine.py: bench": (12, OPTIONS),
    "cli/command_submit.py: submit": (13, OPTIONS),
    "cli/command_sweep.py: sweep": (13, OPTIONS),
    "cli/command_sweep.py: _prepared": (11, OPTIONS),
}


def functions(node, owner=""):
    """Each function within a node by its dotted name, those within functions and lambdas included."""
    for child in ast.iter_child_nodes(node):
        name = owner
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            name = f"{owner}.{child.name}" if owner else child.name
        elif isinstance(child, ast.Lambda):
            name = f"{owner}.lambda" if owner else "lambda"
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield name, child
        yield from functions(child, name)


def parameters(function):
    """How many parameters a function has, ``*args`` and ``**kwargs`` included, self not."""
    given = function.args
    names = [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")]) + bool(given.vararg) + bool(given.kwarg)


def long_functions(root):
    found = {}
    for path in sorted(root.rglob("*.py")):
        for name, function in functions(tree(path)):
            if parameters(function) > MOST_PARAMETERS:
                found[f"{path.relative_to(root).as_posix()}: {name}"] = parameters(function)
    return found


def test_functions_have_at_most_ten_parameters_but_for_these():
    """What always goes together is a record, and what a user chooses among is an object."""
    assert long_functions(ROOT / "spikecore") == {name: count for name, (count, _) in LONG.items()}


def test_all_kinds_of_parameters_count_and_all_functions(tmp_path):
    many = ", ".join(f"p{i}" for i in range(9))
    (tmp_path / "some.py").write_text(
        f"def plain({many}, b): ...\ndef long({many}, *b, **c): ...\n"
        f"class A:\n    def method(self, {many}, *, b): ...\n"
        f"    def longer(self, p, /, {many}, *, b): ...\nf = lambda {many}, b, c: 0\n"
    )
    assert long_functions(tmp_path) == {"some.py: long": 11, "some.py: A.longer": 11, "some.py: lambda": 11}


@pytest.mark.parametrize("folder", ["spikecore", "plugins/spikecore-jax/src", "examples", "benchmarks", "tests"])
def test_files_have_at_most_four_hundred_lines(folder):
    """So that each can be read at once; one that grows beyond it is divided by what is in it."""
    files = [path for kind in ("*.py", "*.pyi") for path in (ROOT / folder).rglob(kind)]
    lines = {str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in files}
    generated = {"spikecore/nn/__init__.pyi"}  # by docs/make_stub.py
    assert {name: count for name, count in lines.items() if count > MOST_LINES and name not in generated} == {}
