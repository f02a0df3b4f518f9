"""Every neuron with every surrogate: torch against numpy in float64, and numpy against finite differences."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

import spikecore as sc
from spikecore.api.core.layer import Key
from spikecore.api.core.tree import flatten
from spikecore.api.core.variants import smooth
from spikecore.api.verification.gradient import Problem, slopes
from spikecore.conformance import cases
from spikecore.conformance.rig import differentiate, error, normal

pytestmark = pytest.mark.slow
PARTS = ("outputs", "recorded", "state")


def with_surrogate(layer, one):
    """The same neuron with another surrogate; a wrapper around one likewise."""
    if isinstance(layer, (sc.Recurrent, sc.Refractory, sc.Noisy, sc.QuantizedNeuron)):
        return replace(layer, neuron=with_surrogate(layer.neuron, one))
    return replace(layer, surrogate=one)


SURROGATES = pytest.mark.parametrize("one", [one for _, one in cases.SURROGATES], **cases.ids(cases.SURROGATES))
#: All but those whose gradient is their own, which take no surrogate.
CASES = [case for case in cases.NEURONS if "border" not in case.name and not isinstance(case.layer, sc.ILIF)]
NEURONS = pytest.mark.parametrize("case", CASES, ids=repr)


@SURROGATES
@NEURONS
def test_torch_agrees_with_numpy(case, one):
    pytest.importorskip("torch", reason="torch is not installed")
    layer, x = with_surrogate(case.layer, one), normal(8, 4, *case.shape) + 0.3
    numpy, torch = (sc.get_engine(name, dtype="float64") for name in ("numpy", "torch"))
    (_, found), (_, expected) = (differentiate(engine, layer, x, weigh=PARTS) for engine in (torch, numpy))
    found, expected = flatten(found), flatten(expected)
    for name in expected:
        assert error(found[name], expected[name]) <= 1e-11, name


@SURROGATES
@NEURONS
def test_numpy_agrees_with_finite_differences(case, one):
    if one == sc.surrogate.rectangular() and isinstance(case.layer, sc.QuantizedNeuron):
        # Its membranes are multiples of 1/16. 6 of 270 lie at |u| = 1/2, an edge of the rectangle. There the slope
        # jumps, and finite differences give the mean of both sides. No multiple of 1/16 lies at an edge of this one.
        one = sc.surrogate.rectangular(alpha=1.03)
    network = sc.Sequential(with_surrogate(case.layer, one), sc.Flatten())
    init = network.init(Key((0, "weights")), case.shape)
    steps = getattr(case.layer, "num_steps", 6)
    x, labels = normal(steps, 3, *case.shape) + 0.3, sc.get_engine("numpy").asarray([0, 1, 0], dtype="int64")
    problem = Problem(network, sc.functional.ce_rate_loss(), init.params, init.buffers, x, labels, None, 0)
    for slope in slopes(smooth(sc.get_engine("numpy", dtype="float64")), problem):
        assert slope.error <= 1e-6, (slope.name, slope.error)


def test_all_fields_survive_the_exchange():
    layer = with_surrogate(sc.Leaky(beta=0.3), sc.surrogate.sigmoid())
    assert {f.name for f in fields(layer)} == {f.name for f in fields(sc.Leaky)}
    assert layer.beta == 0.3
