"""``check``: what PopTorch would refuse or silently get wrong is caught, named and placed; the library's own passes."""

# ruff: noqa: E402 (nothing of this can be imported without torch)

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the IPU engine is made of torch ops")

import torch.nn.functional as F
from torch import nn

import spikecore as sc
from spikecore import functional
from spikecore.conformance import cases
from spikecore.engines.ipu import findings
from spikecore.engines.ipu.check import check
from spikecore.engines.ipu.findings import NotForIpu
from spikecore.engines.ipu.networks import check_model
from spikecore.engines.ipu.options import IpuOptions
from spikecore.engines.ipu.simulation import identity_loss


class Net(nn.Module):
    """A small network whose forward returns its loss; subclasses do one thing wrong in a layer called "inner"."""

    def __init__(self, inner=None):
        super().__init__()
        self.first, self.inner, self.last = nn.Linear(4, 5), inner or nn.Identity(), nn.Linear(5, 3)

    def forward(self, x, y):
        out = self.last(self.inner(self.first(x)))
        return out, self.loss(out, y)

    def loss(self, out, y):
        return identity_loss(F.cross_entropy(out, y), "none")


class Surrogate(torch.autograd.Function):
    """A spike as one writes it everywhere but for an IPU."""

    @staticmethod
    def forward(ctx, u):
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(ctx, g):
        return g


def layer(function):
    """A module whose forward is a function of (module, x)."""
    return type("Inner", (nn.Module,), {"forward": function})()


def no_grad(module, x):
    with torch.no_grad():
        mask = torch.sigmoid(x)
    return x * mask


def inference_mode(module, x):
    with torch.inference_mode():
        mask = torch.sigmoid(x)
    return x * mask.clone()


def hooked(module, x):
    x = x * 2
    x.register_hook(lambda g: g.clamp(-1, 1))
    return x


def with_buffer(change, value=None):
    module = layer(lambda module, x: (change(module, x), x)[1])
    module.register_buffer("memory", torch.zeros(5) if value is None else value)
    return module


def set_data(module, x):
    module.memory.data = x.detach().mean(0)


def reassign(module, x):
    module.memory = x.detach().mean(0)


def count(module, x):
    module.memory += 1


def plain_attribute():
    module = layer(lambda module, x: x + module.offset)
    module.offset = torch.ones(5)
    return module


def counting():
    def forward(module, x):
        module.calls = getattr(module, "calls", 0) + 1
        return x * 2 if module.calls % 2 else x

    return layer(forward)


def backward_hook():
    module = nn.Identity()
    module.register_full_backward_hook(lambda module, before, after: None)
    return module


# The trap, the layer that springs it.
LAYERS = [
    ("autograd.Function", "inner", lambda: layer(lambda module, x: Surrogate.apply(x))),
    ("detach_", "inner", lambda: layer(lambda module, x: x + (x * 1).detach_())),
    ("no_grad", "inner", lambda: layer(no_grad)),
    ("no_grad", "inner", lambda: layer(inference_mode)),
    ("hook", "inner", lambda: layer(hooked)),
    ("hook", "inner", backward_hook),
    (".data =", "inner.memory", lambda: with_buffer(set_data)),
    ("reassigned buffer", "inner.memory", lambda: with_buffer(reassign)),
    ("integer buffer", "inner.memory", lambda: with_buffer(count, torch.tensor(0))),
    ("host tensor", "inner", plain_attribute),
    ("two traces", "inner", counting),
    (
        "two traces",
        "inner",
        lambda: layer(lambda module, x: x * 2 if bool(x.detach()[0, 0] > x.detach()[-1, 0]) else -x.abs()),
    ),
    ("host access", "inner", lambda: layer(lambda module, x: x * float(x.detach().max()))),
    ("host access", "inner", lambda: layer(lambda module, x: x * float(x.detach().numpy().max()))),
    ("host access", "inner", lambda: layer(lambda module, x: x.cpu())),
    ("operator", "inner", lambda: layer(lambda module, x: torch.heaviside(x, torch.zeros(())))),
    ("operator", "inner", lambda: layer(lambda module, x: torch.lerp(x, 2 * x, 0.5))),
    ("operator", "inner", lambda: layer(lambda module, x: x + x[x > 0].sum())),
    ("operator", "inner", lambda: layer(lambda module, x: torch.igamma(x.abs() + 1, x.abs() + 1))),
    ("dtype", "inner", lambda: layer(lambda module, x: x.to(torch.bfloat16).to(torch.float32))),
    ("error", "inner", lambda: nn.Linear(7, 7)),
]


