"""Extras: features that only some engines have, beside the members of ``Engine``, one object for each kind.

``Engine.extras`` lists an engine's objects. Code asks for them in one way, ``extra(engine, kind)``, and gets the
engine's own or else one of the kind itself. The methods of the kind are what every other engine does, so an engine
without extras is whole. An object may serve many engines, so methods take the engine.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, ClassVar, Mapping, Optional, Tuple, Type, TypeVar

from spikecore.api.core.lowering import Alone, Stage
from spikecore.api.core.ranks import Ranks

if TYPE_CHECKING:
    from spikecore.api.core.engine import Engine
    from spikecore.api.core.tree import Params, State, Tree
    from spikecore.api.core.words import Array
    from spikecore.api.layers.containers import Container
    from spikecore.api.neurons.stepper import Stepper

Kind = TypeVar("Kind", bound="Extra")


class Extra:
    """Base of the kinds of extras.

    Attributes:
        instead_of: members of the engine that the extra passes by, e.g. "scan" where it has a faster way for several
            layers. A subclass of the engine that writes one of them anew, and lists no extras, is without this extra.
    """

    instead_of: ClassVar[Tuple[str, ...]] = ()


def extra(engine: Engine, kind: Type[Kind]) -> Kind:
    """The engine's extra of a kind: the first of that kind in its ``extras``, or else ``kind()``."""
    for one in engine.extras:
        if isinstance(one, kind):
            return one
    return kind()


class Stages(Extra):
    """Neighbouring layers that the engine runs as one piece."""

    def lower(self, engine: Engine, network: Container) -> Tuple[Stage, ...]:
        """Group a container's children into stages, in order. The default is one stage per layer.

        The stages cover all children and depend on the frozen network alone.
        """
        return tuple(Alone(name, layer) for name, layer in network.children())


class StepwiseLearning(Extra):
    """Help for rules that learn forward in time, such as e-prop, which run step by step."""

    def stepwise(self, engine: Engine, plain: Engine) -> Engine:
        """The engine that runs a rule: ``plain``, which is ``engine`` without kernels, or one with help of its own."""
        return plain

    def jacobian(
        self, engine: Engine, stepper: Stepper, params: Params, state: State, x: Array
    ) -> Optional[Mapping[str, Tree]]:
        """All derivatives of one step of an elementwise neuron, where the engine knows them without a tape.

        Args:
            engine: the engine.
            stepper: the neuron.
            params: its prepared parameters.
            state: the states before the step, each like ``x``.
            x: the current (batch, *neurons).

        Returns:
            for the output ("output") and each new state, by name, a tree of its derivatives by ``state`` (by name),
            ``x`` and ``params`` (those that are arrays, by dotted name). Each is an array like ``x``, or a number or
            an array of shape () where it is the same for all neurons; a number 0.0 is zero at every step. None, the
            default: ``value_and_grad`` is to find them.
        """
        return None

    def advance_traces(
        self, engine: Engine, traces: State, shared: State, pre: Array, rows: Mapping[str, Tree], signals: Tree
    ) -> Optional[Tuple[State, Array]]:
        """A step of traces with one value per synapse, where the engine does it in one pass.

            e_n[t] = sum_m (da_n/da_m) e_m[t-1] + (da_n/dI) z[t]           for the states n of a neuron

        Args:
            engine: the engine.
            traces: e_n by name, (batch, groups, rows, synapses, positions).
            shared: traces of states that are the same for all rows, by name, (batch, groups, 1, synapses, positions).
            pre: the inputs z (batch, groups, synapses, positions).
            rows: the derivatives of the step, see ``jacobian``.
            signals: the cotangents of the states before the step, ``signals.state``: arrays (batch, *neurons), or 0.0.

        Returns:
            the new ``traces``, and sum_n signals_n e_n[t-1], summed over samples and positions: (groups, rows,
            synapses). None, the default: words are to do it.
        """
        return None

    def row(self, engine: Engine, x: Array, index: Array) -> Any:
        """The entry ``x[index]`` along the first axis, which is kept with size 1; ``index`` is an array of one whole
        number, another one at each step.

        The default reads the index on the host. An engine whose ``scan`` traces a step once needs its own.
        """
        place = int(engine.to_numpy(index))
        return x[place : place + 1, ...]


