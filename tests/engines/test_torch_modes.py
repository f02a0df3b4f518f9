"""D4: what a program switches on around a call (autocast, inference mode, torch.func) changes nothing, or is refused.

`fit` inside of autocast learned nothing, `fit` and `backprop.bptt` in inference mode neither; `torch.func.grad` of a
Model was zero.
"""

from __future__ import annotations

import contextlib
import functools
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import spikecore as sc  # noqa: E402
import spikecore.nn as snn  # noqa: E402
from spikecore import backprop, functional  # noqa: E402
from spikecore.utils import reset  # noqa: E402

RNG = np.random.default_rng(0)
X, Y = RNG.random((4, 8, 5)).astype("float32"), RNG.integers(0, 4, 8)
BATCHES = [(X, Y)] * 2
LOSS = functional.ce_rate_loss()


@contextlib.contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextlib.contextmanager
def anomalies():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Anomaly Detection has been enabled")  # says that it is slow
        with torch.autograd.set_detect_anomaly(True):
            yield


MODES = {
    "autocast to bfloat16": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast to float16": lambda: torch.autocast("cpu", torch.float16),
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "gradients off": lambda: torch.autograd.set_grad_enabled(False),
    "float64 by default": lambda: default_dtype(torch.float64),
    "another device by default": lambda: torch.device("meta"),
    "deterministic": deterministic,
    "anomaly detection": anomalies,
}
SWITCHED_OFF = ("no_grad", "inference_mode", "gradients off")


def network():
    return sc.Sequential(
        sc.Linear(5, 8), sc.BatchNorm1d(8), sc.Leaky(beta=sc.learn(0.9), threshold=0.3), sc.Dropout(0.2),
        sc.Linear(8, 4), sc.Leaky(threshold=0.3),
    )  # fmt: skip


def stack():
    """What learns forward in time."""
    return sc.Sequential(sc.Linear(5, 4), sc.Leaky(beta=sc.learn(0.9)))


def fresh(fused, layers=network):
    return sc.Model(layers(), "torch", seed=0, fused=fused)


def weights(model):
    return np.concatenate([x.ravel() for x in model.params().values()])


def fitted(model, **options):
    model.fit(BATCHES, loss=LOSS, optimizer=sc.Adam(lr=0.02), progress=False, **options)
    return weights(model)


def saved_and_loaded(model, path):
    model.save(path)
    return fitted(sc.load(path, engine="torch", fused=model.engine.fused))


def flat(gradient):
    return np.concatenate([x.ravel() for x in gradient.grads.values()])


CALLS = {
    "fit": lambda new, path: fitted(new()),
    "fit by parts": lambda new, path: fitted(new(), learning=sc.BPTT(update_every=2)),
    "fit forward in time": lambda new, path: fitted(new(stack), learning="eprop"),
    "call": lambda new, path: np.concatenate([new()(X).spikes.numpy(), new()(X).membrane.numpy()]),
    "evaluate": lambda new, path: list(new().evaluate(BATCHES, progress=False).values()),
    "bptt": lambda new, path: flat(backprop.bptt(new(), X, Y)),
    "online": lambda new, path: flat(backprop.online(new(stack), X, Y)),
    "rtrl": lambda new, path: flat(backprop.rtrl(new(stack), X[:2, :2], Y[:2])),
    "verify": lambda new, path: [sc.verify(new(), X, Y, differences=False).ok],
    "save and load": lambda new, path: saved_and_loaded(new(), path),
    "to_engine": lambda new, path: fitted(new().to_engine("torch", fused=False)),
    "loss": lambda new, path: [float(LOSS(torch.from_numpy(X)[..., :4], torch.from_numpy(Y)))],
    "encoder": lambda new, path: sc.spikegen.rate(torch.from_numpy(X[0]), 4, seed=0).numpy(),
}


@pytest.fixture(scope="module")
def without_mode(tmp_path_factory):
    """What a call gives without a mode, computed once."""

    @functools.lru_cache(maxsize=None)
    def expected(call, fused):
        return CALLS[call](lambda layers=network: fresh(fused, layers), tmp_path_factory.mktemp("without") / "model")

    return expected


