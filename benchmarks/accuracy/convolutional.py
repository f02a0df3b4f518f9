"""snnTorch's tutorial 6: a convolutional network with a steep surrogate and a loss on spikes."""

from __future__ import annotations

import spikecore as sc
from benchmarks.accuracy.plan import Experiment, Library, images, train_classifier
from spikecore.datasets import Loader

STEPS, BETA, LR, EPOCHS, BATCH = 10, 0.5, 5e-3, 4, 128  # the tutorial: 50 steps, lr 1e-2, 60,000 images


def train(library: Library, seed: int, validate: bool) -> float:
    """In PyTorch, with the neurons of a library."""
    import torch
    from torch.nn.functional import max_pool2d

    torch.manual_seed(seed)
    steep = library.surrogate.fast_sigmoid(slope=25)
    lif1, lif2, lif3 = (library.nn.Leaky(beta=BETA, spike_grad=steep) for _ in range(3))
    conv1, conv2, last = torch.nn.Conv2d(1, 12, 5), torch.nn.Conv2d(12, 64, 5), torch.nn.Linear(64 * 4 * 4, 10)
    net = torch.nn.ModuleList([conv1, lif1, conv2, lif2, last, lif3])
    rate = library.functional.ce_rate_loss()

    def forward(x):
        mem1, mem2, mem3, seen = lif1.reset_mem(), lif2.reset_mem(), lif3.reset_mem(), []
        for _ in range(STEPS):
            spk1, mem1 = lif1(max_pool2d(conv1(x), 2), mem1)
            spk2, mem2 = lif2(max_pool2d(conv2(spk1), 2), mem2)
            spk3, mem3 = lif3(last(spk2.flatten(1)), mem3)
            seen.append((spk3, mem3))
        return torch.stack([spk for spk, _ in seen]), torch.stack([mem for _, mem in seen])

    def loss(out, y):
        return rate(out[0], y)

    data = images(validate, image=True)
    return train_classifier(net, forward, loss, data, lr=LR, epochs=EPOCHS, batch_size=BATCH)


def fit(seed: int, validate: bool) -> float:
    """With sc.Model."""
    part, other = images(validate, image=True)
    neuron = sc.Leaky(beta=BETA, surrogate=sc.surrogate.fast_sigmoid(25))
    net = sc.Sequential(
        *(sc.Conv2d(1, 12, 5), sc.MaxPool2d(2), neuron),
        *(sc.Conv2d(12, 64, 5), sc.MaxPool2d(2), neuron),
        *(sc.Flatten(), sc.Linear(64 * 4 * 4, 10), neuron),
    )
    model = sc.Model(net, engine="torch", seed=seed, input_shape=(1, 28, 28))
    batches = Loader(part, batch_size=BATCH, seed=seed)
    loss = sc.functional.ce_rate_loss()
    model.fit(batches, loss=loss, optimizer=sc.Adam(lr=LR), epochs=EPOCHS, num_steps=STEPS, progress=False)
    return 100.0 * model.evaluate(Loader(other, batch_size=200, shuffle=False), num_steps=STEPS)["accuracy"]


EXPERIMENT = Experiment(
    title=f"tutorial 6: 12C5-MP2-64C5-MP2-FC10, {STEPS} steps, lr {LR:g}, {EPOCHS} epochs",
    figure="test accuracy, %",
    higher=True,
    train=train,
    fit=fit,
)
