"""``snn.run`` against the loop, on networks that are drawn from what ``forward`` may do to a step."""

from __future__ import annotations

import copy
import random

import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

import spikecore.nn as snn  # noqa: E402
from spikecore import utils  # noqa: E402

T, B, N = 6, 4, 8


def neuron(draw):
    kind = draw.choice(["leaky", "leaky", "synaptic", "alpha", "rleaky", "delta"])
    hidden = {"init_hidden": True, "output": draw.random() < 0.4}
    if kind == "leaky":
        return snn.Leaky(0.8, threshold=0.3, learn_beta=draw.random() < 0.5, **hidden)
    if kind == "synaptic":
        return snn.Synaptic(0.7, 0.8, threshold=0.3, **hidden)
    if kind == "alpha":
        return snn.Alpha(0.9, 0.8, threshold=0.1, **hidden)
    if kind == "delta":
        return snn.DeltaLeaky(0.2, beta=0.9, init_hidden=True)
    return snn.RLeaky(0.8, linear_features=N, threshold=0.3, **hidden)


class Fires(nn.Module):
    """A neuron; what it returns besides spikes is sometimes looked at."""

    def __init__(self, draw):
        super().__init__()
        self.lif, self.looks = neuron(draw), draw.random() < 0.5

    def forward(self, x):
        made = self.lif(x)
        if not isinstance(made, tuple):
            return made
        mem = made[-1][0] if isinstance(made[-1], tuple) else made[-1]
        return made[0] + 0.1 * mem if self.looks else made[0]


class Several(nn.Module):
    """Containers of neurons, each with its part of the features."""

    def __init__(self, draw):
        super().__init__()
        self.each = nn.ModuleList(snn.Leaky(0.7 + 0.1 * i, threshold=0.3, init_hidden=True) for i in range(2))

    def forward(self, x):
        return torch.cat([lif(part) for lif, part in zip(self.each, x.chunk(2, dim=1))], dim=1)


class Attends(nn.Module):
    def __init__(self, draw):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        tokens = x.view(B, 2, 4)
        return self.attention(tokens, tokens, tokens, need_weights=False)[0].flatten(1)


class Residual(nn.Module):
    def __init__(self, draw):
        super().__init__()
        self.body = part(draw, 1)

    def forward(self, x):
        return x + self.body(x.clone())


class Shared(nn.Module):
    def __init__(self, draw):
        super().__init__()
        self.fc = nn.Linear(N, N)

    def forward(self, x):
        return self.fc(torch.tanh(self.fc(x)))


class Convolves(nn.Module):
    def __init__(self, draw):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 2, 3, padding=1), nn.GroupNorm(1, 2)

    def forward(self, x):
        return F.max_pool2d(self.norm(self.conv(x.reshape(B, 1, 2, 4))), (1, 2)).flatten(1)


class Recurs(nn.Module):
    """torch's own cell, without a state of its own."""

    def __init__(self, draw):
        super().__init__()
        self.cell = nn.GRUCell(N, N)

    def forward(self, x):
        return self.cell(x, torch.zeros(B, N, dtype=x.dtype))


def filled(x):
    out = torch.zeros(B, N, dtype=x.dtype)
    out[:, ::2] = x[:, 1::2]
    out[:, 1] += x[:, 0]
    return out


def raised(x):
    y = x * 2
    y[:, 0] = 0.5
    view = y[:, 1:3]
    view += 1
    y.mul_(0.5).clamp_(-2, 2)
    return y


def aliased(x):
    y = same = x + 1
    y *= 0.5
    return same - y.abs()


def dict_of_parts(x):
    parts = {"a": x[:, :4], "b": x[:, 4:]}
    return torch.hstack([parts["b"], parts["a"]])


