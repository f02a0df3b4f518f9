"""Progress bars: tqdm where it is installed and somebody is watching, silence elsewhere."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any, Iterable, Iterator, Optional

_said = False


class Progress:
    """A bar over batches, showing running loss, accuracy, samples/s and time left.

    Args:
        title: e.g. "epoch 3/20".
        total: number of batches if known.
        enabled: None shows a bar only on a terminal.
        unit: what is counted.
    """

    def __init__(self, title: str, total: Optional[int], enabled: Optional[bool] = None, unit: str = "batch") -> None:
        shown = sys.stderr.isatty() if enabled is None else enabled
        self.bar = _tqdm()(total=total, desc=title, unit=unit, leave=True) if shown and _tqdm() else None

    def update(self, **figures: Any) -> None:
        """One more batch; figures are shown as they are."""
        if self.bar is not None:
            self.bar.set_postfix({name: value for name, value in figures.items() if value is not None}, refresh=False)
            self.bar.update(1)

    def close(self) -> None:
        """Leave the finished bar on the screen."""
        if self.bar is not None:
            self.bar.close()

    def over(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Iterate, closing the bar at the end whatever happens."""
        try:
            yield from batches
        finally:
            self.close()


def _tqdm() -> Any:
    global _said  # noqa: PLW0603  (a remark made once per process)
    if importlib.util.find_spec("tqdm") is not None:
        return importlib.import_module("tqdm").tqdm
    if not _said:
        _said = True
        print('spikecore: no progress bar without tqdm (pip install "spikecore[cli]")', file=sys.stderr)
    return None


def length(data: Any) -> Optional[int]:
    """Number of batches, where the data know it."""
    try:
        return len(data)
    except TypeError:
        return None
