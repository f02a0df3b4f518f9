"""Steps written down as graphs of words: recorded once, differentiated by one way back, computed by one interpreter."""

import textwrap

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core import graph as graph_module
from spikecore.api.core import rules
from spikecore.api.core.graph import FLOAT, Value, WordGraph, run
from spikecore.api.core.layer import Key
from spikecore.api.core.pull import accumulate
from spikecore.api.core.recorder import ElementWords, Untraceable
from spikecore.api.core.tree import State, flatten, map_leaves, nested
from spikecore.api.neurons.stepper import Stepper, one_step
from spikecore.conformance.cases import NEURONS
from spikecore.engines.numpy.tape import Tape
from spikecore.kernels.adjoint import adjoint
from spikecore.kernels.step_kernel import array_words
from spikecore.kernels.trace import trace

ENGINE = sc.get_engine("numpy", dtype="float64", fused=False)
LEAKY = textwrap.dedent(graph_module.__doc__.split("\n\n")[2])  # the example of the module


def parts_of(layer, shape):
    """Parameters as arrays and numbers, a state, an input and gradients by the results of one step."""
    random = np.random.default_rng(0)
    init = layer.init(Key((0,)), shape).params
    params = flatten(layer.prepare(ENGINE, map_leaves(ENGINE.asarray, init)))
    state = {name: random.normal(size=(4, *shape)) for name in layer.state}
    return params, state, 0.5 + random.normal(size=(4, *shape)), random.normal(size=(1 + len(state), 4, *shape))


def by_tape(layer, params, state, x, given):
    """The results of a step and their gradients by what it reads, on the tape."""
    tape = Tape(ENGINE)
    held = {f"p_{name}": tape.variable(value) for name, value in params.items() if type(value) is not float}
    held.update({f"s_{name}": tape.variable(value) for name, value in state.items()}, x=tape.variable(x))
    every = nested({name: held.get(f"p_{name}", value) for name, value in params.items()})
    y, after = one_step(ENGINE, layer, every, State({name: held[f"s_{name}"] for name in state}), held["x"])
    results, seeds = [y, *(after[name] for name in layer.state)], {}
    for result, g in zip(results, given):
        accumulate(seeds, result.slot, g)
    found = tape.backward(seeds)
    zero = {name: np.zeros_like(var.value) for name, var in held.items()}
    return [result.value for result in results], {name: found.get(held[name].slot, zero[name]) for name in held}


def by_graph(layer, params, state, x, given):
    """The same, computed from the graph of the step and of its derivative."""
    step = trace(layer, {name: value if type(value) is float else None for name, value in params.items()})
    gradients = adjoint(step, ())
    inputs = {"x": x, "g": given[0], **{f"s_{name}": value for name, value in state.items()}}
    inputs.update({f"c_{name}": g for name, g in zip(layer.state, given[1:])})
    inputs.update({f"p_{name}": params[name] for name in step.params})
    values = {value: inputs[name] for name, value in step.graph.inputs.items() if name in inputs}
    ops, _ = step.graph.needed([step.output, *step.after, *gradients.values()])
    run(array_words(ENGINE), ops, values)
    results = [values[value] for value in (step.output, *step.after)]
    return results, {name: values[v] if type(v) is Value else v for name, v in gradients.items()}


def summed(gradient, like):
    """A gradient per element as one of an array that was broadcast."""
    extra = gradient.ndim - like.ndim
    axes = (*range(extra), *(extra + i for i, n in enumerate(like.shape) if n == 1 < gradient.shape[extra + i]))
    return gradient.sum(axis=axes).reshape(like.shape)


def traced(case):
    try:
        trace(case.layer, {name: None for name in parts_of(case.layer, case.shape)[0]})
    except Untraceable:
        return False
    return True


STEPS = [case for case in NEURONS if isinstance(case.layer, Stepper) and traced(case)]


def test_many_neurons_have_a_graph():
    assert len(STEPS) > 40


