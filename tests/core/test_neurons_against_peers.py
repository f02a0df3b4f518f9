"""Neurons that other libraries have, too: equal spikes and equal gradients, to the accuracy of float64.

SpikingJelly fires at U >= theta, spikecore at U > theta: inputs are random numbers, none of which meets it exactly.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.layer import Key, Pass
from spikecore.api.core.tree import Tree, map_leaves

torch = pytest.importorskip("torch", reason="the peers are made of torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("spikingjelly", reason="SpikingJelly is not installed (extra 'peers')")
    from spikingjelly.activation_based import neuron, surrogate

pytestmark = pytest.mark.filterwarnings("ignore")  # the peers warn of their own affairs

TAU = 4.0
BETA = 1.0 - 1.0 / TAU
SHAPE = (30, 4, 6)
HARD, SOFT = {"reset_mechanism": "zero"}, {"reset_mechanism": "subtract"}


def peer(kind, **options):
    """A node of SpikingJelly with our default surrogate, over a sequence, in float64."""
    return kind(surrogate_function=surrogate.ATan(2.0), step_mode="m", **options).double()


def resets(kind, **options):
    """Both resets of a node, differentiated and detached, with ours beside them."""
    return [
        (HARD, peer(kind, v_reset=0.0, detach_reset=False, **options)),
        ({**HARD, "reset_delay": True}, peer(kind, v_reset=0.0, detach_reset=True, **options)),
        (SOFT, peer(kind, v_reset=None, detach_reset=False, **options)),
        ({"reset_mechanism": "subtract_decayed", "reset_delay": True},
         peer(kind, v_reset=None, detach_reset=True, **options)),
    ]  # fmt: skip


L = sc.learn
THRESHOLD = {True: 0.3, False: 1.2}  # by whether the input decays, too
NONLINEAR = {"v_rest": 0.05, "v_reset": -0.2}
#: name: our neuron, their node, our parameters as theirs (name there, sign), a scale of the input and its shift.
TWINS = {
    **{
        f"PLIF-{i}-{decays}": (
            sc.PLIF(beta=L(BETA), decay_input=decays, threshold=THRESHOLD[decays], **own), node, {"beta": ("w", -1)})
        for decays in (True, False)
        for i, (own, node) in enumerate(resets(
            neuron.ParametricLIFNode, init_tau=TAU, decay_input=decays, v_threshold=THRESHOLD[decays]))
    },
    **{
        f"KLIF-{i}": (sc.KLIF(beta=BETA, threshold=0.3, **own), node, {"k": ("k", 1)})
        for i, (own, node) in enumerate(resets(neuron.KLIFNode, tau=TAU, v_threshold=0.3))
    },
    "GLIF": (
        sc.GLIF(alpha=L(0.6), beta=L(0.3), gamma=L(0.7), linear_decay=L(0.5 / 60), time_steps=30),
        neuron.GatedLIFNode(T=30, surrogate_function=surrogate.ATan(2.0)).double(),
        {
            "threshold": ("v_threshold", 1),
            **{name: (name, 1) for name in "alpha beta gamma tau linear_decay v_subreset conduct".split()},
        },
    ),
    "CLIF": (sc.CLIF(beta=BETA, threshold=0.6), peer(neuron.ComplementaryLIFNode, tau=TAU, v_threshold=0.6), {}),
    **{
        f"LIAF-{i}": (sc.LIAF(beta=BETA, threshold=0.6, **own), node, {})
        for i, (own, node) in enumerate(resets(
            neuron.LIAFNode, act=torch.relu, threshold_related=True, tau=TAU, decay_input=False, v_threshold=0.6))
    },
    "LIAF-membrane": (
        sc.LIAF(beta=BETA, activation="tanh", threshold_related=False),
        peer(neuron.LIAFNode, act=torch.tanh, threshold_related=False, tau=TAU, decay_input=False),
        {},
    ),
    "QIF": (
        sc.QIF(beta=BETA, v_c=0.6, a0=1.2, threshold=0.5, **NONLINEAR),
        peer(neuron.QIFNode, tau=TAU, v_c=0.6, a0=1.2, v_threshold=0.5, **NONLINEAR),
        {},
    ),
    "QIF-detached": (
        sc.QIF(beta=BETA, threshold=0.5, reset_delay=True, **NONLINEAR),
        peer(neuron.QIFNode, tau=TAU, v_threshold=0.5, detach_reset=True, **NONLINEAR),
        {},
    ),
    "QIF-soft": (
        sc.QIF(beta=BETA, threshold=0.5, **SOFT), peer(neuron.QIFNode, tau=TAU, v_threshold=0.5, v_reset=None), {},
    ),
    "EIF": (
        sc.EIF(beta=BETA, delta_T=0.5, theta_rh=0.7, threshold=0.5, **NONLINEAR),
        peer(neuron.EIFNode, tau=TAU, delta_T=0.5, theta_rh=0.7, v_threshold=0.5, **NONLINEAR),
        {},
    ),
    "EIF-detached": (
        sc.EIF(beta=BETA, threshold=0.6, reset_delay=True, **NONLINEAR),
        peer(neuron.EIFNode, tau=TAU, v_threshold=0.6, detach_reset=True, **NONLINEAR),
        {},
    ),
    **{
        f"ILIF-{i}": (
            sc.ILIF(beta=BETA, threshold=0.4, max_spikes=3, **own),
            neuron.ILIFNode(
                tau=TAU, v_threshold=0.4, detach_reset=i == 1, step_mode="m",
                surrogate_function=surrogate.MultiLevelSpikeCount(3)),
            {},
        )
        for i, own in enumerate((SOFT, {"reset_mechanism": "subtract_decayed", "reset_delay": True}))
    },
    **{
        f"TernaryLeaky-{i}": (sc.TernaryLeaky(beta=BETA, threshold=0.6, **own), node, {})
        for i, (own, node) in enumerate(resets(
            neuron.TernaryLIFNode, tau=TAU, decay_input=False, v_threshold=0.6))
    },
}  # fmt: skip


def inputs(own):
    if isinstance(own, sc.TernaryLeaky):
        return np.random.default_rng(0).normal(size=SHAPE)
    return np.random.default_rng(0).random(SHAPE) * (1.0 if isinstance(own, (sc.ILIF, sc.GLIF)) else 1.4) - 0.1


def weights():
    return np.random.default_rng(1).random(SHAPE)


def ours(engine, own, x=None):
    """Outputs, and gradients by the input and by every parameter."""
    init = own.init(Key((0,)), SHAPE[2:])
    held = map_leaves(engine.asarray, Tree(params=init.params, x=inputs(own) if x is None else x))

    def function(held, w):
        out = own.run(Pass(engine), held.params, Tree(), None, held.x).outputs
        return engine.xp.sum(out * w), out

    _, out, grads = engine.value_and_grad(function, held, engine.asarray(weights()))
    return engine.to_numpy(out), map_leaves(engine.to_numpy, grads)


def theirs(own, node, names):
    """The same of a node that has our parameters; GatedLIFNode takes maps, LIAFNode works step by step."""
    first = own.init(Key((0,)), SHAPE[2:]).params
    with torch.no_grad():
        for here, (there, sign) in names.items():
            getattr(node, there).copy_(sign * torch.as_tensor(first[here]))
    x = torch.as_tensor(inputs(own)).requires_grad_()
    node.reset()
    node.zero_grad()
    if isinstance(node, neuron.GatedLIFNode):
        out = node(x[:, :, None, :, None])[:, :, 0, :, 0]
    elif isinstance(node, neuron.LIAFNode):
        node.step_mode = "s"
        out = torch.stack([node(step) for step in x])
    else:
        out = node(x)
    (out * torch.as_tensor(weights())).sum().backward()
    return out.detach().numpy(), x.grad.numpy(), {name: p.grad.numpy() for name, p in node.named_parameters()}


def far(a, b):
    return abs(a - b.reshape(a.shape)).max() / abs(b).max()


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("name", TWINS)
def test_twins_of_spikingjelly(name, engine):
    own, node, names = TWINS[name]
    out, grads = ours(sc.get_engine(engine, dtype="float64"), own)
    expected, by_input, by_parameter = theirs(own, node, names)
    assert 0.02 < (expected != 0).mean() < (0.98 if own.spiking else 1.01)
    if own.spiking:
        np.testing.assert_array_equal(out, expected)
    else:
        np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)
    assert far(grads.x, by_input) <= 1e-10
    assert set(by_parameter) == {there for there, _ in names.values()}
    for here, (there, sign) in names.items():
        assert far(grads.params[here], sign * by_parameter[there]) <= 1e-10, here


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_adex_is_that_of_norse(engine):
    """Without a synapse (tau_syn_inv dt = 1); Norse's exponential is centred at the threshold."""
    pytest.importorskip("norse", reason="Norse is not installed (extra 'peers')")
    from norse.torch.functional.lif_adex import (
        LIFAdExFeedForwardState,
        LIFAdExParameters,
        lif_adex_feed_forward_step,
    )

    numbers = {"adaptation_current": 0.3, "adaptation_spike": 0.2, "delta_T": 0.4, "v_leak": 0.1, "v_th": 0.6}
    numbers.update(v_reset=-0.2, tau_ada_inv=100.0, tau_syn_inv=1000.0, tau_mem_inv=300.0)
    given = LIFAdExParameters(**{name: torch.tensor(value, dtype=torch.float64) for name, value in numbers.items()})
    adex = sc.AdEx(
        beta=0.7, rho=0.9, a=0.3, b=0.2, delta_T=0.4, v_rest=0.1, theta_rh=0.6, threshold=0.6, v_reset=-0.2,
        surrogate=sc.surrogate.fast_sigmoid(1.0),
    )  # fmt: skip
    x = torch.as_tensor(2.0 * inputs(adex)).requires_grad_()
    zeros = torch.zeros(SHAPE[1:], dtype=torch.float64)
    state, rows = LIFAdExFeedForwardState(v=zeros - 0.2, i=zeros, a=zeros), []
    for step in x:
        spikes, state = lif_adex_feed_forward_step(step, state, given)
        rows.append(spikes)
    (torch.stack(rows) * torch.as_tensor(weights())).sum().backward()
    out, grads = ours(sc.get_engine(engine, dtype="float64"), adex, x.detach().numpy())
    assert 0.02 < out.mean() < 0.98
    np.testing.assert_array_equal(out, torch.stack(rows).detach().numpy())
    assert far(grads.x, x.grad.numpy()) <= 1e-10
