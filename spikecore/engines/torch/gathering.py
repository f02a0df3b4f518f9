"""Weights in parts: each rank holds a slice of every weight, and a layer has them whole only while it computes.

A divided weight is a ``DTensor`` of torch. Where a layer begins, the slices of all ranks are gathered; behind it they
are let go. On the way back the layer is computed once more from its input, for which they are gathered again, and of
its gradient, summed over all ranks, each rank gets its slice. This is stage 3 of ZeRO (Rajbhandari et al., 2020), or
fully sharded data parallelism (Zhao et al., 2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Sequence, Tuple

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor

from spikecore.api.core.extras import Stages, extra
from spikecore.api.core.layer import Params, Pass, Result, Tree
from spikecore.api.core.lowering import Stage
from spikecore.api.core.tree import leaves, map_leaves
from spikecore.api.layers.containers import Chain, Container
from spikecore.engines.torch.ranks import collective
from spikecore.engines.torch.recompute import again


def mesh_of(device: str) -> DeviceMesh:
    """All ranks of the default process group, in a row."""
    everyone: Any = dist.group.WORLD
    return DeviceMesh.from_group(everyone, torch.device(device).type)


def axis_of(shape: Tuple[int, ...], size: int) -> Optional[int]:
    """The axis along which a weight is divided among ``size`` ranks: the first that is long enough; None if none is."""
    return next((axis for axis, extent in enumerate(shape) if extent >= size), None)


def divided(x: Any, mesh: DeviceMesh) -> Any:
    """This rank's slice of a tensor that all ranks have whole; one too small to be divided stays whole on all."""
    axis = axis_of(tuple(x.shape), mesh.size())
    found = distribute_tensor(x, mesh, [Replicate() if axis is None else Shard(axis)], src_data_rank=None)
    # a copy, since a slice would keep the whole tensor alive
    own = found.to_local().clone(memory_format=torch.contiguous_format)
    return DTensor.from_local(own, mesh, found.placements, run_check=False, shape=x.shape, stride=x.stride())


@collective
def whole(x: Any) -> Any:
    """The tensor of which each rank has a slice, on all ranks."""
    with torch.no_grad():
        return x.full_tensor() if isinstance(x, DTensor) else x


class Gather(torch.autograd.Function):
    """A divided weight as a whole; its gradient is the sum over all ranks, of which each gets its slice."""

    @staticmethod
    @collective
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x.redistribute(placements=[Replicate()]).to_local()

    @staticmethod
    @collective
    def backward(ctx: Any, g: Any) -> Any:
        # what is saved is asked for in any case: so every rank computes the layer again, whatever else its kernels have
        # saved, and none waits for weights that another one does not gather
        (x,) = ctx.saved_tensors
        own = DTensor.from_local(g.contiguous(), x.device_mesh, [Partial()], run_check=False)
        return own.redistribute(placements=x.placements)


def gathered(x: Any) -> Any:
    """A leaf of parameters as a layer takes it; all ranks must call this, in the same order."""
    return Gather.apply(x) if isinstance(x, DTensor) else x


@dataclass(frozen=True)
class Gathered(Stage):
    """A stage that has its weights whole while it computes."""

    stage: Stage

    @property
    def covers(self) -> Tuple[str, ...]:
        return self.stage.covers

    def run(self, run: Pass, params: Params, buffers: Tree, state: Optional[Tree], x: Any) -> Result:
        own = Params({name: params[name] for name in self.covers})
        if not any(isinstance(leaf, DTensor) for _, leaf in leaves(own)):
            return self.stage.run(run, params, buffers, state, x)

        def through(x: Any) -> Result:
            return self.stage.run(run, map_leaves(gathered, own), buffers, state, x)

        result: Result = again(through, x) if run.train else through(x)
        return result

    def explain(self, engine: Any) -> str:
        return f"{self.stage.explain(engine)}; its weights are gathered for it"


def lowers(layer: Any) -> bool:
    """Whether a layer is a container whose children are stages, each of which gathers its own weights."""
    return isinstance(layer, Container) and layer.lowers


def gathering(stages: Sequence[Stage], chain: Chain) -> Tuple[Stage, ...]:
    """The stages of layers one behind the other, each with its weights gathered for it."""
    children = dict(chain)
    return tuple(stage if lowers(children[stage.covers[0]]) else Gathered(stage) for stage in stages)


def join_collectives(engine: Any, network: Any, params: Params) -> None:
    """Gather all weights in the order in which a run without training does, and let them go."""
    if not lowers(network):
        map_leaves(gathered, params)
        return
    children = dict(network.children())
    for stage in extra(engine, Stages).lower(engine, network):
        for name in stage.covers:
            join_collectives(engine, children[name], params[name])
