"""Every neuron of ``spikecore`` as a module of torch: equal to the model, state passed or hidden, at home in torch."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar, Tuple

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")
from torch import nn  # noqa: E402

import spikecore as sc  # noqa: E402
import spikecore.nn as snn  # noqa: E402
from spikecore import utils  # noqa: E402
from spikecore.api import neurons  # noqa: E402
from spikecore.api.core.layer import Init, Key, Params, Pass, State  # noqa: E402
from spikecore.api.neurons.base import Neuron, Param  # noqa: E402
from spikecore.api.neurons.membrane import Membrane  # noqa: E402
from spikecore.api.neurons.parallel import Parallel  # noqa: E402
from spikecore.compression import FixedPoint, ScaledInteger  # noqa: E402
from spikecore.errors import ShapeError  # noqa: E402

L = sc.learn
N = 4


@dataclass(frozen=True)
class Bursting(Neuron):
    """A user's own: it rests at 0.2, and its trace has one entry per pair of neurons."""

    beta: Param = 0.8
    gain: Param = L(0.3)

    state: ClassVar[Tuple[str, ...]] = ("mem", "trace")

    def rest(self, engine, params, x):
        pairs = engine.xp.expand_dims(x, axis=-1) * engine.xp.expand_dims(x, axis=-2)
        return State(mem=engine.xp.zeros_like(x) + 0.2, trace=engine.xp.zeros_like(pairs))

    def step(self, engine, params, state, x):
        trace = 0.5 * state.trace + engine.xp.expand_dims(x, axis=-1) * engine.xp.expand_dims(state.mem, axis=-2)
        mem = params.beta * state.mem + x + params.gain * engine.xp.sum(trace, axis=-1)
        spikes = self.graded(params, self.fires(engine, params, mem))
        return spikes, State(mem=mem - engine.stop_gradient(spikes), trace=trace)


@dataclass(frozen=True)
class Weighted(Neuron):
    """A user's own with weights, whose output has another shape than its input."""

    def init(self, key, shape):
        made = super().init(key, (3,))
        return Init(made.params.replace(weight=np.linspace(-0.2, 0.8, 3 * N).reshape(3, N)), made.buffers, (3,))

    def prepare(self, engine, params):
        return super().prepare(engine, params).replace(weight=params.weight)

    def project(self, engine, params, x):
        return x @ engine.xp.permute_dims(params.weight, (1, 0))

    def step(self, engine, params, state, x):
        mem = 0.8 * state.mem + x
        return self.graded(params, self.fires(engine, params, mem)), State(mem=mem)


