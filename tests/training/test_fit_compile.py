"""``fit(compile=True)``: normalisation and its neighbours through torch.compile, with the results of other training."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import spikecore as sc  # noqa: E402
from spikecore.api.core.extras import Stages, extra  # noqa: E402
from spikecore.engines.torch import traced  # noqa: E402

try:
    traced.check("cpu")
except NotImplementedError as error:
    pytest.skip(str(error), allow_module_level=True)

RNG = np.random.default_rng(0)
X, Y = RNG.random((22, 2, 8, 8)), RNG.integers(0, 4, 22)
BATCHES = [(X[:8], Y[:8]), (X[8:16], Y[8:16]), (X[16:], Y[16:])]  # the last one is smaller


@dataclass(frozen=True)
class Shifted(sc.LayerNorm):
    """A layer of a user's own, which may do what it likes."""

    def apply(self, engine, params, buffers, x, *, train, key):
        return super().apply(engine, params, buffers, x + (key.first if train else 0), train=train, key=key)


NET = sc.Sequential(
    sc.Conv2d(2, 4, 3, bias=False),
    sc.BatchNorm2d(4),
    sc.MaxPool2d(2),
    sc.Leaky(beta=sc.learn(0.5), threshold=0.5),
    sc.Flatten(),
    sc.Dropout(0.3),
    sc.Residual(sc.Sequential(sc.Linear(36, 36), sc.LayerNorm(36), sc.Leaky(beta=0.8, threshold=0.5))),
    Shifted(36),
    sc.Linear(36, 4),
    sc.LI(beta=0.9),
)


def trained(compile, data=BATCHES, dtype="float64", net=NET, **options):
    model = sc.Model(net, engine="torch", dtype=dtype, seed=1, input_shape=(2, 8, 8), **options)
    model.fit(
        data, optimizer=sc.Adam(lr=1e-2), epochs=2, num_steps=4, compute=sc.Compute(compile=compile), progress=False
    )
    return model


def gap(one, other):
    pairs = [(one.state()[part], other.state()[part]) for part in ("params", "buffers", "optimizer")]
    return max(float(np.abs(a[name] - b[name]).max()) for a, b in pairs for name in a)


@pytest.fixture
def quickly(monkeypatch):
    """Traced and differentiated as always, and not made into machine code, which takes seconds for each function."""
    monkeypatch.setattr(traced, "BACKEND", "aot_eager")
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def test_training_is_that_without_it(quickly):
    from torch._dynamo.utils import counters

    counters.clear()
    model = trained(True)
    assert gap(trained(False), model) <= 1e-12
    functions = model.trainer.executor.engine.functions.made
    assert len(functions) == 4  # two groups of layers, of batches of two sizes
    assert {key[1] for key in functions} == {("0", "1", "2"), ("0", "1")}
    assert counters["stats"]["unique_graphs"] == 4  # each is traced once
    lines = model.trainer.executor.engine.explain(NET).splitlines()
    assert lines[0] == "0 + 1 + 2 (Conv2d + BatchNorm2d + MaxPool2d): in training compiled by torch.compile"
    assert not any("torch.compile" in line for line in lines if line.startswith(("4", "5", "7")))
    before = model.params()
    model.train_step(*BATCHES[0], num_steps=4)
    model.evaluate(BATCHES, num_steps=4, progress=False)
    assert len(functions) == 4
    assert (
        gap(model, sc.Model.from_state(NET, model.engine, 1, (2, 8, 8), model.state(), model.trainer.optimizer)) == 0.0
    )
    assert any(np.abs(before[name] - x).max() > 0 for name, x in model.params().items())


@pytest.mark.slow
def test_layers_that_are_computed_again(quickly):
    assert gap(trained(False), trained(True, checkpoint_layers=2)) <= 1e-12


@pytest.mark.slow
def test_shapes_beyond_the_limit_run_without_it(quickly, monkeypatch):
    monkeypatch.setattr(traced, "MOST", 2)
    with pytest.warns(UserWarning, match="inputs have more shapes than the 2 for which layers are compiled"):
        model = trained(True)
    assert gap(trained(False), model) <= 1e-12
    assert len(model.trainer.executor.engine.functions.made) == 2


def test_without_normalisation_there_is_nothing_to_compile(quickly):
    net = sc.Sequential(
        sc.Conv2d(2, 4, 3), sc.MaxPool2d(2), sc.Leaky(beta=0.5), sc.Flatten(), sc.Linear(36, 4), sc.LI()
    )
    model = trained(True, net=net)
    assert not model.trainer.executor.engine.functions.made
    assert gap(trained(False, net=net), model) == 0.0


def test_statistics_over_several_processes_are_not_compiled():
    """They are summed in between, which a compiled function cannot do."""
    engine = sc.get_engine("torch")
    engine.functions, engine.batch_on_ranks = traced.Functions(), True
    compiled = [stage.covers for stage in extra(engine, Stages).lower(engine, NET) if isinstance(stage, traced.Traced)]
    assert not compiled
    inner = NET.layers[6].body
    assert [
        stage.covers for stage in extra(engine, Stages).lower(engine, inner) if isinstance(stage, traced.Traced)
    ] == [("0", "1")]


@pytest.mark.slow
def test_machine_code(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own
        assert gap(trained(False), trained(True)) <= 1e-10
        assert gap(trained(False, BATCHES[:1], "float32"), trained(True, BATCHES[:1], "float32")) <= 1e-3


def test_what_excludes_it_is_refused():
    for options, said in (({"memory": "1GB"}, "memory='1GB'"), ({"parallel": "fsdp"}, "parallel='fsdp'")):
        with pytest.raises(ValueError, match=f"compile=True and {said} exclude each other"):
            sc.Compute(compile=True, **options)
    with pytest.raises(NotImplementedError, match="compile=True is torch.compile, and this is engine 'numpy'"):
        sc.Model(NET, engine="numpy").fit(BATCHES, num_steps=2, compute=sc.Compute(compile=True))


def test_what_is_missing_is_named(monkeypatch):
    import torch._dynamo
    from torch._inductor import cpp_builder
    from torch._inductor.exc import InvalidCxxCompiler

    def none():
        raise InvalidCxxCompiler

    with monkeypatch.context() as patch:
        patch.setattr(cpp_builder, "get_cpp_compiler", none)
        with pytest.raises(NotImplementedError, match=r"needs a C\+\+ compiler, and torch finds none: install g\+\+"):
            trained(True)
    with monkeypatch.context() as patch:
        patch.setattr(torch._dynamo, "is_dynamo_supported", lambda: False)
        with pytest.raises(NotImplementedError, match="does not compile on Python 3"):
            trained(True)
    monkeypatch.setattr(torch, "__version__", "2.3.1")
    with pytest.raises(NotImplementedError, match=r"compile=True needs torch 2.4, and this is 2.3.1"):
        trained(True)


def test_what_torch_cannot_compile_is_named(quickly, monkeypatch):
    monkeypatch.setattr(traced, "_function", lambda layers, run: lambda params, buffers, x: (print(x), {}))
    with pytest.raises(RuntimeError, match=r"cannot compile layers 0 \(Conv2d\), 1 \(BatchNorm2d\), 2 \(MaxPool2d\): "):
        trained(True)
