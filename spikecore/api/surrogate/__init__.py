"""Surrogate gradients: they replace the derivative of a spike in the backward pass.

A spike is S = Theta(u), strictly u > 0, with u = U - threshold. Its derivative is zero almost everywhere, so training
replaces it by ``derivative(u)``. Each surrogate has its derivative and its antiderivative. Verification replaces spikes
by the antiderivative, which makes the network smooth, so that finite differences can check gradients (docs/verify.md).
docs/surrogates.md lists all surrogates with their plots.

To write your own, write a frozen dataclass with ``derivative(xp, u)`` in vocabulary words (``api/core/words.py``)::

    @dataclass(frozen=True)
    class boxcar(Surrogate):
        width: float = 1.0

        def derivative(self, xp, u):
            return xp.where(abs(u) < self.width / 2, xp.ones_like(u), xp.zeros_like(u)) / self.width
"""

from spikecore.api.surrogate.base import Surrogate as Surrogate
from spikecore.api.surrogate.pieces import LSO as LSO
from spikecore.api.surrogate.pieces import SFS as SFS
from spikecore.api.surrogate.pieces import heaviside as heaviside
from spikecore.api.surrogate.pieces import piecewise_quadratic as piecewise_quadratic
from spikecore.api.surrogate.pieces import rectangular as rectangular
from spikecore.api.surrogate.pieces import spike_rate_escape as spike_rate_escape
from spikecore.api.surrogate.pieces import straight_through_estimator as straight_through_estimator
from spikecore.api.surrogate.pieces import triangular as triangular
from spikecore.api.surrogate.smooth import atan as atan
from spikecore.api.surrogate.smooth import erf as erf
from spikecore.api.surrogate.smooth import fast_sigmoid as fast_sigmoid
from spikecore.api.surrogate.smooth import gaussian as gaussian
from spikecore.api.surrogate.smooth import multi_gaussian as multi_gaussian
from spikecore.api.surrogate.smooth import piecewise_exponential as piecewise_exponential
from spikecore.api.surrogate.smooth import sigmoid as sigmoid
from spikecore.api.surrogate.smooth import superspike as superspike
from spikecore.api.surrogate.special import SSO as SSO
from spikecore.api.surrogate.special import custom_surrogate as custom_surrogate
