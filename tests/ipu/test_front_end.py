"""What the simulation does with the module and the optimiser, as PopTorch's front end does."""

# ruff: noqa: E402 (nothing of this can be imported without torch)

from __future__ import annotations

import pickle

import pytest

torch = pytest.importorskip("torch", reason="the IPU engine is made of torch ops")

from torch import nn

from spikecore.engines.ipu import simulation as poptorch
from tests.ipu.test_simulation import Net, batch, layer, moved, trained

pytestmark = pytest.mark.usefixtures("many_ipus")

# ---- the module ----------------------------------------------------------------------------------------------------


def test_what_is_traced_is_a_shallow_copy():
    """A12, A1: an attribute assigned in the forward pass lands on the copy; containers and weights are shared."""

    class Noting(Net):
        def forward(self, x, y=None):
            self.assigned = True
            self.names.append("out")
            return super().forward(x, y)

    net = Noting()
    net.names = []
    model, _ = trained(net, *batch())
    assert not hasattr(net, "assigned")
    assert set(net.names) == {"out"}
    assert model.model is net
    found = Noting()
    found.names = []
    poptorch.inferenceModel(found)(batch()[0])
    assert not hasattr(found, "assigned")


def test_forward_hooks_run():
    """A12: PopTorch calls the module, not its forward."""
    seen, net = [], Net()
    net.register_forward_hook(lambda module, given, found: seen.append(type(module)))
    trained(net, *batch())
    assert seen


def test_frozen_parameters_are_not_trained():
    """A12: neither those without requires_grad nor those that the optimiser has not got."""
    net = Net()
    net.first.weight.requires_grad_(False)
    some = poptorch.optim.SGD([net.first.bias, net.first.weight, net.last.weight], lr=0.1)
    found = moved(net, *batch(), optimizer=some)
    assert {name for name, far in found.items() if far > 0} == {"first.bias", "last.weight"}


@pytest.mark.parametrize("home", [poptorch.optim, torch.optim], ids=["poptorch", "torch"])
def test_groups_have_settings_of_their_own(home):
    """A12: param_groups, of PopTorch's optimisers and of torch's."""
    ours, theirs = Net(), Net()
    split = lambda net: [{"params": net.first.parameters()}, {"params": net.last.parameters(), "lr": 0.5}]  # noqa: E731
    model, _ = trained(ours, *batch(), calls=2, optimizer=home.SGD(split(ours), lr=0.1, momentum=0.9))
    by_hand = torch.optim.SGD(split(theirs), lr=0.1, momentum=0.9)
    for _ in range(2):
        by_hand.zero_grad()
        theirs(*batch())[1].backward()
        by_hand.step()
    model.copyWeightsToHost()
    for a, b in zip(ours.parameters(), theirs.parameters()):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-6)


def accumulating(module, x):
    module.total.copy_(module.total + x.sum())
    return x


def test_replicas_have_buffers_of_their_own():
    """A12: the host gets those of the first; shared ones cannot be changed."""
    x, y = batch(8)
    net = Net(layer(accumulating, total=torch.zeros(())))
    net.first = nn.Identity()
    net.last = nn.Linear(4, 3)
    options = poptorch.Options().replicationFactor(2)
    with pytest.raises(poptorch.Error, match="does not support broadcasting buffers"):
        trained(net, x, y, options=options.clone())
    net = Net(layer(accumulating, total=torch.zeros(())))
    net.first, net.last = nn.Identity(), nn.Linear(4, 3)
    model, _ = trained(net, x, y, options=options.clone().broadcastBuffers(False), calls=2)
    model.copyWeightsToHost()
    torch.testing.assert_close(net.inner.total, 2 * x[:4].sum())


def test_exporting_pickles_the_module(tmp_path):
    """A12, A9: which fails for lambdas; without the module a program can be saved, and read for the same module."""
    net, path = Net(), str(tmp_path / "program")
    with pytest.raises((AttributeError, pickle.PicklingError), match="lambda"):
        poptorch.trainingModel(net).compileAndExport(path, *batch())
    first = Net()
    poptorch.trainingModel(first).compileAndExport(path, *batch(), export_model=False)
    again, direct = Net(), Net()
    model = poptorch.trainingModel(again)
    with pytest.raises(poptorch.Error, match="not been compiled"):
        model.save(path)
    model.loadExecutable(path)
    assert model.isCompiled()
    assert model.isAttachedToDevice()
    assert model.compilations == 0
    model(*batch())
    poptorch.trainingModel(direct)(*batch())
    assert torch.equal(again.state_dict()["last.weight"], direct.state_dict()["last.weight"])
    with pytest.raises(poptorch.Error, match="program of another model"):
        poptorch.trainingModel(Net(nn.Linear(5, 5))).loadExecutable(path)


