"""Random codes: spikes are drawn with a probability; with a seed they are bit-identical on every engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Optional, Tuple

from spikecore.api.core.extras import ComparedDraws, extra
from spikecore.api.core.tree import Params, State
from spikecore.api.spikegen.checks import said_if_clipped, steps_of, stream_of, taken, whole
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

    Floats outside [0, 1] are clipped, with a ``TrainingWarning`` if gain and offset are left as they are. Integer data
    with probabilities above 1 are refused, since they are usually images that were not scaled.

    Args:
        data: (batch, *features), or (time, batch, *features) with ``time_var_input``; (time,) is a single train.
        num_steps: T, the number of steps, for a static input; leave it out with ``time_var_input``.
        gain, offset: slope and offset from data to probability; defaults 1 and 0.
        first_spike_time: there is no spike before this step (static input); default 0.
        time_var_input: whether ``data`` have a time axis, so that each step has its own value; default False.
        seed: names the random stream: equal seeds give equal spikes on every engine. None, the default: each call gives
            other spikes, from ``np.random.seed`` for arrays and from ``torch.manual_seed`` for tensors.
        first: number of the batch's first sample; default 0.

    Returns:
        Zeros and ones, (T, batch, *features).

    Raises:
        ValueError: ``num_steps`` is missing, below 1, or given with ``time_var_input``; ``first_spike_time`` is out of
            range; or integer data give probabilities above 1.
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
    chance = _chance("rate", data, engine, gain * x + offset)
    if gain == 1.0 and offset == 0.0:
        said_if_clipped("rate", engine, chance)
    probability = engine.xp.clip(chance, 0.0, 1.0)
    axis = 1 if len(shape) > 1 else None
    spikes = extra(engine, ComparedDraws).spikes(engine, stream_of(engine, seed), shape, probability, axis, first)
    if first_spike_time:
        silent = engine.xp.zeros_like(spikes[:first_spike_time, ...])
        spikes = engine.xp.concat([silent, spikes[first_spike_time:, ...]], axis=0)
    return spikes


@checked
def rate_conv(data: ArrayLike, *, seed: Optional[Seed] = None, first: int = 0, sample_axis: Optional[int] = 0) -> Any:
    """Converts each number to a spike with probability clip(x, 0, 1) (snnTorch ``rate_conv``).

    Args:
        data: any shape.
        seed: names the random stream: equal seeds give equal spikes on every engine. None, the default: each call gives
            other spikes, from ``np.random.seed`` for arrays and from ``torch.manual_seed`` for tensors.
        first: number of the first sample; default 0.
        sample_axis: axis that counts samples: 0, the default; 1 for sequences; None for a single sample.

    Returns:
        Zeros and ones in the shape of ``data``.

    Raises:
        ValueError: ``sample_axis`` is not an axis of ``data``, or data are integers above 1.
    """
    engine, x = taken("rate_conv", data)
    chance = _chance("rate_conv", data, engine, x)
    said_if_clipped("rate_conv", engine, chance)
    chance, shape = engine.xp.clip(chance, 0.0, 1.0), tuple(x.shape)
    return extra(engine, ComparedDraws).spikes(engine, stream_of(engine, seed), shape, chance, sample_axis, first)


def _chance(name: str, data: ArrayLike, engine: Any, probability: Any) -> Any:
    """Refuse integer data that give probabilities above 1: mostly images of 0 to 255, where every pixel would fire."""
    kind = str(getattr(data, "dtype", ""))
    if "int" in kind and (engine.to_numpy(probability) > 1.0).any():
        raise ValueError(
            f"{name}: data of dtype {kind.rpartition('.')[2]} make probabilities above 1: divide by the largest value, "
            "for 8-bit images data / 255"
        )
    return probability


@dataclass(frozen=True)
class _Refractory:
    """Passes a spike on if there was none in the last ``period`` steps."""

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

    Outside of its refractory period, a neuron fires with probability x per step. The mean interval is refractory + 1/x
    steps, so the rate is below x. With ``compensate`` the probability is x / (1 - refractory x), which gives the rate x
    up to the highest possible rate, 1 / (refractory + 1).

    Args:
        data: (batch, *features), probabilities per step; clipped to [0, 1].
        num_steps: T, the number of steps, >= 1.
        refractory: number of silent steps after a spike, >= 0; default 0.
        compensate: whether to raise the probability so that the rate is x; default False.
        seed: names the random stream: equal seeds give equal spikes on every engine. None, the default: each call gives
            other spikes, from ``np.random.seed`` for arrays and from ``torch.manual_seed`` for tensors.
        first: number of the batch's first sample; default 0.

    Returns:
        Zeros and ones, (T, batch, *features).

    Raises:
        ValueError: ``num_steps`` or ``refractory`` is out of range, or data have no batch axis.

    Source: Dayan and Abbott, Theoretical Neuroscience, 2001, section 1.4.
    """
    whole("refractory", "poisson", refractory, 0)
    engine, x = taken("poisson", data)
    xp = engine.xp
    steps = steps_of("poisson", num_steps)
    if not x.ndim:
        raise ValueError("poisson: data of shape () has no batch axis")
    said_if_clipped("poisson", engine, x)
    x = xp.clip(x, 0.0, 1.0)
    if compensate:
        x = xp.where(x * (refractory + 1) < 1.0, x / xp.clip(1.0 - refractory * x, 1e-7, 1.0), xp.ones_like(x))
    spikes = extra(engine, ComparedDraws).spikes(engine, stream_of(engine, seed), (steps, *x.shape), x, 1, first)
    if not refractory:
        return spikes
    spaced, _, _ = engine.scan(_Refractory(refractory), Params(), State(wait=xp.zeros_like(x)), spikes, steps=steps)
    return spaced
