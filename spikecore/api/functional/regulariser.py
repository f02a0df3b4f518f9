"""Regularisers: costs of a network's activity, which are added to a loss.

They read the output's spikes, or those of hidden layers: ``ce_rate_loss() + silence_loss(0.1, layers=("1",))``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional, Sequence

from spikecore.api.core.activation import relu
from spikecore.api.core.engine import Engine
from spikecore.api.core.engines import engine_of
from spikecore.api.core.layer import ShapeError
from spikecore.api.core.words import Array
from spikecore.api.functional.base import LossBase, Spikes
from spikecore.api.functional.steps import Steps
from spikecore.api.functional.targets import as_numbers
from spikecore.arguments import ArrayLike

if TYPE_CHECKING:
    pass


class Regulariser(LossBase):
    """Base of the costs of a network's activity. A subclass is a frozen dataclass and defines ``cost``.

    Attributes:
        Lambda: weight of the cost, finite.
        layers: names of the layers whose spikes count, as in ``out.states``, e.g. ("1", "3"); their costs are added.
            Empty: the output of the last layer.
    """

    Lambda: float
    layers: Sequence[str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))

    def __call__(self, out: Spikes, targets: Optional[ArrayLike] = None, lengths: Optional[ArrayLike] = None) -> Any:
        """The cost of an ``Output`` or of spikes.

        Args:
            out: an ``Output``, or spikes (time, batch, ...); with ``layers`` an ``Output`` that has recorded them.
            targets: not used.
            lengths: how many steps of each sample count, (batch,); None, the default: all.

        Raises:
            TypeError: ``layers`` are named, but ``out`` is an array.
            ShapeError: the spikes have no time or no batch axis.
        """
        if self.layers and not hasattr(out, "states"):
            raise TypeError(f"{self!r} reads layers {', '.join(self.layers)}: pass the network's Output, not an array")
        return self.evaluate(engine_of(getattr(out, "spikes", out)), out, None, lengths)

    def evaluate(self, engine: Engine, out: Any, targets: Any, lengths: Optional[ArrayLike] = None) -> Any:
        read = [out.states[name].spikes for name in self.layers] if self.layers else [getattr(out, "spikes", out)]
        costs = [self._of(engine, as_numbers(engine, spikes), lengths) for spikes in read]
        total = self.Lambda * sum(costs[1:], costs[0])
        return engine.xp.astype(total, engine.dtype)  # NumPy 1 widens a float32 scalar times a number

    def _of(self, engine: Engine, spikes: Any, lengths: Optional[ArrayLike]) -> Any:
        if spikes.ndim < 2 or 0 in spikes.shape:
            raise ShapeError(
                f"{type(self).__name__}: spikes have shape {tuple(spikes.shape)}, expected (time, batch, ...) with at "
                "least one step and one sample"
            )
        return self.cost(engine, spikes, Steps(engine, spikes, lengths))

    def cost(self, engine: Engine, spikes: Array, steps: Steps) -> Any:
        """The cost of one layer's spikes (time, batch, ...), before ``Lambda``; ``steps`` says which count."""
        raise NotImplementedError


@dataclass(frozen=True)
class l1_rate_sparsity(Regulariser):
    """A cost per spike: Lambda times the sum of all spikes.

    Call it on spikes, or add it to a loss: ``ce_rate_loss() + l1_rate_sparsity(1e-4)``.

    Args:
        Lambda: cost of one spike; default 1e-5.
        layers: names of layers whose spikes count, e.g. ("1", "3"); default: the last layer's.
    """

    Lambda: float = 1e-5
    layers: Sequence[str] = ()

    def _of(self, engine: Engine, spikes: Any, lengths: Optional[ArrayLike]) -> Any:
        if lengths is None:  # spikes of any shape, as in snnTorch
            return engine.xp.sum(spikes)
        return super()._of(engine, spikes, lengths)

    def cost(self, engine: Engine, spikes: Array, steps: Steps) -> Any:
        return engine.xp.sum(steps.kept(spikes))


