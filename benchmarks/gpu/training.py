"""Training steps as ``fit`` makes them: how long one takes, how busy the device is, what waits for it, and its memory.

Each is measured in float32 and with products in bfloat16, launched operator by operator and as a CUDA graph.
"""

from __future__ import annotations

import math
import statistics
import time
import warnings
from typing import Any, Callable, Dict, Iterator, NamedTuple, Tuple

import spikecore as sc
from benchmarks.gpu.record import Record

SHORT, LONG = 6, 26  # batches: a graph is recorded at the fourth, and what a fit does once is in both
CLOSE = {"float32": 1e-3, "bf16": 0.05}  # relative, of the mean loss of the first batches


class Task(NamedTuple):
    """A network, the shape of a sample, time steps, samples of a batch, and the loss."""

    network: Any
    shape: Tuple[int, ...]
    steps: int
    batch: int
    loss: Any = None


def tasks(record: Record) -> Iterator[Tuple[str, Task]]:
    """The networks, those of the tutorials first."""
    from spikecore.zoo import sew_resnet18

    size, leaky, fast = record.size, sc.Leaky(beta=0.95), sc.Leaky(beta=0.5, surrogate=sc.surrogate.fast_sigmoid(25.0))
    hidden = size(1000, 16)
    net = sc.Sequential(sc.Linear(784, hidden), leaky, sc.Linear(hidden, 10), leaky)
    yield "tutorial 5", Task(net, (784,), size(25, 3), size(128, 2))
    net = sc.Sequential(
        *(sc.Conv2d(1, 12, 5), sc.MaxPool2d(2), fast, sc.Conv2d(12, 64, 5), sc.MaxPool2d(2), fast),
        *(sc.Flatten(), sc.Linear(1024, 10), fast),
    )
    yield "tutorial 6", Task(net, (1, 28, 28), size(50, 2), size(128, 2))
    wide = size(512, 8)
    net = sc.Sequential(
        sc.Linear(128, wide), sc.RLeaky(beta=0.9, linear_features=wide), sc.Linear(wide, 10), sc.Leaky(beta=0.9)
    )
    yield f"RLeaky, {wide}", Task(net, (128,), size(100, 3), size(128, 2))
    pixels = size(224, 32)
    net = sew_resnet18(10, width=size(64, 2), stem=size("imagenet", "cifar"))
    yield "SEW-ResNet18", Task(net, (3, pixels, pixels), size(4, 2), size(32, 2), mean_loss)


def mean_loss(out: Any, targets: Any) -> Any:
    """Cross-entropy of the mean output."""
    import torch

    return torch.nn.functional.cross_entropy(out.spikes.mean(0), targets)


def training(record: Record) -> None:
    """A row for each network, precision and way of launching."""
    record.note(
        f"By `fit` on tensors of the device, float32 without TF32: what {LONG} batches take less what {SHORT} take. "
        "Busy: the share of that time in which a kernel runs. Waits: operations that torch's `set_sync_debug_mode` "
        "names; besides them, `fit` reads the values of a step when the next one has been launched. MB: the peak above "
        "what was there before."
    )
    for name, task in tasks(record):
        plain = None
        for precision in ("float32", "bf16"):
            for graph in record.size((False, True), (False,)):
                what = f"{name}, {precision}{', graph' if graph else ''}"
                with record.attempt(what):
                    loss, row = measured(record, what, task, precision, graph)
                    plain = loss if plain is None else plain
                    far, limit = abs(loss - plain) / abs(plain), CLOSE[precision]
                    record.check(f"{what}: its loss is that of float32", far <= limit, f"{loss}, not {plain}")
                    waits = row["waits"]
                    record.check(f"{what}: nothing waits within a step", not waits, f"{waits} per step")
                    cells = {"network": name, "precision": precision, "graph": "yes" if graph else "no"}
                    record.row("Training steps", **cells, **row)


def measured(record: Record, what: str, task: Task, precision: Any, graph: bool) -> Tuple[float, Dict[str, Any]]:
    """The mean loss of the first ``LONG`` batches, and the cells of a row."""
    import torch

    short, long = record.size((SHORT, LONG), (1, 2))
    draw = torch.Generator().manual_seed(0)
    x = torch.rand((long * task.batch, *task.shape), generator=draw).to(record.device)
    y = (torch.arange(long * task.batch) % 10).to(record.device)
    engine = sc.get_engine("torch", device=record.device, precision=precision)
    options: Any = {"num_steps": task.steps, "batch_size": task.batch, "epochs": 1, "progress": False}
    options.update({"loss": task.loss} if task.loss is not None else {}, compute=sc.Compute(cuda_graph=graph))

    def fitting() -> Callable[[int], float]:
        """The function that trains a new model on so many batches, and returns their mean loss."""
        model = sc.Model(task.network, engine=engine, seed=0)
        return lambda n: float(model.fit(x[: n * task.batch], y[: n * task.batch], **options)[-1]["loss"])

    # Sums in another order fire other spikes, and a few of them make another training of it.
    torch.backends.cudnn.deterministic = True
    loss = fitting()(long)
    torch.backends.cudnn.deterministic = False
    fit = fitting()
    fit(short)  # compiles kernels
    each = record.size(3, 1)
    seconds = [_difference(fit, short, long, _seconds) for _ in range(each)]
    taken = statistics.median(seconds)
    row: Dict[str, Any] = {"ms": record.time(1e3 * taken), "busy": None, "waits": None, "MB": None}
    if not record.rehearse:
        with record.attempt(f"{what}: the profiler"):
            busy = _difference(fit, short, long, _kernels) / taken
            row["busy"] = None if math.isnan(busy) else record.time(busy)
        with record.attempt(f"{what}: waits"):
            row["waits"] = round(_difference(fit, short, long, _waits), 3)
        with record.attempt(f"{what}: memory"):
            row["MB"] = _peak(fit, short)
    return loss, row


def _difference(fit: Callable[[int], float], short: int, long: int, measure: Callable[..., float]) -> float:
    """What one more batch costs."""
    return (measure(lambda: fit(long)) - measure(lambda: fit(short))) / (long - short)


def _seconds(run: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    run()  # which ends when it has read the last loss
    return time.perf_counter() - begun


def _kernels(run: Callable[[], Any]) -> float:
    """Seconds of what the device does, by the profiler; nan where that sees nothing, as without permission."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        run()
    events = [event for event in profiler.events() if event.device_type == DeviceType.CUDA]
    events = [event for event in events if not getattr(event, "is_user_annotation", False)]  # which spans kernels
    return sum(event.time_range.elapsed_us() for event in events) / 1e6 if events else math.nan


def _waits(run: Callable[[], Any]) -> float:
    """How often an operation has waited for the device."""
    import torch

    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return float(sum("synchronizing" in str(warning.message) for warning in caught))


def _peak(fit: Callable[[int], Any], batches: int) -> float:
    import torch

    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    fit(batches)
    return float(f"{(torch.cuda.max_memory_allocated() - before) / 2**20:.3g}")
