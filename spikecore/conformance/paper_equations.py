"""Update equations of neurons that papers bring, written out on NumPy arrays, and the loop over time of all equations.

``equations.py`` has the other neurons, and the cases.
"""

from __future__ import annotations

import math

import numpy as np


def loop(x, step, *states):
    """Run ``step(current, *states) -> (output, *states)`` over time."""
    out = []
    for current in x:
        y, *states = step(current, *states)
        out.append(y)
    return np.stack(out)


def above(u, theta):
    return (u > theta).astype("float64")


def sigma(x):
    return 1.0 / (1.0 + np.exp(-x))


def plif(x, w):
    def step(i, v):
        h = v + (i - v) / 4.0
        fired = above(h, 0.2)
        return fired, h * (1.0 - fired)

    return loop(x, step, np.zeros_like(x[0]))


def klif(x, w):
    def step(i, v):
        f = np.maximum(0.0, 1.5 * (v + (i - v) / 4.0))
        fired = above(f, 0.3)
        return fired, f - 0.3 * fired

    return loop(x, step, np.zeros_like(x[0]))


def glif(x, w):
    alpha, beta, gamma, tau, leak, soft, g = 0.6, 0.3, 0.7, 0.25, 0.05, 0.4, sigma(w["conduct"])
    out, v, s = [], np.zeros_like(x[0]), np.zeros_like(x[0])
    for t, i in enumerate(x):
        by_leak = (1.0 - alpha * (1.0 - tau)) * v - (1.0 - alpha) * leak
        by_reset = gamma * (1.0 - alpha * (1.0 - tau)) * v * s + (1.0 - gamma) * soft * s
        v = by_leak - by_reset + (1.0 - beta * (1.0 - g[min(t, 2)])) * i
        s = above(v, 0.5)
        out.append(s)
    return np.stack(out)


def clif(x, w):
    def step(i, v, m):
        h = v - v / 2.0 + i
        fired = above(h, 0.8)
        m = m * sigma(h / 2.0) + fired
        return fired, h - fired * (0.8 + sigma(m)), m

    return loop(x, step, np.zeros_like(x[0]), np.zeros_like(x[0]))


def liaf(x, w):
    def step(i, v):
        h = 0.8 * v + i
        return np.tanh(h - 0.6), np.where(h > 0.6, 0.0, h)

    return loop(x, step, np.zeros_like(x[0]))


def qif(x, w):
    def step(i, v):
        h = v + (i + 1.2 * (v - 0.1) * (v - 0.5)) / 2.0
        return above(h, 0.6), np.where(h > 0.6, -0.2, h)

    return loop(x, step, np.full_like(x[0], -0.2))


def eif(x, w):
    def step(i, v):
        h = v + (i - (v - 0.1) + 0.7 * np.exp((v - 0.9) / 0.7)) / 2.0
        return above(h, 0.9), np.where(h > 0.9, -0.2, h)

    return loop(x, step, np.full_like(x[0], -0.2))


def adex(x, w):
    def step(i, v, a):
        h = v + (i - (v - 0.1) + 0.5 * np.exp((v - 0.8) / 0.5) - a) / 2.0
        fired = h > 0.7
        a = a + (0.2 * (v - 0.1) - a) / 5.0 + 0.3 * fired
        return fired.astype("float64"), np.where(fired, -0.2, h), a

    return loop(x, step, np.full_like(x[0], -0.2), np.zeros_like(x[0]))


def ilif(x, w):
    def step(i, v):
        h = 0.5 * v + i
        count = np.clip(np.floor(h / 0.3 + 0.5), 0, 3)
        return count, h - 0.3 * count

    return loop(x, step, np.zeros_like(x[0]))


def ternary(x, w):
    def step(i, v):
        h = 0.7 * v + i
        sign = np.sign(h) * (abs(h) > 0.6)
        return 1.5 * sign, np.where(sign != 0, 0.0, h)

    return loop(x, step, np.zeros_like(x[0]))


def sigma_delta(x, w):
    def step(i, total, sent):
        total = total + i
        change = np.tanh(total + 0.1) - sent
        out = np.where(abs(change) > 0.1, change, 0.0)
        return out, total, sent + out

    return loop(x, step, np.zeros_like(x[0]), np.zeros_like(x[0]))


def resonate(x, w):
    def step(i, z):
        z = 0.9 * np.exp(0.7j) * z + i
        fired = above(z.imag, 0.4)
        return fired, z - 0.4j * fired

    return loop(x, step, np.zeros(x[0].shape, dtype="complex128"))


def balanced(x, w):
    def step(i, z, q):
        pole = (math.sqrt(1.0 - 0.6**2) - 1.0) / 0.2 - 0.5 - q + 3.0j
        z = z + 0.2 * (pole * z + i)
        fired = above(z.real, 0.1 + q)
        return fired, z, 0.8 * q + fired

    return loop(x, step, np.zeros(x[0].shape, dtype="complex128"), np.zeros_like(x[0]))


def tsodyks_markram(x, w):
    def step(i, used, left):
        used, left = 0.7 * used, left + 0.1 * (1.0 - left)
        used = used + 0.4 * (1.0 - used) * i
        return used * left * i, used, left * (1.0 - used * i)

    return loop(x, step, np.zeros_like(x[0]), np.ones_like(x[0]))


def parallel_spiking(x, w):
    return above(np.einsum("tj,jbn->tbn", w["weight"], x) + w["bias"][:, None, None], 0.3)


def masked(x, w):
    out = []
    for t in range(len(x)):
        out.append(w["bias"][t] + sum(w["weight"][t, j] * x[j] for j in range(max(0, t - 2), t + 1)))
    return above(np.stack(out), 0.2)


def sliding(x, w):
    padded = np.concatenate([np.zeros((2, *x.shape[1:])), x])
    return above(np.stack([0.25 * padded[t] + 0.5 * padded[t + 1] + padded[t + 2] for t in range(len(x))]), 0.8)


def state_space(x, w):
    """The solution of z' = l z + I between steps, in complex numbers."""
    dt, pole = np.exp(w["log_dt"]), 1j * w["frequency"] - np.exp(w["log_decay"])
    turn, read = np.exp(dt * pole), w["read_real"] + 1j * w["read_imag"]

    def step(i, z):
        z = turn * z + (turn - 1.0) / pole * i[..., None]
        return above(2.0 * (read * z).sum(-1).real + w["skip"] * i, 0.2), z

    return loop(x, step, np.zeros((*x[0].shape, 3), dtype="complex128"))
