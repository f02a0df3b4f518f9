"""Oracles: the equations as plain float64 loops, written from papers and specification, not from the library."""

from __future__ import annotations

import itertools
import math

import numpy as np

# ---- surrogates: derivative and antiderivative ---------------------------------------------------------------------

erf = np.vectorize(math.erf, otypes=[float])


def normal_density(z):
    return np.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def normal_distribution(z):
    return (1 + erf(z / math.sqrt(2))) / 2


def ring(bell, sigma, height, spread):
    """A bell in the middle, less one shifted to either side."""
    wide = spread * sigma
    return (1 + height) * bell(0.0, sigma) - height * (bell(sigma, wide) + bell(-sigma, wide))


def quadratic(z):
    """The integral of max(0, 1 - |z|) from -1."""
    return np.where(z < 0, (1 + z) ** 2 / 2, 1 - (1 - z) ** 2 / 2)


SURROGATES = {
    "atan": (
        lambda u, alpha=2.0: alpha / 2 / (1 + (np.pi / 2 * alpha * u) ** 2),
        lambda u, alpha=2.0: np.arctan(np.pi / 2 * alpha * u) / np.pi,
    ),
    "fast_sigmoid": (
        lambda u, slope=25.0: (1 + slope * np.abs(u)) ** -2.0,
        lambda u, slope=25.0: u / (1 + slope * np.abs(u)),
    ),
    "sigmoid": (
        lambda u, slope=25.0: slope / (4 * np.cosh(np.clip(slope * u / 2, -300, 300)) ** 2),
        lambda u, slope=25.0: np.exp(-np.logaddexp(0, -slope * u)),
    ),
    "straight_through_estimator": (np.ones_like, lambda u: u),
    "superspike": (
        lambda u, scale, slope: scale / (1 + slope * np.abs(u)) ** 2,
        lambda u, scale, slope: scale * u / (1 + slope * np.abs(u)),
    ),
    "gaussian": (
        lambda u, sigma: normal_density(u / sigma) / sigma,
        lambda u, sigma: normal_distribution(u / sigma),
    ),
    "multi_gaussian": (
        lambda u, sigma, height, spread: ring(lambda m, s: normal_density((u - m) / s) / s, sigma, height, spread),
        lambda u, sigma, height, spread: ring(lambda m, s: normal_distribution((u - m) / s), sigma, height, spread),
    ),
    "erf": (
        lambda u, alpha: alpha / np.sqrt(np.pi) * np.exp(-((alpha * u) ** 2)),
        lambda u, alpha: (1 + erf(alpha * u)) / 2,
    ),
    "piecewise_exponential": (
        lambda u, alpha: alpha / 2 * np.exp(-alpha * np.abs(u)),
        lambda u, alpha: np.where(u <= 0, np.exp(alpha * np.minimum(u, 0)) / 2, 1 - np.exp(-alpha * np.abs(u)) / 2),
    ),
    "heaviside": (lambda u: (u > 0) * 1.0, lambda u: np.maximum(u, 0.0)),
    "LSO": (lambda u, slope: np.where(u > 0, 1.0, slope), lambda u, slope: np.maximum(u, 0) + slope * np.minimum(u, 0)),
    "piecewise_quadratic": (
        lambda u, alpha: alpha * np.maximum(0, 1 - np.abs(alpha * u)),
        lambda u, alpha: quadratic(np.clip(alpha * u, -1, 1)),
    ),
    "rectangular": (
        lambda u, alpha: alpha * (np.abs(alpha * u) < 0.5),
        lambda u, alpha: np.clip(0.5 + alpha * u, 0, 1),
    ),
    "triangular": (
        lambda u, threshold: np.maximum(0, 1 - np.abs(u) / threshold) / threshold,
        lambda u, threshold: quadratic(np.clip(u / threshold, -1, 1)),
    ),
    "spike_rate_escape": (
        lambda u, beta, slope: slope * np.exp(-beta * np.abs(u - 1)),
        lambda u, beta, slope: slope / beta * np.where(
            u <= 1, np.exp(beta * (np.minimum(u, 1) - 1)), 2 - np.exp(-beta * np.abs(u - 1))),
    ),
    "SFS": (
        lambda u, slope, B: (u > B) / (1 + slope * np.abs(u)) ** 2,
        lambda u, slope, B: np.maximum(u, B) / (1 + slope * np.abs(np.maximum(u, B))),
    ),
}  # fmt: skip