FUNCTIONS = [
    filled, raised, aliased, dict_of_parts,
    lambda x: torch.add(input=x, other=x.roll(1, dims=1), alpha=0.5),
    lambda x: F.layer_norm(input=x, normalized_shape=(N,)),
    lambda x: x.softmax(dim=-1) * N,
    lambda x: x.transpose(0, 1).contiguous().t(),
    lambda x: (torch.einsum("bi,bi->b", x, x) + 1).sqrt()[:, None] - x,
    lambda x: torch.where(x > 0, x, 0.1 * x),
    lambda x: x.cumsum(1) / N,
    lambda x: x.sort(dim=1).values,
    lambda x: x - x.mean(dim=0, keepdim=True),
    lambda x: x.unsqueeze(1).expand(-1, 3, -1).amax(dim=1),
    lambda x: F.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None])[:, 0],
    lambda x: torch.stack(x.unbind(1), dim=1),
    lambda x: (x.T @ x / B).sum(0) + x,
    lambda x: x * torch.arange(N) / N,
    lambda x: F.pad(x[:, :-1], (1, 0)),
    lambda x: x if x.shape[0] == B and x.dim() == 2 else -x,
    lambda x: torch.lerp(x, x.flip(1), 0.25).nan_to_num(),
    lambda x: x.clamp(-1e3, 1e3).to(torch.float64),
]  # fmt: skip


class Calls(nn.Module):
    def __init__(self, draw):
        super().__init__()
        self.index = draw.randrange(len(FUNCTIONS))

    def forward(self, x):
        return FUNCTIONS[self.index](x)


class Branches(nn.Module):
    """What depends on the data: the loop alone can follow it, unless all steps agree."""

    def __init__(self, draw):
        super().__init__()
        self.fc = nn.Linear(N, N)

    def forward(self, x):
        return self.fc(x) if x.sum() > 3 else x


def part(draw, depth=0):
    kinds = [Fires, Fires, Fires, Several, Attends, Shared, Convolves, Calls, Calls, Calls, Calls, Recurs]
    kind = draw.choice(kinds + [Residual, Residual] * (depth == 0))
    return kind(draw)


def network(seed):
    draw = random.Random(seed)
    torch.manual_seed(seed)
    parts = [nn.Linear(N, N)]
    for _ in range(draw.randint(2, 6)):
        parts.append(part(draw))
        if draw.random() < 0.3:
            parts.append(nn.Linear(N, N))
    if draw.random() < 0.3:
        parts.insert(draw.randrange(1, len(parts) + 1), nn.BatchNorm1d(N))
    if draw.random() < 0.3:
        parts.insert(draw.randrange(1, len(parts) + 1), nn.Dropout(0.3))
    if draw.random() < 0.05:
        parts.insert(draw.randrange(1, len(parts) + 1), Branches(draw))
    return nn.Sequential(*parts, Fires(draw)).double().train(draw.random() < 0.6)


def gradients(net, out):
    weights = torch.linspace(0.5, 1.5, out.numel()).reshape(out.shape)
    return torch.autograd.grad((out * weights).sum(), list(net.parameters()), allow_unused=True)


def error(a, b):
    return float((a - b).detach().abs().max()) if a is not None else 0.0


def compared(seed):
    """Whether net and loop agree on the network of this seed, and what ran how."""
    one, x = network(seed), 2 * torch.randn(T, B, N, generator=torch.Generator().manual_seed(seed)).double()
    two, said, constant = copy.deepcopy(one), [], seed % 3 == 0
    torch.manual_seed(seed)
    arguments = (x[0].clone(), T) if constant else (x.clone(),)
    got = snn.run(one, *arguments, explain=said.append)
    torch.manual_seed(seed)
    utils.reset(two)
    wanted = torch.stack([two((x[0] if constant else x[t]).clone()) for t in range(T)])
    assert got.shape == wanted.shape
    assert error(got, wanted) <= 1e-5 * max(1.0, float(wanted.detach().abs().max())), said
    theirs = gradients(two, wanted)
    scale = max(float(g.abs().max()) for g in theirs if g is not None)
    for mine, other in zip(gradients(one, got), theirs):
        assert (mine is None) == (other is None)
        assert error(mine, other) <= 1e-5 * scale, said
    for mine, other in zip(utils.get_state(one).values(), utils.get_state(two).values()):
        assert error(mine, other.detach()) <= 1e-5 * max(1.0, float(other.detach().abs().max()))
    for mine, other in zip(one.buffers(), two.buffers()):
        assert error(mine.float(), other.float()) <= 1e-5 * max(1.0, float(other.detach().abs().max()))
    return said[0]


@pytest.mark.parametrize("count", [80, pytest.param(400, marks=pytest.mark.slow)])
def test_drawn_networks_run_as_in_the_loop(count):
    reasons = [said for said in map(compared, range(count)) if said.startswith("the network: step by step")]
    assert len(reasons) <= 0.05 * count, reasons
