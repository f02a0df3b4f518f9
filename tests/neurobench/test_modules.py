"""B9: what NeuroBench looks at. It hooks every ``snntorch.SpikingNeuron`` and asks for its membrane and its reset."""

from __future__ import annotations

import warnings

import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")
from torch import nn  # noqa: E402

import spikecore.nn as ours  # noqa: E402
from spikecore import utils  # noqa: E402

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    theirs = pytest.importorskip("snntorch", reason="compared with snnTorch")
    from snntorch import utils as their_utils

OPERATIONS = {"Leaky": {"subtract": 4, "zero": 4}, "Synaptic": {"subtract": 6, "zero": 8},
              "Lapicque": {"subtract": 11, "zero": 11}}  # fmt: skip


@pytest.fixture(autouse=True)
def forgotten():
    """snnTorch resets all neurons of the process, those of other tests, too, and fails on some."""
    theirs.SpikingNeuron.init()
    yield
    theirs.SpikingNeuron.init()


def network(snn):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(20, 30), snn.Leaky(beta=0.9, init_hidden=True),
        nn.Linear(30, 30), snn.Synaptic(0.8, 0.9, threshold=0.3, init_hidden=True, reset_mechanism="zero"),
        nn.Linear(30, 5), snn.Lapicque(0.6, threshold=0.05, init_hidden=True, output=True),
    )  # fmt: skip


def measured(snn, reset):
    """Spikes, updates of membranes and operations of neurons, by hooks."""
    net, found = network(snn), {}
    for name, layer in net.named_children():
        if not isinstance(layer, snn.SpikingNeuron):
            continue
        cost = OPERATIONS[type(layer).__name__][layer._reset_mechanism]
        found[name] = {"spikes": 0.0, "updates": 0, "operations": 0, "before": None}

        def before(layer, inputs, name=name):
            found[name]["before"] = layer.mem if layer.mem.numel() else torch.zeros(())

        def after(layer, inputs, output, name=name, cost=cost):
            spikes = output if layer.init_hidden and not layer.output else output[0]
            updates = int(torch.count_nonzero(layer.mem - found[name]["before"]))
            found[name]["spikes"] += float(spikes.sum())
            found[name]["updates"] += updates
            found[name]["operations"] += cost * updates

        layer.register_forward_pre_hook(before)
        layer.register_forward_hook(after)
    x = 2 * torch.rand(2, 10, 4, 20, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for batch in x:
            reset(net)
            for step in batch:
                net(step)
    return {name: {key: value for key, value in one.items() if key != "before"} for name, one in found.items()}


@pytest.mark.filterwarnings("ignore")  # snnTorch warns of its own affairs
def test_hooks_measure_what_they_measure_on_snntorch():
    expected = measured(theirs, their_utils.reset)
    assert measured(ours, utils.reset) == expected
    assert all(one["spikes"] > 0 and one["operations"] > one["updates"] > 0 for one in expected.values())


def test_the_footprint_before_a_run_is_that_of_snntorch():
    """States count there once a network has run; here they are no buffers."""

    def footprint(net):
        return sum(x.numel() * x.element_size() for x in (*net.parameters(), *net.buffers()))

    made = [nn.Sequential(nn.Linear(20, 30), snn.Leaky(beta=0.9, init_hidden=True)) for snn in (theirs, ours)]
    assert footprint(made[0]) == footprint(made[1])
    made[1](torch.rand(4, 20))
    assert footprint(made[0]) == footprint(made[1])
