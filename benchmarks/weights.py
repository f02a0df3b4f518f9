"""The recipes of the trained networks that come with the library (``zoo.pretrained``).

python -m benchmarks.weights digits mnist_sample mnist_events
python -m benchmarks.weights fashion_mnist --data FOLDER    the folder with the four files of FashionMNIST
python -m benchmarks.weights spoken_digits --data FOLDER    the recordings of the free spoken digit dataset
python -m benchmarks.weights randman yin_yang               as ``benchmarks.reproduced`` trains them, with seed 0

A recipe trains on training data alone: settings were chosen on validation data, the last sixth of them (of spoken
digits, one of four speakers), then all of them train. The test data are looked at once, for the accuracy in the file's
notes.
"""

from __future__ import annotations

import argparse
import platform
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Tuple, Union

import numpy as np

import spikecore as sc
from benchmarks import spoken_digits
from benchmarks.reproduced import randman, yin_yang
from spikecore import datasets, functional, surrogate, zoo
from spikecore.datasets import Dataset, EventDataset, Loader
from spikecore.datasets.transforms import Compose, Downsample, ToFrames
from spikecore.zoo.pretrained import WEIGHTS

Data = Union[Dataset, EventDataset]


@dataclass(frozen=True)
class Recipe:
    """How one network is trained."""

    architecture: str  # Python for the network
    network: Callable[[], sc.Sequential]
    data: str
    inputs: str  # what a sample is
    licence: str
    parts: Callable[[Optional[str]], Tuple[Data, Data]]  # training and test
    shape: Tuple[int, ...]
    steps: int
    lr: float
    epochs: int
    batch_size: int = 128
    sequences: bool = False  # whether samples are sequences (time, *shape)
    validation: float = 1 / 6  # the share of the training samples, at their end, that --validate keeps
    loss: sc.functional.Loss = functional.ce_count_loss()

    @property
    def over_time(self) -> Dict[str, Any]:
        """How samples become sequences, for ``fit``, ``evaluate`` and ``verify``."""
        return {"time_axis": 1} if self.sequences else {"num_steps": self.steps}

    def fit(self, train: Data) -> sc.Model:
        """A model that is trained on these samples."""
        model = sc.Model(self.network(), engine="torch", seed=0, input_shape=self.shape)
        model.fit(
            Loader(train, batch_size=self.batch_size),
            loss=self.loss,
            optimizer=sc.Adam(lr=self.lr),
            epochs=self.epochs,
            schedule=sc.schedule.cosine(),
            **self.over_time,
        )
        return model

    def text(self) -> str:
        """The settings, for the notes."""
        return (
            f"ce_count_loss, Adam, lr {self.lr:g} falling by a cosine, {self.epochs} epochs, batches of "
            f"{self.batch_size}, seed 0, all training samples"
        )


