"""``snn.run`` where ``forward`` sets the state of a neuron, or reduces spikes that tie: it must equal the loop."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")
from torch import nn  # noqa: E402

import spikecore.nn as snn  # noqa: E402
from spikecore import utils  # noqa: E402
from spikecore.engines.torch.nn import self_check  # noqa: E402
from spikecore.engines.torch.nn.calls import FunctionCall  # noqa: E402
from spikecore.engines.torch.nn.dispatch import SequenceMode  # noqa: E402
from spikecore.errors import TrainingWarning  # noqa: E402


def mem(change):
    """An edit that gives the membrane another value after the call."""

    def edit(net, lif, spk):
        lif.mem = change(lif.mem, spk)
        return spk

    return edit


def done(action):
    """An edit that does something to the neuron after the call, or to the whole network."""

    def edit(net, lif, spk):
        action(net, lif)
        return spk

    return edit


def scaled_in_place(net, lif):
    lif.mem *= 0.5


ASSIGNED = {
    "clamped": mem(lambda m, s: m.clamp(min=0)),
    "scaled": mem(lambda m, s: m * 0.3),
    "hard-reset": mem(lambda m, s: torch.where(s > 0, torch.zeros_like(m), m)),
    "lateral-inhibition": mem(lambda m, s: m - 0.2 * (s.sum(-1, keepdim=True) - s)),
    "zeros": mem(lambda m, s: torch.zeros_like(m)),
    "homeostasis": mem(lambda m, s: m - 0.1 * s),
    "noise-free-leak": mem(lambda m, s: torch.lerp(m, torch.zeros_like(m), 0.2)),
    "detached": mem(lambda m, s: m.detach()),
    "setattr": done(lambda net, lif: setattr(lif, "mem", lif.mem * 0.5)),
    "dict": done(lambda net, lif: vars(lif).update(mem=lif.mem * 0.5)),
    "set_hidden": done(lambda net, lif: lif.set_hidden({"mem": lif.mem * 0.5})),
    "set_state": done(lambda net, lif: utils.set_state(lif, {"mem": lif.mem * 0.5})),
    "reset_hidden": done(lambda net, lif: lif.reset_hidden()),
    "reset_mem": done(lambda net, lif: lif.reset_mem()),
    "reset-all": done(lambda net, lif: utils.reset(net)),
    "detach_hidden": done(lambda net, lif: lif.detach_hidden()),
    "detach-all": done(lambda net, lif: utils.detach(net)),
}
IN_PLACE = {
    "data-mul_": done(lambda net, lif: lif.mem.data.mul_(0.5)),
    "data-setitem": done(lambda net, lif: lif.mem.data.__setitem__(slice(None), 0.0)),
    "augmented": done(scaled_in_place),
    "detach-mul_": done(lambda net, lif: lif.mem.detach().mul_(0.5)),
    "detach_": done(lambda net, lif: lif.mem.detach_()),
    "data-of-spikes": lambda net, lif, spk: (spk.data.mul_(0.5), spk)[1],
}
BEFORE = {
    "zeros-before": lambda net, lif, current: setattr(lif, "mem", torch.zeros_like(current)),
    "reset-before": lambda net, lif, current: utils.reset(lif),
}
TIES = {
    name: lambda net, lif, spk, name=name: spk / (1.0 + getattr(spk, name)())
    for name in ("max", "min", "median", "nanmedian")
}
TIES["torch.max"] = lambda net, lif, spk: spk * (1.0 + torch.max(input=spk))
KINDS = {**ASSIGNED, **IN_PLACE, **BEFORE, **TIES}


class Net(nn.Module):
    """Three layers; the edit is in the last one."""

    def __init__(self, kind, seed=0, sizes=(100, 64, 32, 10), neuron=None):
        super().__init__()
        torch.manual_seed(seed)
        self.kind = kind
        self.fcs = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))
        self.lifs = nn.ModuleList(snn.Leaky(0.9, threshold=0.5, init_hidden=True) for _ in self.fcs)
        if neuron is not None:
            self.lifs[-1] = neuron
        self.calls = []

    def forward(self, x):
        for fc, lif in zip(self.fcs[:-1], self.lifs[:-1]):
            x = lif(fc(x))
        lif, current = self.lifs[-1], self.fcs[-1](x)
        if self.kind in BEFORE:
            BEFORE[self.kind](self, lif, current)
            return lif(current)
        return KINDS[self.kind](self, lif, lif(current)) if self.kind in KINDS else lif(current)


def sparse_input(seed, steps=12, batch=6, features=100):
    return (torch.rand(steps, batch, features, generator=torch.Generator().manual_seed(100 + seed)) < 0.15).float()


def loop(net, x):
    utils.reset(net)
    return torch.stack([net(row) for row in x])


def gradients(net, out):
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    found = torch.autograd.grad((out * weights).sum(), list(net.parameters()), allow_unused=True)
    utils.detach(net)
    return found


def same_as_the_loop(net, x, **options):
    wanted = loop(net, x)
    grads, states = gradients(net, wanted), utils.get_state(net)
    said = []
    got = snn.run(net, x, explain=said.append, **options)
    torch.testing.assert_close(got, wanted)
    for mine, other in zip(gradients(net, got), grads):
        assert (mine is None) == (other is None)
        if mine is not None:
            assert (mine - other).abs().max() <= 1e-4 * other.abs().max() + 1e-12
    for mine, other in zip(utils.get_state(net).values(), states.values()):
        torch.testing.assert_close(mine, other.detach())
    return said[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_that_forward_sets_and_ties_of_spikes(kind):
    said = same_as_the_loop(Net(kind), sparse_input(0))
    if kind in TIES:
        assert not said.startswith("the network: step by step")
    elif kind in IN_PLACE:
        assert "works in place on" in said
    else:
        when = "before" if kind in BEFORE else "after"
        assert f"forward sets the state of layer 'lifs.{0 if '-all' in kind else 2}' {when} it is called" in said


@pytest.mark.parametrize(
    ("neuron", "state"),
    [
        (lambda: snn.RLeaky(0.9, linear_features=10, threshold=0.5, init_hidden=True), "spk"),
        (lambda: snn.Synaptic(0.8, 0.9, threshold=0.5, init_hidden=True), "syn"),
        (lambda: snn.Alpha(0.9, 0.8, threshold=0.1, init_hidden=True), "syn_exc"),
    ],
)
def test_every_state_of_a_neuron_counts(neuron, state):
    net = Net("set", neuron=neuron())
    KINDS["set"] = done(lambda net, lif: setattr(lif, state, getattr(lif, state) * 0.5))
    try:
        assert "forward sets the state of layer 'lifs.2'" in same_as_the_loop(net, sparse_input(0))
    finally:
        del KINDS["set"]


def test_a_state_that_is_put_back_is_not_set():
    KINDS["same"] = mem(lambda m, s: m)
    try:
        assert same_as_the_loop(Net("same"), sparse_input(0)).startswith("fcs.0 (Linear)")
    finally:
        del KINDS["same"]


def blind(monkeypatch):
    """Take away what ``run`` knows of set states, of ties and of ``.data``: the comparison alone is left."""
    monkeypatch.setattr(SequenceMode, "check_states", lambda *_: None)
    monkeypatch.setattr(FunctionCall, "shares_ties", False)
    by_vmap = torch.Tensor.data.__get__
    monkeypatch.setattr(SequenceMode, "data_of", lambda over, x: over._each_step(FunctionCall(by_vmap, (x,), {})))


def found_by_comparison(kind, seed, sizes=(100, 64, 32, 10)):
    """Whether the first call notices the fault; that it is one is seen in the whole sequence."""
    net, x = Net(kind, seed, sizes), sparse_input(seed, features=sizes[0])
    wanted = loop(net, x)
    grads, said = gradients(net, wanted), []
    with pytest.warns(TrainingWarning, match="Its first call was compared with the loop over time") as seen:
        got = snn.run(net, x, explain=said.append)
    assert len(seen) == 1
    assert torch.equal(got, wanted)
    for mine, other in zip(gradients(net, got), grads):
        assert torch.equal(mine, other)
    return said[0]


#: Kinds that ``run`` refuses for another reason, whatever it knows of states.
REFUSED = {"augmented", "detach-mul_", "detach_"}


@pytest.mark.parametrize("kind", sorted(set(KINDS) - REFUSED))
def test_the_comparison_alone_finds_them(kind, monkeypatch):
    blind(monkeypatch)
    said = found_by_comparison(kind, 0)
    if kind in TIES:
        assert f"torch's {kind.split('.')[-1]!r} for all steps at once is not the same" in said
    elif "-all" not in kind and "spikes" not in kind and kind not in BEFORE:
        assert "last state lifs.2.mem differs" in said or "output 0 differs" in said or "gradient by fcs.2" in said


def test_a_difference_is_looked_for_again_where_the_last_layer_fires(monkeypatch):
    """Where it is silent there are no ties, and nothing of them to be found again."""
    blind(monkeypatch)
    drawn = self_check._Pair.drawn

    def silent_when_drawn_again(pair, like, tries, turn=0):
        states = drawn(pair, like, tries, turn)
        low = 1e3 * (turn == 1)
        return {name: value - low * name.startswith("lifs.2") for name, value in states.items()}

    monkeypatch.setattr(self_check._Pair, "drawn", silent_when_drawn_again)
    assert "'max' for all steps at once is not the same" in found_by_comparison("max", 0)


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(784, 128, 64, 10), (784, 100, 10)], ids=["three-layers", "two-layers"])
@pytest.mark.parametrize("kind", sorted(set(KINDS) - REFUSED))
def test_the_comparison_alone_finds_them_in_networks_of_any_seed(kind, sizes, monkeypatch):
    blind(monkeypatch)
    for seed in range(6):
        found_by_comparison(kind, seed, sizes)
