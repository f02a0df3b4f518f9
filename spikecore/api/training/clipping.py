"""The size of gradients: what it is, a limit on it, and where it is lost."""

from __future__ import annotations

import math
from typing import Dict, Mapping, Optional

from spikecore.api.core.layer import Layer, layer_name
from spikecore.api.core.words import Array, Vocabulary
from spikecore.api.layers.containers import walk

Squares = Mapping[str, float]  # of gradients by the name of their parameter, each summed over its entries


class DivergedError(ArithmeticError):
    """Training has produced NaN or infinity; the message says where, and how to continue."""


class GradientError(ArithmeticError):
    """The gradient of a finite loss is not finite; the message says in which layer."""


def squares_of(xp: Vocabulary, grads: Dict[str, Array]) -> Squares:
    """The squares of gradients by name."""
    return {name: float(xp.sum(g * g)) for name, g in grads.items()}


def norm_of(squares: Mapping[str, float]) -> float:
    """The Euclidean norm of all gradients together."""
    return float(sum(squares.values()) ** 0.5)


def clipped(grads: Dict[str, Array], squares: Mapping[str, float], clip_norm: Optional[float]) -> Dict[str, Array]:
    """Gradients by name, all scaled alike so that their Euclidean norm is at most ``clip_norm``; None: as they are.

    The norm is that of all of them together, as in ``torch.nn.utils.clip_grad_norm_``.
    """
    if clip_norm is None:
        return grads
    factor = min(1.0, clip_norm / (norm_of(squares) + 1e-6))
    return {name: g * factor for name, g in grads.items()}


def check_gradients(network: Layer, squares: Squares) -> None:
    """Refuse gradients that are not finite, or whose squares are not.

    A gradient goes backwards from the loss, and so does what is wrong with it: of the parameters in the order of the
    layers, the last one is where it begins.

    Raises:
        GradientError: names the layer and the parameter.
    """
    if math.isfinite(sum(squares.values())):  # all that is done for a training that goes well
        return
    wrong = [name for name, square in squares.items() if not math.isfinite(square)] or [largest(squares)]
    raise GradientError(
        "the gradient is not finite, or too large to be squared: on its way back from the loss, which is finite, it "
        f"grows so in {place_of(network, wrong[-1])}, where a narrower surrogate, e.g. "
        "surrogate.fast_sigmoid(slope=25), or sc.BPTT(window=...) keep it smaller"
    )


def largest(squares: Squares) -> str:
    """The parameter with the largest gradient."""
    return max(squares, key=lambda name: squares[name])


def place_of(network: Layer, parameter: str) -> str:
    """A parameter and its layer, in words."""
    kinds = [layer_name(layer) for name, layer in walk(network) if parameter.startswith(f"{name}." if name else "")]
    return f"{parameter} ({', '.join(kinds)})"
