"""What tests of the conversion table in docs/migrating_others.md share: both sides over a sequence, compared."""

from __future__ import annotations

import torch

import spikecore.nn as snn
from spikecore import surrogate

GRID = torch.linspace(-3.0, 3.0, 121, dtype=torch.float64)  # potential minus threshold


def sequence(high=0.9):
    """Currents (time, batch, neurons) below a threshold of 1: an immediate reset leaves nothing above it."""
    return high * torch.rand(100, 8, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def gradients(spikes, x):
    weights = torch.rand(spikes.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return torch.autograd.grad((spikes * weights).sum(), x)[0]


def assert_same_neuron(neuron, theirs, gain=1.0, x=None):
    """Equal spikes and equal gradients by the input; ``gain`` multiplies the input of our neuron."""
    made = []
    for run in (lambda x: snn.run(neuron, gain * x), theirs):
        inputs = (sequence() if x is None else x).clone().requires_grad_()
        out = run(inputs)
        spikes = out[0] if isinstance(out, tuple) else out
        made.append((spikes.detach(), gradients(spikes, inputs)))
    (spikes, grads), (expected, expected_grads) = made
    assert 0.02 < float(expected.mean()) < 0.6
    assert torch.equal(spikes, expected.to(spikes.dtype))
    assert float((grads - expected_grads).abs().max()) <= 1e-6 * float(expected_grads.abs().max())


def assert_same_curve(ours, theirs):
    """Equal derivatives on a grid; ``theirs`` are values on it."""
    u = GRID.clone().requires_grad_()
    (derivative,) = torch.autograd.grad(ours(u).sum(), u)
    torch.testing.assert_close(derivative, theirs.to(torch.float64), rtol=1e-5, atol=1e-7)


def leaky(beta, reset, at_once, grad=None, **options):
    """Our neuron with the hidden state that ``snn.run`` starts from."""
    grad = surrogate.atan(2.0) if grad is None else grad
    return snn.Leaky(
        beta, reset_mechanism=reset, reset_delay=not at_once, spike_grad=grad, init_hidden=True, **options
    ).double()