def inputs(batch=6):
    return [torch.linspace(-1, 1, 4 * batch).reshape(batch, 4), torch.arange(batch) % 3]


def errors(report):
    return [(one.trap, one.layer) for one in report.findings if one.error]


@pytest.mark.parametrize(("trap", "where", "build"), LAYERS, ids=[f"{i}-{case[0]}" for i, case in enumerate(LAYERS)])
def test_a_trap_in_a_layer_is_caught_and_named(trap, where, build):
    report = check(Net(build()), inputs())
    assert (trap, where) in errors(report), report
    assert not report.ok
    assert f"layer {where}: {trap}" in str(report)
    assert all(one.reason and one.remedy for one in report.findings)


def test_a_good_module_passes_and_stays_as_it_is():
    net = Net(nn.Sequential(nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.3)))
    before, call = {name: value.clone() for name, value in net.state_dict().items()}, torch.nn.Module.__call__
    report = check(net, inputs(), optimizer=torch.optim.Adam(net.parameters()))
    assert report.ok, report
    assert report.nodes > 5
    assert "no IPU was involved" in str(report)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.nn.Module.__call__ is call
    assert net(*inputs())[1].requires_grad, "torch itself is as before"
    assert ("integer buffer", False) in {(one.trap, one.error) for one in report.findings}, "BatchNorm only counts"


LOSSES = [
    ("no loss", lambda self, out, y: out.mean()),
    ("several losses", lambda self, out, y: F.cross_entropy(out, y) + F.mse_loss(out, torch.zeros_like(out))),
    ("unwrapped loss", lambda self, out, y: F.cross_entropy(out, y) + 0.1 * out.abs().mean()),
    ("loss", lambda self, out, y: identity_loss(F.cross_entropy(out, y, reduction="none"), "none")),
]


@pytest.mark.parametrize(("trap", "loss"), LOSSES, ids=[case[0] for case in LOSSES])
def test_a_wrong_loss_is_caught(trap, loss):
    report = check(type("Bad", (Net,), {"loss": loss})(), inputs())
    assert (trap, "") in errors(report), report


def test_right_losses_pass():
    both = lambda self, out, y: identity_loss(F.cross_entropy(out, y) + 0.1 * out.abs().mean(), "mean")  # noqa: E731
    for loss in (both, lambda self, out, y: F.cross_entropy(out, y)):
        assert check(type("Good", (Net,), {"loss": loss})(), inputs()).ok


def test_batches_and_inputs():
    options = IpuOptions(device_iterations=2, gradient_accumulation=2)
    assert ("batch", "") in errors(check(Net(), inputs(6), options=options))
    assert check(Net(), inputs(8), options=options).ok
    x, y = inputs(8)
    assert ("batch", "") in errors(check(Net(), [x.reshape(4, 8), y], options=options)), "not batch first"
    assert ("input", "") in errors(check(Net(), [x, y.numpy()]))
    assert ("input", "") in errors(check(Net(), [x[:0], y[:0]]))
    subclass = type("Marked", (torch.Tensor,), {})
    assert ("input", "") in errors(check(Net(), [x.as_subclass(subclass), y]))
    net = Net()
    net.register_buffer("marked", torch.ones(2).as_subclass(subclass))
    assert ("tensor subclass", "marked") in errors(check(net, [x, y]))


