"""Runs on events: the spikes of the dense run, and neurons that sleep without missing any."""

from __future__ import annotations

import copy
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spikecore as sc
from spikecore.api.core.layer import ShapeError
from spikecore.api.core.tree import flatten
from spikecore.datasets import Events
from spikecore.datasets.transforms import ToFrames
from spikecore.kernels.streaming import quiet
from tests.kernels.stream_rig import drawn_network, exact, spikes


def assert_same_run(model, x):
    found, expected = model.run_events(x), model(x)
    np.testing.assert_array_equal(found.spikes, expected.spikes)
    a, b = flatten(found.state), flatten(expected.state)
    assert set(a) == set(b)
    for name in b:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    return found


@pytest.mark.parametrize("seed", range(16))
@pytest.mark.parametrize("rate", [0.002, 0.05])
def test_drawn_networks_bit_by_bit(seed, rate):
    network, shape = drawn_network(seed)
    model = exact(sc.Model(network, engine="numpy", seed=seed, input_shape=shape), 8.0)
    x = spikes(25, 2, *shape, rate=rate, seed=seed)  # as long as float32 has no need to round
    x[8:16] = 0
    assert_same_run(model, x)


def sleepers(seed, rate, steps=80):
    """A network of maps in which little happens, and its input; weights are any float32 numbers."""
    network = sc.Sequential(
        sc.Conv2d(2, 6, 5, padding=2), sc.Leaky(beta=0.9, threshold=0.3), sc.Conv2d(6, 8, 3, padding=1),
        sc.Leaky(beta=0.8, threshold=0.3, reset_delay=False), sc.MaxPool2d(2), sc.Flatten(), sc.Linear(8 * 256, 10),
        sc.Leaky(beta=0.95, threshold=0.2),
    )  # fmt: skip
    model = sc.Model(network, engine="numpy", seed=seed, input_shape=(2, 32, 32))
    x = spikes(steps, 1, 2, 32, 32, rate=rate, seed=seed)
    x[::3] = 0
    return model, x


@pytest.mark.parametrize("seed", range(3))
def test_maps_with_sleeping_neurons_give_the_spikes_of_the_dense_run(seed):
    model, x = sleepers(seed, 0.003)
    found, expected = model.run_events(x), model(x)
    assert 0 < expected.spikes.mean() < 1
    np.testing.assert_array_equal(found.spikes, expected.spikes)


def test_neurons_that_sleep_have_the_bits_of_those_that_do_not(monkeypatch):
    model, x = sleepers(1, 0.002)
    asleep = model.run_events(x)
    stream = model.stream()
    stream.run_events(x[:20])
    parts = stream._plan.neurons
    assert [part.sleeps for part in parts] == [True, True, True]
    assert sum((part.awake == 0).sum() for part in parts) > 0.3 * sum(len(part.awake) for part in parts)
    monkeypatch.setattr("spikecore.kernels.streaming.plan.quiet_box", lambda *_: None)
    awake = model.stream().run_events(x)
    np.testing.assert_array_equal(asleep.spikes, awake.spikes)
    for name, array in flatten(awake.state).items():
        np.testing.assert_array_equal(flatten(asleep.state)[name], array, err_msg=name)


def test_a_box_that_is_too_large_misses_spikes(monkeypatch):
    """The tests above would notice: neurons that rise by themselves may not sleep."""
    network = sc.Sequential(sc.Linear(2, 70), sc.Leaky(beta=0.9))
    model = sc.Model(network, engine="numpy")
    model.load_state({**model.state(), "params": {"0.weight": np.ones((70, 2)), "0.bias": np.full(70, 0.2)}})
    x = np.zeros((30, 1, 2), "float32")
    assert model(x).spikes.sum() > 70
    assert_same_run(model, x)
    everything = {"0": (np.full(70, -9, "float32"), np.full(70, 9, "float32"))}
    monkeypatch.setattr("spikecore.kernels.streaming.plan.quiet_box", lambda *_: everything)
    assert not np.array_equal(model.stream().run_events(x).spikes, model(x).spikes)


