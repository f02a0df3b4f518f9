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

from spikecore.on_use import names_on_use

__getattr__, __dir__, __all__ = names_on_use(__name__, "surrogate")