NEURONS = {
    "Leaky": sc.Leaky(beta=L(0.9)),
    "Leaky-tau": sc.Leaky(beta=sc.learn_tau(5.0), threshold=L(0.8)),
    "Leaky-per": sc.Leaky(beta=L(0.9, per="neuron"), reset_mechanism="zero"),
    "Leaky-parallel": sc.Leaky(beta=L(0.9), reset_mechanism="none", parallel=True),
    "IF": sc.IF(threshold=L(1.0)),
    "IF-initial": sc.IF(initial_mem=L(0.5)),
    "LI": sc.LI(beta=L(0.9)),
    "ALIF": sc.ALIF(beta=L(0.9), rho=[0.9, 0.8, 0.7, 0.6], adaptation=L(0.7)),
    "Synaptic": sc.Synaptic(alpha=L(0.8), beta=0.7),
    "Alpha": sc.Alpha(alpha=0.9, beta=L(0.8), threshold=0.2),
    "Lapicque": sc.Lapicque(R=L(2.0), C=3.0, threshold=0.3),
    "DeltaLeaky": sc.DeltaLeaky(beta=L(0.9), delta_threshold=L(0.4)),
    "Izhikevich": sc.Izhikevich(a=L(0.02), d=L(6.0), surrogate=sc.surrogate.atan(0.1)),
    "ResonateAndFire": sc.ResonateAndFire(beta=L(0.9), omega=L(0.7), threshold=0.5),
    "BalancedResonateAndFire": sc.BalancedResonateAndFire(omega=L(3.0), b_offset=L(0.5), dt=0.2, threshold=0.1),
    "MaskedPSN": sc.MaskedPSN(num_steps=12, order=2, threshold=0.2),
    "SlidingPSN": sc.SlidingPSN(order=3, threshold=L(0.8)),
    "StateSpace": sc.StateSpace(modes=3, dt_min=0.1, dt_max=0.5, threshold=0.2),
    "TsodyksMarkram": sc.TsodyksMarkram(U=L(0.3), facilitation=sc.learn_tau(3.0), depression=0.9),
    "RLeaky": sc.RLeaky(beta=L(0.9), linear_features=N),
    "RLeaky-graded": sc.RLeaky(beta=0.9, graded_spikes_factor=0.7, all_to_all=False, V=L(0.4)),
    "RSynaptic": sc.RSynaptic(alpha=0.7, beta=L(0.8), all_to_all=False, V=0.3),
    "SLSTM": sc.SLSTM(input_size=N, hidden_size=3, threshold=L(0.02)),
    "SpikingGRU": sc.SpikingGRU(input_size=N, hidden_size=3, threshold=L(0.05)),
    "SConv2dLSTM": sc.SConv2dLSTM(in_channels=2, out_channels=2, kernel_size=3, stride=2, threshold=L(0.01)),
    "StateLeaky": sc.StateLeaky(beta=L(0.8), channels=N),
    "LinearLeaky": sc.LinearLeaky(beta=0.8, in_features=N, out_features=3, threshold=L(0.3)),
    "LeakyParallel": sc.LeakyParallel(input_size=N, hidden_size=3, beta=L([0.5, 0.8, 0.9]), threshold=0.01),
    "AssociativeLeaky": sc.AssociativeLeaky(in_dim=N, d_value=3, d_key=2, threshold=0.2),
    "PLIF": sc.PLIF(beta=L(0.75, per="neuron"), threshold=0.4),
    "KLIF": sc.KLIF(beta=L(0.7), threshold=0.4),
    "GLIF": sc.GLIF(threshold=L(0.4), time_steps=3),
    "CLIF": sc.CLIF(beta=L(0.6)),
    "LIAF": sc.LIAF(beta=L(0.8), threshold=L(0.6)),
    "QIF": sc.QIF(beta=L(0.4), v_c=L(0.5), threshold=0.6),
    "EIF": sc.EIF(beta=L(0.4), delta_T=L(0.7)),
    "AdEx": sc.AdEx(a=L(0.2), b=L(0.3), threshold=0.8),
    "ILIF": sc.ILIF(threshold=L(0.3)),
    "TernaryLeaky": sc.TernaryLeaky(beta=L(0.7), threshold=L(0.8)),
    "SigmaDelta": sc.SigmaDelta(threshold=L(0.8), bias=L(0.1)),
    "Recurrent": sc.Recurrent(sc.ALIF(beta=L(0.8), adaptation=0.3), sc.Linear(N, N)),
    "Refractory": sc.Refractory(sc.LI(beta=L(0.8)), period=2),
    "Refractory-recurrent": sc.Refractory(sc.RLeaky(beta=L(0.8), linear_features=N), period=2),
    "Refractory-izhikevich": sc.Refractory(sc.Izhikevich(a=L(0.02), surrogate=sc.surrogate.atan(0.1)), period=2),
    "Noisy": sc.Noisy(sc.Leaky(beta=L(0.8)), L(0.3), 0.1),
    "QuantizedNeuron": sc.QuantizedNeuron(sc.Leaky(beta=L(0.8), state_quant=FixedPoint(10, 5)), ScaledInteger(6)),
    "Quantized-recurrent": sc.Recurrent(
        sc.Leaky(beta=L(0.8), state_quant=FixedPoint(10, 5)),
        sc.Quantized(sc.Linear(N, N), ScaledInteger(4)),
    ),
    "own": Bursting(),
    "own-weighted": Weighted(),
    "own-refractory": sc.Refractory(Bursting(), period=1),
}
ABSTRACT = {neurons.Neuron, neurons.Stepper, neurons.Membrane}
WHOLE = {neurons.PSN}  # they run on whole sequences alone: test_psn.py
#: Compiled in slow tests alone: their steps are made of what those of the others are made of.
RARE = set(
    "Leaky-tau Leaky-per IF-initial Alpha Lapicque LinearLeaky StateLeaky DeltaLeaky RLeaky-graded RSynaptic PLIF KLIF "
    "GLIF CLIF LIAF QIF EIF AdEx ILIF TernaryLeaky SigmaDelta BalancedResonateAndFire MaskedPSN Refractory-recurrent "
    "Refractory-izhikevich Quantized-recurrent IF LI ALIF Synaptic SLSTM RLeaky own-refractory".split()
)
SCALES = {"Izhikevich": 30.0, "Refractory-izhikevich": 30.0}


def test_no_neuron_is_left_out():
    kinds = {
        kind
        for kind in (getattr(neurons, name) for name in dir(neurons))
        if isinstance(kind, type) and issubclass(kind, neurons.Stepper)
    }
    assert {type(neuron) for neuron in NEURONS.values()} >= kinds - ABSTRACT - WHOLE
    assert set(NEURONS) > RARE
    assert issubclass(neurons.Leaky, Parallel)
    assert issubclass(neurons.Leaky, Membrane)