BOXED = [
    sc.Leaky(beta=0.9),
    sc.Leaky(beta=1.0, reset_mechanism="zero"),
    sc.Leaky(beta=0.7, reset_delay=False, threshold=0.4),
    sc.Leaky(beta=0.7, reset_mechanism="subtract_decayed"),
    sc.IF(),
    sc.IF(initial_mem=0.75),
    sc.Lapicque(beta=0.8, threshold=0.5),
    sc.Synaptic(alpha=0.9, beta=0.8),
    sc.Alpha(alpha=0.9, beta=0.8, threshold=0.5),
    sc.ALIF(),
    sc.Refractory(sc.Leaky(), period=3),
]


@pytest.mark.parametrize("neuron", BOXED, ids=repr)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10_000), bias=st.sampled_from([0.0, -0.1, 0.05]))
def test_from_a_quiet_box_no_neuron_fires(neuron, seed, bias):
    """A law: whatever states of the box a neuron starts from, it stays there and is silent while nothing arrives."""
    draw = np.random.default_rng(seed)
    model = sc.Model(sc.Sequential(sc.Linear(3, 64), neuron), engine="numpy")
    weights = {"0.weight": np.ones((64, 3)), "0.bias": np.full(64, bias)}
    model.load_state({**model.state(), "params": weights})
    stream = model.stream(record=True)
    (part,) = stream._plan.neurons
    assert part.sleeps or bias > 0 or (bias < 0 and isinstance(neuron, sc.Alpha))  # its inhibition then rises
    if not part.sleeps:
        return
    low, high = (np.stack([ends[i] for ends in part.box.values()]) for i in (0, 1))
    if (low > high).any():
        return  # some neurons have none
    start = [
        np.where(draw.random(64) < 0.2, h, np.maximum(low_, h - draw.exponential(1.0, 64)))
        for low_, h in zip(low, high)
    ]
    inner = {s: a.astype("float32")[None] for s, a in zip(part.names, start)}
    stream.reset(sc.base.State({"1": sc.base.State(inner)}))
    x = np.zeros((1, 3), "float32")
    for _ in range(40):
        assert not stream.step(x).any()


def recording(seed=0, count=400, sensor=(34, 34), origin=1000):
    draw = np.random.default_rng(seed)
    t = origin + np.sort(draw.integers(0, 60_000, count))
    x, y = (draw.integers(0, n, count) for n in sensor)
    return Events(t=t, x=x, y=y, p=draw.integers(0, 2, count), sensor=sensor)


NMNIST = sc.Sequential(sc.Flatten(), sc.Linear(2312, 100), sc.Leaky(beta=0.9), sc.Linear(100, 10), sc.LI())


@pytest.mark.parametrize("options", [{}, {"num_steps": 25}, {"start": 5000}, {"start": 0, "num_steps": 80}], ids=repr)
def test_events_are_counted_as_frames_are(options):
    model = sc.Model(NMNIST, engine="numpy", input_shape=(2, 34, 34))
    events = recording()
    steps = {"steps": options["num_steps"]} if "num_steps" in options else {}
    frames = ToFrames(window=1000, start=options.get("start"), **steps)(events)
    found, expected = model.run_events(events, window=1000, **options), model(frames[:, None])
    assert found.spikes.shape == expected.spikes.shape
    np.testing.assert_allclose(found.spikes, expected.spikes, rtol=1e-4, atol=1e-5)


def test_several_recordings_are_a_batch():
    model = sc.Model(NMNIST, engine="numpy", input_shape=(2, 34, 34))
    batch = [recording(0, 400), recording(1, 30), recording(2, 0)]
    found = model.run_events(batch, window=2000).spikes
    assert found.shape[1:] == (3, 10)
    for i, one in enumerate(batch):
        alone = model.run_events(one, window=2000).spikes[:, 0]
        np.testing.assert_array_equal(found[: len(alone), i], alone)


def test_a_recording_in_pieces():
    model, events = sc.Model(NMNIST, engine="numpy", input_shape=(2, 34, 34)), recording()
    whole = model.run_events(events, window=1000, start=0, num_steps=60)
    stream, parts = model.stream(), []
    for begin in range(0, 60_000, 20_000):
        parts.append(stream.run_events(events, window=1000, start=begin, num_steps=20).spikes)
    np.testing.assert_array_equal(np.concatenate(parts), whole.spikes)
    for name, array in flatten(whole.state).items():
        np.testing.assert_array_equal(flatten(stream.state)[name], array)


