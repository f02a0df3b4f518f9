"""Names for run files: the library's layers, surrogates, encoders, losses, optimisers and schedules.

Nothing here is written per class. Each class (or encoder function) becomes a pydantic model whose keys are its own
fields, with their defaults, and which calls it to check values; a table with a ``kind`` is one of a union of them. A
layer added to the library is a layer that run files know; one of the user's own is named by its module.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from typing import (
    Any,
    Callable,
    ClassVar,
    Dict,
    List,
    Literal,
    Optional,
    Sequence,
    Tuple,
    Type,
    Union,
    get_args,
    get_origin,
)

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializationInfo,
    TypeAdapter,
    WrapValidator,
    create_model,
    model_validator,
)
from typing_extensions import Annotated

from spikecore import Compute, EarlyStopping, Group, functional, learn, learn_tau, schedule, spikegen
from spikecore.api.core.parameters import Learn
from spikecore.api.functional.metrics import DECODED, NAMED, OWN
from spikecore.api.functional.quant import state_quant
from spikecore.api.functional.quantisers import Grid
from spikecore.api.layers.containers import Listed
from spikecore.api.neurons.membrane import Quantiser
from spikecore.api.surrogate.special import Formula
from spikecore.api.training.batching import keywords_of
from spikecore.api.training.checkpoint import known_classes
from spikecore.api.training.optimizers import Optimizer
from spikecore.arguments import Count, Size, hints_of
from spikecore.base import Layer, Merge, Param
from spikecore.cli.own_kinds import MODELS, imported, is_own, with_options
from spikecore.compression import FixedPoint, Pruning, Rewiring
from spikecore.init import Initialiser
from spikecore.plasticity import votes_of
from spikecore.surrogate import Surrogate

REQUIRED: Any = ...
# what a learned parameter is called: the function, the argument that the word stands for, and further keys
LEARNED: Dict[str, Tuple[Any, str, Tuple[str, ...]]] = {
    "learn": (learn, "value", ("per",)),
    "learn_tau": (learn_tau, "tau", ("per", "dt")),
}


class Section(BaseModel):
    """A table of a run file: unknown keys and values of a wrong type are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, validate_default=True, defer_build=True)


class Kind(Section):
    """A table that describes one object of the library."""

    target: ClassVar[Callable[..., Any]]

    def make(self) -> Any:
        """The object described."""
        fields = {name: _made(getattr(self, name)) for name in type(self).model_fields if name != "kind"}
        target = type(self).target
        contains = isinstance(target, type) and issubclass(target, Listed)  # its layers are the arguments
        return target(*(fields.pop("layers", ()) if contains else ()), **fields)

    @model_validator(mode="after")
    def _accepted(self) -> Kind:
        try:
            self.make()
        except TypeError as error:
            raise ValueError(str(error)) from None
        return self


def _made(value: Any) -> Any:
    """A value of a run file as the library's constructors want it."""
    if isinstance(value, Kind):
        return value.make()
    if isinstance(value, (list, tuple)):
        return tuple(_made(part) for part in value)
    for word, (function, argument, _) in LEARNED.items():
        if isinstance(value, dict) and word in value:
            return function(**{argument if key == word else key: _made(part) for key, part in value.items()})
    return value


def _parameter(value: Any) -> Any:
    """Refuse what is no number, no list of numbers and no learned value ``{learn = ...}`` or ``{learn_tau = ...}``."""
    plain = value
    if isinstance(value, dict):
        word = next((word for word, (_, _, keys) in LEARNED.items() if {word} <= set(value) <= {word, *keys}), None)
        if word is None:
            raise ValueError(
                "a learned value is {learn = 0.9}, {learn = 0.9, per = 'neuron'} or per = 'channel'; a decay learned "
                "through its time constant {learn_tau = 10.0}, with dt and per if need be; a drawn one {learn = "
                "{kind = 'uniform', low = 0.8, high = 0.99}}"
            )
        plain = value[word]
        if isinstance(plain, (str, dict)):  # how to draw the first values
            return {**value, word: TypeAdapter(TYPES[Initialiser]).validate_python(plain)}
    if isinstance(plain, bool) or not isinstance(plain, (int, float, list, tuple)):
        raise ValueError("must be a number, an array of numbers, or a learned value such as {learn = 0.9}")
    return value


