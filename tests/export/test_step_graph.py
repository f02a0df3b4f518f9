"""One step of a network as a graph of words: what every writer reads."""

from dataclasses import dataclass

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.layer import Init, Stateless
from spikecore.api.core.tree import Tree, flatten
from spikecore.export.recording import step_graph
from tests.export.export_rig import BY_STEPS, WHOLE, model_of

STEPS = 8


def run(graph, x):
    states, outputs = graph.rest(), []
    for row in x:
        y, states = graph.step(row, states)
        outputs.append(y)
    return np.stack(outputs), dict(zip([state.name for state in graph.states], states))


@pytest.mark.parametrize("case", BY_STEPS, ids=repr)
def test_a_graph_gives_what_the_network_gives(case):
    model = model_of(case)
    x = np.random.default_rng(1).random((STEPS, 2, *case.shape), dtype="float32") * 2
    found, states = run(step_graph(model, batch_size=2), x)
    expected = model(x)
    sums = getattr(case.layer, "parallel", False) or "elay" in case.name  # over time they come in another order
    close = {"rtol": 1e-5, "atol": 1e-6} if sums else {"rtol": 0}
    np.testing.assert_allclose(found, np.broadcast_to(expected.spikes, found.shape), **close)
    for name, state in flatten(expected.state).items():
        np.testing.assert_allclose(states[name], state, **close)


@pytest.mark.parametrize("case", WHOLE, ids=repr)
def test_a_layer_that_needs_whole_sequences_is_refused(case):
    with pytest.raises(sc.errors.ExportError, match="cannot run one step by itself"):
        step_graph(sc.Model(case.layer, "numpy", input_shape=case.shape))


class Counting(sc.Leaky):
    """A neuron that keeps count outside of its state."""

    steps = 0

    def step(self, engine, params, state, x):
        type(self).steps += 1
        return super().step(engine, params, state, x * type(self).steps)


def test_a_layer_that_does_something_else_at_every_step_is_refused():
    with pytest.raises(sc.errors.ExportError, match="does something else at every step"):
        step_graph(sc.Model(Counting(), "numpy", input_shape=(3,)))


@dataclass(frozen=True)
class Late(Stateless):
    """A layer that reads the input of some steps ago, out of the whole sequence."""

    steps: int = 5

    def init(self, key, shape):
        return Init(Tree(), Tree(), shape)

    def apply(self, engine, params, buffers, x, *, train, key):
        late = engine.xp.concat([0 * x, x], axis=0)[x.shape[0] - self.steps : 2 * x.shape[0] - self.steps]
        return (late if x.shape[0] > self.steps else 0 * x), buffers


@pytest.mark.parametrize("steps", [5, 500])
def test_a_layer_that_delays_its_input_is_refused(steps):
    with pytest.raises(sc.errors.ExportError, match="does something else at every step"):
        step_graph(sc.Model(sc.Sequential(Late(steps)), "numpy", input_shape=(3,)))


class Flags(sc.Leaky):
    """A neuron that adds flags as numbers: the flags of a straight-through estimator."""

    def step(self, engine, params, state, x):
        soft = engine.xp.tanh(state.mem + x)
        spikes = (state.mem + x > 1.0) + (soft - engine.xp.stop_gradient(soft))
        return spikes + spikes, state.__class__(mem=0.9 * state.mem + x - spikes)


class Tables(sc.Leaky):
    """A neuron with two long tables, as options of words and as keys, that differ in the middle alone."""

    def step(self, engine, params, state, x):
        places, weight = np.zeros(2000, int), np.zeros((3, 2000), np.float32)
        others, weights = places.copy(), weight.copy()
        others[1000], weights[1, 1000] = 2, 5.0
        wide = engine.xp.linear(x, weight=weight.T) - engine.xp.linear(x, weight=weights.T)
        found = engine.xp.sum(wide + x[:, places] - x[:, others], axis=1, keepdims=True)
        return found + state.mem, state.__class__(mem=0.9 * state.mem + x)


