"""The base classes of losses: how losses are called, added, weighted and reduced."""

from __future__ import annotations

import importlib
import inspect
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Dict, List, Literal, Optional, Protocol, Tuple, Union, cast, get_args

from spikecore.api.core.engine import Engine
from spikecore.api.core.engines import engine_of
from spikecore.api.core.layer import ShapeError
from spikecore.api.core.parameters import FixedArray
from spikecore.api.core.words import Array
from spikecore.api.functional.steps import Steps
from spikecore.api.functional.targets import (
    as_numbers,
    check_labels,
    check_sequence,
    one_hot,
    pool_population,
    targets_on,
)
from spikecore.api.functional.tasks import CLASS, TargetKind
from spikecore.arguments import ArrayLike, Checked, Count, checked, is_array, shown
from spikecore.printing import Concise, text_of

if TYPE_CHECKING:
    from spikecore.api.layers.network import Output

Spikes = Union["Output", Array, ArrayLike]  # or another array that a loss looks at
Reduction = Literal["mean", "sum", "none"]
REDUCTIONS = get_args(Reduction)


class LossFunction(Protocol):
    """The objective of training: a loss of ``spikecore.functional``, or any function (out, targets) -> scalar.

    A function that reads hidden layers in ``out.states`` names them in an attribute, ``loss.layers = ("1",)``.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


class LossBase(Concise, Checked):
    """Base of everything that can be added to a loss: ``loss + loss`` and ``factor * loss``."""

    reads: str = "spikes"

    @property
    def __name__(self) -> str:
        """The name of the loss, like a function's."""
        return type(self).__name__  # type: ignore[return-value]

    def evaluate(self, engine: Engine, out: Output, targets: Array) -> Any:
        """The loss of a network's ``Output``; ``targets`` are an array of ``engine``."""
        raise NotImplementedError

    def __add__(self, other: Any) -> WeightedSum:
        return WeightedSum((*terms(self), *terms(other)))

    def __radd__(self, other: Any) -> WeightedSum:  # a function of the user's own stands first
        return WeightedSum((*terms(other), *terms(self)))

    def __mul__(self, factor: float) -> WeightedSum:
        return WeightedSum(tuple((factor * weight, loss) for weight, loss in terms(self)))

    __rmul__ = __mul__


