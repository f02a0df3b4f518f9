"""The simulation keeps PopTorch's rules, and what PopTorch silently drops is dropped."""

# ruff: noqa: E402 (nothing of this can be imported without torch)

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch", reason="the IPU engine is made of torch ops")

import torch.nn.functional as F
from torch import nn

from spikecore.engines.ipu import simulation as poptorch
from spikecore.engines.ipu.words import detached_spike

pytestmark = pytest.mark.usefixtures("many_ipus")


class Net(nn.Module):
    """Two layers with ``inner`` between them; returns output and loss."""

    def __init__(self, inner=None, loss=None):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.inner, self.last = nn.Linear(4, 5), inner or nn.Tanh(), nn.Linear(5, 3)
        self.loss = loss or (lambda out, y: poptorch.identity_loss(F.cross_entropy(out, y), "none"))

    def forward(self, x, y=None):
        out = self.last(self.inner(self.first(x)))
        return out if y is None else (out, self.loss(out, y))


class Surrogate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, u):
        ctx.save_for_backward(u)
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(ctx, g):
        return g / (1 + ctx.saved_tensors[0] ** 2)


def layer(function, **buffers):
    module = type("Inner", (nn.Module,), {"forward": function})()
    for name, value in buffers.items():
        module.register_buffer(name, value)
    return module


def batch(size=8):
    torch.manual_seed(1)
    return torch.randn(size, 4), torch.arange(size) % 3


def trained(net, *inputs, options=None, optimizer=None, calls=1):
    """(executor, what it returned last)."""
    optimizer = optimizer or poptorch.optim.SGD(net.parameters(), lr=0.1)
    model = poptorch.trainingModel(net, options=options, optimizer=optimizer)
    for _ in range(calls):
        found = model(*inputs)
    return model, found


def moved(net, *inputs, **options):
    """How far each weight moves in one call."""
    before = {name: value.detach().clone() for name, value in net.named_parameters()}
    trained(net, *inputs, **options)
    return {name: float((value.detach() - before[name]).abs().max()) for name, value in net.named_parameters()}


# ---- rules ---------------------------------------------------------------------------------------------------------


def test_options_freeze_and_check():
    options = poptorch.Options()
    assert options.deviceIterations(2) is options
    assert options.Training.gradientAccumulation(2) is options.Training
    with pytest.raises(AssertionError, match="device_iterations"):
        options.deviceIterations(0)
    with pytest.raises(AssertionError, match="unknown option colour"):
        options.colour = 1
    with pytest.raises(AttributeError, match="no option 'colour'"):
        _ = options.colour
    assert options.set(colour=1).clone().colour == 1, "set takes any name"
    poptorch.trainingModel(Net(), options=options)
    for change in (
        lambda: options.deviceIterations(3),
        lambda: options.Training.gradientAccumulation(3),
        lambda: options.Precision.enableStochasticRounding(True),
        lambda: options._Popart.set("key", 1),
    ):
        with pytest.raises(AttributeError, match="frozen"):
            change()
    clone = options.clone().deviceIterations(5)
    assert (clone.device_iterations, clone.Training.gradient_accumulation, options.device_iterations) == (5, 2, 2)


def test_the_batch_is_divided():
    """Two device iterations of two accumulated parts are two steps on means: the same as torch by hand."""
    x, y = batch(8)
    net, reference = Net(), Net()
    options = poptorch.Options().deviceIterations(2)
    options.Training.gradientAccumulation(2)
    model, (out, loss) = trained(net, x, y, options=options)
    by_hand = torch.optim.SGD(reference.parameters(), lr=0.1)
    for half_x, half_y in zip(x.split(4), y.split(4)):
        by_hand.zero_grad()
        found, value = reference(half_x, half_y)
        value.backward()
        by_hand.step()
    model.copyWeightsToHost()
    for ours, theirs in zip(net.parameters(), reference.parameters()):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)
    assert out.shape == (2, 3), "in training the last part alone comes back"
    assert loss.shape == ()
    torch.testing.assert_close(out, found[2:].detach())
    with pytest.raises(AssertionError, match="axis 0 of an input of shape .*must be a multiple of 4"):
        trained(Net(), *batch(6), options=options.clone())


def test_all_outputs_on_request_and_in_inference():
    options = poptorch.Options().deviceIterations(2).outputMode(poptorch.OutputMode.All)
    _, (out, loss) = trained(Net(), *batch(8), options=options)
    assert out.shape == (8, 3)
    assert loss.shape == (2,)
    net = Net().eval()
    found = poptorch.inferenceModel(net, poptorch.Options().deviceIterations(4))(batch(8)[0])
    torch.testing.assert_close(found, net(batch(8)[0]).detach())


