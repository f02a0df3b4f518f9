"""Large layers called step by step run as one kernel per step: equal to torch's operations in every respect."""

from __future__ import annotations

import copy
import gc
import weakref

import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")
pytest.importorskip("numba", reason="kernels need Numba")
from torch import nn  # noqa: E402

import spikecore as sc  # noqa: E402  (torch or Numba may be absent)
import spikecore.nn as snn  # noqa: E402
from spikecore import surrogate, utils  # noqa: E402
from spikecore.api.core.layer import Pass  # noqa: E402
from spikecore.engines.torch.nn import stepping  # noqa: E402
from spikecore.errors import ShapeError  # noqa: E402
from spikecore.kernels import step_kernel  # noqa: E402

LARGE = stepping.LARGE
BETA = torch.tensor([0.5, 0.7, 0.8, 0.9, 0.95])
NEURONS = {
    "leaky": lambda: snn.Leaky(0.9),
    "leaky-learned": lambda: snn.Leaky(BETA, threshold=0.8, learn_beta=True, learn_threshold=True),
    "leaky-zero": lambda: snn.Leaky(0.9, reset_mechanism="zero", learn_beta=True),
    "leaky-at-once": lambda: snn.Leaky(BETA, reset_delay=False, learn_threshold=True),
    "leaky-graded": lambda: snn.Leaky(0.9, graded_spikes_factor=2.0, learn_graded_spikes_factor=True),
    "leaky-disabled": lambda: snn.Leaky(0.9, reset_mechanism="none", surrogate_disable=True),
    "synaptic": lambda: snn.Synaptic(BETA, 0.8, learn_alpha=True, spike_grad=surrogate.sigmoid(5.0)),
    "alpha": lambda: snn.Alpha(0.9, 0.8, threshold=0.2, learn_beta=True),
    "lapicque": lambda: snn.Lapicque(0.8, threshold=0.2, learn_beta=True),
}
CASES = [(name, torch.float32) for name in NEURONS] + [("leaky-learned", torch.float64)]


def rolled(name, large, monkeypatch, dtype, steps=6):
    """Outputs, inputs and loss of a few steps; every state is used twice, by the next step and by the loss."""
    monkeypatch.setattr(stepping, "LARGE", large)
    lif = NEURONS[name]().to(dtype)
    x = (2 * torch.rand(steps, 4, 5, generator=torch.Generator().manual_seed(0))).to(dtype).requires_grad_()
    state = [torch.full((4, 5), 0.3, dtype=dtype, requires_grad=True) for _ in lif.states]
    inputs, loss, outs = [x, *state, *lif.parameters()], 0.0, []
    for t in range(steps):
        spikes, *state = lif(x[t], *state)
        outs.append((spikes, *state))
        loss = loss + ((t + 1.0) * spikes).sum() + sum(s.pow(2).sum() for s in state)
    return outs, inputs, loss


def taken(tensor):
    return type(tensor.grad_fn).__name__ == "FusedStepBackward"


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_spikes_states_and_gradients_are_equal(name, dtype, monkeypatch):
    (fused, inputs, loss), (plain, others, expected) = (rolled(name, n, monkeypatch, dtype) for n in (0, LARGE))
    assert taken(fused[0][1])
    assert not taken(plain[0][1])
    assert sum(float(spikes.detach().sum()) for spikes, *_ in fused) > 0
    for ours, theirs in zip(fused, plain):
        assert torch.equal(ours[0], theirs[0])
        for a, b in zip(ours[1:], theirs[1:]):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)
    grads = torch.autograd.grad(loss, inputs, allow_unused=True)
    for a, b in zip(grads, torch.autograd.grad(expected, others, allow_unused=True)):
        assert (a is None) == (b is None)
        assert a is None or float((a - b).abs().max()) <= 1e-6 * float(b.abs().max())


