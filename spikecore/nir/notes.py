"""Notes and losses. Notes are options that NIR cannot express; they are written to the metadata of nodes."""

from __future__ import annotations

import functools
import json
from typing import Any, Dict

from spikecore import arguments

KEY = "spikecore"  # key of the notes, as JSON, in the metadata of a node or graph


class NirError(ValueError):
    """NIR cannot express a network, or a graph cannot be read. The message names the layer or node and the remedy."""


checked = functools.partial(arguments.checked, refusal=NirError)


class NirLoss(UserWarning):
    """A graph lacks options of the network. The message names the layer and the options that other libraries miss."""


def note(**facts: Any) -> Dict[str, str]:
    """Metadata of a node, with these facts as notes."""
    return {KEY: json.dumps(facts)}


def noted(node: Any) -> Dict[str, Any]:
    """The notes of a node; empty if another library wrote the node.

    Raises:
        NirError: the notes are not JSON.
    """
    text = getattr(node, "metadata", {}).get(KEY)
    if text is None:
        return {}
    try:
        notes: Dict[str, Any] = json.loads(text.decode() if isinstance(text, bytes) else text)
    except (ValueError, TypeError, RecursionError) as error:
        raise NirError(f"metadata[{KEY!r}] of a {type(node).__name__} is damaged: {error}; delete that entry") from None
    if not isinstance(notes, dict):
        raise NirError(f"metadata[{KEY!r}] of a {type(node).__name__} is damaged: {text!r:.60}; delete that entry")
    return notes