WAYS = [(call, False) for call in CALLS] + [(call, True) for call in ("fit", "call", "bptt")]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("call", "fused"), WAYS)
def test_a_mode_around_a_call_changes_nothing(call, mode, fused, tmp_path, without_mode):
    """D4: the model may have been built before, or in the mode."""
    new = lambda layers=network: fresh(fused, layers)  # noqa: E731
    expected = without_mode(call, fused)
    before = {layers: fresh(fused, layers) for layers in (network, stack)}
    copies = lambda layers=network: before[layers].to_engine(before[layers].engine)  # noqa: E731
    with MODES[mode]():
        within, earlier = CALLS[call](new, tmp_path / "within"), CALLS[call](copies, tmp_path / "earlier")
    np.testing.assert_array_equal(within, expected)
    np.testing.assert_array_equal(earlier, expected)


@pytest.mark.parametrize("mode", SWITCHED_OFF)
def test_the_simulation_of_an_ipu_trains_where_gradients_are_off(mode):
    """D4: the error was torch's."""
    new = lambda: sc.Model(stack(), "ipu", simulate=True, seed=0)  # noqa: E731
    expected = fitted(new())
    with MODES[mode]():
        np.testing.assert_array_equal(fitted(new()), expected)


@pytest.mark.parametrize("mode", MODES)
def test_a_call_in_a_mode_leaves_nothing_behind(mode):
    """D4."""
    model, other = fresh("auto"), fresh("auto")
    with MODES[mode]():
        other(X)
        other.evaluate(BATCHES, progress=False)
    np.testing.assert_array_equal(fitted(other), fitted(model))


@pytest.mark.parametrize("learn", [{}, {"learning": "eprop"}, {"learning": sc.BPTT(update_every=2)}])
def test_inputs_made_in_inference_mode_are_learned_from(learn):
    """D4: features of another network often are."""
    with torch.inference_mode():
        batch = torch.from_numpy(X) * 1.0, torch.from_numpy(Y) * 1
    layers = stack if learn else network
    model, expected = fresh(False, layers), fresh(False, layers)
    model.fit([batch], loss=LOSS, optimizer=sc.Adam(lr=0.02), progress=False, **learn)
    expected.fit([(X, Y)], loss=LOSS, optimizer=sc.Adam(lr=0.02), progress=False, **learn)
    np.testing.assert_array_equal(weights(model), weights(expected))


# ---- torch.func ----------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own jvp asks for it
def test_torch_func_differentiates_a_call_of_a_model():
    """D4: the gradient was zero."""
    model, x = fresh("auto", stack), torch.from_numpy(X)
    module = snn.to_torch(model)
    wanted = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(snn.run(module, wanted).sum(), wanted)
    assert expected.any()
    sum_of = lambda x: model(x).spikes.sum()  # noqa: E731
    for found in (torch.func.grad(sum_of)(x), torch.func.jacrev(sum_of)(x)):
        torch.testing.assert_close(found, expected)
    _, along = torch.func.jvp(sum_of, (x,), (torch.ones_like(x),))
    torch.testing.assert_close(along, expected.sum())


def test_torch_func_looks_through_losses():
    """D4: labels could not be read."""
    spikes, labels = torch.rand(4, 8, 4), torch.from_numpy(Y)
    wanted = spikes.clone().requires_grad_()
    (expected,) = torch.autograd.grad(LOSS(wanted, labels), wanted)
    torch.testing.assert_close(torch.func.grad(lambda s: LOSS(s, labels))(spikes), expected)
    with pytest.raises(ValueError, match=r"targets\[0\] = 9 is out of range"):
        torch.func.grad(lambda s: LOSS(s, labels + 9 - labels[0]))(spikes)
    engine = sc.get_engine("torch")
    one = lambda s, y: LOSS.evaluate(engine, s[:, None], y[None])  # noqa: E731
    found = torch.func.vmap(torch.func.grad(one), in_dims=(1, 0), out_dims=1)(spikes, labels)
    torch.testing.assert_close(found / 8, expected)


