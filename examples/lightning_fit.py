"""Train a network of ``spikecore.nn`` modules with PyTorch Lightning. Nothing but ``utils.reset`` is special to spikes.

pip install -e ".[torch,data]" lightning   # in the clone of the repository
python examples/lightning_fit.py --epochs 3
"""

import argparse

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import spikecore.nn as snn
from spikecore import functional, utils
from spikecore.datasets import digits

STEPS = 15


class Classifier(lightning.LightningModule):
    """Two layers of leaky neurons; the class is the output neuron that fires most."""

    def __init__(self, hidden=100, lr=2e-3):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            nn.Linear(64, hidden),
            snn.Leaky(0.9, init_hidden=True),
            nn.Linear(hidden, 10),
            snn.Leaky(0.9, init_hidden=True),
        )
        self.loss = functional.ce_rate_loss()

    def forward(self, x):
        """Spikes (time, batch, classes) for images (batch, pixels)."""
        utils.reset(self.net)
        return torch.stack([self.net(x) for _ in range(STEPS)])  # or snn.run(self.net, x, num_steps=STEPS)

    def training_step(self, batch, index):
        """The loss of one batch."""
        images, labels = batch
        return self.loss(self(images), labels)

    def validation_step(self, batch, index):
        """Log the accuracy."""
        images, labels = batch
        self.log("accuracy", functional.accuracy_rate(self(images), labels), batch_size=len(labels))

    def configure_optimizers(self):
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


def loaders(batch_size=64):
    """scikit-learn's digits as torch tensors."""
    parts = [TensorDataset(torch.as_tensor(p.inputs), torch.as_tensor(p.targets)) for p in digits()]
    return [DataLoader(part, batch_size, shuffle=i == 0) for i, part in enumerate(parts)]


def main(epochs=3, **options):
    """Train; returns the accuracy on the test set."""
    lightning.seed_everything(0, verbose=False)
    train, test = loaders()
    trainer = lightning.Trainer(max_epochs=epochs, **options)
    trainer.fit(Classifier(), train, test)
    return float(trainer.callback_metrics["accuracy"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=3)
    print(f"accuracy {main(parser.parse_args().epochs, accelerator='cpu', devices=1):.3f}")
