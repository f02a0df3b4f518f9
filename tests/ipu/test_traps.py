"""``check`` against everything that is known of PopTorch's front end: a program for each trap, and for each thing that
looks like one and is accepted.
"""

# ruff: noqa: E402 (nothing of this can be imported without torch)

from __future__ import annotations

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the IPU engine is made of torch ops")

import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from spikecore.engines.ipu.check import check
from spikecore.engines.ipu.simulation import identity_loss

GLOBAL, LISTED, COUNTER = torch.full((5,), 0.5), [torch.ones(5)], itertools.count(1)


class Inner(nn.Module):
    """A function of (module, x) as a layer that has a float buffer, a whole-number buffer and a plain tensor."""

    def __init__(self, function):
        super().__init__()
        self.function, self.plain, self.held = function, torch.ones(5), [torch.ones(5)]
        self.register_buffer("memory", torch.zeros(6, 5))
        self.register_buffer("count", torch.zeros(5, dtype=torch.int32))

    def forward(self, x):
        return self.function(self, x)


class Net(nn.Module):
    """A layer called "inner" between two linear ones; it gets six samples of five numbers, and must return as many."""

    def __init__(self, inner):
        super().__init__()
        self.first, self.inner, self.last = nn.Linear(4, 5), inner, nn.Linear(5, 3)

    def forward(self, x, y):
        out = self.last(self.inner(self.first(x)))
        return out, identity_loss(F.cross_entropy(out, y), "none")


def checked(inner, **options):
    inputs = [torch.linspace(-1, 1, 24).reshape(6, 4), torch.arange(6) % 3]
    return check(Net(inner), inputs, **options)


def program(source):
    """The lines of a program as a layer: they see the layer as m and its input as x."""
    lines = "\n".join(f"    {line}" for line in source.strip("\n").split("\n"))
    names = {"torch": torch, "F": F, "nn": nn, "np": np, "checkpoint": checkpoint, "GLOBAL": GLOBAL, "LISTED": LISTED,
             "COUNTER": COUNTER, "Square": Square}  # fmt: skip
    exec(f"def forward(m, x):\n{lines}", names)
    return Inner(names["forward"])


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * x

    @staticmethod
    def backward(ctx, g):
        return g


def cases(table):
    return [pytest.param(trap, source, id=f"{trap}: {source[:50]}") for trap, sources in table for source in sources]


