"""``snn.run`` where calls are changed: by functions of one's own, by hooks, and by modules that are exchanged."""

from __future__ import annotations

import re

import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")
from torch import nn  # noqa: E402

import spikecore.nn as snn  # noqa: E402
from tests.nn.test_run_faithful import Net, gradients, leaky, loop, told  # noqa: E402


class Tripling(torch.autograd.Function):
    """Its derivative is not its formula's, as a surrogate's is not."""

    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g * 3


def own_function(net, x):
    return net.lif(Tripling.apply(net.fc(x)))


def returned_function(net, x):
    return Tripling.apply(net.lif(net.fc(x)))


def edited_behind_a_neuron(net, x):
    h = net.fc(x)
    spikes = net.lif(h)
    h += 1
    return spikes + h


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (own_function, "autograd.Function"),
        (returned_function, "autograd.Function"),
        (edited_behind_a_neuron, "^fc"),
    ],
)
def test_gradients_that_stand_ins_would_lose(step, reason):
    torch.manual_seed(0)
    net, x = Net(step), 2 * torch.randn(7, 4, 6)
    assert re.search(reason, told(net, x)[1])
    for got, wanted in zip(gradients(net, x, snn.run), gradients(net, x, loop)):
        assert wanted is None or (got - wanted).abs().max() < 1e-4


def pre_hook(net):
    return net.register_forward_pre_hook(lambda module, given: (given[0] * 3,))


def hook(net):
    return net.register_forward_hook(lambda module, given, made: made * 3)


def backward_hook(net):
    return net.register_full_backward_hook(lambda module, before, behind: (before[0] * 3,))


def inner_backward_hook(net):
    return net[0].register_full_backward_hook(lambda module, before, behind: (before[0] * 3,))


def hook_on_all(net):
    change = lambda module, given, made: made * 3 if isinstance(module, snn.Leaky) else None  # noqa: E731
    return nn.modules.module.register_module_forward_hook(change)


def backward_pre_hook_on_all(net):
    change = lambda module, behind: (behind[0] * 3,) if isinstance(module, snn.Leaky) else None  # noqa: E731
    return nn.modules.module.register_module_full_backward_pre_hook(change)


def exchanged_neuron(net):
    forward = net[2].forward
    net[2].forward = lambda x: forward(x * 3)


def exchanged_relu(net):
    net[1].forward = lambda x: x.cumsum(0)


class Tripled(snn.Leaky):
    def __call__(self, *given):
        return super().__call__(*given) * 3


def own_call(net):
    net[2] = Tripled(0.9, init_hidden=True)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (pre_hook, "hooks are to see every call"),
        (hook, "hooks are to see every call"),
        (backward_hook, "hooks are to see every call"),
        (inner_backward_hook, "hooks are to see every call"),
        (hook_on_all, "hooks are to see every call"),
        (backward_pre_hook_on_all, "hooks are to see every call"),
        (exchanged_neuron, ""),
        (exchanged_relu, ""),
        (own_call, ""),
    ],
)
@pytest.mark.parametrize("traced", [False, True], ids=["sequential", "traced"])
def test_calls_that_are_changed(traced, change, reason):
    class Chain(nn.Sequential):
        pass

    torch.manual_seed(0)
    net = (Chain if traced else nn.Sequential)(nn.Sequential(nn.Linear(6, 5)), nn.ReLU(), leaky())
    handle = change(net)
    x = 2 * torch.rand(5, 4, 6).requires_grad_()
    try:
        got, said = told(net, x)
        wanted = loop(net, x)
        assert torch.equal(got, wanted)
        assert got.any()
        assert torch.equal(*(torch.autograd.grad(y.sum(), x)[0] for y in (got, wanted)))
    finally:
        if handle is not None:
            handle.remove()
    assert said.startswith("the network: step by step") == bool(reason)
    assert reason in said
