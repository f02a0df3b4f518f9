"""The command: ``python -m benchmarks.gpu``. It needs no package but those that the steps need."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

from benchmarks.gpu import wheels
from benchmarks.gpu.plan import BUDGET, STEPS, chosen
from benchmarks.gpu.report import write
from benchmarks.gpu.runner import Result, run
from benchmarks.process import ROOT

PATIENCE = 150.0  # seconds for the first import of torch, which on a new machine comes from a slow disk


def main(arguments: Optional[List[str]] = None) -> int:
    """Run the steps and write the report. Returns the exit code: 1 if a step failed, 2 if none could run."""
    given = _parser().parse_args(arguments)
    try:
        steps = chosen(tuple(given.step))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    out = Path(given.out or os.environ.get("OUT") or Path(ROOT) / "build" / "gpu")
    out.mkdir(parents=True, exist_ok=True)
    begun, budget = time.monotonic(), given.budget or BUDGET
    with tempfile.TemporaryDirectory() as folder:
        taken, left = wheels.unpack(Path(ROOT) / wheels.FOLDER, Path(folder) / "site")
        environment = _environment(Path(folder) / "site", given.rehearse)
        facts = _facts(given.rehearse, environment)
        if "card" not in facts:
            print(_refusal(facts), file=sys.stderr)
            return 2
        facts["wheels"], facts["wheels left out"] = taken, left
        stem = "rehearsal" if given.rehearse else "gpu"
        print(f"{'rehearsal on the CPU' if given.rehearse else facts['card']}; wheels: {', '.join(taken) or 'none'}")
        for text in left:
            print(f"left out: {text}")

        def ready(results: List[Result]) -> None:
            last = results[-1]
            print(f"{last.name:18} {last.status:10} {last.seconds:6.1f} s  {last.reason}", flush=True)
            for failure in last.failures[:5]:
                print(f"    {failure}", flush=True)
            write(out, facts, results)

        left_over = budget - (time.monotonic() - begun)
        results = run(steps, left_over, given.rehearse, out / f"{stem}.log", environment, ready)
    print(f"{out / stem}.md has the report, {stem}.log what the steps printed")
    return 0 if all(result.right for result in results) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description="Test and measure all that needs a CUDA device. Writes gpu.json, gpu.md and gpu.log.",
    )
    parser.add_argument("step", nargs="*", help=f"steps to run, all by default: {', '.join(s.name for s in STEPS)}")
    parser.add_argument("--rehearse", action="store_true", help="run the steps on the CPU, with tiny sizes; no times")
    parser.add_argument("--budget", type=float, help=f"seconds for all steps, default {BUDGET:g}")
    parser.add_argument("--out", help="folder for the report, default $OUT or build/gpu")
    return parser


def _environment(site: Path, rehearse: bool) -> Dict[str, str]:
    """Environment variables of the steps' processes."""
    paths = [str(site), ROOT, os.environ.get("PYTHONPATH", "")]
    more = {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONUNBUFFERED": "1",
        "SPIKECORE_BACKGROUND": "0",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # JAX, if a package imports it, leaves the memory to others
        "NVIDIA_TF32_OVERRIDE": "0",  # float32 is float32, in all processes and for all sides
        # before CUDA 12.6 a graph that was recorded before a profile crashes after it, unless the profiler stays
        "DISABLE_CUPTI_LAZY_REINIT": "1",
        "TEARDOWN_CUPTI": "0",
    }
    if rehearse:
        more["CUDA_VISIBLE_DEVICES"] = ""  # a rehearsal is one on a machine with a GPU, too
    return {**os.environ, **more}


def _facts(rehearse: bool, environment: Dict[str, str]) -> Dict[str, Any]:
    """What ``machine.py`` says, from a process whose path has the wheels."""
    command = [sys.executable, "-m", "benchmarks.gpu.machine", *(["--rehearse"] if rehearse else [])]
    how: Any = {"stdout": subprocess.PIPE, "text": True, "env": environment, "cwd": ROOT, "timeout": PATIENCE}
    try:
        done = subprocess.run(command, check=False, **how)
    except subprocess.TimeoutExpired:
        return {"error": f"torch did not say within {PATIENCE:.0f} s what devices there are"}
    lines = done.stdout.strip().splitlines()
    return json.loads(lines[-1]) if done.returncode == 0 and lines else {"error": "its message is above"}


def _refusal(facts: Dict[str, Any]) -> str:
    """Why no step can run, and the remedy."""
    if "missing" in facts:
        names = ", ".join(name.replace("_", "-") for name in facts["missing"])
        return (
            f"{sys.executable} lacks {names}. Install them, or, for a machine without a network, put their wheels into "
            f"{wheels.FOLDER}/: pip download --no-deps -d {wheels.FOLDER} {names.replace(',', '')}"
        )
    return f"{facts['error']}. Without a CUDA device, rehearse the steps on the CPU: make gpu REHEARSE=1"


if __name__ == "__main__":
    sys.exit(main())
