"""The rows of the conversion table for Sinabs 3.1, against the installed package."""

from __future__ import annotations

import math
import warnings

import pytest

torch = pytest.importorskip("torch", reason="Sinabs needs torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("sinabs", reason="Sinabs is not installed (pip install sinabs; it pins nir<=1.0.4)")
    import sinabs.activation as activation
    import sinabs.layers as peer
import spikecore as sc  # noqa: E402
from spikecore import surrogate  # noqa: E402
from tests.convert.conversion_rig import GRID, assert_same_curve, assert_same_neuron, gradients, leaky, sequence  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # Sinabs warns of its own affairs

TAU = 8.0
BETA = math.exp(-1 / TAU)


def theirs(kind, reset_fn, **options):
    layer = kind(
        spike_fn=activation.SingleSpike, reset_fn=reset_fn, surrogate_grad_fn=activation.Gaussian(sigma=0.4), **options
    ).double()

    def run(x):
        layer.reset_states()
        return layer(x.transpose(0, 1)).transpose(0, 1)  # theirs is (batch, time, ...)

    return run


@pytest.mark.parametrize("norm_input", [False, True])
@pytest.mark.parametrize(
    ("reset_fn", "ours"),
    [(activation.MembraneSubtract(), ("subtract", True)), (activation.MembraneReset(), ("zero", False))],
    ids=["MembraneSubtract", "MembraneReset"],
)
def test_lif(reset_fn, ours, norm_input):
    gain = 1 - BETA if norm_input else 1.0
    threshold = torch.tensor(0.95 * (0.3 if norm_input else 1.0), dtype=torch.float64)
    lif = theirs(peer.LIF, reset_fn, tau_mem=TAU, norm_input=norm_input, spike_threshold=threshold)
    assert_same_neuron(leaky(BETA, *ours, surrogate.gaussian(0.4), threshold=threshold), lif, gain=gain)


def test_integrate_and_fire():
    iaf = theirs(peer.IAF, activation.MembraneSubtract(), spike_threshold=torch.tensor(1.0, dtype=torch.float64))
    assert_same_neuron(leaky(1.0, "subtract", True, surrogate.gaussian(0.4)), iaf)


def test_leaky_integrator():
    x = sequence().requires_grad_()
    expected = peer.ExpLeak(tau_mem=TAU).double()(x.transpose(0, 1)).transpose(0, 1)
    model = sc.Model(sc.LI(beta=BETA), engine="torch", dtype="float64", input_shape=(16,))
    torch.testing.assert_close(model(x.detach()).spikes, expected.detach(), rtol=1e-6, atol=1e-9)
    assert float(gradients(expected, x).abs().max()) > 0


CURVES = {
    "Gaussian(sigma=s)": (lambda s: activation.Gaussian(sigma=s), surrogate.gaussian),
    "MultiGaussian(sigma=s)": (lambda s: activation.MultiGaussian(sigma=s), surrogate.multi_gaussian),
    "SingleExponential(w, grad_scale=0.5)": (
        lambda w: activation.SingleExponential(w, grad_scale=0.5), lambda w: surrogate.piecewise_exponential(1 / w),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("width", [0.4, 0.5])
def test_surrogates(name, width):
    their, ours = CURVES[name]
    assert_same_curve(ours(width), their(width)(GRID + 1.0, torch.tensor(1.0)))
