"""Bad input is refused with a message that names argument, value and remedy; nothing is trained on it."""

from __future__ import annotations

import importlib
import importlib.util
import re

import numpy as np
import pytest

import spikecore as sc
from spikecore import functional
from spikecore.api.core import engines as core
from spikecore.api.core.layer import Key, Pass
from spikecore.api.core.tree import Params, State, Tree
from spikecore.api.training.batching import Feed
from spikecore.conformance import cases, rig
from spikecore.installing import to_install

X, Y = np.random.default_rng(0).random((6, 5)), np.array([0, 1, 2, 0, 1, 2])
NO_TORCH = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
ENGINES = ["numpy", pytest.param("torch", marks=NO_TORCH)]


def model(engine="numpy", **options):
    return sc.Model(sc.Sequential(sc.Linear(5, 4), sc.Leaky(), sc.Linear(4, 3), sc.Leaky()), engine, **options)


def refused(kind, message):
    return pytest.raises(kind, match=message)


# ---- shapes --------------------------------------------------------------------------------------------------------


def test_wrong_shape_names_the_axis_and_what_the_first_layer_takes():
    with refused(sc.errors.ShapeError, r"input of shape \(6, 7\): axis 1 is 7, but the first layer takes \(batch, 5\)"):
        model()(np.ones((6, 7)), num_steps=3)
    with refused(sc.errors.ShapeError, r"input of shape \(3, 6, 7\): axis 2 is 7, .*\(time, batch, 5\)"):
        model()(np.ones((3, 6, 7)))
    with refused(
        sc.errors.ShapeError,
        r"\(6, 5\), expected \(time, batch, 5\); for an input without time axis pass num_steps, for a single",
    ):
        model()(X)
    with refused(
        sc.errors.ShapeError, r"\(3, 6, 5\), expected \(batch, 5\); it has a time axis of its own: leave out num_steps"
    ):
        model()(np.ones((3, 6, 5)), num_steps=3)
    with refused(sc.errors.ShapeError, r"input of shape \(5,\): expected \(time, batch, \*features\)"):
        model()(np.ones(5))


def test_layers_that_do_not_fit_are_named():
    for layers, message in (
        ((sc.Linear(5, 4), sc.Leaky(), sc.Linear(3, 2)), r"layer 2: Linear: samples of shape \(4,\), expected \(3,\)"),
        ((sc.Conv2d(1, 2, 3), sc.Linear(8, 2)), r"layer 1: Linear: .*; put a Flatten\(\) before it"),
        ((sc.Sequential(sc.Flatten(), sc.BatchNorm1d(3)),), r"layer 0: layer 1: BatchNorm1d: .*expected \(3,\)"),
        ((sc.Conv2d(2, 2, 3),), r"layer 0: Conv2d: samples of shape \(1, 4, 4\), expected \(2, height, width\)"),
        ((sc.Conv2d(1, 2, 5),), r"Conv2d: kernel \(5, 5\) with padding \(0, 0\) does not fit into a map of \(4, 4\)"),
        ((sc.BatchNorm2d(3),), r"BatchNorm2d: samples of shape \(1, 4, 4\), expected \(3, height, width\)"),
        ((sc.Flatten(), sc.MaxPool2d(2)), r"MaxPool2d: samples of shape \(16,\), expected \(channels, height, width\)"),
        (
            (sc.Residual(sc.AvgPool2d(2)),),
            r"Residual: .* cannot be added: input \(1, 4, 4\), body \(1, 2, 2\); pass a shortcut",
        ),
    ):
        network = sc.Sequential(*layers)
        with refused(sc.errors.ShapeError, message):
            sc.Model(network, "numpy", input_shape=(5,) if isinstance(layers[0], sc.Linear) else (1, 4, 4))


def test_state_of_another_network_or_batch():
    one = model()
    state = one(X, num_steps=2).state
    with refused(sc.errors.ShapeError, r"layer 1 \(Leaky\): state 'mem' has shape \(6, 4\), expected \(2, 4\)"):
        one(X[:2], num_steps=2, state=state)
    with refused(sc.errors.ShapeError, r"Sequential: state of layers \('1',\), expected \('1', '3'\)"):
        one(X, num_steps=2, state=State({"1": state["1"]}))
    with refused(sc.errors.ShapeError, r"Leaky: state has \('syn',\), expected \('mem',\)"):
        engine = sc.get_engine("numpy")
        sc.Leaky().run(Pass(engine), Params(), Tree(), State(syn=None), engine.asarray(np.ones((1, 2, 3))))


