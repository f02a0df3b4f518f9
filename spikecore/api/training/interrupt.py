"""Makes Ctrl-C take effect between two training steps, not inside one."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import Any, Iterator, List


@contextlib.contextmanager
def wholly() -> Iterator[None]:
    """Delay Ctrl-C until the block has ended, so that the block is not interrupted.

    A second Ctrl-C interrupts the block at once, for users who do not want to wait.
    """
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler) or threading.current_thread() is not threading.main_thread():  # no KeyboardInterrupt here
        yield
        return
    interrupts: List[Any] = []

    def later(*signal_and_frame: Any) -> None:
        interrupts.append(signal_and_frame)
        if len(interrupts) > 1:
            handler(*signal_and_frame)

    signal.signal(signal.SIGINT, later)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if len(interrupts) == 1:
            handler(*interrupts[0])
