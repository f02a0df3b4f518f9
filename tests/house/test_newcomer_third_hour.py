"""Mistakes that a fresh reader of the pages made: each is told what is wrong there, and what to write instead."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest

import spikecore as sc
from spikecore import functional
from spikecore.errors import TrainingWarning
from spikecore.samples import DataError

rng = np.random.default_rng(0)
X, Y = rng.random((40, 6)).astype("float32"), np.arange(40) % 3
SERIES = rng.random((40, 12, 6)).astype("float32")
BY_STEP = np.repeat(Y[:, None], 12, axis=1)


def model(outputs=3):
    return sc.Model(sc.Sequential(sc.Linear(6, outputs), sc.Leaky(beta=0.9)), "numpy")


def test_a_time_first_array_beside_targets_is_seen():
    with pytest.raises(
        sc.errors.ShapeError, match=r"its 40 samples, .* along axis 1.*x\.swapaxes\(0, 1\) and time_axis=1"
    ):
        model().fit(SERIES.swapaxes(0, 1), Y, progress=False)
    model().fit(SERIES, Y, time_axis=1, progress=False)


def test_a_label_per_sample_for_a_loss_of_steps_and_the_reverse():
    with pytest.raises(sc.errors.ShapeError, match=r"expected \(12, 40\).*for one label per sample take ce_rate_loss"):
        model().fit(SERIES, Y, time_axis=1, loss=functional.ce_step_loss(), progress=False)
    with pytest.raises(sc.errors.ShapeError, match=r"for a label at every step take ce_step_loss\(\)"):
        model().fit(SERIES, BY_STEP, time_axis=1, loss=functional.ce_rate_loss(), progress=False)


@pytest.mark.parametrize("scale", [1.0, 20.0])
def test_targets_far_from_membranes_are_told(scale):
    values = scale + X[:, 0]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model(1).fit(X, values, loss=functional.mse_value_loss(), num_steps=3, progress=False)
    said = [str(each.message) for each in caught if "far from membranes" in str(each.message)]
    assert len(said) == (scale > 10.0)


def test_classes_as_floats_and_one_hot_codes_in_a_recipe():
    with pytest.warns(TrainingWarning, match=r"only the numbers 0 to 2, of dtype float64.*give y\.astype\(int\)"):
        sc.recipe(X, Y.astype(float))
    for code in (np.eye(3), np.eye(3, dtype=int)):
        with pytest.raises(DataError, match=r"is a one-hot code; give the classes, y\.argmax\(axis=1\)"):
            sc.recipe(X, code[Y])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sc.recipe(X, X[:, 0])
        sc.recipe(X, Y)


def test_classes_as_floats_are_told_both_ways_out():
    with pytest.raises(
        ValueError, match=r"float64.*for classes give targets\.astype\(int\), for values take mse_value"
    ):
        functional.ce_rate_loss()(np.zeros((3, 40, 3)), Y.astype(float))
    with pytest.raises(ValueError, match=r"compared with classes; for values take mse_value_loss"):
        functional.ce_rate_loss()(np.zeros((3, 40, 3)), X[:, 0].astype(float))


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.array([["a", 1.0]] * 40, object), "entries that are no numbers .*'a'.*; number texts, or leave them out"),
        ([np.zeros((0, 2)), np.zeros((3, 2))] * 20, r"x\[0\] is a series without steps; leave it out"),
        (np.ma.masked_array(X, X > 0.9), r"a masked array with missing values.*x\.filled\(0\)"),
    ],
)
def test_what_a_recipe_cannot_read_is_named(x, said):
    with pytest.raises(DataError, match=said):
        sc.recipe(x, Y)


@pytest.mark.parametrize("given", [np.zeros((12, 40, 6)), np.zeros((12, 40, 1, 4, 4))])
def test_time_first_arrays_of_a_loader_are_told_what_to_exchange(given):
    for act in (
        lambda: sc.datasets.Loader(given, Y),
        lambda: sc.datasets.Dataset(given, Y),
        lambda: model().fit(given, Y, time_axis=1, progress=False),
    ):
        with pytest.raises(
            DataError, match=r"12 inputs but 40 targets.*time comes first, pass inputs\.swapaxes\(0, 1\)"
        ):
            act()
    with pytest.raises(DataError, match=r"targets \(40,\)\)$"):
        sc.datasets.Loader(X[:12], Y)


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda: model().fit(X, Y, num_steps=2, metric=["acc"]), r"metric 'acc'; did you mean 'accuracy'\?"),
        (lambda: sc.datasets.csv, r"reader 'csv'; did you mean 'csv_table'\?"),
        (lambda: sc.datasets.image, r"did you mean 'image_folder'\?"),
        (lambda: sc.functional.ce, r"unknown loss or metric 'ce'\. "),  # two letters begin too many names
    ],
)
def test_a_short_form_is_a_name_that_begins_so(act, said):
    with pytest.raises((ValueError, AttributeError), match=said):
        act()


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda: sc.Linear(64), r"^Linear: out_features missing: write Linear\(in_features, out_features\)$"),
        (lambda: sc.Conv2d(1), r"^Conv2d: out_channels and kernel_size missing: write Conv2d\("),
        (lambda: sc.Model(), r"^Model: network missing: write Model\(network\)$"),
        (lambda: model().fit(num_steps=2), r"^Model\.fit: data missing: write Model\.fit\(data\)$"),
        (lambda: sc.spikegen.rate(), r"^rate: data missing"),
        (lambda: sc.functional.ctc_loss(), None),  # nothing is missing
        (lambda: copy.deepcopy(sc.Linear(6, 4)), None),
        (lambda: pickle.loads(pickle.dumps(sc.Linear(6, 4))), None),
    ],
)
def test_an_argument_that_is_left_out_is_named(act, said):
    """Copies and pickles, which make an object of no arguments first, are none of these."""
    if said is None:
        act()
        return
    with pytest.raises(TypeError, match=said):
        act()


@pytest.mark.parametrize("made", [lambda torch: torch.optim.Adam, lambda torch: torch.optim.SGD([torch.zeros(1)])])
def test_an_optimiser_of_torch_is_told_which_to_take(made):
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"optimizer=.*; write sc\.Adam\(lr=1e-3\).*docs/torch_loop\.md"):
        model().fit(X, Y, num_steps=2, optimizer=made(torch))


def test_run_says_which_layer_of_a_sequential_hands_states_on():
    torch, snn = pytest.importorskip("torch"), pytest.importorskip("spikecore.nn")
    made = [torch.nn.Linear(6, 4), snn.Leaky(beta=0.9), torch.nn.Linear(4, 3), snn.Leaky(beta=0.9, init_hidden=True)]
    x = torch.zeros(5, 2, 6)
    for net, name in (
        (torch.nn.Sequential(*made), "'1'"),
        (torch.nn.Sequential(torch.nn.Sequential(*made[:2]), torch.nn.Sequential(*made[2:])), "'0.1'"),
    ):
        with pytest.raises(TypeError, match=rf"layer {name} \(Leaky\) returns \(spikes, state\).*init_hidden=True"):
            snn.run(net, x)

    class Pair(torch.nn.Module):
        def forward(self, both):
            return both[0]

    torch.manual_seed(0)
    assert snn.run(torch.nn.Sequential(made[0], made[1], Pair(), *made[2:]), x).shape == (5, 2, 3)