def test_events_see_the_weights_of_now():
    model = sc.Model(sc.Sequential(sc.Flatten(), sc.Linear(2312, 3), sc.LI()), engine="numpy")
    events, found = recording(), []
    for _ in range(2):
        found.append(model.run_events(events, window=20_000).spikes)
        np.testing.assert_array_equal(model.run_events(events, window=20_000).spikes, found[-1])
        model.fit([(np.ones((1, 2, 34, 34)), [1])], num_steps=2, progress=False)
    model.load_state({**model.state(), "params": {name: 0 * a for name, a in model.params().items()}})
    assert not np.array_equal(*found)
    assert not model.run_events(events, window=20_000).spikes.any()


def test_a_model_that_ran_events_can_be_copied():
    model = sc.Model(NMNIST, engine="numpy", input_shape=(2, 34, 34))
    expected = model.run_events(recording(), window=1000).spikes
    np.testing.assert_array_equal(copy.deepcopy(model).run_events(recording(), window=1000).spikes, expected)


def test_threads_do_not_share_a_run():
    model = exact(sc.Model(NMNIST, engine="numpy", input_shape=(2, 34, 34)))
    recordings = [recording(seed) for seed in range(24)]
    expected = [model.run_events(one, window=1000).spikes for one in recordings]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda one: model.run_events(one, window=1000).spikes, recordings))
    for a, b in zip(found, expected):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("seed", range(6))
def test_steps_and_events_in_turn(seed):
    network, shape = drawn_network(seed)
    model = exact(sc.Model(network, engine="numpy", seed=seed, input_shape=shape), 6.0)
    x = spikes(24, 2, *shape, rate=0.03, seed=seed)
    x[4:12] = 0
    stream, parts = model.stream(2), []
    for begin in range(0, 24, 6):
        parts += [stream.step(one) for one in x[begin : begin + 3]]
        parts += list(stream.run_events(x[begin + 3 : begin + 6]).spikes)
        assert not any(np.isnan(array).any() for array in flatten(stream.state).values())  # asked for, and gone on
    out = model(x)
    np.testing.assert_array_equal(np.stack(parts), out.spikes)
    for name, array in flatten(out.state).items():
        np.testing.assert_array_equal(flatten(stream.state)[name], array, err_msg=name)


def test_a_model_is_built_by_the_first_events():
    model = sc.Model(sc.Sequential(sc.Flatten(), sc.Linear(2312, 3), sc.Leaky()), engine="numpy")
    assert model.run_events(recording(), window=5000).spikes.shape[1:] == (1, 3)
    assert model.input_shape == (2, 34, 34)


def test_what_is_refused():
    model = sc.Model(NMNIST, engine="numpy", input_shape=(2, 34, 34))
    events, x = recording(), spikes(4, 1, 2, 34, 34)
    with pytest.raises(ValueError, match="Events need window=..., the length of a time step in microseconds"):
        model.run_events(events)
    with pytest.raises(ValueError, match="window=5 goes with Events: an array has its own time steps"):
        model.run_events(x, window=5)
    with pytest.raises(ShapeError, match=r"is frames of \(2, 20, 20\), but the first layer takes \(2, 34, 34\)"):
        model.run_events(recording(sensor=(20, 20)), window=1000)
    flat = sc.Model(sc.Sequential(sc.Linear(2312, 3), sc.Leaky()), engine="numpy")
    with pytest.raises(ShapeError, match=r"put a Flatten\(\) before the first layer"):
        flat.run_events(events, window=1000)
    with pytest.raises(ShapeError, match="2 streams of events for 1 samples"):
        model.stream().run_events([events, events], window=1000)
    with pytest.raises(ShapeError, match="has 2 samples, expected 1"):
        model.stream().run_events(np.concatenate([x, x], 1))
    x[2, 0, 1, 3, 4] = np.inf
    with pytest.raises(ValueError, match=r"input\[2, 0, 1, 3, 4\] is inf"):
        model.run_events(x)
    for engine, network, reason in (
        ("torch", NMNIST, "the engine has no compiled streams"),
        ("numpy", sc.Sequential(sc.Flatten(), sc.LayerNorm(2312)), "layer 1 .LayerNorm. has no kernel"),
    ):
        with pytest.raises(NotImplementedError, match=reason):
            sc.Model(network, engine=engine, input_shape=(2, 34, 34)).run_events(events, window=1000)


