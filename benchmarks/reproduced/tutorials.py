"""snnTorch's tutorials, with snnTorch itself beside us: of images, and of a membrane that follows a curve."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Callable, Dict, Tuple

from benchmarks.accuracy import convolutional, dense, population
from benchmarks.accuracy.membrane import HIDDEN, STEPS, follow
from benchmarks.accuracy.plan import Experiment, Library, libraries
from benchmarks.reproduced.row import Row
from spikecore.datasets import Dataset, fashion_mnist

EPOCHS = 2
IMAGES = 60_000  # of FashionMNIST; tests take fewer

fashion = lru_cache(maxsize=1)(fashion_mnist)


def beside(experiment: Experiment, seed: int) -> Dict[str, float]:
    """A network that ``sc.Model`` trains, and snnTorch."""
    assert experiment.fit is not None
    snntorch, _ = libraries()
    return {"figure": experiment.fit(seed, False), "theirs": experiment.train(snntorch, seed, False)}


def on_sample(experiment: Experiment) -> Callable[[int, Path], Dict[str, float]]:
    """Of ``benchmarks.accuracy``, with the sample of MNIST."""
    return lambda seed, folder: beside(experiment, seed)


def voting(per_class: int) -> Callable[[int, Path], Dict[str, float]]:
    """One step of 784-128-outputs, trained for two epochs of FashionMNIST; the neurons of a class vote for it."""

    def run(seed: int, folder: Path) -> Dict[str, float]:
        def data(validate: bool) -> Tuple[Dataset, Dataset]:
            train, test = fashion(folder)
            return Dataset(train.inputs[:IMAGES], train.targets[:IMAGES]), test

        return beside(population.experiment(per_class, data, EPOCHS), seed)

    return run


def membrane(library: Library, seed: int) -> float:
    """The mean absolute error of the tutorial's program with a library's neurons; seed 0 draws the tutorial's curve.

    As in the tutorial, the second layer of neurons is the third one's neuron, which does not reset: its decay is one
    number for both.
    """
    import torch

    torch.manual_seed(seed)
    x = torch.linspace(0.0, float(torch.rand(1)), STEPS)[:, None, None]
    y = torch.sqrt(x * float(torch.rand(1)))
    steep = library.surrogate.fast_sigmoid(slope=25)
    beta, threshold = torch.rand(HIDDEN), torch.rand(HIDDEN)
    first = torch.nn.Linear(1, HIDDEN)
    spiking = library.nn.Leaky(beta=beta, threshold=threshold, learn_beta=True, spike_grad=steep)
    torch.rand(2, HIDDEN)  # of the tutorial's neurons that nothing calls
    second, beta = torch.nn.Linear(HIDDEN, HIDDEN), torch.rand(1)
    third = torch.nn.Linear(HIDDEN, 1)
    integrator = library.nn.Leaky(beta=beta, learn_beta=True, spike_grad=steep, reset_mechanism="none")
    return follow([first, spiking, second, integrator, third, integrator], x, y)


def membranes(seed: int, folder: Path) -> Dict[str, float]:
    """With the neurons of both libraries."""
    del folder
    snntorch, ours = libraries()
    return {"figure": membrane(ours, seed), "theirs": membrane(snntorch, seed)}


SAMPLE = "3,200 images, since the 60,000 of MNIST are not at hand"
TWO = "the tutorial prints one run, after two epochs"
PAPER = "snnTorch's tutorial; snnTorch 1.0 here"
IMAGES_OF = "% of test images"
TUTORIAL5 = Row(
    title="784-1000-10, 25 steps, MNIST's sample",
    paper=PAPER,
    theirs="93.9",
    unit=IMAGES_OF,
    run=on_sample(dense.EXPERIMENT),
    seeds=10,
    differs=SAMPLE,
)
TUTORIAL6 = Row(
    title="12C5-MP2-64C5-MP2-10, MNIST's sample",
    paper=PAPER,
    theirs="95.7",
    unit=IMAGES_OF,
    run=on_sample(convolutional.EXPERIMENT),
    differs=SAMPLE + ", and 10 steps in place of 50",
)
POPULATION = Row(
    title="population coding, 784-128-500, 1 step, FashionMNIST",
    paper=PAPER,
    theirs="82.7",
    unit=IMAGES_OF,
    run=voting(50),
    seeds=5,
    data="the four files of FashionMNIST",
    differs=TWO,
)
PLAIN = Row(
    title="one neuron for a class, 784-128-10, 1 step, FashionMNIST",
    paper=PAPER,
    theirs="61.9",
    unit=IMAGES_OF,
    run=voting(1),
    seeds=5,
    data="the four files of FashionMNIST",
    differs=TWO + "; some classes are never learned, which makes seeds differ",
)
MEMBRANE = Row(
    title="a membrane that follows a square root, 1-128-128-1",
    paper=PAPER,
    theirs="0.0122",
    unit="mean absolute error",
    run=membranes,
    seeds=10,
    differs="the tutorial prints one run of an earlier snnTorch: from its seed, both libraries give 0.0167 today",
)
