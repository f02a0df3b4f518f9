"""Sparse connectivity: which connections of a network exist. One that does not is a weight of exactly zero."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Dict, NamedTuple, Optional, Sequence, Tuple

from spikecore.api.layers.containers import connections_of
from spikecore.arguments import checked
from spikecore.printing import columns

if TYPE_CHECKING:
    from spikecore.api.training.model import Model

ALL = ("*",)


class Connections(NamedTuple):
    """The connections of one weight."""

    name: str  # of the weight, as in ``model.params()``
    shape: Tuple[int, ...]
    existing: int  # weights that are not zero
    possible: int  # all weights

    @property
    def sparsity(self) -> float:
        """Fraction of the possible connections that do not exist."""
        return 1.0 - self.existing / self.possible


@dataclass(frozen=True)
class Sparsity:
    """The result of ``sparsity``: print it, or read the rows and the sums."""

    weights: Tuple[Connections, ...]

    @property
    def existing(self) -> int:
        """The number of connections."""
        return sum(row.existing for row in self.weights)

    @property
    def possible(self) -> int:
        """The number of connections of a dense network of this shape."""
        return sum(row.possible for row in self.weights)

    @property
    def sparsity(self) -> float:
        """Fraction of the possible connections that do not exist, of all weights together."""
        return 1.0 - self.existing / self.possible if self.possible else 0.0

    def __str__(self) -> str:
        total = Connections("total", (), self.existing, self.possible)
        rows = [("weight", "shape", "connections", "of", "sparsity")]
        for row in (*self.weights, *([total] if self.possible else [])):
            shape = " x ".join(map(str, row.shape))
            rows.append((row.name, shape, f"{row.existing:,}", f"{row.possible:,}", f"{row.sparsity:.2%}"))
        return columns(rows, left=2)


@checked
def sparsity(model: Model, layers: Sequence[str] = ALL) -> Sparsity:
    """Count the connections of a network: all weights that are not zero, in layers and within recurrent neurons.

    Biases, normalisation, and parameters of neurons such as ``beta`` are no connections. A layer of your own says what
    its connections are: ``connections = ("weight",)`` in its class.

    Args:
        model: a ``Model``.
        layers: names of layers or of weights as ``model.params()`` has them, or patterns of names, as in ``Group``:
            "0", "2.weight", "1.connection.*". Default: all.

    Returns:
        ``Sparsity``.

    Raises:
        ValueError: ``layers`` is empty, or an entry of it fits no connection.

    Example:
        >>> print(sc.compression.sparsity(model))
        weight    shape      connections       of  sparsity
        0.weight  100 x 784        7,840   78,400    90.00%
    """
    return counted(weights_in(model, layers, model.params()))


def counted(weights: Dict[str, Any]) -> Sparsity:
    """The sparsity of weights, NumPy arrays by name."""
    return Sparsity(tuple(Connections(name, x.shape, int((x != 0).sum()), x.size) for name, x in weights.items()))


def weights_in(model: Any, layers: Sequence[str], params: Dict[str, Any]) -> Dict[str, Any]:
    """The weights of the connections in some layers, by name, out of all parameters.

    Raises:
        ValueError: there is no pattern, or one fits no connection.
    """
    if isinstance(layers, str) or not all(isinstance(pattern, str) for pattern in layers):
        raise TypeError(f"layers={layers!r} must be a list of names or patterns, e.g. ['0', '2.*']")
    if not layers:
        raise ValueError(f"layers={layers!r} names no layer: use ['*'] for all, or names such as ['0', '2.*']")
    names = [name for name in connections_of(model.network) if name in params]
    for pattern in layers if tuple(layers) != ALL else ():
        if not any(_fits(name, pattern) for name in names):
            raise ValueError(
                f"layers: {pattern!r} fits no layer with connections; the network has {', '.join(names) or 'none'}"
            )
    return {name: params[name] for name in names if any(_fits(name, pattern) for pattern in layers)}


def _fits(name: str, pattern: str) -> bool:
    """Whether a pattern fits the name of a weight, or of a layer that it is in."""
    parts = name.split(".")
    return any(fnmatchcase(".".join(parts[:count]), pattern) for count in range(1, len(parts) + 1))


def install(model: Any, state: Dict[str, Any], changed: Sequence[str]) -> None:
    """Give a model weights whose connections have changed. An optimiser's moments begin at zero where a connection is
    new, and are zero where there is none.

    Args:
        model: the model.
        state: its state, with the new weights.
        changed: names of the weights that may have changed.
    """
    before = model.params()
    for name in changed:
        after = state["params"][name]
        stays = (before[name] != 0) & (after != 0)
        for slot, values in state["optimizer"].items():
            if slot.rpartition(".")[0] == name:
                values[~stays] = 0.0
    with model.engine.isolated():
        model.trainer.executor.load(state)


def check_zeros_stay(owner: str, model: Any, each: str) -> None:
    """Refuse an optimiser or local rules that would bring back connections, and to count updates that are not counted.

    Raises:
        ValueError: names the callback.
    """
    optimizer, learning = model.trainer.optimizer, model.trainer.learning
    if learning is not None and not learning.gradients:
        if each == "step":
            raise ValueError(
                f"{owner}: each='step' counts the updates of an optimiser, and plasticity has none: use each='epoch'"
            )
        if not learning.keep_zeros:
            raise ValueError(
                f"{owner}: plasticity would change weights of zero, so that connections come back: "
                "Plasticity(..., keep_zeros=True)"
            )
    elif optimizer is not None and not optimizer.keep_zeros:
        raise ValueError(
            f"{owner}: optimizer={optimizer!r} would train weights of zero, so that connections come back: add "
            "keep_zeros=True"
        )


def check_each(owner: str, each: str) -> None:
    """Refuse a unit of time that is not known."""
    if each not in ("epoch", "step"):
        raise ValueError(f"{owner}: each={each!r} must be 'epoch' or 'step'")


def check_time(owner: str, model: Any, each: str, end: int) -> None:
    """Refuse a schedule that is over before a resumed ``fit`` continues.

    Raises:
        ValueError: names the callback.
    """
    begun, start = model.trainer.unfinished is not None and model.trainer.unfinished.batches > 0, model.trainer.start
    in_updates = each == "step"
    done = model.trainer.executor.steps_done - start.updates if in_updates else model.epochs_done - start.epochs + begun
    if done >= end:
        raise ValueError(
            f"{owner}: end={end!r} is over: the fit that is resumed has done {done} {each}s: give a later start and "
            f"end, e.g. start={done + 1}"
        )


def now(model: Any, step: Any, each: str) -> Optional[int]:
    """The position of a ``fit``, for callbacks that act in some epochs, after their first update, or at updates.

    Returns:
        the number of the epoch or of the update in this ``fit``, both from 1; None later in an epoch.
    """
    if each == "step":
        return int(model.trainer.executor.steps_done) - model.trainer.start.updates
    return int(step.epoch) - model.trainer.start.epochs if step.update == 1 else None
