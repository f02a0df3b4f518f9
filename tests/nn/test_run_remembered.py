"""What later calls of ``snn.run`` know of a network: that it was compared in this setting, or why it goes by steps."""

from __future__ import annotations

import copy
import pickle
import sys
import warnings

import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")
from torch import nn  # noqa: E402

import spikecore.nn as snn  # noqa: E402
from spikecore.engines.torch.nn import self_check  # noqa: E402
from spikecore.engines.torch.nn.verdicts import MOST  # noqa: E402
from spikecore.errors import TrainingWarning  # noqa: E402
from tests.nn.test_run_self_check import Counted, inputs, told  # noqa: E402
from tests.nn.test_run_states import Net, blind, loop, sparse_input  # noqa: E402


def test_a_network_is_compared_once_in_each_setting():
    net, x = Counted(), inputs()

    def first_then_again(x, *given):
        net.count()
        snn.run(net, x, *given)
        first = net.count()
        snn.run(net, x, *given)
        return first > 1 == net.count()

    def again(x, *given):
        net.count()
        snn.run(net, x, *given)
        return net.count() == 1

    assert first_then_again(x)
    assert again(x[:5, :3])
    assert again(x, None)
    assert first_then_again(x.clone().requires_grad_())
    net.eval()
    assert first_then_again(x)
    net.train()
    assert again(x)
    with torch.no_grad():
        assert first_then_again(x)
    assert first_then_again(x[0], 4)
    net.scale = 2.0
    assert first_then_again(x)
    net.scale = 1.0
    assert again(x)
    net.after = lambda x: x + 1
    assert first_then_again(x)
    net.forward = lambda x: Counted.forward(net, x) * 2
    assert first_then_again(x)
    del net.forward
    assert again(x)
    net.double()
    assert first_then_again(x.double())


@pytest.mark.parametrize(("changed", "value"), [
    ("drop.p", 0.3), ("norm.track", True), ("lif.note", True), ("fc.in_features", 9), ("flag", False), ("number", 1),
    ("share", 1.0), ("name", "b"), ("after", torch.sigmoid), ("none", 2), ("new", None), ("__class__", None),
])  # fmt: skip
def test_a_changed_attribute_of_any_module_is_noticed(changed, value):
    net, x = Counted(), inputs()
    net.flag, net.number, net.share, net.name, net.none = True, 0, 0.5, "a", None
    for _ in range(3):
        snn.run(net, x)
    net.count()
    if changed == "__class__":
        net.__class__ = type("Other", (Counted,), {"forward": lambda self, x: Counted.forward(self, x) + 1})
    else:
        place, _, name = f"net.{changed}".rpartition(".")
        setattr({"net": net, **{f"net.{n}": m for n, m in net.named_children()}}[place], name, value)
    snn.run(net, x)
    assert net.count() > 1  # compared anew
    snn.run(net, x)
    assert net.count() == 1


def test_copies_are_compared_anew_and_containers_are_not():
    net, x = Counted(lambda x: x), inputs()
    net.after = nn.Identity()
    snn.run(net, x)
    snn.run(nn.Sequential(net), x)
    net.count()
    snn.run(nn.Sequential(net), x)
    assert net.count() == 1  # another container for each call
    for made in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        made.count()
        snn.run(made, x)
        assert made.count() > 1


def test_an_attribute_that_counts_the_calls_does_not_cost_a_comparison_each():
    net, x = Counted(), inputs()
    for step in range(MOST + 4):
        net.count()
        net.epoch = step
        snn.run(net, x)
        assert (net.count() == 1) == (step >= MOST)


@pytest.mark.parametrize("kind", ["scaled", "max"])
def test_refusals_are_remembered(kind, monkeypatch):
    if kind == "max":
        blind(monkeypatch)
    net, x, tried = Net(kind), sparse_input(0), []
    real = self_check.at_once
    for module in (self_check, sys.modules["spikecore.engines.torch.nn.run"]):
        monkeypatch.setattr(module, "at_once", lambda *args, **more: (tried.append(args), real(*args, **more))[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrainingWarning)
        first = told(net, x)
    assert tried
    tried.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert told(net, x) == first
    assert not tried
    assert torch.equal(snn.run(net, x), loop(net, x))


def test_an_input_that_the_loop_refuses_is_no_refusal():
    net, x = Counted(), inputs()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            snn.run(net, x[..., :5])
    assert told(net, x).startswith("compared with the loop: equal")
