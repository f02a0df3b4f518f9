"""Ways of learning: the base class, and finding one by name. Nothing here imports a way of learning before its use.

Other packages add ways of learning through the entry-point group ``spikecore.learning``, as they add engines.
"""

from __future__ import annotations

import contextlib
import importlib
from dataclasses import replace
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    ClassVar,
    Dict,
    Iterator,
    List,
    Literal,
    NamedTuple,
    Optional,
    Type,
    Union,
)

from spikecore.api.core.engines import entry_points_of
from spikecore.api.core.layer import Key, Shape
from spikecore.api.core.messages import unknown
from spikecore.api.core.sizes import is_whole
from spikecore.api.core.tree import State
from spikecore.api.functional.base import WeightedSum
from spikecore.api.layers.network import Output, RecordedStates
from spikecore.arguments import Checked
from spikecore.printing import Concise

if TYPE_CHECKING:
    from spikecore.api.training.compute import Compute
    from spikecore.api.training.data import DeviceBatch

ENTRY_POINTS = "spikecore.learning"
UNSUPERVISED = WeightedSum(())  # the loss of a training that has none
LearningName = Union[Literal["bptt", "eprop", "ostl", "ottt", "ndot", "sltt", "decolle", "rtrl"], str]  # or a package's
_RULES = "spikecore.api.learning.learning_rules"
_WAYS: Dict[str, str] = {  # "module:class", imported at first use
    "bptt": "spikecore.api.learning.bptt:BPTT",
    **{name.lower(): f"{_RULES}:{name}" for name in "EProp OSTL OTTT NDOT SLTT DECOLLE RTRL".split()},
}

NAMES = tuple(_WAYS)


class SequencePart(NamedTuple):
    """The part of a batch's sequence that one update of the weights uses."""

    start: int  # its first step
    stop: int  # the step after its last one
    x: Any  # (time or 1, batch, *features)
    steps: Optional[int]  # the number of steps of a constant input
    targets: Any
    key: Key

    @property
    def length(self) -> int:
        """The number of its steps."""
        return self.stop - self.start


Learner = Callable[
    [SequencePart], Any
]  # learns from a piece; returns its mean loss (None: there is none) and its ``Output``


