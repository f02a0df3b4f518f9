"""Neurons that SpikingJelly and Norse have under the same equations: equal spikes, equal gradients.

SpikingJelly fires at U >= theta, spikecore at U > theta, which differs on the threshold itself alone.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="SpikingJelly and Norse need torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("spikingjelly", reason="SpikingJelly is not installed (extra 'peers')")
    from spikingjelly.activation_based import neuron as peer
    from spikingjelly.activation_based import surrogate as peer_surrogate
import spikecore as sc  # noqa: E402
from spikecore.api.core.layer import Key, Pass  # noqa: E402
from spikecore.api.core.tree import Params, Tree, map_leaves  # noqa: E402
from spikecore.conformance.rig import error, run  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # SpikingJelly warns of its own affairs
ENGINES = pytest.mark.parametrize("engine", ["numpy", "torch"])
STEPS = 40


@pytest.fixture(autouse=True)
def double():
    kept = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(3)
    yield
    torch.set_default_dtype(kept)


def inputs(seed=0, steps=STEPS):
    return np.random.default_rng(seed).normal(size=(steps, 3, 6)) * 1.5 + 0.3


def weights(x):
    return np.random.default_rng(1).normal(size=x.shape)


def theirs(module, x, *learned):
    """Outputs of their module, and the gradients of a weighted sum by the input and by ``learned``."""
    given = torch.as_tensor(x).requires_grad_()
    out = module(given)
    grads = torch.autograd.grad((out * torch.as_tensor(weights(x))).sum(), [given, *learned])
    return out.detach().numpy(), [g.numpy() for g in grads]


def ours(name, layer, x, **params):
    """The same of our layer, with these parameters."""
    engine = sc.get_engine(name, dtype="float64")
    held = map_leaves(engine.asarray, Tree(x=x, params=Params(layer.init(Key((0,)), x.shape[2:]).params, **params)))

    def total(held, w):
        out = layer.run(Pass(engine), held.params, Tree(), None, held.x).outputs
        return engine.xp.sum(out * w), out

    _, out, grads = engine.value_and_grad(total, held, engine.asarray(weights(x)))
    grads = map_leaves(engine.to_numpy, grads)
    return engine.to_numpy(out), [grads.x, *(grads.params[name] for name in params)]


def assert_twins(found, expected, spikes=True):
    assert 0.02 < (expected[0] != 0).mean() < 0.9
    if spikes:
        np.testing.assert_array_equal(found[0], expected[0])
    else:
        assert error(found[0], expected[0]) <= 1e-12
    assert len(found[1]) == len(expected[1])
    for a, b in zip(found[1], expected[1]):
        assert abs(b).max() > 1e-6
        assert error(a, b.reshape(a.shape)) <= 1e-10


@ENGINES
def test_psn(engine):
    x, psn = inputs(), peer.PSN(STEPS, peer_surrogate.ATan(2.0))
    torch.nn.init.normal_(psn.bias, -0.5, 0.2, generator=torch.Generator().manual_seed(0))
    own = {"weight": psn.weight.detach().numpy(), "bias": psn.bias.detach().numpy().ravel() + 1.0}
    found = ours(engine, sc.PSN(num_steps=STEPS), x, **own)
    assert_twins(found, theirs(psn, x, psn.weight, psn.bias))


@ENGINES
@pytest.mark.parametrize("mask", [0.3, 1.0])
def test_masked_psn(engine, mask):
    x, psn = inputs(), peer.MaskedPSN(5, STEPS, mask, peer_surrogate.ATan(2.0), step_mode="m")
    torch.nn.init.normal_(psn.weight, 0.0, 0.4, generator=torch.Generator().manual_seed(0))
    own = {"weight": psn.weight.detach().numpy(), "bias": psn.bias.detach().numpy().ravel() + 1.0}
    found = ours(engine, sc.MaskedPSN(num_steps=STEPS, order=5, mask=mask), x, **own)
    assert_twins(found, theirs(psn, x, psn.weight, psn.bias))


def test_a_stream_of_a_masked_psn():
    """Their single steps are our stream."""
    x, psn = inputs(), peer.MaskedPSN(5, STEPS, 1.0, step_mode="s")
    model = sc.Model(sc.MaskedPSN(num_steps=STEPS, order=5), "numpy", input_shape=x.shape[2:], dtype="float64")
    state = model.state()
    values = {"weight": psn.weight.detach().numpy(), "bias": psn.bias.detach().numpy().ravel() + 1.0}
    model.load_state({**state, "params": {**state["params"], **values}})
    stream = model.stream(x.shape[1])
    rows = [(psn(torch.as_tensor(one)).detach().numpy(), stream.step(one)) for one in x]
    assert np.mean([spikes for spikes, _ in rows]) > 0.0
    for spikes, own in rows:
        np.testing.assert_array_equal(own, spikes)


@ENGINES
@pytest.mark.parametrize("exp_init", [True, False])
def test_sliding_psn(engine, exp_init):
    x, psn = inputs(), peer.SlidingPSN(4, exp_init, peer_surrogate.ATan(2.0), step_mode="m")
    own = {"weight": psn.weight.detach().numpy(), "threshold": -psn.bias.detach().numpy()}
    out, grads = ours(engine, sc.SlidingPSN(order=4, threshold=sc.learn(1.0)), x, **own)
    assert_twins((out, [*grads[:2], -grads[2]]), theirs(psn, x, psn.weight, psn.bias))
    if exp_init:
        first = sc.SlidingPSN(order=4).init(Key((0,)), (6,)).params.weight
        np.testing.assert_array_equal(first, psn.weight.detach().numpy())


RESETS = {  # v_reset, detach_reset: our reset
    (0.0, True): {"reset_mechanism": "zero"},
    (0.0, False): {"reset_mechanism": "zero", "reset_delay": False},
    (None, False): {"reset_mechanism": "subtract", "reset_delay": False},
    (None, True): {"reset_mechanism": "subtract_decayed"},
}


@ENGINES
@pytest.mark.parametrize(("v_reset", "detach_reset"), RESETS)
def test_resonate_and_fire(engine, v_reset, detach_reset):
    x, options = inputs(), {"v_reset": v_reset, "detach_reset": detach_reset, "v_threshold": 1.3}
    raf = peer.RAFNode(b=-0.2, omega=1.1, dt=0.5, surrogate_function=peer_surrogate.ATan(2.0), step_mode="m", **options)
    layer = sc.ResonateAndFire(beta=math.exp(-0.1), omega=0.55, threshold=1.3, **RESETS[v_reset, detach_reset])
    assert_twins(ours(engine, layer, x), theirs(raf, x))


def test_tsodyks_markram_is_what_norse_approaches_with_short_steps():
    """Norse takes Euler steps, we the exact solution between spikes: an error of the first order."""
    pytest.importorskip("norse", reason="Norse is not installed (extra 'peers')")
    from norse.torch.functional import tsodyks_makram as norse

    p, errors = norse.TsodyksMakramParameters(), []
    for per_ms in (1, 4):  # steps per millisecond; the same spikes at the same times
        dt, x = 1e-3 / per_ms, np.zeros((100 * per_ms, 3, 6))
        x[::per_ms] = np.random.default_rng(0).random((100, 3, 6)) < 0.1
        decays = {"facilitation": math.exp(-dt * p.tau_f_inv), "depression": math.exp(-dt * p.tau_d_inv)}
        state, rows = norse.TsodyksMakramState(torch.zeros(3, 6), torch.ones(3, 6)), []
        for one in torch.as_tensor(x):
            row, state = norse.stp_step(one, state, p, dt)
            rows.append(row.numpy())
        found = run(sc.get_engine("numpy", dtype="float64"), sc.TsodyksMarkram(U=p.U, **decays), x).outputs
        errors.append(abs(found - np.stack(rows)).max())
    assert 0.0 < errors[0] < 0.02
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.1)
