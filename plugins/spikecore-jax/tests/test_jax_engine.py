"""What users meet of the engine besides the conformance suite: 64 bits, devices, compilation, run files."""

from __future__ import annotations

import copy
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("jax", reason="the engine computes with JAX: pip install jax")

import jax
import jax.numpy as jnp
from jax_rig import LABELS, NET, X, trained

import spikecore as sc
from spikecore import functional
from spikecore.api.core.variants import with_dtype
from spikecore.conformance.rig import assert_close, assert_trees_close, differentiate, normal, run

# ---- noise ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distribution", ["normal", "uniform", "logistic"])
def test_draws_in_a_step_have_the_bits_of_numpy(distribution):
    """XLA contracts products and sums; a draw has none that this changes."""
    noisy = sc.Noisy(sc.Leaky(beta=sc.learn(0.8), threshold=0.5), 0.3, 0.1, distribution)
    net = sc.Sequential(sc.Linear(6, 8), noisy, sc.Linear(8, 3), sc.Recurrent(noisy, sc.Linear(3, 3)))
    one, other = (sc.Model(net, engine=name, seed=2)(X, record=True).states for name in ("jax", "numpy"))
    for layer in ("1", "3"):
        for state in ("draw_1", "draw_2", "draw_3"):
            np.testing.assert_array_equal(np.asarray(one[layer][state]), other[layer][state])
    alone = sc.Noisy(sc.LI(beta=0.0), 1.0, distribution=distribution)
    x = np.zeros((30, 40, 50), "float32")
    a, b = (run(sc.get_engine(name), alone, x).outputs for name in ("jax", "numpy"))
    np.testing.assert_array_equal(a, b)


# ---- 64 bits -------------------------------------------------------------------------------------------------------


def test_the_users_switch_for_64_bits_stays():
    assert not jax.config.jax_enable_x64
    out = trained("jax", 1)(X)
    assert out.spikes.dtype == "float64"
    assert not jax.config.jax_enable_x64
    assert (jnp.ones(2) + 1.0).dtype == "float32"


def test_a_context_that_is_not_entered_switches_nothing():
    context = sc.get_engine("jax").isolated()
    assert not jax.config.jax_enable_x64
    with context:
        assert jax.config.jax_enable_x64
    assert not jax.config.jax_enable_x64


def test_float64_outside_is_refused_and_not_cut_to_float32():
    engine = sc.get_engine("jax", dtype="float64")
    x = engine.asarray([1.0, 2.0])
    with pytest.raises(RuntimeError, match=r"sum: .*with engine.isolated\(\)"):
        engine.xp.sum(x)
    with pytest.raises(RuntimeError, match="dtype='float64'"):
        sc.get_engine("jax").xp.zeros((2,), dtype="float64")
    with engine.isolated():
        assert engine.xp.sum(x).dtype == "float64"


