"""Networks of torch, trained on FashionMNIST and converted: accuracy by the number of time steps, beside SpikingJelly.

python -m benchmarks.conversion --data /usr/share/datasets/fashion-mnist --weights build/conversion

``--weights`` is a folder: networks that are there are not trained again. Training takes some minutes on two cores and
depends on nothing but the seed and the version of torch. Accuracies are on the first ``--images`` test images; the
thresholds come from training images. SpikingJelly is compared where it is installed.
"""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path
from typing import Any, Callable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import torch
from torch import nn

from benchmarks import machine
from spikecore.convert import QCFS, LeastError, Percentile, convert
from spikecore.datasets import fashion_mnist

TIMES = (1, 2, 4, 8, 16, 32, 64)
LEVELS = 8
CALIBRATION = 1000  # training images to find thresholds by
BATCH = 100


class Images(NamedTuple):
    """Pictures (n, 1, 28, 28) and their classes."""

    inputs: torch.Tensor
    labels: torch.Tensor

    def batches(self, size: int = BATCH) -> Iterator[Tuple[torch.Tensor, torch.Tensor]]:
        """The pictures in order."""
        return zip(self.inputs.split(size), self.labels.split(size))


def block(ins: int, outs: int) -> List[nn.Module]:
    """A convolution with batch norm."""
    return [nn.Conv2d(ins, outs, 3, padding=1, bias=False), nn.BatchNorm2d(outs), nn.ReLU()]


def vgg() -> nn.Sequential:
    """A small network in the manner of VGG, with average pooling."""
    return nn.Sequential(
        *block(1, 32), nn.AvgPool2d(2),
        *block(32, 64), nn.AvgPool2d(2),
        *block(64, 128), *block(128, 128), nn.AvgPool2d(2),
        nn.Flatten(), nn.Dropout(0.2), nn.Linear(1152, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


def with_qcfs(ann: nn.Sequential, images: Images) -> nn.Sequential:
    """A copy with QCFS for ReLU; it begins with the thresholds that a conversion would find."""
    layers = convert(ann, images.batches(), LeastError(num_steps=LEVELS), per="layer").layers
    thresholds = {one.place: float(one.threshold[0]) for one in layers}
    net = copy.deepcopy(ann)
    for name, module in ann.named_children():
        if isinstance(module, nn.ReLU):
            setattr(net, name, QCFS(LEVELS, thresholds[f"layer {name} (ReLU)"]))
    return net


def trained(net: nn.Module, images: Images, epochs: int, rate: float, say: Callable[[str], None]) -> nn.Module:
    """The network after training with SGD, one cycle of the learning rate, and pictures that are mirrored by chance."""
    size = 128
    count = len(images.inputs) // size
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * count)
    begun = time.perf_counter()
    for epoch in range(epochs):
        net.train()
        order = torch.randperm(len(images.inputs))
        for number in range(count):
            chosen = order[number * size : (number + 1) * size]
            mirrored, x = torch.rand(size) < 0.5, images.inputs[chosen]
            x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
            loss = nn.functional.cross_entropy(net(x), images.labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        say(f"epoch {epoch}: loss {float(loss.detach()):.3f}, {time.perf_counter() - begun:.0f} s")
    return net.eval()


def networks(folder: Path, train: Images, say: Callable[[str], None]) -> Iterator[Tuple[str, nn.Module]]:
    """The trained networks, from the folder if they are there."""
    calibration = Images(train.inputs[:CALIBRATION], train.labels[:CALIBRATION])
    relu = _at_hand(folder / "relu.pt", vgg, lambda net: trained(net, train, 5, 0.1, say))
    yield "ReLU", relu
    begin = lambda: with_qcfs(relu, calibration)  # noqa: E731
    yield f"QCFS, {LEVELS} levels", _at_hand(folder / "qcfs.pt", begin, lambda net: trained(net, train, 2, 0.02, say))


def _at_hand(path: Path, build: Callable[[], Any], train: Callable[[Any], Any]) -> Any:
    torch.manual_seed(0)
    net = build()
    if path.is_file():
        net.load_state_dict(torch.load(path))
        return net.eval()
    net = train(net)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), path)
    return net


# ---- the converters ------------------------------------------------------------------------------------------------


def ours(method: Any, **options: Any) -> Callable[[nn.Module, Optional[Images]], Callable[..., Any]]:
    """A conversion of spikecore's: what gives the sum of outputs after each of ``TIMES`` for a batch."""

    def converter(ann: nn.Module, calibration: Optional[Images]) -> Callable[[torch.Tensor], Any]:
        data = None if calibration is None else calibration.batches()
        model = convert(ann, data, method, input_shape=(1, 28, 28), **options).model

        def run(x: torch.Tensor) -> Iterator[torch.Tensor]:
            state, total, done = None, torch.zeros(()), 0
            for span in _spans():
                out = model(x, num_steps=span, state=state, record=False)
                state, total, done = out.state, total + out.spikes.sum(0), done + span
                if done in TIMES:
                    yield total

        return run

    return converter


