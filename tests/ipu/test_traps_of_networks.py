"""``check`` of whole networks: layers of one kind, tied maxima, losses, and weights without a path to the loss."""

# ruff: noqa: E402 (nothing of this can be imported without torch)

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the IPU engine is made of torch ops")

import torch.nn.functional as F
from torch import nn

import spikecore as sc
from spikecore.engines.ipu.check import check
from tests.ipu.test_traps import Inner, Net, checked, program


def over_sequences(layer):
    """A recurrent layer over the samples as if they were steps."""
    inner = Inner(lambda module, x: module.layer(x[None])[0][0])
    inner.layer = layer
    return inner


@pytest.mark.parametrize("layer", [nn.LSTM(5, 5), nn.GRU(5, 5), nn.RNN(5, 5), nn.RNN(5, 5, nonlinearity="relu")])
def test_recurrent_layers_of_one_kind(layer):
    """A11: one layer, one direction, with bias."""
    assert checked(over_sequences(layer)).ok
    for options in ({"num_layers": 2}, {"bias": False}, {"num_layers": 2, "dropout": 0.5}):
        report = checked(over_sequences(type(layer)(5, 5, **options)))
        assert ("operator", "inner.layer") in [(one.trap, one.layer) for one in report.findings if one.error], report


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*weight_norm:UserWarning")
def test_weight_norm_is_accepted():
    """A11: its weight is a plain attribute that is made anew on the device."""
    assert checked(nn.utils.weight_norm(nn.Linear(5, 5))).ok
    if hasattr(nn.utils.parametrizations, "weight_norm"):
        assert checked(nn.utils.parametrizations.weight_norm(nn.Linear(5, 5))).ok


def test_circular_convolution_is_refused_where_it_stands():
    """A5: torch pads it by slice writes into an empty tensor."""
    inner = nn.Sequential(nn.Unflatten(1, (1, 5)), nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular"), nn.Flatten())
    assert ("lost write", "inner.1") in [(one.trap, one.layer) for one in checked(inner).findings if one.error]


def spikes(m, x):
    return (x > 0).to(x.dtype) + x.sigmoid().detach() * (x - x.detach())


TIED = {
    "max_pool1d": lambda m, x: x + F.max_pool1d(spikes(m, x), 5, 5),
    "max_pool2d": lambda m, x: x + F.max_pool2d(spikes(m, x)[None, None], (2, 1), (2, 1))[0, 0].repeat(2, 1),
    "padded": lambda m, x: F.max_pool1d(spikes(m, x), 3, stride=1, padding=1),
    "ceil_mode": lambda m, x: x + F.max_pool1d(spikes(m, x), 2, 2, ceil_mode=True).sum(),
    "dilated": lambda m, x: x + F.max_pool2d(spikes(m, x)[None, None], 2, 2, dilation=2).sum(),
    "max_pool3d": lambda m, x: x + F.max_pool3d(spikes(m, x)[None, None], (1, 3, 5), (1, 3, 5)).sum(),
    "amax": lambda m, x: x + spikes(m, x).amax(1, keepdim=True),
    "amin": lambda m, x: x + spikes(m, x).amin((0, 1)),
    "max": lambda m, x: x + spikes(m, x).max(),
    "maximum": lambda m, x: torch.maximum(x, x.detach()),
}


@pytest.mark.parametrize("function", TIED.values(), ids=TIED)
def test_tied_maxima_of_spikes_are_told(function):
    """A7: each of them gets the whole gradient there; a warning, in training."""
    report = checked(Inner(function))
    assert report.ok, report
    (told,) = [one for one in report.findings if one.trap == "tied maxima"]
    assert told.layer == "inner"
    assert "% of its results" in told.reason
    assert not any(one.trap == "tied maxima" for one in checked(Inner(function), training=False).findings)


@pytest.mark.parametrize("function", list(TIED.values())[:-1], ids=list(TIED)[:-1])
def test_maxima_without_ties_are_not_told(function):
    """A7: of distinct values, also with padding, windows that overlap or reach over the edge."""
    global spikes
    before, globals()["spikes"] = spikes, lambda m, x: x + torch.linspace(0, 1, 30).reshape(6, 5) ** 2
    try:
        report = checked(Inner(function))
    finally:
        globals()["spikes"] = before
    assert not any(one.trap == "tied maxima" for one in report.findings), report


def test_the_share_of_ties():
    """A7: the figure is that of the windows."""
    x = torch.tensor([[1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 2.0, 1.0]])
    inner = Inner(lambda m, given: given + F.max_pool1d(x.to(given.device) + 0 * given.sum(), 2, 2).sum())
    (told,) = [one for one in checked(inner).findings if one.trap == "tied maxima"]
    assert told.reason.startswith("aten::max_pool2d_with_indices: 50% of its results")


def test_losses_that_a_cpu_writes_otherwise():
    """A11: a CPU shows xlogy in kl_div, and masked_select in a smoothed cross-entropy."""
    target = lambda y: F.one_hot(y, 3).float()  # noqa: E731
    for loss in (lambda out, y: F.kl_div(F.log_softmax(out, 1), target(y), reduction="batchmean"),
                 lambda out, y: F.cross_entropy(out, y, label_smoothing=0.1)):  # fmt: skip
        net = Net(nn.Identity())
        net.forward = lambda x, y, loss=loss, net=net: loss(net.last(net.first(x)), y)
        report = check(net, [torch.rand(6, 4), torch.arange(6) % 3])
        assert report.ok, report


def test_gradients_do_not_matter_in_inference():
    """A11: what is only about gradients is no objection to an inference model."""
    for source in (
        "with torch.no_grad():\n  return x.sigmoid()", "return Square.apply(x)", "return x + (x * 1).detach_()"
    ):  # fmt: skip
        assert checked(program(source), training=False).ok, source


def test_weights_without_a_path_to_the_loss_are_told():
    """A11: they have no array of the optimiser's on the device."""
    inner = Inner(lambda module, x: x + module.unused.detach())
    inner.unused = nn.Parameter(torch.ones(5))
    told = [(one.trap, one.layer) for one in checked(inner).findings if not one.error]
    assert ("no gradient", "inner.unused") in told
    inner.unused.requires_grad_(False)
    assert "no gradient" not in [one.trap for one in checked(inner).findings]


def test_dampening_is_told():
    """A11: the velocity starts at 0 there."""
    net = Net(nn.Identity())
    for optimizer in (
        torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, dampening=0.5), sc.SGD(momentum=0.9, dampening=0.5)
    ):  # fmt: skip
        report = checked(nn.Identity(), optimizer=optimizer)
        assert report.ok
        assert any("dampening" in one.reason for one in report.findings)
    plain = checked(nn.Identity(), optimizer=sc.SGD(momentum=0.9))
    assert not any("dampening" in one.reason for one in plain.findings)


def test_an_empty_buffer_is_refused():
    inner = program("return x")
    inner.register_buffer("nothing", torch.zeros(0, 3))
    assert ("empty tensor", "inner.nothing") in [(one.trap, one.layer) for one in checked(inner).findings if one.error]


def test_a_function_is_told_for_its_backward_alone():
    """A11: that torch disables gradients in its forward is no fault of the program's."""
    report = checked(program("return Square.apply(x)"))
    assert [one.trap for one in report.findings if one.error] == ["autograd.Function"], report


def test_numbers_that_change_at_every_step_are_told_once():
    """A6: one finding for each layer, not for each step."""
    report = checked(program("for t in range(20): x = x * next(COUNTER)\nreturn x"))
    assert [one.trap for one in report.findings if one.error] == ["frozen number"]