def test_every_layer_with_a_state_refuses_that_of_another_batch():
    engine, tried = sc.get_engine("numpy", dtype="float64", fused=False), []
    maps = cases.Case("CountMaxPool2d", sc.CountMaxPool2d(2), (2, 4, 4))
    for case in (case for case in (*cases.NEURONS, *cases.DELAYS, maps) if case.layer.state):
        x = rig.normal(8, 2, *case.shape)
        after, other = (rig.run(engine, case.layer, part).state for part in (x, x[:, :1]))
        rig.run(engine, case.layer, x, state=after)
        with refused(sc.errors.ShapeError, r"state '\w+' has shape"):
            rig.run(engine, case.layer, x, state=other)
        tried.append(case.name)
    assert {"Delay", "CountMaxPool2d"} < set(tried)


def test_time_and_batch_axes_swapped():
    swapped = [(np.ones((6, 4, 5)), Y)]  # (batch, time, features)
    with refused(
        sc.errors.ShapeError, r"6 time steps and 4 samples, but there are 6 targets: .*exchanged; pass time_axis=1"
    ):
        model().fit(swapped)
    model().fit(swapped, time_axis=1)
    with refused(ValueError, r"time_axis=3 is no axis of an input of shape \(6, 4, 5\)"):
        model().fit(swapped, time_axis=3)


# ---- values --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused_with_their_index(engine, value):
    bad = X.copy()
    bad[4, 2] = value
    one = model(engine)
    before = one.params()
    with refused(ValueError, rf"input\[4, 2\] is {value}: .*check_finite=False\) lets it through"):
        one.fit([(bad, Y)], num_steps=2)
    with refused(ValueError, r"input\[0, 4, 2\]"):
        one(np.stack([bad, X]))
    assert all((before[name] == x).all() for name, x in one.params().items())
    assert one.history == []


def test_nan_may_be_let_through():
    bad = X.copy()
    bad[0, 0] = np.nan
    model().fit([(bad, Y)], num_steps=2, compute=sc.Compute(check_finite=False))


def test_empty_batch_and_no_time_steps():
    with refused(sc.errors.ShapeError, r"input of shape \(0, 5\) is empty: its batch axis has length 0"):
        model().fit([(X[:0], Y[:0])], num_steps=2)
    with refused(sc.errors.ShapeError, r"input of shape \(0, 6, 5\) is empty: its time axis has length 0"):
        model()(np.ones((0, 6, 5)))
    for steps in (0, -1, 2.5):
        with refused(ValueError, f"num_steps={steps} must be an int >= 1"):
            model()(X, num_steps=steps)
    with refused(sc.errors.ShapeError, r"num_steps=3 with an input that has 2 time steps of its own"):
        model().trainer.executor.run(np.ones((2, 6, 5)), steps=3)
    with refused(sc.errors.ShapeError, "needs a time step and a sample"):
        model().trainer.executor.run(np.ones((0, 6, 5)))


def test_an_engine_array_of_another_dtype_is_refused_and_host_arrays_are_cast():
    torch = pytest.importorskip("torch", reason="the tensor is the engine array here")
    with refused(TypeError, r"torch\.float64 tensor came to an engine of torch\.float32: .*dtype='float64'"):
        model("torch")(torch.tensor(X), num_steps=2)
    assert model("torch")(X, num_steps=2).spikes.dtype == torch.float32
    assert model("numpy")(torch.tensor(X), num_steps=2).spikes.dtype == "float32"
    assert model("torch", dtype="float64")(torch.tensor(X), num_steps=2).spikes.dtype == torch.float64


def test_tensors_without_an_array_of_numbers_are_refused_and_lazy_signs_are_numbers():
    torch = pytest.importorskip("torch", reason="it has such tensors")
    x = torch.tensor(X, dtype=torch.float32)
    negated = torch.complex(x, -x).conj().imag  # as of a spectrum
    for engine in ("numpy", "torch"):
        net = model(engine)
        with refused(TypeError, r"input=.* must be an array of numbers; give x\.to_dense\(\)"):
            net(x.to_sparse(), num_steps=2)
        found, wanted = (np.asarray(net(given, num_steps=2).membrane) for given in (negated, x))
        assert (found == wanted).all()
        net.fit(negated, Y, num_steps=2, progress=False)
    narrow = x.bfloat16()
    found, wanted = (model("numpy")(given, num_steps=2).membrane for given in (narrow, narrow.float()))
    assert (found == wanted).all()
    with refused(TypeError, r"run: x has the layout torch\.sparse_coo, .* x\.to_dense\(\)"):
        sc.nn.run(torch.nn.Linear(5, 4), x.to_sparse(), 2)