def test_types_shapes_and_backward():
    class Counts(Net):
        def forward(self, x, y):
            out, loss = super().forward(x, y)
            return out.argmax(1), out.double(), loss

    model, (index, double, loss) = trained(Counts(), *batch())
    assert index.dtype == torch.int32
    assert double.dtype == torch.float32
    with pytest.raises(poptorch.Error, match="backward"):
        loss.backward()
    with pytest.raises(poptorch.Error, match="differ from those the model was compiled for"):
        model(*batch(4))
    with pytest.raises(poptorch.Error, match="differ"):
        model(batch()[0].double(), batch()[1])
    assert model.compilations == 1


def test_an_inference_model_follows_the_training_model_of_its_module():
    """Neither is in the other's way, whichever is made first."""
    net = Net()
    before = poptorch.inferenceModel(net)
    training = poptorch.trainingModel(net)
    after = poptorch.inferenceModel(net)
    x, y = batch()
    first = before(x)
    assert torch.equal(first, after(x))
    for _ in range(2):
        training(x, y)
        assert torch.equal(before(x), after(x))
    assert not torch.equal(first, after(x))
    assert torch.equal(after(x), net(x))
    after.destroy()
    assert type(net).__name__ == "PoptorchNet"
    training.destroy()
    assert type(net) is Net


def test_outputs_that_are_views_of_a_weight_are_those_before_the_update():
    class Looking(Net):
        def forward(self, x, y):
            return self.last.bias, self.last.weight[0], self.loss(self.last(self.first(x)), y)

    net = Looking()
    weight, bias = net.last.weight[0].detach().clone(), net.last.bias.detach().clone()
    _, (seen_bias, seen_weight, _) = trained(net, *batch())
    assert torch.equal(seen_weight, weight)
    assert torch.equal(seen_bias, bias)


def test_weights_live_on_the_device():
    net = Net()
    optimizer = poptorch.optim.SGD(list(net.parameters()), lr=0.1)
    model = poptorch.trainingModel(net, optimizer=optimizer)
    assert type(net).__name__ == "PoptorchNet"
    with pytest.raises(RuntimeError, match="already been wrapped"):
        poptorch.trainingModel(net)
    held = net.first.weight
    before = held.detach().clone()
    model(*batch())
    assert torch.equal(held, before), "nobody has asked for them yet"
    net.state_dict()
    assert not torch.equal(held, before), "reading the state copies them"
    with torch.no_grad():
        held.copy_(before)
    model.copyWeightsToDevice()
    model.copyWeightsToHost()
    assert torch.equal(held, before)
    model.load_state_dict({name: value + 1 for name, value in model.state_dict().items()})
    model.copyWeightsToHost()
    torch.testing.assert_close(held.detach(), before + 1)
    model.destroy()
    assert type(net) is Net
    with pytest.raises(poptorch.Error, match="destroyed"):
        model(*batch())
    poptorch.inferenceModel(net)


def test_attach_and_detach():
    model, _ = trained(Net(), *batch())
    assert model.isAttachedToDevice()
    model.detachFromDevice()
    with pytest.raises(AssertionError, match="not attached"):
        model.detachFromDevice()
    model.attachToDevice()
    with pytest.raises(AssertionError, match="already attached"):
        model.attachToDevice()
    with pytest.raises(AssertionError, match="not compiled"):
        poptorch.trainingModel(Net()).attachToDevice()


def test_the_optimiser_is_copied():
    net = Net()
    optimizer = poptorch.optim.SGD(list(net.parameters()), lr=0.1)
    model = poptorch.trainingModel(net, optimizer=optimizer)
    model(*batch())
    model.copyWeightsToHost()
    optimizer.param_groups[0]["lr"] = 0.0
    before = net.first.weight.detach().clone()
    model(*batch())
    model.copyWeightsToHost()
    assert not torch.equal(net.first.weight, before), "a new rate counts from setOptimizer on"
    model.setOptimizer(optimizer)
    before = net.first.weight.detach().clone()
    model(*batch())
    model.copyWeightsToHost()
    assert torch.equal(net.first.weight, before)


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_optimisers_are_torchs(kind):
    options = {"lr": 0.05, "weight_decay": 0.01, **({"momentum": 0.9} if kind in ("SGD", "RMSprop") else {})}
    ours, theirs = Net(), Net()
    model, _ = trained(
        ours, *batch(), calls=3, optimizer=getattr(poptorch.optim, kind)(list(ours.parameters()), **options)
    )
    optimizer = getattr(torch.optim, kind)(theirs.parameters(), **options)
    for _ in range(3):
        optimizer.zero_grad()
        theirs(*batch())[1].backward()
        optimizer.step()
    model.copyWeightsToHost()
    for a, b in zip(ours.parameters(), theirs.parameters()):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-6)