class Learning(Concise, Checked):
    """Base of the ways of learning: how a batch changes the weights in ``Model.fit``.

    A subclass is a frozen dataclass of its options, with ``update_every`` among them or the None of this class. It has
    ``begin``; ``check`` says beforehand what it cannot do. ``step`` cuts a batch into pieces and hands them on, and
    ``add`` is for ways of learning whose gradients may wait for those of other batches.

    Attributes:
        gradients: whether it makes gradients of a loss, which an optimiser follows. If not, ``fit`` takes no optimiser,
            and neither loss nor targets are needed.
        backward: whether gradients go back in time, so that memory grows with the number of steps.
        remedy: what helps if training diverges.
        keep_zeros: without an optimiser: whether connections of weight zero stay zero.
        update_every: after how many steps the weights change; None: once per batch.

    Example:
        >>> @dataclass(frozen=True)
        ... class Mine(Learning):
        ...     rate: float = 0.1
        ...
        ...     def begin(self, executor, loss, batch):
        ...         def learn(piece):
        ...             out = executor.run(piece.x, steps=piece.steps)
        ...             ...                          # apply(grads) or assign(params) of executor.gradients
        ...             return None, out
        ...         return learn
    """

    gradients: ClassVar[bool] = True
    backward: ClassVar[bool] = False
    remedy: ClassVar[str] = "with a smaller learning rate, or with clip_norm"
    window: ClassVar[Optional[int]] = None
    update_every: Any = None
    keep_zeros: Any = False

    def __post_init__(self) -> None:
        self._check_steps("update_every", self.update_every)

    def _check_steps(self, name: str, steps: Optional[int]) -> None:
        if steps is not None and not is_whole(steps, 1):
            raise ValueError(f"{type(self).__name__}: {name}={steps!r} must be an int >= 1, or None")

    @property
    def whole(self) -> bool:
        """Whether a batch is one training step of an executor."""
        return self.backward and self.update_every is None

    # ---- before training ----

    def check(self, engine: Any, executor: Any, loss: Any, compute: Compute, processes: int = 1) -> None:
        """Refuse, before training, an engine, loss or option of ``fit`` that this way of learning cannot use.

        Args:
            engine, executor: those of the model.
            loss: of the training.
            compute: how it is computed.
            processes: how many train together.

        Raises:
            NotImplementedError: the engine computes a batch in one step and keeps gradients or weights on the device.
            ValueError: the loss needs whole sequences; or ``accumulate`` asks for one update per several batches, and
                this way of learning makes several updates per batch.
        """
        if processes > 1 and not self.whole:
            raise ValueError(
                f"{processes} processes train together, once per batch, but learning={self!r} learns within a batch: "
                "use BPTT() without update_every, or train in one process, e.g. with compute=sc.Compute("
                "parallel='none')"
            )
        if compute.accumulate > 1 and self.update_every is not None:
            raise ValueError(
                f"accumulate={compute.accumulate} makes one update of several batches, but update_every="
                f"{self.update_every!r} makes updates within a batch: leave one of them out"
            )
        if compute.accumulate > 1 and executor.gradients is None:
            raise NotImplementedError(
                f"engine {engine.name!r} keeps gradients on the device, so accumulate={compute.accumulate} is not for "
                "it: use engine_options gradient_accumulation, or train on numpy or torch"
            )
        if compute.cuda_graph and not self.whole:
            raise ValueError(
                f"cuda_graph=True records the training step of a whole batch, but learning={self!r} learns within a "
                "batch: use BPTT() without update_every, or leave cuda_graph out"
            )
        goes_on = executor.gradients is not None or (self.backward and executor.resting is not None)
        if not self.whole and not goes_on:
            raise NotImplementedError(
                f"engine {engine.name!r} returns no gradients: learning={self!r} needs numpy or torch; "
                "learning=sc.BPTT(window=...) truncates the gradient here, too"
            )

    def check_network(self, executor: Any, loss: Any, shape: Shape) -> None:  # noqa: B027  (most take any network)
        """Refuse, before training, a network that cannot learn in this way.

        Args:
            executor: has the network.
            loss: the loss of the training.
            shape: shape of one sample.

        Raises:
            ValueError: names the layer.
        """

    def carried(self, executor: Any, loss: Any, shape: Shape, samples: int) -> Optional[int]:
        """Number of values carried from step to step for a batch, whatever the number of steps; None: this way of
        learning keeps outputs of all steps of a piece instead. Arguments as for ``check_network``.
        """
        return None

    # ---- training ----

    def begin(self, executor: Any, loss: Any, batch: DeviceBatch) -> Learner:
        """Begin a batch.

        Args:
            executor: runs the network and holds its weights; see ``Executor``.
            loss: of the training; ``UNSUPERVISED`` if it has none.
            batch: inputs, targets (``Targets``), and the key of its draws.

        Returns:
            a function that learns from a piece of the sequence, in their order, and returns its mean loss (None: there
            is none) and its ``Output``.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how to learn from a batch")

    def step(self, executor: Any, loss: Any, batch: DeviceBatch) -> Any:
        """Learn from a batch; return the mean loss (None: there is none) and the ``Output``."""
        self.check_lengths(executor, batch.lengths)
        batch = self.on_engine(executor, loss, batch)
        total = steps_of(batch)
        self._check_parts(executor, total)
        learn, pieces = self.begin(executor, loss, batch), list(self._pieces(batch, total))
        found = [learn(piece) for piece in pieces]
        losses = [piece.length * value for piece, (value, _) in zip(pieces, found) if value is not None]
        return sum(losses) / total if losses else None, _whole(executor.engine, [out for _, out in found])

    def add(self, executor: Any, loss: Any, batch: DeviceBatch, weight: float, whole: Optional[int], last: bool) -> Any:
        """Add the gradient of a batch to those that wait for an update; returns the same as ``GradientAccess.add``."""
        raise NotImplementedError(f"learning={self!r} makes no gradient that may wait for that of another batch")

    # ---- for subclasses ----

    def check_lengths(self, executor: Any, lengths: Optional[List[int]]) -> None:
        """Refuse batches with lengths."""
        if lengths is not None and not self.whole:
            raise ValueError(
                f"batches with lengths need whole sequences, not learning={self!r}: use BPTT() without update_every; "
                "BPTT(window=...) truncates the gradient"
            )
        if lengths is not None and executor.gradients is None:
            raise NotImplementedError(
                "this engine compiles losses of whole sequences, without lengths: train on numpy or torch, or cut the "
                "sequences to one length"
            )

    def on_engine(self, executor: Any, loss: Any, batch: DeviceBatch) -> DeviceBatch:
        """The batch with its targets as ``Targets`` on the engine."""
        from spikecore.api.learning.steps import targets_of

        aims = targets_of(executor.engine, loss, batch.targets, steps_of(batch), int(batch.x.shape[1]))
        return batch._replace(targets=aims)

    def _check_parts(self, executor: Any, total: int) -> None:
        every = self.update_every or total
        if executor.gradients is None and every < total and total % every:
            raise ValueError(
                f"update_every={every} does not divide the {total} steps of a sequence, and this engine compiles parts "
                "of one length: choose a divisor, or cut the sequence"
            )

    def _pieces(self, batch: DeviceBatch, total: int) -> Iterator[SequencePart]:
        every = self.update_every or total
        for start in range(0, total, every):
            stop = min(start + every, total)
            x, steps = (batch.x[start:stop, ...], None) if batch.steps is None else (batch.x, stop - start)
            key = batch.key.child("part", start) if start else batch.key  # each part needs other random numbers
            yield SequencePart(start, stop, x, steps, batch.targets.between(start, stop), key)


def steps_of(batch: Any) -> int:
    """The number of steps of a batch."""
    return int(batch.x.shape[0]) if batch.steps is None else batch.steps


def _whole(engine: Any, parts: List[Output]) -> Output:
    """The outputs of the parts of a sequence, joined to one output."""
    from spikecore.api.learning.rule import joined

    states = {
        name: State({key: joined(engine, [part.states[name][key] for part in parts]) for key in state})
        for name, state in parts[0].states.items()
    }
    return replace(parts[-1], spikes=joined(engine, [part.spikes for part in parts]), states=RecordedStates(states))


# ---- finding one ---------------------------------------------------------------------------------------------------


def learning_of(learning: Union[LearningName, Learning]) -> Learning:
    """The way of learning that a value of ``learning`` means.

    Raises:
        ValueError: no way of learning has this name; the message suggests the nearest one.
        TypeError: neither a name nor a way of learning.
    """
    if isinstance(learning, Learning):
        return learning
    if not isinstance(learning, str):
        raise TypeError(
            f"learning={learning!r} must be one of {', '.join(_WAYS)}, a way of learning with options such as "
            "sc.EProp(), or for Model.fit local rules by layer, plasticity.Plasticity({'0': plasticity.STDP()})"
        )
    return way(learning)()


def way(name: str) -> Type[Learning]:
    """The class of a way of learning by its name. Only names that are not ours take a look at all installed packages.

    Raises:
        ValueError: no way of learning has this name.
    """
    if name in _WAYS:
        return _imported(_WAYS[name])
    points = entry_points_of(ENTRY_POINTS)
    if name not in points:
        raise ValueError(unknown("learning", name, [*_WAYS, *points]))
    kind: Type[Learning] = points[name].load()
    return kind


def ways() -> Dict[str, Type[Learning]]:
    """All ways of learning by name, ours first; those of packages that are broken are left out."""
    found = {name: _imported(target) for name, target in _WAYS.items()}
    for name, point in entry_points_of(ENTRY_POINTS).items():
        with contextlib.suppress(ImportError, AttributeError):
            found.setdefault(name, point.load())
    return found


def _imported(target: str) -> Type[Learning]:
    module, _, name = target.partition(":")
    kind: Type[Learning] = getattr(importlib.import_module(module), name)
    return kind
