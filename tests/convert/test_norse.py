"""The rows of the conversion table for Norse 1.1, against the installed package."""

from __future__ import annotations

import warnings

import pytest

torch = pytest.importorskip("torch", reason="Norse needs torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("norse", reason="Norse is not installed (pip install norse)")
    from norse.torch.functional import lif, lif_box, reset, threshold
import spikecore.nn as snn  # noqa: E402
from spikecore import surrogate  # noqa: E402
from tests.convert.conversion_rig import GRID, assert_same_curve, assert_same_neuron, leaky  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # Norse warns of its own affairs

DT, TAU_INV, SYN_INV = 1e-3, 150.0, 250.0
CURVES = {  # method, alpha: ours
    ("super", 100.0): surrogate.fast_sigmoid(1.0),  # 1.1.0 does not look at alpha
    ("triangle", 1.0): surrogate.triangular(1.0),
    ("heavi_erfc", 2.0): surrogate.erf(2.0),
    ("tanh", 2.0): surrogate.sigmoid(4.0),
}


def number(x):
    return torch.as_tensor(x, dtype=torch.float64)


def rolled(step, state, p):
    def run(x):
        held, outs = state(x[0]), []
        for current in x:
            spikes, held = step(current, held, p, DT)
            outs.append(spikes)
        return torch.stack(outs)

    return run


@pytest.mark.parametrize(("name", "ours"), [("reset_value", "zero"), ("reset_subtract", "subtract")])
def test_lif_box(name, ours):
    p = lif_box.LIFBoxParameters(
        number(TAU_INV), number(0.0), number(0.12), number(0.0), "super", 100.0, getattr(reset, name)
    )
    theirs = rolled(lif_box.lif_box_feed_forward_step, lambda x: lif_box.LIFBoxFeedForwardState(torch.zeros_like(x)), p)
    neuron = leaky(1 - DT * TAU_INV, ours, True, surrogate.fast_sigmoid(1.0), threshold=0.12)
    assert_same_neuron(neuron, theirs, gain=DT * TAU_INV)


def test_lif():
    p = lif.LIFParameters(
        tau_syn_inv=number(SYN_INV),
        tau_mem_inv=number(TAU_INV),
        v_leak=number(0.0),
        v_th=number(0.6),
        v_reset=number(0.0),
    )
    rest = lambda x: lif.LIFFeedForwardState(torch.zeros_like(x), torch.zeros_like(x))  # noqa: E731
    neuron = snn.Synaptic(
        1 - DT * SYN_INV, 1 - DT * TAU_INV, threshold=0.6, reset_mechanism="zero", reset_delay=False,
        spike_grad=surrogate.fast_sigmoid(1.0), init_hidden=True,
    ).double()  # fmt: skip
    assert_same_neuron(neuron, rolled(lif.lif_feed_forward_step, rest, p), gain=DT * TAU_INV)


@pytest.mark.parametrize(("method", "alpha"), CURVES)
def test_surrogates(method, alpha):
    u = GRID.clone().requires_grad_()
    assert_same_curve(CURVES[method, alpha], torch.autograd.grad(threshold.threshold(u, method, alpha).sum(), u)[0])
