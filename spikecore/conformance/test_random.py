"""Counter-based random numbers: known answers, equal draws on every engine, however a batch is split."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spikecore as sc
from spikecore.api.core.random import stream
from spikecore.conformance import reference


def expected_draws(key, shape, sample_axis=None, first=0):
    """Draw by draw from the definition."""
    words, found = stream(key), np.empty(shape)
    axis = None if sample_axis is None else sample_axis % len(shape)
    rest = [n for i, n in enumerate(shape) if i != axis]
    for index in np.ndindex(*shape):
        sample = first + (0 if axis is None else index[axis])
        within = [n for i, n in enumerate(index) if i != axis]
        place = int(np.ravel_multi_index(within, rest)) if rest else 0
        counter = (place // 4 % 2**32, place // 4 >> 32, sample % 2**32, sample >> 32)
        found[index] = (reference.philox(counter, words)[place % 4] >> 8) * 2.0**-24
    return found


DRAWS = [((7,), None, 0), ((3, 5), 0, 0), ((3, 5), 1, 2), ((2, 3, 4), -2, 2**33 + 1), ((1, 6), 0, 5), ((), None, 0),
         ((4,), 0, 3), ((0, 3), 0, 0)]  # fmt: skip


def check_uniform(engine, shape, sample_axis, first):
    found = engine.to_numpy(engine.uniform((3, "test"), shape, sample_axis=sample_axis, first=first))
    np.testing.assert_array_equal(found, expected_draws((3, "test"), shape, sample_axis, first))
    assert found.dtype == engine.dtype


@pytest.mark.parametrize(("shape", "sample_axis", "first"), DRAWS)
def test_uniform(engine, shape, sample_axis, first):
    check_uniform(engine, shape, sample_axis, first)


def test_uniform_in_float32(engine32):
    check_uniform(engine32, (5, 9), 0, 4)


def test_more_draws_than_one_chunk(engine32):
    """Pieces of the work join without a seam."""
    found = engine32.to_numpy(engine32.uniform(1, (5, 40_001), sample_axis=0))
    for sample in (0, 4):
        alone = engine32.to_numpy(engine32.uniform(1, (1, 40_001), sample_axis=0, first=sample))
        np.testing.assert_array_equal(found[sample : sample + 1], alone)
    np.testing.assert_array_equal(found, sc.get_engine("numpy").uniform(1, (5, 40_001), sample_axis=0))
    assert abs(found.mean() - 0.5) < 0.003
    assert abs(found.var() - 1 / 12) < 0.002


@settings(max_examples=40, deadline=None)
@given(
    parts=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    rest=st.lists(st.integers(1, 4), max_size=2),
    axis=st.integers(0, 2),
    first=st.integers(0, 2**40),
)
def check_any_split(engine, parts, rest, axis, first):
    axis = min(axis, len(rest))
    shape = lambda n: (*rest[:axis], n, *rest[axis:])  # noqa: E731
    whole = engine.to_numpy(engine.uniform("k", shape(sum(parts)), sample_axis=axis, first=first))
    pieces, start = [], first
    for n in parts:
        pieces.append(engine.to_numpy(engine.uniform("k", shape(n), sample_axis=axis, first=start)))
        start += n
    np.testing.assert_array_equal(np.concatenate(pieces, axis=axis), whole)


def test_any_split(engine):
    check_any_split(engine)


def test_bad_arguments_are_refused(engine):
    with pytest.raises(ValueError, match="must not be negative"):
        engine.uniform(0, (3,), sample_axis=0, first=-1)
    with pytest.raises(ValueError, match="sample_axis=2 is no axis"):
        engine.uniform(0, (3, 2), sample_axis=2)
