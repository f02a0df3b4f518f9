"""Words: the suite's cases; each has a rule."""

from __future__ import annotations

import pytest

from spikecore.api.core import words
from spikecore.api.core.rules import rule_of
from spikecore.conformance.test_words import *  # noqa: F403


@pytest.mark.parametrize("word", [*words.DIFFERENTIABLE, *words.PIECEWISE_CONSTANT])
def test_every_word_has_a_rule(word):
    rule_of(word)


def test_a_word_without_a_rule_is_named():
    with pytest.raises(NotImplementedError, match="no derivative rule for 'arctan2'"):
        rule_of("arctan2")
