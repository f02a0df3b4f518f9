"""Plasticity in ``Model.fit`` and in streams: the same changes as the rules make by hand."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

import spikecore as sc
from spikecore.plasticity import (
    STDP,
    AdaptiveThreshold,
    Bounds,
    ClassReward,
    InhibitorySTDP,
    Normalize,
    Plasticity,
    PowerLawSTDP,
    RewardSTDP,
    TripletSTDP,
    VoltageSTDP,
    neuron_labels,
    neuron_shares,
    vote,
    votes_of,
    weighted_vote,
)
from spikecore.samples import Loader

STEPS, BATCH = 9, 3


def spikes(*shape, seed=0, rate=0.3):
    return (np.random.default_rng((seed, *shape)).random(shape) < rate) * 1.0


def deep():
    """Maps, a convolution, pooling, two dense layers, recurrence: every place where rules may be."""
    return sc.Sequential(
        sc.Conv2d(1, 2, 3, padding=1, bias=False),
        sc.Leaky(beta=0.8, threshold=sc.learn(0.2, per="channel")),
        sc.AvgPool2d(2),
        sc.Sequential(sc.Flatten(), sc.Linear(8, 6)),
        sc.RLeaky(beta=0.8, threshold=0.1, linear_features=6),
        sc.Linear(6, 4, bias=False),
        sc.Leaky(beta=0.9, threshold=0.1),
    )


RULES = {
    "0": (STDP(), TripletSTDP()),
    "1": AdaptiveThreshold(0.01, rate=0.1),
    "3.1": (VoltageSTDP(theta_plus=0.1), Bounds(-1.0, 1.0)),
    "4.connection": InhibitorySTDP(),
    "5": (PowerLawSTDP(), Normalize(1.5)),
}


def model(network=None, engine="numpy"):
    if engine == "torch":
        pytest.importorskip("torch", reason="torch is not installed")
    return sc.Model(network or deep(), engine=engine, seed=0, dtype="float64", input_shape=(1, 4, 4))


def data(steps=STEPS, batch=BATCH):
    return spikes(steps, batch, 1, 4, 4)


def by_hand(made, x, plasticity, factor):
    """What the rules of ``deep`` change after a run with constant parameters."""
    params, out = made.params(), made(x, record=True)
    s = {name: state for name, state in out.states.items()}
    host = made.engine.to_numpy
    own = {name: {key: host(value) for key, value in state.items()} for name, state in s.items()}
    pooled = own["1"]["spikes"].reshape(*x.shape[:2], 2, 2, 2, 2, 2).mean((4, 6)).reshape(*x.shape[:2], 8)
    back = np.concatenate([0 * own["4"]["spikes"][:1], own["4"]["spikes"][:-1]])
    seen = {"0": (x, "1"), "3.1": (pooled, "4"), "4.connection": (back, "4"), "5": (own["4"]["spikes"], "6")}
    conv = made.network.layers[0]
    for name, (pre, neuron) in seen.items():
        weight = params[f"{name}.weight"]
        total = 0.0
        for rule in (e for e in plasticity.by_layer()[name] if not isinstance(e, (Bounds, Normalize))):
            rule = replace(rule, layer=conv) if name == "0" else rule
            mem = {"mem": own[neuron]["mem"]} if rule.reads_membrane else {}
            total = total + rule.run(weight, pre, own[neuron]["spikes"], **mem)[0]
        changed = weight + factor * total
        for limit in (e for e in plasticity.by_layer()[name] if isinstance(e, (Bounds, Normalize))):
            changed = limit.apply(changed)
        params[f"{name}.weight"] = changed
    rule = plasticity.by_layer()["1"][0]
    params["1.threshold"] = params["1.threshold"] + factor * rule.run(params["1.threshold"], own["1"]["spikes"])
    return params


def differ(a, b):
    assert set(a) == set(b)
    return max(abs(a[name] - b[name]).max() for name in a)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_fit_makes_the_changes_of_the_rules(engine, reduction):
    made, x = model(engine=engine), data()
    plasticity, before = Plasticity(RULES, reduction=reduction), made.params()
    expected = by_hand(made, x, plasticity, 0.5 if reduction == "sum" else 0.5 / BATCH)
    made.fit(
        [(x, np.zeros(BATCH))], learning=plasticity, schedule=lambda epoch, epochs: 0.5, progress=False
    )  # the schedule scales the changes
    assert differ(made.params(), expected) < 1e-12
    for name in ("0.weight", "1.threshold", "3.1.weight", "4.connection.weight", "5.weight"):
        assert abs(made.params()[name] - before[name]).max() > 1e-5, f"{name} has not changed"
    for name in ("3.1.bias", "4.connection.bias"):
        assert (made.params()[name] == before[name]).all(), f"{name} has changed"


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_a_stream_is_a_fit_that_updates_at_each_step(engine):
    made, x = model(engine=engine), data()
    stream = made.stream(BATCH, learning=Plasticity(RULES))
    outs = [made.engine.to_numpy(stream.step(step)) for step in x]
    first = made.params()
    made.fit([(x, np.zeros(BATCH))], learning=Plasticity(RULES, update_every=1), progress=False)
    assert differ(made.params(), stream.params()) < 1e-12
    assert differ(first, stream.params()) > 1e-4
    stream.reset()
    again = made.engine.to_numpy(stream.step(x[0]))
    other = sc.Model(deep(), engine=engine, seed=1, dtype="float64", input_shape=(1, 4, 4))
    other.load_state({**other.state(), "params": made.params()})  # how weights get back into a model
    assert (again == other.engine.to_numpy(other(x[:1]).spikes)[0]).all()
    assert len(outs) == STEPS
    assert "change at each step" in stream.explain()
    stream.reset()
    for step in x:  # traces are at rest again, the weights are not
        stream.step(step)
    other.fit([(x[:1], np.zeros(BATCH))], learning=Plasticity(RULES), progress=False)
    other.fit([(x, np.zeros(BATCH))], learning=Plasticity(RULES, update_every=1), progress=False)
    assert differ(other.params(), stream.params()) < 1e-12


def test_pieces_go_on_where_the_last_one_ended():
    """With linear rules and no limits, many small changes add up to the one of the whole if weights hardly change."""
    tiny = {"0": STDP(f_pre=lambda w: 1e-9, f_post=lambda w: 1e-9), "4.connection": InhibitorySTDP(lr=1e-9)}
    results = []
    for every in (None, 5, 1):
        made = model()
        before = made.params()
        made.fit([(data(), np.zeros(BATCH))], learning=Plasticity(tiny, update_every=every), progress=False)
        results.append({name: (value - before[name]) * 1e9 for name, value in made.params().items()})
    for other in results[1:]:
        assert differ(results[0], other) < 1e-5
    assert abs(results[0]["0.weight"]).max() > 0.1


def test_no_targets_no_loss():
    made = sc.Model(sc.Sequential(sc.Linear(5, 4), sc.Leaky(threshold=0.1)), seed=0)
    history = made.fit(
        np.random.default_rng(0).random((20, 5)),
        learning=Plasticity({"0": STDP()}),
        num_steps=9,
        batch_size=8,
        epochs=2,
    )
    assert [set(row) for row in history] == [{"epoch", "rate", "lr", "seconds", "samples_per_s"}] * 2
    assert 0 < history[0]["rate"] < 1
    assert made.evaluate(np.ones((4, 5)), [0, 1, 2, 3], num_steps=5).keys() == {"loss", "accuracy"}
    x = np.random.default_rng(0).random((20, 5))
    loader, options = Loader(x, batch_size=8), {"num_steps": 9, "progress": False}
    seen = []
    own = {"own": lambda out, targets: seen.append(targets) or 1.0}
    rows = made.fit(loader, learning=Plasticity({"0": STDP()}), metric=own, **options)
    assert rows[-1]["own"] == 1.0
    assert seen == [None] * 3, "no target may look like one"
    rewarded = Plasticity({"0": RewardSTDP()}, reward=lambda out, targets: seen.append(targets) or 1.0)
    made.fit(x, learning=rewarded, **options)
    assert seen == [None] * 4
    with pytest.raises(TypeError, match="metric 'accuracy_rate' compares with targets, and there are none"):
        made.fit(x, learning=Plasticity({"0": STDP()}), metric="accuracy_rate", **options)
    for given in ({}, {"learning": Plasticity({"0": STDP()}), "loss": sc.functional.ce_rate_loss()}):
        with pytest.raises(TypeError, match=r"batch 0 has no targets, and the loss needs them.*Loader\(inputs, "):
            made.fit(loader, **given, **options)
    labels = np.arange(20) % 4
    row = made.fit(
        np.random.default_rng(0).random((20, 5)), labels, loss=sc.functional.ce_rate_loss(),
        learning=Plasticity({"0": STDP()}), num_steps=9,
    )[-1]  # fmt: skip
    assert {"loss", "accuracy"} <= set(row)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_optimisers_are_left_alone(engine):
    """Between two fits with gradients, local rules change weights; moments and defaults stay."""
    made, x, y = model(engine=engine), data(), np.arange(BATCH)
    made.fit([(x, y)], optimizer=sc.Adam(lr=1e-2), progress=False)
    before = made.state()
    made.fit([(x, y)], learning=Plasticity(RULES), progress=False)
    after = made.state()
    assert made.trainer.optimizer == sc.Adam(lr=1e-2)
    assert after["step"] == before["step"]
    assert differ(before["optimizer"], after["optimizer"]) == 0.0
    made = pickle.loads(pickle.dumps(made))
    made.fit([(x, y)], progress=False)
    assert made.state()["step"] == before["step"] + 1
    assert made.epochs_done == 3


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_an_error_after_a_change_says_that_weights_have_changed(engine):
    """No optimiser counts the changes of local rules; a metric or a loss that fails still comes after them."""
    made, x, y = model(engine=engine), data(), np.arange(BATCH)

    def fails(out, targets):
        raise RuntimeError("my metric")

    learning = Plasticity(RULES)
    with pytest.raises(RuntimeError, match="my metric"):
        made.fit([(x, y)], learning=learning, metric=fails, progress=False)
    with pytest.raises(ValueError, match="resume=True: the last step was interrupted half done"):
        made.fit([(x, y)], learning=learning, resume=True, progress=False)
    made = model(engine=engine)
    before, nan = made.params(), lambda out, targets: float("nan") * sc.base.engine_of(out.spikes).xp.sum(out.spikes)
    with pytest.raises(sc.errors.DivergedError, match="Continue from an earlier state with smaller rates of the rules"):
        made.fit([(x, y)], loss=nan, learning=learning, progress=False)
    assert differ(before, made.params()) > 0.0


def test_an_error_before_a_change_can_be_resumed():
    made, x = model(), data()

    def fails(out, targets):
        raise RuntimeError("my reward")

    options = {"progress": False, "epochs": 1}
    before = made.params()
    with pytest.raises(RuntimeError, match="my reward"):
        made.fit([(x, np.zeros(BATCH))], learning=Plasticity({"0": RewardSTDP()}, reward=fails), **options)
    assert differ(before, made.params()) == 0.0
    made.fit([(x, np.zeros(BATCH))], learning=Plasticity({"0": STDP()}), resume=True, **options)
    assert made.epochs_done == 1


def test_rewards():
    network = sc.Sequential(sc.Linear(5, 3, bias=False), sc.Leaky(threshold=0.1))
    made = sc.Model(network, seed=0, dtype="float64")
    x, y = spikes(STEPS, BATCH, 5), np.array([0, 1, 1])
    seen = []

    def reward(out, targets):
        seen.append(out.spikes.shape)
        return out.spikes.sum((0, 2)) - 2.0 * targets

    rule, weight = RewardSTDP(tau_eligibility=6.0), made.params()["0.weight"]
    out = made(x).spikes
    expected = weight + rule.run(weight, x, out, None, out.sum((0, 2)) - 2.0 * y)[0] / BATCH
    made.fit([(x, y)], learning=Plasticity({"0": rule}, reward=reward), progress=False)
    assert abs(made.params()["0.weight"] - expected).max() < 1e-12
    assert seen == [(STEPS, BATCH, 3)]
    stream, state = made.stream(BATCH, learning=Plasticity({"0": rule})), None
    weight, given = made.params()["0.weight"], np.array([1.0, -1.0, 0.5])
    for t in range(4):
        post = stream.step(x[t], reward=given)
        change, state = rule.step(weight, state, x[t], post, given)
        weight = weight + change / BATCH
        assert abs(stream.params()["0.weight"] - weight).max() < 1e-12
    for wrong, message in ((None, "needs a reward"), (np.ones(2), "expected"), (np.nan, "must be finite")):
        with pytest.raises(ValueError, match=message):
            stream.step(x[0], reward=wrong)
    assert abs(stream.params()["0.weight"] - weight).max() < 1e-12


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_connections_that_are_gone_stay_away(engine):
    """With gradients, an optimiser that keeps zeros sees to it; local rules brought connections back, even so."""
    made, x, labels = model(engine=engine), data(), np.zeros(BATCH)
    learning, names = Plasticity(RULES, keep_zeros=True), ("0.weight", "3.1.weight", "4.connection.weight", "5.weight")
    sc.compression.prune(made, 0.5, by="random")
    before = made.params()
    history = made.fit(
        [(x, labels)], learning=learning, callbacks=(sc.compression.Pruning(0.7, end=3),), epochs=4, progress=False
    )
    assert [round(row["sparsity"], 1) for row in history] == [0.5, 0.6, 0.7, 0.7]
    for name in names:
        after = made.params()[name]
        assert (after[before[name] == 0] == 0).all(), name
        assert (after != before[name])[after != 0].any(), name
    low = small(engine)
    low.fit(np.ones((4, 5)), learning=Plasticity({"0": (STDP(), Bounds(-2.0, -1.0), Bounds(0.0, 0.0001))},
            keep_zeros=True), num_steps=3, progress=False)  # fmt: skip
    assert sc.compression.sparsity(low).sparsity == 0.0, "a limit takes no connection away"
    made.fit([(x, labels)], learning=Plasticity(RULES), progress=False)
    assert sc.compression.sparsity(made).sparsity < 0.5, "the mutant without keep_zeros is found"


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_neurons_vote_for_the_classes_that_they_fired_for(engine):
    made, x = small(engine), np.random.default_rng(0).random((20, 5))
    counts, labels = made.engine.to_numpy(made(x, num_steps=9).spikes).sum(0), np.arange(20) % 3
    test, aim = x[::-1][:7], labels[::-1][:7]
    asked = counts[::-1][:7]
    for weighted in (True, False):
        votes = votes_of(made, x, labels, num_steps=9, weighted=weighted, batch_size=8)
        said = weighted_vote(asked, neuron_shares(counts, labels, 3))
        if not weighted:
            said = vote(asked, neuron_labels(counts, labels, 3), 3)
        assert (made.engine.to_numpy(votes.classes(made(test, num_steps=9))) == said).all()
        row = made.evaluate(test, aim, metric={"right": votes}, num_steps=9)
        assert row == {"right": pytest.approx((said == aim).mean())}
        assert repr(votes) == f"Votes(4 neurons, 3 classes, weighted={weighted})"
    more = votes_of(made, Loader(x, labels), num_steps=9, num_classes=5)
    assert more.shares.shape == (4, 5)
    many = {"votes": votes_of(made, x, np.arange(20) % 9, num_steps=9)}  # more classes than neurons
    assert made.evaluate(x, np.arange(20) % 9, metric=many, num_steps=9).keys() == {"votes"}
    short = votes_of(made, Loader([spikes(n, 5) for n in (4, 9)], [0, 1]), time_axis=1)
    assert short.shares.shape == (4, 2), "padding does not count"


def test_validation_without_a_loss():
    made, x = small(), np.random.default_rng(0).random((20, 5))
    votes, y = votes_of(made, x, np.arange(20) % 3, num_steps=9), np.arange(20) % 3
    options = {"learning": Plasticity(ONE), "num_steps": 9, "progress": False}
    assert {"rate", "val_rate"} <= set(made.fit(x, validation=(x, y), **options)[-1])
    row = made.fit(x, y, validation=(x, y), metric={"votes": votes}, **options)[-1]
    assert set(row) == {"epoch", "votes", "val_votes", "lr", "seconds", "samples_per_s"}


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_the_reward_of_a_class(engine):
    spikes = np.zeros((3, 4, 2))
    spikes[:2, 0, 1] = spikes[:, 1, 0] = spikes[0, 2, :] = 1.0  # most: 1; 0; a tie; nothing
    out = sc.Model(sc.Sequential(sc.Identity()), engine, input_shape=(2,))(spikes)
    assert ClassReward()(out, [1, 1, 0, 0]).tolist() == [1.0, -1.0, 1.0, -1.0]
    assert ClassReward(2.0, 0.5)(out, [0, 0, 1, 1]).tolist() == [0.5, 2.0, 0.5, 0.5]


def small(engine="numpy"):
    return sc.Model(sc.Sequential(sc.Linear(5, 4), sc.Leaky(threshold=0.1)), engine, seed=0, input_shape=(5,))


ONE = {"0": STDP()}
