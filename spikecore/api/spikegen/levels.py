"""Deterministic codes of constant values: direct current, bursts, binary phases, Gaussian receptive fields."""

from __future__ import annotations

from typing import Any, Optional

from spikecore.api.core.engines import engine_of
from spikecore.api.spikegen.checks import clock, said_if_outside, steps_of, taken, unit_interval, whole
from spikecore.arguments import ArrayLike, Size, checked


@checked
def constant(data: ArrayLike, num_steps: Size) -> Any:
    """Constant current (direct coding): the data are repeated at every step.

    Args:
        data: (batch, *features).
        num_steps: T, the number of steps, >= 1.

    Returns:
        (T, batch, *features). A model called with ``num_steps`` does the same without copying.

    Raises:
        ValueError: the data hold NaN or infinity.
    """
    engine, x = taken("constant", data)
    return engine.xp.broadcast_to(engine.xp.expand_dims(x, axis=0), (steps_of("constant", num_steps), *x.shape)) * 1.0


@checked
def burst(
    data: ArrayLike,
    num_steps: Optional[Size] = None,
    max_spikes: int = 5,
    shortest: int = 1,
    longest: Optional[int] = None,
) -> Any:
    """Burst code: a large value becomes many spikes at short intervals, from the first step on.

        number    n = ceil(max_spikes x)
        interval  d = ceil(longest - (longest - shortest) x)
        spikes at the steps 0, d, ..., (n - 1) d

    Args:
        data: (batch, *features) in [0, 1].
        num_steps: T, the number of steps, >= 1.
        max_spikes: number of spikes for the value 1, >= 1; default 5.
        shortest: interval for the value 1, in steps, >= 1; default 1.
        longest: interval for the value 0, in steps; None, the default, is the longest for which every burst fits.

    Returns:
        Zeros and ones, (T, batch, *features).

    Raises:
        ValueError: data or an argument is out of range, or a burst does not fit.

    Source: Guo et al., Neural coding in spiking neural networks: a comparative study for robust neuromorphic systems,
    Frontiers in Neuroscience 15, 2021.
    """
    engine, x = taken("burst", data)
    xp = engine.xp
    steps = steps_of("burst", num_steps)
    whole("max_spikes", "burst", max_spikes, 1)
    whole("shortest", "burst", shortest, 1)
    room = (steps - 1) // (max_spikes - 1) if max_spikes > 1 else steps
    if shortest > room:
        raise ValueError(
            f"burst: max_spikes={max_spikes} at intervals of shortest={shortest} do not fit into num_steps={steps}; "
            f"raise num_steps to at least {(max_spikes - 1) * shortest + 1}"
        )
    longest = room if longest is None else whole("longest", "burst", longest, shortest, room)
    unit_interval("burst", engine, x)
    number, interval = xp.ceil(max_spikes * x), xp.ceil(longest - (longest - shortest) * x)
    ticks = clock(engine, steps, x.ndim)
    order = xp.floor(ticks / xp.expand_dims(interval, axis=0))
    hit = (ticks == order * xp.expand_dims(interval, axis=0)) & (order < xp.expand_dims(number, axis=0))
    return xp.astype(hit, engine.dtype)


@checked
def phase(data: ArrayLike, num_steps: Optional[Size] = None, period: int = 8, weighted: bool = False) -> Any:
    """Phase code: the binary digits of the value, the highest first, repeated.

        k = floor(2^period x),  at most 2^period - 1
        step t holds digit period - 1 - (t mod period) of k

    Args:
        data: (batch, *features) in [0, 1].
        num_steps: T, the number of steps, >= 1; a multiple of ``period`` repeats the value a whole number of times.
        period: number of digits, in [1, 16]; default 8.
        weighted: whether a spike has the size of its digit, 2^-(1 + t mod period), so that a period sums to
            k / 2^period; default False.

    Returns:
        Zeros and ones, or weighted spikes, (T, batch, *features).

    Raises:
        ValueError: data or an argument is out of range.

    Source: Kim et al., Deep neural networks with weighted spikes, Neurocomputing 311, 2018.
    """
    engine, x = taken("phase", data)
    xp = engine.xp
    steps = steps_of("phase", num_steps)
    whole("period", "phase", period, 1, 16)
    unit_interval("phase", engine, x)
    code = xp.expand_dims(xp.clip(xp.floor(2.0**period * x), 0.0, 2.0**period - 1.0), axis=0)
    sizes = [2.0 ** (period - 1 - t % period) for t in range(steps)]
    size = xp.reshape(engine.asarray(sizes), (steps,) + (1,) * x.ndim)
    digits = xp.floor(code / size) - 2.0 * xp.floor(code / (2.0 * size))
    return digits * size * 2.0**-period if weighted else digits


