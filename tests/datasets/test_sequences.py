"""Store and recall, the adding problem and images as sequences: what they contain, and that they come from the seed."""

from __future__ import annotations

import numpy as np
import pytest

from spikecore.datasets import DataError, DataFileError, Dataset, adding, delay_recall, sequential_mnist


def whole(parts):
    return np.concatenate([part.inputs for part in parts]), np.concatenate([part.targets for part in parts])


@pytest.mark.parametrize("distractors", [True, False])
def test_the_bit_to_recall_is_the_one_at_the_store_cue(distractors):
    parts = delay_recall(60, 20, steps=53, period=4, delay=(3, 30), distractors=distractors, seed=1)
    assert [len(part) for part in parts] == [60, 20]
    x, y = whole(parts)
    assert x.shape == (80, 53, 4)
    assert x.dtype == np.float32
    assert [np.bincount(part.targets).tolist() for part in parts] == [[30, 30], [10, 10]]
    delays = set()
    for sample, bit in zip(x, y):
        stored, recalled = np.nonzero(sample[:, 2])[0], np.nonzero(sample[:, 3])[0]
        np.testing.assert_array_equal(np.diff(stored), 1)
        assert len(stored) == 4
        assert recalled.tolist() == [49, 50, 51, 52]
        np.testing.assert_array_equal(sample[stored, :2], np.tile(np.eye(2)[bit], (4, 1)))
        before = np.ones(49, bool)
        before[stored] = False
        shown = sample[:49, :2].sum(axis=1)[before]
        np.testing.assert_array_equal(shown, 1.0 if distractors else 0.0)
        np.testing.assert_array_equal(sample[49:, :2], 0.0)
        delays.add(49 - stored[-1] - 1)
    assert min(delays) == 3
    assert max(delays) == 30


def test_only_the_store_period_tells_the_bit():
    x, y = whole(delay_recall(4000, 1, steps=40, period=5, delay=10, seed=2))
    informed = [abs(np.corrcoef(x[:, step, 1], y)[0, 1]) for step in range(35)]
    assert [step for step, size in enumerate(informed) if size > 0.1] == [20, 21, 22, 23, 24]


def test_neurons_of_a_group_fire_at_random():
    x, _ = whole(delay_recall(200, 1, neurons=5, rate=0.3, seed=3))
    full, _ = whole(delay_recall(200, 1, neurons=5, seed=3))
    assert x.shape[2] == 20
    assert (x <= full).all()
    assert 0.29 < x.sum() / full.sum() < 0.31
    group = x[..., 15:]
    assert not (group == group[..., :1]).all()


def test_adding_adds_the_marked_values():
    x, y = whole(adding(3000, 1000, steps=11))
    assert x.shape == (4000, 11, 2)
    assert y.shape == (4000, 1)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(x[:, :5, 1].sum(axis=1), 1)
    np.testing.assert_array_equal(x[:, 5:, 1].sum(axis=1), 1)
    np.testing.assert_allclose((x[..., 0] * x[..., 1]).sum(axis=1, keepdims=True), y, rtol=1e-6)
    assert np.mean((y - 1) ** 2) == pytest.approx(1 / 6, abs=0.01)
    assert (x[:, :, 1].sum(axis=0) > 0).all()


@pytest.mark.parametrize("task", [delay_recall, adding])
def test_the_seed_is_the_data(task):
    (one, test), (same, _), (other, _) = task(50, 5, seed=3), task(50, 5, seed=3), task(50, 5, seed=4)
    np.testing.assert_array_equal(one.inputs, same.inputs)
    np.testing.assert_array_equal(one.targets, same.targets)
    assert not np.array_equal(one.inputs, other.inputs)
    assert len(test) == 5


@pytest.mark.parametrize(
    ("task", "wrong", "message"),
    [
        (delay_recall, {"seed": -1}, "seed=-1"),
        (delay_recall, {"delay": (5, 4)}, r"delay=\(5, 4\)"),
        (delay_recall, {"delay": -1}, "delay=-1"),
        (delay_recall, {"rate": 0.0}, "rate=0.0"),
        (delay_recall, {"rate": 1.5}, "rate=1.5"),
        (delay_recall, {"steps": 79}, "need steps >= 80"),
        (delay_recall, {"train": 0}, "train"),
        (adding, {"steps": 1}, "steps=1"),
        (adding, {"seed": -1}, "seed=-1"),
    ],
)
def test_wrong_arguments_are_named(task, wrong, message):
    with pytest.raises(DataError, match=message):
        task(**wrong)


