"""Surrogate gradients; see ``spikecore.api.surrogate``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spikecore.api.core.messages import no_such as _no_such
from spikecore.api.surrogate import LSO as LSO
from spikecore.api.surrogate import SFS as SFS
from spikecore.api.surrogate import SSO as SSO
from spikecore.api.surrogate import Surrogate as Surrogate
from spikecore.api.surrogate import atan as atan
from spikecore.api.surrogate import custom_surrogate as custom_surrogate
from spikecore.api.surrogate import erf as erf
from spikecore.api.surrogate import fast_sigmoid as fast_sigmoid
from spikecore.api.surrogate import gaussian as gaussian
from spikecore.api.surrogate import heaviside as heaviside
from spikecore.api.surrogate import multi_gaussian as multi_gaussian
from spikecore.api.surrogate import piecewise_exponential as piecewise_exponential
from spikecore.api.surrogate import piecewise_quadratic as piecewise_quadratic
from spikecore.api.surrogate import rectangular as rectangular
from spikecore.api.surrogate import sigmoid as sigmoid
from spikecore.api.surrogate import spike_rate_escape as spike_rate_escape
from spikecore.api.surrogate import straight_through_estimator as straight_through_estimator
from spikecore.api.surrogate import superspike as superspike
from spikecore.api.surrogate import triangular as triangular

# snnTorch's autograd classes, ``ATan.apply(u, alpha)``; they need torch
ATan: Any
CustomSurrogate: Any
FastSigmoid: Any
Heaviside: Any
LeakySpikeOperator: Any
Sigmoid: Any
SparseFastSigmoid: Any
SpikeRateEscape: Any
StochasticSpikeOperator: Any
StraightThroughEstimator: Any
Triangular: Any
OPERATORS = tuple(__annotations__)


if not TYPE_CHECKING:  # a type checker that saw it would take any name

    def __getattr__(name: str) -> Any:
        if name in OPERATORS:
            from spikecore.engines.torch.nn import snntorch_names

            return snntorch_names.OPERATORS[name]
        raise _no_such("surrogate", name, globals(), OPERATORS)
