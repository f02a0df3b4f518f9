"""Layers against torch's own modules: outputs and gradients in float64 on every engine; bad input; files."""

from __future__ import annotations

import json

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.layer import Key, ShapeError
from spikecore.api.core.tree import Params, Tree
from spikecore.api.training.checkpoint import build, describe, known_classes
from spikecore.conformance.rig import assert_close, cotangents, differentiate, normal, run
from tests.conformance.own_engines import absent, make

torch = pytest.importorskip("torch", reason="torch is the oracle here")
nn = torch.nn
F64 = {"dtype": torch.float64}

ENGINES = [name for name in ("numpy", "numpy-strict", "torch") if not absent(name)]
ON_EACH_ENGINE = pytest.mark.parametrize("engine", [make(name) for name in ENGINES], ids=ENGINES)

OPTIONS = ((3, 2), (2, 1), (1, 0), (1, 2), 2)  # kernel, stride, padding, dilation, groups
DEPTHWISE = {"padding": 1, "groups": 3, "bias": False}

# A layer, the torch module that it is, and the shape of one sample.
PAIRS = [
    (sc.Conv1d(2, 3, 3), nn.Conv1d(2, 3, 3, **F64), (2, 7)),
    (sc.Conv1d(4, 6, 3, 2, 1, 2, 2), nn.Conv1d(4, 6, 3, 2, 1, 2, 2, **F64), (4, 9)),
    (sc.Conv1d(4, 4, (2,), groups=4, bias=False), nn.Conv1d(4, 4, 2, groups=4, bias=False, **F64), (4, 5)),
    (sc.Conv2d(2, 3, 3), nn.Conv2d(2, 3, 3, **F64), (2, 5, 4)),
    (sc.Conv2d(4, 6, *OPTIONS), nn.Conv2d(4, 6, *OPTIONS, **F64), (4, 6, 7)),
    (sc.Conv2d(3, 3, 3, **DEPTHWISE), nn.Conv2d(3, 3, 3, **DEPTHWISE, **F64), (3, 4, 4)),
    (sc.MaxPool1d(2), nn.MaxPool1d(2), (2, 7)),
    (sc.MaxPool1d(3, stride=2, padding=1), nn.MaxPool1d(3, 2, 1), (2, 8)),
    (sc.MaxPool2d((3, 2), stride=(2, 1), padding=1), nn.MaxPool2d((3, 2), (2, 1), 1), (2, 5, 4)),
    (sc.AvgPool1d(2), nn.AvgPool1d(2), (2, 7)),
    (sc.AvgPool1d(3, stride=2, padding=1), nn.AvgPool1d(3, 2, 1), (2, 8)),
    (sc.AvgPool2d((3, 2), stride=(2, 1), padding=1), nn.AvgPool2d((3, 2), (2, 1), 1), (2, 5, 4)),
    (sc.BatchNorm1d(3), nn.BatchNorm1d(3, **F64), (3,)),
    (sc.BatchNorm1d(3), nn.BatchNorm1d(3, **F64), (3, 4)),
    (sc.BatchNorm1d(3, affine=False), nn.BatchNorm1d(3, affine=False, **F64), (3, 4)),
    (sc.BatchNorm2d(3, eps=1e-3), nn.BatchNorm2d(3, eps=1e-3, **F64), (3, 2, 4)),
    (sc.LayerNorm(5), nn.LayerNorm(5, **F64), (5,)),
    (sc.LayerNorm((4,), eps=1e-3), nn.LayerNorm(4, eps=1e-3, **F64), (3, 4)),
    (sc.LayerNorm((3, 4)), nn.LayerNorm((3, 4), **F64), (2, 3, 4)),
    (sc.LayerNorm(5, affine=False), nn.LayerNorm(5, elementwise_affine=False, **F64), (5,)),
]  # fmt: skip
NAMES = [f"{i}-{type(layer).__name__}" for i, (layer, _, _) in enumerate(PAIRS)]
EACH_PAIR = pytest.mark.parametrize(("layer", "module", "shape"), PAIRS, ids=NAMES)


