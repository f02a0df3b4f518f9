"""The time of a training step on two hosts beside that in one process with one thread, and what a model says of it.

``python -m benchmarks.hosts`` (as root) makes two hosts of network namespaces, each with a core of its own, joined at
1 Gbit/s and then at 100 Mbit/s, and prints a table for the network of tutorial 6. The whole batch is the same. One
process, two hosts, and the two parts of the batch without a sum of gradients run in turns. The model adds up

    step = compute + latency + bytes / rate

where compute is the time of the larger part of the batch without a sum, latency that of the sums of a single number, as
many as a step has, and bytes = 2 (n - 1) / n times the size of the weights what each of n hosts sends.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any, Dict, List

import numpy as np

RATES = {"1gbit": 1e9, "100mbit": 1e8}  # bits a second
TASK, BATCHES, ROUNDS, WARM = "convolutional, of tutorial 6", 8, 9, 1
NUMBERS = 50  # sums of a single number whose time is measured


def predicted(compute: float, latency: float, weight_bytes: int, hosts: int, rate: float) -> float:
    """Seconds of a step on ``hosts`` hosts that are joined at ``rate`` bits a second."""
    return compute + latency + 2 * (hosts - 1) / hosts * weight_bytes * 8 / rate


class Counted:
    """Counts the collectives of torch.distributed that a block calls: how often hosts wait for each other."""

    def __enter__(self) -> Counted:
        import torch.distributed as dist

        self.calls, self.before = 0, {name: getattr(dist, name) for name in ("all_reduce", "all_gather")}
        for name, function in self.before.items():
            setattr(dist, name, self._counting(function))
        return self

    def _counting(self, function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            self.calls += 1
            return function(*arguments, **options)

        return call

    def __exit__(self, *error: Any) -> None:
        import torch.distributed as dist

        for name, function in self.before.items():
            setattr(dist, name, function)


def sent() -> int:
    """Bytes that this host has sent so far."""
    return int(Path("/sys/class/net/eth0/statistics/tx_bytes").read_text())


def rank_measures(result: str) -> None:
    """Measure, as the process of a host; rank 0 writes the figures into a file."""
    import torch
    import torch.distributed as dist

    import spikecore as sc
    from benchmarks.parallel import TASKS, seconds

    warnings.simplefilter("ignore")
    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    task = TASKS[TASK]._replace(batches=BATCHES)
    rng = np.random.default_rng(0)
    batch = (rng.random((task.batch, *task.shape), dtype=np.float32), rng.integers(0, 10, task.batch))
    own = tuple(x[rank * task.batch // size : (rank + 1) * task.batch // size] for x in batch)
    network = sc.Sequential(*task.layers)
    models: List[Any] = [sc.Model(network, engine="torch", seed=0, input_shape=task.shape) for _ in range(3)]
    alone, parts, together = models
    rows: List[Dict[str, float]] = []
    for number in range(ROUNDS + WARM):
        row = {"one": 0.0}
        if rank == 0:
            row["one"] = seconds(alone, task, [batch] * BATCHES, 1, "none")
        turn = Path(f"{result}.{number}")
        if rank == 0:
            turn.touch()
        while not turn.exists():  # a barrier would take time from the process that trains
            time.sleep(0.005)
        dist.barrier()
        compute = torch.tensor(seconds(parts, task, [own] * BATCHES, 1, "none"))
        dist.all_reduce(compute, op=dist.ReduceOp.MAX)
        begun, number_sum = time.perf_counter(), torch.zeros(1)
        for _ in range(NUMBERS):
            dist.all_reduce(number_sum)
        row["latency"] = (time.perf_counter() - begun) / NUMBERS
        row["compute"] = float(compute)
        before = sent()
        with Counted() as counted:
            row["together"] = seconds(together, task, [batch] * BATCHES, 1, "data")
        row["sent"], row["sums"] = (sent() - before) / BATCHES, counted.calls / BATCHES
        rows.append(row)
    if rank == 0:
        weights = sum(x.numel() * x.element_size() for x in together.trainer.executor.leaves)
        Path(result).write_text(json.dumps({"rows": rows[WARM:], "weights": weights}))
    dist.destroy_process_group()


def measured(rate: str, folder: Path) -> str:
    """A row of the table."""
    from tests.hosts.network import gone, network

    result, count = folder / f"{rate}.json", 2
    with network(count, rate) as hosts:
        logs = [folder / f"{rate}-{host.name}.txt" for host in hosts]
        for number, (host, log) in enumerate(zip(hosts, logs)):
            core = str(number % (os.cpu_count() or 1))
            meet = ["--rdzv-backend", "c10d", "--rdzv-id", "run", "--rdzv-endpoint", f"{hosts[0].address}:29500"]
            torchrun = ["-m", "torch.distributed.run", "--nnodes", str(count), *meet, "--local-addr", host.address]
            words = ["taskset", "-c", core, sys.executable, *torchrun, "-m", "benchmarks.hosts", str(result)]
            host.start(words, log, OMP_NUM_THREADS=1)
        if gone(hosts, 600) is None or not result.exists():
            raise RuntimeError("\n".join(log.read_text()[-2000:] for log in logs))
    found = json.loads(result.read_text())
    rows = found["rows"]
    one, together, compute = (statistics.median(row[name] for row in rows) for name in ("one", "together", "compute"))
    low, gain, high = statistics.quantiles([row["one"] / row["together"] for row in rows], n=4)
    sums = statistics.median(row["sums"] for row in rows)
    model = [
        predicted(row["compute"], row["latency"] * row["sums"], found["weights"], count, RATES[rate]) for row in rows
    ]
    said = statistics.median(model)
    share = statistics.median(m / row["together"] for m, row in zip(model, rows)) - 1
    bytes_sent = statistics.median(row["sent"] for row in rows)
    times = " | ".join(f"{1e3 * x:.1f} ms" for x in (one, together))
    parts = f"{1e3 * compute:.1f} + {1e3 * (said - compute):.1f} = {1e3 * said:.1f} ms"
    counts = f"{bytes_sent / 1e3:.0f} kB ({found['weights'] / 1e3:.0f} kB of weights) | {sums:.1f}"
    return f"| {rate} | {times} | {gain:.2f} ({low:.2f}–{high:.2f}) | {parts} | {share:+.0%} | {counts} |"


def main() -> None:
    """Print the table."""
    from benchmarks import machine
    from tests.hosts.network import absent

    if absent():
        sys.exit(f"hosts cannot be made here: {absent()}")
    print(machine.sentence(machine.describe("cpu")))
    print(
        "\n| link | one process | two hosts | faster by (quartiles) | model: compute + link | the model is off by |"
        " sent | sums |\n|---|--:|--:|--:|--:|--:|--:|--:|"
    )
    with tempfile.TemporaryDirectory() as folder:
        for rate in RATES:
            print(measured(rate, Path(folder)), flush=True)


if __name__ == "__main__":
    rank_measures(sys.argv[1]) if len(sys.argv) > 1 else main()
