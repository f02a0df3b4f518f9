"""Mistakes of a second hour, with data, files and settings of one's own: each is told what is wrong, and a remedy."""

from __future__ import annotations

import contextlib
import re
import warnings

import numpy as np
import pytest

import spikecore as sc
from spikecore import spikegen, spikeplot
from spikecore.datasets import Dataset, csv_table, image_folder, npz
from spikecore.errors import TrainingWarning
from tests.house.newcomer_rig import X, Y, fit, model, network, out

IMAGES = np.zeros((4, 28, 28, 1), "float32")
SEQUENCES = np.random.default_rng(0).random((6, 20, 5)).astype("float32")
DATA = Dataset(X, Y, name="digits")


def convolved():
    return sc.Model(
        sc.Sequential(sc.Conv2d(1, 4, 5), sc.Leaky(), sc.Flatten(), sc.Linear(2304, 3), sc.Leaky()), "numpy"
    )


def table(text, **options):
    with open("table.csv", "w", encoding="utf-8") as file:
        file.write(text)
    return csv_table("table.csv", **options)


def archive():
    np.savez("arrays.npz", X=X, y=Y)
    return npz("arrays.npz")


def spreadsheet():
    with open("table.xlsx", "wb") as file:
        file.write(b"PK\x03\x04" + bytes(range(256)))
    return csv_table("table.xlsx")


def of_another_network(hidden):
    trained = model()
    return sc.Model(sc.Sequential(sc.Linear(5, hidden), sc.Leaky()), "numpy").load_state(trained.state())


def of_a_deeper_network():
    deeper = sc.Model(sc.Sequential(sc.Linear(5, 3), sc.Leaky(), sc.Linear(3, 3), sc.Leaky()), "numpy")
    return deeper.load_state(model().state())


def one_output():
    return sc.Model(sc.Sequential(sc.Linear(5, 1), sc.Leaky()), "numpy").fit(X, Y % 2, num_steps=2)


def after_samples_first(act):
    trained = model()
    with contextlib.suppress(TrainingWarning), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trained.fit(SEQUENCES, Y, time_axis=1, progress=False)
    return act(trained)


def low(threshold):
    net = sc.Sequential(sc.Linear(5, 3), sc.Leaky(threshold=threshold))
    return sc.Model(net, "numpy").fit(X, Y, num_steps=2, progress=False)


class Tensor:
    """A batch of samples without targets."""

    shape, dtype = (6, 5), "float32"


class Trained:
    """An optimiser of torch."""

    param_groups = ()


