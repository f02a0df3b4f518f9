"""A training step of SEW-ResNet-18 beside that of SpikingJelly's module with the same weights, on the CPU.

``python -m benchmarks.zoo`` prints a table. The network has a width of 16 and takes samples of 3 x 32 x 32 over 4
steps, in batches of 16. Both sides run in turns in one process: forwards in multi-step mode, backwards, and Adam.
Printed are medians, the ratios with quartiles, and each side's peak of memory in a process of its own.
"""

from __future__ import annotations

import json
import statistics
import sys
import warnings
from typing import Any, Callable, Dict

import numpy as np
import torch
from torch.nn import functional as F

import spikecore as sc
from benchmarks import machine
from benchmarks.clock import interleaved, wall
from benchmarks.peak import measured
from benchmarks.plan import Run
from benchmarks.process import in_a_process
from spikecore import functional, zoo

WIDTH, SIZE, STEPS, BATCH, CLASSES, LR = 16, 32, 4, 16, 10, 1e-3
ROUNDS, WARM = 15, 3
INPUTS = {"sequence": "4 frames", "image": "an image, repeated"}


def their_module() -> Any:
    """SpikingJelly's SEW-ResNet-18 with fewer channels and a stem for small images, put together of its own blocks."""
    from spikingjelly.activation_based import functional as theirs
    from spikingjelly.activation_based import layer, neuron, surrogate
    from spikingjelly.activation_based.model import sew_resnet

    options: Dict[str, Any] = {
        "cnf": "ADD",
        "spiking_neuron": neuron.IFNode,
        "detach_reset": True,
        "surrogate_function": surrogate.ATan(2.0),
    }
    torch.manual_seed(0)
    net = sew_resnet.SEWResNet(sew_resnet.BasicBlock, [1, 1, 1, 1], CLASSES, **options)
    net.inplanes, net.maxpool = WIDTH, torch.nn.Identity()
    net.conv1, net.bn1 = layer.Conv2d(3, WIDTH, 3, padding=1, bias=False), layer.BatchNorm2d(WIDTH)
    for i in range(4):
        stage = net._make_layer(sew_resnet.BasicBlock, WIDTH << i, 2, stride=2 if i else 1, **options)
        setattr(net, f"layer{i + 1}", stage)
    net.fc = layer.Linear(WIDTH << 3, CLASSES)
    theirs.set_step_mode(net, "m")
    return net


def batch(kind: str) -> Any:
    """Inputs (steps, batch, channels, height, width), one step of an image, and labels."""
    draw = np.random.default_rng(0)
    steps = STEPS if kind == "sequence" else 1
    x = draw.random((steps, BATCH, 3, SIZE, SIZE), dtype=np.float32)
    return x, draw.integers(0, CLASSES, BATCH)


def our_run(kind: str, dtype: str = "float32") -> Run:
    """A training step of this library, with SpikingJelly's weights; it gives the loss."""
    model = sc.Model(
        zoo.sew_resnet18(CLASSES, width=WIDTH, stem="cifar"), "torch", input_shape=(3, SIZE, SIZE), dtype=dtype
    )
    zoo.load_spikingjelly(model, their_module().to(getattr(torch, dtype)).state_dict())
    x, y = batch(kind)
    x = x.astype(dtype)
    inputs, steps = (x, None) if kind == "sequence" else (x[0], STEPS)
    loss, optimizer = functional.ce_rate_loss(), sc.Adam(lr=LR)

    def run() -> Callable[[], Any]:
        row = model.train_step(inputs, y, loss, optimizer, steps, metric={}, check_finite=False)
        return lambda: row["loss"]

    return run


def their_run(kind: str, dtype: str = "float32") -> Run:
    """A training step of SpikingJelly's module; it gives the loss."""
    from spikingjelly.activation_based import functional as theirs

    net = their_module().to(getattr(torch, dtype)).train()
    x, y = (torch.as_tensor(part) for part in batch(kind))
    x = x.to(getattr(torch, dtype))
    inputs, targets = x.expand(STEPS, *x.shape[1:]).contiguous(), y.repeat(STEPS)
    optimizer = torch.optim.Adam(net.parameters(), lr=LR, fused=True)

    def run() -> Callable[[], Any]:
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(net(inputs).flatten(0, 1), targets)
        loss.backward()
        optimizer.step()
        theirs.reset_net(net)
        value = float(loss.detach())
        return lambda: value

    return run


SIDES: Dict[str, Callable[..., Run]] = {"spikecore": our_run, "SpikingJelly": their_run}


def row(kind: str, threads: int) -> str:
    """One row of the table.

    Raises:
        AssertionError: the two sides have other losses at the first step. It is taken in float64: in float32 some of
            the membranes are rounded to other sides of the threshold.
    """
    torch.set_num_threads(threads)
    first: Dict[str, Any] = {name: side(kind, "float64")()() for name, side in SIDES.items()}
    assert abs(first["spikecore"] - first["SpikingJelly"]) < 1e-9, first
    runs = {name: side(kind) for name, side in SIDES.items()}
    times = interleaved(runs, ROUNDS, WARM, wall(lambda: None), lambda name: None)
    low, ratio, high = statistics.quantiles([b / a for a, b in zip(times["spikecore"], times["SpikingJelly"])], n=4)
    peaks = {name: float(in_a_process("benchmarks.zoo", {"side": name, "kind": kind})) for name in SIDES}
    cells = [f"{statistics.median(times[name]):.0f} ms" for name in SIDES] + [f"{ratio:.2f} ({low:.2f}–{high:.2f})"]
    cells += [f"{peaks[name]:.0f} MB" for name in SIDES] + [f"{peaks['spikecore'] / peaks['SpikingJelly']:.2f}"]
    return f"| {INPUTS[kind]}, threads: {threads} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table; with a request as argument, the peak of memory of one side in MB."""
    warnings.simplefilter("ignore")
    if len(sys.argv) > 1:
        request = json.loads(sys.argv[1])
        torch.set_num_threads(1)
        print(measured(SIDES[request["side"]](request["kind"]), "cpu"))
        return
    print(machine.sentence(machine.describe("cpu")))
    print(
        f"\n| input | {' | '.join(SIDES)} | times as fast | {' | '.join(f'peak, {name}' for name in SIDES)} | ratio |"
    )
    print(f"|---|{'--:|' * 6}")
    for kind in INPUTS:
        print(row(kind, 1), flush=True)


if __name__ == "__main__":
    main()
