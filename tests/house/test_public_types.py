"""Public signatures say what they take: few parameters are annotated ``Any``, or not at all."""

from __future__ import annotations

import ast
import importlib
import inspect
import runpy
from pathlib import Path
from types import FunctionType
from typing import Any, Literal, Optional, Union, get_args, get_origin

import pytest

import spikecore as sc
from spikecore import arguments
from tests import ROOT
from tests.house import sweep_rig

for package in ("torch", "matplotlib", "nir"):
    pytest.importorskip(package)

MODULES = (
    "spikecore spikecore.backprop spikecore.base spikecore.compression spikecore.errors "
    "spikecore.convert spikecore.datasets spikecore.datasets.transforms "
    "spikecore.eventprop spikecore.functional spikecore.hardware spikecore.neurobench "
    "spikecore.functional.probe spikecore.functional.quant spikecore.functional.stdp_learner spikecore.nir "
    "spikecore.init spikecore.plasticity spikecore.schedule spikecore.spikegen spikecore.spikeplot "
    "spikecore.surrogate spikecore.tracking spikecore.utils spikecore.zoo"
).split()
AT_MOST = 0.10
#: Names that are Any for type checkers and something else when a program runs.
HIDDEN = {
    node.targets[0].id
    for node in ast.walk(ast.parse(Path(arguments.__file__).read_text(encoding="utf-8")))
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and node.value.id == "Any"
}


def public():
    """Functions, constructors and methods that the modules export, each once, by name; with what binds ``self``."""
    seen = set()
    for home in MODULES:
        module = importlib.import_module(home)
        for name in getattr(module, "__all__", None) or [each for each in dir(module) if not each.startswith("_")]:
            thing = getattr(module, name)
            if not callable(thing) or not str(getattr(thing, "__module__", "")).startswith("spikecore"):
                continue
            for owner, function, bound in members(f"{home}.{name}", thing):
                if getattr(function, "__module__", "").startswith("spikecore") and function not in seen:
                    seen.add(function)
                    yield owner, function, bound


def members(name, thing):
    if not isinstance(thing, type):
        return [(name, thing, 0)] if inspect.isfunction(thing) else []
    methods = [each for each in dir(thing) if not each.startswith("_") or each in ("__init__", "__call__")]
    raw = [(each, inspect.getattr_static(thing, each)) for each in methods]
    plain = [(each, getattr(method, "__func__", method), not isinstance(method, staticmethod)) for each, method in raw]
    functions = [row for row in plain if inspect.isfunction(row[1])]
    return [(name if each == "__init__" else f"{name}.{each}", method, int(bound)) for each, method, bound in functions]


def says_nothing(annotation, function):
    """Whether an annotation is missing, or Any by whatever name."""
    if isinstance(annotation, str):
        try:
            annotation = eval(annotation, {**inspect.unwrap(function).__globals__, **dict.fromkeys(HIDDEN, Any)})
        except NameError:  # a class that is imported for type checkers alone
            return False
    return annotation in (Any, Optional[Any], inspect.Parameter.empty)


def of_stub(path):
    """Function, parameter and whether it says nothing, for the definitions in a stub."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for kind in [node for node in tree.body if isinstance(node, ast.ClassDef)]:
        for function in [node for node in kind.body if isinstance(node, ast.FunctionDef)]:
            given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs][1:]
            for argument in given:
                hint = ast.unparse(argument.annotation) if argument.annotation else "Any"
                yield f"spikecore.nn.{kind.name}.{function.name}", argument.arg, hint in ("Any", "Optional[Any]")


def test_parameters_say_what_they_take():
    rows = [
        (owner, parameter.name, says_nothing(parameter.annotation, function))
        for owner, function, bound in public()
        for parameter in list(inspect.signature(function).parameters.values())[bound:]
    ]
    rows += of_stub(Path(arguments.__file__).with_name("nn") / "__init__.pyi")
    silent = [f"{owner}({name})" for owner, name, nothing in rows if nothing]
    print(f"{len(silent)} of {len(rows)} parameters are Any", *silent, sep="\n")
    assert len(rows) > 1500
    assert len(silent) <= AT_MOST * len(rows), silent


def words(hint):
    """The words that an annotation allows, by themselves or among other things."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    return [word for part in get_args(hint) for word in words(part)] if get_origin(hint) is Union else []


# The sweep has a label per sample: no sequences of labels, none at each step, and no values.
OTHER_DATA = {(word, ValueError) for word in ("mae", "mse", "r2")}
OTHER_DATA |= {(word, sc.datasets.DataFileError) for word in ("first", "last")}  # there are no files to split
OTHER_DATA |= {(word, sc.errors.ShapeError) for word in ("label_error_rate", "accuracy_step")}


@pytest.mark.filterwarnings("ignore")  # of libraries, and of what is lost in NIR
def test_every_word_that_an_option_lists_is_taken(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    wrong, tried = [], 0
    for owner, function, _ in sweep_rig.callables():
        if not isinstance(function, (type, FunctionType)):
            continue
        method = getattr(sc.Model, owner.rpartition(".")[2]) if owner.startswith("spikecore.Model.") else function
        signature, hints = inspect.signature(function), arguments.hints_of(method)
        call = sweep_rig.caller(function, signature, sweep_rig.arguments(owner, signature))
        options = [(each, word) for each in signature.parameters for word in words(hints.get(each))]
        for name, word in options:
            tried += 1
            try:
                call({name: word})
            except (FileNotFoundError, sc.errors.EngineUnavailable):  # the word was understood
                pass
            except Exception as error:
                if (word, type(error)) not in OTHER_DATA:
                    wrong.append(f"{owner}({name}={word!r}): {error}")
    assert tried > 100
    assert not wrong


# ---- scripts of users: `make type` has mypy read them, here they run -------------------------------------------------

TYPED = ROOT / "tests" / "typed"
MISTAKES = ast.parse((TYPED / "mistakes.py").read_text(encoding="utf-8")).body[1:]


@pytest.fixture(scope="module")
def names():
    known = {}
    for node in MISTAKES:
        if not isinstance(node, ast.Expr):
            exec(compile(ast.Module([node], []), "mistakes.py", "exec"), known)
    return known


@pytest.mark.parametrize("mistake", [ast.unparse(node) for node in MISTAKES if isinstance(node, ast.Expr)])
def test_what_type_checkers_refuse_is_refused_when_it_runs(mistake, names):
    with pytest.raises((AttributeError, TypeError, ValueError)):
        eval(mistake, names)


def test_what_type_checkers_take_runs():
    runpy.run_path(str(TYPED / "right.py"))


# ---- the counter -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "nothing"),
    [("Any", True), ("Optional[Any]", True), ("HostArray", True), ("int", False), ("Somewhere", False), (Any, True)],
)
def test_what_says_nothing(annotation, nothing):
    assert says_nothing(annotation, says_nothing) is nothing
    assert says_nothing(inspect.Parameter.empty, says_nothing)
