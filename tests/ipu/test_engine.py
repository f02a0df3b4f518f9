"""The IPU engine through the simulation of PopTorch: the same training as the torch engine's, whatever the options."""

# ruff: noqa: E402 (nothing of this can be imported without torch)

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the IPU engine is made of torch ops")

import spikecore as sc
from spikecore import functional
from spikecore.api.core import engines as core
from spikecore.api.core.layer import Key, ShapeError
from spikecore.conformance import cases
from spikecore.engines.ipu.engine import IpuEngine
from spikecore.engines.ipu.options import IpuOptions
from tests.ipu.ipu_rig import LOSS, NET, NORMALISED, batch, difference, fitted, model

# ---- finding it ----------------------------------------------------------------------------------------------------


def test_without_poptorch_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr(core, "importable", lambda package: package != "poptorch")
    for words in (
        "Poplar SDK",
        "torch 2.0.1",
        "CPython 3.8",
        "spikecore check",
        "simulate=True",
        "Usable here: .*numpy",
    ):
        with pytest.raises(sc.errors.EngineUnavailable, match=words):
            sc.get_engine("ipu")
    assert not {one.name: one for one in sc.engines()}["ipu"].available
    assert "simulated on the CPU" in repr(sc.get_engine("ipu", simulate=True))
    assert "simulation" in sc.get_engine("ipu", simulate=True).explain(sc.Leaky())


def test_double_precision_is_the_simulations_alone(monkeypatch):
    monkeypatch.setattr("spikecore.engines.ipu.engine.poptorch_is_here", lambda: True)
    with pytest.raises(ValueError, match="dtype='float64': an IPU computes in float32"):
        IpuEngine("float64")
    assert IpuEngine("float64", simulate=True).dtype == "float64"
    assert IpuEngine("float32").simulate is False


BAD = [
    ({"device_iterations": 0}, "device_iterations=0 must be an int >= 1"),
    ({"gradient_accumulation": 1.5}, "gradient_accumulation=1.5"),
    ({"replication_factor": True}, "replication_factor=True"),
    ({"available_memory_proportion": 1.5}, r"available_memory_proportion=1.5 must be .*<= 1"),
    ({"half": "yes"}, "half='yes' must be true or false"),
    ({"loss_scaling": -1.0, "half": True}, "loss_scaling=-1.0"),
    ({"loss_scaling": 128.0}, "set half=True"),
    ({"partials_type": "double"}, "partials_type='double' must be one of None, 'half', 'float'"),
    ({"stochastic_rounding": True}, "set half=True"),
    ({"executable_cache_dir": ""}, "executable_cache_dir='' must be the path"),
    ({"random_seed": -1}, "random_seed=-1"),
    ({"pipeline": {"0": 1}}, "pipeline={'0': 1} must be a table"),
    (
        {"pipeline": {"0": 0, "2": 1}},
        r"pipeline with 2 stages needs gradient_accumulation >= 3 \(2 stages - 1\), got 1",
    ),
    ({"recompute": 1}, "recompute=1"),
    ({"prefetch_depth": 0}, "prefetch_depth=0"),
    ({"offline_target": 3}, "offline_target=3 must be one of None, 1, 2, 21"),
    ({"use_ipu_model": True, "offline_target": 2}, "set one of them"),
    ({"use_ipu_model": True, "executable_cache_dir": "x"}, "does not cache"),
    ({"short_batch": "keep"}, "short_batch='keep' must be one of 'drop', 'pad'"),
    ({"short_batch": "pad", "device_iterations": 2}, "needs device_iterations=1"),
    ({"device_iteration": 2}, "unknown engine option 'device_iteration'; did you mean 'device_iterations'"),
]


@pytest.mark.parametrize(("options", "message"), BAD, ids=[" ".join(options) for options, _ in BAD])
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        sc.get_engine("ipu", simulate=True, **options)


