"""The names of ``spikecore.api.surrogate``, each imported on first use."""

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
