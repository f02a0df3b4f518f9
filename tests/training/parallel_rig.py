"""Processes that start at once: worlds for the tests of parallel training, and commands that meet in a folder.

``python -m tests.training.parallel_rig MODULE FUNCTION`` is a nursery: it imports everything once, calls the function,
and that starts processes by ``world(...)`` or ``forked(...)``: forks, which are there in milliseconds, not seconds.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

from tests import ROOT


def nursery(module: str, function: str, folder: Any, *arguments: Any, timeout: float = 300) -> str:
    """Run ``function(folder, *arguments)`` of a test module in a nursery; returns what it printed."""
    unset = ("SPIKECORE_ENGINE", "RANK", "WORLD_SIZE")
    env = {**{k: v for k, v in os.environ.items() if k not in unset}, "PYTHONPATH": str(ROOT)}
    env.update(OMP_NUM_THREADS="1", SPIKECORE_BACKGROUND="0")
    command = [sys.executable, "-m", __name__, module, function, str(folder), *map(str, arguments)]
    done = subprocess.run(
        command, env=env, cwd=folder, capture_output=True, text=True, timeout=timeout, start_new_session=True
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass
class World:
    """Processes that have been started together.

    Attributes:
        codes: exit codes by rank; that of a process killed by signal n is -n.
        said: what each rank printed, on both streams.
        ends: seconds from the start to the end of each rank.
    """

    pids: List[int]
    folder: Path
    name: str
    began: float
    codes: Dict[int, int] = field(default_factory=dict)
    ends: Dict[int, float] = field(default_factory=dict)

    def kill(self, rank: int, number: int = signal.SIGKILL) -> float:
        """Send a signal to a rank; returns when, in seconds from the start. One that has ended gets none."""
        if rank not in self.codes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pids[rank], number)
        return time.monotonic() - self.began

    def wait(self, seconds: float = 60, until: Optional[Callable[[], bool]] = None) -> bool:
        """Wait until all ranks have ended, or until something is true; whether that was in time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for rank, pid in enumerate(self.pids):
                if rank not in self.codes:
                    found, status = os.waitpid(pid, os.WNOHANG)
                    if found:
                        self.codes[rank] = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
                        self.ends[rank] = time.monotonic() - self.began
            if len(self.codes) == len(self.pids) or (until is not None and until()):
                return True
            time.sleep(0.005)
        return False

    def stop(self) -> None:
        """Kill what is left."""
        for rank in range(len(self.pids)):
            self.kill(rank)
        self.wait()

    def by_rank(self) -> List[Optional[int]]:
        """The exit codes by rank; None of one that has not ended."""
        return [self.codes.get(rank) for rank in range(len(self.pids))]

    @property
    def said(self) -> List[str]:
        return [(self.folder / f"{self.name}-{rank}.txt").read_text() for rank in range(len(self.pids))]


def world(size: int, run: Callable[[], Any], folder: Any, name: str, **environment: Any) -> World:
    """Start ``size`` processes that call ``run``, in the environment in which torchrun starts them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}

    def ranked(rank: int) -> Callable[[], Any]:
        def ranked_run() -> Any:
            own = {**common, "RANK": rank, "LOCAL_RANK": rank, **environment}
            os.environ.update({key: str(value) for key, value in own.items()})
            return run()

        return ranked_run

    return forked([ranked(rank) for rank in range(size)], folder, name)


def forked(runs: Sequence[Callable[[], Any]], folder: Any, name: str) -> World:
    """Start a process for each of these calls, all at once."""
    pids = []
    began = time.monotonic()
    for index, run in enumerate(runs):
        pid = os.fork()
        if pid == 0:
            _child(run, Path(folder) / f"{name}-{index}.txt")
        pids.append(pid)
    return World(pids, Path(folder), name, began)


def _child(run: Callable[[], Any], path: Path) -> None:
    """Run a rank to its end; never returns."""
    code = 70
    with open(path, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def finished(size: int, run: Callable[[], Any], folder: Any, name: str, **environment: Any) -> World:
    """A world that has ended."""
    return ended(world(size, run, folder, name, **environment))


def ended(started: World) -> World:
    """The same processes, after their end."""
    if not started.wait(120):
        started.stop()
        raise AssertionError(f"{started.name}: {started.said}")
    return started


if __name__ == "__main__":
    getattr(importlib.import_module(sys.argv[1]), sys.argv[2])(*sys.argv[3:])
