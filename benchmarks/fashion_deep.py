"""Deep networks of the zoo, trained on FashionMNIST beside SpikingJelly's modules: accuracies over seeds.

python -m benchmarks.fashion_deep --data /usr/share/datasets/fashion-mnist --out build/fashion_deep.jsonl
python -m benchmarks.fashion_deep --data ... --validate --seeds 100 --lr 1e-3 2e-3 5e-3    for the learning rate

Both sides begin with the same weights, those that SpikingJelly's module draws from the seed, and see the same batches
in the same order, with the same loss, optimiser and learning rate. ``--out`` gets a line of JSON for each run. Runs
that have a line there are not repeated, so a command that was interrupted goes on where it was.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import torch

import spikecore as sc
from benchmarks import machine
from benchmarks import zoo as bench
from benchmarks.lines import Lines, Run
from spikecore import functional, zoo
from spikecore.datasets import Dataset, Loader, fashion_mnist

STEPS, BATCH, DECAY, SHAPE, CLASSES = 4, 64, 0.01, (1, 28, 28), 10
SCHEDULE = sc.schedule.cosine(each="step")


class Network(NamedTuple):
    """A network of the zoo, SpikingJelly's module of the same sizes, and how both are trained."""

    title: str
    ours: Callable[[], sc.Sequential]
    theirs: Callable[[], Any]
    lr: float  # the best of --validate for SpikingJelly's module
    images: int
    epochs: int


def _spikformer() -> Any:
    from spikingjelly.activation_based.model.spikformer import Spikformer

    return Spikformer(STEPS, 1, *SHAPE[1:], 4, CLASSES, 64, 4, 2.0, 2)


NETWORKS: Dict[str, Network] = {
    "spikformer": Network(
        "zoo.spikformer(2, 64, 4, 10, in_channels=1, patch_size=4, mlp_ratio=2.0)",
        lambda: zoo.spikformer(2, 64, 4, CLASSES, in_channels=1, patch_size=4, mlp_ratio=2.0),
        _spikformer,
        lr=5e-3,
        images=10_000,
        epochs=2,
    ),
    "sew_resnet18": Network(
        'zoo.sew_resnet18(10, in_channels=1, width=8, stem="cifar")',
        lambda: zoo.sew_resnet18(CLASSES, in_channels=1, width=8, stem="cifar"),
        lambda: bench.sew_resnet18(1, 8),
        lr=5e-3,
        images=10_000,
        epochs=2,
    ),
}


def images(folder: Path, count: int, validate: bool) -> Tuple[Dataset, Dataset]:
    """The first ``count`` training images, and the test images; to validate, the 5000 last training images instead."""
    train, test = fashion_mnist(folder, image=True)
    rest, validation = train.split(len(train) - 5000)
    return rest.split(count)[0], validation if validate else test


def module(network: Network, seed: int) -> Any:
    """SpikingJelly's module with its initial weights."""
    torch.manual_seed(seed)
    return network.theirs().train()


def our_training(network: Network, seed: int, lr: float, batches: Loader, dtype: str = "float32") -> Tuple[Any, Any]:
    """Train the network of the zoo; return the model, and the loss of each update."""
    model = sc.Model(network.ours(), engine="torch", seed=seed, input_shape=SHAPE, dtype=dtype)
    zoo.load_spikingjelly(model, module(network, seed).state_dict())
    losses = Losses()
    model.fit(
        batches,
        loss=functional.ce_rate_loss(),
        optimizer=sc.AdamW(lr=lr, weight_decay=DECAY),
        schedule=SCHEDULE,
        epochs=network.epochs,
        num_steps=STEPS,
        callbacks=(losses,),
        progress=False,
    )
    return model, losses.values


class Losses:
    """A callback that keeps the loss of each update."""

    def __init__(self) -> None:
        self.values: List[float] = []

    def after_step(self, model: Any, step: Any) -> None:
        """See ``sc.base.Step``."""
        self.values.append(step.loss)