def test_optimisers():
    net = Net()
    good = [torch.optim.SGD(net.parameters(), lr=0.1), torch.optim.RMSprop(net.parameters()), sc.Adam(), sc.SGD()]
    assert all(check(net, inputs(), optimizer=one).ok for one in good)
    own = type("Mine", (torch.optim.SGD,), {})(net.parameters(), lr=0.1)
    for bad in (
        sc.Adam(keep_zeros=True),
        torch.optim.Adagrad(net.parameters()),
        torch.optim.Adam(net.parameters(), amsgrad=True),
        own,
    ):
        assert ("optimiser", "") in errors(check(net, inputs(), optimizer=bad)), bad


def test_dtypes_are_told():
    report = check(Net().double(), [inputs()[0].double(), inputs()[1]])
    assert report.ok
    told = [one.reason for one in report.findings if one.trap == "dtype"]
    assert any("float64 and becomes float32" in one for one in told)
    assert any("int64 and becomes int32" in one for one in told)


# ---- the library's own networks -----------------------------------------------------------------------------------

TWO_LEAKY = sc.Sequential(sc.Linear(6, 8), sc.Leaky(), sc.Linear(8, 3), sc.Leaky())


def batch(shape=(6,), samples=4, classes=3):
    rng = np.random.default_rng(0)
    return rng.normal(size=(samples, *shape)) + 0.5, rng.integers(0, classes, samples)


def test_aten_calls_per_time_step():
    """The bar for two layers of Leaky is 45; both ways of giving the input count alike."""
    model = sc.Model(TWO_LEAKY, "numpy")
    x, y = batch()
    report = check_model(model, x, y, optimizer=sc.Adam(), num_steps=25)
    print(report)
    assert report.ok
    assert report.per_step <= 45
    assert f"{report.per_step} for each of 25 time steps" in str(report)
    sequence = check_model(model, np.stack([x] * 25), y)
    assert sequence.per_step == report.per_step
    other = check_model(model, x, y, num_steps=50)
    assert other.nodes - report.nodes == 25 * report.per_step, "exactly linear in time"


