"""Progress bars with tqdm, if it is installed and the output is a terminal."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any, Iterable, Iterator, Optional

_said = False


class Progress:
    """A bar over batches, showing running loss, accuracy, samples/s and time left.

    Args:
        title: text before the bar, e.g. "epoch 3/20".
        total: number of batches; None if it is not known.
        enabled: whether to show a bar; None, the default, shows one on a terminal.
        unit: name of what is counted; default "batch".
    """

    def __init__(self, title: str, total: Optional[int], enabled: Optional[bool] = None, unit: str = "batch") -> None:
        shown = sys.stderr.isatty() if enabled is None else enabled
        self.bar = _tqdm()(total=total, desc=title, unit=unit, leave=True) if shown and _tqdm() else None

    def update(self, **figures: Any) -> None:
        """Count one batch and show ``figures`` next to the bar."""
        if self.bar is not None:
            self.bar.set_postfix({name: value for name, value in figures.items() if value is not None}, refresh=False)
            self.bar.update(1)

    def close(self) -> None:
        """End the bar; it stays on the screen."""
        if self.bar is not None:
            self.bar.close()

    def over(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Iterate over batches, and close the bar at the end or after an error."""
        try:
            yield from batches
        finally:
            self.close()


def _tqdm() -> Any:
    global _said  # noqa: PLW0603  (the message is printed once per process)
    if importlib.util.find_spec("tqdm") is not None:
        return importlib.import_module("tqdm").tqdm
    if not _said:
        _said = True
        print('spikecore: no progress bar without tqdm (pip install "spikecore[cli]")', file=sys.stderr)
    return None


def length(data: Any) -> Optional[int]:
    """The number of batches, or None if the data have no length."""
    try:
        return len(data)
    except TypeError:
        return None