def test_options_reach_poptorch():
    from spikecore.engines.ipu import simulation

    given = IpuOptions(
        device_iterations=2, gradient_accumulation=3, replication_factor=2, available_memory_proportion=0.3, half=True,
        loss_scaling=64.0, partials_type="half", stochastic_rounding=True, executable_cache_dir="cache", random_seed=5,
        pipeline={"0": 0, "2": 1}, recompute=True, prefetch_depth=3, profile_dir="profile",
    )  # fmt: skip
    options = given.build(simulation, training=True, buffers=True)
    assert options._values == {
        "device_iterations": 2, "replication_factor": 2, "output_mode": simulation.OutputMode.All,
        "broadcast_buffers": False, "available_memory_proportion": {"IPU0": 0.3, "IPU1": 0.3}, "cache_path": "cache",
        "use_model": False, "connection_type": simulation.ConnectionType.Always, "ipu_version": 0, "random_seed": 5,
        "profile_dir": "profile", "auto_round": True,
    }  # fmt: skip
    assert options.Training.gradient_accumulation == 3
    assert (options.Precision.partials_type, options.Precision.stochastic_rounding) == (torch.half, True)
    assert options._Popart.options == {"autoRecomputation": 3, "defaultPrefetchBufferingDepth": 3}
    assert given.build(simulation, training=False, buffers=True).Training.gradient_accumulation == 1
    own = simulation.Options().logDir if hasattr(simulation.Options(), "logDir") else simulation.Options().randomSeed(9)
    assert IpuOptions(options=own).build(simulation, True, False).random_seed == 9
    assert IpuOptions(use_ipu_model=True).build(simulation, True, False).use_model
    assert IpuOptions(offline_target=21).build(simulation, True, False).ipu_version == 21


# ---- training ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", [NET, NORMALISED], ids=["plain", "normalised"])
def test_training_is_torchs(network):
    """Weights, buffers, history and evaluation after two epochs with validation; dropout draws alike."""
    data = [batch(seed=i) for i in range(3)]
    options = {"optimizer": sc.Adam(lr=0.01, clip_norm=0.5), "epochs": 2, "validation": data[:1]}
    ours = fitted(model(network), data, **options)
    theirs = fitted(sc.Model(network, "torch"), data, **options)
    assert difference(ours, theirs) < 1e-6
    for name, value in theirs.state()["buffers"].items():
        np.testing.assert_allclose(ours.state()["buffers"][name], value, rtol=1e-5)
    for a, b in zip(ours.history, theirs.history):
        assert abs(a["loss"] - b["loss"]) < 1e-5
        assert (a["accuracy"], a["val_accuracy"]) == (b["accuracy"], b["val_accuracy"])


def test_validation_alternates_without_compiling_again():
    data = [batch(seed=i) for i in range(2)]
    one = fitted(model(), data, epochs=4, validation=data)
    executor = one.trainer.executor
    programs = [executor.training, *executor.inference.values()]
    assert [program.model.compilations for program in programs] == [1, 1]
    assert sum(program.model.isAttachedToDevice() for program in programs) == 1
    found = executor.run(data[0][0][None], steps=5)
    np.testing.assert_array_equal(
        found.spikes.numpy(), sc.Model.to_engine(one, "torch")(data[0][0], num_steps=5).spikes.detach().numpy()
    )


def test_schedules_change_the_rate():
    data = [batch()]
    options = {"epochs": 3, "schedule": lambda epoch, epochs: 0.5**epoch}
    assert difference(fitted(model(), data, **options), fitted(sc.Model(NET, "torch"), data, **options)) < 1e-6


@pytest.mark.parametrize(
    "spec", [sc.SGD(lr=0.1, momentum=0.9), sc.Adam(lr=0.01), sc.AdamW(lr=0.01), sc.RMSprop(lr=0.01, momentum=0.8)]
)
def test_checkpoints_move_between_engines(spec, tmp_path):
    data = [batch(seed=i) for i in range(2)]
    whole = fitted(sc.Model(NET, "torch"), data, epochs=4, optimizer=spec)
    first = fitted(model(), data, epochs=2, optimizer=spec)
    first.save(tmp_path / "half.safetensors")
    for engine in ("torch", sc.get_engine("ipu", simulate=True)):
        second = sc.load(tmp_path / "half.safetensors", engine=engine)
        fitted(second, data, epochs=4, optimizer=spec, resume=True)
        assert difference(second, whole) < 2e-6


