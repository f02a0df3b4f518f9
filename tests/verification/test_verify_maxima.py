"""`verify` of networks with max pooling, whose windows hold equal values that rounding may set apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.verification.clear_maxima import ClearMaximum, with_clear_maxima
from spikecore.api.verification.report import FAIL, OK
from spikecore.engines.numpy.engine import NumpyEngine

LEAKY = sc.Leaky(beta=0.8, threshold=0.3)
OF_CURRENTS = sc.Sequential(
    sc.Conv2d(2, 4, 3), sc.MaxPool2d(2), LEAKY, sc.Conv2d(4, 4, 3, padding=1), sc.MaxPool2d(2), LEAKY,
    sc.Flatten(), sc.Linear(36, 3), LEAKY,
)  # fmt: skip
OF_SPIKES = sc.Sequential(sc.Conv2d(2, 4, 3), LEAKY, sc.MaxPool2d(2), sc.Flatten(), sc.Linear(144, 3), LEAKY)


def shapes():
    """Images of two channels in which areas of equal pixels are larger than windows."""
    draw = np.random.default_rng(0)
    return np.kron(draw.random((4, 2, 4, 4)) > 0.4, np.ones((4, 4)))[:, :, :14, :14]


class Rounding(NumpyEngine):
    """An engine whose convolution in float32 rounds every place of a map otherwise."""

    def raw_words(self):
        words = super().raw_words()
        if self.dtype != "float32":
            return words

        def conv(*arguments):
            y = words["conv"](*arguments)
            places = np.arange(y[0, 0].size).reshape(y.shape[2:])
            return y + np.float32(2.0**-23) * (places * 7 % 5 - 2).astype(y.dtype) * abs(y)

        return {**words, "conv": conv}


class Wrong(Rounding):
    """The same with a derivative of spikes that is too large in float32."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        spike, wrong = self.xp.spike, {"alpha": 2.02} if self.dtype == "float32" else {}
        self.xp.spike = lambda u, surrogate: spike(u, replace(surrogate, **wrong))


def verified(network, engine):
    model = sc.Model(network, engine, seed=1, input_shape=(2, 14, 14))
    return sc.verify(model, shapes(), [0, 1, 2, 0], num_steps=4, against="numpy", differences=False)


def float32(report):
    return {row.name: row for row in report.rows if row.check == "float32"}


def test_maxima_that_rounding_decides_are_no_failure():
    report = verified(OF_CURRENTS, Rounding())
    assert report.ok, report.table()
    found = float32(report)
    assert found["gradient inputs, where maxima are clear"].max_rel < 1e-4
    assert "float32: gradient inputs is off by " in report.table()
    assert found["gradient 7.weight"].verdict == OK, "what no maximum decides is compared as it is"


def test_a_gradient_that_is_wrong_is_wrong_where_maxima_are_clear():
    network = sc.Sequential(
        *(replace(x, surrogate=sc.surrogate.atan()) if x == LEAKY else x for x in OF_CURRENTS.layers)
    )
    report = verified(network, Wrong())
    assert not report.ok
    assert float32(report)["gradient inputs"].verdict == FAIL


def test_equal_spikes_need_no_excuse():
    pytest.importorskip("torch", reason="torch is not installed")
    report = verified(OF_SPIKES, "torch")
    assert report.ok, report.table()
    assert not [row for row in report.rows if "clear" in row.name]


def test_an_engine_with_another_rule_for_equal_values_is_found(monkeypatch):
    """One that gives the gradient to the last maximum; the float64 check has no excuse, and float32 none without it."""
    functional = pytest.importorskip("torch.nn.functional", reason="torch is not installed")
    first = functional.max_pool2d
    monkeypatch.setattr(functional, "max_pool2d", lambda x, *rest: first(x.flip(2, 3), *rest).flip(2, 3))
    report = verified(OF_SPIKES, "torch")
    assert {row.check for row in report.rows if row.verdict == FAIL} == {"float64", "float32"}


class Own(sc.Residual):
    """A container of a user's own, whose layer has another name than its field."""

    def children(self):
        return iter([("inner", self.body)])


def test_max_pooling_is_found_in_containers():
    pool = sc.MaxPool2d(2, padding=1)
    nested = sc.Sequential(sc.Residual(sc.Sequential(sc.Conv2d(2, 2, 3), pool), join="add"), sc.AvgPool2d(2), LEAKY)
    found = with_clear_maxima(nested)
    assert found.layers[0].body.layers == (nested.layers[0].body.layers[0], ClearMaximum(pool))
    assert found.layers[1:] == nested.layers[1:]
    plain = sc.Sequential(sc.Flatten(), sc.Linear(4, 2), LEAKY)
    assert with_clear_maxima(plain) is plain
    with pytest.raises(TypeError, match="Own is a container whose layers cannot be replaced"):
        with_clear_maxima(sc.Sequential(Own(pool)))


@pytest.mark.parametrize("pool", [sc.MaxPool1d(3, 3, 1), sc.MaxPool2d(2), sc.MaxPool3d(2)])
def test_gradients_count_by_how_clear_a_maximum_is(pool):
    """By hand: w of the two largest values of the only window that is looked at."""
    engine = sc.get_engine("numpy", dtype="float64")
    shape = (1, 1, 1) + (4,) * pool.space
    x = np.zeros(shape)
    x[(0, 0, 0) + (0,) * pool.space] = 2.0
    x[(0, 0, 0) + (0,) * (pool.space - 1) + (1,)] = 1.95

    def total(maps):
        y, _ = ClearMaximum(pool).apply(engine, None, None, maps, train=True, key=None)
        return engine.xp.sum(y), y

    _, y, g = engine.value_and_grad(total, engine.asarray(x))
    np.testing.assert_array_equal(y, pool.apply(engine, None, None, x, train=True, key=None)[0])
    np.testing.assert_allclose(g.reshape(-1)[:2], [0.05 / (0.1 * 2.0), 0.0], rtol=1e-12)