@pytest.mark.parametrize("case", STEPS, ids=repr)
def test_a_step_and_its_derivative_are_the_same_on_symbols_and_on_the_tape(case):
    """Results and gradients by input and states are equal to the bit, but for a neuron that says a word twice: in the
    graph it is one word, and its shares are added up before it. A parameter's are added up in another order, too.
    """
    parts = parts_of(case.layer, case.shape)
    expected, by_each = by_tape(case.layer, *parts)
    results, found = by_graph(case.layer, *parts)
    for a, b in zip(results, expected):
        np.testing.assert_array_equal(a, b)
    for name, gradient in found.items():
        like = by_each[name]
        if gradient is None:
            assert not np.any(like), name
        elif not name.startswith("p_") and case.name != "LIAF":
            np.testing.assert_array_equal(gradient, like, err_msg=name)
        else:
            whole = np.broadcast_to(gradient, parts[2].shape)
            np.testing.assert_allclose(summed(whole, like), like, rtol=1e-12, atol=1e-12, err_msg=name)


def test_there_is_one_way_back(monkeypatch):
    """A wrong rule makes both wrong, and in the same way."""
    layer = sc.Leaky(beta=0.9)
    parts = parts_of(layer, (3,))
    before = by_tape(layer, *parts)[1]["x"]
    monkeypatch.setitem(rules.RULES, "subtract", (lambda xp, g, out, a, b: 2.0 * g, lambda xp, g, out, a, b: -g))
    on_tape, on_graph = (by(layer, *parts)[1]["x"] for by in (by_tape, by_graph))
    assert (on_tape != before).any()
    np.testing.assert_array_equal(on_tape, on_graph)


def test_the_graph_of_a_leaky_neuron():
    assert str(trace(sc.Leaky(beta=0.9), {"beta": 0.9, "threshold": 1.0, "graded_spikes_factor": 1.0}).graph) == LEAKY


def test_equal_words_are_entered_once():
    xp = ElementWords(WordGraph())
    x = xp.input("x")
    first, again, other = xp.exp(x) + 1.0, xp.exp(x) + 1.0, xp.exp(x) + 2.0
    assert first.value == again.value != other.value
    assert len(xp.graph.ops) == 3


def test_zeros_of_both_signs_stay_apart():
    """x / 0.0 and x / -0.0 are not the same."""
    xp = ElementWords(WordGraph())
    x = xp.input("x")
    results = xp.divide(x, 0.0).value, xp.divide(x, -0.0).value
    with np.errstate(divide="ignore"):
        values = run(ENGINE.xp, xp.graph.ops, {x.value: np.ones(1)})
    assert [values[v].item() for v in results] == [np.inf, -np.inf]


def test_what_is_needed_leads_from_inputs_to_ends():
    graph = WordGraph()
    a, b = graph.input("a"), graph.input("b")
    double = graph.add("multiply", (a, 2.0), FLOAT)
    graph.add("multiply", (b, 2.0), FLOAT)
    end = graph.add("add", (double, a), FLOAT)
    ops, leaves = graph.needed([end])
    assert [op.out for op in ops] == [double, end]
    assert leaves == {a}
    assert graph.needed([end, None, 0.0], given=[double]) == ([ops[-1]], {a, double})


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (lambda xp, x: x if x > 0 else -x, "branches on data"),
        (lambda xp, x: xp.sum(x), "'sum', which kernels do not have"),
        (lambda xp, x: xp.erf(x), "'erf', which kernels do not have"),
        (lambda xp, x: xp.zeros(x.shape), "looks at .shape of an array"),
        (lambda xp, x: np.asarray(x), "looks at the numbers of an array"),
        (lambda xp, x: x + np.ones(3), "mixes in ndarray"),
    ],
)  # fmt: skip
def test_code_that_a_graph_could_not_repeat_is_refused(code, reason):
    xp = ElementWords(WordGraph())
    with pytest.raises(Untraceable, match=reason):
        code(xp, xp.input("x"))
