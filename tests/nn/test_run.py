"""``snn.run`` against the loop over time: equal outputs, gradients, final states and running statistics."""

from __future__ import annotations

import copy
import random
from collections import OrderedDict

import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

import spikecore.nn as snn  # noqa: E402
from spikecore import ShapeError, TrainingWarning, utils  # noqa: E402
from spikecore.engines.torch.nn.chain import chain_of  # noqa: E402

T, B = 7, 3
HIDDEN = {"init_hidden": True}


class Residual(nn.Module):
    """Functions, a shortcut, shapes, an unused state."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.lif1, self.lif2 = snn.Leaky(0.9, **HIDDEN), snn.Synaptic(0.8, 0.9, **HIDDEN)
        self.fc, self.out = nn.Linear(4 * 9, 5), snn.Leaky(0.9, learn_beta=True, learn_threshold=True)

    def forward(self, x):
        first = self.lif1(self.conv1(x))
        y = self.conv2(first)
        y += first
        y = F.max_pool2d(self.lif2(y), 2)
        spk, mem = self.out(self.fc(y.view(y.size(0), -1)) * 2.0)
        return torch.cat([spk, torch.sigmoid(mem)], dim=1), mem


class Peephole(nn.Module):
    """What one layer did at the last step feeds another one."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif, self.back = nn.Linear(4, 4), snn.Leaky(0.9, **HIDDEN), None

    def forward(self, x):
        spk = self.lif(self.fc(x) + (0 if self.back is None else 0.5 * self.back))
        self.back = spk
        return spk


class Peek(Peephole):
    def forward(self, x):
        return self.fc(x) * self.lif.mem.sum() + self.lif(x)


class Counter(Peephole):
    """An attribute that counts the steps."""

    def forward(self, x):
        self.back = (self.back or 0) + 1
        return self.lif(self.fc(x) * self.back)


class Listed(Peephole):
    def __init__(self):
        super().__init__()
        self.kept = []

    def forward(self, x):
        self.kept.append(1)
        return self.lif(self.fc(x)) * len(self.kept)


class Branching(Peephole):
    def forward(self, x):
        return self.lif(self.fc(x)) if x.sum() > 0 else self.lif(x)


class Buffered(Peephole):
    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x):
        self.count += 1
        return self.lif(self.fc(x)) * float(self.count)


class Gambling(Peephole):
    def forward(self, x):
        return self.lif(self.fc(x) * random.random())


class Twice(Peephole):
    def forward(self, x):
        return self.lif(self.fc(self.lif(x)))


def sequential(*middle):
    return nn.Sequential(nn.Linear(4, 6), *middle, snn.Leaky(0.9, **HIDDEN), nn.Linear(6, 4),
                         snn.Leaky(0.8, **HIDDEN, output=True))  # fmt: skip


def image_net(*middle):
    return nn.Sequential(nn.Conv2d(2, 4, 3), *middle, snn.Leaky(0.9, **HIDDEN), nn.MaxPool2d(2), nn.Flatten(),
                         nn.Linear(16, 5), snn.Leaky(0.9, **HIDDEN))  # fmt: skip


