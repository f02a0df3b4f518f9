"""Progress bars for long conversions, by tqdm if it is installed."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any, Iterator, Optional, Sequence


def watched(items: Sequence[Any], title: str, progress: Optional[bool] = None) -> Iterator[Any]:
    """Iterate, with a bar if `progress` is True, or None and stderr is a terminal. A bar needs tqdm."""
    shown = sys.stderr.isatty() if progress is None else progress
    if shown and importlib.util.find_spec("tqdm") is not None:
        return iter(importlib.import_module("tqdm").tqdm(items, desc=title))
    return iter(items)
