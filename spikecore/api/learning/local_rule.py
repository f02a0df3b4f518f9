"""``LocalRule``, the base of all rules of plasticity: decaying traces, and a weight change that is a sum of products.

A synapse sees three signals: the spikes of its input (pre), the spikes of its neuron (post), and the neuron's membrane
(mem). A rule names the traces that it keeps of them, and the products that change the weight:

    x[t] = d x[t-1] + g s[t]                      a trace of the signal s, see ``Trace``
    Delta w = sum over t, samples, k of f_k(w) p_k[t] q_k[t]

where p_k is a function of the neuron's signals and traces, q_k of the input's, f_k of the weight. The weight is
constant meanwhile. So a whole sequence is a few matrix products, and the change after each step is the same for a
sequence of one step. Convolutions share weights over positions: the products are summed over these, too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Callable, ClassVar, Dict, NamedTuple, Optional, Sequence, Tuple, Union

from spikecore.api.core.engine import Engine
from spikecore.api.core.engines import engine_of
from spikecore.api.core.layer import ShapeError, layer_name
from spikecore.api.core.messages import unknown
from spikecore.api.core.rules import rule_of
from spikecore.api.core.tree import State, map_leaves
from spikecore.api.core.words import Array, Vocabulary
from spikecore.api.layers.linear import Linear
from spikecore.api.layers.spatial import Conv1d, Conv2d
from spikecore.api.neurons.parallel import recurrence
from spikecore.arguments import Checked, is_number
from spikecore.printing import Concise

Weighing = Callable[[Any], Any]
Connection = Union[Linear, Conv1d, Conv2d]
CONNECTIONS = (Linear, Conv1d, Conv2d)


class Trace(NamedTuple):
    """A decaying memory of a signal.

    Args:
        of: the signal: "pre", "post" or "mem".
        decay: d, the factor per step.
        kind: "sum": x[t] = d x[t-1] + s[t], all earlier spikes count; "nearest": a spike sets it, x[t] = s[t] if
            s[t] > 0, else d x[t-1], only the last spike counts; "mean": x[t] = d x[t-1] + (1 - d) s[t], a running mean.
    """

    of: str
    decay: float
    kind: str = "sum"

    def over_time(self, engine: Engine, signal: Any, before: Any) -> Any:
        """The trace after each step of ``signal`` (time, batch, *features), from the one ``before`` the first step."""
        if self.kind == "nearest":
            kept = engine.xp.astype(signal <= 0.0, engine.dtype)
            return recurrence(engine, self.decay * kept, signal, before)
        return recurrence(engine, self.decay, signal if self.kind == "sum" else (1.0 - self.decay) * signal, before)

    def left(self, trace: Any) -> Any:
        """The trace before the spikes of the next step: a sum has decayed, a mean has not."""
        return trace if self.kind == "mean" else self.decay * trace


def fading(tau: float) -> float:
    """The decay per step of a time constant in steps, exp(-1 / tau)."""
    return math.exp(-1.0 / tau)


@dataclass(frozen=True)
class Signals:
    """The signals at the synapses of a layer at each step: arrays (time, batch, *features).

    Args:
        pre, post: spikes of the inputs and of the neurons.
        mem: membranes of the neurons; None if the rule does not read them.
        after, before: the rule's traces by name, after and just before the spikes of each step.
    """

    pre: Any
    post: Any
    mem: Any
    after: State
    before: State

    @property
    def last(self) -> State:
        """The traces after the last step."""
        return State({name: x[-1, ...] for name, x in self.after.items()})

    def of_sample(self, i: int) -> Signals:
        """The signals of one sample of the batch, as a batch of one."""

        def own(x: Any) -> Any:
            return None if x is None else x[:, i : i + 1, ...]

        return Signals(*(map_leaves(own, signal) for signal in vars(self).values()))


class Product(NamedTuple):
    """A term of the weight change.

    Args:
        post: the neurons' factor, (time, batch, *outputs).
        pre: the inputs' factor, (time, batch, *inputs).
        scale: function of the weight by which the sum of the products is multiplied; None: 1.
    """

    post: Any
    pre: Any
    scale: Optional[Weighing] = None


@dataclass(frozen=True)
class LocalRule(Concise, Checked):
    """Base of the rules of plasticity. A subclass is a frozen dataclass with ``traces`` and ``products``.

    Args:
        layer: the ``Linear``, ``Conv1d`` or ``Conv2d`` whose inputs and outputs are connected. None, the default: the
            layer to which ``Plasticity`` gives the rule; for ``step`` and ``run``, a dense one of the weight's shape.

    Attributes:
        reads_membrane: whether the rule reads the neurons' membranes.
        rewarded: whether a reward decides what becomes of the change.
    """

    layer: Optional[Connection] = None

    reads_membrane: ClassVar[bool] = False
    rewarded: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.layer is not None and not isinstance(self.layer, CONNECTIONS):
            raise TypeError(f"{type(self).__name__}: layer={self.layer!r} must be a Linear, Conv1d or Conv2d")

    # ---- what a subclass says ----

    def traces(self) -> Dict[str, Trace]:
        """The traces by name."""
        raise NotImplementedError

    def products(self, xp: Vocabulary, signals: Signals) -> Sequence[Product]:
        """The terms of the weight change."""
        raise NotImplementedError

    def membrane(self, xp: Vocabulary, post: Any, mem: Any) -> Any:
        """The membrane as the rule reads it."""
        return mem

    # ---- what all rules do ----

    def rest(self, weight: Array, pre: Array, post: Array) -> State:
        """Traces of zero, for spikes of one step: pre (batch, *inputs), post (batch, *outputs)."""
        engine = engine_of(weight)
        like = {"pre": engine.asarray(pre), "post": engine.asarray(post)}
        return State({n: engine.xp.zeros_like(like["pre" if t.of == "pre" else "post"]) for n, t in self._traces()})

    def step(
        self, weight: Array, state: Optional[State], pre: Array, post: Array, *, mem: Optional[Array] = None
    ) -> Tuple[Any, State]:
        """The weight change of one step.

        Args:
            weight: the layer's weight, an array of any engine.
            state: the traces before the step; None: zero.
            pre: input spikes (batch, *inputs).
            post: output spikes (batch, *outputs).
            mem: the neurons' membranes (batch, *outputs), for rules that read them.

        Returns:
            Delta w, summed over the batch, and the traces after the step.

        Raises:
            ShapeError: spikes, membranes or weight do not fit the layer.
            ValueError: the rule reads membranes, and there are none.
        """
        return self.run(
            weight, self._timed(weight, pre), self._timed(weight, post), state, mem=self._timed(weight, mem)
        )

    def run(
        self, weight: Array, pre: Array, post: Array, state: Optional[State] = None, *, mem: Optional[Array] = None
    ) -> Tuple[Any, State]:
        """The weight change of a whole sequence with a constant weight.

        Args:
            weight, state: as in ``step``.
            pre: input spikes (time, batch, *inputs).
            post: output spikes (time, batch, *outputs).
            mem: membranes (time, batch, *outputs), for rules that read them.

        Returns:
            Delta w, summed over steps and batch, and the traces after the last step.

        Raises:
            ShapeError: spikes, membranes or weight do not fit the layer.
            ValueError: the rule reads membranes, and there are none.
        """
        signals = self.signals(weight, pre, post, state, mem)
        return self.change(weight, signals), signals.last

    def signals(self, weight: Any, pre: Any, post: Any, state: Optional[State], mem: Any) -> Signals:
        """The signals of a sequence, and the traces that they leave, from the traces ``state`` before it."""
        engine = engine_of(weight)
        pre, post = engine.asarray(pre), engine.asarray(post)
        mem = None if mem is None else engine.asarray(mem)
        self._check(weight, pre, post, mem)
        mem = None if mem is None else self.membrane(engine.xp, post, mem)
        of = {"pre": pre, "post": post, "mem": mem}
        after, before = {}, {}
        resting = self.rest(weight, pre[0, ...], post[0, ...])
        state = resting if state is None else state
        for name, trace in self._traces():
            if name not in state or tuple(state[name].shape) != tuple(resting[name].shape):
                found = {n: tuple(x.shape) for n, x in state.items()}
                raise ShapeError(
                    f"{type(self).__name__}: state has {found}, expected {name!r} of shape {tuple(resting[name].shape)}"
                    ": what the last call for these samples returned, or None"
                )
            after[name] = trace.over_time(engine, of[trace.of], state[name])
            first = engine.xp.expand_dims(state[name], axis=0)
            before[name] = trace.left(engine.xp.concat([first, after[name][:-1, ...]], axis=0))
        return Signals(pre, post, mem, State(after), State(before))

    def change(self, weight: Any, signals: Signals, kept: Any = None) -> Any:
        """The sum of the products over steps and batch, each times its function of the weight.

        ``kept`` is what is left of the product of each step, an array that broadcasts to the post spikes; None: all.
        """
        xp, total = engine_of(weight).xp, None
        for post, pre, scale in self.products(xp, signals):
            post = post if kept is None else kept * post
            post, pre = (xp.reshape(x, (-1, *x.shape[2:])) for x in (post, pre))  # time and batch as one big batch
            part = self._meetings(xp, weight, post, pre)
            part = part if scale is None else scale(weight) * part
            total = part if total is None else total + part
        return total

    def _traces(self) -> Sequence[Tuple[str, Trace]]:
        for name, trace in self.traces().items():
            for field, known in (("of", ("pre", "post", "mem")), ("kind", ("sum", "nearest", "mean"))):
                if getattr(trace, field) not in known:
                    found = unknown(field, getattr(trace, field), known)
                    raise ValueError(f"{type(self).__name__}: trace {name!r}: {found}")
            if not is_number(trace.decay) or not 0.0 <= trace.decay <= 1.0:
                raise ValueError(f"{type(self).__name__}: trace {name!r}: decay={trace.decay!r} must be in [0, 1]")
            if trace.of == "mem" and not self.reads_membrane:
                raise ValueError(f"{type(self).__name__}: trace {name!r} reads the membrane: say reads_membrane = True")
        return tuple(self.traces().items())

    def _timed(self, weight: Any, x: Any) -> Any:
        """The signal of one step as a sequence of one step."""
        engine = engine_of(weight)
        return None if x is None else engine.xp.expand_dims(engine.asarray(x), axis=0)

    def _meetings(self, xp: Any, weight: Any, post: Any, pre: Any) -> Any:
        """For each weight, the sum over the batch of the product of its neuron's and its input's value."""
        layer: Any = self.layer
        if layer is None or isinstance(layer, Linear):
            return xp.permute_dims(post, (1, 0)) @ pre
        geometry = (layer.stride, layer.padding, layer.dilation, layer.groups)
        by_weight = rule_of("conv")[1]  # the gradient of a convolution by its weight is the same sum
        return by_weight(xp, post, None, pre, weight, None, *geometry)

    def _check(self, weight: Any, pre: Any, post: Any, mem: Any) -> None:
        """Refuse signals (time, batch, *features) and a weight that do not fit the layer."""
        owner, layer = type(self).__name__, self._connection(weight)
        dense = isinstance(layer, Linear)
        first = (layer.in_features, layer.out_features) if dense else (layer.in_channels, layer.out_channels)
        wanted = (first[1], first[0]) if dense else (first[1], first[0] // layer.groups, *layer.kernel_size)
        if tuple(weight.shape) != wanted:
            raise ShapeError(f"{owner}: weight of shape {tuple(weight.shape)}, but {layer_name(layer)} has {wanted}")
        for which, x, count in (("pre", pre, first[0]), ("post", post, first[1])):
            if x.ndim != (3 if dense else 3 + layer.space) or x.shape[2] != count:
                raise ShapeError(f"{owner}: {which} spikes of shape {tuple(x.shape[1:])} do not fit {layer!r}")
        if 0 in (*pre.shape[:2], *post.shape[:2]):
            raise ShapeError(f"{owner}: spikes of shape {tuple(pre.shape)} have no steps or no samples")
        if tuple(pre.shape[:2]) != tuple(post.shape[:2]):
            raise ShapeError(
                f"{owner}: {pre.shape[1]} samples of pre spikes, {post.shape[1]} of post spikes"
                if pre.shape[1] != post.shape[1]
                else f"{owner}: {pre.shape[0]} steps of pre spikes, {post.shape[0]} of post spikes"
            )
        if self.reads_membrane and mem is None:
            raise ValueError(f"{owner} reads the neurons' membranes: pass mem, shaped like the post spikes")
        if mem is not None and tuple(mem.shape) != tuple(post.shape):
            raise ShapeError(f"{owner}: mem of shape {tuple(mem.shape[1:])}, post spikes of {tuple(post.shape[1:])}")

    def _connection(self, weight: Any) -> Any:
        if self.layer is not None:
            return self.layer
        if weight.ndim != 2:
            raise ShapeError(
                f"{type(self).__name__}: weight of shape {tuple(weight.shape)} is not that of a dense layer: pass "
                "layer=, e.g. sc.Conv2d(...), whose stride and padding say what is connected"
            )
        return Linear(weight.shape[1], weight.shape[0])

    def _require(self, names: str, what: str, holds: Callable[[Any], bool]) -> None:
        """Refuse arguments that are out of range; ``names`` are separated by spaces."""
        for name in names.split():
            if not holds(getattr(self, name)):
                raise ValueError(f"{type(self).__name__}: {name}={getattr(self, name)!r} must be {what}")

    def _require_times(self, names: str) -> None:
        self._require(names, ">= 1 step", lambda tau: tau >= 1)
