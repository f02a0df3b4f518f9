"""Monitors of ``spikecore.functional.probe``: what they record, whom they pick, what they keep alive; STDPLearner."""

from __future__ import annotations

import gc
import weakref

import pytest

torch = pytest.importorskip("torch", reason="the torch face needs torch")
from torch import nn  # noqa: E402

import spikecore.nn as snn  # noqa: E402
from spikecore import functional, utils  # noqa: E402
from spikecore.functional import probe, stdp_learner  # noqa: E402

x = 2 * torch.rand(5, 3, 4, generator=torch.Generator().manual_seed(0))


def network():
    torch.manual_seed(1)
    lif = {"init_hidden": True}
    inner = nn.Sequential(nn.Linear(6, 2), snn.Synaptic(0.8, 0.9, output=True, **lif))
    return nn.Sequential(nn.Linear(4, 6), snn.Leaky(0.9, **lif), inner)


def called(net):
    utils.reset(net)
    return [net(step) for step in x]


def test_outputs_by_class_and_by_name():
    net = network()
    by_class, by_name = probe.OutputMonitor(net, snn.Leaky), probe.OutputMonitor(net, ("1", "2"))
    out = called(net)
    assert by_class.monitored_layers == ["1"]
    assert by_name.monitored_layers == ["1", "2"]
    assert len(by_class) == len(x)
    assert len(by_name) == 2 * len(x)
    assert all(torch.equal(a, b) for a, b in zip(by_class["1"], by_name["1"]))
    assert by_name[0] is by_name["1"][0]  # in the order of the calls
    for record, returned in zip(by_name["2"], out):
        assert isinstance(record, tuple)
        assert all(torch.equal(a, b) for a, b in zip(record, returned))


def test_inputs_are_what_comes_before():
    net = network()
    before, behind = probe.InputMonitor(net, snn.Synaptic), probe.OutputMonitor(net, "2.0")
    called(net)
    assert before.monitored_layers == ["2.1"]
    assert all(torch.equal(a, b) for a, b in zip(before.records, behind.records))


def test_attributes_before_and_after_the_call():
    net = network()
    after = probe.AttributeMonitor("mem", False, net, snn.Leaky)
    before = probe.AttributeMonitor("mem", True, net, snn.Leaky)
    options = probe.AttributeMonitor("reset_mechanism", False, net, "1", lambda value: value.upper())
    called(net)
    assert before[0].numel() == 0  # at rest
    assert all(torch.equal(a, b) for a, b in zip(before["1"][1:], after["1"]))
    assert options.records == ["SUBTRACT"] * len(x)
    with probe.AttributeMonitor("men", False, net, snn.Leaky), pytest.raises(AttributeError, match="men"):
        net(x[0])


def test_gradients_in_the_order_of_the_backward_pass():
    net = network()
    into = probe.GradInputMonitor(net, snn.Synaptic)
    outof = probe.GradOutputMonitor(net, "2.0")
    kept = []
    handle = net[2][0].register_forward_hook(lambda module, inputs, y: y.retain_grad() or kept.append(y))
    torch.stack([mem for _, _, mem in called(net)]).pow(2).sum().backward()
    handle.remove()
    assert len(into) == len(outof) == len(x)
    for record, output in zip(outof["2.0"], reversed(kept)):
        assert torch.equal(record, output.grad)
        assert record.abs().sum() > 0
    for a, b in zip(into["2.1"], outof["2.0"]):
        assert torch.equal(a, b)


def test_switches_and_functions():
    net = network()
    monitor = probe.OutputMonitor(net, snn.Leaky, lambda spikes: spikes.sum().item())
    assert monitor.is_enable()
    monitor.disable()
    called(net)
    assert not monitor.records
    assert not monitor.is_enable()
    monitor.enable()
    called(net)
    assert len(monitor) == len(x)
    assert all(isinstance(record, float) for record in monitor.records)
    monitor.clear_recorded_data()
    assert monitor.records == monitor["1"] == []
    called(net)
    monitor.remove_hooks()
    called(net)
    assert len(monitor["1"]) == len(x)