# ---- targets -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_targets_out_of_range(engine):
    for bad, label in ((3, "3"), (-1, "-1")):
        with refused(ValueError, rf"targets\[2\] = {label} is out of range: the last layer has 3 classes \(0\.\.2\)"):
            model(engine).fit([(X, [0, 1, bad, 0, 1, 2])], num_steps=2)
        with refused(ValueError, rf"targets\[2\] = {label} is out of range"):
            model(engine).evaluate([(X, [0, 1, bad, 0, 1, 2])], num_steps=2)


def test_targets_of_the_wrong_kind_or_number():
    spikes = np.ones((4, 6, 3))
    for targets in (Y + 0.5, (Y + 0.5).tolist()):
        with refused(ValueError, "targets have dtype float(32|64), expected integer class indices"):
            model().fit([(X, targets)], num_steps=2)
        with refused(ValueError, "expected integer class indices"):
            functional.ce_rate_loss()(spikes, targets)
    with refused(sc.errors.ShapeError, r"targets have shape \(5,\), expected \(6,\): one class index per sample"):
        model().fit([(X, Y[:5])], num_steps=2)
    with refused(sc.errors.ShapeError, r"targets have shape \(6, 3\)"):
        functional.mse_count_loss()(spikes, np.eye(3)[Y].astype(int))
    with refused(ValueError, r"targets of shape \(6, 3\) must have the shape of the membrane, \(4, 6, 3\)"):
        functional.mse_membrane_loss(time_var_targets=True)(spikes, np.ones((6, 3)))


def test_losses_refuse_other_shapes_and_options():
    with refused(sc.errors.ShapeError, r"spikes has shape \(6, 3\), expected \(time, batch, classes\)"):
        functional.ce_count_loss()(np.ones((6, 3)), Y)
    with refused(sc.errors.ShapeError, r"spikes is empty: shape \(0, 6, 3\)"):
        functional.accuracy_rate(np.ones((0, 6, 3)), Y)
    with refused(ValueError, r"num_classes=4 must divide the 6 output neurons"):
        functional.ce_count_loss(population_code=True, num_classes=4)(np.ones((2, 6, 6)), Y)
    for make, message in (
        (lambda: functional.ce_rate_loss(reduction="max"), "reduction='max' must be one of mean, sum, none"),
        (lambda: functional.ce_rate_loss(population_code=True), "population_code=True needs num_classes"),
        (lambda: functional.mse_count_loss(correct_rate=2.0), r"correct_rate=2.0 must be in \[0, 1\]"),
        (lambda: functional.mse_membrane_loss(time_var_targets=True, weight=[1.0]), "no classes to weight"),
    ):
        with refused(ValueError, message):
            make()
    with refused(TypeError, "3 is not a loss"):
        functional.ce_rate_loss() + 3


# ---- data ----------------------------------------------------------------------------------------------------------


def test_data_that_are_no_batches():
    with refused(TypeError, r"wrap them: spikecore\.datasets\.Loader"):
        model().fit((X, Y), num_steps=2)
    with refused(TypeError, "batch 1 is a ndarray, expected a pair"):
        model().fit([(X, Y), X], num_steps=2)
    with refused(ValueError, "data gave no batch: it is empty, or a generator that an earlier epoch has used up"):
        model().fit(iter([(X, Y)]), num_steps=2, epochs=2)
    with refused(ValueError, "nothing to evaluate"):
        model().evaluate([], num_steps=2)


