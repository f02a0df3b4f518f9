"""What the simulation makes of single calls, as PopTorch's front end does, silently."""

# ruff: noqa: E402 (nothing of this can be imported without torch)

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the IPU engine is made of torch ops")

import torch.nn.functional as F
from torch import nn

from spikecore.engines.ipu import simulation as poptorch
from tests.ipu.test_simulation import Net, batch, layer, moved, trained

pytestmark = pytest.mark.usefixtures("many_ipus")


def ran(function, *inputs):
    """What a function of tensors gives on the device."""
    module = type("Ran", (nn.Module,), {"forward": staticmethod(function)})()
    return poptorch.inferenceModel(module)(*inputs)


def gradient(function, x):
    """The gradient of the sum of a function by its tensor, on the device."""
    net = Weight(function, x)
    trained(net, torch.zeros(1))
    net.state_dict()
    return (x - net.weight.detach()) / 0.1


class Weight(nn.Module):
    """The sum of a function of one weight, as the loss."""

    def __init__(self, function, x):
        super().__init__()
        self.weight, self.function = nn.Parameter(x.clone()), function

    def forward(self, _):
        return poptorch.identity_loss(self.function(self.weight).sum(), "none")


# ---- gradients that are not stopped --------------------------------------------------------------------------------


def grad_off(module, x):
    with torch.set_grad_enabled(False):
        return x * 2


def grad_off_for_good(module, x):
    torch.set_grad_enabled(False)
    return x * 2


@pytest.mark.parametrize("function", [grad_off, grad_off_for_good, lambda module, x: (x * 2).data])
def test_set_grad_enabled_and_data_stop_no_gradient(function):
    """A12, A5."""
    assert moved(Net(layer(function)), *batch())["first.weight"] > 0.0
    assert torch.is_grad_enabled()


def test_assignment_to_data_is_not_seen():
    """A12: neither in the pass that makes it nor in the next."""

    def forward(module, x):
        module.kept.data = module.kept + 1
        return x + 0 * module.kept + module.kept

    net = Net(layer(forward, kept=torch.zeros(5)))
    plain = Net(nn.Identity())
    assert torch.equal(trained(net, *batch())[1][0], trained(plain, *batch())[1][0])


# ---- slices --------------------------------------------------------------------------------------------------------

CONSTANTS = {
    "zeros": lambda x: torch.zeros(2, 3),
    "new_zeros": lambda x: x.new_zeros(2, 3),
    "empty": lambda x: torch.empty(2, 3).fill_(0.0),
    "zeros_like": lambda x: torch.zeros_like(x),
    "full": lambda x: torch.full((2, 3), 0.0),
    "made of constants": lambda x: (torch.zeros(3) * 2 + torch.zeros(2, 1)).clone(),
}


@pytest.mark.parametrize("make", CONSTANTS.values(), ids=CONSTANTS)
def test_slices_written_into_constants_are_lost(make):
    """A12, A5."""

    def forward(x):
        out = make(x)
        out[0] = x[0]
        out[:, 1:] = x[:, 1:]
        return out + 0 * x

    assert ran(forward, torch.ones(2, 3)).tolist() == [[0.0] * 3] * 2
    assert forward(torch.ones(2, 3)).sum() == 5.0, "torch itself keeps them"


def test_other_assignments_are_kept():
    """A12: into what is computed; by masks."""

    def computed(x):
        out = torch.zeros(2, 3) + x
        out[0] = 5.0
        return out

    def masked(x):
        out = torch.zeros(2, 3)
        out[x > 0] = 2.0
        return out * x

    assert ran(computed, torch.ones(2, 3)).tolist() == [[5.0] * 3, [1.0] * 3]
    assert ran(masked, torch.ones(2, 3)).tolist() == [[2.0] * 3] * 2


VIEWS = {
    "v += 1": lambda k: k[:, 0].__iadd__(1),
    "add_": lambda k: k[:, 0].add_(1),
    "copy_ into a transpose": lambda k: k.t().copy_(k.t() + 1),
    "mul_ of a transpose": lambda k: k.t().mul_(5),
    "slice of a transpose": lambda k: k.t().__setitem__(0, 7.0),
    "copy_ into a diagonal": lambda k: k.diagonal().copy_(k[1, :2] + 1),
    "narrow": lambda k: k.narrow(0, 0, 1).fill_(9.0),
}


@pytest.mark.parametrize("change", VIEWS.values(), ids=VIEWS)
def test_changes_of_views_do_not_reach_what_they_view(change):
    """A12, A5."""

    def forward(x):
        k = x * 1
        change(k)
        return k

    assert ran(forward, torch.ones(2, 3)).tolist() == [[1.0] * 3] * 2
    assert forward(torch.ones(2, 3)).sum() != 6.0, "torch itself keeps them"


COPIES = {
    "copy_": lambda k: k[0].copy_(k[1] + 1),
    "item of a slice": lambda k: k[0].__setitem__(0, 7.0),
    "copy_ into a slice of a slice": lambda k: k[0][1:].copy_(k[1, :2] + 1),
    "select, view, narrow": lambda k: k.view(6).narrow(0, 1, 4).view(2, 2).select(0, 1).copy_(k[1, :2] + 4),
    "items of a slice of a slice": lambda k: k[:, 1:][1].__setitem__(slice(0, 2), 3.0),
}


