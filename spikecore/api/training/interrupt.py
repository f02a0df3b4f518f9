"""Ctrl-C between two training steps, not inside one."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import Any, Iterator, List


@contextlib.contextmanager
def wholly() -> Iterator[None]:
    """Hold Ctrl-C back until the block has ended, so that the block is carried out as a whole or not at all.

    A second Ctrl-C is not held back: whoever presses it twice does not want to wait.
    """
    asked = signal.getsignal(signal.SIGINT)
    if not callable(asked) or threading.current_thread() is not threading.main_thread():  # nothing is raised here then
        yield
        return
    held: List[Any] = []

    def later(*given: Any) -> None:
        held.append(given)
        if len(held) > 1:
            asked(*given)

    signal.signal(signal.SIGINT, later)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, asked)
        if len(held) == 1:
            asked(*held[0])
