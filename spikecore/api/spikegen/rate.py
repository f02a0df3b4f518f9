"""Random codes: spikes drawn with a probability; with a seed bit-identical on every engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Optional, Tuple

from spikecore.api.core.tree import Params, State
from spikecore.api.spikegen.checks import steps_of, stream_of, taken, whole
from spikecore.arguments import ArrayLike, Seed, Size, checked


@checked
def rate(
    data: ArrayLike,
    num_steps: Optional[Size] = None,
    gain: float = 1.0,
    offset: float = 0.0,
    first_spike_time: int = 0,
    time_var_input: bool = False,
    *,
    seed: Optional[Seed] = None,
    first: int = 0,
) -> Any:
    """Rate code: a spike at each step with probability clip(gain x + offset, 0, 1) (snnTorch ``rate``).

    Floats outside [0, 1] are clipped; whole numbers above 1 are refused, since nearly always an image was not scaled.

    Args:
        data: (batch, *features), or (time, batch, *features) with ``time_var_input``; (time,) is a single train.
        num_steps: T; for a static input only.
        gain, offset: straight line from data to probability.
        first_spike_time: no spike before this step (static input).
        time_var_input: whether ``data`` already have a time axis; then each step uses its own value.
        seed: names the random stream: equal seeds, equal spikes, on every engine. Without it each call draws anew,
            governed by ``np.random.seed`` for arrays, by ``torch.manual_seed`` for tensors.
        first: running number of the batch's first sample.

    Returns:
        Zeros and ones, (T, batch, *features).

    Raises:
        ValueError: ``num_steps`` missing, below 1, or given with ``time_var_input``; ``first_spike_time`` out of range;
            whole numbers that make probabilities above 1.
    """
    engine, x = taken("rate", data)
    if time_var_input:
        if num_steps is not None or first_spike_time:
            raise ValueError(
                "rate: with time_var_input=True the steps come from data; leave out num_steps, first_spike_time"
            )
        shape = tuple(x.shape)
    else:
        shape = (steps_of("rate", num_steps, first_spike_time), *x.shape)
    if len(shape) < 2 and not time_var_input:
        raise ValueError(f"rate: data of shape {tuple(x.shape)} has no batch axis")
    probability = engine.xp.clip(_chance("rate", data, engine, gain * x + offset), 0.0, 1.0)
    draws = engine.uniform(stream_of(engine, seed), shape, sample_axis=1 if len(shape) > 1 else None, first=first)
    spikes = engine.xp.astype(draws < probability, engine.dtype)
    if first_spike_time:
        silent = engine.xp.zeros_like(spikes[:first_spike_time, ...])
        spikes = engine.xp.concat([silent, spikes[first_spike_time:, ...]], axis=0)
    return spikes


@checked
def rate_conv(data: ArrayLike, *, seed: Optional[Seed] = None, first: int = 0, sample_axis: Optional[int] = 0) -> Any:
    """A spike for each number with probability clip(x, 0, 1) (snnTorch ``rate_conv``).

    Args:
        data: any shape.
        seed: names the random stream: equal seeds, equal spikes, on every engine. Without it each call draws anew,
            governed by ``np.random.seed`` for arrays, by ``torch.manual_seed`` for tensors.
        first: running number of the first sample.
        sample_axis: axis along which samples lie; 1 for sequences, None for a single sample.

    Returns:
        Zeros and ones in the shape of ``data``.

    Raises:
        ValueError: ``sample_axis`` is no axis of ``data``; whole numbers above 1.
    """
    engine, x = taken("rate_conv", data)
    draws = engine.uniform(stream_of(engine, seed), tuple(x.shape), sample_axis=sample_axis, first=first)
    return engine.xp.astype(draws < engine.xp.clip(_chance("rate_conv", data, engine, x), 0.0, 1.0), engine.dtype)


def _chance(name: str, data: ArrayLike, engine: Any, probability: Any) -> Any:
    """Refuse whole numbers that are no probabilities: mostly an image of 0 to 255, every pixel of which would fire."""
    kind = str(getattr(data, "dtype", ""))
    if "int" in kind and (engine.to_numpy(probability) > 1.0).any():
        raise ValueError(
            f"{name}: data of dtype {kind.rpartition('.')[2]} make probabilities above 1: divide by the largest value, "
            "for 8-bit images data / 255"
        )
    return probability


@dataclass(frozen=True)
class _Refractory:
    """Lets a spike through if none has come in the ``period`` steps before."""

    period: int

    state: ClassVar[Tuple[str, ...]] = ("wait",)

    def step(self, engine: Any, params: Params, state: State, spikes: Any) -> Tuple[Any, State]:
        xp = engine.xp
        spikes = spikes * xp.astype(state.wait <= 0.0, engine.dtype)
        wait = xp.clip(state.wait - 1.0, 0.0, float(self.period))
        return spikes, State(wait=xp.where(spikes > 0.0, xp.zeros_like(wait) + self.period, wait))


@checked
def poisson(
    data: ArrayLike,
    num_steps: Optional[Size] = None,
    refractory: int = 0,
    compensate: bool = False,
    *,
    seed: Optional[Seed] = None,
    first: int = 0,
) -> Any:
    """Poisson spikes with a refractory period: after a spike, none for ``refractory`` steps.

    A neuron that may fire does so with probability x. The mean interval is refractory + 1/x steps, so the rate falls
    below x. ``compensate`` fires with x / (1 - refractory x) instead, which keeps the rate at x up to the highest
    possible one, 1 / (refractory + 1).

    Args:
        data: (batch, *features), probabilities per step; clipped to [0, 1].
        num_steps: T >= 1.
        refractory: silent steps after a spike, >= 0.
        compensate: whether to make up for the silence.
        seed: names the random stream: equal seeds, equal spikes, on every engine. Without it each call draws anew,
            governed by ``np.random.seed`` for arrays, by ``torch.manual_seed`` for tensors.
        first: running number of the batch's first sample.

    Returns:
        Zeros and ones, (T, batch, *features).

    Raises:
        ValueError: ``num_steps`` or ``refractory`` out of range; no batch axis.

    Source: Dayan and Abbott, Theoretical Neuroscience, 2001, section 1.4.
    """
    whole("refractory", "poisson", refractory, 0)
    engine, x = taken("poisson", data)
    xp = engine.xp
    steps = steps_of("poisson", num_steps)
    if not x.ndim:
        raise ValueError("poisson: data of shape () has no batch axis")
    x = xp.clip(x, 0.0, 1.0)
    if compensate:
        x = xp.where(x * (refractory + 1) < 1.0, x / xp.clip(1.0 - refractory * x, 1e-7, 1.0), xp.ones_like(x))
    draws = engine.uniform(stream_of(engine, seed), (steps, *x.shape), sample_axis=1, first=first)
    spikes = xp.astype(draws < x, engine.dtype)
    if not refractory:
        return spikes
    kept, _, _ = engine.scan(_Refractory(refractory), Params(), State(wait=xp.zeros_like(x)), spikes, steps=steps)
    return kept
