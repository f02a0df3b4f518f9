"""``fit(..., compute=Compute(accumulate=k))``: k batches make one update, that of a batch that is k times as large."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore import functional, spikegen
from spikecore.samples import Loader

RNG = np.random.default_rng(0)
X, Y = RNG.random((72, 12)), RNG.integers(0, 4, 72)
LENGTHS = RNG.integers(3, 8, 72)

NETWORKS = {
    "dense": (sc.Linear(12, 16), sc.Leaky(beta=sc.learn(0.9)), sc.Linear(16, 4), sc.Leaky(beta=0.8)),
    "dropout": (sc.Linear(12, 16), sc.Leaky(beta=0.9), sc.Dropout(0.4), sc.Linear(16, 4), sc.LI(beta=0.8)),
    "recurrent": (
        sc.Linear(12, 8),
        sc.RLeaky(beta=0.7, linear_features=8),
        sc.Linear(8, 4),
        sc.Synaptic(alpha=0.8, beta=0.9),
    ),
    "small": (
        sc.Linear(12, 3),
        sc.RLeaky(beta=0.7, threshold=0.2, linear_features=3),
        sc.Linear(3, 4),
        sc.LI(beta=0.9),
    ),
}


def model(engine, kind):
    return sc.Model(sc.Sequential(*NETWORKS[kind]), engine=engine, dtype="float64", seed=3, input_shape=12)


def trained(engine, kind, batch_size, accumulate, **options):
    one = model(engine, kind)
    options = {"encoder": spikegen.rate, "num_steps": 7, "metric": "accuracy_rate", **options}
    data = Loader(X, Y, batch_size=batch_size, seed=1)
    one.fit(
        data,
        loss=functional.ce_rate_loss(),
        optimizer=sc.Adam(lr=1e-2, clip_norm=0.5),
        epochs=7,
        compute=sc.Compute(accumulate=accumulate),
        progress=False,
        **options,
    )
    return one


@pytest.mark.parametrize("kind", ["dense", "dropout", "recurrent"])
@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_four_batches_are_one_of_four_times_the_size(engine, kind):
    """72 samples: the last update of an epoch has 8 samples, one batch. Draws of dropout and encoder are the same."""
    whole, parts = trained(engine, kind, 32, 1), trained(engine, kind, 8, 4)
    assert parts.trainer.executor.steps_done == whole.trainer.executor.steps_done == 21
    for name, value in whole.params().items():
        assert np.abs(parts.params()[name] - value).max() <= 1e-10, name
    for one, other in zip(whole.history, parts.history):
        assert {name: one[name] for name in ("loss", "accuracy_rate")} == pytest.approx(
            {name: other[name] for name in ("loss", "accuracy_rate")}, abs=1e-10
        )


@pytest.mark.parametrize("learning", ["eprop", "rtrl"])
@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_so_they_are_with_gradients_made_forward_in_time(engine, learning):
    batches = [(X[:5], Y[:5]), (X[5:6], Y[5:6]), (X[6:20], Y[6:20])]
    options = {"num_steps": 3, "epochs": 2, "learning": learning, "progress": False}
    options["optimizer"] = sc.SGD(lr=0.1, groups=[sc.Group("2.bias", frozen=True)], clip_norm=0.1)
    whole, parts = model(engine, "small"), model(engine, "small")
    whole.fit([(X[:20], Y[:20])], **options)
    parts.fit(batches, compute=sc.Compute(accumulate=3), **options)
    for name, value in whole.params().items():
        assert np.abs(parts.params()[name] - value).max() <= 1e-12, name
    assert (whole.params()["2.weight"] != model(engine, "small").params()["2.weight"]).any()


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_batches_of_unequal_size_count_by_their_samples(engine):
    batches = [(X[:5], Y[:5]), (X[5:6], Y[5:6]), (X[6:20], Y[6:20])]
    whole, parts = model(engine, "dense"), model(engine, "dense")
    whole.fit([(X[:20], Y[:20])], optimizer=sc.SGD(lr=0.1), num_steps=5, epochs=2, progress=False)
    parts.fit(
        batches, optimizer=sc.SGD(lr=0.1), num_steps=5, epochs=2, compute=sc.Compute(accumulate=3), progress=False
    )
    for name, value in whole.params().items():
        assert np.abs(parts.params()[name] - value).max() <= 1e-12, name


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_running_statistics_see_every_batch(engine):
    network = sc.Sequential(sc.Linear(12, 6), sc.BatchNorm1d(6), sc.Leaky(beta=0.9))
    parts, alone = (sc.Model(network, engine=engine, dtype="float64") for _ in range(2))
    batches = [(X[:8], Y[:8] % 6), (X[8:16], Y[8:16] % 6)]
    parts.fit(batches, optimizer=sc.SGD(lr=0.0), num_steps=3, compute=sc.Compute(accumulate=2), progress=False)
    alone.fit(batches, optimizer=sc.SGD(lr=0.0), num_steps=3, progress=False)
    for name, value in alone.state()["buffers"].items():
        assert np.array_equal(parts.state()["buffers"][name], value)


def test_an_interrupted_group_of_batches_begins_again():
    """Ctrl-C between two batches of one update: the resumed fit computes the update from its first batch."""
    data = [(X[i : i + 8], Y[i : i + 8]) for i in range(0, 72, 8)]
    options = {"optimizer": sc.Adam(lr=1e-2), "num_steps": 5, "compute": sc.Compute(accumulate=3), "progress": False}
    whole, cut = model("torch", "dropout"), model("torch", "dropout")
    whole.fit(data, epochs=2, **options)

    class Interrupted(list):
        def __iter__(self):
            for i, batch in enumerate(super().__iter__()):
                if i == 4:
                    raise KeyboardInterrupt
                yield batch

    with pytest.raises(KeyboardInterrupt):
        cut.fit(Interrupted(data), epochs=2, **options)
    assert cut.trainer.unfinished.batches == 3
    cut.fit(data, epochs=2, resume=True, **options)
    assert all(np.array_equal(cut.params()[name], value) for name, value in whole.params().items())


def test_a_loss_that_is_not_finite_leaves_the_weights():
    one = model("torch", "dense")
    before = one.params()

    def loss(out, targets):
        return out.spikes.sum() * (float("nan") if len(targets) == 7 else 1.0)

    with pytest.raises(sc.errors.DivergedError, match="batch 2"):
        one.fit(
            [(X[:8], Y[:8]), (X[:7], Y[:7])],
            loss=loss,
            optimizer=sc.SGD(lr=0.1),
            num_steps=3,
            compute=sc.Compute(accumulate=2),
            progress=False,
        )
    assert all(np.array_equal(one.params()[name], value) for name, value in before.items())


@pytest.mark.parametrize("accumulate", [0, 1.5])
def test_wrong_values(accumulate):
    with pytest.raises((TypeError, ValueError), match=f"accumulate={accumulate}"):
        sc.Compute(accumulate=accumulate)


def test_updates_within_a_batch_exclude_it():
    options = {"compute": sc.Compute(accumulate=2), "learning": sc.BPTT(update_every=2)}
    with pytest.raises(ValueError, match="accumulate=2 makes one update of several batches"):
        model("numpy", "dense").fit([(X, Y)], num_steps=4, progress=False, **options)


def test_an_engine_that_keeps_gradients_says_what_to_do():
    ipu = sc.get_engine("ipu", simulate=True)
    network = sc.Sequential(sc.Linear(12, 4), sc.Leaky(beta=0.9))
    with pytest.raises(NotImplementedError, match="gradient_accumulation"):
        sc.Model(network, engine=ipu).fit([(X, Y)], num_steps=4, compute=sc.Compute(accumulate=2), progress=False)
