"""Makes Ctrl-C and the end that a scheduler asks for take effect between two training steps, not inside one."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from typing import Any, Callable, ContextManager, Dict, Iterator, List

ONCE = 2.0  # seconds: of one Ctrl-C a process hears from the terminal, and then from torchrun
_noted: List[int] = []  # signals that wait for the end of a step; they are for the whole process
_interrupted: Dict[str, float] = {}  # when the first Ctrl-C came


class Terminated(SystemExit):
    """A scheduler has asked the process to end (SIGTERM), and training has stopped after a step; exit code 143."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)

    def __str__(self) -> str:
        return "terminated after a training step (SIGTERM)"


class Uninterrupted:
    """Blocks that Ctrl-C does not interrupt: it takes effect when the block has ended.

    A second Ctrl-C interrupts the block at once, for users who do not want to wait. The object is the handler of SIGINT
    from ``uninterrupted`` on, since to set one takes as long as a tenth of a small training step.

    Args:
        handler: the handler that takes effect.
    """

    def __init__(self, handler: Callable[..., Any]) -> None:
        self.handler, self.inside = handler, False
        self.interrupts: List[Any] = []

    def __call__(self, *signal_and_frame: Any) -> None:
        if self.inside:
            self.interrupts.append(signal_and_frame)
        if len(self.interrupts) != 1:
            self.handler(*signal_and_frame)

    def __enter__(self) -> None:
        self.inside = True

    def __exit__(self, *_: Any) -> None:
        self.inside = False
        if self.interrupts:
            interrupts, self.interrupts = self.interrupts, []
            if len(interrupts) == 1:
                self.handler(*interrupts[0])


@contextlib.contextmanager
def delaying() -> Iterator[ContextManager[None]]:
    """A context whose value is entered, again and again, for blocks that Ctrl-C shall not interrupt."""
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler) or threading.current_thread() is not threading.main_thread():  # no KeyboardInterrupt here
        yield contextlib.nullcontext()
        return
    blocks = Uninterrupted(handler)
    signal.signal(signal.SIGINT, blocks)
    try:
        yield blocks
    finally:
        if signal.getsignal(signal.SIGINT) is blocks:  # a callback may have set another one
            signal.signal(signal.SIGINT, handler)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay Ctrl-C until the block has ended, so that the block is not interrupted; see ``Uninterrupted``."""
    with delaying() as block, block:
        yield


@contextlib.contextmanager
def noting(*numbers: int) -> Iterator[None]:
    """A context in which signals do not interrupt: the block calls ``noted()`` where it can stop.

    A handler for SIGTERM that the program has set stays. A second Ctrl-C, some seconds later, interrupts the block at
    once.

    Raises:
        Terminated, KeyboardInterrupt: at the end of the block, if a signal has come and nothing else is raised.
    """
    handlers: Dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        wanted = (signal.SIG_DFL, signal.default_int_handler)
        handlers = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) in wanted}
    for number in handlers:
        signal.signal(number, _note)
    try:
        yield
        if handlers:
            obey(noted())
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        _noted[:] = [number for number in _noted if number not in handlers]
        if signal.SIGINT in handlers:
            _interrupted.clear()


def noted() -> int:
    """The number of the first signal that has come; 0 if none has."""
    return _noted[0] if _noted else 0


def obey(number: int) -> None:
    """Raise what a signal stands for; nothing for 0.

    Raises:
        Terminated: for SIGTERM.
        KeyboardInterrupt: for others.
    """
    if number == signal.SIGTERM:
        raise Terminated
    if number:
        raise KeyboardInterrupt


def _note(number: int, _: Any) -> None:
    _noted.append(number)
    now = time.monotonic()
    if number == signal.SIGINT and now - _interrupted.setdefault("at", now) > ONCE:
        raise KeyboardInterrupt
