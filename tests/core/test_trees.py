"""Parameters, states and buffers: immutable named collections."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping

import numpy as np
import pytest

from spikecore.api.core.tree import Params, State, Tree, flatten, leaves, map_leaves, unflatten

DEEP = Params(beta=0.9, inner=Params(weight=np.arange(3.0), bias=1.0), last=2.0)


def test_it_is_a_mapping_with_all_its_methods():
    assert isinstance(DEEP, Mapping)
    assert list(DEEP) == list(DEEP.keys()) == ["beta", "inner", "last"]
    assert (len(DEEP), DEEP["beta"], DEEP.beta, DEEP.get("beta"), DEEP.get("tau", 7)) == (3, 0.9, 0.9, 0.9, 7)
    assert list(DEEP.values())[::2] == [0.9, 2.0]
    assert dict(DEEP.items()) == dict(**DEEP)
    assert "inner" in DEEP
    assert "weight" not in DEEP


def test_it_is_compared_by_content_and_has_no_hash():
    assert Tree(a=1.0, b=Tree(c=2.0)) == Params(b=State(c=2.0), a=1.0) == {"a": 1.0, "b": {"c": 2.0}}
    assert Tree(a=1.0) != Tree(a=2.0)
    assert Tree(a=1.0) != 3
    with pytest.raises(TypeError, match="unhashable"):
        hash(Tree())


def test_it_never_changes():
    with pytest.raises(AttributeError, match=r"immutable; use \.replace\(beta="):
        DEEP.beta = 0.5
    with pytest.raises(AttributeError, match="no 'tau' in this Params; it holds beta, inner, last"):
        _ = DEEP.tau
    assert DEEP.replace(beta=0.5, tau=1.0).beta == 0.5
    assert DEEP.beta == 0.9


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda tree: pickle.loads(pickle.dumps(tree))])
def test_copies(copied):
    again = copied(DEEP)
    assert type(again) is Params
    assert [name for name, _ in leaves(again)] == ["beta", "inner.weight", "inner.bias", "last"]


def test_leaves_by_path():
    flat = flatten(DEEP)
    assert list(flat) == ["beta", "inner.weight", "inner.bias", "last"]
    assert flatten(DEEP.inner) == DEEP.inner
    assert flatten(3.0) == {"": 3.0}
    back = unflatten(map_leaves(lambda x: 2 * x, Tree(flat)), DEEP)
    assert (back.beta, back.inner.bias, type(back.inner)) == (1.8, 2.0, Params)
    with pytest.raises(KeyError, match=r"missing \['last'\], unknown \['tau'\]"):
        unflatten({**{n: v for n, v in flat.items() if n != "last"}, "tau": 1.0}, DEEP)
