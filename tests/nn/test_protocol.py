"""B1: what subclasses may override besides, what they may not, and what becomes of their copies."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")
from torch import nn  # noqa: E402

import spikecore.nn as ours  # noqa: E402
from tests.nn.test_subclasses import KINDS, equal, forgotten, linear_leaky, x  # noqa: E402, F401  (a fixture)

theirs = pytest.importorskip("snntorch", reason="compared with snnTorch")
pytestmark = pytest.mark.filterwarnings("ignore")  # snnTorch warns of its own affairs


def test_a_decay_that_is_a_property_is_asked_at_every_step():
    def make(snn):
        class Property(snn.Leaky):
            def __init__(self):
                super().__init__(beta=0.5)
                self.w = nn.Parameter(torch.tensor(0.4))

            @property
            def beta(self):
                if "w" not in self._parameters:
                    raise AttributeError("beta")
                return torch.sigmoid(self.w)

        return Property()

    us = equal(make)
    for value in (0.4, -2.0):
        with torch.no_grad():
            us.w.fill_(value)
            us.reset_mem()
            us(x[0])
            torch.testing.assert_close(us(x[1])[1], torch.sigmoid(us.w) * x[0] + x[1] - (x[0] > 1.0).float())


@pytest.mark.parametrize(
    ("base", "name", "arguments"),
    [
        ("Leaky", "_reset_cases", {"beta": 0.9}), ("Alpha", "_alpha_cases", {"alpha": 0.9, "beta": 0.8}),
        ("RLeaky", "_rleaky_init_cases", {"beta": 0.9, "linear_features": 4}),
        ("DeltaLeaky", "fire", {"beta": 0.9}), ("AssociativeLeaky", "fire", {"in_dim": 4, "d_value": 2, "d_key": 2}),
        ("StateLeaky", "mem_reset", {"beta": 0.9, "channels": 4}),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_refused_at_construction(base, name, arguments):
    kind = type("Own", (getattr(ours, base),), {name: lambda self, *args: None})
    with pytest.raises(TypeError, match=f"Own defines {name}, which spikecore.nn's {base} does not call"):
        kind(**arguments)


def test_a_neuron_from_the_base_may_call_its_own_checks():
    class Own(ours.LIF):
        def __init__(self):
            super().__init__(0.9)
            self._rleaky_init_cases()
            self.state_function = self._base_int

        def _rleaky_init_cases(self):
            self.checked = True

        def _base_int(self, input_):
            return self.beta * self.mem + input_

        def forward(self, input_, mem):
            self.mem = mem
            self.mem = self.state_function(input_)
            return self.fire(self.mem), self.mem

    lif = Own()
    assert lif.checked
    assert torch.equal(lif(x[0], x[1])[1], lif.beta * x[1] + x[0])


def test_constructors_call_what_snntorch_s_call():
    def make(snn):
        class Own(snn.RSynaptic):
            def _init_mem(self):
                super()._init_mem()
                self.register_buffer("trace", torch.zeros(()), False)

            def _beta_buffer(self, beta, learn_beta):
                super()._beta_buffer(beta / 2, learn_beta)

            def _alpha_register_buffer(self, alpha, learn_alpha):
                super()._alpha_register_buffer(alpha / 2, learn_alpha)

            def _threshold_buffer(self, threshold, learn_threshold):
                super()._threshold_buffer(threshold / 2, learn_threshold)

            def _init_recurrent_linear(self):
                super()._init_recurrent_linear()
                nn.init.constant_(self.recurrent.weight, 0.1)

            def _disable_recurrent_grad(self):
                self.recurrent.bias.requires_grad_(False)

        return Own(alpha=1.2, beta=1.6, threshold=2.2, linear_features=4, learn_recurrent=False)

    us = equal(make)
    assert us.trace == 0
    assert us.recurrent.weight.requires_grad


def test_whole_sequences_of_state_leaky():
    def make(snn):
        class Own(snn.StateLeaky):
            def _base_state_function(self, input_):
                return 1.5 * super()._base_state_function(input_)

            def fire(self, mem):
                return super().fire(mem - 0.2)

        return Own(beta=0.7, channels=4)

    for a, b in zip(make(theirs)(x), make(ours)(x)):
        torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-5)


def test_copies_and_files_of_them():
    lif = linear_leaky(ours, init_hidden=True)
    for step in x[:3]:
        lif(step)
    other = copy.deepcopy(lif)
    assert torch.equal(lif(x[3]), other(x[3]))
    with pytest.raises(ValueError, match="has code of torch's that no other engine reads"):
        ours.from_torch(nn.Sequential(nn.Linear(4, 4), lif))
    plain = ours.Leaky(0.9, init_hidden=True)
    plain.fire = lambda mem: mem
    with pytest.raises(ValueError, match="fire of its own"):
        ours.from_torch(nn.Sequential(nn.Linear(4, 4), plain))


@pytest.mark.parametrize("kind", KINDS)
def test_the_library_s_own_go_the_short_way(kind):
    base = getattr(ours, kind.partition("-")[0])
    assert base(**KINDS[kind]).by_protocol() == ""
    assert type("Named", (base,), {"more": lambda self: None})(**KINDS[kind]).by_protocol() == ""
