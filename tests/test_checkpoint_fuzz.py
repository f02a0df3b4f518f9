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

RIG = Path(__file__).with_name("checkpoint_fuzz.py")
BAD = ("raw", "nameless", "not finite", "memory", "fails later")


def run(engine, first, count):
    command = [sys.executable, str(RIG), engine, str(first), str(count)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(RIG.parents[1])}
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
    found = run(engine, first, count)
    counts = found["counts"]
    print(engine, counts, f"memory: {found['largest']:.2f} of what is permitted")
    assert not {what: counts[what] for what in BAD if what in counts}, json.dumps(found["examples"], indent=1)
    assert counts["refused"] + counts["accepted"] == count
    assert counts["refused"] > count // 2, "the damage is none"
    assert counts["accepted"] > count // 20, "the damage never lies where a file remains one"
