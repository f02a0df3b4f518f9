"""``SynapticDelay``: ``spikecore.Delay`` by snnTorch's name, called step by step or with a whole sequence."""

from __future__ import annotations

from typing import Any, Dict, Optional

import torch
from torch import nn

from spikecore.api.core.layer import Params, Pass, Tree
from spikecore.api.core.parameters import learn
from spikecore.api.layers.delays import Delay
from spikecore.api.layers.taps import TapKernel
from spikecore.arguments import Numbers, Size, checked
from spikecore.engines.torch.nn.engine import in_dtype_of, working
from spikecore.engines.torch.nn.module import NeuronModule


class SynapticDelay(NeuronModule):
    """Delays each channel by a number of time steps, which can be learned; equations: ``spikecore.Delay``.

        cur = delay(fc(x))               x (batch, features), one step; the module keeps the inputs before it
        cur = delay(fc(x))               x (time, batch, features) or (time, features), with step_mode=False

    ``reset_delay()`` or ``utils.reset(net)`` begins a new sequence.

    Args:
        max_delay: the longest possible delay in time steps, an int >= 1.
        delay: first delay, in [0, max_delay]; a number, or a tensor of one number per channel. Default 0.
        channels: number of channels C, each with a delay of its own; None, the default: as many as ``delay`` has.
        learn_delay: delay as a Parameter, else a buffer.
        kernel: "linear" (the default) or "gaussian" taps.
        sigma: width of Gaussian taps, in steps, > 0; default 1.
        step_mode: True, the default: a call is one time step; False: a whole sequence from rest.

    Shapes: ``delay`` () or (C,); state ``past`` (batch, max_delay, C), the last inputs, the oldest first.

    Raises:
        ValueError: an argument is out of range; an input of another shape.
    """

    delay: torch.Tensor

    @checked
    def __init__(
        self,
        max_delay: Size,
        delay: Numbers = 0.0,
        channels: Optional[Size] = None,
        learn_delay: bool = False,
        kernel: TapKernel = "linear",
        sigma: float = 1.0,
        step_mode: bool = True,
    ) -> None:
        first = torch.as_tensor(delay, dtype=torch.get_default_dtype()).detach().clone()
        if channels is not None and not first.ndim:
            first = first.repeat(channels)
        if first.ndim > 1 or (channels is not None and first.shape != (channels,)):
            raise ValueError(
                f"SynapticDelay: delay of shape {tuple(first.shape)} must be one number, or one for each of "
                f"channels={channels!r}"
            )
        if not sigma > 0.0:
            raise ValueError(f"SynapticDelay: sigma={sigma!r} must be > 0")
        self._width: Dict[str, Any] = {"sigma": sigma} if kernel == "gaussian" else {}
        try:
            layer = Delay(learn(first.numpy()), max_delay, kernel, **self._width)
        except ValueError as error:
            raise ValueError(f"Synaptic{error}") from None
        super().__init__(layer, Params(), init_hidden=True)
        self.max_delay, self.channels, self.kernel, self.sigma = max_delay, channels, kernel, sigma
        self.learn_delay, self.step_mode = learn_delay, step_mode
        if learn_delay:
            self.delay = nn.Parameter(first)
        else:
            self.register_buffer("delay", first)

    def reset_delay(self) -> Any:
        """Forget the inputs before: the next call is the first step of a sequence."""
        return self.reset_mem()

    def forward(self, input_: Any, *states: Any) -> Any:
        count = self.delay.numel() if self.delay.ndim else input_.shape[-1]
        if input_.ndim not in ((2,) if self.step_mode else (2, 3)) or input_.shape[-1] != count:
            wanted = "(batch, channels)" if self.step_mode else "(time, batch, channels) or (time, channels)"
            raise ValueError(
                f"SynapticDelay: input of shape {tuple(input_.shape)}, expected {wanted} with {count} channels; "
                f"step_mode={self.step_mode}"
            )
        if self.step_mode:
            return super().forward(input_, *states)
        x = working(input_ if input_.ndim == 3 else input_.unsqueeze(1))
        engine, _ = self._ready(x)
        y = self._layer.run(Pass(engine), self._tensors(engine), Tree(), None, x).outputs
        return in_dtype_of(input_, y.reshape(input_.shape))

    def described(self) -> Any:
        if self.learn_delay:
            return self._layer
        return Delay(self.delay.detach().cpu().numpy().copy(), self.max_delay, self.kernel, **self._width)

    def learned(self) -> Dict[str, torch.Tensor]:
        return {"delay": self.delay} if self.learn_delay else {}

    def _tensors(self, engine: Any, host: bool = False) -> Params:
        return Params(delay=self.delay.to(getattr(torch, engine.dtype)))
