"""What an engine is, and how one is found.

An ``Engine`` supplies arrays, the spike with its surrogate gradient, the loop over time, and gradients. An ``Executor``
is one network compiled for training on one engine. Engines are ordinary objects: several live side by side in one
process, none is global. Third parties add one through the entry-point group ``spikecore.engines``.
"""

from __future__ import annotations

import abc
import contextlib
import importlib
import importlib.util
import inspect
import os
import random
import sys
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    ContextManager,
    Dict,
    List,
    Literal,
    NamedTuple,
    Optional,
    Tuple,
    Union,
)

from spikecore.api.core.lowering import Alone, Stage
from spikecore.api.core.messages import unknown
from spikecore.api.core.tree import Params, State, Tree
from spikecore.api.core.words import Array as Array
from spikecore.api.core.words import Vocabulary
from spikecore.arguments import Numbers, Record, Seed, checked

if TYPE_CHECKING:
    from spikecore.api.core.layer import Layer
    from spikecore.api.core.random import Key
    from spikecore.api.functional.base import LossFunction
    from spikecore.api.layers.containers import Container
    from spikecore.api.surrogate import Surrogate
    from spikecore.api.training.optimizers import Optimizer

EngineName = Literal["numpy", "torch", "cupy", "ipu"]
ENVIRONMENT = "SPIKECORE_ENGINE"
ENTRY_POINTS = "spikecore.engines"


class Engine(abc.ABC):
    """Arrays, spikes, time and gradients. Everything under ``api/`` is written against this and nothing else.

    Attributes:
        name: what ``get_engine`` calls it; for messages, never branched on.
        device: where its arrays live, as text.
        dtype: the name of its floating-point type, "float32" or "float64".
        xp: the namespace that holds exactly the words of ``api/core/words.py``.
        modules: top-level names of the array libraries whose arrays ``engine_of`` hands to this engine.
        has_double: whether it computes in "float64".
    """

    name: str
    device: str
    dtype: str
    xp: Vocabulary
    modules: Tuple[str, ...] = ()
    has_double: bool = True

    @abc.abstractmethod
    def asarray(self, x: Union[Numbers, Array], dtype: Optional[str] = None) -> Any:
        """Bring host data (numbers, lists, NumPy arrays, CPU tensors) to the engine, cast to ``dtype`` once, here.

        Args:
            x: host data, or an array of this engine, which is returned as it is.
            dtype: dtype name; None means the engine's own for every kind of number.

        Raises:
            TypeError: an array of this engine has another floating-point dtype (NumPy's arrays are host data: cast).
        """

    @abc.abstractmethod
    def to_numpy(self, x: Array) -> Any:
        """The values as a NumPy array on the host, detached."""

    @abc.abstractmethod
    def uniform(self, key: Seed, shape: Tuple[int, ...], *, sample_axis: Optional[int] = None, first: int = 0) -> Any:
        """Draws k * 2**-24 in [0, 1), bit-identical on every engine (see ``api/core/random.py``).

        Args:
            key: int or tuple of ints and strings that names the stream.
            shape: shape of the result.
            sample_axis: the axis along which samples lie; None means one sample.
            first: running number of the first sample, so that a batch can be drawn in parts.
        """

    def fresh_seed(self) -> int:
        """A number for ``uniform``'s key, from the generator that the users of these arrays seed.

        Arrays of NumPy and CuPy: NumPy's global one. Tensors: torch's default one. All others, here: Python's.
        """
        return random.getrandbits(63)

    @abc.abstractmethod
    def spike(self, u: Array, surrogate: Surrogate) -> Any:
        """Theta(u), strictly ``u > 0``, in the dtype of ``u``; differentiated as ``surrogate.derivative``."""

    @abc.abstractmethod
    def stop_gradient(self, x: Array) -> Any:
        """The identity, with derivative zero."""

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
            stepper: a neuron, or a container run time-major: anything with ``state`` and ``step``.
            params: its prepared parameters.
            state: the state before the first step.
            inputs: (time, batch, *features); a time axis of 1 together with ``steps`` is a sequence constant in time.
            steps: number of steps of a constant sequence.
            record: names of states to return for every step.
            window: no gradient crosses the steps window, 2 window, ... (truncated BPTT).
            repeating: whether runs of this kind come again and again, as in training: compiling pays off sooner.

        Returns:
            outputs (time, batch, ...), recorded states {name: (time, batch, ...)}, and the state after the last step.
        """

    def lower(self, network: Container) -> Tuple[Stage, ...]:
        """What a container's children become on this engine, in order: stages, which cover them all.

        A pure function of the frozen network. The default is a stage per layer.
        """
        return tuple(Alone(name, layer) for name, layer in network.children())

    @abc.abstractmethod
    def explain(self, stepper: Layer) -> str:
        """Which path ``scan`` takes for this stepper (loop, kernel, unrolled), and why; of a container, its stages."""

    @abc.abstractmethod
    def value_and_grad(
        self, function: Callable[..., Tuple[Any, Any]], argument: Any, *constants: Any
    ) -> Tuple[Any, Any, Any]:
        """Differentiate ``function(argument, *constants) -> (scalar, extra)`` by the leaves of ``argument``.

        Args:
            function: what to differentiate, in vocabulary words.
            argument: an array or a tree of arrays of this engine.
            *constants: further arrays or trees whose gradient is not wanted.

        Returns:
            the scalar, the extra, and the gradient in the shape of ``argument``.
        """

    @abc.abstractmethod
    def with_dtype(self, dtype: str) -> Engine:
        """The same engine on the same device in another floating-point type."""

    def unfused(self) -> Engine:
        """The same engine without compiled kernels: the reference of a verification."""
        return self

    def isolated(self) -> ContextManager[Any]:
        """A context in which modes of the array library, such as another precision, have no say."""
        return contextlib.nullcontext()

    def smooth(self) -> Engine:
        """The same engine with spikes replaced by antiderivatives, for finite differences; numpy has one."""
        raise NotImplementedError(f"engine {self.name!r} has no smooth mode")

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
        """Prepare a network for training. Options: ``clip_norm``, ``window``, and for metrics ``record``."""


class Executor(abc.ABC):
    """A network with its weights and optimiser on an engine. A training step is atomic at this level: on some
    accelerators neither weights nor gradients exist anywhere else.
    """

    carries: bool = False  # whether ``step`` starts from any given state, and ``apply`` takes a gradient made elsewhere
    #: What ``step`` takes as ``state`` to begin a sequence that later steps go on with. An executor that does not carry
    #: but has this keeps states to itself: it goes on from what its own last step returned, in parts of one length.
    resting: Any = None
    steps_done: int = 0  # training steps so far

    @abc.abstractmethod
    def step(
        self, inputs: Array, targets: Array, *, steps: Optional[int] = None, key: Optional[Key] = None
    ) -> Tuple[float, Any]:
        """One optimiser step on a batch; returns the loss before it and the network's ``Output``.

        Executors that carry take ``state=``, too: the state before the first step, a constant; and ``lengths=``: how
        many steps of each sample the loss counts, a list.
        """

    def apply(self, grads: Params) -> None:
        """One optimiser step with a gradient made elsewhere, a tree like the parameters; executors that carry."""
        raise NotImplementedError(f"{type(self).__name__} takes no gradient: it makes its own")

    @abc.abstractmethod
    def run(
        self, inputs: Array, state: Optional[Tree] = None, *, steps: Optional[int] = None, record: Record = ()
    ) -> Any:
        """The network's ``Output`` without training."""

    @abc.abstractmethod
    def state(self) -> Dict[str, Any]:
        """Everything a checkpoint needs, as NumPy arrays by name: params, buffers, optimiser slots, step count."""

    @abc.abstractmethod
    def load(self, state: Dict[str, Any]) -> None:
        """The inverse of ``state``; a run resumed from it continues bit-identically."""

    @abc.abstractmethod
    def set_lr(self, lr: float) -> None:
        """Change the learning rate from the next step on."""

    def close(self) -> None:  # noqa: B027  (most executors hold no device of their own)
        """Release the device."""


