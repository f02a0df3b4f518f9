"""A training step of networks of the zoo beside SpikingJelly's modules with the same weights, on the CPU.

``python -m benchmarks.zoo [NAME ...] [--frames] [--processor]`` prints a table for the networks of ``PAIRS`` that are
named, or all.
Samples are images of 3 x 32 x 32, the same at each of 4 steps; with ``--frames`` each step has one of its own. A step
is forward, the cross entropy of the mean over time, backward and AdamW, for batches of 16. Steps of both sides
alternate in one process with one thread. The table has:

- medians of the times, and their ratio with quartiles; with ``--processor`` times are those of the processor, for a
  machine that has other work;
- each side's peak of memory: the rise of the resident set in a process of its own, see ``peak``;
- how far apart the losses of the first two steps are in float64: behind the first, gradients have changed the weights.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import warnings
from typing import Any, Callable, Dict, NamedTuple

import torch

import spikecore as sc
from benchmarks import machine
from benchmarks.clock import interleaved, processor, wall
from benchmarks.peak import measured
from benchmarks.plan import Run
from benchmarks.process import in_a_process
from spikecore import zoo

STEPS, BATCH, SIZE, CLASSES, LR = 4, 16, 32, 10, 1e-3
ROUNDS, WARM = 15, 3


class Pair(NamedTuple):
    """A network of the zoo, and SpikingJelly's module with the same sizes, in multi-step mode."""

    ours: Callable[[], sc.Sequential]
    theirs: Callable[[], Any]


def sew_resnet18(in_channels: int = 3, width: int = 16) -> Any:
    """SpikingJelly's, with fewer channels and a stem for small images, put together of its own blocks."""
    from spikingjelly.activation_based import functional, layer, neuron, surrogate
    from spikingjelly.activation_based.model.sew_resnet import BasicBlock, SEWResNet

    options: Dict[str, Any] = {
        "cnf": "ADD",
        "spiking_neuron": neuron.IFNode,
        "detach_reset": True,
        "surrogate_function": surrogate.ATan(2.0),
    }
    net = SEWResNet(BasicBlock, [1, 1, 1, 1], CLASSES, **options)
    net.inplanes, net.maxpool = width, torch.nn.Identity()
    net.conv1, net.bn1 = layer.Conv2d(in_channels, width, 3, padding=1, bias=False), layer.BatchNorm2d(width)
    for i in range(4):
        stage = net._make_layer(BasicBlock, width << i, 2, stride=2 if i else 1, **options)
        setattr(net, f"layer{i + 1}", stage)
    net.fc = layer.Linear(width << 3, CLASSES)
    functional.set_step_mode(net, "m")
    return net


def _spikformer() -> Any:
    from spikingjelly.activation_based.model.spikformer import Spikformer

    return Spikformer(STEPS, 3, SIZE, SIZE, 4, CLASSES, 128, 8, 4.0, 2)


def _qkformer() -> Any:
    from spikingjelly.activation_based.model.qkformer import QKFormer

    return QKFormer(STEPS, 3, CLASSES, 128, (2, 4, 4), (1, 1, 2), detach_reset=True)


def _spike_driven() -> Any:
    from spikingjelly.activation_based.model.spike_driven_transformer import SpikeDrivenTransformer

    return SpikeDrivenTransformer(STEPS, 3, CLASSES, 128, 8, 2, 4.0, "0011", detach_reset=True)


PAIRS: Dict[str, Pair] = {
    "sew_resnet18": Pair(lambda: zoo.sew_resnet18(CLASSES, width=16, stem="cifar"), sew_resnet18),
    "spikformer": Pair(lambda: zoo.spikformer(2, 128, 8, CLASSES, patch_size=4), _spikformer),
    "qkformer": Pair(lambda: zoo.qkformer((1, 1, 2), 128, (2, 4, 4), CLASSES), _qkformer),
    "spike_driven_transformer": Pair(
        lambda: zoo.spike_driven_transformer(2, 128, CLASSES, patch_size=4), _spike_driven
    ),
}


def cross_entropy(outputs: Any, labels: Any) -> Any:
    """Of outputs averaged over time; some of SpikingJelly's modules average themselves."""
    return torch.nn.functional.cross_entropy(outputs.mean(0) if outputs.dim() == 3 else outputs, labels)


def module_and_batch(name: str, frames: bool, dtype: str) -> Any:
    """SpikingJelly's module, samples (1 step or all, batch, 3, 32, 32) and labels: the same whenever asked for."""
    torch.manual_seed(0)
    x, labels = torch.rand(STEPS if frames else 1, BATCH, 3, SIZE, SIZE), torch.randint(CLASSES, (BATCH,))
    return PAIRS[name].theirs().train().to(getattr(torch, dtype)), x.to(getattr(torch, dtype)), labels


