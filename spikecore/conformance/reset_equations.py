"""Every neuron with a membrane under every reset, written out step by step: an oracle of resets alone.

A neuron is what its membrane becomes without a reset (``charge``), and what its spikes are (``fire``). What a reset
does with them is written here once, by the equations of ``Membrane``, and shares no code with it. ``KEEPS`` are the
neurons whose "zero" clears the membrane before the input comes; with the others it clears the input, too.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Callable, NamedTuple

import numpy as np

import spikecore as sc
from spikecore.conformance.equations import above, sigma


class ResetCase(NamedTuple):
    """A neuron; its membrane before a reset, from membrane, other states, input, spikes and weights; its spikes."""

    layer: Any
    charge: Callable[..., Any]
    theta: float = 0.6
    fire: Any = None  # from the membrane and the other states; None: one above theta
    output: Any = None  # from the membrane; None: the spikes
    zero: float = 0.0  # where "zero" leads
    rest: float = 0.0
    steps: int = 12


KEEPS = (sc.Leaky, sc.IF, sc.PLIF, sc.KLIF, sc.LIAF, sc.QIF, sc.EIF, sc.AdEx, sc.TernaryLeaky, sc.ResonateAndFire)


def synaptic(u, syn, i, spk, w):
    syn = 0.5 * syn + i
    return 0.8 * u + syn, syn


def rotated(u, real, i, spk, w):
    z = 0.9 * np.exp(0.7j) * (real + 1j * u)
    return z.imag, z.real + i


def exponential(u):
    return 0.5 * u + 0.5 * (0.1 + 0.7 * np.exp((np.minimum(u, 0.6) - 0.9) / 0.7))


def adapting(u, a, i, spk, w):
    a = a + 0.3 * spk  # the spikes of the step before
    return exponential(u) + 0.5 * (i - a), 0.8 * a + 0.2 * 0.2 * (u - 0.1)


def gated(u, c, i, spk, w):
    gates = i @ w["weight_ih"].T + w["bias_ih"] + u @ w["weight_hh"].T + w["bias_hh"]
    enter, forget, content, leave = np.split(gates, 4, axis=1)
    c = sigma(forget) * c + sigma(enter) * np.tanh(content)
    return sigma(leave) * np.tanh(c), c


def gated_maps(u, c, i, spk, w):
    both = np.concatenate([i, u], axis=1)
    padded = np.pad(both, ((0, 0), (0, 0), (1, 1), (1, 1)))
    height, width = both.shape[2:]
    windows = np.stack([padded[:, :, a : a + height, b : b + width] for a in range(3) for b in range(3)], axis=2)
    gates = np.einsum("nckhw,ock->nohw", windows, w["weight"].reshape(8, 4, 9)) + w["bias"].reshape(-1, 1, 1)
    enter, forget, leave, content = np.split(gates, 4, axis=1)
    c = sigma(forget) * c + sigma(enter) * np.tanh(content)
    return sigma(leave) * np.tanh(c), c


CASES = [
    ResetCase(sc.Leaky(beta=0.8, threshold=0.6), lambda u, _, i, spk, w: (0.8 * u + i, 0.0)),
    ResetCase(sc.IF(threshold=0.6), lambda u, _, i, spk, w: (u + i, 0.0)),
    ResetCase(sc.Lapicque(R=2.0, C=4.0, threshold=0.3), lambda u, _, i, spk, w: (i / 4.0 + 0.875 * u, 0.0), 0.3),
    ResetCase(sc.Synaptic(alpha=0.5, beta=0.8, threshold=0.6), synaptic),
    ResetCase(sc.ResonateAndFire(beta=0.9, omega=0.7, threshold=0.4), rotated, 0.4),
    ResetCase(
        sc.ALIF(beta=0.8, rho=0.9, adaptation=1.2, threshold=0.6),
        lambda u, a, i, spk, w: (0.8 * u + i, 0.9 * a + 0.1 * spk),
        fire=lambda u, a: above(u, 0.6 + 1.2 * a),
    ),
    ResetCase(
        sc.RLeaky(beta=0.8, V=0.3, all_to_all=False, threshold=0.6),
        lambda u, _, i, spk, w: (0.8 * u + i + 0.3 * spk, 0.0),
    ),
    ResetCase(
        sc.RSynaptic(alpha=0.5, beta=0.8, V=0.3, all_to_all=False, threshold=0.6),
        lambda u, syn, i, spk, w: synaptic(u, syn, i + 0.3 * spk, spk, w),
    ),
    ResetCase(sc.SLSTM(input_size=5, hidden_size=5, threshold=0.1), gated, 0.1),
    ResetCase(sc.SConv2dLSTM(in_channels=2, out_channels=2, threshold=0.1), gated_maps, 0.1),
    ResetCase(sc.PLIF(beta=0.75, threshold=0.3), lambda u, _, i, spk, w: (u + (i - u) / 4.0, 0.0), 0.3),
    ResetCase(
        sc.KLIF(beta=0.75, k=1.5, threshold=0.3),
        lambda u, _, i, spk, w: (np.maximum(0.0, 1.5 * (u + (i - u) / 4.0)), 0.0),
        0.3,
    ),
    ResetCase(
        sc.LIAF(beta=0.8, threshold=0.6, activation="tanh"),
        lambda u, _, i, spk, w: (0.8 * u + i, 0.0),
        output=lambda u: np.tanh(u - 0.6),
    ),
    ResetCase(
        sc.QIF(v_rest=0.1, v_c=0.5, a0=1.2, v_reset=-0.2, threshold=0.6),
        lambda u, _, i, spk, w: (u + 0.5 * (1.2 * (u - 0.1) * (u - 0.5) + i), 0.0),
        zero=-0.2,
        rest=0.1,
        steps=6,  # above v_c it runs away
    ),
    ResetCase(
        sc.EIF(v_rest=0.1, delta_T=0.7, theta_rh=0.9, v_reset=-0.2, threshold=0.6),
        lambda u, _, i, spk, w: (exponential(u) + 0.5 * i, 0.0),
        zero=-0.2,
        rest=0.1,
    ),
    ResetCase(
        sc.AdEx(rho=0.8, a=0.2, b=0.3, v_rest=0.1, delta_T=0.7, theta_rh=0.9, v_reset=-0.2, threshold=0.6),
        adapting,
        zero=-0.2,
        rest=0.1,
    ),
    ResetCase(
        sc.ILIF(beta=0.5, threshold=0.3, max_spikes=3),
        lambda u, _, i, spk, w: (0.5 * u + i, 0.0),
        0.3,
        fire=lambda u, _: np.clip(np.floor(u / 0.3 + 0.5), 0, 3),
    ),
    ResetCase(
        sc.TernaryLeaky(beta=0.7, threshold=0.6),
        lambda u, _, i, spk, w: (0.7 * u + i, 0.0),
        fire=lambda u, _: np.sign(u) * (abs(u) > 0.6),
    ),
]


def ways(case):
    """The neuron under each of its resets, delayed and at once."""
    for reset in case.layer.resets:
        for delayed in (True, False):
            yield reset, delayed, replace(case.layer, reset_mechanism=reset, reset_delay=delayed)


def outputs(case, x, weights, shape, reset, delayed):
    """Outputs and membranes of all steps."""
    theta, keeps = case.theta, isinstance(case.layer, KEEPS) and not isinstance(case.layer, sc.RLeaky)
    u = np.zeros(shape) + (case.zero if reset == "zero" else case.rest)
    others, fired, made, membranes = 0.0, np.zeros(shape), [], []
    for i in x:
        reset_by = fired if delayed and reset != "none" else np.zeros(shape)
        if reset == "subtract_decayed":
            u = u - theta * reset_by
        if reset == "zero" and keeps:
            u = np.where(reset_by != 0, case.zero, u)
        u, others = case.charge(u, others, i, fired, weights)
        if reset == "subtract":
            u = u - theta * reset_by
        if reset == "zero" and not keeps:
            u = np.where(reset_by != 0, case.zero, u)
        fired = above(u, theta) if case.fire is None else case.fire(u, others)
        made.append(fired if case.output is None else case.output(u))
        if not delayed and reset in ("subtract", "subtract_decayed"):
            u = u - theta * fired
        if not delayed and reset == "zero":
            u = np.where(fired != 0, case.zero, u)
        membranes.append(u)
    return np.stack(made), np.stack(membranes)


def alpha(x, reset):
    """Outputs of Alpha, which resets its currents; its membrane is made of them anew at each step."""
    tau, out = math.log(0.9) / (math.log(0.8) - math.log(0.9)) + 1.0, []
    e, h, mem = np.zeros_like(x[0]), np.zeros_like(x[0]), np.zeros_like(x[0])
    for i in x:
        r = above(mem, 0.4)
        last, e, h = h, 0.9 * e + i, 0.8 * h - i
        mem = tau * (e + h)
        if reset == "zero":
            e, h, mem = (1.0 - r) * e, (1.0 - r) * h, (1.0 - r) * mem
        elif reset == "subtract":
            e, h, mem = e - 0.4 * r, (1.0 - r) * h, mem + last * r
        out.append(above(mem, 0.4))
    return np.stack(out)
