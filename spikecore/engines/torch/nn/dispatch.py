"""What torch's functions do with stand-ins for all steps (``torch.overrides.TorchFunctionMode``)."""

from __future__ import annotations

import inspect
import weakref
from functools import lru_cache
from typing import Any, Callable, Dict, List, Set, Tuple

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from spikecore.engines.torch.layout import canonical, channels_last
from spikecore.engines.torch.nn.over_time import OverTime, StepByStep, holding, memory_of
from spikecore.engines.torch.nn.promises import SPIKES, Maps, NeuronRun, merged
from spikecore.engines.torch.nn.unchanged import first_line
from spikecore.engines.torch.product import linear

#: Functions of (batch, ...) with this many axes, at most: time and batch are merged for them. All others go to vmap.
BATCHED = {"conv1d": 3, "conv2d": 4, "conv3d": 5, "conv_transpose1d": 3, "conv_transpose2d": 4, "max_pool1d": 3,
           "max_pool2d": 4, "avg_pool1d": 3, "avg_pool2d": 4, "adaptive_avg_pool2d": 4}  # fmt: skip
DRAWS = set("dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout rrelu bernoulli poisson "
            "multinomial normal uniform gumbel_softmax rand_like randn_like randint_like".split())  # fmt: skip
QUESTIONS = set("shape dtype device ndim requires_grad layout is_cuda is_cpu is_sparse is_nested is_quantized is_meta "
                "size dim numel is_floating_point is_complex element_size get_device len".split())  # fmt: skip
REFUSED = {"set", "backward", "grad", "grad_fn", "retain_grad", "register_hook"}
ONCE, MERGED = "once: constant in time", "time and batch merged"
_IN_PLACE = {f"__i{name}__" for name in "add sub mul div truediv floordiv mod pow and or xor".split()} | {"__setitem__"}
_WANTED: weakref.WeakKeyDictionary[nn.Module, Set[Tuple[int, str]]] = weakref.WeakKeyDictionary()