@pytest.mark.parametrize("name", ["leaky-learned", "synaptic"])
def test_gradients_of_gradients(name, monkeypatch):
    second, many = [], torch.tensor([1.0, -2.0], dtype=torch.float64)
    for large in (0, LARGE):
        _, inputs, loss = rolled(name, large, monkeypatch, torch.float64, steps=3)
        first = torch.autograd.grad(loss, inputs, create_graph=True, allow_unused=True)
        at_once = torch.autograd.grad(loss, inputs, many, is_grads_batched=True, retain_graph=True, allow_unused=True)
        for several, one in zip(at_once, first):
            assert one is None or torch.allclose(several, torch.stack([one, -2.0 * one]))
        second.append(torch.autograd.grad(sum(g.pow(2).sum() for g in first if g is not None), inputs))
    for a, b in zip(*second):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    assert second[0][0].abs().sum() > 0


@pytest.mark.parametrize("at_once", [True, False])
def test_so_is_the_gradient_by_spikes_that_reset_at_once(at_once, monkeypatch):
    monkeypatch.setattr(stepping, "LARGE", 0)
    lif, x = snn.Leaky(0.9, reset_delay=not at_once), torch.rand(3, 5, requires_grad=True)
    spk, mem = lif(2 * x)
    spk.retain_grad()
    if at_once:
        with pytest.raises(RuntimeError, match="the gradient by 'spk'"):
            (spk.sum() + mem.sum()).backward()
    else:
        (spk.sum() + mem.sum()).backward()
        assert torch.equal(spk.grad, torch.ones(3, 5))


@pytest.mark.parametrize("look", ["retain_grad", "hook"])
def test_the_gradient_by_a_state_is_whole_or_refused(look, monkeypatch):
    """A kernel makes spikes and membrane at once: the membrane's gradient would lack what comes through the spikes."""

    def looked_at(large, fused):
        monkeypatch.setattr(stepping, "LARGE", large)
        lif, x, found = snn.Leaky(0.9), 2 * torch.rand(4, 3, 5, generator=torch.Generator().manual_seed(0)), []
        lif.fused, mem, total, states = fused, torch.zeros(3, 5), 0.0, []
        for t, step in enumerate(x.requires_grad_()):
            spk, mem = lif(step, mem)
            states.append(mem)
            if look == "hook":
                mem.register_hook(found.append)
            else:
                mem.retain_grad()
            total = total + (t + 1) * spk.sum()
        total.backward()
        return found[::-1] or [mem.grad for mem in states]

    expected = looked_at(LARGE, True)
    assert all(map(torch.equal, looked_at(0, False), expected))
    with pytest.raises(RuntimeError, match="the gradient by 'mem', .* Set fused = False"):
        looked_at(0, True)


@pytest.mark.parametrize("by", ["mem", "spk"])
def test_the_last_membrane_has_a_whole_gradient_unless_a_loss_reads_the_spikes(by, monkeypatch):
    monkeypatch.setattr(stepping, "LARGE", 0)
    lif, mem = snn.Leaky(0.9), torch.zeros(3, 5)
    for x in torch.rand(4, 3, 5).requires_grad_():
        spk, mem = lif(x, mem)
    mem.retain_grad()
    if by == "mem":
        mem.sum().backward()
        assert torch.equal(mem.grad, torch.ones(3, 5))
    else:  # a kernel would leave it None
        with pytest.raises(RuntimeError, match="the gradient by 'mem'"):
            spk.sum().backward()


def test_the_way_of_a_step_may_change_within_a_sequence(monkeypatch):
    monkeypatch.setattr(stepping, "LARGE", 0)
    lif, x = snn.Leaky(0.9), torch.rand(4, 5, requires_grad=True)
    ways = []
    for fused in (True, True, False, False, True):
        lif.fused = fused
        ways.append(taken(lif(x)[1]))
    assert ways == [True, True, False, False, True]


