"""``spikecore.nn`` as modules: who owns the state, copies, files, devices and dtypes, compilation, processes."""

from __future__ import annotations

import copy
import gc
import io
import os
import pickle
import weakref
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")
from torch import nn  # noqa: E402

import spikecore as sc  # noqa: E402
import spikecore.nn as snn  # noqa: E402
from spikecore import surrogate, utils  # noqa: E402
from spikecore.errors import ShapeError  # noqa: E402
from spikecore.functional.quant import state_quant  # noqa: E402
from tests.training.parallel_rig import finished, nursery  # noqa: E402

MODULES = {
    "Leaky": lambda **o: snn.Leaky(0.9, learn_beta=True, **o),
    "Synaptic": lambda **o: snn.Synaptic(0.8, 0.9, **o),
    "Alpha": lambda **o: snn.Alpha(0.9, 0.8, threshold=0.2, **o),
    "Lapicque": lambda **o: snn.Lapicque(0.8, learn_beta=True, **o),
    "RLeaky": lambda **o: snn.RLeaky(0.9, all_to_all=False, **o),
    "RLeaky-dense": lambda **o: snn.RLeaky(0.9, linear_features=4, **o),
    "RSynaptic": lambda **o: snn.RSynaptic(0.8, 0.9, linear_features=4, **o),
    "SLSTM": lambda **o: snn.SLSTM(4, 4, threshold=0.05, **o),
    "DeltaLeaky": lambda **o: snn.DeltaLeaky(0.3, beta=0.9, **o),
}
#: Compiled in slow tests alone: their steps are made of what those of the others are made of.
RARE = {"Synaptic", "Alpha", "Lapicque", "RLeaky", "RSynaptic"}
x = torch.rand(6, 3, 4, generator=torch.Generator().manual_seed(0)) * 2


def spikes(out):
    return out[0] if isinstance(out, tuple) else out


def rolled(module, steps=x):
    return torch.stack([spikes(module(step)) for step in steps])


def net():
    return nn.Sequential(
        nn.Linear(4, 5),
        snn.Leaky(0.9, init_hidden=True),
        nn.Sequential(nn.Linear(5, 3), snn.Synaptic(0.8, 0.9, init_hidden=True, output=True)),
    )


# ---- whose state ----


def test_reset_acts_on_this_net_alone_nested_or_not():
    one, other = net(), net()
    for module in (one, other):
        rolled(module)
    before = {name: value.clone() for name, value in utils.get_state(other).items()}
    utils.reset(one)
    assert list(utils.get_state(one)) == ["1.mem", "2.1.syn", "2.1.mem"]
    assert all(value.numel() == 0 for value in utils.get_state(one).values())
    assert all(torch.equal(value, before[name]) for name, value in utils.get_state(other).items())
    utils.reset(one[1])  # a neuron is a net
    first, again = rolled(one), (utils.reset(one), rolled(one))[1]
    assert torch.equal(first, again)


def test_detach_acts_on_this_net_alone():
    one, other = net(), net()
    rolled(one), rolled(other)
    utils.detach(one)
    assert not any(value.requires_grad for value in utils.get_state(one).values())
    assert all(value.requires_grad for value in utils.get_state(other).values())
    with pytest.raises(TypeError, match="utils.detach"):
        snn.Leaky.detach_hidden()
    with pytest.raises(TypeError, match="utils.reset"):
        snn.Leaky.reset_hidden()


def test_state_is_a_plain_dict():
    module = net()
    whole = rolled(module)
    utils.reset(module)
    rolled(module, x[:3])
    kept = utils.get_state(module)
    utils.reset(module)
    utils.set_state(module, kept)
    assert torch.equal(rolled(module, x[3:]), whole[3:])
    with pytest.raises(KeyError, match=r"unknown \['7.mem'\]"):
        utils.set_state(module, {**kept, "7.mem": x})


def test_bad_states_are_refused():
    lif = snn.Leaky(0.9, init_hidden=True)
    lif(torch.ones(4, 3))
    with pytest.raises(ShapeError, match=r"'mem' has shape \(4, 3\).*utils.reset"):
        lif(torch.ones(2, 3))
    with pytest.raises(TypeError, match="init_hidden=False"):
        lif(torch.ones(4, 3), torch.ones(4, 3))
    assert lif.mem.shape == (4, 3)  # nothing was taken over from the refused calls
    spk, mem = snn.Leaky(0.5)(torch.ones(2, 3), torch.ones(1))
    assert torch.equal(mem, torch.full((2, 3), 1.5))