def sequence(name):
    shape = (12, 3, 2, 5, 5) if name == "SConv2dLSTM" else (12, 3, N)
    return SCALES.get(name, 1.5) * torch.rand(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def shape_of(name):
    return tuple(sequence(name).shape[2:])


@pytest.fixture(autouse=True)
def double():
    kept = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(kept)


def made(name, **options):
    torch.manual_seed(3)
    return snn.module(NEURONS[name], input_shape=shape_of(name), **options)


def loop(module, x):
    torch.manual_seed(4)  # which noise follows, for a sequence that begins
    return torch.stack([first(module(step)) for step in x])


def passed(module, x):
    """Outputs of steps with the states passed from each to the next; one that is the output itself goes along."""
    rows, states = [], ()
    for step in x:
        out, *after = module(step, *states)
        rows.append(out)
        states = (out, *after) if len(after) < len(module.states) else after
    return torch.stack(rows)


def hidden(module, x):
    utils.reset(module)
    return loop(module, x)


def model(module, x):
    """The neuron by its engine, with the module's parameters."""
    engine = sc.get_engine("torch", dtype="float64", fused=False)
    params, key = module.params.tree(torch.float64), Key((int(torch.randint(1 << 31, ())),))  # as a module draws noise
    return module.described().run(Pass(engine, key=key), params, Params(), None, x).outputs


def differentiated(run, module, x):
    x, weights = x.clone().requires_grad_(), list(module.parameters())
    torch.manual_seed(4)
    out = run(module, x)
    total = (out * torch.linspace(0.5, 1.5, out.numel()).reshape(out.shape)).sum()
    return out.detach(), torch.autograd.grad(total, [x, *weights])


@pytest.mark.parametrize("name", NEURONS)
def test_as_the_engine_runs_it(name):
    x = sequence(name)
    explicit, keeps = made(name), made(name, init_hidden=True)
    expected, grads = differentiated(model, explicit, x)
    assert expected.abs().sum() > 0
    assert all(float(grad.abs().sum()) > 0 for grad in grads)
    for run, module in ((passed, explicit), (hidden, keeps), (snn.run, keeps), (snn.run, made(name))):
        out, others = differentiated(lambda *a, r=run: first(r(*a)), module, x)
        torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
        for grad, other in zip(grads, others):
            torch.testing.assert_close(other, grad, rtol=1e-9, atol=1e-9 * float(grad.abs().max()))


def first(out):
    return out[0] if isinstance(out, tuple) else out


@pytest.mark.parametrize("engine", ["torch", "numpy"])
@pytest.mark.parametrize("name", [name for name in NEURONS if name != "Noisy"])  # a module draws anew each time
def test_to_torch_takes_it_and_back(name, engine):
    x = sequence(name)
    whole = sc.Model(sc.Sequential(NEURONS[name]), engine, input_shape=shape_of(name), dtype="float64")
    net = snn.to_torch(whole)
    expected = torch.as_tensor(whole.engine.to_numpy(whole(x.numpy()).spikes))
    assert expected.abs().sum() > 0
    torch.testing.assert_close(hidden(net, x).detach(), expected, rtol=1e-12, atol=1e-12)
    again = snn.from_torch(net, input_shape=shape_of(name), engine=engine, dtype="float64")
    assert again.params().keys() == whole.params().keys()
    assert all(np.array_equal(value, whole.params()[key]) for key, value in again.params().items())
    if expected.ndim == 3:
        assert sc.verify(net, x.numpy(), np.array([0, 1, 1]), differences=False).ok


@pytest.mark.parametrize("name", NEURONS)
def test_states_and_files(name, tmp_path):
    x, module = sequence(name), made(name, init_hidden=True, output=True)
    whole = hidden(module, x)
    utils.reset(module)
    loop(module, x[:5])
    kept, other = utils.get_state(module), made(name, init_hidden=True)
    copied = copy.deepcopy(module)
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    other.load_state_dict(torch.load(tmp_path / "weights.pt"))
    utils.set_state(other, kept)
    for each in (module, other, copied):
        torch.testing.assert_close(loop(each, x[5:]), whole[5:])
    _, *after = module(x[0])
    names = [n for n in module.states if n in module.returned_states()]
    assert all(getattr(module, n) is value for n, value in zip(names, after))
    if module.states and name != "SConv2dLSTM":
        with pytest.raises(ShapeError, match=rf"^{type(NEURONS[name]).__name__}: .*starts with utils.reset"):
            module(x[0, :2])
    with pytest.raises(TypeError, match="init_hidden=True"):
        module(x[0], *(kept[n] for n in module.states))


# torch warns of its own doings while it traces: it makes an autograd.Function, and looks at a state's gradient
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.turns(3)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in RARE else []) for name in NEURONS]
)
def test_compiles_without_a_graph_break(name):
    torch._dynamo.reset()
    x, module = sequence(name)[:2], made(name, init_hidden=True)
    expected = hidden(module, x)
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    utils.reset(module)
    torch.testing.assert_close(loop(compiled, x), expected)


