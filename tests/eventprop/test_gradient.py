"""The exact gradient: against autograd, finite differences and the kernels, and what finds a wrong one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spikecore import eventprop
from spikecore.eventprop import layer_adjoint, layer_kernel
from tests.eventprop.eventprop_rig import CANCELLING, QUOTIENT, ROUNDING, small

QUICK = 8
RATIOS = (4.0, 2.0, 1.0, 0.5, 1.0 + 1e-7)


def drawn(seed):
    """A random network with parameters, a batch and a loss: any ratio of time constants, delays, taus per neuron."""
    rng = np.random.default_rng(seed)
    readout, hidden = seed % 3 == 2, int(rng.integers(3, 7))
    layers = [
        eventprop.Layer(4, hidden, tau_mem=20.0, tau_syn=20.0 / RATIOS[seed % 5], delay=1.0 if seed % 2 else None),
        *([eventprop.Layer(hidden, hidden, tau_mem=12.0, tau_syn=7.0)] if seed % 4 == 3 else []),
        eventprop.Layer(hidden, 3, tau_mem=15.0, tau_syn=5.0, threshold=None if readout else 1.0),
    ]
    network = eventprop.Network(layers, 50.0)
    params = network.init(seed)
    if seed % 2:
        params["0.delay"] = rng.uniform(0.0, 3.0, 4)
    if seed % 5 == 4:
        params["0.tau_mem"] = rng.uniform(10.0, 20.0, hidden)
        params["0.threshold"] = rng.uniform(0.8, 1.2, hidden)
    times = rng.uniform(0.0, 20.0, (3, 4))
    times[rng.random((3, 4)) < 0.1] = np.inf
    kind = seed // 3 % 3
    if readout:
        loss = eventprop.mean_membrane_loss() if seed // 3 % 2 else eventprop.max_membrane_loss()
        targets = rng.integers(0, 3, 3)
    elif kind == 2:
        loss, targets = eventprop.spike_count_loss(tau=10.0), rng.integers(0, 3, 3)
    elif kind:
        loss, targets = eventprop.spike_time_loss(), rng.uniform(5.0, 30.0, (3, 3))
    else:
        loss, targets = eventprop.first_spike_loss(tau=2.0, late=0.1, tau_late=20.0), rng.integers(0, 3, 3)
    return network, params, times, targets, loss


def difference(seed):
    """The relative error of the slope along a random direction of all parameters and of the input together."""
    network, params, times, targets, loss = drawn(seed)
    found = eventprop.gradient(network, params, times, targets, loss)
    rng = np.random.default_rng((seed, 1))
    along = {name: rng.normal(size=value.shape) for name, value in params.items()}
    spikes = eventprop.Spikes.of(times)
    by_input = np.zeros_like(times)
    rows = np.arange(len(times))[:, None]
    np.add.at(by_input, (np.broadcast_to(rows, times.shape), spikes.sources), found.inputs)  # 0 where there is none
    shift = np.where(np.isfinite(times), rng.normal(size=times.shape), 0.0)
    terms = [found.grads[name] * along[name] for name in params] + [by_input * shift]
    slope = sum(float(term.sum()) for term in terms)
    size = np.sqrt(sum(float((term * term).sum()) for term in terms))

    def at(h):
        moved = {name: value + h * along[name] for name, value in params.items()}
        return eventprop.gradient(network, moved, np.abs(times + h * shift), targets, loss).loss

    quotients = [(8 * (at(h) - at(-h)) - at(2 * h) + at(-2 * h)) / (12 * h) for h in (1e-4, 1e-5, 1e-6, 1e-7)]
    return min(abs(each - slope) for each in quotients) / size if size else max(map(abs, quotients))


def autograd_difference(seed):
    """The largest difference of both gradients, relative to the largest entry of each, or a tenth of that of all.

    The derivative by a time constant is a sum of terms that are much larger and cancel.
    """
    pytest.importorskip("torch")
    problem = drawn(seed)
    ours, theirs = (eventprop.gradient(*problem, engine=engine) for engine in ("numpy", "torch"))
    assert ours.loss == theirs.loss
    pairs = [(ours.grads[name], theirs.grads[name]) for name in problem[1]] + [(ours.inputs, theirs.inputs)]
    floor = 0.1 * max(np.abs(b).max() for _, b in pairs)
    return max(np.abs(a - b).max() / max(np.abs(b).max(), floor) for a, b in pairs)


@pytest.mark.parametrize("seed", range(QUICK))
def test_the_gradient_is_the_slope_of_the_loss(seed):
    assert difference(seed) < QUOTIENT


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(QUICK, 200))
def test_the_gradient_is_the_slope_of_the_loss_of_many(seed):
    assert difference(seed) < QUOTIENT


@pytest.mark.parametrize("seed", [0, 2, 3])
def test_autograd_finds_the_same(seed):
    assert autograd_difference(seed) < CANCELLING


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, *range(4, 200)])
def test_autograd_finds_the_same_of_many(seed):
    assert autograd_difference(seed) < CANCELLING


def kernel_difference(seed):
    """The same of the kernels' gradient and NumPy's, of all that both networks did, and of the losses."""
    pytest.importorskip("numba")
    problem = network, *rest = drawn(seed)
    ours, theirs = (eventprop.gradient(replace(network, fused=fused), *rest) for fused in (True, False))
    pairs = [(ours.grads[name], theirs.grads[name]) for name in problem[1]] + [(ours.inputs, theirs.inputs)]
    floor = 0.1 * max(np.abs(b).max() for _, b in pairs)
    for mine, other in zip(ours.run.records, theirs.run.records):
        np.testing.assert_array_equal(mine.spikes.sources, other.spikes.sources)
        np.testing.assert_allclose(mine.spikes.times, other.spikes.times, rtol=ROUNDING)
    np.testing.assert_allclose(ours.run.maxima, theirs.run.maxima, rtol=ROUNDING)
    np.testing.assert_allclose(ours.run.means, theirs.run.means, rtol=CANCELLING)
    np.testing.assert_allclose(ours.loss, theirs.loss, rtol=ROUNDING)
    return max(np.abs(a - b).max() / max(np.abs(b).max(), floor) for a, b in pairs)


@pytest.mark.parametrize("seed", range(QUICK))
def test_kernels_find_the_same(seed):
    assert kernel_difference(seed) < CANCELLING


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(QUICK, 200))
def test_kernels_find_the_same_of_many(seed):
    assert kernel_difference(seed) < CANCELLING


def test_a_right_gradient_is_verified():
    network, params, times, labels, loss = small()
    report = eventprop.verify(network, params, times[:1], labels[:1], loss)
    assert report.ok, report.table()
    assert report.worst_difference < QUOTIENT


@pytest.mark.parametrize("wrong", ["no jump", "no reset", "no threshold", "frozen times"])
def test_a_wrong_gradient_is_found(wrong, monkeypatch):
    right = layer_adjoint._AdjointSums.cross

    def cross(self, where, syn_then, by_time):
        before = self.mem[where].copy()
        right(self, where, syn_then, 0.0 * by_time if wrong == "frozen times" else by_time)
        if wrong == "no jump":
            self.mem[where] = before
        elif wrong == "no reset":
            self.mem[where] += before
        elif wrong == "no threshold":
            self.by_threshold[where] = 0.0

    monkeypatch.setattr(layer_adjoint._AdjointSums, "cross", cross)
    network, params, times, labels, loss = small(1.0)
    assert not eventprop.verify(replace(network, fused=False), params, times[:1], labels[:1], loss).ok


@pytest.mark.parametrize(
    ("taus", "threshold"),
    [
        *(((tau, tau), threshold) for tau in (1e-6, 1e3, 1e-200) for threshold in (0.1, None)),
        *((taus, None) for taus in ((1e-3, 5.0), (5.0, 1e-3), (1e-14, 5.0))),  # fast membranes would fire without end
    ],
)
def test_kernels_find_the_same_at_extremes(taus, threshold):
    """Intervals after which nothing is left of a state, and membranes that follow the current at once."""
    pytest.importorskip("numba")
    layer = eventprop.Layer(3, 5, tau_mem=taus[0], tau_syn=taus[1], threshold=threshold, mean=1.0, std=0.5)
    network, times = eventprop.Network([layer], 40.0), np.random.default_rng(0).uniform(0.0, 20.0, (4, 3))
    ours, theirs = (replace(network, fused=fused).run(network.init(0), times) for fused in (True, False))
    np.testing.assert_array_equal(ours.spikes[0].sources, theirs.spikes[0].sources)
    np.testing.assert_allclose(ours.spikes[0].times, theirs.spikes[0].times, rtol=ROUNDING)
    np.testing.assert_allclose(ours.maxima, theirs.maxima, rtol=ROUNDING)


def test_kernels_need_numba(monkeypatch):
    monkeypatch.setattr(layer_kernel, "has_numba", lambda: False)
    network, params, times, _, _ = small()
    with pytest.raises(RuntimeError, match="fused=True, but Numba is not installed"):
        replace(network, fused=True).run(params, times)
