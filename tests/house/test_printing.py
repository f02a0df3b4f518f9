"""What objects print: as their user wrote them, with what matters, and tables in notebooks."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spikecore as sc
from spikecore import datasets, functional, printing, surrogate
from spikecore.conformance import cases

NAMES = {
    **vars(surrogate),
    **vars(functional),
    **vars(functional.quant),
    **{name: getattr(module, name) for module in (sc.base, sc.compression) for name in module.__all__},
    **vars(sc.schedule),
    **vars(datasets.transforms),
}
NAMES = {**NAMES, **{name: getattr(sc, name) for name in sc.__all__ if name != "Torch"}, "array": np.array}
LAYERS = [case.layer for name in ("LEAKY", "FAMILY", "RECURRENT", "LAYERS") for case in getattr(cases, name, ())]
X = np.ones((2, 3), np.float32)


def again(thing):
    """What the text of a thing makes when it is evaluated."""
    return eval(repr(thing), dict(NAMES))


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_the_text_of_a_layer_makes_an_equal_layer(layer):
    assert again(layer) == layer
    assert again(sc.Sequential(layer, sc.Residual(layer))) == sc.Sequential(layer, sc.Residual(layer))


numbers = st.floats(-1e3, 1e3)
decays = st.floats(0.0, 1.0)
per = st.sampled_from([None, "neuron", "channel"])
params = st.one_of(numbers, st.lists(numbers, min_size=1, max_size=6), st.builds(sc.learn, numbers, per))
leaky = st.builds(
    sc.Leaky,
    beta=st.one_of(decays, st.builds(sc.learn, decays, per), st.builds(sc.learn_tau, st.floats(0.1, 50), per=per)),
    threshold=params,
    graded_spikes_factor=params,
    surrogate=st.builds(surrogate.fast_sigmoid, st.floats(0.1, 100)),
    reset_mechanism=st.sampled_from(["subtract", "zero", "none"]),
    reset_delay=st.booleans(),
    state_quant=st.one_of(st.none(), st.builds(functional.quant.state_quant, st.integers(1, 16))),
)
sizes = st.integers(1, 300)
layers = st.recursive(
    st.one_of(
        leaky,
        st.builds(sc.Linear, sizes, sizes, st.booleans()),
        st.builds(sc.Conv2d, sizes, sizes, st.integers(1, 7), stride=st.tuples(sizes, sizes), padding=sizes),
        st.builds(sc.MaxPool2d, st.integers(2, 5), st.one_of(st.none(), sizes)),
        st.builds(sc.Dropout, st.floats(0.0, 0.99)),
        st.builds(sc.Refractory, leaky, sizes),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda each: sc.Sequential(*each)),
        st.lists(inner, min_size=1, max_size=3).map(lambda each: sc.Concat(*each, axis=-1)),
        st.lists(inner, min_size=1, max_size=3).map(lambda each: sc.Add(*each)),
        st.builds(sc.Residual, inner, st.one_of(st.none(), inner)),
    ),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(layers)
def test_the_text_of_any_network_makes_an_equal_network(network):
    assert again(network) == network


@pytest.mark.parametrize(
    ("thing", "text"),
    [
        (sc.Leaky(beta=0.9), "Leaky(beta=0.9)"),
        (sc.Leaky(), "Leaky(beta=0.9)"),
        (sc.Leaky(threshold=2, beta=sc.learn(0.5)), "Leaky(beta=learn(0.5), threshold=2.0)"),
        (sc.Synaptic(), "Synaptic(alpha=0.9, beta=0.8)"),
        (sc.Linear(64, 10), "Linear(64, 10)"),
        (sc.Linear(64, 10, bias=False), "Linear(64, 10, bias=False)"),
        (sc.Conv2d(1, 12, 5), "Conv2d(1, 12, 5)"),
        (sc.Conv2d(1, 12, (5, 3), stride=2), "Conv2d(1, 12, (5, 3), stride=2)"),
        (sc.MaxPool2d(2), "MaxPool2d(2)"),
        (sc.Recurrent(sc.Leaky(), sc.OneToOne()), "Recurrent(Leaky(beta=0.9), OneToOne())"),
        (sc.Sequential(sc.Flatten(), sc.LI()), "Sequential(Flatten(), LI(beta=0.9))"),
        (sc.learn(0.9), "learn(0.9)"),
        (sc.learn([0.5, 0.9]), "learn([0.5, 0.9])"),
        (sc.learn(0.9, per="neuron"), "learn(0.9, per='neuron')"),
        (sc.learn_tau(10.0), "learn_tau(10.0)"),
        (sc.learn_tau(10.0, dt=0.5), "learn_tau(10.0, dt=0.5)"),
        (sc.Leaky(beta=np.linspace(0, 1, 100)), "Leaky(beta=array(shape (100,), 0 to 1))"),
        (surrogate.fast_sigmoid(), "fast_sigmoid(slope=25.0)"),
        (sc.Adam(), "Adam(lr=0.001)"),
        (sc.SGD(lr=0.1, momentum=0.9), "SGD(lr=0.1, momentum=0.9)"),
        (functional.ce_rate_loss(), "ce_rate_loss()"),
        (
            functional.ce_rate_loss() + 0.1 * functional.l1_rate_sparsity(),
            "ce_rate_loss() + 0.1 * l1_rate_sparsity()",
        ),
        (sc.schedule.cosine(warmup=2), "cosine(warmup=2)"),
        (sc.get_engine("numpy"), "NumpyEngine(dtype='float32')"),
        (sc.base.Params(beta=0.5, w=np.ones((3, 4))), "Params(beta=0.5, w=float64 (3, 4))"),
    ],
    ids=str,
)
def test_it_prints_as_its_user_wrote_it(thing, text):
    assert repr(thing) == text


def test_a_long_network_takes_a_line_per_layer():
    network = sc.Sequential(*(layer for _ in range(4) for layer in (sc.Linear(64, 64), sc.Leaky(beta=0.9))))
    lines = repr(network).split("\n")
    assert lines[:3] == ["Sequential(", "    Linear(64, 64),", "    Leaky(beta=0.9),"]
    assert len(lines) == 10


def test_a_neuron_of_a_users_own_prints_like_the_librarys():
    @dataclass(frozen=True)
    class Mine(sc.base.Neuron):
        tau: sc.base.Param = 3.0

        def step(self, engine, params, state, x):
            raise NotImplementedError

    class Loose(sc.Leaky):  # not decorated: the fields are those of its base
        pass

    @dataclass(frozen=True)
    class Wordy(sc.Leaky):
        def __repr__(self):
            return "wordy"

    @dataclass(frozen=True)
    class Heir(Wordy):
        pass

    assert repr(Mine()) == "Mine()"
    assert repr(Mine(tau=sc.learn(2.0))) == "Mine(tau=learn(2.0))"
    assert repr(Loose(beta=0.5)) == "Loose(beta=0.5)"
    assert repr(Wordy()) == repr(Heir()) == "wordy"


@pytest.fixture(params=["numpy", pytest.param("torch", marks=pytest.mark.filterwarnings("default"))])
def model(request):
    if request.param == "torch":
        pytest.importorskip("torch")
    layers = (sc.Linear(3, 4), sc.Leaky(beta=0.9), sc.Linear(4, 2), sc.LI(beta=0.5))
    return sc.Model(sc.Sequential(*layers), engine=request.param, seed=0)


def test_an_output_prints_shapes_and_rates_and_never_whole_arrays(model):
    out = model(X, 50, record=True)
    hidden = model.engine.to_numpy(out.states["1"].spikes)
    values = model.engine.to_numpy(out.spikes)
    span = f"{values.min():.3g} to {values.max():.3g}"
    assert repr(out) == f"Output(float32 (50, 2, 2), {span}, recorded: 1 (mem, spikes), 3 (mem, spikes))"
    assert f"float32 (50, 2, 4), {hidden.mean():.3g} spikes per neuron and step" in out._repr_html_()
    for thing in (out, out.states, out.state, out.states["1"]):
        assert len(repr(thing)) < 200
        assert "[" not in repr(thing), "no values"
    assert "recorded: nothing" in repr(model(X, 5, record=False))


def test_an_output_prints_in_a_loss_as_well(model):
    printed = []

    def loss(out, targets):
        printed.append(repr(out))
        return sc.base.engine_of(out.spikes).xp.mean(out.spikes)

    model.fit([(X, [0, 1])], loss=loss, num_steps=5)
    assert printed[0].startswith("Output(float32 (5, 2, 2), ")


def test_a_model_prints_its_network_its_size_and_its_engine(model):
    text = " ".join(repr(model).split())
    assert "Sequential(Linear(3, 4), Leaky(beta=0.9), Linear(4, 2), LI(beta=0.5)), 26 parameters" in text
    assert repr(model.engine) in text
    unbuilt = sc.Model(sc.Sequential(sc.Flatten(), sc.Leaky()))
    assert repr(unbuilt).startswith("Model(Sequential(Flatten(), Leaky(beta=0.9)), unbuilt parameters")
    assert "Flatten()" in unbuilt._repr_html_()


def test_the_history_is_a_list_of_dicts_that_prints_as_a_table(model):
    assert repr(model.history) == "no epochs yet"
    rows = model.fit([(X, [0, 1])], num_steps=5, epochs=30, validation=[(X, [0, 1])])
    assert rows is model.history
    assert rows == [dict(row) for row in rows]
    assert isinstance(rows, list)
    lines = repr(rows).split("\n")
    assert lines[0].split() == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "lr", "seconds"]
    assert len(lines) == 14, "the first and the last epochs"
    assert lines[1].split()[:2] == ["1", f"{rows[0]['loss']:.4g}"]
    assert lines[-1].split()[0] == "30"
    for other in (model.to_engine("numpy").history, sc.Model(model.network).history):
        assert type(other) is type(rows)


def test_tuples_print_as_python_reads_them():
    assert [printing.text_of(value) for value in ((), (3,), (3, (4,)), [5])] == ["()", "(3,)", "(3, (4,))", "[5]"]


def test_numbers_of_a_table_stand_below_one_another():
    assert printing.columns([["name", "n"], ["x", "10"], ["y", "2"]]) == "name   n\nx     10\ny      2"
    assert printing.columns([["name", "n"], ["x", "10"], ["y", "2"]], left=2) == "name  n\nx     10\ny     2"


def test_of_many_names_the_first_ones_and_their_number_are_shown():
    assert printing.shortened("abc", most=3) == "a, b, c"
    assert printing.shortened("abcd", most=3) == "a, b, c, … (4)"


def test_a_notebook_is_told_from_a_terminal_and_from_a_script(monkeypatch):
    for shell, answer in ((None, False), (SimpleNamespace(), False), (SimpleNamespace(kernel=1), True)):
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda shell=shell: shell))
        assert printing.in_notebook() is answer
    monkeypatch.delitem(sys.modules, "IPython")
    assert not printing.in_notebook()


class Shown(HTMLParser):
    """The texts of a page, and whether every element is closed."""

    def __init__(self, page):
        super().__init__()
        self.open, self.texts = [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_notebooks_get_tables_that_escape_and_have_no_colours(model):
    snn = pytest.importorskip("spikecore.nn")
    model.fit([(X, [0, 1])], num_steps=5)
    train, _ = datasets.digits()
    nasty = datasets.Dataset(X, [0, 1], "<script>alert(1)</script>", ("<a>", "&b"))
    events = datasets.Events(t=[1, 2], x=[0, 1], sensor=(3,))
    things = (
        (model, "26 parameters"),
        (model(X, 5, record=True), "states['1'].spikes"),
        (model.network, "Leaky(beta=0.9)"),
        (sc.Leaky(threshold=2), "threshold"),
        (surrogate.atan(), "alpha"),
        (sc.Adam(), "lr"),
        (functional.ce_rate_loss(), "reduction"),
        (datasets.transforms.ToFrames(steps=3), "steps"),
        (model.engine, "float32"),
        (sc.get_engine("numpy", sparse_backward=0.02), "sparse_backward 0.02"),
        (sc.get_engine("ipu", simulate=True, device_iterations=4), "IpuOptions(device_iterations=4)"),
        (train, "1347"),
        (nasty, "<script>alert(1)</script>"),
        (datasets.Loader(train), "22 of 64"),
        (snn.Leaky(beta=0.9), "beta"),
        (model.history, "loss"),
        (events, "2"),
        (model(X, 5).states, "mem"),
    )
    for thing, part in things:
        page = thing._repr_html_()
        assert "<script" not in page
        assert not re.search(r"color|background|#[0-9a-f]{3}", page), "colours are the page's, light or dark"
        assert part in " ".join(Shown(page).texts), (type(thing), page)
        assert len(page) < 5000


def test_loaders_print():
    train, _ = datasets.digits()
    assert repr(datasets.Loader(train, seed=3)) == "Loader(1347 samples, 22 batches of 64, shuffled with seed 3)"
    loader = datasets.Loader(train, batch_size=100, shuffle=False, drop_last=True)
    assert repr(loader) == "Loader(1347 samples, 13 batches of 100, the last one left out if it is smaller, in order)"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"beta": 0.9}, "beta=0.9, threshold=1.0, reset_mechanism='subtract'"),
        (
            {"beta": 0.9, "learn_beta": True, "threshold": 2.0},
            "beta=0.9, threshold=2.0, reset_mechanism='subtract', learn_beta=True",
        ),
        ({"beta": [0.25, 0.5], "reset_mechanism": "zero"}, "beta=[0.25, 0.5], threshold=1.0, reset_mechanism='zero'"),
        (
            {"beta": 0.9, "spike_grad": surrogate.fast_sigmoid(), "init_hidden": True, "inhibition": True},
            "beta=0.9, threshold=1.0, spike_grad=fast_sigmoid(slope=25.0), inhibition=True, "
            "reset_mechanism='subtract', init_hidden=True",
        ),
        (
            {"beta": np.full(64, 0.5, np.float32), "graded_spikes_factor": 2.0},
            "beta=float32 (64,), threshold=1.0, graded_spikes_factor=2.0, reset_mechanism='subtract'",
        ),
    ],
    ids=str,
)
def test_a_module_prints_its_options(options, text):
    torch, snn = pytest.importorskip("torch"), pytest.importorskip("spikecore.nn")
    module = snn.Leaky(**options)
    assert repr(module) == f"Leaky({text})"
    assert text in repr(torch.nn.Sequential(torch.nn.Linear(2, 2), module))
    with torch.no_grad():
        module.threshold.fill_(3.0)
    assert "threshold=3.0" in repr(module), "as it is now"


def test_every_module_prints():
    torch, snn = pytest.importorskip("torch"), pytest.importorskip("spikecore.nn")
    assert "learn_V" not in repr(snn.RLeaky(beta=0.5, all_to_all=False))
    assert "C=" in repr(snn.Lapicque(beta=0.9))
    meta = snn.Leaky(beta=torch.tensor(0.5, device="meta"))
    assert "beta=float32 ()" in repr(meta)
