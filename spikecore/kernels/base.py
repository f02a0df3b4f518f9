"""The interface of all kernels of a run over time, in whichever language they are written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Callable, ClassVar, ContextManager, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

from spikecore.kernels.form import ParamValues, Step, step_of
from spikecore.kernels.runtime.blas import calm, multiply
from spikecore.kernels.runtime.build import KernelRecipe


class Product(NamedTuple):
    """An engine's matrix product, for dense recurrences and weights behind neurons, with the bits of its own loop."""

    matrices: Callable[[Any], Sequence[Any]]  # an array (time, rows, columns) as the engine's matrices
    multiply: Callable[[Any, Any, Any], Any]  # two of them into a third
    # for many small products in a row: a context in which the library computes on the calling thread
    calm: Callable[[], ContextManager[Any]] = nullcontext


NUMPY = Product(list, multiply, calm)


class Request(NamedTuple):
    """A run over time.

    Args:
        inputs: (time, batch, ...); a single row is the input of every step.
        state: the states before the first step, in the order of ``Kernels.states``.
        params: the parameters that are arrays, by the names in ``Kernels.params``.
        steps: the number of steps.
    """

    inputs: Any
    state: Sequence[Any]
    params: Dict[str, Any]
    steps: int

    @property
    def shape(self) -> Tuple[int, ...]:
        """Shape of one step's input."""
        return tuple(self.inputs.shape[1:])

    @property
    def constant(self) -> bool:
        """Whether several steps have one input."""
        return bool(self.inputs.shape[0] == 1 < self.steps)


class Results(NamedTuple):
    """The result of a run.

    Args:
        outputs: (time, batch, ...).
        recorded: the states named in ``Kernels.record`` after each step.
        final: the states after the last step.
        saved: what a run backwards needs besides the request.
    """

    outputs: Any
    recorded: List[Any]
    final: List[Any]
    saved: Tuple[Any, ...] = ()


class Upstream(NamedTuple):
    """The start of a run backwards: gradients by a run's results, and the arrays that the run saved.

    Args:
        outputs, recorded, final: gradients by the entries of ``Results`` of the same names; in ``final``, None is zero.
        saved: what the run saved, ``Results.saved``.
    """

    outputs: Any
    recorded: Sequence[Any]
    final: Sequence[Any]
    saved: Tuple[Any, ...]


class Wanted(NamedTuple):
    """The gradients that a run backwards must make, besides those by the first states.

    Args:
        inputs: whether that by the inputs is wanted.
        params: the parameters whose gradients are.
        window: steps of truncated BPTT; 0 cuts nowhere.
    """

    inputs: bool
    params: Tuple[str, ...]
    window: int = 0


class Gradients(NamedTuple):
    """The result of a run backwards; ``inputs`` is None where it was not asked for."""

    inputs: Any
    state: List[Any]
    params: Dict[str, Any]


@dataclass(frozen=True, eq=False)  # one object per kind of run, see select.py
class Kernels(ABC):
    """The kernels that run one neuron over time.

    Args:
        step: the neuron's step and its derivative.
    """

    step: Step

    language: ClassVar[str] = "Numba"
    by_step: ClassVar[bool] = False  # whether a kernel is called for each step (``Stepper.by_steps`` is of neurons)
    shares: ClassVar[bool] = False  # whether arrays in ``Results.saved`` may be views of those that are returned

    @property
    def states(self) -> Tuple[str, ...]:
        """Names of the states, in order."""
        return self.step.states

    @property
    def params(self) -> Tuple[str, ...]:
        """Names of the parameters that are arrays, in order."""
        return self.step.params

    @property
    def unread(self) -> Tuple[str, ...]:
        """Names of the parameters whose values a run backwards does not read."""
        return ()

    @property
    def record(self) -> Tuple[str, ...]:
        """Names of the states that are returned for every step."""
        return self.step.record

    def out_shape(self, shape: Tuple[int, ...]) -> Tuple[int, ...]:
        """Shape of one step's output, from that of its input."""
        return shape

    def recipes(self, wanted: Optional[Wanted], constant: bool) -> Optional[List[KernelRecipe]]:
        """The functions to compile for a run (source text and name of each), and for the run backwards if there is one;
        None where only the run itself can tell.

        Args:
            wanted: the gradients that will be asked for; None if there will be no run backwards.
            constant: whether several steps have one input.
        """
        return None

    @cached_property
    def looked(self) -> Dict[Any, float]:
        """When ``select.py`` last looked, on disk, for compiled kernels of a kind of run; infinity: they are there."""
        return {}

    @cached_property
    def announced(self) -> List[Any]:
        """The kinds of run whose kernels ``select.py`` has announced."""
        return []

    @abstractmethod
    def forward(self, request: Request, keep: bool = True) -> Results:
        """Run; ``keep`` says that a run backwards will follow."""

    @abstractmethod
    def saved_shapes(self, steps: int, shape: Tuple[int, ...]) -> List[Tuple[int, ...]]:
        """Shapes of what ``forward`` saves, for inputs of ``shape`` at each step."""

    @abstractmethod
    def backward(self, request: Request, upstream: Upstream, wanted: Wanted) -> Gradients:
        """Run backwards, from the last step to the first."""

    @classmethod
    def missing(cls) -> str:
        """The packages that these kernels need and that are not installed; empty if all are."""
        return ""

    @classmethod
    def of(
        cls,
        stepper: Any,
        param_values: ParamValues,
        record: Tuple[str, ...],
        rows: Tuple[str, ...],
        dtype: str,
        sparse_backward: float = 0.0,
    ) -> Union[Kernels, str]:
        """The kernels of a neuron, or a text that says why it has none; arguments as for ``step_of``."""
        step = cls.missing() or step_of(stepper, param_values, record, rows, dtype, sparse_backward)
        return step if isinstance(step, str) else cls(step)


def reduced(total: Any, shape: Tuple[int, ...]) -> Any:
    """Add up float64 sums to a gradient of the parameter's shape: over all axes before its own, and those of size 1.

    The kernels of all devices do it here, so that they add in the same order.
    """
    extra = total.ndim - len(shape)
    axes = (*range(extra), *(i + extra for i, n in enumerate(shape) if n == 1))
    return (total.sum(axes) if axes else total).reshape(shape)
