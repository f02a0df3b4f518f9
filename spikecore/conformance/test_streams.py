"""Streams: step by step, a network gives what it gives for a whole sequence, on every engine."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.layer import ShapeError
from spikecore.api.core.tree import map_leaves
from spikecore.api.core.variants import with_dtype
from spikecore.conformance import cases
from spikecore.conformance.rig import assert_close, assert_trees_close, host, normal

STEPS, BATCH = 8, 3
THROUGH_TIME = [case for case in cases.LAYERS if case.name.startswith(("BatchNormTT", "TemporalEffective"))]
NONE = [*THROUGH_TIME, *cases.WHOLE]
ALL = [case for case in (*cases.NEURONS, *cases.LAYERS, *cases.NETWORKS) if case not in NONE]


def model_of(engine, case):
    return sc.Model(case.layer, engine=as_returned(engine), seed=1, input_shape=case.shape)


@functools.lru_cache(maxsize=None)
def as_returned(engine):
    """The engine in the dtype in which its executors return arrays: what comes from a device may be float32."""
    found = engine.to_numpy(sc.Model(sc.Leaky(), engine, input_shape=(1,))(normal(1, 1, 1)).spikes)
    return with_dtype(engine, found.dtype.name)


def limit(engine):
    return 1e-12 if engine.dtype == "float64" else 1e-5


def stepped(engine, stream, x):
    return np.stack([engine.to_numpy(stream.step(engine.asarray(one))) for one in x])


@pytest.mark.parametrize("case", ALL, **cases.ids(ALL))
def test_a_stream_gives_what_the_whole_sequence_gives(engine, case):
    model, x = model_of(engine, case), normal(STEPS, BATCH, *case.shape)
    engine, stream, out = model.engine, model.stream(BATCH, record=True), model(x, record=True)
    assert_close(stepped(engine, stream, x), engine.to_numpy(out.spikes), limit(engine), what=stream.explain())
    assert_trees_close(host(engine, stream.state), host(engine, out.state), limit(engine))
    assert set(stream.states) == set(out.states)
    for name, states in stream.states.items():
        last = map_leaves(lambda a: a[-1, ...], out.states[name])
        assert_trees_close(host(engine, states), host(engine, last), limit(engine))


@pytest.mark.parametrize("case", ALL, **cases.ids(ALL))
def test_a_stream_begins_again_and_goes_on_from_any_state(engine, case):
    model, x = model_of(engine, case), normal(STEPS, BATCH, *case.shape, seed=2)
    engine, stream = model.engine, model.stream(BATCH)
    resting, first = host(engine, stream.state), stepped(engine, stream, x)
    stream.reset()
    assert_trees_close(host(engine, stream.state), resting, 0)
    assert not len(stream.states)
    half = stepped(engine, stream, x[:4])
    middle = stream.state
    stream.step(engine.asarray(-x[0]))
    stream.reset(middle)
    assert_trees_close(host(engine, stream.state), host(engine, middle), 0)
    np.testing.assert_array_equal(np.concatenate([half, stepped(engine, stream, x[4:])]), first)


@pytest.mark.parametrize("case", NONE, **cases.ids(NONE))
def test_a_layer_of_whole_sequences_has_no_stream(engine, case):
    with pytest.raises(ShapeError, match="a sequence of 1 time steps, expected (time|num)_steps=8"):
        model_of(engine, case).stream()