def test_a_users_global_switch_changes_nothing():
    program = (
        "import jax; jax.config.update('jax_enable_x64', True)\n"
        "import spikecore as sc, numpy as np\n"
        "model = sc.Model(sc.Sequential(sc.Linear(3, 2), sc.Leaky()), engine='jax')\n"
        "model.fit([(np.ones((4, 5, 3)), [0, 1, 0, 1, 1])], epochs=1, progress=False)\n"
        "assert model(np.ones((4, 5, 3))).spikes.dtype == 'float32', model\n"
        "assert all(x.dtype == 'float32' for x in model.params().values())\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)


# ---- engines -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float16"}, "dtype='float16' must be one of float32, float64"),
        ({"device": "tpu"}, "device='tpu': JAX has no such platform here"),
        ({"device": "cpu:7"}, r"device='cpu:7', devices=1: JAX has 1 device\(s\) here: cpu"),
        ({"device": "cpu:x"}, "device='cpu:x' must be a platform"),
        ({"device": ":0"}, "device=':0' must be a platform"),
        ({"devices": 0}, "devices=0 must be a number of devices, at least 1"),
        ({"devices": 2}, "devices=2: JAX has 1"),
        ({"checkpoint_every": 0}, "checkpoint_every=0"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        sc.get_engine("jax", **options)


def test_engines_can_be_copied_and_sent_to_processes():
    engine = sc.get_engine("jax", dtype="float64", checkpoint_every=3)
    for other in (copy.deepcopy(engine), pickle.loads(pickle.dumps(engine)), with_dtype(engine, "float64")):
        assert repr(other) == repr(engine)
    assert "JaxEngine" in repr(sc.base.engine_of(jnp.ones(2)))
    assert sc.base.engine_of(engine.asarray(1.0)).dtype == "float64"


def test_losses_encoders_and_metrics_take_jax_arrays():
    probability = jnp.asarray(np.random.default_rng(0).random((5, 4)), "float32")
    spikes = sc.spikegen.rate(probability, num_steps=6, seed=1)
    assert isinstance(spikes, jax.Array)
    assert (np.asarray(spikes) == sc.spikegen.rate(np.asarray(probability), num_steps=6, seed=1)).all()
    found = functional.ce_rate_loss()(spikes, [0, 1, 2, 3, 0])
    assert_close(np.asarray(found), functional.ce_rate_loss()(np.asarray(spikes), [0, 1, 2, 3, 0]), 1e-6)


def test_a_loss_that_is_compiled_by_its_user():
    """Its labels cannot be checked there; without the checks it is the same loss."""
    loss, engine = functional.ce_rate_loss(), sc.get_engine("jax")
    spikes = engine.asarray(np.abs(normal(7, 10, 3)))
    with pytest.raises(NotImplementedError, match=r"not look at the values.*loss\.evaluate\(engine, "):
        jax.jit(lambda spikes: loss(spikes, LABELS))(spikes)
    found = jax.jit(jax.grad(lambda spikes: loss.evaluate(engine, spikes, LABELS)))(spikes)
    assert_close(np.asarray(found), np.asarray(jax.grad(lambda spikes: loss(spikes, LABELS))(spikes)), 1e-6)


def test_arrays_of_a_dtype_that_no_engine_has_are_refused():
    with pytest.raises(TypeError, match=r"bfloat16 array came to an engine of float32: .*astype\('float32'\)$"):
        sc.get_engine("jax").asarray(jnp.ones(2, jnp.bfloat16))


def test_explain_says_what_is_compiled():
    said = sc.get_engine("jax").explain(NET)
    assert "1 (Leaky): compiled: Leaky.step in a lax.scan over time, by XLA for cpu" in said
    assert "times its outputs" in sc.get_engine("jax").explain(sc.Sequential(sc.Leaky(), sc.Linear(8, 2)))


# ---- what runs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [None, 3])
def test_a_linear_within_the_scan_computes_what_it_computes_behind_it(window):
    """Batches of at least four times its outputs go this way; smaller ones, and those of the suite, do not."""
    net, x = sc.Sequential(sc.Leaky(beta=sc.learn(0.8)), sc.Linear(6, 2), sc.Leaky()), normal(9, 16, 6) + 0.5
    engines = [sc.get_engine(name, dtype="float64") for name in ("jax", "numpy")]
    calls = []
    plain = type(engines[0]).readout_scan
    engines[0].readout_scan = lambda *a, **o: calls.append(plain(engines[0], *a, **o)) or calls[-1]
    with engines[0].isolated():
        outputs = [run(engine, net, x, record=("2",)) for engine in engines]
        grads = [differentiate(engine, net, x, record=("2",), window=window)[1] for engine in engines]
    assert all(call is not None for call in calls)
    assert len(calls) == 2
    assert_close(outputs[0].outputs, outputs[1].outputs)
    assert_trees_close(outputs[0].state, outputs[1].state, 1e-12)
    assert_trees_close(grads[0], grads[1], 1e-11)


@pytest.mark.parametrize("every", [1, 4, 9, 20])
def test_checkpoint_every_changes_memory_only(every):
    layer, x = sc.Synaptic(alpha=sc.learn(0.5), beta=sc.learn(0.7)), normal(9, 2, 3) + 0.5
    engines = [sc.get_engine("jax", dtype="float64", **o) for o in ({"checkpoint_every": every}, {})]
    with engines[0].isolated():
        found, expected = (differentiate(engine, layer, x)[1] for engine in engines)
        kept, whole = (run(engine, layer, x) for engine in engines)
    assert_trees_close(found, expected, 1e-13)
    assert_trees_close(kept.recorded, whole.recorded, 0.0)


# ---- several devices, run files ------------------------------------------------------------------------------------

SEVERAL = """
import jax, numpy as np, spikecore as sc
assert len(jax.devices()) == 4
def loss(out, y):
    weights = sc.base.engine_of(out.spikes).asarray([1.0, 2.0, 1.0])
    return sc.functional.ce_rate_loss().compute(sc.base.engine_of(out.spikes), out.membrane * weights, y)
net = sc.Sequential(sc.Linear(6, 8), sc.BatchNorm1d(8), sc.Leaky(beta=np.linspace(0.5, 0.9, 8)), sc.Dropout(0.2),
                    sc.Linear(8, 3), sc.Leaky(beta=0.7))
x = np.abs(np.random.default_rng(0).normal(size=(6, 8, 6))) + 0.3
weights = []
for options in ({"devices": 4}, {}, {"device": "cpu:2"}):
    model = sc.Model(net, engine="jax", dtype="float64", **options)
    batches = [(x, np.arange(8) % 3), (x + 0.1, np.arange(8) % 3)]
    model.fit(batches, loss=loss, optimizer=sc.Adam(lr=0.01), epochs=3, progress=False)
    executor, placed = model.trainer.executor, model.trainer.executor.batch(x, np.arange(8) % 3)
    assert [len(a.devices()) for a in placed] == [options.get("devices", 1)] * 2, placed
    if options.get("devices"):
        assert not placed[0].sharding.is_fully_replicated and placed[0].addressable_shards[0].data.shape == (6, 2, 6)
        assert executor.batch(x[:, :3], [0, 1, 2])[0].sharding.is_fully_replicated, "three samples on four devices"
    assert executor.traces == 1 and executor._step._cache_size() == 1, executor._step._cache_size()
    assert options.get("device", "cpu") == model.engine.device
    assert sc.base.engine_of(model(x).spikes).device == model.engine.device
    weights.append(model.params())
for other in weights[1:]:
    for name, values in weights[0].items():
        if name != "0.bias":  # before a BatchNorm it has no gradient but rounding
            assert abs(values - other[name]).max() <= 1e-11 * abs(other[name]).max(), name
"""


def test_several_devices_share_a_batch():
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    subprocess.run([sys.executable, "-c", SEVERAL], check=True, timeout=600, env=environment)


PAGE = Path(__file__).resolve().parents[3] / "docs" / "jax.md"


@pytest.mark.skipif(not PAGE.is_file(), reason="spikecore's documentation is not here")
def test_the_page_of_the_documentation_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```\{ \.python \.skip \}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    names = {}
    for code in blocks:
        exec(code, names)
    assert (tmp_path / "digits.sc").is_file()
    theirs = sc.Model(names["net"], engine="numpy", seed=0)
    train, test = names["train"], names["test"]
    theirs.fit(train.inputs, train.targets, optimizer=sc.Adam(lr=5e-3), epochs=10, num_steps=15, progress=False)
    ours, others = (m.evaluate(test.inputs, test.targets, num_steps=15) for m in (names["model"], theirs))
    assert abs(ours["accuracy"] - others["accuracy"]) <= 0.01, "the digits"


def test_the_command_line_trains_with_it(tmp_path):
    def spikecore(*arguments):
        command = [sys.executable, "-m", "spikecore", *map(str, arguments)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    spikecore("init", "digits")
    said = spikecore("train", "digits.toml", "--engine", "jax", "--set", "train.epochs=1")
    assert "accuracy" in said
    assert "jax" in spikecore("engines")
