"""snnTorch's signatures as a table: what a row says of a module, and the constructor and ``forward`` made from it."""

from __future__ import annotations

import inspect
from typing import Any, Callable, ClassVar, Dict, Literal, Optional, Sequence, Tuple, Union

import torch

from spikecore.api.core.messages import unknown
from spikecore.api.neurons.membrane import Quantiser
from spikecore.api.surrogate.base import Surrogate
from spikecore.arguments import Count, Numbers, Size, checked

Value = Union[float, Sequence[float], torch.Tensor]  # a number, or one per neuron
SpikeGrad = Union[None, Surrogate, Callable[[torch.Tensor], torch.Tensor]]
StateQuant = Union[None, bool, Quantiser, Callable[[torch.Tensor], torch.Tensor]]
Reset = Literal["subtract", "subtract_decayed", "zero", "none"]
Kernel = Union[int, Tuple[int, int]]


class _Vocabulary:
    """Every argument that a module of snnTorch's has: its type and, unless a row says another one, its default."""

    # what the module is made of
    alpha: Value
    beta: Value
    V: Numbers = 1.0
    R: Numbers = False
    C: Numbers = False
    time_step: Numbers = 1
    channels: Size
    input_size: Size
    hidden_size: Size
    in_features: Size
    out_features: Size
    in_channels: Size
    out_channels: Size
    kernel_size: Kernel
    max_pool: Count = 0
    avg_pool: Count = 0
    bias: bool = True
    all_to_all: bool = True
    linear_features: Optional[Size] = None
    conv2d_channels: Optional[Size] = None
    in_dim: int
    d_value: int
    d_key: int
    num_spiking_neurons: Optional[int] = None
    use_q_projection: bool = True
    weight_hh_enable: bool = False
    dropout: float = 0.0
    kernel_truncation_steps: Optional[Size] = None
    device: Any = None
    dtype: Any = None
    # spikes and resets
    threshold: Value = 1.0
    spike_grad: SpikeGrad = None
    surrogate_disable: bool = False
    inhibition: bool = False
    reset_mechanism: Reset = "subtract"
    reset_delay: bool = True
    graded_spikes_factor: Value = 1.0
    state_quant: StateQuant = False
    # what is learned
    learn_alpha: bool = False
    learn_beta: bool = False
    learn_threshold: bool = False
    learn_recurrent: bool = True
    learn_graded_spikes_factor: bool = False
    # where the state is
    init_hidden: bool = False
    output: bool = False


def _argument(name: str) -> inspect.Parameter:
    kind, default = inspect.Parameter.POSITIONAL_OR_KEYWORD, getattr(_Vocabulary, name, inspect.Parameter.empty)
    return inspect.Parameter(name, kind, default=default, annotation=_Vocabulary.__annotations__[name])


FIRING = "threshold spike_grad surrogate_disable"
RESETTING = "reset_mechanism state_quant output"
LEAKING = f"{FIRING} init_hidden inhibition learn_beta learn_threshold {RESETTING}"
GRADED = "graded_spikes_factor learn_graded_spikes_factor"


class Face:
    """A row of the table: how a module of snnTorch's name is called, and the neuron of ``spikecore.api`` it is.

    Args:
        neuron: the neuron's class; None for bases, which have no step.
        arguments: names of snnTorch's arguments in their order; those called like a field of the neuron are that field.
        states: names of the states in the order in which a call takes and returns them.
        **defaults: defaults that are this module's own.
    """

    def __init__(self, neuron: Any, arguments: str, states: str = "", **defaults: Any) -> None:
        self.neuron, self.states = neuron, tuple(states.split())
        parameters = []
        for name in arguments.split():
            p = _argument(name)
            if name in defaults:  # a value that may be left out is not registered as it comes: it is checked at once
                p = p.replace(default=defaults[name], annotation=p.annotation.replace("Value", "Numbers"))
            parameters.append(p)
        self.signature = inspect.Signature(parameters)

    @property
    def values(self) -> Tuple[str, ...]:
        """The arguments that are numbers or arrays of them: each becomes a Parameter or a buffer."""
        return tuple(p.name for p in self.signature.parameters.values() if p.annotation in ("Value", "Numbers"))

    def constructor(self, owner: str) -> Any:
        """The ``__init__`` of the class ``owner``: it hands its arguments by name to ``_construct``."""

        def arguments(*given: Any, **named: Any) -> Dict[str, Any]:
            for name in named:
                if name not in self.signature.parameters:
                    raise TypeError(f"{owner}: {unknown('argument', name, tuple(self.signature.parameters))}")
            try:
                bound = self.signature.bind(*given, **named)
            except TypeError as error:
                raise TypeError(f"{owner}: {error}") from None
            bound.apply_defaults()
            return dict(bound.arguments)

        arguments.__signature__, arguments.__qualname__ = self.signature, owner  # type: ignore[attr-defined]
        arguments.__annotations__ = {p.name: p.annotation for p in self.signature.parameters.values()}
        bind = checked(arguments)

        def __init__(self: Any, *given: Any, **named: Any) -> None:  # noqa: N807
            self._construct(bind(*given, **named))

        __init__.__signature__ = _bound_to_self(self.signature.parameters.values())  # type: ignore[attr-defined]
        return __init__

    def forward(self) -> Any:
        """The ``forward`` of a module with these states, each None where the call leaves it out."""
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        states = (inspect.Parameter(name, kind, default=None) for name in self.states)
        signature, most = _bound_to_self((inspect.Parameter("input_", kind), *states)), len(self.states)

        def forward(self: Any, input_: Any, *given: Any, **named: Any) -> Any:
            if named or len(given) > most:
                try:
                    bound = signature.bind(self, input_, *given, **named)
                except TypeError as error:
                    raise TypeError(f"{type(self).__name__}: {error}, its states are {self.states}") from None
                bound.apply_defaults()
                given = bound.args[2:]
            return self._advance(input_, *given)

        forward.__signature__ = signature  # type: ignore[attr-defined]
        return forward


def _bound_to_self(parameters: Any) -> inspect.Signature:
    return inspect.Signature([inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD), *parameters])


class Faced:
    """Mixed into classes with a ``face``: makes the constructor, ``forward`` and ``init_<name>`` that it says."""

    face: ClassVar[Face]
    kind: ClassVar[Any] = None  # the neuron of spikecore.api
    states: ClassVar[Tuple[str, ...]] = ()
    tensors: ClassVar[Tuple[str, ...]] = ()  # parameters that ``kind`` takes, all of them read at every call

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "face" not in vars(cls):
            return
        cls.kind, cls.states = cls.face.neuron, cls.face.states
        if cls.kind is not None:
            cls.tensors = tuple(name for name in cls.kind.parameter_names() if name != "V")
        methods = {"__init__": cls.face.constructor(cls.__name__)}
        if cls.states:
            methods["forward"] = cls.face.forward()
            methods[f"init_{cls.__name__.lower()}"] = lambda self: self.reset_mem()
        for name, function in methods.items():
            if name not in vars(cls):
                function.__name__, function.__qualname__ = name, f"{cls.__qualname__}.{name}"
                function.__module__ = cls.__module__
                setattr(cls, name, function)

    def _construct(self, given: Dict[str, Any]) -> None:
        """Make the module from all arguments by name."""
        raise NotImplementedError