def weights(layer, shape):
    """Parameters away from the first ones, where a normalisation does nothing."""
    first = layer.init(Key((0, "weights")), shape).params
    return Params({name: x + normal(*x.shape, scale=0.3) for name, x in first.items()})


def compare(engine, layer, theirs, shape, x, params):
    """Outputs and gradients of ``layer`` and of ``theirs(leaves, x)``, a torch function of time x batch at once."""
    leaves = {name: torch.tensor(a, requires_grad=True) for name, a in params.items()}
    sequence = torch.tensor(x, requires_grad=True)
    expected = theirs(leaves, sequence)
    found = run(engine, layer, x, params=params, train=True).outputs
    assert found.shape[2:] == layer.init(Key((0,)), shape).shape
    assert_close(found, expected.detach().numpy(), 1e-12)
    cotangent = cotangents(Tree(outputs=found)).outputs
    (expected * torch.tensor(cotangent)).sum().backward()
    _, grads = differentiate(engine, layer, x, params=params, train=True, weigh=("outputs",))
    assert_close(grads.inputs, sequence.grad.numpy(), 1e-12)
    assert set(grads.params) == set(leaves)
    for name, leaf in leaves.items():
        assert_close(grads.params[name], leaf.grad.numpy(), 1e-12, name)


@ON_EACH_ENGINE
@EACH_PAIR
def test_against_torch(engine, layer, module, shape):
    def theirs(leaves, x):
        y = torch.func.functional_call(module, leaves, (x.flatten(0, 1),))
        return y.reshape(*x.shape[:2], *y.shape[1:])

    params = weights(layer, shape)
    assert {name: tuple(p.shape) for name, p in module.named_parameters()} == {n: p.shape for n, p in params.items()}
    compare(engine, layer, theirs, shape, normal(4, 3, *shape), params)


@EACH_PAIR
def test_first_weights_have_torchs_bounds(layer, module, shape):
    """Uniform up to the same bound (convolutions), or the same constants (normalisation)."""
    for name, ours in layer.init(Key((0,)), shape).params.items():
        values = dict(module.named_parameters())[name].detach().numpy()
        if "Conv" in type(layer).__name__:
            bound = 1 / np.sqrt(np.prod(module.weight.shape[1:]))
            assert abs(ours).max() <= bound
            assert abs(values).max() <= bound
        else:
            np.testing.assert_array_equal(ours, values)


# ---- batch normalisation through time ------------------------------------------------------------------------------

THROUGH_TIME = [
    (sc.BatchNormTT1d(3, 4), nn.BatchNorm1d, (3,)),
    (sc.BatchNormTT1d(3, 4, eps=1e-3, momentum=0.3), nn.BatchNorm1d, (3, 5)),
    (sc.BatchNormTT1d(3, 4, affine=False), nn.BatchNorm1d, (3,)),
    (sc.BatchNormTT2d(2, 4), nn.BatchNorm2d, (2, 3, 2)),
]
EACH_THROUGH_TIME = pytest.mark.parametrize(
    ("layer", "kind", "shape"), THROUGH_TIME, ids=[f"{i}-{type(one[0]).__name__}" for i, one in enumerate(THROUGH_TIME)]
)


def one_per_step(layer, kind):
    """What snnTorch's BatchNormTT is: a list of torch's modules without bias."""
    made = [kind(layer.num_features, layer.eps, layer.momentum, layer.affine, **F64) for _ in range(layer.time_steps)]
    for module in made:
        module.bias = None
    return made


@ON_EACH_ENGINE
@EACH_THROUGH_TIME
def test_batch_norm_through_time_gradients(engine, layer, kind, shape):
    modules = one_per_step(layer, kind)

    def theirs(leaves, x):
        rows = [leaves["weight"][t] if layer.affine else None for t in range(4)]
        per_step = [{} if row is None else {"weight": row} for row in rows]
        return torch.stack(
            [torch.func.functional_call(m, w, (x[t],)) for t, (m, w) in enumerate(zip(modules, per_step))]
        )

    params = weights(layer, shape)
    assert {n: p.shape for n, p in params.items()} == (
        {"weight": (4, 3 if len(shape) < 3 else 2)} if layer.affine else {}
    )
    compare(engine, layer, theirs, shape, normal(4, 3, *shape), params)


