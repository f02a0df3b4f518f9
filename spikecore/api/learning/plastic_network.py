"""``Plasticity``: which rules change which parameters of a network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    ClassVar,
    Dict,
    List,
    Literal,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    Union,
)

from spikecore.api.core.layer import Layer, Stateless, computes_as, layer_name
from spikecore.api.core.messages import unknown
from spikecore.api.functional.base import scalar
from spikecore.api.learning.homeostasis import AdaptiveThreshold, Bounds, Normalize
from spikecore.api.learning.learning import UNSUPERVISED, Learner, Learning, SequencePart
from spikecore.api.learning.local_rule import CONNECTIONS, LocalRule
from spikecore.api.learning.plastic_run import PlasticRun
from spikecore.api.learning.stack import Named, in_order, under
from spikecore.api.neurons.recurrent import Recurrent
from spikecore.api.neurons.stepper import Stepper
from spikecore.arguments import shown

if TYPE_CHECKING:
    from spikecore.api.training.compute import Compute
    from spikecore.api.training.data import DeviceBatch

Entry = Union[LocalRule, AdaptiveThreshold, Bounds, Normalize]
LIMITS = (Bounds, Normalize)
RULES = (LocalRule, AdaptiveThreshold)
KNOWN = "STDP, TripletSTDP, VoltageSTDP, PowerLawSTDP, RewardSTDP, InhibitorySTDP, SynapticScaling, AdaptiveThreshold"


@dataclass(frozen=True)
class Plasticity(Learning):
    """Learning by local rules, without a loss and without gradients: for ``model.fit(..., learning=Plasticity(...))``
    and ``model.stream(learning=Plasticity(...))``.

    The network runs with constant parameters; then each rule adds its change, and the limits are applied. In ``fit``
    this is done once per batch, or every ``update_every`` steps; in a stream at each step. States and traces continue.
    Layers run as in ``model(x)``, so ``Dropout`` does nothing.

    Args:
        rules: by the name of a layer, a rule or several, with limits of the weights in the order in which they are
            applied: ``{"0": (PowerLawSTDP(), Bounds(0.0, 1.0), Normalize(78.4)), "1": AdaptiveThreshold(0.05)}``.
            Rules for weights are for a ``Linear``, ``Conv1d`` or ``Conv2d`` that a neuron follows, or for the
            connection of a ``Recurrent``, ``RLeaky`` or ``RSynaptic``, as "1.connection". ``AdaptiveThreshold`` is for
            a neuron. The network is a stack of layers (``Sequential``, nested or not).
        reduction: for the changes of a batch's samples: their "mean", the default, or their "sum". The sum is
            close to presenting the samples one after the other, as long as the changes are small.
        reward: for ``RewardSTDP``, in ``fit``: a function ``(out, targets) -> (batch,)`` or a number, called after each
            run with its ``Output``; targets are None if ``fit`` has none. A stream gets its rewards by
            ``stream.step(x, reward=...)``.
        keep_zeros: whether connections of weight zero do not exist and stay zero, as in ``Optimizer``; default False. A
            connection that exists and that a limit sets to zero keeps the smallest positive weight of float32, so that
            it may grow again.
        update_every: in ``fit``, after how many steps the rules change the parameters; None, the default: once per
            batch.

    Raises:
        TypeError: a rule is something else.
        ValueError: there is no rule; a rule needs a reward and there is none, or no rule needs the reward.
    """

    rules: Mapping[str, Union[Entry, Sequence[Entry]]]
    reduction: Literal["mean", "sum"] = "mean"
    reward: Optional[Callable[..., Any]] = None
    keep_zeros: bool = False
    update_every: Optional[int] = None

    gradients: ClassVar[bool] = False
    remedy: ClassVar[str] = "with smaller rates of the rules, or with plasticity.Bounds"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.rules, Mapping) or not self.rules:
            raise TypeError(
                f"Plasticity: rules={shown(self.rules)} must be a dict of rules by layer, with one at least"
            )
        for name, entries in self.by_layer().items():
            if not entries:
                raise ValueError(f"Plasticity: rules[{name!r}] has no rule: give one, or leave the layer out")
            for entry in entries:
                if not isinstance(entry, (*RULES, *LIMITS)):
                    raise TypeError(
                        f"Plasticity: rules[{name!r}] has {shown(entry)}, expected one of {KNOWN}, or Bounds, Normalize"
                    )
        if self.reduction not in ("mean", "sum"):
            raise ValueError(f"Plasticity: {unknown('reduction', self.reduction, ('mean', 'sum'))}")
        if self.reward is not None and not callable(self.reward):
            raise TypeError(f"Plasticity: reward={shown(self.reward)} must be a function (out, targets) -> (batch,)")
        if self.reward is not None and not self.rewarded:
            raise ValueError("Plasticity: reward is given, but no rule takes one: use RewardSTDP, or leave reward out")

    def check(self, engine: Any, executor: Any, loss: Any, compute: Compute, processes: int = 1) -> None:
        if compute.accumulate > 1:
            raise ValueError(
                f"accumulate={compute.accumulate} makes one update of several gradients, and plasticity has none: use "
                "a larger batch_size"
            )
        if compute.compile:
            raise ValueError("compile=True is for training steps with gradients, and plasticity has none: leave it out")
        PlasticRun(self, executor)
        super().check(engine, executor, loss, compute, processes)

    def check_lengths(self, executor: Any, lengths: Optional[List[int]]) -> None:
        if lengths is not None:
            raise ValueError(
                "batches with lengths are not for plasticity, which would learn from the padding: cut the sequences to "
                "one length, or count the padding as silence, e.g. Loader(..., lengths=False)"
            )

    def begin(self, executor: Any, loss: Any, batch: DeviceBatch) -> Learner:
        run, engine = PlasticRun(self, executor, executor.record), executor.engine
        state: Any = None

        def learn(piece: SequencePart) -> Any:
            nonlocal state
            out = run.feed(piece.x, state, piece.steps)
            run.update(executor.lr, None if self.reward is None else self.reward(out, piece.targets))
            state = out.state
            value = None if loss == UNSUPERVISED else float(engine.to_numpy(scalar(loss, engine, out, piece.targets)))
            return value, out

        return learn

    def by_layer(self) -> Dict[str, Tuple[Entry, ...]]:
        """The entries of each layer as a tuple, by its name."""
        several: Any = {n: given if isinstance(given, (list, tuple)) else (given,) for n, given in self.rules.items()}
        return {name: tuple(entries) for name, entries in several.items()}

    @property
    def rewarded(self) -> bool:
        """Whether a rule needs a reward."""
        return any(getattr(entry, "rewarded", False) for entries in self.by_layer().values() for entry in entries)

    def sites(self, network: Layer) -> List[Site]:
        """The places of the rules in a network.

        Raises:
            ValueError: there is no such layer, or its rules are not for it.
        """
        remedy = "for other networks, give the spikes to the rules' own run(weight, pre, post)"
        layers = list(in_order(network, "plasticity", remedy))
        return [_site(layers, name, entries) for name, entries in self.by_layer().items()]


@dataclass(frozen=True)
class Site:
    """A parameter that rules change.

    Args:
        parameter: its dotted name.
        rules: those that change it, with the layer that they need.
        limits: what it is kept in.
        neuron: name of the neuron that the layer feeds, or of the neuron itself.
        source: name of the neuron before the layer; None: the input of the network.
        between: the layers from there to the layer, by name.
        recurrent: whether the inputs are the neuron's own spikes, one step earlier.
    """

    parameter: str
    rules: Tuple[Any, ...]
    limits: Tuple[Any, ...]
    neuron: str
    source: Optional[str] = None
    between: Tuple[Tuple[str, Stateless], ...] = ()
    recurrent: bool = False

    @property
    def connects(self) -> bool:
        """Whether the parameter is a weight of connections."""
        return not isinstance(self.rules[0], AdaptiveThreshold)


def _site(layers: List[Named], name: str, entries: Tuple[Any, ...]) -> Site:
    rules, limits = (tuple(e for e in entries if isinstance(e, kinds)) for kinds in (RULES, LIMITS))
    names = [path for path, _ in layers]
    place = next((i for i, path in enumerate(names) if name in (path, under(path, "connection"))), None)
    if place is None:
        raise ValueError(f"Plasticity: {unknown('layer', name, names)}")
    path, layer = layers[place]
    if not rules:
        raise ValueError(f"Plasticity: rules[{name!r}] has no rule that changes the parameter, such as STDP()")
    thresholds = [isinstance(rule, AdaptiveThreshold) for rule in rules]
    if any(thresholds):
        if not all(thresholds) or limits or not isinstance(layer, Stepper) or name != path:
            raise ValueError(
                f"Plasticity: AdaptiveThreshold is for a neuron, by itself; rules[{name!r}] gives {layer_name(layer)} "
                f"{', '.join(type(entry).__name__ for entry in entries)}"
            )
        return Site(under(path, f"{layer.core[1]}threshold"), rules, (), path)
    if name != path:
        recurrent = getattr(layer, "recurrent", layer)
        if not isinstance(recurrent, Recurrent):
            raise ValueError(f"Plasticity: layer {path} is a {layer_name(layer)}, which has no connection {name!r}")
        own = _fitted(name, recurrent.connection, rules)
        return Site(f"{name}.weight", own, limits, path, recurrent=True)
    own = _fitted(name, layer, rules)
    after = layers[place + 1] if place + 1 < len(layers) else ("", None)
    if not isinstance(after[1], Stepper) or not after[1].spiking:
        follows = "nothing follows" if after[1] is None else f"a {layer_name(after[1])} follows"
        raise ValueError(
            f"Plasticity: {follows} layer {name}, but its rules need the spikes of a neuron directly behind it"
        )
    before = [i for i, (_, one) in enumerate(layers[:place]) if isinstance(one, Stepper)]
    start = before[-1] + 1 if before else 0
    between: Any = tuple(layers[start:place])
    for path, one in between:
        if not isinstance(one, Stateless):
            raise ValueError(
                f"Plasticity: layer {path}, a {layer_name(one)}, is between layer {name} and the spikes that enter it, "
                "and has a state: only layers without one may be there, such as Flatten and pooling"
            )
    return Site(f"{name}.weight", own, limits, after[0], names[start - 1] if before else None, between)


def _fitted(name: str, layer: Any, rules: Tuple[Any, ...]) -> Tuple[Any, ...]:
    """The rules with the layer whose weight they change."""
    if not computes_as(layer, CONNECTIONS):
        raise ValueError(
            f"Plasticity: layer {name} is a {layer_name(layer)}, but {layer_name(rules[0])} is for a Linear, Conv1d or "
            "Conv2d"
        )
    for rule in rules:
        if rule.layer is not None and rule.layer != layer:
            raise ValueError(f"Plasticity: rules[{name!r}] has {rule!r}, whose layer is not {layer!r}: leave it out")
    return tuple(replace(rule, layer=layer) for rule in rules)