class Variants(Extra):
    """Options of the engine's class that make the variants in ``variants.py``, such as the engine without kernels.

    Attributes:
        unfused: those without compiled kernels, e.g. {"fused": False}.
        exact: those without approximations, e.g. {"precision": "float32"}.
        other_dtype: those that must change together with the dtype.
    """

    unfused: Mapping[str, Any] = {}
    exact: Mapping[str, Any] = {}
    other_dtype: Mapping[str, Any] = {}

    def smooth(self, engine: Engine) -> Engine:
        """The engine with spikes replaced by the surrogate's antiderivative, for finite differences.

        Raises:
            NotImplementedError: the engine has no such mode; only numpy has.
        """
        raise NotImplementedError(f"engine {engine.name!r} has no smooth mode")


class ComparedDraws(Extra):
    """Random numbers that are compared at once with what they decide."""

    def spikes(
        self, engine: Engine, key: Any, shape: Tuple[int, ...], chance: Array, sample_axis: Optional[int], first: int
    ) -> Any:
        """One where a draw is below ``chance``, which broadcasts to ``shape``, else zero.

        Args:
            key, shape, sample_axis, first: as for ``Engine.uniform``, which gives the draws.
        """
        draws = engine.uniform(key, shape, sample_axis=sample_axis, first=first)
        return engine.xp.astype(draws < chance, engine.dtype)

    def mask(self, engine: Engine, key: Any, shape: Tuple[int, ...], p: float, first: int) -> Any:
        """Zero with probability ``p``, else 1 / (1 - p); the first axis counts samples."""
        draws = engine.uniform(key, shape, sample_axis=0, first=first)
        return engine.xp.astype(draws >= p, engine.dtype) * (1.0 / (1.0 - p))


class UserProgram(Extra):
    """Settings of the user's program in the array library, and the program's expectations of it."""

    def fresh_seed(self) -> int:
        """A random number for ``uniform``'s key, from the global generator that users of these arrays seed.

        The NumPy engine (NumPy and CuPy) draws from NumPy's, the torch engine from torch's, the default from Python's.
        """
        return random.getrandbits(63)

    def check_input(self, x: Any) -> None:
        """Refuse an input of ``model(x)`` by which the caller's program would differentiate in vain.

        Raises:
            TypeError: the array library would record the call, and no gradient would come back.
        """


class Processes(Extra):
    """Several processes that train one model together."""

    @property
    def together(self) -> str:
        """The remedy if several processes have been started and shall train together, as the end of a sentence."""
        return "use engine 'torch' (--engine torch), since this engine trains in one process"

    def ranks(self) -> Ranks:
        """The processes that train a model of this engine together, this one among them."""
        return Ranks()

    def whole_batch(self, samples: int) -> int:
        """Number of samples of the whole batch, of which this process computes ``samples``."""
        return samples


class TrainingOptions(Extra):
    """Options of ``fit`` that ``Engine.compile`` takes on this engine."""

    def check_memory(self, engine: Engine, memory: Any) -> None:
        """Refuse a memory budget where the engine cannot plan a training step.

        Raises:
            NotImplementedError: says why.
        """
        raise NotImplementedError(
            f"memory={memory!r}: engine {engine.name!r} does not plan its memory. Use engine='torch', smaller batches "
            "with accumulate, or checkpoint_every where the loop runs"
        )

    def check_compile(self, engine: Engine) -> None:
        """Refuse ``compile=True`` where the engine cannot compile layers.

        Raises:
            NotImplementedError: says why.
        """
        raise NotImplementedError(
            f"compile=True is torch.compile, and this is engine {engine.name!r}: use engine 'torch', or leave compile "
            "out"
        )

    def check_graph(self, engine: Engine) -> None:
        """Refuse ``cuda_graph=True`` where the engine records no training step.

        Raises:
            NotImplementedError: says why.
        """
        raise NotImplementedError(
            f"cuda_graph=True records what a CUDA device is given, and this is engine {engine.name!r}: use "
            "get_engine('torch', device='cuda'), or leave cuda_graph out"
        )

    def near(self, engine: Engine) -> Engine:
        """An engine of the same types for checks of what the program holds, where they make no device wait."""
        return engine

    def all_finite(self, engine: Engine, x: Array) -> bool:
        """Whether no value is NaN or infinite; every batch is asked, so an engine may know a quicker way."""
        return bool(engine.to_numpy(engine.xp.all(engine.xp.isfinite(x))))

    def queue(self, engine: Engine) -> Any:
        """The ``DeviceQueue`` (``api/training/unread.py``) of a device that works while the program goes on; None, the
        default: values are there at once.
        """
        return None
