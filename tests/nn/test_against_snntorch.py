"""``spikecore.nn`` against the installed snnTorch: names, weights, call forms, spikes, states and gradients."""

from __future__ import annotations

import inspect
import warnings

import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    theirs = pytest.importorskip("snntorch", reason="snnTorch is not installed")

import spikecore.nn as ours  # noqa: E402  (torch may be absent)
from spikecore import utils  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # snnTorch warns of its own affairs

TENSOR = [0.5, 0.8, 0.95, 0.7]
STEPWISE = {
    "leaky": ("Leaky", {"beta": 0.9}, 1),
    "leaky-vector": ("Leaky", {"beta": torch.tensor(TENSOR), "threshold": 0.5}, 1),
    "leaky-learned": ("Leaky", {"beta": 0.8, "learn_beta": True, "learn_threshold": True}, 1),
    "leaky-graded": (
        "Leaky",
        {"beta": 0.8, "graded_spikes_factor": 2.0, "learn_graded_spikes_factor": True},
        1,
    ),
    "leaky-zero": ("Leaky", {"beta": 0.8, "reset_mechanism": "zero"}, 1),
    "leaky-none": ("Leaky", {"beta": 0.8, "reset_mechanism": "none"}, 1),
    "leaky-inhibition": ("Leaky", {"beta": 0.8, "inhibition": True}, 1),
    "synaptic": ("Synaptic", {"alpha": 0.7, "beta": 0.8, "learn_alpha": True, "learn_beta": True}, 2),
    "synaptic-zero": ("Synaptic", {"alpha": 0.7, "beta": 0.8, "reset_mechanism": "zero"}, 2),
    "rleaky-one": ("RLeaky", {"beta": 0.8, "V": 0.3, "all_to_all": False}, 2),
    "rleaky-frozen": ("RLeaky", {"beta": 0.8, "V": 0.3, "all_to_all": False, "learn_recurrent": False}, 2),
    "rleaky-dense": ("RLeaky", {"beta": 0.8, "linear_features": 4, "learn_beta": True}, 2),
    "rleaky-zero": ("RLeaky", {"beta": 0.8, "linear_features": 4, "reset_mechanism": "zero"}, 2),
    "rsynaptic-dense": ("RSynaptic", {"alpha": 0.7, "beta": 0.8, "linear_features": 4, "learn_alpha": True}, 3),
    "rsynaptic-one": ("RSynaptic", {"alpha": 0.7, "beta": 0.8, "all_to_all": False, "V": 0.5, "learn_alpha": True}, 3),
    "alpha": ("Alpha", {"alpha": 0.9, "beta": 0.8, "threshold": 0.3}, 3),
    "alpha-subtract": ("Alpha", {"alpha": 0.9, "beta": 0.8, "threshold": 0.3, "reset_mechanism": "subtract"}, 3),
    "lapicque-beta": ("Lapicque", {"beta": 0.8, "threshold": 0.3}, 1),
    "lapicque-rc": ("Lapicque", {"R": 1.0, "C": 5.0, "threshold": 0.2, "reset_mechanism": "zero"}, 1),
    "slstm": ("SLSTM", {"input_size": 4, "hidden_size": 4, "threshold": 0.1}, 2),
    "slstm-subtract": (
        "SLSTM",
        {"input_size": 4, "hidden_size": 4, "threshold": 0.1, "reset_mechanism": "subtract"},
        2,
    ),
}
IMAGES = {
    "rleaky-conv": ("RLeaky", {"beta": 0.8, "conv2d_channels": 2, "kernel_size": 3}, 2),
    "sconv2dlstm": ("SConv2dLSTM", {"in_channels": 2, "out_channels": 2, "kernel_size": 3, "threshold": 0.1}, 2),
    "sconv2dlstm-pool": (
        "SConv2dLSTM",
        {"in_channels": 2, "out_channels": 3, "kernel_size": 3, "threshold": 0.1, "max_pool": 2},
        2,
    ),
    "leaky-channels": ("Leaky", {"beta": torch.tensor([0.5, 0.9]).reshape(2, 1, 1)}, 1),
}
CASES = {**STEPWISE, **IMAGES}


def pair(name, **options):
    kind, fixed, states = CASES[name]
    torch.manual_seed(0)
    theirs_module = getattr(theirs, kind)(**fixed, **options)
    ours_module = getattr(ours, kind)(**fixed, **options)
    ours_module.load_state_dict(theirs_module.state_dict(), strict=True)
    return theirs_module, ours_module, states


def inputs(name, steps=12):
    shape = (steps, 3, 2, 6, 6) if name in IMAGES else (steps, 3, 4)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 0.6 + 0.4


