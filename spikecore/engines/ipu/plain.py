"""The base of the IPU engine and of the engine in its modules: plain torch ops, an unrolled loop and no kernels."""

from __future__ import annotations

from typing import Any, List, Optional, Tuple

import torch

from spikecore.api.core.extras import Extra, Processes
from spikecore.api.core.tree import Params, State, leaves, map_leaves, rebuild
from spikecore.api.neurons.stepper import one_step
from spikecore.engines.torch.engine import TorchEngine
from spikecore.engines.torch.extras import TorchProgram


class OneProcess(Processes):
    """One process has all IPUs."""

    together = "use engine 'torch' (--engine torch), or here one process with engine_options replication_factor"


class PlainEngine(TorchEngine):
    """The torch engine without kernels and with the loop over time unrolled."""

    name = "ipu"
    runs_modules = False
    extras: Tuple[Extra, ...] = (TorchProgram(), OneProcess())

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
        rows = inputs.unbind(0)
        outputs, recorded = [], []
        for t in range(len(rows) if steps is None else steps):  # unrolled: an IPU has no loop in training
            if window and t and t % window == 0:
                state = map_leaves(torch.Tensor.detach, state)
            y, state = one_step(self, stepper, params, state, rows[t if len(rows) > 1 else 0])
            outputs.append(y)
            recorded.append(State({name: state[name] for name in record}))
        return torch.stack(outputs), _over_time(recorded), state


def _over_time(kept: List[State]) -> State:
    """A list of states over time as one state of arrays over time."""
    columns = zip(*([leaf for _, leaf in leaves(state)] for state in kept))
    return rebuild(kept[0], iter([torch.stack(column) for column in columns]))
