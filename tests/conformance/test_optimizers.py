"""Optimisers: the suite's cases; descriptions and what they refuse."""

from __future__ import annotations

import math
import re

import pytest

import spikecore as sc
from spikecore.conformance.test_optimizers import *  # noqa: F403
from spikecore.conformance.test_optimizers import OPTIMIZERS


@OPTIMIZERS
def test_descriptions_are_values(spec):
    assert spec == type(spec)(**vars(spec))
    assert hash(spec) == hash(type(spec)(**vars(spec)))
    rms = (("square_avg",), ("square_avg", "momentum_buffer"))
    assert spec.slots in ((), ("momentum_buffer",), ("exp_avg", "exp_avg_sq"), *rms)


BAD = [
    (lambda: sc.SGD(lr=-1.0), "SGD: lr=-1.0"),
    (lambda: sc.Adam(lr=math.nan), "Adam: lr=nan"),
    (lambda: sc.SGD(momentum=1.0), "momentum=1.0"),
    (lambda: sc.SGD(dampening=1.5), "dampening=1.5"),
    (lambda: sc.SGD(nesterov=True), "nesterov needs momentum"),
    (lambda: sc.Adam(betas=(0.9, 1.0)), "betas=1.0"),
    (lambda: sc.Adam(betas=(0.9,)), r"betas=\(0\.9,\) must be 2 values, each a finite number"),
    (lambda: sc.Group("*", lr=-1.0), "Group: lr=-1.0"),
    (lambda: sc.Group("*", weight_decay=math.inf), "Group: weight_decay=inf"),
    (lambda: sc.Group("*"), "has no option"),
    (lambda: sc.Adam(groups=({"match": "*"},)), "groups=.* must be sc.Group objects"),
    (lambda: sc.SGD(lr=0.0, groups=(sc.Group("*", lr=0.1),)), "lr=0.0 cannot be scaled"),
    (lambda: sc.AdamW(weight_decay="much"), "AdamW: weight_decay='much'"),
]


@pytest.mark.parametrize(("make", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_arguments_are_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


RANGED = {
    sc.SGD: ("lr", "momentum", "weight_decay", "dampening", "clip_norm"),
    sc.Adam: ("lr", "eps", "weight_decay", "clip_norm"),
    sc.RMSprop: ("lr", "alpha", "eps", "momentum"),
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in RANGED.items() for name in names])
def test_a_message_names_the_range_that_is_checked(kind, name):
    """An end of the range is taken if and only if its bracket in the message says so."""
    with pytest.raises(ValueError, match=f"{name}=-1.0 must be") as refusal:
        kind(**{name: -1.0})
    left, low, high, right = re.fullmatch(r".* in ([\[(])(\S+), (\S+)([\])])", str(refusal.value)).groups()
    for end, belongs in ((float(low), left == "["), (float(high), right == "]")):
        if belongs:
            assert getattr(kind(**{name: end}), name) == end
        else:
            with pytest.raises(ValueError, match=f"{name}={end}"):
                kind(**{name: end})