def their_training(network: Network, seed: int, lr: float, batches: Loader, dtype: str = "float32") -> Tuple[Any, Any]:
    """Train SpikingJelly's module; return it, and the loss of each update."""
    net = module(network, seed).to(getattr(torch, dtype))
    optimizer, losses = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=DECAY, fused=True), []
    for epoch in range(network.epochs):
        for done, (x, y) in enumerate(batches):
            optimizer.param_groups[0]["lr"] = lr * SCHEDULE(epoch + done / len(batches), network.epochs)
            optimizer.zero_grad(set_to_none=True)
            outputs = their_outputs(net, x).flatten(0, 1)
            loss = torch.nn.functional.cross_entropy(outputs, torch.as_tensor(y).repeat(STEPS))
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    return net, losses


def their_outputs(net: Any, x: Any) -> Any:
    """Outputs (time, batch, classes) of SpikingJelly's module."""
    from spikingjelly.activation_based import functional as reset

    reset.reset_net(net)
    return net(torch.as_tensor(x).expand(STEPS, *x.shape).contiguous())


def ours(network: Network, seed: int, lr: float, data: Tuple[Dataset, Dataset]) -> float:
    """Train the network of the zoo; return its accuracy in percent."""
    train, other = data
    model, _ = our_training(network, seed, lr, Loader(train, batch_size=BATCH, seed=seed, drop_last=True))
    found = model.evaluate(Loader(other, batch_size=100, shuffle=False), num_steps=STEPS, metric="accuracy_rate")
    return 100.0 * float(found["accuracy_rate"])


def theirs(network: Network, seed: int, lr: float, data: Tuple[Dataset, Dataset]) -> float:
    """Train SpikingJelly's module; return its accuracy in percent."""
    train, other = data
    net, _ = their_training(network, seed, lr, Loader(train, batch_size=BATCH, seed=seed, drop_last=True))
    net.eval()
    with torch.no_grad():
        right = [
            (their_outputs(net, x).sum(0).argmax(1) == torch.as_tensor(y)).sum()
            for x, y in Loader(other, batch_size=100, shuffle=False)
        ]
    return 100.0 * float(sum(right)) / len(other)


class Apart(NamedTuple):
    """How far both sides are apart in float64, where rounding does not move a spike so soon."""

    losses: float  # of all updates
    weights: float  # after them
    outputs: float  # of both in evaluation, with the same weights and statistics

    def __str__(self) -> str:
        return f"losses {self.losses:.0e} apart, weights {self.weights:.0e}, outputs in evaluation {self.outputs:.0e}"


def apart(network: Network, train: Dataset, updates: int, size: int = 16) -> Apart:
    """Train both sides for some updates in float64, and compare."""
    x, y = train.inputs[: updates * size].astype("float64"), train.targets[: updates * size]
    (model, our_losses), (net, their_losses) = (
        training(network._replace(epochs=1), 0, network.lr, Loader(x, y, batch_size=size), "float64")
        for training in (our_training, their_training)
    )
    weights, same = model.params(), sc.Model(network.ours(), "torch", input_shape=SHAPE, dtype="float64")
    zoo.load_spikingjelly(same, net.eval().state_dict())
    with torch.no_grad():
        outputs = same(torch.as_tensor(x), num_steps=STEPS).spikes - their_outputs(net, x)
    return Apart(
        max(abs(one - other) for one, other in zip(our_losses, their_losses)),
        max(float(abs(value - weights[name]).max()) for name, value in same.params().items()),
        float(abs(outputs).max()),
    )


SIDES: Dict[str, Callable[..., float]] = {"spikecore": ours, "SpikingJelly": theirs}


def runs(args: argparse.Namespace) -> Iterator[Run]:
    """What is to be trained: side by side, so that what is there after an interruption can be compared."""
    for seed in args.seeds:
        for name in args.names or NETWORKS:
            network = NETWORKS[name]
            part = {"images": network.images, "epochs": args.epochs or network.epochs, "validate": args.validate}
            for lr in args.lr or [network.lr]:
                for side in args.sides:
                    yield {"network": name, "side": side, "seed": seed, "lr": lr, **part}


def measured(run: Run, folder: Path) -> Run:
    """Train one side; its accuracy, and the seconds that it took."""
    network, begun = NETWORKS[run["network"]]._replace(epochs=run["epochs"]), time.perf_counter()
    accuracy = SIDES[run["side"]](network, run["seed"], run["lr"], images(folder, network.images, run["validate"]))
    return {"accuracy": accuracy, "seconds": round(time.perf_counter() - begun, 1)}