@ON_EACH_ENGINE
@EACH_THROUGH_TIME
def test_batch_norm_through_time_statistics(engine, layer, kind, shape):
    """Three batches of training, then evaluation: outputs and running statistics of each step are torch's."""
    modules, first = one_per_step(layer, kind), layer.init(Key((0,)), shape)
    buffers = first.buffers
    for step in range(4):
        x = normal(4, 3, *shape, seed=step) * (1 + np.arange(4)).reshape(4, 1, *(1,) * len(shape)) + step
        for module in modules:
            module.train(step < 3)
        expected = torch.stack([module(torch.tensor(x[t])) for t, module in enumerate(modules)])
        found = run(engine, layer, x, params=first.params, buffers=buffers, train=step < 3)
        assert_close(found.outputs, expected.detach().numpy(), 1e-12)
        for name in ("running_mean", "running_var"):
            assert_close(found.buffers[name], torch.stack([getattr(m, name) for m in modules]).numpy(), 1e-12)
        buffers = found.buffers


@ON_EACH_ENGINE
@pytest.mark.parametrize("train", [True, False])
def test_batch_norm_through_time_of_a_constant_sequence(engine, train):
    """Comes out as if the step had been written out time_steps times, running statistics included."""
    layer, x = sc.BatchNormTT1d(3, 4), normal(1, 5, 3)
    params, buffers = weights(layer, (3,)), Tree(running_mean=normal(4, 3), running_var=1 + abs(normal(4, 3)))
    option = {"params": params, "buffers": buffers, "train": train}
    constant = run(engine, layer, x, steps=4, **option)
    written_out = run(engine, layer, np.repeat(x, 4, axis=0), **option)
    assert_close(constant.outputs, written_out.outputs, 1e-12)
    for name in buffers:
        assert_close(constant.buffers[name], written_out.buffers[name], 1e-12)


def test_batch_norm_through_time_takes_one_length_only():
    engine, layer = make("numpy"), sc.BatchNormTT1d(3, 4)
    for steps, x in ((None, normal(3, 2, 3)), (None, normal(1, 2, 3)), (5, normal(1, 2, 3))):
        with pytest.raises(ShapeError, match=r"BatchNormTT1d.*\d time steps, expected time_steps=4"):
            run(engine, layer, x, steps=steps)
    with pytest.raises(ShapeError, match=r"layer 1 \(BatchNormTT1d\)"):
        run(engine, sc.Sequential(sc.Linear(3, 3), layer), normal(3, 2, 3))
    with pytest.raises(ValueError, match="more than one value per feature"):
        run(engine, layer, normal(4, 1, 3), train=True)


def test_a_constant_image_through_bntt_and_neurons():
    """Every step of a constant input has its own scale; both engines and finite differences agree on the gradients."""
    linear = sc.Linear(4, 5, bias=False)  # a bias has no effect before a normalisation
    net = sc.Sequential(linear, sc.BatchNormTT1d(5, 6), sc.Leaky(), sc.Linear(5, 2), sc.Leaky())
    report = sc.verify(
        sc.Model(net, "torch", seed=0), abs(normal(3, 4)).astype("float32"), np.array([0, 1, 1]), num_steps=6
    )
    assert report.ok, str(report)


# ---- graded spikes, layer norm, concat -----------------------------------------------------------------------------


@ON_EACH_ENGINE
@pytest.mark.parametrize("shape", [(3,), (3, 4), (3, 2, 4)])
def test_graded_spikes(engine, shape):
    def theirs(leaves, x):
        return x * leaves["weights"].reshape(3, *(1,) * (len(shape) - 1))

    layer = sc.GradedSpikes(3)
    compare(engine, layer, theirs, shape, normal(4, 2, *shape), weights(layer, shape))


