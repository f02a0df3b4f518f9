"""Draws inside a step: a random number generator whose state is a neuron's, in words that compute it without rounding.

A draw is a pure function of seed, layer, sample, neuron and step. Its generator is state, beside the membrane: three
whole numbers below 2^15, which every step multiplies. All products are below 2^24, so float32 holds them exactly, and
every engine, kernel and exported program gets the same bits, however it orders or contracts its operations. No engine
needs a word of its own for it.

    s_i' = a_i s_i mod m_i                  a = 157, 146, 142;  m = 32363, 31727, 31657
    Z    = s_1' - s_2' + s_3' mod 32362     p = (Z + 1/2) / 32362, which lies in (0, 1)

Source: L'Ecuyer, Efficient and portable combined random number generators, Communications of the ACM 31(6), 1988, its
generator for 16-bit machines; the period is 8.1 * 10^12.

Before the first step Philox (``random.py``) draws the states, other ones for each neuron and sample.
"""

from __future__ import annotations

from typing import Any, Dict, Literal, Optional, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.random import Key
from spikecore.api.core.tree import State

Distribution = Literal["normal", "uniform", "logistic"]

GENERATOR = ((157, 32363), (146, 31727), (142, 31657))  # multiplier and modulus
VALUES = GENERATOR[0][1] - 1  # how many values Z has
#: Names of the states of a neuron that are those of its generator.
DRAWS = ("draw_1", "draw_2", "draw_3")

# The quantile function of each distribution with mean 0, for d = p - (1 - p) and w = p (1 - p), in units of VALUES, is
# d (slope + sum of c / (w + e)) with the pairs (c, e). They were fitted to the VALUES values of p by least squares; the
# distribution functions are off by 4.6e-5 ("normal") and 1.4e-5 ("logistic") at most, a value of p weighs 3.1e-5.
# No root and no logarithm, since libraries round these differently; quotients are correctly rounded by IEEE 754. Slopes
# before pairs are powers of two, and every other product goes into a quotient or is rounded: a compiler that contracts
# a b + c to one rounding changes nothing.
QUANTILES: Dict[str, Tuple[float, Tuple[Tuple[float, float], ...]]] = {
    "normal": (
        2.0**-16,
        ((3.6190267, 108981.0), (98.32293, 3532704.0), (1221.7758, 44422928.0), (14681.47, 507941824.0)),
    ),
    "uniform": (3.0**0.5 / VALUES, ()),
    "logistic": (
        0.0,
        (
            (5.1655981, 43881.85),
            (86.376145, 1039097.3),
            (750.46041, 11430616.0),
            (5223.8643, 92727376.0),
            (73320.05, 1406101632.0),
        ),
    ),
}


def first_draws(engine: Engine, path: Tuple[Any, ...], shape: Tuple[int, ...], first: int = 0) -> Tuple[Any, ...]:
    """States of generators before the first step, (batch, ...): whole numbers from 1 to m - 1.

    Args:
        engine: the engine.
        path: names the draws, see ``Key``.
        shape: (batch, *neurons).
        first: number of the first sample.

    Raises:
        ValueError: the engine computes in float16, which has no whole numbers of that size.
    """
    if engine.dtype == "float16":
        raise ValueError(
            "noise: its generator needs whole numbers up to 2^24, which float16 has not: compute in float32, half=False"
        )
    xp = engine.xp
    drawn = engine.uniform(path, (*shape, len(GENERATOR)), sample_axis=0, first=first)
    whole = xp.floor(drawn * 2.0**15)  # a power of two: exact, so that float32 and float64 begin alike
    return tuple(_wrapped(xp, whole[..., i], m - 1) + 1.0 for i, (_, m) in enumerate(GENERATOR))


def restarted(engine: Engine, resting: State, seed: int, path: str = "", key: Optional[Key] = None) -> State:
    """States at rest whose generator begins elsewhere for each seed, layer, key, sample and neuron.

    All of them name the draws of Philox: two generators that a constant parts would stay that near to each other.

    Args:
        engine: the engine.
        resting: the states of a layer at rest.
        seed: that of the noise.
        path: dotted name of the layer.
        key: of the pass; None: all such passes draw the same.
    """
    names, first = ((), 0) if key is None else (key.path, key.first)
    begun = first_draws(engine, (*names, "noise", seed, path), tuple(resting[DRAWS[0]].shape), first)
    return resting.replace(**dict(zip(DRAWS, begun)))


def _wrapped(xp: Any, whole: Any, count: int) -> Any:
    """Whole numbers below twice ``count``, modulo ``count``."""
    return xp.where(whole >= count, whole - count, whole)


def draw(engine: Engine, states: Tuple[Any, ...], distribution: Optional[Distribution]) -> Tuple[Any, Tuple[Any, ...]]:
    """A draw, and the generator's next states; no gradient passes.

    A floor is that of the exact quotient: this is no whole number, as m is prime, so it is 1 / m away from one, which
    is more than the rounding of the quotient, 157 * 2^-23.

    Args:
        engine: the engine.
        states: the generator's.
        distribution: "normal", of mean 0 and variance 1; "uniform", the same from -sqrt(3) to sqrt(3); "logistic", of
            the distribution function 1 / (1 + exp(-x)), with the variance pi^2 / 3; None: p, in (0, 1).
    """
    xp, after = engine.xp, []
    for state, (a, m) in zip(states, GENERATOR):
        product = state * float(a)
        after.append(product - xp.floor(product * (1.0 / m)) * float(m))
    whole = after[0] - after[1] + after[2]
    whole = whole - xp.floor((whole + 0.5) * (1.0 / VALUES)) * float(VALUES)
    value = (whole + 0.5) * (1.0 / VALUES) if distribution is None else variate(xp, whole, distribution)
    return engine.stop_gradient(value), tuple(map(engine.stop_gradient, after))


def variate(xp: Any, whole: Any, distribution: Distribution) -> Any:
    """The quantile of a distribution for Z, a whole number from 0 to VALUES - 1."""
    slope, pairs = QUANTILES[distribution]
    difference = whole * 2.0 - (VALUES - 1.0)
    total = difference * slope if slope else 0.0
    if pairs:
        product = xp.round((whole + 0.5) * (VALUES - 0.5 - whole))
        for c, e in pairs:
            total = total + (difference * c) / (product + e)
    return total
