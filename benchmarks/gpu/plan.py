"""The steps of ``python -m benchmarks.gpu``, in the order in which they run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

HERE = __package__
BUDGET = 530.0  # seconds for all steps: the whole command stays below nine minutes
REHEARSAL = 170.0  # the same for a rehearsal: below three minutes


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
    Step("bandwidth", "Kernels beside a copy", f"{HERE}.bandwidth:bandwidth", 10),
    Step("variants", "Triton kernels in other shapes", f"{HERE}.variants:variants", 8),
    Step("copies", "Batches on their way to the GPU", f"{HERE}.copies:copies", 4),
    Step("triton", "Triton kernels against the loop", f"{HERE}.suites:triton", 14),
    Step("cuda-c", "CUDA C kernels against the loop", f"{HERE}.suites:cuda_c", 12),
    Step("models", "Whole models: fit, verify, save", f"{HERE}.models:models", 12),
    Step("amp", "Mixed precision", f"{HERE}.precision:precision", 7),
    Step("ranks", "Two processes under torchrun", f"{HERE}.ranks:ranks", 8),
    Step("tutorials", "Training steps of tutorials 5 and 6", f"{HERE}.workloads:tutorials", 10),
    Step("open-neuromorphic", "Open Neuromorphic's workload", f"{HERE}.workloads:open_neuromorphic", 16),
    Step("conformance-torch", "Conformance: torch engine on CUDA", f"{HERE}.suites:conformance_torch", 16),
    Step("conformance-cupy", "Conformance: CuPy engine", f"{HERE}.suites:conformance_cupy", 16),
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