def test_rmsprop_does_not_clip_there():
    with pytest.raises(ValueError, match="clip_norm: PopTorch's RMSprop does not clip"):
        fitted(model(), [batch()], optimizer=sc.RMSprop(clip_norm=1.0))


PARTS = [
    {"gradient_accumulation": 4},
    {"replication_factor": 2},
    {"gradient_accumulation": 2, "replication_factor": 2},
    {"gradient_accumulation": 3, "pipeline": {"0": 0, "2": 1}},
]


@pytest.mark.parametrize("options", PARTS, ids=lambda options: "+".join(options))
def test_parts_of_a_batch_make_one_step(options):
    data = [batch(24, seed=i) for i in range(2)]
    ours, theirs = fitted(model(**options), data), fitted(sc.Model(NET, "torch"), data)
    assert difference(ours, theirs) < 1e-6
    assert ours.history[0]["accuracy"] == theirs.history[0]["accuracy"]
    assert abs(ours.history[0]["loss"] - theirs.history[0]["loss"]) < 1e-6


def test_running_statistics_are_those_of_the_first_replica():
    """A12: each replica has buffers of its own, and normalises its own part."""
    x, y = batch(8)
    ours = fitted(model(NORMALISED, replication_factor=2), [(x, y)])
    theirs = fitted(sc.Model(NORMALISED, "torch"), [(x[:4], y[:4])])
    for name, value in theirs.state()["buffers"].items():
        np.testing.assert_allclose(ours.state()["buffers"][name], value, rtol=1e-5)


def test_device_iterations_are_steps_of_their_own():
    x, y = batch(8)
    ours = fitted(model(device_iterations=2), [(x, y)])
    assert difference(ours, fitted(sc.Model(NET, "torch"), [(x[:4], y[:4]), (x[4:], y[4:])])) < 1e-6
    assert ours.state()["step"] == 2


def test_batches_that_cannot_be_cut():
    with pytest.raises(ShapeError, match=r"8 samples cannot be cut into 3 equal parts .* multiple of 3"):
        fitted(model(gradient_accumulation=3), [batch(8)])
    with pytest.raises(ValueError, match="averaged.*reduction='mean'"):
        fitted(model(gradient_accumulation=2), [batch(8)], loss=functional.ce_count_loss(reduction="sum"))


def test_a_short_batch_is_reported_but_dropped():
    data = [batch(8), batch(5)]
    ours, only = fitted(model(), data), fitted(model(), data[:1])
    assert difference(ours, only) == 0.0
    expected = only.evaluate(data[1:], loss=LOSS, num_steps=5, progress=False)
    assert abs(ours.history[0]["loss"] - (8 * only.history[0]["loss"] + 5 * expected["loss"]) / 13) < 1e-6


@pytest.mark.parametrize("loss", [LOSS, *(loss for _, loss in cases.LOSSES[:4]), cases.LOSSES[6][1]], ids=str)
def test_a_short_batch_is_padded_with_weight_zero(loss):
    """The same step as torch makes on the short batch alone."""
    data = [batch(8), batch(5)]
    ours = fitted(model(short_batch="pad"), data, loss=loss)
    theirs = fitted(sc.Model(NET, "torch"), data, loss=loss)
    assert difference(ours, theirs) < 2e-6
    assert abs(ours.history[0]["loss"] - theirs.history[0]["loss"]) < 1e-5
    assert ours.history[0]["accuracy"] == theirs.history[0]["accuracy"]


def test_padding_with_parts():
    data = [batch(8), batch(5)]
    ours = fitted(model(short_batch="pad", gradient_accumulation=4), data)
    assert difference(ours, fitted(sc.Model(NET, "torch"), data)) < 2e-6


def test_what_padding_cannot_do():
    with pytest.raises(ValueError, match="needs a loss of spikecore.functional"):
        fitted(model(short_batch="pad"), [batch(8)], loss=lambda out, y: out.spikes.mean())
    with pytest.raises(ValueError, match="BatchNorm|running statistics"):
        fitted(model(NORMALISED, short_batch="pad"), [batch(8)])


