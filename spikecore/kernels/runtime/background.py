"""Kernels compiled by a process of their own, while the caller's loop runs.

Not by a thread: Numba compiles in Python, and a loop of small operations gives Python's lock away at each of them.
While a kernel was compiled, such a loop stood still for half a second at a time; beside a process it does not notice.
The process continues when its parent ends: what it has begun serves the next one.
"""

from __future__ import annotations

import base64
import json
import os
import queue
import subprocess
import sys
import threading
import zlib
from typing import Any, Dict, Iterable, List, Optional

from spikecore.kernels.runtime import store
from spikecore.kernels.runtime.build import KernelRecipe, make

SWITCH = "SPIKECORE_BACKGROUND"  # "0" in the environment: nothing is compiled in the background
IDLE = 20.0  # seconds without work after which the process ends
ATTEMPTS = 2  # of each kernel: a process may end just as it is asked
START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); import {0}; sys.exit({0}.work())"
PIECE = 1 << 16  # bytes that are read at once


class Compiler(subprocess.Popen):  # type: ignore[type-arg]
    """The process, and the end of a pipe into it. It outlives this one by intent, so nobody is warned of it."""

    def __init__(self) -> None:
        read, self.write = os.pipe()  # the system closes it when this process ends
        try:
            super().__init__(
                [sys.executable, "-I", "-c", START.format(__name__), json.dumps(sys.path)],
                stdin=read,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, SWITCH: "0"},
                start_new_session=True,  # Ctrl-C is for the parent
            )
        finally:
            os.close(read)

    def send(self, lines: List[bytes]) -> None:
        """Write lines into the pipe, which has room for some dozens of kernels at once."""
        data = b"".join(line + b"\n" for line in lines)
        try:
            while data:
                data = data[os.write(self.write, data) :]
        except OSError:  # it has just ended: what is still absent is asked for once more
            pass

    def __del__(self, *_: Any) -> None:
        pass


_lock = threading.Lock()
_process: Optional[Compiler] = None
_asked: Dict[KernelRecipe, int] = {}  # how often
_owner = os.getpid()


def possible() -> bool:
    """Whether kernels can be compiled in the background here, and be kept for this process to load."""
    python = "python" in os.path.basename(sys.executable or "").lower() and not getattr(sys, "frozen", False)
    return python and os.environ.get(SWITCH) != "0" and os.getpid() == _owner and store.can_keep()


def ask(recipes: Iterable[KernelRecipe]) -> None:
    """Have kernels compiled that are not on disk; whoever looks there later finds them. Each is asked for once."""
    global _process  # noqa: PLW0603
    with _lock:
        running = _process is not None and _process.poll() is None
        new = [recipe for recipe in recipes if _asked.get(recipe, 0) < (1 if running else ATTEMPTS)]
        if not new or not possible():
            return
        if _process is None or not running:
            _say_failed(_process)
            if _process is not None:
                os.close(_process.write)
            _process = Compiler()
        for recipe in new:
            _asked[recipe] = _asked.get(recipe, 0) + 1
        _process.send([base64.b64encode(zlib.compress(json.dumps(recipe).encode())) for recipe in new])


def _say_failed(process: Optional[Compiler]) -> None:
    if process is not None and process.returncode:
        print(
            f"spikecore: a process that compiles kernels ended with status {process.returncode}; small runs go step by "
            "step; fused=True, or spikecore warm, shows why",
            file=sys.stderr,
        )


def work() -> int:
    """The process's work: compile the recipes it reads, one kernel after the other, until there is nothing left.

    Returns:
        an exit status: 0, or 1 if a kernel could not be compiled.
    """
    waiting: queue.Queue[bytes] = queue.Queue()

    def read() -> None:
        rest = b""
        while True:  # not by sys.stdin: Python aborts when it ends while a thread waits in it
            piece = os.read(0, PIECE)
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines if piece else [b""]:
                waiting.put(line)
            if not piece:
                return

    threading.Thread(target=read, daemon=True).start()  # so that the parent never waits until a pipe has room
    if hasattr(os, "nice"):
        os.nice(5)
    status = 0
    while True:
        try:
            line = waiting.get(timeout=IDLE)
        except queue.Empty:
            return status
        if not line:
            return status
        try:
            make(KernelRecipe(*json.loads(zlib.decompress(base64.b64decode(line)))))
        except Exception:  # noqa: BLE001  # the others are not to go without
            status = 1
