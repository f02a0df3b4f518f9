"""Mistakes in layers, neurons and losses of one's own: the message names the part, the line and the remedy."""

from __future__ import annotations

import re

import numpy as np
import pytest

import spikecore as sc
from spikecore.base import EMPTY, Init, Params
from tests.house import own_parts as own
from tests.house.newcomer_rig import X, Y

AXES = "axis= for dim=", "keepdims= for keepdim="
FOREIGN = "functions of np, torch and math"
ENGINE_FIRST = r"write cast\(engine, mem > 0\.0\)"

#: A mistake in a step: the engines that meet it, and what the message must say.
STEPS = {
    own.with_if: ("numpy torch", "if mem > params.threshold", r"xp\.where\(condition, a, b\), with xp = engine\.xp"),
    own.with_and: ("numpy torch", "mem > 0.0 and mem < 1.0", "for 'and' write &"),
    own.with_numpy: ("numpy torch", FOREIGN, r"write xp\.tanh\(\.\.\.\), with xp = engine\.xp"),
    own.with_torch: ("numpy", FOREIGN, r"write xp\.maximum\(x, 0\.0\)"),
    own.with_math: ("numpy torch", FOREIGN, r"write xp\.exp\(\.\.\.\)"),
    own.with_float: ("numpy torch", FOREIGN, r"write xp\.astype\(x, engine\.dtype\)"),
    own.with_dim: ("numpy", *AXES),
    own.with_keepdim: ("numpy torch", *AXES),
    own.with_number: ("torch", r"params\.beta is a plain number", r"write engine\.asarray\(params\.beta\)"),
    own.with_mask_first: ("numpy torch", "engine first", ENGINE_FIRST),
    own.with_mask_alone: ("numpy torch", "engine first", ENGINE_FIRST),
    own.with_method: ("numpy", "no method 'detach'", r"write engine\.stop_gradient\(x\)"),
    own.with_engine: ("numpy torch", r"engine\.tanh\(mem\)", r"write xp\.tanh\(\.\.\.\), with xp = engine\.xp"),
}
CASES = [(engine, mistake) for mistake, (engines, *_) in STEPS.items() for engine in engines.split()]


def fit(part, engine, **options):
    if engine == "torch":
        pytest.importorskip("torch")
    return sc.Model(own.network(part), engine).fit(X, Y, num_steps=2, progress=False, **options)


def told(act, *parts, kind=TypeError):
    with pytest.raises(kind) as caught:
        act()
    for part in parts:
        assert re.search(part, str(caught.value)), str(caught.value)


@pytest.mark.parametrize(("engine", "mistake"), CASES, ids=[f"{engine}-{m.__name__}" for engine, m in CASES])
def test_a_mistake_in_a_step_names_the_step_the_line_and_the_remedy(engine, mistake):
    if mistake is own.with_torch:
        pytest.importorskip("torch")
    told(lambda: fit(own.neuron(mistake), engine), r"^Own\.step, line \d+, ", *STEPS[mistake][1:])


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_a_field_in_place_of_a_parameter(engine):
    learned = own.neuron(own.with_field, beta=sc.learn(0.9))
    told(lambda: fit(learned, engine), r"self\.beta is what the constructor got", r"write params\.beta")


def test_a_number_becomes_an_array_by_the_words_of_the_message():
    def step(self, engine, params, mem):
        return mem * engine.xp.exp(engine.asarray(params.beta))

    for beta in (0.9, sc.learn(0.9)):
        losses = [fit(own.neuron(step, beta), engine)[-1]["loss"] for engine in ("numpy", "torch")]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_function_of_torch_in_a_layer_is_not_called_a_loss():
    pytest.importorskip("torch")
    part = own.layer(apply=own.with_torch_layer)
    told(
        lambda: fit(part, "numpy"),
        r"^Own\.with_torch_layer, line \d+, .*torch\.tanh\(x\)",
        r"write xp\.tanh\(\.\.\.\), with",
    )


def test_a_function_of_numpy_in_a_loss():
    written = r"write xp\.exp\(\.\.\.\), with xp = sc\.base\.engine_of\(out\.spikes\)\.xp"
    told(lambda: fit(sc.Leaky(), "numpy", loss=own.loss_with_numpy), r"^loss_with_numpy, line", written)


def test_what_torch_takes_and_the_reference_does_not_is_told_by_verify():
    pytest.importorskip("torch")
    model = sc.Model(own.network(own.neuron(own.with_torch)), "torch")
    model.fit(X, Y, num_steps=2, progress=False)
    told(lambda: sc.verify(model, X, Y, num_steps=2), r"^Own\.step, line \d+", r"write xp\.maximum\(x, 0\.0\)")