def test_other_shapes_are_refused_clearly():
    one = fitted(model(), [batch(8)])
    for x, y, steps, message in (
        (*batch(9), 5, "9 samples, but the first had 8"),
        (*batch(8), 6, r"compiled for 5 steps of a constant input .* not for 6 steps"),
    ):
        with pytest.raises(ShapeError, match=message):
            one.trainer.executor.step(x[None], y, steps=steps)
    fitted(one, [batch(9)], num_steps=6)  # a new fit compiles anew


def cpu_computes_half():
    try:
        torch.ones(1, 1).half() @ torch.ones(1, 1).half()
    except RuntimeError:
        return False
    return True


@pytest.mark.skipif(not cpu_computes_half(), reason="this torch has no float16 matmul on the CPU (2.0 has not)")
def test_half_precision_trains():
    data = [batch(32, seed=i) for i in range(4)]
    one = fitted(model(half=True, loss_scaling=128.0), data, epochs=15, optimizer=sc.Adam(lr=0.02))
    assert one.history[-1]["loss"] < one.history[0]["loss"]
    assert {value.dtype.name for value in one.params().values()} == {"float32"}
    assert one(data[0][0], num_steps=5).spikes.dtype == torch.float16


def test_pipeline_names_layers():
    for stages, message in (
        ({"0": 0, "9": 1}, "no top-level layer '9'"),
        ({"1": 0, "2": 1}, "must begin with layer '0'"),
    ):
        with pytest.raises(ValueError, match=message):
            fitted(model(pipeline=stages, gradient_accumulation=3), [batch(6)])


def test_truncated_bptt_is_torchs():
    data = [batch(8)]
    way = sc.BPTT(window=2)
    assert difference(fitted(model(), data, learning=way), fitted(sc.Model(NET, "torch"), data, learning=way)) < 1e-6


def test_states_continue():
    x = np.stack([batch(4, seed=i)[0] for i in range(6)])
    one = model()
    whole, first = one(x), one(x[:3])
    second = one(x[3:], state=first.state)
    np.testing.assert_array_equal(whole.spikes[3:].numpy(), second.spikes.numpy())
    np.testing.assert_allclose(whole.membrane[3:].numpy(), second.membrane.numpy())


def compiled(spec=None, network=NET, **options):
    """An executor on the simulated IPU."""
    init = network.init(Key((0,)), (6,))
    engine = sc.get_engine("ipu", simulate=True, **options)
    return engine.compile(network, init.params, init.buffers, LOSS, spec or sc.Adam())


def test_offline_targets_only_compile(tmp_path):
    """A9: a program that is exported without a device is used on one, with the optimiser's state of a checkpoint."""
    (x, y), path = batch(), tmp_path / "program"
    offline = compiled(offline_target=2)
    with pytest.raises(AssertionError, match="offline"):
        offline.step(x[None], y, steps=5)
    offline.export(path, x[None], y, steps=5)
    plain, reads = compiled(), compiled()
    for _ in range(2):
        plain.step(x[None], y, steps=5)
    reads.load(plain.state())
    reads.run(x[None], steps=5)  # another program is on the device
    reads.load_exported(path, x[None], y, steps=5)
    assert reads.training.model.compilations == 0
    for one in (plain, reads):
        one.step(x[None], y, steps=5)
        one.run(x[None], steps=5)
        one.step(x[None], y, steps=5)
    for name, value in plain.state()["params"].items():
        np.testing.assert_array_equal(reads.state()["params"][name], value)


def test_exported_programs_are_not_mixed_up(tmp_path):
    """A9: neither with a program that is there nor with that of another network."""
    (x, y), path = batch(), tmp_path / "program"
    one = compiled()
    one.step(x[None], y, steps=5)
    one.export(path, x[None], y, steps=5)  # after training, too
    with pytest.raises(ValueError, match="load_exported: this executor has a training program"):
        one.load_exported(path, x[None], y, steps=5)
    other = compiled(network=sc.Sequential(sc.Linear(6, 3), sc.Leaky()))
    with pytest.raises(RuntimeError, match="it holds the program of another model"):
        other.load_exported(path, x[None], y, steps=5)


def test_closing_releases():
    executor = fitted(model(), [batch()]).trainer.executor
    program = executor.training
    executor.close()
    assert type(program.module).__name__ == "TrainingModule"
    assert executor.state()["step"] == 1
    executor.step(batch()[0][None], batch()[1], steps=5)  # compiles anew
