"""snnTorch's autograd classes, ``surrogate.ATan`` and the like: ``ATan.apply(u, alpha)`` is ``atan(alpha)(u)``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spikecore.api import surrogate
from spikecore.engines.torch.nn.engine import engine_for, working


class Operator:
    """A surrogate by the name and the call of its autograd class.

    Args:
        name: snnTorch's.
        kind: the surrogate.
    """

    def __init__(self, name: str, kind: Any) -> None:
        self.__name__ = self.__qualname__ = name
        self.kind = kind

    def apply(self, input_: Any, *options: Any) -> Any:
        """Spikes of potentials above threshold; the options are those of the surrogate, which has their defaults."""
        u = working(input_)
        return engine_for(u.device, u.dtype).spike(u, self.kind(*options)).to(input_.dtype)

    if not TYPE_CHECKING:  # type checkers are to refuse it

        def __call__(self, *arguments: Any, **options: Any) -> Any:
            raise TypeError(
                f"surrogate.{self.__name__} is the autograd class, which is not called: write "
                f"surrogate.{self.kind.__name__}(...)"
            )

    def __repr__(self) -> str:
        return f"<{self.__name__}: {self.kind.__name__} by the name of its autograd class>"


KINDS = {
    "StraightThroughEstimator": surrogate.straight_through_estimator, "Triangular": surrogate.triangular,
    "FastSigmoid": surrogate.fast_sigmoid, "ATan": surrogate.atan, "Heaviside": surrogate.heaviside,
    "Sigmoid": surrogate.sigmoid, "SpikeRateEscape": surrogate.spike_rate_escape,
    "StochasticSpikeOperator": surrogate.SSO, "LeakySpikeOperator": surrogate.LSO,
    "SparseFastSigmoid": surrogate.SFS, "CustomSurrogate": surrogate.custom_surrogate,
}  # fmt: skip
OPERATORS = {name: Operator(name, kind) for name, kind in KINDS.items()}