def test_code_without_a_source_is_told_the_same():
    space = {}
    exec("def mistake(self, engine, params, mem):\n    return mem if mem > 0.0 else -mem\n", space)
    told(lambda: fit(own.neuron(space["mistake"]), "numpy"), r"^Own\.step: ", r"xp\.where\(condition")


def test_the_error_of_the_array_library_stays_the_cause():
    with pytest.raises(TypeError) as caught:
        fit(own.neuron(own.with_if), "numpy")
    assert "truth value" in str(caught.value.__cause__)


def test_errors_that_nobody_has_an_explanation_for_stay_what_they_are():
    def step(self, engine, params, mem):
        raise ValueError("my own")

    told(lambda: fit(own.neuron(step), "numpy"), "^my own$", kind=ValueError)


def test_a_mistake_in_a_callback_is_not_taken_for_one_in_a_step():
    def callback(*_):
        return bool(np.ones(2))

    told(lambda: fit(sc.Leaky(), "numpy", callbacks=[callback]), "^The truth value", kind=ValueError)


# ---- what init and apply return -------------------------------------------------------------------------------------

INITS = {
    "a number": (lambda s: Init(Params(a=1.0), EMPTY, s), r"params a=1\.0 must be a NumPy array", r"np\.array\(1\.0\)"),
    "a list": (lambda s: Init(Params(a=[1.0]), EMPTY, s), r"params a=\[1\.0\]", r"write np\.array\(\[1\.0\]\)"),
    "a buffer": (lambda s: Init(Params(), Params(a=1), s), "buffers a=1 must be", r"np\.array\(1\)"),
    "a dict": (
        lambda s: Init({"a": np.ones(3)}, EMPTY, s),
        "params=.*must be a tree",
        r"Params\(gain=np\.ones\(shape\)",
    ),
    "an int as shape": (lambda s: Init(Params(), EMPTY, 3), "shape=3 must be a tuple", r"\(3,\)"),
    "two things": (lambda s: (Params(), s), "returned", r"expected Init\(params, buffers, shape\)"),
    "nothing": (lambda s: None, "returned None", r"expected Init\(params, buffers, shape\)"),
}


@pytest.mark.parametrize("name", INITS)
def test_what_init_returns(name):
    init, *parts = INITS[name]
    told(lambda: sc.Model(own.network(own.begins(init))), r"^Own\.init", *parts)
    told(lambda: sc.Model(own.begins(init), input_shape=(3,)), r"^Own\.init", *parts)


def test_a_tensor_in_init():
    torch = pytest.importorskip("torch")
    for weight in (torch.ones(3), torch.nn.Parameter(torch.ones(3))):
        init = own.begins(lambda shape, weight=weight: Init(Params(a=weight), EMPTY, shape))
        told(lambda init=init: sc.Model(own.network(init)), r"^Own\.init", r"write tensor\.detach\(\)\.numpy\(\)")


def test_a_list_is_a_shape():
    part = own.begins(lambda shape: Init(Params(), EMPTY, list(shape)))
    model = sc.Model(sc.Sequential(sc.Linear(5, 3), part, sc.Linear(3, 2)))
    assert model.output_shape == (2,)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_apply_without_buffers(engine):
    part = own.layer(apply=lambda self, engine, params, buffers, x, *, train, key: x)
    told(lambda: fit(part, engine), r"^Own\.apply returned (Var|Tensor)", "return y, buffers")


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("nested", [False, True])
def test_init_and_apply_disagree_about_the_shape(engine, nested):
    if engine == "torch":
        pytest.importorskip("torch")
    part = own.begins(lambda shape: Init(Params(), EMPTY, (4,)))
    row = (part, sc.Linear(4, 3), sc.Leaky())
    rest = (sc.Sequential(*row),) if nested else row
    model = sc.Model(sc.Sequential(sc.Linear(5, 8), *rest), engine)
    where = "layer 1.0" if nested else "layer 1"
    told(lambda: model(X, num_steps=2), f"^{where}: Own.init .*(4,).*Own.apply gave .8,", kind=sc.errors.ShapeError)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("behind", [(), (sc.Leaky(),)], ids=["alone", "before neurons"])
def test_init_and_apply_disagree_about_the_shape_of_the_output(engine, behind):
    """No layer that follows has weights, so none fails: the output is compared with what ``init`` says."""
    if engine == "torch":
        pytest.importorskip("torch")
    part = own.begins(lambda shape: Init(Params(), EMPTY, (4,)))
    model = sc.Model(sc.Sequential(sc.Linear(5, 8), part, *behind), engine)
    says = r"^the output's samples have shape \(8,\), and .*init.* says \(4,\): "
    told(lambda: model(X, num_steps=2), says, kind=sc.errors.ShapeError)
    told(lambda: model.fit(X, Y, num_steps=2, progress=False), says, kind=sc.errors.ShapeError)
    told(lambda: model.train_step(X, Y, num_steps=2), says, kind=sc.errors.ShapeError)