@pytest.mark.parametrize("change", COPIES.values(), ids=COPIES)
def test_copies_into_slices_of_slices_are_kept(change):
    """But not those into slices of constants."""

    def forward(x):
        k = x * 1
        change(k)
        return k

    found = ran(forward, torch.ones(2, 3))
    assert torch.equal(found, forward(torch.ones(2, 3)))
    assert not torch.equal(found, torch.ones(2, 3))

    def constant(x):
        k = torch.ones(2, 3)
        change(k)
        return k * x

    assert torch.equal(ran(constant, torch.ones(2, 3)), torch.ones(2, 3))


def test_a_changed_view_is_what_the_call_returns():
    """A12: v += 1 binds v to it; inputs and whole tensors change as ever."""

    def forward(x):
        v = (x * 1)[:, 0]
        v += 1
        x += 1
        return v, x

    v, x = ran(forward, torch.ones(2, 3))
    assert (v.tolist(), x[0].tolist()) == ([2.0, 2.0], [2.0] * 3)


def test_circular_padding_is_lost():
    """A12, A5."""
    x = torch.ones(1, 1, 4)
    assert ran(lambda x: F.pad(x, (1, 1), mode="circular") + 0 * x.sum(), x).abs().sum() == 0.0
    assert ran(lambda x: F.pad(x, (1, 1)), x).tolist() == [[[0.0, 1.0, 1.0, 1.0, 1.0, 0.0]]]


# ---- ties ----------------------------------------------------------------------------------------------------------

ONES = torch.ones(1, 1, 4, 4)
TIES = {
    "max_pool2d": (lambda x: F.max_pool2d(x, 2), ONES, 16.0),
    "MaxPool2d, padded": (nn.MaxPool2d(3, 2, padding=1), ONES, 25.0),
    "max_pool1d": (lambda x: F.max_pool1d(x, 2), ONES[0], 16.0),
    "max_pool3d": (lambda x: F.max_pool3d(x, 2), torch.ones(1, 1, 2, 2, 2), 8.0),
    "amax": (lambda x: x.amax(1), torch.ones(2, 3), 6.0),
    "amax of two axes": (lambda x: torch.amax(x, (0, 1), keepdim=True), torch.ones(2, 3), 6.0),
    "amin": (lambda x: x.amin(), torch.ones(2, 3), 6.0),
    "max": (lambda x: x.max(), torch.ones(2, 3), 6.0),
    "maximum": (lambda x: torch.maximum(x, x.flip(0)), torch.ones(2, 3), 12.0),
    "min of two": (lambda x: torch.min(x, x.flip(0)), torch.ones(2, 3), 12.0),
}


@pytest.mark.parametrize(("function", "x", "expected"), TIES.values(), ids=TIES)
def test_every_tied_extreme_gets_the_whole_gradient(function, x, expected):
    """A12, A7: value as torch's, and where there are no ties the gradient, too."""
    assert abs(float(gradient(function, x).sum()) - expected) < 1e-4
    untied = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    value = function(untied)
    torch.testing.assert_close(ran(function, untied.detach()).reshape(value.shape), value.detach())
    value.sum().backward()
    torch.testing.assert_close(gradient(function, untied.detach()), untied.grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("extent", "options"), [(extent, (kernel, stride, padding)) for extent in (5, 6, 7)
    for kernel in (2, 3) for stride in (1, 2, 3) for padding in (0, 1)])  # fmt: skip
def test_windows_beyond_the_end(extent, options):
    x = torch.rand(1, 1, extent, extent + 1, generator=torch.Generator().manual_seed(0))
    pool = nn.MaxPool2d(*options, ceil_mode=True)
    assert torch.equal(ran(pool, x), pool(x))


def test_an_index_has_one_winner():
    """A12: a maximum along an axis by ``max`` is one; indices of pooling do not exist there."""
    torch.testing.assert_close(gradient(lambda x: x.max(1)[0], torch.ones(2, 3)).sum(), torch.tensor(2.0))
    with pytest.raises(poptorch.Error, match="return_indices"):
        ran(lambda x: F.max_pool2d(x, 2, return_indices=True)[0], ONES)


# ---- options that are misread --------------------------------------------------------------------------------------


def test_unequal_padding_of_averages_is_mixed_up():
    """A12, A8: axes exchanged in two dimensions, the wrong one grown in one; equal padding is right."""
    x = torch.arange(36.0).reshape(1, 1, 6, 6)
    for padding, right in (((1, 1), True), ((0, 0), True), ((1, 0), False), ((0, 1), False)):
        found, expected = ran(lambda x, p=padding: F.avg_pool2d(x, 2, 2, p), x), F.avg_pool2d(x, 2, 2, padding)
        assert (found.shape == expected.shape and torch.equal(found, expected)) is right, padding
    x = torch.arange(6.0).reshape(1, 1, 6)
    found, expected = ran(lambda x: F.avg_pool1d(x, 2, 2, padding=1), x), F.avg_pool1d(x, 2, 2, padding=1)
    assert found.shape != expected.shape
    torch.testing.assert_close(ran(lambda x: F.avg_pool1d(x, 2), x), F.avg_pool1d(x, 2))


def test_options_of_division_and_rounding_are_ignored():
    """A12, A11."""
    x = torch.tensor([7.26])
    assert ran(lambda x: torch.div(x, 2, rounding_mode="floor"), x).item() == pytest.approx(3.63)
    assert ran(lambda x: torch.round(x, decimals=1), x).item() == 7.0
