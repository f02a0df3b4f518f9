"""Kernels of steps that users write: any state's name and kind, steps that change, numbers that are no numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Tuple

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.layer import Key, Pass
from spikecore.api.core.tree import Tree, map_leaves
from tests.kernels.kernel_checks import SHAPE, L, check, run
from tests.kernels.kernel_rig import CASES, Problem, Side, forget

pytest.importorskip("numba", reason="Numba is not installed (extra 'kernels')")


def test_a_neuron_of_the_users_own_is_fused_without_further_code():
    @dataclass(frozen=True)
    class Resonate(sc.base.Neuron):
        omega: sc.base.Param = L(0.3)
        state: ClassVar[tuple] = ("syn", "mem")

        def step(self, engine, params, state, x):
            syn = 0.9 * state.syn - params.omega * state.mem + x
            mem = 0.9 * state.mem + params.omega * syn
            return self.graded(params, self.fires(engine, params, mem)), sc.base.State(syn=syn, mem=mem)

    check("numpy", "float32", Resonate(threshold=0.5))
    assert sc.get_engine("numpy").explain(Resonate()).startswith("fused: Numba kernels of Resonate.step")


GAIN = 0.5  # a global that steps read, as in a notebook


@dataclass(frozen=True)
class Gained(sc.base.Neuron):
    """Its step reads a global."""

    def step(self, engine, params, state, x):
        mem = GAIN * state.mem + x
        return self.graded(params, self.fires(engine, params, mem)), sc.base.State(mem=mem)


@pytest.mark.parametrize(
    "layer",
    [
        Gained(threshold=0.5),
        sc.Leaky(beta=0.8, threshold=0.5, surrogate=sc.surrogate.custom_surrogate(lambda xp, u: GAIN / (1.0 + abs(u)))),
    ],
    ids=["step", "surrogate"],
)
def test_a_step_that_changes_gets_other_kernels(monkeypatch, layer):
    gradients = []
    for gain in (0.5, 0.75, 0.5):
        monkeypatch.setitem(globals(), "GAIN", gain)
        check("numpy", "float32", layer)
        gradients.append(run(sc.get_engine("numpy", fused=True), layer)[2]["x"])
    assert np.array_equal(gradients[0], gradients[2])
    assert not np.array_equal(gradients[0], gradients[1])


def test_outputs_that_the_way_back_needs_may_not_be_edited():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    layer, engine = sc.RLeaky(beta=0.7, linear_features=5, threshold=0.5), sc.get_engine("torch", fused=True)
    params = map_leaves(lambda a: engine.asarray(a).requires_grad_(), layer.init(Key((0,)), SHAPE).params)
    spikes = layer.run(Pass(engine), params, Tree(), None, torch.rand(6, 2, *SHAPE)).outputs
    spikes.detach().mul_(2.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        spikes.sum().backward()


@dataclass(frozen=True)
class NamedX(sc.base.Neuron):
    """Its states bear names that generated code might use."""

    beta: sc.base.Param = L(0.7)
    state: ClassVar[tuple] = ("x", "out", "mem")

    def step(self, engine, params, state, x):
        kept, out = params.beta * state.x + 0.5 * x, 0.3 * state.out + 0.1 * state.x
        mem = 0.8 * state.mem + 0.2 * state.out + kept
        return self.graded(params, self.fires(engine, params, mem)), sc.base.State(x=kept, out=out, mem=mem)


@pytest.mark.parametrize("name", ["numpy", "torch"])
@pytest.mark.parametrize("steps", [13, 40])
def test_states_of_any_name(name, steps):
    if name == "torch":
        pytest.importorskip("torch", reason="torch is not installed")
    check(name, "float32", NamedX(threshold=0.5), steps=steps)


@dataclass(frozen=True)
class Odd(sc.base.Neuron):
    """Its states bear names that are no identifiers, or one that Python reads as another: a ligature is two letters."""

    state: ClassVar[tuple] = ("\ufb01", "fi", "mem-brane", "class", "mem")

    def step(self, engine, params, state, x):
        first, second = 0.9 * state["\ufb01"] + x, 0.2 * state["fi"] - 0.5 * x
        third, last = 0.5 * state["mem-brane"] + second, 0.3 * state["class"] + first
        mem = 0.6 * state.mem + 0.5 * first + 0.2 * last - 0.1 * third
        after = {"\ufb01": first, "fi": second, "mem-brane": third, "class": last, "mem": mem}
        return self.graded(params, self.fires(engine, params, mem)), sc.base.State(after)


@dataclass(frozen=True)
class Scaled(sc.Refractory):
    """It has parameters "neuron.beta" and "neuron_beta"."""

    def init(self, key, shape):
        made = super().init(key, shape)
        return made._replace(params=made.params.replace(neuron_beta=np.array(0.4)))

    def prepare(self, engine, params):
        return super().prepare(engine, params).replace(neuron_beta=params.neuron_beta)

    def step(self, engine, params, state, x):
        return super().step(engine, params, state, params.neuron_beta * x)


@pytest.mark.parametrize("name", ["numpy", "torch"])
@pytest.mark.parametrize(
    "layer", [Odd(threshold=0.5), Scaled(sc.Leaky(beta=L(0.8), threshold=0.2))], ids=["states", "params"]
)
def test_names_that_are_alike_do_not_collide(name, layer):
    """C14: generated code has none of the user's names."""
    if name == "torch":
        pytest.importorskip("torch", reason="torch is not installed")
    check(name, "float32", layer, steps=40)


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_sequences_of_single_numbers(name):
    if name == "torch":
        pytest.importorskip("torch", reason="torch is not installed")
    x, found = np.random.default_rng(0).random(70, dtype="float32"), []
    for fused in (False, True):
        engine = sc.get_engine(name, fused=fused)

        def total(held, engine=engine):
            out = sc.Leaky(beta=0.8, threshold=0.5).run(Pass(engine), Tree(), Tree(), None, held.x).outputs
            return engine.xp.sum(out * out), out

        _, out, grads = engine.value_and_grad(total, Tree(x=engine.asarray(x)))
        found.append([engine.to_numpy(a) for a in (out, grads.x)])
    assert np.array_equal(found[0][0], found[1][0])
    assert np.array_equal(found[0][1], found[1][1])