@dataclass(frozen=True)
class Loss(LossBase):
    """Base of the losses that compare (time, batch, classes) with class labels.

    Args:
        population_code: whether several neurons represent one class: class i has the i-th contiguous block of neurons;
            default False.
        num_classes: number of classes of a population code; must divide the number of neurons.
        reduction: "mean" over the batch (the default), "sum", or "none": one loss per sample.
        weight: one weight per class, (classes,); None, the default: all are 1. As in snnTorch, the mean of weighted
            losses is mean(weight[y] loss).
        normalise: with ``weight``, divide that mean by mean(weight[y]), as torch does; default False.

    Raises:
        ValueError: ``reduction`` is something else, or ``population_code`` is used without ``num_classes``.

    A subclass defines ``per_sample`` or ``compute``. It also defines ``score`` if it predicts another class than that
    with the largest sum over time. With targets that are not class labels it defines ``task``, see ``tasks.py``, and
    ``decide``.
    """

    population_code: bool = False
    num_classes: Count = 0
    reduction: Reduction = "mean"
    weight: Optional[ArrayLike] = None
    normalise: bool = False

    reads: ClassVar[str] = "spikes"  # type: ignore[misc]

    def __post_init__(self) -> None:
        name = type(self).__name__
        if self.reduction not in REDUCTIONS:
            raise ValueError(f"{name}: reduction={self.reduction!r} must be one of {', '.join(REDUCTIONS)}")
        if self.population_code and not self.num_classes:
            raise ValueError(f"{name}: population_code=True needs num_classes")
        if self.weight is not None:
            object.__setattr__(self, "weight", FixedArray(self.weight))

    @property
    def task(self) -> Optional[TargetKind]:
        """Kind of the targets, here class labels (batch,); None if predictions and targets cannot be compared."""
        return CLASS

    @checked
    def __call__(self, out: Spikes, targets: ArrayLike, lengths: Optional[ArrayLike] = None) -> Any:
        """The loss of an ``Output`` or of an array (time, batch, classes), as a scalar of the same engine.

        Args:
            out: a network's ``Output``, or its spikes (or its membrane, for losses of membranes).
            targets: class labels (batch,), host data or an array of the same engine.
            lengths: for sequences of unequal length that are padded at the end: how many steps of each sample count,
                (batch,). Each sample's loss is then the same as without padding. None, the default: all steps count.

        Raises:
            ShapeError: an array has a wrong shape.
            ValueError: a label or a length is out of range.
        """
        values = self.read(out)
        if not is_array(values):
            raise TypeError(f"{self.reads}={shown(values)} must be an array of numbers: pass an Output, or its spikes")
        engine = engine_of(values)
        values = as_numbers(engine, values)
        labels = targets_on(engine, targets)
        self.check(engine, values, labels, lengths)
        return self.compute(engine, values, labels, lengths)

    def check(self, engine: Engine, values: Array, targets: Array, lengths: Optional[ArrayLike] = None) -> None:
        """Refuse values and targets that do not fit each other; this may copy them to the host."""
        check_sequence(self.reads, values)
        (time, batch, classes), counted = values.shape, Steps(engine, values, lengths)
        given = cast(Optional[List[int]], counted.lengths)  # as users give them
        self.check_targets(engine, targets, batch, classes, time, given or [time] * batch)

    def check_targets(
        self,
        engine: Engine,
        targets: Array,
        batch: int,
        classes: Optional[int],
        time: Optional[int] = None,
        lengths: Optional[List[int]] = None,
    ) -> None:
        """Refuse targets that this loss cannot use; this may copy them to the host.

        Args:
            engine: the engine of the targets.
            targets: the targets of a batch.
            batch: number of samples.
            classes: number of neurons of the last layer.
            time: number of steps, for messages; None, the default: unknown.
            lengths: how many steps of each sample count; None, the default: unknown.
        """
        if self.task == CLASS:
            check_labels(engine, targets, (batch,), self.num_classes or classes, time)

    def read(self, out: Spikes) -> Any:
        """The array that this loss reads: the output's spikes or membrane, or ``out`` itself."""
        return getattr(out, self.reads) if hasattr(out, self.reads) else out

    def evaluate(self, engine: Engine, out: Output, targets: Array, lengths: Optional[ArrayLike] = None) -> Any:
        return self.compute(engine, self.read(out), targets, lengths)

    def compute(self, engine: Engine, values: Array, targets: Array, lengths: Optional[ArrayLike] = None) -> Any:
        """The loss in words: values (time, batch, classes), labels (batch,), both of ``engine``."""
        steps, values = Steps(engine, values, lengths), self._pooled(engine, values)
        code = one_hot(engine, targets, values.shape[2])
        return self._reduced(engine, self.per_sample(engine, values, code, steps), code)

    def per_sample(self, engine: Engine, values: Array, code: Array, steps: Steps) -> Any:
        """The loss of each sample, (batch,) or (batch, classes), from values, one-hot labels, and steps that count."""
        raise NotImplementedError

    def scores(self, engine: Engine, values: Array, lengths: Optional[ArrayLike] = None) -> Any:
        """The scores by which an output is decoded, (batch, classes): the highest is that of the predicted class.

        The predicted class is the one for which this loss would be smallest.

        Args:
            engine: the engine of ``values``.
            values: the spikes or membranes that the loss reads, (time, batch, neurons).
            lengths: how many steps of each sample count; None, the default: all.
        """
        return self.score(engine, self._pooled(engine, values), Steps(engine, values, lengths))

    def score(self, engine: Engine, values: Array, steps: Steps) -> Any:
        """``scores`` of values (time, batch, classes)."""
        return steps.sum(values)

    def decide(self, engine: Engine, scores: Any) -> Any:
        """The prediction by ``scores``: the class with the highest; ties go to the lowest class."""
        return engine.xp.argmax(scores, axis=-1)

    def compared(self, engine: Engine, scores: Any) -> Any:
        """The predictions that metrics compare with targets, in the shape of the targets."""
        return self.decide(engine, scores)

    def counted(self, targets: Any) -> Any:
        """The mask of the targets (a NumPy array) that metrics count, in their shape; None if they count all."""
        return None

    def _pooled(self, engine: Engine, values: Array) -> Any:
        """The values of each class: the sum over its population of neurons, if there is a population code."""
        return pool_population(engine, values, self.num_classes) if self.population_code else values

    def _refuse_classes(self) -> None:
        """Refuse arguments that only make sense for classes, such as ``weight``, in losses whose targets are values."""
        for name in ("population_code", "num_classes", "weight", "normalise"):
            if getattr(self, name) not in (None, False, 0):
                raise ValueError(f"{type(self).__name__}: targets are values and no classes: leave {name} out")

    def _weights(self, engine: Any, code: Any) -> Any:
        """The weight of the class of each one-hot code (..., classes); None if all are 1."""
        weight = cast(Optional[FixedArray], self.weight)
        if weight is None:
            return None
        self._check_weight(weight, code.shape[-1])
        return engine.xp.sum(code * engine.asarray(weight.data), axis=-1)

    def _reduced(self, engine: Any, losses: Any, code: Any) -> Any:
        weights = self._weights(engine, code)
        if weights is not None:
            losses = losses * (weights if losses.ndim == 1 else engine.xp.expand_dims(weights, axis=1))
        return self._total(engine, losses, weights)

    def _total(self, engine: Any, losses: Any, weights: Any) -> Any:
        """Weighted losses (batch, ...) by ``reduction``; ``weights`` (batch,) are those of the samples."""
        xp = engine.xp
        if self.reduction == "none":
            return losses
        if self.reduction == "sum":
            return xp.sum(losses)
        mean = xp.mean(losses)
        return mean / xp.mean(weights) if self.normalise and weights is not None else mean

    def _check_weight(self, weight: FixedArray, classes: int) -> None:
        if weight.shape != (classes,):
            raise ValueError(
                f"{type(self).__name__}: weight has shape {weight.shape}, expected ({classes},): one per class"
            )