def test_first_weights_of_graded_spikes():
    drawn = sc.GradedSpikes(1000).init(Key((0,)), (1000,)).params.weights
    assert drawn.shape == (1000,)
    assert 0.5 <= drawn.min() < 0.51 < 1.49 < drawn.max() < 1.5
    assert set(sc.GradedSpikes(3, 2).init(Key((0,)), (3,)).params.weights) == {2.0}
    assert set(sc.GradedSpikes(3, 0.0).init(Key((0,)), (3,)).params.weights) == {0.0}


@pytest.mark.parametrize(
    ("layer", "shape"), [(sc.LayerNorm(3), (3,)), (sc.GradedSpikes(3), (3, 2)), (sc.Conv1d(2, 2, 2), (2, 4))]
)
def test_runs_step_by_step_too(layer, shape):
    engine, x = make("numpy"), normal(4, 2, *shape)
    params = weights(layer, shape)
    whole = run(engine, layer, x, params=params).outputs
    steps = [layer.step(engine, params, None, row)[0] for row in x]
    assert_close(np.stack(steps), whole, 1e-13)


BRANCHES = [
    (sc.Concat(sc.Linear(4, 3), sc.Linear(4, 2, bias=False)), (4,), (5,), 2),
    (sc.Concat(sc.Sequential(sc.Linear(4, 3), sc.Leaky(threshold=0.2)), sc.Linear(4, 2)), (4,), (5,), 2),
    (sc.Concat(sc.Conv2d(2, 3, 3, padding=1), sc.Sequential(), sc.MaxPool2d(3, 1, 1)), (2, 4, 5), (7, 4, 5), 2),
    (sc.Concat(sc.Sequential(), sc.AvgPool1d(2), axis=-1), (2, 6), (2, 9), 3),
    (sc.Concat(sc.Sequential(), sc.AvgPool1d(2), axis=1), (2, 6), (2, 9), 3),
]
EACH_CONCAT = pytest.mark.parametrize(("layer", "shape", "out", "axis"), BRANCHES, ids=range(len(BRANCHES)))


@ON_EACH_ENGINE
@EACH_CONCAT
def test_concat_joins_its_branches(engine, layer, shape, out, axis):
    x = normal(5, 2, *shape)
    made = layer.init(Key((0, "weights")), shape)
    parts = [run(engine, one, x, params=made.params[name]) for name, one in layer.children()]
    found = run(engine, layer, x, params=made.params)
    assert made.shape == found.outputs.shape[2:] == out
    assert list(made.params) == [str(i) for i in range(len(parts))]
    assert_close(found.outputs, np.concatenate([part.outputs for part in parts], axis=axis), 0.0)
    for (name, _), part in zip(layer.children(), parts):
        assert (name in found.state) == bool(len(part.state))


@ON_EACH_ENGINE
@EACH_CONCAT
def test_concat_gradients_are_those_of_its_branches(engine, layer, shape, out, axis):
    x = normal(5, 2, *shape)
    value, ours = differentiate(engine, layer, x, weigh=("outputs",))
    other, theirs = differentiate(make("torch"), layer, x, weigh=("outputs",))
    assert abs(value - other) <= 1e-12 * max(1.0, abs(value))
    assert_close(ours.inputs, theirs.inputs, 1e-12)
    for name, params in theirs.params.items():
        for leaf, grad in params.items():
            if leaf.isdigit():
                continue
            assert_close(ours.params[name][leaf], grad, 1e-12)


@ON_EACH_ENGINE
def test_concat_of_a_constant_sequence_and_a_spiking_branch(engine):
    """The branch without neurons stays at one step and is spread over time when both are joined."""
    layer, x = BRANCHES[1][0], normal(1, 2, 4)
    found = run(engine, layer, x, steps=6).outputs
    assert_close(found, run(engine, layer, np.repeat(x, 6, axis=0)).outputs, 1e-13)
    assert found.shape == (6, 2, 5)


