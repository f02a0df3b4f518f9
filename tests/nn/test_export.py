"""Spiking modules that torch writes down: a state is an input and an output of the graph, or nothing is exported."""

from __future__ import annotations

import warnings

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
if not hasattr(torch, "export"):
    pytest.skip("this torch has no torch.export", allow_module_level=True)

from torch import nn  # noqa: E402

import spikecore as sc  # noqa: E402
import spikecore.nn as snn  # noqa: E402
from spikecore import utils  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in (
        ".*torch.jit",  # is deprecated
        "Converting a tensor to a Python",  # which shapes are, while torch.jit traces
        "The tensor attribute.* assigned during export",  # states within a sequence
        "While compiling, we found certain side effects",  # likewise
        ".*should not be instantiated",  # torch's own, by Dynamo
    )
]
STEPS = 5
LOST = "would be lost"


def net(**options):
    torch.manual_seed(0)
    lif = snn.Leaky(beta=0.9, threshold=0.3, init_hidden=True, **options)
    return nn.Sequential(nn.Linear(6, 5), lif)


def inputs():
    return torch.rand(STEPS, 3, 6, generator=torch.Generator().manual_seed(1))


def expected():
    spikes = snn.run(net(), inputs())
    assert 0 < spikes.mean() < 1
    return spikes


class Loop(nn.Module):
    """A sequence: the loop begins at rest."""

    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, x):
        utils.reset(self.net)
        return torch.stack([self.net(row) for row in x.unbind(0)])


class Run(Loop):
    def forward(self, x):
        return snn.run(self.net, x)


class Step(nn.Module):
    """A step that is given its state."""

    def __init__(self):
        super().__init__()
        self.linear = net()[0]
        self.lif = snn.Leaky(beta=0.9, threshold=0.3)

    def forward(self, x, mem):
        return self.lif(self.linear(x), mem)


class Handed(Loop):
    """A step that puts the state into modules and takes it out."""

    def forward(self, x, mem):
        utils.set_state(self.net, {"1.mem": mem})
        return self.net(x), utils.get_state(self.net)["1.mem"]


def exported(module, arguments):
    return torch.export.export(module, arguments).module()


def strictly(module, arguments):
    torch._dynamo.reset()
    return torch.export.export(module, arguments, strict=True).module()


def traced(module, arguments):
    return torch.jit.trace(module, arguments)


def onnx(module, arguments):
    """By torch's older way, which traces; the newer one calls torch.export."""
    import io

    ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra 'export')")
    pytest.importorskip("onnx", reason="onnx is not installed (extra 'export')")
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, arguments, file, dynamo=False)
    session = ort.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])

    def call(*tensors):
        names = [given.name for given in session.get_inputs()]
        found = session.run(None, {name: tensor.numpy() for name, tensor in zip(names, tensors)})
        return torch.from_numpy(found[0]) if len(found) == 1 else [torch.from_numpy(part) for part in found]

    return call


WAYS = [exported, traced, onnx]


STRICTLY = pytest.param(strictly, marks=pytest.mark.slow)


@pytest.mark.parametrize("way", [*WAYS, STRICTLY])
def test_a_hidden_state_is_refused_and_nothing_changes(way):
    module = net()
    module(inputs()[0])
    before = module[1].mem
    with pytest.raises(Exception, match=LOST):
        way(module, (inputs()[0],))
    assert module[1].mem is before


class Half(nn.Module):
    """A step that puts one of two states into the module."""

    def __init__(self):
        super().__init__()
        self.lif = snn.Synaptic(alpha=0.5, beta=0.9, init_hidden=True)

    def forward(self, x, *states):
        for name, state in zip(("mem", "syn"), states):
            setattr(self.lif, name, state)
        return self.lif(x), self.lif.mem, self.lif.syn


@pytest.mark.parametrize("way", WAYS)
def test_every_state_must_be_handed_in(way):
    with pytest.raises(Exception, match=LOST):
        way(Half(), (inputs()[0], torch.zeros(3, 6)))
    states = torch.rand(2, 3, 6, generator=torch.Generator().manual_seed(2)).unbind(0)
    found = way(Half(), (inputs()[0], torch.zeros(3, 6), torch.zeros(3, 6)))(inputs()[1], *states)
    for part, expected in zip(found, Half()(inputs()[1], *states)):
        torch.testing.assert_close(part, expected)


@pytest.mark.parametrize(
    "lif",
    [
        snn.Synaptic(alpha=0.5, beta=0.9, init_hidden=True),
        snn.DeltaLeaky(beta=0.9, init_hidden=True),
        snn.RLeaky(beta=0.9, all_to_all=False, init_hidden=True),
        snn.SLSTM(6, 5, init_hidden=True),
        snn.Leaky(beta=0.9, spike_grad=lambda u: (u > 0).float(), init_hidden=True),
        snn.Leaky(beta=0.9),
        snn.module(sc.ALIF(), init_hidden=True),
    ],
    ids=lambda lif: type(lif).__name__,
)
def test_every_module_that_goes_on_from_its_own_state_is_refused(lif):
    with pytest.raises(RuntimeError, match=LOST):
        exported(lif, (inputs()[0],))


def test_a_pair_of_no_states_is_no_state():
    lif = snn.DeltaLeaky(beta=0.9)
    with pytest.raises(RuntimeError, match=LOST):
        exported(lif, (inputs()[0], (None, None)))
    mem = torch.zeros(3, 6)
    spk, _ = exported(lif, (inputs()[0], (mem, None)))(inputs()[0], (mem, None))
    assert torch.equal(spk, lif(inputs()[0], (mem, None))[0])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("module", [Loop, Run])
def test_a_sequence_is_written_down_whole(way, module):
    call = way(module(), (inputs(),))
    for _ in range(2):
        assert torch.equal(call(inputs()), expected())


@pytest.mark.slow
def test_a_loop_is_written_down_by_dynamo():
    assert torch.equal(strictly(Loop(), (inputs(),))(inputs()), expected())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("module", [Step, Handed])
def test_a_step_is_given_its_state(way, module):
    mem, spikes = torch.zeros(3, 5), []
    call = way(module(), (inputs()[0], mem))
    for row in inputs():
        spk, mem = call(row, mem)
        spikes.append(spk)
    assert torch.equal(torch.stack(spikes), expected())


@pytest.mark.parametrize("way", [exported, traced, STRICTLY])
def test_a_reset_in_an_earlier_export_is_none_in_the_next(way):
    module = Loop()
    way(module, (inputs(),))
    with pytest.raises(Exception, match=LOST):
        way(module.net, (inputs()[0],))


def test_scripts_are_refused():
    with pytest.raises(RuntimeError, match=r"torch.jit.script cannot read a spiking module. Use torch.export"):
        torch.jit.script(nn.Sequential(nn.Sequential(snn.Leaky(beta=0.9))))