@dataclass(frozen=True)
class WeightedSum(LossBase):
    """A weighted sum of losses; the operators ``+`` and ``*`` of losses return it."""

    terms: Tuple[Tuple[float, Any], ...]

    def __repr__(self) -> str:
        return " + ".join(
            f"{factor:g} * {text_of(loss)}" if factor != 1 else text_of(loss) for factor, loss in self.terms
        )

    def __call__(self, out: Any, targets: Array, lengths: Optional[ArrayLike] = None) -> Any:
        engine = engine_of(getattr(out, "spikes", out))
        return self._sum(
            engine, [loss(out, targets, **lengths_option("loss", loss, lengths)) for _, loss in self.terms]
        )

    def evaluate(self, engine: Engine, out: Output, targets: Array, lengths: Optional[ArrayLike] = None) -> Any:
        return self._sum(engine, [evaluate(loss, engine, out, targets, lengths) for _, loss in self.terms])

    def _sum(self, engine: Any, values: List[Any]) -> Any:
        total = 0.0
        for (weight, _), value in zip(self.terms, values):
            total = total + weight * value
        return engine.xp.astype(total, engine.dtype)  # NumPy 1 widens a float32 scalar times a number


OF_ARRAYS = ("torch.nn.", "torch._C.", "snntorch.")  # modules whose losses take arrays


