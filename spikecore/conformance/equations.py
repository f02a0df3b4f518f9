"""The neurons' update equations, written out step by step on NumPy arrays: an oracle that shares no code with theirs.

Each takes the input (time, batch, ...) and first weights by name, and returns the outputs of all steps. The fields are
those of ``CASES``; Leaky itself, with all its options, is in reference.py.
"""

from __future__ import annotations

import math

import numpy as np

import spikecore as sc
from spikecore.compression import FixedPoint, ScaledInteger
from spikecore.conformance.paper_equations import (
    above,
    adex,
    balanced,
    clif,
    eif,
    glif,
    ilif,
    klif,
    liaf,
    loop,
    masked,
    parallel_spiking,
    plif,
    qif,
    resonate,
    sigma,
    sigma_delta,
    sliding,
    state_space,
    ternary,
    tsodyks_markram,
)


def synaptic(x, w):
    def step(i, syn, mem):
        reset, syn = above(mem, 1.0), 0.5 * syn + i
        mem = 0.8 * mem + syn - reset
        return above(mem, 1.0), syn, mem

    return loop(x, step, np.zeros_like(x[0]), np.zeros_like(x[0]))


def rsynaptic(x, w):
    def step(i, spk, syn, mem):
        reset, syn = above(mem, 1.0), 0.5 * syn + i + 0.3 * spk
        mem = 0.8 * mem + syn - reset
        spk = above(mem, 1.0)
        return spk, spk, syn, mem

    return loop(x, step, *[np.zeros_like(x[0])] * 3)


def rleaky(x, w):
    def step(i, spk, mem):
        mem = 0.8 * mem + i + spk @ w["connection"]["weight"].T + w["connection"]["bias"] - above(mem, 0.5) * 0.5
        spk = above(mem, 0.5)
        return spk, spk, mem

    return loop(x, step, np.zeros_like(x[0]), np.zeros_like(x[0]))


def lapicque(x, w):
    def step(i, mem):
        mem = i * 1.0 / 4.0 + (1.0 - 1.0 / (2.0 * 4.0)) * mem - above(mem, 0.3) * 0.3
        return above(mem, 0.3), mem

    return loop(x, step, np.zeros_like(x[0]))


def alpha(x, w):
    tau = math.log(0.9) / (math.log(0.8) - math.log(0.9)) + 1.0

    def step(i, e, h, mem):
        keep, e, h = 1.0 - above(mem, 0.4), 0.9 * e + i, 0.8 * h - i
        mem = keep * tau * (e + h)
        return above(mem, 0.4), keep * e, keep * h, mem

    return loop(x, step, *[np.zeros_like(x[0])] * 3)


def integrate(x, w):
    def step(i, mem):
        mem = mem + i - above(mem, 1.0)
        return above(mem, 1.0), mem

    return loop(x, step, np.zeros_like(x[0]))


def charged(x, w):
    def step(i, mem):
        mem = mem - above(mem, 0.6) * 0.6 + i
        return above(mem, 0.6), mem

    return loop(x, step, np.full_like(x[0], 0.3))


def integrator(x, w):
    return loop(x, lambda i, mem: (0.7 * mem + i,) * 2, np.zeros_like(x[0]))


def on_grids(x, w):
    """0.8 in 4 bits is 6 eighths; the membrane has steps of a quarter, from -2 to 1.75."""

    def step(i, mem):
        now = 0.75 * mem + i
        return now, 0.25 * np.clip(np.floor(4.0 * now + 0.5), -8.0, 7.0)

    return loop(x, step, np.zeros_like(x[0]))


def adaptive(x, w):
    def step(i, mem, a, fired):
        mem = 0.8 * mem + i - 0.5 * fired
        fired = above(mem, 0.5 + 1.2 * a)
        return fired, mem, 0.9 * a + 0.1 * fired, fired

    return loop(x, step, *[np.zeros_like(x[0])] * 3)


def izhikevich(x, w):
    def step(i, v, u):
        v, u = v + 0.5 * (0.04 * v**2 + 5 * v + 140 - u + i), u + 0.5 * 0.02 * (0.2 * v - u)
        fired = v > 30.0
        return fired.astype("float64"), np.where(fired, -65.0, v), np.where(fired, u + 8.0, u)

    return loop(x, step, np.full_like(x[0], -65.0), np.full_like(x[0], -13.0))


def refractory(x, w):
    def step(i, since, mem):
        free = since > 2
        mem = 0.8 * mem + free * i - above(mem, 0.5) * 0.5
        fired = free & (mem > 0.5)
        return fired.astype("float64"), np.where(fired, 1, since + 1), mem

    return loop(x, step, np.full(x[0].shape, 9), np.zeros_like(x[0]))


def delta(x, w):
    def step(i, mem):
        after = 0.8 * mem + i
        return above(abs(after - mem), 0.6), after

    return loop(x, step, np.zeros_like(x[0]))


