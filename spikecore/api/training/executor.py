"""``NetworkExecutor``, the base of the executors on general-purpose engines, and checks of training states."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from spikecore.api.core.engine import Engine, Executor
from spikecore.api.core.executor import GradientAccess
from spikecore.api.core.host import to_numpy
from spikecore.api.core.layer import EMPTY, Key, Layer, Pass, Shape, shapes_of
from spikecore.api.core.ranks import Ranks
from spikecore.api.core.sizes import is_finite, is_whole, whole_number
from spikecore.api.core.tree import Params, Tree, flatten, leaves, map_leaves, rebuild, replaced, unflatten
from spikecore.api.functional.loss import LossBase, WeightedSum
from spikecore.api.functional.targets import targets_on
from spikecore.api.layers.containers import connections_of
from spikecore.api.layers.network import Output, forward, objective, record_option
from spikecore.api.training.clipping import Squares, check_gradients, clipped, squares_of
from spikecore.api.training.optimizers import Optimizer

MOST_STEPS = 2**53
PARTS = ("params", "buffers", "optimizer", "step", "lr")  # entries of a state; the first three are arrays by name


def recorded_for(loss: Any) -> Tuple[str, ...]:
    """The layers whose states a loss needs: those that it names, and the "last" unless it reads outputs only.

    The library's costs and functions of the user's own name them in ``layers``: one name, a tuple or a list of names.
    """
    terms = [term for _, term in loss.terms] if isinstance(loss, WeightedSum) else [loss]
    named: List[str] = []
    for term in terms:
        layers = getattr(term, "layers", ())  # an object of the user's own may have anything here
        several = layers if isinstance(layers, (tuple, list)) else (layers,)
        named += [name for name in several if isinstance(name, str)]
    plain = all(isinstance(term, LossBase) and term.reads == "spikes" for term in terms)
    return tuple(dict.fromkeys((*named, *(() if plain else ("last",)))))


def complete_state(state: Mapping[str, Any]) -> Dict[str, Any]:
    """A state from a user, with tensors converted to NumPy arrays.

    Raises:
        ValueError: a part is missing.
    """
    missing = [part for part in PARTS if part not in state]
    if missing:
        raise ValueError(f"state has no {', '.join(missing)}: pass all that model.state() returns")
    arrays = {
        part: {name: to_numpy(x) for name, x in state[part].items()}
        for part in PARTS[:3]
        if isinstance(state[part], Mapping)
    }
    return {**state, **arrays}


def fitting(part: str, flat: Any, like: Any) -> Any:
    """The arrays of one part of a state as a tree like ``like``, checked: real floating-point NumPy arrays only.

    Raises:
        KeyError: a name is missing or unknown.
        ValueError: an array has another shape or dtype, or ``flat`` does not hold arrays by name.
    """
    if not isinstance(flat, Mapping):
        raise ValueError(f"{part}: {type(flat).__name__} must be arrays by name, as in the state of a model")
    try:
        tree = unflatten(flat, like)
    except (KeyError, ValueError) as error:
        other = "; the state is that of another network: spikecore.load(path) makes the network of a file, too"
        raise type(error)(f"{part}: {error.args[0]}{other if part == 'params' else ''}") from None
    for name, x in flat.items():
        if x.dtype.kind != "f":
            raise ValueError(f"{part}: {name} has dtype {x.dtype}, expected real floating-point numbers")
    return tree


def _trained(optimizer: Optional[Optimizer], network: Layer, params: Params) -> Dict[str, Optimizer]:
    """The optimisers of the parameters that are not frozen, by name. Only those of connections keep zeros."""
    if optimizer is None:
        return {}
    specs = optimizer.by_name(name for name, _ in leaves(params))
    trained = {name: spec for name, spec in specs.items() if spec is not None}
    if not optimizer.keep_zeros:
        return trained
    plain = set(trained) - set(connections_of(network))
    return {name: replace(spec, keep_zeros=False) if name in plain else spec for name, spec in trained.items()}


def check_window(window: Optional[int]) -> None:
    """Refuse a window of truncated BPTT that is not an int >= 1 or None."""
    if window is not None and not is_whole(window, 1):
        raise ValueError(f"window={window!r} must be an int >= 1, or None")


def executor_from(
    network: Layer,
    engine: Engine,
    shape: Shape,
    state: Mapping[str, Any],
    loss: Any = None,
    optimizer: Optional[Optimizer] = None,
    **options: Any,
) -> Tuple[Executor, Shape]:
    """An executor with the weights and training state in ``state``, and the shape of one sample of the output.

    Args:
        network, engine: as for ``Model``.
        shape: shape of one sample.
        state: as ``Model.state`` returns it.
        loss, optimizer, options: as for ``Engine.compile``.

    Raises:
        ShapeError: the network does not take samples of this shape.
        ValueError, KeyError: the state belongs to another network or optimiser.
    """
    like = shapes_of(network, shape)
    params, buffers = (fitting(part, state[part], getattr(like, part)) for part in ("params", "buffers"))
    with engine.isolated():
        executor = engine.compile(network, params, buffers, loss, optimizer, **options)
        executor.load(dict(state))
    return executor, like.shape


class NetworkExecutor(Executor, GradientAccess):
    """Weights, buffers and optimiser of one network on one engine; ``guarded`` and others: see ``GradientAccess``.

    Args:
        engine: the engine.
        network: the layers.
        params: initial parameters, NumPy arrays.
        buffers: initial buffers, NumPy arrays.
        loss: callable ``(out, targets) -> scalar``; None for an executor that does not train.
        optimizer: an ``Optimizer``; None for an executor that does not train.
        window: truncated BPTT, in steps; None: full BPTT.
        record: "last" makes a training step return the last layer's states even if the loss does not read them.
        ranks: the processes that train this network together; default: this one alone.
    """

    def __init__(
        self,
        engine: Engine,
        network: Layer,
        params: Params,
        buffers: Tree,
        loss: Any,
        optimizer: Optional[Optimizer],
        *,
        window: Optional[int] = None,
        record: Any = (),
        ranks: Optional[Ranks] = None,
    ) -> None:
        check_window(window)
        self.engine, self.network, self.loss, self.optimizer = engine, network, loss, optimizer
        self.clip_norm = None if optimizer is None else optimizer.clip_norm
        self.window = window
        self.ranks = Ranks() if ranks is None else ranks
        read = () if loss is None else (*((record,) if record else ()), *recorded_for(loss))
        self.record = record_option(network, read)
        self.steps_done = 0
        self.lr = optimizer.lr if optimizer is not None else 0.0
        self.waiting: Optional[Params] = None  # the sum of gradients that wait for ``update``, by dotted path
        self.added = 0.0  # the sum of the weights with which they were added
        self.moved: Optional[Tree] = None  # the buffers after the batches that wait, which ``update`` installs
        #: The optimiser of each parameter that is trained, by name; groups give some parameters other options.
        self.trained: Dict[str, Optimizer] = _trained(optimizer, network, params)
        self.place(params, buffers)

    def place(self, params: Params, buffers: Tree) -> None:
        """Copy weights and buffers to the engine."""
        self.params = map_leaves(lambda x: self.engine.asarray(x.copy()), params)
        self.buffers = map_leaves(lambda x: self.engine.asarray(x.copy()), buffers)
        self.optimizer_arrays: Dict[str, Dict[str, Any]] = {name: {} for name in self.trained}

    @property
    def gradients(self) -> Optional[GradientAccess]:
        return self

    def training_pass(self, steps: Optional[int], key: Optional[Key]) -> Pass:
        """The settings of the pass of one training step."""
        return Pass(self.engine, steps, True, key, self.record, self.window, repeating=True)

    def batch(self, inputs: Any, targets: Any) -> Tuple[Any, Any]:
        """A batch on the engine: inputs in the engine's dtype, integer targets as int64."""
        return self.engine.asarray(inputs), targets_on(self.engine, targets)

    def step(
        self,
        inputs: Any,
        targets: Any,
        *,
        steps: Optional[int] = None,
        key: Optional[Key] = None,
        state: Any = None,
        lengths: Optional[Sequence[int]] = None,
    ) -> Tuple[float, Output]:
        self.discard()
        loss, out = self.add(inputs, targets, steps=steps, key=key, state=state, lengths=lengths)
        if math.isfinite(loss) or not self.guarded:
            self.update()
        return loss, out

    def collect(self, figures: Sequence[float]) -> List[float]:  # the numbers alone: a subclass adds up gradients
        self.added, *sums = self.ranks.sums([self.added, *figures])
        return sums

    def differentiate(
        self, run: Pass, x: Any, targets: Any, buffers: Tree, state: Any, lengths: Optional[Sequence[int]]
    ) -> Tuple[float, Output, Tree, Params]:
        """The loss of a batch on the engine, the output, the new buffers, and the gradients of trained parameters."""
        frozen = len(self.trained) < len(leaves(self.params))
        varied = Tree({n: p for n, p in leaves(self.params) if n in self.trained}) if frozen else self.params

        def value(varied: Tree, params: Params, buffers: Tree, x: Any, y: Any, state: Any) -> Any:
            params = replaced(params, varied) if frozen else varied  # type: ignore[arg-type,assignment]
            return objective(self.network, self.loss, run, params, buffers, x, y, state, lengths)

        constants = self.params if frozen else EMPTY, buffers, x, targets, state
        loss, (out, moved), grads = self.engine.value_and_grad(value, varied, *constants)
        return float(loss), out, moved, grads

    def add(
        self,
        inputs: Any,
        targets: Any,
        *,
        weight: float = 1.0,
        whole: Optional[int] = None,
        last: bool = False,
        steps: Optional[int] = None,
        key: Optional[Key] = None,
        state: Any = None,
        lengths: Optional[Sequence[int]] = None,
    ) -> Tuple[float, Output]:
        # ``whole`` and ``last``, see ``GradientAccess.add``, are for executors that share a batch with other processes
        x, y = self.batch(inputs, targets)
        buffers = self.buffers if self.moved is None else self.moved
        run = self.training_pass(steps, key)
        loss, out, self.moved, grads = self.differentiate(run, x, y, buffers, state, lengths)
        self.add_gradient(grads, weight)
        return loss, out

    def add_gradient(self, grads: Params, weight: float) -> None:
        by_name = flatten(grads)
        share = Params({name: by_name[name] if weight == 1.0 else weight * by_name[name] for name in self.trained})
        self.waiting = share if self.waiting is None else map_leaves(lambda a, b: a + b, self.waiting, share)
        self.added += weight

    def gradient(self) -> Params:  # nothing waits afterwards; the batches' buffers are installed
        grads: Any = self.waiting
        if self.added != 1.0:
            grads = map_leaves(lambda g: g / self.added, grads)
        if self.moved is not None:
            self.buffers = self.moved
        self.discard()
        return grads  # type: ignore[no-any-return]

    def discard(self) -> None:
        self.waiting, self.added, self.moved = None, 0.0, None

    def apply(self, grads: Params) -> None:
        by_name, xp, asarray = flatten(grads), self.engine.xp, self.engine.asarray
        params, before = dict(leaves(self.params)), self.optimizer_arrays
        gradients = {name: by_name[name] for name in self.trained}
        if self.clip_norm is not None:  # with ``keep_zeros``, connections that do not exist do not count for the norm
            gradients = {name: self.trained[name].existing(xp, params[name], g) for name, g in gradients.items()}
        self.note_squares(squares_of(xp, gradients))
        gradients = clipped(gradients, self.squares, self.clip_norm)
        self.steps_done += 1
        for name, grad in gradients.items():
            params[name], arrays = self.updated(self.trained[name], params[name], grad, before[name])
            before[name] = {slot: asarray(x) for slot, x in arrays.items()}  # NumPy 1 makes scalars float64
        self.params = rebuild(self.params, iter([asarray(x) for x in params.values()]))

    def note_squares(self, squares: Squares) -> None:
        """Note the squares of an update's gradients; if steps are guarded, raise GradientError if one is not finite."""
        self.squares = squares
        if self.guarded:
            check_gradients(self.network, squares)

    def updated(self, spec: Optimizer, param: Any, grad: Any, slots: Dict[str, Any]) -> Tuple[Any, Dict[str, Any]]:
        """A parameter and its optimiser's arrays after an update."""
        lr = self.optimizer.rate(spec, self.lr)  # type: ignore[union-attr]
        return spec.update(self.engine.xp, param, grad, slots, self.steps_done, lr)

    def assign(self, params: Params) -> None:
        self.assigned += 1
        self.params = map_leaves(self.engine.asarray, params)

    def set_lr(self, lr: float) -> None:
        self.lr = lr

    def run(
        self, inputs: Any, state: Any = None, *, steps: Optional[int] = None, record: Any = (), first: int = 0
    ) -> Output:
        trains = self.optimizer is not None  # then validation picks kernels as training does, by sizes alone
        names, key = record_option(self.network, record), Key((), first) if first else None
        run = Pass(self.engine, steps, key=key, record=names, repeating=trains)
        return forward(self.network, run, self.used(), self.buffers, self.engine.asarray(inputs), state)[0]

    def used(self) -> Params:
        """The parameters as a pass takes them; a subclass whose ranks hold parts of the weights gathers them here."""
        params: Params = self.params
        return params

    def weights(self) -> Dict[str, Any]:
        return {name: self.engine.to_numpy(x).copy() for name, x in flatten(self.params).items()}

    def state(self) -> Dict[str, Any]:
        host = self.engine.to_numpy
        return {
            "params": self.weights(),
            "buffers": {name: host(x).copy() for name, x in flatten(self.buffers).items()},
            "optimizer": {name: host(x).copy() for name, x in self.slots().items()},
            "step": self.steps_done,
            "lr": self.lr,
        }

    def load(self, state: Dict[str, Any]) -> None:
        params = fitting("params", state["params"], self.params)  # divided weights show the shape of the whole
        buffers = fitting("buffers", state["buffers"], self.buffers)
        step, lr, slots = whole_number("step", state["step"], 0), state["lr"], self._fitting_slots(state)
        if step > MOST_STEPS:
            raise ValueError(f"step={step!r} must be at most 2**53, the largest number of steps that counts exactly")
        if not is_finite(lr) or lr < 0:
            raise ValueError(f"lr={lr!r} must be a finite number >= 0")
        self.place(params, buffers)  # all checks are above, so a refused state changes nothing
        self.steps_done = step
        self.load_slots({name: self.engine.asarray(x.copy()) for name, x in slots.items()})
        self.set_lr(float(lr))

    def _fitting_slots(self, state: Dict[str, Any]) -> Dict[str, Any]:
        """The optimiser's arrays in a state, checked; none before the first step, and none without an optimiser."""
        slots = state["optimizer"]
        if self.optimizer is None:
            return {}
        if isinstance(slots, Mapping) and not slots:
            if state["step"] and self.optimizer.slots and self.trained:
                raise ValueError(
                    f"step={state['step']!r}, but optimizer is empty: give the arrays of the optimiser, or step=0 to "
                    "reset it"
                )
            return {}
        names = self.optimizer.slots
        like = Tree(
            {name: Tree({slot: x for slot in names}) for name, x in leaves(self.params) if name in self.trained}
        )
        return flatten(fitting("optimizer", slots, like))

    def slots(self) -> Dict[str, Any]:
        """The optimiser's arrays, named "<parameter>.<slot>"; empty before the first step."""
        return {f"{name}.{slot}": x for name, arrays in self.optimizer_arrays.items() for slot, x in arrays.items()}

    def load_slots(self, slots: Dict[str, Any]) -> None:
        """Restore what ``slots`` returned."""
        wanted = self.optimizer.slots if slots and self.optimizer is not None else ()
        self.optimizer_arrays = {name: {slot: slots[f"{name}.{slot}"] for slot in wanted} for name in self.trained}