def test_the_input_is_not_kept(monkeypatch):
    monkeypatch.setattr(stepping, "LARGE", 0)
    lif, weight = snn.Leaky(0.9), torch.ones(5, requires_grad=True)
    current = weight * torch.rand(4, 5)
    gone = weakref.ref(current)
    spikes, mem = lif(current)
    del current
    gc.collect()
    assert gone() is None
    (spikes + mem).sum().backward()
    assert weight.grad.abs().sum() > 0


def test_only_large_layers_and_elementwise_steps(monkeypatch):
    x = torch.rand(4, LARGE // 4, requires_grad=True)
    assert taken(snn.Leaky(0.9)(x)[1])
    assert not taken(snn.Leaky(0.9)(x[:, 1:])[1])
    for lif in (
        snn.Leaky(0.9, inhibition=True), snn.Leaky(0.9, spike_grad=lambda u: torch.sigmoid(u)),
        snn.Leaky(0.9, spike_grad=surrogate.SSO()), snn.Leaky(0.9, state_quant=lambda m: torch.round(4 * m) / 4),
        snn.Leaky(0.9, spike_grad=surrogate.custom_surrogate(lambda u, g, s: torch.exp(-u) * g)),
    ):  # fmt: skip
        assert not taken(lif(x)[1])
    assert not taken(snn.RLeaky(0.9, all_to_all=False)(x)[1])


def test_functions_of_torch_do_not_run_as_one_formula():
    for options in ({"spike_grad": surrogate.custom_surrogate(lambda u, g, s: torch.exp(-abs(u)) * g)},
                    {"state_quant": lambda m: torch.round(4 * m) / 4}):  # fmt: skip
        net = nn.Sequential(nn.Linear(3, 2048), snn.Leaky(0.9, init_hidden=True, **options))
        x = torch.rand(9, 16, 3)
        whole = snn.run(net, x)
        utils.reset(net)
        assert torch.equal(whole, torch.stack([net(step) for step in x]))
        assert "is not a formula" in net[1].explained()


def test_views_halves_threads_and_no_grad(monkeypatch):
    monkeypatch.setattr(stepping, "LARGE", 0)
    lif = snn.Leaky(0.9)
    x = 2 * torch.rand(5, 4)
    expected = lif(x.t().contiguous())[0]
    lif.reset_mem()
    assert torch.equal(lif(x.t())[0], expected)
    lif.reset_mem()
    with torch.no_grad():
        assert torch.equal(lif(x.t())[0], expected)
    lif.reset_mem()
    spikes, mem = lif(x.t().half())
    assert (spikes.dtype, mem.dtype) == (torch.float16, torch.float32)
    kept = torch.get_num_threads()
    monkeypatch.setattr(step_kernel, "WIDE", 0)
    try:
        torch.set_num_threads(2)
        wide = 2 * torch.rand(3, 5000)
        several = snn.Leaky(0.9)(wide)
        torch.set_num_threads(1)
        assert torch.equal(snn.Leaky(0.9)(wide)[1], several[1])
    finally:
        torch.set_num_threads(kept)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch, about itself
def test_compiled_networks_get_torchs_operations(monkeypatch):
    monkeypatch.setattr(stepping, "LARGE", 0)
    x = 2 * torch.rand(4, 5)
    compiled = torch.compile(snn.Leaky(0.9), backend="eager", fullgraph=True)
    assert torch.equal(compiled(x)[0], snn.Leaky(0.9)(x)[0])


def test_copies_in_the_middle_of_a_sequence_go_on_alike(monkeypatch):
    monkeypatch.setattr(stepping, "LARGE", 0)
    lif, x = snn.Synaptic(0.8, 0.9, init_hidden=True), torch.rand(6, 4, 5, requires_grad=True)
    for t in range(3):
        lif(x[t])
    other = copy.deepcopy(lif)
    assert all(torch.equal(lif(x[t]), other(x[t])) for t in range(3, 6))


def beta_in_place(lif):
    lif.beta.fill_(0.5)


def beta_data(lif):
    lif.beta.data = torch.tensor(0.5)


def beta_per_neuron(lif):
    lif.beta = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9])


