"""Spoken digits by speakers whom the network has never heard, with and without learned delays: accuracies over seeds.

git clone https://github.com/Jakobovski/free-spoken-digit-dataset
python -m benchmarks.spoken_digits free-spoken-digit-dataset/recordings --out build/spoken_digits.jsonl
python -m benchmarks.spoken_digits free-spoken-digit-dataset/recordings --validate --seeds 100 101 --beta 0.2 0.5 0.8

The recordings are WAV files with names such as 7_jackson_32.wav: digit, speaker and number. Three speakers are
for training, one for choosing settings (``--validate``) and two for the test. All networks get the same spectrograms in
the same batches, with the same loss, optimiser, schedule and number of epochs. "rounded" is the accuracy after delays
have been rounded to whole steps. ``--out`` gets a line of JSON for each run. Runs that have a line there are not
repeated.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np

import spikecore as sc
from benchmarks.lines import Lines, Run
from spikecore.datasets import EventDataset, Loader, Sound, Source, read_wav
from spikecore.datasets.transforms import LogMel, RandomTransform

SPEAKERS = {"train": ("george", "jackson", "lucas"), "validation": ("nicolas",), "test": ("theo", "yweweler")}
STEPS, BANDS, BATCH = 35, 20, 50  # steps of 20 ms: half the recordings are shorter than 0.42 s, 95 of 100 than 0.67 s
LOSS = sc.functional.ce_membrane_loss()
LONGEST = {"none": 0, "learned": 10, "random": 10}  # delays in steps; random ones stay as they are drawn


@dataclass(frozen=True)
class Settings:
    """What distinguishes networks.

    Args:
        delays: those of both hidden layers: "none", "learned" or "random".
        hidden: neurons of each hidden layer.
        beta: their membrane decay per step.
        lr: learning rate of the weights.
        epochs: passes through the training samples.
    """

    delays: str
    hidden: int = 64
    beta: float = 0.5
    lr: float = 3e-3
    epochs: int = 25


class Recordings(Source):
    """The WAV files of a folder."""

    def __init__(self, folder: Path):
        self.paths = sorted(folder.glob("[0-9]_*_*.wav"))

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, row: int) -> Sound:
        return read_wav(self.paths[row])


@dataclass(frozen=True)
class Vary(RandomTransform):
    """Another speed, another beginning and another voice: what differs between recordings of one word."""

    seed: int = 0

    def change(self, features: Any, draws: Any) -> Any:
        speed, shift, up = 0.85 + 0.3 * draws.uniform(1)[0], draws.integer(-4, 5), draws.integer(-1, 2)
        steps = np.round(np.arange(STEPS) / speed).astype(int) - shift
        inside = (steps >= 0) & (steps < STEPS)
        bands = np.clip(np.arange(BANDS) - up, 0, BANDS - 1)
        return features[np.clip(steps, 0, STEPS - 1)][:, bands] * inside[:, None].astype(np.float32)


def padded(features: np.ndarray) -> np.ndarray:
    """The first steps, or silence at the end."""
    return np.concatenate([features, np.zeros((STEPS, BANDS), np.float32)])[:STEPS]


def read(folder: Path) -> Dict[str, EventDataset]:
    """The recordings for training, validation and test, as spectrograms in memory."""
    source = Recordings(folder)
    if not len(source):
        raise SystemExit(f"{folder}: no WAV files with names such as 7_jackson_32.wav")
    digits, speakers = zip(*(path.name.split("_")[:2] for path in source.paths))
    data = EventDataset(source, np.array(digits, np.int64), "spoken digits", tuple("0123456789"))
    data = data.map(LogMel(mels=BANDS, window=0.04, hop=0.02, low=60.0, high=3800.0), padded).in_memory(progress=False)
    return {part: _of(data, np.isin(speakers, names)) for part, names in SPEAKERS.items()}


def _of(data: EventDataset, chosen: np.ndarray) -> EventDataset:
    """Some of the recordings."""
    part = data[chosen]
    assert isinstance(part, EventDataset)
    return part


def network(settings: Settings, updates: int) -> sc.Sequential:
    """Two hidden layers of leaky neurons; the width of Gaussian delays shrinks in three fifths of the updates."""
    longest, hidden = LONGEST[settings.delays], settings.hidden

    def connection(ins: int) -> Any:
        if not longest:
            return sc.Linear(ins, hidden, bias=False)
        anneal = max(1, updates * 3 // 5)
        return sc.DelayedLinear(
            ins, hidden, longest, bias=False, kernel="gaussian", sigma_start=longest / 2, anneal=anneal
        )

    def layer(ins: int) -> Tuple[Any, ...]:
        return connection(ins), sc.BatchNorm1d(hidden), sc.Leaky(beta=settings.beta), sc.Dropout(0.3)

    return sc.Sequential(*layer(BANDS), *layer(hidden), sc.Linear(hidden, 10), sc.LI(beta=0.95))


def trained(settings: Settings, seed: int, data: EventDataset) -> sc.Model:
    """Train a network."""
    batches = Loader(data.map(Vary(seed=seed)), batch_size=BATCH, seed=seed)
    model = sc.Model(network(settings, settings.epochs * len(batches)), engine="torch", seed=seed)
    groups: Tuple[Any, ...] = ()
    if settings.delays == "learned":
        groups = (sc.Group("*.delay", lr=0.1, weight_decay=0.0),)
    if settings.delays == "random":
        groups = (sc.Group("*.delay", frozen=True),)
    model.fit(
        batches,
        loss=LOSS,
        optimizer=sc.AdamW(lr=settings.lr, weight_decay=1e-4, groups=groups),
        schedule=sc.schedule.cosine(),
        epochs=settings.epochs,
        progress=False,
    )
    return model


def accuracy(model: sc.Model, data: EventDataset) -> float:
    """Accuracy in percent."""
    found = model.evaluate(Loader(data, batch_size=150, shuffle=False), loss=LOSS)["accuracy"]
    return round(100.0 * float(found), 2)


def in_whole_steps(model: sc.Model, settings: Settings, data: EventDataset) -> sc.Model:
    """The model with delays rounded to whole steps; itself if it has none."""
    if not LONGEST[settings.delays]:
        return model
    x, _ = next(iter(Loader(data, batch_size=BATCH, shuffle=False)))
    return sc.compression.round_delays(model, x).model


def measured(settings: Settings, seed: int, data: Dict[str, EventDataset], part: str) -> Run:
    """Train a network; its size, and its accuracies on a part of the data."""
    model = trained(settings, seed, data["train"])
    return {
        "parameters": sum(value.size for value in model.params().values()),
        "accuracy": accuracy(model, data[part]),
        "rounded": accuracy(in_whole_steps(model, settings, data["train"]), data[part]),
    }


def runs(args: argparse.Namespace) -> Iterator[Tuple[Settings, int, Run]]:
    """What is to be trained: seed by seed, so that what is there after an interruption can be compared."""
    kinds = [Settings(*one, args.epochs) for one in itertools.product(args.delays, args.hidden, args.beta, args.lr)]
    for seed, settings in itertools.product(args.seeds, kinds):
        yield settings, seed, {**asdict(settings), "seed": seed, "part": "validation" if args.validate else "test"}


def rows(lines: Sequence[Run]) -> Iterator[str]:
    """The table of runs: means over seeds, standard deviations and numbers of parameters."""
    yield "| delays | hidden | beta | learning rate | parameters | accuracy | rounded | seeds |\n|---|" + 7 * "--:|"
    keys = ("delays", "hidden", "beta", "lr", "parameters")
    for key in dict.fromkeys(tuple(line[name] for name in keys) for line in lines):
        mine = [line for line in lines if tuple(line[name] for name in keys) == key]
        accuracies, rounded = (_spread([line[name] for line in mine]) for name in ("accuracy", "rounded"))
        delays, hidden, beta, lr, parameters = key
        cells = (delays, hidden, f"{beta:g}", f"{lr:g}", f"{parameters:,}", accuracies, rounded, len(mine))
        yield f"| {' | '.join(map(str, cells))} |"


def _spread(values: Sequence[float]) -> str:
    """Mean and standard deviation in percent."""
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{spread} %"


def main(arguments: Optional[Sequence[str]] = None) -> List[Run]:
    """Train what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.spoken_digits", description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="the folder of the WAV files")
    parser.add_argument("--out", type=Path, help="a file for a line of JSON per run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--delays", nargs="+", choices=LONGEST, default=["none", "learned"])
    parser.add_argument("--hidden", type=int, nargs="+", default=[64])
    parser.add_argument("--beta", type=float, nargs="+", default=[0.5])
    parser.add_argument("--lr", type=float, nargs="+", default=[3e-3])
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--validate", action="store_true", help="judge by the speaker for validation")
    args = parser.parse_args(arguments)
    kept, data = Lines(args.out), read(args.folder)
    lines = [kept.of(run, partial(measured, settings, seed, data, run["part"])) for settings, seed, run in runs(args)]
    print("\n".join(rows(lines)))
    return lines


if __name__ == "__main__":
    main()
