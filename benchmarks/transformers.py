"""A training step of spiking transformers beside SpikingJelly's modules: ``python -m benchmarks.transformers [NAME]``.

Both sides have the same weights and the same batch of images, T = 4: forward, cross entropy of the mean over time,
backward and AdamW. Steps of both alternate in one process, so that both see the same machine; the figure is the median
of their ratios. Peak memory is the rise of the resident set in a process of its own for each side, see ``peak``.
"""

from __future__ import annotations

import gc
import json
import sys
import time
import warnings
from statistics import median
from typing import Any, Callable, Dict, List, NamedTuple

import torch

import spikecore as sc
from benchmarks import machine, peak
from benchmarks.process import in_a_process
from spikecore import zoo

STEPS, BATCH, SIZE, CLASSES = 4, 16, 32, 10
Step = Callable[[], Any]


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


def steps_of(name: str) -> Dict[str, Step]:
    """A function for each side that takes one step of training and returns the loss."""
    from spikingjelly.activation_based import functional

    torch.manual_seed(0)
    x, labels = torch.rand(BATCH, 3, SIZE, SIZE), torch.randint(CLASSES, (BATCH,))
    module = PAIRS[name].theirs().train()
    model = sc.Model(PAIRS[name].ours(), "torch", input_shape=(3, SIZE, SIZE))
    zoo.load_spikingjelly(model, module.state_dict())
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)

    def theirs() -> float:
        functional.reset_net(module)
        optimizer.zero_grad()
        loss = cross_entropy(module(x), labels)
        loss.backward()
        optimizer.step()
        return float(loss)

    def loss_of(out: Any, targets: Any) -> Any:
        return cross_entropy(out.spikes, targets)

    def ours() -> float:
        return float(model.train_step(x, labels, loss_of, sc.AdamW(lr=1e-3), num_steps=STEPS)["loss"])

    return {"spikecore": ours, "SpikingJelly": theirs}


def compared(name: str, repetitions: int = 10) -> Dict[str, float]:
    """Seconds of a step of each side, the ratio of both, and how far the first losses are apart."""
    steps = steps_of(name)
    losses = {side: step() for side, step in steps.items()}
    for step in steps.values():
        step()
    seconds: Dict[str, List[float]] = {side: [] for side in steps}
    for _ in range(repetitions):
        for side, step in steps.items():
            begun = time.perf_counter()
            step()
            seconds[side].append(time.perf_counter() - begun)
    ratios = [theirs / ours for ours, theirs in zip(seconds["spikecore"], seconds["SpikingJelly"])]
    apart = abs(losses["spikecore"] - losses["SpikingJelly"])
    return {**{side: median(values) for side, values in seconds.items()}, "faster": median(ratios), "apart": apart}


def peak_of(request: Dict[str, str]) -> float:
    """The rise of memory in a step, in MB."""
    step = steps_of(request["network"])[request["side"]]
    step()
    gc.collect()
    return peak.measured(step, "cpu")  # type: ignore[arg-type]


def main(arguments: List[str]) -> None:
    """Measure a request and print it; without one, print the table."""
    warnings.simplefilter("ignore")  # of SpikingJelly's own affairs
    if arguments and arguments[0].startswith("{"):
        print(peak_of(json.loads(arguments[0])))
        return
    print(machine.sentence(machine.describe("cpu")))
    print(
        "| network | spikecore | SpikingJelly | faster | peak | SpikingJelly's peak | of it |\n"
        "|---|--:|--:|--:|--:|--:|--:|"
    )
    for name in arguments or PAIRS:
        found = compared(name)
        assert found["apart"] < 1e-4, f"{name}: the sides do not compute the same, {found['apart']}"
        own, other = (
            float(in_a_process("benchmarks.transformers", {"network": name, "side": side}))
            for side in ("spikecore", "SpikingJelly")
        )
        print(
            f"| {name} | {1e3 * found['spikecore']:.0f} ms | {1e3 * found['SpikingJelly']:.0f} ms "
            f"| {found['faster']:.2f} | {own:.0f} MB | {other:.0f} MB | {own / other:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
