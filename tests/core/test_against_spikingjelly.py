"""Which of our resets and losses are which of SpikingJelly's: equal values and gradients against the installed package.

SpikingJelly's LIF decays by 1 - 1/tau, resets within the step and fires at U >= theta; ours fires at U > theta, which
differs only on the threshold itself. Its hard reset is our "zero", its soft reset our "subtract" (detached, it takes
beta theta away: our "subtract_decayed"). None of its modes is snnTorch's default, the delayed, detached "subtract".
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import spikecore as sc
from spikecore import functional as F
from spikecore.api.core.host import to_numpy
from spikecore.api.core.layer import Key, Pass
from spikecore.api.core.tree import Params, Tree

torch = pytest.importorskip("torch", reason="SpikingJelly needs torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("spikingjelly", reason="SpikingJelly is not installed (extra 'peers')")
    from spikingjelly.activation_based import functional, neuron, surrogate

pytestmark = pytest.mark.filterwarnings("ignore")  # SpikingJelly warns of its own affairs

BETA = 0.9
PAIRS = [  # our options, their options; what the reset is to them
    ({"reset_mechanism": "zero", "reset_delay": True}, {"v_reset": 0.0, "detach_reset": True}),
    ({"reset_mechanism": "zero", "reset_delay": False}, {"v_reset": 0.0, "detach_reset": False}),
    ({"reset_mechanism": "subtract", "reset_delay": False}, {"v_reset": None, "detach_reset": False}),
    ({"reset_mechanism": "subtract_decayed", "reset_delay": True}, {"v_reset": None, "detach_reset": True}),
]


def theirs(x, **options):
    lif = neuron.LIFNode(
        tau=1.0 / (1.0 - BETA), decay_input=False, surrogate_function=surrogate.ATan(2.0), step_mode="m", **options
    )
    inputs = torch.as_tensor(x).requires_grad_()
    spikes = lif(inputs)
    (spikes * weights(x)).sum().backward()
    return spikes.detach().numpy(), inputs.grad.numpy()


def weights(x):
    return torch.as_tensor(np.random.default_rng(1).random(x.shape))


def ours(engine, x, **options):
    leaky = sc.Leaky(beta=BETA, **options)
    leaky.init(Key((0,)), x.shape[2:])

    def function(held, w):
        out = leaky.run(Pass(engine), Params(), Tree(), None, held.x)
        return engine.xp.sum(out.outputs * w), out.outputs

    w = engine.asarray(weights(x).numpy())
    _, spikes, grads = engine.value_and_grad(function, Tree(x=engine.asarray(x)), w)
    return engine.to_numpy(spikes), engine.to_numpy(grads.x)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize(("own", "their"), PAIRS, ids=[f"{a['reset_mechanism']}-{a['reset_delay']}" for a, _ in PAIRS])
def test_the_pairs_marked_identical_are_identical(engine, own, their):
    x = (
        np.random.default_rng(0).random((100, 8, 64)) * 0.9
    )  # below the threshold: an immediate reset leaves nothing above
    spikes, grads = theirs(x, **their)
    own_spikes, own_grads = ours(sc.get_engine(engine, dtype="float64"), x, **own)
    assert 0.05 < spikes.mean() < 0.6
    assert np.array_equal(spikes, own_spikes)
    assert abs(grads - own_grads).max() / abs(grads).max() <= 1e-10


def test_no_mode_of_theirs_is_the_delayed_subtract():
    x = np.random.default_rng(0).random((100, 8, 64)) * 0.9
    own_spikes, _ = ours(sc.get_engine("numpy", dtype="float64"), x, reset_mechanism="subtract")
    assert all((theirs(x, **their)[0] != own_spikes).mean() > 0.01 for _, their in PAIRS)


@pytest.mark.parametrize(
    ("kernel", "distance", "scale", "limit"),
    [("linear", "mse", None, 1e-7), ("sigmoid", "l1", 0.3, 1e-12), ("gaussian", "mse", 2.0, 1e-12)],
)
def test_spike_similarity_is_theirs(kernel, distance, scale, limit):
    """Their linear kernel adds 1e-8 to its denominator."""
    spikes, labels = (np.random.default_rng(0).random((7, 5, 4)) < 0.4) * 1.0, np.array([0, 1, 1, 3, 0])
    x = torch.tensor(spikes, requires_grad=True)
    options = () if scale is None else (scale,)
    expected = functional.spike_similar_loss(
        x.permute(1, 2, 0), torch.eye(4)[labels].double(), kernel, distance, *options
    )
    loss = F.spike_similarity_loss(kernel=kernel, distance=distance, scale=scale or 1.0)
    y = torch.tensor(spikes, requires_grad=True)
    found = loss(y, labels)
    torch.testing.assert_close(found, expected.to(found.dtype), rtol=limit, atol=limit)
    wanted, got = torch.autograd.grad(expected, x)[0], torch.autograd.grad(found, y)[0]
    torch.testing.assert_close(got, wanted, rtol=limit, atol=limit)


def test_temporal_efficient_training_is_theirs_without_the_pull():
    outputs, labels = np.random.default_rng(0).normal(size=(7, 5, 4)), np.array([0, 1, 1, 3, 0])
    expected = functional.temporal_efficient_training_cross_entropy(torch.tensor(outputs), torch.tensor(labels))
    torch.testing.assert_close(F.tet_loss(Lambda=0)(torch.tensor(outputs), labels), expected)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_the_gated_unit_is_theirs(engine):
    """Spikes and the gradients of all weights; biases keep sums off the threshold, where theirs fires."""
    from spikingjelly.activation_based import rnn

    x, w = np.random.default_rng(0).normal(size=(9, 3, 5)), np.random.default_rng(1).random((9, 3, 4))
    model = sc.Model(sc.SpikingGRU(input_size=5, hidden_size=4), engine=engine, dtype="float64", seed=0)
    params = {name: np.asarray(value) for name, value in model.state()["params"].items()}
    unit = rnn.SpikingGRU(5, 4, 1, surrogate_function1=surrogate.ATan(2.0)).double()
    names = {"weight_ih": "linear_ih.weight", "weight_hh": "linear_hh.weight"}
    names.update(bias_ih="linear_ih.bias", bias_hh="linear_hh.bias")
    (cell,) = unit.cells
    held = dict(cell.named_parameters())
    with torch.no_grad():
        for own, their in names.items():
            held[their].copy_(torch.as_tensor(params[own]))
    expected, _ = unit(torch.as_tensor(x))
    (expected * torch.as_tensor(w)).sum().backward()

    def function(own, y):
        out = model.network.run(Pass(model.engine), own.params, Tree(), None, y)
        return model.engine.xp.sum(out.outputs * model.engine.asarray(w)), out.outputs

    own = Tree(params=Params({name: model.engine.asarray(value) for name, value in params.items()}))
    _, spikes, grads = model.engine.value_and_grad(function, own, model.engine.asarray(x))
    spikes = to_numpy(spikes)
    np.testing.assert_array_equal(spikes, expected.detach().numpy())
    assert 0.1 < spikes.mean() < 0.9
    for name, their in names.items():
        np.testing.assert_allclose(np.asarray(grads.params[name]), held[their].grad.numpy(), rtol=0, atol=1e-12)
