"""snnTorch's tutorial 7: a convolutional network on the events of a camera, here simulated from images of MNIST."""

from __future__ import annotations

from functools import lru_cache
from statistics import mean
from typing import Any, List

import spikecore as sc
from benchmarks.accuracy.plan import Experiment, Library, images
from spikecore.datasets import EventDataset, Loader, saccades
from spikecore.datasets.transforms import Denoise, ToFrames

STEPS, WINDOW = 60, 5000  # the tutorial: 300 steps of 1000 µs
RECORDINGS, BATCH, ITERATIONS, LAST = 800, 32, 50, 10  # the tutorial: 60,000 recordings in batches of 128
BETA, LR = 0.5, 2e-2


@lru_cache(maxsize=2)
def recordings(validate: bool) -> EventDataset:
    """Recordings without isolated events, in memory as events; frames are made when a batch needs them.

    The figure is measured on training batches, so that both values of ``validate`` mean the same recordings.
    """
    train, _ = images(validate, image=True)
    simulated = saccades(train.inputs[:RECORDINGS], train.targets[:RECORDINGS], name="MNIST")
    return simulated.map(Denoise(window=10_000)).in_memory().map(ToFrames(window=WINDOW, steps=STEPS))


def train(library: Library, seed: int, validate: bool) -> float:
    """In PyTorch, with the neurons of a library."""
    import torch
    from torch.nn.functional import max_pool2d

    torch.manual_seed(seed)
    neuron = {"beta": BETA, "spike_grad": library.surrogate.atan()}
    lif1, lif2, lif3 = (library.nn.Leaky(**neuron) for _ in range(3))
    conv1, conv2, last = torch.nn.Conv2d(2, 12, 5), torch.nn.Conv2d(12, 32, 5), torch.nn.Linear(32 * 5 * 5, 10)
    net = torch.nn.ModuleList([conv1, lif1, conv2, lif2, last, lif3])
    loss = library.functional.mse_count_loss(correct_rate=0.8, incorrect_rate=0.2)
    optimizer = torch.optim.Adam(net.parameters(), lr=LR)

    def forward(frames: Any) -> Any:
        mem1, mem2, mem3, seen = lif1.reset_mem(), lif2.reset_mem(), lif3.reset_mem(), []
        for x in frames:
            spk1, mem1 = lif1(max_pool2d(conv1(x), 2), mem1)
            spk2, mem2 = lif2(max_pool2d(conv2(spk1), 2), mem2)
            spk3, mem3 = lif3(last(spk2.flatten(1)), mem3)
            seen.append(spk3)
        return torch.stack(seen)

    batches = Loader(recordings(validate), batch_size=BATCH, seed=seed)
    accuracies: List[float] = []
    while len(accuracies) < ITERATIONS:
        for frames, labels in batches:
            spikes, y = forward(torch.as_tensor(frames)), torch.as_tensor(labels)
            optimizer.zero_grad()
            loss(spikes, y).backward()
            optimizer.step()
            accuracies.append(float((spikes.sum(dim=0).argmax(dim=1) == y).double().mean()))
    return 100.0 * mean(accuracies[ITERATIONS - LAST : ITERATIONS])


def fit(seed: int, validate: bool) -> float:
    """With sc.Model: one batch after the other, so that each has an accuracy of its own."""
    neuron = sc.Leaky(beta=BETA)
    net = sc.Sequential(
        *(sc.Conv2d(2, 12, 5), sc.MaxPool2d(2), neuron),
        *(sc.Conv2d(12, 32, 5), sc.MaxPool2d(2), neuron),
        *(sc.Flatten(), sc.Linear(32 * 5 * 5, 10), neuron),
    )
    model = sc.Model(net, engine="torch", seed=seed, input_shape=(2, 34, 34))
    loss, adam = sc.functional.mse_count_loss(correct_rate=0.8, incorrect_rate=0.2), sc.Adam(lr=LR)
    batches = Loader(recordings(validate), batch_size=BATCH, seed=seed)
    accuracies: List[float] = []
    while len(accuracies) < ITERATIONS:
        for batch in batches:
            accuracies.append(model.fit([batch], loss=loss, optimizer=adam, progress=False)[-1]["accuracy"])
    return 100.0 * mean(accuracies[ITERATIONS - LAST : ITERATIONS])


EXPERIMENT = Experiment(
    title=f"tutorial 7: 12C5-MP2-32C5-MP2-FC10, simulated N-MNIST, {STEPS} steps, lr {LR:g}, {ITERATIONS} iterations",
    figure=f"accuracy of the last {LAST} training batches, %",
    higher=True,
    train=train,
    fit=fit,
)