def test_a_large_graph_is_told(monkeypatch):
    monkeypatch.setattr(findings, "LARGE", 2000)
    report = check_model(sc.Model(TWO_LEAKY, "numpy"), *batch(), num_steps=1 + 2000 // 40)
    assert report.ok
    (told,) = [one for one in report.findings if one.trap == "graph size"]
    assert "time steps x" in told.reason


ALL = [*cases.NEURONS, *cases.LAYERS, *cases.NETWORKS, *cases.TRAINED_ONLY]


@pytest.mark.parametrize("case", ALL, ids=[case.name for case in ALL])
def test_everything_the_library_has_is_accepted(case):
    network = sc.Sequential(case.layer, sc.Flatten())
    samples, _ = batch((8, *case.shape), 4)
    model = sc.Model(network, "numpy", input_shape=case.shape)
    report = check_model(model, np.moveaxis(samples, 1, 0), np.zeros(4, int), optimizer=sc.Adam())
    assert report.ok, report
    assert {one.trap for one in report.findings} <= {"dtype"}, "A7: no ties, and every weight has a path to the loss"


@pytest.mark.parametrize("loss", [loss for _, loss in cases.LOSSES], ids=[name for name, _ in cases.LOSSES])
def test_every_loss_is_accepted(loss):
    report = check_model(sc.Model(TWO_LEAKY, "numpy"), *batch(), loss, sc.Adam(), num_steps=6)
    assert report.ok, report


OF_PEERS = {
    "ctc": (functional.ctc_loss(), np.array([[1, 2], [2, 2], [1, -1], [-1, -1]])),
    "others": (
        functional.tet_loss()
        + functional.spikemax_loss(moving_window=3)
        + functional.spike_similarity_loss(distance="bce")
        + functional.silence_loss(2.0, layers=("1",))
        + functional.event_rate_loss(layers=("1",))
        + functional.sparsity_loss(0.5),
        np.array([0, 2, 1, 1]),
    ),
}


@pytest.mark.parametrize("which", OF_PEERS)
def test_losses_of_peers_are_accepted(which):
    loss, targets = OF_PEERS[which]
    report = check_model(sc.Model(TWO_LEAKY, "numpy"), batch()[0], targets, loss, sc.Adam(), num_steps=6)
    assert report.ok, report


def summed_membrane_loss(out, targets):
    """Tutorials 3 and 5: cross-entropy of the membrane, summed over all steps."""
    return sum(F.cross_entropy(mem, targets) for mem in out.membrane)


FAST = sc.surrogate.fast_sigmoid(slope=25)
CONV = sc.Sequential(
    sc.Conv2d(1, 12, 5), sc.MaxPool2d(2), sc.Leaky(beta=0.5, surrogate=FAST),
    sc.Conv2d(12, 64, 5), sc.MaxPool2d(2), sc.Leaky(beta=0.5, surrogate=FAST),
    sc.Flatten(), sc.Linear(64 * 4 * 4, 10), sc.Leaky(beta=0.5, surrogate=FAST),
)  # fmt: skip


def dense(hidden, outputs, neuron, **options):
    return sc.Sequential(sc.Linear(784, hidden), neuron(**options), sc.Linear(hidden, outputs), neuron(**options))


POPULATION = sc.functional.mse_count_loss(population_code=True, num_classes=10)
TUTORIALS = [  # snnTorch's: network, shape of a sample, loss, what fit is given
    ("1 spike encoding", sc.Sequential(sc.Linear(784, 10), sc.Leaky()), (784,), None,
     {"encoder": sc.spikegen.rate, "num_steps": 10}),
    ("2 Lapicque", dense(20, 10, sc.Lapicque, R=5.0, C=1e-3 * 1000), (784,), None, {"num_steps": 10}),
    ("3 feedforward", dense(1000, 10, sc.Leaky, beta=0.99), (784,), summed_membrane_loss, {"num_steps": 20}),
    ("4 synaptic", dense(100, 10, sc.Synaptic, alpha=0.9, beta=0.8), (784,), None, {"num_steps": 20}),
    ("4 alpha", dense(100, 10, sc.Alpha, alpha=0.8, beta=0.7), (784,), None, {"num_steps": 20}),
    ("5 fully connected", dense(1000, 10, sc.Leaky, beta=0.95), (784,), summed_membrane_loss, {"num_steps": 25}),
    ("6 convolutional", CONV, (1, 28, 28), sc.functional.ce_rate_loss(), {"num_steps": 50}),
    ("population coding", dense(128, 500, sc.Leaky, beta=0.9, surrogate=FAST), (784,), POPULATION, {"num_steps": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "network", "shape", "loss", "feeding"), TUTORIALS, ids=[one[0] for one in TUTORIALS])
def test_the_networks_of_snntorchs_tutorials(name, network, shape, loss, feeding):
    rng = np.random.default_rng(0)
    x, y = rng.random((2, *shape)), np.array([3, 7])
    model = sc.Model(network, "numpy", input_shape=shape)
    report = check_model(model, x, y, loss, sc.Adam(lr=5e-4), **feeding)
    print(report)
    assert report.ok, report
    assert report.nodes > 0


def test_a_network_that_must_be_refused():
    class Broken(sc.Leaky):
        def step(self, engine, params, state, x):
            return super().step(engine, params, state, (x * 1).detach_())

    model = sc.Model(sc.Sequential(sc.Linear(6, 3), Broken()), "numpy")
    report = check_model(model, *batch(), num_steps=2)
    assert ("detach_", "1") in errors(report)
    with pytest.raises(NotForIpu, match=r"layer 1: detach_"):
        report.require()
    training = sc.Model(model.network, "ipu", simulate=True)
    with pytest.raises(NotForIpu, match=r"layer 1: detach_"):
        training.fit([batch()], num_steps=2)
