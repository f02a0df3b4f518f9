"""What users of snnTorch look at and set on a neuron, and the messages they get."""

from __future__ import annotations

import copy
import warnings

import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")
from torch import nn  # noqa: E402

import spikecore as sc  # noqa: E402
import spikecore.nn as ours  # noqa: E402
from spikecore import surrogate, utils  # noqa: E402
from spikecore.errors import ShapeError  # noqa: E402

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    theirs = pytest.importorskip("snntorch", reason="compared with snnTorch")

pytestmark = pytest.mark.filterwarnings("ignore")  # snnTorch warns of its own affairs

x = 2.0 * torch.rand(6, 3, 4, generator=torch.Generator().manual_seed(0))
KINDS = {
    "Leaky": {"beta": 0.9},
    "Synaptic": {"alpha": 0.8, "beta": 0.9},
    "Alpha": {"alpha": 0.9, "beta": 0.8, "threshold": 0.2},
    "Lapicque": {"beta": 0.6},
    "RLeaky": {"beta": 0.9, "linear_features": 4},
    "RSynaptic": {"alpha": 0.8, "beta": 0.9, "all_to_all": False},
    "SLSTM": {"input_size": 4, "hidden_size": 4},
}


@pytest.fixture(autouse=True)
def forgotten():
    """snnTorch resets all neurons of the process, those of other tests, too, and fails on some."""
    theirs.SpikingNeuron.init()
    yield
    theirs.SpikingNeuron.init()


@pytest.mark.parametrize("kind", [*KINDS, "LeakyParallel", "DeltaLeaky"])
def test_spike_grad_is_a_function(kind):
    """B5"""
    options = {"LeakyParallel": {"input_size": 4, "hidden_size": 4}, "DeltaLeaky": {"beta": 0.9}, **KINDS}[kind]
    u = torch.linspace(-2.0, 2.0, 41)
    for given in ({}, {"spike_grad": surrogate.fast_sigmoid(10.0)}, {"surrogate_disable": True}):
        found = []
        for library in (theirs, ours):
            leaf = u.clone().requires_grad_()
            spikes = getattr(library, kind)(**options, **given).spike_grad(leaf)
            grads = torch.autograd.grad(spikes.sum(), leaf)[0] if spikes.requires_grad else None
            found.append((spikes.detach(), grads))
        (a, b), (c, d) = found
        assert torch.equal(a, c)
        assert (b is None) == (d is None)
        if b is not None:
            torch.testing.assert_close(d, b, rtol=1e-5, atol=1e-6)


def test_spike_grad_may_be_set():
    """B5"""
    lif = ours.Leaky(0.9)
    lif.spike_grad = surrogate.sigmoid(4.0)
    assert lif.spike_grad == surrogate.sigmoid(4.0)
    lif.surrogate_disable = True
    assert not lif.spike_grad(x.clone().requires_grad_()).requires_grad
    lif.surrogate_disable = False
    assert lif.spike_grad == surrogate.sigmoid(4.0)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_reset_of_the_last_step(kind, large, monkeypatch):
    """B5"""
    if large:
        from spikecore.engines.torch.nn import stepping

        monkeypatch.setattr(stepping, "LARGE", 0)
    them, us = (getattr(library, kind)(**KINDS[kind], init_hidden=True) for library in (theirs, ours))
    us.load_state_dict(them.state_dict())
    assert not hasattr(us, "reset")
    total = 0.0
    for step in x:
        for module in (them, us):
            module(step.clone().requires_grad_())
        assert torch.equal(us.reset, them.reset)
        assert not us.reset.requires_grad
        total += float(us.reset.sum())
    assert total > 0 or kind == "SLSTM"
    assert not hasattr(copy.deepcopy(us), "reset")
    ours.run(us, x)
    assert not hasattr(us, "reset")  # no step was called


