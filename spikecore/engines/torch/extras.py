"""Features of the torch engine beside the members of ``Engine``: see ``api/core/extras.py``."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Any, Tuple

import torch

from spikecore.api.core.engines import get_engine
from spikecore.api.core.extras import Extra, Processes, TrainingOptions, UserProgram, Variants
from spikecore.api.core.lowering import Alone, Stage
from spikecore.api.core.ranks import Ranks
from spikecore.api.layers.containers import Chain
from spikecore.engines.single_steps import StepDerivatives
from spikecore.engines.stages import Neighbours, Readout
from spikecore.engines.torch.draws import TorchComparedDraws
from spikecore.engines.torch.modes import transformed
from spikecore.engines.torch.normalised import normalised
from spikecore.engines.torch.precision import FULL
from spikecore.engines.torch.ranks import ranks_of
from spikecore.kernels.runtime.openmp import use_threads


class TorchStages(Neighbours):
    """Stages of ``Neighbours``, normalised layers, compiled ones, weights gathered, groups that are computed again."""

    def lower_chain(self, engine: Any, chain: Chain) -> Tuple[Stage, ...]:
        stages = super().lower_chain(engine, chain)
        if engine.precision != FULL:  # kernels that multiply spikes where they are made do so in float32
            alone = [
                (Alone(stage.names[0], stage.neuron), Alone(stage.names[1], stage.linear))
                if isinstance(stage, Readout)
                else (stage,)
                for stage in stages
            ]
            stages = tuple(stage for some in alone for stage in some)
            if engine.device.startswith("cuda") and engine.fused is not False and engine.functions is None:
                from spikecore.engines.torch.halves import halved

                stages = halved(stages)
        elif engine.fused is not False and engine.functions is None:
            stages = normalised(stages, chain)
        if engine.functions is not None:
            from spikecore.engines.torch.traced import traced

            stages = traced(stages, chain, engine.functions, engine.batch_on_ranks)
        if engine.gathers:
            from spikecore.engines.torch.gathering import gathering

            stages = gathering(stages, chain)
        if engine.checkpoint_layers is not None:
            from spikecore.engines.torch.recompute import grouped

            stages = grouped(stages, engine.checkpoint_layers)
        return stages


class TorchSteps(StepDerivatives):
    """Derivatives of single steps, with as many threads as torch uses."""

    def advance_traces(self, *given: Any) -> Any:
        use_threads(torch.get_num_threads())
        return super().advance_traces(*given)


class TorchVariants(Variants):
    """Variants of the torch engine for ``verify``: no kernels, full precision, exact derivatives of spikes."""

    unfused = MappingProxyType({"fused": False})
    exact = MappingProxyType({"sparse_backward": 0.0, "precision": FULL})
    other_dtype = MappingProxyType({"precision": FULL})


class TorchProgram(UserProgram):
    """For programs that seed torch, and that differentiate by torch's autograd."""

    def fresh_seed(self) -> int:
        return int(torch.randint(2**63 - 1, ()))

    def check_input(self, x: Any) -> None:
        if isinstance(x, torch.Tensor) and x.requires_grad and torch.is_grad_enabled() and not transformed():
            raise TypeError(
                "x is a tensor that requires a gradient, and model(x) gives none to backward(): write x.detach(); for "
                "the gradient by x take torch.func.grad, or modules, spikecore.nn.run(spikecore.nn.to_torch(model), x)"
            )


class TorchProcesses(Processes):
    """Training in several processes, those of torch.distributed."""

    @property
    def together(self) -> str:
        if not torch.distributed.is_available():
            return f"this torch {torch.__version__} is built without torch.distributed: install one of https://pytorch.org/get-started"
        return "call torch.distributed.init_process_group() first, as `python -m spikecore train RUN.toml` does"

    def ranks(self) -> Ranks:
        return ranks_of()


class TorchOptions(TrainingOptions):
    """Options of ``fit`` that torch has: memory budgets, and ``torch.compile``."""

    def check_memory(self, engine: Any, memory: Any) -> None:
        pass

    def check_compile(self, engine: Any) -> None:
        from spikecore.engines.torch.traced import check

        check(engine.device)

    def check_graph(self, engine: Any) -> None:
        if not engine.device.startswith("cuda"):
            raise NotImplementedError(
                f"cuda_graph=True records what a CUDA device is given, and this is device={engine.device!r}: use "
                "get_engine('torch', device='cuda'), or leave cuda_graph out"
            )

    def near(self, engine: Any) -> Any:
        if not engine.device.startswith("cuda"):
            return engine
        if engine.beside is None:
            engine.beside = get_engine("torch", dtype=engine.dtype)
        return engine.beside

    def all_finite(self, engine: Any, x: Any) -> bool:
        # torch's sum takes a tenth of the time, and of finite numbers it is finite but for very large ones
        return math.isfinite(engine.to_numpy(torch.sum(x))) or super().all_finite(engine, x)

    def queue(self, engine: Any) -> Any:
        if not engine.device.startswith("cuda"):
            return None
        from spikecore.engines.torch.deferred import CudaQueue

        return CudaQueue(engine)


EXTRAS: Tuple[Extra, ...] = (
    TorchOptions(),  # asked for several times in a step of ``fit``
    TorchStages(),
    TorchComparedDraws(),
    TorchSteps(),
    TorchVariants(),
    TorchProgram(),
    TorchProcesses(),
)
