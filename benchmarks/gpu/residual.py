"""SEW-ResNet18 beside SpikingJelly's own module with the same weights: a training step, and what differs."""

from __future__ import annotations

import statistics
import time
import warnings
from functools import partial
from typing import Any, Callable, List, Optional, Tuple

import spikecore as sc
from benchmarks.gpu.record import Record
from benchmarks.gpu.training import mean_loss

SIZES = ((4, 32), (16, 8), (32, 8))  # time steps, samples
PIXELS, CLASSES = 224, 10
CLOSE = {"float32": 2e-3, "bf16": 0.1}  # of first losses, which depend on nearly all spikes by batch statistics


def residual(record: Record) -> None:
    """A row for each size, side and precision."""
    import torch

    from spikecore.zoo import load_spikingjelly, sew_resnet18

    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    theirs = _theirs(record)
    record.note("Forward, loss of the mean output, backward, fused Adam. Without TF32; bf16 of SpikingJelly: autocast.")
    for steps, batch in record.size(SIZES, ((2, 2),)):
        pixels = record.size(PIXELS, 32)
        x = torch.rand((1, batch, 3, pixels, pixels), generator=torch.Generator().manual_seed(0)).to(record.device)
        y = (torch.arange(batch) % CLASSES).to(record.device)
        for precision in ("float32", "bf16"):
            engine = sc.get_engine("torch", device=record.device, precision=precision)
            model = sc.Model(sew_resnet18(CLASSES), engine=engine, seed=0, input_shape=(3, pixels, pixels))
            sides = {"torch engine": partial(training_step, record, model, x, y, steps)}
            if theirs is not None:
                load_spikingjelly(model, theirs.state_dict())
                sides["SpikingJelly"] = partial(their_step, record, theirs, x, y, steps, precision)
            losses: List[float] = []
            for side, timed_step in sides.items():
                with record.attempt(f"{side}, T={steps}, {precision}"):
                    loss, taken = timed_step()
                    losses.append(loss)
                    near = abs(loss - losses[0]) < CLOSE[precision]
                    record.check(f"{side}, T={steps}, {precision}: the first loss", near, f"{loss}, not {losses[0]}")
                    cells = {"size": f"T={steps} B={batch}", "side": side, "precision": precision}
                    record.row("Training steps", **cells, loss=float(f"{loss:.5g}"), ms=record.time(1e3 * taken))


def _theirs(record: Record) -> Optional[Any]:
    """SpikingJelly's module on the device, in multi-step mode; None where it is not installed."""
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from spikingjelly.activation_based import functional, neuron, surrogate
            from spikingjelly.activation_based.model import sew_resnet
    except ImportError as error:
        record.note(f"SpikingJelly's module is left out: {error}. It needs torchvision, too.")
        return None
    torch.manual_seed(0)
    options = {"detach_reset": True, "surrogate_function": surrogate.ATan(2.0)}
    made = sew_resnet.sew_resnet18(cnf="ADD", spiking_neuron=neuron.IFNode, num_classes=CLASSES, **options)
    functional.set_step_mode(made, "m")
    return made.to(record.device)


def training_step(record: Record, model: Any, x: Any, y: Any, steps: int) -> Tuple[float, float]:
    """The first loss, and the seconds of a training step of a model."""
    from spikecore.api.training.executor import executor_from

    state = {**model.state(), "optimizer": {}, "step": 0}
    shape = tuple(x.shape[2:])
    executor, _ = executor_from(model.network, model.engine, shape, state, mean_loss, sc.Adam(lr=1e-4))
    return timed(record, lambda: float(executor.step(x, y, steps=steps)[0]))


def their_step(record: Record, module: Any, x: Any, y: Any, steps: int, precision: str) -> Tuple[float, float]:
    """The same of a copy of SpikingJelly's module."""
    import copy

    import torch
    from spikingjelly.activation_based import functional

    own = copy.deepcopy(module)
    optimizer = torch.optim.Adam(own.parameters(), lr=1e-4, fused=True)
    whole = x.expand(steps, *x.shape[1:])

    def step() -> float:
        functional.reset_net(own)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(record.device, dtype=torch.bfloat16, enabled=precision == "bf16"):
            out = own(whole)
        loss = torch.nn.functional.cross_entropy(out.float().mean(0), y)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return timed(record, step)


def timed(record: Record, step: Callable[[], float]) -> Tuple[float, float]:
    """The loss of the first step, and the median seconds of those after the third."""
    first, times = step(), []
    for _ in range(record.size(2, 0)):
        step()
    for _ in range(record.size(10, 1)):
        begun = time.perf_counter()
        step()  # it waits for its loss, behind which there is the update
        times.append(time.perf_counter() - begun)
    return first, statistics.median(times)
