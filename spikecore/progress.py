"""Progress bars on a terminal and in a notebook, with tqdm if it is installed."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import shutil
import sys
import threading
import time
import warnings
from typing import Any, Callable, ContextManager, Dict, Generator, Iterable, Iterator, List, Optional, Sequence

from spikecore.printing import in_notebook

_said = False
_moved = 0.0  # when a bar last did
_lines: List[threading.Event] = []  # of the blocks at work, the innermost last
FIRST, EVERY = 0.5, 1.0  # seconds until a line is shown, and until it is shown again


class Progress:
    """A bar over batches or other things, with a title, figures such as loss and accuracy, and the time left.

    In a notebook it is a widget if ipywidgets is installed, else a line of text.

    Args:
        title: text before the bar, e.g. "epoch 3/20".
        total: how many things are counted; None if it is not known.
        enabled: whether to show a bar; None, the default, shows one on a terminal and in a notebook.
        unit: name of what is counted; default "batch". Of bytes, "B", the bar shows kB, MB, ...
        done: how many were done before the bar starts, in a fit that is resumed; default 0.
    """

    def __init__(
        self, title: str, total: Optional[int], enabled: Optional[bool] = None, unit: str = "batch", done: int = 0
    ) -> None:
        make = _tqdm() if (watched() if enabled is None else enabled) else None
        # The time left is that of an average batch, so that it counts what lies between epochs, such as validation.
        options: Dict[str, Any] = {
            "desc": title,
            "unit": unit,
            "initial": done,
            "smoothing": 0,
            "leave": True,
            "dynamic_ncols": True,
            "unit_scale": unit == "B",
        }
        self.bar = make(total=total, **options) if make is not None else None

    @property
    def visible(self) -> bool:
        """Whether there is a bar; without one, nobody has to make figures for it."""
        return self.bar is not None

    def say(self, title: str, *, at_once: bool = False) -> None:
        """Replace the title, on the screen with the next batch or ``at_once``."""
        if self.bar is not None:
            self.bar.set_description_str(title, refresh=at_once)

    def note(self, **figures: Any) -> None:
        """Show ``figures`` next to the bar; those that are None are left out."""
        if self.bar is not None:
            self.bar.set_postfix({name: value for name, value in figures.items() if value is not None}, refresh=False)

    def update(self, count: int = 1, /, **figures: Any) -> None:
        """Count one batch, or so many bytes, and show ``figures`` next to the bar."""
        global _moved  # noqa: PLW0603  (a terminal has one line at its end)
        if self.bar is not None:
            self.note(**figures)
            self.bar.update(count)
            _moved = time.monotonic()

    def aside(self) -> ContextManager[Any]:
        """A block that may print: the bar makes room for whole lines, and stands below them afterwards."""
        return contextlib.nullcontext() if self.bar is None else self.bar.external_write_mode(file=sys.stderr)

    def close(self, *, complete: bool = False) -> None:
        """End the bar; it stays on the screen. A ``complete`` one is full, also if training ended early."""
        if self.bar is not None:
            if complete:
                self.bar.total = self.bar.n
            self.bar.refresh()  # the last figures may be younger than what is on the screen
            self.bar.close()

    def over(self, batches: Iterable[Any]) -> Generator[Any, None, None]:
        """Iterate over batches, and close the bar at the end or after an error."""
        try:
            yield from batches
        finally:
            self.close()


def with_bar(items: Sequence[Any], title: str, enabled: Optional[bool] = None) -> Iterator[Any]:
    """Iterate over samples, with a bar that counts them; ``enabled`` as for ``Progress``."""
    bar = Progress(title, len(items), enabled, unit="sample")
    for item in bar.over(items):
        yield item
        bar.update()


@contextlib.contextmanager
def at_work(line: Callable[[float], str], progress: Optional[bool] = None) -> Iterator[None]:
    """Show a line while a block runs that takes longer than half a second, anew each second; then it is removed.

    It appears on terminals and in notebooks, while no bar moves. Of nested blocks the innermost shows its line.

    Args:
        line: gets the seconds since the block began; returns the text.
        progress: whether the user wants bars; False shows nothing, True and None a line where ``watched()``.
    """
    if progress is False or not watched():
        yield
        return
    began, done, width = time.monotonic(), threading.Event(), 0

    def show() -> None:
        nonlocal width
        pause = FIRST
        while not done.wait(pause):
            if time.monotonic() < _moved + EVERY or _lines[-1] is not done:
                continue
            columns = shutil.get_terminal_size().columns - 1
            text = line(time.monotonic() - began)[:columns]
            print(f"\r{text.ljust(columns)}", end="", file=sys.stderr, flush=True)
            width, pause = columns, EVERY

    thread = threading.Thread(target=show, daemon=True)
    _lines.append(done)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        _lines.remove(done)
        if width:
            print(f"\r{' ' * width}\r", end="", file=sys.stderr, flush=True)


def watched() -> bool:
    """Whether a moving bar can be seen: standard error is a terminal, or the program runs in a notebook.

    The variable TQDM_DISABLE, which turns tqdm's bars off, turns off all other lines as well.
    """
    return not os.environ.get("TQDM_DISABLE") and (sys.stderr.isatty() or in_notebook())


def _tqdm() -> Any:
    global _said  # noqa: PLW0603  (the message is printed once per process)
    if importlib.util.find_spec("tqdm") is not None:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "IProgress not found"
            )  # without ipywidgets the bar is text, which is fine
            return importlib.import_module("tqdm.auto").tqdm
    if not _said:
        _said = True
        print("spikecore: no progress bar without tqdm (pip install tqdm)", file=sys.stderr)
    return None


def length(data: Any) -> Optional[int]:
    """The number of batches, or None if the data have no length."""
    try:
        return len(data)
    except TypeError:
        return None
