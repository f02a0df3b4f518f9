"""Progress bars for long conversions, by tqdm if it is installed."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any, Iterator, Optional, Sequence

from spikecore.printing import in_notebook


def watched(items: Sequence[Any], title: str, progress: Optional[bool] = None) -> Iterator[Any]:
    """Iterate, with a bar if `progress` is True, or None on a terminal or in a notebook. A bar needs tqdm."""
    shown = sys.stderr.isatty() or in_notebook() if progress is None else progress
    if shown and importlib.util.find_spec("tqdm") is not None:
        return iter(importlib.import_module("tqdm").tqdm(items, desc=title))
    return iter(items)
