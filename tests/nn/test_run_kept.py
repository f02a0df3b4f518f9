"""``snn.run`` on what is kept from step to step: in attributes, lists, objects and elsewhere."""

from __future__ import annotations

import collections
import copy
import random
import threading
import types

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")

import spikecore.nn as snn  # noqa: E402
from tests.nn.test_run_faithful import Net, loop, told  # noqa: E402


def delayed(net, x):
    net.kept.append(x)
    return net.lif(net.fc(net.kept[0]))


def in_namespace(net, x):
    y = net.lif(net.fc(x) + (0 if net.kept.last is None else net.kept.last))
    net.kept.last = y
    return y


def in_nested_list(net, x):
    net.kept[0]["all"].append(x)
    return net.lif(net.fc(sum(net.kept[0]["all"])))


def counted(net, x):
    net.kept["a"]["b"] += 1
    return net.lif(net.fc(x) * net.kept["a"]["b"])


def traced_tensor(net, x):
    net.kept.add_(0.5)
    return net.lif(net.fc(x) + net.kept)


def traced_data(net, x):
    net.kept[0].data.mul_(2.0)
    return net.lif(net.fc(x) + net.kept[0])


def drawn(net, x):
    return net.lif(net.fc(x) * net.kept.random())


def counted_on_a_layer(net, x):
    net.fc.count = getattr(net.fc, "count", 0) + 1
    return net.lif(net.fc(x) * net.fc.count)


def threshold_adapted(net, x):
    spikes = net.lif(net.fc(x))
    net.lif.threshold = net.lif.threshold * 1.5
    return spikes


def buffer_replaced(net, x):
    net.offset = net.offset + 0.5
    return net.lif(net.fc(x) + net.offset)


@pytest.mark.parametrize(
    ("step", "start"),
    [
        (delayed, lambda: collections.deque(maxlen=3)),
        (in_namespace, lambda: types.SimpleNamespace(last=None)),
        (in_nested_list, lambda: [{"all": []}]),
        (counted, lambda: {"a": {"b": 0}}),
        (traced_tensor, lambda: torch.zeros(6)),
        (traced_data, lambda: (torch.ones(6),)),
        (drawn, lambda: np.random.default_rng(0)),
        (drawn, lambda: random.Random(0)),  # noqa: S311
        (buffer_replaced, lambda: None),
        (counted_on_a_layer, lambda: None),
        (threshold_adapted, lambda: None),
    ],
)
def test_what_is_kept_from_step_to_step(step, start):
    torch.manual_seed(0)
    one = Net(step)
    one.register_buffer("offset", torch.zeros(6))
    two = copy.deepcopy(one)
    one.kept, two.kept = start(), start()
    x = 2 * torch.randn(7, 4, 6)
    got, said = told(one, x)
    wanted = loop(two, x)
    assert said.startswith("the network: step by step"), said
    assert torch.equal(got, wanted)
    assert torch.equal(one.offset, two.offset)
    assert str(one.kept).split(" at 0x")[0] == str(two.kept).split(" at 0x")[0]  # no stand-in is left anywhere


class Kept:
    """An object that hides what it holds."""

    __slots__ = ("last",)


def kept_out_of_sight(net, x):
    x = x if net.kept.last is None else x + net.kept.last
    net.kept.last = x
    return net.lif(net.fc(x))


def kept_in_an_iterator(net, x):
    return net.lif(net.fc(x) * next(net.kept))


def kept_in_an_array(net, x):
    net.kept += 1
    return net.lif(net.fc(x) * float(net.kept[0]))


def drawn_by_torch(net, x):
    return net.lif(net.fc(x) * torch.rand(6, generator=net.kept))


def learned_in_a_list(net, x):
    return net.lif(net.fc(x) * net.kept[0])


def test_gradients_reach_what_lists_hold():
    torch.manual_seed(0)
    net, x, found = Net(learned_in_a_list), 2 * torch.randn(3, 4, 6), []
    for how in (snn.run, loop):
        net.kept = [torch.ones(6, requires_grad=True)]
        how(net, x).sum().backward()
        found.append(net.kept[0].grad)
    assert (found[0] - found[1]).abs().max() < 1e-4  # sums over steps and samples, in another order
    assert found[0].any()


def a_slot():
    kept = Kept()
    kept.last = None
    return kept


@pytest.mark.parametrize(
    ("step", "start"),
    [
        (kept_out_of_sight, a_slot),
        (kept_in_an_iterator, lambda: iter([1, 2, 3])),
        (kept_in_an_iterator, lambda: (i for i in [1, 2, 3])),
        (kept_in_an_array, lambda: np.zeros(2)),
        (drawn_by_torch, lambda: torch.Generator().manual_seed(1)),
        (lambda net, x: net.lif(net.fc(x)), threading.Lock),
    ],
    ids=["slot", "iterator", "generator", "array", "random numbers", "lock"],
)
def test_what_objects_keep_out_of_sight(step, start):
    torch.manual_seed(0)
    one = Net(step)
    two, x = copy.deepcopy(one), 2 * torch.randn(3, 4, 6)
    one.kept, two.kept = start(), start()
    kept = one.kept
    got, said = told(one, x)
    assert one.kept is kept or step is kept_in_an_array
    assert torch.equal(got, loop(two, x))
    assert said.startswith("the network: step by step")


def test_objects_that_forward_only_reads_are_no_reason_to_go_step_by_step():
    class Config:
        def __init__(self):
            self.scale, self.sizes, self.names = 2.0, {"a": [1, 2]}, {"x", "y"}

    kept = Config()
    sizes = kept.sizes
    net, x = (
        Net(lambda net, x: net.lif(net.fc(x) * net.kept.scale * sum(net.kept.sizes["a"])), kept=kept),
        torch.rand(3, 4, 6),
    )
    got, said = told(net, x)
    assert torch.equal(got, loop(net, x))
    assert said.startswith("fc (Linear)")
    assert net.kept is kept
    assert kept.sizes is sizes


SLOT = Kept()


def test_a_tensor_that_is_kept_elsewhere_is_an_error():
    SLOT.last = None
    with pytest.raises(RuntimeError, match="keeps it beyond the run.*use the loop over time"):
        snn.run(
            Net(lambda net, x: kept_out_of_sight(types.SimpleNamespace(kept=SLOT, lif=net.lif, fc=net.fc), x)),
            torch.rand(3, 4, 6),
        )