TRAPS = cases([
    ("lost write", [
        # into a part of constants
        "out = torch.zeros(6, 5)\nout[0] = x[0]\nreturn out + x",
        "out = torch.zeros(6, 5)\nfor t in range(6): out[t] = x[t]\nreturn out",
        "out = x.new_zeros(6, 5)\nout[:, 0] = x[:, 0]\nreturn out",
        "out = torch.empty(6, 5)\nout[:3] = x[:3]\nout[3:] = x[3:]\nreturn out",
        "out = torch.zeros_like(x)\nout[1:3, 2] = x[1:3, 2]\nreturn out",
        "out = torch.ones(5, device=x.device) * 2\nout[0] = 1.0\nreturn x * out",
        "out = torch.full((6, 5), 2.0)\nout.narrow(0, 1, 2).copy_(x[:2])\nreturn out",
        "out = torch.tensor([0.0] * 5)\nout[0] = x[0, 0]\nreturn x * out",
        "out = GLOBAL.to(x.device)\nout[0] = x[0, 0]\nreturn x * out",
        "return F.pad(x[:, None], (2, 1), mode='circular')[:, 0, 2:-1]",
        # into a view, where what it is a view of is read later
        "k = x * 1\nv = k[:, 0]\nv += 1\nreturn k",
        "k = x * 1\nv = k[:, 0]\nv.mul_(2)\nreturn k[:, :1] * x",
        "k = x * 1\nk[0].zero_()\nreturn k",
        "k = x * 1\nk[0].fill_(2.0)\nreturn k",
        "k = x * 1\nF.relu(k[:, :2], inplace=True)\nreturn k",
        "k = x * 1\nk.t()[0] = 0.0\nreturn k",
        "k = x * 1\nk.view(-1)[0] = 1.0\nreturn k",
        "k = x * 1\nk.view(30).copy_(torch.ones(30))\nreturn k",
        "k = x.detach() * 1\nk.unbind(0)[0].copy_(k[1])\nreturn x + k",
        "k = x * 1\nk[0][k[0] > 0] = 0.0\nreturn k",
        "k = x.detach() * 1\ntorch.add(k[1], 1, out=k[0])\nreturn x + k",
        # into what there are views of, where a view is read later
        "k = x * 1\nv = k[:, 0]\nk += 1\nreturn x * v[:, None]",
        "k = x * 1\nd = k.detach()\nk.mul_(2)\nreturn x * d",
        # what is read by the next call
        "m.memory[0].add_(1)\nreturn x",
    ]),
    ("operator", [
        "k = x * 1\nk[::2] = 0.0\nreturn k",
        "return x + torch.div(x, 2.0, rounding_mode='floor')",
        "return x + x.div(2.0, rounding_mode='floor')",
        "k = x * 1\nreturn k.div_(2.0, rounding_mode='floor') + x",
        "return x + torch.round(x, decimals=1)",
        "return x + x.triu()",
        "return x + F.max_pool2d(x[None], 3).sum()",
        "return x + torch.max_pool1d(x, 5)",
        "return x + F.avg_pool1d(x, 5)",
        "return x + F.avg_pool3d(x[None, None], (1, 3, 5)).sum()",
        "return x + F.lp_pool2d(x[None] + 2, 2, 2).sum()",
        "return x + x.std()",
        "return x + torch.var(x)",
        "return x + torch.std_mean(x)[0]",
        "return x + (5 * x).int() // 2",
        "return x + torch.floor_divide((9 * x).long(), 4)",
        "return x + F.celu(x, 0.5)",
        "return x + torch.xlogy(x, x * x)",
        "return x + F.avg_pool1d(x[:, None], 3, 1, 1)[:, 0]",
        "return x + F.avg_pool2d(x[None, None], 3, 1, (0, 1))[0, 0, 0, 0]",
        "return x + F.avg_pool2d(x[None, None], 3, divisor_override=2)[0, 0, 0, 0]",
        "return x + F.adaptive_avg_pool2d(x[None, None], 4)[0, 0, 0, 0]",
        "return x + F.max_pool1d(x, 5, return_indices=True)[0]",
        "return x + x.topk(2, sorted=False)[0].sum()",
        "return x + torch.bincount(m.count).sum()",
        "return x + F.one_hot((x[:, 0] > 0).long()).sum()",
        "return F.embedding((x[:, 0] > 0).long(), torch.eye(5).to(x.device), padding_idx=0) * x",
        "return x + F.nll_loss(x, torch.zeros(6, dtype=torch.int64), weight=torch.ones(5))",
        "return x + x.lerp(x * 2, 0.5)",
        "return x + torch.heaviside(x, x)",
        "return x + x[x > 0].sum()",
        "return x + x.tril()",
        "return x + F.huber_loss(x, x * 2)",
        "return x + x.diagonal().sum()",
        "return x.index_add(0, torch.tensor([0]), x[:1])",
    ]),
    (".data", [
        "return x * x.data",
        "return x - (x.data - x)",
        "m.memory.data.copy_(x)\nreturn x",
        "m.memory.data[0] = 1.0\nreturn x",
    ]),
    (".data =", ["m.memory.data = x.detach()\nreturn x"]),
    ("reassigned buffer", ["m.memory = x.detach()\nreturn x"]),
    ("integer buffer", ["m.count += 1\nreturn x", "m.count.copy_(m.count + 1)\nreturn x"]),
    ("no_grad", [
        "with torch.no_grad():\n  s = x.sigmoid()\nreturn x * s",
        "with torch.inference_mode():\n  s = x.sigmoid()\nreturn x * s.clone()",
        "with torch.set_grad_enabled(False):\n  s = x.sigmoid()\nreturn x * s",
        "torch.set_grad_enabled(False)\ns = x.sigmoid()\ntorch.set_grad_enabled(True)\nreturn x * s",
        "return x * torch.no_grad()(torch.sigmoid)(x)",
    ]),
    ("autograd.Function", ["return Square.apply(x)"]),
    ("detach_", ["return x + (x * 1).detach_()"]),
    ("hook", ["x.register_hook(lambda g: 2 * g)\nreturn x"]),
    ("host tensor", [
        "return x + m.plain",
        "return x + m.held[0]",
        "return x + GLOBAL",
        "return x + LISTED[0][None]",
        "return torch.cat([x[:-1], GLOBAL[None]])",
        "k = x * 1\nk[0] = GLOBAL\nreturn k",
        "return torch.where(x > 0, x, GLOBAL)",
        "return x + torch.from_numpy(np.ones(5, 'float32'))",
        "return x + torch.as_tensor([1.0, 2.0, 3.0, 4.0, 5.0])",
        "return x + torch.Tensor([1.0, 2.0, 3.0, 4.0, 5.0])",
        "return x @ torch.eye(5)",
        "return x * torch.hann_window(5)",
        "return x + torch.zeros(5, device='cpu')",
        "return x + torch.zeros(5, device=torch.device('cpu'))",
        "return x + torch.ones_like(GLOBAL)",
        "return x + torch.zeros_like(x, device='cpu')",
        "return x + (GLOBAL * 2 + 1)",
    ]),
    ("host access", [
        "return x * x.max().item()",
        "return x * float(x.sum())",
        "return x if x.sum() > 100 else -x",
        "return x * torch.tensor(x.tolist())",
        "return x.cpu()",
        "return x.to('cpu')",
        "assert torch.equal(x, x)\nreturn x",
    ]),
    ("frozen number", [
        "return x * next(COUNTER)",
        "return x + 1 / next(COUNTER)",
        "return x.clamp(max=float(next(COUNTER)))",
        "return x * torch.tensor(float(next(COUNTER)))",
        "return x + torch.full((5,), float(next(COUNTER)))",
        "return x + x.new_tensor([float(next(COUNTER))] * 5)",
        "return x * torch.as_tensor([float(next(COUNTER))]).to(x.device)",
        "GLOBAL.add_(1.0)\nreturn x + GLOBAL.to(x.device)",
        "return F.dropout(x, p=1 / (1 + next(COUNTER)))",
        "return x.roll(next(COUNTER), 0)",
        "return x + m.memory[next(COUNTER) % 2]",
    ]),
    ("two traces", ["return x * 2 if next(COUNTER) % 2 else x.exp()"]),
    ("dtype", [
        "return x.bfloat16().float()",
        "return x + torch.complex(x, x).real",
        "return x + (torch.tensor(2**20) * 2**20).float()",
    ]),
])  # fmt: skip