VECTORS = {
    "plain": lambda: sequential(),
    "nested": lambda: nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), sequential()),
    "dropout": lambda: sequential(nn.Dropout(0.5)),
    "dropout-twice": lambda: sequential(nn.Dropout(0.5), snn.Leaky(0.9, **HIDDEN), nn.Dropout(0.5)),
    "batchnorm": lambda: sequential(nn.BatchNorm1d(6)),
    "layernorm": lambda: sequential(nn.LayerNorm(6), nn.GELU()),
    "softmax": lambda: sequential(nn.Softmax(dim=1)),
    "inplace": lambda: sequential(nn.ReLU(inplace=True)),
    "inplace-on-spikes": lambda: sequential(snn.Leaky(0.9, **HIDDEN), nn.ReLU(inplace=True)),
    "rleaky": lambda: sequential(snn.RLeaky(0.9, linear_features=6, **HIDDEN)),
    "rsynaptic": lambda: sequential(snn.RSynaptic(0.8, 0.9, all_to_all=False, **HIDDEN)),
    "alpha": lambda: sequential(snn.Alpha(0.9, 0.8, threshold=0.2, **HIDDEN)),
    "lapicque": lambda: sequential(snn.Lapicque(0.8, threshold=0.2, learn_beta=True, **HIDDEN)),
    "slstm": lambda: sequential(snn.SLSTM(6, 6, threshold=0.05, **HIDDEN)),
    "delta": lambda: nn.Sequential(nn.Linear(4, 4), snn.DeltaLeaky(0.2, beta=0.9, **HIDDEN)),
    "rnncell": lambda: nn.Sequential(nn.Linear(4, 4), nn.RNNCell(4, 4), snn.Leaky(0.9, **HIDDEN)),
    "graded": lambda: sequential(snn.GradedSpikes(6, 1.5)),
    "feedback": Peephole, "peek": Peek, "counter": Counter, "listed": Listed, "branching": Branching,
    "buffered": Buffered, "gambling": Gambling, "twice": Twice,
    "neuron-alone": lambda: snn.Leaky(0.9, **HIDDEN),
}  # fmt: skip
MAPS = {
    "conv": lambda: image_net(),
    "conv-batchnorm": lambda: image_net(nn.BatchNorm2d(4)),
    "conv-dropout": lambda: image_net(nn.Dropout2d(0.5)),
    "sconv2dlstm": lambda: image_net(snn.SConv2dLSTM(4, 4, 3, threshold=0.05, **HIDDEN)),
    "residual": Residual,
}
STEPWISE = {"feedback", "peek", "counter", "listed", "buffered", "gambling", "twice", "dropout-twice"}
CASES = {**VECTORS, **MAPS}


def prepared(name, train=True):
    torch.manual_seed(1)
    module = CASES[name]().train(train)
    size = (2, 6, 6) if name in MAPS else (4,)
    return module, torch.rand(T, B, *size, generator=torch.Generator().manual_seed(2)) * 2


def loop(module, rows, state=None):
    """The loop that ``run`` must equal."""
    utils.reset(module)
    if state is not None:
        utils.set_state(module, state)
    made = [module(row) for row in rows]
    return tuple(torch.stack(c) for c in zip(*_flat(made)))


def _flat(made):
    def flatten(one):
        return [leaf for part in one for leaf in flatten(part)] if isinstance(one, tuple) else [one]

    return [flatten(one) for one in made]


def graded(module, outputs):
    module.zero_grad()
    total = sum((o * torch.linspace(0.5, 1.5, o.numel()).reshape(o.shape)).sum() for o in outputs)
    if total.requires_grad:
        total.backward()
    return {n: p.grad for n, p in module.named_parameters() if p.grad is not None}


def seeded():
    torch.manual_seed(3)
    random.seed(3)


def same(a, b, scale=1.0):
    bound = 1e-5 * max(scale, float(b.detach().abs().max()))
    assert (a - b).detach().abs().max() <= bound


@pytest.mark.parametrize("static", [False, True], ids=["sequence", "constant"])
@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", CASES)
def test_equals_the_loop(name, train, static):
    (one, x), (two, _) = prepared(name, train), prepared(name, train)
    for net in (one, two):
        seeded()
        net(x[0].clone())  # what earlier calls leave must not matter
        if hasattr(net, "back"):
            net.back = None
    lines = []
    seeded()
    outputs = snn.run(one, x[0].clone() if static else x.clone(), T if static else None, explain=lines.append)
    drawn = torch.rand(3)
    seeded()
    expected = loop(two, [x[0].clone()] * T if static else list(x.clone()))
    assert torch.equal(torch.rand(3), drawn)  # as many draws
    outputs = tuple(_flat([outputs])[0])
    assert [o.shape for o in outputs] == [o.shape for o in expected]
    for got, wanted in zip(outputs, expected):
        same(got, wanted)
    if set(expected[0].unique().tolist()) <= {0.0, 1.0}:
        assert torch.equal(outputs[0], expected[0])
    ours, theirs = graded(one, outputs), graded(two, expected)
    assert set(ours) == set(theirs)
    scale = max(float(value.abs().max()) for value in theirs.values()) if theirs else 1.0
    for key, value in theirs.items():  # a bias before batch norm has no gradient but rounding
        same(ours[key], value, scale)
    for got, value in zip(utils.get_state(one).values(), utils.get_state(two).values()):
        assert not got.requires_grad
        same(got, value.detach())
    for got, value in zip(one.buffers(), two.buffers()):
        same(got.float(), value.float())
    by_steps = name in STEPWISE and (train or name != "dropout-twice")
    assert lines[0].startswith("the network: step by step") == by_steps, lines[0]


