"""snnTorch's tutorial on population coding: fifty neurons vote for each class in a single step."""

from __future__ import annotations

from typing import Callable, Optional, Tuple

import spikecore as sc
from benchmarks.accuracy.plan import Experiment, Library, images, train_classifier
from spikecore.datasets import Dataset, Loader

Data = Callable[[bool], Tuple[Dataset, Dataset]]

HIDDEN, BETA, LR, EPOCHS, BATCH = 128, 0.9, 2e-3, 10, 128


def experiment(per_class: int, data: Optional[Data] = None, rounds: Optional[int] = None) -> Experiment:
    """The experiment with so many output neurons for each class.

    Args:
        per_class: output neurons of a class.
        data: gives the images to train with and to measure on; None: the sample of MNIST.
        rounds: epochs; None: ``EPOCHS``.
    """
    outputs = 10 * per_class

    def parts(validate: bool) -> Tuple[Dataset, Dataset]:
        return (data or images)(validate)

    def train(library: Library, seed: int, validate: bool) -> float:
        import torch

        torch.manual_seed(seed)
        steep = library.surrogate.fast_sigmoid(slope=25)
        lif1, lif2 = (library.nn.Leaky(beta=BETA, spike_grad=steep) for _ in range(2))
        net = torch.nn.ModuleList([torch.nn.Linear(784, HIDDEN), lif1, torch.nn.Linear(HIDDEN, outputs), lif2])
        votes = library.functional.mse_count_loss(population_code=True, num_classes=10)

        def forward(x):
            spk1, _ = lif1(net[0](x), lif1.reset_mem())
            spk2, mem2 = lif2(net[2](spk1), lif2.reset_mem())
            return spk2[None], mem2[None]

        def loss(out, y):
            return votes(out[0], y)

        epochs = rounds or EPOCHS
        return train_classifier(net, forward, loss, parts(validate), lr=LR, epochs=epochs, batch_size=BATCH)

    def fit(seed: int, validate: bool) -> float:
        part, other = parts(validate)
        neuron = sc.Leaky(beta=BETA, surrogate=sc.surrogate.fast_sigmoid(25))
        net = sc.Sequential(sc.Linear(784, HIDDEN), neuron, sc.Linear(HIDDEN, outputs), neuron)
        model = sc.Model(net, engine="torch", seed=seed)
        loss = sc.functional.mse_count_loss(population_code=True, num_classes=10)
        batches = Loader(part, batch_size=BATCH, seed=seed)
        model.fit(batches, loss=loss, optimizer=sc.Adam(lr=LR), epochs=rounds or EPOCHS, num_steps=1, progress=False)
        return 100.0 * model.evaluate(Loader(other, batch_size=200, shuffle=False), num_steps=1)["accuracy"]

    return Experiment(
        title=f"population coding: 784-{HIDDEN}-{outputs}, 1 step, lr {LR:g}, {EPOCHS} epochs",
        figure="test accuracy, %",
        higher=True,
        train=train,
        fit=fit,
    )


EXPERIMENT = experiment(50)
PLAIN = experiment(1)
