"""The recipes of the trained networks that come with the library (``zoo.pretrained``).

python -m benchmarks.weights digits mnist_sample mnist_events
python -m benchmarks.weights fashion_mnist --data FOLDER    the folder with the four files of FashionMNIST

A recipe trains on training data alone: settings were chosen on validation data, the last sixth of them, then all of
them train. The test data are looked at once, for the accuracy in the file's notes.
"""

from __future__ import annotations

import argparse
import platform
from dataclasses import dataclass
from typing import Any, Callable, Dict, Optional, Tuple

import numpy as np

import spikecore as sc
from spikecore import datasets, functional, surrogate, zoo
from spikecore.datasets.transforms import Compose, Downsample, ToFrames
from spikecore.zoo.pretrained import WEIGHTS

Arrays = Tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Recipe:
    """How one network is trained."""

    architecture: str  # Python for the network
    network: Callable[[], sc.Sequential]
    data: str
    inputs: str  # what a sample is
    licence: str
    arrays: Callable[[Optional[str]], Tuple[Arrays, Arrays]]  # training and test
    shape: Tuple[int, ...]
    steps: int
    lr: float
    epochs: int
    batch_size: int = 128
    sequences: bool = False  # whether samples are sequences (time, *shape)

    @property
    def over_time(self) -> Dict[str, Any]:
        """How samples become sequences, for ``fit``, ``evaluate`` and ``verify``."""
        return {"time_axis": 1} if self.sequences else {"num_steps": self.steps}

    def fit(self, model: sc.Model, x: np.ndarray, y: np.ndarray) -> None:
        """Train on these samples."""
        model.fit(
            x,
            y,
            functional.ce_count_loss(),
            sc.Adam(lr=self.lr),
            epochs=self.epochs,
            batch_size=self.batch_size,
            schedule=sc.schedule.cosine(),
            **self.over_time,
        )

    def text(self) -> str:
        """The settings, for the notes."""
        return (
            f"ce_count_loss, Adam, lr {self.lr:g} falling by a cosine, {self.epochs} epochs, batches of "
            f"{self.batch_size}, seed 0, all training samples"
        )


def arrays(train: Any, test: Any) -> Tuple[Arrays, Arrays]:
    """Inputs and targets of two data sets."""
    first, second = ((np.asarray(each.inputs[:]), np.asarray(each.targets[:])) for each in (train, test))
    return first, second


def recorded() -> Tuple[Arrays, Arrays]:
    """The sample of MNIST before a simulated event camera, as frames (samples, time, 2 * 17 * 17) of zeros and ones."""
    frames = Compose(Downsample(2), ToFrames(steps=FRAMES, binary=True))

    def part(images: Any) -> Arrays:
        recordings = datasets.saccades(images.inputs, images.targets, threshold=THRESHOLD, name="MNIST")
        made = np.stack([frames(recordings[i][0]).reshape(FRAMES, -1) for i in range(len(recordings))])
        return made, np.asarray(images.targets[:])

    train, test = datasets.mnist_sample(image=True)
    return part(train), part(test)


