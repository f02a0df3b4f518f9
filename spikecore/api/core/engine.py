"""The interfaces ``Engine`` and ``Executor``.

An ``Engine`` supplies arrays, the spike with its surrogate gradient, the loop over time, and gradients. An ``Executor``
is one network compiled for training on one engine. Engines are ordinary objects: a process can use several, and none is
global. ``engines.py`` finds them by name.
"""

from __future__ import annotations

import abc
import contextlib
import functools
import inspect
import random
from types import MappingProxyType
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    ContextManager,
    Dict,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    Union,
)

from spikecore.api.core.lowering import Alone, Stage
from spikecore.api.core.ranks import Ranks
from spikecore.api.core.tree import Params, State, Tree
from spikecore.api.core.words import Array as Array
from spikecore.api.core.words import Vocabulary
from spikecore.arguments import Numbers, Record, Seed
from spikecore.printing import table

if TYPE_CHECKING:
    from spikecore.api.core.layer import Layer
    from spikecore.api.core.random import Key
    from spikecore.api.core.stream import Stream
    from spikecore.api.functional.base import LossFunction
    from spikecore.api.layers.containers import Container
    from spikecore.api.surrogate.base import Surrogate
    from spikecore.api.training.optimizers import Optimizer


class Engine(abc.ABC):
    """Arrays, spikes, time and gradients: the only interface that the code under ``api/`` computes with.

    Attributes:
        name: its name for ``get_engine`` and for messages; no code branches on it.
        device: the device of its arrays, as text, e.g. "cpu".
        dtype: the name of its floating-point type, "float32" or "float64".
        xp: the namespace that holds exactly the words of ``api/core/words.py``.
        modules: top-level names of the array libraries whose arrays ``engine_of`` hands to this engine.
        has_double: whether it can compute in "float64".
        plans_memory: whether its executors keep a memory budget.
        lacks: what it does not do, each with the reason: "gradients" (it only evaluates), "training", "groups" and
            "keep_zeros" of optimisers, "reading" (values in a loss by NumPy), "backward" (functions of the gradient as
            surrogates). It raises ``NotImplementedError`` with the reason in the message; the conformance suite then
            skips the case and reports the reason.
    """

    name: str
    device: str
    dtype: str
    xp: Vocabulary
    _made_of: Tuple[Tuple[Any, ...], Dict[str, Any]]
    modules: Tuple[str, ...] = ()
    has_double: bool = True
    plans_memory: bool = False
    lacks: Mapping[str, str] = MappingProxyType({})

    def __new__(cls, *arguments: Any, **options: Any) -> Any:
        engine = super().__new__(cls)
        engine._made_of = arguments, options
        return engine

    def __copy__(self) -> Any:  # all that it has, changed words included
        other = object.__new__(type(self))
        vars(other).update(vars(self))
        return other

    def __reduce__(self) -> Any:  # to another process goes what it was made of: namespaces and kernels do not
        arguments, options = self._made_of
        return functools.partial(type(self), *arguments, **options), ()

    def _repr_html_(self) -> str:
        rows = [("name", self.name), ("device", self.device), ("dtype", self.dtype)]
        for name, option in inspect.signature(type(self)).parameters.items():  # of its own, if they are no defaults
            held = getattr(self, name, option.default)
            if name not in ("device", "dtype") and held != option.default:
                rows.append((name, str(held)))
        return table(type(self).__name__, rows)

    @abc.abstractmethod
    def asarray(self, x: Union[Numbers, Array], dtype: Optional[str] = None) -> Any:
        """Bring host data (numbers, lists, NumPy arrays, CPU tensors) to the engine, cast to ``dtype``.

        Args:
            x: host data, or an array of this engine, which is returned as it is.
            dtype: dtype name; None (the default) means the engine's own dtype, for integers and bools as well.

        Raises:
            TypeError: ``x`` is an array of this engine with another floating-point dtype. (NumPy arrays are host data
                and are cast.)
        """

    @abc.abstractmethod
    def to_numpy(self, x: Array) -> Any:
        """The values as a NumPy array on the host, detached."""

    @classmethod
    def of(cls, x: Any) -> Engine:
        """The engine for ``x``, an array of one of its libraries: in the dtype of ``x``, and on its device.

        Raises:
            TypeError: called of a class that is no whole engine.
        """
        if inspect.isabstract(cls):
            raise TypeError(f"{cls.__name__}.of: {cls.__name__} is no whole engine: sc.engine_of(x) finds that of x")
        engine: Engine = cls(dtype="float64" if str(getattr(x, "dtype", "")).endswith("float64") else "float32")
        return engine

    @abc.abstractmethod
    def uniform(self, key: Seed, shape: Tuple[int, ...], *, sample_axis: Optional[int] = None, first: int = 0) -> Any:
        """Random numbers k * 2**-24 in [0, 1), bit-identical on every engine (see ``api/core/random.py``).

        Args:
            key: int or tuple of ints and strings that names the stream.
            shape: shape of the result.
            sample_axis: the axis that counts samples; None means that the array is one sample.
            first: number of the first sample, so that a batch can be drawn in parts; default 0.
        """

    def fresh_seed(self) -> int:
        """A random number for ``uniform``'s key, from the global generator that users of this engine's arrays seed.

        The NumPy engine (NumPy and CuPy) draws from NumPy's, the torch engine from torch's, this default from Python's.
        """
        return random.getrandbits(63)

    @abc.abstractmethod
    def spike(self, u: Array, surrogate: Surrogate) -> Any:
        """Theta(u): 1 where ``u > 0`` (strictly), else 0, in the dtype of ``u``; its derivative is the surrogate's."""

    @abc.abstractmethod
    def stop_gradient(self, x: Array) -> Any:
        """The identity, with derivative zero."""

    def entry(self, x: Array, index: Array) -> Any:
        """The entry ``x[index]`` along the first axis, which stays with the size 1; ``index`` is one whole number as an
        array, which may change from step to step.

        The default reads the index on the host. An engine whose ``scan`` traces a step once needs its own.
        """
        place = int(self.to_numpy(index))
        return x[place : place + 1, ...]  # type: ignore[index]  # an array of this engine

    @abc.abstractmethod
    def scan(
        self,
        stepper: Any,
        params: Params,
        state: State,
        inputs: Array,
        *,
        steps: Optional[int] = None,
        record: Tuple[str, ...] = (),
        window: Optional[int] = None,
        repeating: bool = False,
    ) -> Tuple[Array, State, State]:
        """Run ``stepper.step`` over time. No other code loops over time steps.

        Args:
            stepper: a neuron, or a container that runs step by step: any object with ``state`` and ``step``.
            params: its prepared parameters.
            state: the state before the first step.
            inputs: (time, batch, *features); a time axis of 1 together with ``steps`` is a sequence constant in time.
            steps: number of steps of a constant sequence; None takes it from ``inputs``.
            record: names of states to return for every step.
            window: truncated BPTT: no gradient crosses the steps window, 2 window, ...; None: full BPTT.
            repeating: whether runs of this kind are repeated many times, as in training: compiling pays off sooner.

        Returns:
            outputs (time, batch, ...), recorded states {name: (time, batch, ...)}, and the state after the last step.
        """

    def lower(self, network: Container) -> Tuple[Stage, ...]:
        """Group a container's children into stages, in order: what this engine runs as one piece.

        The stages cover all children and depend on the frozen network alone. The default is one stage per layer.
        """
        return tuple(Alone(name, layer) for name, layer in network.children())

    @abc.abstractmethod
    def explain(self, stepper: Layer) -> str:
        """Say how ``scan`` runs this stepper (loop, kernel, unrolled), and why; for a container, list its stages."""

    @abc.abstractmethod
    def value_and_grad(
        self, function: Callable[..., Tuple[Any, Any]], argument: Any, *constants: Any
    ) -> Tuple[Any, Any, Any]:
        """Differentiate ``function(argument, *constants) -> (scalar, extra)`` by the leaves of ``argument``.

        Args:
            function: what to differentiate, in vocabulary words.
            argument: an array or a tree of arrays of this engine.
            *constants: further arrays or trees, which are not differentiated.

        Returns:
            the scalar, the extra, and the gradient with the structure of ``argument``.
        """

    @abc.abstractmethod
    def with_dtype(self, dtype: str) -> Engine:
        """The same engine on the same device with another floating-point type."""

    def unfused(self) -> Engine:
        """The same engine without compiled kernels; ``verify`` uses it as the reference."""
        return self

    def stepwise(self) -> Engine:
        """The same engine for what goes through ``scan`` and is no neuron, such as a learning rule: it runs step by
        step, without kernels over time. What the engine has for single steps, ``jacobian`` for one, it may keep.
        """
        return self.unfused()

    def jacobian(self, stepper: Any, params: Params, state: State, x: Array) -> Optional[Mapping[str, Tree]]:
        """All derivatives of one step of an elementwise neuron, where the engine knows them without a tape.

        Args:
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

    def carry(
        self, traces: State, shared: State, pre: Array, rows: Mapping[str, Tree], signals: Tree
    ) -> Optional[Tuple[State, Array]]:
        """A step of traces with one value per synapse, where the engine does it in one pass.

            e_n[t] = sum_m (da_n/da_m) e_m[t-1] + (da_n/dI) z[t]           for the states n of a neuron

        Args:
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

    @property
    def approximates(self) -> str:
        """The options of this engine that make its results approximate, as text; "" if there are none."""
        return ""

    def exact(self) -> Engine:
        """The same engine without options that make its results approximate; ``verify`` judges by this one."""
        return self

    def isolated(self) -> ContextManager[Any]:
        """A context in which modes of the array library, e.g. autocast to another precision, have no effect."""
        return contextlib.nullcontext()

    def check_input(self, x: Any) -> None:  # noqa: B027  (arrays of most libraries record nothing)
        """Refuse an input of ``model(x)`` by which the caller's program would differentiate in vain.

        Raises:
            TypeError: the array library would record the call, and no gradient would come back.
        """

    def smooth(self) -> Engine:
        """The same engine with spikes replaced by the surrogate's antiderivative, for finite differences.

        Raises:
            NotImplementedError: the engine has no such mode; only numpy has.
        """
        raise NotImplementedError(f"engine {self.name!r} has no smooth mode")

    #: What to do where several processes have been started and shall train together, as the end of a sentence.
    together: str = "use engine 'torch' (--engine torch), since this engine trains in one process"

    def ranks(self) -> Ranks:
        """The processes that train a model of this engine together, this one among them."""
        return Ranks()

    def whole_batch(self, samples: int) -> int:
        """How many samples the batch has of which this process computes ``samples``: more where several processes share
        it.
        """
        return samples

    def check_compile(self) -> None:
        """Refuse ``fit(compile=True)`` where the engine cannot compile layers.

        Raises:
            NotImplementedError: says why.
        """
        raise NotImplementedError(
            f"compile=True is torch.compile, and this is engine {self.name!r}: use engine 'torch', or leave compile out"
        )

    @abc.abstractmethod
    def compile(
        self,
        network: Layer,
        params: Params,
        buffers: Tree,
        loss: Optional[LossFunction],
        optimizer: Optional[Optimizer],
        **options: Any,
    ) -> Executor:
        """Prepare a network for training.

        Args:
            network: the layer to train.
            params, buffers: its initial weights and buffers, as NumPy arrays by name.
            loss: the loss to minimise.
            optimizer: the description of the optimiser.
            **options: ``window``, for metrics ``record``, ``ranks`` where several processes train, and
                where asked for ``memory``, ``accumulates``, ``divides`` (each rank holds a part of the weights) and
                ``compiles``.
        """


