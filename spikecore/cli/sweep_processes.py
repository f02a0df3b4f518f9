"""The processes of a sweep: workers that share its trials, and signals that end them."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, Iterator, Set

from spikecore.cli import sweep_results
from spikecore.cli.exit_codes import INTERRUPTED
from spikecore.cli.sweep import Hopeless, Sweep
from spikecore.cli.sweep_directory import opened

LOOK = 0.3  # seconds between two looks at the trials of other processes
END = 30.0  # seconds that a process gets to end its training step
# One thread for each process: J processes with as many threads as cores would wait for each other.
THREADS = "OMP_NUM_THREADS OPENBLAS_NUM_THREADS MKL_NUM_THREADS NUMBA_NUM_THREADS".split()


def in_processes(ours: Sweep, jobs: int, say: Callable[[str], None]) -> None:
    """Run the trials in ``jobs`` processes, which share the storage.

    Raises:
        RuntimeError: a process has ended before its trials.
    """
    environment = {**dict.fromkeys(THREADS, "1"), **os.environ}
    words = [sys.executable, "-m", "spikecore", "sweep", str(ours.directory), "--worker"]
    options: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "start_new_session": True}
    seen = {trial.number for trial in ours.storage.finished()}
    workers = [subprocess.Popen(words, env=environment, **options) for _ in range(jobs)]
    try:
        while any(worker.poll() is None for worker in workers):
            time.sleep(LOOK)
            _say_new(ours, seen, say)
    except KeyboardInterrupt:
        for worker in workers:
            worker.terminate()
        raise
    finally:
        for worker in workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(END)
            worker.kill()
            worker.wait()
    _say_new(ours, seen, say)
    codes = [str(worker.returncode) for worker in workers if worker.returncode]
    if codes and len(seen) < ours.storage.total and not ours.hopeless:
        raise RuntimeError(
            f"{len(codes)} of {jobs} processes have ended before their trials (exit code {', '.join(codes)}). "
            f"To go on: {command(ours)}"
        )


def _say_new(ours: Sweep, seen: Set[int], say: Callable[[str], None]) -> None:
    """A line for each trial that has ended and is not among ``seen``."""
    for trial in ours.storage.finished():
        if trial.number not in seen:
            seen.add(trial.number)
            say(sweep_results.line(ours.storage, trial.number, len(seen)))


def as_worker(directory: Path) -> None:
    """Run trials for the process that has started this one, as long as it lives."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with ended_by_sigterm(), contextlib.suppress(Hopeless):  # the other process sees it, too
        try:
            opened(directory).work(lambda line: None)
        except KeyboardInterrupt:
            raise SystemExit(INTERRUPTED) from None


def _end_with_parent() -> None:
    os.read(0, 1)  # nothing is ever written: this ends when the other end is closed
    os._exit(INTERRUPTED)


@contextlib.contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM, by which schedulers end jobs, do what Ctrl-C does."""

    def interrupt(number: int, frame: Any) -> None:
        handler: Callable[..., Any] = signal.default_int_handler
        current = signal.getsignal(signal.SIGINT)
        (current if callable(current) else handler)(signal.SIGINT, frame)

    if threading.current_thread() is not threading.main_thread():  # signals come to the main thread alone
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def command(ours: Sweep) -> str:
    """The command that continues a sweep."""
    return f"spikecore sweep {shlex.quote(str(ours.directory))} --resume"
