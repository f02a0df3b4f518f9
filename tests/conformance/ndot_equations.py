"""The equations of NDOT, as a summary of the paper gives them, for a stack of leaky layers, in plain NumPy.

Jiang, De Masi, Xiong & Gu, NDOT: Neuronal dynamics-based online training for spiking neural networks, ICML 2024. With
the input x of the network as the spikes of layer 0, whose traces decay by lambda::

    membrane            u_l[t] = lambda (u_l[t-1] - theta s_l[t-1]) + W_l s_{l-1}[t] + b_l,    s = Theta(u - theta)
    dependence          e_l[t] = (u_l[t] - theta s_l[t]) / (u_l[t-1] - theta s_l[t-1]), clipped to [-lambda, lambda];
                        lambda where the denominator is 0
    temporal gradient   a_l[t] = e_l[t-1] a_l[t-1] + s_l[t]
    spatial gradient    g_l[t] = dL[t]/ds_l[t] psi(u_l[t] - theta), through the layers behind at the same step
    gradient            sum_t g_l[t] a_{l-1}[t]^T
"""

from __future__ import annotations

import numpy as np


def ndot(x, weights, signal, *, leak, theta, psi):
    """The gradients by the weights of each layer.

    Args:
        x: inputs (time, samples, inputs).
        weights: (weight, bias) of each layer.
        signal: (t, s) -> dL[t]/ds for the spikes s of the last layer.
        leak, theta: of all neurons.
        psi: the pseudo-derivative as a function of u - theta.

    Returns:
        the gradient by each weight; the rate of each layer; how many of its dependences are strictly within the bounds.
    """
    samples, layers = x.shape[1], range(len(weights))
    u = [np.zeros((samples, len(b))) for _, b in weights]
    spikes = [np.zeros_like(one) for one in u]
    left = [np.zeros_like(one) for one in u]  # u - theta s of the step before the last
    traces = [np.zeros((samples, x.shape[2])), *(np.zeros_like(one) for one in u)]
    grads, fired, inside = [np.zeros_like(w) for w, _ in weights], [0.0 for _ in layers], [0 for _ in layers]
    for t, entering in enumerate(x):
        traces[0] = leak * traces[0] + entering
        below = entering
        for layer in layers:
            weight, bias = weights[layer]
            now = u[layer] - theta * spikes[layer]
            with np.errstate(divide="ignore", invalid="ignore"):
                e = np.where(left[layer] == 0, leak, np.clip(now / left[layer], -leak, leak))
            inside[layer] += int((abs(e) < leak).sum())
            left[layer] = now
            u[layer] = leak * now + below @ weight.T + bias
            spikes[layer] = below = (u[layer] > theta) * 1.0
            traces[layer + 1] = e * traces[layer + 1] + below
            fired[layer] += below.mean() / len(x)
        by_spikes = signal(t, below)
        for layer in reversed(layers):
            g = by_spikes * psi(u[layer] - theta)
            grads[layer] += g.T @ traces[layer]
            by_spikes = g @ weights[layer][0]
    return grads, fired, inside
