"""Ctrl-C inside an epoch: what ``fit(resume=True)`` then does, on every engine that trains here."""

from __future__ import annotations

import functools
import os
import signal
import threading

import numpy as np
import pytest

import spikecore as sc
from spikecore import functional, spikegen
from spikecore.api.training.interrupt import uninterrupted
from spikecore.samples import Loader
from tests.training.training_rig import same

pytest.importorskip("torch", reason="one of the engines here")

X = np.random.default_rng(0).random((26, 6)).astype("float32")
Y = X[:, :3].argmax(1).astype("int64")
EPOCHS, BATCHES = 3, 4
PLACES = [0, 1, 5, 7, 8, 11]  # steps, of 12: at the borders of epochs and inside
WAYS = {
    "plain": {"encoder": spikegen.rate, "schedule": sc.schedule.cosine(warmup=1)},
    "parts": {"learning": sc.BPTT(update_every=2), "optimizer": sc.SGD(lr=0.05, momentum=0.9)},
    "forward": {"learning": sc.EProp(update_every=2)},
    "validated": {"validation": [(X, Y)], "optimizer": sc.RMSprop(lr=0.01)},
}


@pytest.fixture(autouse=True)
def listening():
    """Python's handler of Ctrl-C, which a shell's background jobs do not have."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


def fresh(engine="numpy", dropout=0.1):
    network = sc.Sequential(
        sc.Linear(6, 16), sc.Leaky(beta=sc.learn(0.8, per="neuron"), threshold=0.5), sc.Dropout(dropout),
        sc.Linear(16, 3), sc.Leaky(beta=0.7, threshold=0.5),
    )  # fmt: skip
    return sc.Model(network, engine, seed=3)


def fit(model, way, loss=None, data=None, **options):
    data = Loader(X, Y, batch_size=7, seed=1) if data is None else data
    common = {"num_steps": 4, "epochs": EPOCHS, "progress": False, "optimizer": sc.Adam(lr=0.01)}
    loss = loss or (functional.ce_rate_loss() if way == "forward" else Counting())
    return model.fit(data, loss=loss, **{**common, **WAYS[way], **options})


class Counting(functional.ce_rate_loss):
    """Calls ``act`` inside the given step's loss, which is in the middle of a training step."""

    def __init__(self, at=None, act=ctrl_c):
        super().__init__()
        for name, value in {"at": at, "act": act, "calls": [0]}.items():
            object.__setattr__(self, name, value)

    def compute(self, *arguments):
        self.calls[0] += 1
        if self.calls[0] - 1 == self.at:
            self.act()
        return super().compute(*arguments)


class Interrupted(Loader):
    """Ctrl-C while a batch is made."""

    at = 0

    def __iter__(self):
        for batch in super().__iter__():
            self.at -= 1
            if self.at < 0:
                self.at = 1 << 30
                ctrl_c()
            yield batch


@functools.lru_cache(maxsize=None)
def unharmed(engine, way):
    """A run that nothing interrupts, and how often its loss is called in a step."""
    whole = fresh(engine, dropout_of(way))
    fit(whole, way)
    return whole, whole.state()["step"] // (EPOCHS * BATCHES)


def dropout_of(way):
    return 0.0 if way == "forward" else 0.1


