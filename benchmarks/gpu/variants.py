"""Triton kernels in other shapes: neurons per program, warps, and steps whose loads are under way at once.

A kernel takes a neuron through time, so a load waits for the memory at every step unless others are under way. With
many neurons other warps fill the gap; with few, loads that are begun some steps ahead may. This says which shape the
kernels should have on the card; all compute the same bits.
"""

from __future__ import annotations

import re
from typing import Any, List, Optional

import spikecore as sc
from benchmarks.gpu.launches import Clock, Launch, caught, torch_device
from benchmarks.gpu.record import Record
from spikecore.kernels.sequence_gpu import GpuSource, block_of

SHAPES = ((100, 64, 1024), (500, 16, 4096), (100, 64, 8192))
TINY = ((5, 2, 40),)
BLOCKS = ((128, 4), (64, 2), (32, 1), (128, 2), (256, 4), (512, 4))  # neurons per program, warps
STAGES = (None, 2, 4, 8)  # that Triton makes of the loop over time; None: the loop as it is written
LOOP = re.compile(r"in tl\.range\(steps, \w+=\d+\):")


def variants(record: Record) -> None:
    """A row for each size, kernel and shape."""
    device = torch_device(record)
    clock = Clock(device, record.rehearse, rounds=5)
    sizes = ", ".join(str(block_of(batch * neurons)) for _, batch, neurons in record.size(SHAPES, TINY))
    record.note(
        f"The kernels of Leaky. By themselves they have {sizes} neurons per program here, a warp for each 32, and "
        "read their rows some steps ahead in an unrolled loop."
    )
    for shape in record.size(SHAPES, TINY):
        forward, backward, _ = caught(device, sc.Leaky(beta=0.9), shape)
        for launch in (forward, backward):
            copy, expected = clock.copy(launch.moved), [a.clone() for a in launch.arrays]
            for block, warps in record.size(BLOCKS, BLOCKS[1:2]):
                for stages in record.size(STAGES, STAGES[:2]):
                    what = f"{shape}, {launch.kernel.name}, {block}, {warps}, {stages}"
                    with record.attempt(what):
                        started = starter(launch, block, warps, stages)
                        record.check(what, computes(launch, started, expected), "it computes other bits")
                        taken = clock(started)
                        record.row(
                            "Kernels of Leaky",
                            shape="T={} B={} N={}".format(*shape),
                            kernel=launch.kernel.name,
                            neurons=block,
                            warps=warps,
                            stages=stages,
                            ms=record.time(taken),
                            **{"of copy": record.time(copy / taken if copy and taken else None)},
                        )


def starter(launch: Launch, block: int, warps: int, stages: Optional[int]) -> Any:
    """A function that starts a kernel in another shape, on the same arrays."""
    import torch
    import triton

    from spikecore.kernels.runtime.modules import load
    from spikecore.kernels.triton import HEAD, options_of

    source = launch.kernel.source if stages is None else staged(launch.kernel, stages)
    function = getattr(load(HEAD + source), launch.kernel.name)
    grid = (triton.cdiv(launch.neurons, block),)
    options = {**options_of(block, launch.kernel.name, False), "num_warps": warps}

    def start() -> None:
        with torch.cuda.device_of(launch.x):
            function[grid](*launch.arrays, *launch.numbers, BLOCK=block, **options)

    return start


def staged(kernel: GpuSource, stages: int) -> str:
    """The source of a kernel with so many stages of its loop over time.

    Raises:
        ValueError: it has no such loop. The table would show the same kernel again and again.
    """
    source, loops = LOOP.subn(f"in tl.range(steps, num_stages={stages}):", kernel.source)
    if not loops:
        raise ValueError(f"the {kernel.name} kernel has no loop like {LOOP.pattern!r}:\n{kernel.source}")
    return source


def computes(launch: Launch, start: Any, expected: List[Any]) -> bool:
    """Whether a start writes the expected bits to every array that the kernel writes to."""
    written = set(re.findall(r"tl\.store\((\w+) \+", launch.kernel.source))
    for name, array in zip(launch.kernel.arrays, launch.arrays):
        if name in written:
            array.fill_(float("nan"))
    start()
    return bool(written) and all(bool((a == b).all()) for a, b in zip(launch.arrays, expected))