def test_explain_says_what_ran_how(capsys):
    net, x = prepared("conv-batchnorm")
    snn.run(net, x[0], num_steps=T, explain=True)
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "0 (Conv2d): once: constant in time"
    assert told[1] == "1 (BatchNorm2d): once: constant in time"
    assert told[3] == "3 (MaxPool2d): time and batch merged"
    snn.run(net, x, explain=True)
    told = capsys.readouterr().out.splitlines()
    assert told[1] == "1 (BatchNorm2d): all steps at once, each by its own statistics"
    snn.run(net, x, fused=False, explain=True)
    told = capsys.readouterr().out.splitlines()
    assert told[1] == "1 (BatchNorm2d): step by step: its statistics are those of one step"
    for name, reason in [
        ("feedback", "forward changes the attribute 'back' from step to step"),
        ("peek", "forward looks at the state of a neuron"),
        ("twice", "layer 'lif' is used twice in one step"),
        ("gambling", "random number generator outside of layers"),
        ("dropout-twice", "2 layers draw random numbers at every step"),
    ]:
        lines = []
        net, x = prepared(name)
        snn.run(net, x, explain=lines.append)
        assert reason in lines[0]


def spied(monkeypatch, kind):
    """The lengths of the inputs of all layers of a class, from now on."""
    lengths, forward = [], kind.forward
    monkeypatch.setattr(kind, "forward", lambda layer, x: (lengths.append(len(x)), forward(layer, x))[1])
    return lengths


def test_a_constant_input_is_computed_once(monkeypatch):
    net, x = prepared("plain")
    net = net[:2]
    calls = spied(monkeypatch, nn.Linear)
    snn.run(net, x[0], num_steps=T)  # which compares itself with the loop
    calls.clear()
    snn.run(net, x[0], num_steps=T)
    assert len(calls) == 1


@pytest.mark.parametrize("name", ["plain", "residual", "feedback", "delta"])
def test_state_continues_a_sequence(name):
    net, x = prepared(name)
    whole = _flat([snn.run(net, x)])[0]
    net, x = prepared(name)
    first = _flat([snn.run(net, x[:3])])[0]
    second = _flat([snn.run(net, x[3:], state=utils.get_state(net))])[0]
    for a, b, c in zip(first, second, whole):
        same(torch.cat([a, b]), c)
    with pytest.raises(KeyError, match="missing"):
        snn.run(net, x, state={})


NAMED = {
    "one": lambda: nn.Sequential(snn.Leaky(0.9, init_hidden=True)),
    "alone": lambda: snn.Leaky(0.9, init_hidden=True),
    "named": lambda: nn.Sequential(OrderedDict(fc=nn.Linear(4, 4), lif=snn.Synaptic(0.9, 0.8, init_hidden=True))),
    "returned": lambda: nn.Sequential(nn.Linear(4, 4), snn.Leaky(0.9, init_hidden=True, output=True)),
}


@pytest.mark.parametrize("net", NAMED.values(), ids=NAMED)
def test_a_chain_goes_on_from_its_states_by_their_names(net):
    torch.manual_seed(0)
    net, x = net().double(), 2 * torch.rand(6, 3, 4, dtype=torch.float64)
    whole = _flat([snn.run(net, x)])[0]
    first = _flat([snn.run(net, x[:2])])[0]
    second = _flat([snn.run(net, x[2:], state=utils.get_state(net))])[0]
    for a, b, c in zip(first, second, whole):
        torch.testing.assert_close(torch.cat([a, b]), c, rtol=0, atol=1e-14)  # products of other sizes
    with pytest.raises(KeyError, match="missing"):
        snn.run(net, x, state={})