# ---- finding an engine ---------------------------------------------------------------------------------------------


class EngineEntry(NamedTuple):
    """Where an engine is and what it needs: what an entry point names, so that nothing is imported before its use."""

    target: str  # "module:class", imported on first use
    needs: Tuple[str, ...] = ()  # packages that must be importable
    install: str = ""  # how to get them
    simulated: Tuple[str, ...] = ()  # those of them that the option ``simulate=True`` does without
    modules: Tuple[str, ...] = ()  # see ``Engine.modules``


_ENGINES = {
    "numpy": EngineEntry("spikecore.engines.numpy.engine:NumpyEngine"),
    "torch": EngineEntry("spikecore.engines.torch.engine:TorchEngine", ("torch",), 'pip install "spikecore[torch]"'),
    "cupy": EngineEntry("spikecore.engines.numpy.engine:CupyEngine", ("cupy",), 'pip install "spikecore[cupy]"'),
}


class EngineStatus(NamedTuple):
    """One line of ``engines()``."""

    name: str
    available: bool
    why: str  # why not, empty where available
    install: str  # how to get it


class EngineUnavailable(ImportError):
    """An engine exists but a package it needs does not."""


def engines() -> List[EngineStatus]:
    """Every known engine: whether it can be used here, why not, and how to install it. Imports none of them."""
    return [_status(name, entry) for name, entry in _known().items()]


