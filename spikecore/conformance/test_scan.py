"""Laws of the run over time: splitting, batching, windows, constant input, first states, time-major containers."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.layer import EMPTY, Key, Pass
from spikecore.api.core.tree import State, Tree, flatten, map_leaves
from spikecore.conformance import cases
from spikecore.conformance.rig import (
    assert_close,
    assert_trees_close,
    contracted,
    cotangents,
    differentiate,
    host,
    normal,
    on,
    run,
)

SOME = [cases.LEAKY[0], cases.LEAKY[3], *cases.FAMILY, *cases.NETWORKS]
names = {"ids": repr}


def inputs(case, time=8, batch=3):
    return normal(time, batch, *case.shape) + 0.5


def check_split(engine, case, cut):
    """scan(x) is scan(x[:k]) and then scan(x[k:]) from the state of the first."""
    x = inputs(case)
    whole, early = run(engine, case.layer, x), run(engine, case.layer, x[:cut])
    late = run(engine, case.layer, x[cut:], state=early.state)
    exact = 0.0 if case in cases.LEAKY else 1e-13  # a matrix product or a sum over time may round by its extent
    assert_close(np.concatenate([early.outputs, late.outputs]), whole.outputs, exact)
    assert_trees_close(late.state, whole.state, exact)
    joined = map_leaves(lambda a, b: np.concatenate([a, b]), early.recorded, late.recorded)
    assert_trees_close(joined, whole.recorded, exact)
    assert not case.layer.state or any(abs(leaf).max() > 0 for leaf in flatten(early.state).values())


def check_batch_independence(engine, case):
    """A sample's outputs do not depend on its neighbours."""
    x = inputs(case, batch=4)
    if case not in cases.NOISE:  # which goes by a sample's number, see below
        together, alone = run(engine, case.layer, x), run(engine, case.layer, x[:, 2:3])
        assert_close(alone.outputs, together.outputs[:, 2:3], 1e-13)
    if not case.layer.mixes_samples:  # then it may not in training either
        options = {"train": True, "key": Key((0,), 2)}
        alone, together = run(engine, case.layer, x[:, 2:3], **options), run(engine, case.layer, x[:, 2:], **options)
        assert_close(alone.outputs, together.outputs[:, :1], 1e-13, "in training; is it to say mixes_samples = True?")


def check_constant_input(engine, case):
    """A time axis of 1 with steps=T is the input repeated T times, forwards and backwards."""
    x = inputs(case, time=1)
    held, repeated = run(engine, case.layer, x, steps=8), run(engine, case.layer, np.repeat(x, 8, axis=0))
    assert_close(held.outputs, repeated.outputs, 1e-13)
    assert_trees_close(held.state, repeated.state, 1e-13)
    _, a = differentiate(engine, case.layer, x, steps=8)
    _, b = differentiate(engine, case.layer, np.repeat(x, 8, axis=0))
    assert_close(a.inputs, b.inputs.sum(0, keepdims=True), 1e-12)
    assert_trees_close(a.params, b.params, 1e-12)


def time_major(engine, case, x):
    """The container as one stepper: gradients and outputs of ``engine.scan(container, ...)``."""
    first = case.layer.init(Key((0, "weights")), case.shape)

    def loss(held):
        prepared = case.layer.prepare(engine, held.params)
        rest = case.layer.rest(engine, prepared, held.inputs[0, ...])
        outputs, recorded, final = engine.scan(case.layer, prepared, rest, held.inputs, record=case.layer.state)
        seen = Tree(outputs=outputs)
        return contracted(engine, seen, cotangents(seen)), (outputs, recorded, final)

    _, extra, grads = engine.value_and_grad(loss, on(engine, Tree(inputs=x, params=first.params)))
    return [host(engine, part) for part in extra], host(engine, grads)


def check_layer_major_is_time_major(engine, case):
    x = inputs(case)
    (outputs, recorded, final), grads = time_major(engine, case, x)
    whole = run(engine, case.layer, x)
    _, expected = differentiate(engine, case.layer, x, weigh=("outputs",))
    assert_close(outputs, whole.outputs, 1e-13)
    assert_trees_close(final, whole.state, 1e-13)
    states = {name: a for name, a in flatten(whole.recorded).items() if not name.endswith("spikes")}
    recorded = {name: a for name, a in flatten(recorded).items() if not name.endswith("past")}  # those are inputs
    assert_trees_close(Tree(recorded), Tree(states), 1e-13)
    assert_close(grads.inputs, expected.inputs, 1e-12)
    assert_trees_close(grads.params, expected.params, 1e-12)


