"""snnTorch's training loops over batches: BPTT, truncated BPTT, and what snnTorch calls RTRL."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple, Union

import torch

from spikecore.api.core.sizes import is_whole, whole_number
from spikecore.arguments import checked, shown
from spikecore.engines.torch.nn.run import run
from spikecore.engines.torch.nn.state import get_state, neurons_of, reset

MEMBRANE = ("mse_membrane_loss", "ce_max_membrane_loss")  # what snnTorch's losses read is known by their names


@checked
def TBPTT(  # noqa: N802  (snnTorch's name)
    net: Any,
    dataloader: Any,
    optimizer: Any,
    criterion: Any,
    num_steps: Any = False,
    time_var: bool = True,
    time_first: bool = True,
    regularization: Union[bool, Callable[..., Any]] = False,
    device: Any = "cpu",
    K: Any = 1,  # noqa: N803
) -> Any:
    """Truncated backpropagation through time over one epoch: an update of the weights every K steps.

    For every batch the network starts at rest. After each K steps, and after what is left at the end, the loss of these
    steps is differentiated, the optimiser makes a step, and the states continue as constants.

    Args:
        net: an ``nn.Module`` that takes one time step; its neurons keep their state (``init_hidden=True``). It is moved
            to ``device`` and put in training mode.
        dataloader: batches (data, targets).
        optimizer: of ``torch.optim``.
        criterion: a loss of ``spikecore.functional`` (or snnTorch's), or any function of spikes (time, batch, classes)
            and targets; losses that read the membrane need ``output=True`` on the last neuron. It sees K steps, so the
            counts of ``mse_count_loss`` are those of K steps. Targets of ``mse_membrane_loss(time_var_targets=True)``
            are (time, batch, classes).
        num_steps: number of steps of inputs that are constant in time; False or None for others.
        time_var: whether the data have a time axis.
        time_first: whether it is the first, (time, batch, ...), else the second.
        regularization: a function of the spikes whose value is added, e.g. ``functional.l1_rate_sparsity()``; or False.
        device: a torch device.
        K: number of steps per update, at most ``num_steps``; False for all. Data that vary in time and have fewer are
            one part.

    Returns:
        the mean loss, a tensor (): over the updates of a batch as snnTorch counts them (a last, shorter part of r steps
        with weight 1 / r), then over batches.

    Raises:
        ValueError: options that contradict each other; no batch; no membrane for a loss that reads it.
        TypeError: ``net`` or ``criterion`` is something else.
    """
    count = _checked(net, criterion, num_steps, time_var, time_first, K)
    _check_tools(dataloader, optimizer, device)
    epoch = _Epoch(net.to(device), optimizer, criterion, regularization, device)
    with torch.inference_mode(False):  # turns gradients on as well, whatever the program around has turned off
        return epoch.run(dataloader, count, time_var, time_first, K)


@checked
def BPTT(  # noqa: N802
    net: Any,
    dataloader: Any,
    optimizer: Any,
    criterion: Any,
    num_steps: Any = False,
    time_var: bool = True,
    time_first: bool = True,
    regularization: Union[bool, Callable[..., Any]] = False,
    device: Any = "cpu",
) -> Any:
    """Backpropagation through time over one epoch: one update of the weights per batch, from the whole sequence.

    Args:
        net, dataloader, optimizer, criterion, num_steps, time_var, time_first, regularization, device: as in ``TBPTT``.

    Returns:
        the mean loss over batches, a tensor ().
    """
    options = (num_steps, time_var, time_first, regularization, device)
    return TBPTT(net, dataloader, optimizer, criterion, *options, K=False)


@checked
def RTRL(  # noqa: N802
    net: Any,
    dataloader: Any,
    optimizer: Any,
    criterion: Any,
    num_steps: Any = False,
    time_var: bool = True,
    time_first: bool = True,
    regularization: Union[bool, Callable[..., Any]] = False,
    device: Any = "cpu",
) -> Any:
    """Real-time recurrent learning as snnTorch names it: ``TBPTT`` with an update at every step, K = 1.

    No gradient crosses a step, so this is not the algorithm of that name; ``backprop.rtrl`` is.

    Args:
        net, dataloader, optimizer, criterion, num_steps, time_var, time_first, regularization, device: as in ``TBPTT``.

    Returns:
        the mean loss, as ``TBPTT`` does.
    """
    options = (num_steps, time_var, time_first, regularization, device)
    return TBPTT(net, dataloader, optimizer, criterion, *options, K=1)


class _Epoch(NamedTuple):
    """The values that stay the same over one epoch."""

    net: Any
    optimizer: Any
    criterion: Any
    regularization: Any
    device: Any

    def run(self, dataloader: Any, count: int, time_var: bool, time_first: bool, every: Any) -> Any:
        """The mean loss over the batches; arguments as in ``TBPTT``, ``count`` steps where inputs are constant."""
        total, batches = torch.zeros((), device=self.device), 0
        for data, targets in dataloader:
            data, targets = _placed(data, self.device), _placed(targets, self.device)
            x = data.transpose(0, 1) if time_var and not time_first else data
            steps = int(x.shape[0]) if time_var else count
            total = total + self.batch(x, targets, steps, every, time_var)
            batches += 1
        if not batches:
            raise ValueError("dataloader gave no batch: it is empty, or a generator that is used up")
        return total / batches

    def batch(self, x: Any, targets: Any, steps: int, every: Any, time_var: bool) -> Any:
        """Train on one batch; returns its loss, the parts weighted as snnTorch does."""
        every, total = (steps if every is False or every is None else min(every, steps)), 0.0
        by_step = getattr(self.criterion, "time_var_targets", False)
        self.net.train()
        reset(self.net)
        for start in range(0, steps, every):
            stop = min(start + every, steps)
            part, count = (x[start:stop], None) if time_var else (x, stop - start)
            # ``run`` is the loop over time; it leaves the states detached, which is where the gradient ends
            outputs = run(self.net, part, num_steps=count, state=get_state(self.net) if start else None)
            loss = self.loss(outputs, targets[start:stop] if by_step else targets)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            torch.clear_autocast_cache()  # inside of autocast it holds the weights as they were
            length = stop - start
            total = total + loss.detach() * (every / steps if length == every else 1.0 / length)
        return total

    def loss(self, outputs: Any, targets: Any) -> Any:
        """The loss of some steps: of the spikes, or of the membrane that the last neuron returns behind them."""
        spikes, *states = outputs if isinstance(outputs, tuple) else (outputs,)
        reads, name = getattr(self.criterion, "reads", None), getattr(self.criterion, "__name__", "")
        wants_membrane = reads == "membrane" or name in MEMBRANE
        if wants_membrane and not states:
            raise ValueError(
                f"{name or type(self.criterion).__name__} reads the membrane, but the network returns spikes alone: "
                "build its last neuron with output=True"
            )
        loss = self.criterion(states[-1] if wants_membrane else spikes, targets)
        return loss + self.regularization(spikes) if self.regularization else loss


def _placed(x: Any, device: Any) -> Any:
    x = torch.as_tensor(x).to(device)
    return x.clone() if x.is_inference() else x  # autograd takes no others


def _check_tools(dataloader: Any, optimizer: Any, device: Any) -> None:
    if not hasattr(dataloader, "__iter__"):
        raise TypeError(f"dataloader={shown(dataloader)} must give batches (data, targets)")
    if isinstance(optimizer, type) or not (hasattr(optimizer, "zero_grad") and hasattr(optimizer, "step")):
        raise TypeError(
            f"optimizer={shown(optimizer)} must be one of torch.optim, e.g. torch.optim.Adam(net.parameters())"
        )
    try:
        torch.empty(0, device=device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device={shown(device)}: {error}") from None


def _checked(net: Any, criterion: Any, num_steps: Any, time_var: bool, time_first: bool, every: Any) -> int:
    """Refuse options that contradict each other; returns the number of steps of a constant input, else 0."""
    if not isinstance(net, torch.nn.Module):
        raise TypeError(
            f"net={type(net).__name__} must be an nn.Module; a spikecore.Model trains by model.fit(...), with "
            "learning=sc.BPTT(update_every=K) for truncated BPTT"
        )
    if not any(True for _ in neurons_of(net)):
        raise TypeError("net has no neuron of spikecore.nn: convert snnTorch's imports, see docs/migrating.md")
    if not callable(criterion) or isinstance(criterion, type):
        raise TypeError(f"criterion={criterion!r} must be a function, e.g. spikecore.functional.ce_rate_loss()")
    given = num_steps not in (False, None)
    steps = whole_number("num_steps", num_steps, 1) if given else 0
    if given and time_var:
        raise ValueError("num_steps and time_var=True: such data bring their number of steps; leave out one of them")
    if not given and not time_var:
        raise ValueError("time_var=False: the data have no time axis, so num_steps must say how many steps there are")
    if not time_var and not time_first:
        raise ValueError("time_first=False and time_var=False: data without time axis have none to exchange")
    whole = every is False or every is None
    if not whole and not is_whole(every, 1):
        raise ValueError(f"K={every!r} must be an int >= 1, or False for all steps")
    if given and not whole and every > num_steps:
        raise ValueError(f"K={every!r} must be at most num_steps={num_steps}")
    return steps
