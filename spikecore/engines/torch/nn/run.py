"""``run``: a step-by-step network on a whole sequence, layer by layer where that gives the same."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Tuple, Union

import torch
from torch import fx, nn

from spikecore.api.layer import ShapeError
from spikecore.engines.torch.nn import kinds, sequence
from spikecore.engines.torch.nn.hidden import Hidden
from spikecore.engines.torch.nn.plan import check
from spikecore.engines.torch.nn.sequence import Sequence, expand, stacked, step_by_step
from spikecore.engines.torch.nn.state import check_state, detach, reset, set_state
from spikecore.engines.torch.nn.trace import Untraceable, trace

Explain = Union[bool, Callable[[str], Any]]


def run(
    net: nn.Module,
    x: Any,
    num_steps: Optional[int] = None,
    state: Optional[Mapping[str, Any]] = None,
    explain: Explain = False,
    record: Iterable[str] = (),
) -> Any:
    """Run a network that is written for one time step on a whole sequence.

    The result is that of the loop ``[net(x[t]) for t in range(T)]`` after a reset: equal spikes, equal gradients. The
    layers are taken out of the loop one after the other: torch's own see time and batch as one big batch, what is
    constant in time runs once, and neurons run through ``engine.scan``. A network for which that would not give the
    same runs step by step instead, and so does a single layer that needs it (batch norm in training mode, say).

    Args:
        net: a Sequential or any module whose ``forward`` is one time step; its neurons keep their state
            (``init_hidden=True``, or no states passed).
        x: (time, batch, ...); with ``num_steps`` (batch, ...), an input that is constant in time.
        num_steps: number of steps of a constant input.
        state: states to start from, as ``utils.get_state`` returns them; None starts at rest, whatever earlier calls
            left.
        explain: True prints what ran how; a function is called with that text.
        record: names of layers, as in ``net.named_modules()``, whose spikes and states (or outputs) to return.

    Returns:
        What ``net`` returns at each step, stacked over time; with ``record`` a pair of that and
        ``{layer: {"spk": ..., "mem": ...}}``, ``{"output": ...}`` for other layers.

    The final states stay on the modules, detached.

    Raises:
        ShapeError: no time step.
        ValueError: ``num_steps`` is no int >= 1.
        KeyError: a state or a recorded layer that the network does not have.
    """
    names = (record,) if isinstance(record, str) else tuple(record)
    steps = _steps(x, num_steps)
    modules = dict(net.named_modules())
    unknown = [name for name in names if name not in modules]
    if unknown:
        raise KeyError(f"record: no layer {unknown[0]!r} in the network; it has {', '.join(filter(None, modules))}")
    if state is not None:
        check_state(net, state)
    data = x.unsqueeze(0) if num_steps is not None else x
    out, recorded, rows = _either(net, modules, data, steps, state, names)
    if explain:
        (print if explain is True else explain)("\n".join(f"{name}: {how}" for name, how in rows))
    return (out, recorded) if names else out


def _either(
    net: Any, modules: Dict[str, Any], data: Any, steps: int, state: Optional[Mapping[str, Any]], names: Tuple[str, ...]
) -> Tuple[Any, Dict[str, Any], List[Tuple[str, str]]]:
    """Layer by layer, or where that would not give the same, step by step; and what ran how."""
    rows: List[Tuple[str, str]] = []
    try:
        graph = trace(net)
        check(graph, modules)
        missing = [n for n in names if not any(g.op == "call_module" and g.target == n for g in graph.nodes)]
        if missing:
            raise Untraceable(f"layer {missing[0]!r} is recorded, which is a container")
        return (*_Layerwise(modules, steps, state, names, rows).run(graph, data, net), rows)
    except Untraceable as reason:
        return (*_loop(net, data, steps, state, names, modules), [("the network", f"step by step: {reason}")])


def _steps(x: Any, num_steps: Optional[int]) -> int:
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"run: x={type(x).__name__} must be a tensor (time, batch, ...)")
    if num_steps is None:
        if x.dim() < 1 or x.shape[0] < 1:
            raise ShapeError(f"run: x of shape {tuple(x.shape)} has no time step; expected (time, batch, ...)")
        return int(x.shape[0])
    if not isinstance(num_steps, int) or isinstance(num_steps, bool) or num_steps < 1:
        raise ValueError(f"run: num_steps={num_steps!r} must be an int >= 1")
    return num_steps


class _Layerwise:
    """Executes the graph of one step, each node on its whole sequence."""

    def __init__(
        self,
        modules: Dict[str, Any],
        steps: int,
        state: Optional[Mapping[str, Any]],
        record: Tuple[str, ...],
        rows: List[Tuple[str, str]],
    ) -> None:
        self.modules, self.steps, self.state, self.rows = modules, steps, state, rows
        self.recorded: Dict[str, Dict[str, Any]] = {name: {} for name in record}
        self.final: Dict[str, Dict[str, Any]] = {}

    def run(self, graph: fx.Graph, x: Any, net: nn.Module) -> Tuple[Any, Dict[str, Any]]:
        env: Dict[fx.Node, Any] = {}
        for node in graph.nodes:
            if node.op == "placeholder":
                env[node] = self._input(node, x, env)
            elif node.op == "get_attr":
                env[node] = _attribute(net, str(node.target))
            elif node.op == "output":
                out = expand(fx.node.map_arg(node.args[0], env.__getitem__), self.steps)
            else:
                args, kwargs = (fx.node.map_arg(a, env.__getitem__) for a in (node.args, node.kwargs))
                if node.op == "call_module":
                    env[node] = self._layer(node, args, kwargs)
                else:
                    env[node] = sequence.function(node, args, kwargs, self.steps)
        for name, values in self.final.items():
            self.modules[name].set_hidden(values)
        return out, self.recorded

    def _input(self, node: fx.Node, x: Any, env: Any) -> Any:
        if not any(n.op == "placeholder" for n in env):
            return Sequence(x)
        if not node.args:
            raise Untraceable("forward takes more than one argument")
        return node.args[0]  # the default of a further argument

    def _layer(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        name, module = str(node.target), self.modules[str(node.target)]
        if isinstance(module, Hidden) and module.states:
            value, how = self._neuron(node, name, module, args[0])
        else:
            found = sequence.layer(module, args, kwargs)
            value, how = found or step_by_step(module, args, kwargs, self.steps, _why(module))
            if name in self.recorded:
                self.recorded[name] = {"output": expand(value, self.steps)}
        self.rows.append((f"{name} ({type(module).__name__})".lstrip(), how))
        return value

    def _neuron(self, node: fx.Node, name: str, module: Any, x: Any) -> Tuple[Any, str]:
        start = self._start(name, module)
        if not isinstance(x, Sequence):
            raise Untraceable(f"layer {name!r} does not get its input from the network's")
        if kinds.hooked(module) or not module.scans:
            return self._neuron_loop(name, module, x, start)
        wanted = module.returned_states() if _states_used(node) else ()
        names = tuple(module.states) if name in self.recorded else wanted
        steps = self.steps if x.constant and self.steps > 1 else None
        spk, states, final = module.over_time(x.data, steps, start, names)
        self.final[name] = {n: value.detach() for n, value in final.items()}
        if name in self.recorded:
            self.recorded[name] = {"spk": spk, **states}
        if not module.returned_states():
            return Sequence(spk), module.explained()
        missing = Sequence(spk)  # stands where nobody looks
        rest = (Sequence(states[n]) if n in states else missing for n in module.returned_states())
        return (Sequence(spk), *rest), module.explained()

    def _start(self, name: str, module: Any) -> Dict[str, Any]:
        if self.state is None:
            return module.at_rest()
        return {n: self.state[f"{name}.{n}" if name else n] for n in module.states}

    def _neuron_loop(self, name: str, module: Any, x: Sequence, start: Dict[str, Any]) -> Tuple[Any, str]:
        module.set_hidden(start)
        seen: List[Any] = []

        def step(now: Any) -> Any:
            returned = module(now)
            if name in self.recorded:
                spk = returned[0] if isinstance(returned, tuple) else returned
                seen.append({**module.hidden(), "spk": spk})
            return returned

        made = step_by_step(step, (x,), {}, self.steps, _why(module))
        module.detach_hidden()
        if name in self.recorded:
            self.recorded[name] = expand(stacked(seen), self.steps)
        return made


def _states_used(node: fx.Node) -> bool:
    """Whether anything but the spikes of a neuron's return value is looked at."""
    return any(kinds.function_name(user) != "getitem" or user.args[1] != 0 for user in node.users)