def test_encoders_that_are_none():
    with refused(TypeError, r"encoder='rate' must be callable, e\.g\. spikecore\.spikegen\.rate"):
        model().fit([(X, Y)], encoder="rate")
    with refused(
        sc.errors.ShapeError, r"returned shape \(6, 5\) for a batch of \(6, 5\), expected \(time, 6, \*features\)"
    ):
        model().fit([(X, Y)], encoder=lambda x: x, num_steps=3)
    with refused(sc.errors.ShapeError, r"encoded as \(6, 5\), but the first layer takes \(time, batch, 5\)"):
        model().fit([(X, Y)], encoder=lambda x: x)
    engine = sc.get_engine("numpy")
    sequence, _ = Feed(3, encoder=type("C", (), {"__call__": lambda self, x, **k: np.stack([x] * k["num_steps"])})())(
        engine, X, None, Key((0,))
    )
    assert sequence.shape == (3, 6, 5)


# ---- names ---------------------------------------------------------------------------------------------------------


def test_unknown_names_suggest_the_nearest():
    for act, kind, message in (
        (lambda: sc.get_engine("nunpy"), ValueError, "unknown engine 'nunpy'; did you mean 'numpy'"),
        (lambda: sc.Leaky(reset_mechanism="substract"), ValueError, "'substract'; did you mean 'subtract'"),
        (lambda: model()(X, num_steps=2, record="2"), ValueError, "unknown layer to record '2'.*Known: 1, 3"),
    ):
        with refused(kind, message):
            act()


def test_missing_dependency_names_the_extra(monkeypatch):
    monkeypatch.setattr(core, "importable", lambda package: package != "torch")
    with refused(ImportError, r"package torch is not installed\. To get it: " + re.escape(to_install("torch"))):
        model("torch")


def test_things_that_are_not_what_they_should_be():
    for act, kind, message in (
        (lambda: sc.Model("net"), TypeError, "network='net' is not a spikecore layer"),
        (
            lambda: sc.Sequential(sc.Linear(1, 1), "relu"),
            TypeError,
            "Sequential: entry 1 is 'relu', not a spikecore layer",
        ),
        (lambda: sc.Residual("body"), TypeError, "Residual: body='body' is not a spikecore layer"),
        (lambda: sc.Residual(sc.Flatten(), 3), TypeError, "Residual: shortcut=3 is not"),
        (lambda: sc.surrogate.sigmoid(slope="steep"), TypeError, "sigmoid: slope='steep' must be a number"),
        (lambda: sc.Leaky(surrogate="atan"), TypeError, r"surrogate='atan' is no spikecore\.surrogate"),
        (
            lambda: model().fit([(X, Y)], num_steps=2, loss="ce"),
            TypeError,
            r"loss='ce' must be a callable \(out, targets\)",
        ),
        (lambda: model().fit([(X, Y)], num_steps=2, loss=functional.ce_rate_loss), TypeError, "must be a callable"),
        (
            lambda: model().fit([(X, Y)], num_steps=2, optimizer="adam"),
            TypeError,
            "optimizer='adam' must be a spikecore",
        ),
        (lambda: model().fit([(X, Y)], num_steps=2, epochs=0), ValueError, "epochs=0 must be an int >= 1"),
    ):
        with refused(kind, message):
            act()


# ---- constructors --------------------------------------------------------------------------------------------------


def test_neurons_take_no_positional_arguments():
    """Leaky(0.5) would set the threshold."""
    with refused(TypeError, r"Leaky takes keyword arguments only, e\.g\. Leaky\(beta=0\.5\)"):
        sc.Leaky(0.5)


