"""Tests of the repository that need a GPU, as steps."""

from __future__ import annotations

import importlib.util
import os
import time
from collections import Counter
from typing import Any, List, Sequence

from benchmarks.gpu.record import Absent, Record

WORKERS = 14  # processes of one suite, at most; each has a CUDA context of its own, of about half a gigabyte
SOME = "tests/conformance/test_neurons.py", "-k", "Leaky"  # in a rehearsal
SHOWN = 30  # failures by name


class Watch:
    """A plugin of pytest that writes what becomes of tests to a record."""

    def __init__(self, record: Record) -> None:
        self.record, self.outcomes, self.failed = record, Counter(), []  # type: ignore[var-annotated]
        self.written = 0.0

    def pytest_runtest_logreport(self, report: Any) -> None:
        """A test's part has ended: count what it was."""
        if report.failed:
            self.failed.append(f"{report.nodeid} ({report.when}): {_last_line(report)}")
        if report.when == "call" or (report.when == "setup" and not report.passed):
            self.outcomes[report.outcome] += 1
        if time.monotonic() > self.written + 1.0:
            self.write()

    def pytest_collectreport(self, report: Any) -> None:
        """A file could not be imported."""
        if report.failed:
            self.failed.append(f"{report.nodeid} (import): {_last_line(report)}")

    def write(self) -> None:
        """Put the counts so far into the record."""
        self.written = time.monotonic()
        self.record.tables["Tests"] = [{k: self.outcomes[k] for k in ("passed", "failed", "skipped")}]
        self.record.checks = self.outcomes["passed"] + self.outcomes["failed"]
        more = len(self.failed) - SHOWN
        self.record.failures = self.failed[:SHOWN] + ([f"and {more} more, see the log"] if more > 0 else [])
        self.record.write()


def _last_line(report: Any) -> str:
    lines = [line for line in str(report.longrepr).splitlines() if line.strip()]
    errors = [line[1:].strip() for line in lines if line.startswith("E  ")]
    return (errors or lines or ["no message"])[0][:200]


def run(record: Record, arguments: Sequence[str], rehearsal: Sequence[str]) -> None:
    """Run tests.

    Args:
        record: where what became of them goes.
        arguments: what pytest is called with on a GPU.
        rehearsal: the same in a rehearsal.
    """
    import pytest

    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of each worker: together they take the cores
    watch = Watch(record)
    several = importlib.util.find_spec("xdist") is not None
    workers = min(record.size(WORKERS, 2), os.cpu_count() or 1)
    chosen: List[str] = [*record.size(arguments, rehearsal), "-q", "-p", "no:cacheprovider"]
    chosen += ["-o", "filterwarnings=default"]  # versions of packages that nobody has tried here may warn of things
    chosen += ["-n", str(workers), "--dist", "worksteal"] if several and workers > 1 else []
    code = pytest.main(chosen, plugins=[watch])
    watch.write()
    if code not in (0, 1):  # 1: tests have failed, and are counted
        record.check("pytest", False, f"left with {int(code)}; see the log")
    if not watch.outcomes["passed"] + watch.outcomes["failed"]:
        record.check("no test ran", False, "all were skipped or none was selected; see the log")


def _need(record: Record, *packages: str) -> None:
    for name in packages:
        if not record.rehearse and importlib.util.find_spec(name) is None:
            remedy = {"cupy": "pip install cupy-cuda13x, or cupy-cuda12x"}.get(name, f"pip install {name}")
            raise Absent(f"{name} is not installed ({remedy})")


def conformance_torch(record: Record) -> None:
    """The conformance suite on torch tensors on a CUDA device."""
    run(record, ["tests/conformance", "--engine", "torch-cuda"], [*SOME, "--engine", "torch"])


def conformance_cupy(record: Record) -> None:
    """The conformance suite on CuPy arrays; a rehearsal takes the same engine on NumPy."""
    _need(record, "cupy")
    run(record, ["tests/conformance", "--engine", "cupy"], [*SOME, "--engine", "numpy"])


def triton(record: Record) -> None:
    """Triton kernels against two engines' loops; a rehearsal compiles some, and takes Triton's interpreter."""
    _need(record, "triton")
    file, some = "tests/kernels/test_triton.py", "compile_for_a_gpu or from_scan_to_parameter_gradients"
    run(record, [file, "-m", "cuda"], [file, "-m", "not slow", "-k", some])


def cuda_c(record: Record) -> None:
    """CUDA C kernels against two engines' loops; a rehearsal compiles them, with NVRTC where it is installed."""
    _need(record, "cupy")
    file, some = "tests/kernels/test_cuda.py", "nvrtc or nvcc or equal_the_loop"
    run(record, [file, "-m", "cupy"], [file, "-m", "not slow and not cupy", "-k", some])