@dataclass(frozen=True)
class Compared(sc.base.Neuron):
    """Two of its states are comparisons."""

    state: ClassVar[tuple] = ("mem", "low", "high")

    def step(self, engine, params, state, x):
        mem = 0.7 * state.mem + x + (state.low + state.high) * 0.3
        return mem * mem * 0.1 + mem, sc.base.State(mem=mem, low=mem > 0.1, high=mem > 0.2)


def test_states_that_are_comparisons_do_not_depend_on_where_a_run_is_cut():
    engine, layer = sc.get_engine("numpy", fused=True), Compared()
    x = np.random.default_rng(0).standard_normal((7, 1, 20_000)).astype("float32")
    whole = layer.run(Pass(engine), Tree(), Tree(), None, x).outputs
    state = None
    for t in range(7):
        made = layer.run(Pass(engine), Tree(), Tree(), state, x[t : t + 1])
        state = made.state
        assert np.array_equal(made.outputs[0], whole[t]), t


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_gradients_through_the_final_state_alone(name):
    if name == "torch":
        pytest.importorskip("torch", reason="torch is not installed")
    x, found = np.random.default_rng(0).random((40, 3, 5), dtype="float32"), []
    for fused in (False, True):
        engine = sc.get_engine(name, fused=fused)

        def total(held, engine=engine):
            layer = sc.Synaptic(alpha=0.6, beta=0.7, threshold=0.5)
            state = layer.run(Pass(engine), Tree(), Tree(), None, held.x).state
            return engine.xp.sum(state.mem * state.mem), state

        found.append(engine.to_numpy(engine.value_and_grad(total, Tree(x=engine.asarray(x)))[2].x))
    assert np.array_equal(*found)


def test_division_by_zero_and_infinities_are_the_loops():
    @dataclass(frozen=True)
    class Divide(sc.base.Neuron):
        def step(self, engine, params, state, x):
            mem = 0.5 * state.mem + x / (x - engine.xp.abs(x)) + 1.0 / x
            return self.graded(params, self.fires(engine, params, mem)), sc.base.State(mem=mem)

    x = np.random.default_rng(0).standard_normal((40, 3, 5)).astype("float32")
    x[7, 1] = 0.0
    with np.errstate(all="ignore"):
        runs = [
            Divide().run(Pass(sc.get_engine("numpy", fused=fused), record=True), Tree(), Tree(), None, x)
            for fused in (False, True)
        ]
    mems = [run.recorded.mem for run in runs]
    assert np.isinf(mems[0]).any()
    assert np.isnan(mems[0]).any()
    assert np.array_equal(*mems, equal_nan=True)
    assert np.array_equal(*(run.outputs for run in runs))


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("every-word-library", "float32"),
        pytest.param("every-word-library", "float64", marks=pytest.mark.slow),
        ("Leaky", "float64"),
    ],
)
def test_machine_code_needs_nothing_of_numba(name, dtype):
    """Whatever word a step consists of: its code is kept, and what is kept is linked without it."""
    from spikecore.kernels.runtime import build
    from spikecore.kernels.sequence import SequenceNumba

    case, found = next(case for key, case in CASES.items() if key.startswith(name)), []
    for _ in range(2):
        forget()
        problem = Problem(case, dtype)
        found.append(problem.run(problem.kernels(SequenceNumba.of), Side()))
    assert [made.cache_hits for made in build.in_memory.values()] == [1, 1]
    assert np.array_equal(found[0].outputs, found[1].outputs)
    assert np.array_equal(found[0].x, found[1].x)


@dataclass(frozen=True)
class Powers(sc.base.Neuron):
    """Its exponent may be learned, for which words have no derivative."""

    exponent: sc.base.Param = 1.3
    state: ClassVar[Tuple[str, ...]] = ("mem",)

    def step(self, engine, params, state, x):
        mem = 0.9 * state.mem + (engine.xp.abs(x) + 0.1) ** params.exponent
        return engine.spike(mem - params.threshold, self.surrogate), sc.base.State(mem=mem)


def test_an_argument_without_a_derivative_is_refused_and_not_taken_for_zero():
    x, y = np.random.default_rng(0).random((5, 6, 4)), np.arange(6) % 2
    net = sc.Sequential(Powers(exponent=sc.learn(1.3)), sc.Linear(4, 2), sc.LI(beta=0.9))

    def gradient(engine, **options):
        model = sc.Model(net, engine=sc.get_engine(engine, dtype="float64", **options), seed=0)
        return dict(model.value_and_grad(x, y, loss=sc.functional.ce_membrane_loss())[1])["0.exponent"]

    for engine in ("numpy", "torch"):
        with pytest.raises(RuntimeError, match="'pow' has no derivative by its argument number 2"):
            gradient(engine, fused=True)
    with pytest.raises(NotImplementedError, match="'pow' has no derivative by its argument number 2"):
        gradient("numpy")
    assert float(gradient("torch")) == float(gradient("torch", fused=False)) != 0.0  # autograd has one