def derivative(surrogate):
    """The oracle's derivative for one of the library's surrogates."""
    formula = SURROGATES[type(surrogate).__name__][0]
    return lambda u: formula(u, **vars(surrogate))


# ---- neurons: forward loop and adjoint -----------------------------------------------------------------------------


def leaky(x, mem, beta, theta, gamma, reset="subtract", delayed=True):
    """Spikes and membranes over time, and what the adjoint needs: membrane at fire time, spike and reset indicators."""
    spikes, mems, kept = [], [], []
    for current in x:
        before, fell = mem, np.zeros_like(mem)
        if delayed:
            fell = (before > theta) * 1.0
        decayed = before * (1 - fell) if reset == "zero" else before
        fired_at = beta * decayed + current
        if reset == "subtract":
            fired_at = fired_at - fell * theta
        fired = (fired_at > theta) * 1.0
        mem = fired_at
        if not delayed and reset == "subtract":
            mem = fired_at - fired * theta
        if not delayed and reset == "zero":
            mem = fired_at * (1 - fired)
        spikes.append(gamma * fired)
        mems.append(mem)
        kept.append((before, fell, fired_at, fired))
    return np.stack(spikes), np.stack(mems), kept


def leaky_adjoint(kept, g_spikes, g_mems, beta, theta, gamma, slope, reset="subtract", delayed=True):
    """Gradients by input, first membrane, beta, threshold and gamma, each in the full shape of the neurons.

    The delayed reset is detached; the immediate one is differentiated through the surrogate ``slope``.
    """
    carry = np.zeros_like(g_mems[0])
    by_x, by_beta, by_theta, by_gamma = [], 0.0, 0.0, 0.0
    for (before, fell, fired_at, fired), g_spike, g_mem in reversed(list(zip(kept, g_spikes, g_mems))):
        g = g_mem + carry
        q = gamma * g_spike
        survives = 1.0
        if not delayed and reset == "subtract":
            q = q - g * theta
            by_theta = by_theta - fired * g
        if not delayed and reset == "zero":
            q = q - g * fired_at
            survives = 1 - fired
        through = slope(fired_at - theta) * q
        total = g * survives + through
        by_theta = by_theta - through
        kept_share = (1 - fell) if reset == "zero" else 1.0
        if reset == "subtract":
            by_theta = by_theta - fell * total
        by_x.append(total)
        by_beta = by_beta + kept_share * total * before
        by_gamma = by_gamma + g_spike * fired
        carry = beta * kept_share * total
    return {
        "inputs": np.stack(by_x[::-1]),
        "mem": carry,
        "beta": by_beta,
        "threshold": by_theta,
        "graded_spikes_factor": by_gamma,
    }


def summed_to(full, shape):
    """A gradient in the shape of (batch, *features), summed to that of a broadcast parameter."""
    full = np.asarray(full)
    full = full.sum(axis=tuple(range(full.ndim - len(shape))))
    axes = tuple(i for i, n in enumerate(shape) if n == 1)
    return full.sum(axis=axes, keepdims=True) if axes else full


# ---- normalisation -------------------------------------------------------------------------------------------------


def moments(x, axis):
    """Mean and biased variance over some axes."""
    return np.stack([x.mean(axis), x.var(axis)])


def batch_norm(x, moments, weight, bias, axis, eps):
    """Normalised by statistics of its own, whatever ``moments`` are: so differences see the derivative by x whole."""
    y = (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + eps)
    weight, bias = (v if v is None else np.expand_dims(v, axis) for v in (weight, bias))
    return (y if weight is None else y * weight) + (0 if bias is None else bias)


# ---- space ---------------------------------------------------------------------------------------------------------


def _places(space, kernel, stride, padding, dilation):
    """Shape of the windowed map, and for each place in the kernel and each window the position on the padded map."""
    padded = [n + 2 * p for n, p in zip(space, padding)]
    out = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(padded, kernel, stride, dilation)]
    where = {}
    for number, place in enumerate(itertools.product(*map(range, kernel))):
        for at in itertools.product(*map(range, out)):
            where[(number, *at)] = tuple(a * s + i * d for a, s, i, d in zip(at, stride, place, dilation))
    return (math.prod(kernel), *out), where


