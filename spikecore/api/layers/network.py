"""A whole network: the forward pass, its output, and the training loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, Optional, Tuple, Union

from spikecore.api.core.engines import engine_of
from spikecore.api.core.layer import Layer, Pass, Shape, ShapeError, layer_name
from spikecore.api.core.tree import Params, State, Tree, leaves, map_leaves
from spikecore.api.core.words import ResultArray
from spikecore.api.functional.loss import scalar
from spikecore.api.layers.containers import readout, walk
from spikecore.printing import call, table, text_of


@dataclass(frozen=True)
class Output:
    """The output of a network.

    Args:
        spikes: outputs of the last layer, (time, batch, *features): spikes, or of LI and Linear numbers.
        states: recorded states by layer name, e.g. ``out.states["1"].mem`` (time, batch, *features), together with the
            layer's spikes, ``out.states["1"].spikes``.
        state: states after the last step; pass it to the next call to continue the sequence.
        readout: name of the last layer that has a state; None if there is none.
        behind: the kinds of the layers that follow the readout layer, if they change the shape of its output; else "".
    """

    spikes: ResultArray
    states: Dict[str, State]
    state: Tree
    readout: Optional[str] = None
    behind: str = ""

    def __repr__(self) -> str:
        recorded = [f"{name} ({', '.join(state)})" for name, state in self.states.items()]
        return call("Output", [described(self.spikes), f"recorded: {', '.join(recorded) or 'nothing'}"])

    def _repr_html_(self) -> str:
        rows = [("spikes", described(self.spikes))]
        for name, state in self.states.items():
            rows += [(f"states[{name!r}].{each}", described(values)) for each, values in state.items()]
        return table("Output (time, batch, …)", rows)

    if not TYPE_CHECKING:  # hidden from type checkers, so that they report these uses as mistakes

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(f"Output has no {name!r}{_meant(name)}")

        def __getitem__(self, index: Any) -> Any:
            raise TypeError(f"Output is no tuple and no array, so it has no entry {index!r}{_meant('')}")

        def __iter__(self) -> Any:
            raise TypeError(f"Output is no tuple, so it cannot be unpacked{_meant('')}")

    @property
    def membrane(self) -> ResultArray:
        """Membrane potential of the last neuron layer, (time, batch, *features).

        Raises:
            ValueError: it was not recorded; or layers that follow change the shape, so it is not the output's membrane.
        """
        if self.readout is None or self.readout not in self.states:
            raise ValueError("the membrane of the last layer was not recorded: pass record=True, or name the layer")
        if self.behind:
            name = self.readout
            raise ValueError(
                f"the network does not end in neurons: behind layer {name} comes {self.behind}. Add sc.LI() at the end"
                f" for outputs that are membranes, or use out.spikes or out.states[{name!r}].mem"
            )
        return self.states[self.readout].mem


def described(values: Any) -> str:
    """An array over time as text: type and shape, and the rate of its spikes, or the range of other values."""
    is_empty = not all(getattr(values, "shape", ()))
    if is_empty or getattr(getattr(values, "device", None), "type", "") == "meta":  # torch's device of shapes alone
        return text_of(values)
    flat = engine_of(values).to_numpy(values).reshape(-1)
    if bool(((flat == 0) | (flat == 1)).all()):
        return f"{text_of(values)}, {flat.mean():.3g} spikes per neuron and step"
    return f"{text_of(values)}, {flat.min():.3g} to {flat.max():.3g}"


def _meant(name: str) -> str:
    """The hint at the end of an error message about an ``Output`` used like a tuple or an array: what to write."""
    if name in ("mem", "membranes", "potential", "voltage"):
        return ": write out.membrane, (time, batch, *features)"
    return ": write out.spikes or out.membrane, (time, batch, *features), or out.states for other layers"


def forward(
    network: Layer,
    run: Pass,
    params: Params,
    buffers: Tree,
    x: Any,
    state: Optional[Tree] = None,
) -> Tuple[Output, Tree]:
    """Run the network on x (time, batch, *features); return the output and the updated buffers.

    Args:
        network: the layer to run.
        run: the settings of the pass; ``run.steps`` together with a time axis of 1 means an input constant in time.
        params, buffers: the network's, as arrays of ``run.engine``.
        x: the input.
        state: the states before the first step; None starts at rest.

    Raises:
        ShapeError: x has no time step or no sample, or ``run.steps`` is given for an x with several steps.
    """
    if x.ndim < 2 or 0 in x.shape[:2]:
        raise ShapeError(f"input of shape {tuple(x.shape)} as (time, batch, *features) needs a time step and a sample")
    if run.steps is not None and x.shape[0] != 1:
        raise ShapeError(
            f"num_steps={run.steps} with an input that has {x.shape[0]} time steps of its own; give only one"
        )
    last = readout(network)
    result = network.run(run, params, buffers, state, x)
    spikes = result.outputs
    if run.steps is not None and spikes.shape[0] != run.steps:  # no layer depends on time: there is one step only
        spikes = run.engine.xp.broadcast_to(spikes, (run.steps, *spikes.shape[1:]))
    states = layer_states(result.recorded)
    mem = states[last].get("mem") if last in states else None
    changed = mem is not None and mem.shape != spikes.shape  # layers behind the last neurons changed the shape
    behind = _behind(network, last) if changed else ""
    return Output(spikes, states, result.state, last, behind), result.buffers


def _behind(network: Layer, name: Optional[str]) -> str:
    """The kinds of the layers that follow the layer ``name``, as text."""
    layers = list(walk(network))
    place = [path for path, _ in layers].index(name or "")
    return ", ".join(layer_name(layer) for _, layer in layers[place + 1 :])


def check_output(shape: Shape, out: Output) -> None:
    """Compare the shape of a sample of the output with what the layers' ``init`` says.

    Raises:
        ShapeError: they differ, as a layer of the user's own can make them.
    """
    actual = tuple(out.spikes.shape[2:])
    if actual != shape:
        raise ShapeError(
            f"the output's samples have shape {actual}, and init of the layers says {shape}: in a layer of your own, "
            "the third value of Init must be the shape of one sample of what the layer gives, without time and batch"
        )


def detached(engine: Any, out: Output) -> Output:
    """The output with spikes and recorded states without gradients; ``state``, for the next call, stays as it is."""
    stop = engine.stop_gradient
    states = {name: map_leaves(stop, state) for name, state in out.states.items()}
    return Output(stop(out.spikes), RecordedStates(states), out.state, out.readout, out.behind)


def record_option(network: Layer, record: Union[bool, str, Tuple[str, ...]]) -> Union[bool, Tuple[str, ...]]:
    """Convert a ``record`` option for ``Pass``: a single name becomes a tuple of one, and "last", alone or
    among names, the name of the last layer with a state.

    Args:
        network: the network.
        record: True: all layers; False: none; "last": the last one with a state; or dotted names of layers.

    Raises:
        ValueError: a name is not that of a layer with a state.
        TypeError: ``record`` is something else.
    """
    from spikecore.api.core.messages import unknown

    if isinstance(record, bool):
        return record
    last = readout(network)
    known = [name for name, layer in walk(network) if layer.state]
    if not hasattr(record, "__iter__"):
        raise TypeError(f"record={record!r} must be True, False, 'last', or names of layers: {', '.join(known)}")
    names = (record,) if isinstance(record, str) else tuple(record)
    if "last" in names:
        others = [name for name in names if name != "last"]
        names = tuple(dict.fromkeys(others if last is None else [*others, last]))
    for name in names:
        if name not in known:
            what = f"{unknown('layer to record', name, known)}; True records all" if known else "no layer has a state"
            raise ValueError(f"record={record!r}: {what}")
    return names


class RecordedStates(Dict[str, State]):
    """Recorded states by layer name; the error for a layer that was not recorded says how to record it."""

    def __missing__(self, name: str) -> State:
        known = ", ".join(self) or "none"
        if str(name) in self:
            raise KeyError(f"states have names of layers, which are text: write states[{str(name)!r}]")
        raise KeyError(
            f"no states of layer {name!r} were recorded (recorded: {known}); pass record=True, or its name; a loss "
            f"names what it reads in an attribute, loss.layers = ({str(name)!r},)"
        )

    def _repr_html_(self) -> str:
        rows = [(name, each, described(values)) for name, state in self.items() for each, values in state.items()]
        return table("Recorded states", rows, ("layer", "state", "values"))


def layer_states(recorded: Tree) -> Dict[str, State]:
    """The recorded states of nested layers, by dotted layer name."""
    by_layer: Dict[str, Dict[str, Any]] = {}
    for path, value in leaves(recorded):
        layer, _, name = path.rpartition(".")
        by_layer.setdefault(layer, {})[name] = value
    return RecordedStates({layer: State(states) for layer, states in by_layer.items()})


def objective(
    network: Layer,
    loss: Any,
    run: Pass,
    params: Params,
    buffers: Tree,
    x: Any,
    targets: Any,
    state: Any = None,
    lengths: Any = None,
) -> Tuple[Any, Tuple[Output, Tree]]:
    """The training loss of a batch, and with it the output and the updated buffers (see ``Engine.value_and_grad``).

    Raises:
        TypeError: the loss returns a Python number, which has no gradient, or nothing.
    """
    out, buffers = forward(network, run, params, buffers, x, state)
    value = scalar(loss, run.engine, out, targets, lengths)
    if not hasattr(value, "dtype"):
        raise TypeError(f"loss gave {value!r}, expected a scalar array: return it without float() or .item()")
    return value, (out, buffers)
