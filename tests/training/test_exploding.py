"""What fit says of gradients that explode: when, in which layer, and what helps."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import spikecore as sc
from spikecore import functional, surrogate
from spikecore.api.training.clipping import GradientError, check_gradients, place_of

DRAW = np.random.default_rng(0)
X, Y = DRAW.random((24, 12)).astype("float32"), np.arange(24) % 5
LOSS = functional.ce_membrane_loss()
pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")  # NumPy's own word


@pytest.fixture(params=["numpy", "torch"])
def engine(request):
    pytest.importorskip(request.param)
    return sc.get_engine(request.param, fused=False)


def growing(weight):
    """A network whose gradient is multiplied by ``weight`` at each step back in time, in layer 3, while its loss and
    all states stay small: spikes are 0 or 1.
    """
    wide = sc.RLeaky(beta=1.0, V=sc.learn(weight), all_to_all=False, surrogate=surrogate.straight_through_estimator())
    return sc.Sequential(sc.Linear(12, 9), sc.Leaky(threshold=0.3), sc.Linear(9, 9), wide, sc.Linear(9, 5), sc.LI())


def fitted(engine, network, num_steps, **options):
    """A model after one epoch of three batches, and the warnings."""
    model = sc.Model(network, engine, seed=1)
    data = [(X[i::3], Y[i::3]) for i in range(3)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(data, **{"loss": LOSS, "num_steps": num_steps, "progress": False, **options})
    return model, [str(one.message) for one in caught if "explode" in str(one.message)]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_gradient_that_overflows_ends_training_before_it_does_harm(engine, accumulate):
    """3 ** 250 is more than float32 has: layers behind the recurrent one have finite gradients, those before not."""
    model = sc.Model(growing(3.0), engine, seed=1)
    before, options = model.params(), {"loss": LOSS, "num_steps": 250, "progress": False}
    with pytest.raises(sc.errors.DivergedError) as caught:
        model.fit([(X, Y)] * 2, compute=sc.Compute(accumulate=accumulate), **options)
    said = str(caught.value)
    assert said.startswith(f"in batch {accumulate} of epoch 1 the gradient is not finite, or too large to be squared")
    assert "the loss, which is finite" in said
    assert "it grows so in 3.connection.V (RLeaky), where a narrower surrogate, e.g. surrogate.fast_sigmoid" in said
    assert "The weights are those before this batch: continue with a smaller learning rate, or with clip_norm" in said
    assert "or sc.BPTT(window=...) keep it smaller: training has diverged" in said
    assert all(np.array_equal(before[name], x) for name, x in model.params().items())
    assert model.trainer.executor.steps_done == 0
    model.fit([(X, Y)], **{**options, "num_steps": 20}, optimizer=sc.Adam(clip_norm=1.0))
    assert model.trainer.executor.steps_done == 1


def test_who_does_not_check_goes_on(engine):
    model, _ = fitted(engine, growing(3.0), 250, compute=sc.Compute(check_finite=False))
    assert model.trainer.executor.steps_done == 3
    assert not all(np.isfinite(x).all() for x in model.params().values())


def test_a_loop_of_ones_own_says_it_too(engine):
    model = sc.Model(growing(3.0), engine, seed=1)
    with pytest.raises(sc.errors.DivergedError, match=r"grows so in 3\..* \(RLeaky\), where .*: training has diverged"):
        model.train_step(X, Y, loss=LOSS, num_steps=250)
    assert model.trainer.executor.steps_done == 0


def test_large_gradients_are_said_once_with_their_layer(engine):
    """Of the three batches the first one is named; the largest gradient is one of layer 0 to 3, not of the readout."""
    _, (line,) = fitted(engine, growing(3.0), 30)
    assert line.startswith("fit, epoch 1, batch 1: gradients explode: their norm is ")
    assert "the largest is that of " in line
    assert "that of 4" not in line
    assert "Give the optimiser clip_norm=1.0 or a smaller lr, take a narrower surrogate" in line


def test_gradients_that_are_clipped_or_small_are_not_said(engine):
    assert fitted(engine, growing(3.0), 30, optimizer=sc.Adam(lr=1e-3, clip_norm=1.0))[1] == []
    assert fitted(engine, growing(0.1), 30)[1] == []


def test_an_update_with_parts_of_a_sequence_says_that_the_weights_have_changed(engine):
    """The last of two parts overflows in its backward pass: the first one has made an update."""

    calls = []

    def loss(out, targets):
        xp = sc.base.engine_of(out.spikes).xp
        calls.append(1)
        return xp.mean(out.membrane) * (1.0 if len(calls) == 1 else 1e30)

    model = sc.Model(sc.Sequential(sc.Linear(12, 5), sc.LI()), engine, seed=1)
    with pytest.raises(sc.errors.DivergedError, match="Continue from an earlier state with a smaller learning rate"):
        model.fit([(X, Y)], loss=loss, num_steps=4, learning=sc.BPTT(update_every=2), progress=False)
    assert model.trainer.executor.steps_done == 1


def test_of_several_the_last_layer_is_the_first_one_backwards():
    net = sc.Sequential(sc.Linear(2, 2), sc.Sequential(sc.Linear(2, 2), sc.Leaky()), sc.Linear(2, 2))
    finite = {"0.weight": 1.0, "1.0.weight": 2.0, "2.weight": 3.0}
    check_gradients(net, finite)
    with pytest.raises(GradientError, match=r"1\.0\.weight \(Linear\)"):
        check_gradients(net, {**finite, "0.weight": float("nan"), "1.0.weight": float("inf")})
    with pytest.raises(GradientError, match=r"0\.weight \(Linear\)"):
        check_gradients(net, {**finite, "0.weight": 1.5e308, "1.0.weight": 1.4e308})
    assert place_of(sc.Linear(2, 2), "weight") == "weight (Linear)"
