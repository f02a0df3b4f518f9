"""Mackey-Glass: ten Lyapunov times go on by themselves after ten of training, with spikes of 1,000 neurons.

    dx/dt = 0.2 x(t - 17) / (1 + x(t - 17)^10) - 0.1 x(t),   x = 0.7206597 before t = 0;   75 points in 197 units

Each of the last nine points of the series is a current for the same drawn neurons. A linear readout of their spike
counts and of the nine points, by ridge regression, predicts how the series changes until the next point, which is then
an input in its turn. As in NeuroBench, 30 parts of the series begin half a Lyapunov time one after the other; each has
a readout of its own, and the figure is the mean of their errors. Beside it "esn" is the error of an echo state network
of 355 tanh units on the same series, with NeuroBench's settings, for which its example notes 18.38.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List

import numpy as np

import spikecore as sc
from benchmarks.reproduced.row import Row

TAU, LYAPUNOV, PAST, PER = 17.0, 197.0, 0.7206597, 75  # PER: points in a Lyapunov time
FINE = 680  # steps of integration in TAU
PARTS, APART, TRAIN, TEST = 30, PER / 2, 10 * PER, 10 * PER
BACK, NEURONS, STEPS, RIDGE = 9, 110, 256, 1e-4  # chosen on a series with another past, 0.5
SLOPE, LEAST, MOST = 0.25, -2.0, 2.2  # currents SLOPE (z + b), b drawn between these, of points z in standard units
FARTHEST = 3.0  # deviations that a prediction may be away from the mean


def series(points: int, past: float = PAST) -> np.ndarray:
    """The solution from t = 0 on, by Runge and Kutta's method of fourth order; what is between two steps is cubic."""
    h, steps = TAU / FINE, int(points * LYAPUNOV / PER * FINE / TAU) + 2
    x, slope = [past] * (FINE + 1), [0.0] * (FINE + 1)

    def gain(delayed: float) -> float:
        return 0.2 * delayed / (1.0 + delayed**10)

    for i in range(steps):
        before, after, now = x[i], x[i + 1], x[-1]
        half = 0.5 * (before + after) + h / 8.0 * (slope[i] - slope[i + 1])
        k1 = gain(before) - 0.1 * now
        k2 = gain(half) - 0.1 * (now + 0.5 * h * k1)
        k3 = gain(half) - 0.1 * (now + 0.5 * h * k2)
        k4 = gain(after) - 0.1 * (now + h * k3)
        x.append(now + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4))
        slope[-1] = k1
        slope.append(gain(after) - 0.1 * x[-1])
    place, s = np.divmod(np.arange(points) * LYAPUNOV / PER / h, 1.0)
    at, value, change = FINE + place.astype(int), np.array(x), h * np.array(slope)
    found: np.ndarray = (
        (1.0 + 2.0 * s) * (1.0 - s) ** 2 * value[at]
        + s * (1.0 - s) ** 2 * change[at]
        + s**2 * (3.0 - 2.0 * s) * value[at + 1]
        + s**2 * (s - 1.0) * change[at + 1]
    )
    return found


