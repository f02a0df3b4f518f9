"""C9, C8, C1: files that were made to do harm, with digests that fit: refused by name, or models that train on.

``checkpoint_fuzz.py`` does the damage, in a process with little memory that a crash would end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT

RIG = Path(__file__).with_name("checkpoint_fuzz.py")
SIZES = Path(__file__).with_name("checkpoint_sizes.py")
BAD = ("raw", "nameless", "not finite", "memory", "fails later")


def run(script, engine, *numbers):
    command = [sys.executable, str(script), engine, *map(str, numbers)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"the process ended with {done.returncode}: {done.stderr[-2000:]}"
    return json.loads(done.stdout)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize(("first", "count"), [(0, 60), pytest.param(1000, 20_000, marks=pytest.mark.slow)])
def test_mutated_checkpoints(engine, first, count):
    """C9: no crash, no other error than a CheckpointError that names the file, nothing that is not finite, nothing that
    fails when training goes on, and no more memory than three times the file's size (and a megabyte of Python's own).
    """
    pytest.importorskip("resource", reason="this system cannot limit the memory of a process")
    if engine == "torch":
        pytest.importorskip("torch")
    found = run(RIG, engine, first, count)
    counts = found["counts"]
    print(engine, counts, f"memory: {found['largest']:.2f} of what is permitted")
    assert not {what: counts[what] for what in BAD if what in counts}, json.dumps(found["examples"], indent=1)
    assert counts["refused"] + counts["accepted"] == count
    assert counts["refused"] > count // 2, "the damage is none"
    assert counts["accepted"] > count // 20, "the damage never lies where a file remains one"


@pytest.mark.parametrize("engine", ["numpy", pytest.param("torch", marks=pytest.mark.slow)])
def test_a_number_of_a_billion_takes_no_memory(engine):
    """Each whole number of each class that a checkpoint can name becomes 10^9, alone or with its equals: the shapes
    that follow are compared with the file's arrays before anything of their size is made.
    """
    pytest.importorskip("resource", reason="this system cannot limit the memory of a process")
    if not Path("/proc/self/statm").exists():
        pytest.skip("this system does not say how much memory a process has")
    if engine == "torch":
        pytest.importorskip("torch")
    found = run(SIZES, engine)
    counts = found["counts"]
    assert not {what: counts[what] for what in ("memory", "slow", "raw") if what in counts}, found["examples"]
    assert counts["refused"] > 1000
    assert found["unseen"] == ["custom_surrogate"], "has no numbers, and no file can hold it"