def our_run(name: str, frames: bool, dtype: str = "float32") -> Run:
    """A training step of this library, with SpikingJelly's weights; it gives the loss."""
    module, x, labels = module_and_batch(name, frames, dtype)
    model = sc.Model(PAIRS[name].ours(), "torch", input_shape=(3, SIZE, SIZE), dtype=dtype)
    zoo.load_spikingjelly(model, module.state_dict())
    inputs, steps = (x, None) if frames else (x[0], STEPS)
    optimizer = sc.AdamW(lr=LR)

    def loss(out: Any, targets: Any) -> Any:
        return cross_entropy(out.spikes, targets)

    def run() -> Callable[[], Any]:
        row = model.train_step(
            inputs, labels, loss=loss, optimizer=optimizer, num_steps=steps, metric={}, check_finite=False
        )
        return lambda: row["loss"]

    return run


def their_run(name: str, frames: bool, dtype: str = "float32") -> Run:
    """A training step of SpikingJelly's module; it gives the loss."""
    from spikingjelly.activation_based import functional

    module, x, labels = module_and_batch(name, frames, dtype)
    inputs = x.expand(STEPS, *x.shape[1:]).contiguous()
    optimizer = torch.optim.AdamW(module.parameters(), lr=LR, fused=True)

    def run() -> Callable[[], Any]:
        optimizer.zero_grad(set_to_none=True)
        loss = cross_entropy(module(inputs), labels)
        loss.backward()
        optimizer.step()
        functional.reset_net(module)
        value = float(loss.detach())
        return lambda: value

    return run


SIDES: Dict[str, Callable[..., Run]] = {"spikecore": our_run, "SpikingJelly": their_run}


def row(name: str, frames: bool, measure: Callable[[Run], Any]) -> str:
    """One row of the table.

    Raises:
        AssertionError: the two sides have other losses at the first steps. They are taken in float64: in float32 some
            of the membranes are rounded to other sides of the threshold.
    """
    doubles = [make(name, frames, "float64") for make in SIDES.values()]
    losses: Any = [[run()() for _ in range(2)] for run in doubles]
    apart = max(abs(one - other) for one, other in zip(*losses))
    assert apart < 1e-9, losses
    del doubles
    runs = {side: make(name, frames) for side, make in SIDES.items()}
    times = interleaved(runs, ROUNDS, WARM, measure, lambda side: None)
    low, ratio, high = statistics.quantiles([b / a for a, b in zip(times["spikecore"], times["SpikingJelly"])], n=4)
    requests = {side: {"side": side, "name": name, "frames": frames} for side in SIDES}
    peaks = {side: float(in_a_process("benchmarks.zoo", request)) for side, request in requests.items()}
    cells = [f"{statistics.median(times[side]):.0f} ms" for side in SIDES] + [f"{ratio:.2f} ({low:.2f}–{high:.2f})"]
    cells += [f"{peaks[side]:.0f} MB" for side in SIDES] + [f"{peaks['spikecore'] / peaks['SpikingJelly']:.2f}"]
    cells += [f"{apart:.0e}"]
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table; with a request as argument, the peak of memory of one side in MB."""
    warnings.simplefilter("ignore")  # of SpikingJelly's own affairs
    torch.set_num_threads(1)
    if sys.argv[1:] and sys.argv[1].startswith("{"):
        request = json.loads(sys.argv[1])
        print(measured(SIDES[request["side"]](request["name"], request["frames"]), "cpu"))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which networks: {', '.join(PAIRS)}; default all")
    parser.add_argument("--frames", action="store_true", help="another frame at each step, not an image repeated")
    parser.add_argument("--processor", action="store_true", help="processor time, not the wall clock's")
    args = parser.parse_args()
    unknown = [name for name in args.names if name not in PAIRS]
    if unknown:
        parser.error(f"unknown networks: {', '.join(unknown)}; there are {', '.join(PAIRS)}")
    print(machine.sentence(machine.describe("cpu")))
    head = [*SIDES, "times as fast", *(f"peak, {side}" for side in SIDES), "ratio", "losses apart"]
    print(f"\n| network | {' | '.join(head)} |\n|---|{'--:|' * len(head)}")
    for name in args.names or PAIRS:
        print(row(name, args.frames, processor if args.processor else wall(lambda: None)), flush=True)


if __name__ == "__main__":
    main()
