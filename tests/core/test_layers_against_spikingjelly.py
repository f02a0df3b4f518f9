"""Layers that SpikingJelly has, too: equal outputs and gradients, against the installed package."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.layer import Key, Pass
from spikecore.api.core.tree import Tree, flatten, map_leaves, unflatten

torch = pytest.importorskip("torch", reason="SpikingJelly needs torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("spikingjelly", reason="SpikingJelly is not installed (extra 'peers')")
    from spikingjelly.activation_based import encoding, layer, neuron, rnn, surrogate

pytestmark = pytest.mark.filterwarnings("ignore")  # SpikingJelly warns of its own affairs
BOTH = pytest.mark.parametrize(("dtype", "error"), [("float32", 1e-6), ("float64", 1e-10)])
ENGINES = pytest.mark.parametrize("name", ["torch", "numpy"])


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def ours(name, dtype, one, params, x, weigh, train=False, key=None):
    """Outputs, and gradients of their weighted sum by inputs and parameters."""
    engine, first = sc.get_engine(name, dtype=dtype), one.init(Key((0,)), x.shape[2:])

    def function(held, weigh):
        found = one.run(Pass(engine, train=train, key=key), held.params, first.buffers, None, held.x)
        return engine.xp.sum(found.outputs * weigh), found.outputs

    at = Tree(x=engine.asarray(x), params=map_leaves(engine.asarray, unflatten(params, first.params)))
    _, outputs, grads = engine.value_and_grad(function, at, engine.asarray(weigh))
    each = {n: engine.to_numpy(g) for n, g in flatten(grads.params).items()}
    return engine.to_numpy(outputs), engine.to_numpy(grads.x), each


def theirs(module, x, weigh, first=False):
    """The same of a module; ``first``: it returns states behind its outputs."""
    inputs = torch.tensor(x, dtype=next(module.parameters()).dtype, requires_grad=True)
    outputs = module(inputs)[0] if first else module(inputs)
    (outputs * torch.tensor(weigh)).sum().backward()
    return outputs.detach().numpy(), inputs.grad.numpy(), {n: p.grad.numpy() for n, p in module.named_parameters()}


def check(found, expected, error):
    for mine, other in zip(found[:2], expected[:2]):
        assert np.abs(mine - other).max() <= error * max(1.0, np.abs(other).max())
    assert set(found[2]) == set(expected[2])
    for name, other in expected[2].items():
        assert np.abs(found[2][name] - other.reshape(found[2][name].shape)).max() <= error * max(
            1.0, np.abs(other).max()
        )


STANDARDISED = {
    "linear": (sc.Linear(5, 4), {}, lambda **o: layer.WSLinear(5, 4, step_mode="m", **o), (5,), (4,)),
    "no-gain": (sc.Linear(5, 4), {"gain": False}, lambda **o: layer.WSLinear(5, 4, step_mode="m", **o), (5,), (4,)),
    "eps": (sc.Linear(5, 4), {"eps": 0.1}, lambda **o: layer.WSLinear(5, 4, step_mode="m", **o), (5,), (4,)),
    "maps": (
        sc.Conv2d(4, 6, (3, 2), stride=2, padding=1, groups=2, bias=False),
        {},
        lambda **o: layer.WSConv2d(4, 6, (3, 2), stride=2, padding=1, groups=2, bias=False, step_mode="m", **o),
        (4, 5, 5),
        (6, 3, 3),
    ),
}


@BOTH
@ENGINES
@pytest.mark.parametrize("case", STANDARDISED)
def test_standardised_weights(case, name, dtype, error):
    inner, options, make, shape, out = STANDARDISED[case]
    module = make(**options).to(getattr(torch, dtype))
    with torch.no_grad():
        for i, parameter in enumerate(module.parameters()):
            parameter += torch.tensor(drawn(*parameter.shape, seed=i))
    params = {n: p.detach().numpy() for n, p in module.named_parameters()}
    if "gain" in params:
        params["gain"] = params["gain"].reshape(-1)
    x, weigh = drawn(3, 2, *shape), drawn(3, 2, *out, seed=9).astype(dtype)
    found = ours(name, dtype, sc.WeightStandardized(inner, **options), params, x, weigh)
    check(found, theirs(module, x, weigh), error)


@BOTH
@ENGINES
@pytest.mark.parametrize("bias", [True, False])
def test_drop_connect_with_the_same_masks(bias, name, dtype, error):
    """With ``invariant=True`` SpikingJelly's masks, too, stay for all steps; here they are what ours drew."""
    one, key, (steps, batch) = sc.DropConnect(sc.Linear(5, 4, bias=bias), p=0.3), Key((1,)), (3, 6)
    module = layer.DropConnectLinear(5, 4, bias=bias, p=0.3, invariant=True, activation=None, step_mode="m").to(
        getattr(torch, dtype)
    )
    engine, kept = sc.get_engine(name, dtype=dtype), {}
    for n, p in module.named_parameters():
        path = key.child("", "drop_connect", n).path
        uniform = engine.uniform(path, (batch, *p.shape), sample_axis=0, first=0)
        kept[n] = torch.tensor(engine.to_numpy(uniform) >= 0.3)
    assert 0.5 < float(kept["weight"].double().mean()) < 0.9
    module.drop = lambda size: (module.weight * kept["weight"], module.bias * kept["bias"] if bias else None)
    params = {n: p.detach().numpy() for n, p in module.named_parameters()}
    x, weigh = drawn(steps, batch, 5), drawn(steps, batch, 4, seed=9).astype(dtype)
    found = ours(name, dtype, one, params, x, weigh, train=True, key=key)
    check(found, theirs(module, x, weigh), error)