def images(count, shape, seed=0):
    generator = np.random.default_rng(seed)
    inputs = generator.random((count, *shape), np.float32)
    return Dataset(inputs, generator.integers(0, 3, count), name="noise", classes=("a", "b", "c"))


@pytest.mark.parametrize("shape", [(36,), (6, 6), (1, 6, 6)])
def test_pixels_and_rows_come_one_after_another(shape):
    pair = images(4, shape), images(3, shape, 1)
    by_pixels, by_rows = sequential_mnist(pair), sequential_mnist([*pair], by="rows")
    for before, pixels, rows in zip(pair, by_pixels, by_rows):
        assert pixels.inputs.shape == (len(before), 36, 1)
        assert rows.inputs.shape == (len(before), 6, 6)
        np.testing.assert_array_equal(pixels.inputs.ravel(), before.inputs.ravel())
        np.testing.assert_array_equal(rows.inputs.ravel(), before.inputs.ravel())
        np.testing.assert_array_equal(pixels.targets, before.targets)
        assert pixels.classes == before.classes
        assert pixels.name == "sequential noise"


def test_one_order_for_all_images():
    pair = images(4, (36,)), images(3, (36,), 1)
    train, test = sequential_mnist(pair, permuted=True, seed=5)
    order = np.argsort(np.argsort(pair[0].inputs[0]))  # ranks tell where each pixel has gone
    moved = np.argsort(np.argsort(train.inputs[0, :, 0]))
    place = np.array([int(np.flatnonzero(order == rank)[0]) for rank in moved])
    assert not (place == np.arange(36)).all()
    np.testing.assert_array_equal(train.inputs[..., 0], pair[0].inputs[:, place])
    np.testing.assert_array_equal(test.inputs[..., 0], pair[1].inputs[:, place])
    again, _ = sequential_mnist(pair, permuted=True, by="rows", seed=5)
    np.testing.assert_array_equal(again.inputs.ravel(), train.inputs.ravel())
    other, _ = sequential_mnist(pair, permuted=True, seed=6)
    assert not np.array_equal(other.inputs, train.inputs)


def test_a_folder_is_mnist(tmp_path):
    for word, count in (("train", 3), ("t10k", 2)):
        pixels = np.arange(count * 784, dtype=np.uint8)
        header = bytes([0, 0, 8, 3]) + np.array([count, 28, 28], ">u4").tobytes()
        (tmp_path / f"{word}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        labels = bytes([0, 0, 8, 1]) + np.array([count], ">u4").tobytes() + bytes(range(count))
        (tmp_path / f"{word}-labels-idx1-ubyte").write_bytes(labels)
    train, test = sequential_mnist(tmp_path, by="rows")
    assert train.inputs.shape == (3, 28, 28)
    assert test.inputs.shape == (2, 28, 28)
    assert train.inputs[0, 1, 0] == np.float32(28 / 255)
    assert train.name == "sequential MNIST"


def test_wrong_images_are_refused(tmp_path):
    with pytest.raises(DataFileError, match="train-images"):
        sequential_mnist(tmp_path)
    with pytest.raises(DataError, match="by='columns'"):
        sequential_mnist((images(2, (36,)), images(2, (36,))), by="columns")
    with pytest.raises(DataError, match="shape"):
        sequential_mnist((images(2, (35,)), images(2, (35,))))
    with pytest.raises(DataError, match="3"):
        sequential_mnist((images(2, (3, 6, 6)), images(2, (3, 6, 6))))
    with pytest.raises(DataError, match="test images 5"):
        sequential_mnist((images(2, (36,)), images(2, (25,))))
    with pytest.raises(DataError, match="download"):
        sequential_mnist((images(2, (36,)), images(2, (36,))), download=True)
    with pytest.raises(DataError, match="seed=-1"):
        sequential_mnist((images(2, (36,)), images(2, (36,))), seed=-1)