def rows(lines: Sequence[Run]) -> Iterator[str]:
    """The table of runs: means over seeds with standard deviations, and whether differences are chance."""
    head = f"| network | learning rate | {' | '.join(SIDES)} | difference | standard error | p | seeds |"
    yield head + "\n|---|" + 7 * "--:|"
    for name, lr in dict.fromkeys((line["network"], line["lr"]) for line in lines):
        mine = [line for line in lines if (line["network"], line["lr"]) == (name, lr)]
        by_side = {side: {each["seed"]: each["accuracy"] for each in mine if each["side"] == side} for side in SIDES}
        pairs = [list(by_side[side].values()) for side in SIDES]
        cells = [_spread(values) for values in pairs]
        seeds = [seed for seed in by_side["spikecore"] if seed in by_side["SpikingJelly"]]
        differences = [by_side["spikecore"][seed] - by_side["SpikingJelly"][seed] for seed in seeds]
        error = f"{statistics.stdev(differences) / len(seeds) ** 0.5:.2f}" if len(seeds) > 1 else "–"
        cells += [_spread(differences, "+"), error, f"{sign_flip_p(differences):.2f}"]
        yield f"| `{NETWORKS[name].title}` | {lr:g} | {' | '.join(cells)} | {len(seeds)} |"


def sign_flip_p(differences: Sequence[float]) -> float:
    """The p-value of paired differences: of all choices of signs, the share with a mean at least as far from 0."""
    observed, sizes = abs(sum(differences)) - 1e-9, [abs(each) for each in differences]
    choices = itertools.product((1, -1), repeat=len(sizes))
    far = [abs(sum(sign * size for sign, size in zip(signs, sizes))) >= observed for signs in choices]
    return sum(far) / len(far)


def _spread(values: List[float], sign: str = "") -> str:
    """Mean and standard deviation."""
    if len(values) < 2:
        return f"{values[0]:{sign}.2f}" if values else "–"
    return f"{statistics.mean(values):{sign}.2f} ± {statistics.stdev(values):.2f}"


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Parse arguments, train what is missing, print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fashion_deep", description="Train deep networks.")
    parser.add_argument("names", nargs="*", metavar="NETWORK", help=f"{', '.join(NETWORKS)}; none: all")
    parser.add_argument("--data", type=Path, required=True, help="folder with the files of FashionMNIST")
    parser.add_argument("--out", type=Path, default=Path("build/fashion_deep.jsonl"), help="file for the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--lr", type=float, nargs="+", help="learning rates; default: that of each network")
    parser.add_argument("--epochs", type=int, help="default: those of each network")
    parser.add_argument("--validate", action="store_true", help="measure on 5000 training images that do not train")
    text = "only compare the first N updates of both sides in float64, default: 4"
    parser.add_argument("--apart", type=int, nargs="?", const=4, metavar="N", help=text)
    parser.add_argument("--sides", nargs="+", choices=list(SIDES), default=list(SIDES), help="default: both")
    args = parser.parse_args(arguments)
    unknown = [name for name in args.names if name not in NETWORKS]
    if unknown:
        parser.error(f"no network {unknown[0]!r}: choose from {', '.join(NETWORKS)}")
    warnings.simplefilter("ignore")  # of SpikingJelly's own affairs
    torch.set_num_threads(1)
    if args.apart is not None:
        for name in args.names or NETWORKS:
            far = apart(NETWORKS[name], images(args.data, NETWORKS[name].images, True)[0], args.apart)
            print(f"{name}: after {args.apart} updates in float64, {far}")
        return
    kept = Lines(args.out)
    lines = [kept.of(run, partial(measured, run, args.data)) for run in runs(args)]
    kind = "validation" if args.validate else "test"
    print(f"\n{machine.sentence(machine.describe('cpu'))}\nAccuracy on {kind} images, %: mean ± standard deviation.\n")
    print("\n".join(rows(lines)))


if __name__ == "__main__":
    main()