def check_window(engine, case, window, weigh):
    """No gradient crosses the steps k, 2k, ...: the same as chunks whose first states are constants."""
    x, rest = inputs(case, time=7), State(mem=normal(3, *case.shape))
    _, found = differentiate(engine, case.layer, x, state=rest, window=window, weigh=weigh)
    first = case.layer.init(Key((0, "weights")), case.shape)

    def chunked(held):
        state, seen = State(mem=held.mem), []
        for start in range(0, len(x), window):
            piece = held.inputs[start : min(start + window, len(x)), ...]
            result = case.layer.run(Pass(engine, record=True), held.params, EMPTY, state, piece)
            state = map_leaves(engine.stop_gradient, result.state)
            seen.append(result)
        outputs = engine.xp.concat([result.outputs for result in seen], axis=0)
        mems = engine.xp.concat([result.recorded.mem for result in seen], axis=0)
        whole = {"outputs": outputs, "recorded": State(mem=mems, spikes=outputs), "state": seen[-1].state}
        seen = Tree({part: whole[part] for part in weigh})
        return contracted(engine, seen, cotangents(seen)), ()

    _, _, expected = engine.value_and_grad(chunked, on(engine, Tree(inputs=x, params=first.params, mem=rest.mem)))
    expected = host(engine, expected)
    assert_close(found.inputs, expected.inputs, 1e-12)
    assert_trees_close(found.params, expected.params, 1e-12)
    assert_close(found.state.mem, expected.mem, 1e-12)


def check_final_state_gradient(engine, case):
    """The last recorded state is the final one, so weighing either gives the same gradients."""
    x, rest = inputs(case), State(mem=normal(3, *case.shape))
    _, by_final = differentiate(engine, case.layer, x, state=rest, weigh=("state",))
    first = case.layer.init(Key((0, "weights")), case.shape)

    def loss(held):
        result = case.layer.run(Pass(engine, record=True), held.params, EMPTY, held.state, held.inputs)
        seen = Tree(state=State(mem=result.recorded.mem[len(x) - 1, ...]))
        return contracted(engine, seen, cotangents(seen)), ()

    _, _, by_recorded = engine.value_and_grad(loss, on(engine, Tree(inputs=x, params=first.params, state=rest)))
    assert_trees_close(by_final, host(engine, by_recorded), 1e-12)
    assert abs(by_final.state.mem).max() > 0


@pytest.mark.parametrize("cut", [1, 5, 7])
@pytest.mark.parametrize("case", [case for case in SOME if case not in cases.WHOLE], **names)
def test_split(engine, case, cut):
    check_split(engine, case, cut)


@pytest.mark.parametrize("case", [*SOME, *cases.LAYERS], **names)
def test_batch_independence(engine, case):
    check_batch_independence(engine, case)


@pytest.mark.parametrize("case", SOME, **names)
def test_constant_input(engine, case):
    check_constant_input(engine, case)


@pytest.mark.parametrize("case", cases.NETWORKS, **names)
def test_layer_major_is_time_major(engine, case):
    check_layer_major_is_time_major(engine, case)


@pytest.mark.parametrize("weigh", [("outputs", "recorded", "state"), ("state",)], ids=["everything", "final state"])
@pytest.mark.parametrize("window", [1, 3, 7, 50])
@pytest.mark.parametrize("case", cases.LEAKY[:6], **names)
def test_window(engine, case, window, weigh):
    check_window(engine, case, window, weigh)


@pytest.mark.parametrize("case", cases.LEAKY[:6], **names)
def test_gradient_of_the_final_state(engine, case):
    check_final_state_gradient(engine, case)


def test_a_gradient_nobody_wants_is_zero(engine):
    """The loss does not look at the run at all."""
    layer = sc.Leaky(beta=sc.learn(0.5))

    def loss(held):
        layer.run(Pass(engine), held.params, EMPTY, None, held.inputs)
        return engine.xp.sum(held.other * held.other), ()

    held = Tree(inputs=np.ones((3, 1, 2)), params=layer.init(Key((0,)), (2,)).params, other=np.ones(1))
    _, _, grads = engine.value_and_grad(loss, on(engine, held))
    assert not engine.to_numpy(grads.inputs).any()
    assert not engine.to_numpy(grads.params.beta).any()