class Over(TorchFunctionMode):
    """One run of a network over all steps: while it is entered, torch's functions take stand-ins.

    Args:
        net: the network.
        modules: its modules by name.
        device: where its input lies.
        steps: number of steps.
        start: gives the states that a neuron starts from, by its name.
        record: names of the layers whose states are wanted.
        fused: whether kernels may run.
    """

    def __init__(
        self,
        net: nn.Module,
        modules: Dict[str, Any],
        device: torch.device,
        steps: int,
        start: Any,
        record: Tuple[str, ...],
        fused: bool,
    ) -> None:
        super().__init__()
        self.steps, self.start, self.record, self.fused = steps, start, record, fused
        self.names = {id(module): name for name, module in modules.items()}
        self.counters = {id(m.num_batches_tracked) for m in modules.values() if hasattr(m, "num_batches_tracked")}
        self.last = not any(isinstance(m, nn.modules.dropout._DropoutNd) and m.training for m in modules.values())
        self.wanted = _WANTED.setdefault(net, set())  # what later runs make at once, since this one asked for it late
        self.made: List[Any] = []  # weak references to all stand-ins
        self.owners: Dict[int, str] = {}  # memory that ``forward`` may not edit, and what lies there
        self.runs: Dict[Any, Any] = {}
        self.finals: Dict[str, Any] = {}
        self.inside: List[str] = []  # layers whose forward runs, where somebody wants to know
        self.rows: Dict[str, Any] = {}  # what ran how
        self.buffers: List[Tuple[Any, Any]] = []  # that were changed, and what was in them
        self.device = device
        self.draws, self.drawn = 0, generators(device)

    def note(self, stand_in: OverTime) -> None:
        """Take in a new stand-in."""
        stand_in.number = len(self.made)
        self.made.append(weakref.ref(stand_in))

    def say(self, how: Any) -> None:
        """Note how the layer at work runs."""
        if self.inside:
            self.rows.setdefault(self.inside[-1], how)

    def neuron(self, module: Any, x: OverTime, given: Any) -> Any:
        """A neuron's call in ``forward``."""
        name = self.names.get(id(module))
        if name is None:
            raise StepByStep("forward calls a neuron that is no submodule of the network")
        if module in self.runs or any(value is not None for value in given):
            raise StepByStep(f"layer {name!r} is used twice in one step or given its state by forward")
        if module.overridden():
            raise StepByStep(f"layer {name!r} is made by snnTorch's protocol, for {module.overridden()}")
        with torch._C.DisableTorchFunction():
            self.check([x])
            start, protocol = self.start(name, module), module.by_protocol()
            if module.scans and not protocol:
                self.runs[module] = run = NeuronRun(self, module, x, start, name in self.record)
                self.rows[name] = lambda: module.explained(self.fused)
                return run.returned()

            def step(row: Any) -> Any:
                return module._advance(row, *given), module.hidden()

            self.runs[module], before = None, dict(vars(module))
            module.set_hidden(start)
            why = f"snnTorch's protocol, for {protocol}" if protocol else "its step is its own"
            returned, states = self.by_steps(step, (x,), {}, why)
            self.finals[name] = {n: None if v is None else v.seq[-1].detach() for n, v in states.items()}
            vars(module).clear()
            vars(module).update(before, **states)
            return returned

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.__self__.__name__ if func.__name__ == "__get__" else func.__name__
        in_place = name in _IN_PLACE or (name.endswith("_") and not name.endswith("__"))
        in_place = in_place or kwargs.get("out") is not None or option(func, args, kwargs, "inplace") is True
        name = name.strip("_")
        leaves = _leaves(args, kwargs)
        over_time = [x for x in leaves if isinstance(x, OverTime)]
        self.check(over_time)
        if not over_time:
            return self._plain(func, in_place, args, kwargs, [x for x in leaves if isinstance(x, torch.Tensor)])
        if name in REFUSED:
            raise StepByStep(f"forward asks for, or changes, a tensor's {name}")
        if name in QUESTIONS:
            return func(*args, **kwargs)
        if name == "iter":
            return iter(self.__torch_function__(torch.Tensor.unbind, types, args))
        if name in DRAWS and option(func, args, kwargs, "training") is False:
            return args[0]
        if in_place:
            return self._in_place(func, name, args, kwargs, over_time)
        if over_time == [args[0] if args else None]:
            done = self._merged(func, name, *args, **kwargs)
            if done is not None:
                return done
        return self._each_step(func, name, args, kwargs)

    @staticmethod
    def check(over_time: List[OverTime]) -> None:
        """Refuse stand-ins that do not hold what ``forward`` would see, or not its gradient."""
        for x in over_time:
            if x.grad_fn is not None:
                raise StepByStep("an autograd.Function of forward's own got a stand-in")
            if x.refused:
                raise StepByStep(x.refused)

    def _plain(self, func: Any, in_place: bool, args: Any, kwargs: Any, tensors: List[Any]) -> Any:
        """A call that gets no stand-in: the same at every step, unless it draws, which the end finds out."""
        counters = any(id(x) in self.counters for x in tensors)
        if in_place and counters and len(tensors) == 1:  # batch norm counts its batches
            self._keep(args[0])
            return func(args[0], self.steps * args[1])
        if (in_place and tensors) or (counters and self.buffers):
            raise StepByStep(f"{func.__name__} changes, or looks at, a tensor that is another one at every step")
        memory, result = {memory_of(x) for x in tensors}, func(*args, **kwargs)
        new = [isinstance(y, torch.Tensor) and memory_of(y) not in memory for y in tree_flatten(result)[0]]
        return self._wrapped(tree_map(lambda y: y[None], result)) if new and all(new) else result

    def _merged(self, func: Any, name: str, x: OverTime, *rest: Any, **kwargs: Any) -> Any:
        """A call that takes time and batch as one batch; None for all others."""
        how = ONCE if x.constant else MERGED
        if name == "linear" and x.dim() == 2 and rest and rest[0].layout is torch.strided:
            product = x.promise.readout(*rest, **kwargs) if isinstance(x.promise, NeuronRun) else None
            self.say(how if product is None else "on spikes as they are made")
            if product is None:
                product = merged((lambda flat: linear(flat, *rest, **kwargs),), x.seq, len(x.seq))
            return holding(self, product)
        statistics = name == "batch_norm" and not option(func, (x, *rest), kwargs, "training")
        if not (x.dim() == BATCHED.get(name) or statistics or (name == "relu" and isinstance(x.promise, Maps))):
            return None
        last = self.last and name == "conv2d"
        self.say(how)
        return self._link(x, lambda flat: func(channels_last(flat) if last else flat, *rest, **kwargs))

    def _link(self, x: OverTime, link: Callable[[Any], Any]) -> OverTime:
        maps = Maps.behind(x)
        done: OverTime = self._wrapped(merged((link,), x.seq, len(x.seq))) if maps is None else maps.then(link)
        return done

    def _each_step(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        """What ``torch.vmap`` makes of a call over time; where it cannot, one call per step."""
        leaves, spec = tree_flatten((args, kwargs))
        if name == "batch_norm" and option(func, args, kwargs, "training"):
            for buffer in (x for x in leaves[1:3] if x is not None):
                self._keep(buffer)
            return self.by_steps(func, args, kwargs, "its statistics are those of one step")
        if name in DRAWS:
            maps = [x.seq[0] for x in leaves if isinstance(x, OverTime) and x.dim() == 4 and not name.endswith("d")]
            if not all(canonical(row).is_contiguous() for row in maps):
                raise StepByStep("random numbers are drawn for maps that do not lie in the order of their axes")
            return self.by_steps(func, args, kwargs, "it draws at every step")
        varying = [i for i, x in enumerate(leaves) if isinstance(x, OverTime) and len(x.seq) > 1]
        base = [x.seq[0] if isinstance(x, OverTime) and x.constant else x for x in leaves]

        def call(*rows: Any) -> Any:
            here = dict(zip(varying, rows))
            positional, named = tree_unflatten([here.get(i, x) for i, x in enumerate(base)], spec)
            return func(*positional, **named)

        if not varying:
            self.say(ONCE)
            return self._wrapped(tree_map(lambda y: y[None] if isinstance(y, torch.Tensor) else y, call()))
        if name == "setitem":  # returns nothing, which vmap does not take
            torch.vmap(lambda *rows: (call(*rows), rows[0])[1])(*[leaves[i].seq for i in varying])
            return None
        try:
            result = torch.vmap(call)(*[leaves[i].seq for i in varying])
        except Exception as error:  # noqa: BLE001  (what vmap does not know raises anything)
            return self.by_steps(func, args, kwargs, f"torch.vmap: {first_line(error)}")
        self.say("all steps at once")
        return self._wrapped(result)

    def _in_place(self, func: Any, name: str, args: Any, kwargs: Any, over_time: Any) -> Any:
        target = kwargs.get("out", args[0] if args else None)
        if name == "relu" and isinstance(target, OverTime) and isinstance(target.promise, Maps):
            self.say(MERGED)
            target.promise = self._link(target, torch.relu).promise
            return target
        alive = [x for x in (ref() for ref in self.made) if x is not None]
        for x in alive:
            x.seq  # noqa: B018  (it was promised of values as they are now)
        if not isinstance(target, OverTime) or name in DRAWS:
            raise StepByStep(f"{name} works in place on something that is not of this step, or draws")
        memory = memory_of(target.seq)
        owner, several = self.owners.get(memory, ""), sum(memory_of(x.seq) == memory for x in alive) > 1
        varies = target.constant and not all(x.constant for x in over_time)
        if (owner and (several or owner != SPIKES)) or (varies and several):
            raise StepByStep(f"{name} works in place on {owner or 'a value with two names'}")
        if varies:
            target.seq = target.seq.expand(self.steps, *target.shape)
        if varies or owner:
            target.seq = target.seq.clone()
        result = self._each_step(func, name, args, kwargs)
        return target if isinstance(result, OverTime) else result

    def by_steps(self, func: Any, args: Any, kwargs: Any, why: str) -> Any:
        """One call per step, stacked."""
        self.say(f"step by step: {why}")
        self.check_draws()
        leaves, spec = tree_flatten((args, kwargs))
        rows = {i: [canonical(row) for row in x.seq] for i, x in enumerate(leaves) if isinstance(x, OverTime)}
        results = []
        for t in range(self.steps):
            here = [rows[i][t % len(rows[i])] if i in rows else x for i, x in enumerate(leaves)]
            positional, named = tree_unflatten(here, spec)
            results.append(func(*positional, **named))
        now = generators(self.device)
        self.draws, self.drawn = self.draws + (not torch.equal(now, self.drawn)), now
        if self.draws > 1:
            raise StepByStep("2 layers draw random numbers at every step, and their order would change")
        return self._wrapped(stacked(results, getattr(func, "__name__", "a call")))

    def _wrapped(self, result: Any) -> Any:
        return tree_map(lambda y: holding(self, y) if isinstance(y, torch.Tensor) else y, result)

    def check_draws(self) -> None:
        """Refuse draws that nobody knows of."""
        if not torch.equal(generators(self.device), self.drawn):
            raise StepByStep("forward uses a random number generator outside of layers")

    def _keep(self, buffer: Any) -> None:
        self.buffers.append((buffer, buffer.clone()))

    def escaped(self) -> str:
        """Why a stand-in is alive that should not be; "" where none is."""
        return "forward keeps a tensor beyond the step" if any(ref() is not None for ref in self.made) else ""

    def whole(self, result: Any) -> Any:
        """What ``forward`` returned, over time."""

        def expand(y: Any) -> Any:
            if isinstance(y, OverTime):
                self.check([y])
            seq = y.seq if isinstance(y, OverTime) else y[None] if isinstance(y, torch.Tensor) else None
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


def _leaves(args: Any, kwargs: Any) -> List[Any]:
    """All arguments, those in lists and the like as well."""
    flat = [*args, *kwargs.values()]
    return tree_flatten(flat)[0] if any(isinstance(x, (list, tuple, dict)) for x in flat) else flat


def option(func: Any, args: Any, kwargs: Any, name: str) -> Any:
    """The value of a call's argument by its name; None where the function has none, or does not tell."""
    place, default = _places(func).get(name, (len(args), None))
    return kwargs.get(name, args[place] if place < len(args) else default)


@lru_cache(maxsize=1024)
def _places(func: Any) -> Dict[str, Tuple[int, Any]]:
    try:
        parameters = inspect.signature(func).parameters.values()
    except (TypeError, ValueError):  # functions in C
        return {}
    return {p.name: (i, p.default) for i, p in enumerate(parameters)}


def generators(device: torch.device) -> Any:
    """The state of the generators that torch's functions draw from on a device and on the host, as one tensor."""
    host = torch.get_rng_state()
    return torch.cat([host, torch.cuda.get_rng_state(device)]) if device.type == "cuda" else host
