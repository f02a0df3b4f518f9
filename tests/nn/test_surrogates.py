"""Surrogates as snnTorch uses its own: called on tensors, by the names of autograd classes, by its neurons."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")

import spikecore.nn as snn  # noqa: E402
from spikecore import surrogate  # noqa: E402

U = torch.linspace(-3.0, 3.0, 61)
OURS = {
    "straight_through_estimator": (), "fast_sigmoid": (10.0,), "atan": (3.0,), "heaviside": (), "sigmoid": (4.0,),
    "spike_rate_escape": (1.0, 5.0), "SFS": (10.0, 0.5),
}  # fmt: skip
CLASSES = {
    "StraightThroughEstimator": "straight_through_estimator", "FastSigmoid": "fast_sigmoid", "ATan": "atan",
    "Heaviside": "heaviside", "Sigmoid": "sigmoid", "SpikeRateEscape": "spike_rate_escape", "SparseFastSigmoid": "SFS",
}  # fmt: skip


def differentiated(function, u=U):
    u = u.clone().requires_grad_()
    spikes = function(u)
    return spikes.detach(), torch.autograd.grad(spikes.sum(), u)[0]


@pytest.fixture(scope="module")
def theirs():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("snntorch.surrogate", reason="compared with snnTorch's")


@pytest.mark.parametrize("name", OURS)
def test_called_on_tensors_they_are_snntorchs(name, theirs):
    spikes, grads = differentiated(getattr(surrogate, name)(*OURS[name]))
    expected, expected_grads = differentiated(getattr(theirs, name)(*OURS[name]))
    assert torch.equal(spikes, expected)
    torch.testing.assert_close(grads, expected_grads, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", CLASSES)
def test_autograd_classes_are_known_by_name(name, theirs):
    options = OURS[CLASSES[name]]
    spikes, grads = differentiated(lambda u: getattr(surrogate, name).apply(u, *options))
    expected, expected_grads = differentiated(lambda u: getattr(theirs, name).apply(u, *options))
    assert torch.equal(spikes, expected)
    torch.testing.assert_close(grads, expected_grads, rtol=1e-5, atol=1e-6)
    assert name in repr(getattr(surrogate, name))


OWN = {
    "linear": lambda u, grad, spikes: grad / (1 + 5 * u.abs()) ** 2,
    "ignores": lambda u, grad, spikes: 1 / (1 + 5 * u.abs()) ** 2,
    "clips": lambda u, grad, spikes: torch.clamp(grad, -0.02, 0.02) / (1 + u.abs()),
    "normalises": lambda u, grad, spikes: grad / (grad.norm() + 1e-3) * (1 + spikes),
    "in place": lambda u, grad, spikes: grad.mul_(0.3).masked_fill_(u.abs() > 0.5, 0.0),
}


def own_gradients(make, neurons, spike_grad, over_time):
    torch.manual_seed(0)
    net = make(spike_grad)
    x = torch.rand(6, 4, 5, generator=torch.Generator().manual_seed(1))
    out = over_time(net, x)
    (out * torch.linspace(-1, 1, out.numel()).reshape(out.shape)).sum().backward()
    return [p.grad for p in net.parameters()]


@pytest.mark.parametrize("kind", OWN)
def test_a_function_gets_the_gradient_that_snntorchs_gets(kind, theirs):
    """In a loop, and in a run of all steps at once: the gradients of all weights are snnTorch's."""
    import snntorch

    def net(library):
        def make(spike_grad):
            own = {"beta": 0.8, "threshold": 0.4, "spike_grad": spike_grad, "init_hidden": True}
            return torch.nn.Sequential(
                torch.nn.Linear(5, 7), library.Leaky(**own), torch.nn.Linear(7, 3), library.Leaky(**own)
            )

        return make

    def loop(net, x):
        return torch.stack([net(step) for step in x])

    expected = own_gradients(net(snntorch), snntorch, theirs.custom_surrogate(OWN[kind]), loop)
    for over_time in (loop, snn.run):
        found = own_gradients(net(snn), snn, surrogate.custom_surrogate(OWN[kind]), over_time)
        for a, b in zip(found, expected):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_classes_whose_original_fails_or_draws():
    _, leaky = differentiated(lambda u: surrogate.LeakySpikeOperator.apply(u, 0.1))
    assert torch.equal(leaky, torch.where(U > 0, 1.0, 0.1))
    spikes, noisy = differentiated(lambda u: surrogate.StochasticSpikeOperator.apply(u, 0.0, 0.2))
    assert torch.equal(spikes, (U > 0).float())
    assert torch.equal(noisy[U > 0], torch.ones_like(noisy[U > 0]))
    assert float(noisy[U <= 0].abs().max()) <= 0.1 + 1e-6
    assert len(noisy[U <= 0].unique()) > 10
    _, triangle = differentiated(lambda u: surrogate.Triangular.apply(u, 2.0))
    assert torch.equal(triangle, differentiated(surrogate.triangular(2.0))[1])
    rule = lambda u, grad, spikes: grad * torch.exp(-abs(u)) + 0 * spikes  # noqa: E731
    _, own = differentiated(lambda u: surrogate.CustomSurrogate.apply(u, rule))
    torch.testing.assert_close(own, torch.exp(-U.abs()))


def test_a_stochastic_surrogate_called_by_itself_asks_for_its_noise():
    with pytest.raises(ValueError, match="Draw the noise beforehand"):
        surrogate.SSO()(U)
    spikes, grads = differentiated(lambda u: surrogate.SSO()(u, noise=torch.full_like(u, 0.75)))
    assert torch.equal(spikes, (U > 0).float())
    torch.testing.assert_close(grads, torch.where(U > 0, 1.0, 0.05))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_the_dtype_follows_the_input(dtype):
    assert surrogate.atan()(U.to(dtype)).dtype == dtype
    assert surrogate.ATan.apply(U.to(dtype), 2.0).dtype == dtype


def test_arrays_of_other_engines_are_taken_too():
    assert surrogate.atan()(np.array([-1.0, 0.0, 1.0])).tolist() == [0.0, 0.0, 1.0]


@pytest.mark.filterwarnings("ignore")
def test_snntorchs_neurons_take_our_surrogates(theirs):
    import snntorch

    grad = surrogate.fast_sigmoid(10.0)
    x = 2 * torch.rand(5, 3, generator=torch.Generator().manual_seed(0))
    runs = []
    for lif in (snn.Leaky(0.9, spike_grad=grad), snntorch.Leaky(0.9, spike_grad=grad)):
        inputs, mem, total = x.clone().requires_grad_(), torch.zeros(3), 0.0
        for step in inputs:
            spikes, mem = lif(step, mem)
            total = total + spikes.sum()
        runs.append(torch.autograd.grad(total, inputs)[0])
    torch.testing.assert_close(*runs)


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(AttributeError, match="did you mean 'atan'"):
        surrogate.atn  # noqa: B018