def test_parameters_broadcast(engine):
    """One number as a float, (), (1,), (N,), per neuron; one per channel as (C, 1, 1)."""
    x = inputs(cases.Case("", None, (5,)))
    alike = [0.7, np.array(0.7), np.array([0.7]), np.full(5, 0.7), sc.learn(0.7), sc.learn(0.7, per="neuron"),
             sc.learn(0.7, per="channel"), sc.learn(np.array([0.7]))]  # fmt: skip
    first = run(engine, sc.Leaky(beta=0.7, threshold=0.7), x)
    for value in alike:
        found = run(engine, sc.Leaky(beta=value, threshold=value), x)
        np.testing.assert_array_equal(found.outputs, first.outputs)
        np.testing.assert_array_equal(found.recorded.mem, first.recorded.mem)
    maps = inputs(cases.Case("", None, (3, 2, 2)))
    whole = run(engine, sc.Leaky(beta=np.array([0.2, 0.5, 0.9]).reshape(3, 1, 1)), maps)
    for channel, beta in enumerate((0.2, 0.5, 0.9)):
        alone = run(engine, sc.Leaky(beta=beta), maps[:, :, channel])
        np.testing.assert_array_equal(whole.outputs[:, :, channel], alone.outputs)


@pytest.mark.parametrize("case", [*SOME, *cases.LAYERS, *cases.TRAINED_ONLY], **names)
def test_purity(engine, case):
    """Nothing that goes in is written: neither the engine's arrays nor the read-only NumPy arrays they came from."""
    x = inputs(case)
    x.flags.writeable = False
    first = case.layer.init(Key((0, "weights")), case.shape)
    given = on(engine, Tree(x=x, params=first.params, buffers=first.buffers))
    before = host(engine, map_leaves(lambda a: a * 1.0, given))
    for train in (True, False):
        passing = Pass(engine, train=train, key=Key((0,)), record=True)
        result = case.layer.run(passing, given.params, given.buffers, None, given.x)
        state = map_leaves(lambda a: a * 1.0, result.state)
        case.layer.run(passing, given.params, given.buffers, result.state or None, given.x)
        assert_trees_close(host(engine, result.state), host(engine, state), 0.0)
    assert_trees_close(host(engine, given), before, 0.0)


def test_recorded_layers_are_those_asked_for(engine):
    case = cases.NETWORKS[0]
    for record, expected in ((True, {"1", "3"}), (("3",), {"3"}), ((), set()), (False, set())):
        recorded = run(engine, case.layer, inputs(case), record=record).recorded
        assert set(recorded) == expected
        for states in recorded.values():
            assert set(states) == {"mem", "spikes"}
            assert states.mem.shape[:2] == (8, 3)


class Backwards(sc.Synaptic):
    """Its step returns the states in another order."""

    def step(self, engine, params, state, x):
        spikes, after = super().step(engine, params, state, x)
        return spikes, State({name: after[name] for name in reversed(tuple(after))})


class Forgetful(sc.Synaptic):
    """Its step returns one state of two, and one of an unknown name."""

    def step(self, engine, params, state, x):
        spikes, after = super().step(engine, params, state, x)
        return spikes, State(mem=after.mem, extra=after.syn)


class Bare(sc.Synaptic):
    """Its step returns an array in place of a State."""

    def step(self, engine, params, state, x):
        return super().step(engine, params, state, x)[1].mem


def test_states_may_be_returned_in_any_order(engine):
    options = {"alpha": sc.learn(0.5), "beta": sc.learn(0.7), "threshold": sc.learn(0.4)}
    x = normal(8, 3, 5) + 0.5
    found = [
        (run(engine, layer, x), differentiate(engine, layer, x)[1])
        for layer in (sc.Synaptic(**options), Backwards(**options))
    ]
    (plain, gradients), (other, others) = found
    for part in ("recorded", "state"):
        assert_trees_close(getattr(other, part), getattr(plain, part), 0.0)
    assert_trees_close(others, gradients, 0.0)


@pytest.mark.parametrize(("kind", "given"), [(Forgetful, r"\('mem', 'extra'\)"), (Bare, "returned [A-Za-z]+, exp")])
def test_a_step_that_forgets_a_state_is_refused(engine, kind, given):
    with pytest.raises(TypeError, match=given) as raised:
        run(engine, kind(), normal(8, 3, 5))
    assert f"{kind.__name__}.step returned" in str(raised.value)
    assert "State(syn=..., mem=...)" in str(raised.value)


def test_explain_names_the_stepper(engine):
    assert "Leaky" in engine.explain(sc.Leaky())
