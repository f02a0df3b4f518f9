"""What fit says of a training that cannot learn, and where a loss that is not finite comes from."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest

import spikecore as sc
from spikecore import functional, spikegen, surrogate
from spikecore.samples import Dataset, Loader

DRAW = np.random.default_rng(0)
X, Y = DRAW.random((24, 12)).astype("float32"), np.arange(24) % 5


@pytest.fixture(params=["numpy", "torch"])
def engine(request):
    pytest.importorskip(request.param)
    return request.param


def net(hidden=0.3, last=0.3, shape=None, **options):
    shape = shape or surrogate.atan()
    return sc.Sequential(
        sc.Linear(12, 9),
        sc.Leaky(beta=0.9, threshold=hidden, surrogate=shape, **options),
        sc.Linear(9, 5),
        sc.Leaky(beta=0.9, threshold=last, surrogate=shape),
    )


def said(network, engine, data=None, loss=None, num_steps=8, **options):
    """The TrainingWarnings of one fit."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = sc.Model(network, engine, seed=1)
        batches = [(X, Y)] * 2 if data is None else data
        given = batches if isinstance(batches, tuple) else (batches,)
        model.fit(*given, loss=loss, num_steps=num_steps, progress=False, **{"epochs": 3, **options})
    ours = [each for each in caught if each.category is sc.errors.TrainingWarning]
    assert all(each.filename == __file__ for each in ours), "a warning points to the line that called fit"
    return [str(each.message) for each in ours]


# ---- layers --------------------------------------------------------------------------------------------------------


def test_a_healthy_training_says_nothing(engine):
    assert said(net(), engine) == []


def test_a_layer_that_never_fires_is_said_once(engine):
    (line,) = said(net(hidden=50.0), engine, epochs=4)
    assert line.startswith("fit, after epoch 1, 8 samples: layer 1 (Leaky) never fires")
    assert "scale its input up, lower its threshold, or raise beta" in line
    assert len(said(net(hidden=50.0), engine, epochs=12)) == 1, "the second look finds the same"


def test_a_layer_that_always_fires_is_said(engine):
    network = sc.Sequential(sc.IF(threshold=1e-4, reset_mechanism="none"), sc.Linear(12, 5), sc.Leaky(threshold=0.1))
    (line,) = said(network, engine)
    assert "layer 0 (IF) fires at " in line
    assert "scale its input down, or raise its threshold" in line


def test_a_readout_whose_membrane_is_read_may_be_silent(engine):
    readout = sc.Leaky(beta=0.9, threshold=1e6, reset_mechanism="none")
    network = sc.Sequential(sc.Linear(12, 9), sc.Leaky(beta=0.9, threshold=0.3), sc.Linear(9, 5), readout)
    assert said(network, engine, loss=functional.ce_membrane_loss()) == []
    assert "layer 3 (Leaky) never fires" in said(network, engine, loss=functional.ce_rate_loss())[0]
    own = lambda out, y: sc.base.engine_of(out.spikes).xp.mean(out.membrane)  # noqa: E731  nobody knows what it reads
    assert said(network, engine, loss=own) == []


def test_a_network_without_neurons_is_said(engine):
    lines = said(
        sc.Sequential(sc.Linear(12, 9), sc.Dropout(0.1), sc.Linear(9, 5)), engine, loss=functional.ce_rate_loss()
    )
    assert lines == [
        "fit: the network has no neurons (Linear, Dropout), so nothing in it spikes or depends on time. Add neurons, "
        "e.g. sc.Sequential(sc.Linear(64, 10), sc.Leaky(beta=0.9))"
    ]


# ---- gradients -----------------------------------------------------------------------------------------------------


def test_gradients_that_are_all_zero_are_said(engine):
    assert "every gradient is zero, so no weight changes" in said(net(50.0, 50.0, surrogate.triangular()), engine)[0]
    (line,) = said(net(), engine, loss=lambda out, y: 0.0 * sc.base.engine_of(out.spikes).xp.mean(out.spikes))
    assert "every gradient is zero, so no weight changes: does the loss depend on the network's output?" in line


def test_gradients_that_vanish_are_said(engine):
    steep = surrogate.fast_sigmoid(slope=1e5)
    deep = [part for _ in range(3) for part in (sc.Linear(12, 12), sc.Leaky(threshold=0.2, surrogate=steep))]
    lines = said(sc.Sequential(*deep, sc.Linear(12, 5), sc.LI()), engine, loss=functional.ce_membrane_loss())
    assert len(lines) == 1
    assert "gradients vanish: those of 0.weight are at most " in lines[0]
    assert "Take a wider surrogate" in lines[0]


def test_the_unit_of_a_loss_makes_no_explosion(engine):
    assert said(net(), engine, loss=1e6 * functional.ce_rate_loss()) == []


# ---- what it costs -------------------------------------------------------------------------------------------------


