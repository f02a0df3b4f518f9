"""A plugin of pytest that adds the suite's options to a call that names the suite, wherever spikecore is installed."""

from __future__ import annotations

import os
from typing import Any, List


def pytest_load_initial_conftests(early_config: Any, args: List[str]) -> None:
    """Load the suite's plugin for ``pytest --pyargs spikecore.conformance`` and for a path to its files."""
    if any("spikecore.conformance" in str(argument).replace(os.sep, ".") for argument in args):
        early_config.pluginmanager.import_plugin("spikecore.conformance.plugin")