# ---- from classes to models ----------------------------------------------------------------------------------------


def model_of(
    name: str, target: Callable[..., Any], fields: Dict[str, Tuple[Any, Any]], base: Type[Kind] = Kind, **kind: Any
) -> Type[Kind]:
    """A model with these (type, default) that makes objects by calling ``target``."""
    model = create_model(name, __base__=base, __module__=__name__, **{**kind, **fields})  # type: ignore[call-overload]
    model.target, model.__doc__ = target, target.__doc__
    return model


def tagged(
    targets: Dict[str, Callable[..., Any]],
    default: str = "",
    base: Type[Kind] = Kind,
    own: Tuple[type, ...] = (),
    functions: bool = False,
) -> Any:
    """The type of a table whose ``kind`` chooses among targets. A bare name stands for ``{kind = name}``."""
    return one_of(models_of(targets, base), "kind", default, own, functions)


def models_of(targets: Dict[str, Callable[..., Any]], base: Type[Kind] = Kind) -> Tuple[Type[Kind], ...]:
    """A model for each target, which its name selects."""
    return tuple(
        model_of(name, target, fields_of(target), base, kind=(Literal[name], name))  # type: ignore[valid-type]
        for name, target in sorted(targets.items())
    )


def one_of(
    models: Tuple[Any, ...], key: str, default: str = "", own: Tuple[type, ...] = (), functions: bool = False
) -> Any:
    """The type of a table whose ``key`` chooses among models; absent, it chooses ``default``.

    Args:
        models: the models.
        key: "kind" or "name".
        default: what is chosen where the key is absent.
        own: the bases of classes of the user's own that may stand there, too, as "module:Class"; default: none.
        functions: whether a function of the user's own may.
    """

    def spelled_out(value: Any) -> Any:
        if isinstance(value, str):
            return {key: value}
        return {key: default, **value} if default and isinstance(value, dict) else value

    def also_own(value: Any, others: Callable[[Any], Any]) -> Any:
        if own and isinstance(value, dict) and is_own(value.get(key)):
            return own_model(value[key], own, functions).model_validate(value)
        return others(value)

    chosen: Any = Annotated[Union[models], Field(discriminator=key)]  # type: ignore[valid-type]
    return (
        Annotated[chosen, PlainSerializer(_dumped), WrapValidator(also_own), BeforeValidator(spelled_out)]
        if own
        else (Annotated[chosen, BeforeValidator(spelled_out)])
    )


def _dumped(table: Section, info: SerializationInfo) -> Dict[str, Any]:
    """A table by its own model, which this builds; SerializeAsAny asks for one that is built, before pydantic 2.14."""
    return table.model_dump(exclude_none=info.exclude_none)


def own_model(name: str, bases: Tuple[type, ...], functions: bool) -> Type[Kind]:
    """The model of a class or function of the user's own.

    Raises:
        ValueError: see ``imported``.
    """
    target = imported(name, bases, functions)
    if name not in MODELS:
        try:
            fields = fields_of(target)
        except TypeError as error:  # an annotation without a value
            raise ValueError(f"{name!r}: {error}") from None
        MODELS[name] = model_of(name, target, fields, kind=(Literal[name], name))  # type: ignore[valid-type]
    return MODELS[name]  # type: ignore[no-any-return]


def fields_of(target: Any) -> Dict[str, Tuple[Any, Any]]:
    """Types and defaults of a dataclass's fields or of an encoder's options."""
    hints = hints_of(target)
    if dataclasses.is_dataclass(target):
        own = [f for f in dataclasses.fields(target) if not f.name.startswith("_")]
        return {f.name: (_type(hints[f.name], f.default), _default(f)) for f in own}
    options = {p.name: p.default for p in inspect.signature(target).parameters.values()}
    return {  # what this module adds to them is an int; several values stay several, also if they are equal
        name: (int, NUM_STEPS)
        if name == "num_steps"
        else (_type(hints.get(name, int), usual), [*map(plain, usual)] if isinstance(usual, tuple) else plain(usual))
        for name, usual in options.items()
        if name not in ENCODER_INTERNAL
    }