def test_looking_changes_no_bit_and_happens_twice(engine, monkeypatch):
    from spikecore.api.training import diagnosis

    looked, look = [], diagnosis.Diagnosis.run
    monkeypatch.setattr(diagnosis.Diagnosis, "run", lambda self, kept: looked.append(1) or look(self, kept))
    network = sc.Sequential(sc.Linear(12, 9), sc.BatchNorm1d(9), sc.Dropout(0.3), *net().layers[1:])

    def trained():
        model = sc.Model(network, engine, seed=1)
        model.fit(Loader(X, Y, batch_size=10), encoder=spikegen.rate, num_steps=6, epochs=10, progress=False)
        return model

    watched = trained()
    assert len(looked) == 2
    monkeypatch.setattr(diagnosis.Diagnosis, "keep", lambda *_: None)
    alone = trained()
    assert len(looked) == 2
    for part in ("params", "buffers", "optimizer"):
        a, b = watched.state()[part], alone.state()[part]
        assert all(np.array_equal(a[name], b[name]) for name in a)


def test_learning_forward_in_time_is_not_looked_at(engine):
    assert said(net(hidden=50.0), engine, learning="eprop") == []
    assert said(net(hidden=50.0), engine, learning=sc.BPTT(update_every=4)) == []


def test_sequences_with_lengths_are_looked_at(engine):
    sequence = np.repeat(X[None], 8, axis=0)
    data = [(sequence, Y, np.arange(24) % 8 + 1)]
    (line,) = said(net(hidden=50.0), engine, data, num_steps=None)
    assert "layer 1 (Leaky) never fires" in line


def test_steps_behind_the_length_of_a_sequence_do_not_count(engine):
    network = sc.Sequential(sc.Linear(12, 9, bias=False), sc.Leaky(threshold=0.3), sc.Linear(9, 5, bias=False), sc.LI())
    sequence = np.repeat(X[None], 8, axis=0)
    sequence[:2] = 0.0
    options = {"loss": functional.ce_membrane_loss(), "num_steps": None}
    (line,) = said(network, engine, [(sequence, Y, np.full(24, 2))], **options)
    assert "every gradient is zero" in line
    assert said(network, engine, [(sequence, Y, np.full(24, 8))], **options) == []


def test_targets_over_time_are_looked_at(engine):
    network = sc.Sequential(sc.Linear(12, 9), sc.Leaky(beta=0.9, threshold=50.0), sc.Linear(9, 5), sc.LI())
    data = [(X, DRAW.random((8, 24, 5)).astype("float32"))]
    (line,) = said(network, engine, data, functional.mse_membrane_loss(time_var_targets=True))
    assert line.startswith("fit, after epoch 1, 8 samples: layer 1 (Leaky) never fires")


def test_data_that_are_overwritten_after_a_batch_are_looked_at_as_they_were(engine):
    class Reused:
        buffer = X.copy()

        def __iter__(self):
            for factor in (1.0, 0.0):
                self.buffer[:] = factor * X
                yield self.buffer, Y

    network = sc.Sequential(sc.Linear(12, 9, bias=False), *net().layers[1:])
    assert said(network, engine, Reused()) == []
    assert "layer 1 (Leaky) never fires" in said(network, engine, [(0.0 * X, Y)])[0]


# ---- data ----------------------------------------------------------------------------------------------------------


def test_pixels_of_eight_bits_are_said(engine):
    pixels = (X * 255).astype("uint8")
    assert "like pixels of 8-bit images" in said(net(), engine, [(pixels, Y)])[0]
    assert not any("pixels" in line for line in said(net(), engine, [(pixels / np.float32(255), Y)]))
    assert not any("pixels" in line for line in said(net(), engine, [(200.5 * X, Y)]))
    frames = np.repeat(pixels[None], 8, axis=0)  # a sequence may count events
    assert not any("pixels" in line for line in said(net(), engine, [(frames, Y)], num_steps=None))
    counts = DRAW.integers(0, 9, (24, 12))
    assert not any("pixels" in line for line in said(net(), engine, [(counts, Y)]))


def test_a_validation_that_lacks_classes_is_said(engine):
    order = np.argsort(Y, kind="stable")
    x, y = X[order], Y[order]
    (line,) = said(net(), engine, (x[:18], y[:18]), validation=(x[18:], y[18:]), num_steps=8)
    assert line.startswith("no training sample is of class 4, but samples for validation are")
    assert "Dataset.split(0.8, seed=0)" in line
    (line,) = said(net(), engine, Loader(X, Y), validation=Loader(Dataset(x[:4], y[:4])))
    assert line.startswith("all 4 samples for validation are of class 0, and 5 classes are trained on")
    assert said(net(), engine, Loader(X, Y), validation=(x[:9], y[:9])) == []  # two classes: a small set may lack some
    assert said(net(), engine, (X, Y), validation=[(x[:4], y[:4])]) == []  # batches: their labels are not known before
    own = type("Own", (list,), {"targets": sc.get_engine(engine).asarray(y[:4])})
    assert said(net(), engine, (X, Y), validation=own([(x[:4], y[:4])])) == []  # a loader, whose targets are tensors


