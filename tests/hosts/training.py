"""``torchrun`` on hosts of ``network.py``: a run file that is small, and a command for each host."""

from __future__ import annotations

import os
import subprocess
import sys

from tests import ROOT

EPOCHS, STEPS = 5, 50
#: 64-8-10 with dropout and rate coding, so that draws count; digits have 1347 training samples: 10 steps an epoch.
RUN = """
engine = "torch"
dtype = "float64"
data = { name = "digits", batch_size = 134, drop_last = true }
encoder = { kind = "rate", num_steps = 5 }
network = { layers = [
    { kind = "Linear", in_features = 64, out_features = 8 }, { kind = "Leaky", beta = 0.9 },
    { kind = "Dropout", p = 0.2 },
    { kind = "Linear", in_features = 8, out_features = 10 }, { kind = "Leaky", beta = 0.9 },
] }
train = { epochs = 5, optimizer = { kind = "Adam", lr = 4e-3 } }
"""


def torchrun(hosts, host, *words, port=29500):
    """The command that a host runs, with one process; the first host is where all meet."""
    options = f"--nnodes {len(hosts)} --nproc-per-node 1 --rdzv-backend c10d --rdzv-id run".split()
    where = f"--rdzv-endpoint {hosts[0].address}:{port} --local-addr {host.address}".split()
    return [sys.executable, "-m", "torch.distributed.run", *options, *where, "-m", "tests.cli.without_pictures", *words]


def environment():
    """What all processes get."""
    return {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "SPIKECORE_BACKGROUND": "0"}


def alone(folder, *words):
    """Run ``spikecore`` with these words in one process."""
    command = [sys.executable, "-m", "tests.cli.without_pictures", *words]
    done = subprocess.run(command, cwd=folder, env={**os.environ, **environment()}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def started(hosts, folder, log, *words):
    """Start ``spikecore`` with these words on all hosts; returns the files with what each says."""
    logs = [folder / f"{log}-{host.name}.txt" for host in hosts]
    for host, path in zip(hosts, logs):
        host.start(torchrun(hosts, host, *words), path, folder, **environment())
    return logs
