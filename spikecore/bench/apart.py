"""A group of sides in a process of its own: ``python -m spikecore.bench.apart REQUEST``.

Memory that other groups left behind, and threads of peers that it does not need, cannot make a side faster or slower.
"""

from __future__ import annotations

import base64
import json
import pickle
import sys
from dataclasses import asdict
from itertools import islice
from typing import Any, List, Optional

from spikecore.bench.plan import Settings
from spikecore.bench.process import in_a_process
from spikecore.kernels.runtime import allocator


def measured_apart(workload: str, index: int, settings: Settings, rounds: int, progress: Optional[bool]) -> List[Any]:
    """The rows of one of a workload's groups.

    Args:
        workload: name, as in ``WORKLOADS``.
        index: of the group.
        settings, rounds, progress: see ``runner.run``.

    Raises:
        RuntimeError: the process failed; it has said why on standard error.
    """
    request = {"workload": workload, "index": index, "rounds": rounds, "progress": progress}
    name = f"bench: group {index + 1} of {workload}"
    said = in_a_process(__name__, {**request, "settings": asdict(settings)}, aloud=name)
    found: List[Any] = pickle.loads(base64.b64decode(said))  # noqa: S301  (our own process's)
    return found


def main(arguments: List[str]) -> None:
    """Measure the group that a request names, and print its rows, packed."""
    from spikecore.bench.runner import measured
    from spikecore.bench.workloads import WORKLOADS

    request = json.loads(arguments[0])
    settings, name = Settings(**request["settings"]), request["workload"]
    if settings.memory_kept:
        allocator.keep()
    group = next(islice(WORKLOADS[name].groups(settings), request["index"], None))
    rows = measured(group, settings, request["rounds"], f"{name}: ", request["progress"])
    print("\n" + base64.b64encode(pickle.dumps(rows)).decode())


if __name__ == "__main__":
    main(sys.argv[1:])
