"""The zoo: its cards, its options, and each architecture, narrow, on the engines."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import spikecore as sc
from spikecore import zoo
from spikecore.api.core.parameters import values_of
from tests import ROOT
from tests.zoo.zoo_rig import CLASSES, NARROW

EACH = pytest.mark.parametrize("name", NARROW)
STEPS, BATCH = 3, 3


def batch(shape, dtype="float32"):
    return (2.0 * np.random.default_rng(0).random((STEPS, BATCH, *shape))).astype(dtype)


# ---- cards -----------------------------------------------------------------------------------------------------------


def test_every_architecture_is_tried_here():
    assert {name.partition("-")[0] for name in NARROW} == {card.name for card in zoo.list()}


def test_every_card_is_of_a_public_function():
    for card in zoo.list():
        assert getattr(zoo, card.name) is card.build
        assert zoo.card(card.name) is card
        assert card.link.startswith("https://")
        assert f"zoo.{card.name}" in repr(card)
        assert card.name in repr(zoo.list())
    functions = {name for name, thing in vars(zoo).items() if inspect.isfunction(thing)}
    assert functions - {card.name for card in zoo.list()} == {
        "card",
        "list",
        "list_pretrained",
        "load_spikingjelly",
        "pretrained",
    }


def test_sizes_are_those_of_the_papers_networks():
    """ResNets and VGGs have the parameters of torchvision's, whose layers they share."""
    counts = {card.name: card.parameters for card in zoo.list()}
    assert counts["sew_resnet18"] == counts["spiking_resnet18"] == 11_689_512
    assert (counts["sew_resnet34"], counts["sew_resnet50"]) == (21_797_672, 25_557_032)
    assert (counts["spiking_vgg11"], counts["spiking_vgg16"]) == (132_868_840, 138_365_992)
    assert counts["dense_snn"] == 784 * 1000 + 1000 + 1000 * 10 + 10


def test_operations_are_counted_by_hand():
    card = zoo.card("conv_snn")  # 5 x 5 kernels on 28 x 28 and 12 x 12 maps without padding
    assert card.operations == 24**2 * 25 * 12 + 8**2 * 25 * 12 * 64 + 64 * 4 * 4 * 10


def test_a_name_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"unknown architecture 'sew_resnet'; did you mean 'sew_resnet\d\d'"):
        zoo.card("sew_resnet")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: zoo.sew_resnet18(stem="vit"), r"unknown stem 'vit'.*Known: cifar, imagenet"),
        (lambda: zoo.ms_resnet18(stem="vit"), r"unknown stem 'vit'"),
        (lambda: zoo.sew_resnet50(join="or"), r"unknown join 'or'"),
        (lambda: zoo.conv_snn(size=15), r"size=15 must be at least 16"),
        (lambda: zoo.spiking_vgg11(size=40), r"size=40 must be a multiple of 32"),
        (lambda: zoo.plif_net(size=3), r"size=3 must be at least 4"),
        (lambda: zoo.plif_net(convolutions=(1, 0)), r"convolutions=\(1, 0\) must be ints >= 1"),
        (lambda: zoo.plif_net(convolutions=()), r"convolutions=\(\) must be ints >= 1"),
        (lambda: zoo.delay_snn(hidden=(64, 0)), r"hidden=\(64, 0\) must be ints >= 1"),
        (lambda: zoo.delay_snn(hidden=()), r"hidden=\(\) must be ints >= 1"),
        (lambda: zoo.delay_snn(dropout=1.0), r"delay_snn: dropout=1.0 must be in \[0, 1\)"),
        (lambda: zoo.delay_snn(anneal=0), r"anneal=0 must be"),
        (lambda: zoo.spiking_vgg16(dropout=1.0), r"p=1.0 must be in \[0, 1\)"),
    ],
)
def test_a_wrong_option_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_neuron_must_be_one():
    with pytest.raises(TypeError, match=r"neuron=.*must be a neuron such as sc\.Leaky"):
        zoo.sew_resnet18(neuron=sc.Flatten())


@pytest.mark.parametrize(("stem", "sizes"), [("imagenet", (8, 4, 2, 1)), ("cifar", (32, 16, 8, 4))])
def test_stems_make_maps_of_the_papers_sizes(stem, sizes):
    model = sc.Model(zoo.sew_resnet18(CLASSES, width=1, stem=stem), input_shape=(3, 32, 32))
    rows = [line.split() for line in model.summary().splitlines()]
    ends = {row[0]: "".join(row[2:5]) for row in rows if row[0] in [f"{i}.1.body.5" for i in range(1, 5)]}
    assert [ends[f"{i + 1}.1.body.5"] for i in range(4)] == [f"({1 << i},{n},{n})" for i, n in enumerate(sizes)]


def test_weights_of_convolutions_begin_as_he_et_al_say():
    """A deviation of sqrt(2 / (channels given * kernel area)), in residual networks and VGGs."""
    resnet = sc.Model(zoo.sew_resnet18(in_channels=2, width=16, stem="cifar"), seed=0, input_shape=(2, 8, 8))
    vgg = sc.Model(zoo.spiking_vgg11(in_channels=16, width=16, size=32, hidden=1), seed=0, input_shape=(16, 32, 32))
    for weights in (resnet.params()["1.0.body.0.weight"], vgg.params()["0.0.weight"]):
        assert weights.shape == (16, 16, 3, 3)
        np.testing.assert_allclose(weights.std(), np.sqrt(2 / (16 * 9)), rtol=0.05)


