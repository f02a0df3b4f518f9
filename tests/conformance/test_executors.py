"""Executors: the suite's cases."""

from __future__ import annotations

from spikecore.conformance.test_executors import *  # noqa: F403
