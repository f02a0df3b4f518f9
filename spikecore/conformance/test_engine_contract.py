"""The contract of engines besides words: host and engine, dtypes, names; and the engines that are not here."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.extras import StepwiseLearning, extra
from spikecore.api.core.tree import Tree
from spikecore.api.core.variants import with_dtype
from spikecore.conformance.rig import normal


def check_round_trip(engine):
    for x in (normal(3, 4), np.float64(1.5), np.zeros((0, 2)), normal(3, 4)[::-1, ::2], normal(3, 4).T):
        found = engine.to_numpy(engine.asarray(x))
        np.testing.assert_array_equal(found, np.asarray(x).astype(engine.dtype))
        assert isinstance(found, np.ndarray)
        assert found.dtype == engine.dtype
    labels = engine.to_numpy(engine.asarray([1, 2], dtype="int64"))
    assert labels.dtype == "int64"
    assert labels.tolist() == [1, 2]
    mask = engine.to_numpy(engine.asarray(np.array([True, False]), dtype="bool"))
    assert mask.dtype == bool
    assert mask.tolist() == [True, False]


def test_round_trip(engine):
    check_round_trip(engine)


def test_host_data_are_cast(engine32):
    """Host data of any kind: float64, integers, booleans, lists, numbers; a read-only array too."""
    fixed = np.arange(3.0)
    fixed.flags.writeable = False
    for x in (fixed, [0, 1, 2], np.array([0, 1, 2], dtype="uint8"), [False, True, 2.0]):
        found = engine32.to_numpy(engine32.asarray(x))
        assert found.dtype == "float32"
        assert found.tolist() == [0.0, 1.0, 2.0]
    assert engine32.to_numpy(engine32.asarray(3)).shape == ()


def test_an_engines_own_array_of_another_float_dtype_is_refused(engine, engine32):
    x = engine.asarray(normal(2))
    if isinstance(x, np.ndarray):  # for the numpy engine every NumPy array is host data
        assert with_dtype(engine, "float32").asarray(x).dtype == "float32"
        return
    with pytest.raises(TypeError, match="float64.*float32"):
        with_dtype(engine, "float32").asarray(x)
    assert engine.asarray(x) is x or (engine.to_numpy(engine.asarray(x)) == engine.to_numpy(x)).all()


def test_with_dtype(engine):
    other = with_dtype(engine, "float32")
    assert (other.dtype, other.device, other.name) == ("float32", engine.device, engine.name)
    assert engine.to_numpy(other.asarray([1.0])).dtype == "float32"
    assert engine.dtype == "float64", "the engine itself stays as it was"


def test_unknown_dtypes_are_refused(engine):
    with pytest.raises(ValueError, match="dtype='float16' must be one of float32, float64"):
        with_dtype(engine, "float16")


def test_engines_describe_themselves(engine):
    assert engine.dtype in repr(engine)
    assert engine.name
    assert engine.device
    assert sc.base.engine_of(engine.asarray([1.0])).dtype == engine.dtype


def test_an_entry_by_an_index_that_is_an_array(engine):
    x = normal(4, 2, 3)
    for dtype in (None, "int64"):
        found = extra(engine, StepwiseLearning).row(engine, engine.asarray(x), engine.asarray(2, dtype=dtype))
        np.testing.assert_array_equal(engine.to_numpy(found), x[2:3])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_array_belongs_to_an_engine_in_its_dtype(engine, dtype):
    other = with_dtype(engine, dtype)
    x = other.asarray([1.0])
    found = sc.base.engine_of(x)
    assert found.dtype == dtype
    # "cuda" may be a name of "cuda:0": what counts is where arrays are
    assert getattr(found.asarray([1.0]), "device", None) == getattr(x, "device", None)
    assert found.asarray(x).dtype == x.dtype


def test_two_engines_live_side_by_side(engine, engine32):
    a, b = engine.asarray(normal(3)), engine32.asarray(normal(3))
    assert engine.to_numpy(a * 2.0).dtype == engine.dtype
    assert engine32.to_numpy(b * 2.0).dtype == engine32.dtype


def test_value_and_grad_returns_value_extra_and_gradient(engine):
    """Trees in the shape of the argument; constants get none; arrays passed in stay as they were."""
    x, c = normal(3), normal(3, seed=1)
    held = Tree(a=engine.asarray(x), below=Tree(b=engine.asarray(c)))

    def function(held, constant):
        return engine.xp.sum(held.a * held.below.b * constant), {"twice": (held.a * 2.0, "text"), "none": None}

    value, extra, grads = engine.value_and_grad(function, held, engine.asarray(c))
    np.testing.assert_allclose(engine.to_numpy(value), (x * c * c).sum(), rtol=1e-14)
    np.testing.assert_array_equal(engine.to_numpy(extra["twice"][0]), 2 * x)
    assert extra["twice"][1] == "text"
    assert extra["none"] is None
    np.testing.assert_allclose(engine.to_numpy(grads.a), c * c, rtol=1e-14)
    np.testing.assert_allclose(engine.to_numpy(grads.below.b), x * c, rtol=1e-14)
    np.testing.assert_array_equal(engine.to_numpy(held.a), x)
