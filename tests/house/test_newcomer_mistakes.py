"""Fifty mistakes of newcomers and more: each is told what is wrong, where, and what to write instead."""

from __future__ import annotations

import re

import numpy as np
import pytest

import spikecore as sc
from spikecore import functional, spikegen
from spikecore.datasets import DataError, Dataset, Events, Loader
from tests.house.newcomer_rig import X, Y, fit, model, network, out

# ---- fifty mistakes and more ---------------------------------------------------------------------------------------

IMAGES = np.zeros((4, 1, 28, 28), "float32")
SEQUENCES, VALUES = np.zeros((6, 9, 5)), np.zeros((9, 6, 3))
REGRESSED = functional.mse_membrane_loss(time_var_targets=True)


def convolved(*behind):
    front = (sc.Conv2d(1, 4, 5), sc.MaxPool2d(4), sc.Leaky())
    return sc.Model(sc.Sequential(*front, *behind), "numpy", input_shape=(1, 28, 28))


def names(count=6):
    return np.array(["cat", "dog", "owl"])[np.arange(count) % 3]


def traced():
    """A network of one input."""
    return sc.Model(sc.Sequential(sc.Linear(1, 3), sc.Leaky()), "numpy")


class Column(list):
    """A column of a data frame of pandas, as far as it matters here."""

    dtype, ndim = np.dtype(object), 1


class Frame:
    """A data frame with a column of text."""

    columns, dtypes = ("length", "species"), (np.dtype(float), np.dtype(object))

    def __array__(self, dtype=None, copy=None):
        return np.array([[0.1, "cat"]] * 6, dtype=object)