@pytest.mark.turns(3)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["step", "data"])
@pytest.mark.parametrize("saved", [False, True], ids=["same model", "from a file"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_resuming_goes_on_after_the_batch(engine, way, saved, kind, place, tmp_path):
    """C4: Ctrl-C in a step, or while a batch is made: as many steps as without it, and the same bits."""
    whole, losses = unharmed(engine, way)
    model, loss, data = fresh(engine, dropout_of(way)), None, None
    if kind == "step" and way != "forward":  # its losses of single steps are not called through compute
        loss = Counting(at=losses * place + losses // 2)
    else:
        data = Interrupted(X, Y, batch_size=7, seed=1)
        data.at = place
    with pytest.raises(KeyboardInterrupt):
        fit(model, way, loss, data)
    if saved:
        model.save(tmp_path / "model")
        model = sc.load(tmp_path / "model", engine=engine)
    fit(model, way, resume=True)
    same(model, whole)
    assert model.trainer.unfinished is None


def test_resuming_goes_on_behind_interruptions_of_an_interruption():
    """C4: again and again, until it is done."""
    whole, model, interrupts = fresh(), fresh(), 0
    fit(whole, "plain")
    while True:
        try:
            fit(model, "plain", Counting(at=1), resume=interrupts > 0)
            break
        except KeyboardInterrupt:
            interrupts += 1
    assert interrupts >= 5
    same(model, whole)


def test_an_interruption_of_the_validation_repeats_the_validation_only():
    """C4: all batches were seen, the epoch is not in the history yet."""
    whole, model = fresh(), fresh()
    fit(whole, "plain", validation=Loader(X, Y, shuffle=False))
    with pytest.raises(KeyboardInterrupt):
        fit(model, "plain", validation=Interrupted(X, Y, shuffle=False))
    assert (model.state()["step"], model.epochs_done, model.trainer.unfinished.batches) == (BATCHES, 0, BATCHES)
    fit(model, "plain", resume=True, validation=Loader(X, Y, shuffle=False))
    same(model, whole)


def test_an_error_in_a_batch_is_gone_on_from():
    """C4: an error before anything moved: the batch is tried again."""
    whole, model = fresh("torch"), fresh("torch")
    fit(whole, "plain")

    def fails():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fit(model, "plain", Counting(at=6, act=fails))
    fit(model, "plain", resume=True)
    same(model, whole)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_half_a_step_is_nothing_to_go_on_from(engine, tmp_path):
    """C4: two Ctrl-C in one step, or an error between the two updates of one batch: refused, from files as well."""

    def twice():
        ctrl_c()
        ctrl_c()

    def fails():
        raise ZeroDivisionError

    for way, loss, kind in (
        ("plain", Counting(at=6, act=twice), KeyboardInterrupt),
        ("parts", Counting(at=7, act=fails), ZeroDivisionError),
    ):
        model = fresh(engine)
        with pytest.raises(kind):
            fit(model, way, loss)
        model.save(tmp_path / "model")
        for one in (model, sc.load(tmp_path / "model", engine=engine)):
            with pytest.raises(ValueError, match="resume=True: the last step was interrupted half done"):
                fit(one, way, resume=True)
        fit(model, way)
        assert model.trainer.unfinished is None


def test_other_data_than_before_are_refused():
    """C4: fewer batches than were seen."""
    model = fresh()
    with pytest.raises(KeyboardInterrupt):
        fit(model, "plain", Counting(at=2))
    with pytest.raises(ValueError, match="resume=True continues after batch 3 of an epoch, but data has 2"):
        fit(model, "plain", resume=True, data=Loader(X[:14], Y[:14], batch_size=7))


def test_a_state_that_is_loaded_begins_an_epoch():
    """C4: whoever goes back to an earlier state goes through the whole epoch."""
    whole, model = fresh(), fresh()
    fit(whole, "plain", epochs=1)
    fit(model, "plain", epochs=1)
    before = model.state()
    with pytest.raises(KeyboardInterrupt):
        fit(model, "plain", Counting(at=2), resume=True)
    model.load_state(before)
    fit(model, "plain", resume=True)
    fit(whole, "plain", resume=True)
    same(model, whole)


def test_ctrl_c_is_held_back_in_the_main_thread_and_left_alone_elsewhere():
    """C4: handlers are put back; handlers that are none, and threads, are not touched."""
    before = signal.getsignal(signal.SIGINT)
    done = []

    @uninterrupted()
    def asks_to_stop():
        ctrl_c()
        done.append(1)

    pytest.raises(KeyboardInterrupt, asks_to_stop)
    with pytest.raises(ZeroDivisionError), uninterrupted():
        raise ZeroDivisionError
    thread = threading.Thread(target=lambda: done.append(fit(fresh(), "plain", epochs=1)))
    thread.start()
    thread.join()
    assert len(done) == 2
    assert signal.getsignal(signal.SIGINT) is before
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with uninterrupted():
            ctrl_c()
    finally:
        signal.signal(signal.SIGINT, before)
