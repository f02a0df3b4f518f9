"""The steps of ``python -m benchmarks.gpu``, in the order in which they run: what matters most comes first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

HERE = __package__
BUDGET = 470.0  # seconds for all steps: the whole command stays below eight minutes


@dataclass(frozen=True)
class Step:
    """Something that is tested or measured, in a process of its own.

    Args:
        name: name on the command line and in ``gpu.json``.
        title: heading in ``gpu.md``.
        function: what the process calls, "module:function"; it takes a ``Record``.
        share: its part of the budget. What earlier steps leave is shared out in this proportion among those to come.
    """

    name: str
    title: str
    function: str
    share: float


STEPS: Tuple[Step, ...] = (
    Step("triton", "Triton kernels against the loop", f"{HERE}.suites:triton", 20),
    Step("bandwidth", "Kernels beside a copy", f"{HERE}.bandwidth:bandwidth", 10),
    Step("training", "Training steps: time, waits, memory, graphs", f"{HERE}.training:training", 20),
    Step("tutorials", "Training steps of tutorials 5 and 6 beside peers", f"{HERE}.workloads:tutorials", 10),
    Step("recurrent", "Dense recurrence beside snnTorch", f"{HERE}.workloads:recurrent", 7),
    Step("residual", "SEW-ResNet18 beside SpikingJelly", f"{HERE}.residual:residual", 9),
    Step("open-neuromorphic", "Open Neuromorphic's workload", f"{HERE}.workloads:open_neuromorphic", 12),
    Step("models", "Whole models: fit, verify, save", f"{HERE}.models:models", 9),
    Step("amp", "Mixed precision", f"{HERE}.precision:precision", 6),
    Step("conformance-torch", "Conformance: torch engine on CUDA", f"{HERE}.suites:conformance_torch", 14),
    Step("cuda-c", "CUDA C kernels against the loop", f"{HERE}.suites:cuda_c", 10),
    Step("conformance-cupy", "Conformance: CuPy engine", f"{HERE}.suites:conformance_cupy", 12),
    Step("ranks", "Two processes under torchrun", f"{HERE}.ranks:ranks", 6),
    Step("compiled", "The loop through torch.compile", f"{HERE}.compiled:compiled", 6),
    Step("variants", "Triton kernels in other shapes", f"{HERE}.variants:variants", 6),
    Step("copies", "Batches on their way to the GPU", f"{HERE}.copies:copies", 3),
)


def chosen(names: Tuple[str, ...]) -> Tuple[Step, ...]:
    """Steps by name, in their order; without names, all.

    Raises:
        ValueError: there is no step of such a name.
    """
    known = {step.name: step for step in STEPS}
    for name in names:
        if name not in known:
            raise ValueError(f"no step {name!r}; there are {', '.join(known)}")
    return tuple(step for step in STEPS if not names or step.name in names)