def test_a_context_manager_lets_go_and_keeps_its_records():
    net = network()
    with probe.OutputMonitor(net, snn.Leaky) as monitor:
        called(net)
    called(net)
    assert len(monitor) == len(x)
    assert not net[1]._forward_hooks


def test_no_graph_is_kept_alive():
    net = network()
    monitors = [probe.OutputMonitor(net, (snn.Leaky, snn.Synaptic)), probe.InputMonitor(net, nn.Linear)]
    monitors.append(probe.AttributeMonitor("mem", False, net, snn.Leaky))
    leaf = x[0].clone().requires_grad_()  # a graph that begins here holds on to it
    held = weakref.ref(leaf)
    out = net(leaf)
    assert out[2].requires_grad
    tensors = [t for m in monitors for r in m.records for t in (r if isinstance(r, tuple) else (r,))]
    assert len(tensors) == 7
    assert not any(t.requires_grad for t in tensors)
    del leaf, out
    utils.reset(net)
    gc.collect()
    assert held() is None


def test_a_forgotten_monitor_lets_go():
    net = network()
    monitor = weakref.ref(probe.OutputMonitor(net, snn.Leaky))
    gc.collect()
    assert monitor() is None
    assert not net[1]._forward_hooks


def test_run_shows_every_step():
    net = network()
    with probe.OutputMonitor(net, "1") as loop:
        called(net)
    with probe.OutputMonitor(net, "1") as whole:
        snn.run(net, x)
    assert len(whole) == len(loop) == len(x)
    assert all(torch.equal(a, b) for a, b in zip(whole.records, loop.records))


def test_without_instance_the_network_itself():
    net = snn.Leaky(0.9)
    monitor = probe.OutputMonitor(net)
    net(x[0])
    assert monitor.monitored_layers == [""]
    assert len(monitor[""]) == 1


def test_bad_choices_are_refused():
    net = network()
    with pytest.raises(TypeError, match="must be a class, e.g. snn.Leaky"):
        probe.OutputMonitor(net, snn.Leaky(0.9))
    with pytest.raises(ValueError, match=r"'lif9' picks no layer of the network; its layers are \['0', '1', '2'"):
        probe.InputMonitor(net, "lif9")
    with pytest.raises(ValueError, match="picks no layer"):
        probe.GradInputMonitor(net, snn.RLeaky)
    with pytest.raises(KeyError, match="'lif9' is no number and none of the monitored layers '1'"):
        probe.OutputMonitor(net, snn.Leaky)["lif9"]


def test_monitors_are_where_snntorch_has_them():
    assert functional.OutputMonitor is probe.OutputMonitor
    assert functional.unpack_len1_tuple((1,)) == 1
    with pytest.raises(AttributeError, match="OutputMonitr"):
        functional.OutputMonitr  # noqa: B018


# ---- STDPLearner ----

SYNAPSES = {
    "linear": (lambda: nn.Linear(4, 3, bias=False), (4,)),
    "conv1d": (lambda: nn.Conv1d(2, 3, 3, stride=2, padding=1, bias=False), (2, 6)),
    "conv2d": (lambda: nn.Conv2d(2, 3, 3, bias=False), (2, 5, 4)),
}


def spikes_before(shape, steps=6, batch=2):
    return (torch.rand(steps, batch, *shape, generator=torch.Generator().manual_seed(3)) < 0.5).float()


def learned(name, kind, pre, neuron, **options):
    torch.manual_seed(0)
    net = nn.Sequential(SYNAPSES[name][0](), neuron)
    learner = kind(net[0], net[1], 5.0, 8.0, f_pre=abs, f_post=lambda w: w * w)
    with torch.no_grad():
        for step in pre:
            net(step)
    return net, learner, learner.step(**options)