@ENGINES
def test_drop_connect_outside_of_training_is_the_mean_that_theirs_samples(name):
    module = layer.DropConnectLinear(5, 4, p=0.3, samples_num=20_000, activation=None, step_mode="m").double().eval()
    params = {n: p.detach().numpy() for n, p in module.named_parameters()}
    x = drawn(2, 3, 5)
    found = ours(name, "float64", sc.DropConnect(sc.Linear(5, 4), p=0.3), params, x, np.ones((2, 3, 4)))[0]
    torch.manual_seed(0)
    assert np.abs(found - module(torch.tensor(x)).detach().numpy()).max() < 0.05
    assert np.abs(found - 0.7 * (x @ params["weight"].T + params["bias"])).max() < 1e-12


@BOTH
@ENGINES
def test_the_vanilla_cell_is_a_recurrent_neuron_without_memory(name, dtype, error):
    module = rnn.SpikingVanillaRNN(5, 4, 1, surrogate_function=surrogate.ATan(2.0)).to(getattr(torch, dtype))
    weights = {n.partition("linear_")[2]: p.detach().numpy() for n, p in module.named_parameters()}
    leaky = sc.Leaky(beta=0.0, threshold=0.0, reset_mechanism="none")
    one = sc.Sequential(sc.Linear(5, 4), sc.Recurrent(leaky, sc.Linear(4, 4)))
    places = {"0": "ih", "1.connection": "hh"}
    params = {f"{place}.{n}": weights[f"{at}.{n}"] for place, at in places.items() for n in ("weight", "bias")}
    x, weigh = drawn(7, 3, 5), drawn(7, 3, 4, seed=9).astype(dtype)
    expected = theirs(module, x, weigh, first=True)
    assert 0.2 < expected[0].mean() < 0.8
    renamed = {
        f"{place}.{n}": expected[2][f"cells.0.linear_{at}.{n}"]
        for place, at in places.items()
        for n in ("weight", "bias")
    }
    check(ours(name, dtype, one, params, x, weigh), (*expected[:2], renamed), error)


SAME = {  # ours, theirs for each step, a sample's shape
    "VotingLayer": (
        sc.Sequential(sc.Reshape((1, 6)), sc.AvgPool1d(3), sc.Flatten()),
        lambda: layer.VotingLayer(3),
        (6,),
    ),
    "Delay": (sc.Delay(2), lambda: layer.Delay(2), (4,)),
    "CUBALIFNode-zero": (
        sc.Synaptic(alpha=0.5, beta=0.75, reset_mechanism="zero", reset_delay=False),
        lambda: neuron.CUBALIFNode(0.5, 0.75, 1.0, 0.0, surrogate.ATan(2.0)),
        (7,),
    ),
    "CUBALIFNode-subtract": (
        sc.Synaptic(alpha=0.5, beta=0.75, reset_mechanism="subtract", reset_delay=False),
        lambda: neuron.CUBALIFNode(0.5, 0.75, 1.0, None, surrogate.ATan(2.0)),
        (7,),
    ),
    "TernaryIFNode": (
        sc.TernaryLeaky(beta=1.0),
        lambda: neuron.TernaryIFNode(1.0, 0.0, surrogate.ATan(2.0)),
        (7,),
    ),
}


@pytest.mark.parametrize("case", SAME)
def test_what_the_table_calls_equal(case):
    one, make, shape = SAME[case]
    x, module = drawn(9, 3, *shape), make()
    inputs = torch.tensor(x, requires_grad=True)
    expected = torch.stack([module(step) for step in inputs])
    weigh = drawn(*expected.shape, seed=3)
    (expected * torch.tensor(weigh)).sum().backward()
    found = ours("numpy", "float64", one, flatten(one.init(Key((0,)), shape).params), x, weigh)
    check(found, (expected.detach().numpy(), inputs.grad.numpy(), {}), 1e-10)


def test_weighted_phases():
    x = np.random.default_rng(0).random((3, 5)) * (1.0 - 2.0**-6)
    encoder = encoding.WeightedPhaseEncoder(6)
    expected = torch.stack([encoder(torch.tensor(x)) for _ in range(6)]).numpy()
    np.testing.assert_array_equal(np.asarray(sc.spikegen.phase(x, 6, period=6)), expected)
