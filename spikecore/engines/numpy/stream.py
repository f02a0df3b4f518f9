"""A network one step at a time on the NumPy engine: one call of compiled code for all of its layers."""

from __future__ import annotations

from typing import Any, Dict, Optional, Union

import numpy as np

from spikecore.api.core.layer import Layer, Params, Shape, layer_name
from spikecore.api.core.stream import Stream, check_sample, check_state, joined
from spikecore.api.core.tree import State, Tree, flatten
from spikecore.api.layers.containers import readout, walk
from spikecore.api.layers.network import Output, RecordedStates
from spikecore.engines.numpy.sparse_input import sparse
from spikecore.kernels.runtime.build import build_by_address
from spikecore.kernels.streaming.layers import plan_of
from spikecore.kernels.streaming.layers_numba import EVENTS, STEP
from spikecore.kernels.streaming.plan import NoKernel
from spikecore.kernels.streaming.signal import SOURCE


def compiled_stream(
    network: Layer, engine: Any, params: Params, buffers: Tree, shape: Shape, batch_size: int, record: Any
) -> Union[CompiledStream, str]:
    """A compiled stream, or why there is none; arguments as for ``CompiledStream``.

    Raises:
        RuntimeError: there is none, and the engine is to use kernels always.
    """
    if engine.fused is False:
        return "kernels are switched off (fused=False)"
    if engine.target != "cpu":
        return f"there are no kernels of single steps for {engine.namespace}"
    try:
        return CompiledStream(network, engine, params, buffers, shape, batch_size, record)
    except NoKernel as reason:
        if engine.fused is True:
            raise RuntimeError(f"fused=True, but {reason}") from None
        return str(reason)


class CompiledStream(Stream):
    """A stream whose step is compiled: the kernels of its layers, one after the other.

    Args:
        network: the layer.
        engine: the NumPy engine.
        params, buffers: the network's, which are copied.
        shape: of one sample.
        batch_size: samples of each step.
        record: whose states ``states`` has: all (True), or those of the layers with these names.

    Raises:
        NoKernel: there is no kernel for a layer.
    """

    def __init__(
        self,
        network: Layer,
        engine: Any,
        params: Params,
        buffers: Tree,
        shape: Shape,
        batch_size: int,
        record: Any,
    ) -> None:
        self.network, self.engine, self.batch_size, self.input_shape = network, engine, batch_size, shape
        self._plan, first, last = plan_of(network, engine, params, buffers, shape, batch_size)
        self._recorded = [n for n in self._plan.neurons if record is True or (record and n.path in record)]
        self._first, self._last = first, last
        self._given, self._shape = first.value, first.value.shape
        self._out = last.value
        calls = [int(a) for call, table in self._plan.calls for a in (call.address, table.ctypes.data)]
        self._table = np.array([len(calls) // 2, first.address, self._plan.clock.ctypes.data, *calls], np.int64)
        self._run = build_by_address(SOURCE, STEP.lstrip(), "step", engine.dtype, returns=True).at
        self._address = int(self._table.ctypes.data)  # asked for once, not at every step
        self._dtype = np.dtype(engine.dtype)
        self._resting = self.state
        self.reset()

    def step(self, x: Any) -> Any:
        if type(x) is not np.ndarray or x.shape != self._shape or x.dtype != self._dtype:
            check_sample(x, self.batch_size, self.input_shape)
            x = self.engine.asarray(x)
        self._given[...] = x
        wrong = self._run(self._address)
        if wrong >= 0:
            place = np.unravel_index(wrong, self._shape)
            value = self._given[place]
            self._first.hold(None)
            raise ValueError(f"input[{', '.join(map(str, place))}] is {value}: the input must be finite")
        return self._out.copy()

    def reset(self, state: Optional[Tree] = None) -> None:
        plan = self._plan
        if state is not None:
            check_state(state, self._resting)
        first_states = flatten(self._resting if state is None else state)
        for signal in plan.signals:
            signal.hold(None)
        for n in plan.neurons:
            for name, array in zip(n.names, n.states):
                array[...] = self.engine.asarray(first_states[f"{n.path}.{name}" if n.path else name])
            n.reached[...], n.awake[...] = 0, 1
            if n.recurrent:
                n.spikes.hold(n.states[0])
        plan.clock[...] = 0

    def run_events(
        self,
        events: Any,
        *,
        window: Optional[int] = None,
        num_steps: Optional[int] = None,
        start: Optional[int] = None,
    ) -> Output:
        run = sparse(self.engine, events, self.batch_size, self.input_shape, window, num_steps, start)
        out: Any = np.empty((run.steps, *self._out.shape), self._dtype)
        arrays = *run[1:], self._last.head, out
        borders, places, values, last, to = (int(array.ctypes.data) for array in arrays)
        table = np.array([self._address, run.steps, borders, places, values, last, to], np.int64)
        build_by_address(SOURCE, EVENTS.lstrip(), "events", self.engine.dtype)(table)
        return Output(out, RecordedStates(), self.state, readout(self.network))

    @property
    def state(self) -> Tree:
        self._settle()
        flat = {n.path: State({s: a.copy() for s, a in zip(n.names, n.states)}) for n in self._plan.neurons}
        return joined(flat)

    @property
    def states(self) -> Dict[str, State]:
        if not self._plan.clock[0]:
            return RecordedStates()
        self._settle()
        by_layer = {}
        for n in self._recorded:
            names = {s: a.copy() for s, a in zip(n.names, n.states)}
            by_layer[n.path] = State({**names, "spikes": n.spikes.value.copy()})
        return RecordedStates(by_layer)

    def _settle(self) -> None:
        """Bring the states of neurons that sleep up to date."""
        for neuron in self._plan.neurons:
            neuron.settle()

    def explain(self) -> str:
        kinds = {
            path: f"{path} ({layer_name(layer)})" if path else layer_name(layer) for path, layer in walk(self.network)
        }
        asleep = [kinds[neuron.path] for neuron in self._plan.neurons if neuron.sleeps]
        more = f"; neurons sleep until something arrives in {', '.join(asleep)}" if asleep else ""
        return f"compiled: one call per step for {', '.join(kinds.values())}{more}"
