"""What is written beside a graph because NIR has no place for it, and what is said where something is lost."""

from __future__ import annotations

import functools
import json
from typing import Any, Dict

from spikecore import arguments

KEY = "spikecore"  # under which a node's or graph's metadata hold our notes, as JSON


class NirError(ValueError):
    """Something cannot be said in NIR, or a graph cannot be read; the message names layer or node and the remedy."""


checked = functools.partial(arguments.checked, refusal=NirError)


class NirLoss(UserWarning):
    """A graph says less than the network did; the message names the layer and what other libraries will not know."""


def note(**facts: Any) -> Dict[str, str]:
    """Metadata of a node."""
    return {KEY: json.dumps(facts)}


def noted(node: Any) -> Dict[str, Any]:
    """The notes of a node that this library wrote; empty for others.

    Raises:
        NirError: notes that are no JSON.
    """
    text = getattr(node, "metadata", {}).get(KEY)
    if text is None:
        return {}
    try:
        found: Dict[str, Any] = json.loads(text.decode() if isinstance(text, bytes) else text)
    except (ValueError, TypeError, RecursionError) as error:
        raise NirError(f"metadata[{KEY!r}] of a {type(node).__name__} is damaged: {error}; delete that entry") from None
    if not isinstance(found, dict):
        raise NirError(f"metadata[{KEY!r}] of a {type(node).__name__} is damaged: {text!r:.60}; delete that entry")
    return found
