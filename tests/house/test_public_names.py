"""What stands behind ``sc.``: names that are no layer, neuron, container or optimiser are chosen, few and frozen."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from types import ModuleType

import pytest

import spikecore as sc
from spikecore import other_names
from tests import ROOT

#: Changing this list changes what is promised from 1.0 on: docs/support.md.
OTHERS = {
    "modules": (
        "backprop base compression convert datasets engines errors eventprop export functional hardware init "
        "neurobench nir nn plasticity schedule spikegen spikeplot surrogate tracking utils zoo"
    ),
    "ways of learning": "BPTT DECOLLE EProp NDOT OSTL OTTT RTRL SLTT",
    "for fit and optimisers": "Compute EarlyStopping Group",
    "values of parameters": "decay learn learn_tau",
    "models and engines": "get_engine load recipe verify",
}
MOST = 41  # 40, and the recipe, which is for the first line of a program
LISTED = {name for names in OTHERS.values() for name in names.split()}
LAZY = ("base", "compression", "errors")


def is_flat(name):
    """Whether a name is that of a layer, a neuron, a container or an optimiser that one can make, or of the model."""
    from spikecore.api.training.optimizers import Optimizer

    if name in ("nir", "nn", "Torch"):  # Torch is a layer; the modules need packages that may be missing
        return name == "Torch"
    thing = getattr(sc, name)
    kinds = (sc.base.Layer, Optimizer, sc.Model)
    return isinstance(thing, type) and issubclass(thing, kinds) and not inspect.isabstract(thing)


def test_all_other_names_are_those_that_were_chosen():
    others = {name for name in dir(sc) if not is_flat(name)} - {"__version__"}
    assert others == LISTED
    assert len(others) <= MOST


@pytest.mark.parametrize("name", sorted(other_names.MOVED))
def test_a_name_that_moved_says_where_it_is(name):
    place = other_names.MOVED[name]
    with pytest.raises(AttributeError, match=f"^sc.{name} is {re.escape(place)} now$"):
        getattr(sc, name)
    _, module, there = place.split(".")
    assert getattr(importlib.import_module(f"spikecore.{module}"), there) is not None


@pytest.mark.parametrize("module", LAZY)
def test_modules_of_names_resolve_each_and_import_nothing_before(module):
    found = importlib.import_module(f"spikecore.{module}")
    tree = ast.parse((ROOT / "spikecore" / f"{module}.pyi").read_text("utf-8"))
    stubs = {alias.asname for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert dir(found) == found.__all__ == sorted(stubs)
    assert all(getattr(found, name) is not None for name in stubs)
    with pytest.raises(AttributeError, match=f"module spikecore.{module}: unknown name 'Leeky'. Known: "):
        _ = found.Leeky


def test_no_name_has_two_doors():
    homes = {}
    for module in ("spikecore", *(f"spikecore.{each}" for each in LAZY)):
        package = importlib.import_module(module)
        for name in set(package.__all__) - {"nir", "nn", "Torch"}:
            homes.setdefault(name, set()).add(module)
    assert not {name: where for name, where in homes.items() if len(where) > 1}


def test_help_says_in_thirty_lines_what_is_where():
    text = sc.__doc__
    assert len(text.splitlines()) <= 30
    words = set(re.findall(r"\w+", text))
    modules = OTHERS["modules"].split()
    assert [name for name in modules if name not in words] == []
    assert [name for name in OTHERS["values of parameters"].split() if name not in words] == []


def test_a_model_shows_what_a_user_may_touch():
    model = sc.Model(sc.Sequential(sc.Linear(2, 2), sc.Leaky()), "numpy")
    public = {name for name in dir(model) if not name.startswith("_")}
    assert public == set(
        "apply build built classes close engine epochs_done evaluate fit from_state history input_shape load_state "
        "network notes output_shape params predict run_events save seed state stream summary to_engine train_step "
        "trainer value_and_grad".split()
    )
    with pytest.raises(AttributeError, match="write model.trainer.executor"):
        _ = model.executor


def test_modules_are_modules():
    for name in set(OTHERS["modules"].split()) - {"nir", "nn"}:
        assert isinstance(getattr(sc, name), ModuleType), name