def test_batch_norms_of_ms_resnet_begin_at_the_threshold():
    params = sc.Model(zoo.ms_resnet18(in_channels=1, width=2, stem="cifar"), input_shape=(1, 8, 8)).params()
    norms = [value for key, value in params.items() if key.endswith("weight") and value.ndim == 1]
    assert len(norms) == 21  # the first, two in each of eight blocks, those of four shortcuts
    assert all((each == 0.5).all() for each in norms)


# ---- on the engines --------------------------------------------------------------------------------------------------


@EACH
def test_torch_and_numpy_have_the_same_gradients(name):
    pytest.importorskip("torch")
    network, shape = NARROW[name]
    model = sc.Model(network, "torch", dtype="float64", input_shape=shape)
    report = sc.verify(model, batch(shape, "float64"), [0, 1, 2], differences=False)
    assert report.worst <= 1e-11, report.table()
    assert model(batch(shape, "float64"), record=True).spikes.any()


@EACH
def test_it_becomes_a_module_of_torch_and_computes_the_same(name):
    torch = pytest.importorskip("torch")
    from spikecore import nn as snn

    network, shape = NARROW[name]
    model, x = sc.Model(network, "torch", input_shape=shape), torch.as_tensor(batch(shape))
    with torch.no_grad():
        out = snn.run(snn.to_torch(model).eval(), x)
    torch.testing.assert_close(out[0] if isinstance(out, tuple) else out, model(x).spikes, atol=1e-5, rtol=0.0)


OF_EACH_FAMILY = (
    "plif_net", "sew_resnet18-iand", "ms_resnet18", "spikformer", "qkformer", "spike_driven_transformer",
)  # fmt: skip


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=() if name in OF_EACH_FAMILY else pytest.mark.slow) for name in NARROW
])  # fmt: skip
def test_the_ipu_takes_it(name):
    pytest.importorskip("torch")
    from spikecore.engines.ipu.networks import check_model

    network, shape = NARROW[name]
    report = check_model(sc.Model(network, "torch", input_shape=shape), batch(shape), [0, 1, 2], optimizer=sc.Adam())
    assert report.ok, report


@pytest.mark.slow
def test_finite_differences_agree():
    pytest.importorskip("torch")
    network, shape = NARROW["sew_resnet18-iand"]
    report = sc.verify(sc.Model(network, "torch", input_shape=shape), batch(shape), [0, 1, 2])
    assert report.ok, report.table()


# ---- the page --------------------------------------------------------------------------------------------------------


def row(card):
    """A row of the table in docs/zoo.md."""
    weights = "yes" if card.spikingjelly else "–"
    sizes = f"{' × '.join(map(str, card.sample))} | {card.num_steps} | {card.parameters:,} | {card.operations:,}"
    paper = f"[{card.paper.partition(' et al.')[0]} et al. {card.year}]({card.link})"
    return f"| `{card.name}` | {paper} | {sizes} | {weights} |"


def test_the_page_has_every_card():
    page = ROOT / "docs" / "zoo.md"
    if not page.is_file():
        pytest.skip("docs/ is not part of this tree")
    text = page.read_text("utf-8").partition("## Build and train one")[0]
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert rows == [row(card) for card in zoo.list()]


# ---- thresholds that SpikingJelly's neurons fire at -----------------------------------------------------------------


def of_spikingjelly(model):
    """The model's own weights under the keys of SpikingJelly's module of the plain VGG 16."""
    table = [(ours.partition("{")[0], theirs) for theirs, ours in zoo.card("spiking_vgg16").spikingjelly.items()]
    found = {}
    for own, value in model.params().items():
        layer, _, entry = own.rpartition(".")
        if entry in ("weight", "bias"):
            ((ours, theirs),) = [pair for pair in table if layer.startswith(pair[0])]
            found[f"{theirs.format(i=layer[len(ours) :])}.{entry}"] = value
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("threshold", [1.0, 0.95, np.full((1,), 0.3)], ids=str)
def test_with_their_weights_neurons_fire_at_the_threshold(threshold, dtype):
    """Theirs fire at U >= threshold: ours get the next lower number of the dtype, once."""
    plain = {"batch_norm": False, "width": 1, "size": 32, "hidden": 6, "in_channels": 1, "dropout": 0.0}
    network = zoo.spiking_vgg16(CLASSES, neuron=sc.IF(threshold=threshold), **plain)
    model = sc.Model(network, "numpy", dtype=dtype, input_shape=(1, 32, 32))
    for _ in range(2):
        zoo.load_spikingjelly(model, of_spikingjelly(model))
    given = [np.asarray(values_of(one.threshold), dtype) for one in neurons_of(model.network)]
    assert len(given) == 15
    for values in given:
        np.testing.assert_array_equal(np.nextafter(values, np.asarray(np.inf, dtype)), np.asarray(threshold, dtype))
    assert "U >= threshold" in model.notes["thresholds"]
    x = np.ones((2, 1, 32, 32), dtype)
    assert model(x, num_steps=2).spikes.shape == (2, 2, CLASSES)
    model.fit([(x, np.array([0, 1]))], num_steps=2, progress=False)


def neurons_of(layer):
    if isinstance(layer, sc.IF):
        return [layer]
    return [one for _, child in getattr(layer, "children", lambda: ())() for one in neurons_of(child)]
