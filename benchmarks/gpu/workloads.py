"""Workloads of ``spikecore bench`` on the device, beside the peers whose wheels are given."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from typing import Iterable, Iterator, Tuple

from benchmarks.gpu.record import Record
from benchmarks.plan import Group, Settings
from benchmarks.report import Row

PEERS = ("snntorch", "spikingjelly", "norse")
SIZES = (4096, 8192, 16384)


def settings(record: Record) -> Settings:
    """Tensors on the device, this library's torch engine, and the peers."""
    return Settings(quick=record.rehearse, device=record.device, engines=("torch",), peers=PEERS)


def tutorials(record: Record) -> None:
    """Training steps of tutorials 5 and 6, and neurons alone."""
    from benchmarks.workloads import neurons, tutorial5, tutorial6

    _begin(record)
    some = settings(record)
    for module in (tutorial5, tutorial6, neurons):
        wanted = (group for group in module.groups(some) if any(some.wants(side) for side in group.sides))
        groups = record.size(wanted, _first(wanted))
        measure(record, module.WORKLOAD.title, groups, some, 10)


def recurrent(record: Record) -> None:
    """The dense recurrence alone, forward and backward."""
    from benchmarks.workloads import recurrent as module

    _begin(record)
    some = settings(record)
    measure(record, module.WORKLOAD.title, module.groups(some), some, 5)


def open_neuromorphic(record: Record) -> None:
    """Open Neuromorphic's workload in sizes that fill a GPU, forward and backward."""
    _begin(record)
    some = settings(record)
    record.note("The reference of the parity is this library's loop on the same device.")
    for n in record.size(SIZES, (16,)):
        measure(record, f"Open Neuromorphic, n={n}", _of_size(n, some), some, 5)


def _of_size(n: int, some: Settings) -> Iterator[Group]:
    from benchmarks.workloads import open_neuromorphic as module

    task = module.Task(some, n)
    for model, layer, peers in module.models(task):
        ours = [peer for peer in peers if peer[1] in PEERS]
        if ours:
            group = module._group(task, model, layer, ours, True)
            yield replace(group, reference=lambda layer=layer: task.ours(layer, True, fused=False))  # type: ignore[misc]


def _begin(record: Record) -> None:
    """One precision for all sides, and what SpikingJelly runs."""
    import torch

    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    record.note("Float32 throughout, without TF32, for all sides. Times are medians, on the clock of the host.")
    for name in PEERS:
        if importlib.util.find_spec(name) is None:
            record.note(f"{name} is not installed: put its wheel into .whl to be compared with it.")
    if not record.rehearse and importlib.util.find_spec("spikingjelly") is not None:
        record.note(f"SpikingJelly's LIF ran by its {_implementation()} kernels, which it chooses itself.")


def _implementation() -> str:
    """How SpikingJelly runs its LIF on this device: "cuda", "triton" or "torch"; "unknown" in versions before 2."""
    import torch

    try:
        from spikingjelly.activation_based.functional.neuron import neuron_implementation

        return str(neuron_implementation("lif", torch.device("cuda", 0))["implementation"])
    except Exception as error:  # a peer's interface may change with its version, and the times are worth having
        return f"unknown ({type(error).__name__})"


def measure(record: Record, title: str, groups: Iterable[Group], some: Settings, rounds: int) -> None:
    """A row for each side of each group; a group that fails does not stop the others."""
    from benchmarks.runner import measured

    for group in groups:
        with record.attempt(f"{title}, {group.title}"):
            for row in measured(group, some, record.size(rounds, 1), progress=False):
                add(record, title, row)


def add(record: Record, title: str, row: Row) -> None:
    """A row of ``spikecore bench`` as one of the record; parity is checked for this library's sides."""
    ours = row.side.split(",")[0] in ("torch engine", "torch", "fused", "loop")
    if row.parity is not None and (ours or not row.parity.ok):
        what = f"{title}, {row.group}, {row.side}"
        if ours:
            record.check(what, row.parity.ok, str(row.parity))
        else:
            record.note(f"{what}: {row.parity}")
    if row.failed:
        record.note(f"{row.side}: {row.note}")
    record.row(
        title,
        work=row.group,
        side=row.side,
        ms=record.time(row.median) if row.figures and row.unit == "ms" else None,
        low=record.time(min(row.figures)) if row.figures else None,
        high=record.time(max(row.figures)) if row.figures else None,
        relative=record.time(row.relative),
        MB=record.time(row.memory),
        parity=str(row.parity) if row.parity is not None else row.note,
    )


def _first(groups: Iterator[Group]) -> Tuple[Group, ...]:
    return tuple(group for group, _ in zip(groups, range(1)))
