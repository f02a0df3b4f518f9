"""STDP for torch networks: monitors record the spikes while the network runs, and the weights change afterwards."""

from __future__ import annotations

from typing import Any, Optional

from spikecore.api.core.tree import State
from spikecore.api.layers.linear import Linear
from spikecore.api.layers.spatial import Conv1d, Conv2d
from spikecore.api.learning.plasticity import STDP, Weighing, proportional
from spikecore.arguments import checked
from spikecore.engines.torch import torch
from spikecore.functional.probe import InputMonitor, OutputMonitor, detached

nn = torch.nn


class STDPLearner(nn.Module):
    """Learns the weight of one synapse from its presynaptic and postsynaptic spikes by STDP.

        learner = STDPLearner(net[0], net[1], tau_pre=20.0, tau_post=20.0)
        for x in steps:
            net(x)
        learner.step()    # writes the change to weight.grad for an optimizer; learner.step(on_grad=False) returns it

    The equations are those of ``spikecore.functional.stdp_learner.STDP``.

    Args:
        synapse: ``nn.Linear``, ``nn.Conv1d`` or ``nn.Conv2d`` (zero padding); its inputs are the presynaptic spikes.
        sn: the postsynaptic neuron; if it returns a tuple, the first entry is its spikes.
        tau_pre, tau_post: time constants of the traces in steps, >= 1; the decay is 1 - 1 / tau.
        f_pre, f_post: functions of the weight that scale depression and potentiation. Default: proportional.

    Attributes:
        trace_pre, trace_post: the traces after the last step; None before the first one.

    Raises:
        TypeError: the synapse is another module.
        ValueError: the padding mode is not zeros, or a time constant is below 1.
    """

    @checked
    def __init__(
        self, synapse: nn.Module, sn: nn.Module, tau_pre: float, tau_post: float,
        f_pre: Weighing = proportional, f_post: Weighing = proportional,
    ) -> None:  # fmt: skip
        super().__init__()
        self.tau_pre, self.tau_post, self.f_pre, self.f_post = tau_pre, tau_post, f_pre, f_post
        self.synapse = synapse
        self.rule = STDP(_layer(synapse), tau_pre, tau_post, f_pre, f_post)
        self.in_spike_monitor = InputMonitor(synapse, type(synapse))
        self.out_spike_monitor = OutputMonitor(sn, type(sn), _spikes)
        self.trace_pre: Any = None
        self.trace_post: Any = None

    def reset(self) -> None:
        """Clear the traces and the recorded spikes."""
        self.trace_pre = self.trace_post = None
        for monitor in (self.in_spike_monitor, self.out_spike_monitor):
            monitor.clear_recorded_data()

    def disable(self) -> None:
        """Stop recording spikes until ``enable`` is called."""
        self.in_spike_monitor.disable()
        self.out_spike_monitor.disable()

    def enable(self) -> None:
        """Record spikes from now on."""
        self.in_spike_monitor.enable()
        self.out_spike_monitor.enable()

    def step(self, on_grad: bool = True, scale: float = 1.0) -> Optional[Any]:
        """Compute the change of the weight from the spikes recorded since the last call, and clear them.

        The traces continue from call to call.

        Args:
            on_grad: True subtracts the change from ``synapse.weight.grad``, so that SGD with learning rate 1 adds it to
                the weight; False returns it.
            scale: factor of the change.

        Returns:
            The change of the weight; None with ``on_grad``.

        Raises:
            ValueError: nothing was recorded, or synapse and neuron were not called equally often.
        """
        inputs, outputs = list(self.in_spike_monitor.records), list(self.out_spike_monitor.records)
        if not inputs or len(inputs) != len(outputs):
            raise ValueError(
                f"STDPLearner: {len(inputs)} calls of the synapse and {len(outputs)} of the neuron were recorded; "
                "run the network first, and call both modules once per step"
            )
        synapse: Any = self.synapse
        weight, change = synapse.weight.detach(), torch.zeros_like(synapse.weight)
        for pre, post in zip(inputs, outputs):
            state = None if self.trace_pre is None else State(pre=self.trace_pre, post=self.trace_post)
            part, state = self.rule.step(weight, state, pre, post)
            self.trace_pre, self.trace_post, change = state.pre, state.post, change + scale * part
        self.in_spike_monitor.clear_recorded_data()
        self.out_spike_monitor.clear_recorded_data()
        if not on_grad:
            return change
        grad = synapse.weight.grad
        synapse.weight.grad = -change if grad is None else grad - change
        return None


def _spikes(output: Any) -> Any:
    return detached(output[0] if isinstance(output, tuple) else output)


def _layer(synapse: Any) -> Any:
    """The layer of ``spikecore.api`` that does the same as a torch module."""
    if isinstance(synapse, nn.Linear):
        return Linear(synapse.in_features, synapse.out_features)
    kind = Conv1d if isinstance(synapse, nn.Conv1d) else Conv2d if isinstance(synapse, nn.Conv2d) else None
    if kind is None:
        raise TypeError(f"STDPLearner: synapse={synapse!r} must be an nn.Linear, nn.Conv1d or nn.Conv2d")
    if synapse.padding_mode != "zeros":
        raise ValueError(f"STDPLearner: padding_mode={synapse.padding_mode!r} of the synapse must be 'zeros'")
    names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
    return kind(*(getattr(synapse, name) for name in names))