def test_bad_options_are_refused():
    for make, message in [
        (lambda: snn.Leaky(0.9, reset_mechanism="half"), "reset_mechanism='half' must be set to one of 'subtract'"),
        (lambda: snn.Leaky(1.5), r"beta=1.5 must be in \[0, 1\]"),
        (lambda: snn.Alpha(0.5, 0.5), "must exceed"),
        (lambda: snn.Lapicque(), "got nothing"),
        (lambda: snn.Lapicque(beta=0.9, R=1.0, C=1.0), "got beta, R, C"),
        (lambda: snn.RLeaky(0.9, conv2d_channels=2, kernel_size=4), "odd"),
        (lambda: snn.SConv2dLSTM(1, 1, 3, max_pool=2, avg_pool=2), "give one of them"),
        (lambda: snn.StateLeaky(torch.rand(3), 4), r"beta of shape \(3,\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            make()
    for make, message in [
        (lambda: snn.RLeaky(0.9), "all_to_all=True needs"),
        (lambda: snn.Leaky(0.9, spike_grad=3), "spike_grad=3"),
        (lambda: snn.Leaky(0.9, state_quant=3), "state_quant=3"),
    ]:
        with pytest.raises(TypeError, match=message):
            make()


def test_reset_mechanism_changes_the_dynamics():
    lif, zero = snn.Leaky(0.9), snn.Leaky(0.9, reset_mechanism="zero")
    expected = rolled(zero)
    lif.reset_mechanism = "zero"
    assert lif.reset_mechanism_val == 1
    assert torch.equal(rolled(lif), expected)
    loaded = snn.Leaky(0.5)
    loaded.load_state_dict(zero.state_dict())
    assert loaded.reset_mechanism == "zero"
    assert torch.equal(rolled(loaded), expected)


def test_options_can_be_set():
    lif = snn.Leaky(0.9, learn_threshold=True)
    lif.surrogate_disable = True
    assert not lif(x[0].clone().requires_grad_())[0].sum().requires_grad
    lif.surrogate_disable = False
    lif.spike_grad = surrogate.straight_through_estimator()
    lif.reset_mem()
    lif(x[0])[0].sum().backward()
    assert lif.threshold.grad == -x[0].numel()
    lif.state_quant = state_quant(num_bits=2)
    lif.reset_mem()
    levels = torch.tensor(state_quant(num_bits=2).levels())
    mem = lif(x[0])[1].detach()
    assert (mem.reshape(-1, 1) - levels).abs().min(dim=1).values.max() < 1e-6


# ---- copies and files ----


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("called", [False, True], ids=["fresh", "called"])
def test_copies(name, called):
    module = MODULES[name](init_hidden=True)
    if called:
        rolled(module, x[:2])
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    for made in (
        copy.deepcopy(module),
        pickle.loads(pickle.dumps(module)),
        torch.load(file, weights_only=False),
    ):
        kept = copy.deepcopy(module)  # ``rolled`` moves the state
        assert torch.equal(rolled(made, x[2:]), rolled(kept, x[2:]))
        assert {n: p.shape for n, p in made.named_parameters()} == {n: p.shape for n, p in module.named_parameters()}


def test_nothing_keeps_networks_alive():
    refs = []
    for _ in range(50):
        module = net()
        rolled(module).sum().backward()
        refs.append(weakref.ref(module))
    del module
    gc.collect()
    assert not any(ref() for ref in refs)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the size of a process is read from /proc")
def test_many_networks_leave_no_memory_behind():
    def megabytes():
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    sizes = []
    for count in (50, 250):  # the first fifty fill caches
        for _ in range(count):
            rolled(nn.Sequential(nn.Linear(4, 4000), snn.Leaky(0.9, init_hidden=True)), x[:2]).sum().backward()
        sizes.append(megabytes())
    assert sizes[1] - sizes[0] < 5.0  # kept alive, they would be tens of megabytes


def test_instances_is_a_weak_list():
    lif = snn.Leaky(0.9)
    assert any(one is lif for one in snn.SpikingNeuron.instances)
    count = len(snn.SpikingNeuron.instances)
    del lif
    gc.collect()
    assert len(snn.SpikingNeuron.instances) == count - 1


# ---- dtypes and devices ----


@pytest.mark.parametrize("name", MODULES)
def test_dtype_follows_the_input(name):
    for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.float32):
        module = MODULES[name](init_hidden=True)
        for step in x.to(dtype):
            assert spikes(module(step)).dtype == dtype
        state = torch.float64 if dtype == torch.float64 else torch.float32
        assert all(value.dtype == state for value in module.hidden().values())
    module = MODULES[name](init_hidden=True)
    module(x[0])
    module.double()
    assert all(value.dtype == torch.float64 for value in module.hidden().values())
    assert spikes(module(x[1].double())).dtype == torch.float64
    assert all(value.device.type == "meta" for value in module.to("meta").hidden().values())


# ---- transformations ----


# torch warns of its own doings while it traces: it makes an autograd.Function, and looks at a state's gradient
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in RARE else []) for name in MODULES]
)
def test_compiles_without_a_graph_break(name):
    torch._dynamo.reset()
    module = MODULES[name](init_hidden=True)
    expected = rolled(module)
    utils.reset(module)
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    assert torch.equal(rolled(compiled), expected)
    utils.reset(module)
    assert torch.equal(rolled(compiled), expected)
    assert torch.equal(rolled(copy.deepcopy(module), x[:1]), rolled(module, x[:1]))


