"""Rows that other programs of this repository measure, some of them beside another library on the same data."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Tuple

from benchmarks.reproduced.row import Row

IMAGES, SHOWN, EPOCHS, TIME = 60_000, 2000, (5, 2), 16  # of the conversion: training and test images, epochs, steps
OPTIONS: Tuple[str, ...] = ()  # more of them for examples; tests make them quick


def sew_resnet18(seed: int, folder: Path) -> Dict[str, float]:
    """``benchmarks.fashion_deep``: both libraries from the same weights, with the same batches."""
    from benchmarks import fashion_deep

    network = fashion_deep.NETWORKS["sew_resnet18"]
    data = fashion_deep.images(folder, network.images, False)
    sides = {"figure": fashion_deep.ours, "theirs": fashion_deep.theirs}
    return {name: side(network, seed, network.lr, data) for name, side in sides.items()}


def store_recall(seed: int, folder: Path) -> Dict[str, float]:
    """``examples/delay_recall.py`` by e-prop, with feedback by the readout's weights and by random ones."""
    from examples.delay_recall import main

    del folder
    options = (*OPTIONS, "--seed", str(seed), "--feedback")
    found = {feedback: main([*options, feedback]) for feedback in ("symmetric", "random")}
    return {"figure": 100.0 * found["symmetric"], "random": 100.0 * found["random"]}


def diehl_cook(seed: int, folder: Path) -> Dict[str, float]:
    """``examples/diehl_cook.py`` with its defaults."""
    from examples.diehl_cook import main

    del folder
    return {"figure": 100.0 * float(main(["--seed", str(seed)])[0])}


def delays(seed: int, folder: Path) -> Dict[str, float]:
    """``benchmarks.spoken_digits``: what learned delays gain over none; the accuracies with none, random and learned.

    The decay of each is the best for the speaker for validation.
    """
    from benchmarks import spoken_digits as spoken

    data = spoken.read(folder)
    found = {}
    for kind, beta in (("none", 0.2), ("random", 0.8), ("learned", 0.8)):
        model = spoken.trained(spoken.Settings(kind, beta=beta, lr=1e-2), seed, data["train"])
        found[kind] = spoken.accuracy(model, data["test"])
    return {"figure": found["learned"], "theirs": found["none"], "random": found["random"]}


def conversion(seed: int, folder: Path) -> Dict[str, Any]:
    """``benchmarks.conversion``: QCFS with 8 levels, converted without data; its accuracy, and that of the ANN."""
    import torch

    from benchmarks import conversion as bench
    from spikecore.datasets import fashion_mnist

    def say(line: str) -> None:
        print(line, flush=True)

    train, test = (
        bench.Images(torch.as_tensor(part.inputs[:count]), torch.as_tensor(part.targets[:count]))
        for part, count in zip(fashion_mnist(folder, image=True), (IMAGES, SHOWN))
    )
    calibration = bench.Images(train.inputs[: bench.CALIBRATION], train.labels[: bench.CALIBRATION])
    torch.manual_seed(seed)
    relu: Any = bench.trained(bench.vgg(), train, EPOCHS[0], 0.1, say)
    ann = bench.trained(bench.with_qcfs(relu, calibration), train, EPOCHS[1], 0.02, say)
    after = dict(zip(bench.TIMES, bench.accuracies(bench.ours("max")(ann, None), test)))
    return {"figure": after[TIME], "theirs": bench.accuracy(ann, test), **{f"T={t}": each for t, each in after.items()}}


SEW = Row(
    title="SEW-ResNet-18, FashionMNIST",
    paper="SpikingJelly 2.0 here",
    theirs="",
    unit="% of test images",
    run=sew_resnet18,
    seeds=9,
    data="the four files of FashionMNIST",
    differs="a narrow network, 10,000 images and 2 epochs; the paper trains on ImageNet",
)
STORE_RECALL = Row(
    title="store and recall by e-prop, 40 adaptive neurons, a delay of 40 steps",
    paper="code of Bellec et al. 2018",
    theirs="> 95",
    unit="% of test samples",
    run=store_recall,
    differs="their program stops when less than 5 % are wrong; it has 10 adaptive neurons of 20, BPTT, and delays of "
    "some 1,200 steps of 1 ms. E-prop with random feedback reaches the same here",
)
DIEHL_COOK = Row(
    title="digits without labels by STDP, 400 neurons",
    paper="Diehl and Cook 2015",
    theirs="87.0",
    unit="% of test images",
    run=diehl_cook,
    differs="4,000 images of MNIST in 12 epochs and 1,000 others for test, of which the paper has 60,000 and 10,000; "
    "batches of 20, and 50 steps",
)
DELAYS = Row(
    title="learned delays, spoken digits of unheard speakers",
    paper="without delays, as Hammouamri et al. 2024 compare",
    theirs="",
    unit="% of test recordings",
    run=delays,
    seeds=5,
    data="the recordings of the free spoken digit dataset, numbers 5 to 49",
    differs="spectrograms of other data, since SHD and SSC are not at hand",
)
CONVERSION = Row(
    title=f"conversion of an ANN with QCFS, {TIME} steps, FashionMNIST",
    paper="the ANN, as Bu et al. 2022 compare",
    theirs="",
    unit="% of test images",
    run=conversion,
    data="the four files of FashionMNIST",
    differs="a small VGG on FashionMNIST, tested on 2,000 images, for VGG-16 on CIFAR-10",
)