def _type(hint: Any, default: Any) -> Any:
    """The type by which pydantic checks an annotation; ``Any`` where the class itself checks the value. A default of
    None is always allowed.
    """
    if get_args(hint)[1:] == (type(None),):  # Optional
        hint, default = get_args(hint)[0], None
    kinds = get_args(hint) if get_origin(hint) is Union else (hint,)
    layer = all(isinstance(kind, type) and issubclass(kind, Layer) for kind in kinds)
    other = "AnyLayer" if layer else str if get_origin(hint) is Literal else Any
    known = TYPES.get(hint, other)
    return Optional[known] if default is None else known


def _default(field: Any) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return plain(field.default_factory())
    return REQUIRED if field.default is dataclasses.MISSING else plain(field.default)


def plain(value: Any) -> Any:
    """An object of the library as a run file has it: a table with its kind and what differs from the defaults."""
    if isinstance(value, Learn):
        name, dt = ("learn", 1.0) if value.dt is None else ("learn_tau", value.dt)
        options = {"per": value.per, "dt": None if dt == 1.0 else dt}
        return {name: plain(value.value), **{key: option for key, option in options.items() if option}}
    if isinstance(value, (tuple, list)):  # a size of equal axes, (5, 5), is 5
        alike = len(set(map(repr, value))) == 1 and isinstance(value[0], int)
        return value[0] if alike else [plain(part) for part in value]
    if not dataclasses.is_dataclass(value):
        return value
    own = [f for f in dataclasses.fields(value) if f.init or f.name == "layers"]
    written = {f.name: (plain(getattr(value, f.name)), _default(f)) for f in own if getattr(value, f.name) is not None}
    return {"kind": type(value).__name__, **{name: part for name, (part, usual) in written.items() if part != usual}}


def named(base: type, module: Any = None) -> Dict[str, Any]:
    """The library's own concrete subclasses of ``base``."""
    classes = known_classes() if module is None else vars(module)
    return {
        name: thing
        for name, thing in classes.items()
        if isinstance(thing, type) and issubclass(thing, base) and thing is not base and not inspect.isabstract(thing)
        if not name.startswith("_") and dataclasses.is_dataclass(thing)
        if Formula not in hints_of(thing).values()  # a function: TOML has none
    }


# ---- encoders ------------------------------------------------------------------------------------------------------

ENCODER_INTERNAL = ("data", "seed", "first", "time_var_input", "sample_axis")
STATIC_ENCODERS = ("rate", "poisson", "latency", "burst", "phase", "population")
SERIES = ("delta", "level_crossing", "threshold_crossing")  # encoders of sequences
NUM_STEPS = 25
VOTE = "accuracy_vote"  # a metric that needs the training samples first
SAMPLES_FIRST = 1  # the time axis of targets that vary in time, where the data themselves have none


def _tried(encoder: Any, **options: Any) -> None:
    """Run an encoder's own checks on a tiny batch, with a seed, so that the user's generator does not advance."""
    encoder([[1.0]], **keywords_of(encoder, {**options, "seed": 0}))


def _encoder(function: Any) -> Callable[..., Any]:
    """A function from an encoder's options to the arguments of ``fit``, ``evaluate`` and ``verify``."""

    @functools.wraps(function)
    def options(num_steps: int, **given: Any) -> Dict[str, Any]:
        bound = functools.partial(function, **given)
        _tried(bound, num_steps=num_steps)
        return {"num_steps": num_steps, "encoder": bound, "time_axis": SAMPLES_FIRST}

    return options


def _encoder_of_sequences(function: Any, **fixed: Any) -> Callable[..., Any]:
    """As ``_encoder``, for encoders from sequences to sequences: they have the key ``time_axis``, not ``num_steps``."""

    @functools.wraps(function)
    def options(time_axis: int = 0, **given: Any) -> Dict[str, Any]:
        bound = functools.partial(function, **given, **fixed)
        _tried(bound)
        return {"num_steps": None, "encoder": bound, "time_axis": time_axis}

    own = inspect.Parameter("time_axis", inspect.Parameter.KEYWORD_ONLY, default=0)
    signature = inspect.signature(function)
    options.__signature__ = signature.replace(parameters=[*signature.parameters.values(), own])  # type: ignore[attr-defined]
    return options