def beta_learned(lif):
    del lif.beta
    lif.beta = nn.Parameter(torch.tensor(0.5))


def beta_with_gradient(lif):
    lif.beta.requires_grad_()


def reset(lif):
    lif.reset_mechanism = "zero"


def disabled(lif):
    lif.surrogate_disable = True


def loaded(lif):
    lif.load_state_dict(snn.Leaky(0.5, threshold=0.7).state_dict())


@pytest.mark.parametrize("large", [0, LARGE])
@pytest.mark.parametrize(
    "change", [beta_in_place, beta_data, beta_per_neuron, beta_learned, beta_with_gradient, reset, disabled, loaded],
    ids=lambda f: f.__name__,
)  # fmt: skip
def test_what_changes_between_two_steps_counts(change, large, monkeypatch):
    monkeypatch.setattr(stepping, "LARGE", large)
    x = 2 * torch.rand(6, 4, 5, generator=torch.Generator().manual_seed(0))
    known, fresh, after = snn.Leaky(0.9), snn.Leaky(0.9), []
    mem = torch.zeros(4, 5)
    for step in x:
        _, mem = known(step, mem)
    for lif in (known, fresh):  # the second has not been called before
        change(lif)
        current = x[0].clone().requires_grad_()
        spikes, state = lif(current, mem)
        inputs = [current, *(x for x in (lif.beta,) if x.requires_grad)]
        after.append((spikes, state, *torch.autograd.grad((2 * spikes + state).sum(), inputs)))
    assert all(torch.equal(a, b) for a, b in zip(*after))
    unchanged = snn.Leaky(0.9)(x[0], mem)
    assert change in (disabled, beta_with_gradient) or not torch.equal(after[0][1], unchanged[1])


def test_time_constants_of_lapicque_count_at_once():
    x, after = 2 * torch.rand(4, 5, generator=torch.Generator().manual_seed(0)), []
    for called in (0, 3):
        lif = snn.Lapicque(R=2.0, C=5.0, time_step=1.0)
        for _ in range(called):
            lif(x)
        lif.R = torch.tensor(0.5)
        after.append(lif(x, torch.full((4, 5), 0.3)))
    assert all(torch.equal(a, b) for a, b in zip(*after))
    assert not torch.equal(after[0][1], snn.Lapicque(R=2.0, C=5.0, time_step=1.0)(x, torch.full((4, 5), 0.3))[1])


@pytest.mark.parametrize("called", [0, 3])
def test_a_state_that_is_a_buffer_stays_one(called):
    lif, x = snn.Leaky(0.9), torch.rand(4, 5)
    for _ in range(called):
        lif(x)
    del lif.mem
    lif.register_buffer("mem", torch.zeros(4, 5))
    for _ in range(3):
        _, mem = lif(x)
    assert lif.state_dict()["mem"] is not None
    assert torch.equal(lif.state_dict()["mem"], mem)


@pytest.mark.parametrize("large", [0, LARGE])
def test_what_differs_between_two_calls_is_noticed(large, monkeypatch):
    monkeypatch.setattr(stepping, "LARGE", large)
    lif, x = snn.Leaky(0.9), 2 * torch.rand(4, 5)
    for other in (x, x.double(), x.half(), x[:2], x.t(), x, (4 * x).to(torch.int64)):
        for given in ((), (torch.full(other.shape, 0.5),), (torch.tensor(0.5),)):
            lif.reset_mem()
            again = snn.Leaky(0.9)
            for _ in range(2):
                (a, b), (c, d) = lif(other, *given), again(other, *given)
                assert (a.dtype, b.dtype) == (c.dtype, d.dtype)
                assert torch.equal(a, c)
                assert torch.equal(b, d)
    lif(x)
    with pytest.raises(ShapeError, match="Leaky: state 'mem' has shape"):
        lif(x, torch.zeros(3, 5))
    lif.init_hidden = True
    with pytest.raises(TypeError, match="states .* were passed to a module with init_hidden=True"):
        lif(x, torch.zeros(4, 5))
    assert not isinstance(lif(x), tuple)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*is deprecated:DeprecationWarning")  # torch, about itself
