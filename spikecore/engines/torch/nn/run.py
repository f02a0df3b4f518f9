"""``run``: a step-by-step network on a whole sequence, layer by layer where that gives the same."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Tuple, Union

import torch
from torch import nn

from spikecore.api.layer import ShapeError
from spikecore.api.sizes import whole_number
from spikecore.arguments import Size, checked
from spikecore.engines.torch.layout import in_order
from spikecore.engines.torch.nn.hidden import Hidden
from spikecore.engines.torch.nn.layerwise import How, Layerwise
from spikecore.engines.torch.nn.plan import check, draws_on_maps
from spikecore.engines.torch.nn.sequence import expand, stacked
from spikecore.engines.torch.nn.snapshot import Untraceable
from spikecore.engines.torch.nn.state import check_state, detach, module_of, reset, set_state
from spikecore.engines.torch.nn.trace import trace


@checked
def run(
    net: nn.Module,
    x: Any,
    num_steps: Optional[Size] = None,
    state: Optional[Mapping[str, Any]] = None,
    explain: Union[bool, Callable[[str], Any]] = False,
    record: Union[str, Iterable[str]] = (),
    fused: bool = True,
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
        fused: whether neurons may run in kernels, which are compiled at their first run and have no second derivative;
            False differentiates a loop over the neuron's step.
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
    modules = dict(module_of(net).named_modules())
    unknown = [name for name in names if name not in modules]
    if unknown:
        raise KeyError(f"record: no layer {unknown[0]!r} in the network; it has {', '.join(filter(None, modules))}")
    if state is not None:
        check_state(net, state)
    data = x.unsqueeze(0) if num_steps is not None else x
    layers = Layerwise(modules, steps, state, names, fused)
    out, recorded, rows = _either(net, layers, data)
    if explain:
        lines = (f"{name}: {how() if callable(how) else how}" for name, how in rows)
        (print if explain is True else explain)("\n".join(lines))
    return (out, recorded) if names else out


def _either(net: Any, layers: Layerwise, data: Any) -> Tuple[Any, Dict[str, Any], List[Tuple[str, How]]]:
    """Layer by layer, or where that would not give the same, step by step; and what ran how."""
    names = layers.record
    try:
        graph = trace(net)
        check(graph, layers.modules)
        missing = [n for n in names if not any(g.op == "call_module" and g.target == n for g in graph.nodes)]
        if missing:
            raise Untraceable(f"layer {missing[0]!r} is recorded, which is a container")
        layers.last = not draws_on_maps(graph, layers.modules)
        if not (layers.last or all(map(in_order, (data[0], *net.parameters())))):
            raise Untraceable("random numbers are drawn for maps whose channels lie next to each other")
        return (*layers.run(graph, data, net), layers.rows)
    except Untraceable as reason:
        layers.undo()
        made = _loop(net, data, layers.steps, layers.state, names, layers.modules)
        return (*made, [("the network", f"step by step: {reason}")])


def _steps(x: Any, num_steps: Optional[int]) -> int:
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"run: x={type(x).__name__} must be a tensor (time, batch, ...)")
    if num_steps is None:
        if x.dim() < 1 or x.shape[0] < 1:
            raise ShapeError(f"run: x of shape {tuple(x.shape)} has no time step; expected (time, batch, ...)")
        return int(x.shape[0])
    return whole_number("run: num_steps", num_steps, 1)


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
