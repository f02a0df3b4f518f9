"""Sparse connectivity: the suite's cases."""

from __future__ import annotations

from spikecore.conformance.test_sparse import *  # noqa: F403
