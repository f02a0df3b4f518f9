"""Parameter groups in ``fit``: rates and decays of their own, frozen parameters, files, going on with other options."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import spikecore as sc
from spikecore.engines.ipu import simulation
from spikecore.engines.ipu.optimizers import build

X = np.random.default_rng(0).random((12, 6), dtype=np.float32)
Y = np.arange(12) % 4
ENGINES = pytest.mark.parametrize("engine", ["numpy", "torch"])
FROZEN = sc.Adam(lr=0.01, groups=(sc.Group("*.beta", lr=0.1), sc.Group("0.*", frozen=True)))


@pytest.fixture(autouse=True)
def _torch():
    pytest.importorskip("torch")


def network():
    return sc.Sequential(
        sc.Linear(6, 8), sc.Leaky(beta=sc.learn(0.9, per="neuron")), sc.Linear(8, 4), sc.Leaky(beta=sc.learn(0.8))
    )


def model(engine="numpy", dtype="float64"):
    return sc.Model(network(), engine, seed=1, dtype=dtype)


def fit(model, optimizer=FROZEN, epochs=1, **options):
    model.fit(X, Y, optimizer=optimizer, epochs=epochs, num_steps=4, batch_size=4, progress=False, **options)
    return model


def moved(model):
    first = sc.Model(model.network, model.engine, seed=model.seed).params()
    return {name for name, x in model.params().items() if (x != first[name]).any()}


@ENGINES
def test_frozen_parameters_stay_and_all_others_move(engine):
    trained = fit(model(engine), epochs=3)
    assert moved(trained) == {"1.beta", "2.weight", "2.bias", "3.beta"}
    assert not [name for name in trained.state()["optimizer"] if name.startswith("0.")]


def test_engines_agree():
    a, b = (fit(model(engine), replace(FROZEN, clip_norm=0.1), epochs=3).params() for engine in ("numpy", "torch"))
    assert all(abs(a[name] - b[name]).max() < 1e-10 for name in a)


def test_frozen_parameters_cost_no_gradient():
    trained = fit(model("torch"))
    assert {name for name, x in dict(_leaves(trained)).items() if x.requires_grad} == moved(trained)


def _leaves(model):
    from spikecore.api.core.tree import leaves

    return leaves(model.trainer.executor.params)


@ENGINES
@pytest.mark.parametrize("learning", ["bptt", "eprop"])
def test_every_way_of_learning_heeds_groups(engine, learning):
    optimizer = sc.SGD(lr=0.1, groups=(sc.Group("*", frozen=True), sc.Group("2.*", frozen=False)))
    loss = sc.functional.ce_rate_loss() if learning == "bptt" else sc.functional.mse_membrane_loss()
    trained = fit(model(engine), optimizer, loss=loss, learning=learning)
    assert moved(trained) == {"2.weight", "2.bias"}


@ENGINES
def test_files_hold_groups_and_training_goes_on(engine, tmp_path):
    whole, half = fit(model(engine), epochs=4), fit(model(engine), epochs=2)
    half.save(tmp_path / "model")
    again = sc.load(tmp_path / "model", engine=engine)
    assert again.trainer.optimizer == FROZEN
    fit(again, epochs=4, resume=True)
    assert all((again.params()[name] == x).all() for name, x in whole.params().items())


@ENGINES
def test_a_model_with_groups_moves_to_other_engines(engine):
    trained = fit(model(engine))
    other = trained.to_engine("torch" if engine == "numpy" else "numpy")
    fit(trained), fit(other)
    assert all(abs(trained.params()[name] - x).max() < 1e-10 for name, x in other.params().items())


def test_a_pattern_that_matches_nothing_is_refused():
    with pytest.raises(ValueError, match=r"match='\*.alpha' matches no parameter; the network has 0.weight, 0.bias, 1"):
        fit(model(), sc.Adam(groups=(sc.Group("*.alpha", lr=0.1),)))


def test_everything_frozen_trains_nothing():
    assert moved(fit(model("torch"), sc.Adam(groups=(sc.Group("*", frozen=True),)))) == set()
    assert moved(fit(model("numpy"), sc.Adam(groups=(sc.Group("*", frozen=True),)))) == set()


# ---- going on with other options -----------------------------------------------------------------------------------


@ENGINES
@pytest.mark.parametrize(
    ("optimizer", "steps"),
    [
        (sc.Adam(lr=0.02), 6),
        (sc.Adam(lr=0.01, betas=(0.5, 0.9), weight_decay=0.1), 6),
        (sc.Adam(lr=0.01, groups=(sc.Group("*.weight", weight_decay=0.1),)), 6),
        (FROZEN, 6),  # trains fewer parameters
        (sc.AdamW(lr=0.01), 3),
        (sc.RMSprop(), 3),
    ],
)
def test_moments_go_on_within_a_kind(engine, optimizer, steps):
    trained = fit(model(engine), sc.Adam(lr=0.01))
    before = trained.state()["optimizer"]
    assert fit(trained.to_engine(engine), optimizer).state()["step"] == steps
    assert fit(trained.to_engine(engine), optimizer, resume=False).state()["step"] == 3
    still = fit(trained, sc.Adam(lr=0.0)).state()
    assert still["step"] == 6
    assert any((still["optimizer"][name] != x).any() for name, x in before.items())


@ENGINES
def test_moments_begin_anew_if_a_parameter_thaws(engine):
    trained = fit(fit(model(engine)), sc.Adam(lr=0.01))
    assert trained.state()["step"] == 3
    assert len(trained.state()["optimizer"]) == 2 * len(trained.params())


def test_resume_wants_the_same_groups():
    with pytest.raises(ValueError, match="resume=True continues with"):
        fit(fit(model()), sc.Adam(lr=0.01), epochs=2, resume=True)


# ---- the IPU engine ------------------------------------------------------------------------------------------------


def test_the_ipu_engine_refuses_groups():
    with pytest.raises(NotImplementedError, match="engine 'ipu' trains all parameters with the same options"):
        build(simulation, FROZEN, [], 0.01, {})
    ipu = model("numpy", "float32").to_engine("ipu", simulate=True)
    with pytest.raises(NotImplementedError, match="leave groups out"):
        fit(ipu)