@pytest.mark.parametrize("neuron", [Flags(), Tables()], ids=repr)
def test_words_that_only_look_alike_stay_apart(neuron):
    model = sc.Model(neuron, "numpy", input_shape=(3,))
    x = np.random.default_rng(1).random((STEPS, 1, 3), dtype="float32") * 2
    expected = model(x).spikes
    assert expected.any()
    np.testing.assert_array_equal(run(step_graph(model), x)[0], expected)


class Looking(sc.Leaky):
    """A neuron whose step branches on data."""

    def step(self, engine, params, state, x):
        return super().step(engine, params, state, x if engine.to_numpy(x).sum() > 0 else -x)


def test_a_layer_that_looks_at_numbers_is_refused_by_name():
    with pytest.raises(sc.errors.ExportError, match=r"layer 1 \(Looking\) looks at the numbers"):
        step_graph(sc.Model(sc.Sequential(sc.Linear(3, 3), Looking()), "numpy", input_shape=(3,)))


def test_a_model_without_weights_is_refused():
    with pytest.raises(sc.errors.ExportError, match="no weights yet"):
        step_graph(sc.Model(sc.Sequential(sc.Flatten(), sc.Leaky()), "numpy"))


def test_views_and_derivatives_leave_no_word():
    net = sc.Sequential(sc.Flatten(), sc.Linear(6, 4, bias=False), sc.Leaky(reset_mechanism="none"))
    graph = step_graph(sc.Model(net, "numpy", input_shape=(2, 3)))
    assert [op.word for op in graph.ops] == ["reshape", "linear", "multiply", "add", "subtract", "spike"]
    assert [op.where for op in graph.ops][1:3] == ["layer 1 (Linear)", "layer 2 (Leaky)"]
    assert [state.name for state in graph.states] == ["2.mem"]


def test_a_straight_through_estimator_is_its_value():
    quant = sc.functional.quant.state_quant(num_bits=4)
    graph = step_graph(sc.Model(sc.Leaky(state_quant=quant), "numpy", input_shape=(3,)))
    subtracted = [op.args for op in graph.ops if op.word == "subtract"]
    assert all(a != b for a, b in subtracted)


class Centred(sc.Leaky):
    """A neuron that takes an array from what comes in."""

    def step(self, engine, params, state, x):
        return super().step(engine, params, state, (x - np.arange(3, dtype="float32")) + x * 2.0)


def test_a_difference_from_a_constant_is_no_estimator():
    model = sc.Model(sc.Sequential(Centred()), sc.get_engine("numpy", fused=False), input_shape=(3,))
    x = np.random.default_rng(0).random((STEPS, 2, 3), dtype="float32") * 3
    np.testing.assert_array_equal(run(step_graph(model, batch_size=2), x)[0], model(x).spikes)


def test_the_graph_of_a_model_on_another_engine_is_the_same():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    torch.manual_seed(0)
    net = sc.Sequential(sc.Linear(5, 4), sc.Leaky(beta=sc.learn(0.8)))
    model = sc.Model(net, "torch", input_shape=(5,), seed=3)
    x = np.random.default_rng(0).random((STEPS, 1, 5), dtype="float32")
    found, _ = run(step_graph(model), x)
    np.testing.assert_array_equal(found, model.to_engine("numpy")(x).spikes)


def test_a_module_of_torch_is_refused_with_what_to_do():
    nn = pytest.importorskip("torch", reason="torch is not installed").nn
    model = sc.Model(sc.Sequential(sc.Torch(nn.Linear(4, 3)), sc.Leaky()), "torch", input_shape=(4,))
    with pytest.raises(
        sc.errors.ExportError, match=r"layer 0 \(Torch\) .* take a layer of spikecore's in its place"
    ) as refused:
        step_graph(model)
    assert "sc.Model(" not in str(refused.value)  # that is what the user has


def test_the_order_of_sums_does_not_refuse_a_wide_quantised_network():
    """One step and all at once add up in different orders; on a grid, the last bit of a sum can move a state."""
    net = sc.Model(sc.Sequential(sc.Linear(3000, 1000), sc.Leaky()), seed=0, input_shape=3000)
    assert (
        len(step_graph(sc.compression.quantize(net, states=sc.compression.FixedPoint(16, 8), parameters=8)).states) == 1
    )
