"""The suite must fail on broken engines: a wrong value or rule of any word, and mutants of everything else.

Each mutant is one mistake; its check must pass without it and fail with it.
"""

from __future__ import annotations

import pytest

import spikecore as sc
from spikecore.api.core import rules, words
from spikecore.conformance import test_words, word_cases

from . import mutants, mutants_of_parts
from .mutants import MUTANTS, with_words

assert mutants_of_parts.mutant is mutants.mutant  # both tables are full


def fails(check, *arguments):
    """Whether a check finds something."""
    try:
        check(*arguments)
    except AssertionError:
        return True
    return False


# ---- every word: a wrong value, a wrong rule -----------------------------------------------------------------------


def spoiled(out):
    return ~out if out.dtype == bool else out + 1


@pytest.mark.parametrize("word", words.WORDS)
def test_a_wrong_value_of_any_word_is_found(word):
    every = [case for case in test_words.EVERY if case.word == word]
    raw = sc.get_engine("numpy", dtype="float64").raw_words()[word]
    engine = with_words(**{word: lambda *a, **k: spoiled(raw(*a, **k))})
    assert all(fails(test_words.check_value, engine, case) for case in every)


SPOILS = {"negated": lambda g: -g, "doubled": lambda g: 2.0 * g}


@pytest.mark.parametrize("how", ["negated", "doubled"])
@pytest.mark.parametrize("word", [word for word in words.DIFFERENTIABLE if word != "stop_gradient"])
def test_a_wrong_rule_of_any_word_is_found(monkeypatch, word, how):
    def broken(product):
        def spoil(*arguments, **options):
            g = product(*arguments, **options)
            return [SPOILS[how](part) for part in g] if isinstance(g, list) else None if g is None else SPOILS[how](g)

        return spoil

    monkeypatch.setitem(rules.RULES, word, tuple(broken(product) for product in rules.RULES[word]))
    engine = sc.get_engine("numpy", dtype="float64")
    # two minus signs may cancel in one
    own_first = sorted(word_cases.DIFFERENTIABLE, key=lambda case: case.word != word)
    assert any(fails(test_words.check_gradient, engine, case) for case in own_first)


@pytest.mark.parametrize(("breaks", "check", "arguments"), MUTANTS)
def test_mutant_is_caught(monkeypatch, breaks, check, arguments):
    engine = sc.get_engine("numpy", dtype="float64", fused=False)  # kernels are made of steps as they were
    check(engine, *arguments)
    engine = breaks(monkeypatch) or engine
    with pytest.raises(AssertionError):
        check(engine, *arguments)
