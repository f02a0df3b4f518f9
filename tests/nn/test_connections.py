"""B6: the connection of a recurrent neuron and the cell of an LSTM are modules, called wherever that matters."""

from __future__ import annotations

import copy
import warnings

import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")
from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations, prune  # noqa: E402

import spikecore.nn as ours  # noqa: E402
from spikecore import utils  # noqa: E402

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    theirs = pytest.importorskip("snntorch", reason="compared with snnTorch")

pytestmark = pytest.mark.filterwarnings("ignore")  # snnTorch and weight_norm warn of their own affairs

x = 1.5 * torch.rand(8, 3, 4, generator=torch.Generator().manual_seed(3))
maps = 1.5 * torch.rand(8, 3, 4, 5, 5, generator=torch.Generator().manual_seed(4))
DENSE = {"linear_features": 4}
MAPS = {"conv2d_channels": 4, "kernel_size": 3}


@pytest.fixture(autouse=True)
def forgotten():
    """snnTorch resets all neurons of the process, those of other tests, too, and fails on some."""
    theirs.SpikingNeuron.init()
    yield
    theirs.SpikingNeuron.init()


def no_bias(lif):
    lif.recurrent.bias = None


def other_linear(lif):
    lif.recurrent = nn.Linear(4, 4, bias=False)


def several(lif):
    lif.recurrent = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 4))


def normed(lif):
    nn.utils.weight_norm(lif.recurrent)


def parametrized(lif):
    parametrizations.orthogonal(lif.recurrent)


def pruned(lif):
    prune.l1_unstructured(lif.recurrent, "weight", amount=0.5)


def exchanged_forward(lif):
    whole = lif.recurrent.forward
    lif.recurrent.forward = lambda spk: 0.5 * whole(spk)


def doubled(lif):
    lif.recurrent.register_forward_hook(lambda module, inputs, output: 2.0 * output)


def doubled_before(lif):
    lif.recurrent.register_forward_pre_hook(lambda module, inputs: (2.0 * inputs[0],))


def grouped(lif):
    lif.recurrent = nn.Conv2d(4, 4, 3, padding=1, groups=2)


def circular(lif):
    lif.recurrent = nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")


def by_itself(lif):
    lif.recurrent.V = torch.tensor(0.7)


CHANGES = {
    **{change.__name__: (change, DENSE, x) for change in (no_bias, other_linear, several, normed, parametrized, pruned,
                                                          exchanged_forward, doubled, doubled_before)},
    **{f"{change.__name__}-maps": (change, MAPS, maps) for change in (no_bias, normed, pruned, grouped, circular)},
    "by_itself": (by_itself, {"all_to_all": False, "learn_recurrent": False}, x),
}  # fmt: skip


def stepped(module, inputs):
    return torch.stack([module(step) for step in inputs])


def gradients(module, inputs, run=stepped):
    inputs = inputs.clone().requires_grad_()
    spikes = run(module, inputs)
    (spikes * torch.linspace(0.5, 1.5, spikes.numel()).reshape(spikes.shape)).sum().backward()
    return spikes, inputs.grad, {n: p.grad for n, p in module.named_parameters() if p.grad is not None}


def close(first, second):
    (a, b, c), (d, e, f) = first, second
    assert 0 < a.sum() < a.numel()
    assert torch.equal(a, d)
    torch.testing.assert_close(e, b, rtol=1e-4, atol=2e-5)
    assert set(c) == set(f)
    for name, value in c.items():
        torch.testing.assert_close(f[name], value, rtol=1e-4, atol=1e-4 * max(1.0, float(value.abs().max())))


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("kind", ["RLeaky", "RSynaptic"])
@pytest.mark.parametrize("name", CHANGES)
def test_whatever_is_in_its_place_is_called(name, kind, reset):
    change, options, inputs = CHANGES[name]
    decays = {"beta": 0.8} if kind == "RLeaky" else {"alpha": 0.6, "beta": 0.8}
    made = []
    for library in (theirs, ours):
        torch.manual_seed(0)
        made.append(getattr(library, kind)(**decays, **options, init_hidden=True, reset_mechanism=reset))
        change(made[-1])
    them, us = made
    us.load_state_dict(them.state_dict())
    expected = gradients(them, inputs)
    close(expected, gradients(us, inputs))
    us.zero_grad()
    close(expected, gradients(us, inputs, run=ours.run))


