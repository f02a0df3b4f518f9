"""``snn.run`` of networks that ``torch.nn.utils.prune`` masks."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils import prune  # noqa: E402

import spikecore.nn as snn  # noqa: E402
from spikecore.kernels.sizes import taken_as_larger  # noqa: E402
from spikecore.utils import reset  # noqa: E402


def chain():
    """A chain of layers, which runs without a look at ``forward``."""
    return nn.Sequential(nn.Linear(12, 40), leaky(), nn.Linear(40, 24), leaky()), torch.rand(6, 5, 12)


def maps():
    """A network with a convolution."""
    layers = nn.Conv2d(2, 4, 3, padding=1), leaky(), nn.Conv2d(4, 4, 3, padding=1), leaky(), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(100, 3), leaky()), torch.rand(6, 5, 2, 5, 5)


def leaky():
    return snn.Leaky(beta=0.9, threshold=0.2, init_hidden=True)


def pruned(make):
    """A network with masks, and its input."""
    torch.manual_seed(0)
    net, x = make()
    for layer in net:
        if hasattr(layer, "weight"):
            prune.l1_unstructured(layer, "weight", amount=0.9)
            prune.random_unstructured(layer, "bias", amount=0.4)
    with torch.no_grad():
        net[2].weight_orig[net[2].weight_mask.nonzero(as_tuple=True)[0][0]] = 0.0  # by accident, and it may learn
    return net, x


def learnt(net, run, x):
    """Spikes, and the gradients of what has masks."""
    reset(net)
    spikes = run(net, x)
    (spikes * torch.linspace(-1.0, 1.0, spikes.shape[-1])).sum().backward()
    return spikes, [p.grad for p in net.parameters()]


@pytest.mark.parametrize("larger", [1.0, 1e9], ids=["dense", "by entries"])
@pytest.mark.parametrize("make", [chain, maps])
def test_masks_are_multiplied_once_and_all_steps_run_at_once(make, larger):
    """A masked network equals its loop, spikes and gradients; no layer goes step by step, and its hooks are back."""
    net, x = pruned(make)
    told = []
    snn.run(net, x, explain=told.append)
    assert "step by step:" not in told[0]
    with taken_as_larger(larger):
        spikes, gradients = learnt(net, snn.run, x)
    assert all(layer._forward_pre_hooks for layer in net if hasattr(layer, "weight_orig"))
    twin, _ = pruned(make)
    wanted, theirs = learnt(twin, lambda net, x: torch.stack([net(one) for one in x]), x)
    assert 0.0 < wanted.mean() < 1.0
    assert torch.equal(spikes, wanted)
    for found, own in zip(gradients, theirs):
        torch.testing.assert_close(found, own, rtol=1e-4, atol=1e-5)
    zero = (net[2].weight_orig == 0) & (net[2].weight_mask == 1)
    assert zero.any()
    assert net[2].weight_orig.grad[zero].any()


def test_other_hooks_beside_masks_see_every_call():
    """A hook of the user's own is called at each step, as without masks."""
    net, x = pruned(chain)
    calls = []
    net[0].register_forward_pre_hook(lambda *_: calls.append(1))
    snn.run(net, x)
    assert len(calls) == len(x)


def test_gradients_of_kept_zeros_are_left_out_only_where_a_mask_is_zero():
    """Where every zero of a weight is one of its mask, large products know it."""
    from spikecore.engines.torch.nn.hooks import masked

    net, _ = pruned(chain)
    with masked(net.modules()) as addresses:
        assert addresses[:2] == [net[0].weight.data_ptr(), net[0].bias.data_ptr()]
        assert net[2].weight.data_ptr() not in addresses


class StraightThrough(prune.BasePruningMethod):
    """A way of pruning of a user's own, whose masked weights learn on."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t, default_mask):
        return default_mask * (t.abs() > t.abs().median())

    def apply_mask(self, module):
        weight, mask = getattr(module, self._tensor_name + "_orig"), getattr(module, self._tensor_name + "_mask")
        return weight + (weight * mask - weight).detach()


def test_a_way_of_masking_of_ones_own_runs_step_by_step():
    torch.manual_seed(0)
    net, x = chain()
    StraightThrough.apply(net[0], "weight")
    snn.run(net, x).sum().backward()
    assert (net[0].weight_orig.grad[net[0].weight_mask == 0] != 0).any()


def test_masks_of_half_precision():
    net, x = pruned(chain)
    net, x = net.bfloat16(), x.bfloat16()
    reset(net)
    spikes = snn.run(net, x)
    reset(net)
    torch.testing.assert_close(spikes, torch.stack([net(step) for step in x]))