def _constant(num_steps: int = NUM_STEPS) -> Dict[str, Any]:
    """Constant current: the data themselves at every step; what does not change over time runs once."""
    spikegen.constant([[1.0]], num_steps)
    return {"num_steps": num_steps, "encoder": None, "time_axis": SAMPLES_FIRST}


def _sequence(time_axis: int = 0) -> Dict[str, Any]:
    """No encoder: the data are sequences, with their time axis at this place of a batch."""
    return {"num_steps": None, "encoder": None, "time_axis": time_axis}


# ---- metrics -------------------------------------------------------------------------------------------------------


def _by_name(name: str) -> Callable[..., Any]:
    """A metric that has no options: what the loss's own decoder predicts is compared, or nothing is."""
    return lambda: name


def _by_votes(weighted: bool = True) -> Callable[..., Any]:
    """The accuracy of votes of neurons whose classes are counted on the training samples: what makes this metric."""
    return functools.partial(votes_of, weighted=weighted)


def _metric(function: Any) -> Callable[..., Any]:
    """Options of a metric of ``spikecore.functional`` -> the metric with these options."""
    targets = [[0]] if function is functional.label_error_rate else [0]
    # its own checks, on the smallest of outputs
    return with_options(function, lambda bound, given: bound(np.ones((1, 1, given.get("num_classes") or 1)), targets))


TYPES: Dict[Any, Any] = {
    **{bool: bool, float: float, str: str},
    **dict.fromkeys((int, Size, Count), int),
    Param: Annotated[Any, AfterValidator(_parameter)],
    Tuple[Layer, ...]: List["AnyLayer"],  # type: ignore[valid-type]
    Tuple[Union[Layer, Merge], ...]: List["LayerOrMerge"],  # type: ignore[valid-type]
}
TYPES[Initialiser] = tagged(named(Initialiser), own=(Initialiser,))
TYPES[Surrogate] = tagged(named(Surrogate), own=(Surrogate,))
_FIXED: Dict[str, Callable[..., Any]] = {"FixedPoint": FixedPoint}
TYPES[Quantiser] = tagged({"state_quant": state_quant, **_FIXED}, default="state_quant")
TYPES[FixedPoint] = tagged(_FIXED, default="FixedPoint")
TYPES[Grid] = tagged(named(Grid), default="ScaledInteger", own=(Grid,))

LAYER_MODELS, MERGE_MODELS = (
    tuple(
        model_of(name, kind, fields_of(kind), kind=(Literal[name], name))  # type: ignore[valid-type]
        for name, kind in sorted(named(base).items())
    )
    for base in (Layer, Merge)
)
AnyLayer = one_of(LAYER_MODELS, "kind", own=(Layer,))
LayerOrMerge = one_of((*LAYER_MODELS, *MERGE_MODELS), "kind", own=(Layer, Merge))

AnyEncoder = tagged(
    {
        "constant": _constant,
        "sequence": _sequence,
        **{name: _encoder(getattr(spikegen, name)) for name in STATIC_ENCODERS},
        **{name: _encoder_of_sequences(getattr(spikegen, name)) for name in SERIES},
        "rate_conv": _encoder_of_sequences(spikegen.rate_conv, sample_axis=1),
    },
    default="constant",
)
AnyLoss = tagged(named(functional.Loss, functional), default="ce_rate_loss", own=(functional.Loss,), functions=True)
AnyRegulariser = tagged(named(functional.Regulariser, functional), own=(functional.Regulariser,))
AnyMetric = tagged(
    {
        **{name: _by_name(name) for name in (*DECODED, "rate")},
        VOTE: _by_votes,
        **{name: _metric(getattr(functional, name)) for name in NAMED if name != "rate"},
    },
    default=OWN,
)
TYPES[Sequence[Group]] = List[model_of("Group", Group, fields_of(Group))]  # type: ignore[misc]
AnyOptimizer = tagged(named(Optimizer), default="Adam", own=(Optimizer,))
AnyCompute: Any = model_of("Compute", Compute, fields_of(Compute))
AnySchedule = tagged(named(object, schedule), default="constant")
Stopping = model_of("EarlyStopping", EarlyStopping, fields_of(EarlyStopping))
AnyPruning = model_of("Pruning", Pruning, fields_of(Pruning))
AnyRewiring = model_of("Rewiring", Rewiring, fields_of(Rewiring))