def smape(said: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Symmetric mean absolute percentage error over the last axis."""
    found: np.ndarray = 200.0 * np.mean(abs(said - true) / (abs(said) + abs(true)), axis=-1)
    return found


class Reservoir:
    """Spiking neurons that see a window of a series."""

    def __init__(self, seed: int, neurons: int = NEURONS, steps: int = STEPS) -> None:
        current = sc.Conv1d(
            1,
            neurons,
            1,
            weight_init=sc.init.constant(SLOPE),
            bias_init=sc.init.uniform(SLOPE * LEAST, SLOPE * MOST),
        )
        network = sc.Sequential(current, sc.IF(initial_mem=0.5), sc.Flatten())
        engine = sc.get_engine("numpy", fused=True)
        self.model, self.steps = sc.Model(network, engine, seed=seed, input_shape=(1, BACK)), steps

    def __call__(self, windows: np.ndarray) -> np.ndarray:
        """What the readout sees of windows (n, BACK): 1, the window, and spikes per step of each neuron."""
        rates = [
            np.mean(self.model(some[:, None].astype(np.float32), num_steps=self.steps).spikes, axis=0, dtype=np.float64)
            for some in np.array_split(windows, -(-len(windows) // PARTS))
        ]
        return np.concatenate([np.ones((len(windows), 1)), windows, np.concatenate(rates)], axis=1)


def forecasts(seen: np.ndarray, points: int, reservoir: Reservoir, ridge: float = RIDGE) -> np.ndarray:
    """What comes after the last of each row of points, (rows, points), with a readout for each row."""
    mean, deviation = seen.mean(axis=1, keepdims=True), seen.std(axis=1, keepdims=True)
    z = (seen - mean) / deviation
    readouts = []
    for row in z:
        known = reservoir(np.lib.stride_tricks.sliding_window_view(row, BACK)[:-1])
        wanted = np.diff(row)[BACK - 1 :]
        readouts.append(np.linalg.solve(known.T @ known + ridge * np.eye(known.shape[1]), known.T @ wanted))
    for _ in range(points):
        change = np.sum(reservoir(z[:, -BACK:]) * np.array(readouts), axis=1)
        z = np.concatenate([z, np.clip(z[:, -1] + change, -FARTHEST, FARTHEST)[:, None]], axis=1)
    return z[:, -points:] * deviation + mean


def echo_state(seen: np.ndarray, points: int, seed: int) -> np.ndarray:
    """What comes after the last of some points, by units u = (1 - a) u + a tanh(W u + V (1, x)) and a readout."""
    size, bias, gain, share, radius, leak, ridge = 355, 0.9, 0.8, 0.15, 1.23, 0.51, 1e-9  # NeuroBench's, for TAU
    rng = np.random.default_rng(seed)
    inward = (rng.random((size, 2)) - 0.5) * [bias, gain]
    inner = (rng.random((size, size)) <= share) * rng.normal(size=(size, size))
    inner *= radius / abs(np.linalg.eigvals(inner)).max()
    units = np.zeros(size)
    known: List[np.ndarray] = []
    said: List[float] = []

    def after(x: float) -> Any:
        return (1.0 - leak) * units + leak * np.tanh(inner @ units + inward @ [1.0, x])

    for x in seen[:-1]:
        units = after(x)
        known.append(np.array([1.0, x, *units]))
    warm = round(0.6 * PER)
    table, wanted = np.array(known)[warm:], seen[warm + 1 :]
    readout = np.linalg.lstsq(table.T @ table + ridge * np.eye(size + 2), table.T @ wanted, rcond=None)[0]
    for _ in range(points):
        last = said[-1] if said else seen[-1]
        units = after(last)
        said.append(float(np.clip(np.array([1.0, last, *units]) @ readout, 0.0, 2.0)))
    return np.array(said)


def parts(past: float = PAST) -> np.ndarray:
    """The parts of the series, each with its points of training, the first input of the test, and its targets."""
    begins = (np.arange(PARTS) * APART).astype(int)
    count = TRAIN + 1 + TEST
    return series(begins[-1] + count, past)[begins[:, None] + np.arange(count)]


def mackey_glass(seed: int, folder: Path) -> Dict[str, float]:
    """The mean error over the parts; "constant" is that of the median of the points of training, "esn" a network's."""
    rows = parts()
    seen, true = rows[:, : TRAIN + 1], rows[:, TRAIN + 1 :]
    errors = smape(forecasts(seen, TEST, Reservoir(seed)), true)
    constant = smape(np.median(seen, axis=1, keepdims=True), true).mean()
    others = np.stack([echo_state(row, TEST, PARTS * seed + number) for number, row in enumerate(seen)])
    figures = {"figure": errors.mean(), "worst": errors.max(), "constant": constant, "esn": smape(others, true).mean()}
    return {name: float(figure) for name, figure in figures.items()}


ROW = Row(
    title="Mackey-Glass, ten Lyapunov times ahead, 990 spiking neurons and a readout",
    paper="NeuroBench: LSTM; ESN",
    theirs="13.37; 14.79",
    unit="sMAPE",
    run=mackey_glass,
    differs="the series is integrated anew, and chaos makes it another one than that of the published file; a readout "
    "for each part by ridge regression, as with the ESN, of which one with 355 units has 12.6 on this series",
)