def of_arrays(loss: Any) -> str:
    """The end of an error message about a loss of another library: what to write instead; "" for other losses."""
    kind = loss if inspect.isroutine(loss) else type(loss)
    if not str(kind.__module__).startswith(OF_ARRAYS):  # a user's subclass of such a loss may take (out, targets)
        return ""
    name = kind.__name__
    if hasattr(importlib.import_module(__name__.rpartition(".")[0]), name):
        return f"; write spikecore.functional.{name}()"
    criterion = f"{kind.__module__}.{name}" if kind is loss else shown(loss)
    return (
        f"; with criterion = {criterion} write lambda out, targets: criterion(out.spikes.mean(0), targets), or take "
        "spikecore.functional.ce_rate_loss()"
    )


def terms(loss: Any) -> Tuple[Tuple[float, Any], ...]:
    """The terms of a loss, as pairs (factor, loss).

    Raises:
        TypeError: ``loss`` is not a loss.
    """
    if isinstance(loss, WeightedSum):
        return loss.terms
    if isinstance(loss, Loss):  # the usual case first: it is asked several times for a batch
        return ((1.0, loss),)
    if not callable(loss):
        raise TypeError(f"{loss!r} is not a loss: expected a callable (out, targets) -> scalar")
    remedy = of_arrays(loss)
    if remedy:
        raise TypeError(f"loss={shown(loss)} takes arrays, but a loss is called with (out, targets){remedy}")
    return ((1.0, loss),)


def evaluate(loss: Any, engine: Engine, out: Any, targets: Array, lengths: Optional[ArrayLike] = None) -> Any:
    """The value of a loss, the library's or any callable, inside a pass on ``engine``.

    Raises:
        TypeError: lengths are given, and the loss does not take them.
    """
    option = lengths_option("loss", loss, lengths)
    return loss.evaluate(engine, out, targets, **option) if isinstance(loss, LossBase) else loss(out, targets, **option)


def scalar(loss: Any, engine: Engine, out: Any, targets: Array, lengths: Optional[ArrayLike] = None) -> Any:
    """The value of a loss that is minimised or reported: see ``evaluate``.

    Raises:
        ShapeError: the loss returns several values.
    """
    value = evaluate(loss, engine, out, targets, lengths)
    shape = tuple(getattr(value, "shape", ()))
    if math.prod(shape) != 1:
        raise ShapeError(f"loss gave values of shape {shape}, expected a scalar: take their mean or sum")
    return value


def lengths_option(argument: str, function: Any, lengths: Any) -> Dict[str, Any]:
    """The keyword arguments that pass ``lengths`` to a loss or metric; empty if all steps count."""
    if lengths is None:
        return {}
    if "lengths" not in inspect.signature(function.evaluate if isinstance(function, LossBase) else function).parameters:
        raise TypeError(
            f"{argument}={function!r} takes no lengths, so that padding would count: write it as (out, targets, "
            f"lengths), or use one of the library's, e.g. {'ce_rate_loss()' if argument == 'loss' else 'accuracy_rate'}"
        )
    return {"lengths": lengths}


def decoder_of(loss: Any) -> Optional[Loss]:
    """The first term of ``loss`` that has a task, so that outputs can be decoded by it; None if there is none."""
    return next((term for term in comparing(loss) if term.task is not None), None)


def varies(loss: Any) -> bool:
    """Whether a term of ``loss`` compares with targets that vary in time."""
    return any(bool(getattr(term, "time_var_targets", False)) for _, term in terms(loss))


def comparing(loss: Any) -> List[Loss]:
    """The terms of ``loss`` that are a ``Loss``: those that compare with targets."""
    return [term for _, term in terms(loss) if isinstance(term, Loss)]


def reads_labels(loss: Any) -> Optional[Loss]:
    """The first term of ``loss`` that is a ``Loss`` and compares with class labels; None if there is none."""
    return next((term for term in comparing(loss) if term.task == CLASS), None)
