"""What an engine has for single steps of learning rules: derivatives as a program, traces by a kernel."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

import spikecore as sc
from spikecore import backprop
from spikecore.api.core.extras import StepwiseLearning, extra
from spikecore.api.core.layer import Key, shapes_of
from spikecore.api.core.tree import Params, State, flatten, map_leaves, unflatten
from spikecore.api.core.variants import unfused
from spikecore.api.learning import derivatives as api
from spikecore.api.learning.online import Online
from spikecore.api.learning.rule import LearningRun
from spikecore.api.learning.steps import Targets, stepwise
from spikecore.conformance.rig import assert_close, normal
from spikecore.conformance.test_backprop import ELEMENTWISE, SOME
from spikecore.engines import single_steps
from spikecore.engines.numpy.engine import NumpyEngine
from spikecore.kernels import eligibility, jacobian

LABELS = np.array([0, 2, 1])
ENGINES = ["numpy", "torch"]


# ---- derivatives as a program --------------------------------------------------------------------------------------


def for_rules(engine):
    return extra(engine, StepwiseLearning).stepwise(engine, unfused(engine))


def known_of(engine, *step):
    return extra(engine, StepwiseLearning).jacobian(engine, *step)


def step_of(engine, case):
    """A neuron with its prepared parameters, states and a current, on an engine."""
    init = case.layer.init(Key((0,)), case.shape)
    fields = case.layer.prepare(engine, Params(map_leaves(engine.asarray, init.params)))
    x = engine.asarray(normal(3, *case.shape) + 0.4)
    rest = case.layer.rest(engine, fields, x)
    before = {n: a + engine.asarray(normal(*a.shape, seed=i)) for i, (n, a) in enumerate(rest.items())}
    return case.layer, fields, State(before), x


def check_program(name, case):
    """The derivatives of a program are those of the tape; returns how many of them are numbers, None: no program."""
    engine = sc.get_engine(name, dtype="float64")
    known = known_of(for_rules(engine), *step_of(engine, case))
    if known is None:
        return None
    tape, numbers = api.derivatives(unfused(engine), *step_of(engine, case)).rows, 0
    for of, row in tape.items():
        found = flatten(known[of])
        for by, expected in flatten(row).items():
            value, expected = found[by], engine.to_numpy(expected)
            numbers += type(value) is float
            value = np.full(expected.shape, value) if type(value) is float else engine.to_numpy(value)
            assert_close(np.broadcast_to(value, expected.shape), expected, 1e-12, f"{case}: d {of} / d {by}")
    return numbers


WITHOUT = {"Leaky-inhibition"}


@pytest.mark.parametrize("name", ENGINES)
def test_a_program_has_the_derivatives_of_the_tape(name):
    numbers = {case.name: check_program(name, case) for case in ELEMENTWISE if name == "numpy" or case.name in SOME}
    without = {case for case, count in numbers.items() if count is None}
    assert without == WITHOUT.intersection(numbers)
    assert sum(bool(count) for count in numbers.values()) > 0.8 * len(numbers)  # nearly every step has constant ones


@dataclass(frozen=True)
class Quotients(sc.base.Neuron):
    """A step that divides by one, which changes nothing, and by another number."""

    def step(self, engine, params, state, x):
        mem = state.mem * (state.mem / 2.0) + x / 1.0
        return self.spike(engine, params, mem - params.threshold), State(mem=mem)


def test_no_division_but_that_by_one_is_left_out():
    assert check_program("numpy", ELEMENTWISE[0]._replace(layer=Quotients()))


BROKEN = {
    "a number is taken for one": (
        "_simplified",
        lambda right, word, args: 1.0 if word == "negative" else right(word, args),
    ),
    "a result is left out": (
        "by_input",
        lambda right, *a: {**right(*a), "x": None},
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_wrong_program_is_found(name, monkeypatch):
    attribute, breaks = BROKEN[name]
    right = getattr(jacobian, attribute)
    monkeypatch.setattr(jacobian, attribute, lambda *a: breaks(right, *a))
    with pytest.raises(AssertionError, match="relative error"):
        check_program("numpy", next(case for case in ELEMENTWISE if case.name == "ALIF"))


def test_there_is_none_without_kernels_or_for_neurons_that_see_each_other():
    engine = sc.get_engine("numpy", dtype="float64")
    neuron, fields, before, x = step_of(engine, ELEMENTWISE[0])
    for other in (engine, unfused(engine), for_rules(sc.get_engine("numpy", dtype="float64", fused=False))):
        assert known_of(other, neuron, fields, before, x) is None
    assert known_of(for_rules(engine), sc.Leaky(inhibition=True), fields, before, x) is None


NETWORK = sc.Sequential(sc.Linear(5, 4), sc.Leaky(beta=0.8, threshold=0.4), sc.Linear(4, 3), sc.LI(beta=0.7))


def gradient(engine, network=NETWORK, shape=(5,), learning="eprop", time=6):
    ours = sc.Model(network, engine, input_shape=shape, seed=0)
    x = normal(time, len(LABELS), *shape) + 0.5
    return backprop.learned(ours, x, LABELS, sc.functional.ce_membrane_loss(), learning=learning).grads


def doubled(engine):
    spike = engine.xp.spike
    engine.xp.spike = lambda u, surrogate: spike(2.0 * u, surrogate)


class Twice(NumpyEngine):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        doubled(self)


class Doubles:
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        doubled(self)


class Beside(Doubles, NumpyEngine):
    pass


class Further(Beside):
    pass


@pytest.mark.parametrize("Twice", [Twice, Beside, Further])
def test_an_engine_with_a_spike_of_its_own_keeps_its_derivative(Twice):
    engines = [Twice("float64", fused=fused) for fused in ("auto", False)]
    found, expected, plain = (gradient(engine) for engine in (*engines, sc.get_engine("numpy", dtype="float64")))
    for name, g in expected.items():
        np.testing.assert_array_equal(found[name], g)
    assert abs(plain["0.weight"] - expected["0.weight"]).max() > 0


def test_a_step_that_changes_is_read_again():
    factors, found = [], []

    class Own(sc.Leaky):
        def step(self, engine, params, state, x):
            return super().step(engine, params, state, factors[-1] * x)

    engine, network = sc.get_engine("numpy", dtype="float64"), sc.Sequential(sc.Linear(5, 4), Own())
    for factor in (1.0, 2.0):
        factors.append(factor)
        ours, expected = (gradient(one, network)["0.weight"] for one in (engine, unfused(engine)))
        assert_close(ours, expected, 1e-12)
        found.append(ours)
    assert abs(found[0] - found[1]).max() > 0


def test_programs_of_earlier_updates_do_not_pile_up(monkeypatch):
    monkeypatch.setattr(single_steps, "MOST", 4)
    model, kept = sc.Model(NETWORK, sc.get_engine("numpy", dtype="float64"), seed=0), []
    right = LearningRun.take
    monkeypatch.setattr(
        LearningRun, "take", lambda run: kept.append(len(extra(run.engine, StepwiseLearning)._programs)) or right(run)
    )
    learning, loss = sc.EProp(kappa=0.5, update_every=1), sc.functional.ce_membrane_loss()
    model.fit([(normal(8, 3, 5), LABELS)], loss=loss, learning=learning, progress=False)
    assert len(kept) == 8
    assert max(kept) <= 4


@pytest.mark.parametrize("name", ENGINES)
def test_a_division_by_a_number_needs_no_array(name):
    class Own(sc.Leaky):
        def step(self, engine, params, state, x):
            return super().step(engine, params, state, (x - state.mem) / 7.0)

    engine, network = sc.get_engine(name, dtype="float64"), sc.Sequential(sc.Linear(5, 4), Own())
    found, expected = (gradient(one, network) for one in (engine, unfused(engine)))
    assert_close(found["0.weight"], expected["0.weight"], 1e-12)


@pytest.mark.parametrize("learning", ["eprop", sc.EProp(kappa=0.5)], ids=["plain", "filtered"])
def test_equal_neurons_may_have_other_steps(learning):
    @dataclass(frozen=True)
    class Own(sc.Leaky):
        factor: float = field(default=1.0, compare=False)

        def step(self, engine, params, state, x):
            return super().step(engine, params, state, self.factor * x)

    network = sc.Sequential(sc.Linear(5, 4), Own(factor=1.0), sc.Linear(4, 4), Own(factor=3.0), sc.Linear(4, 3))
    engine = sc.get_engine("numpy", dtype="float64")
    found, expected = (gradient(one, network, learning=learning) for one in (engine, unfused(engine)))
    for parameter, g in expected.items():
        assert_close(found[parameter], g, 1e-12, parameter)


# ---- traces --------------------------------------------------------------------------------------------------------


def traces(network, fused="auto"):
    """The traces of the first block before the first step: by state, the shape."""
    engine = sc.get_engine("numpy", dtype="float64", fused=fused)
    model = sc.Model(network, engine, input_shape=(5,))
    model.build((5,))
    rule = Online(network, stepwise(sc.functional.ce_membrane_loss()), Targets(engine.asarray(LABELS), False), 1)
    like = shapes_of(network, (5,))
    params = map_leaves(engine.asarray, unflatten(model.params(), like.params))
    run = LearningRun(rule, engine, params, like.buffers)
    run.feed(engine.asarray(normal(1, 3, 5)))
    return {name: e.shape for name, e in run.state.traces["1"].synapses["0"].items()}


def test_neurons_that_leak_alike_share_their_traces():
    """One per input, and one for the bias; a state that nothing reads has none."""
    alif = sc.Sequential(sc.Linear(5, 4), sc.ALIF(), sc.Linear(4, 3), sc.LI())
    assert traces(NETWORK) == {"mem": (3, 1, 1, 6, 1)}
    assert traces(NETWORK, fused=False) == {"mem": (3, 1, 4, 6, 1)}
    assert traces(alif) == {"mem": (3, 1, 1, 6, 1), "adapt": (3, 1, 4, 6, 1)}


SURROGATE = {"threshold": 0.3, "surrogate": sc.surrogate.fast_sigmoid(slope=5.0)}
PER_NEURON = sc.learn(0.5, per="neuron")
LEARNED = sc.Synaptic(alpha=0.5, beta=sc.learn(0.8), reset_mechanism="zero", **SURROGATE)
KERNELS = {  # by kernel: dense synapses of two connections, a filter of the traces; maps with groups
    "dense": (
        sc.Sequential(
            sc.Linear(5, 4), sc.Recurrent(sc.ALIF(adaptation=PER_NEURON, **SURROGATE), sc.Linear(4, 4)),
            sc.Linear(4, 3), sc.LI(beta=0.7)),
        (5,), sc.EProp(kappa="readout")),
    "maps": (
        sc.Sequential(
            sc.Conv2d(2, 4, 2, groups=2), LEARNED,
            sc.Flatten(), sc.Linear(16, 3), sc.LI(beta=0.7)),
        (2, 3, 3), sc.EProp()),
    "two positions": (
        sc.Sequential(
            sc.Conv2d(2, 4, 2, groups=2), LEARNED,
            sc.Flatten(), sc.Linear(8, 3), sc.LI(beta=0.7)),
        (2, 2, 3), sc.EProp()),
}  # fmt: skip


def check_kernel(name, engine, dtype="float64", limit=1e-12):
    pytest.importorskip("numba", reason="Numba is not installed (extra 'kernels')")
    network, shape, learning = KERNELS[name]
    found, expected = (
        gradient(sc.get_engine(engine, dtype=dtype, fused=fused), network, shape, learning) for fused in (True, False)
    )
    for parameter, g in expected.items():
        assert abs(g).max() > 0
        assert_close(found[parameter], g, limit, parameter)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", KERNELS)
def test_traces_by_a_kernel(name, engine):
    check_kernel(name, engine)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", KERNELS)
def test_so_in_float32(name, engine):
    check_kernel(name, engine, "float32", 1e-5)


@pytest.mark.parametrize("result", [0, 1], ids=["traces", "gradient"])
def test_a_wrong_kernel_is_found(result, monkeypatch):
    right = eligibility.step

    def wrong(*given):
        after, g = right(*given)
        return ([1.001 * e for e in after], g) if result == 0 else (after, 1.001 * g)

    monkeypatch.setattr(eligibility, "step", wrong)
    with pytest.raises(AssertionError, match="relative error"):
        check_kernel("dense", "numpy")


def test_threads_do_not_change_the_bits(monkeypatch):
    pytest.importorskip("numba", reason="Numba is not installed (extra 'kernels')")
    network, shape, learning = KERNELS["dense"]
    engine, found = sc.get_engine("numpy", dtype="float64", fused=True), []
    for workers in (1, 2, 3):
        monkeypatch.setattr(eligibility, "workers", lambda threads, count=workers: count)
        found.append(gradient(engine, network, shape, learning))
    for other in found[1:]:
        for name, g in found[0].items():
            np.testing.assert_array_equal(other[name], g)