def test_optimisers_that_do_not_exist_there():
    with pytest.raises(AssertionError, match="Unsupported optimizer type Adagrad"):
        poptorch.trainingModel(Net(), optimizer=torch.optim.Adagrad(Net().parameters()))
    with pytest.raises(ValueError, match="amsgrad"):
        poptorch.optim.Adam(Net().parameters(), amsgrad=True)
    assert poptorch.trainingModel(Net(), optimizer=torch.optim.Adam(Net().parameters())) is not None


LOSSES = [
    (lambda out, y: out.mean(), "find a loss"),
    (lambda out, y: F.cross_entropy(out, y) + F.mse_loss(out, out.detach() + 1), "Multiple independent losses"),
]


@pytest.mark.parametrize(("loss", "message"), LOSSES, ids=["none", "two"])
def test_exactly_one_loss(loss, message):
    with pytest.raises(poptorch.Error, match=message):
        trained(Net(loss=loss), *batch())


def test_no_loop_in_training_no_device_offline():
    looping = layer(lambda module, x: poptorch.for_loop(3, lambda x: x * 0.5, [x])[0])
    with pytest.raises(poptorch.Error, match="only supported in inference"):
        trained(Net(looping), *batch())
    net = Net(looping)
    poptorch.inferenceModel(net)(batch()[0])
    with pytest.raises(AssertionError, match="offline"):
        trained(Net(), *batch(), options=poptorch.Options().useOfflineIpuTarget())
    options = poptorch.Options()
    options.Training.gradientAccumulation(2)
    with pytest.raises(ValueError, match="gradient_accumulation to 1"):
        poptorch.inferenceModel(Net(), options)


# ---- silent traps, as silent as on the device ----------------------------------------------------------------------


def test_the_backward_of_a_function_is_dropped():
    """Same forward, no error, and the layer below does not move; in detach form it moves as on the host."""
    x, y = batch()
    wrong = Net(layer(lambda module, u: Surrogate.apply(u)))
    right = Net(layer(lambda module, u: detached_spike(u, 1 / (1 + u**2))))
    host = copy.deepcopy(wrong)
    torch.testing.assert_close(trained(copy.deepcopy(wrong), x, y)[1][0], host(x, y)[0].detach())
    found = moved(wrong, x, y)
    assert found["first.weight"] == 0.0
    assert found["last.weight"] > 0.0
    host(x, y)[1].backward()
    before = right.first.weight.detach().clone()
    moved(right, x, y)
    torch.testing.assert_close(
        (before - right.first.weight).detach() / 0.1, host.first.weight.grad, atol=1e-6, rtol=1e-5
    )


def no_grad(module, x):
    with torch.no_grad():
        return x * 2


def hooked(module, x):
    x = x * 2
    x.register_hook(lambda g: g * 0)
    return x


@pytest.mark.parametrize(
    "ignored", [lambda module, x: (x * 2).detach_(), no_grad, hooked], ids=["detach_", "no_grad", "hook"]
)
def test_what_should_stop_a_gradient_does_not(ignored):
    assert moved(Net(layer(ignored)), *batch())["first.weight"] > 0.0
    assert moved(Net(layer(lambda module, x: (x * 2).detach())), *batch())["first.weight"] == 0.0
    net = Net()
    with torch.no_grad():
        assert not net(*batch())[1].requires_grad, "torch itself is as before"


def test_unwrapped_terms_are_not_differentiated():
    regular = lambda out, y: F.cross_entropy(out, y) + 100 * out.pow(2).mean()  # noqa: E731
    plain, with_term = Net(loss=lambda out, y: F.cross_entropy(out, y)), Net(loss=regular)
    assert moved(plain, *batch()) == moved(with_term, *batch())
    wrapped = Net(loss=lambda out, y: poptorch.identity_loss(regular(out, y), "none"))
    assert moved(wrapped, *batch())["last.weight"] > 2 * moved(Net(), *batch())["last.weight"]


def test_buffers():
    def change(module, x):
        module.kept.copy_(module.kept + 1)
        module.count += 1
        module.lost.data = module.lost + 1
        return x

    net = Net(layer(change, kept=torch.zeros(2), count=torch.tensor(0), lost=torch.zeros(2)))
    model, _ = trained(net, *batch(), calls=3)
    model.copyWeightsToHost()
    assert net.inner.kept.tolist() == [3.0, 3.0]
    assert net.inner.count.item() == 0
    assert net.inner.lost.tolist() == [0.0, 0.0]

    def reassign(module, x):
        module.kept = module.kept + 1
        return x

    with pytest.raises(poptorch.Error, match=r"inner\.kept was reassigned"):
        trained(Net(layer(reassign, kept=torch.zeros(2))), *batch())
