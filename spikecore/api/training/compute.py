"""``Compute``: where and how ``Model.fit`` computes, which does not change what it learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, get_args

from spikecore.api.core.messages import unknown
from spikecore.api.core.sizes import whole_number
from spikecore.api.training.budgets import Bytes, bytes_of
from spikecore.api.training.together import Parallel
from spikecore.arguments import Checked, Size, argument_kind
from spikecore.printing import Concise


@dataclass(frozen=True)
class Compute(Concise, Checked):
    """Processes, memory, compilation and checks of ``Model.fit``.

    Args:
        parallel: "data", the default: in a process group of torch.distributed each process takes its part of every
            batch (docs/parallel.md). Without a group, this process trains alone. "data-bf16": the same, but gradients
            are sent in bfloat16, for slow links: half the bytes of float32, rounded to 8 bits. "fsdp": like "data", but
            each process keeps only its part of weights, gradients and moments. It gathers a layer's weights when it
            computes this layer. Until the next ``fit``, all processes must make the same calls of the model. "none":
            this process trains alone in any case.
        memory: most memory of a training step, e.g. "512MB", "8GB", or a number of bytes; None, the default: no limit.
            It counts weights, gradients, the optimiser's slots, the batch and all intermediate arrays, not the program
            and the data set. The peak is computed from shapes before the first step. If it is too high, layers or steps
            are computed again, or the batch is divided; the gradient is still that of the whole batch. For the torch
            engine; see docs/memory.md.
        accumulate: number of batches for one update of the weights, by the mean gradient of all their samples. This has
            the effect of larger batches in the memory of small ones. Batch normalisation takes its statistics from each
            batch. Default 1.
        compile: whether neighbouring layers without state, such as convolution, normalisation and pooling, go through
            ``torch.compile`` in training; default False. Results are the same up to rounding, and draws are the same.
            For the torch engine with a C++ compiler; see docs/memory.md.
        check_finite: whether NaN and infinity in inputs are refused, and a loss or a weight that is not finite ends
            training; default True.
        cuda_graph: whether forward and backward pass of a training step are recorded as a CUDA graph, which is then one
            launch; default False, since nobody has measured it on a GPU. It takes the memory of a step for each shape
            of a batch. A loss of your own is called while a step is recorded, and no more. For the torch engine on
            device="cuda"; see docs/kernels.md.

    Raises:
        ValueError: an option is something else, or two options exclude each other.

    Example:
        >>> model.fit(loader, compute=sc.Compute(memory="8GB", accumulate=4))
    """

    parallel: Parallel = "data"
    memory: Optional[Bytes] = None
    accumulate: Size = 1
    compile: bool = False
    check_finite: bool = True
    cuda_graph: bool = False

    def __post_init__(self) -> None:
        if self.parallel not in get_args(Parallel):
            raise ValueError(unknown("parallel", self.parallel, get_args(Parallel)))
        object.__setattr__(self, "accumulate", whole_number("accumulate", self.accumulate, 1))
        if self.memory is not None:
            bytes_of(self.memory)
        if self.parallel == "fsdp" and self.memory is not None:
            raise ValueError(
                f"memory={self.memory!r} is planned for whole weights, and parallel='fsdp' divides them among "
                "processes: leave memory out and take smaller batches with accumulate, or train with parallel='data'"
            )
        given = {
            f"memory={self.memory!r}": self.memory is not None,
            "parallel='fsdp'": self.parallel == "fsdp",
            "compile=True": self.compile,
            f"accumulate={self.accumulate}": self.accumulate > 1 and self.cuda_graph,
            "cuda_graph=True": self.cuda_graph,
        }
        for option in ("compile=True", "cuda_graph=True"):
            for other in given:
                if given[option] and given[other] and option != other:
                    raise ValueError(f"{option} and {other} exclude each other: leave one of them out")


argument_kind(Compute, "a sc.Compute, e.g. sc.Compute(parallel='none')")
