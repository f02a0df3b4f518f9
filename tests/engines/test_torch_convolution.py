"""Convolutions of the torch engine: the order of their maps in memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402  (after torch is known to be there)

from spikecore.engines.torch.convolution import conv  # noqa: E402


class Orders(TorchDispatchMode):
    """Notes for each convolution's way back whether its maps have channels last."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.convolution_backward.default:
            maps = args[1]
            self.found.append(maps.is_contiguous(memory_format=torch.channels_last) and not maps.is_contiguous())
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("given_last", [False, True])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("stride", [2, (1, 2), [2, 2]])
@pytest.mark.parametrize("channels", [2, 3, 4, 7, 8, 15])
def test_narrow_filters_of_one_pixel_that_take_steps_get_maps_in_plain_order(channels, stride, last, given_last):
    x = torch.rand(2, channels, 6, 6, requires_grad=True)
    x = x.contiguous(memory_format=torch.channels_last) if given_last else x
    with Orders() as orders:
        conv(x, torch.rand(5, channels, 1, 1, requires_grad=True), stride=stride, last=last).sum().backward()
    assert orders.found == [False]


@pytest.mark.parametrize(("channels", "kernel", "stride"), [(4, 1, 1), (4, 3, 2), (16, 1, 2)])
def test_others_have_channels_last(channels, kernel, stride):
    weight = torch.rand(5, channels, kernel, kernel, requires_grad=True)
    with Orders() as orders:
        conv(torch.rand(2, channels, 6, 6, requires_grad=True), weight, stride=stride).sum().backward()
    assert orders.found == [True]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.jit.trace
def test_a_traced_program_takes_steps_in_plain_order():
    x, weight = torch.rand(2, 4, 6, 6), torch.rand(5, 4, 1, 1)
    traced = torch.jit.trace(lambda maps, filters: conv(maps, filters, stride=2), (x, weight))
    assert torch.equal(traced(x, weight), conv(x, weight, stride=2))
    with Orders() as orders:
        traced(x.requires_grad_(), weight.requires_grad_()).sum().backward()
    assert orders.found == [False]


SHORTCUTS = """
import torch
from spikecore.engines.torch.convolution import conv
for channels in range(1, 16):
    others = []
    for _ in range(40):
        x, weight = torch.rand(4, channels, 16, 16), torch.rand(8, channels, 1, 1, requires_grad=True)
        conv(x.requires_grad_(), weight, stride=2).sum().backward()
        others.append([torch.rand(7) for _ in range(50)])
"""


def test_shortcuts_of_few_channels_leave_memory_as_it_is():
    """Memory that oneDNN has overwritten ends a process, sooner or later: so it is tried in one of its own."""
    done = subprocess.run([sys.executable, "-c", SHORTCUTS], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
