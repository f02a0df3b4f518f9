"""snnTorch's regression 2: recurrent neurons learn to fire a given number of times."""

from __future__ import annotations

import spikecore as sc
from benchmarks.accuracy.plan import Experiment, Library, images, train_classifier
from spikecore.datasets import Loader

STEPS, HIDDEN, BETA, LR, EPOCHS, BATCH = 10, 128, 0.9, 1e-3, 5, 128


def train(library: Library, seed: int, validate: bool) -> float:
    """In PyTorch, with the neurons of a library."""
    import torch

    torch.manual_seed(seed)
    fc1, lif1 = torch.nn.Linear(784, HIDDEN), library.nn.RLeaky(beta=BETA, linear_features=HIDDEN)
    fc2, lif2 = torch.nn.Linear(HIDDEN, 10), library.nn.RLeaky(beta=BETA, linear_features=10)
    net = torch.nn.ModuleList([fc1, lif1, fc2, lif2])
    counts = library.functional.mse_count_loss(correct_rate=0.8, incorrect_rate=0.2)

    def forward(x):
        (spk1, mem1), (spk2, mem2), seen = lif1.reset_mem(), lif2.reset_mem(), []
        for _ in range(STEPS):
            spk1, mem1 = lif1(fc1(x), spk1, mem1)
            spk2, mem2 = lif2(fc2(spk1), spk2, mem2)
            seen.append((spk2, mem2))
        return torch.stack([spk for spk, _ in seen]), torch.stack([mem for _, mem in seen])

    def loss(out, y):
        return counts(out[0], y)

    return train_classifier(net, forward, loss, images(validate), lr=LR, epochs=EPOCHS, batch_size=BATCH)


def fit(seed: int, validate: bool) -> float:
    """With sc.Model."""
    part, other = images(validate)
    net = sc.Sequential(
        *(sc.Linear(784, HIDDEN), sc.RLeaky(beta=BETA, linear_features=HIDDEN)),
        *(sc.Linear(HIDDEN, 10), sc.RLeaky(beta=BETA, linear_features=10)),
    )
    model = sc.Model(net, engine="torch", seed=seed)
    loss = sc.functional.mse_count_loss(correct_rate=0.8, incorrect_rate=0.2)
    batches = Loader(part, batch_size=BATCH, seed=seed)
    model.fit(batches, loss=loss, optimizer=sc.Adam(lr=LR), epochs=EPOCHS, num_steps=STEPS, progress=False)
    return 100.0 * model.evaluate(Loader(other, batch_size=200, shuffle=False), num_steps=STEPS)["accuracy"]


EXPERIMENT = Experiment(
    title=f"regression 2: 784-{HIDDEN}-10, recurrent, {STEPS} steps, lr {LR:g}, {EPOCHS} epochs",
    figure="test accuracy, %",
    higher=True,
    train=train,
    fit=fit,
)