def test_probabilities_outside_of_their_range_are_said(engine):
    x = sc.get_engine(engine).asarray(X)
    for act, name in (
        (lambda: spikegen.rate(3 * x, 4), "rate"),
        (lambda: spikegen.rate_conv(x - 1.0), "rate_conv"),
        (lambda: spikegen.poisson(3 * x, 4), "poisson"),
    ):
        with pytest.warns(
            sc.errors.TrainingWarning, match=rf"{name}: data are .* is clipped: scale the data to \[0, 1\]"
        ):
            act()
    with pytest.warns(sc.errors.TrainingWarning, match=r"a tenth of the data lie outside .* high=1.*pass the range"):
        spikegen.population(sc.get_engine(engine).asarray([0.0, 65.0]), 4)  # of 65 mV, no neuron fired
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spikegen.population(x, 4)
        spikegen.population(65 * x, 4, low=0.0, high=65.0)
        spikegen.population([0.5] * 19 + [9.0], 4)  # an outlier among samples that did not make the range
        spikegen.rate(x, 4)
        spikegen.rate(3 * x, 4, gain=0.5)  # said by the caller
        spikegen.rate(x * (1.0 + 1e-6), 4)
    for encoder in (spikegen.population, spikegen.rate):
        with warnings.catch_warnings(record=True) as shown:
            warnings.simplefilter("default")
            for scale in (3.0, 4.0):  # two batches
                encoder(scale * x + 1.0, 4)
        assert len(shown) == 1


# ---- a loss that is not finite -------------------------------------------------------------------------------------


def diverging(engine, network, data, loss=None, **options):
    model = sc.Model(network, engine, seed=1)
    before = model.params()
    with pytest.raises(sc.errors.DivergedError) as caught:
        model.fit(data, loss=loss or functional.mse_membrane_loss(), num_steps=9, progress=False, **options)
    return model, before, str(caught.value)


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")  # NumPy's own word
def test_the_layer_and_the_time_step_of_the_first_infinity_are_named(engine):
    class Growing(sc.Leaky):
        def step(self, engine, params, state, x):
            mem = 1e9 * state.mem + x
            return self.fires(engine, params, mem), sc.base.State(mem=mem)

    network = sc.Sequential(sc.Linear(12, 9), sc.Leaky(beta=0.9, threshold=0.1), sc.Linear(9, 5), Growing())
    model, before, message = diverging(engine, network, [(X, Y)])
    assert message.startswith("the loss of epoch 1 is ")
    assert " in batch 1, where mem of layer 3 (Growing) is " in message
    assert re.search(r"from time step [45] of 9 on \(sample 0, neuron \(", message)  # 1e9 ** 5 is more than float32 has
    assert (
        "The weights are those before this batch: continue with a smaller learning rate, or with clip_norm" in message
    )
    assert all(np.array_equal(before[name], x) for name, x in model.params().items())
    assert model.trainer.executor.steps_done == 0


def test_a_loss_that_is_not_finite_by_itself_is_told_of_a_network_that_ends_in_no_neurons():
    model = sc.Model(sc.Sequential(sc.Linear(12, 5), sc.Leaky(beta=0.9), sc.Linear(5, 2)), "numpy", seed=1)
    with pytest.raises(sc.errors.DivergedError, match="every state is finite, the largest output is .*the loss itself"):
        model.fit(
            [(X, Y)],
            loss=lambda out, y: sc.base.engine_of(out.spikes).xp.sum(out.spikes) * float("nan"),
            num_steps=3,
            progress=False,
        )


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
def test_a_batch_that_is_refused_leaves_the_weights_of_the_batch_before(engine):
    model = sc.Model(sc.Sequential(sc.Linear(12, 5), sc.LI()), engine, seed=1)
    calls = []

    def loss(out, targets):
        calls.append(1)
        return sc.base.engine_of(out.spikes).xp.mean(out.membrane) * (float("nan") if len(calls) == 3 else 1.0)

    with pytest.raises(
        sc.errors.DivergedError, match=r"the loss of epoch 1 is nan in batch 3, where every state is finite"
    ):
        model.fit([(X, Y)] * 5, loss=loss, num_steps=3, progress=False)
    assert model.trainer.executor.steps_done == 2
    again = sc.Model(sc.Sequential(sc.Linear(12, 5), sc.LI()), engine, seed=1)
    again.fit(
        [(X, Y)] * 2,
        loss=lambda out, y: sc.base.engine_of(out.spikes).xp.mean(out.membrane),
        num_steps=3,
        progress=False,
    )
    assert all(np.array_equal(x, again.params()[name]) for name, x in model.params().items())


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
def test_weights_that_are_not_finite_are_named(engine):
    model = sc.Model(sc.Sequential(sc.Linear(12, 5), sc.LI()), engine, seed=1)
    state = model.state()
    params = {**state["params"], "0.bias": np.full(5, np.nan, "float32")}
    model.load_state({**state, "params": params})
    with pytest.raises(sc.errors.DivergedError, match=r"is nan in batch 1, where 0\.bias holds NaN or infinity"):
        model.fit([(X, Y)], loss=functional.mse_membrane_loss(), num_steps=3, progress=False)