def theirs(recipe: str, rounds: int = 1, **options: Any) -> Callable[[nn.Module, Images], Callable[..., Any]]:
    """A conversion of SpikingJelly's, which sees the calibration images ``rounds`` times."""

    def converter(ann: nn.Module, calibration: Images) -> Callable[[torch.Tensor], Any]:
        from spikingjelly.activation_based import ann2snn, functional

        made = getattr(ann2snn, recipe)(rounds * list(calibration.batches()), **options)
        net = ann2snn.Converter(recipe=made).convert(copy.deepcopy(ann))

        def run(x: torch.Tensor) -> Iterator[torch.Tensor]:
            functional.reset_net(net)
            total = torch.zeros(())
            for step in range(1, max(TIMES) + 1):
                total = total + net(x)
                if step in TIMES:
                    yield total

        return run

    return converter


def _spans(most: int = 8) -> Iterator[int]:
    """Numbers of steps that end at each of ``TIMES``, none larger than ``most``."""
    done = 0
    for end in TIMES:
        while done < end:
            yield min(most, end - done)
            done += min(most, end - done)


CONVERTERS = {
    "max, per layer": ours("max", per="layer"),
    "percentile 99.9, per layer": ours("percentile", per="layer"),
    "percentile 99, per layer": ours(Percentile(99.0), per="layer"),
    "mse, per layer": ours("mse", per="layer"),
    "max": ours("max"),
    "percentile 99.9": ours("percentile"),
    "percentile 99": ours(Percentile(99.0)),
    "mse": ours("mse"),
    "SpikingJelly, max": theirs("RateCodingRecipe", mode="Max"),
    "SpikingJelly, 99.9 %": theirs("RateCodingRecipe", mode="99.9%"),
    "SpikingJelly, per channel, half threshold": theirs(
        "RateCodingRecipe", mode="99.9%", channel_wise=True, half_threshold=True
    ),
    "SpikingJelly, local thresholds": theirs("LocalThresholdBalancingRecipe", rounds=10),
}
QUANTISED = {
    "QCFS, thresholds of QCFS": lambda ann, calibration: ours("max")(ann, None),
    "QCFS, percentile 99.9": ours("percentile"),
    "QCFS, percentile 99": ours(Percentile(99.0)),
}


def accuracies(run: Callable[[torch.Tensor], Any], test: Images) -> List[float]:
    """The accuracy after each of ``TIMES``, in percent."""
    correct = [0] * len(TIMES)
    with torch.no_grad():
        for x, labels in test.batches():
            for place, total in enumerate(run(x)):
                correct[place] += int((total.argmax(1) == labels).sum())
    return [100.0 * count / len(test.labels) for count in correct]


def accuracy(ann: nn.Module, test: Images) -> float:
    """The accuracy of a network of torch, in percent."""
    with torch.no_grad():
        return 100.0 * sum(int((ann(x).argmax(1) == y).sum()) for x, y in test.batches()) / len(test.labels)


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Parse arguments, train what is missing, convert, print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conversion", description="Measure conversions.")
    parser.add_argument("--data", type=Path, required=True, help="folder with the files of FashionMNIST")
    parser.add_argument("--weights", type=Path, default=Path("build/conversion"), help="folder of the trained networks")
    parser.add_argument("--images", type=int, default=2000, help="number of test images; default 2000")
    parser.add_argument("--only", nargs="*", help="names of converters; default: all")
    args = parser.parse_args(arguments)
    train, test = (
        Images(torch.as_tensor(part.inputs), torch.as_tensor(part.targets))
        for part in fashion_mnist(args.data, image=True)
    )
    shown = Images(test.inputs[: args.images], test.labels[: args.images])
    calibration = Images(train.inputs[:CALIBRATION], train.labels[:CALIBRATION])
    print(machine.sentence(machine.describe("cpu")))
    for name, ann in networks(args.weights, train, lambda line: print(line, flush=True)):
        found = f"{accuracy(ann, shown):.2f} % on {len(shown.labels)} images, {accuracy(ann, test):.2f} % on all"
        print(f"\n{name}: {found}\n")
        print(f"| thresholds | {' | '.join(f'T={steps}' for steps in TIMES)} | s |\n|---|{'--:|' * (len(TIMES) + 1)}")
        converters = QUANTISED if name.startswith("QCFS") else CONVERTERS
        for label, converter in converters.items():
            if args.only is not None and label not in args.only:
                continue
            begun = time.perf_counter()
            row = " | ".join(f"{value:.2f}" for value in accuracies(converter(ann, calibration), shown))
            print(f"| {label} | {row} | {time.perf_counter() - begun:.0f} |", flush=True)


if __name__ == "__main__":
    main()