def patches(x, kernel, stride, padding, dilation, fill=0.0):
    """Every window, place by place: (batch, channels, *space) -> (batch, channels, window, *space_out)."""
    shape, where = _places(x.shape[2:], kernel, stride, padding, dilation)
    padded = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)], constant_values=fill)
    found = np.empty((*x.shape[:2], *shape))
    for window, position in where.items():
        found[(slice(None), slice(None), *window)] = padded[(slice(None), slice(None), *position)]
    return found


def unpatches(windows, shape, kernel, stride, padding, dilation):
    """The adjoint of ``patches``: every window added back where it came from, the border cut off."""
    _, where = _places(shape[2:], kernel, stride, padding, dilation)
    padded = np.zeros((*shape[:2], *(n + 2 * p for n, p in zip(shape[2:], padding))))
    for window, position in where.items():
        padded[(slice(None), slice(None), *position)] += windows[(slice(None), slice(None), *window)]
    return padded[(slice(None), slice(None), *(slice(p, p + n) for n, p in zip(shape[2:], padding)))]


def linear(x, weight, bias=None):
    """One dot product per row and output."""
    return np.einsum("rf,of->ro", x, weight) + (0.0 if bias is None else bias)


def conv(x, weight, bias, stride, padding, dilation, groups):
    """Cross-correlation, group by group."""
    windows = patches(x, weight.shape[2:], stride, padding, dilation)
    outs = []
    for maps, filters in zip(np.split(windows, groups, axis=1), np.split(weight, groups, axis=0)):
        flat = filters.reshape(len(filters), filters.shape[1], -1)
        outs.append(np.einsum("bcw...,fcw->bf...", maps, flat))
    y = np.concatenate(outs, axis=1)
    return y if bias is None else y + bias.reshape(-1, *(1 for _ in y.shape[2:]))


def conv_transpose(x, weight, bias, stride, padding, output_padding, dilation, groups):
    """Every value of x adds the filter, scaled, where the window would lie that a ``conv`` makes this value of."""
    geometry = list(zip(x.shape[2:], weight.shape[2:], stride, dilation))
    whole = [(n - 1) * s + d * (k - 1) + 1 for n, k, s, d in geometry]
    y = np.zeros((len(x), weight.shape[1] * groups, *(n + extra for n, extra in zip(whole, output_padding))))
    for place in np.ndindex(*weight.shape[2:]):
        where = tuple(slice(i * d, i * d + (n - 1) * s + 1, s) for i, (n, _, s, d) in zip(place, geometry))
        filters = np.split(weight[(slice(None), slice(None), *place)], groups)
        shares = [np.einsum("bc...,cf->bf...", part, own) for part, own in zip(np.split(x, groups, axis=1), filters)]
        y[(slice(None), slice(None), *where)] += np.concatenate(shares, axis=1)
    y = y[(slice(None), slice(None), *(slice(p, n - p) for n, p in zip(y.shape[2:], padding)))]
    return y if bias is None else y + bias.reshape(-1, *(1 for _ in stride))


# ---- random numbers ------------------------------------------------------------------------------------------------


def philox(counter, key, rounds=10):
    """Philox 4x32 in Python's own integers (Salmon et al., 2011)."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(rounds):
        a, b = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (b >> 32) ^ c1 ^ k0, b % 2**32, (a >> 32) ^ c3 ^ k1, a % 2**32
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return c0, c1, c2, c3


# ---- losses --------------------------------------------------------------------------------------------------------


def nll(logits, labels):
    """-log softmax(logits)[label] over the last axis."""
    shifted = logits - logits.max(-1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return -logs[..., np.arange(len(labels)), labels]


def losses(spikes, mem, labels):
    """The four losses per sample, without weights: name -> (batch,) or (batch, classes)."""
    code = np.eye(spikes.shape[2])[labels]
    return {
        "ce_rate_loss": nll(spikes, labels).mean(0),
        "ce_count_loss": nll(spikes.sum(0), labels),
        "mse_count_loss": (spikes.sum(0) - len(spikes) * code) ** 2 / len(spikes),
        "mse_membrane_loss": ((mem - code) ** 2).mean(0),
    }
