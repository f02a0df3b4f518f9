"""Surrogates: the suite's cases, which are complete; surrogates are values."""

from __future__ import annotations

import pickle

from spikecore.api.training.checkpoint import known_classes
from spikecore.conformance import cases
from spikecore.conformance.test_surrogates import *  # noqa: F403
from spikecore.conformance.test_surrogates import SURROGATES
from spikecore.surrogate import Surrogate, atan


def test_every_surrogate_has_a_case_and_an_oracle():
    """Those that are a formula in u; SSO draws random numbers, custom_surrogate is a function of the user's."""
    every = {name for name, one in known_classes().items() if issubclass(one, Surrogate)}
    assert {type(one).__name__ for _, one in cases.SURROGATES} == every - {"Surrogate", "SSO", "custom_surrogate"}


@SURROGATES
def test_equal_by_content_and_picklable(one):
    again = pickle.loads(pickle.dumps(one))
    assert again == one
    assert hash(again) == hash(one)
    assert one.has_antiderivative
    assert atan(alpha=1.0) != atan(alpha=3.0)