CONSTRUCTORS = [
    (lambda: sc.Leaky(beta=1.5), r"Leaky: beta=1\.5 must be in \[0, 1\]"),
    (lambda: sc.Leaky(beta=[0.5, -0.1]), r"Leaky: beta=-0\.1 must be in \[0, 1\]"),
    (lambda: sc.Leaky(beta=sc.learn(2.0)), r"Leaky: beta=2\.0"),
    (lambda: sc.Leaky(threshold=float("nan")), "Leaky: threshold=nan must be finite"),
    (lambda: sc.learn([]), r"learn: value=.* must be a number, or several"),
    (lambda: sc.learn(0.5, per="layer"), "per='layer' must be None, 'neuron' or 'channel'"),
    (lambda: sc.learn([0.5, 0.6], per="neuron"), r"an array of shape \(2,\) already has its own"),
    (lambda: sc.Leaky(beta=[0.1, 0.2]).init(None, (3,)), r"beta of shape \(2,\) does not broadcast to neurons \(3,\)"),
    (lambda: sc.Leaky(beta=sc.learn([0.1, 0.2])).init(None, (2, 4, 4)), r"one value per channel use shape \(2, 1, 1\)"),
    (lambda: sc.Linear(0, 2), "Linear: in_features=0 must be an int >= 1"),
    (lambda: sc.Linear(2, 2.5), "Linear: out_features=2.5 must be an int >= 1"),
    (lambda: sc.Conv2d(4, 6, 3, groups=4), "groups=4 must divide in_channels=4 and out_channels=6"),
    (lambda: sc.Conv2d(4, 6, (3, 3, 3)), r"Conv2d: kernel_size=\(3, 3, 3\) must be an int or 2 ints, each >= 1"),
    (lambda: sc.Conv2d(4, 6, 3, padding=-1), "Conv2d: padding=-1 .* each >= 0"),
    (lambda: sc.MaxPool2d(2, padding=2), "MaxPool2d: padding=2 must be at most half of kernel_size=2"),
    (lambda: sc.Dropout(1.0), r"Dropout: p=1\.0 must be in \[0, 1\)"),
    (lambda: sc.BatchNorm1d(0), "BatchNorm1d: num_features=0 must be an int >= 1"),
    (lambda: sc.BatchNorm2d(3, eps=0), "eps=0"),
    (lambda: sc.Adam(eps=0.0), r"Adam: eps=0\.0 must be a number in \(0, inf\)"),
    (lambda: sc.RMSprop(eps=0.0), r"RMSprop: eps=0\.0 must be a number in \(0, inf\)"),
    (lambda: sc.SGD(momentum=0.9, nesterov=0.5), "SGD: nesterov=0.5 must be True or False"),
    (lambda: sc.SGD(lr=10**400), r"SGD: lr=1000*0.* must be a finite number"),
    (lambda: sc.Adam(lr=True), "Adam: lr=True must be a finite number"),
    (lambda: sc.SGD(lr=-0.1), r"SGD: lr=-0\.1 must be a number in \[0, inf\)"),
    (lambda: sc.surrogate.atan(alpha=0.0), r"atan: alpha=0\.0 must be finite and > 0"),
    (lambda: sc.schedule.step(every=0), "step: every=0 must be >= 1"),
    (lambda: sc.schedule.cosine(floor=2.0), r"cosine: floor=2\.0 must be in \[0, 1\]"),
]


@pytest.mark.parametrize(("make", "message"), CONSTRUCTORS, ids=[message for _, message in CONSTRUCTORS])
def test_constructors_check_their_ranges(make, message):
    with refused(ValueError, message):
        make()


@NO_TORCH
def test_a_device_that_is_not_there_is_named():
    with refused(ValueError, "device='cuda:99'"):
        sc.get_engine("torch", device="cuda:99")


# ---- trees: what parameters, states and buffers are ----------------------------------------------------------------


def test_trees_are_immutable_and_say_what_they_hold():
    tree = Params(beta=0.5, threshold=1.0)
    with refused(AttributeError, r"Params is immutable; use \.replace\(beta=\.\.\.\)"):
        tree.beta = 0.7
    with refused(AttributeError, "no 'gamma' in this Params; it holds beta, threshold"):
        _ = tree.gamma
    assert tree.replace(beta=0.7).beta == 0.7
    assert tree.beta == 0.5
    assert repr(tree) == "Params(beta=0.5, threshold=1.0)"
    import copy
    import pickle

    assert dict(pickle.loads(pickle.dumps(tree))) == dict(copy.deepcopy(tree)) == dict(tree)


def test_constant_arrays_compare_by_content():
    one, other = sc.Leaky(beta=[0.1, 0.2]), sc.Leaky(beta=np.array([0.1, 0.2]))
    assert one == other
    assert hash(one) == hash(other)
    assert one != sc.Leaky(beta=[0.1, 0.3])
    assert repr(one) == "Leaky(beta=[0.1, 0.2])"
    with refused(ValueError, "read-only"):
        one.beta.data[0] = 5.0


@pytest.mark.parametrize(
    ("module", "wrong", "right"),
    [
        ("surrogate", "fastsigmoid", "fast_sigmoid"),
        ("functional", "ce_rate_los", "ce_rate_loss"),
        ("spikegen", "latncy", "latency"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_nearest(module, wrong, right):
    with pytest.raises(AttributeError, match=f"did you mean '{right}'"):
        getattr(getattr(sc, module), wrong)
