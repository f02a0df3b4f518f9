"""What is drawn as spikes: 0, 1 and -1, and by an option spikes of other sizes; membranes are refused everywhere."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="draws")

from spikecore import spikeplot  # noqa: E402

MEM = np.random.default_rng(0).normal(size=(50, 3)).astype("float32")
SPIKES = (MEM > 0.8).astype("float32")
DRAWN = {
    "raster": lambda spikes, **options: spikeplot.raster(spikes, **options),
    "spike_count": lambda spikes, **options: spikeplot.spike_count(spikes, **options),
    "activity_map": lambda spikes, **options: spikeplot.activity_map({"hidden": spikes}, **options),
    "traces": lambda spikes, **options: spikeplot.traces(MEM, spikes, **options),
    "stack": lambda spikes, **options: spikeplot.stack(MEM, spikes, **options),
}


def test_every_function_that_takes_spikes_is_here():
    taking = {name for name in spikeplot.__all__ if callable(getattr(spikeplot, name))}
    taking = {name for name in taking if not inspect.isclass(getattr(spikeplot, name))}
    taking = {name for name in taking if "spikes" in inspect.signature(getattr(spikeplot, name)).parameters}
    assert taking | {"spike_count"} == set(DRAWN)


@pytest.mark.parametrize("name", DRAWN)
def test_membranes_are_no_spikes(name):
    """Each of their values is not zero, so that every neuron would have fired at every step."""
    message = r"(spikes|data)(\['hidden'\])?: 150 of 150 values are no spikes.*membrane potentials.*graded=True"
    with pytest.raises(ValueError, match=message):
        DRAWN[name](MEM)
    one = SPIKES.copy()
    one[7, 2] = 0.37
    with pytest.raises(ValueError, match=r": 1 of 150 values are no spikes.*at \(7, 2\), is 0.37"):
        DRAWN[name](one)
    one[7, 2] = np.nan
    with pytest.raises(ValueError, match=r"at \(7, 2\), is nan"):
        DRAWN[name](one)


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("kind", ["float", "bool", "int", "signed"])
def test_spikes_of_every_kind_are_drawn(name, kind):
    given = {"float": SPIKES, "bool": SPIKES > 0, "int": SPIKES.astype(int), "signed": SPIKES * np.sign(MEM - 1)}[kind]
    DRAWN[name](given)


@pytest.mark.parametrize("name", DRAWN)
def test_spikes_of_several_sizes_are_drawn_by_an_option(name):
    DRAWN[name](SPIKES * MEM, graded=True)


def test_a_graded_raster_has_a_mark_for_each_spike_as_strong_as_it_is():
    spikes = np.zeros((10, 3))
    spikes[2, 0], spikes[2, 1], spikes[5, 2] = 4.0, -2.0, 0.01
    marks = spikeplot.raster(spikes, graded=True)
    np.testing.assert_array_equal(marks.get_offsets(), [[2, 0], [2, 1], [5, 2]])
    np.testing.assert_allclose(marks.get_alpha(), [1.0, 0.5, 0.15])
    assert spikeplot.raster(spikes, graded=True, alpha=0.3).get_alpha() == 0.3
    assert len(spikeplot.raster(np.zeros((10, 3)), graded=True).get_offsets()) == 0
