"""The subjects of a case: the words, layers, neurons, losses, ... among the arguments of its test."""

from __future__ import annotations

from typing import Any, Iterator, List, Tuple

from spikecore import functional, spikegen, surrogate
from spikecore.api.core.layer import Layer
from spikecore.api.functional.base import LossBase, WeightedSum
from spikecore.api.neurons.stepper import Stepper
from spikecore.api.training.optimizers import Optimizer
from spikecore.conformance.word_cases import WordCase
from spikecore.surrogate import Surrogate

KINDS = ("words", "layers", "neurons", "surrogates", "losses", "encoders", "optimisers", "topics")
Part = Tuple[str, str]  # kind and name
NAMED = (("losses", functional), ("encoders", spikegen), ("surrogates", surrogate))  # cases that have these names


def parts_of(item: Any) -> List[Part]:
    """The parts of the library that a test of the suite is about, the topic of its file last."""
    module = item.function.__module__.rpartition(".")[2]
    found = dict.fromkeys((*_among(list(item.callspec.params.values()), item.function), ("topics", module[5:])))
    return list(found)


def _among(value: Any, test: Any) -> Iterator[Part]:
    if isinstance(value, WordCase):
        yield "words", value.word
    elif isinstance(value, Layer):
        yield ("neurons" if isinstance(value, Stepper) else "layers"), type(value).__name__
        inner = (one for field in vars(value).values() for one in (field if isinstance(field, tuple) else (field,)))
        yield from _among([one for one in inner if isinstance(one, Layer)], test)
    elif isinstance(value, WeightedSum):
        yield from _among([loss for _, loss in value.terms], test)
    elif isinstance(value, LossBase):
        yield "losses", type(value).__qualname__
    elif isinstance(value, Surrogate):
        yield "surrogates", type(value).__name__
    elif isinstance(value, Optimizer):
        yield "optimisers", type(value).__name__
    elif isinstance(value, (tuple, list)):
        for one in value:
            yield from _among(one, test)
    elif isinstance(value, str):
        name = value.partition("-")[0]
        yield from ((kind, name) for kind, module in NAMED if callable(getattr(module, name, None)))
        for table, rows in test.__globals__.items():
            if table.isupper() and isinstance(rows, dict) and value in rows:
                yield from _among(rows[value], test)
