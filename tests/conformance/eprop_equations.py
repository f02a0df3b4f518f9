"""The published equations of e-prop for one recurrent layer and a leaky readout, in plain NumPy, sample by sample.

Bellec et al., A solution to the learning dilemma for recurrent networks of spiking neurons, Nature Communications 2020,
with this library's order of events: the threshold at t is raised by the adaptation at t - 1, and the reset is delayed.

    eligibility of v       eps_v[t] = alpha eps_v[t-1] + z[t]              z: the input, or the layer's spikes at t - 1
    eligibility of a       eps_a[t] = rho eps_a[t-1] + (1 - rho) e[t]
    eligibility trace      e[t] = psi[t] (eps_v[t] - adaptation eps_a[t-1])
    filtered               f[t] = kappa f[t-1] + e[t]
    learning signal        L_j[t] = sum_k B_kj dl[t]/dy_k[t]               B = W_out for symmetric e-prop
    gradient               sum_t L_j[t] f_ji[t]
"""

from __future__ import annotations

import numpy as np


def eprop(x, params, signal, *, feedback=None, alpha, theta, psi, kappa, filtered, rho=0.0, adaptation=0.0):
    """The gradients by the weights of one recurrent layer of (A)LIF neurons.

    Args:
        x: inputs (time, samples, inputs).
        params: "in", "rec", "out": (weight, bias) of each connection.
        signal: (t, y) -> dl[t]/dy[t] for the readout y (samples, outputs) of step t.
        feedback: the matrix B (outputs, neurons); default: the readout's weight.
        alpha, theta, rho, adaptation: of the neurons.
        psi: the pseudo-derivative as a function of v - A.
        kappa: decay of the readout.
        filtered: whether traces are filtered by kappa.

    Returns:
        gradients of the input weight, its bias, the recurrent weight; all spikes.
    """
    (w_in, b_in), (w_rec, b_rec), (w_out, b_out) = params["in"], params["rec"], params["out"]
    back = w_out if feedback is None else feedback
    (steps, samples, inputs), neurons = x.shape, len(b_in)
    g_in, g_bias, g_rec = np.zeros_like(w_in), np.zeros_like(b_in), np.zeros_like(w_rec)
    v, a, fired, y = (np.zeros((samples, n)) for n in (neurons, neurons, neurons, len(b_out)))
    eps_v, eps_a, low = (np.zeros((samples, neurons, inputs + 1 + neurons)) for _ in range(3))
    spikes = []
    for t in range(steps):
        pre = np.concatenate([x[t], np.ones((samples, 1)), fired], axis=1)
        v = alpha * v + x[t] @ w_in.T + b_in + fired @ w_rec.T + b_rec - theta * fired
        at = v - theta - adaptation * a
        fired = (at > 0) * 1.0
        a = rho * a + (1 - rho) * fired
        y = kappa * y + fired @ w_out.T + b_out
        spikes.append(fired)
        eps_v = alpha * eps_v + pre[:, None, :]
        e = psi(at)[:, :, None] * (eps_v - adaptation * eps_a)
        eps_a = rho * eps_a + (1 - rho) * e
        low = kappa * low + e if filtered else e
        g = ((signal(t, y) @ back)[:, :, None] * low).sum(axis=0)
        g_in, g_bias, g_rec = g_in + g[:, :inputs], g_bias + g[:, inputs], g_rec + g[:, inputs + 1 :]
    return g_in, g_bias, g_rec, np.stack(spikes)
