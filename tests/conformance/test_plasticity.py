"""Plasticity: the suite's cases, a mutant of each rule."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

import spikecore as sc
from spikecore.conformance.test_plasticity import *  # noqa: F403
from spikecore.conformance.test_plasticity import IDS, RULES, check_rule
from spikecore.plasticity import LocalRule, Trace

from .mistakes import with_mistake


@pytest.mark.parametrize(("rule", "oracle", "mistake"), RULES, ids=IDS)
def test_a_mutant_of_each_rule_is_found(monkeypatch, rule, oracle, mistake):
    monkeypatch.setattr(type(rule), "products", with_mistake(type(rule).products, *mistake))
    with pytest.raises(AssertionError, match="relative error"):
        check_rule(sc.get_engine("numpy", dtype="float64"), rule, oracle)


class Own(LocalRule):
    """A rule of a user's: whatever its trace, it changes nothing."""

    trace: ClassVar[Trace] = Trace("mem", 0.9)

    def traces(self):
        return {"own": self.trace}


@pytest.mark.parametrize(
    ("trace", "message"),
    [
        (Trace("mem", 0.9), "trace 'own' reads the membrane: say reads_membrane = True"),
        (Trace("input", 0.9), "unknown of 'input'"),
        (Trace("pre", 0.9, "near"), "unknown kind 'near'; did you mean 'nearest'"),
        (Trace("pre", "x"), r"trace 'own': decay='x' must be in \[0, 1\]"),
        (Trace("post", 1.5), r"decay=1.5 must be in \[0, 1\]"),
    ],
)
def test_a_trace_that_nobody_knows_is_refused(monkeypatch, trace, message):
    monkeypatch.setattr(Own, "trace", trace)
    with pytest.raises(ValueError, match=message):
        Own().run(np.ones((2, 3)), np.ones((4, 1, 3)), np.ones((4, 1, 2)))
