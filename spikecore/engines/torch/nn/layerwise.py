"""The graph of one step, executed layer by layer, each on its whole sequence."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, Union

import torch
from torch import fx, nn

from spikecore.engines.torch.nn import kinds, sequence
from spikecore.engines.torch.nn.hidden import Hidden
from spikecore.engines.torch.nn.protocol import Protocol
from spikecore.engines.torch.nn.sequence import Sequence, expand, stacked, step_by_step
from spikecore.engines.torch.nn.snapshot import Untraceable
from spikecore.engines.torch.product import own_forward

How = Union[str, Callable[[], str]]  # what ran how, or a function that says it if somebody asks


class Layerwise:
    """Executes the graph of one step, each node on its whole sequence."""

    def __init__(
        self,
        modules: Dict[str, Any],
        steps: int,
        state: Optional[Mapping[str, Any]],
        record: Tuple[str, ...],
        fused: bool,
    ) -> None:
        self.modules, self.steps, self.state = modules, steps, state
        self.record, self.fused = record, fused
        self.rows: List[Tuple[str, How]] = []
        self.recorded: Dict[str, Dict[str, Any]] = {name: {} for name in record}
        self.final: Dict[str, Dict[str, Any]] = {}
        self.done: Dict[fx.Node, Any] = {}  # computed together with a layer before them
        self.last = True  # whether convolutions may leave channels next to each other in memory
        self.before: List[Tuple[Any, Any]] = []  # buffers that were changed and what was in them
        self.random: Any = None  # the state of torch's generator before the first draw

    def run(self, graph: fx.Graph, x: Any, net: nn.Module) -> Tuple[Any, Dict[str, Any]]:
        env: Dict[fx.Node, Any] = {}
        for node in graph.nodes:
            if node.op == "placeholder":
                env[node] = self._input(node, x, env)
            elif node.op == "get_attr":
                env[node] = _attribute(net, str(node.target))
            elif node in self.done:
                env[node] = self.done.pop(node)
            elif node.op == "output":
                out = _editable(expand(fx.node.map_arg(node.args[0], env.__getitem__), self.steps))
            else:
                args, kwargs = (fx.node.map_arg(a, env.__getitem__) for a in (node.args, node.kwargs))
                if node.op == "call_module":
                    env[node] = self._layer(node, args, kwargs)
                else:
                    self._may_draw(kinds.draws_in_function(node))
                    env[node] = sequence.function(node, args, kwargs, self.steps)
        for name, values in self.final.items():
            self.modules[name].set_hidden(values)
        return out, self.recorded

    def undo(self) -> None:
        """Take back what a run has changed that did not come to its end."""
        with torch.no_grad():
            for buffer, copy in self.before:
                buffer.copy_(copy)
        if self.random is not None:
            torch.set_rng_state(self.random)

    def _step(self, module: Any, args: Any, kwargs: Any) -> Any:
        if kinds.learns_statistics(module):
            self.before += [(buffer, buffer.clone()) for buffer in module.buffers()]
        self._may_draw(kinds.draws(module))
        return step_by_step(module, args, kwargs, self.steps, _why(module))

    def _may_draw(self, draws: bool) -> None:
        if draws and self.random is None:
            self.random = torch.get_rng_state()

    def _input(self, node: fx.Node, x: Any, env: Any) -> Any:
        if not any(n.op == "placeholder" for n in env):
            return Sequence(x)
        if not node.args:
            raise Untraceable("forward takes more than one argument")
        return node.args[0]  # the default of a further argument

    def _layer(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        name, module = str(node.target), self.modules[str(node.target)]
        how: How
        row = len(self.rows)
        if isinstance(module, Hidden) and module.states:
            value, how = self._neuron(node, name, module, args[0])
        elif len(self._chain(node, args, kwargs)) > 1:
            return self._run_chain(self._chain(node, args, kwargs), args[0])
        else:
            found = sequence.layer(module, args, kwargs, self.last)
            value, how = found or self._step(module, args, kwargs)
            if name in self.recorded:
                self.recorded[name] = {"output": expand(value, self.steps)}
        self.rows.insert(row, (f"{name} ({type(module).__name__})".lstrip(), how))
        return value

    def _chain(self, node: fx.Node, args: Any, kwargs: Any) -> List[fx.Node]:
        """This layer and those after it that only it feeds, as long as all take time and batch as one batch."""
        if len(args) != 1 or kwargs or not isinstance(args[0], Sequence) or args[0].constant:
            return []
        axes, chain = args[0].data.dim() - 1, [node]
        first = self.modules[str(node.target)]
        if axes < 3 or not sequence.mergeable(first, axes) or getattr(first, "inplace", False):
            return []
        while len(chain[-1].users) == 1 and chain[-1].target not in self.recorded:
            after = next(iter(chain[-1].users))
            if after.op != "call_module" or after.args != (chain[-1],) or after.kwargs:
                break
            if not sequence.mergeable(self.modules[str(after.target)], axes):
                break
            chain.append(after)
        return [one for one in chain if one.target not in self.recorded] if chain[-1].target in self.recorded else chain

    def _run_chain(self, chain: List[fx.Node], x: Sequence) -> Sequence:
        names = [str(one.target) for one in chain]
        value = sequence.chained([self.modules[name] for name in names], x, self.last)
        self.rows += [(f"{name} ({type(self.modules[name]).__name__})", sequence.MERGED) for name in names]
        self.done.update(dict.fromkeys(chain[1:]))
        if len(chain) > 1:
            self.done[chain[-1]] = value
        return value

    def _neuron(self, node: fx.Node, name: str, module: Any, x: Any) -> Tuple[Any, How]:
        start = self._start(name, module)
        if not isinstance(x, Sequence):
            raise Untraceable(f"layer {name!r} does not get its input from the network's")
        if kinds.hooked(module) or not module.scans or module.by_protocol():
            return self._neuron_loop(name, module, x, start)
        wanted = module.returned_states() if _states_used(node) else ()
        names = tuple(module.states) if name in self.recorded else wanted
        steps = self.steps if x.constant and self.steps > 1 else None
        behind = self._linear_behind(node, name)
        linear = None if behind is None else self.modules[str(behind.target)]
        parts = None if linear is None else (linear.weight, linear.bias)
        spk, states, final, weighed = module.over_time(x.data, steps, start, names, self.fused, parts)
        if behind is not None and weighed:
            self.done[behind] = Sequence(spk)  # and spk stands where nobody looks
            self.rows.append((f"{behind.target} (Linear)", "on spikes as they are made"))
        self.final[name] = {n: value.detach() for n, value in final.items()}
        if name in self.recorded:
            self.recorded[name] = {"spk": spk, **states}
        if not module.returned_states():
            return Sequence(spk), lambda: module.explained(self.fused)
        missing = Sequence(spk)  # stands where nobody looks
        rest = (Sequence(states[n]) if n in states else missing for n in module.returned_states())
        return (Sequence(spk), *rest), lambda: module.explained(self.fused)

    def _linear_behind(self, node: fx.Node, name: str) -> Optional[fx.Node]:
        """The Linear that alone gets a neuron's spikes, if there is one and nobody wants to see them."""
        if self.modules[name].returned_states():
            parts = _parts_used(node)
            if len(parts) != 1 or _states_used(node):
                return None
            (node,) = parts  # the spikes
        user = next(iter(node.users)) if len(node.users) == 1 else node
        if user.op != "call_module" or user.args != (node,) or user.kwargs:
            return None
        behind, seen = self.modules[str(user.target)], str(user.target) in self.recorded
        return user if own_forward(behind) and not (seen or kinds.hooked(behind)) else None

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
    return any(kinds.function_name(part) != "getitem" or part.args[1] != 0 for part in _parts_used(node))


def _parts_used(node: fx.Node) -> List[fx.Node]:
    """Who uses a neuron's return value, but for parts of it that nobody uses, as ``_`` in ``spk, _ = lif(x)``."""
    return [user for user in node.users if user.users or kinds.function_name(user) != "getitem"]


def _editable(value: Any) -> Any:
    """Lists and dicts as ``forward`` returned them; a graph holds such that refuse changes."""
    if isinstance(value, list):
        return [_editable(one) for one in value]
    if isinstance(value, dict):
        return {key: _editable(one) for key, one in value.items()}
    return tuple(map(_editable, value)) if type(value) is tuple else value


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
    if isinstance(module, Protocol) and module.by_protocol():
        return f"snnTorch's protocol, for {module.by_protocol()}"
    return "not known to act on each sample by itself"