@pytest.mark.parametrize("large", [0, LARGE])
def test_functions_of_functions_and_forward_mode(large, monkeypatch):
    monkeypatch.setattr(stepping, "LARGE", large)
    lif, x, mem = snn.Leaky(0.9), 2 * torch.rand(4, 5, generator=torch.Generator().manual_seed(1)), torch.zeros(4, 5)

    def loss(current):
        spikes, after = lif(*lif(current, mem)[::-1])[0], lif(current, mem)[1]
        return (spikes + after * after).sum()

    lif(x, mem)
    leaf = x.clone().requires_grad_()
    (by_hand,) = torch.autograd.grad(loss(leaf), leaf)
    torch.testing.assert_close(torch.func.grad(loss)(x), by_hand)
    per_sample = torch.func.vmap(torch.func.grad(loss))(torch.stack([x, 2 * x]))
    torch.testing.assert_close(per_sample[0], by_hand)
    _, along = torch.func.jvp(loss, (x,), (torch.ones_like(x),))
    torch.testing.assert_close(along, by_hand.sum())
    with torch.autograd.forward_ad.dual_level():
        dual = loss(torch.autograd.forward_ad.make_dual(x, torch.ones_like(x)))
        torch.testing.assert_close(torch.autograd.forward_ad.unpack_dual(dual).tangent, by_hand.sum())


def test_whole_sequences_under_functions_of_functions():
    """Long enough for a kernel, which they could not look into."""
    net = nn.Sequential(nn.Linear(5, 128), snn.Leaky(0.9, init_hidden=True, threshold=0.3))
    x = 2 * torch.rand(40, 64, 5, generator=torch.Generator().manual_seed(1))

    def loss(inputs):
        return snn.run(net, inputs).mul(torch.arange(128.0)).sum()

    leaf = x.clone().requires_grad_()
    said = []
    snn.run(net, leaf, explain=said.append)
    assert "1 (Leaky): fused" in said[0]
    (by_hand,) = torch.autograd.grad(loss(leaf), leaf)
    assert by_hand.abs().sum() > 0
    # The loop's gradient and the kernel's, to the bar for snn.run; by the input it is a product that the BLAS sums.
    torch.testing.assert_close(torch.func.grad(loss)(x), by_hand, rtol=1e-5, atol=1e-5 * float(by_hand.abs().max()))
    fused = sc.get_engine("torch", fused=True)
    with pytest.raises(RuntimeError, match="fused=True, but torch.func and forward mode cannot look into kernels"):
        torch.func.grad(lambda v: sc.Leaky().run(Pass(fused), sc.base.State(), sc.base.State(), None, v).outputs.sum())(
            x
        )


def test_an_ensemble_by_vmap():
    """Stacked modules, each with constants of its own that no call may read as numbers."""
    func, x = torch.func, torch.rand(4)
    models = [snn.Leaky(beta=0.5), snn.Leaky(beta=0.9)]
    held = func.stack_module_state(models)
    found = func.vmap(lambda *held: func.functional_call(models[0], held, (x, torch.ones(4))))(*held)
    for i, model in enumerate(models):
        assert all(torch.equal(both[i], one) for both, one in zip(found, model(x, torch.ones(4))))


def test_no_samples_and_lazily_negated_inputs():
    spk, mem = snn.Leaky(0.9)(torch.zeros(0, 4))
    assert spk.shape == mem.shape == (0, 4)
    views = torch.complex(torch.rand(200, 200), torch.rand(200, 200)).conj().imag, torch._neg_view(torch.rand(200, 200))
    for lazy in views:
        assert lazy.is_neg()
        for run in (lambda x: snn.Leaky(0.9)(x)[1], lambda x: snn.run(snn.Leaky(0.9), x[None].expand(9, -1, -1))[1]):
            assert torch.equal(run(lazy), run(lazy.resolve_neg()))
