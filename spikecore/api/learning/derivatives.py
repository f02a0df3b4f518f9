"""The derivatives of one step of a neuron, for each neuron of a layer, computed from ``step`` and the rules.

    U[t] = f(U[t-1], I[t], p)        S[t] = g(U[t-1], I[t], p)

If ``step`` is elementwise, neuron i of sample b depends only on its own states, current and parameters. One
vector-Jacobian product with a cotangent of ones then gives a whole row of every neuron's Jacobian. Where an engine has
the derivatives as a program (``StepwiseLearning``), it gives all of them at once, and numbers where they are constant.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, Dict, Iterable, List, Mapping, Tuple

from spikecore.api.core.extras import StepwiseLearning, extra
from spikecore.api.core.tree import Params, State, Tree, leaves
from spikecore.api.neurons.stepper import Stepper

OUT = "output"


@dataclass(frozen=True)
class Derivatives:
    """The derivatives of one step. Each is an array (batch, *neurons); one that is the same for all neurons may be a
    number or an array of shape (), see ``is_zero`` and ``is_shared``.

    Args:
        rows: for the output (``OUT``) and for each new state, by name: a tree of its derivatives by ``state`` (the
            states before the step, by name), ``x`` (the current) and ``params`` (by name).
    """

    rows: Mapping[str, Tree]

    def read(self, names: Iterable[str]) -> Tuple[str, ...]:
        """The states that the output or a new state depends on."""
        return tuple(n for n in names if not all(is_zero(row.state[n]) for row in self.rows.values()))


def is_zero(derivative: Any) -> bool:
    """Whether a derivative is zero at every step."""
    return type(derivative) is float and derivative == 0.0


def is_shared(derivative: Any) -> bool:
    """Whether a derivative is the same for all neurons and samples."""
    return type(derivative) is float or not derivative.ndim


def weighted(pairs: Iterable[Tuple[Any, Any]], total: Any = 0.0) -> Any:
    """``total`` and the sum of derivatives times values, without derivatives that are zero; the number 0.0 if nothing
    is left.
    """
    for derivative, value in pairs:
        if not is_zero(derivative):
            product = derivative * value
            total = product if is_zero(total) else total + product
    return total


def derivatives(engine: Any, neuron: Stepper, fields: Params, state: State, x: Any) -> Derivatives:
    """Differentiate one step of an elementwise neuron.

    Args:
        engine: the engine; it must give gradients.
        neuron: the neuron.
        fields: its prepared parameters; the step is differentiated by arrays, not by numbers.
        state: the states before the step, each (batch, *neurons).
        x: the current (batch, *neurons).
    """
    known = extra(engine, StepwiseLearning).jacobian(engine, neuron, fields, state, x)
    if known is not None:
        return Derivatives(known)
    argument = Tree(state=state, x=x, params=spread(engine, fields, x))
    names = (OUT, *neuron.state)
    return Derivatives({n: engine.value_and_grad(_sum_of(engine, neuron, fields, n), argument)[2] for n in names})


def at_rest(engine: Any, neuron: Stepper, fields: Params, x: Any) -> Dict[str, Tree]:
    """The derivatives of each state at rest by the neuron's parameters, which the state at rest may depend on."""

    def total(name: str, values: Tree, x: Any) -> Tuple[Any, Any]:
        return engine.xp.sum(neuron.rest(engine, filled(fields, values), x)[name]), ()

    broadcast = spread(engine, fields, x)
    if not len(broadcast):
        return {name: broadcast for name in neuron.state}
    return {name: engine.value_and_grad(partial(total, name), broadcast, x)[2] for name in neuron.state}


def _sum_of(engine: Any, neuron: Stepper, fields: Params, name: str, weights: Any = None) -> Any:
    """A function of (state, x, params): the sum over neurons of the output or of one state, weighted by ``weights``."""

    def total(at: Tree) -> Tuple[Any, Any]:
        output, after = neuron.step(engine, filled(fields, at.params), at.state, at.x)
        value = output if name == OUT else after[name]
        return engine.xp.sum(value if weights is None else value * weights), ()

    return total