def test_concat_runs_step_by_step_and_keeps_its_state():
    engine, layer, x = make("numpy"), BRANCHES[1][0], normal(6, 2, 4)
    params = layer.init(Key((0, "weights")), (4,)).params
    whole = run(engine, layer, x, params=params)
    prepared = layer.prepare(engine, params)
    state, rows = layer.rest(engine, prepared, x[0]), []
    for row in x:
        y, state = layer.step(engine, prepared, state, row)
        rows.append(y)
    assert_close(np.stack(rows), whole.outputs, 1e-13)
    assert_close(state["0"]["1"].mem, whole.state["0"]["1"].mem, 1e-13)
    again = run(engine, layer, x, params=params, state=whole.state)
    assert (again.outputs != whole.outputs).any()


def test_concat_in_a_trained_model(tmp_path):
    net = sc.Sequential(BRANCHES[1][0], sc.LayerNorm(5), sc.GradedSpikes(5), sc.Linear(5, 2), sc.Leaky())
    model = sc.Model(net, "torch", seed=0)
    x, y = abs(normal(3, 4)).astype("float32"), np.array([0, 1, 1])
    assert model.input_shape == (4,)
    model.fit([(x, y)], num_steps=4, epochs=2, progress=False)
    assert sc.verify(model, x, y, num_steps=4).ok
    model.save(tmp_path / "model.safetensors")
    again = sc.load(tmp_path / "model.safetensors", engine="numpy")
    assert again.network == net
    np.testing.assert_array_equal(again(x, num_steps=4).spikes, np.asarray(model(x, num_steps=4).spikes))


# ---- files and bad input -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layer", [*(one[0] for one in (*PAIRS, *THROUGH_TIME, *BRANCHES)), sc.GradedSpikes(3, 0.5)], ids=repr
)
def test_as_json_and_back(layer):
    again = build(json.loads(json.dumps(describe(layer))), known_classes())
    assert again == layer
    assert hash(again) == hash(layer)