def test_a_pipeline_is_kept_full():
    """A4, A12: every stage needs a part of the batch to work on."""

    class Staged(Net):
        def forward(self, x, y=None):
            poptorch.Block.start("a", ipu_id=0)
            x = self.first(x)
            poptorch.Block.start("b", ipu_id=1)
            out = self.last(self.inner(x))
            return out if y is None else (out, self.loss(out, y))

    with pytest.raises(poptorch.Error, match="2 stages needs gradient accumulation of at least 3, got 1"):
        trained(Staged(), *batch())
    with pytest.raises(poptorch.Error, match="2 stages needs device iterations of at least 2, got 1"):
        poptorch.inferenceModel(Staged())(batch()[0])
    options = poptorch.Options()
    options.Training.gradientAccumulation(3)
    trained(Staged(), *batch(9), options=options)


# ---- the optimiser -------------------------------------------------------------------------------------------------


def momentum(net, **options):
    return poptorch.optim.SGD(list(net.parameters()), lr=0.1, momentum=0.9, **options)


def state_after(calls=1, **options):
    net = Net()
    optimizer = momentum(net, **options)
    trained(net, *batch(), optimizer=optimizer, calls=calls)
    return optimizer.state_dict()


def test_the_state_is_none_before_compilation():
    """A12, A2: and one that is loaded with "ipu_param" None is ignored; an empty one counts."""
    state = state_after(3)
    fresh = momentum(Net())
    assert (fresh.state_dict()["ipu_state"], fresh.state_dict()["ipu_param"]) == (None, None)
    with pytest.raises(RuntimeError, match="Only IPU optimizer states"):
        fresh.load_state_dict(torch.optim.SGD(Net().parameters(), lr=0.1).state_dict())
    found = {}
    for name, given in (("none", None), ("empty", {}), ("nothing", state["ipu_param"])):
        net = Net()
        optimizer = momentum(net)
        loaded = {**optimizer.state_dict(), "ipu_param": given}
        loaded["ipu_state"] = None if name == "nothing" else state["ipu_state"]
        optimizer.load_state_dict(loaded)
        trained(net, *batch(), optimizer=optimizer)
        found[name] = net.state_dict()["last.weight"]
    assert torch.equal(found["none"], found["nothing"])
    assert not torch.allclose(found["none"], found["empty"])


def test_a_state_may_bring_an_old_learning_rate():
    """A12: settings are part of it, and go to the device again whenever it is attached."""
    net = Net()
    optimizer = momentum(net)
    model, _ = trained(net, *batch(), optimizer=optimizer)
    model.detachFromDevice()
    optimizer.param_groups[0]["lr"] = 0.0
    model.setOptimizer(optimizer)
    before = net.first.weight.detach().clone()
    model(*batch())
    net.state_dict()
    assert not torch.equal(net.first.weight, before)


def test_sgd_keeps_separate_accumulators():
    """A12, A3: the velocity's name, its scale, and where it begins."""
    one, scaled = state_after()["ipu_state"], state_after(loss_scaling=8.0)["ipu_state"]
    assert set(one) == {f"Accl1___{name}" for name, _ in Net().named_parameters()}
    for name in one:
        torch.testing.assert_close(scaled[name], 8.0 * one[name])
    dampened = state_after(dampening=0.5)["ipu_state"]
    for name in one:
        torch.testing.assert_close(dampened[name], 0.5 * one[name])


def test_what_no_gradient_reaches_has_no_arrays():
    """A11, A12: nor does weight decay reach it."""

    class Aside(Net):
        def __init__(self):
            super().__init__()
            self.aside = nn.Parameter(torch.ones(2))

    net = Aside()
    optimizer = momentum(net, weight_decay=0.1)
    trained(net, *batch(), optimizer=optimizer)
    assert not any("aside" in name for name in optimizer.state_dict()["ipu_state"])
    assert net.state_dict()["aside"].tolist() == [1.0, 1.0]
