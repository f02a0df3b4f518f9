"""Neurons: the suite's cases, finite differences on the NumPy engine, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.variants import smooth
from spikecore.api.neurons.parallel import Parallel
from spikecore.api.neurons.stepper import Stepper
from spikecore.api.training.checkpoint import known_classes
from spikecore.conformance import cases
from spikecore.conformance.rig import (
    run,
)
from spikecore.conformance.test_neurons import *  # noqa: F403
from spikecore.conformance.test_neurons import check_differences, continuous, inputs


@pytest.mark.parametrize("case", cases.FAMILY, ids=repr)
def test_is_neither_silent_nor_loud(case):
    """Otherwise a case would show little."""
    spikes = run(sc.get_engine("numpy", dtype="float64"), case.layer, inputs(case)).outputs
    assert continuous(case.layer) or 0.02 < (spikes != 0).mean() < 0.98


def test_every_neuron_has_a_case():
    neurons = {one for one in known_classes().values() if issubclass(one, Stepper) and not one.__name__.startswith("_")}
    assert neurons - {sc.base.Neuron, sc.base.Membrane, Parallel} == {type(case.layer) for case in cases.NEURONS}


SMOOTH = [case for case in cases.NEURONS if case.name != "Leaky-border"]  # there the clamp has a kink, differences none


@pytest.mark.parametrize("case", [*SMOOTH, *cases.LAYERS, *cases.NETWORKS, *cases.TRAINED_ONLY], ids=repr)
def test_finite_differences_in_smooth_mode(case):
    check_differences(smooth(sc.get_engine("numpy", dtype="float64")), case)


@pytest.mark.parametrize(
    "make",
    [lambda tau: sc.OneToOne(V=tau), lambda tau: sc.Leaky(threshold=tau), lambda tau: sc.Lapicque(R=tau, C=1.0)],
    ids=["V", "threshold", "R"],
)
def test_a_time_constant_of_what_does_not_decay_is_refused(make):
    with pytest.raises(ValueError, match=r"learn_tau\(...\) is for decays"):
        make(sc.learn_tau(4.0))


def test_alpha_compares_decays_and_needs_their_logarithms():
    sc.Alpha(alpha=0.9, beta=sc.learn_tau(2.0))  # 0.61
    sc.Alpha(alpha=sc.learn_tau(20.0), beta=sc.learn_tau(5.0))
    for alpha, beta in ((sc.learn_tau(0.95), 0.9), (sc.learn_tau(5.0), sc.learn_tau(20.0))):
        with pytest.raises(ValueError, match="must exceed"):
            sc.Alpha(alpha=alpha, beta=beta)
    for zero in (0.0, sc.learn(0.0), np.array([0.5, 0.0])):
        with pytest.raises(ValueError, match="must be > 0, since the membrane needs its logarithm"):
            sc.Alpha(beta=zero)
