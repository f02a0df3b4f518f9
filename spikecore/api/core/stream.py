"""``Stream``: a network that runs one time step per call and keeps its states."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, Dict, Optional, Protocol, Tuple

from spikecore.api.core.layer import Shape, ShapeError
from spikecore.api.core.tree import State, Tree, flatten, nested
from spikecore.api.core.words import Array
from spikecore.arguments import is_array, shown

if TYPE_CHECKING:
    from spikecore.api.layers.network import Output


class Stream(abc.ABC):
    """A network that runs one time step per call and keeps its states in between; ``Model.stream`` makes one.

    Its parameters are copies of those that the model had at that moment.

    Attributes:
        batch_size: samples of each step.
        input_shape: shape of one sample, without time and batch.
    """

    batch_size: int
    input_shape: Shape

    @abc.abstractmethod
    def step(self, x: Array) -> Any:
        """Run one time step.

        Args:
            x: the input of this step, (batch_size, *features).

        Returns:
            the output of the last layer, (batch_size, *features): an array of its own, which later steps do not change.

        Raises:
            ShapeError: the input has another shape.
            TypeError, ValueError: it is no array of real numbers, or not finite. The states are as before.
        """

    @abc.abstractmethod
    def reset(self, state: Optional[Tree] = None) -> None:
        """Begin a new sequence.

        Args:
            state: the states to begin with, e.g. ``stream.state`` or ``model(x).state``; None, the default: at rest.

        Raises:
            ShapeError: the state belongs to another network or to another number of samples.
        """

    @property
    @abc.abstractmethod
    def state(self) -> Tree:
        """Copies of the states after the last step, by layer, as in ``Output.state``: ``stream.state["1"].mem``."""

    @property
    @abc.abstractmethod
    def states(self) -> Dict[str, State]:
        """Spikes and states of the recorded layers after the last step, as ``Output.states`` without the axis of time.

        ``stream.states["1"].mem`` is (batch_size, *neurons), and so is ``.spikes``. Before the first step it is empty.
        """

    def run_events(
        self,
        events: Any,
        *,
        window: Optional[int] = None,
        num_steps: Optional[int] = None,
        start: Optional[int] = None,
    ) -> Output:
        """Run the steps of a recording of events, from the states after the last step; see ``Model.run_events``.

        Args:
            events, window, num_steps, start: as for ``Model.run_events``.

        Returns:
            ``Output``, as from there.

        Raises:
            NotImplementedError: the stream is not a compiled one (``explain`` says why).
        """
        raise NotImplementedError(
            f"events are run by compiled streams, which the NumPy engine makes: model.to_engine('numpy'). This stream "
            f"is {self.explain()}"
        )

    @abc.abstractmethod
    def explain(self) -> str:
        """Say how a step runs, and why."""

    if not TYPE_CHECKING:  # type checkers are to refuse it

        def __call__(self, *arguments: Any, **options: Any) -> Any:
            raise TypeError(f"{type(self).__name__} cannot be called: write stream.step(x), x (batch, *features)")

    def __reduce__(self) -> Any:
        raise TypeError("a stream cannot be copied or saved: make another by model.stream() and its reset(state)")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(batch_size={self.batch_size}, input_shape={self.input_shape})"


def check_sample(x: Any, batch: int, shape: Shape) -> None:
    """Refuse what is no input of one step of a stream.

    Raises:
        TypeError: it is no array of numbers.
        ShapeError: it has another shape.
    """
    if not is_array(x):
        raise TypeError(f"input={shown(x)} must be an array of numbers")
    found, expected = shape_of(x), (batch, *shape)
    if found != expected:
        hints = {
            shape: "; a single sample needs a batch axis: x[None]",
            (1, *expected): "; a step has no time axis: x[0]",
        }
        more = f"; for {found[0]} samples pass batch_size={found[0]} to stream" if found[1:] == shape and found else ""
        raise ShapeError(f"input of shape {found}, expected {expected} for one step{hints.get(found, more)}")


def shape_of(x: Any) -> Tuple[int, ...]:
    """The shape of an array or of lists within lists."""
    if hasattr(x, "shape"):
        return tuple(x.shape)
    return (len(x), *shape_of(x[0])) if isinstance(x, (list, tuple)) and len(x) else ()


def check_state(given: Tree, resting: Tree) -> None:
    """Refuse a state that belongs to another network than one at rest.

    Raises:
        ShapeError: names what differs.
        TypeError: it is no tree of states.
    """
    if not isinstance(given, Tree):
        raise TypeError(f"state={shown(given)} must be the state of a stream, or out.state of a call")
    found, wanted = flatten(given), flatten(resting)
    if set(found) != set(wanted):
        raise ShapeError(f"state has {', '.join(found) or 'nothing'}, expected {', '.join(wanted) or 'nothing'}")
    for name, array in wanted.items():
        shape = tuple(getattr(found[name], "shape", ()))
        if shape != tuple(array.shape):
            raise ShapeError(f"state {name} has shape {shape}, expected {tuple(array.shape)}")


def joined(by_layer: Dict[str, State]) -> Tree:
    """The states of a network as one tree, from those of its layers by their dotted names."""
    every = ((path, name, array) for path, state in by_layer.items() for name, array in flatten(state).items())
    tree: Tree = nested({f"{path}.{name}" if path else name: array for path, name, array in every}, State)
    return tree


class EventStream(Protocol):
    """Times and places of events, as ``datasets.Events`` has them."""

    @property
    def t(self) -> Any: ...  # microseconds, not decreasing

    @property
    def place(self) -> Any: ...  # in a flattened frame

    @property
    def sensor(self) -> Tuple[int, ...]: ...

    @property
    def shape(self) -> Tuple[int, ...]: ...  # of a frame

    def __len__(self) -> int: ...