@checked
def get_engine(name: Union[None, str, Engine] = None, **options: Any) -> Engine:
    """Find an engine by name.

    Args:
        name: "numpy", "torch", "cupy", "ipu" or a third party's; an Engine is returned as it is. None means
            ``$SPIKECORE_ENGINE``, and if that is unset "numpy".
        **options: passed to the engine, e.g. ``device="cuda"``, ``dtype="float64"``.

    Raises:
        ValueError: no such engine; the nearest name is suggested.
        TypeError: an option that this engine does not have.
        EngineUnavailable: a package it needs is missing; names it, the install command and the engines that do work.
    """
    if isinstance(name, Engine):
        if options:
            raise TypeError(f"options {sorted(options)} have no effect on an Engine that already exists")
        return name
    name = name or os.environ.get(ENVIRONMENT) or "numpy"
    known = _ENGINES if name in _ENGINES else _known()
    if name not in known:
        raise ValueError(unknown("engine", name, known))
    entry = known[name]
    status = _status(name, entry, bool(options.get("simulate")))
    if not status.available:
        usable = ", ".join(s.name for s in engines() if s.available)
        raise EngineUnavailable(f"engine {name!r}: {status.why}. To get it: {status.install}. Usable here: {usable}")
    if not isinstance(entry, EngineEntry):
        return _made(name, entry.load(), options)
    module, _, attribute = entry.target.partition(":")
    return _made(name, getattr(importlib.import_module(module), attribute), options)


def _made(name: str, maker: Any, options: Dict[str, Any]) -> Engine:
    try:
        return maker(**options)  # type: ignore[no-any-return]
    except TypeError:
        known = inspect.signature(maker).parameters
        strange = [option for option in options if option not in known]
        if not strange or any(p.kind is p.VAR_KEYWORD for p in known.values()):
            raise
        raise TypeError(f"engine {name!r}: {unknown('option', strange[0], known)}") from None


def is_host(x: Any) -> bool:
    """Whether ``x`` is plain host data: a number, a list, a NumPy array."""
    return type(x).__module__.partition(".")[0] in ("builtins", "numpy")


def engine_of(x: Any) -> Engine:
    """The engine whose arrays ``x`` belongs to, on the device and in the dtype of ``x``. Lists and numbers: numpy.

    Raises:
        TypeError: no engine handles such arrays.
    """
    root = type(x).__module__.partition(".")[0]
    if hasattr(x, "engine"):  # a recorded array knows
        return x.engine
    if is_host(x):
        return get_engine("numpy", dtype=_float_name(x))
    if root == "torch":
        return get_engine("torch", device=x.device, dtype=_float_name(x))
    if root == "cupy":
        return get_engine("cupy", dtype=_float_name(x))
    if root == "array_api_strict":
        return get_engine("numpy", namespace="array_api_strict", dtype=_float_name(x))
    for name, entry in _known().items():
        if root in (entry if isinstance(entry, EngineEntry) else entry.load()).modules:
            return get_engine(name)
    raise TypeError(
        f"no engine handles {type(x).__module__}.{type(x).__qualname__}; pass a NumPy array or a torch tensor"
    )


def engine_without_data(name: Any = None) -> Engine:
    """The engine named; without a name torch where the program has imported it, else NumPy."""
    return get_engine(name or ("torch" if "torch" in sys.modules else "numpy"))


def _float_name(x: Any) -> str:
    return "float64" if str(getattr(x, "dtype", "")).rpartition(".")[2] == "float64" else "float32"


def _status(name: str, entry: Any, simulate: bool = False) -> EngineStatus:
    if not isinstance(entry, EngineEntry):
        return EngineStatus(name, True, "", "")
    needed = [package for package in entry.needs if not (simulate and package in entry.simulated)]
    missing = [package for package in needed if not _importable(package)]
    why = f"package {', '.join(missing)} is not installed" if missing else ""
    return EngineStatus(name, not missing, why, entry.install)


def _importable(package: str) -> bool:
    return sys.modules.get(package) is not None or importlib.util.find_spec(package) is not None


def _known() -> Dict[str, Any]:
    """Engines by name, ours first: an ``EngineEntry``, or an entry point that names an engine's class."""
    import importlib.metadata as metadata  # costs 30 ms: only when somebody asks

    points: Any = metadata.entry_points()
    others = points.select(group=ENTRY_POINTS) if hasattr(points, "select") else points.get(ENTRY_POINTS, ())
    return {**_ENGINES, **{point.name: _described(point) for point in others if point.name not in _ENGINES}}


def _described(point: Any) -> Any:
    """What a package says of its engine. A name in capitals is an ``EngineEntry``; a class is imported at first use."""
    if not point.value.rpartition(":")[2].isupper():
        return point
    try:
        return point.load()
    except ImportError as error:  # a broken package must not take the other engines with it
        return EngineEntry(point.value, (error.name or point.value,), f"repair the package that offers it ({error})")