def _attribute(net: Any, path: str) -> Any:
    for part in path.split("."):
        net = getattr(net, part)
    return net


def _why(module: Any) -> str:
    if kinds.hooked(module):
        return "hooks look at every call"
    if kinds.learns_statistics(module):
        return "its statistics are those of one step"
    if kinds.draws(module):
        return "it draws at every step"
    return "not known to act on each sample by itself"


def _loop(
    net: Any, data: Any, steps: int, state: Optional[Mapping[str, Any]], record: Tuple[str, ...], modules: Any
) -> Tuple[Any, Dict[str, Any]]:
    """The loop over time, with hooks on what is recorded."""
    reset(net)
    if state is not None:
        set_state(net, state)
    seen: Dict[str, List[Any]] = {name: [] for name in record}

    def hook(name: str) -> Callable[..., None]:
        def look(module: Any, inputs: Any, output: Any) -> None:
            if isinstance(module, Hidden) and module.states:
                seen[name].append({**module.hidden(), "spk": output[0] if isinstance(output, tuple) else output})
            else:
                seen[name].append({"output": output})

        return look

    handles = [modules[name].register_forward_hook(hook(name)) for name in record]
    try:
        rows = data.unbind(0)
        made = stacked([net(rows[t if len(rows) > 1 else 0]) for t in range(steps)])
    finally:
        for handle in handles:
            handle.remove()
    detach(net)
    return expand(made, steps), {name: expand(stacked(values), steps) for name, values in seen.items()}
