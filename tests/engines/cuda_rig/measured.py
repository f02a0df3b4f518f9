"""The step of ``make gpu`` that measures training steps, on the pretended device; writes its rows and failures as JSON.

Sizes are tiny, kernels are counted and not run, and there is no profiler. What such a step does on a GPU alone, graphs
among it, is done.
"""

from __future__ import annotations

import json
import pathlib
import sys
import tempfile
from itertools import islice

from tests.engines.cuda_rig.device import logged  # noqa: F401  # before torch

# ruff: isort: split
import torch
import torch.profiler

from benchmarks.gpu import training
from benchmarks.gpu.record import Record
from tests.engines.cuda_rig.graphs import watched
from tests.engines.cuda_rig.networks import kernels_that_are_only_counted

FULL = (False, True), (training.SHORT, training.LONG)
ON_THE_HOST = [torch.profiler.ProfilerActivity.CPU]


class Tiny(Record):
    """A record of a run on a device, in the sizes of a rehearsal but for the number of batches."""

    def size(self, full, tiny):
        return full if full in FULL else tiny


if __name__ == "__main__":
    kernels_that_are_only_counted()
    watched()
    profile, tasks = torch.profiler.profile, training.tasks
    torch.profiler.profile = lambda activities: profile(activities=ON_THE_HOST)
    training.tasks = lambda record: islice(tasks(record), 1)
    torch.cuda.set_sync_debug_mode = torch.cuda.reset_peak_memory_stats = lambda *_: None
    torch.cuda.memory_allocated = torch.cuda.max_memory_allocated = lambda *_: 0
    with tempfile.TemporaryDirectory() as folder:
        record = Tiny(pathlib.Path(folder) / "record.json", False)
        training.training(record)
    print(json.dumps({"rows": record.tables, "failures": record.failures}), file=sys.__stdout__)