@dataclass(frozen=True)
class Spoken(Recipe):
    """A recipe with delays: they learn at a rate of their own, then they are rounded, and weights learn on."""

    epochs_whole: int = 3

    @property
    def over_time(self) -> Dict[str, Any]:
        return {}  # batches of recordings have time first

    def fit(self, train: Data) -> sc.Model:
        assert isinstance(train, EventDataset)
        batches = Loader(train.map(spoken_digits.Vary(seed=0)), batch_size=self.batch_size)
        network = spoken(anneal=max(1, self.epochs * len(batches) * 3 // 5))
        model = sc.Model(network, engine="torch", seed=0, input_shape=self.shape)
        self._fit(model, batches, self.lr, self.epochs, sc.Group("*.delay", lr=0.1, weight_decay=0.0))
        whole = sc.compression.round_delays(model).model
        self._fit(whole, batches, self.lr / 10, self.epochs_whole, sc.Group("*.delay", frozen=True))
        return whole

    def _fit(self, model: sc.Model, batches: Loader, lr: float, epochs: int, group: sc.Group) -> None:
        model.fit(
            batches,
            loss=self.loss,
            optimizer=sc.AdamW(lr=lr, weight_decay=1e-4, groups=(group,)),
            epochs=epochs,
            schedule=sc.schedule.cosine(),
        )

    def text(self) -> str:
        return (
            f"ce_membrane_loss, AdamW, lr {self.lr:g}, of delays 0.1, falling by a cosine, weight_decay 1e-4, "
            f"{self.epochs} epochs, batches of {self.batch_size}, Gaussian taps that narrow in three fifths of them, "
            "spectrograms varied in speed, beginning and pitch, seed 0, all training samples; round_delays; "
            f"{self.epochs_whole} epochs with lr {self.lr / 10:g} and these delays"
        )


@dataclass(frozen=True)
class Reproduced(Recipe):
    """A recipe that is a row of ``benchmarks.reproduced``."""

    train: Callable[[Any, Any, int], sc.Model] = randman.trained  # from inputs, targets and a seed
    row: str = ""

    def fit(self, train: Data) -> sc.Model:
        assert isinstance(train, Dataset)
        return self.train(train.inputs, train.targets, 0)

    def text(self) -> str:
        return f"row {self.row} of benchmarks.reproduced, seed 0"


def spoken(anneal: Optional[int] = None) -> sc.Sequential:
    """The network for spoken digits; with ``anneal`` as it is trained, without as it is after ``round_delays``."""
    return zoo.delay_snn(spoken_digits.BANDS, (64, 64), 10, 10, 0.3, anneal, sc.Leaky(beta=0.8), sc.LI(beta=0.95))


def speakers(folder: Optional[str]) -> Tuple[Data, Data]:
    """Spectrograms of spoken digits: of four speakers, the one for validation last, and of two others for the test."""
    parts = spoken_digits.read(Path(folder or "data"))
    four = [parts["train"], parts["validation"]]  # of one source
    targets, rows = (np.concatenate([getattr(part, name) for part in four]) for name in ("targets", "rows"))
    return replace(four[0], targets=targets, rows=rows), parts["test"]


def made() -> Tuple[Data, Data]:
    """Randman's spikes from seed 0: the first eight tenths, and the last tenth."""
    x, y = randman.read(Path(), seed=0)
    return Dataset(x[: len(x) * 8 // 10], y[: len(y) * 8 // 10]), Dataset(x[len(x) * 9 // 10 :], y[len(y) * 9 // 10 :])


def yin_yang_spikes() -> Tuple[Data, Data]:
    """Yin-Yang's coordinates from seed 0 as spikes (samples, time, 5)."""
    parts = datasets.yin_yang(yin_yang.TRAIN, yin_yang.TEST, seed=0)
    train, test = (Dataset(np.moveaxis(yin_yang.spikes(part), 0, 1), part.targets) for part in parts)
    return train, test


def recorded() -> Tuple[Data, Data]:
    """The sample of MNIST before a simulated event camera, as frames (samples, time, 2 * 17 * 17) of zeros and ones."""
    frames = Compose(Downsample(2), ToFrames(steps=FRAMES, binary=True))

    def part(images: Any) -> Data:
        recordings = datasets.saccades(images.inputs, images.targets, name="MNIST")
        made = np.stack([frames(recordings[i][0]).reshape(FRAMES, -1) for i in range(len(recordings))])
        return Dataset(made, np.asarray(images.targets[:]))

    train, test = datasets.mnist_sample(image=True)
    return part(train), part(test)


FRAMES = 8
IMAGES = "28 x 28 images as (1, 28, 28), grey values 0 to 1"
SMOOTH = sc.Leaky(beta=0.9, surrogate=surrogate.atan())
RECIPES = {
    "digits": Recipe(
        architecture="zoo.dense_snn(64, 100)",
        network=lambda: zoo.dense_snn(64, 100),
        data="scikit-learn's digits, other writers in the test samples",
        inputs="8 x 8 images as (64,), grey values 0 to 1",
        licence="CC BY 4.0 (E. Alpaydin, C. Kaynak, Optical recognition of handwritten digits, UCI)",
        parts=lambda _: datasets.digits(),
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
        parts=lambda _: datasets.mnist_sample(image=True),
        shape=(1, 28, 28),
        steps=8,
        lr=5e-3,
        epochs=10,
    ),
    "mnist_events": Recipe(
        architecture="zoo.dense_snn(578, 64)",
        network=lambda: zoo.dense_snn(578, 64),
        data="simulated recordings of 5000 of MNIST's training images, of which 1000 test; of real recordings "
        "of N-MNIST it recognises 91 % of 150, and 89 % of 150 others, which the simulation was fitted to",
        inputs="frames of N-MNIST's size, by Downsample(2) and ToFrames(steps=8, binary=True), as (578,), 0 or 1",
        licence="CC BY-SA 3.0 (Y. LeCun, C. Cortes, The MNIST database of handwritten digits)",
        parts=lambda _: recorded(),
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
        parts=lambda folder: datasets.fashion_mnist(folder or "data", image=True),
        shape=(1, 28, 28),
        steps=8,
        lr=5e-3,
        epochs=8,
    ),
    "spoken_digits": Spoken(
        architecture="zoo.delay_snn(20, (64, 64), 10, 10, 0.3, neuron=sc.Leaky(beta=0.8), readout=sc.LI(beta=0.95))",
        network=spoken,
        data="the free spoken digit dataset, recordings 5 to 49, two unheard speakers in the test samples",
        inputs=(
            "a word in 0.7 s of sound at 8 kHz, by LogMel(mels=20, window=0.04, hop=0.02, low=60, high=3800), at each "
            "step as (20,), 0 to 1"
        ),
        licence=(
            "CC BY-SA 4.0 (Z. Jackson and others, Free Spoken Digit Dataset, "
            "https://github.com/Jakobovski/free-spoken-digit-dataset)"
        ),
        parts=speakers,
        shape=(spoken_digits.BANDS,),
        steps=spoken_digits.STEPS,
        lr=1e-2,
        epochs=25,
        batch_size=spoken_digits.BATCH,
        sequences=True,
        validation=1 / 4,
        loss=spoken_digits.LOSS,
    ),
    "randman": Reproduced(
        architecture="20-128-10: Linear, Synaptic, Linear, LI",
        network=randman.network,
        data="Randman of seed 0: ten smooth curves in the space of spike times (Zenke and Vogels 2021)",
        inputs="a spike of each of 20 neurons in 100 steps of 2 ms, at each step as (20,), 0 or 1",
        licence="none needed: the data are made from a seed",
        parts=lambda _: made(),
        shape=(randman.UNITS,),
        steps=randman.STEPS,
        lr=randman.LR,
        epochs=randman.EPOCHS,
        sequences=True,
        loss=randman.LOSS,
        train=randman.trained,
        row="randman",
    ),
    "yin_yang": Reproduced(
        architecture="5-200-3: Linear, Synaptic, Linear, LI",
        network=yin_yang.network,
        data="Yin-Yang of seed 0 (Kriener, Göltz and Petrovici 2022)",
        inputs="a spike of each coordinate in 60 steps, by spikes() of benchmarks.reproduced.yin_yang, at each step as "
        "(5,), 0 to 1",
        licence="none needed: the data are made from a seed",
        parts=lambda _: yin_yang_spikes(),
        shape=(5,),
        steps=yin_yang.STEPS,
        lr=yin_yang.LR,
        epochs=yin_yang.EPOCHS,
        sequences=True,
        loss=yin_yang.LOSS,
        train=yin_yang.trained,
        row="yin_yang_surrogate",
    ),
}


def trained(name: str, folder: Optional[str], validate: bool) -> sc.Model:
    """Train a recipe's network; with ``validate`` without the last training samples, which evaluate it."""
    recipe = RECIPES[name]
    train, test = recipe.parts(folder)
    if validate:
        train, test = train.split(int(len(train) * (1 - recipe.validation)))
    model = recipe.fit(train)
    result = model.evaluate(Loader(test, batch_size=200, shuffle=False), loss=recipe.loss, **recipe.over_time)
    print(f"{name}: {'validation' if validate else 'test'} accuracy {result['accuracy']:.4f}")
    plain = sc.Model(model.network, engine="numpy", seed=0, input_shape=recipe.shape)  # weights alone, no moments
    plain.load_state({**plain.state(), **{part: model.state()[part] for part in ("params", "buffers")}})
    x, y = next(iter(Loader(test, batch_size=16, shuffle=False)))
    plain.notes = {
        "architecture": recipe.architecture,
        "data": recipe.data,
        "inputs": recipe.inputs,
        "licence": recipe.licence,
        "num_steps": recipe.steps,
        "recipe": recipe.text(),
        "seed": 0,
        "accuracy": result["accuracy"],
        "test_samples": len(test),
        "parameters": int(sum(each.size for each in plain.params().values())),
        "verified": str(sc.verify(plain, x, y, recipe.loss, **recipe.over_time)),
        "made_by": f"python -m benchmarks.weights {name}, Python {platform.python_version()}",
    }
    print(plain.notes["verified"])
    plain.history, plain.epochs_done = model.history, model.epochs_done
    return plain


def main() -> None:
    """Train the networks that are named, and write their files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=sorted(RECIPES), help="which networks to train")
    parser.add_argument("--data", metavar="FOLDER", help="where the files of FashionMNIST, or the recordings, are")
    parser.add_argument("--validate", action="store_true", help="keep the last training samples; write no file")
    args = parser.parse_args()
    for name in args.names:
        model = trained(name, args.data, args.validate)
        if not args.validate:
            WEIGHTS.mkdir(exist_ok=True)
            model.save(WEIGHTS / f"{name}.safetensors")


if __name__ == "__main__":
    main()
