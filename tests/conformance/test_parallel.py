"""Neurons whose steps are computed at once: the suite's cases, and what is refused."""

from __future__ import annotations

import pytest

import spikecore as sc
from spikecore.conformance.test_parallel import *  # noqa: F403


def test_what_is_not_linear_is_refused():
    with pytest.raises(ValueError, match="parallel=True needs reset_mechanism='none'"):
        sc.Leaky(parallel=True)
