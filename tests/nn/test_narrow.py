"""``snn.run``: a neuron that does the products of the Linear behind it along."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")
pytest.importorskip("numba", reason="Numba is not installed (extra 'kernels')")
from torch import nn  # noqa: E402

import spikecore.nn as snn  # noqa: E402
from spikecore import utils  # noqa: E402

T, B, N = 9, 16, 256  # enough steps of neurons for kernels in training
#: Outputs are sums of N terms, gradients of T x B, in another order: at most 256 roundings of 6e-8 each,
#: of terms that are below 1 / sqrt(N) (weights), or whose sum may be a tenth of their sizes' (gradients).
OUTPUTS, GRADIENTS = 1e-5, 1e-4
MERGED = "on spikes as they are made"


class TwoReadouts(nn.Module):
    """The spikes go to two layers, the membrane to nobody."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif, self.a, self.b = nn.Linear(20, N), snn.Leaky(0.9, threshold=0.1), *two(nn.Linear, N, 10)

    def forward(self, x):
        spk, _ = self.lif(self.fc(x))
        return self.a(spk) + self.b(spk)


class OneReadout(TwoReadouts):
    """The spikes go to one layer."""

    def forward(self, x):
        spk, _ = self.lif(self.fc(x))
        return self.a(spk)


class ReadsMembrane(TwoReadouts):
    """The membrane goes to the layer, not the spikes."""

    def forward(self, x):
        _, mem = self.lif(self.fc(x))
        return self.a(mem)


class UsesBoth(TwoReadouts):
    """The membrane is looked at, too."""

    def forward(self, x):
        spk, mem = self.lif(self.fc(x))
        return self.a(spk) + mem.sum()


def two(make, *arguments):
    return make(*arguments), make(*arguments)


def chain(outs=10, bias=True):
    neurons = (snn.Leaky(beta=0.9, threshold=0.1, init_hidden=True) for _ in range(2))
    return nn.Sequential(nn.Linear(20, N), next(neurons), nn.Linear(N, outs, bias=bias), next(neurons))


def both(make, **options):
    """Outputs, gradients and final states of ``snn.run`` and of the loop over steps; and what ran how."""
    found, said = [], []
    for in_loop in (False, True):
        torch.manual_seed(0)
        net, x = make(), torch.rand(T, B, 20)
        utils.reset(net)
        if not in_loop:
            snn.run(net, x, **options)  # the second run knows what is looked at besides
        run = snn.run(net, x, explain=said.append, **options) if not in_loop else None
        out = torch.stack([net(now) for now in x]) if in_loop else run[0] if options else run
        (torch.linspace(-1, 1, out.numel()).reshape(out.shape) * out).sum().backward()
        found.append(
            (out.detach(), [p.grad for p in net.parameters()], [s.detach() for s in utils.get_state(net).values()])
        )
    return found, said[0].splitlines()


@pytest.mark.parametrize(
    ("make", "merged"),
    [
        (chain, True),
        (lambda: chain(10, bias=False), True),
        (lambda: chain(40), False),
        (OneReadout, True),
        (TwoReadouts, False),
        (ReadsMembrane, False),
        (UsesBoth, False),
    ],
    ids=["chain", "no-bias", "wide", "one", "two", "membrane", "both"],
)
def test_equals_the_loop(make, merged):
    (one, loop), said = both(make)
    assert torch.allclose(one[0], loop[0], atol=OUTPUTS)
    for got, expected in zip((*one[1], *one[2]), (*loop[1], *loop[2])):
        if expected is not None:
            assert torch.allclose(got, expected, rtol=GRADIENTS, atol=GRADIENTS * float(expected.abs().max()))
    assert any(MERGED in line for line in said) == merged
    if make is chain:
        assert [line.split(":")[0] for line in said[:-1]] == ["0 (Linear)", "1 (Leaky)", "2 (Linear)", "3 (Leaky)"]


@pytest.mark.parametrize("name", ["1", "2"])
def test_what_is_recorded_is_there(name):
    (one, loop), said = both(chain, record=[name])
    assert torch.allclose(one[0], loop[0], atol=OUTPUTS)
    assert any(MERGED in line for line in said) == (name == "2")  # the spikes themselves are not recorded


def test_an_edit_elsewhere_leaves_a_merged_neuron_alone():
    def make():
        return nn.Sequential(*chain(), nn.Linear(10, 10), nn.ReLU(inplace=True))

    (one, loop), said = both(make)
    assert torch.allclose(one[0], loop[0], atol=OUTPUTS)
    assert any(MERGED in line for line in said)


def hooked(net, seen):
    net[2].register_forward_hook(lambda *_: seen.append(1))


def exchanged(net, seen):
    net[2].forward = lambda x: (seen.append(1), nn.Linear.forward(net[2], x))[1]


@pytest.mark.parametrize("change", [hooked, exchanged])
def test_layers_that_somebody_looks_at_are_called(change):
    seen = []

    def make():
        net = chain()
        change(net, seen)
        return net

    (one, loop), _ = both(make)
    assert torch.allclose(one[0], loop[0], atol=OUTPUTS)
    assert len(seen) >= T


def test_somebody_who_looks_at_all_layers_sees_all():
    seen = []
    handle = nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(type(module)))
    try:
        snn.run(chain(), torch.rand(T, B, 20))
    finally:
        handle.remove()
    assert seen.count(nn.Linear) == 2 * T


def test_a_layer_that_does_not_fit_is_an_error():
    net = chain()
    net[2] = nn.Linear(N // 2, 10)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        snn.run(net, torch.rand(T, B, 20))


def test_a_sparse_weight():
    net, x = chain(), torch.rand(40, 32, 20)
    with torch.no_grad():
        expected = snn.run(net, x)
        net[2].weight = nn.Parameter(net[2].weight.detach().to_sparse())
        assert torch.equal(snn.run(net, x), expected)


def test_without_kernels_there_are_none():
    said = []
    snn.run(chain(), torch.rand(T, B, 20), fused=False, explain=said.append)
    assert MERGED not in said[0]


def test_a_function_as_surrogate_runs_step_by_step():
    net = chain()
    net[1] = snn.Leaky(beta=0.9, init_hidden=True, spike_grad=lambda u: torch.sigmoid(u))
    said = []
    snn.run(net, torch.rand(T, B, 20), explain=said.append)
    assert MERGED not in said[0]
