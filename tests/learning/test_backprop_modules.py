"""``BPTT``, ``TBPTT`` and ``RTRL`` of modules: snnTorch's results where snnTorch works, and what it crashes on."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")

import spikecore as sc  # noqa: E402
import spikecore.nn as ours  # noqa: E402
from spikecore import backprop, functional  # noqa: E402
from spikecore.utils import get_state  # noqa: E402

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    try:
        import snntorch as theirs
        import snntorch.backprop as their_backprop
        import snntorch.functional as their_functional
    except ImportError:
        theirs = None

needs_snntorch = pytest.mark.skipif(theirs is None, reason="snnTorch is not installed")
STEPS, SAMPLES = 8, 4


def network(snn, kind="Leaky", output=True, dtype=torch.float32):
    options = {  # numbers that float32 has exactly
        "Leaky": {"beta": 0.875},
        "Synaptic": {"alpha": 0.5, "beta": 0.875},
        "RLeaky": {"beta": 0.875, "V": 0.25, "all_to_all": False},
    }
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(5, 6),
        getattr(snn, kind)(init_hidden=True, **options[kind]),
        torch.nn.Linear(6, 3),
        getattr(snn, kind)(init_hidden=True, output=output, **options[kind]),
    ).to(dtype)  # fmt: skip


def batches(time=True, count=3, dtype=torch.float32):
    made = torch.Generator().manual_seed(1)
    shape = (STEPS, SAMPLES, 5) if time else (SAMPLES, 5)
    draw = lambda: (2 * torch.rand(shape, generator=made), torch.randint(0, 3, (SAMPLES,), generator=made))  # noqa: E731
    return [(x.to(dtype), y) for x, y in (draw() for _ in range(count))]


def train(module, way, net, data, criterion, **options):
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    loss = getattr(module, way)(net, data, optimizer, criterion, **options)
    return loss, [p.detach() for p in net.parameters()]


def assert_same(found, expected, limit=2e-7):
    assert abs(found[0] - expected[0]) <= 1e-6 * abs(expected[0])
    assert found[0].shape == expected[0].shape
    for a, b in zip(found[1], expected[1]):
        assert abs(a - b).max() <= limit


STATIC = {"num_steps": STEPS, "time_var": False}
WORKING = {
    "bptt": ("BPTT", {}),
    "bptt-static": ("BPTT", STATIC),
    "bptt-batch-first": ("BPTT", {"time_first": False}),
    "tbptt": ("TBPTT", {**STATIC, "K": 4}),
    "tbptt-remainder": ("TBPTT", {**STATIC, "K": 3}),
    "tbptt-whole": ("TBPTT", {**STATIC, "K": STEPS}),
    "rtrl": ("RTRL", STATIC),
}


@needs_snntorch
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("loss", ["ce_rate_loss", "mse_count_loss", "mse_membrane_loss", "ce_max_membrane_loss"])
@pytest.mark.parametrize("case", WORKING)
def test_as_snntorch(case, loss):
    way, options = WORKING[case]
    data = batches(time=options is not STATIC and options.get("time_var", True))
    if options.get("time_first") is False:
        data = [(x.transpose(0, 1), y) for x, y in data]
    criterion = getattr(their_functional, loss)()
    expected = train(their_backprop, way, network(theirs), data, criterion, **options)
    assert_same(train(backprop, way, network(ours), data, criterion, **options), expected)
    with_our_loss = train(backprop, way, network(ours), data, getattr(functional, loss)(), **options)
    assert abs(with_our_loss[0] - expected[0]).max() <= 1e-6 * abs(expected[0])
    for a, b in zip(with_our_loss[1], expected[1]):
        assert abs(a - b).max() <= 1e-4  # Adam makes steps of rounding where a gradient is zero


@needs_snntorch
@pytest.mark.filterwarnings("ignore")
def test_regularisation_and_other_neurons_as_snntorch():
    options = {**STATIC, "K": 4}
    for kind in ("Leaky", "Synaptic", "RLeaky"):
        expected, found = (
            train(
                module, "TBPTT", network(snn, kind), batches(False), their_functional.ce_rate_loss(),
                regularization=their_functional.l1_rate_sparsity(1e-2), **options,
            )
            for module, snn in ((their_backprop, theirs), (backprop, ours))
        )  # fmt: skip
        assert_same(found, expected)


@needs_snntorch
def test_signatures_are_snntorchs():
    for name in ("BPTT", "TBPTT", "RTRL"):
        known = inspect.signature(getattr(their_backprop, name)).parameters
        found = inspect.signature(getattr(backprop, name)).parameters
        assert [(p.name, p.default) for p in found.values()] == [(p.name, p.default) for p in known.values()]


# ---- what crashes there --------------------------------------------------------------------------------------------


def by_hand(net, data, criterion, every, static=False):
    """Truncated BPTT as one would write it."""
    optimizer, losses = torch.optim.Adam(net.parameters(), lr=0.01), []
    for x, y in data:
        sc.utils.reset(net)
        for start in range(0, STEPS, every):
            made = [net(x if static else x[t]) for t in range(start, min(start + every, STEPS))]
            loss = criterion(torch.stack([spk for spk, *_ in made]), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            sc.utils.detach(net)
            losses.append((float(loss.detach()), len(made)))
    return losses, [p.detach() for p in net.parameters()]


@pytest.mark.parametrize("every", [1, 3, 4])
def test_data_that_vary_in_time(every):
    """snnTorch: UnboundLocalError, K_flag."""
    criterion, data = functional.ce_rate_loss(), batches(dtype=torch.float64)
    way, options = ("RTRL", {}) if every == 1 else ("TBPTT", {"K": every})
    loss, params = train(backprop, way, network(ours, dtype=torch.float64), data, criterion, **options)
    losses, expected = by_hand(network(ours, dtype=torch.float64), data, criterion, every)
    for a, b in zip(params, expected):
        assert abs(a - b).max() <= 1e-10
    weights = [every / STEPS if count == every else 1 / count for _, count in losses]
    assert abs(loss - sum(w * value for w, (value, _) in zip(weights, losses)) / 3) < 1e-6


def test_neurons_of_several_kinds_are_all_detached():
    """snnTorch: backward through the graph a second time."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(5, 6), ours.Synaptic(alpha=0.5, beta=0.9, init_hidden=True), torch.nn.Sequential(
            torch.nn.Linear(6, 3), ours.Leaky(beta=0.9, init_hidden=True, output=True)))  # fmt: skip
    loss, _ = train(backprop, "TBPTT", net, batches(), functional.ce_rate_loss(), K=2)
    assert loss.shape == ()
    assert not loss.requires_grad
    assert all(not state.requires_grad for state in get_state(net).values())


