"""What a reader with modules and loops of her own gets wrong is refused, with a message that says what to write."""

from __future__ import annotations

import re

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="these mistakes are made with torch")
from torch import nn  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

import spikecore as sc  # noqa: E402
import spikecore.nn as snn  # noqa: E402
from spikecore import functional, surrogate  # noqa: E402
from spikecore.api.training.executor import recorded_for  # noqa: E402

X, Y = np.random.default_rng(0).random((6, 5), dtype="float32"), np.arange(6) % 3


def net():
    return nn.Sequential(nn.Linear(5, 4), snn.Leaky(0.9, init_hidden=True), nn.Linear(4, 3), snn.Leaky(0.9))


def model():
    layers = sc.Linear(5, 4), sc.Leaky(beta=0.9), sc.Linear(4, 3), sc.Leaky(beta=0.9)
    return sc.Model(sc.Sequential(*layers), "torch", seed=0)


def loader():
    return DataLoader(TensorDataset(torch.as_tensor(X), torch.as_tensor(Y)), 3)


def of_torchs_functions(out, targets):
    return sum(nn.functional.cross_entropy(mem, torch.as_tensor(np.asarray(targets))) for mem in out.membrane)


#: What is written, and what the message must say: what is wrong, where, what instead.
MISTAKES = {
    "a surrogate's class": (
        lambda: snn.Leaky(0.9, spike_grad=surrogate.fast_sigmoid),
        "Leaky: spike_grad=fast_sigmoid is a class",
        r"surrogate\.fast_sigmoid\(\)",
    ),
    "a class of torch's for a surrogate": (
        lambda: snn.Leaky(0.9, spike_grad=torch.autograd.Function),
        "Leaky: spike_grad=<class 'torch.autograd.function.Function'> must be",
        "a function from potentials to spikes",
    ),
    "verify a loader": (lambda: sc.verify(net(), loader(), Y), "verify: x=.*DataLoader", r"next\(iter\(loader\)\)"),
    "fit a loader and targets": (lambda: model().fit(loader(), Y, num_steps=2), "not DataLoader", "pass it alone"),
    "fit objects": (lambda: model().fit(X.astype(object), Y, num_steps=2), "of object", r"values\.astype\(float\)"),
    "activity of modules": (lambda: functional.activity(net(), X), "must be a Model", r"nn\.from_torch\(net\)"),
    "EarlyStopping of modules": (
        lambda: sc.EarlyStopping(monitor="loss")(net(), {"epoch": 1, "loss": 0.1}),
        "EarlyStopping: model=.*must be a Model",
        r"nn\.from_torch\(net\)",
    ),
    "run an array": (lambda: snn.run(net(), X, num_steps=2), "run: x=ndarray", r"torch\.as_tensor\(x\)"),
    "a gradient by the input": (
        lambda: model()(torch.as_tensor(X).requires_grad_(), num_steps=2),
        "x is a tensor that requires a gradient",
        r"x\.detach\(\).*torch\.func\.grad.*nn\.to_torch\(model\)",
    ),
    "verify a loss of torch's functions": (
        lambda: sc.verify(net(), X, Y, of_torchs_functions, num_steps=2),
        "torch's cross_entropy cannot differentiate",
        r"sc\.base\.engine_of\(out\.spikes\)\.xp",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_what_to_write(mistake):
    act, what, remedy = MISTAKES[mistake]
    with pytest.raises((TypeError, ValueError)) as caught:
        act()
    for part in (what, remedy):
        assert re.search(part, str(caught.value)), str(caught.value)


def test_what_the_remedies_say_works():
    """A loss in words instead of torch's functions, and the gradient by the input of a model's modules."""

    def in_words(out, targets):
        xp = sc.base.engine_of(out.membrane).xp
        return -xp.sum(xp.log_softmax(out.membrane, axis=-1) * sc.spikegen.to_one_hot(targets, 3)) / len(Y)

    trained, x = model(), torch.as_tensor(3 * X).requires_grad_()
    assert sc.verify(trained, 3 * X, Y, in_words, num_steps=4).ok
    out = trained(3 * X, num_steps=4)
    labels = torch.as_tensor(Y)
    assert float(in_words(out, labels)) == pytest.approx(float(of_torchs_functions(out, labels)), rel=1e-5)
    snn.run(snn.to_torch(trained), x, num_steps=4).sum().backward()
    assert x.grad.abs().sum() > 0


def reads_a_hidden_layer(out, targets):
    return functional.ce_count_loss()(out, targets) + out.states["1"].spikes.mean()


def test_a_loss_of_ones_own_names_the_layers_that_it_reads():
    with pytest.raises(KeyError, match=r"no states of layer '1' .*loss\.layers = \('1',\)"):
        model().fit(X, Y, loss=reads_a_hidden_layer, num_steps=2, progress=False)

    def loss(out, targets):
        return reads_a_hidden_layer(out, targets)

    loss.layers = ("1",)
    trained = model()
    trained.fit(3 * X, Y, loss=loss, num_steps=4, progress=False)
    cost = functional.ce_count_loss() + functional.l1_rate_sparsity(1.0 / (4 * 6 * 4), layers=("1",))
    same = model()
    same.fit(3 * X, Y, loss=cost, num_steps=4, progress=False)
    assert trained.history[-1]["loss"] == pytest.approx(same.history[-1]["loss"], rel=1e-6)
    np.testing.assert_allclose(trained.params()["0.weight"], same.params()["0.weight"], rtol=1e-5)
    assert recorded_for(loss + 2.0 * functional.silence_loss(layers=("0",))) == ("1", "0", "last")
    for loss.layers, read in (("10", ("10",)), (3, ()), (["1", "3"], ("1", "3"))):  # an attribute may mean other things
        assert recorded_for(loss) == (*read, "last")


@pytest.mark.parametrize("value", [None, 0.5])
def test_a_loss_that_returns_no_array_is_told_so(value):
    with pytest.raises(TypeError, match=rf"loss gave {value}, expected .*without float\(\)"):
        model().fit(X, Y, loss=lambda out, targets: value, num_steps=2, progress=False)


@pytest.mark.parametrize("lif", [snn.Leaky(0.9), snn.Lapicque(0.9)])
def test_a_state_that_is_no_tensor_is_named(lif):
    with pytest.raises(TypeError, match=rf"{type(lif).__name__}: state 'mem' is 0, expected a tensor; None starts"):
        lif(torch.rand(2, 3), 0)