ACCEPTED = [
    # tensors that lie on the device, or are moved there
    "return x + torch.eye(5).to(x.device)[0]",
    "return x + GLOBAL.to(x.device)",
    "return x + GLOBAL.to(x)",
    "return x + m.plain.to(x.device, torch.float32)",
    "return x + (GLOBAL * 2 + 1).to(x.device)",
    "return x * float(GLOBAL.sum())",
    "return x * len(m.held)",
    "return x + m.memory",
    "return x + torch.zeros(5, device=x.device)",
    "return x + torch.tensor([1.0] * 5) + x.new_tensor([1.0] * 5) + torch.arange(5) + torch.linspace(0, 1, 5)",
    "return x + torch.ones_like(x) + torch.full_like(x, 2.0) + x.new_full((5,), 3.0)",
    "return x if x.device.type == 'ipu' else x.exp() * m.plain",
    # writes that PopTorch carries out
    "k = x * 1\nk[:, 0] += 1\nreturn k",
    "k = x * 1\nv = k[:, 0]\nv += 1\nk[:, 0] = v\nreturn k * v[:, None]",
    "k = x * 1\nk[0] = k[1]\nk[2] = 2.0\nk[1:3, 0] = x[1:3, 1]\nreturn k",
    "k = x * 1\nk[0][1] = 2.0\nreturn k",
    "k = x * 1\nk[k > 0] = 0.0\nreturn k",
    "k = x * 1\nk.add_(1).relu_()\nreturn k[0] + k",
    "k = x * 1\nv = k[:, 0]\nv += 1\nreturn x + v[:, None]",
    "k = x * 1\nv, w = k[:, 0], k[:, 1]\nv += 1\nreturn x + w[:, None] + v[:, None]",
    "out = torch.zeros(6, 5)\nout += x\nout[0] = x[1]\nreturn out",
    "out = torch.zeros(6, 5)\nout = out + x\nreturn out",
    "rows = [r * 2 for r in x.unbind(0)]\nreturn torch.stack(rows)",
    "m.memory.copy_(x.detach())\nreturn x + m.memory",
    "m.memory += 1\nreturn x + m.memory",
    "m.memory[0] = x[0].detach()\nreturn x + m.memory",
    "return x + F.pad(x, (1, 1))[:, 1:-1] + F.pad(x[None], (1, 1), mode='replicate')[0, :, 1:-1]",
    # operators
    "k = x * 1\nk.zero_()\nreturn k + x",
    "k = x * 1\nk.fill_(2.0)\nreturn k + x",
    "return torch.addr(x, x[:, 0], x[0])",
    "return x + torch.rot90(torch.rot90(x))",
    "return torch.where(torch.isinf(x), 0 * x, x)",
    "return x + torch.randint_like(x, 3)",
    "return x + torch.logspace(0, 1, 5)",
    "return x + torch.cov(x).sum()",
    "return F.bilinear(x, x, torch.ones(5, 5, 5))",
    "return x @ torch.triu(torch.ones(5, 5))",
    "return x + torch.trunc(x / 2) + torch.floor(x / 2) + x.round()",
    "return x + x.topk(2)[0].sum() + x.sort()[0] + x.argmax() + x.max(1)[0].sum()",
    "return x + torch.bincount(m.count, minlength=4).sum()",
    "return x + F.one_hot((x[:, 0] > 0).long(), 5)",
    "return x + F.adaptive_avg_pool2d(x[None, None], (3, 5))[0, 0, 0] + F.adaptive_avg_pool1d(x[:, None], 1)[:, 0]",
    "return x + F.avg_pool2d(x[None, None], 3, 1, 1)[0, 0]",
    "return x + F.avg_pool2d(x[None, None], 3, 1, (0, 1), count_include_pad=False)[0, 0, 0, 0]",
    "return F.max_pool1d(x, 3, 1, 1)",
    "return x + nn.MaxPool1d(5)(x) + nn.AvgPool1d(5)(x) + F.max_pool2d(x[None], 3, stride=2).sum()",
    "return x + torch.nanmean(x) + x.nanmean(0) + F.cosine_similarity(x, 2 * x, dim=0)",
    "return x + x.std(0) + torch.var(x, dim=(0, 1)) + torch.std_mean(x, 1, keepdim=True)[0]",
    "return x + (5 * x).abs().int() // 2 + x // 2",
    "return 0.5 * F.elu(x / 0.5) + F.gelu(x, approximate='tanh')",
    "return x[[5, 4, 3, 2, 1, 0]] + x[torch.tensor([0, 1, 2, 3, 4, 5])]",
    "return torch.where(x > 0, x, 0.0).clamp(0, 1) ** 2",
    "return x + torch.rand(5, generator=torch.Generator())",
    "return x * torch.bernoulli(torch.full((5,), 0.5)) + torch.rand(5) + torch.randn_like(x)",
    "return F.dropout(F.layer_norm(x, (5,)), 0.5)",
    # gradients
    "return x * x.sigmoid().detach()",
    "with torch.no_grad():\n  s, fires = x.detach().sigmoid(), x > 0\nreturn x * s * fires",
    "with torch.enable_grad():\n  return x * 2",
    "gradient, = torch.autograd.grad((x * x).sum(), x)\nreturn x + gradient",
    "return checkpoint(torch.sigmoid, x, use_reentrant=True)",
    "return checkpoint(torch.sigmoid, x, use_reentrant=False)",
    # numbers that stay
    "for t in range(3): x = x * (0.5 + t)\nreturn x",
    "return x * float('nan') if False else x.roll(1, 0)",
]


@pytest.mark.parametrize(("trap", "source"), TRAPS)
def test_a_trap_is_found(trap, source):
    """A5, A6, A11: what PopTorch gets silently wrong or refuses, by kind."""
    report = checked(program(source))
    found = [(one.trap, one.layer.split(".")[0]) for one in report.findings if one.error]
    assert (trap, "inner") in found, report
    GLOBAL.fill_(0.5)


@pytest.mark.parametrize("source", ACCEPTED, ids=[source[:60] for source in ACCEPTED])
def test_what_is_fine_is_accepted(source):
    """A11: no wrong refusals."""
    report = checked(program(source))
    assert report.ok, report
    assert {one.trap for one in report.findings} <= {"dtype", "tied maxima"}


def test_tensors_stay_as_they_were():
    """A check leaves nothing on what the user holds."""
    net = Net(program("m.memory[0].add_(1)\nreturn x + GLOBAL.to(x.device)"))
    x, y = torch.rand(6, 4), torch.arange(6) % 3
    check(net, [x, y])
    for tensor in (x, y, GLOBAL, *net.parameters(), *net.buffers()):
        assert not vars(tensor)
    assert float(net.inner.memory.abs().max()) == 0.0
    assert x.device.type == "cpu"