#: A mistake: what is written, and what the message must say: what is wrong, where, and what to write instead.
MISTAKES = {
    # engines and devices
    "engine='cuda'": (lambda: sc.Model(network(), "cuda"), "'cuda'", "engine", "engine='torch', device='cuda'"),
    "engine='gpu'": (lambda: sc.Model(network(), "gpu"), "'gpu'", "engine", "device='cuda'"),
    "engine='Torch'": (lambda: sc.Model(network(), "Torch"), "'Torch'", "engine", "did you mean 'torch'"),
    "device= on numpy": (lambda: model(device="cuda"), "'device'", "engine 'numpy'", "engine='torch' has devices"),
    # words of PyTorch
    "model.parameters()": (lambda: model().parameters(), "'parameters'", "Model", r"model\.params\(\).*to_torch"),
    "model.train()": (lambda: model().train(), "'train'", "Model", "leave it out"),
    "model.eval()": (lambda: model().eval(), "'eval'", "Model", "leave it out"),
    "model.to('cuda')": (lambda: model().to("cuda"), "'to'", "Model", r"to_engine\('torch', device='cuda'\)"),
    "model.forward(x)": (lambda: model().forward(X), "'forward'", "Model", r"model\(x, num_steps=25\)"),
    "model.state_dict()": (lambda: model().state_dict(), "'state_dict'", "Model", r"model\.state\(\)"),
    "model.zero_grad()": (lambda: model().zero_grad(), "'zero_grad'", "Model", r"to_torch\(model\).*bptt"),
    "model.compile(loss)": (lambda: model().compile("adam"), "'compile'", "Model", "arguments of fit"),
    "model.reset()": (lambda: model().reset(), "'reset'", "Model", "each call starts at rest"),
    "model.fitt": (lambda: model().fitt, "'fitt'", "Model", "did you mean 'fit'"),
    "net(x)": (lambda: network()(X), "cannot be called", "Sequential", r"sc\.Model\(network\)"),
    "neuron(x)": (lambda: sc.Leaky(beta=0.9)(X), "cannot be called", "Leaky", r"sc\.Model\(network\)"),
    # outputs
    "out.mem": (lambda: out().mem, "'mem'", "Output", r"out\.membrane"),
    "out.sum()": (lambda: out().sum(), "'sum'", "Output", r"out\.spikes"),
    "out[0]": (lambda: out()[0], "no tuple", "Output", r"out\.spikes or out\.membrane"),
    "spk, mem = model(x)": (lambda: (lambda spk, mem: spk)(*out()), "unpacked", "Output", r"out\.spikes or out\.mem"),
    "out.states[1]": (lambda: out().states[1], "names of layers", "states", r"states\['1'\]"),
    # arguments
    "Adam(learning_rate=)": (lambda: sc.Adam(learning_rate=1e-3), "'learning_rate'", "Adam", "did you mean 'lr'"),
    "fit(num_step=)": (lambda: model().fit(X, Y, num_step=2), "'num_step'", r"Model\.fit", "did you mean 'num_steps'"),
    "fit(timesteps=)": (lambda: model().fit(X, Y, timesteps=2), "'timesteps'", r"Model\.fit", "mean 'num_steps'"),
    "fit(num_epochs=)": (lambda: model().fit(X, Y, num_epochs=2), "'num_epochs'", r"Model\.fit", "mean 'epochs'"),
    "fit(lr=)": (lambda: model().fit(X, Y, lr=1e-3), "'lr'", r"Model\.fit", r"optimizer=sc\.Adam\(lr=0\.001\)"),
    "fit(criterion=)": (lambda: model().fit(X, Y, criterion=1), "'criterion'", r"Model\.fit", "did you mean 'loss'"),
    "fit(batches, batch_size=)": (lambda: fit(batch_size=2), "batch_size=2", "data=", r"Loader\(x, y, batch_size=2\)"),
    "Linear(units=)": (lambda: sc.Linear(in_features=5, units=3), "'units'", "Linear", "did you mean 'out_features'"),
    "Leaky(0.9)": (lambda: sc.Leaky(0.9), "keyword arguments only", "Leaky", r"Leaky\(beta=0\.9\)"),
    "Leaky(learn_beta=)": (lambda: sc.Leaky(learn_beta=True), "'learn_beta'", "Leaky", r"beta=sc\.learn"),
    "sc.Leeky": (lambda: sc.Leeky, "'Leeky'", "spikecore", "did you mean 'Leaky'"),
    # one kind of thing for another
    "a class as a layer": (lambda: sc.Sequential(sc.Linear(5, 3), sc.Leaky), "a class", "entry 1", r"write Leaky\("),
    "a class as a network": (lambda: sc.Model(sc.Leaky), "a class", "network", r"write Leaky\(\.\.\.\)"),
    "a class as a loss": (lambda: fit(loss=functional.ce_rate_loss), "<class", "loss=", r"ce_rate_loss\(\)"),
    "a class as an optimiser": (lambda: fit(optimizer=sc.Adam), "<class", "optimizer=", r"sc\.Adam\(lr=1e-3\)"),
    "loss='ce'": (lambda: fit(loss="ce"), "'ce'", "loss=", r"ce_rate_loss\(\)"),
    "optimizer='adam'": (lambda: fit(optimizer="adam"), "'adam'", "optimizer=", r"sc\.Adam\(lr=1e-3\)"),
    "encoder='rate'": (lambda: fit(encoder="rate"), "'rate'", "encoder=", r"spikecore\.spikegen\.rate"),
    "surrogate='atan'": (lambda: sc.Leaky(surrogate="atan"), "'atan'", "surrogate=", r"surrogate\.atan\(\)"),
    "a list of layers": (lambda: sc.Sequential([sc.Linear(5, 3)]), "not a spikecore layer", "entry 0", r"\(\*layers\)"),
    "verify(network)": (lambda: sc.verify(network(), X, Y), "Sequential", "model=", r"sc\.Model\(network\)"),
    # shapes
    "Linear behind a convolution": (
        lambda: convolved(sc.Flatten(), sc.Linear(128, 10)),
        r"\(144,\)",
        "layer 4: Linear",
        r"write Linear\(144, 10\)",
    ),
    "Linear without Flatten": (
        lambda: convolved(sc.Linear(144, 10)),
        r"\(4, 6, 6\)",
        "layer 3: Linear",
        r"put a Flatten\(\) before it",
    ),
    "Linear behind Linear": (
        lambda: sc.Model(sc.Sequential(sc.Linear(5, 8), sc.Linear(10, 3))),
        r"\(8,\)",
        "layer 1",
        r"write Linear\(8, 3\)",
    ),
    "images into Linear": (
        lambda: sc.Model(sc.Sequential(sc.Linear(784, 3)), "numpy")(IMAGES, num_steps=2),
        r"\(4, 1, 28, 28\)",
        "input",
        r"put a Flatten\(\)",
    ),
    "a single sample": (lambda: model()(X[0], num_steps=2), r"\(5,\)", "input", r"x\[None\]"),
    "num_steps forgotten": (lambda: model()(X), r"\(6, 5\)", "input", "pass num_steps"),
    "num_steps forgotten in fit": (lambda: model().fit(X, Y), r"\(6, 5\)", "x of shape", "pass num_steps=25"),
    "num_steps of a sequence": (
        lambda: model()(SEQUENCES, num_steps=2),
        r"\(6, 9, 5\)",
        "input",
        "leave out num_steps",
    ),
    "batch first": (lambda: model().fit([(SEQUENCES, Y)]), "axes look exchanged", "6 time steps", "pass time_axis=1"),
    "batch first in regression": (
        lambda: model().fit([(SEQUENCES, VALUES)], loss=REGRESSED),
        "axes .* look exchanged",
        "targets",
        "pass time_axis=1",
    ),
    "inputs and targets of unequal number": (
        lambda: model().fit(X, Y[:4], num_steps=2),
        "6 inputs but 4 targets",
        "targets",
        "axis 0 of both",
    ),
    # targets
    "names as labels": (lambda: model().fit(X, names(), num_steps=2), "'cat'", "targets=", r"return_inverse=True"),
    "names in batches": (lambda: fit([(X, names())]), "'cat'", "entries of type", r"np\.unique\(names, return_inv"),
    "a column of names": (
        lambda: Loader(X, Column(["cat", "dog"] * 3)),
        "Column",
        "targets",
        r"np\.unique\(names, return_inverse",
    ),
    "a data frame with text": (lambda: Loader(Frame(), Y), "Frame", "inputs", r"select_dtypes\('number'\)"),
    "labels from 1": (lambda: model().fit(X, Y + 1, num_steps=2), "out of range", r"targets\[2\] = 3", r"\(0\.\.2\)"),
    "one-hot labels": (lambda: model().fit(X, np.eye(3)[Y], num_steps=2), r"\(6, 3\)", "targets", r"argmax\(-1\)"),
    "labels as floats": (lambda: model().fit(X, Y * 1.0, num_steps=2), "float", "targets", "integer class indices"),
    "a column of labels": (lambda: model().fit(X, Y[:, None], num_steps=2), r"\(6, 1\)", "targets", r"targets\[:, 0\]"),
    "predict after sequences of labels": (
        lambda: model().predict(X, num_steps=2, loss=sc.functional.ctc_loss()),
        "does not say how to read it",
        "loss=",
        r"out\.membrane",
    ),
    # values
    "NaN in the input": (
        lambda: model()(X * np.nan, num_steps=2),
        "is nan",
        r"input\[0, 0\]",
        "in this batch; in your data np.argwhere",
    ),
    "uint8 into rate": (
        lambda: spikegen.rate((X * 255).astype("uint8"), 2),
        "above 1",
        "rate: data of dtype uint8",
        "data / 255",
    ),
    "objects as input": (lambda: model()(np.array([None] * 5)), "None", "input=", "an array of numbers"),
    "num_steps=2.5": (lambda: model()(X, num_steps=2.5), r"2\.5", "num_steps", "an int >= 1"),
    "beta=1.5": (lambda: sc.Leaky(beta=1.5), r"1\.5", "Leaky: beta", r"in \[0, 1\]"),
    # data
    "fit(Dataset)": (lambda: fit(Dataset(X, Y)), "samples, not batches", "data=", r"Loader\(data\)"),
    "fit((x, y))": (lambda: model().fit((X, Y)), "a tuple of arrays", "data", r"fit\(inputs, targets\)"),
    "evaluate(x)": (lambda: model().evaluate(X, num_steps=2), "no targets", "data", r"fit\(x, y\)"),
    "validation=0.2": (lambda: fit(validation=0.2), r"0\.2", "validation=", r"Dataset\(x, y\)\.split\(0\.8, seed=0\)"),
    "spike times in seconds": (
        lambda: Events(t=[0.1, 0.2], x=[0, 1], sensor=(2,)),
        "float64",
        "t: need one axis of whole numbers",
        r"np\.round\(1e6 \* t\)",
    ),
    "a trace without an axis of features": (
        lambda: traced().fit(SEQUENCES[:, :, 0], Y, time_axis=1),
        r"shape \(9, 6\)",
        "time, batch, 1",
        r"x\[\.\.\., None\]",
    ),
    "numbers without an axis of features": (
        lambda: traced()(Y * 1.0, num_steps=2),
        r"shape \(6,\)",
        "batch, 1",
        r"x\[\.\.\., None\]",
    ),
    "a current as one series": (
        lambda: traced()(Y * 1.0),
        r"shape \(6,\)",
        "time, batch",
        r"x\[:, None, None\]",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_what_where_and_what_instead(mistake):
    act, what, where, remedy = MISTAKES[mistake]
    with pytest.raises((TypeError, ValueError, AttributeError, KeyError, DataError)) as caught:
        act()
    for part in (what, where, remedy):
        assert re.search(part, str(caught.value)), str(caught.value)


def test_there_are_fifty():
    assert len(MISTAKES) >= 50


# ---- and what three more readers got wrong: a student, a researcher, an engineer -------------------------------------


def history():
    return fit()


def conv(shape):
    return sc.Model(sc.Sequential(sc.Conv2d(1, 4, 5), sc.Leaky()), "numpy", input_shape=shape)


#: As above: what is written, and what the message must say.
MORE_MISTAKES = {
    "Leaky(reset=)": (lambda: sc.Leaky(reset="zero"), "'reset'", "Leaky", "reset_mechanism='subtract'"),
    "Leaky(tau=)": (lambda: sc.Leaky(tau=20.0), "'tau'", "Leaky", r"beta=sc\.decay\(tau\)"),
    "Leaky(decay=)": (lambda: sc.Leaky(decay=0.9), "'decay'", "Leaky", "write beta="),
    "sc.LIF": (lambda: sc.LIF, "'LIF'", "spikecore", r"sc\.Leaky\(beta=0\.9\)"),
    "sc.ReLU": (lambda: sc.ReLU, "'ReLU'", "spikecore", r"a neuron, e\.g\. sc\.Leaky"),
    "sc.Dense": (lambda: sc.Dense, "'Dense'", "spikecore", r"sc\.Linear\(in_features, out_features\)"),
    "sc.CrossEntropyLoss": (lambda: sc.CrossEntropyLoss, "'CrossEntropyLoss'", "spikecore", r"ce_rate_loss\(\)"),
    "sc.Input": (lambda: sc.Input, "'Input'", "spikecore", "input_shape="),
    "sc.onnx": (lambda: sc.onnx, "'onnx'", "spikecore", r"sc\.export\(model, path, to='onnx'\)"),
    "sc.conv2D": (lambda: sc.conv2D, "'conv2D'", "spikecore", "did you mean 'Conv2d'"),
    "datasets.MNIST": (lambda: sc.datasets.MNIST, "'MNIST'", r"spikecore\.datasets", "did you mean 'mnist'"),
    "channels last": (lambda: conv((28, 28, 1)), r"\(28, 28, 1\)", "layer 0: Conv2d", r"np\.moveaxis\(x, -1, -3\)"),
    "no channels": (lambda: conv((28, 28)), r"\(28, 28\)", "layer 0: Conv2d", r"x\.reshape\(\*x\.shape\[:-2\], 1, "),
    "stream(x)": (lambda: model().stream()(X), "cannot be called", "Stream", r"stream\.step\(x\)"),
    "net[0]": (lambda: network()[0], "no indices", "Sequential", r"network\.layers\[0\]"),
    "net.append": (lambda: network().append(sc.Leaky()), "'append'", "Sequential", r"sc\.Sequential\(\*layers\)"),
    "history['loss']": (lambda: history()["loss"], "list of rows", "History", r"\[row\['loss'\] for row in history\]"),
    "history.loss": (lambda: history().loss, "'loss'", "History", r"\[row\['loss'\] for row in history\]"),
    "history.history": (lambda: history().history, "'history'", "History", r"\[row\['loss'\] for row in history\]"),
    "model.net": (lambda: model().net, "'net'", "Model", r"write model\.network"),
    "model.export": (lambda: model().export("net.onnx"), "'export'", "Model", r"spikecore\.export\(model, path"),
    "validation=Dataset": (
        lambda: fit(validation=Dataset(X, Y)),
        "samples, not batches",
        "validation=",
        r"Loader\(data\)",
    ),
    "validation=x": (lambda: fit(validation=X), "no targets", "validation", r"validation=\(x, y\)"),
    "verify(..., labels from 1)": (
        lambda: sc.verify(model(), X, Y + 1, num_steps=2),
        "out of range",
        r"targets\[2\] = 3",
        r"\(0\.\.2\)",
    ),
    "activity of an Output": (
        lambda: spikegen.rate(out(), 3),
        r"Output\(",
        "rate: data=",
        r"pass out\.spikes or out\.membrane",
    ),
}


@pytest.mark.parametrize("mistake", MORE_MISTAKES)
def test_a_mistake_of_three_more_readers_is_told_as_well(mistake):
    act, what, where, remedy = MORE_MISTAKES[mistake]
    with pytest.raises((TypeError, ValueError, AttributeError)) as caught:
        act()
    for part in (what, where, remedy):
        assert re.search(part, str(caught.value)), str(caught.value)
