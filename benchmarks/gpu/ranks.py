"""Two processes under torchrun: plain DistributedDataParallel around modules of ``spikecore.nn``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.gpu.record import Record

COUNT = 2
LIMIT = 1e-10  # of weights after the last update, relative to one process with the whole batch


def ranks(record: Record) -> None:
    """Twenty updates on two processes beside the same on one."""
    import torch

    several = not record.rehearse and torch.cuda.device_count() >= COUNT
    backend = "nccl" if several else "gloo"
    place = "a device each" if several else f"both on {'the CPU' if record.rehearse else 'one device'}"
    record.note(f"{COUNT} processes, {place}; the backend is {backend}. Float64, {record.size(20, 4)} updates of Adam.")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.json"
        command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "1", "--nproc-per-node", str(COUNT)]
        command += ["--master-addr", "127.0.0.1", "--master-port", str(_free_port()), "-m", "benchmarks.gpu.rank"]
        command += [record.device, backend, str(record.size(20, 4)), str(out)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        environment.setdefault("GLOO_SOCKET_IFNAME", "lo")  # the machine's own name need not lead anywhere
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False)
        found = json.loads(out.read_text(encoding="utf-8")) if out.is_file() else {}
    record.check("torchrun", done.returncode == 0, f"left with {done.returncode}; its message is in the log")
    record.check("every network was compared", len(found) == 3, f"{sorted(found)}")
    for name, error in found.items():
        record.check(f"{name}: weights", error <= LIMIT, f"{error:.3g} > {LIMIT:g}")
        record.row("Weights after the last update", network=name, error=float(f"{error:.2g}"))


def _free_port() -> int:
    import socket

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])
