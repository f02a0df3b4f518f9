"""Mixed precision: ``spikecore.nn`` under ``torch.autocast``, with a ``GradScaler`` for float16."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Iterator, List, Tuple
from unittest import mock

from benchmarks.gpu.models import samples
from benchmarks.gpu.record import Record

STEPS, SEEDS = 20, 3
CLOSE = 0.05  # relative, of a loss in half precision


def precision(record: Record) -> None:
    """Training in float32, bfloat16 and float16, from the same weights on the same data."""
    import torch

    kinds = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if record.rehearse:
        del kinds["float16"]  # the CPU's autocast has it in some versions of torch only
    record.note(f"A network 64-256-10 on noisy patterns, {STEPS} steps; `torch.autocast` around the network.")
    for seed in range(record.size(SEEDS, 1)):
        plain, _ = first_loss(record, None, seed)
        for name, dtype in kinds.items():
            with record.attempt(f"{name}, seed {seed}"):
                loss, problems = first_loss(record, dtype, seed)
                record.check(f"{name}, seed {seed}", not problems, "; ".join(problems))
                far = abs(loss - plain) / plain
                record.check(f"{name}, seed {seed}: its loss is close to that of float32", far <= CLOSE, f"{far:.3g}")
                before, after, right, seconds = trained(record, dtype, seed)
                record.check(f"{name}, seed {seed}: the loss falls", after < before, f"{before:.4g}, {after:.4g}")
                record.row(
                    "Training under autocast",
                    precision=name,
                    seed=seed,
                    **{"first loss": float(f"{before:.4g}"), "last loss": float(f"{after:.4g}"), "right %": right},
                    **{"ms per step": record.time(seconds)},
                )


def network(record: Record, seed: int) -> Any:
    """Linear layers and neurons of which one learns its decay."""
    import torch
    from torch import nn

    import spikecore.nn as snn

    torch.manual_seed(seed)
    return nn.Sequential(
        *(nn.Linear(64, 256), snn.Leaky(beta=0.9, init_hidden=True, learn_beta=True)),
        *(nn.Linear(256, 10), snn.Leaky(beta=0.9, init_hidden=True, output=True)),
    ).to(record.device)


def loss_of(record: Record, net: Any, x: Any, y: Any, dtype: Any) -> Tuple[Any, Any]:
    """The loss of a batch by the membrane summed over time, and the spikes; in float32 if ``dtype`` is None."""
    import torch

    import spikecore.nn as snn

    with torch.autocast(record.device, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        spikes, membranes = snn.run(net, x, num_steps=STEPS)
    return torch.nn.functional.cross_entropy(membranes.float().mean(0), y), spikes


def first_loss(record: Record, dtype: Any, seed: int) -> Tuple[float, List[str]]:
    """The loss before training, and what is wrong with gradients and states."""
    import torch

    x, y = (torch.as_tensor(a, device=record.device) for a in samples(record.size(4096, 32)))
    net = network(record, seed)
    with kernels_started() as started:
        loss, spikes = loss_of(record, net, x, y, dtype)
        loss.backward()
    problems = [] if bool(spikes.any()) else ["nothing fires"]
    if not record.rehearse and "backward" not in started:
        problems.append(f"neurons ran without Triton kernels: {started}")
    for name, weight in net.named_parameters():
        if weight.grad is None or weight.grad.dtype != torch.float32 or not bool(weight.grad.isfinite().all()):
            problems.append(f"{name} has the gradient {weight.grad}")
    if net[1].mem.dtype != torch.float32:
        problems.append(f"the membrane is {net[1].mem.dtype}")
    return float(loss.detach()), problems


@contextmanager
def kernels_started() -> Iterator[List[str]]:
    """The names of the Triton kernels that are started inside."""
    from spikecore.kernels.triton import SequenceTriton

    names: List[str] = []
    start = SequenceTriton.start

    def watched(self: Any, kernel: Any, *rest: Any) -> None:
        names.append(kernel.name)
        start(self, kernel, *rest)

    with mock.patch.object(SequenceTriton, "start", watched):
        yield names


def trained(record: Record, dtype: Any, seed: int) -> Tuple[float, float, float, float]:
    """First and last loss, accuracy in per cent, and milliseconds per step."""
    import time

    import torch

    x, y = (torch.as_tensor(a, device=record.device) for a in samples(record.size(4096, 64)))
    net, batch = network(record, seed), record.size(256, 16)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    scaler = torch.amp.GradScaler(record.device, enabled=dtype == torch.float16)
    losses, begun, counted = [], 0.0, 0
    for epoch in range(record.size(6, 2)):
        for first in range(0, len(x), batch):
            if epoch == 1 and first == 0:
                _wait(record)
                begun = time.perf_counter()  # after the first epoch, in which kernels are compiled
            optimizer.zero_grad(set_to_none=True)
            loss, _ = loss_of(record, net, x[first : first + batch], y[first : first + batch], dtype)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            losses.append(loss.detach())
            counted += epoch > 0
    _wait(record)
    taken = 1e3 * (time.perf_counter() - begun) / counted
    with torch.no_grad():
        _, spikes = loss_of(record, net, x, y, dtype)
    right = float((spikes.float().sum(0).argmax(-1) == y).float().mean())
    return float(losses[0]), float(losses[-1]), round(100 * right, 2), taken


def _wait(record: Record) -> None:
    import torch

    if not record.rehearse:
        torch.cuda.synchronize()