def arrays_of(fields: Params) -> List[Tuple[str, Any]]:
    """The prepared parameters that are arrays, by dotted name; the others are numbers."""
    return [(name, value) for name, value in leaves(fields) if hasattr(value, "dtype")]


def spread(engine: Any, fields: Params, x: Any) -> Tree:
    """Every parameter, broadcast to one value per neuron and sample, by dotted name."""
    shape = tuple(x.shape)
    return Tree({name: engine.xp.broadcast_to(engine.asarray(value), shape) for name, value in arrays_of(fields)})


def filled(fields: Params, values: Tree) -> Params:
    """``fields`` with the arrays in ``values``, given by dotted name, in place of its own."""
    return _filled(fields, values, "")


def _filled(fields: Any, values: Tree, path: str) -> Any:
    if not isinstance(fields, Tree):
        return values.get(path, fields)
    return type(fields)({n: _filled(value, values, f"{path}.{n}" if path else n) for n, value in fields.items()})


def check_elementwise(engine: Any, where: str, neuron: Stepper, fields: Params, x: Any) -> None:
    """Refuse a neuron whose states depend on other neurons: its eligibility would need all pairs of neurons.

    The check compares shapes. If the engine has no program of the step, it then compares the derivative of a weighted
    sum of outputs with the weighted derivative of their sum, at random states: for an elementwise step both are equal.

    Raises:
        ValueError: the message names the layer and what to use instead.
    """
    refusal = (
        f"layer {where} ({type(neuron).__name__}) is not elementwise, so it has no eligibility per neuron: use "
        "learning='rtrl' (backprop.rtrl), which is exact for any network, or BPTT"
    )
    if neuron.projects:
        raise ValueError(refusal)
    rest = neuron.rest(engine, fields, x)
    narrow = any(value.ndim >= x.ndim for _, value in arrays_of(fields))
    if narrow or any(tuple(value.shape) != tuple(x.shape) for value in rest.values()):
        raise ValueError(refusal)
    known = extra(engine, StepwiseLearning).jacobian(engine, neuron, fields, State(rest), x)
    if known is not None:  # a program of one element cannot read another
        return
    draw = lambda name: engine.uniform(("elementwise", name), tuple(x.shape))  # noqa: E731
    argument = Tree(
        state=State({n: value + draw(n) for n, value in rest.items()}), x=draw("x"), params=spread(engine, fields, x)
    )
    for name in (OUT, *neuron.state):
        weights = 0.5 + draw(f"weights {name}")
        _, _, plain = engine.value_and_grad(_sum_of(engine, neuron, fields, name), argument)
        _, _, weighted = engine.value_and_grad(_sum_of(engine, neuron, fields, name, weights), argument)
        for (_, a), (_, b) in zip(leaves(plain), leaves(weighted)):
            if largest(engine, a * weights - b) > 1e-4 * largest(engine, b):
                raise ValueError(refusal)


def largest(engine: Any, x: Any) -> float:
    """The largest absolute value of an array."""
    return float(engine.to_numpy(engine.xp.max(engine.xp.abs(x))))


class Quiet:
    """An engine whose spikes have derivative zero, so that a step's Jacobian is the neuron's leak alone.

    Args:
        engine: the engine that computes.
    """

    extras = ()  # its derivatives of a step would be those of spikes with a derivative

    def __init__(self, engine: Any) -> None:
        self.engine, self.xp = engine, _WithSpike(engine.xp, self.spike)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def spike(self, u: Any, surrogate: Any) -> Any:
        """The spikes, with derivative zero."""
        return self.engine.stop_gradient(self.engine.spike(u, surrogate))


class _WithSpike:
    """The words of an engine, with another word ``spike``: a neuron may call it here, too."""

    def __init__(self, words: Any, spike: Callable[[Any, Any], Any]) -> None:
        self.words, self.spike = words, spike

    def __getattr__(self, name: str) -> Any:
        return getattr(self.words, name)