@pytest.mark.parametrize(
    "call",
    [
        lambda model, x: model(x).spikes,
        lambda model, x: model.evaluate([(x, Y[:1])], progress=False)["loss"],
        lambda model, x: backprop.bptt(model, x, Y[:1]).loss,
        lambda model, x: LOSS(torch.ones(4, 1, 4), x[0, :, 0]),
    ],
)
def test_vmap_over_what_must_look_at_numbers_is_refused_with_the_remedy(call):
    """D4."""
    model = fresh("auto")
    with pytest.raises(RuntimeError, match=r"torch\.func\.vmap maps over this tensor.*spikecore\.nn.*loss\.evaluate"):
        torch.func.vmap(lambda row: call(model, row[:, None]), in_dims=1)(torch.from_numpy(X))


# ---- networks of modules -------------------------------------------------------------------------------------------


def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(5, 16), snn.Leaky(beta=0.9, init_hidden=True, learn_beta=True),
        torch.nn.Linear(16, 4), snn.Alpha(alpha=0.9, beta=0.8, init_hidden=True),
    )  # fmt: skip


def trained(net, kind="BPTT"):
    optimizer, data = torch.optim.Adam(net.parameters(), lr=0.02), [(torch.from_numpy(X), torch.from_numpy(Y))] * 3
    losses = [float(getattr(backprop, kind)(net, data, optimizer, LOSS)) for _ in range(2)]
    return losses, torch.cat([p.detach().flatten() for p in net.parameters()])


@pytest.mark.parametrize("mode", SWITCHED_OFF)
@pytest.mark.parametrize("kind", ["BPTT", "TBPTT"])
def test_training_loops_turn_gradients_on(kind, mode):
    """D4: the error was torch's, that no tensor requires a gradient."""
    net_before, (losses, expected) = net(), trained(net(), kind)
    with MODES[mode]():
        found, after = trained(net_before, kind)
    assert found == losses
    torch.testing.assert_close(after, expected, rtol=0, atol=0)


def test_a_training_loop_inside_of_autocast_learns_at_every_update():
    """D4: autocast kept the weights as they were before the first update."""
    one, whole, data = net(), net(), (torch.from_numpy(X), torch.from_numpy(Y))
    optimizers = [torch.optim.Adam(x.parameters(), lr=0.02) for x in (one, whole)]
    for _ in range(4):
        with torch.autocast("cpu", torch.bfloat16):
            backprop.BPTT(one, [data], optimizers[0], LOSS)
    with torch.autocast("cpu", torch.bfloat16):
        backprop.BPTT(whole, [data] * 4, optimizers[1], LOSS)
    for a, b in zip(one.parameters(), whole.parameters()):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "another device by default"])
@pytest.mark.parametrize("loop", [True, False])
def test_modules_are_as_before_after_a_mode(loop, mode):
    """D4: constants that a module had kept from a call in inference mode could not be differentiated."""

    def backwards(net):
        if loop:
            reset(net)
            spikes = torch.stack([net(x) for x in torch.from_numpy(X)])
        else:
            spikes = snn.run(net, torch.from_numpy(X))
        (spikes * torch.linspace(0, 1, spikes.numel()).reshape(spikes.shape)).sum().backward()
        return [p.grad for p in net.parameters()]

    used = net()
    with MODES[mode]():
        if mode == "anomaly detection":
            backwards(net())
        snn.run(used, torch.from_numpy(X))
        for x in torch.from_numpy(X):
            used(x)
    for a, b in zip(backwards(used), backwards(net())):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_modules_made_with_another_default_type_run_in_it():
    """D4."""
    with default_dtype(torch.float64):
        made, expected = net(), [p.detach() for p in net().parameters()]
        spikes = snn.run(made, torch.from_numpy(X).double())
        assert spikes.dtype == torch.float64
        spikes.sum().backward()
    assert all(p.grad.dtype == torch.float64 and p.grad.isfinite().all() for p in made.parameters())
    assert all((p == q).all() for p, q in zip(made.parameters(), expected))
