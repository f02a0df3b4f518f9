"""Grids and ranges of what a quantised network computes: exact, and never exceeded; what has none is refused."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import spikecore as sc
from spikecore.compression import FixedPoint, ScaledInteger
from spikecore.export.c import fixed_rules
from spikecore.export.c.fixed import Fixed, fixed, integers
from spikecore.export.c.fixed_step import fixed_step
from tests.export.fixed_rig import drawn, neuron, run

whole = st.integers(-(2**20), 2**20)


# ---- grids of constants ---------------------------------------------------------------------------------------------


@settings(suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
@given(st.lists(whole, min_size=1, max_size=9), st.integers(-30, 30))
def test_a_constant_has_the_coarsest_grid_that_fits(numbers, fraction):
    array = np.ldexp(np.array(numbers, "float64"), -fraction)
    kind = fixed(array)
    assert np.array_equal(np.ldexp(integers(array, kind.fraction).astype("float64"), -kind.fraction), array)
    assert (kind.low, kind.high) == (integers(array, kind.fraction).min(), integers(array, kind.fraction).max())
    if array.any():
        assert (integers(array, kind.fraction) % 2 != 0).any()  # no grid that is coarser has all of them


def test_the_grid_of_a_float32_is_that_of_its_mantissa():
    assert fixed(np.float32(0.9)) == Fixed(23, 7549747, 7549747)
    assert fixed(np.array([0.0])) == Fixed(0, 0, 0)
    assert fixed(np.array([True, False])) == Fixed(0, 0, 1)
    assert fixed(3) == fixed(np.array([3, 3])) == fixed(3.0) == Fixed(0, 3, 3)
    assert integers(np.array([4, 8]), -2).tolist() == [1, 2]
    with pytest.raises(ValueError, match="not finite"):
        fixed(np.array([1.0, np.inf]))


@pytest.mark.parametrize(("high", "bits"), [(127, 8), (128, 16), (2**15, 32), (2**31, 64), (2**63, 0)])
def test_the_smallest_type_that_has_a_range(high, bits):
    assert Fixed(3, 0, high).width == bits
    assert Fixed(3, -high - 1, 0).width == bits


# ---- what is computed -----------------------------------------------------------------------------------------------


def outside(step, x):
    """The tasks whose result is off its grid or out of its range on some steps of input; partial sums, too."""
    found, states = set(), step.graph.rest()
    for row in x:
        for task, operands, result in run(step, row[None], states):
            kind = step.results[task]
            scaled = np.ldexp(result, kind.fraction)
            if (scaled != np.rint(scaled)).any() or scaled.min() < kind.low or scaled.max() > kind.high:
                found.add(task.word)
            if task.word == "product":
                sums = np.ldexp(np.abs(operands[0]) @ np.abs(task.options["weight"]), step.sums[task].fraction)
                found |= {"sums"} if sums.max() > step.sums[task].high else set()
        _, states = step.graph.step(row[None].astype(step.graph.dtype), states)
    return found


def inputs_of(step, random, steps):
    """Inputs on the grid of a step, its ends among them."""
    kind = step.formats[step.graph.x]
    x = random.integers(kind.low, kind.high + 1, (steps, *step.graph.shapes[step.graph.x][1:]))
    x[0], x[1] = kind.low, kind.high
    return x * 2.0**-kind.fraction


def law(seed, steps=8):
    step = fixed_step(drawn(seed))
    assert step.inexact() is None
    assert outside(step, inputs_of(step, np.random.default_rng(seed), steps)) == set()


@pytest.mark.parametrize("seed", range(8))
def test_every_value_is_on_its_grid_and_in_its_range(seed):
    law(seed)


@pytest.mark.slow
@given(st.integers(8, 10**6))
@settings(max_examples=200, deadline=None)
def test_every_value_of_drawn_networks(seed):
    law(seed)


def narrower(rule):
    def wrong(call):
        kind = rule(call)
        return replace(kind, high=(kind.low + kind.high) // 2)

    return wrong


def coarser(rule):
    def wrong(call):
        kind = rule(call)
        return Fixed(kind.fraction - 1, kind.low // 2, kind.high // 2)

    return wrong


@pytest.mark.parametrize("wrong", [narrower, coarser])
@pytest.mark.parametrize("word", ["add", "subtract", "multiply", "product", "floor"])
def test_a_wrong_rule_is_found(monkeypatch, word, wrong):
    monkeypatch.setitem(fixed_rules.RULES, word, wrong(fixed_rules.RULES[word]))
    found = set()
    for seed in range(8):
        try:
            step = fixed_step(drawn(seed))
            found |= outside(step, inputs_of(step, np.random.default_rng(seed), 8))
        except sc.errors.ExportError:
            found.add("refused")
        if found:
            return
    raise AssertionError(f"a wrong rule for {word} is not found")


# ---- states ---------------------------------------------------------------------------------------------------------


def model_of(*layers, shape=(4,)):
    return sc.Model(sc.Sequential(*layers), "numpy", seed=0, input_shape=shape)


def connection(outs=3, **options):
    return sc.Quantized(sc.Linear(4, outs), ScaledInteger(4), FixedPoint(8, 4), **options)


def test_a_state_has_the_range_that_a_step_leads_back_into():
    """beta 1/2, inputs of at most 3: the membrane comes near to 6 and no further, whatever its quantiser allows."""
    model = model_of(sc.QuantizedNeuron(sc.LI(beta=0.5), None, FixedPoint(16, 8)), shape=(2,))
    step = fixed_step(model, inputs=FixedPoint(2, 0, signed=False))
    (state,) = step.graph.states
    low, high = step.formats[state.before].span
    assert low == 0
    assert 5.9 < high < 6.1
    assert step.formats[state.before].width == 16


def test_a_state_saturates_where_its_quantiser_does():
    step = fixed_step(model_of(connection(), sc.IF(state_quant=FixedPoint(8, 2))), inputs="spikes")
    (state,) = step.graph.states
    assert step.formats[state.before] == Fixed(2, -128, 127)


def test_float64_where_float32_would_round():
    wide = sc.Quantized(sc.Linear(4, 3), ScaledInteger(14), input_quant=FixedPoint(14, 6))
    model = model_of(wide, sc.IF(state_quant=FixedPoint(16, 8)))
    assert fixed_step(model).graph.dtype == "float64"
    assert fixed_step(model_of(connection(), sc.IF(state_quant=FixedPoint(8, 2))), "spikes").graph.dtype == "float32"


def test_the_table_names_what_is_stored():
    table = fixed_step(model_of(connection(), sc.IF(state_quant=FixedPoint(8, 2))), "spikes").table()
    assert [line.split()[0] for line in table.splitlines()] == ["value", "input", "0:", "1.mem", "output"]
    assert "1.mem    8     2         -32 to 31.75" in table


# ---- refusals -------------------------------------------------------------------------------------------------------

quantised = FixedPoint(16, 8)
REFUSED = {
    "no grid": (
        (connection(), sc.Leaky(beta=0.5)),
        r"layer 1 \(Leaky\): its state 1.mem is on no grid.*sc.compression.quantize",
    ),
    "no bound": ((connection(), sc.IF()), r"layer 1 \(IF\): no bound is known for its state 1.mem.*state_quant="),
    "exp": ((connection(), sc.EIF(state_quant=quantised)), r"layer 1 \(EIF\): exp has no exact form in integers"),
    "levels": (
        (connection(), sc.Leaky(state_quant=sc.functional.quant.state_quant(num_bits=8))),
        r"layer 1 \(Leaky\) divides by .* no power of two",
    ),
    "float weights": ((sc.Linear(4, 3), sc.Leaky(beta=0.9, state_quant=quantised)), "more than float64 has|64 bits"),
    "softmax": ((connection(), sc.LayerNorm(3), sc.IF(state_quant=quantised)), r"layer 1 \(LayerNorm\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_integers_cannot_be_is_refused_with_the_remedy(name, tmp_path):
    layers, message = REFUSED[name]
    with pytest.raises(sc.errors.ExportError, match=message):
        sc.export(model_of(*layers), tmp_path / "net", dtype="fixed", inputs="spikes")
    assert not list(tmp_path.iterdir())


def test_an_average_of_nine_numbers_is_refused():
    layers = sc.AvgPool2d(3), sc.IF(state_quant=quantised)
    with pytest.raises(sc.errors.ExportError, match=r"layer 0 \(AvgPool2d\) divides by 9"):
        fixed_step(model_of(*layers, shape=(1, 6, 6)), inputs="spikes")


def test_inputs_must_be_known():
    model = model_of(connection(), sc.IF(state_quant=quantised))
    with pytest.raises(
        sc.errors.ExportError, match=r'does not begin with a quantiser.*sc.compression.quantize.*inputs="spikes"'
    ):
        fixed_step(model)
    with pytest.raises(sc.errors.ExportError, match=r"inputs='spike' must be"):
        fixed_step(model, inputs="spike")
    first = model_of(connection(input_quant=FixedPoint(8, 5)), sc.IF(state_quant=quantised))
    assert fixed_step(first).formats[fixed_step(first).graph.x] == Fixed(5, -128, 127)


@dataclass(frozen=True)
class Asks(sc.IF):
    """A neuron with a division by what comes in."""

    def step(self, engine, params, state, x):
        return super().step(engine, params, state, 1.0 / (x + 2.0))


def test_a_users_own_neuron_is_refused_by_its_name():
    with pytest.raises(sc.errors.ExportError, match=r"Asks\) divides by a value that depends on the input"):
        fixed_step(model_of(connection(), Asks(state_quant=quantised)), inputs="spikes")


@dataclass(frozen=True)
class Unbounded(sc.IF):
    """A neuron with a bound that is none."""

    def step(self, engine, params, state, x):
        return super().step(engine, params, state, engine.xp.maximum(x, -np.inf))


def test_a_number_that_is_not_finite_is_refused():
    with pytest.raises(sc.errors.ExportError, match=r"Unbounded\) computes with -inf, which no integer is"):
        fixed_step(model_of(connection(), Unbounded(state_quant=quantised)), inputs="spikes")


def test_neurons_drawn_are_all_kinds():
    kinds = {type(neuron(np.random.default_rng(seed)).neuron).__name__ for seed in range(60)}
    assert kinds == {"Leaky", "IF", "Synaptic", "ALIF", "TernaryLeaky", "LI"}
