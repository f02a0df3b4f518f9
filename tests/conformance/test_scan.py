"""The run over time: the suite's cases, any split, which way a layer runs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spikecore as sc
from spikecore.conformance import cases
from spikecore.conformance.rig import (
    normal,
    run,
)
from spikecore.conformance.test_scan import *  # noqa: F403
from spikecore.conformance.test_scan import inputs


@settings(max_examples=20, deadline=None)
@given(lengths=st.lists(st.integers(1, 5), min_size=1, max_size=6), beta=st.floats(0, 1), seed=st.integers(0, 99))
def test_any_split(lengths, beta, seed):
    engine, layer, x = sc.get_engine("numpy"), sc.Leaky(beta=beta), normal(sum(lengths), 2, 3, seed=seed) + 0.5
    whole, state, pieces = run(engine, layer, x), None, []
    for part in np.split(x, np.cumsum(lengths)[:-1]):
        found = run(engine, layer, part, state=state)
        state, pieces = found.state, [*pieces, found.outputs]
    np.testing.assert_array_equal(np.concatenate(pieces), whole.outputs)


@pytest.mark.parametrize("case", [*cases.NEURONS, *cases.LAYERS[:2]], ids=lambda case: case.name)
def test_explain_says_which_way_a_layer_runs(case, monkeypatch):
    """The reference engine's words against what happens: a kernel is called, there is none, or nothing is scanned."""
    pytest.importorskip("numba", reason="Numba is not installed (extra 'kernels')")
    from spikecore.engines.numpy import engine as module

    class Kernel(Exception):
        """One is there."""

    def called(*_):
        raise Kernel

    monkeypatch.setattr(module, "fused_scan", called)
    engine = sc.get_engine("numpy", fused=True)
    way, _, _ = engine.explain(case.layer).partition(":")
    if way == "fused":
        with pytest.raises(Kernel):
            run(engine, case.layer, inputs(case))
    elif way == "loop":
        with pytest.raises(RuntimeError, match="fused=True, but"):
            run(engine, case.layer, inputs(case))
    else:
        assert way == "at once"
        run(engine, case.layer, inputs(case))
