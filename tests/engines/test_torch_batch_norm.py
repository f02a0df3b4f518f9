"""Batch normalisation of the torch engine and of ``snn.run``: torch's own, whatever lies how in memory."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import spikecore as sc
import spikecore.nn as snn
from spikecore.api.core.ranks import Ranks
from spikecore.engines.torch import batch_norm as own
from spikecore.engines.torch.across import sync_statistics

T, B, C = 5, 3, 4
SPACES = [(), (6,), (4, 3), (2, 3, 2)]
EACH_SPACE = pytest.mark.parametrize("space", SPACES, ids=lambda space: f"{len(space)}d")


def sequence(space, last, dtype=torch.float64):
    """(time, batch, channels, *space), with the channels last in memory or in order."""
    x = torch.randn(T, B, C, *space, dtype=dtype, generator=torch.Generator().manual_seed(1)) * 2 + 3
    return (x.movedim(2, -1).contiguous().movedim(-1, 2) if last else x).requires_grad_()


def parameters(dtype=torch.float64):
    return [torch.linspace(low, 2, C, dtype=dtype).requires_grad_() for low in (0.5, -1)]


def torchs(x, weight, bias, axis, eps=1e-3):
    """torch's own, of all steps or of each."""
    if 0 in axis:
        return F.batch_norm(x.flatten(0, 1), None, None, weight, bias, True, 0.0, eps).view(x.shape)
    return torch.stack([F.batch_norm(row, None, None, weight, bias, True, 0.0, eps) for row in x])


def ours(x, weight, bias, axis, eps=1e-3):
    assert own.by_rows(x, axis)
    return own.normalized(x, None, weight, bias, axis, eps)[0]


@EACH_SPACE
@pytest.mark.parametrize("last", [True, False], ids=["last", "first"])
@pytest.mark.parametrize("all_steps", [True, False], ids=["all", "each"])
@pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])
@pytest.mark.parametrize("piece", [1, 80, 1 << 19])
def test_values_and_gradients_are_torchs(space, last, all_steps, affine, piece, monkeypatch):
    monkeypatch.setattr(own, "PIECE", piece)
    axis = ((0,) if all_steps else ()) + (1, *range(3, 3 + len(space)))
    x, (weight, bias) = sequence(space, last), parameters() if affine else (None, None)
    wanted, found = (f(x, weight, bias, axis) for f in (torchs, ours))
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    operands = [v for v in (x, weight, bias) if v is not None]
    g = torch.randn(x.shape, dtype=x.dtype)
    for one, other in zip(torch.autograd.grad(found, operands, g), torch.autograd.grad(wanted, operands, g)):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("all_steps", [True, False], ids=["all", "each"])
def test_first_and_second_derivatives(all_steps):
    axis = ((0,) if all_steps else ()) + (1, 3)
    x, (weight, bias) = sequence((2,), last=True), parameters()
    assert torch.autograd.gradcheck(lambda *v: ours(*v, axis), (x, weight, bias))
    assert torch.autograd.gradgradcheck(lambda *v: ours(*v, axis), (x, weight, bias))
    assert torch.autograd.gradcheck(lambda v: own.moments(v, axis), x)
    assert torch.autograd.gradgradcheck(lambda v: own.moments(v, axis), x)


@pytest.mark.parametrize("all_steps", [True, False], ids=["all", "each"])
def test_many_gradients_at_once(all_steps):
    axis = ((0,) if all_steps else ()) + (1, 3)
    x, (weight, bias) = sequence((2,), last=True), parameters()
    for y, operands in ((ours(x, weight, bias, axis), (x, weight, bias)), (own.moments(x, axis), (x,))):
        many = torch.randn(3, *y.shape, dtype=y.dtype)
        found = torch.autograd.grad(y, operands, many, is_grads_batched=True, retain_graph=True)
        each = [torch.autograd.grad(y, operands, g, retain_graph=True) for g in many]
        for one, other in zip(found, map(torch.stack, zip(*each))):
            torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_what_needs_no_gradient_gets_none(frozen):
    operands, axis = [sequence((2, 2), last=True), *parameters()], (1, 3, 4)
    operands[frozen].requires_grad_(False)
    ours(*operands, axis).square().sum().backward()
    assert [v.grad is None for v in operands] == [i == frozen for i in range(3)]


