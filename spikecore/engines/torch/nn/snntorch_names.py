"""snnTorch's names that this library does not need, for programs that use them.

``SpikingNeuron.instances`` is a list of the neurons that are alive. ``surrogate.ATan.apply(u, alpha)`` is
``atan(alpha)(u)``. Constructors call ``_beta_buffer`` and others, so that a subclass can override them.
"""

from __future__ import annotations

import itertools
import weakref
from typing import TYPE_CHECKING, Any, Iterable, Iterator

from spikecore.api import surrogate
from spikecore.engines.torch.nn.engine import engine_for, working

#: What registers a value.
HOOKS = {"alpha": "_alpha_register_buffer", "beta": "_beta_buffer"}
#: What snnTorch's constructors call, and those here do not.
NOT_CALLED = (
    "_snn_cases _reset_cases _snn_register_buffer _lif_register_buffer _reset_mechanism_buffer _alpha_cases "
    "_lapicque_cases _rleaky_init_cases _rsynaptic_init_cases _sconv2dlstm_cases _tau_buffer _surrogate_bypass"
).split()


class Instances:
    """``SpikingNeuron.instances``: the neurons that are alive, in the order of their making; it keeps none alive.

    Nothing in this library reads it.
    """

    def __init__(self, items: Iterable[Any] = ()) -> None:
        self._alive: Any = weakref.WeakValueDictionary()
        self._count = itertools.count()
        for item in items:
            self.append(item)

    def append(self, item: Any) -> None:
        """Add a neuron."""
        self._alive[next(self._count)] = item

    def __len__(self) -> int:
        return len(self._alive)

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._alive.values()))

    def __getitem__(self, index: Any) -> Any:
        return list(self)[index]

    def __repr__(self) -> str:
        return f"Instances of {len(self)} neurons"


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
