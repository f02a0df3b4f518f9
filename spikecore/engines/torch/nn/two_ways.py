"""A step-by-step network on a whole sequence, in two ways that give the same: at once, and in the loop over time."""

from __future__ import annotations

import contextlib
import functools
import warnings
from typing import Any, Dict, FrozenSet, Iterator, List, Optional, Tuple

from spikecore.engines.torch.nn.dispatch import SequenceMode, stacked
from spikecore.engines.torch.nn.hidden import Hidden
from spikecore.engines.torch.nn.over_time import StepByStep, holding, memory_of
from spikecore.engines.torch.nn.state import detach, get_state, neurons_of, reset, set_state
from spikecore.engines.torch.nn.unchanged import unchanged


def by_steps(
    net: Any, modules: Dict[str, Any], data: Any, steps: int, state: Any, record: Tuple[str, ...] = ()
) -> Tuple[Any, Any]:
    """The loop over time: what it returned and what was recorded, stacked.

    Args:
        net, modules: the network, and its modules by name.
        data: (time, batch, ...), or a time axis of 1 for an input that is constant.
        steps: number of steps.
        state: states to start from, by name; None starts at rest.
        record: names of layers.
    """
    before = get_state(net)
    reset(net)
    seen: Dict[str, List[Any]] = {name: [] for name in record}
    try:
        if state is not None:
            set_state(net, state)
        with listening(modules, seen):
            rows = data.unbind(0)
            outputs = stacked([net(rows[t if len(rows) > 1 else 0]) for t in range(steps)])
    except BaseException:
        set_state(net, before)
        raise
    detach(net)
    return outputs, {name: stacked(values) for name, values in seen.items()}


def at_once(
    net: Any,
    modules: Dict[str, Any],
    data: Any,
    steps: int,
    state: Any,
    record: Tuple[str, ...] = (),
    fused: bool = True,
    explain: bool = False,
    apart: FrozenSet[str] = frozenset(),
    partial: bool = False,
) -> Tuple[Any, Any, SequenceMode]:
    """One call of the network for all steps: what it returned and what was recorded, over time, and notes of the run.

    Args:
        net, modules, data, steps, state, record: as for ``by_steps``.
        fused: whether kernels may run.
        explain: whether the notes say which layer ran how.
        apart, partial: as for ``SequenceMode``.

    Raises:
        StepByStep: why that would not give the same as the loop; the network is as it was.
    """
    finals: Dict[Any, Any] = {}
    for name, neuron in neurons_of(net):
        given = None if state is None else {n: state[f"{name}.{n}" if name else n] for n in neuron.states}
        finals[neuron] = neuron.at_rest() if given is None else given  # unless it is called
        neuron.by_protocol()  # it keeps what it finds, which is no change that forward makes
    seen: Dict[str, List[Any]] = {name: [] for name in record}
    over = SequenceMode(modules, finals, data.device, steps, record, fused, apart, partial)
    with listening(modules, seen, over.inside if explain else None), unchanged(modules, over.buffers, over.escaped):
        hidden = {neuron: neuron.hidden() for neuron in finals}
        unready = holding(over, data.new_zeros(1))  # in the place of a state until its neuron is called
        unready.refused = "forward looks at the state of a neuron before the neuron is called"
        for neuron in finals:
            over.states[neuron] = dict.fromkeys(neuron.states, unready)
            neuron.__dict__.update(over.states[neuron])
        del unready
        try:
            over.owners[memory_of(data)], begin = "the network's input", [holding(over, data)]
            with over, warnings.catch_warnings():
                warnings.filterwarnings("ignore", "There is a performance drop")  # vmap's, where it goes step by step
                out = net(begin.pop())
            over.check_draws()
            out, recorded = over.whole((out, {name: made[0] if made else None for name, made in seen.items()}))
            finals.update({neuron: finish() for neuron, finish in over.runs.items()})
            for neuron in finals:
                over.check_states(over.names[id(neuron)], neuron, "after")
            if any(len(made) != 1 for made in seen.values()):
                raise StepByStep("a recorded layer is not called once in a step")
        finally:
            over.runs.clear()
            over.states.clear()
            for rows_of in seen.values():
                rows_of.clear()
            for neuron, values in hidden.items():
                neuron.__dict__.update(values)
    for neuron, last in finals.items():
        neuron.set_hidden(last)
    return out, recorded, over


@contextlib.contextmanager
def listening(
    modules: Dict[str, Any], seen: Dict[str, List[Any]], inside: Optional[List[str]] = None
) -> Iterator[None]:
    """Hooks that fill ``seen`` by layer at every call, and ``inside`` with the layers at work."""
    handles = [modules[name].register_forward_hook(functools.partial(_note, rows)) for name, rows in seen.items()]
    parts = {id(part) for module in modules.values() if isinstance(module, Hidden) for part in module.children()}
    for name, module in modules.items():
        if inside is not None and id(module) not in parts:  # a neuron goes on as without hooks on its connection
            handles.append(module.register_forward_pre_hook(lambda *_, name=name, inside=inside: inside.append(name)))
            handles.append(module.register_forward_hook(lambda *_, inside=inside: inside.__delitem__(-1)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _note(rows: List[Any], module: Any, _: Any, output: Any) -> None:
    """A forward hook that records a layer: a neuron's spikes and states, what another one returns."""
    if isinstance(module, Hidden) and module.states:
        rows.append({**module.hidden(), "spk": output[0] if isinstance(output, tuple) else output})
    else:
        rows.append({"output": output})
