"""``snn.run`` against the loop on drawn ``forward``s that do all kinds of things: none may be wrong without a word."""

from __future__ import annotations

import copy
import random
import warnings

import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

import spikecore.nn as snn  # noqa: E402
from spikecore import utils  # noqa: E402

T, B, N = 8, 4, 6

#: What is done to a neuron before its call.
BEFORE = [
    lambda net, lif, x: None,
    lambda net, lif, x: setattr(lif, "mem", torch.zeros_like(x)),
    lambda net, lif, x: lif.reset_mem(),
    lambda net, lif, x: lif.detach_hidden(),
    lambda net, lif, x: net.trace.mul_(0.5).add_(x.detach().mean(0)),
    lambda net, lif, x: x.mul_(0.9),
]
#: What is done to it after the call, and to its spikes.
AFTER = [
    lambda net, lif, s: s,
    lambda net, lif, s: (setattr(lif, "mem", lif.mem.clamp(-0.2, 0.4)), s)[1],
    lambda net, lif, s: (setattr(lif, "mem", torch.where(s > 0, torch.zeros_like(lif.mem), lif.mem)), s)[1],
    lambda net, lif, s: (setattr(lif, "mem", lif.mem.detach()), s)[1],
    lambda net, lif, s: (lif.mem.data.mul_(0.5), s)[1],
    lambda net, lif, s: (lif.mem.mul_(0.5), s)[1],
    lambda net, lif, s: (utils.detach(net), s)[1],
    lambda net, lif, s: s + 0.1 * lif.mem,
    lambda net, lif, s: s * net.gate,
    lambda net, lif, s: (net.trace.copy_(s.detach().mean(0)), s)[1],
    lambda net, lif, s: s + net.trace,
    lambda net, lif, s: s.detach() + s * 0.5,
    lambda net, lif, s: s.data * 0.1 + s,
]
#: Reductions of spikes, many of them equal.
REDUCTIONS = [
    lambda s: s / (1 + s.max()),
    lambda s: s / (1 + s.min()),
    lambda s: s * (1 + s.median()),
    lambda s: s * (1 + s.nanmedian()),
    lambda s: s * (1 + s.amax(1, keepdim=True)),
    lambda s: s * (1 + s.max(dim=1, keepdim=True).values),
    lambda s: s + s.sort(dim=1).values,
    lambda s: s + s.topk(2, dim=1).values.sum(1, keepdim=True),
    lambda s: s * (1 + s.norm()),
    lambda s: s * (1 + s.norm(float("inf"))),
    lambda s: s + s.cummax(dim=1).values,
    lambda s: s + torch.aminmax(s).max,
    lambda s: s * (1 + s.quantile(0.5)),
    lambda s: s + s.std(),
    lambda s: s + F.max_pool1d(s[:, None], 3, 1, 1)[:, 0],
    lambda s: s + F.adaptive_max_pool1d(s[:, None], 2)[:, 0].repeat(1, 3),
    lambda s: s + s.gather(1, s.argmax(1, keepdim=True)),
    lambda s: s + s.prod(),
    lambda s: s + torch.maximum(s, s.roll(1, 1)),
    lambda s: s * (1 + s.logsumexp(1, keepdim=True)),
    lambda s: s * (s.kthvalue(2, dim=1, keepdim=True).values + 1),
    lambda s: s + s.mode(1, keepdim=True).values,
    lambda s: s * 1.0,
]
#: What draws random numbers, or does not.
DRAWS = [
    lambda net, x: x,
    lambda net, x: net.drop(x),
    lambda net, x: x + 0.1 * torch.randn_like(x),
    lambda net, x: x * random.uniform(0.9, 1.1),
    lambda net, x: net.norm(x),
]


class Drawn(nn.Module):
    def __init__(self, seed):
        super().__init__()
        draw, self.depth = random.Random(seed), 2
        torch.manual_seed(seed)
        self.fcs = nn.ModuleList(nn.Linear(N, N) for _ in range(2))
        self.lifs = nn.ModuleList(draw.choice(NEURONS)() for _ in range(2))
        self.drop, self.norm, self.gate = nn.Dropout(0.3), nn.BatchNorm1d(N), nn.Parameter(torch.rand(N))
        self.register_buffer("trace", torch.zeros(N))
        rarely = lambda some, often: [draw.choice(some) if draw.random() < often else some[0] for _ in range(2)]  # noqa: E731
        self.before, self.after = rarely(BEFORE, 0.15), rarely(AFTER, 0.5)
        self.reduce = [draw.choice(REDUCTIONS) if draw.random() < 0.5 else REDUCTIONS[-1] for _ in range(2)]
        self.draw = rarely(DRAWS, 0.25)
        if draw.random() < 0.1:
            self.fcs[1].register_forward_hook(lambda module, given, made: made * 2)
        self.train(draw.random() < 0.7)

    def forward(self, x):
        for i, (fc, lif) in enumerate(zip(self.fcs, self.lifs)):
            x = self.draw[i](self, fc(x))
            self.before[i](self, lif, x)
            x = self.reduce[i](self.after[i](self, lif, lif(x)))
        return x


H = {"threshold": 0.3, "init_hidden": True}
NEURONS = (
    lambda: snn.Leaky(0.8, **H),
    lambda: snn.Leaky(0.8, learn_beta=True, **H),
    lambda: snn.Synaptic(0.7, 0.8, **H),
)


def looped(net, x):
    utils.reset(net)
    return torch.stack([net(row) for row in x])


def seeded(net, x, way):
    """Output, gradients, states and buffers of a way; or the error."""
    torch.manual_seed(1)
    random.seed(1)
    x = x.clone().requires_grad_()
    try:
        y = way(net, x)
        leaves = [x, *net.parameters()]
        weights = torch.linspace(0.5, 1.5, y.numel(), dtype=y.dtype).reshape(y.shape)
        grads = torch.autograd.grad((y * weights).sum(), leaves, allow_unused=True)
    except RuntimeError as error:
        return type(error)
    states = [value.detach() for value in utils.get_state(net).values()]
    return [y.detach(), *(torch.zeros(1) if g is None else g for g in grads), *states, *net.buffers()]


def right(seed):
    """Whether both ways give the same; and whether the network ran at once."""
    one, x = Drawn(seed).double(), 2 * torch.randn(T, B, N, generator=torch.Generator().manual_seed(seed)).double()
    two, said = copy.deepcopy(one), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = seeded(one, x, lambda net, x: snn.run(net, x, explain=said.append))
    wanted = seeded(two, x, looped)
    if isinstance(wanted, type):
        assert found == wanted, seed
        return False
    assert not isinstance(found, type), (seed, found)
    scale = max(float(g.abs().max()) for g in wanted)
    for mine, other in zip(found, wanted):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-8 * scale, equal_nan=True, msg=f"{seed}: {said}")
    return not said[0].startswith("the network: step by step")


@pytest.mark.parametrize("count", [30, pytest.param(400, marks=pytest.mark.slow)])
def test_drawn_forwards_are_never_wrong_without_a_word(count):
    at_once = sum(map(right, range(count)))
    assert 0.2 * count < at_once < 0.8 * count
