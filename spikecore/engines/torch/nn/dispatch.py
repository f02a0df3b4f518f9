"""``snn.run`` on all steps at once: torch's functions called on tensors that each stand for a whole sequence.

``forward`` is written for one time step. Here it is called once for all steps, with stand-ins (``over_time.py``): they
look like tensors of one step and hold those of all steps. A mode of torch (``torch.overrides.TorchFunctionMode``)
redirects each function that ``forward`` calls on them: it runs with time and batch as one batch, by ``torch.vmap``, or
once per step. If none of these gives what the loop would give, ``StepByStep`` is raised.
"""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, FrozenSet, List, Sequence, Set, Tuple

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from spikecore.engines.torch.batch_norm import by_rows, normalized
from spikecore.engines.torch.convolution import CONV, conv
from spikecore.engines.torch.layout import canonical, pooled
from spikecore.engines.torch.modes import has_data
from spikecore.engines.torch.nn.calls import BATCHED, QUESTIONS, REFUSED, SIZES, FunctionCall
from spikecore.engines.torch.nn.neuron_run import SPIKES, NeuronRun
from spikecore.engines.torch.nn.over_time import SequenceTensor, StepByStep, holding, memory_of
from spikecore.engines.torch.nn.unchanged import STOPS, first_line
from spikecore.engines.torch.pooling import max_pool2d
from spikecore.engines.torch.product import linear
from spikecore.kernels.sparse.product import watched

POOLS = ("max_pool2d", "avg_pool2d")
ONCE, MERGED = "once: constant in time", "time and batch merged"
EACH = "all steps at once, each by its own statistics"


