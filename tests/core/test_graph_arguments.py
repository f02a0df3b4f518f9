"""Graphs as users write them: lists for tuples, and what is refused where it is written."""

from __future__ import annotations

import pytest

import spikecore as sc
from spikecore import base as merges


def test_lists_are_tuples():
    lists = sc.Graph(["a", "b"], [sc.Linear(4, 3), sc.Leaky()], [["input"], ["a"]], ["b"])
    tuples = sc.Graph(("a", "b"), (sc.Linear(4, 3), sc.Leaky()), (("input",), ("a",)), ("b",))
    assert lists == tuples
    assert hash(lists) == hash(tuples)


@pytest.mark.parametrize("axis", ["x", 0.5, None])
def test_an_axis_that_is_no_number_is_refused_at_once(axis):
    with pytest.raises((TypeError, ValueError), match="Concatenation: axis=.* must be an int"):
        merges.Concatenation(axis=axis)
