"""Measurement of one group in a separate process: ``python -m benchmarks.subprocess_group REQUEST``.

In a separate process, memory and threads that other groups leave behind cannot make a side faster or slower.
"""

from __future__ import annotations

import base64
import json
import pickle
import sys
from itertools import islice
from typing import List

from benchmarks.plan import Settings
from benchmarks.runner import measured
from benchmarks.workloads import WORKLOADS
from spikecore.kernels.runtime import allocator


def main(arguments: List[str]) -> None:
    """Measure the group of a request, and print its rows as base64 of a pickle."""
    request = json.loads(arguments[0])
    settings, name = Settings(**request["settings"]), request["workload"]
    if settings.memory_kept:
        allocator.keep()
    group = next(islice(WORKLOADS[name].groups(settings), request["index"], None))
    rows = measured(group, settings, request["rounds"], f"{name}: ", request["progress"])
    print("\n" + base64.b64encode(pickle.dumps(rows)).decode())


if __name__ == "__main__":
    main(sys.argv[1:])