def explicit_loop(module, x, states):
    given, spikes, seen = (None,) * states, [], []
    for step in x.unbind(0):
        spk, *rest = module(step, *given)
        given = (spk, *rest)[-states:] if len(rest) < states else tuple(rest)
        spikes.append(spk)
        seen.append(torch.cat([r.reshape(-1) for r in rest]))
    return torch.stack(spikes), torch.stack(seen)


@pytest.mark.parametrize("name", CASES)
def test_spikes_states_and_gradients_are_equal(name):
    them, us, states = pair(name)
    found = []
    for module in (them, us):
        x = inputs(name).requires_grad_()
        spikes, seen = explicit_loop(module, x, states)
        (spikes * torch.linspace(0.5, 1.5, spikes.numel()).reshape(spikes.shape)).sum().add(0.1 * seen.sum()).backward()
        found.append((spikes, seen, x.grad, {n: p.grad for n, p in module.named_parameters() if p.requires_grad}))
    (a, b, c, d), (e, f, g, h) = found
    assert a.sum() > 0
    assert torch.equal(a, e)
    torch.testing.assert_close(f, b, rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(g, c, rtol=1e-4, atol=2e-5)
    assert list(d) == list(h)  # in the order by which an optimiser loads its moments
    for key, value in d.items():
        torch.testing.assert_close(h[key], value, rtol=1e-4, atol=1e-4 * max(1.0, float(value.abs().max())))


@pytest.mark.parametrize("output", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_hidden_state_and_output(name, output):
    them, us, _ = pair(name, init_hidden=True, output=output)
    for step in inputs(name, 5).unbind(0):
        a, b = them(step), us(step)
        assert type(a) is type(b)
        flat = zip(a, b) if output else [(a, b)]
        for expected, got in flat:
            torch.testing.assert_close(got, expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize(
    "name", ["Leaky", "Synaptic", "Alpha", "Lapicque", "RLeaky", "RSynaptic", "SLSTM", "SConv2dLSTM", "DeltaLeaky",
             "LeakyParallel", "StateLeaky", "LinearLeaky", "GradedSpikes", "BatchNormTT1d", "BatchNormTT2d", "LIF",
             "SpikingNeuron"]
)  # fmt: skip
def test_signatures(name):
    def signature(module):
        made = inspect.signature(getattr(module, name)).parameters.values()
        return [(p.name, p.kind, p.default) for p in made]

    assert signature(ours) == signature(theirs)
    if hasattr(getattr(theirs, name), "forward") and name not in ("LIF", "SpikingNeuron"):
        expected = list(inspect.signature(getattr(theirs, name).forward).parameters)
        assert list(inspect.signature(getattr(ours, name).forward).parameters) == expected


def test_reset_mem_and_its_deprecated_names():
    for kind, old, count in [("Leaky", "init_leaky", 1), ("Synaptic", "init_synaptic", 2), ("Alpha", "init_alpha", 3),
                             ("Lapicque", "init_lapicque", 1)]:  # fmt: skip
        args = {"Leaky": (0.9,), "Lapicque": (0.9,)}.get(kind, (0.9, 0.8))
        module = getattr(ours, kind)(*args, init_hidden=True)
        module(torch.ones(2, 3))
        for call in ("reset_mem", old):
            resting = getattr(module, call)()
            resting = resting if isinstance(resting, tuple) else (resting,)
            assert len(resting) == count
            assert all(r.sum() == 0 for r in resting)
    for module, old in [
        (ours.RLeaky(0.9, all_to_all=False), "init_rleaky"),
        (ours.RSynaptic(0.9, 0.8, all_to_all=False), "init_rsynaptic"),
        (ours.SLSTM(2, 3), "init_slstm"),
        (ours.SConv2dLSTM(1, 2, 3), "init_sconv2dlstm"),
    ]:
        assert len(getattr(module, old)()) == len(module.states)


def test_delta_leaky():
    them, us = (m.DeltaLeaky(0.5, beta=0.9, init_hidden=True) for m in (theirs, ours))
    for step in inputs("leaky").unbind(0):
        (a, (b, c)), (d, (e, f)) = them(step), us(step)
        assert torch.equal(a, d)
        torch.testing.assert_close((e, f), (b, c))
    with pytest.raises(TypeError, match="init_hidden=False"):
        ours.DeltaLeaky(0.5, beta=0.9)(torch.ones(2))
    assert us.reset_mem() == (None, None)


@pytest.mark.parametrize("options", [{}, {"kernel_truncation_steps": 3}, {"output": False}, {"learn_beta": True}])
def test_state_leaky(options):
    beta = torch.tensor([0.3, 0.6, 0.9, 0.95])
    them, us = (m.StateLeaky(beta, 4, **options) for m in (theirs, ours))
    us.load_state_dict(them.state_dict(), strict=True)
    a, b = them(inputs("leaky")), us(inputs("leaky"))
    torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(us.beta, them.beta)


def test_linear_leaky():
    them, us = (m.LinearLeaky(0.9, 4, 5) for m in (theirs, ours))
    us.load_state_dict(them.state_dict(), strict=True)
    torch.testing.assert_close(us(inputs("leaky")), them(inputs("leaky")), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"beta": 0.5}, {"beta": 0.5, "learn_beta": True}, {"weight_hh_enable": True}])
def test_leaky_parallel(options):
    them, us = (m.LeakyParallel(4, 5, threshold=0.2, **options) for m in (theirs, ours))
    us.load_state_dict(them.state_dict(), strict=True)
    a, b = them(inputs("leaky")), us(inputs("leaky"))
    assert a.sum() > 0
    assert torch.equal(a, b)
    assert torch.equal(us(inputs("leaky")[:, 0]), b[:, 0])


def test_leaky_parallel_has_one_decay_per_neuron():
    module = ours.LeakyParallel(2, 3, beta=torch.tensor([0.1, 0.5, 0.9]))
    assert torch.equal(module.rnn.weight_hh_l0, torch.diag(torch.tensor([0.1, 0.5, 0.9])))
    with pytest.raises(ValueError, match="length 2"):
        ours.LeakyParallel(2, 3, beta=torch.tensor([0.1, 0.5]))


def test_associative_leaky():
    torch.manual_seed(0)
    them, us = (m.AssociativeLeaky.from_num_spiking_neurons(4, 9) for m in (theirs, ours))
    us.load_state_dict(them.state_dict(), strict=True)
    x = inputs("leaky", 4) * 3
    torch.testing.assert_close(us(x), them(x), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="perfect square"):
        ours.AssociativeLeaky.from_num_spiking_neurons(4, 8)


def test_norms_and_graded_spikes():
    norms = ours.BatchNormTT1d(4, 3)
    assert len(norms) == 3
    assert all(norm.bias is None for norm in norms)
    assert len(ours.BatchNormTT2d(4, 3, affine=False)) == 3
    graded = ours.GradedSpikes(4, 2.0)
    graded.load_state_dict(theirs.GradedSpikes(4, 3.0).state_dict())
    assert torch.equal(graded(torch.ones(5, 4)), torch.full((5, 4), 3.0))
    assert torch.equal(graded(torch.ones(5, 4, 2, 2)), torch.full((5, 4, 2, 2), 3.0))


def test_snntorchs_own_surrogates_and_quantisers_work():
    from snntorch import surrogate
    from snntorch.functional import quant

    options = {"spike_grad": surrogate.fast_sigmoid(slope=10), "state_quant": quant.state_quant(num_bits=4)}
    them, us = (m.Leaky(0.9, learn_beta=True, **options) for m in (theirs, ours))
    for module in (them, us):
        spikes, _ = explicit_loop(module, inputs("leaky"), 1)
        spikes.sum().backward()
    torch.testing.assert_close(us.beta.grad, them.beta.grad)


def test_states_left_out_continue_from_the_stored_ones():
    lif = ours.Leaky(0.9)
    mems = [lif(torch.full((1, 1), 0.3))[1].item() for _ in range(3)]
    assert mems == pytest.approx([0.3, 0.57, 0.813])


class Images:
    def __init__(self, count=50):
        self.data, self.targets = torch.arange(count), torch.arange(count) % 7

    def __len__(self):
        return len(self.data)


def test_parts_of_data_sets():
    from snntorch import utils as their_utils

    from spikecore import utils

    for subset, idx in ((1, 0), (4, 2)):
        a, b = (lib.data_subset(Images(), subset, idx) for lib in (their_utils, utils))
        assert torch.equal(a.data, b.data)
        assert torch.equal(a.targets, b.targets)
    for seed in (0, 3):
        them, us = (lib.valid_split(Images(), Images(), 0.3, seed) for lib in (their_utils, utils))
        for a, b in zip(them, us):
            assert torch.equal(a.data, b.data)
            assert torch.equal(a.targets, b.targets)
    with pytest.raises(ValueError, match="subset=0"):
        utils.data_subset(Images(), 0)
    with pytest.raises(ValueError, match="split=1.5"):
        utils.valid_split(Images(), Images(), 1.5)


def test_a_neuron_left_behind_by_a_half_finished_migration_is_named():
    """Its state would be carried from one run to the next, and no reset would reach it."""
    left = theirs.Leaky(beta=0.9, init_hidden=True)
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), ours.Leaky(beta=0.9, init_hidden=True), left)
    for call in (lambda: ours.run(net, torch.rand(2, 4), num_steps=3), lambda: utils.reset(net)):
        with pytest.raises(TypeError, match="layer 2 is snntorch's Leaky.*spikecore.nn in its place"):
            call()