def test_functional_call():
    module = nn.Sequential(nn.Linear(4, 5), snn.RLeaky(0.9, all_to_all=False, init_hidden=True))
    for _ in range(2):  # before and after a forward pass
        utils.reset(module)
        expected = rolled(module)
        utils.reset(module)
        weights = {n: p.detach().clone() for n, p in module.named_parameters()}
        calls = [torch.func.functional_call(module, weights, (step,)) for step in x]
        assert torch.equal(torch.stack(calls), expected)
        utils.reset(module)
        louder = {**weights, "0.bias": weights["0.bias"] + 2}
        assert torch.func.functional_call(module, louder, (x[0],)).sum() > expected[0].sum()


def test_one_to_one_weights_are_one_parameter():
    lif = snn.RLeaky(0.9, all_to_all=False)
    assert [n for n, _ in lif.named_parameters()] == ["V"]
    assert {"V", "recurrent.V"} <= set(lif.state_dict())
    made = copy.deepcopy(lif).double()
    assert made.V is made.recurrent.V


def test_learned_beta_of_lapicque_has_a_gradient():
    for options in ({}, {"R": 2.0}, {"C": 2.0}):
        lif = snn.Lapicque(beta=0.8, learn_beta=True, threshold=0.2, **options)
        for _ in range(2):
            lif.reset_mem()
            rolled(lif).sum().backward()
        assert lif.beta.grad.abs() > 0


class Stateful(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(4, 5), snn.Leaky(0.9, init_hidden=True, learn_beta=True)
        self.alif = snn.module(sc.ALIF(beta=sc.learn(0.8)), init_hidden=True)

    def forward(self, x):
        return torch.stack([self.lif(self.fc(step) + self.alif(step[:, :1] + self.fc(step))) for step in x])


def rank_has_its_own_state():
    import torch.distributed as dist

    dist.init_process_group("gloo")
    torch.manual_seed(0)
    net = Stateful()
    torch.manual_seed(10 + dist.get_rank())
    x = torch.rand(6, 3, 4) * 2
    net(x)  # a forward pass before wrapping
    utils.reset(net)
    alone = Stateful()
    alone.load_state_dict(net.state_dict())
    alone(x)
    wrapped = nn.parallel.DistributedDataParallel(net)
    for _ in range(2):
        utils.reset(net)
        wrapped(x).sum().backward()
        assert torch.equal(net.lif.mem, alone.lif.mem)
        assert torch.equal(net.alif.adapt, alone.alif.adapt)
        assert net.alif.params.beta.grad.abs() > 0
    both = [torch.zeros_like(net.lif.beta.grad) for _ in range(2)]
    dist.all_gather(both, net.lif.beta.grad)
    assert torch.equal(*both)
    states = [torch.zeros_like(net.lif.mem) for _ in range(2)]
    dist.all_gather(states, net.lif.mem.detach())
    assert not torch.equal(*states)
    dist.barrier()


def two_processes(folder):
    """In the nursery, whose ranks end without an orderly end, which gloo's threads do not always survive."""
    import torch._dynamo  # noqa: F401  (which takes a second: the forks have what is imported here)

    done = finished(2, rank_has_its_own_state, folder, "states")
    assert done.by_rank() == [0, 0], done.said


@pytest.mark.skipif(os.name == "nt" or not torch.distributed.is_available(), reason="needs forks, torch.distributed")
def test_two_processes_have_two_states(tmp_path):
    nursery(__name__, "two_processes", tmp_path)