FRAMES, THRESHOLD = 8, 0.5  # with this threshold a recording has about as many events as one of N-MNIST
IMAGES = "28 x 28 images as (1, 28, 28), grey values 0 to 1"
SMOOTH = sc.Leaky(beta=0.9, surrogate=surrogate.atan())
RECIPES = {
    "digits": Recipe(
        architecture="zoo.dense_snn(64, 100)",
        network=lambda: zoo.dense_snn(64, 100),
        data="scikit-learn's digits, other writers in the test samples",
        inputs="8 x 8 images as (64,), grey values 0 to 1",
        licence="CC BY 4.0 (E. Alpaydin, C. Kaynak, Optical recognition of handwritten digits, UCI)",
        arrays=lambda _: arrays(*datasets.digits()),
        shape=(64,),
        steps=15,
        lr=5e-3,
        epochs=20,
        batch_size=64,
    ),
    "mnist_sample": Recipe(
        architecture="zoo.conv_snn(neuron=sc.Leaky(beta=0.9, surrogate=sc.surrogate.atan()))",
        network=lambda: zoo.conv_snn(neuron=SMOOTH),
        data="5000 of MNIST's training images, of which 1000 test",
        inputs=IMAGES,
        licence="CC BY-SA 3.0 (Y. LeCun, C. Cortes, The MNIST database of handwritten digits)",
        arrays=lambda _: arrays(*datasets.mnist_sample(image=True)),
        shape=(1, 28, 28),
        steps=8,
        lr=5e-3,
        epochs=10,
    ),
    "mnist_events": Recipe(
        architecture="zoo.dense_snn(578, 64)",
        network=lambda: zoo.dense_snn(578, 64),
        data="simulated recordings of 5000 of MNIST's training images, of which 1000 test",
        inputs="frames of N-MNIST's size, by Downsample(2) and ToFrames(steps=8, binary=True), as (578,), 0 or 1",
        licence="CC BY-SA 3.0 (Y. LeCun, C. Cortes, The MNIST database of handwritten digits)",
        arrays=lambda _: recorded(),
        shape=(578,),
        steps=FRAMES,
        lr=5e-3,
        epochs=12,
        sequences=True,
    ),
    "fashion_mnist": Recipe(
        architecture="zoo.conv_snn(neuron=sc.Leaky(beta=0.9, surrogate=sc.surrogate.atan()))",
        network=lambda: zoo.conv_snn(neuron=SMOOTH),
        data="FashionMNIST",
        inputs=IMAGES,
        licence="MIT (H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST, Zalando)",
        arrays=lambda folder: arrays(*datasets.fashion_mnist(folder or "data", image=True)),
        shape=(1, 28, 28),
        steps=8,
        lr=5e-3,
        epochs=8,
    ),
}


def trained(name: str, folder: Optional[str], validate: bool) -> sc.Model:
    """Train a recipe's network; with ``validate`` without the last sixth of the training samples, which evaluate it."""
    recipe = RECIPES[name]
    (x, y), (x_test, y_test) = recipe.arrays(folder)
    if validate:
        cut = len(x) * 5 // 6
        (x, y), (x_test, y_test) = (x[:cut], y[:cut]), (x[cut:], y[cut:])
    model = sc.Model(recipe.network(), engine="torch", seed=0, input_shape=recipe.shape)
    recipe.fit(model, x, y)
    result = model.evaluate(x_test, y_test, batch_size=200, **recipe.over_time)
    print(f"{name}: {'validation' if validate else 'test'} accuracy {result['accuracy']:.4f}")
    plain = sc.Model(model.network, engine="numpy", seed=0, input_shape=recipe.shape)  # weights alone, no moments
    plain.load_state({**plain.state(), **{part: model.state()[part] for part in ("params", "buffers")}})
    few = slice(0, 16)
    plain.notes = {
        "architecture": recipe.architecture,
        "data": recipe.data,
        "inputs": recipe.inputs,
        "licence": recipe.licence,
        "num_steps": recipe.steps,
        "recipe": recipe.text(),
        "seed": 0,
        "accuracy": result["accuracy"],
        "test_samples": len(y_test),
        "parameters": int(sum(each.size for each in plain.params().values())),
        "verified": str(sc.verify(plain, x_test[few], y_test[few], functional.ce_count_loss(), **recipe.over_time)),
        "made_by": f"python -m benchmarks.weights {name}, Python {platform.python_version()}",
    }
    print(plain.notes["verified"])
    plain.history, plain.epochs_done = model.history, model.epochs_done
    return plain


def main() -> None:
    """Train the networks that are named, and write their files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=sorted(RECIPES), help="which networks to train")
    parser.add_argument("--data", metavar="FOLDER", help="where the files of FashionMNIST are")
    parser.add_argument("--validate", action="store_true", help="keep a sixth of the training samples; write no file")
    args = parser.parse_args()
    for name in args.names:
        model = trained(name, args.data, args.validate)
        if not args.validate:
            WEIGHTS.mkdir(exist_ok=True)
            model.save(WEIGHTS / f"{name}.safetensors")


if __name__ == "__main__":
    main()
