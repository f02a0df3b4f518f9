"""The interface ``Executor``: one network compiled for training on one engine; and what only some executors have."""

from __future__ import annotations

import abc
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from spikecore.api.core.tree import Params, Tree
from spikecore.api.core.words import Array
from spikecore.arguments import Record

if TYPE_CHECKING:
    from spikecore.api.core.random import Key
    from spikecore.api.core.stream import Stream


class Executor(abc.ABC):
    """A network with its weights and optimiser on an engine. A training step cannot be divided at this level, because
    on some accelerators weights and gradients exist only inside the executor.

    Attributes:
        steps_done: training steps so far.
        lr: learning rate of the next step.
        resting: the ``state`` that makes ``step`` begin a new sequence which later steps continue. It is for executors
            without ``gradients`` that keep states inside: each step continues where the last one ended, in parts of
            equal length. None, the default: there is none.
    """

    steps_done: int = 0
    lr: float = 0.0
    resting: Any = None

    @property
    def gradients(self) -> Optional[GradientAccess]:
        """Gradients and parameters for code outside, where they exist outside the device; None, the default: they do
        not.
        """
        return None

    @property
    def divided(self) -> Optional[Divided]:
        """Joint work of ranks that each hold a part of the weights; None, the default: each has all of them."""
        return None

    @abc.abstractmethod
    def step(
        self, inputs: Array, targets: Array, *, steps: Optional[int] = None, key: Optional[Key] = None
    ) -> Tuple[float, Any]:
        """Do one optimiser step on a batch; return the loss before it and the network's ``Output``.

        Executors with ``gradients`` also take ``state=``, the state before the first step, which is not differentiated,
        and ``lengths=``, a list: how many steps of each sample the loss counts.

        Args:
            inputs: (time or 1, batch, *features).
            targets: the loss's targets.
            steps: number of steps of a constant input.
            key: names the random draws of this step.
        """

    @abc.abstractmethod
    def run(
        self,
        inputs: Array,
        state: Optional[Tree] = None,
        *,
        steps: Optional[int] = None,
        record: Record = (),
        first: int = 0,
    ) -> Any:
        """The network's ``Output`` without training. Noise of sample i is that of sample ``first + i`` of the data."""

    def stream(self, shape: Tuple[int, ...], batch_size: int, record: Record) -> Union[Stream, str]:
        """A stream of the engine's own, with copies of the weights; or why there is none: then each step of a stream is
        a run of one step.

        Args:
            shape: shape of one sample.
            batch_size: samples of each step.
            record: see ``Stream.states``: True, or names of layers.
        """
        return "the engine has no compiled streams"

    def run_events(self, events: Any, shape: Tuple[int, ...], samples: int, **options: Any) -> Any:
        """The network's ``Output`` on events, from rest; arguments as for ``Model.run_events``.

        Raises:
            NotImplementedError: the engine, or the network on it, has no compiled streams; says why.
        """
        raise NotImplementedError(
            f"events need a compiled stream: {self.stream(shape, samples, ())}; the NumPy engine has them: "
            "model.to_engine('numpy')"
        )

    @abc.abstractmethod
    def state(self) -> Dict[str, Any]:
        """Everything a checkpoint needs, as NumPy arrays by name: params, buffers, optimiser slots, step count."""

    def weights(self) -> Dict[str, Any]:
        """Copies of the parameters alone, as NumPy arrays by name."""
        return dict(self.state()["params"])

    @abc.abstractmethod
    def load(self, state: Dict[str, Any]) -> None:
        """Restore what ``state`` returned; a run that resumes from it continues bit-identically."""

    @abc.abstractmethod
    def set_lr(self, lr: float) -> None:
        """Set the learning rate from the next step on."""

    def close(self) -> None:  # noqa: B027  (most executors hold no device of their own)
        """Release the device, if the executor holds one; the next use takes it again."""


class GradientAccess(abc.ABC):
    """Gradients of batches, and updates with given ones. ``Executor.step`` is ``add`` and ``update``.

    Attributes:
        guarded: whether a training step whose loss or gradient is not finite leaves the weights as they are; of a
            gradient it raises a ``GradientError``.
        squares: of the gradient of the last update, by parameter, each summed over its entries; empty: not known.
        assigned: how many times ``assign`` has been called.
    """

    guarded: bool = False
    squares: Mapping[str, float] = MappingProxyType({})
    assigned: int = 0

    @abc.abstractmethod
    def add(
        self,
        inputs: Array,
        targets: Array,
        *,
        weight: float = 1.0,
        whole: Optional[int] = None,
        last: bool = False,
        steps: Optional[int] = None,
        key: Optional[Key] = None,
        state: Any = None,
        lengths: Optional[Sequence[int]] = None,
    ) -> Tuple[float, Any]:
        """Add the gradient of a batch, times ``weight``, to the one that ``update`` takes.

        What is returned and the other arguments are those of ``Executor.step``.

        Args:
            inputs, targets, steps, key, state, lengths: see ``Executor.step``.
            weight: the factor.
            whole: how many samples the batch has over all ranks; None: those of this process.
            last: whether ``collect`` comes next, so that sums over ranks may begin with the first gradients.
        """

    @abc.abstractmethod
    def add_gradient(self, grads: Params, weight: float) -> None:
        """Add a given gradient of all parameters, times ``weight``, to the one that ``update`` takes."""

    @abc.abstractmethod
    def collect(self, figures: Sequence[float]) -> List[float]:
        """Add up the gradients of ``add`` over all ranks, and the numbers ``figures``; return the sums of these."""

    @abc.abstractmethod
    def gradient(self) -> Params:
        """Take the mean of the gradients that were added, by the names of the parameters that are trained."""

    @abc.abstractmethod
    def discard(self) -> None:
        """Drop the gradients that were added since the last update."""

    @abc.abstractmethod
    def apply(self, grads: Params) -> None:
        """Do one optimiser step with a given gradient, a tree like the parameters."""

    def update(self) -> None:
        """Do one optimiser step with the mean of the gradients that were added since the last one."""
        self.apply(self.gradient())

    @abc.abstractmethod
    def assign(self, params: Params) -> None:
        """Replace the parameters by arrays of the engine, a tree like them. The optimiser stays as it is.

        It counts ``assigned`` before it changes the first weight, since it may be interrupted.
        """


class Divided(abc.ABC):
    """Weights of which each rank holds a part, so that all ranks together use, read and save them.

    Attributes:
        placed: a text that differs between ranks if they have been given different weights or moments, or one more
            often than another.
        rank: number of this rank; rank 0 writes what all have gathered.
    """

    placed: str
    rank: int

    @abc.abstractmethod
    def join_collectives(self) -> None:
        """Take part in the collective operations of a ``run`` of other ranks, without samples of this rank's own."""

    @abc.abstractmethod
    def own_weights(self) -> Dict[str, Any]:
        """This rank's part of all weights, as NumPy arrays by name."""


def changes(executor: Executor) -> int:
    """Number of changes of the weights by training, also by rules that make no step of an optimiser."""
    gradients = executor.gradients
    return executor.steps_done + (0 if gradients is None else gradients.assigned)