def test_the_reset_mechanism_by_all_its_names():
    """B5"""
    lif = ours.Leaky(0.9)
    assert lif._reset_mechanism == lif.reset_mechanism == "subtract"
    zero = ours.Leaky(0.9, reset_mechanism="zero")
    for change in (
        lambda lif: setattr(lif, "reset_mechanism", "zero"),
        lambda lif: setattr(lif, "_reset_mechanism", "zero"),
        lambda lif: setattr(lif, "reset_mechanism_val", torch.as_tensor(1)),
    ):
        lif = ours.Leaky(0.9)
        change(lif)
        assert (lif.reset_mechanism, int(lif.reset_mechanism_val)) == ("zero", 1)
        for module in (lif, zero):
            module.reset_mem()
        assert all(torch.equal(lif(step)[1], zero(step)[1]) for step in x)
    with pytest.raises(ValueError, match="reset_mechanism=7 must be"):
        lif.reset_mechanism_val = torch.as_tensor(7)


class Slope(nn.Module):
    """A learned surrogate."""

    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(3.0))

    def forward(self, u):
        smooth = torch.sigmoid(self.slope * u)
        return smooth + ((u > 0).to(u.dtype) - smooth).detach()


@pytest.mark.parametrize("late", [False, True], ids=["given", "set"])
def test_modules_as_functions_are_learned(late):
    """B7: they belong to the neuron."""
    found = []
    for library in (theirs, ours):
        lif = library.Leaky(0.9) if late else library.Leaky(0.9, spike_grad=Slope())
        if late:
            lif.spike_grad = Slope()
        assert [name for name, _ in lif.named_parameters()] == ["spike_grad.slope"]
        sum(lif(step)[0].sum() for step in x).backward()
        found.append((list(lif.state_dict()), lif.spike_grad.slope.grad))
    assert set(found[0][0]) == set(found[1][0])
    torch.testing.assert_close(found[1][1], found[0][1])
    lif.spike_grad = surrogate.atan()
    assert not list(lif.parameters())


def ternary(u):
    """-1, 0 or 1 around the threshold, with a gradient of one."""
    return u + (torch.sign(torch.round(5 * u)) - u).detach()


def graded(u):
    """A spike as large as what exceeds the threshold."""
    return torch.relu(u)


def stepped(module, inputs):
    return torch.stack([module(step) for step in inputs])


