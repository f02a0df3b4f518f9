"""The measurements of docs/feeding.md: how fast a Loader gives frames of events, with and without worker processes.

python -m benchmarks.feeding                        # simulated recordings, from scikit-learn's digits
python -m benchmarks.feeding recordings.npz         # or an archive of recordings with 34 x 34 pixels

All numbers of workers are measured in turns in one process; a row has the medians. "here" is the processor time that
the process that trains spends on loading, which is what worker processes take from it.
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

import spikecore as sc
from benchmarks import machine
from spikecore.datasets import EventDataset, Loader, digits, event_npz, saccades
from spikecore.datasets.transforms import Denoise, DropEvents, Shift, ToFrames

SENSOR, RECORDINGS, WORKERS, BATCH = (34, 34), 200, (0, 1, 2), 20
TRANSFORMS: Dict[str, Tuple[Any, ...]] = {
    "`ToFrames(steps=10)`": (ToFrames(steps=10),),
    "`Denoise()`, `DropEvents(0.1)`, `Shift(2)`, `ToFrames(steps=30)`": (
        *(Denoise(), DropEvents(0.1), Shift(2)),
        ToFrames(steps=30),
    ),
    "`ToFrames(window=1000, steps=300)`": (ToFrames(window=1000, steps=300),),
}


def loading(recordings: EventDataset, workers: int) -> Tuple[float, float]:
    """Seconds of an epoch, and of them the processor time of this process."""
    loader = Loader(recordings, batch_size=BATCH, workers=workers)
    begun, used = time.perf_counter(), time.process_time()
    for _ in loader:
        pass
    return time.perf_counter() - begun, time.process_time() - used


def training(recordings: EventDataset, workers: int, hidden: int = 256) -> Tuple[float, np.ndarray]:
    """Seconds of the second epoch of a fit, and the weights that it ends with."""
    network = sc.Sequential(
        *(sc.Flatten(), sc.Linear(2 * SENSOR[0] * SENSOR[1], hidden), sc.Leaky(beta=0.9)),
        *(sc.Linear(hidden, 10), sc.Leaky(beta=0.9)),
    )
    model = sc.Model(network, engine="torch", seed=0)
    loader = Loader(recordings, batch_size=BATCH, workers=workers)
    history = model.fit(loader, optimizer=sc.Adam(lr=1e-3), epochs=2, progress=False)
    return history[-1]["seconds"], model.params()["1.weight"]


def recordings(archive: Optional[str]) -> EventDataset:
    """The recordings of an archive, or simulated ones of digits."""
    if archive:
        events, _ = event_npz(archive, SENSOR).split(RECORDINGS)
        return events
    images, _ = digits(image=True)
    return saccades(images.inputs[:RECORDINGS], images.targets[:RECORDINGS], name="digits", sensor=SENSOR)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", nargs="?", help="recordings as save_event_npz writes them; default: simulated ones")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default 5)")
    args = parser.parse_args()
    events = recordings(args.archive)
    events = events.in_memory(progress=False)  # the events; their transforms are what is measured
    print(f"{events.name}, {len(events)} recordings; {machine.sentence(machine.describe('cpu'))}\n")
    print("| transforms | workers | recordings per second | processor time here, per recording |\n|---|---|---|---|")
    for name, steps in TRANSFORMS.items():
        seen: Dict[int, List[Tuple[float, float]]] = {workers: [] for workers in WORKERS}
        for _ in range(args.rounds):
            for workers in WORKERS:
                seen[workers].append(loading(events.map(*steps), workers))
        for workers, times in seen.items():
            wall, here = (median(column) for column in zip(*times))
            print(f"| {name} | {workers} | {len(events) / wall:.0f} | {1e3 * here / len(events):.2f} ms |")
    frames = events.map(*list(TRANSFORMS.values())[1])
    trained = {workers: [training(frames, workers) for _ in range(args.rounds)] for workers in WORKERS}
    same = all((weights == trained[0][0][1]).all() for runs in trained.values() for _, weights in runs)
    seconds = {workers: median(second for second, _ in runs) for workers, runs in trained.items()}
    print(f"\nAn epoch of fit with the second row's transforms: {seconds} s by workers; weights equal: {same}")


if __name__ == "__main__":
    main()
