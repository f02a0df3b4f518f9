"""``snn.run`` on functions and methods, called in the ways that torch allows: it must equal the loop."""

from __future__ import annotations

import logging

import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

import spikecore.nn as snn  # noqa: E402
from spikecore import surrogate, utils  # noqa: E402

OWN = surrogate.custom_surrogate(lambda u, g, s: g / (1 + u.abs()))


class Net(nn.Module):
    """A network of a function of its linear layer's output and its input."""

    def __init__(self, function):
        super().__init__()
        self.function, self.fc, self.lif = function, nn.Linear(6, 6), snn.Leaky(0.9, init_hidden=True)
        self.norm = nn.BatchNorm1d(6)
        self.register_buffer("low", torch.linspace(-1, 0, 24).reshape(4, 6))

    def forward(self, x):
        return self.function(self, self.fc(x), x)


def loop(net, x):
    utils.reset(net)
    return torch.stack([net(row) for row in x])


CALLS = {
    "relu-keyword": (lambda net, y, x: net.lif(torch.relu(input=y)), ""),
    "linear-keyword": (lambda net, y, x: net.lif(F.linear(input=x, weight=net.fc.weight)), ""),
    "add-keyword": (lambda net, y, x: net.lif(torch.add(y, other=x)), ""),
    "surrogate": (lambda net, y, x: net.lif(3 * surrogate.atan()(y - 0.1)), ""),
    "surrogate-of-its-own": (lambda net, y, x: net.lif(OWN(y)), "whose derivative is a function of its own"),
    "mul-parameter-first": (lambda net, y, x: net.lif(net.norm.weight * y), ""),
    "mul-keywords": (lambda net, y, x: net.lif(torch.mul(input=y, other=x)), ""),
    "add-parameter-keyword": (lambda net, y, x: net.lif(torch.add(y, other=net.low)), ""),
    "flatten-keyword": (lambda net, y, x: torch.flatten(input=net.lif(y)), ""),
    "layer-keyword": (lambda net, y, x: net.lif(net.fc(input=x)), ""),
    "clamp-tensor": (lambda net, y, x: net.lif(torch.clamp(y, min=net.low)), ""),
    "view-dtype": (lambda net, y, x: net.lif(y).view(torch.int32), ""),
    "and": (lambda net, y, x: net.lif(((y > 0) & (x > 0)).float()), ""),
    "contiguous-format": (
        lambda net, y, x: net.lif(y.view(4, 2, 3, 1).contiguous(memory_format=torch.channels_last)),
        "",
    ),
    "relu_": (lambda net, y, x: net.lif(torch.relu_(y)), ""),
    "F.relu_": (lambda net, y, x: net.lif(F.relu_(y)), ""),
    "clamp_": (lambda net, y, x: net.lif(torch.clamp_(y, 0, 1)), ""),
    "inplace-position": (lambda net, y, x: net.lif(F.relu(y, True)) + y, ""),
    "out": (lambda net, y, x: torch.add(net.lif(y), x, out=torch.empty_like(x)), ""),
    "batch-norm-in-c": (
        lambda net, y, x: net.lif(
            torch.batch_norm(
                y, net.norm.weight, net.norm.bias, net.norm.running_mean, net.norm.running_var, True, 0.1, 1e-5, False
            )
        ),
        "does not say whether it trains",
    ),
    "rand_like": (lambda net, y, x: net.lif(y * torch.rand_like(y)), ""),
    "normal": (lambda net, y, x: net.lif(y + torch.normal(y.detach(), 1.0)), ""),
    "gumbel_softmax": (lambda net, y, x: net.lif(F.gumbel_softmax(y) * 6), ""),
    "rrelu": (lambda net, y, x: net.lif(F.rrelu(y, training=True)), ""),
    "dropout-in-c": (lambda net, y, x: net.lif(torch.dropout(y, 0.5, True)), ""),
    "dropout-off": (lambda net, y, x: net.lif(F.dropout(y, 0.5, False)), ""),
    "dropout_": (lambda net, y, x: net.lif(F.dropout(y, 0.5, True, True)), "works in place"),
    "two-draws": (lambda net, y, x: net.lif(y * torch.rand_like(y) + torch.randn_like(x)), "2 layers draw"),
    "item": (lambda net, y, x: net.lif(y * x.sum().item()), "item makes something else at every step"),
    "varying-shape": (
        lambda net, y, x: net.lif(net.norm(y)) + F.dropout(y)[y > 0].sum(),
        "makes something else at every step",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_equals_the_loop(name):
    function, reason = CALLS[name]
    torch.manual_seed(0)
    one, two = Net(function), Net(function)
    two.load_state_dict(one.state_dict())
    x = 2 * torch.randn(7, 4, 6)
    lines, outputs = [], []
    for net, how in ((one, lambda net, x: snn.run(net, x, explain=lines.append)), (two, loop)):
        torch.manual_seed(1)
        with torch.set_grad_enabled(name != "out"):
            outputs.append(how(net, x.clone()))
        outputs.append(torch.rand(1))
    got, drawn, wanted, expected = outputs
    assert torch.equal(drawn, expected)  # as many draws
    assert got.dtype == wanted.dtype
    assert got.shape == wanted.shape
    assert (got - wanted).abs().max() < 1e-5
    assert lines[0].startswith("the network: step by step") == bool(reason)
    assert reason in lines[0]
    if got.requires_grad:
        got.sum().backward()
        wanted.sum().backward()
        assert (one.fc.weight.grad - two.fc.weight.grad).abs().max() < 1e-4
    assert torch.equal(one.norm.running_mean, two.norm.running_mean)


def test_pools_that_return_indices():
    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.pool, self.lif = nn.MaxPool2d(2, return_indices=True), snn.Leaky(0.9, init_hidden=True)

        def forward(self, x):
            values, places = self.pool(x)
            return self.lif(values) + places

    x = 2 * torch.rand(5, 2, 3, 4, 4)
    assert torch.equal(snn.run(Pooled(), x), loop(Pooled(), x))


def test_an_input_may_be_called_like_a_method():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop, self.lif = nn.Dropout(0.5), snn.Leaky(0.9, init_hidden=True)

        def forward(self, t):
            return self.lif(self.drop(t))

    lines = []
    snn.run(Named(), torch.rand(5, 4, 6), explain=lines.append)
    assert lines[0].startswith("drop (Dropout): step by step: it draws")


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch, about itself
@pytest.mark.parametrize("inside", [False, True], ids=["the network", "a layer"])
@pytest.mark.parametrize("in_place", [False, True], ids=["torch.compile", "Module.compile"])
def test_what_is_compiled_for_steps_is_called_at_every_step(inside, in_place, monkeypatch):
    logged = []  # torch logs what it cannot guard
    monkeypatch.setattr(logging.Logger, "callHandlers", lambda _, record: logged.append(record))
    net = nn.Sequential(nn.Linear(4, 30), nn.ReLU(), snn.Leaky(0.9, init_hidden=True, threshold=0.2))
    net.requires_grad_(False)  # Dynamo warns of its own look at gradients
    x = torch.rand(5, 2, 4)
    expected, said = snn.run(net, x), []
    part = net[1] if inside else net
    if in_place:
        part.compile(backend="eager")
    elif inside:
        net[1] = torch.compile(part, backend="eager")
    else:
        net = torch.compile(part, backend="eager")
    assert expected.any()
    assert torch.equal(snn.run(net, x, explain=said.append), expected)
    assert "torch.compile has compiled a part of it" in said[0]
    assert torch.equal(snn.run(net, x), expected)
    assert not [record.getMessage() for record in logged if record.levelno >= logging.ERROR]


def test_compiled_around():
    net, x = Net(lambda net, y, x: net.lif(torch.relu(y))), 2 * torch.rand(5, 4, 6)
    torch.compiler.reset()
    compiled = torch.compile(lambda x: snn.run(net, x), backend="eager")
    with torch.no_grad():  # Dynamo warns of its own look at gradients
        assert torch.equal(compiled(x), loop(net, x))


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch, about itself
def test_compiled_as_a_whole():
    """D6: not around a run, as the page says, but around a loop of the user's."""
    net, x = nn.Sequential(nn.Linear(6, 5), snn.Leaky(0.9, init_hidden=True)), 2 * torch.rand(5, 4, 6)

    def whole(x):
        utils.reset(net)
        return torch.stack([net(step) for step in x])

    torch.compiler.reset()
    with torch.no_grad():
        compiled = torch.compile(whole, fullgraph=True, backend="eager")(x)
        assert torch.equal(compiled, snn.run(net, x))
        with pytest.raises(torch._dynamo.exc.Unsupported):
            torch.compile(lambda x: snn.run(net, x), fullgraph=True, backend="eager")(x)