@pytest.mark.parametrize("name", SYNAPSES)
def test_stdp_learner_sums_the_steps(name):
    pre = spikes_before(SYNAPSES[name][1])
    neuron = snn.Leaky(0.9, threshold=0.2, init_hidden=True)
    net, learner, change = learned(name, stdp_learner.STDPLearner, pre, neuron, on_grad=False)
    with torch.no_grad():
        utils.reset(net)
        post = torch.stack([net(step) for step in pre])
    rule = stdp_learner.STDP(learner.rule.layer, 5.0, 8.0, abs, lambda w: w * w)
    total, traces = rule.run(net[0].weight.detach(), pre, post)
    assert post.sum() > 0
    assert change.abs().sum() > 0
    torch.testing.assert_close(change, total)
    torch.testing.assert_close(learner.trace_pre, traces.pre)
    assert net[0].weight.grad is None


@pytest.mark.parametrize("name", SYNAPSES)
def test_stdp_learner_equals_snntorchs(name):
    theirs = pytest.importorskip("snntorch.functional.stdp_learner", reason="compared with snnTorch's")
    pre = spikes_before(SYNAPSES[name][1])
    made = [
        learned(name, kind, pre, snn.Leaky(0.9, threshold=0.2, init_hidden=True), on_grad=False, scale=0.5)[2]
        for kind in (stdp_learner.STDPLearner, theirs.STDPLearner)
    ]
    torch.testing.assert_close(*made)


def test_stdp_learner_writes_gradients_and_goes_on():
    pre = spikes_before((4,))
    options = {"threshold": 0.2, "init_hidden": True, "output": True}  # spikes and membrane: the spikes count
    net, learner, nothing = learned("linear", stdp_learner.STDPLearner, pre, snn.Leaky(0.9, **options))
    _, _, change = learned("linear", stdp_learner.STDPLearner, pre, snn.Leaky(0.9, **options), on_grad=False)
    assert nothing is None
    assert torch.equal(net[0].weight.grad, -change)
    with pytest.raises(ValueError, match="0 calls of the synapse and 0 of the neuron"):
        learner.step()
    net(pre[0])
    before = learner.trace_pre.clone()
    learner.step(scale=2.0)
    torch.testing.assert_close(learner.trace_pre, 0.8 * before + pre[0])
    assert not torch.equal(net[0].weight.grad, -change)
    learner.disable()
    net(pre[0])
    learner.enable()
    learner.reset()
    assert learner.trace_pre is None
    assert not learner.in_spike_monitor.records


def test_stdp_learner_refuses_what_it_does_not_know():
    with pytest.raises(TypeError, match=r"must be an nn.Linear, nn.Conv1d or nn.Conv2d"):
        stdp_learner.STDPLearner(nn.ReLU(), snn.Leaky(0.9), 2.0, 2.0)
    with pytest.raises(ValueError, match="padding_mode='circular'"):
        stdp_learner.STDPLearner(nn.Conv1d(2, 2, 3, padding_mode="circular"), snn.Leaky(0.9), 2.0, 2.0)


def test_mstdpet_takes_one_sample_or_a_batch():
    theirs = pytest.importorskip("snntorch.functional.stdp_learner", reason="compared with snnTorch's")
    torch.manual_seed(0)
    fc, pre, post = nn.Linear(4, 3), spikes_before((4,))[0], spikes_before((3,))[0]
    whole = stdp_learner.mstdpet_linear_single_step(fc, pre, post, None, None, 2.0, 3.0, 4.0)
    for i in range(2):
        one = stdp_learner.mstdpet_linear_single_step(fc, pre[i], post[i], None, None, 2.0, 3.0, 4.0)
        expected = theirs.mstdpet_linear_single_step(fc, pre[i], post[i], None, None, 2.0, 3.0, 4.0)
        for a, b, c in zip(one, expected, whole):
            torch.testing.assert_close(a, b)
            torch.testing.assert_close(a, c[i])