def test_it_is_faster_than_a_run_with_dense_products(monkeypatch):
    from spikecore.kernels.sparse import product as sparse

    monkeypatch.setattr(sparse, "LEAST", 1 << 60)  # the model's own products take no lists
    network = sc.Sequential(sc.Linear(2312, 512), sc.Leaky(beta=0.9), sc.Linear(512, 10), sc.Leaky(beta=0.9))
    model = exact(sc.Model(network, engine="numpy"), 20.0)
    x, ratios = spikes(200, 1, 2312, rate=0.005), []
    stream = model.stream()
    for _ in range(9):
        begun = time.perf_counter()
        found = stream.run_events(x)
        between = time.perf_counter()
        expected = model(x, record=False)
        ratios.append((time.perf_counter() - between) / (between - begun))
        stream.reset()
        np.testing.assert_array_equal(found.spikes, expected.spikes)
    assert expected.spikes.sum() > 100
    assert np.median(ratios) > 4, ratios  # 20 to 36 where it was written


ONE = ("negative", "abs", "floor", "ceil", "sign", "round", "logical_not", "astype", "stop_gradient", "spike")
ALIKE = {"astype": lambda x: x, "stop_gradient": lambda x: x, "spike": lambda x: x > 0.0}


@pytest.mark.parametrize("word", quiet.RULES)
def test_the_interval_of_a_word_holds_its_values(word):
    """From everywhere between the ends of its arguments; it is the value itself where these are."""
    draw, count = np.random.default_rng(0), 1 if word in ONE else 3 if word in ("clip", "where") else 2
    ends, values = [], []
    for place in range(count):
        if "logical" in word or (word, place) == ("where", 0):
            low, high = np.sort(draw.integers(0, 2, (2, 999)), axis=0).astype("float32")
            value = np.where(draw.random(999) < 0.5, low, high)
        else:
            low, high = np.sort(draw.normal(0.0, 3.0, (2, 999)), axis=0).astype("float32")
            value = draw.uniform(low, high).astype("float32")
        high[::3] = low[::3]  # one value
        ends.append((low, high))
        values.append(np.clip(value, low, high))
    function = ALIKE.get(word) or getattr(sc.get_engine("numpy").xp, word)
    low, high = quiet.RULES[word](*ends)
    value = function(*(v == 1.0 if "logical" in word or word == "where" and v is values[0] else v for v in values))
    assert np.all((low <= value) & (value <= high))
    assert np.array_equal(low[::3], value[::3])
    assert np.array_equal(high[::3], value[::3])


def test_rounding_of_intervals_is_that_of_the_step():
    """A threshold that only rounding reaches: beta theta + bias is theta in float32, and not above it."""
    network = sc.Sequential(sc.Linear(1, 1), sc.Leaky(beta=0.9))
    bias = np.float32(1.0) - np.float32(0.9)
    for given_bias, sleeps in ((bias, True), (np.nextafter(bias + np.float32(1e-7), np.float32(1)), False)):
        model = sc.Model(network, engine="numpy")
        model.load_state({**model.state(), "params": {"0.weight": np.ones((1, 1)), "0.bias": np.array([given_bias])}})
        assert model.stream()._plan.neurons[0].sleeps is sleeps
        x = np.zeros((400, 1, 1), "float32")
        np.testing.assert_array_equal(model.run_events(x).spikes, model(x).spikes)
    assert quiet.NARROWER > 8


def test_a_refused_array_is_told_a_remedy_that_exists():
    model = sc.Model(sc.Sequential(sc.Linear(4, 3), sc.Leaky(beta=0.9)), engine="numpy")
    with pytest.raises(sc.errors.ShapeError, match=r"lacks the axis of time or of samples; one sample: x\[:, None\]"):
        model.run_events(np.zeros((5, 4), "float32"))
    x = np.zeros((5, 1, 4), "float32")
    x[2, 0, 1] = np.nan
    with pytest.raises(ValueError, match=r"input\[2, 0, 1\] is nan: the input must be finite$"):
        model.run_events(x)
