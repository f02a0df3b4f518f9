"""``precision="bf16"`` and ``"fp16"``: products in half precision, everything else in float32."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore import functional

torch = pytest.importorskip("torch", reason="torch is not installed")
from spikecore.engines.torch import precision as module  # noqa: E402

RNG = np.random.default_rng(0)
X, Y = RNG.random((6, 8, 12), dtype=np.float32), RNG.integers(0, 4, 8)
L = sc.learn


def dense():
    return sc.Sequential(
        sc.Linear(12, 10), sc.BatchNorm1d(10), sc.Leaky(beta=L(0.9), threshold=0.3), sc.Dropout(0.2), sc.Linear(10, 4),
        sc.RLeaky(beta=0.8, linear_features=4, threshold=0.4),
    )  # fmt: skip


def convolutional():
    return sc.Sequential(
        sc.Conv2d(1, 3, 3), sc.BatchNorm2d(3), sc.MaxPool2d(2), sc.Leaky(beta=0.9, threshold=0.3),
        sc.Flatten(), sc.Linear(12, 4), sc.Leaky(beta=0.9, threshold=0.3),
    )  # fmt: skip


def by_hand(x, weight, bias, dtype=torch.bfloat16):
    """A product as ``torch.autocast`` computes it, as float32."""
    with torch.autocast("cpu", dtype=dtype):
        return torch.nn.functional.linear(x, weight, bias).float()


@pytest.mark.parametrize("fused", ["auto", False])
def test_products_round_and_neurons_do_not(fused):
    """The numbers are those of autocast around the product and of float32 around the neuron, to the last bit."""
    net = sc.Sequential(sc.Linear(12, 10), sc.Leaky(beta=0.9, threshold=0.3), sc.Linear(10, 4), sc.LI(beta=0.8))
    model = sc.Model(net, "torch", seed=0, precision="bf16", fused=fused)
    weights = {name: torch.from_numpy(w).requires_grad_() for name, w in model.params().items()}
    full = sc.get_engine("torch", fused=fused)
    from spikecore.api.core.layer import Pass
    from spikecore.api.core.tree import Params, Tree

    run = lambda neuron, x: neuron.run(Pass(full, record=True), Params(), Tree(), None, x)  # noqa: E731
    hidden = run(net.layers[1], by_hand(torch.from_numpy(X), weights["0.weight"], weights["0.bias"]))
    expected = run(net.layers[3], by_hand(hidden.outputs, weights["2.weight"], weights["2.bias"]))
    out = model(X, record=True)
    assert torch.equal(out.states["1"].mem, hidden.recorded.mem)
    assert torch.equal(out.spikes, expected.outputs)
    assert out.spikes.dtype == torch.float32
    assert not torch.equal(out.spikes, sc.Model(net, "torch", seed=0, fused=fused)(X).spikes)

    expected.outputs.square().sum().backward()
    grads = sc.backprop.bptt(model, X, Y, lambda out, _: (out.spikes * out.spikes).sum()).grads
    for name, weight in weights.items():
        assert np.array_equal(grads[name], weight.grad.numpy()), name
        assert grads[name].dtype == np.float32
        assert np.abs(grads[name]).max() > 0


@pytest.mark.parametrize("network", [dense, convolutional])
def test_weights_buffers_and_slots_stay_in_float32(network):
    x = X if network is dense else X.reshape(6, 8, 12)[..., None].repeat(3, -1).reshape(6, 8, 1, 6, 6)
    half, full = (sc.Model(network(), "torch", seed=0, precision=p) for p in ("bf16", "float32"))
    for model in (half, full):
        model.fit([(x, Y)] * 4, loss=functional.ce_rate_loss(), optimizer=sc.Adam(lr=0.01), progress=False)
    state, other = half.state(), full.state()
    for part in ("params", "buffers", "optimizer"):
        assert {v.dtype for v in state[part].values()} == {np.dtype("float32")}
    assert half.history[-1]["loss"] == pytest.approx(full.history[-1]["loss"], rel=0.05)
    assert any(not np.array_equal(v, other["params"][name]) for name, v in state["params"].items())


def test_evaluation_computes_as_training_does():
    net = sc.Sequential(sc.Linear(12, 4), sc.LI(beta=0.8))
    half, full = (sc.Model(net, "torch", seed=0, precision=p) for p in ("bf16", "float32"))
    loss = functional.mse_membrane_loss(time_var_targets=True)
    targets = np.zeros((6, 8, 4), np.float32)
    before = half.evaluate([(X, targets)], loss=loss)["loss"]
    assert before != full.evaluate([(X, targets)], loss=loss)["loss"]
    half.fit([(X, targets)], loss=loss, optimizer=sc.SGD(lr=0.0), progress=False)
    assert half.history[-1]["loss"] == before


def test_autocast_around_a_call_changes_nothing():
    def trained():
        model = sc.Model(dense(), "torch", seed=0, precision="bf16")
        model.fit([(X, Y)] * 2, progress=False)
        return model.params()

    plain = trained()
    with torch.autocast("cpu", torch.float16):
        within = trained()
    for name, value in plain.items():
        assert np.array_equal(within[name], value)


def test_modules_of_torch_compute_in_half_precision():
    net = sc.Sequential(sc.Torch(torch.nn.Linear(12, 4)), sc.LI(beta=0.8))
    model = sc.Model(net, "torch", seed=0, precision="bf16", input_shape=12)
    weights = [torch.from_numpy(w) for w in model.params().values()]
    x = torch.from_numpy(X).flatten(0, 1)
    expected = by_hand(x, *weights).unflatten(0, (6, 8))
    assert torch.equal(model(X, record=True).membrane[0], expected[0])


def test_a_saved_model_goes_on_in_the_same_precision(tmp_path):
    whole, cut = (sc.Model(dense(), "torch", seed=0, precision="bf16") for _ in range(2))
    data = [(X, Y), (X[:, ::-1].copy(), Y)]
    whole.fit(data, epochs=3, progress=False)
    cut.fit(data, epochs=1, progress=False)
    cut.save(tmp_path / "model")
    again = sc.load(tmp_path / "model", engine="torch", precision="bf16")
    again.fit(data, epochs=3, resume=True, progress=False)
    for name, value in whole.params().items():
        assert np.array_equal(again.params()[name], value)


def test_streams_round_as_the_whole_sequence_does():
    model = sc.Model(sc.Sequential(sc.Linear(12, 4), sc.LI(beta=0.8)), "torch", seed=0, precision="bf16")
    out, stream = model(X), model.stream(batch_size=8)
    steps = np.stack([np.asarray(stream.step(x)) for x in X])
    assert np.allclose(steps, out.spikes.numpy(), atol=1e-6)


def test_explain_says_which_products_are_rounded():
    net = sc.Sequential(sc.Linear(12, 10), sc.Leaky(), sc.Linear(10, 6), sc.SLSTM(input_size=6, hidden_size=6))
    engine = sc.get_engine("torch", precision="bf16")
    lines = engine.explain(net).split("\n")
    assert [line.partition(" ")[0] for line in lines] == ["0", "1", "2", "3"]  # no neuron multiplies its spikes
    assert "its product in bf16" in lines[0]
    assert "bf16" not in lines[1]
    assert "the product with its input in bf16, its steps in float32" in lines[3]
    assert "1 + 2" in sc.get_engine("torch").explain(net)


def test_verify_judges_without_it_and_says_how_much_it_changes():
    model = sc.Model(dense(), "torch", seed=0, precision="bf16")
    report = sc.verify(model, X, Y, differences=False)
    assert report.ok
    assert "not verified: precision='bf16' changes gradients by up to" in str(report)
    assert 1e-4 < report.approximation < 10.0


def test_activity_counts_exactly():
    """bf16 holds whole numbers up to 256: the products that a kernel of 3 x 3 x 64 meets are more."""
    net = sc.Sequential(sc.Conv2d(64, 2, 3), sc.Leaky())
    x = np.ones((1, 2, 64, 5, 5), np.float32)
    counts = [
        functional.activity(sc.Model(net, "torch", precision=p), x).synapses[0].synops for p in ("bf16", "float32")
    ]
    assert counts[0] == counts[1] == 3 * 3 * 64 * 9 * 2  # of one sample and step


@pytest.mark.parametrize(
    ("engine", "options", "error", "message"),
    [
        ("torch", {"precision": "half"}, ValueError, "must be one of 'float32', 'bf16', 'fp16'"),
        ("torch", {"precision": "fp16"}, ValueError, "on the CPU use precision='bf16'"),
        ("torch", {"precision": "bf16", "dtype": "float64"}, ValueError, "dtype='float64': leave one of them out"),
        ("numpy", {"precision": "bf16"}, TypeError, "engine='torch' computes products in bf16 or fp16"),
    ],
)
def test_what_cannot_be_is_refused(engine, options, error, message):
    with pytest.raises(error, match=message):
        sc.Model(dense(), engine, **options)


# ---- fp16: its scaler, on the CPU, which the engine refuses for speed ------------------------------------------------


@pytest.fixture
def on_the_cpu(monkeypatch):
    if not hasattr(torch.amp, "GradScaler"):
        pytest.skip("torch's scaler for the CPU needs torch 2.3")
    monkeypatch.setattr("spikecore.engines.torch.engine.check_precision", lambda *_: None)


@pytest.mark.usefixtures("on_the_cpu")
def test_small_gradients_survive_in_float16():
    """A loss of 1e-6 of the usual size: without a scale its gradients are below what float16 holds."""
    net = sc.Sequential(sc.Linear(12, 10), sc.Leaky(beta=0.9, threshold=0.3), sc.Linear(10, 4), sc.LI(beta=0.8))
    loss = 1e-6 * functional.ce_membrane_loss()
    half, full = (sc.Model(net, "torch", seed=0, precision=p) for p in ("fp16", "float32"))
    for model in (half, full):
        model.fit([(X, Y)], loss=loss, optimizer=sc.SGD(lr=1e5), progress=False)
    first = sc.Model(net, "torch", seed=0).params()
    for name, value in full.params().items():
        moved = np.abs(value - first[name]).max()
        assert np.abs(half.params()[name] - value).max() < 0.05 * moved, name
    assert half.trainer.executor.skipped == 0


@pytest.mark.usefixtures("on_the_cpu")
def test_a_gradient_that_overflows_is_left_out_and_counted(tmp_path):
    net = sc.Sequential(sc.Linear(12, 4), sc.LI(beta=0.8))
    model = sc.Model(net, "torch", seed=0, precision="fp16")
    before = model.params()
    model.fit([(X, Y)], loss=1e4 * functional.ce_membrane_loss(), optimizer=sc.Adam(lr=0.1), progress=False)
    assert model.trainer.executor.skipped == 1
    assert model.trainer.executor.steps_done == 0
    assert all(np.array_equal(value, before[name]) for name, value in model.params().items())
    model.save(tmp_path / "model")
    again = sc.load(tmp_path / "model", engine="torch", precision="fp16")
    loss = 1e4 * functional.ce_membrane_loss()
    again.fit([(X, Y)] * 20, loss=loss, optimizer=sc.Adam(lr=0.1), epochs=2, resume=True, progress=False)
    state = again.state()["scaler"]
    assert state["skipped"] > 1
    assert state["scale"] == 65536.0 / 2 ** state["skipped"]
    assert again.trainer.executor.steps_done == 1 + 20 - state["skipped"]
    assert not np.array_equal(again.params()["0.weight"], before["0.weight"])


def test_a_scaler_that_is_none_is_refused():
    if not hasattr(torch.amp, "GradScaler"):
        pytest.skip("torch's scaler for the CPU needs torch 2.3")
    scaler = module.Scaler("cpu")
    for bad in ({}, {"scale": -1.0, "steps": 0, "skipped": 0}, {"scale": 1.0, "steps": 0.5, "skipped": 0}):
        with pytest.raises(ValueError, match="scaler="):
            scaler.load(bad)
    scaler.load({"scale": 8.0, "steps": 3, "skipped": 2})
    assert scaler.state() == {"scale": 8.0, "steps": 3, "skipped": 2}


def test_half_precision_between_layers_changes_no_bit(monkeypatch):
    """As on a GPU, where kernels read and write it; on the CPU neurons convert by themselves."""
    from spikecore.engines.torch.extras import TorchStages
    from spikecore.engines.torch.halves import Halves, halved

    leaky = sc.Leaky(beta=sc.learn(0.9), threshold=0.3)
    net = sc.Sequential(
        *(
            sc.Conv2d(1, 4, 3),
            sc.MaxPool2d(2),
            leaky,
            sc.Flatten(),
            sc.Linear(64, 12),
            sc.Synaptic(alpha=0.8, beta=0.9),
        ),
        *(sc.Linear(12, 8), sc.Leaky(beta=0.8, reset_mechanism="none", parallel=True), sc.Linear(8, 8)),
        *(sc.Dropout(0.1), leaky, sc.Linear(8, 4), leaky),
    )
    rng = np.random.default_rng(0)
    x, y = rng.random((8, 1, 10, 10), dtype=np.float32), rng.integers(0, 4, 8)
    plain, made = TorchStages.lower_chain, []

    def lower(self, engine, chain):
        made.append(halved(plain(self, engine, chain)))
        return made[-1]

    found = []
    for some in (plain, lower):
        monkeypatch.setattr(TorchStages, "lower_chain", some)
        model = sc.Model(net, engine=sc.get_engine("torch", precision="bf16", fused=False), seed=0)
        model.fit(x, y, num_steps=4, batch_size=4, epochs=2, progress=False)
        found.append((model.history[-1]["loss"], model.params(), np.asarray(model(x, num_steps=4).spikes)))
    assert [stage.covers for stage in made[0] if isinstance(stage, Halves)] == [tuple("0123456")]
    assert found[0][0] == found[1][0]
    assert all(np.array_equal(found[0][1][name], found[1][1][name]) for name in found[0][1])
    assert found[1][2].dtype == np.float32
    assert np.array_equal(found[0][2], found[1][2])
    assert found[1][2].mean() > 0.0