@checked
def receptive_fields(data: ArrayLike, neurons: int = 8, low: float = 0.0, high: float = 1.0, beta: float = 1.5) -> Any:
    """Converts each value to the responses of a population of neurons with Gaussian receptive fields.

        g_i = exp(-(x - mu_i)^2 / (2 sigma^2))      mu_i = low + (2 i - 1)/2 w,  i = 0 .. neurons - 1
        w = (high - low) / (neurons - 2)            sigma = w / beta

    Args:
        data: (batch, ..., features); or (batch,), one feature.
        neurons: neurons per feature, >= 3; default 8.
        low, high: range of the data, low < high; defaults 0 and 1. The outermost centres lie w/2 outside. If more than
            a tenth of the data lie more than w outside, there is a ``TrainingWarning``.
        beta: how narrow the fields are, > 0; default 1.5. Between 1 and 2 neighbouring fields overlap well.

    Returns:
        (batch, ..., features * neurons) in (0, 1], the neurons of a feature next to each other. ``rate`` encodes it as
        random spikes, ``population`` as spike times.

    Raises:
        ValueError: an argument is out of range.

    Source: Bohte, Kok and La Poutre, Error-backpropagation in temporally encoded networks of spiking neurons,
    Neurocomputing 48, 2002.
    """
    whole("neurons", "receptive_fields", neurons, 3)
    if not high > low or not beta > 0:
        raise ValueError(f"receptive_fields: high={high!r} must exceed low={low!r}, and beta={beta!r} be > 0")
    engine, x = taken("receptive_fields", data)
    xp = engine.xp
    width = (high - low) / (neurons - 2)
    said_if_outside("receptive_fields", engine, x, low, high, width)
    centres = engine.asarray([low + (2 * i - 1) / 2 * width for i in range(neurons)])
    distance = (xp.expand_dims(x, axis=-1) - centres) / (width / beta)
    response = xp.exp(-0.5 * distance * distance)
    return xp.reshape(response, (*x.shape[:-1], x.shape[-1] * neurons)) if x.ndim > 1 else response


@checked
def population(
    data: ArrayLike,
    num_steps: Optional[Size] = None,
    neurons: int = 8,
    low: float = 0.0,
    high: float = 1.0,
    beta: float = 1.5,
    cutoff: float = 0.1,
) -> Any:
    """Population code: each neuron of ``receptive_fields`` fires once; the stronger its response, the earlier.

    Neuron i fires at step round((1 - g_i)(T - 1)), halves to even, or never if g_i < ``cutoff``.

    Args:
        data: (batch, ..., features); or (batch,), one feature.
        num_steps: T, the number of steps, >= 1.
        neurons, low, high, beta: as in ``receptive_fields``.
        cutoff: neurons with a weaker response do not fire, in [0, 1]; default 0.1.

    Returns:
        Zeros and ones, (T, batch, ..., features * neurons).

    Raises:
        ValueError: an argument is out of range.

    Source: Bohte, Kok and La Poutre, see ``receptive_fields``.
    """
    steps = steps_of("population", num_steps)
    if not 0.0 <= cutoff <= 1.0:
        raise ValueError(f"population: cutoff={cutoff!r} must be in [0, 1]")
    response = receptive_fields(data, neurons, low, high, beta)
    engine = engine_of(response)
    xp = engine.xp
    times = xp.expand_dims(xp.round((1.0 - response) * (steps - 1)), axis=0)
    hit = (clock(engine, steps, response.ndim) == times) & xp.expand_dims(response >= cutoff, axis=0)
    return xp.astype(hit, engine.dtype)
