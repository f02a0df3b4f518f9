"""``snn.run`` against the loop over time: equal outputs, gradients, final states and running statistics."""

from __future__ import annotations

from collections import OrderedDict

import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")
from torch import nn  # noqa: E402

import spikecore.nn as snn  # noqa: E402
from spikecore import utils  # noqa: E402
from spikecore.engines.torch.nn.chain import chain_of  # noqa: E402
from spikecore.errors import ShapeError  # noqa: E402
from tests.nn.run_rig import CASES, STEPWISE, B, T, _flat, graded, loop, prepared, same, seeded  # noqa: E402


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


ONE = {
    "hidden": lambda: nn.Sequential(nn.Linear(4, 3), snn.Leaky(0.9, init_hidden=True)),
    "output": lambda: nn.Sequential(
        *(nn.Linear(4, 5), snn.Synaptic(0.9, 0.8, init_hidden=True, learn_beta=True)),
        *(nn.Linear(5, 3), snn.Leaky(0.9, init_hidden=True, output=True, reset_mechanism="zero")),
    ),
    "alone": lambda: snn.Leaky(0.9),
}


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("name", ONE)
def test_a_single_step_is_the_loops(name, started, constant):
    torch.manual_seed(0)
    net, x = ONE[name](), torch.rand(2, 5, 4) * 4.0
    snn.run(net, x)  # what earlier calls leave must not matter
    state = {key: value.clone() for key, value in utils.get_state(net).items()} if started else None
    out = snn.run(net, x[0], 1, state=state) if constant else snn.run(net, x[:1], state=state)
    ours, left = graded(net, _flat([out])[0]) if name != "alone" else {}, utils.get_state(net)
    assert not any(value.requires_grad for value in left.values())
    net.zero_grad()
    utils.reset(net)
    if started:
        utils.set_state(net, state)
    wanted = [value.unsqueeze(0) for value in _flat([net(x[0])])[0]]
    assert [got.shape for got in _flat([out])[0]] == [value.shape for value in wanted]
    assert all(torch.equal(got, value) for got, value in zip(_flat([out])[0], wanted))
    theirs = graded(net, wanted) if name != "alone" else {}
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert all(torch.equal(left[key], value.detach()) for key, value in utils.get_state(net).items())


def test_a_single_step_that_fails_leaves_the_states():
    net = nn.Sequential(nn.Linear(4, 3), snn.Leaky(0.9, init_hidden=True), nn.Linear(9, 2))
    net[1].mem = torch.full((5, 3), 0.25)
    with pytest.raises(RuntimeError):
        snn.run(net, torch.rand(1, 5, 4))
    assert torch.equal(net[1].mem, torch.full((5, 3), 0.25))


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
