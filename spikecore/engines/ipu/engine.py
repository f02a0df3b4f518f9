"""The IPU engine: the same neurons, losses and layers as plain torch ops, compiled by PopTorch.

Nothing here needs PopTorch, because the ops are torch's. On any machine they can be checked (``check.py``),
differentiated by autograd (``host_gradients``) and run through a simulation of PopTorch's rules (``simulate``). Nobody
has run this engine on a real IPU yet: see docs/ipu.md.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import fields
from types import MappingProxyType
from typing import Any, Callable, Tuple

from spikecore.api.core.engine import Executor
from spikecore.api.core.engines import EngineUnavailable
from spikecore.api.core.layer import not_by_steps
from spikecore.api.core.tree import Params
from spikecore.engines.ipu.executor import IpuExecutor
from spikecore.engines.ipu.options import IpuOptions, unknown_option
from spikecore.engines.ipu.plain import PlainEngine
from spikecore.engines.ipu.words import words

INSTALL = "engine 'ipu': package poptorch is not installed, and simulate=True was not given; see docs/ipu.md"


class IpuEngine(PlainEngine):
    """An engine that trains on Graphcore's IPUs, through PopTorch.

    Args:
        dtype: "float32". "float64" needs ``simulate=True``: an IPU has none; the simulation has, for exact comparisons.
        simulate: train and run through this package's simulation of PopTorch on the CPU instead of PopTorch.
        host_gradients: let ``value_and_grad`` differentiate the ops by autograd on the host. Otherwise gradients are
            derived from a training step of the executor, because on an IPU they stay on the device.
        **options: fields of ``IpuOptions``; ``[engine_options]`` in a run file.

    Raises:
        EngineUnavailable: poptorch is not installed and ``simulate`` is False.
        ValueError: an option is unknown or out of range, or float64 without ``simulate``.
    """

    lacks = MappingProxyType(
        {
            "groups": "engine 'ipu' trains all parameters with the same options",
            "keep_zeros": "engine 'ipu' updates all weights",
            "lengths": "engine compiles losses of whole sequences, without lengths",
            "reading": "a program for an IPU reads nothing back",
            "backward": "a program for an IPU multiplies gradients by a surrogate's derivative",
        }
    )

    def __init__(
        self, dtype: str = "float32", *, simulate: bool = False, host_gradients: bool = False, **options: Any
    ) -> None:
        known = [field.name for field in fields(IpuOptions)]
        for name in options:
            if name not in known:
                raise ValueError(unknown_option(name, known))
        super().__init__("cpu", dtype)
        if not simulate and not poptorch_is_here():
            raise EngineUnavailable(INSTALL)
        if dtype == "float64" and not simulate:
            raise ValueError("dtype='float64': an IPU computes in float32; use dtype='float32', or simulate=True")
        self.simulate, self.host_gradients, self.options = bool(simulate), bool(host_gradients), IpuOptions(**options)
        self.xp = words("cpu", dtype)
        if not simulate:
            self.lacks = MappingProxyType({**self.lacks, "float64": "an IPU computes in float32"})

    def __repr__(self) -> str:
        how = "simulated on the CPU, " if self.simulate else ""
        return f"IpuEngine({how}dtype={self.dtype!r})"

    @property
    def poptorch(self) -> Any:
        """PopTorch, or the simulation of it."""
        return importlib.import_module("spikecore.engines.ipu.simulation" if self.simulate else "poptorch")

    def explain(self, stepper: Any) -> str:
        where = "through a simulation of PopTorch on the CPU" if self.simulate else "by PopTorch"
        how = "in training" if self.options.inference_loop else ""
        loop = f"unrolled {how}".rstrip() + (", one poptorch.for_loop in inference" if how else "")
        other_way = not_by_steps(stepper)
        if other_way:
            return f"{other_way}, {where}"
        return f"{loop}: one {type(stepper).__name__}.step per time step, plain ops with detached surrogates, {where}"

    def value_and_grad(
        self, function: Callable[..., Tuple[Any, Any]], argument: Any, *constants: Any
    ) -> Tuple[Any, Any, Any]:
        if not self.host_gradients:
            raise NotImplementedError(
                "engine 'ipu' keeps gradients on the device; spikecore.verify derives them from one step of SGD, and "
                "host_gradients=True differentiates the same ops on the host"
            )
        return super().value_and_grad(function, argument, *constants)

    def compile(
        self, network: Any, params: Params, buffers: Any, loss: Any, optimizer: Any, **options: Any
    ) -> Executor:
        return IpuExecutor(self, network, params, buffers, loss, optimizer, **options)


def poptorch_is_here() -> bool:
    """Whether PopTorch can be imported."""
    return importlib.util.find_spec("poptorch") is not None
