"""Train a network of ``spikecore.nn`` modules with Hugging Face Accelerate: on one device or several, unchanged.

    pip install -e ".[torch,data]" accelerate   # in the clone of the repository
    accelerate launch examples/accelerate_fit.py --epochs 3

Every process has its own states: they are no buffers, so that nothing synchronises them.
"""

import argparse

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import spikecore.nn as snn
from spikecore import functional, utils
from spikecore.datasets import digits

STEPS = 15


def network(hidden=100):
    """Two layers of leaky neurons that keep their state."""
    return nn.Sequential(
        nn.Linear(64, hidden), snn.Leaky(0.9, init_hidden=True), nn.Linear(hidden, 10), snn.Leaky(0.9, init_hidden=True)
    )


def loaders(batch_size=64):
    """scikit-learn's digits as torch tensors."""
    parts = [TensorDataset(torch.as_tensor(p.inputs), torch.as_tensor(p.targets)) for p in digits()]
    return [DataLoader(part, batch_size, shuffle=i == 0) for i, part in enumerate(parts)]


def spikes(net, images):
    """Spikes (time, batch, classes)."""
    utils.reset(net)
    return torch.stack([net(images) for _ in range(STEPS)])


def main(epochs=3, **options):
    """Train; returns the accuracy on the test set."""
    set_seed(0)
    accelerator, loss_fn, net = Accelerator(**options), functional.ce_rate_loss(), network()
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    net, optimizer, train, test = accelerator.prepare(net, optimizer, *loaders())
    for _ in range(epochs):
        for images, labels in train:
            optimizer.zero_grad()
            accelerator.backward(loss_fn(spikes(net, images), labels))
            optimizer.step()
    counts, targets = [], []
    with torch.no_grad():
        for images, labels in test:
            outs, classes = accelerator.gather_for_metrics((spikes(net, images).sum(0), labels))
            counts.append(outs)
            targets.append(classes)
    return functional.accuracy_rate(torch.cat(counts)[None], torch.cat(targets))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=3)
    print(f"accuracy {main(parser.parse_args().epochs, cpu=True):.3f}")
