"""Launches of GPU kernels, caught so that one can be started again and timed alone; and the clock of the device."""

from __future__ import annotations

import math
import os
import statistics
from dataclasses import dataclass
from typing import Any, Callable, List, NamedTuple, Optional, Tuple

import spikecore as sc
from benchmarks.gpu.record import Absent, Record
from spikecore.api.core.layer import Key
from spikecore.api.core.tree import flatten, map_leaves
from spikecore.kernels.base import Request, Upstream, Wanted
from spikecore.kernels.sequence_gpu import GpuSource

BUSY = 6144  # rows of the matrices whose product keeps the device busy, for about ten milliseconds on a large card


class Launch(NamedTuple):
    """What a kernel was started with: its source, arrays in its order, numbers, the input, and how many neurons."""

    kernel: GpuSource
    arrays: List[Any]
    numbers: List[int]
    x: Any
    neurons: int

    @property
    def moved(self) -> int:
        """Bytes of its arrays. Each is read or written once, so this is the least that the kernel can move."""
        return sum(math.prod(a.shape) * a.dtype.itemsize for a in self.arrays)


@dataclass(frozen=True)
class Device:
    """A library of arrays on the device.

    Args:
        name: its name in tables.
        kind: the class of its kernels.
        uniform: random numbers in [0, 1) of a shape, in float32.
        zeros: zeros of a shape, in float32.
        halves: an array in half precision; None where the library has no such type that kernels take.
        multiply: the product of two matrices, written to the third.
        copy: copies the second array to the first.
        event: marks a moment of the device's own time.
        between: milliseconds between two moments, once the device has reached the second.
        wait: waits for the device.
    """

    name: str
    kind: Any
    uniform: Callable[[Tuple[int, ...]], Any]
    zeros: Callable[[Tuple[int, ...]], Any]
    multiply: Callable[[Any, Any, Any], Any]
    copy: Callable[[Any, Any], Any]
    event: Callable[[], Any]
    between: Callable[[Any, Any], float]
    wait: Callable[[], None]
    halves: Optional[Callable[[Any], Any]] = None


def torch_device(record: Record) -> Device:
    """Tensors and Triton kernels; in a rehearsal in Triton's interpreter."""
    import importlib.util

    if importlib.util.find_spec("triton") is None:
        raise Absent("triton is not installed (pip install triton)")
    if record.rehearse:
        os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported
    import torch

    from spikecore.kernels.triton import SequenceTriton

    def event() -> Any:
        moment = torch.cuda.Event(enable_timing=True)
        moment.record()
        return moment

    return Device(
        name="Triton",
        kind=SequenceTriton,
        uniform=lambda shape: torch.rand(shape, device=record.device),
        zeros=lambda shape: torch.zeros(shape, device=record.device),
        multiply=lambda a, b, out: torch.mm(a, b, out=out),
        copy=lambda target, source: target.copy_(source),
        event=event,
        between=lambda a, b: float(a.elapsed_time(b)),
        wait=lambda: None if record.rehearse else torch.cuda.synchronize(),
        halves=lambda x: x.bfloat16(),
    )


def cupy_device(record: Record) -> Device:
    """CuPy's arrays and CUDA C kernels."""
    try:
        import cupy
    except ImportError as error:
        raise Absent(f"cupy cannot be imported ({error}): pip install cupy-cuda13x, or cupy-cuda12x") from None

    from spikecore.kernels.cuda import SequenceCuda

    def event() -> Any:
        moment = cupy.cuda.Event()
        moment.record()
        return moment

    return Device(
        name="CUDA C",
        kind=SequenceCuda,
        uniform=lambda shape: cupy.random.random(shape, dtype="float32"),
        zeros=lambda shape: cupy.zeros(shape, "float32"),
        multiply=lambda a, b, out: cupy.matmul(a, b, out=out),
        copy=cupy.copyto,
        event=event,
        between=lambda a, b: float(cupy.cuda.get_elapsed_time(a, b)),
        wait=lambda: cupy.cuda.get_current_stream().synchronize(),
        halves=lambda x: x.astype("float16"),
    )


def caught(device: Device, layer: Any, shape: Tuple[int, ...], half: bool = False) -> Tuple[Launch, Launch, Any]:
    """Run a neuron forwards and backwards; returns both launches and the kernels.

    Args:
        device: where.
        layer: the neuron.
        shape: (time, batch, neurons).
        half: whether the input comes in half precision.
    """
    launches: List[Launch] = []

    class Watched(device.kind):  # type: ignore[misc,name-defined]
        def start(self, *given: Any) -> None:
            launches.append(Launch(*given))
            super().start(*given)

    engine = sc.get_engine("numpy", fused=False)
    init = layer.init(Key((0,)), shape[2:])
    params = flatten(layer.prepare(engine, map_leaves(engine.asarray, init.params)))
    constants = tuple((name, value if type(value) is float else None) for name, value in params.items())
    kernels = Watched.of(layer, constants, (), (), "float32")
    if isinstance(kernels, str):
        raise Absent(kernels)
    x = device.uniform(shape)
    x = device.halves(x) if half and device.halves is not None else x
    given = {name: device.zeros(()) + float(params[name]) for name in kernels.params}
    request = Request(x, [device.zeros(shape[1:]) for _ in kernels.states], given, shape[0])
    made = kernels.forward(request)
    upstream = Upstream(x, [], [None for _ in kernels.states], made.saved)
    kernels.backward(request, upstream, Wanted(True, kernels.params))
    forward, backward = launches
    return forward, backward, kernels


class Clock:
    """Times in milliseconds of the device's own clock, so that the way of a launch through Python does not count.

    A product of large matrices keeps the device busy while launches queue behind it, and empties its cache.
    """

    def __init__(self, device: Device, rehearse: bool, rounds: int = 7) -> None:
        self.device, self.rehearse, self.rounds = device, rehearse, rounds
        if not rehearse:
            self.matrices = [device.uniform((BUSY, BUSY)) for _ in range(3)]

    def __call__(self, call: Callable[[], Any]) -> Optional[float]:
        """The median time of a call, after two that do not count; in a rehearsal it is called once, and not timed."""
        call()
        if self.rehearse:
            return None
        call()
        times = []
        for _ in range(self.rounds):
            self.device.multiply(*self.matrices)
            begun = self.device.event()
            call()
            ended = self.device.event()
            self.device.wait()
            times.append(self.device.between(begun, ended))
        return statistics.median(times)

    def copy(self, moved: int) -> Optional[float]:
        """The time of a copy that reads and writes ``moved`` bytes together."""
        source, target = (self.device.zeros((moved // 8,)) for _ in range(2))
        return self(lambda: self.device.copy(target, source))