def cells(library):
    torch.manual_seed(0)
    yield library.SLSTM(4, 4, threshold=0.05, init_hidden=True), "lstm_cell", x
    yield library.SConv2dLSTM(4, 4, 3, threshold=0.05, max_pool=2, init_hidden=True), "conv", maps


def heard(module, name):
    seen = []
    getattr(module, name).register_forward_hook(lambda *args: seen.append(1))
    return seen


@pytest.mark.parametrize("run", [stepped, ours.run])
def test_hooks_hear_every_step(run):
    for module, name, inputs in [*cells(ours), (ours.RLeaky(0.8, linear_features=4, init_hidden=True), "recurrent", x)]:
        seen, other = heard(module, name), copy.deepcopy(module)
        spikes = run(module, inputs)
        assert len(seen) == len(inputs)
        getattr(other, name)._forward_hooks.clear()
        assert torch.equal(spikes, stepped(other, inputs))


@pytest.mark.parametrize("run", [stepped, ours.run])
def test_hooks_on_all_modules_hear_them(run):
    for module, name, inputs in [*cells(ours), (ours.RLeaky(0.8, linear_features=4, init_hidden=True), "recurrent", x)]:
        seen, inner = [], getattr(module, name)
        handle = nn.modules.module.register_module_forward_hook(lambda m, i, o, s=seen, n=inner: s.append(m is n))
        try:
            run(module, inputs)
        finally:
            handle.remove()
        assert sum(seen) == len(inputs)


def test_hooks_on_cells_change_what_they_change_there():
    for (them, name, inputs), (us, _, _) in zip(cells(theirs), cells(ours)):
        us.load_state_dict(them.state_dict())
        for module in (them, us):
            hook = (lambda m, i, o: (2 * o[0], o[1])) if name == "lstm_cell" else (lambda m, i, o: 2 * o)
            getattr(module, name).register_forward_hook(hook)
        close(gradients(them, inputs), gradients(us, inputs))


def test_cells_that_are_replaced():
    for (them, name, inputs), (us, _, _) in zip(cells(theirs), cells(ours)):
        for module in (them, us):
            torch.manual_seed(1)
            new = nn.LSTMCell(4, 4, bias=False) if name == "lstm_cell" else nn.Conv2d(8, 16, 3, padding=1, groups=2)
            setattr(module, name, new)
        close(gradients(them, inputs), gradients(us, inputs))
        assert f"a cell of its own as {name}" in us.by_protocol()


def test_the_constant_of_a_connection_follows_the_neuron_s():
    lif = ours.RLeaky(0.8, V=0.4, all_to_all=False, learn_recurrent=False, init_hidden=True)
    assert lif.by_protocol() == ""
    for change in (lambda: lif.double(), lambda: lif.load_state_dict(lif.state_dict(), assign=True),
                   lambda: setattr(lif, "V", torch.tensor(0.9))):  # fmt: skip
        change()
        assert lif.by_protocol() == ""
        assert lif.recurrent.V is lif.V
    utils.reset(lif)
    spikes = torch.stack([lif(step) for step in x.double()])
    other = ours.RLeaky(0.8, V=0.9, all_to_all=False, learn_recurrent=False, init_hidden=True).double()
    assert torch.equal(spikes, ours.run(other, x.double()))
    copied = copy.deepcopy(lif)
    assert copied.by_protocol() == ""
    assert copied.recurrent.V is copied.V


def test_models_of_replaced_connections_are_refused():
    lif = ours.RLeaky(0.8, linear_features=4, init_hidden=True)
    no_bias(lif)
    with pytest.raises(ValueError, match="a connection of its own as recurrent has no counterpart"):
        ours.from_torch(nn.Sequential(nn.Linear(4, 4), lif))