@pytest.mark.parametrize("name", NEURONS)
def test_dtypes(name):
    module = made(name, init_hidden=True).float()
    for dtype in (torch.float32, torch.float16):
        utils.reset(module)
        assert module(sequence(name)[0].to(dtype)).dtype == dtype
        assert all(value.dtype == torch.float32 for value in module.hidden().values())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        utils.reset(module)
        assert module(sequence(name)[0].float()).dtype == torch.float32
    assert all(value.device.type == "meta" for value in module.to("meta").hidden().values())


def test_in_a_network():
    net = nn.Sequential(
        nn.Linear(3, N), snn.module(NEURONS["ALIF"], init_hidden=True), nn.Linear(N, N),
        snn.module(NEURONS["Refractory"], init_hidden=True), nn.Linear(N, 2),
        snn.module(sc.LI(beta=0.9), init_hidden=True, output=True),
    )  # fmt: skip
    x, said = torch.rand(9, 2, 3) * 3, []
    out, mem = snn.run(net, x, explain=said.append)
    assert ": step by step" not in said[0]
    assert torch.equal(out, mem)
    torch.testing.assert_close(hidden(net, x), out)
    assert "1.params.beta" in net.state_dict()
    recorded = snn.run(net, x, record=["1", "3"])[1]
    assert set(recorded["1"]) == {"spk", "mem", "adapt", "fired"}
    assert recorded["3"]["wait"].shape == (9, 2, N)


def test_first_values():
    torch.manual_seed(5)
    first_, second = (snn.module(NEURONS["Recurrent"]) for _ in range(2))
    torch.manual_seed(5)
    again = snn.module(NEURONS["Recurrent"])
    weights = [m.params.connection.weight for m in (first_, second, again)]
    assert torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[1])
    names = [name for name, _ in again.named_parameters()]
    assert names == ["params.neuron.beta", "params.connection.weight", "params.connection.bias"]
    assert snn.module(sc.Leaky(beta=L([0.5, 0.6]))).params.beta.shape == (2,)
    with pytest.raises(ValueError, match=r"input_shape=None: .*pass input_shape=\(\.\.\.\)"):
        snn.module(sc.Recurrent(sc.Leaky(), sc.Conv2d(2, 2, 3, padding=1)))
    per = snn.module(sc.Leaky(beta=L(0.5, per="neuron")), input_shape=(3,))
    assert per.params.beta.shape == (3,)


def test_who_looks_for_it_finds_it():
    for name in ("ALIF", "IF", "LI", "Izhikevich", "Recurrent", "Refractory"):
        with pytest.raises(AttributeError, match=rf"has no {name} of its own: write snn.module\(sc.{name}\(...\)\)"):
            getattr(snn, name)


def test_what_it_takes():
    for wrong in (nn.Linear(2, 2), sc.Linear(2, 2), sc.Leaky, snn.Leaky(0.9), None):
        with pytest.raises(TypeError, match=r"module: neuron=.* must be a neuron"):
            snn.module(wrong)
    with pytest.raises(TypeError, match="called with 2 states"):
        snn.module(sc.Leaky())(torch.zeros(1, 2), torch.zeros(1, 2), torch.zeros(1, 2))
    assert snn.module(sc.ALIF()).neuron == sc.ALIF()
    assert isinstance(snn.module(sc.ALIF()), snn.SpikingNeuron)
    assert "ALIF" in repr(snn.module(sc.ALIF()))


@dataclass(frozen=True)
class Forgetful(sc.base.Neuron):
    """Its step returns one state of two."""

    state = ("mem", "thr")

    def step(self, engine, params, state, x):
        mem = 0.5 * state.mem + x
        return self.spike(engine, params, mem - params.threshold), sc.base.State(mem=mem)


@dataclass(frozen=True)
class Bare(Forgetful):
    """Its step returns no state at all."""

    def step(self, engine, params, state, x):
        return super().step(engine, params, state, x)[0]


@pytest.mark.parametrize("neuron", [Forgetful(), Bare()], ids=["one state", "no state"])
def test_a_step_that_returns_too_little_is_refused_by_name(neuron):
    with pytest.raises(TypeError, match=r"step returned .*expected \(output, State\(mem=\.\.\., thr=\.\.\.\)\)"):
        snn.module(neuron, init_hidden=True)(torch.rand(2, 3))
