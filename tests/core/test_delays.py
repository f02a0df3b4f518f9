"""Delays as users meet them: rounding, streams, files, annealing that resumes, reports, other rooms; planted delays."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore import functional

RNG = np.random.default_rng(0)
X = (RNG.random((12, 8, 5)) < 0.4).astype("float32")
Y = RNG.integers(0, 3, 8)
ANNEALED = {"kernel": "gaussian", "sigma_start": 3.0, "anneal": 4}


def network(**options):
    return sc.Sequential(
        sc.Delay(sc.learn(1.3, per="neuron"), max_delay=4),
        sc.DelayedLinear(5, 6, 5, **options),
        sc.Leaky(beta=0.8, threshold=0.5),
        sc.DelayedLinear(6, 3, 4),
        sc.LI(beta=0.9),
    )


def trained(engine="numpy", epochs=2, **options):
    model = sc.Model(network(**options), engine=engine, seed=0)
    model.fit([(X, Y)], optimizer=sc.Adam(lr=0.05), epochs=epochs)
    return model


def spikes(model, x=X, **options):
    return model.engine.to_numpy(model(x, **options).spikes)


# ---- rounding --------------------------------------------------------------------------------------------------------


def test_rounded_delays_are_whole_and_the_error_is_told():
    model = trained(**ANNEALED)
    rounded = sc.compression.round_delays(model, X)
    for name, before in model.params().items():
        after = rounded.model.params()[name]
        if name.endswith("delay"):
            assert (after == after.round()).all()
            assert abs(after - before).max() <= 0.5
        else:
            np.testing.assert_array_equal(after, before)
    assert [row.name for row in rounded.layers] == ["0", "1", "3"]
    assert [row.delays for row in rounded.layers] == [5, 30, 18]
    assert all(0 < row.mean <= row.largest <= 0.5 for row in rounded.layers)
    sums, expected = (spikes(each).sum(axis=0) for each in (rounded.model, model))
    error = np.sqrt(((sums - expected) ** 2).mean() / (expected**2).mean())
    assert rounded.error == pytest.approx(error, rel=1e-5)
    assert rounded.changed == (sums.argmax(1) != expected.argmax(1)).mean()
    assert f"outputs change by {error:.2%}" in str(rounded)
    again = sc.compression.round_delays(rounded.model, X)
    assert (again.error, again.changed, again.layers[1].largest) == (0.0, 0.0, 0.0)
    assert not rounded.model.state()["buffers"]


def test_a_rounded_constant_and_a_delay_that_was_driven_out():
    model = sc.Model(sc.Sequential(sc.Delay([0.4, 2.7]), sc.Linear(2, 2), sc.Leaky()), input_shape=(2,))
    rounded = sc.compression.round_delays(model)
    assert rounded.model.network.layers[0].delay.tolist() == [0.0, 3.0]
    assert "outputs" not in str(rounded)
    model = sc.Model(sc.Sequential(sc.Delay(sc.learn([1.0, 1.0]), max_delay=3), sc.Leaky()), input_shape=(2,))
    state = model.state()
    state["params"]["0.delay"][:] = -0.8, 3.9
    model.load_state(state)
    np.testing.assert_array_equal(sc.compression.round_delays(model).model.params()["0.delay"], [1.0, 2.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: sc.compression.round_delays(sc.Model(sc.Sequential(sc.Linear(2, 2)), input_shape=(2,))),
            "no layer .* has delays",
        ),
        (lambda: sc.compression.round_delays(trained(epochs=1), num_steps=3), "num_steps and encoder need x"),
        (lambda: sc.Delay(sc.learn(1.0)), r"Delay: delay=learn\(1.0\) is learned: give max_delay"),
        (lambda: sc.Delay(-1.0), "Delay: delay=-1.0 must be in"),
        (lambda: sc.Delay(4.0, max_delay=3), r"Delay: delay=4.0 must be in \[0, 3\]"),
        (lambda: sc.Delay(sc.learn_tau(3.0), max_delay=3), "Delay: delay=learn_tau"),
        (lambda: sc.Delay(2, sigma=0.0), "Delay: sigma=0.0 must be a finite number > 0"),
        (lambda: sc.DelayedLinear(2, 2, 0), "DelayedLinear: max_delay=0"),
        (lambda: sc.DelayedLinear(2, 2, 3, kernel="box"), "DelayedLinear: .*kernel 'box'"),
        (lambda: sc.Delay(2, sigma=2.0), "Delay: sigma=2.0 has no effect on linear taps; take kernel='gaussian'"),
        (lambda: sc.DelayedLinear(2, 2, 3, sigma_start=2.0), "sigma_start=2.0 and anneal=None belong together"),
        (lambda: sc.DelayedLinear(2, 2, 3, sigma_start=2.0, anneal=5), "no effect on linear taps"),
        (
            lambda: sc.Model(
                sc.Sequential(sc.DelayedLinear(2, 2, 3, delay_init=sc.init.constant(4.0))), input_shape=(2,)
            ),
            r"delay_init=constant\(value=4.0\) gives a delay of 4 steps, which must be in \[0, 3\]",
        ),
        (
            lambda: sc.Model(
                sc.Sequential(sc.Delay(sc.learn(sc.init.normal(0.0, 9.0)), max_delay=2)), input_shape=(50,)
            ),
            "Delay: delay=.* drew .* must be in",
        ),
        (
            lambda: sc.compression.quantize(trained(epochs=1)),
            r"layer 1 \(DelayedLinear\): weights with delays have no grid",
        ),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_samples_of_another_shape_are_refused():
    with pytest.raises(sc.errors.ShapeError, match=r"DelayedLinear: samples of shape \(3,\), expected \(2,\)"):
        sc.Model(sc.DelayedLinear(2, 2, 3), input_shape=(3,))


# ---- sequences, streams, files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_streams_and_parts_are_the_sequence(engine):
    model = trained(engine, **ANNEALED)
    whole, early = spikes(model), model(X[:5])
    parts = np.concatenate([model.engine.to_numpy(early.spikes), spikes(model, X[5:], state=early.state)])
    np.testing.assert_allclose(parts, whole, atol=1e-6)  # sums of taps in float32, in another order
    stream = model.stream(batch_size=8)
    np.testing.assert_allclose(np.stack([model.engine.to_numpy(stream.step(x)) for x in X]), whole, atol=1e-6)


def test_files_have_the_width_and_training_resumes(tmp_path):
    straight = trained(epochs=4, **ANNEALED)
    model = trained(epochs=2, **ANNEALED)
    model.save(tmp_path / "delays.safetensors")
    again = sc.load(tmp_path / "delays.safetensors", engine="numpy")
    assert again.network == model.network
    assert again.state()["buffers"]["1.batches"] == 2.0
    np.testing.assert_array_equal(spikes(again), spikes(model))
    again.fit([(X, Y)], optimizer=sc.Adam(lr=0.05), epochs=4, resume=True)
    np.testing.assert_array_equal(spikes(again), spikes(straight))


def test_windows_train():
    model = sc.Model(network(), seed=0)
    model.fit([(X, Y)], optimizer=sc.Adam(lr=0.05), epochs=2, learning=sc.BPTT(window=4))
    assert np.isfinite(model.history[-1]["loss"])


def test_reports_know_the_synapses():
    model = trained(epochs=1)
    report = {row.name: row for row in functional.activity(model, X).synapses}
    assert report["3"].kind == "DelayedLinear"
    entering = model.engine.to_numpy(model(X, record=True).states["2"].spikes)
    assert report["3"].synops == pytest.approx(entering.sum() / 8 * 3)
    assert sc.compression.sparsity(model).possible == 30 + 18
    sc.compression.prune(model, 0.5)
    report = {row.name: row for row in functional.activity(model, X).synapses}
    assert 0 < report["3"].synops < entering.sum() / 8 * 3
    assert "past" in str(model.summary())


def test_modules_of_torch_run_them():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from spikecore import nn as snn

    model = trained("torch", epochs=1)
    net = snn.to_torch(model)
    found = torch.stack([net(x) for x in torch.tensor(X)]).detach()
    torch.testing.assert_close(found, model(X).spikes.detach())
    torch.testing.assert_close(snn.from_torch(net, input_shape=(5,))(X).spikes.detach(), found)
    with pytest.raises(ValueError, match=r"to_torch: layer 1 \(DelayedLinear\): its width is annealed"):
        snn.to_torch(trained("torch", epochs=1, **ANNEALED))


# ---- planted delays --------------------------------------------------------------------------------------------------

READOUTS = {"sum": [], "membrane": [sc.LI(beta=0.8)]}  # of spikes a rounded sum is left: too little for half a step


def recovered(readout, seed, engine="torch"):
    """The largest distance of learned delays to those that made the data: 24 synapses, 2 to 20 steps."""
    rng = np.random.default_rng(seed)
    x = (rng.random((100, 128, 6)) < 0.08).astype("float32")
    planted, weights = rng.uniform(2.0, 20.0, (4, 6)), rng.uniform(0.5, 1.5, (4, 6))
    teacher = sc.Model(sc.Sequential(sc.DelayedLinear(6, 4, 25, bias=False), *READOUTS[readout]), engine="numpy")
    teacher.build((6,))
    state = teacher.state()
    state["params"].update({"0.delay": planted.astype("float32"), "0.weight": weights.astype("float32")})
    teacher.load_state(state)
    y = teacher(x).spikes
    student = sc.DelayedLinear(
        6, 4, 25, bias=False, kernel="gaussian", sigma_start=12.5, anneal=170, weight_init=sc.init.constant(1.0)
    )
    model = sc.Model(sc.Sequential(student, *READOUTS[readout]), engine=engine, seed=seed)
    batches = [(x[:, i : i + 32], y[:, i : i + 32]) for i in range(0, 128, 32)]
    model.fit(
        batches,
        loss=lambda out, targets: ((out.spikes - targets) ** 2).mean(),
        optimizer=sc.Adam(lr=0.01, groups=(sc.Group("*.delay", lr=0.2),)),
        schedule=sc.schedule.cosine(),
        epochs=60,
    )
    return float(abs(student.delays(sc.base.Params(delay=model.params()["0.delay"])) - planted).max())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::spikecore.errors.TrainingWarning")
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("readout", READOUTS)
def test_planted_delays_are_found(readout, seed):
    pytest.importorskip("torch", reason="a loss of one's own is torch's here")
    assert recovered(readout, seed) <= 0.5
