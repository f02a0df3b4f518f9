"""A later ``fit`` begins schedules, patience and pruning anew, unless it resumes; random draws go on."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore import schedule
from spikecore.compression import Pruning, Rewiring
from spikecore.plasticity import STDP, Plasticity
from spikecore.samples import Loader
from tests.training.training_rig import same

X = np.random.default_rng(0).random((20, 6), dtype=np.float32)
Y = np.arange(20) % 4
NETWORK = sc.Sequential(sc.Linear(6, 4), sc.Dropout(0.2), sc.Leaky())
ADAM = sc.Adam(lr=0.1)


def engine_of(name):
    if name == "ipu":
        pytest.importorskip("torch")
        return sc.get_engine("ipu", simulate=True)
    pytest.importorskip({"jax": "spikecore_jax"}.get(name, name))
    return sc.get_engine(name)


def fresh(engine="numpy"):
    return sc.Model(NETWORK, engine_of(engine), seed=3)


def fit(model, data=(X, Y), **options):
    model.fit(
        Loader(*data, batch_size=10, shuffle=True),
        **{"num_steps": 3, "progress": False, "optimizer": ADAM, "epochs": 4, **options},
    )
    return model


def falling(epoch, epochs):
    return 1.0 - epoch / epochs


class Rates:
    """A callback that notes the rate of each update."""

    def __init__(self):
        self.seen = []

    def after_step(self, model, step):
        self.seen.append(step.lr)


def rates(model, **options):
    """The rate of each update of a ``fit``."""
    noted = Rates()
    fit(model, callbacks=(noted,), **options)
    return noted.seen


def saved(model, folder):
    model.save(folder / "model")
    return sc.load(folder / "model", engine=model.engine)


def interrupted_before(model, folder):
    """Trained once more and stopped within the second of four epochs: a ``fit`` that does not resume it is another."""
    stop = type("Stop", (), {"after_step": lambda self, model, step: step.epoch == 5 and step.batch == 1})
    return fit(model, callbacks=(stop(),))


SCHEDULES = {
    "constant": schedule.constant(warmup=2),
    "step": schedule.step(every=1, factor=0.5),
    "exponential": schedule.exponential(0.5),
    "exponential-steps": schedule.exponential(0.5, warmup=1, each="step"),
    "cosine": schedule.cosine(warmup=1),
    "one_cycle": schedule.one_cycle(),
    "plateau": schedule.reduce_on_plateau(0.5, patience=0, monitor="loss", min_delta=10.0),
    "function": falling,
}

#: What a model may have behind it: a function of the trained model and a folder, and options of the next ``fit``.
PASTS = {
    "a fit": (lambda model, folder: model, {}),
    "a file": (saved, {}),
    "resume=False": (lambda model, folder: model, {"resume": False}),
    "another engine": (lambda model, folder: model.to_engine(model.engine), {}),
    "another optimiser": (lambda model, folder: model, {"optimizer": sc.SGD(lr=0.1)}),
    "quantised": (lambda model, folder: sc.compression.quantize(model, weights=8), {}),
    "an interrupted fit": (interrupted_before, {}),
}


@pytest.mark.parametrize(
    ("kind", "past"),
    [*((kind, "a fit") for kind in SCHEDULES), *(("cosine", past) for past in PASTS if past != "a fit")],
)
def test_each_fit_begins_its_schedule_anew(kind, past, tmp_path):
    """It counted the epochs since the model's birth, so that a cosine began where it ends."""
    made, options = PASTS[past]
    model = made(fit(fresh(), epochs=3), tmp_path)
    first = rates(fresh(), schedule=SCHEDULES[kind])
    assert len(set(first)) > 2, "a constant rate would show nothing"
    assert rates(model, schedule=SCHEDULES[kind], **options) == pytest.approx(first)


@pytest.mark.parametrize("engine", ["torch", "ipu", "jax"])
def test_every_engine_gets_these_rates(engine):
    model = fit(fresh(engine), epochs=3)
    cosine = {"schedule": schedule.cosine(warmup=1)}
    assert rates(model, **cosine) == pytest.approx(rates(fresh(), **cosine))


def test_rules_of_plasticity_have_their_schedule_anew():
    model = sc.Model(sc.Sequential(sc.Linear(6, 4, bias=False), sc.Leaky()), seed=3)
    options = {"learning": Plasticity({"0": STDP()}), "optimizer": None, "epochs": 2, "schedule": falling}
    for _ in range(2):
        fit(model, **options)
    assert [row["lr"] for row in model.history] == pytest.approx([1.0, 0.5, 1.0, 0.5])


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("filed", [False, True], ids=["at once", "from a file"])
@pytest.mark.parametrize("at", [(4, 2), (5, 1)], ids=["between epochs", "within an epoch"])
def test_a_second_fit_that_is_resumed_goes_on_with_its_schedule(engine, filed, at, tmp_path):
    """The same call with ``resume=True`` ends what was interrupted, with the same bits; ``epochs`` are this fit's."""
    options = {"schedule": schedule.cosine(warmup=1, each="step"), "epochs": 3}
    whole = fit(fit(fresh(engine), epochs=3), **options)
    model = fit(fresh(engine), epochs=3)
    stop = type("Stop", (), {"after_step": lambda self, model, step: (step.epoch, step.batch) == at})
    fit(model, callbacks=(stop(),), **options)
    assert model.epochs_done < 6
    model = saved(model, tmp_path) if filed else model
    same(fit(model, resume=True, **options), whole)