#: A mistake: what is written, and what the message must say.
MISTAKES = {
    # images
    "channels last": (lambda: convolved()(IMAGES, num_steps=2), r"\(28, 28, 1\)", r"np\.moveaxis\(x, -1, -3\)"),
    "no channels": (lambda: convolved()(IMAGES[..., 0], num_steps=2), r"x\.reshape\(\*x\.shape\[:-2\], 1"),
    "colours into one channel": (
        lambda: convolved()(np.zeros((4, 3, 28, 28)), num_steps=2),
        r"\(3, 28, 28\), expected \(1,",
    ),
    "a kernel larger than the map": (
        lambda: sc.Model(sc.Sequential(sc.Conv2d(1, 4, 31), sc.Leaky()), "numpy")(
            np.zeros((4, 1, 28, 28)), num_steps=2
        ),
        r"kernel \(31, 31\) .*does not fit into a map of \(28, 28\)",
    ),
    "bytes": (lambda: model().fit((X * 255).astype("uint8"), Y, num_steps=2, progress=False), "divide by 255"),
    # time
    "no steps": (lambda: model()(X, num_steps=0), r"num_steps=0 must be an int >= 1"),
    "steps as text": (lambda: model()(X, num_steps="25"), r"num_steps='25' must be an int >= 1"),
    "sequences into fit": (lambda: model().fit(SEQUENCES, Y), r"\(6, 20, 5\)", "time_axis=1"),
    "sequences with num_steps": (
        lambda: model().fit(SEQUENCES, Y, time_axis=1, num_steps=20),
        "a time axis of its own: leave out num_steps",
    ),
    "time_axis in a call": (lambda: model()(SEQUENCES, time_axis=1), r"write model\(np\.moveaxis\(x, 1, 0\)\)"),
    "samples first in a call": (
        lambda: after_samples_first(lambda trained: trained(SEQUENCES)),
        r"\(6, 20, 5\) is read as 6 time steps of 20 samples",
        r"np\.moveaxis\(x, 1, 0\)",
    ),
    "samples first in evaluate": (
        lambda: after_samples_first(lambda trained: trained.evaluate([(SEQUENCES, Y)])),
        "pass time_axis=1",
    ),
    # neurons
    "beta below 0": (lambda: sc.Leaky(beta=-0.1), r"beta=-0\.1 must be in \[0, 1\]"),
    "beta in percent": (lambda: sc.Synaptic(alpha=90, beta=0.8), r"alpha=90.* must be in \[0, 1\]"),
    "beta=True": (lambda: sc.Leaky(beta=True), "beta=True must be a number"),
    "a threshold of 0": (lambda: low(0), r"layer 1 \(Leaky\) has threshold=0", "above 0; the default is 1"),
    "a threshold below 0": (lambda: low(-1.0), "threshold=-1", "above 0"),
    "two betas for three neurons": (
        lambda: sc.Model(sc.Sequential(sc.Linear(5, 3), sc.Leaky(beta=[0.9, 0.8])), "numpy")(X, num_steps=2),
        r"beta of shape \(2,\) does not broadcast to neurons \(3,\)",
    ),
    "reset='hard'": (lambda: sc.Leaky(reset_mechanism="hard"), "'hard'", "none, subtract, subtract_decayed, zero"),
    "a share in percent": (lambda: sc.Dropout(50), r"p=50 must be in \[0, 1\)"),
    "half a neuron": (lambda: sc.Linear(5, 10 / 2), r"out_features=5\.0 must be an int"),
    "fewer than no neurons": (lambda: sc.Linear(5, -3), "out_features=-3 must be an int >= 1"),
    "sizes exchanged": (
        lambda: sc.Model(sc.Sequential(sc.Linear(3, 5), sc.Leaky()), "numpy")(X, num_steps=2),
        r"takes",
    ),
    "layers one by one": (
        lambda: sc.Model(sc.Linear(5, 3), sc.Leaky()),
        "engine=Leaky",
        r"sc\.Model\(sc\.Sequential\(",
    ),
    "a batch as input_shape": (lambda: model(input_shape=(40, 5)), r"\(40, 5\)", "one sample", r"input_shape=\(5,\)$"),
    "no neuron": (
        lambda: sc.Model(sc.Sequential(sc.Linear(5, 3)), "numpy").fit(X, Y, num_steps=2, progress=False),
        "no neurons",
        "Add neurons",
    ),
    # data
    "digits() as inputs and targets": (
        lambda: model().fit(X, DATA, num_steps=2),
        "Dataset",
        r"train\.inputs and train",
    ),
    "a data set into a call": (
        lambda: model()(DATA, num_steps=2),
        "input=Dataset",
        r"train\.inputs and train\.targets",
    ),
    "text as numbers": (lambda: model()(np.array([["1"] * 5]), num_steps=2), "<U1", "must be an array of numbers"),
    "the name of a file": (lambda: model().fit("a.csv"), "data='a.csv' is a name", r"csv_table\(path\)"),
    "batches as dicts": (
        lambda: fit([{"image": X, "label": Y}]),
        "batch 0 is a dict",
        r"\[\(batch\['image'\], batch\['label'\]\) for batch in data\]",
    ),
    "batches without targets": (lambda: fit([Tensor()]), "batch 0 is a Tensor", r"TensorDataset\(x, y\)"),
    "batches of three": (lambda: fit([(X, Y, np.arange(6))]), r"lengths\[0\] = 0", "third entry: leave it out"),
    "no sample": (lambda: model().fit(X[:0], Y[:0], num_steps=2), r"no samples: inputs have shape \(0, 5\)"),
    "one output for two classes": (
        one_output,
        r"targets\[\d\] = 1",
        "for 2 classes the last layer has as many outputs",
    ),
    "labels of -1 and 1": (lambda: fit([(X, 2 * (Y % 2) - 1)]), r"targets\[0\] = -1", "return_inverse=True"),
    "labels from 1 on": (lambda: fit([(X, Y + 1)]), r"= 3 is out of range", "take targets - 1"),
    "an empty cell": (lambda: table("a,b,c\n1,2,x\n,3,y\n1,1,x\n2,2,y\n"), "line 3, 'a'", "fill the cell, or leave"),
    "text in a column": (
        lambda: table("a,b,c\n1,red,x\n2,blue,y\n1,red,x\n"),
        "line 2, 'b': 'red'",
        "leave the column",
    ),
    "decimal commas": (lambda: table("a;b;c\n1,5;2,5;x\n1,5;2,5;y\n1,5;2,5;x\n"), "'1,5'", r"point.*, 1\.5$"),
    "a spreadsheet": (spreadsheet, "table.xlsx: is no CSV file in UTF-8"),
    "prices as classes": (
        lambda: table("a,p\n1,1.5\n2,2.5\n3,3.5\n4,4.5\n", numbers=False),
        "no classes",
        r"target=\.\.\., or leave numbers=False out",
    ),
    "a folder as a table": (lambda: csv_table("."), "cannot be read: Is a directory"),
    "arrays of other names": (archive, "it holds X, y", r"numpy\.savez\(path, x_train=\.\.\., y_train=\.\.\.\)"),
    "images without folders": (lambda: image_folder("."), "need one for each class, with images"),
    # encoders
    "values below 0 as times": (lambda: spikegen.latency(X - 0.5, num_steps=5), r"must lie in \[0, 1\]"),
    "spikes as an encoder": (
        lambda: fit(encoder=spikegen.rate(X, num_steps=3, seed=0)),
        r"encoder=array\(\[\[\[.{0,90} \.\.\. must be callable",
        "leave encoder out",
    ),
    "an encoder without steps": (lambda: model().fit(X, Y, encoder=spikegen.rate), "num_steps=None must be an int"),
    # training
    "a rate as text": (lambda: sc.SGD(lr="0.1"), "lr='0.1' must be a finite number"),
    "a rate below 0": (lambda: sc.Adam(lr=-1e-3), r"lr=-0\.001 must be a number in \[0"),
    "sc.Adamax": (lambda: sc.Adamax(lr=1e-3), "'Adamax'; did you mean 'Adam'"),
    "an optimiser of torch": (lambda: fit(optimizer=Trained()), r"sc\.Adam\(lr=1e-3\)", r"docs/torch_loop\.md"),
    "no epochs": (lambda: fit(epochs=0), "epochs=0 must be an int >= 1"),
    "epochs=1e1": (lambda: fit(epochs=1e1), r"epochs=10\.0 must be an int"),
    "a batch of none": (lambda: model().fit(X, Y, batch_size=0, num_steps=2), "batch_size=0 must be an int >= 1"),
    "stopping without validation": (
        lambda: fit(epochs=2, callbacks=(sc.EarlyStopping(),)),
        "no 'val_loss'",
        r"pass validation=\.\.\.",
    ),
    "float16": (lambda: model(dtype="float16"), "dtype='float16' must be one of float32, float64"),
    "engine='tensorflow'": (lambda: sc.Model(network(), "tensorflow"), "'tensorflow'", "Known: .*numpy"),
    # files
    "model.load": (lambda: model().load("a.sc"), "'load'", r"model = spikecore\.load\(path\)"),
    "a folder as a file": (lambda: sc.load("."), r"DIR/model\.safetensors: '\.'"),
    "weights of a narrower network": (lambda: of_another_network(4), r"\(3, 5\), expected \(4, 5\)", "another network"),
    "weights of a flatter network": (of_a_deeper_network, r"missing \['2\.bias', '2\.weight'\]", "another network"),
    "weights alone": (
        lambda: model().load_state({"0.weight": X}),
        "has no params",
        r"all that model\.state\(\) returns",
    ),
    "export to tflite": (lambda: sc.export(model(), "net", to="tflite"), "'tflite'", "Known: c, nir, onnx, torch"),
    # pictures
    "an output as spikes": (lambda: spikeplot.raster(out()), "spikes=Output", r"out\.spikes"),
}


@pytest.mark.filterwarnings("default::spikecore.errors.TrainingWarning")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_of_the_second_hour(mistake, monkeypatch, tmp_path):
    act, *parts = MISTAKES[mistake]
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            act()
            said = "\n".join(str(each.message) for each in warned)
        except (TypeError, ValueError, AttributeError, KeyError, OSError, RuntimeError) as error:
            said = str(error)
    for part in parts:
        assert re.search(part, said), said


def test_a_call_that_is_laid_out_right_is_let_pass():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        right = after_samples_first(lambda trained: trained(np.moveaxis(SEQUENCES, 1, 0)))
    assert right.spikes.shape == (20, 6, 3)


def test_neurons_whose_unit_is_no_threshold_may_have_one_below_0():
    """Izhikevich's is in millivolts."""
    net = sc.Sequential(sc.Linear(5, 3), sc.Izhikevich(threshold=-40.0), sc.Linear(3, 3), sc.Leaky())
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        sc.Model(net, "numpy").fit(X, Y, num_steps=2, progress=False)
    assert not any("membranes rest at 0" in str(each.message) for each in warned)
