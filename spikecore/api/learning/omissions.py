"""The parts of the gradient that a rule leaves out: for which parameters, and in words."""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from spikecore.api.core.layer import EMPTY, Layer
from spikecore.api.core.tree import Params, State, at, leaves
from spikecore.api.layers.containers import Container, readout
from spikecore.api.learning.derivatives import OUT, Quiet, derivatives, largest
from spikecore.api.learning.forward_mode import ForwardMode, SpatialGradient
from spikecore.api.learning.neuronal_dynamics import NeuronalDynamics
from spikecore.api.learning.online import Online
from spikecore.api.learning.rule import READOUT, Rule
from spikecore.api.learning.signals import Aligned, Direct, Local, Symmetric
from spikecore.api.learning.stack import Block, BlockStack, stack_of, under
from spikecore.api.neurons.stepper import Stepper
from spikecore.printing import shortened

SAME = 1e-9  # relative difference of two derivatives above which one is not constant
WIDE = 2.0  # states are drawn up to this many thresholds from rest


class Omission(NamedTuple):
    """A part of the gradient that a rule leaves out.

    Attributes:
        layers: names of the layers whose parameters miss it; "" for the whole network.
        what: the part, in words.
    """

    layers: Tuple[str, ...]
    what: str

    def affects(self, name: str) -> bool:
        """Whether the parameter ``name`` misses this part."""
        return any(layer == "" or name.startswith(f"{layer}.") or name == layer for layer in self.layers)


def omissions_of_window(network: Layer, window: Optional[int], steps: int) -> List[Omission]:
    """The parts that BPTT with a window leaves out of a sequence of ``steps`` steps."""
    layers = _up_to_the_last_state(network)
    if window is None or window >= steps or not layers:
        return []
    cuts = [str(step) for step in range(window, steps, window)]
    what = f"what states carry from one step to the next at steps {shortened(cuts, 3)}"
    return [Omission(layers, what)]


def _up_to_the_last_state(network: Layer) -> Tuple[str, ...]:
    """The layers whose parameters can reach the loss by a state; behind them there is nothing to cut."""
    if not (isinstance(network, Container) and network.in_a_row):
        return () if readout(network) is None else ("",)
    children = list(network.children())
    while children and readout(children[-1][1]) is None:
        children.pop()
    return tuple(name for name, _ in children)


def omissions_of(rule: Rule, engine: Any, params: Params, x: Any, steps: int) -> List[Omission]:
    """The parts that a rule that learns forward in time leaves out.

    Args:
        rule: what runs over the steps.
        engine: the engine that computes Jacobians; it must give gradients.
        params: the network's parameters.
        x: the input of a step (batch, *features).
        steps: number of steps.
    """
    if isinstance(rule, SpatialGradient):
        return omissions_of_window(rule.network, 1, steps)
    if isinstance(rule, ForwardMode):
        return []
    if not isinstance(rule, Online):
        return [Omission(("",), f"what {type(rule).__name__} leaves out is not known here")]
    stack = stack_of(rule.network)
    if steps == 1:  # nothing is earlier
        return [*_of_signals(stack, rule.way)]
    looks = {}
    if rule.trace == "factorised" or rule.kappa == READOUT:
        looks = _looks(engine, stack, rule.network.prepare(engine, params), x)
    found = [*_of_signals(stack, rule.way), *_of_spikes(stack, rule, looks)]
    found += _of_shared_traces(stack, looks) if rule.trace == "factorised" else []
    return [*found, *_of_dynamics(stack)] if isinstance(rule, NeuronalDynamics) else found


def _of_signals(stack: BlockStack, way: Symmetric) -> Iterator[Omission]:
    """The part that another kind of learning signal replaces."""
    replaced = REPLACED[type(way)]
    layers = [*(name for block in stack.blocks if block.path in stack.hidden for name in _names(block))]
    if isinstance(way, Aligned):  # behind the last neurons, too, there are signals from connection to connection
        behind = [path for path, layer in stack.tail]
        connection = stack.last_connection
        layers += behind[: behind.index(connection[0])] if connection in stack.tail else []
    if replaced and layers:
        yield Omission(tuple(layers), replaced)


def _of_spikes(stack: BlockStack, rule: Online, looks: Dict[str, _Look]) -> Iterator[Omission]:
    """Effects of earlier spikes, which are constants."""
    for number, block in enumerate(stack.blocks):
        hidden, later = block.path in stack.hidden, stack.blocks[number + 1 :]
        filtered = bool(rule.kappa) and hidden
        if later and not (rule.way.cuts and hidden):
            place = f"; a filter of the traces, kappa={rule.kappa!r}, takes its place" if filtered else ""
            names = ", ".join(other.path for other in later)
            if not (rule.kappa == READOUT and len(later) == 1 and _is_filter(later[0], looks)):
                what = f"the effect of earlier spikes of layer {block.path} on the states of layer {names}{place}"
                yield Omission(_names(block), what)
        elif filtered:
            what = f"that no layer behind {block.path} remembers, in contrast to the filter kappa={rule.kappa!r}"
            yield Omission(_names(block), what)
        if block.back is not None and rule.trace != "layer":
            what = f"the effect of earlier spikes of layer {block.path or '(the network)'} on its own neurons"
            yield Omission(_names(block), f"{what}, through {block.back[0]}")