def test_a_resumed_fit_can_be_prolonged():
    model = fit(fit(fresh(), epochs=3), epochs=1, schedule=falling)
    fit(model, epochs=4, schedule=falling, resume=True)
    assert [row["lr"] for row in model.history[3:]] == pytest.approx([0.1, 0.075, 0.05, 0.025])
    assert len(fit(model, epochs=4, resume=True).history) == 7, "nothing is left to do"


def test_early_stopping_has_its_patience_anew():
    """One callback for two fits: the second one is not measured by the best epoch of the first, nor goes back to it."""
    figures = iter([1.0, 2.0, 3.0, 9.0, 8.0, 8.5, 8.5])
    kept = {}

    def score(model, row):
        row["val_loss"] = next(figures)
        kept[row["epoch"]] = model.params()

    stopping = sc.EarlyStopping(patience=2)
    model = fit(fresh(), callbacks=(score, stopping), epochs=9)
    fit(model, callbacks=(score, stopping), epochs=9)
    assert model.epochs_done == 7
    assert all((x == kept[5][name]).all() for name, x in model.params().items())


def test_early_stopping_goes_on_in_a_fit_that_resumes():
    figures, stopping = iter([1.0, 2.0, 3.0, 3.0]), sc.EarlyStopping(patience=2)

    def score(model, row):
        row["val_loss"] = next(figures)

    model = fit(fresh(), callbacks=(score, stopping, lambda model, row: True), epochs=9)
    fit(model, callbacks=(score, stopping), epochs=9, resume=True)
    assert model.epochs_done == 3, "two epochs without improvement behind the first one"


@pytest.mark.parametrize("each", ["epoch", "step"])
def test_pruning_begins_with_the_fit(each):
    """It was refused as over, or had to be told the epochs of an earlier training."""
    keeping = sc.Adam(lr=0.1, keep_zeros=True)
    callback = Pruning(0.5, start=1, end=3, each=each)
    first, second = fresh(), fit(fresh(), epochs=5, optimizer=keeping)
    seen = []
    for model in (first, second):
        fit(model, optimizer=keeping, callbacks=(callback,))
        seen.append([row["sparsity"] for row in model.history[-4:]])
    assert seen[0] == seen[1]
    assert seen[0][-1] == 0.5


def test_pruning_that_is_over_is_refused_where_a_fit_resumes():
    keeping = sc.Adam(lr=0.1, keep_zeros=True)
    model = fit(fit(fresh(), optimizer=keeping, epochs=5), optimizer=keeping, epochs=2)
    for each, end, done in (("epoch", 2, 2), ("step", 4, 4)):
        message = f"Pruning: end={end} is over: the fit that is resumed has done {done} {each}s.*start={done + 1}"
        with pytest.raises(ValueError, match=message):
            fit(model, optimizer=keeping, callbacks=(Pruning(0.5, end=end, each=each),), resume=True)
    fit(model, optimizer=keeping, callbacks=(Pruning(0.5, end=3),), resume=True)
    assert model.history[-1]["sparsity"] == 0.5


def test_draws_go_on():
    """Dropout, encoders and orders of samples are those of later epochs, not the first ones again."""
    seen = []

    def encoder(x, num_steps, seed):
        seen.append((seed, x.tobytes()))
        return np.stack([x] * num_steps)

    model = fit(fresh(), encoder=encoder, epochs=2)
    fit(model, encoder=encoder, epochs=2, resume=False)
    assert [seed[:3] for seed, _ in seen] == [(3, "epoch", epoch) for epoch in range(4) for _ in range(2)]
    assert len({x for _, x in seen}) == 8


def test_rewiring_draws_other_places_in_a_second_fit():
    """The same network twice: the second ``fit`` does not make the moves of the first one again."""
    keeping, drawn = sc.SGD(lr=0.0, keep_zeros=True), []
    model = sc.Model(sc.Sequential(sc.Linear(60, 40, bias=False), sc.Leaky()), seed=3)
    sc.compression.prune(model, 0.5, by="random")
    before = model.state()
    for _ in range(2):
        model.load_state({**before, "step": model.trainer.executor.steps_done})
        rewiring = Rewiring(0.5, fraction=0.5, start=1)
        fit(model, data=(np.ones((2, 60), np.float32), np.array([0, 1])), optimizer=keeping, callbacks=(rewiring,))
        drawn.append(model.params()["0.weight"] != 0)
    assert (drawn[0] != drawn[1]).any()
