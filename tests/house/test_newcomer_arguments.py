"""Arguments that a newcomer gets wrong: of fit, of another type, out of range or without effect."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import spikecore as sc
from spikecore import spikegen
from tests.house.newcomer_rig import X, Y, fit, network, refuses, run


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"callbacks": sc.EarlyStopping()}, r"callbacks=EarlyStopping\(.*must be a tuple .*\(sc\.EarlyStopping\(\),\)"),
        ({"callbacks": [1]}, r"callbacks=\[1\] must be a tuple of callables \(model, row\)"),
        ({"callbacks": (sc.EarlyStopping,)}, "must be a tuple of callables"),
        ({"validation": 0.2}, r"validation=0\.2 must be an iterable of batches"),
        ({"data": 5}, "data=5 must be an iterable of batches"),
        (
            {"data": [(X[0], 1)]},
            "batch 0 has one target, 1: .* gives samples, not batches; wrap it in a torch DataLoader",
        ),
        ({"data": [(X[0], Y[0])]}, "gives samples, not batches"),
        ({"schedule": sc.schedule.cosine}, r"schedule=<class .*must be a callable .*schedule\.cosine\(\)"),
    ],
)
def test_arguments_of_fit(options, message):
    refuses(lambda: fit(**options), message)


@pytest.mark.parametrize("factor", [float("nan"), float("inf"), -1.0, None])
def test_a_schedule_gives_finite_factors(factor):
    refuses(lambda: fit(schedule=lambda epoch, epochs: factor), f"schedule gave {factor} in epoch 0 of 1", ValueError)


def test_numbers_of_numpy_are_numbers():
    assert fit(schedule=lambda epoch, epochs: np.float32(0.5), epochs=np.int64(2))[-1]["lr"] == 0.00025
    model = sc.Model(network(), "numpy", seed=np.int64(3))
    assert model.seed == 3
    assert model(X, num_steps=np.int64(4)).spikes.shape == (4, 6, 3)


def test_whole_numbers_are_checked():
    refuses(lambda: sc.Model(network(), seed=1.7), r"seed=1\.7 must be an int", ValueError)
    refuses(lambda: sc.Model(network(), "numpy")(X, num_steps=True), "num_steps=True must be an int >= 1", ValueError)
    refuses(lambda: sc.EarlyStopping(patience="a"), "EarlyStopping: patience='a' must be an int >= 1")
    refuses(lambda: sc.Adam(clip_norm="a"), "Adam: clip_norm='a' must be a finite number, or None")
    refuses(
        lambda: fit(clip_norm=1), r"Model.fit: unknown argument 'clip_norm': write optimizer=sc.Adam\(clip_norm=1\)"
    )


def test_the_shape_of_a_sample():
    assert sc.Model(sc.Leaky(), "numpy", input_shape=64).input_shape == (64,)
    for bad in ("ab", (2.5,), (-1,), 0, 2.5):
        refuses(
            lambda b=bad: sc.Model(sc.Leaky(), input_shape=b), r"must be the sizes of one sample, .*\(64,\)", ValueError
        )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sc.Leaky(beta="0.9"), "Leaky: beta='0.9' must be a number or an array of numbers"),
        (lambda: sc.Leaky(beta=None), "Leaky: beta=None must be a number"),
        (lambda: sc.Leaky(beta=[0.1, "0.2"]), r"Leaky: beta=\[0.1, '0.2'\] must be a number or an array"),
        (lambda: sc.LeakyParallel(input_size=2, hidden_size=2, beta="a"), "LeakyParallel: beta='a' must be a number"),
        (lambda: sc.RLeaky(all_to_all=False, V="a"), "RLeaky: V='a' must be a number"),
        (lambda: sc.learn("0.9"), "learn: value='0.9' must be a number"),
        (
            lambda: sc.RLeaky(linear_features=3, learn_recurrent=False),
            r"'learn_recurrent': .* write V=sc\.learn\(\.\.\.\)",
        ),
        (lambda: sc.RLeaky(linear_features=3, V=3.0), r"RLeaky: V=3\.0 needs all_to_all=False"),
    ],
)
def test_values_of_parameters(make, message):
    refuses(make, message)


def test_a_tensor_with_a_gradient_is_no_constant():
    torch = pytest.importorskip("torch")
    beta = torch.nn.Parameter(torch.tensor(0.5))
    refuses(lambda: sc.Leaky(beta=beta), r"Leaky: beta: a tensor with requires_grad=True .*sc\.learn\(\.\.\.\)")
    assert sc.Leaky(beta=sc.learn(beta)).beta == sc.learn(torch.tensor(0.5))
    assert sc.Leaky(beta=beta.detach()).beta.tolist() == 0.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: sc.RLeaky(parallel=True, linear_features=3, reset_mechanism="none"),
            "RLeaky: parallel=True has no eff",
        ),
        (lambda: sc.RSynaptic(parallel=True, linear_features=3, reset_mechanism="none"), "RSynaptic: parallel=True"),
        (
            lambda: sc.Refractory(sc.Leaky(parallel=True, reset_mechanism="none")),
            "Refractory: parallel=True has no effect",
        ),
        (lambda: sc.LinearLeaky(in_features=3, out_features=2, channels=4), "LinearLeaky: channels=4: leave it out"),
    ],
)
def test_options_without_effect(make, message):
    refuses(make, message, ValueError)
    assert sc.Refractory(sc.StateLeaky())  # parallel by itself, not by request


def test_a_time_constant_in_another_unit_than_the_step():
    """Of 20 ms in seconds, the decay was 2e-22: a neuron that forgets at once."""
    with pytest.warns(sc.errors.TrainingWarning, match=r"tau=0\.02 and steps of dt=1 nothing is left after a step"):
        sc.decay(0.02)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sc.decay(0.02, dt=0.001) == sc.decay(20.0) == sc.decay(20)
        sc.decay(0.2)


@pytest.mark.parametrize(
    ("act", "message", "kind"),
    [
        (lambda: sc.Dropout("a"), "Dropout: p='a' must be a finite number", TypeError),
        (lambda: sc.decay("a"), "decay: tau='a' must be a finite number", TypeError),
        (lambda: sc.decay(5.0, "a"), "decay: dt='a' must be a finite number", TypeError),
        (lambda: sc.get_engine("numpy", checkpoint_every="a"), "checkpoint_every='a' must be a number of", ValueError),
        (lambda: sc.get_engine("numpy", checkpoint_every=2.5), "checkpoint_every=2.5 must be a number of", ValueError),
        (
            lambda: sc.get_engine("numpy", sparse_backward=-1),
            "sparse_backward=-1 must be a finite number, at",
            ValueError,
        ),
        (lambda: run(state=5), r"state=5 must be the state that an earlier call returned, out\.state", TypeError),
        (lambda: run(state=run()), r"state=Output\(.* must be the state that an earlier call", TypeError),
        (lambda: run(record=3), "record=3 must be True, False, 'last', or names of layers: 1", TypeError),
        (lambda: run(record="all"), "unknown layer to record 'all'.* Known: 1; True records all", ValueError),
        (lambda: run(sc.Linear(5, 3), record="1"), "record='1': no layer has a state", ValueError),
        (
            lambda: run(record=False).states["1"],
            "no states of layer '1' were recorded .*: none.*pass record=True",
            KeyError,
        ),
    ],
)
def test_arguments_of_another_type(act, message, kind):
    refuses(act, message, kind)


def test_encoders_take_numbers_of_numpy():
    assert spikegen.rate(X, num_steps=np.int64(3)).shape == (3, 6, 5)
    assert spikegen.latency(X, num_steps=np.int32(3), normalize=True, linear=True).shape == (3, 6, 5)
    refuses(lambda: spikegen.rate(X, num_steps=True), "rate: num_steps=True must be an int >= 1", ValueError)


def test_a_state_is_loaded_whole_and_may_hold_tensors():
    torch = pytest.importorskip("torch")
    model, other = sc.Model(network(), "numpy", seed=0), sc.Model(network(), "numpy", seed=1)
    state = model.state()
    refuses(
        lambda: other.load_state({"params": state["params"]}), "state has no buffers, optimizer, step, lr", ValueError
    )
    other.load_state({**state, "params": {name: torch.tensor(x) for name, x in state["params"].items()}})
    assert all((other.params()[name] == x).all() for name, x in model.params().items())