REPLACED = {
    Symmetric: "",
    Aligned: "the weights of later layers on the way back; random ones take part or take their place",
    Direct: "the way back through later layers; a random matrix from the last connection's error takes its place",
    Local: "the loss of the network; that of a random readout of the layer's own spikes takes its place",
}  # by the way of the signals


def _names(block: Block) -> Tuple[str, ...]:
    return (*(path for path, _ in block.chain), block.path)


def _of_shared_traces(stack: BlockStack, looks: Dict[str, _Look]) -> Iterator[Omission]:
    """The part that one trace per input leaves out within a block."""
    for block in stack.blocks:
        look = looks[block.path]
        for path, before in look.curved.items():
            if before:
                yield Omission(before, f"that layer {path} passed on other inputs at earlier steps")
        connections = (*look.weighted, *(block.back or ())[:1])
        if connections and not look.constant_leak:
            what = (
                f"the effect of spikes of layer {block.path or '(the network)'} on the later states of the same neuron"
            )
            yield Omission(connections, what)


def _of_dynamics(stack: BlockStack) -> Iterator[Omission]:
    """NDOT's substitute for a neuron's leak: the dynamics of the neurons that its inputs come from."""
    for sender, block in zip((None, *stack.blocks), stack.blocks):
        entering = [] if sender is None else [(sender, block.chain)]
        returning = [] if block.back is None else [(block, (block.back,))]
        for source, layers in entering + returning:
            weights = tuple(under(path, name) for path, layer in layers for name in layer.connections)
            to, by = (one.path or "(the network)" for one in (block, source))
            if weights:
                yield Omission(
                    weights,
                    f"the leak by which layer {to} remembers its inputs; the dynamics of layer {by} take its place",
                )


# ---- what Jacobians at random values show --------------------------------------------------------------------------


class _Look(NamedTuple):
    """The findings on a block.

    Attributes:
        weighted: the layers with weights before the neuron.
        curved: the layers before the neuron that are not linear in their input, and for each the layers with weights
            before it.
        constant_leak: whether the neuron's states depend on earlier ones as without spikes.
        reads_its_state: whether there is one state, and the output depends on the past and the input by it alone.
    """

    weighted: Tuple[str, ...]
    curved: Dict[str, Tuple[str, ...]]
    constant_leak: bool
    reads_its_state: bool


def _is_filter(block: Block, looks: Dict[str, _Look]) -> bool:
    """Whether a block's output reads a filter of the spikes that it gets."""
    look = looks[block.path]
    return look.constant_leak and look.reads_its_state and not look.curved and block.back is None


def _looks(engine: Any, stack: BlockStack, ready: Params, x: Any) -> Dict[str, _Look]:
    found = {}
    for block in stack.blocks:
        weighted = block.weighted(lambda path: at(ready, path))
        curved = {}
        for number, (path, layer) in enumerate(block.chain):
            step = partial(_output, engine, layer, at(ready, path))
            if not _is_linear(engine, step, x):
                curved[path] = tuple(block.chain[place][0] for place in weighted if place < number)
            x = step(x)
        fields = at(ready, block.fields)
        names = tuple(block.chain[place][0] for place in weighted)
        found[block.path] = _Look(names, curved, *_jacobians_of(engine, block.neuron, fields, x))
        x, _ = block.neuron.step(engine, fields, block.neuron.rest(engine, fields, x), x)
    return found


def _output(engine: Any, layer: Any, params: Params, x: Any) -> Any:
    return layer.step(engine, params, EMPTY, x)[0]


def _is_linear(engine: Any, function: Callable[[Any], Any], x: Any) -> bool:
    """Whether a layer is linear, except for a constant, in inputs like ``x``."""
    a, b = (2.0 * engine.uniform(("linear", name), tuple(x.shape)) - 1.0 for name in "ab")
    zero = function(engine.xp.zeros_like(a))
    return not _differ(engine, function(a + b) - function(a), function(b) - zero)


def _jacobians_of(engine: Any, neuron: Stepper, fields: Params, x: Any) -> Tuple[bool, bool]:
    """``constant_leak`` and ``reads_its_state`` of a ``_Look``, from both sides of the threshold."""
    rest, zero = neuron.rest(engine, fields, x), engine.xp.zeros_like(x)
    size = WIDE * (1.0 + max((largest(engine, engine.asarray(value)) for _, value in leaves(fields)), default=0.0))
    draws = {n: engine.uniform(("constant leak", n), tuple(x.shape)) for n in rest}
    silent, above, below = (State({n: rest[n] + shift * draws[n] for n in rest}) for shift in (0.0, size, -size))
    leak = derivatives(Quiet(engine), neuron, fields, silent, zero).rows
    constant, reads = True, len(neuron.state) == 1
    for state in (above, below):
        found = derivatives(engine, neuron, fields, state, zero).rows
        for name in neuron.state:
            pairs = [(found[name].x, leak[name].x), *((a, leak[name].state[n]) for n, a in found[name].state.items())]
            constant = constant and not any(_differ(engine, a, b) for a, b in pairs)
            a, b = found[OUT].state[name] * found[name].x, found[OUT].x * found[name].state[name]
            reads = reads and not _differ(engine, a, b)
    return constant, reads


def _differ(engine: Any, a: Any, b: Any) -> bool:
    return largest(engine, a - b) > SAME * (1.0 + largest(engine, b))
