"""A forgotten reset: the second backward pass names the neuron and ``utils.reset``, and nothing else changes."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")
from torch import nn  # noqa: E402

import spikecore as sc  # noqa: E402
import spikecore.nn as snn  # noqa: E402
from spikecore.nn import utils  # noqa: E402

N = 6
KINDS = {
    "Leaky": lambda **o: snn.Leaky(beta=0.9, **o),
    "zero": lambda **o: snn.Leaky(beta=0.9, reset_mechanism="zero", reset_delay=False, **o),
    "learned": lambda **o: snn.Leaky(beta=0.9, learn_beta=True, learn_threshold=True, **o),
    "function": lambda **o: snn.Leaky(beta=0.9, spike_grad=lambda u: torch.sigmoid(5 * u), **o),
    "Lapicque": lambda **o: snn.Lapicque(beta=0.9, **o),
    "Synaptic": lambda **o: snn.Synaptic(alpha=0.8, beta=0.9, **o),
    "Alpha": lambda **o: snn.Alpha(alpha=0.9, beta=0.8, **o),
    "RLeaky": lambda **o: snn.RLeaky(beta=0.9, linear_features=N, **o),
    "RSynaptic": lambda **o: snn.RSynaptic(alpha=0.8, beta=0.9, linear_features=N, **o),
    "SLSTM": lambda **o: snn.SLSTM(N, N, **o),
    "ALIF": lambda **o: snn.module(sc.ALIF(beta=sc.learn(0.9)), **o),
    "Izhikevich": lambda **o: snn.module(sc.Izhikevich(surrogate=sc.surrogate.atan(0.1)), **o),
    "IF-initial": lambda **o: snn.module(sc.IF(initial_mem=sc.learn(0.5)), **o),
    "Refractory": lambda **o: snn.module(sc.Refractory(sc.Leaky(beta=0.9), period=2), **o),
    "disabled": lambda **o: snn.Leaky(beta=0.9, surrogate_disable=True, **o),  # no gradient through its spikes
}


class Hidden(nn.Module):
    """A network that keeps its states."""

    def __init__(self, make):
        super().__init__()
        self.fc, self.lif = nn.Linear(N, N), make(init_hidden=True, output=True)

    def forward(self, x, steps):
        return [self.lif(self.fc(x)) for _ in range(steps)]


class Passed(nn.Module):
    """A network whose caller keeps the states."""

    def __init__(self, make):
        super().__init__()
        self.fc, self.lif, self.states = nn.Linear(N, N), make(), ()

    def forward(self, x, steps):
        out = []
        for _ in range(steps):
            spk, *self.states = self.lif(self.fc(x), *self.states)
            out.append((spk, *self.states))
        return out


def loss_of(out, what):
    return sum(step[0 if what == "spikes" else -1].sum() for step in out)


def train(net, batch=4, steps=3, what="membrane", before=lambda: None, after=lambda: None, **backward):
    """A loop over two batches without a reset."""
    for _ in range(2):
        before()
        x = torch.rand(batch, N, requires_grad=bool(backward))
        loss_of(net(x, steps), what).backward(**backward)
        after()


def refused(net, **options):
    """The error of such a loop."""
    with pytest.raises(RuntimeError) as caught:
        train(net, **options)
    return caught.value


@pytest.mark.parametrize("network", [Hidden, Passed])
@pytest.mark.parametrize(("name", "what"), [(n, w) for n in KINDS for w in ("membrane", "spikes")][:-1])
def test_the_neuron_and_the_remedy_are_named(name, what, network):
    torch.manual_seed(0)
    net = network(KINDS[name])
    error = refused(net, what=what)
    message = str(error)
    assert message.startswith(f"{net.lif._owner()}: backward() reaches its state"), message
    assert any(f"'{state}' of shape (4, {N})" in message for state in net.lif.states), message
    assert "utils.reset(net)" in message
    assert "utils.detach(net)" in message
    assert "second time" in str(error.__cause__)


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("batch", [4, 4096])  # 2^14 values and more are one kernel
@pytest.mark.parametrize("delay", [True, False])
def test_at_every_size_and_for_single_steps(batch, steps, delay):
    for what in ("membrane", "spikes"):
        net = Hidden(lambda **o: snn.Leaky(beta=0.9, reset_delay=delay, **o))
        assert "Leaky: backward() reaches its state 'mem'" in str(refused(net, batch=batch, steps=steps, what=what))


def test_a_pair_of_membranes():
    net = Hidden(lambda **o: snn.DeltaLeaky(beta=0.9, init_hidden=True))
    assert "DeltaLeaky: backward() reaches its state 'mem'" in str(refused(net, what="spikes"))


def test_retaining_the_graph_is_no_way_out():
    """torch then complains of weights that the optimiser has changed: the remedy is the same."""
    net = Hidden(KINDS["Leaky"])

    def update():
        with torch.no_grad():
            net.fc.weight -= 0.1 * net.fc.weight.grad

    error = refused(net, after=update, retain_graph=True)
    assert "Leaky: backward() reaches its state 'mem'" in str(error)
    assert "inplace operation" in str(error.__cause__)


def test_the_layer_that_was_left_out_is_the_one_that_is_named():
    net = Hidden(
        lambda **o: nn.Sequential(snn.Synaptic(0.8, 0.9, init_hidden=True), nn.Linear(N, N), snn.Leaky(0.9, **o))
    )
    assert str(refused(net, before=net.lif[2].reset_mem)).startswith("Synaptic: backward()")
    utils.reset(net)
    assert str(refused(net, before=net.lif[0].reset_mem)).startswith("Leaky: backward()")


def test_it_is_found_after_forward_passes_without_a_backward_pass():
    net = Hidden(KINDS["Leaky"])
    loss_of(net(torch.rand(4, N), 2), "membrane").backward()
    utils.reset(net)
    net(torch.rand(4, N), 2)  # nothing is done with it
    utils.reset(net)
    with torch.no_grad():
        net(torch.rand(4, N), 2)
    assert "utils.reset" in str(refused(net))


@pytest.mark.parametrize("remedy", [utils.reset, utils.detach, lambda net: net.lif.reset_mem()])
@pytest.mark.parametrize("name", KINDS)
def test_with_the_remedy_all_is_well(name, remedy):
    net = Hidden(KINDS[name])
    for _ in range(4):
        loss_of(net(torch.rand(4, N), 2), "membrane").backward()
        remedy(net)


def test_what_torch_allows_stays_allowed():
    net = Hidden(KINDS["Leaky"])
    gradients = []
    for _ in range(3):  # back through all steps so far, each time: the graph is kept
        loss = net(torch.rand(4, N), 1)[0][1].sum()
        gradients.append(torch.autograd.grad(loss, net.fc.weight, retain_graph=True)[0])
        again = torch.autograd.grad(loss, net.fc.weight, retain_graph=True)[0]
        assert torch.equal(again, gradients[-1])
    loss.backward()  # the last time

    lif, x = snn.Leaky(beta=1.0, init_hidden=True, output=True), torch.rand(4, N, requires_grad=True)
    lif(x)[1].sum().backward()
    lif(x)[1].sum().backward()  # the graph of the first step is x itself, which saves nothing
    assert torch.equal(x.grad, torch.full((4, N), 3.0))

    net = Hidden(KINDS["Leaky"])
    loss_of(net(torch.rand(4, N), 2), "membrane").backward()
    x = torch.rand(4, N, requires_grad=True)
    loss = loss_of(net(x, 2), "membrane")
    (by_x,) = torch.autograd.grad(loss, x, retain_graph=True)  # it does not go on into the steps before
    assert by_x.abs().sum() > 0
    with pytest.raises(RuntimeError, match="utils.reset"):
        loss.backward()


def test_gradients_and_hooks_of_states_are_as_ever():
    x = torch.rand(5, 4, N)

    def run(module):
        spk, mem = module(x[0])
        mem.retain_grad()
        first, seen = mem, []
        mem.register_hook(seen.append)
        for row in x[1:]:
            spk, mem = module(row)
        (mem.sum() + spk.sum()).backward()
        return first.grad, seen

    module = snn.Leaky(beta=0.9, learn_beta=True, init_hidden=True, output=True)
    grad, seen = run(module)
    assert len(seen) == 1
    assert torch.equal(seen[0], grad)
    utils.reset(module)
    assert torch.equal(run(module)[0], grad)


def test_nothing_is_kept_alive_and_modules_can_be_copied():
    net = Hidden(KINDS["Leaky"])
    for _ in range(2):
        loss_of(net(torch.rand(4, N), 2), "membrane").backward()
        utils.detach(net)
    net(torch.rand(4, N), 2)
    for copied in (copy.deepcopy(net), pickle.loads(pickle.dumps(net.lif))):
        utils.reset(copied)
    net(torch.rand(4, N), 2)  # with hooks on states of before
    alive = weakref.ref(net.lif)
    del net, copied
    gc.collect()
    assert alive() is None


def test_steps_that_are_computed_again():
    from torch.utils.checkpoint import checkpoint

    lif, fc = snn.Leaky(beta=0.9), nn.Linear(N, N)
    for reentrant in (False, True):
        x, mem = torch.rand(4, N, requires_grad=True), lif.reset_mem()
        for _ in range(3):
            spk, mem = checkpoint(lambda x, mem: lif(fc(x), mem), x, mem, use_reentrant=reentrant)
        (spk.sum() + mem.sum()).backward()
        assert x.grad.abs().sum() > 0
