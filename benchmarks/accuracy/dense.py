"""snnTorch's tutorial 5: a fully connected network with a loss on membranes."""

from __future__ import annotations

import spikecore as sc
from benchmarks.accuracy.plan import Experiment, Library, images, train_classifier
from spikecore.datasets import Loader

STEPS, HIDDEN, BETA, LR, EPOCHS, BATCH = 25, 1000, 0.95, 5e-4, 5, 128


def train(library: Library, seed: int, validate: bool) -> float:
    """In PyTorch, with the neurons of a library."""
    import torch

    torch.manual_seed(seed)
    lif1, lif2 = library.nn.Leaky(beta=BETA), library.nn.Leaky(beta=BETA)
    net = torch.nn.ModuleList([torch.nn.Linear(784, HIDDEN), lif1, torch.nn.Linear(HIDDEN, 10), lif2])

    def forward(x):
        mem1, mem2, seen = lif1.reset_mem(), lif2.reset_mem(), []
        for _ in range(STEPS):
            spk1, mem1 = lif1(net[0](x), mem1)
            spk2, mem2 = lif2(net[2](spk1), mem2)
            seen.append((spk2, mem2))
        return torch.stack([spk for spk, _ in seen]), torch.stack([mem for _, mem in seen])

    def loss(out, y):
        return sum(torch.nn.functional.cross_entropy(mem, y) for mem in out[1])

    return train_classifier(net, forward, loss, images(validate), lr=LR, epochs=EPOCHS, batch_size=BATCH)


def fit(seed: int, validate: bool) -> float:
    """With sc.Model."""
    part, other = images(validate)
    net = sc.Sequential(sc.Linear(784, HIDDEN), sc.Leaky(beta=BETA), sc.Linear(HIDDEN, 10), sc.Leaky(beta=BETA))
    model = sc.Model(net, engine="torch", seed=seed)
    loss = sc.functional.ce_membrane_loss(over_time="sum")
    batches = Loader(part, batch_size=BATCH, seed=seed)
    model.fit(batches, loss=loss, optimizer=sc.Adam(lr=LR), epochs=EPOCHS, num_steps=STEPS, progress=False)
    found = model.evaluate(Loader(other, batch_size=200, shuffle=False), num_steps=STEPS, metric="accuracy_rate")
    return 100.0 * found["accuracy_rate"]


EXPERIMENT = Experiment(
    title=f"tutorial 5: 784-{HIDDEN}-10, {STEPS} steps, lr {LR:g}, {EPOCHS} epochs",
    figure="test accuracy, %",
    higher=True,
    train=train,
    fit=fit,
)
