"""What a reader of ``verify`` sees first: the verdict, failures by name, and networks that are silent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.verification.report import FAIL, UNCHECKED, Report
from spikecore.installing import to_install
from tests.verification import test_verify
from tests.verification.test_verify import X, Y, net, verdicts

pytest.importorskip("torch", reason="the witness engine of these tests is torch")

failure = test_verify.failure  # a fixture


def test_gradients_that_are_all_zero_are_not_verified():
    """A step that compares by itself, in place of ``self.fires``, has no derivative."""

    class Cut(sc.Leaky):
        def step(self, engine, params, state, x):
            mem = params.beta * state.mem + x
            return sc.base.cast(engine, mem > params.threshold), sc.base.State(mem=mem)

    network = sc.Sequential(sc.Linear(12, 9), Cut(threshold=0.3))
    report = sc.verify(sc.Model(network, engine="torch", seed=1), X, Y, num_steps=7)
    found = verdicts(report, "float64")
    assert {verdict for name, verdict in found.items() if name.startswith("gradient")} == {UNCHECKED}
    assert not report.ok
    assert "every gradient is zero" in str(report)


# ---- what a reader sees first --------------------------------------------------------------------------------------


def silent_net(surrogate, last=1.0):
    hidden = sc.Leaky(beta=sc.learn(0.8), threshold=50.0, surrogate=surrogate)
    readout = sc.Leaky(threshold=last, surrogate=surrogate)
    return sc.Sequential(sc.Linear(12, 9), hidden, sc.Linear(9, 5), readout)


def test_the_verdict_is_the_first_line_and_the_table_comes_on_request():
    report = sc.verify(sc.Model(net(), engine="torch", seed=1), X, Y, num_steps=6)
    text = str(report)
    assert text == report.verdict
    assert text.startswith("verified: torch's gradients equal NumPy's (largest relative error ")
    assert "in float64, " in text
    assert "NumPy's equal finite differences (" in text
    assert "finite differences  gradient 0.weight" in report.table()
    assert report.table().endswith(text)
    html = report._repr_html_()
    assert html.startswith("<div><b>verified: torch&#x27;s gradients")
    assert "<details><summary>every comparison</summary><pre>verify Sequential" in html


def test_a_failure_is_named_first_then_its_rows(failure):
    first, *rows = str(failure).splitlines()
    assert first.startswith("NOT VERIFIED: NumPy's gradients differ from finite differences (gradient ")
    assert "limit 1e-06" in first
    assert rows[0].startswith("  finite differences: gradient 0.weight is off by 0.0")
    assert len(rows) == 6
    assert rows[-1].startswith("  and ")


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("surrogate", [sc.surrogate.atan(), sc.surrogate.fast_sigmoid(25)])
@pytest.mark.parametrize("last", [1.0, 50.0])
def test_a_silent_network_is_said_and_rounding_of_the_loss_is_no_failure(engine, surrogate, last):
    report = sc.verify(sc.Model(silent_net(surrogate, last), engine, seed=1), X, Y, num_steps=4)
    assert report.ok, report.table()
    first, *rows = str(report).splitlines()
    assert first.startswith("verified: ")
    assert "nothing fires in layer 1" in rows[0]
    assert "all gradients of 2.weight are zero, so the check says little" in rows[0]
    if last > 1.0:
        assert "finite differences of gradient 0.weight" in rows[1]
        assert "too small to see in the loss, whose rounding is larger" in rows[1]


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_gradients_that_are_zero_because_nothing_fires_are_right_and_say_little(engine):
    network = silent_net(sc.surrogate.triangular(), last=50.0)
    report = sc.verify(sc.Model(network, engine, seed=1), X, Y, num_steps=7)
    assert report.ok
    assert report.silent
    assert report.verdict == "verified, but this says little: nothing fires, and every gradient is zero"
    assert "scale the input up, lower the threshold, or verify a trained model" in str(report)
    assert "not checked" not in str(report), "the verdict has said so"


def test_an_error_that_is_not_a_number_fails_and_is_the_worst():
    report = Report("two gradients", engine="torch", reference="numpy")
    report.add("float64", "gradient a", (2,), (1e-15, 1e-15), 1e-11)
    assert report.ok
    report.add("float64", "gradient b", (2,), (float("nan"), float("nan")), 1e-11)
    assert not report.ok
    assert np.isnan(report.worst)
    assert "gradient b: nan" in report.verdict


@dataclass(frozen=True)
class faint(sc.surrogate.Surrogate):  # noqa: N801
    """A surrogate whose derivative is about 1e-9, and wrong by a factor."""

    factor: float = 1.0

    def derivative(self, xp, u):
        return self.factor * 1e-7 * sc.surrogate.sigmoid(4).derivative(xp, u)

    def antiderivative(self, xp, u):
        return 1e-7 * sc.surrogate.sigmoid(4).antiderivative(xp, u)


def test_a_small_gradient_that_is_wrong_is_no_rounding():
    """1e-7 times a surrogate in the last layer: every gradient is small, and differences still see its size."""
    make = lambda factor: sc.Sequential(sc.Linear(12, 5), sc.Leaky(threshold=0.5, surrogate=faint(factor)))  # noqa: E731
    right, wrong = (sc.verify(sc.Model(make(f), "torch", seed=1), X, Y, num_steps=7) for f in (1.0, 1.1))
    assert right.ok, right.table()
    assert not wrong.ok
    assert verdicts(wrong, "finite differences")["gradient 0.weight"] == FAIL


def test_the_reference_of_a_model_on_numpy_is_another_engine_if_there_is_one(monkeypatch):
    from spikecore.api.verification import verify as module

    model = sc.Model(net(), "numpy", seed=1)
    report = sc.verify(model, X, Y, num_steps=3)
    assert report.verdict.startswith("verified: NumPy's gradients equal torch's (")
    again = sc.verify(model, X, Y, num_steps=3, against="numpy")
    assert "finite differences only: both sides of the comparison are engine 'numpy'" in str(again)
    assert "pass against='torch'" in str(again)
    alone = [one._replace(available=one.name == "numpy", install=to_install("torch")) for one in sc.engines()]
    monkeypatch.setattr(module, "engines", lambda: alone)
    report = sc.verify(model, X, Y, num_steps=3)
    assert report.ok
    assert report.verdict.startswith("verified: NumPy's gradients equal finite differences (")
    assert "finite differences only: both sides of the comparison are engine 'numpy'; install another" in str(report)
    assert to_install("torch") in str(report)
