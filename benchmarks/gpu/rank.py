"""One of the processes that ``ranks.py`` starts: ``python -m benchmarks.gpu.rank DEVICE BACKEND UPDATES RESULT``."""

from __future__ import annotations

import copy
import json
import os
import sys
from pathlib import Path
from typing import Any, Dict, List

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import spikecore.nn as snn

STEPS, BATCH = 10, 16


class Whole(nn.Module):
    """A network as a function of a batch, which runs all time steps."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Any) -> Any:
        """The membrane of the last layer, averaged over time."""
        return snn.run(self.net, x, num_steps=STEPS)[1].mean(0)


def networks() -> Dict[str, Any]:
    """Networks, each with the shape of a sample."""
    torch.manual_seed(0)

    def leaky(**options: Any) -> Any:
        return snn.Leaky(beta=0.9, init_hidden=True, **options)

    return {
        "dense": (
            nn.Sequential(nn.Linear(20, 32), leaky(learn_beta=True), nn.Linear(32, 5), leaky(output=True)),
            (20,),
        ),
        "convolutional": (
            nn.Sequential(
                *(nn.Conv2d(1, 4, 3), leaky(), nn.MaxPool2d(2), nn.Flatten()),
                *(nn.Linear(36, 5), leaky(output=True)),
            ),
            (1, 8, 8),
        ),
        "recurrent": (
            nn.Sequential(
                *(nn.Linear(20, 16), snn.RLeaky(beta=0.9, linear_features=16, init_hidden=True)),
                *(nn.Linear(16, 5), leaky(output=True)),
            ),
            (20,),
        ),
    }


def updated(model: Any, x: Any, y: Any, updates: int) -> List[Any]:
    """Weights after some updates by the mean loss of the given samples."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(updates):
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return [weight.detach() for weight in model.parameters()]


def main(device: str, backend: str, updates: int, result: Path) -> None:
    """Train each network on this rank's share of the batch; the first rank compares with a training on all of it."""
    dist.init_process_group(backend)
    rank, count = dist.get_rank(), dist.get_world_size()
    place = device if device == "cpu" else f"cuda:{rank % torch.cuda.device_count()}"
    if device != "cpu":
        torch.cuda.set_device(place)
    found = {}
    for name, (net, shape) in networks().items():
        draw = torch.Generator().manual_seed(1)
        x = torch.rand((BATCH, *shape), generator=draw, dtype=torch.float64).to(place)
        y = (torch.arange(BATCH) % 5).to(place)
        alone = Whole(net.double().to(place))
        whole = copy.deepcopy(alone)
        shared = DistributedDataParallel(alone, device_ids=None if device == "cpu" else [torch.device(place).index])
        mine = updated(shared, x[rank::count], y[rank::count], updates)
        if rank == 0:
            expected = updated(whole, x, y, updates)
            found[name] = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(mine, expected))
        dist.barrier()
    if rank == 0:
        result.write_text(json.dumps(found), encoding="utf-8")
    dist.barrier()
    sys.stdout.flush()
    os._exit(0)  # gloo's threads do not always survive an orderly end


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
