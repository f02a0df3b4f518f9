"""Tasks that need memory, made anew from a seed: store and recall, and the adding problem."""

from __future__ import annotations

from typing import Tuple, Union

import numpy as np

from spikecore.arguments import Size
from spikecore.datasets.errors import DataError, checked
from spikecore.samples import Dataset

VALUES, STORE, RECALL, CUES = 2, 2, 3, 4  # input channels 0 and 1 show a value, 2 says store, 3 says recall


@checked
def delay_recall(
    train: Size = 1000,
    test: Size = 200,
    *,
    steps: Size = 100,
    period: Size = 10,
    delay: Union[int, Tuple[int, int]] = (20, 60),
    neurons: Size = 1,
    rate: float = 1.0,
    distractors: bool = True,
    seed: int = 0,
) -> Tuple[Dataset, Dataset]:
    """Store and recall: a bit is to be remembered from a store cue until a recall cue, as (train, test).

    Inputs are spikes, (samples, steps, 4 x neurons), float32: pass ``time_axis=1`` to `fit`. The first group of neurons
    fires to show a 0, the second to show a 1, the third says store, the fourth says recall. Time runs in periods, in
    each of which a neuron either is silent or fires with the chance ``rate`` per step:

        0 1 0 1 1 | value, store |  0 1 1 0 ... (delay)  | recall

    The sample ends with the recall period. The target, int64 (samples,), is the value that was shown during the store
    period, 0 or 1, equally many of each in either part (one more 0 in an odd number). Nothing but that period tells it:
    other values are drawn independently. A network must hold it for ``delay`` steps, so one that forgets guesses, 50 %.

    Args:
        train: number of training samples, at least 1; default 1000.
        test: number of test samples, at least 1, drawn after the training samples; default 200.
        steps: number of time steps; default 100.
        period: length of the store and the recall period, and of each shown value, in steps; default 10.
        delay: steps from the end of the store period to the start of the recall period, ≥ 0: a number, or (shortest,
            longest), both included, from which each sample draws. Default (20, 60).
        neurons: number of input neurons in each of the four groups; default 1.
        rate: chance of a spike per step of an active neuron, in (0, 1]; default 1.0, a spike in each step.
        distractors: whether values are shown before the store period and during the delay, too; default True.
        seed: of the samples; an integer ≥ 0. Give another one for a third set, e.g. for validation.

    Source: G. Bellec, D. Salaj, A. Subramoney, R. Legenstein, W. Maass, Long short-term memory and learning-to-learn in
        networks of spiking neurons, NeurIPS 2018; S. Hochreiter, J. Schmidhuber, Long Short-Term Memory, Neural
        Computation 9, 1997, for the idea of such tasks.

    Raises:
        DataError: a number is out of range, or the periods and the longest delay do not fit into ``steps``.
    """
    shortest, longest = delay if isinstance(delay, (tuple, list)) else (delay, delay)
    _check_seed("delay_recall", seed)
    if not 0 <= shortest <= longest:
        raise DataError(f"delay_recall: delay={delay!r} must be a number >= 0, or (shortest, longest) in this order")
    if not 0.0 < rate <= 1.0:
        raise DataError(f"delay_recall: rate={rate!r} must be in (0, 1]: the chance of a spike per step")
    if longest + 2 * period > steps:
        raise DataError(
            f"delay_recall: steps={steps} has no room for a store and a recall period of {period} steps each with a "
            f"delay of {longest} steps between them: need steps >= {longest + 2 * period}"
        )
    generator = np.random.default_rng(seed)
    samples = train + test
    targets = np.concatenate([generator.permutation(np.arange(part) % VALUES) for part in (train, test)])
    store = steps - 2 * period - generator.integers(shortest, longest + 1, samples)  # the step it starts at
    # Which period a step is in, counted from the store period; the recall period is apart, at the end.
    time = np.arange(steps)
    place = (time - store[:, None]) // period
    recall = time >= steps - period
    shown = generator.integers(0, VALUES, (samples, 2 * (steps // period) + 3))
    value = np.where(place == 0, targets[:, None], np.take_along_axis(shown, place + steps // period + 1, axis=1))
    seen = ((place == 0) | distractors) & ~recall
    active = np.zeros((samples, steps, CUES), bool)
    for number in range(VALUES):
        active[:, :, number] = seen & (value == number)
    active[:, :, STORE] = place == 0
    active[:, :, RECALL] = recall
    inputs = np.repeat(active, neurons, axis=2)
    if rate < 1.0:
        inputs &= generator.random(inputs.shape, np.float32) < rate
    return Dataset(inputs.astype(np.float32), targets, name="delayed recall", classes=("0", "1")).split(train)


@checked
def adding(train: Size = 1000, test: Size = 200, *, steps: Size = 100, seed: int = 0) -> Tuple[Dataset, Dataset]:
    """The adding problem: the sum of the two marked values of a sequence, as (train, test).

    Inputs are (samples, steps, 2), float32: pass ``time_axis=1`` to `fit`. Feature 0 is a value, uniform in [0, 1).
    Feature 1 marks two of the steps with 1, one drawn from the first half and one from the second; it is 0 elsewhere.
    Targets are float32 (samples, 1): the sum of the two marked values. A network that always answers 1 has a mean
    squared error of 1/6 = 0.167.

    Args:
        train: number of training samples, at least 1; default 1000.
        test: number of test samples, at least 1, drawn after the training samples; default 200.
        steps: number of time steps, at least 2; default 100.
        seed: of the samples; an integer ≥ 0. Give another one for a third set, e.g. for validation.

    Source: S. Hochreiter, J. Schmidhuber, Long Short-Term Memory, Neural Computation 9, 1997; with one mark in each
        half as in M. Arjovsky, A. Shah, Y. Bengio, Unitary Evolution Recurrent Neural Networks, ICML 2016.

    Raises:
        DataError: a number is out of range.
    """
    _check_seed("adding", seed)
    if steps < 2:
        raise DataError(f"adding: steps={steps} must be at least 2: two of them are marked")
    generator = np.random.default_rng(seed)
    samples = train + test
    inputs = np.zeros((samples, steps, 2), np.float32)
    inputs[:, :, 0] = generator.random((samples, steps), np.float32)
    rows, half = np.arange(samples), steps // 2
    marked = (generator.integers(0, half, samples), generator.integers(half, steps, samples))
    for places in marked:
        inputs[rows, places, 1] = 1.0
    targets = sum(inputs[rows, places, 0] for places in marked)
    return Dataset(inputs, targets[:, None], name="adding problem").split(train)


def _check_seed(name: str, seed: int) -> None:
    if seed < 0:
        raise DataError(f"{name}: seed={seed!r} must be an integer >= 0")
