"""Run files name the encoders: each trains, with its own options, which are checked when the file is read."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pydantic")
pytest.importorskip("tomli_w")

from spikecore import spikegen
from spikecore.cli import run_file as config
from spikecore.cli import schema as kinds  # noqa: E402
from spikecore.cli.messages import ConfigError, models_in  # noqa: E402
from spikecore.cli.run_directory import TrainingRun  # noqa: E402

RNG = np.random.default_rng(0)
OPTIONS = {  # of features that are still; a list has tables of options, and each of them is tried
    "constant": [{}],
    "rate": [{"gain": 0.5}, {"offset": 0.1}, {"first_spike_time": 2}],
    "poisson": [{"refractory": 2, "compensate": True}],
    "latency": [
        {"normalize": True, "linear": True}, {"threshold": 0.02}, {"tau": 0.5}, {"first_spike_time": 2},
        {"on_target": 0.5}, {"off_target": 0.1, "interpolate": True}, {"clip": True}, {"bypass": True},
        {"epsilon": 1e-5},
    ],
    "burst": [{"max_spikes": 3}, {"shortest": 2}, {"longest": 2, "max_spikes": 3}],
    "phase": [{"period": 4, "weighted": True}],
    "population": [{"neurons": 4, "cutoff": 0.2}, {"neurons": 4, "low": -1, "high": 2.0}, {"neurons": 4, "beta": 2.0}],
}  # fmt: skip
OF_SEQUENCES = {
    "sequence": [{}],
    "delta": [{"threshold": 0.2, "off_spike": True}, {"padding": True}],
    "level_crossing": [{"threshold": 0.2, "multiple": True}, {"start": 0.5}, {"off_spike": False}],
    "threshold_crossing": [{"levels": 1, "low": 0.2}, {"levels": 1, "high": 0.8}, {"levels": 1, "start": 0.0}],
    "rate_conv": [{}],
}


def tables(encoders):
    return [(name, options) for name, tried in encoders.items() for options in tried]


@pytest.fixture
def read(tmp_path):
    def with_encoder(encoder, shape=(3,), inputs=3):
        arrays = {f"x_{part}": RNG.uniform(0.05, 1, (8, *shape)) for part in ("train", "test")}
        np.savez(tmp_path / "data.npz", y_train=np.arange(8) % 2, y_test=np.arange(8) % 2, **arrays)
        table = ", ".join(f"{key} = {str(value).lower()}" for key, value in encoder[1].items())
        (tmp_path / "run.toml").write_text(
            f"""
            data = {{ name = "npz", path = "data.npz" }}
            encoder = {{ kind = "{encoder[0]}"{"," * bool(table)} {table} }}
            [network]
            layers = [{{ kind = "Linear", in_features = {inputs}, out_features = 2 }}, "Leaky"]
            [train]
            epochs = 1
            """
        )
        return config.read(tmp_path / "run.toml")

    return with_encoder


def trains(run):
    made = TrainingRun(run)
    with made.start() as model:
        before = model.params()["0.weight"].copy()
        made.train(model, say=lambda line: None)
    found = made.evaluate(model)
    assert np.isfinite(found["test_loss"])
    assert (model.params()["0.weight"] != before).any()


def bound(run):
    """The encoder and its options."""
    encoder = run.encoder.make()["encoder"]
    return encoder.func, encoder.keywords


def test_every_option_of_every_encoder_is_tried():
    """D1."""
    for model in models_in(kinds.AnyEncoder):
        name, always = model.__name__, {"kind", "num_steps", "time_axis"}
        tried = {key for options in {**OPTIONS, **OF_SEQUENCES}[name] for key in options}
        assert set(model.model_fields) - always == tried, name


@pytest.mark.parametrize(("name", "options"), tables(OPTIONS))
def test_encoders_of_still_features(read, name, options):
    """D1, as those below."""
    run = read((name, {"num_steps": 9, **options}), inputs=12 if name == "population" else 3)
    assert run.encoder.make()["num_steps"] == 9
    if name != "constant":
        function, given = bound(run)
        assert function is getattr(spikegen, name)
        assert given.items() >= options.items()
    trains(run)


@pytest.mark.parametrize(("name", "options"), tables(OF_SEQUENCES))
def test_encoders_of_sequences(read, name, options):
    run = read((name, {"time_axis": 1, **options}), shape=(6, 3))
    assert run.encoder.make()["num_steps"] is None
    assert run.encoder.make()["time_axis"] == 1
    if name != "sequence":
        function, given = bound(run)
        assert function is getattr(spikegen, name)
        assert given.items() >= options.items()
    trains(run)


@pytest.mark.parametrize(("name", "options"), tables({**OPTIONS, **OF_SEQUENCES}))
def test_all_options_survive_writing(read, name, options, tmp_path):
    run = read((name, options))
    (tmp_path / "again.toml").write_bytes(config.write(run))
    assert config.read(tmp_path / "again.toml") == run


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (("population", {"neurons": 2}), "receptive_fields: neurons=2 must be an int >= 3"),
        (("population", {"cutoff": 1.5}), r"population: cutoff=1.5 must be in \[0, 1\]"),
        (("burst", {"num_steps": 4}), "burst: max_spikes=5 .* do not fit into num_steps=4"),
        (("phase", {"period": 17}), "phase: period=17 must be an int"),
        (("poisson", {"refractory": 0.5}), "encoder.refractory = 0.5: must be a valid integer"),
        (("delta", {"num_steps": 5}), "encoder.num_steps: unknown key 'num_steps'.*time_axis"),
        (("level_crossing", {"threshold": 0.0}), "level_crossing: threshold=0.0 must be > 0"),
        (("poisson", {"seed": 3}), "encoder.seed: unknown key 'seed'"),
        (("rate_conv", {"sample_axis": 0}), "encoder.sample_axis: unknown key 'sample_axis'"),
        (("populaton", {}), "did you mean 'population'"),
    ],
)
def test_bad_options_are_refused_when_the_file_is_read(read, encoder, message):
    with pytest.raises(ConfigError, match=message):
        read(encoder)


def test_a_network_that_does_not_take_what_the_encoder_makes(read):
    run = read(("population", {"neurons": 4}))
    with pytest.raises(ConfigError, match=r"run.toml: network: .*12"):
        TrainingRun(run).new_model()


def test_random_spikes_of_sequences_do_not_depend_on_how_a_batch_is_split(read):
    encoder = read(("rate_conv", {"time_axis": 1}), shape=(6, 3)).encoder.make()["encoder"]
    x = RNG.uniform(0, 1, (6, 5, 3))  # time first
    np.testing.assert_array_equal(encoder(x, seed=1, first=0)[:, 2:], encoder(x[:, 2:], seed=1, first=2))
