"""Losses of other libraries and of papers, written once more in NumPy: sample by sample, step by step."""

from __future__ import annotations

import itertools

import numpy as np

from spikecore.conformance.reference import nll


def cut(values, lengths):
    """The steps that count of each sample, (time, classes)."""
    ends = [len(values)] * values.shape[1] if lengths is None else lengths
    return [values[:n, i] for i, n in enumerate(ends)]


def tet(values, labels, lengths=None, Lambda=0.05, phi=1.0):
    each = []
    for sample, label in zip(cut(values, lengths), labels):
        crossed = nll(sample[:, None], np.array([label]))[:, 0]
        each.append(np.mean([(1 - Lambda) * c + Lambda * np.mean((o - phi) ** 2) for c, o in zip(crossed, sample)]))
    return np.mean(each)


def spikemax(values, labels, lengths=None, window=None, mode="probability", eps=0.01):
    each = []
    for sample, label in zip(cut(values, lengths), labels):
        rates = [sample.mean(0)]
        if window is not None:
            rates = [sample[max(0, t - window + 1) : t + 1].sum(0) / window for t in range(len(sample))]
        shares = [np.exp(r) if mode == "softmax" else r + eps for r in rates]
        each.append(np.mean([-np.log(s[label] / s.sum()) for s in shares]))
    return np.mean(each)


def similarity(values, labels, lengths=None, kernel="linear", distance="mse", scale=1.0):
    rows = [np.ravel(np.pad(s, ((0, len(values) - len(s)), (0, 0)))) for s in cut(values, lengths)]
    each = []
    for (x, a), (y, b) in itertools.product(zip(rows, labels), repeat=2):
        dot, size = sum(x * y), np.sqrt(sum(x * x) or 1.0) * np.sqrt(sum(y * y) or 1.0)
        near = np.exp(-sum((x - y) ** 2) / (2 * scale**2))
        p = {"linear": dot / size, "sigmoid": 1 / (1 + np.exp(-scale * dot)), "gaussian": near}[kernel]
        q, inside = float(a == b), np.clip(p, 1e-6, 1 - 1e-6)
        crossed = -np.log(inside if q else 1 - inside)
        each.append({"mse": (p - q) ** 2, "l1": abs(p - q), "bce": crossed}[distance])
    return np.mean(each)


def event_rate(values, labels, lengths=None, max_rate=0.01, min_rate=0.0):
    rate = np.mean([np.abs(sample).mean() for sample in cut(values, lengths)])
    return max(0.0, rate - max_rate) ** 2 + max(0.0, min_rate - rate) ** 2


def silence(values, labels, lengths=None, min_spikes=1.0):
    counts = np.mean([sample.sum(0) for sample in cut(values, lengths)], axis=0)
    return np.mean([max(0.0, min_spikes - n) ** 2 for n in counts])


def sparsity(values, labels, lengths=None, max_spikes=10.0):
    over = [max(0.0, sample.sum(0).mean() - max_spikes) for sample in cut(values, lengths)]
    return np.mean([x * x / 2 if x <= 1 else x - 0.5 for x in over])


def ctc(values, targets, lengths=None, blank=0, per_label=False):
    """The CTC loss by its definition: the sum over all paths that stand for the targets."""
    each = []
    for sample, row in zip(cut(values, lengths), np.asarray(targets).tolist()):
        wanted, p = [label for label in row if label >= 0], np.exp(sample) / np.exp(sample).sum(1, keepdims=True)
        total = 0.0
        for path in itertools.product(range(sample.shape[1]), repeat=len(sample)):
            merged = [b for a, b in zip((None, *path), path) if a != b]
            if [label for label in merged if label != blank] == wanted:
                total += np.prod([p[t, c] for t, c in enumerate(path)])
        each.append(-np.log(total) / (max(1, len(wanted)) if per_label else 1))
    return np.mean(each)


def value(values, targets, lengths=None, over_time="mean", cost=None, per_value=1, mean=0.0, deviation=1.0):
    """Costs of single readings and values, by ``cost(reading, value)``; of several quantiles of a value by a list."""
    each, targets = [], (targets - np.array(mean)) / deviation
    for sample, row in zip(cut(values, lengths), np.reshape(targets, (len(targets), -1))):
        read = sample[-1] if over_time == "last" else getattr(np, over_time)(sample, axis=0)
        parts = read if per_value == 1 else read.reshape(-1, per_value)
        each.append(np.mean([cost(u, y) for u, y in zip(parts, row)]))
    return np.mean(each)


def squared(u, y):
    return (u - y) ** 2


def huber(u, y, delta=1.0):
    e = abs(u - y)
    return e**2 / 2 if e <= delta else delta * (e - delta / 2)


def pinball(u, y, quantiles=(0.1, 0.5, 0.9)):
    return np.mean([q * (y - one) if y > one else (1 - q) * (one - y) for q, one in zip(quantiles, u)])


def binary(u, y):
    p = 1 / (1 + np.exp(-u))
    return -np.log(p if y else 1 - p)


def step_labels(values, targets, lengths=None, weight=None, normalise=False, ignore_index=-1):
    each, weights = [], []
    for i, sample in enumerate(cut(values, lengths)):
        steps = [t for t in range(len(sample)) if targets[t, i] != ignore_index]
        factors = [1.0 if weight is None else weight[targets[t, i]] for t in steps]
        costs = [nll(sample[t][None, None], np.array([targets[t, i]]))[0, 0] for t in steps]
        each.append(sum(f * c for f, c in zip(factors, costs)) / max(1, len(steps)))
        weights.append(sum(factors) / max(1, len(steps)))
    return np.mean(each) / (np.mean(weights) if normalise else 1)
