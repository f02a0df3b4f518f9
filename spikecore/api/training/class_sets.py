"""Warnings of samples that cannot judge a classifier: all of one class, or of a class that is not trained on."""

from __future__ import annotations

from typing import Any, List, Optional, Set

from spikecore.api.core.messages import warn

SHUFFLE = (
    "If the samples are sorted by class, shuffle them before you divide them, e.g. with Dataset.split(0.8, seed=0)"
)


def say_of_classes(trained: Any, judged: Any, part: str) -> None:
    """Give a ``TrainingWarning`` if the classes in ``judged`` are such that the accuracy says little.

    Args:
        trained: class indices of the samples that are trained on, (samples,); None if they are not known.
        judged: class indices of the samples that are evaluated, (samples,); None if they are not known.
        part: what the evaluated samples are for, "validation" or "test".
    """
    known, asked = _classes(trained), _classes(judged)
    if known is None or asked is None:
        return
    new = sorted(asked - known)
    if new:
        warn(f"no training sample is of {_named(new)}, but samples for {part} are: nothing teaches it. {SHUFFLE}")
    elif len(asked) == 1 < len(known) and len(judged) > 1:
        only = next(iter(asked))
        warn(
            f"all {len(judged)} samples for {part} are of class {only}, and {len(known)} classes are trained on: the "
            f"accuracy only says how often the network answers {only}. {SHUFFLE}"
        )


def _classes(labels: Any) -> Optional[Set[int]]:
    kind = getattr(getattr(labels, "dtype", None), "kind", "none")  # torch's dtypes have none
    if getattr(labels, "ndim", None) != 1 or kind not in ("i", "u", "b"):
        return None
    return set(labels.tolist())


def _named(classes: List[int]) -> str:
    listed = ", ".join(map(str, classes[:8])) + ", ..." * (len(classes) > 8)
    return f"class{'es' * (len(classes) > 1)} {listed}"
