"""Laws whose cases take turns: what the default run keeps of a grid of engines, layers and options."""

from __future__ import annotations

from itertools import combinations, product
from pathlib import Path
from types import SimpleNamespace

import pytest

from spikecore.conformance import test_executors, test_parallel, test_scan, test_streams
from spikecore.conformance import test_neurons as suites_neurons
from tests import conftest

ENGINES = ["numpy", "torch", "ipu:simulate=true"]


class Case:
    originalname, nodeid = "test_split", "tests/conformance/test_scan.py::test_split"

    def __init__(self, place):
        self.place, self.slow = place, False
        self.callspec = SimpleNamespace(_idlist=[f"value {index}" for index in place])

    def add_marker(self, name):
        self.slow = name == "slow"

    def get_closest_marker(self, name):
        return None


def kept(sizes, engines=ENGINES, every_case=False, args=("tests",)):
    option = SimpleNamespace(engine=engines, every_case=every_case)
    cases = [Case(place) for place in product(*map(range, sizes))]
    conftest.pytest_collection_modifyitems(SimpleNamespace(option=option, args=args), cases)
    return [case.place for case in cases if not case.slow]


@pytest.mark.parametrize("sizes", [(4, 69), (3, 5), (4, 69, 3), (6, 4, 2, 4)])
def test_each_value_has_its_turn_and_of_three_axes_each_pair(sizes):
    places = kept(sizes)
    for axis, size in enumerate(sizes):
        assert {place[axis] for place in places} == set(range(size))
    for some in combinations(range(len(sizes)), len(sizes) - 1):
        if all(sizes[axis] >= conftest.TURNS for axis in set(range(len(sizes))) - set(some)):
            seen = {tuple(place[axis] for axis in some) for place in places}
            assert seen == set(product(*(range(sizes[axis]) for axis in some)))
    assert len(places) < 0.45 * len(list(product(*map(range, sizes))))


class MarkedCase(Case):
    originalname = "test_of_a_room"

    def get_closest_marker(self, name):
        return SimpleNamespace(args=(12,)) if name == "turns" else None


def test_a_mark_says_how_many_take_turns():
    """Twelve neurons and thirty surrogates: each surrogate meets one neuron."""
    cases = [MarkedCase(place) for place in product(range(12), range(30))]
    option = SimpleNamespace(engine=ENGINES, every_case=False)
    conftest.pytest_collection_modifyitems(SimpleNamespace(option=option, args=("tests",)), cases)
    kept = [case.place for case in cases if not case.slow]
    assert sorted(surrogate for _, surrogate in kept) == list(range(30))
    assert {neuron for neuron, _ in kept} == set(range(12))


class StrictCase(Case):
    def __init__(self, test, layer, option):
        super().__init__((1, layer, option))
        self.originalname, self.nodeid = test, f"tests/{test}[{conftest.STRICT}-{layer}-{option}]"
        self.callspec.params = {"layer": SimpleNamespace(name=f"layer {layer}"), "option": option}

    def get_closest_marker(self, name):
        return self.slow and name == "slow"


@pytest.mark.parametrize("layers", [1, 2, 30])
def test_of_the_strict_library_each_test_keeps_a_case_each_layer_one_and_a_third_remain(layers):
    def cases():
        return [StrictCase(test, layer, k) for test in ("a", "bc", "def") for layer in range(layers) for k in range(4)]

    def run(cases, every_case):
        option = SimpleNamespace(engine=ENGINES, every_case=every_case)
        conftest.pytest_collection_modifyitems(SimpleNamespace(option=option, args=("tests",)), cases)
        return [case for case in cases if not case.slow]

    kept = run(cases(), every_case=False)
    assert {case.originalname for case in kept} == {"a", "bc", "def"}
    assert {case.callspec.params["layer"].name for case in kept} == {f"layer {k}" for k in range(layers)}
    assert layers < 3 or len(kept) < 0.45 * len(cases())
    assert len(run(cases(), every_case=True)) == len(cases())


@pytest.mark.parametrize("device", ["a", "b"])
@pytest.mark.parametrize(("layer", "shape"), [("x", 1), ("y", 1), ("z", 2)])
@pytest.mark.parametrize("steps", [1, 2])
def test_the_place_of_a_case_is_that_of_its_values(request, device, layer, shape, steps):
    """What is given together is one axis. In pytest 9 ``callspec.indices`` has the case's number for each axis."""
    grid, name = conftest.Grid(), request.node.originalname
    places = [grid.place(case) for case in request.session.items if getattr(case, "originalname", None) == name]
    assert len(set(map(tuple, places))) == len(places)
    assert all(index < size for place in places for index, size in zip(place, (2, 3, 2)))
    assert {len(place) for place in places} == {3}


def test_all_cases_run_where_they_are_asked_for():
    everything = list(product(range(4), range(9)))
    assert kept((4, 9), engines=["numpy"]) == everything  # mutants are sought on one engine
    assert kept((4, 9), every_case=True) == everything
    assert kept((4, 9), args=["tests/conformance/test_scan.py::test_split"]) == everything


def test_every_law_is_a_test_of_the_suite():
    suite = (test_executors, test_parallel, test_scan, test_streams, suites_neurons)
    assert all(any(hasattr(module, law) for module in suite) for law in conftest.LAWS)


def test_long_files_are_there_and_come_first():
    files = (*sorted(conftest.LONG), "tests/conformance/test_words.py")
    cases = [SimpleNamespace(nodeid=f"{file}::test", originalname="test") for file in reversed(files)]
    conftest.pytest_collection_modifyitems(
        SimpleNamespace(option=SimpleNamespace(engine=["numpy"], every_case=False), args=()), cases
    )
    assert [case.nodeid for case in cases] == [f"{file}::test" for file in (*reversed(files[:-1]), files[-1])]
    here = Path(__file__).parents[2]
    if (here / "tests/cli").is_dir():  # a tree of the core alone has fewer
        assert [file for file in conftest.LONG if not (here / file).is_file()] == []