@dataclass(frozen=True)
class event_rate_loss(Regulariser):
    """A cost of rates outside a band: the square of the distance of a layer's mean rate from it.

        r = mean |S[t]| over steps, samples and neurons
        Lambda (max(0, r - max_rate)^2 + max(0, min_rate - r)^2)

    Single neurons may do as they like. Outputs may be graded, and of either sign.

    Args:
        max_rate: rate above which a layer costs, >= ``min_rate``; default 0.01 spikes per neuron and step.
        min_rate: rate below which a layer costs, >= 0; default 0: quiet layers cost nothing.
        Lambda: weight of the cost, finite; default 1.
        layers: names of layers whose spikes count, e.g. ("1", "3"): their costs are added; default: the last layer's.

    Raises:
        ValueError: not 0 <= min_rate <= max_rate.

    Source: ``max_rate`` alone is the event rate loss of Intel's lava-dl.
    """

    max_rate: float = 0.01
    min_rate: float = 0.0
    Lambda: float = 1.0
    layers: Sequence[str] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.min_rate <= self.max_rate:
            raise ValueError(
                f"event_rate_loss: min_rate={self.min_rate!r} and max_rate={self.max_rate!r} must be 0 <= min <= max"
            )

    def cost(self, engine: Engine, spikes: Array, steps: Steps) -> Any:
        rate = engine.xp.mean(steps.mean(engine.xp.abs(spikes)))
        above, below = (relu(engine.xp, x) for x in (rate - self.max_rate, self.min_rate - rate))
        return above * above + below * below


@dataclass(frozen=True)
class silence_loss(Regulariser):
    """A cost of neurons that hardly fire: the square of the missing spikes, averaged over neurons.

        n_i = mean over samples of sum_t S_i[t]
        Lambda mean_i max(0, min_spikes - n_i)^2

    It revives dead neurons: the surrogate gives each of them a gradient. With graded spikes, n_i is their sum.

    Args:
        min_spikes: number of spikes per sequence that a neuron should have on average over the batch, > 0; default 1.
        Lambda: weight of the cost, finite; default 1.
        layers: names of layers whose spikes count, e.g. ("1", "3"): their costs are added; default: the last layer's.

    Raises:
        ValueError: ``min_spikes`` is not positive.

    Source: the lower bound of Zenke and Vogels, The remarkable robustness of surrogate gradient learning, Neural
    Computation 33, 2021. Spyx (``silence_reg``) adds up over neurons.
    """

    min_spikes: float = 1.0
    Lambda: float = 1.0
    layers: Sequence[str] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_positive(self, "min_spikes")

    def cost(self, engine: Engine, spikes: Array, steps: Steps) -> Any:
        missing = relu(engine.xp, self.min_spikes - engine.xp.mean(steps.sum(spikes), axis=0))
        return engine.xp.mean(missing * missing)


@dataclass(frozen=True)
class sparsity_loss(Regulariser):
    """A cost of samples at which a layer fires too much, averaged over samples.

        n_b = mean over neurons of sum_t S_b[t]
        Lambda mean_b h(max(0, n_b - max_spikes)),   h(x) = x^2 / 2 up to 1, x - 1/2 above

    Args:
        max_spikes: number of spikes per neuron and sequence above which a sample costs, > 0; default 10.
        Lambda: weight of the cost, finite; default 1.
        layers: names of layers whose spikes count, e.g. ("1", "3"): their costs are added; default: the last layer's.

    Raises:
        ValueError: ``max_spikes`` is not positive.

    Source: ``sparsity_reg`` of Spyx, which adds up over samples. The upper bound of Zenke and Vogels, Neural
    Computation 33, 2021, is a square without the linear part.
    """

    max_spikes: float = 10.0
    Lambda: float = 1.0
    layers: Sequence[str] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_positive(self, "max_spikes")

    def cost(self, engine: Engine, spikes: Array, steps: Steps) -> Any:
        counts = steps.sum(spikes)
        counts = engine.xp.mean(engine.xp.reshape(counts, (counts.shape[0], -1)), axis=1)
        excess = relu(engine.xp, counts - self.max_spikes)
        square = engine.xp.clip(excess, 0.0, 1.0)
        return engine.xp.mean(0.5 * square * square + (excess - square))


def _check_positive(owner: Regulariser, name: str) -> None:
    value = getattr(owner, name)
    if not value > 0.0:
        raise ValueError(f"{type(owner).__name__}: {name}={value!r} must be > 0")
