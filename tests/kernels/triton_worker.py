"""Triton kernels in Triton's interpreter, which must be chosen before Triton is imported: a process of its own.

Reads a list of [case, options] as JSON, writes for each what differs from the loops over steps.
"""

from __future__ import annotations

import json
import sys

import torch

from spikecore.kernels import sequence_gpu, triton
from tests.kernels import libdevice, recurrence_rig  # noqa: F401  # the first for what it puts in Triton
from tests.kernels.kernel_rig import CASES, LIMITS, Problem, Side, differences, of_library

sequence_gpu.BLOCKS = (128,)  # the interpreter takes as long for a small block as for a large one
BF16 = 2.0**-7  # the interpreter cuts bfloat16 off instead of rounding it: up to one unit in the last place


def get(tensor):
    return (tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()).numpy()


def side(given):
    typed = (lambda t: t.to(getattr(torch, given))) if given else (lambda t: t)
    return Side(torch.tensor, get, typed, torch.broadcast_to)


def check(name, options):
    dense = name in recurrence_rig.CASES
    problem = recurrence_rig.DenseProblem(name, **options) if dense else Problem(CASES[name], **options)
    kernels, here = problem.kernels(triton.SequenceTriton.of), side(problem.given)
    limits = of_library(problem, kernels, LIMITS[problem.dtype])
    if limits is None:
        loose = LIMITS[problem.dtype] if dense else 0.0  # sums in products each library has its own
        limits = {"bits": loose, "half": BF16 if problem.given == "bfloat16" else 0.0, "values": loose}
    found = differences(problem, problem.run(kernels, here), **limits)
    return found + ([] if problem.part(kernels, here) else ["a part of the gradients is not the same part of all"])


if __name__ == "__main__":
    json.dump([check(name, options) for name, options in json.load(sys.stdin)], sys.stdout)
