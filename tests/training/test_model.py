"""A user's day: call, fit, evaluate; test_resume.py goes on with saving and moving."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore import functional, spikegen

torch = pytest.importorskip("torch", reason="models move between torch and numpy here")

X = np.random.default_rng(0).random((24, 6)).astype("float32")
Y = (X[:, :3].argmax(1)).astype("int64")
BATCHES = [(X[i : i + 8], Y[i : i + 8]) for i in range(0, 24, 8)]
SEQUENCES = [(np.repeat(x[None], 5, axis=0) * 1.5, y) for x, y in BATCHES]


def network():
    return sc.Sequential(
        sc.Linear(6, 16), sc.BatchNorm1d(16), sc.Leaky(beta=sc.learn(0.8, per="neuron"), threshold=0.5),
        sc.Dropout(0.1), sc.Linear(16, 3), sc.Leaky(beta=0.7, threshold=sc.learn(0.5)),
    )  # fmt: skip


@pytest.fixture(params=["numpy", "torch"])
def model(request):
    return sc.Model(network(), request.param, seed=3)


def same(a, b):
    assert list(a) == list(b)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], name)


# ---- calling -------------------------------------------------------------------------------------------------------


def test_call(model):
    out = model(X, num_steps=5)
    host = model.engine.to_numpy
    assert tuple(out.spikes.shape) == (5, 24, 3)
    assert set(out.states) == {"5"}
    np.testing.assert_array_equal(host(out.membrane), host(out.states["5"].mem))
    same({"": host(out.spikes)}, {"": host(model(np.repeat(X[None], 5, axis=0)).spikes)})
    assert set(model(X, num_steps=5, record=True).states) == {"2", "5"}
    assert set(model(X, num_steps=5, record="2").states) == {"2"}
    quiet = model(X, num_steps=5, record=False)
    with pytest.raises(ValueError, match="not recorded"):
        _ = quiet.membrane


def test_call_continues_from_a_state(model):
    whole = model(X, num_steps=7)
    early = model(X, num_steps=3)
    late = model(X, num_steps=4, state=early.state)
    np.testing.assert_array_equal(model.engine.to_numpy(late.spikes), model.engine.to_numpy(whole.spikes)[3:])
    rested = model(X, num_steps=3)
    np.testing.assert_array_equal(model.engine.to_numpy(rested.spikes), model.engine.to_numpy(early.spikes))


def test_weights_wait_for_the_shape():
    """A network that does not fix its input shape is built at the first call, at fit, or by input_shape."""
    net = sc.Sequential(sc.Flatten(), sc.Linear(4, 2), sc.Leaky())
    model = sc.Model(net, "numpy")
    assert "unbuilt" in repr(model)
    with pytest.raises(RuntimeError, match="input_shape"):
        model.params()
    model(np.zeros((3, 2, 2)), num_steps=2)
    assert model.input_shape == (2, 2)
    assert model.output_shape == (2,)
    assert "10 parameters" in repr(model)
    sc.Model(net, "numpy", input_shape=(2, 2)).params()
    fitted = sc.Model(net, "numpy")
    fitted.fit([(np.zeros((3, 2, 2)), [0, 1, 0])], num_steps=2)
    assert fitted.input_shape == (2, 2)
    moved = sc.Model(net, "numpy").to_engine("torch")
    assert "unbuilt" in repr(moved)
    assert moved.engine.name == "torch"
    with pytest.raises(ValueError, match="read only once"):
        sc.Model(net, "numpy").fit(iter([(np.zeros((3, 2, 2)), [0, 1, 0])]), num_steps=2)


def test_summary(model):
    text = model.summary()
    rows = [line.split() for line in text.splitlines()]
    assert ["0", "Linear", "(16,)", "112"] in rows
    assert ["2", "Leaky", "(16,)", "16", "mem"] in rows
    assert ["5", "Leaky", "(3,)", "1", "mem"] in rows
    assert rows[-1] == ["total", "212"]
    nested = sc.Model(
        sc.Sequential(sc.Linear(6, 6), sc.Residual(sc.Linear(6, 6), sc.Linear(6, 6, bias=False))), "numpy"
    )
    assert "1.shortcut" in nested.summary()


# ---- training ------------------------------------------------------------------------------------------------------


def test_fit_learns_and_keeps_a_history(model):
    history = model.fit(BATCHES, optimizer=sc.Adam(lr=0.02), epochs=40, num_steps=5, loss=functional.ce_count_loss())
    assert history is model.history
    assert len(history) == 40 == model.epochs_done
    assert history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert history[-1]["accuracy"] > 0.8
    assert set(history[0]) == {"epoch", "loss", "accuracy", "lr", "seconds", "samples_per_s"}
    found = model.evaluate(BATCHES, num_steps=5)
    assert set(found) == {"loss", "accuracy"}
    assert found["accuracy"] > 0.8
    model.fit(BATCHES, num_steps=5)
    assert [row["epoch"] for row in model.history] == list(range(1, 42))


def test_two_engines_train_alike():
    """The same seed: the same weights, dropout masks and batches; in float64 the same losses to rounding."""
    losses = []
    for engine in ("numpy", "torch"):
        one = sc.Model(network(), engine, seed=1, dtype="float64")
        one.fit(BATCHES, optimizer=sc.Adam(lr=0.01), epochs=5, num_steps=6, encoder=spikegen.rate)
        losses.append([row["loss"] for row in one.history])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-9)


def test_sequences_and_time_axis(model):
    plain, swapped, last = (sc.Model(network(), model.engine, seed=3) for _ in range(3))
    plain.fit(SEQUENCES)
    swapped.fit([(x.swapaxes(0, 1), y) for x, y in SEQUENCES], time_axis=1)
    last.fit([(np.moveaxis(x, 0, -1), y) for x, y in SEQUENCES], time_axis=-1)
    same(plain.params(), swapped.params())
    same(plain.params(), last.params())
    assert plain.evaluate(SEQUENCES) == swapped.evaluate([(x.swapaxes(0, 1), y) for x, y in SEQUENCES], time_axis=1)


def test_encoder_gets_the_keywords_it_takes(model):
    seen = []

    def encoder(x, num_steps, first):
        seen.append(first)
        return spikegen.rate(x, num_steps, first=first)

    model.fit(BATCHES, encoder=encoder, num_steps=4)
    assert seen == [0, 8, 16], "the running number of each batch's first sample"
    model.fit(BATCHES, encoder=lambda x: spikegen.latency(x, 6, normalize=True))
    model.fit(BATCHES, encoder=lambda x, **all: spikegen.rate(x, **all), num_steps=4)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_draws_do_not_depend_on_how_batches_are_cut(engine):
    """Rate coding and dropout draw by sample: one batch of 16 is two of 8."""
    passed = []
    for cut in ([slice(0, 16)], [slice(0, 8), slice(8, 16)]):
        model, seen = sc.Model(sc.Sequential(sc.Dropout(0.5)), engine, input_shape=(6,)), []

        def watch(out, targets, model=model, seen=seen):
            seen.append(model.engine.to_numpy(out.spikes))
            return sc.base.engine_of(out.spikes).xp.sum(out.spikes)

        model.fit([(X[s], Y[s]) for s in cut], loss=watch, encoder=spikegen.rate, num_steps=4)
        passed.append(np.concatenate(seen, axis=1))
    np.testing.assert_array_equal(passed[0], passed[1])
    assert 0.1 < (passed[0] != 0).mean() < 0.4


def test_data_loader_is_taken_as_it_is(model):
    data = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
    loader = torch.utils.data.DataLoader(data, batch_size=8)
    other = sc.Model(network(), model.engine, seed=3)
    model.fit(loader, num_steps=4)
    other.fit(BATCHES, num_steps=4)
    same(model.params(), other.params())


def test_a_loader_is_told_the_epoch():
    class Data(list):
        epochs = []

        def set_epoch(self, epoch):
            self.epochs.append(epoch)

    data = Data(BATCHES)
    sc.Model(network(), "numpy").fit(data, epochs=3, num_steps=2)
    assert data.epochs == [0, 1, 2]


def test_clip_norm_and_window_reach_the_executor(model):
    before = model.params()
    model.fit(BATCHES[:1], num_steps=4, optimizer=sc.SGD(lr=1.0, clip_norm=1e-3), learning=sc.BPTT(window=2))
    moved = sum(((after - before[name]) ** 2).sum() for name, after in model.params().items()) ** 0.5
    assert moved == pytest.approx(1e-3, rel=2e-3)


def test_any_callable_is_a_loss_and_has_no_accuracy(model):
    def loss(out, targets):
        xp = sc.base.engine_of(out.spikes).xp
        return xp.mean((xp.sum(out.spikes, axis=0) - targets) ** 2)

    wanted = [(x, np.zeros((8, 3), "float32")) for x, _ in BATCHES]
    history = model.fit(wanted, loss=loss, num_steps=4, epochs=2, validation=wanted)
    assert "accuracy" not in history[0]
    assert "val_accuracy" not in history[0]
    assert history[1]["loss"] > 0


def test_integer_targets_stay_integers_for_any_loss(model):
    """In training and in evaluation alike."""
    kinds = []

    def loss(out, targets):
        kinds.append(str(targets.dtype).rpartition(".")[2])
        return sc.base.engine_of(out.spikes).xp.mean(out.spikes)

    model.fit(BATCHES[:1], loss=loss, num_steps=2, validation=BATCHES[:1])
    assert kinds == ["int64"] * 3  # the third is a look at some samples, see api/training/diagnosis.py


def test_targets_that_vary_in_time_are_no_exchanged_axes():
    model = sc.Model(sc.Sequential(sc.Linear(3, 2), sc.Leaky(beta=0.8)), "numpy")
    x, targets = np.random.default_rng(0).random((7, 4, 3)), np.zeros((7, 4, 2))
    loss = sc.functional.mse_membrane_loss(time_var_targets=True)
    history = model.fit([(x, targets)] * 5, loss=loss, optimizer=sc.Adam(lr=0.05), epochs=5)
    assert history[-1]["loss"] < history[0]["loss"]
    assert "accuracy" not in history[-1]


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("steps", [7, 4])  # as many as samples: exchanged axes would go unnoticed
def test_targets_that_vary_in_time_have_their_time_axis_where_inputs_have_it(engine, static, steps):
    """D1: run files have samples first, so that no target could vary in time; as many steps as samples were mixed up
    without a word."""
    rng, loss = np.random.default_rng(0), sc.functional.mse_membrane_loss(time_var_targets=True)
    x, targets = rng.random((4, 3) if static else (steps, 4, 3)), rng.random((steps, 4, 2))
    first = x if static else x.transpose(1, 0, 2), targets.transpose(1, 0, 2).copy()
    option = {"num_steps": steps} if static else {}
    ways = {"learning": "bptt"}, {"learning": "eprop"}, {"learning": sc.BPTT(update_every=2)}
    for way in ways:
        models = [sc.Model(sc.Sequential(sc.Linear(3, 2), sc.Leaky(beta=0.8)), engine, seed=0) for _ in range(2)]
        for model, batch, axis in zip(models, ((x, targets), first), (0, 1)):
            model.fit([batch], loss=loss, optimizer=sc.SGD(lr=0.5), time_axis=axis, progress=False, **option, **way)
        np.testing.assert_array_equal(models[1].params()["0.weight"], models[0].params()["0.weight"])
    for tell in (
        lambda model, batch, axis: model.evaluate([batch], loss=loss, time_axis=axis, **option)["loss"],
        lambda model, batch, axis: sc.backprop.bptt(model, *batch, loss, time_axis=axis, **option).loss,
        lambda model, batch, axis: sc.backprop.online(model, *batch, loss, time_axis=axis, **option).loss,
        lambda model, batch, axis: sc.verify(model, *batch, loss, time_axis=axis, differences=False, **option).ok,
    ):
        assert tell(model, first, 1) == tell(model, (x, targets), 0)


@pytest.mark.parametrize(
    ("targets", "kept"),
    [
        (torch.zeros(2, dtype=torch.bfloat16), True), (torch.zeros(2), True), (np.zeros(2, "float16"), True),
        ([0.5, 1.0], True), ([0, 1], False), (np.zeros(2, "uint8"), False), (np.zeros(2, bool), False),
        (torch.zeros(2, dtype=torch.int32), False),
    ],
)  # fmt: skip
def test_targets_that_are_no_whole_numbers_stay_so(targets, kept):
    from spikecore.api.functional.targets import target_dtype

    assert target_dtype(targets) == (None if kept else "int64")


def test_evaluate_takes_the_loss_of_the_last_fit(model):
    loss, default = functional.mse_count_loss(correct_rate=1.0, incorrect_rate=0.0), functional.ce_rate_loss()
    assert model.evaluate(BATCHES, num_steps=3) == model.evaluate(BATCHES, loss=default, num_steps=3)
    model.fit(BATCHES, loss=loss, num_steps=3)
    found = [model.evaluate(BATCHES, loss=one, num_steps=3)["loss"] for one in (None, loss, default)]
    assert found[0] == found[1] != found[2]
    assert model.to_engine("numpy").trainer.loss is loss


def test_the_membrane_of_hidden_neurons_is_not_the_outputs():
    """A loss on it would leave the last layer as it is, without a word."""
    model = sc.Model(sc.Sequential(sc.Linear(6, 5), sc.Leaky(), sc.Linear(5, 3)), engine="numpy", input_shape=(6,))
    out = model(X, num_steps=4)
    with pytest.raises(ValueError, match=r"behind layer 1 comes Linear.*sc.LI.*out.states\['1'\].mem"):
        _ = out.membrane
    assert tuple(out.states["1"].mem.shape) == (4, 24, 5)
    flat = sc.Model(sc.Sequential(sc.Linear(6, 5), sc.Leaky(), sc.Dropout(0.5)), engine="numpy", input_shape=(6,))
    assert tuple(flat(X, num_steps=4).membrane.shape) == (4, 24, 5)


def test_a_fit_of_samples_without_time_says_what_is_missing_and_learns_no_shape():
    images, labels = np.zeros((8, 1, 4, 4), "float32"), np.arange(8) % 3
    model = sc.Model(sc.Sequential(sc.Flatten(), sc.Linear(16, 3), sc.Leaky()), engine="numpy")
    with pytest.raises(ValueError, match=r"8 time steps and 1 samples, but there are 8 targets.*num_steps if it is"):
        model.fit([(images, labels)])
    assert model.input_shape is None
    model.fit([(images, labels)], num_steps=2)
    assert model.input_shape == (1, 4, 4)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("num_steps", [None, 3])
@pytest.mark.parametrize(
    "network",
    [
        sc.Flatten(), sc.Dropout(0.2), sc.Sequential(), sc.Sequential(sc.Flatten(), sc.Dropout(0.0)),
        sc.Residual(sc.Flatten(), sc.Flatten()), sc.Concat(sc.Dropout()), sc.AvgPool2d(1), sc.MaxPool2d(1),
        sc.Sequential(sc.Leaky(), sc.Flatten()), sc.Sequential(sc.Flatten(), sc.Linear(9, 2)),
    ],
    ids=repr,
)  # fmt: skip
def test_outputs_never_share_memory_with_inputs(network, num_steps, engine):
    """C15: whoever writes to one does not change the other, whatever the layers do."""
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).random((4, 1, 3, 3) if num_steps else (4, 2, 1, 3, 3)).astype("float32")
    for given in (x, torch.tensor(x)):
        out = sc.Model(network, engine)(given, num_steps)
        spikes, data = (np.asarray(array) for array in (out.spikes, given))
        assert not np.shares_memory(spikes, data)
