"""The rows of the conversion table for SpikingJelly 2.0, against the installed package."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="SpikingJelly needs torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("spikingjelly", reason="SpikingJelly is not installed (extra 'peers')")
    from spikingjelly.activation_based import neuron as peer
    from spikingjelly.activation_based import surrogate as peer_surrogate
import spikecore.nn as snn  # noqa: E402
from spikecore import surrogate  # noqa: E402
from tests.convert.conversion_rig import GRID, assert_same_curve, assert_same_neuron, leaky  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # SpikingJelly warns of its own affairs

TAU = 8.0
RESETS = {  # v_reset, detach_reset: our reset, at once
    (0.0, True): ("zero", False),
    (0.0, False): ("zero", True),
    (None, False): ("subtract", True),
    (None, True): ("subtract_decayed", False),
}
CURVES = {
    "ATan(a)": (peer_surrogate.ATan, surrogate.atan),
    "Sigmoid(a)": (peer_surrogate.Sigmoid, surrogate.sigmoid),
    "SoftSign(a)": (peer_surrogate.SoftSign, lambda a: surrogate.superspike(a / 2, a)),
    "SuperSpike(a)": (peer_surrogate.SuperSpike, surrogate.superspike),
    "Erf(a)": (peer_surrogate.Erf, surrogate.erf),
    "PiecewiseExp(a)": (peer_surrogate.PiecewiseExp, surrogate.piecewise_exponential),
    "Rect(a)": (peer_surrogate.Rect, surrogate.rectangular),
    "PiecewiseQuadratic(a)": (peer_surrogate.PiecewiseQuadratic, surrogate.piecewise_quadratic),
}


def theirs(kind, v_reset, detach_reset, **options):
    return kind(
        v_reset=v_reset,
        detach_reset=detach_reset,
        surrogate_function=peer_surrogate.ATan(2.0),
        step_mode="m",
        **options,
    )


@pytest.mark.parametrize(("v_reset", "detach_reset"), RESETS)
def test_lif(v_reset, detach_reset):
    lif = theirs(peer.LIFNode, v_reset, detach_reset, tau=TAU, decay_input=False, v_threshold=0.95)
    assert_same_neuron(leaky(1 - 1 / TAU, *RESETS[v_reset, detach_reset], threshold=0.95), lif)


def test_lif_whose_input_decays():
    lif = theirs(peer.LIFNode, 0.0, False, tau=TAU, decay_input=True, v_threshold=0.3)
    assert_same_neuron(leaky(1 - 1 / TAU, "zero", True, threshold=0.3), lif, gain=1 / TAU)


def test_integrate_and_fire():
    assert_same_neuron(leaky(1.0, "subtract", True), theirs(peer.IFNode, None, False))


def test_learned_time_constant():
    lif = theirs(peer.ParametricLIFNode, 0.0, True, init_tau=TAU, decay_input=False)
    assert_same_neuron(leaky(1 - 1 / TAU, "zero", False, learn_beta=True), lif.double())


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("a", [0.8, 2.0])
def test_surrogates(name, a):
    their, ours = CURVES[name]
    u = GRID.clone().requires_grad_()
    assert_same_curve(ours(a), torch.autograd.grad(their(a)(u).sum(), u)[0])


@pytest.mark.parametrize(("v_reset", "detach_reset"), RESETS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_on_the_threshold_itself_the_next_lower_one_fires_alike(v_reset, detach_reset, dtype):
    """SpikingJelly fires at U >= threshold: here every membrane is a multiple of a half, so that it meets 1 often."""
    x = torch.randint(-1, 3, (30, 8, 500), generator=torch.Generator().manual_seed(0)).to(dtype) / 2
    theirs = peer.IFNode(v_reset=v_reset, detach_reset=detach_reset, step_mode="m")(x)
    reset, at_once = RESETS[v_reset, detach_reset]
    differing = []
    for threshold in (1.0, np.nextafter(np.float32(1.0), np.float32(0.0))):
        own = {"reset_mechanism": reset, "reset_delay": not at_once, "init_hidden": True}
        differing.append(int((snn.run(snn.Leaky(1.0, threshold=threshold, **own).to(dtype), x) != theirs).sum()))
    assert differing[0] > 0.1 * x.numel()
    assert differing[1] == 0