def test_a_network_that_returns_spikes_alone_and_a_loss_of_ones_own():
    """snnTorch: needs output=True on the last neuron, and a criterion with a __name__ of its own."""
    cross_entropy = torch.nn.CrossEntropyLoss()
    net = network(ours, output=False)
    loss, _ = train(backprop, "BPTT", net, batches(), lambda spikes, y: cross_entropy(spikes.sum(0), y))
    assert torch.isfinite(loss)
    with pytest.raises(ValueError, match=r"mse_membrane_loss reads the membrane.*output=True"):
        train(backprop, "BPTT", net, batches(), functional.mse_membrane_loss())


def test_targets_that_vary_in_time_begin_anew_with_every_batch():
    """snnTorch: goes on in the targets where the batch before ended."""
    data = [(x, torch.rand(STEPS, SAMPLES, 3)) for x, _ in batches()]
    criterion, seen = functional.mse_membrane_loss(time_var_targets=True), []

    class Spy:
        reads, time_var_targets = "membrane", True

        def __call__(self, mem, y):
            seen.append(y)
            return criterion(mem, y)

    train(backprop, "TBPTT", network(ours), data, Spy(), K=4)
    assert all(torch.equal(seen[2 * i + j], data[i][1][4 * j : 4 * j + 4]) for i in range(3) for j in range(2))


def test_a_number_of_steps_above_that_of_the_data_is_the_whole_sequence():
    whole, longer = (
        train(backprop, "TBPTT", network(ours), batches(), functional.ce_rate_loss(), K=k) for k in (False, 99)
    )
    assert_same(longer, whole, limit=0.0)


# ---- the model learns the same -------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [3, 4, 8])
@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_a_model_with_the_same_weights_learns_the_same(engine, every):
    net = network(ours, dtype=torch.float64)
    layers = (sc.Linear(5, 6), sc.Leaky(beta=0.875), sc.Linear(6, 3), sc.Leaky(beta=0.875))
    model = sc.Model(sc.Sequential(*layers), engine, dtype="float64")
    state = model.state()
    given = {name: net.state_dict()[name].numpy().copy() for name in state["params"]}
    model.load_state({**state, "params": given})
    data = batches(dtype=torch.float64)
    model.fit(
        data,
        loss=functional.ce_rate_loss(),
        optimizer=sc.Adam(lr=0.01),
        learning=sc.BPTT(update_every=every),
        progress=False,
    )
    _, expected = train(backprop, "TBPTT", net, data, functional.ce_rate_loss(), K=every)
    for (name, value), other in zip(model.params().items(), expected):
        np.testing.assert_allclose(value, other.numpy(), rtol=0, atol=1e-10, err_msg=name)


# ---- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_steps": 8}, "num_steps and time_var=True"),
        ({"time_var": False}, "num_steps must say how many steps"),
        ({"time_var": False, "num_steps": 8, "time_first": False}, "have none to exchange"),
        ({"time_var": False, "num_steps": 3, "K": 4}, "K=4 must be at most num_steps=3"),
        ({"K": 0}, "K=0 must be an int >= 1"),
        ({"time_var": False, "num_steps": 2.5}, "num_steps=2.5 must be an int"),
    ],
)
def test_options_that_contradict_each_other(options, message):
    with pytest.raises(ValueError, match=message):
        train(backprop, "TBPTT", network(ours), batches(), functional.ce_rate_loss(), **options)


def test_what_is_no_network_of_modules():
    loss = functional.ce_rate_loss()
    model = sc.Model(sc.Sequential(sc.Linear(5, 3), sc.Leaky()), "numpy")
    with pytest.raises(TypeError, match=r"a spikecore.Model trains by model.fit\(...\), with learning=sc.BPTT\("):
        backprop.TBPTT(model, batches(), None, loss)
    with pytest.raises(TypeError, match="has no neuron of spikecore.nn"):
        backprop.TBPTT(torch.nn.Linear(5, 3), batches(), None, loss)
    with pytest.raises(TypeError, match="criterion=None must be a function"):
        backprop.BPTT(network(ours), batches(), None, None)
    with pytest.raises(ValueError, match="dataloader gave no batch"):
        train(backprop, "BPTT", network(ours), [], loss)
