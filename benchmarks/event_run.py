"""Where the time of a training on recorded events goes: how much of it lies outside kernels and products.

python -m benchmarks.event_run                        # simulated recordings, from scikit-learn's digits
python -m benchmarks.event_run recordings.npz         # or an archive of recordings with 34 x 34 pixels

The training is that of the tutorial "Neuromorphic data": its convolutional network, batches of 30, recordings that are
in memory without noise, and for each epoch anew shifted, thinned out and made frames of. Kernels of neurons,
convolutions, pooling, matrix products and what autograd computes of them count as inside; Python's profiler tells their
time. All else of an epoch that is not profiled is outside: reading and transforming events, making batches, optimiser,
metrics, and Python between all of them. Times are processor time of one thread; the first epoch does not count.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time
from statistics import median
from typing import Any, Dict, List, Optional, Tuple

import spikecore as sc
from benchmarks import machine
from benchmarks.feeding import SENSOR, recordings
from spikecore import functional
from spikecore.datasets import EventDataset, Loader
from spikecore.datasets.transforms import Denoise, DropEvents, Shift, ToFrames

BATCH = 30
INSIDE = (  # parts of the names of functions, of which pooling.py keeps the places of maxima
    *("conv", "max_pool", "linear", "addmm", "built-in method torch.mm", "matmul", "einsum", "run_backward"),
    *("kernel.py:start", "torch._ops.aten", "torch/pooling.py"),
)


def network() -> Any:
    """The network of the tutorial."""
    lif = sc.Leaky(beta=0.5)
    return sc.Sequential(
        *(sc.Conv2d(2, 12, 5), sc.MaxPool2d(2), lif),
        *(sc.Conv2d(12, 32, 5), sc.MaxPool2d(2), lif),
        *(sc.Flatten(), sc.Linear(32 * 5 * 5, 10), lif),
    )


class Turns:
    """A callback that times each epoch, or profiles it, in turns; the first compiles kernels and does not count."""

    def __init__(self) -> None:
        self.seconds: List[float] = []
        self.profiles: List[pstats.Stats] = []
        self.profile: Optional[cProfile.Profile] = None
        self.begun = 0.0

    def __call__(self, model: Any, row: Any) -> None:
        if self.profile is not None:
            self.profile.disable()
            self.profiles.append(pstats.Stats(self.profile))
        elif row["epoch"] > 1:
            self.seconds.append(time.thread_time() - self.begun)
        self.profile = cProfile.Profile(time.thread_time) if row["epoch"] % 2 == 0 else None
        self.begun = time.thread_time()
        if self.profile is not None:
            self.profile.enable()


def epochs(data: EventDataset, engine: str, rounds: int) -> Turns:
    """Train for one epoch, and for so many more of each kind."""
    model = sc.Model(network(), engine=engine, seed=0, input_shape=(2, *SENSOR))
    turns, loss = Turns(), functional.mse_count_loss(correct_rate=0.8, incorrect_rate=0.2)
    batches = Loader(data, batch_size=BATCH, seed=0)
    options: Dict[str, Any] = {"loss": loss, "optimizer": sc.Adam(lr=2e-2), "progress": False}
    model.fit(batches, epochs=1 + 2 * rounds, callbacks=(turns,), **options)
    return turns


def is_inside(name: str) -> bool:
    """Whether a function, with its caller, is a kernel or a product."""
    return any(part in name for part in INSIDE)


def rows(stats: pstats.Stats) -> List[Tuple[str, float]]:
    """Each function of a profile with its caller, and the seconds that it took without those that it called."""
    table: Dict[Any, Any] = stats.stats  # type: ignore[attr-defined]  # typeshed does not have it
    return [
        (f"{called(function)} < {called(caller)}", own)
        for function, (*_, callers) in table.items()
        for caller, (_, _, own, _) in callers.items()
    ]


def called(function: Tuple[str, int, str]) -> str:
    """The name of a function in a profile."""
    file, _, name = function
    return name if file == "~" else f"{'/'.join(file.split('/')[-3:])}:{name}"


def main() -> None:
    """Print the share, and what is outside."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", nargs="?", help="recordings as save_event_npz writes them; default: simulated ones")
    parser.add_argument("--engine", choices=("torch", "numpy"), default="torch")
    parser.add_argument("--most", type=int, default=12, help="functions to print (default 12)")
    parser.add_argument("--rounds", type=int, default=9, help="how many epochs of each kind (default 9)")
    args = parser.parse_args()
    held = recordings(args.archive).map(Denoise(window=10_000)).in_memory(progress=False)
    frames = held.map(Shift(2), DropEvents(0.1), ToFrames(window=5_000, steps=60))
    if args.engine == "torch":
        import torch

        torch.set_num_threads(1)
    turns = epochs(frames, args.engine, args.rounds)
    tables = [rows(profile) for profile in turns.profiles]
    inside = [sum(own for name, own in table if is_inside(name)) for table in tables]
    total = median(turns.seconds)
    outside = median(1 - part / whole for part, whole in zip(inside, turns.seconds))  # of neighbouring epochs
    print(f"{held.name}, {len(held)} recordings; {machine.sentence(machine.describe('cpu'))}")
    print(f"an epoch: {total:.2f} s, of it outside of kernels and products {100 * outside:.1f} %")
    for name, own in sorted(tables[-1], key=lambda row: -row[1])[: args.most]:
        print(f"{100 * own / total:5.1f} %  {'inside ' if is_inside(name) else 'outside'}  {name[:110]}")


if __name__ == "__main__":
    main()
