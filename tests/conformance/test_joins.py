"""Branches that are joined: the suite's cases."""

from __future__ import annotations

from spikecore.conformance.test_joins import *  # noqa: F403
