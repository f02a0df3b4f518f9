"""A training step of spiking transformers beside SpikingJelly's modules: ``python -m benchmarks.transformers [NAME]``.

Both sides have the same weights and the same batch of images, T = 4: forward, cross entropy of the mean over time,
backward and AdamW. Steps of both alternate in one process, so that both see the same machine; the figure is the median
of their ratios. Peak memory is the rise of the resident set in a process of its own for each side, see ``peak``.
"""

from __future__ import annotations

import json
import statistics
import sys
import warnings
from typing import Any, Callable, Dict, List, NamedTuple

import torch

import spikecore as sc
from benchmarks import machine
from benchmarks.clock import interleaved, wall
from benchmarks.peak import measured
from benchmarks.plan import Run
from benchmarks.process import in_a_process
from spikecore import zoo

STEPS, BATCH, SIZE, CLASSES, LR = 4, 16, 32, 10, 1e-3
ROUNDS, WARM = 15, 2


class Pair(NamedTuple):
    """A network of the zoo, and SpikingJelly's module with the same sizes."""

    ours: Callable[[], Any]
    theirs: Callable[[], Any]


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
    "spikformer": Pair(lambda: zoo.spikformer(2, 128, 8, CLASSES, patch_size=4), _spikformer),
    "qkformer": Pair(lambda: zoo.qkformer((1, 1, 2), 128, (2, 4, 4), CLASSES), _qkformer),
    "spike_driven_transformer": Pair(
        lambda: zoo.spike_driven_transformer(2, 128, CLASSES, patch_size=4), _spike_driven
    ),
}


def cross_entropy(outputs: Any, labels: Any) -> Any:
    """Of outputs averaged over time; some of SpikingJelly's modules average themselves."""
    return torch.nn.functional.cross_entropy(outputs.mean(0) if outputs.dim() == 3 else outputs, labels)


def module_and_batch(name: str, dtype: str) -> Any:
    """SpikingJelly's module, images and labels: the same whenever they are asked for."""
    torch.manual_seed(0)
    module, x, labels = PAIRS[name].theirs().train(), torch.rand(BATCH, 3, SIZE, SIZE), torch.randint(CLASSES, (BATCH,))
    return module.to(getattr(torch, dtype)), x.to(getattr(torch, dtype)), labels


def our_run(name: str, dtype: str = "float32") -> Run:
    """A training step of this library, with SpikingJelly's weights; it gives the loss."""
    module, x, labels = module_and_batch(name, dtype)
    model = sc.Model(PAIRS[name].ours(), "torch", input_shape=(3, SIZE, SIZE), dtype=dtype)
    zoo.load_spikingjelly(model, module.state_dict())
    optimizer = sc.AdamW(lr=LR)

    def loss(out: Any, targets: Any) -> Any:
        return cross_entropy(out.spikes, targets)

    def run() -> Callable[[], Any]:
        row = model.train_step(x, labels, loss, optimizer, STEPS, metric={}, check_finite=False)
        return lambda: row["loss"]

    return run


def their_run(name: str, dtype: str = "float32") -> Run:
    """A training step of SpikingJelly's module; it gives the loss."""
    from spikingjelly.activation_based import functional

    module, x, labels = module_and_batch(name, dtype)
    optimizer = torch.optim.AdamW(module.parameters(), lr=LR, fused=True)

    def run() -> Callable[[], Any]:
        optimizer.zero_grad(set_to_none=True)
        loss = cross_entropy(module(x), labels)
        loss.backward()
        optimizer.step()
        functional.reset_net(module)
        value = float(loss.detach())
        return lambda: value

    return run


SIDES: Dict[str, Callable[..., Run]] = {"spikecore": our_run, "SpikingJelly": their_run}


def row(name: str) -> str:
    """One row of the table.

    Raises:
        AssertionError: the two sides have other losses at the first step. It is taken in float64: in float32 some of
            the membranes are rounded to other sides of the threshold.
    """
    first: Dict[str, Any] = {side: make(name, "float64")()() for side, make in SIDES.items()}
    assert abs(first["spikecore"] - first["SpikingJelly"]) < 1e-9, first
    runs = {side: make(name) for side, make in SIDES.items()}
    times = interleaved(runs, ROUNDS, WARM, wall(lambda: None), lambda side: None)
    low, ratio, high = statistics.quantiles([b / a for a, b in zip(times["spikecore"], times["SpikingJelly"])], n=4)
    peaks = {side: float(in_a_process("benchmarks.transformers", {"side": side, "name": name})) for side in SIDES}
    cells = [f"{statistics.median(times[side]):.0f} ms" for side in SIDES] + [f"{ratio:.2f} ({low:.2f}–{high:.2f})"]
    cells += [f"{peaks[side]:.0f} MB" for side in SIDES] + [f"{peaks['spikecore'] / peaks['SpikingJelly']:.2f}"]
    return f"| {name} | {' | '.join(cells)} |"


def main(arguments: List[str]) -> None:
    """Print the table for some networks, or all; with a request as argument, one side's peak of memory in MB."""
    warnings.simplefilter("ignore")  # of SpikingJelly's own affairs
    torch.set_num_threads(1)
    if arguments and arguments[0].startswith("{"):
        request = json.loads(arguments[0])
        print(measured(SIDES[request["side"]](request["name"]), "cpu"))
        return
    print(machine.sentence(machine.describe("cpu")))
    head = [*SIDES, "times as fast", *(f"peak, {side}" for side in SIDES), "ratio"]
    print(f"\n| network | {' | '.join(head)} |\n|---|{'--:|' * len(head)}")
    for name in arguments or PAIRS:
        print(row(name), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
