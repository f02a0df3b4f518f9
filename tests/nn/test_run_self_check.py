"""The first call of ``snn.run`` compares itself with the loop: what it finds, leaves alone, remembers and costs."""

from __future__ import annotations

import random
import threading
import types
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

import spikecore.nn as snn  # noqa: E402
from spikecore import utils  # noqa: E402
from spikecore.engines.torch import fusing  # noqa: E402
from spikecore.engines.torch.nn import dispatch, self_check, verdicts  # noqa: E402
from spikecore.errors import TrainingWarning  # noqa: E402
from tests.nn.test_run_drawn import FUNCTIONS, network  # noqa: E402
from tests.nn.test_run_states import loop  # noqa: E402

STEP_BY_STEP = "the network: step by step"


class Counted(nn.Module):
    """Two layers; it counts its calls where no check sees it."""

    def __init__(self, after=lambda x: x, **options):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.lif = nn.Linear(8, 6), snn.Leaky(0.9, init_hidden=True, **options)
        self.norm, self.drop = nn.BatchNorm1d(6), nn.Dropout(0.2)
        self.after, self.scale = after, 1.0

    def forward(self, x):
        CALLS.append(1)
        return self.after(self.lif(self.drop(self.norm(self.fc(x)))) * self.scale)

    def count(self):
        """How often networks were called since the last count."""
        found = len(CALLS)
        CALLS.clear()
        return found


CALLS = []  # of networks that count them: a check does not see it


def inputs(steps=7, batch=4):
    return 3 * torch.rand(steps, batch, 8, generator=torch.Generator().manual_seed(0))


def told(net, x, *given, **options):
    said = []
    snn.run(net, x, *given, explain=said.append, **options)
    return said[0].splitlines()[0 if said[0].startswith(STEP_BY_STEP) else -1]


# ---- healthy networks ------------------------------------------------------------------------------------------------


def convolutional(seed, width):
    torch.manual_seed(seed)
    hidden = {"threshold": 0.3, "init_hidden": True}
    return nn.Sequential(
        nn.Conv2d(2, width, 3, padding=1), nn.BatchNorm2d(width), snn.Leaky(0.9, **hidden), nn.MaxPool2d(2),
        nn.Conv2d(width, width, 3, padding=1), snn.Synaptic(0.8, 0.9, **hidden), nn.Flatten(), nn.Dropout(0.2),
        nn.Linear(16 * width, 10), snn.Leaky(0.9, learn_beta=True, output=True, **hidden),
    )  # fmt: skip


