"""Streams: the suite's cases."""

from __future__ import annotations

from spikecore.conformance.test_streams import *  # noqa: F403