def compared(make, inputs=x):
    """Spikes, states and gradients there, here in a loop, and here in a run."""
    found = []
    for library, run in ((theirs, stepped), (ours, stepped), (ours, ours.run)):
        torch.manual_seed(0)
        module, leaf = make(library), inputs.clone().requires_grad_()
        spikes = run(module, leaf)
        (spikes * torch.linspace(0.5, 1.5, spikes.numel()).reshape(spikes.shape)).sum().backward()
        states = [getattr(module, name).detach() for name in ("syn", "mem") if hasattr(module, name)]
        found.append((spikes.detach(), *states, leaf.grad))
    for one in found[1:]:
        assert len(one[0].unique()) > 1
        for value, expected in zip(one, found[0]):
            torch.testing.assert_close(value, expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize("function", [ternary, graded])
@pytest.mark.parametrize("kind", KINDS)
def test_functions_that_are_not_zero_or_one_reset_by_what_they_give(kind, function, reset):
    """B7"""
    options = {**KINDS[kind], **({"threshold": 0.1} if kind in ("SLSTM", "Alpha") else {"threshold": 0.5})}
    make = lambda snn: getattr(snn, kind)(**options, spike_grad=function, reset_mechanism=reset, init_hidden=True)  # noqa: E731
    compared(make, 2.0 * x - 1.5)


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize("kind", KINDS)
def test_states_are_quantised_after_the_step(kind, reset):
    """B7: a current reaches the membrane in full precision."""
    from snntorch.functional import quant as their_quant

    from spikecore.functional import quant

    options = {**KINDS[kind], **({"threshold": 0.1} if kind in ("SLSTM", "Alpha") else {"threshold": 0.5})}
    for quantisers in ((their_quant.state_quant(num_bits=3), quant.state_quant(num_bits=3)), (torch.relu, torch.relu)):
        by_library = dict(zip((theirs, ours), quantisers))
        compared(
            lambda snn, by=by_library: getattr(snn, kind)(
                **options, state_quant=by[snn], reset_mechanism=reset, init_hidden=True
            )
        )


def test_functions_and_immediate_resets_are_those_of_the_library():
    """B7: a function of zeros and ones gives what the surrogate of the same name gives."""
    from snntorch import surrogate as their_surrogate

    for kind in ("Leaky", "Synaptic", "RSynaptic"):
        for reset in ("subtract", "zero", "subtract_decayed"):
            found = []
            for grad in (their_surrogate.atan(), surrogate.atan()):
                torch.manual_seed(0)
                lif = getattr(ours, kind)(**KINDS[kind], spike_grad=grad, reset_mechanism=reset, reset_delay=False)
                leaf, mem = x.clone().requires_grad_(), []
                for step in leaf:
                    mem.append(lif(step)[-1])
                torch.stack(mem).sum().backward()
                found.append((torch.stack(mem), leaf.grad))
            for value, expected in zip(*found):
                torch.testing.assert_close(value, expected)


def test_run_says_that_a_function_runs_step_by_step():
    """B7"""
    said = []
    ours.run(
        nn.Sequential(nn.Linear(4, 4), ours.Leaky(0.9, spike_grad=ternary, init_hidden=True)), x, explain=said.append
    )
    assert "1 (Leaky): step by step: snnTorch's protocol, for a function as spike_grad" in said[0]


def test_a_batch_of_another_size_is_refused_by_name():
    """B10: a state is not thrown away in silence; the message says what to call."""
    for net in (ours.Leaky(0.9), ours.RSynaptic(0.8, 0.9, linear_features=4), ours.SLSTM(4, 4)):
        net(x[0])
        with pytest.raises(ShapeError, match=r"a batch of another size .* utils.reset\(net\)"):
            net(x[0, :2])
        utils.reset(net)
        assert net(x[0, :2])[0].shape == (2, 4)


@pytest.mark.parametrize("kind", [*KINDS, "DeltaLeaky", "SConv2dLSTM", "StateLeaky"])
def test_resetting_a_class_names_what_to_call(kind):
    """B10"""
    for verb in ("reset", "detach"):
        with pytest.raises(TypeError, match=rf"call utils.{verb}\(net\) of spikecore.utils"):
            getattr(getattr(ours, kind), f"{verb}_hidden")()


@pytest.mark.parametrize("decay", [1.5, -0.3])
def test_learned_decays_are_clamped(decay):
    """B10: a constant outside of [0, 1] is refused, a learned one has no gradient there, as in snnTorch."""
    for kind, options in (
        ("Leaky", {"beta": decay}),
        ("Synaptic", {"alpha": decay, "beta": 0.5}),
        ("RLeaky", {"beta": decay, "all_to_all": False}),
    ):
        learned = {f"learn_{next(iter(options))}": True}
        compared(lambda snn, o={**options, **learned}, k=kind: getattr(snn, k)(**o, init_hidden=True))
        with pytest.raises(ValueError, match=r"must be in \[0, 1\]"):
            getattr(ours, kind)(**options)
    with pytest.raises(ValueError, match="finite"):
        ours.Leaky(float("nan"), learn_beta=True)


@pytest.mark.parametrize("learned", [False, True])
def test_state_leaky_integrates_with_a_beta_of_one(learned):
    """B10"""
    for make in (lambda snn: snn.StateLeaky(1.0, 4, learn_beta=learned), lambda snn: snn.LinearLeaky(1.0, 4, 4)):
        torch.manual_seed(0)
        them, us = make(theirs), make(ours)
        us.load_state_dict(them.state_dict())
        for value, expected in zip(us(x), them(x)):
            torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-5)
    model = ours.from_torch(ours.StateLeaky(1.0, 4), input_shape=4, engine="numpy")
    torch.testing.assert_close(torch.as_tensor(model(x.numpy()).membrane), x.cumsum(0))
    with pytest.raises(ValueError, match="must begin below 1"):
        sc.StateLeaky(beta=sc.learn(1.0))
    with pytest.raises(ValueError, match=r"beta=1.1 must be in \[0, 1\]"):
        ours.StateLeaky(1.1, 4)


def test_a_state_may_be_made_a_buffer():
    """B1: as snnTorch's constructors do."""
    lif = ours.Leaky(0.9)
    lif.register_buffer("mem", torch.zeros(0), False)
    assert torch.equal(lif(x[0])[1], x[0])
    assert "mem" in dict(lif.named_buffers())