BAD = [  # what makes it, what the error says
    (lambda: sc.Conv1d(0, 1, 1), r"Conv1d: in_channels=0 must be an int >= 1"),
    (lambda: sc.Conv1d(1, 1, 0), r"Conv1d: kernel_size=0 must be an int >= 1"),
    (lambda: sc.Conv1d(1, 1, 2.5), r"Conv1d: kernel_size=2.5 must be an int >= 1"),
    (lambda: sc.Conv1d(1, 1, (2, 2)), r"Conv1d: kernel_size=\(2, 2\) must be an int >= 1"),
    (lambda: sc.Conv2d(1, 1, (2, 2, 2)), r"Conv2d: kernel_size=\(2, 2, 2\) must be an int or 2 ints, each >= 1"),
    (lambda: sc.Conv2d(1, 1, 2, stride=True), r"Conv2d: stride=True must be"),
    (lambda: sc.Conv1d(1, 1, 2, padding=-1), r"Conv1d: padding=-1 must be an int >= 0"),
    (lambda: sc.Conv1d(3, 4, 2, groups=2), r"Conv1d: groups=2 must divide in_channels=3 and out_channels=4"),
    (lambda: sc.MaxPool1d(2, padding=2), r"MaxPool1d: padding=2 must be at most half of kernel_size=2"),
    (lambda: sc.AvgPool1d(2, stride=0), r"AvgPool1d: stride=0 must be an int >= 1"),
    (lambda: sc.BatchNorm1d(0), r"BatchNorm1d: num_features=0 must be an int >= 1"),
    (lambda: sc.BatchNorm1d(3, eps=0), r"BatchNorm1d: eps=0 must be a finite number > 0"),
    (lambda: sc.BatchNormTT1d(3, 4, momentum=1.5), r"BatchNormTT1d: momentum=1.5 must be in \[0, 1\]"),
    (lambda: sc.BatchNormTT2d(3, 0), r"BatchNormTT2d: time_steps=0 must be an int >= 1"),
    (lambda: sc.LayerNorm(()), r"LayerNorm: normalized_shape=\(\) must be an int or a tuple of ints"),
    (lambda: sc.LayerNorm(2.0), r"LayerNorm: normalized_shape=2.0"),
    (lambda: sc.LayerNorm(3, eps=-1), r"LayerNorm: eps=-1 must be a finite number > 0"),
    (lambda: sc.GradedSpikes(0), r"GradedSpikes: size=0 must be an int >= 1"),
    (lambda: sc.GradedSpikes(3, float("nan")), r"GradedSpikes: constant_factor=nan must be a finite number, or None"),
    (lambda: sc.Concat(), r"Concat: needs at least one layer"),
    (lambda: sc.Add(), r"Add: needs at least one layer"),
    (lambda: sc.Residual(sc.Flatten(), join="or"), r"Residual: unknown join 'or'.*Known: add, and, iand"),
    (lambda: sc.Concat(sc.Linear(1, 1), 3), r"Concat: entry 1 is 3, not a spikecore layer"),
    (lambda: sc.Concat(sc.Linear(1, 1), axis=0.5), r"Concat: axis=0.5 must be an int"),
]
MISFITS = [  # a layer, a shape that does not fit, what the error says
    (sc.Conv1d(2, 3, 3), (2, 4, 4), r"Conv1d: samples of shape \(2, 4, 4\), expected \(2, length\)"),
    (sc.Conv1d(2, 3, 3), (3, 4), r"expected \(2, length\)"),
    (sc.Conv1d(2, 3, 5), (2, 4), r"Conv1d: kernel \(5,\) with padding \(0,\) does not fit into a map of \(4,\)"),
    (sc.Conv2d(2, 3, 3), (2, 4), r"Conv2d: samples of shape \(2, 4\), expected \(2, height, width\)"),
    (sc.MaxPool1d(2), (4,), r"MaxPool1d: samples of shape \(4,\), expected \(channels, length\)"),
    (sc.AvgPool1d(9), (1, 4), r"AvgPool1d: kernel \(9,\)"),
    (sc.BatchNorm1d(3), (4,), r"BatchNorm1d: samples of shape \(4,\), expected \(3,\) or \(3, length\)"),
    (sc.BatchNorm2d(3), (3, 4), r"BatchNorm2d: samples of shape \(3, 4\), expected \(3, height, width\)"),
    (sc.BatchNormTT2d(3, 2), (3,), r"BatchNormTT2d: samples of shape \(3,\), expected \(3, height, width\)"),
    (sc.LayerNorm((2, 3)), (2, 4), r"LayerNorm: samples of shape \(2, 4\), expected \(2, 3\) as the last extents"),
    (sc.LayerNorm((2, 3)), (3,), r"LayerNorm: samples of shape \(3,\)"),
    (sc.GradedSpikes(3), (4,), r"GradedSpikes: samples of shape \(4,\), expected 3 as the first extent"),
    (sc.Concat(sc.Linear(4, 3), sc.Linear(5, 3)), (4,), r"layer 1: Linear: samples of shape \(4,\)"),
    (
        sc.Multiply(sc.Sequential(), sc.Flatten()),
        (2, 4),
        r"Multiply: outputs .* cannot be multiplied: 0 \(2, 4\), 1 \(8,\)",
    ),
    (sc.Concat(sc.Sequential(), sc.Flatten()), (2, 4), r"Concat: outputs of shape \(2, 4\), \(8,\) differ"),
    (sc.Concat(sc.Sequential(), sc.MaxPool1d(2)), (2, 4), r"differ in more than axis 0"),
    (sc.Concat(sc.Linear(4, 3), axis=1), (4,), r"Concat: axis=1 is no axis of samples of shape \(3,\)"),
]


@pytest.mark.parametrize(("call", "says"), BAD)
def test_bad_arguments(call, says):
    with pytest.raises((ValueError, TypeError), match=says):
        call()


@pytest.mark.parametrize(("layer", "shape", "says"), MISFITS)
def test_samples_that_do_not_fit(layer, shape, says):
    with pytest.raises(ShapeError, match=says):
        layer.init(Key((0,)), shape)