def test_a_chain_hears_of_hooks_and_of_another_forward():
    net, x = nn.Sequential(nn.Linear(4, 3), snn.Leaky(0.9, init_hidden=True)), torch.rand(6, 2, 4)
    assert chain_of(net) is not None
    seen = []
    handle = net[0].register_forward_hook(lambda *_: seen.append(1))
    assert chain_of(net) is None
    snn.run(net, x)
    assert len(seen) == 6
    handle.remove()
    net[0].forward = lambda rows: torch.zeros(len(rows), 3)
    assert chain_of(net) is None
    assert not snn.run(net, x).any()


@pytest.mark.parametrize("name", ["plain", "feedback", "slstm", "delta"])
def test_records(name):
    net, x = prepared(name)
    path, layer = {"plain": ("1", "0"), "feedback": ("lif", "fc"), "slstm": ("1", "2"), "delta": ("1", "0")}[name]
    _, recorded = snn.run(net, x, record=[path, layer] if name != "slstm" else [path])
    made = recorded[path]
    assert set(made) == {"spk", *dict(net.named_modules())[path].states}
    assert all(value.shape[0] == T for value in made.values())
    assert torch.equal(made["mem"][-1], utils.get_state(net)[f"{path}.mem"])
    if name != "slstm":
        assert recorded[layer]["output"].shape[:2] == (T, B)
    with pytest.raises(KeyError, match="no layer 'nowhere'"):
        snn.run(net, x, record="nowhere")


def test_hooks_see_every_step():
    net, x = prepared("plain")
    expected = snn.run(net, x)
    seen = []
    net[0].register_forward_hook(lambda *_: seen.append(0))
    net[1].register_forward_hook(lambda *_: seen.append(1))
    got = snn.run(net, x)
    assert seen == [0, 1] * T
    for a, b in zip(got, expected):
        same(a, b)


def test_bad_input_is_refused():
    net, x = prepared("plain")
    with pytest.raises(ShapeError, match="no time step"):
        snn.run(net, x[:0])
    with pytest.raises(ValueError, match="num_steps=0"):
        snn.run(net, x[0], num_steps=0)
    with pytest.raises(TypeError, match="x=list"):
        snn.run(net, [1.0])
    net[1].mem = before = torch.ones(2, 2)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        snn.run(net, torch.rand(T, B, 9))
    assert net[1].mem is before  # a refused call changes nothing


def test_a_layer_shared_by_two_parts_is_found():
    torch.manual_seed(0)
    pool = nn.MaxPool2d(2)

    def make(i, o):
        return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), pool, snn.Leaky(beta=0.9, init_hidden=True))

    net, x = nn.Sequential(make(1, 2), make(2, 3)), 9 * torch.rand(5, 2, 1, 8, 8)
    utils.reset(net)
    steps = torch.stack([net(now) for now in x])
    assert torch.equal(snn.run(net, x), steps)
    assert steps.any()


def test_a_forward_that_was_exchanged_is_called():
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(3, 2), snn.Leaky(beta=0.9, init_hidden=True)), 5 * torch.rand(4, 2, 3)
    nn.init.ones_(net[0].weight)
    plain = snn.run(net, 2 * x)
    net.forward = lambda now: nn.Sequential.forward(net, 2 * now)
    assert torch.equal(snn.run(net, x), plain)
    assert plain.any()