def filtered(current, theta):
    """Spikes of sum_k exp(-k (1 - beta)) I[t-k], beta = 0.8, as that sum."""
    mem = [sum(math.exp(-0.2 * k) * current[t - k] for k in range(t + 1)) for t in range(len(current))]
    return above(np.stack(mem), theta)


def state_leaky(x, w):
    return filtered(x, 0.9)


def linear_leaky(x, w):
    return filtered(x @ w["linear_weight"].T + w["linear_bias"], 0.3)


def leaky_parallel(x, w):
    def step(i, h):
        h = np.maximum(0.0, i @ w["input_weight"].T + w["input_bias"] + w["hidden_bias"] + 0.7 * h)
        return above(h, 0.3), h

    return loop(x, step, np.zeros((x.shape[1], 4)))


def associative(x, w):
    def part(name, i):
        return i @ w[f"{name}_weight"].T + w[f"{name}_bias"]

    def step(i, memory):
        kept = 1.0 / (1.0 + np.exp(-part("decay", i)))
        memory = memory * kept[:, None, :] + part("value", i)[:, :, None] * part("key", i)[:, None, :]
        read = np.einsum("bvk,bkd->bvd", above(memory, 0.1), part("query", i).reshape(-1, 3, 2))
        return read.reshape(len(i), -1), memory

    return loop(x, step, np.zeros((x.shape[1], 2, 3)))


def slstm(x, w):
    def step(i, c, h):
        reset = above(h, 0.1)
        gates = i @ w["weight_ih"].T + w["bias_ih"] + h @ w["weight_hh"].T + w["bias_hh"]
        enter, forget, content, leave = np.split(gates, 4, axis=1)
        c = sigma(forget) * c + sigma(enter) * np.tanh(content)
        h = sigma(leave) * np.tanh(c) - reset * 0.1
        return above(h, 0.1), c, h

    return loop(x, step, np.zeros((x.shape[1], 4)), np.zeros((x.shape[1], 4)))


def spiking_gru(x, w):
    def step(i, h):
        see, stay, content = np.split(i @ w["weight_ih"].T + w["bias_ih"], 3, axis=1)
        see_back, stay_back, content_back = np.split(h @ w["weight_hh"].T + w["bias_hh"], 3, axis=1)
        mem = content + above(see + see_back, 0.1) * content_back
        h = np.where(stay + stay_back > 0.1, h, above(mem, 0.1))
        return h, h

    return loop(x, step, np.zeros((x.shape[1], 4)))


def sconv2dlstm(x, w):
    import torch

    def conv(maps):
        return torch.nn.functional.conv2d(torch.tensor(maps), torch.tensor(w["weight"]), padding=1).numpy()

    def step(i, c, h):
        gates = conv(np.concatenate([i, h], axis=1)) + w["bias"].reshape(-1, 1, 1)
        enter, forget, leave, content = np.split(gates, 4, axis=1)
        c = sigma(forget) * c + sigma(enter) * np.tanh(content)
        h = sigma(leave) * np.tanh(c)
        return above(h, 0.1), c, h

    return loop(x, step, np.zeros((x.shape[1], 2, 4, 4)), np.zeros((x.shape[1], 2, 4, 4)))