class SequenceMode(TorchFunctionMode):
    """One run of a network over all steps: a mode in which torch's functions accept stand-ins for sequences.

    Args:
        modules: the network's modules by name.
        start: the states that each neuron starts from.
        device: where the input lies.
        steps: number of steps.
        record: names of the layers whose states are wanted.
        fused: whether kernels may run.
        apart: functions that are called once per step.
        partial: whether these are a few samples of a batch, whose size ``forward`` must not ask for.
    """

    def __init__(
        self,
        modules: Dict[str, Any],
        start: Any,
        device: Any,
        steps: int,
        record: Sequence[str],
        fused: bool,
        apart: FrozenSet[str] = frozenset(),
        partial: bool = False,
    ) -> None:
        super().__init__()
        self.apart, self.partial = apart, partial
        self.mapped: Set[str] = set()  # functions that were called for several steps at once
        self.start, self.device, self.steps, self.record, self.fused = start, device, steps, record, fused
        self.names = {id(module): name for name, module in modules.items()}
        self.counters = {id(m.num_batches_tracked) for m in modules.values() if hasattr(m, "num_batches_tracked")}
        self.last = not any(isinstance(m, nn.modules.dropout._DropoutNd) and m.training for m in modules.values())
        self.made: List[Any] = []  # weak references to all stand-ins
        self.owners: Dict[int, str] = {}  # memory that ``forward`` may not edit, and what lies there
        self.runs: Dict[Any, Any] = {}  # neurons that were called, and what gives their last states
        self.states: Dict[Any, Dict[str, Any]] = {}  # of each neuron, as the library put them on it
        self.inside: List[str] = []  # layers whose forward runs now, innermost last; filled for ``explain``
        self.rows: Dict[str, Any] = {}  # what ran how
        self.buffers: List[Tuple[Any, Any]] = []  # that were changed, and what was in them
        self.draws, self.drawn = False, generators(device)

    def say(self, how: str) -> None:
        """Note how the layer at work runs."""
        if self.inside:
            self.rows.setdefault(self.inside[-1], how)

    def neuron(self, module: Any, x: SequenceTensor, given: Any) -> Any:
        """Run a neuron that ``forward`` calls over all steps; returns stand-ins for the results of the call."""
        if module not in self.start:
            raise StepByStep("forward calls a neuron that is no submodule of the network")
        name = self.names[id(module)]
        if module in self.runs or any(value is not None for value in given):
            reason = StepByStep(f"layer {name!r} is used twice in one step or given its state by forward")
            if module not in self.runs and all(
                type(v) is SequenceTensor and v.constant for v in given if v is not None
            ):
                reason.restarted = name
            raise reason
        self.check_states(name, module, "before")
        if module.overridden():
            raise StepByStep(f"layer {name!r} is made by snnTorch's protocol, for {module.overridden()}")
        with torch._C.DisableTorchFunction():
            self.check([x])
            start, protocol = self.start[module], module.by_protocol()
            if module.scans and not protocol:
                run = NeuronRun(self, module, x, start, name in self.record)
                self.runs[module], self.rows[name] = run.finish, lambda: module.explained(self.fused)
                returned = run.returned()
                self.states[module] = module.hidden()
                return returned

            def step(row: Any) -> Any:
                return module._advance(row, *given), module.hidden()

            before = dict(vars(module))
            module.set_hidden(start)
            why = f"snnTorch's protocol, for {protocol}" if protocol else "its step is its own"
            returned, states = self.by_steps(FunctionCall(step, (x,), {}), why)
            last = {n: None if v is None else v.seq[-1].detach() for n, v in states.items()}
            self.runs[module] = lambda: last
            vars(module).clear()
            vars(module).update(before, **states)
            self.states[module] = module.hidden()
            return returned

    def check_states(self, name: str, module: Any, when: str) -> None:
        """Refuse states of a neuron that ``forward`` has set: the next step would begin with them.

        A state counts as set if it is another object than the neuron left: values that ``forward`` makes of it are
        stand-ins, too.
        """
        own = self.states[module]
        if any(vars(module)[state] is not value for state, value in own.items()):
            reason = StepByStep(f"forward sets the state of layer {name!r} {when} it is called")
            reason.restarted = name if when == "before" else ""
            raise reason

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        call = FunctionCall(func, args, kwargs or {})
        name = call.name
        self.check(call.stand_ins)
        if not call.stand_ins:
            return self._plain(call)
        if name in REFUSED:
            raise StepByStep(f"forward asks for, or changes, a tensor's {name}")
        if name in QUESTIONS:
            if self.partial and name in SIZES and (name != "size" or args[1:] in ((), (0,)) or call.kwargs):
                raise StepByStep("forward asks for the size of the batch, of which this is a part")
            return func(*args, **call.kwargs)
        if name == "data":
            return self.data_of(args[0])
        if name == "iter":
            return iter(self.__torch_function__(torch.Tensor.unbind, types, args))
        if "dropout" in name and call.training is False:
            return args[0]
        if call.in_place:
            return self._in_place(call)
        leads = len(call.stand_ins) == 1 and bool(args) and args[0] is call.stand_ins[0]  # == would compare values
        result = self._merged(call, *args, **call.kwargs) if leads and name not in self.apart else None
        return self._each_step(call) if result is None else result

    def data_of(self, x: SequenceTensor) -> SequenceTensor:
        """A stand-in for ``x.data``: the same memory, detached, so that edits of it are not seen by autograd."""
        return holding(self, x.seq.data)

    @staticmethod
    def check(stand_ins: List[SequenceTensor]) -> None:
        """Refuse stand-ins that do not hold what ``forward`` would see, or not its gradient."""
        for x in stand_ins:
            if x.grad_fn is not None:
                raise StepByStep("an autograd.Function of forward's own got a stand-in")
            if x.refused:
                raise StepByStep(x.refused)

    def _plain(self, call: FunctionCall) -> Any:
        """Make a call without stand-ins. Its result is constant in time, unless it draws: see ``check_draws``."""
        counters = any(id(x) in self.counters for x in call.tensors)
        if call.in_place and counters and len(call.tensors) == 1:  # batch norm counts its batches
            counter, count = call.args
            self.buffers.append((counter, counter.clone()))
            return call.func(counter, self.steps * count)
        if (call.in_place and call.tensors) or (counters and self.buffers):
            raise StepByStep(f"{call.name} changes, or looks at, a tensor that is another one at every step")
        memory, result = {memory_of(x) for x in call.tensors}, call.func(*call.args, **call.kwargs)
        new = [isinstance(y, torch.Tensor) and memory_of(y) not in memory for y in tree_flatten(result)[0]]
        return self._wrapped(tree_map(lambda y: y[None], result)) if new and all(new) else result

    def _merged(self, call: FunctionCall, x: SequenceTensor, *rest: Any, **kwargs: Any) -> Any:
        """A call that takes time and batch as one batch; None for all others."""
        if call.name == "linear" and x.dim() == 2 and rest and rest[0].layout is torch.strided:
            if x.values is None and x.what == "spk":
                with watched() as found:
                    product = x.run.readout(*rest, **kwargs)
                if product is not None:
                    self.say("; ".join(["on spikes as they are made", *found]))
                    return holding(self, product)
            return self._as_batch(call.name, x, lambda flat: linear(flat, *rest, **{**kwargs, "look": self.fused}))
        if not (x.dim() == BATCHED.get(call.name) or (call.name == "batch_norm" and call.training is False)):
            return None

        def function(flat: Any) -> Any:
            own = self.fused and call.name == "max_pool2d"
            return (max_pool2d if own else call.func)(flat, *rest, **kwargs)

        if call.func in CONV.values():
            options = {**kwargs, "last": self.last, "look": self.fused}
            return self._as_batch(call.name, x, lambda flat: conv(flat, *rest, **options))
        if call.name in POOLS:
            return self._as_batch(call.name, x, lambda flat: pooled(function, flat))
        return self._as_batch(call.name, x, function)

    def _as_batch(self, name: str, x: SequenceTensor, function: Callable[[Any], Any]) -> Any:
        with watched() as found:
            result = function(canonical(x.seq.flatten(0, 1)))
        self.mapped.add(name)
        self.say("; ".join([ONCE if x.constant else MERGED, *found]))
        return tree_map(lambda y: holding(self, y.unflatten(0, x.seq.shape[:2])), result)

    def _each_step(self, call: FunctionCall) -> Any:
        """The result of ``torch.vmap`` for a call over time; where it cannot, one call per step."""
        if call.name == "batch_norm":
            if call.training is None:
                raise StepByStep("torch.batch_norm, called by itself, does not say whether it trains")
            if self.partial:
                raise StepByStep("a batch is normalised, of which this is a part")
            if any(kept is buffer for kept, _ in self.buffers for buffer in call.args[1:3]):
                raise StepByStep("a batch norm is used twice in one step, and the order of its statistics would change")
            self.buffers += [(buffer, buffer.clone()) for buffer in call.args[1:3] if buffer is not None]
            result = self._normalized(call)
            return self.by_steps(call, "its statistics are those of one step") if result is None else result
        if "dropout" in call.name:  # vmap refuses others that draw
            return self.by_steps(call, "it may draw")
        if call.name in self.apart or call.shares_ties:
            return self.by_steps(call, "at a tie its gradient would go elsewhere" if call.shares_ties else "as asked")
        varying = [x for x in call.stand_ins if not x.constant]
        constant = {id(x): x.seq[0] for x in call.stand_ins if x.constant}

        def step(*rows: Any) -> Any:
            result = call.on({**constant, **{id(x): row for x, row in zip(varying, rows)}})
            return rows[0] if call.name == "setitem" else result  # which returns nothing, and vmap takes no nothing

        if not varying:
            self.say(ONCE)
            return self._wrapped(tree_map(lambda y: y[None] if isinstance(y, torch.Tensor) else y, call.on(constant)))
        try:
            result = torch.vmap(step)(*[x.seq for x in varying])
        except STOPS:
            raise
        except Exception as error:  # noqa: BLE001  (what vmap does not know raises anything)
            return self.by_steps(call, f"torch.vmap: {first_line(error)}")
        self.mapped.add(call.name)
        self.say("all steps at once")
        return None if call.name == "setitem" else self._wrapped(result)

    def _normalized(self, call: FunctionCall) -> Any:
        """Batch norm by the statistics of each step, all steps at once; None where torch's own is to run."""
        named: Any = call.kwargs.get
        x, buffers = call.stand_ins[0].seq, call.args[1:3]
        axis, others = (1, *range(3, x.ndim)), call.tensors[1:]
        plain = len(call.stand_ins) == 1 and all(has_data(y) and y.dtype == x.dtype and y.ndim == 1 for y in others)
        count = math.prod(x.shape[i] for i in axis)
        if not (self.fused and plain and by_rows(x, axis) and count > 1 and isinstance(named("momentum"), float)):
            return None
        y, moments = normalized(x, None, named("weight"), named("bias"), axis, named("eps"))
        weight, since = named("momentum"), torch.arange(self.steps - 1, -1, -1, dtype=x.dtype)
        shares = weight * (1.0 - weight) ** since  # of each step in the running statistics after the last one
        for buffer, each in zip(buffers, (moments[0], moments[1] * (count / (count - 1)))):
            if buffer is not None:
                buffer.mul_((1.0 - weight) ** self.steps).add_(shares @ each.expand(self.steps, -1))
        self.say(ONCE if call.stand_ins[0].constant else EACH)
        return holding(self, y)

    def _in_place(self, call: FunctionCall) -> Any:
        target = call.kwargs.get("out", call.args[0] if call.args else None)
        if not isinstance(target, SequenceTensor) or "dropout" in call.name:
            raise StepByStep(f"{call.name} works in place on something that is not of this step, or draws")
        alive, memory = [x for x in (ref() for ref in self.made) if x is not None], memory_of(target.seq)
        for x in alive:
            if x.values is None and (x.run.x.values is None or memory_of(x.run.x.values) == memory):
                x.seq  # noqa: B018  (the neuron is to see its input as it is now)
        several = sum(x.values is not None and memory_of(x.values) == memory for x in alive) > 1
        owner, varies = self.owners.get(memory, ""), target.constant and not all(x.constant for x in call.stand_ins)
        if (owner and (several or owner != SPIKES)) or (varies and several):
            raise StepByStep(f"{call.name} works in place on {owner or 'a value with two names'}")
        if varies:
            target.values = target.seq.expand(self.steps, *target.shape)
        if varies or owner:
            target.values = target.seq.clone()
        return target if isinstance(self._each_step(call), SequenceTensor) else None

    def by_steps(self, call: FunctionCall, why: str) -> Any:
        """One call per step, stacked."""
        self.check_draws()
        rows = {id(x): [canonical(row) for row in x.seq] for x in call.stand_ins}
        results = [call.on({key: row[t % len(row)] for key, row in rows.items()}) for t in range(self.steps)]
        now = generators(self.device)
        if not torch.equal(now, self.drawn):
            if self.draws:
                raise StepByStep("2 layers draw random numbers at every step, and their order would change")
            if not all(row[0].is_contiguous() for row in rows.values() if row[0].ndim == 4):
                raise StepByStep("random numbers are drawn for maps that do not lie in the order of their axes")
            self.draws, self.drawn, why = True, now, "it draws at every step"
        self.say(f"step by step: {why}")
        return self._wrapped(stacked(results, call.name))

    def _wrapped(self, result: Any) -> Any:
        return tree_map(lambda y: holding(self, y) if isinstance(y, torch.Tensor) else y, result)

    def check_draws(self) -> None:
        """Refuse random draws outside of redirected functions: the loop would draw anew at each step."""
        if not torch.equal(generators(self.device), self.drawn):
            raise StepByStep("forward uses a random number generator outside of layers")

    def escaped(self) -> str:
        """The reason to refuse a run that left stand-ins alive, which ``forward`` must have stored; "" if none is."""
        alive = any(ref() is not None for ref in self.made)
        return "forward, or torch.utils.checkpoint in it, keeps a tensor beyond the step" if alive else ""

    def whole(self, result: Any) -> Any:
        """The results of ``forward``, over time."""

        def expand(y: Any) -> Any:
            if isinstance(y, SequenceTensor):
                self.check([y])
            seq = y.seq if isinstance(y, SequenceTensor) else y[None] if isinstance(y, torch.Tensor) else None
            return y if seq is None else seq.expand(self.steps, *seq.shape[1:])

        return tree_map(expand, result)


def stacked(results: List[Any], name: str = "forward") -> Any:
    """Structures of tensors, one per step, as one structure over time; what is no tensor must not change."""
    flat = [tree_flatten(result) for result in results]
    outlines = [(spec, [(x.shape, x.dtype) if isinstance(x, torch.Tensor) else x for x in xs]) for xs, spec in flat]
    if any(outline != outlines[0] for outline in outlines):
        raise StepByStep(f"{name} makes something else at every step")
    columns = zip(*(leaves for leaves, _ in flat))
    joined = [torch.stack(c) if isinstance(c[0], torch.Tensor) else c[0] for c in columns]
    return tree_unflatten(joined, flat[0][1])


def generators(device: torch.device) -> Any:
    """The state of the generators that torch's functions draw from on a device and on the host, as one tensor."""
    host = torch.get_rng_state()
    return torch.cat([host, torch.cuda.get_rng_state(device)]) if device.type == "cuda" else host