def test_a_mean_far_from_zero_keeps_its_variance():
    """In float32 the mean of squares less the square of the mean would have no digit left."""
    x = (sequence((4, 3), last=True) * 1e-2 + 100).detach()
    found = own.moments(x.float(), (0, 1, 3, 4)).double()
    torch.testing.assert_close(found[1], x.movedim(2, 0).flatten(1).var(1, correction=0), rtol=1e-3, atol=0.0)


@pytest.mark.parametrize(
    "options", [{}, {"affine": False}, {"track_running_stats": False}, {"momentum": 0.5}, {"eps": 0.1}]
)
@pytest.mark.parametrize("maps", [True, False], ids=["maps", "vectors"])
@pytest.mark.parametrize("constant", [True, False], ids=["constant", "varying"])
@pytest.mark.parametrize("behind", [nn.Identity, lambda: nn.ReLU(inplace=True)], ids=["", "in-place"])
def test_run_is_the_loop(options, maps, constant, behind):
    """Outputs, gradients, running statistics and the count of batches."""
    first, kind = (nn.Conv2d(2, C, 2), nn.BatchNorm2d) if maps else (nn.Linear(6, C), nn.BatchNorm1d)
    torch.manual_seed(0)
    net = nn.Sequential(first, kind(C, **options), behind(), snn.Leaky(0.8, threshold=0.3, init_hidden=True)).double()
    x = torch.randn(T, B, *((2, 4, 3) if maps else (6,)), dtype=torch.float64)
    x = x[:1].expand(T, *x.shape[1:]) if constant else x
    nets = net, copy.deepcopy(net)
    found = snn.run(nets[0], x[0], num_steps=T) if constant else snn.run(nets[0], x)
    wanted = torch.stack([nets[1](row) for row in x])
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    for y in (found, wanted):
        (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)).sum().backward()
    for one, other in zip(nets[0].parameters(), nets[1].parameters()):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-10, atol=1e-12)
    for (name, one), other in zip(nets[0].named_buffers(), nets[1].buffers()):
        if not name.startswith("3."):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_run_refuses_a_single_value_per_channel_as_torch_does():
    net = nn.Sequential(nn.Linear(6, C), nn.BatchNorm1d(C), snn.Leaky(0.8, init_hidden=True))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        snn.run(net, torch.randn(T, 1, 6))


# ---- over the parts of several processes ---------------------------------------------------------------------------


class Two(Ranks):
    """This process as the first of two; the other one's part of the batch, and its gradients, are given."""

    size = 2

    def __init__(self, other):
        self.other = other

    def rows(self, x):
        var, mean = torch.var_mean(self.other, dim=(0, 1), correction=0)
        return [x, torch.stack((torch.full_like(mean, float(self.other[..., 0].numel())), mean, var))]

    def sum(self, g):
        return g  # as if the other one's loss did not depend on the statistics


def test_moments_over_two_parts_have_the_gradient_of_the_whole():
    """A layer of a user's own may read moments, not only batch norm, whose gradient is its own."""
    rng = torch.Generator().manual_seed(0)
    mine, other = (torch.randn(3, n, 4, generator=rng, dtype=torch.float64) for n in (5, 2))
    engine = sync_statistics(sc.get_engine("torch", dtype="float64"), Two(other), 7)

    def shared(x):
        return engine.xp.moments(x, (0, 1))

    def whole(x):
        var, mean = torch.var_mean(torch.cat((x, other), 1), dim=(0, 1), correction=0)
        return torch.stack((mean, var))

    x = mine.clone().requires_grad_()
    torch.testing.assert_close(shared(x), whole(x), rtol=1e-12, atol=1e-12)
    weights = torch.randn(2, 4, generator=rng, dtype=torch.float64)
    (found,) = torch.autograd.grad((shared(x) * weights).sum(), x)
    (wanted,) = torch.autograd.grad((whole(x) * weights).sum(), x)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