#: A neuron, its oracle, the shape of a sample, the scale of the input, and one mistake in its code: (old, new) text.
CASES = [
    (sc.Synaptic(alpha=0.5, beta=0.8), synaptic, (5,), 1.0, ("params.alpha * state.syn + x", "state.syn + x")),
    (sc.RSynaptic(alpha=0.5, beta=0.8, V=0.3, all_to_all=False), rsynaptic, (5,), 1.0, ("x + fed_back", "x")),
    (sc.RLeaky(beta=0.8, linear_features=5, threshold=0.5), rleaky, (5,), 1.0, ('"spk": spikes', '"spk": state.spk')),
    (sc.Lapicque(R=2.0, C=4.0, threshold=0.3), lapicque, (5,), 1.0, ("params.gain * x", "x")),
    (sc.Alpha(alpha=0.9, beta=0.8, threshold=0.4), alpha, (5,), 1.0, ("state.syn_inh - x", "state.syn_inh + x")),
    (sc.IF(), integrate, (5,), 1.0, ("reset) + x", "reset) * 0.9 + x")),
    (sc.IF(threshold=0.6, initial_mem=0.3), charged, (5,), 0.2, ("reset) + x", "reset) - 0.3 + x")),
    (sc.LI(beta=0.7), integrator, (5,), 1.0, ("return mem,", "return state.mem,")),
    (sc.QuantizedNeuron(sc.LI(beta=0.8), ScaledInteger(4), FixedPoint(4, 2)), on_grids, (5,), 1.0,
     ("self._stored(engine, after)", "after")),
    (sc.ALIF(beta=0.8, rho=0.9, adaptation=1.2, threshold=0.5), adaptive, (5,), 1.0, ("params.rho *", "")),
    (sc.Izhikevich(), izhikevich, (5,), 20.0, ("reset * params.d", "params.d")),
    (sc.Refractory(sc.Leaky(beta=0.8, threshold=0.5), 2), refractory, (5,), 1.0, ("wait - 1.0", "wait - 2.0")),
    (sc.DeltaLeaky(beta=0.8, delta_threshold=0.6), delta, (5,), 1.0, ("state.mem + x", "x")),
    (sc.StateLeaky(beta=0.8, threshold=0.9, parallel=False), state_leaky, (5,), 0.3, ("params.decay *", "0.5 *")),
    (sc.LinearLeaky(beta=0.8, in_features=5, out_features=4, threshold=0.3), linear_leaky, (5,), 1.0,
     ("params.decay", "0.1")),
    (sc.LeakyParallel(input_size=5, hidden_size=4, beta=0.7, threshold=0.3), leaky_parallel, (5,), 1.0,
     ("xp.where(drive > 0, drive, xp.zeros_like(drive))", "drive")),
    (sc.AssociativeLeaky(in_dim=5, d_value=2, d_key=3, threshold=0.1, parallel=False), associative, (5,), 1.0,
     ("decay * state.mem + write", "state.mem + write")),
    (sc.SLSTM(input_size=5, hidden_size=4, threshold=0.1, reset_mechanism="subtract"), slstm, (5,), 2.0,
     ("self.gates_of(gates)", "self.gates_of(gates)[::-1]")),
    (sc.SpikingGRU(input_size=5, hidden_size=4, threshold=0.1), spiking_gru, (5,), 2.0,
     ("(1.0 - stays) *", "")),
    (sc.SConv2dLSTM(in_channels=2, out_channels=2, threshold=0.1), sconv2dlstm, (2, 4, 4), 2.0,
     ("enter, forget, leave, content", "enter, forget, content, leave")),
    (sc.PLIF(beta=sc.learn(0.75), threshold=0.2), plif, (5,), 1.0, ("self.decay_input", "False")),
    (sc.KLIF(beta=0.75, k=1.5, threshold=0.3, reset_mechanism="subtract"), klif, (5,), 1.0, ("params.k *", "")),
    (sc.GLIF(threshold=0.5, alpha=0.6, beta=0.3, gamma=0.7, tau=0.25, linear_decay=0.05, v_subreset=0.4,
             conduct=sc.learn(0.3), time_steps=3), glif, (5,), 1.0, ("(1.0 - params.gamma) *", "")),
    (sc.CLIF(threshold=0.8), clif, (5,), 1.0, ("params.threshold + logistic(xp, comp)", "params.threshold")),
    (sc.LIAF(beta=0.8, threshold=0.6, activation="tanh"), liaf, (5,), 1.0, ("mem - params.threshold", "mem")),
    (sc.QIF(v_rest=0.1, v_c=0.5, a0=1.2, v_reset=-0.2, threshold=0.6), qif, (5,), 1.0, ("v - params.v_c", "v")),
    (sc.EIF(v_rest=0.1, delta_T=0.7, theta_rh=0.9, v_reset=-0.2, threshold=0.9), eif, (5,), 1.0,
     ("driven(engine, params, ", "driven(engine, params, 0.5 * ")),
    (sc.AdEx(rho=0.8, a=0.2, b=0.3, v_rest=0.1, v_reset=-0.2, threshold=0.7), adex, (5,), 1.0,
     ("+ params.b * fired", "")),
    (sc.ILIF(beta=0.5, threshold=0.3, max_spikes=3), ilif, (5,), 1.0, ("params.beta *", "0.6 *")),
    (sc.TernaryLeaky(beta=0.7, threshold=0.6, graded_spikes_factor=1.5), ternary, (5,), -1.0, ("up - down", "up")),
    (sc.SigmaDelta(bias=0.1, activation="tanh"), sigma_delta, (5,), 1.0, ("state.sent + sent", "sent")),
    (sc.ResonateAndFire(beta=0.9, omega=0.7, threshold=0.4, reset_delay=False), resonate, (5,), 1.0, ("real + x", "x")),
    (sc.BalancedResonateAndFire(omega=3.0, b_offset=0.5, rho=0.8, dt=0.2, threshold=0.1), balanced, (5,), 1.0,
     ("1.0 + params.slow - self.dt * refr", "1.0 + params.slow")),
    (sc.PSN(num_steps=9, threshold=0.3), parallel_spiking, (5,), 1.0, ("matmul(params", "matmul(0.9 * params")),
    (sc.MaskedPSN(num_steps=9, order=3, threshold=0.2), masked, (5,), 1.0, ("step - float(i)", "step - 1.0")),
    (sc.SlidingPSN(order=3, threshold=0.8), sliding, (5,), 1.0, ("range(1,", "range(2,")),
    (sc.StateSpace(modes=3, dt_min=0.1, dt_max=0.5, threshold=0.2), state_space, (5,), 1.0, ("* real -", "* real +")),
    (sc.TsodyksMarkram(U=0.4, facilitation=0.7, depression=0.9), tsodyks_markram, (5,), 0.3,
     ("util * left * x", "used * left * x")),
]  # fmt: skip