def test_gradients_of_gradients_without_kernels():
    pytest.importorskip("numba", reason="Numba is not installed (extra 'kernels')")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 2048), snn.Leaky(beta=0.9, init_hidden=True))
    x = torch.rand(8, 2, 3).requires_grad_()
    (g,) = torch.autograd.grad(snn.run(net, x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"snn\.run\(\.\.\., fused=False\)"):
        g.square().sum().backward()
    said = []
    (g,) = torch.autograd.grad(snn.run(net, x, explain=said.append, fused=False).sum(), x, create_graph=True)
    g.square().sum().backward()
    assert "kernels are switched off" in said[0]


def test_fused_is_yes_or_no():
    with pytest.raises(TypeError, match="run: fused='auto' must be True or False"):
        snn.run(nn.Sequential(nn.Linear(3, 2)), torch.rand(4, 2, 3), fused="auto")


class Whole(nn.Module):
    """A forward that loops over time itself."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(4, 4), snn.Leaky(0.9)

    def forward(self, x):
        mem, spikes = self.lif.init_leaky(), []
        for step in x:
            spk, mem = self.lif(self.fc(step), mem)
            spikes.append(spk)
        return torch.stack(spikes)


class Resets(Whole):
    """The commonest way to write it: hidden states, and a reset at the beginning of ``forward``."""

    def __init__(self):
        super().__init__()
        self.lif = snn.Leaky(0.9, **HIDDEN)

    def forward(self, x):
        utils.reset(self)
        return torch.stack([self.lif(self.fc(step)) for step in x])


class ResetsIt(Resets):
    """The reset is of the neuron, and there are several steps of one input."""

    def forward(self, x):
        self.lif.reset_mem()
        return torch.stack([self.lif(self.fc(x)) for _ in range(3)])


class NormedTwice(Peephole):
    """Its running statistics depend on the order of all calls."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x):
        return self.norm(self.lif(self.norm(self.fc(x))) + x)


def test_a_batch_norm_that_is_used_twice_in_a_step():
    torch.manual_seed(0)
    one, x, said = NormedTwice(), torch.rand(T, B, 4), []
    two = copy.deepcopy(one)
    snn.run(one, x, explain=said.append)
    loop(two, x)
    same(one.norm.running_var, two.norm.running_var)
    assert "a batch norm is used twice in one step" in said[0]


class Keeps(Whole):
    """The state in an attribute of its own, from zeros that forward makes."""

    mem = None

    def forward(self, x):
        current = self.fc(x)
        spk, self.mem = self.lif(current, torch.zeros_like(current) if self.mem is None else self.mem)
        return spk


class KeepsInList(Whole):
    """The state in a list, which stays the same list."""

    def __init__(self):
        super().__init__()
        self.mems = [None]

    def forward(self, x):
        self.mems[0] = self.lif.init_leaky() if self.mems[0] is None else self.mems[0]
        spk, self.mems[0] = self.lif(self.fc(x), self.mems[0])
        return spk


class KeepsElsewhere(Whole):
    """The state in no module."""

    def __init__(self):
        super().__init__()
        kept = []
        self.kept = lambda: kept

    def forward(self, x):
        spk, mem = self.lif(self.fc(x), self.kept()[-1] if self.kept() else self.lif.init_leaky())
        self.kept().append(mem)
        return spk


def test_a_loop_over_time_within_the_loop_over_time_is_noticed(recwarn):
    """It would run over the batch, and remember nothing from step to step: shapes are right, and the result is not."""
    for kind, shape in ((Whole, (T, B, 4)), (Resets, (T, B, 4)), (ResetsIt, (T, 3, B, 4))):
        said = rf"forward of {kind.__name__} gives layer 'lif' the same state .*call net\(x\)"
        net = kind()
        for _ in range(2):  # a refusal that is remembered warns as well
            with pytest.warns(TrainingWarning, match=said):
                assert snn.run(net, torch.rand(T, B, 4)).shape == shape
    recwarn.clear()
    for net in (Keeps(), KeepsInList(), KeepsElsewhere()):
        snn.run(net, torch.rand(T, B, 4))
    assert not recwarn.list


def first(*layers):
    return nn.Sequential(*layers, snn.Leaky(0.9, **HIDDEN))


@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (lambda: first(nn.Linear(4, 6)), (32, 4)),
        (lambda: first(nn.Conv1d(2, 3, 3)), (32, 2, 8)),
        (lambda: first(nn.Conv2d(2, 3, 3)), (32, 2, 8, 8)),
        (lambda: first(first(nn.Linear(4, 6), nn.Dropout(0.1))), (32, 4)),
    ],
)
def test_a_batch_that_is_read_as_time_is_noticed(net, shape, recwarn):
    """Samples would be steps: shapes are right, and the result is not."""
    net, x = net().eval(), torch.rand(shape)
    with pytest.warns(TrainingWarning, match=r"is read as 32 time steps of one sample.*num_steps=.*x.unsqueeze\(1\)"):
        snn.run(net, x)
    recwarn.clear()
    snn.run(net, x, num_steps=3)
    snn.run(net, x.unsqueeze(1))
    snn.run(snn.Leaky(0.9, **HIDDEN), x)
    assert not recwarn.list
