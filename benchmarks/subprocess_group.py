"""A group of sides in a process of its own: ``python -m benchmarks.subprocess_group REQUEST``.

Memory that other groups left behind, and threads of peers that it does not need, cannot make a side faster or slower.
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
from spikecore.kernels import memory


def main(arguments: List[str]) -> None:
    """Measure the group that a request names, and print its rows, packed."""
    request = json.loads(arguments[0])
    settings, name = Settings(**request["settings"]), request["workload"]
    if settings.memory_kept:
        memory.keep()
    group = next(islice(WORKLOADS[name].groups(settings), request["index"], None))
    rows = measured(group, settings, request["rounds"], f"{name}: ", request["progress"])
    print("\n" + base64.b64encode(pickle.dumps(rows)).decode())


if __name__ == "__main__":
    main(sys.argv[1:])