class Executor(abc.ABC):
    """A network with its weights and optimiser on an engine. A training step cannot be divided at this level, because
    on some accelerators weights and gradients exist only inside the executor.
    """

    carries: bool = False  # whether ``step`` starts from any given state, and ``apply`` takes a gradient from outside
    #: The ``state`` that makes ``step`` begin a new sequence which later steps continue. It is for executors that do
    #: not carry but keep states inside: each step continues where the last one ended, in parts of equal length.
    resting: Any = None
    steps_done: int = 0  # training steps so far
    assigned: int = 0  # how many times local rules have assigned weights
    lr: float = 0.0  # learning rate of the next step
    #: Whether a training step whose loss is not finite leaves the weights as they are, on executors that carry.
    guarded: bool = False
    #: Whether each rank holds a part of the weights only, so that all ranks together use, read and save them.
    divides: bool = False

    @property
    def changes(self) -> int:
        """How many times training has changed the weights, also by rules that make no step of an optimiser."""
        return self.steps_done + self.assigned

    def attend(self) -> None:  # noqa: B027  (an executor that has its weights whole is not asked)
        """Take part in a ``run`` of other ranks, without samples of one's own, where ranks divide the weights."""

    def own_weights(self) -> Dict[str, Any]:
        """What this rank holds of all weights, as NumPy arrays by name."""
        return self.weights()

    def shapes(self) -> Dict[str, Tuple[int, ...]]:
        """The shapes of all weights by name."""
        return {name: tuple(x.shape) for name, x in self.weights().items()}

    @abc.abstractmethod
    def step(
        self, inputs: Array, targets: Array, *, steps: Optional[int] = None, key: Optional[Key] = None
    ) -> Tuple[float, Any]:
        """Do one optimiser step on a batch; return the loss before it and the network's ``Output``.

        Executors that carry also take ``state=``, the state before the first step, which is not differentiated, and
        ``lengths=``, a list: how many steps of each sample the loss counts.

        Args:
            inputs: (time or 1, batch, *features).
            targets: the loss's targets.
            steps: number of steps of a constant input.
            key: names the random draws of this step.
        """

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
        """Add the gradient of a batch, times ``weight``, to the one that ``update`` takes; for executors that carry.

        ``step`` is ``add`` and ``update``. What is returned and the other arguments are its own.

        Args:
            inputs, targets, steps, key, state, lengths: see ``step``.
            weight: the factor.
            whole: how many samples the batch has over all ranks; None: those of this process.
            last: whether ``collect`` comes next, so that sums over ranks may begin with the first gradients.
        """
        raise NotImplementedError(f"{type(self).__name__} takes no gradient: it computes its own")

    def hold(self, grads: Params, weight: float) -> None:
        """Like ``add``, with a gradient of all parameters that was made elsewhere."""
        raise NotImplementedError(f"{type(self).__name__} takes no gradient: it computes its own")

    def collect(self, figures: Sequence[float]) -> List[float]:
        """Add up, over all ranks, what ``add`` has made, and ``figures``; return the sums of these."""
        raise NotImplementedError(f"{type(self).__name__} takes no gradient: it computes its own")

    def update(self) -> None:
        """Do one optimiser step with the mean gradient of what ``add`` has made since the last one."""
        raise NotImplementedError(f"{type(self).__name__} takes no gradient: it computes its own")

    def gradient(self) -> Params:
        """Take the mean gradient of what ``add`` has made, by the names of the parameters that are trained."""
        raise NotImplementedError(f"{type(self).__name__} gives no gradient: it computes its own")

    def discard(self) -> None:  # noqa: B027  (an executor without ``add`` has nothing to forget)
        """Forget what ``add`` has made since the last update."""

    def apply(self, grads: Params) -> None:
        """Do one optimiser step with a given gradient, a tree like the parameters; for executors that carry."""
        raise NotImplementedError(f"{type(self).__name__} takes no gradient: it computes its own")

    def assign(self, params: Params) -> None:
        """Replace the parameters by arrays of the engine, a tree like them; for executors that carry.

        The optimiser and its slots stay as they are.
        """
        raise NotImplementedError(f"{type(self).__name__} keeps its parameters on the device")

    @abc.abstractmethod
    def run(
        self, inputs: Array, state: Optional[Tree] = None, *, steps: Optional[int] = None, record: Record = ()
    ) -> Any:
        """The network's ``Output`` without training."""

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
        """Release the device, if the executor holds one; what needs it again takes it again."""
