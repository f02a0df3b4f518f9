"""The engine and the pass that layers get while PopTorch traces a module."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Iterator, List, Optional, Tuple

from spikecore.api.core.layer import Pass
from spikecore.api.core.tree import Params, State
from spikecore.engines.ipu.looped import looped_scan
from spikecore.engines.ipu.plain import PlainEngine
from spikecore.engines.ipu.words import words


class TracedEngine(PlainEngine):
    """The engine while a module is traced: its arrays are the module's tensors, and random draws are inputs.

    Args:
        host: the engine that compiles.
        device: the device of the module's inputs.
        dtype: "float32", "float64" or, for a network in half precision, "float16".
        draws: the arrays that ``uniform`` returns, in order; None draws them and lists the requests in ``asked``.
        for_loop: PopTorch's function, for inference that does not unroll time; None unrolls.
    """

    def __init__(
        self, host: Any, device: Any, dtype: str, draws: Optional[Iterator[Any]] = None, for_loop: Any = None
    ) -> None:
        self.device, self.dtype, self.host = str(device), dtype, host
        self.fused, self.checkpoint_every = False, None
        self.xp = words(device, dtype)
        self.draws, self.for_loop = draws, for_loop
        self.asked: List[Any] = []

    def uniform(self, key: Any, shape: Tuple[int, ...], *, sample_axis: Optional[int] = None, first: int = 0) -> Any:
        if self.draws is not None:
            return next(self.draws)
        self.asked.append((key, tuple(shape), sample_axis))
        return self.host.uniform(key, shape, sample_axis=sample_axis, first=first)

    def scan(
        self,
        stepper: Any,
        params: Params,
        state: State,
        inputs: Any,
        *,
        steps: Optional[int] = None,
        record: Tuple[str, ...] = (),
        window: Optional[int] = None,
        repeating: bool = False,
    ) -> Tuple[Any, State, State]:
        if self.for_loop is None:
            return super().scan(stepper, params, state, inputs, steps=steps, record=record, window=window)
        count = int(inputs.shape[0]) if steps is None else steps
        return looped_scan(self.for_loop, self, stepper, params, state, inputs, count, record)


@dataclass(frozen=True)
class TracedPass(Pass):
    """A pass that reports which layer it enters, so that pipeline stages can begin and findings can name the layer.

    Args:
        entered: called with the dotted name of each layer; None calls nothing.
        kept: ``DeviceStates`` of the call before; with None every sequence begins at rest.
    """

    entered: Any = field(default=None, compare=False)
    kept: Any = field(default=None, compare=False)

    def child(self, name: str) -> Pass:
        inner = super().child(name)
        if self.entered is not None:
            self.entered(inner.path)
        return inner

    def start(self, resting: Any) -> Any:
        return resting if self.kept is None else self.kept.start(self.path, resting)