class Attention(nn.Module):
    """Sums of spikes that meet the threshold exactly, layers from the same spikes, a state that is read out."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.q, self.k, self.v = (nn.Linear(8, 8) for _ in range(3))
        self.lifs = nn.ModuleList(snn.Leaky(0.5, threshold=0.5, init_hidden=True) for _ in range(4))
        self.out = snn.Leaky(0.9, threshold=0.25, init_hidden=True, output=True)

    def forward(self, x):
        q, k, v = (lif(layer(x)).unsqueeze(1) for lif, layer in zip(self.lifs, (self.q, self.k, self.v)))
        attended = self.lifs[3](((q.transpose(1, 2) @ k) @ v.transpose(1, 2)).squeeze(2) * 0.125)
        spk, mem = self.out(attended + x.mean(-1, keepdim=True))
        return spk * (1 + spk.amax()), F.softmax(mem, -1)


def healthy(seed):
    """A network that ``run`` runs rightly, and its input."""
    draw = torch.Generator().manual_seed(seed)
    if seed % 5 == 3:
        return convolutional(seed, 2 + seed % 7).train(seed % 2 == 0), torch.rand(6, 4, 2, 8, 8, generator=draw)
    if seed % 5 == 4:
        return Attention(seed), 2 * torch.rand(6, 4, 8, generator=draw)
    net = network(seed)
    to_double = any(getattr(module, "index", None) == len(FUNCTIONS) - 1 for module in net.modules())
    net = net.float() if seed % 2 and not to_double else net
    return net, 2 * torch.randn(6, 4, 8, generator=draw).to(next(net.parameters()).dtype)


@pytest.mark.parametrize("count", [25, pytest.param(525, marks=pytest.mark.slow)])
def test_no_alarm_on_healthy_networks(count):
    unchecked = 0
    for seed in range(count):
        net, x = healthy(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("error", TrainingWarning)
            said = told(net, x)
        unchecked += "not yet" in said
        assert "differs" not in said
    assert unchecked <= 0.02 * count


def test_no_alarm_where_rounding_makes_spikes_differ(monkeypatch):
    """In half precision and in large layers, some potentials near the threshold fire in one way only."""
    wide = []
    results = self_check._Pair.results
    spy = lambda pair, way, start, w: (wide.append(w), results(pair, way, start, w))[1]  # noqa: E731
    monkeypatch.setattr(self_check._Pair, "results", spy)
    last_bit = lambda x, *rest, look=True: F.linear(x, *rest) * (1 + torch.finfo(x.dtype).eps)  # noqa: E731
    monkeypatch.setattr(dispatch, "linear", last_bit)
    torch.manual_seed(0)
    layers = (m for _ in range(3) for m in (nn.Linear(256, 256), snn.Leaky(0.9, threshold=0.2, init_hidden=True)))
    net = nn.Sequential(nn.Flatten(), *layers).to(torch.bfloat16)
    said = told(net, torch.rand(8, 16, 16, 16).to(torch.bfloat16))
    assert said == "compared with the loop: equal in 3 steps of 2 samples, from drawn states"
    assert True in wide


# ---- what is left alone ----------------------------------------------------------------------------------------------


def test_the_check_leaves_everything_as_it_was():
    """Generators, running means, states, parameters, their gradients and hooks: all go on as if there were no check."""
    nets, after = [Counted(), Counted()], []
    x = inputs()
    verdict = verdicts.verdict_on(nets[0], dict(nets[0].named_modules()), x, True)
    verdict.equal = "as if it had been compared"
    counts = []
    for net in nets:
        net.count()
        torch.manual_seed(5)
        random.seed(5)
        np.random.seed(5)  # noqa: NPY002  (the generator that forward may use)
        seen = []
        net.fc.weight.register_hook(lambda g, seen=seen: seen.append(g.clone()))
        held = {name: (p, p.data_ptr(), p._version) for name, p in net.named_parameters()}
        buffers = {name: (b, b.data_ptr()) for name, b in net.named_buffers()}
        out = snn.run(net, x)
        assert not seen
        assert all(net.get_parameter(n) is p and p.data_ptr() == at and p._version == v and p.grad is None
                   for n, (p, at, v) in held.items())  # fmt: skip
        assert all(net.get_buffer(n) is b and b.data_ptr() == at for n, (b, at) in buffers.items())
        assert net.lif.fused
        assert "fused" not in vars(net.lif)
        counts.append(net.count())
        out.sum().backward()
        assert len(seen) == 1
        draws = [torch.rand(2), torch.tensor(random.random()), torch.tensor(np.random.rand())]  # noqa: NPY002, S311
        after.append([out, *net.buffers(), *utils.get_state(net).values(), *draws, *seen])
    assert counts[1] > 1 == counts[0]
    for one, other in zip(*after):
        assert torch.equal(one, other)


def test_a_graph_of_before_can_go_backwards_after_the_check():
    net, x = Counted().eval(), inputs()
    utils.reset(net)
    before = net(x[0])
    snn.run(net, x)
    before.sum().backward()
    assert net.fc.weight.grad is not None


def test_a_call_within_a_checkpoint_does_the_same_again():
    """A checkpoint counts what is saved for the way back, in the call and when it is made again."""
    from torch.utils.checkpoint import checkpoint

    for after in (lambda x: x, lambda x: x * float(x.sum() > 1e9)):
        net, x = Counted(after), inputs().requires_grad_()
        checkpoint(lambda x, net=net: snn.run(net, x), x, use_reentrant=False).sum().backward()
        assert x.grad is not None


def test_torch_func_takes_the_network_as_it_is():
    net, x = Counted().eval(), inputs()
    params = dict(net.named_parameters())

    def loss(params):
        return torch.func.functional_call(Around(net), {f"net.{n}": p for n, p in params.items()}, (x,)).sum()

    grads = torch.func.grad(loss)(params)
    snn.run(net, x).sum().backward()
    torch.testing.assert_close(grads["fc.weight"], net.fc.weight.grad, rtol=1e-4, atol=1e-5)


class Around(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return snn.run(self.net, x)


# ---- what three steps cannot show ------------------------------------------------------------------------------------


class Late(nn.Module):
    """Its sixth step is another one, as it counts steps or draws numbers in some way."""

    def __init__(self, way):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.lif, self.way = nn.Linear(8, 6), snn.Leaky(0.9, threshold=0.3, init_hidden=True), way
        self.count, self.seen, self.held = 0, [], types.SimpleNamespace(count=0, lock=threading.Lock())
        if way == "of_a_generator":  # which cannot be copied
            self.numbers = (number for number in range(100))
        random.seed(3)  # the sixth number is the first below 0.1
        np.random.seed(8)  # noqa: NPY002  (likewise)

    def attribute(self):
        self.count += 1
        return self.count == 6

    def content(self):
        self.seen.append(None)
        return len(self.seen) == 6

    def of_an_object(self):
        self.held.count += 1
        return self.held.count == 6

    def of_a_generator(self):
        return next(self.numbers) == 5

    def drawn(self):
        return random.random() < 0.1

    def drawn_by_numpy(self):
        return np.random.random() < 0.1  # noqa: NPY002

    def forward(self, x):
        factor = 2.0 if getattr(self, self.way)() else 1.0
        return self.lif(self.fc(x)) * factor


@pytest.mark.parametrize("way", ["attribute", "content", "of_an_object", "of_a_generator", "drawn", "drawn_by_numpy"])
def test_what_three_steps_cannot_show_goes_step_by_step(way):
    x = inputs(8)
    expected = loop(Late(way), x)
    assert expected.max() == 2.0
    assert (expected[:5] <= 1.0).all()
    assert torch.equal(snn.run(Late(way), x), expected)
    assert told(Late(way), x).startswith(STEP_BY_STEP)


# ---- costs and routes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_the_first_call_costs_no_more_than_five_loops_of_three_steps(seed):
    net, x = healthy(seed)
    calls = []
    forward = type(net).forward
    net.forward = lambda x: (calls.append(1), forward(net, x))[1]
    snn.run(net, x)
    assert 1 < len(calls) <= 1 + 5 * self_check.STEPS
    calls.clear()
    snn.run(net, x)
    assert len(calls) <= 1


@pytest.mark.parametrize("batch", [2, 512])
def test_the_check_goes_the_way_of_the_call(batch, monkeypatch):
    """Two samples of a large batch take the kernels that the batch takes."""
    pytest.importorskip("numba", reason="Numba is not installed (extra 'kernels')")
    shapes = []
    choose = fusing.choose

    def spy(terms, *rest):
        kernels = choose(terms, *rest)
        shapes.append((terms.least, rest[3], kernels is None))
        return kernels

    monkeypatch.setattr(fusing, "choose", spy)
    net = Counted().eval()
    snn.run(net, inputs(20, batch))
    least, shape = [(least, shape) for least, shape, _ in shapes if shape[0] == self_check.STEPS][-1]
    assert (np.prod(shape) < least) == (20 * batch * 6 < 1 << 14)
    whole = [none for _, shape, none in shapes if shape[0] == 20]
    assert batch == 2 or whole == [False]


@pytest.mark.parametrize("way", ["forward", "backward"])
def test_a_fault_of_a_kernel_in_single_precision_is_found(way, monkeypatch):
    """Double precision cannot show it, which goes without kernels; but rounding is not there in most draws."""
    pytest.importorskip("numba", reason="Numba is not installed (extra 'kernels')")
    from spikecore.kernels.sequence import SequenceNumba

    right = getattr(SequenceNumba, way)

    def wrong(self, *given, **named):
        made = right(self, *given, **named)
        (made.outputs if way == "forward" else made.inputs)[..., 0] = 0.0
        return made

    net, x = Counted().eval(), inputs(20, 512)
    monkeypatch.setattr(SequenceNumba, way, wrong)
    with pytest.warns(TrainingWarning, match="its kernels"):
        said = told(net, x)
    assert said.startswith(STEP_BY_STEP)
    assert torch.equal(snn.run(net, x), loop(net, x))
