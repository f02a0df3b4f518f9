"""The first call of ``run`` on a network compares the network at once with the loop over time.

A look at ``forward`` cannot foresee all that a program may do. So three steps of the call's own input are computed in
both ways, and outputs, last states and gradients must agree. Two choices make a few steps of two samples enough:

- They begin in *drawn* states, in which every layer of neurons fires in some entries and not in others. From rest the
  last layers would be silent, and most faults with them.
- A difference counts only if it is there again in double precision, from other states in which the same layers fire.
  Both ways round differently, so in single precision a potential near the threshold may fire in one way alone, which is
  no fault. Double precision goes without kernels: a fault of theirs is a difference from the neuron's step that is
  there from nearly all of some states.

Parameters and buffers are replaced by copies meanwhile, and generators of random numbers put back. So hooks on tensors
hear nothing, and running means and dropout continue as if there had been no check.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from typing import Any, Callable, Dict, FrozenSet, List, Tuple

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from spikecore.api.core.parameters import values_of
from spikecore.engines.torch.modes import hooked, transformed
from spikecore.engines.torch.nn.apart import Wide, apart_of, wide_of
from spikecore.engines.torch.nn.over_time import StepByStep
from spikecore.engines.torch.nn.state import get_state, neurons_of
from spikecore.engines.torch.nn.two_ways import at_once, by_steps
from spikecore.engines.torch.nn.unchanged import first_line
from spikecore.kernels.sizes import taken_as_larger

STEPS, SAMPLES = 3, 2
# Potentials are drawn around the first number, the second one away at most, in thresholds. The first pair shows most
# faults; a layer that does not fire gets the next one: near the threshold, for a neuron that resets what lies above it
# before it adds its input, and further away for layers that are driven harder: three times as far as a run from rest
# has come where that is more.
POTENTIALS = ((0.0, 3.0), (1.0, 0.3), (0.0, 100.0), (0.0, 1e4))
FAR = 2  # the first of the last
AGAIN = 8  # draws at most of the states in which a difference must be there again
DRAWS = 5  # of states from which kernels and the neuron's step are compared, where there is doubt
SOME = 0.1, 0.9  # part of a layer's entries that fire, if drawn states are to show its faults
BY_THRESHOLD = ("mem", "syn", "syn_exc", "syn_inh")  # states that are drawn so; others between 0 and 1
DIFFERS = (
    "run: {} goes step by step, which is right but slower. Its first call was compared with the loop over time, and {}"
)


class Differs(StepByStep):
    """The two ways gave different results: ``forward`` does something that ``run`` does not recognise yet."""


class Unchecked(Exception):
    """A network could not be compared; the message says why."""


def check(net: Any, modules: Dict[str, nn.Module], data: Any, steps: int, fused: bool) -> str:
    """Compare a network at once with the loop over time; returns what was compared, in words.

    Args:
        net, modules: the network, and its modules by name.
        data: (time, batch, ...), or a time axis of 1 for an input that is constant.
        steps: number of steps of the call.
        fused: whether its neurons may run in kernels.

    Raises:
        Unchecked: there can be no comparison, or not every layer of neurons fires from drawn states.
        Differs: the two ways differ.
        StepByStep: why the network does not run at once.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pair, shapes = _begun(net, modules, data.detach(), fused)
        pair.differentiable = data.requires_grad
        try:
            with taken_as_larger(steps * data[:1].numel() / (STEPS * pair.data[:1].numel())):
                return pair.compared(shapes)
        except (Differs, Unchecked):
            raise
        except Exception as error:  # noqa: BLE001  (a forward may refuse drawn states, or memory be short)
            raise Unchecked(first_line(error)) from None


def cannot_check(modules: Dict[str, nn.Module], data: Any) -> str:
    """The reason, in words, not to check a network in this call; "" if it can be checked."""
    if transformed():
        return "torch.func or forward mode transforms this call"
    if hooked():
        return "somebody listens to what this call saves for the way back, as torch.utils.checkpoint does"
    if data.is_cuda and torch.cuda.is_current_stream_capturing():
        return "a CUDA graph is captured"
    if any(getattr(getattr(module, "_neuron", None), "parallel", False) for module in modules.values()):
        return "a neuron that computes all steps at once knows no loop"
    if not data.numel():
        return "the input is empty"
    if _ranks() > 1 and any(map(_communicates, modules.values())):
        return "its modules wait for those of other processes, which may not check"
    return ""


def _begun(net: Any, modules: Dict[str, nn.Module], data: Any, fused: bool) -> Tuple[_Pair, Dict[str, Any]]:
    """The samples to compare: two, or the whole batch where ``forward`` needs it; and their states, from rest.

    Raises:
        Unchecked: ``forward`` waits for other processes.
        StepByStep: why the network does not run at once.
    """
    if len(data) > 1:
        data = data[[0, len(data) // 2, -1]]
    few = data[:, :SAMPLES] if data.dim() > 2 else data
    if few.shape != data.shape:
        pair = _Pair(net, modules, few, fused)
        with contextlib.suppress(StepByStep):
            return pair, pair.look(partial=True)
    pair = _Pair(net, modules, data, fused)
    return pair, pair.look()


class _Pair:
    """Both ways of one network on one input.

    Args:
        net, modules, data, fused: as for ``check``, with the steps and samples that are compared.
    """

    differentiable = False  # whether the input of the call is

    def __init__(self, net: Any, modules: Dict[str, nn.Module], data: Any, fused: bool) -> None:
        self.net, self.modules, self.data, self.fused = net, modules, data, fused
        self.neurons: Dict[str, Any] = dict(neurons_of(net))

    def look(self, partial: bool = False) -> Dict[str, Any]:
        """The last states of a run at once from rest; of a part of a batch, ``forward`` must not ask for the size.

        Several processes look alike, but how often they draw states depends on their data: so ``forward`` must not wait
        for the others.
        """
        heard = _Collectives() if _ranks() > 1 else None
        try:
            with apart_of(self.modules, wide=False), heard or contextlib.nullcontext():
                at_once(self.net, self.modules, self.data, STEPS, None, fused=self.fused, partial=partial)
                return get_state(self.net)
        finally:
            if heard and heard.any:
                raise Unchecked("forward waits for other processes, which may not check")

    def compared(self, like: Dict[str, Any]) -> str:
        """Compare both ways, see ``check``; ``like``: states with the shapes of those to draw."""
        tries = dict.fromkeys(self.neurons, 0)
        for _ in POTENTIALS:
            start = self.drawn(like, tries)
            wanted, idle = self.loop(start)
            if not idle:
                break
            for name, everywhere in idle.items():
                tries[name] = min(max(tries[name] + 1, FAR if everywhere else 0), len(POTENTIALS) - 1)
        samples = self.data.shape[1] if self.data.dim() > 2 else 1
        if _differences(wanted, self.run(start)):
            for wide in (True, False):
                try:
                    start, wanted, idle = self.again(like, tries, idle, wide)
                    found = _differences(wanted, self.run(start, wide), strict=wide)
                except Exception:  # noqa: BLE001  (a forward with tensors of its own may know no double precision)
                    if not wide:
                        raise
                    continue
                if found:
                    raise Differs(self.named(found, wanted, start, wide))
                break
            starts = (self.drawn(like, tries, 1 + AGAIN + draw) for draw in range(DRAWS if self.fused else 0))
            faults = [_differences(self.run(s, kernels=False), self.run(s), strict=False) for s in starts]
            if sum(map(bool, faults)) > DRAWS - 2:
                raise Differs(f"the {max(faults)[0]} differs: its kernels do not give what the neuron's step gives")
        if idle:
            raise Unchecked(f"layer {next(iter(idle))!r} fires nowhere, or everywhere, from drawn states")
        return f"equal in {STEPS} steps of {samples} sample{'s' * (samples > 1)}, from drawn states"

    def drawn(self, like: Dict[str, Any], tries: Dict[str, int], turn: int = 0) -> Dict[str, Any]:
        """States like these, which a run from rest has left; for the same tries, a layer's are the same."""
        seeds = {name: (turn * len(tries) + i) * len(POTENTIALS) + tries[name] for i, name in enumerate(tries)}
        generators = {name: torch.Generator().manual_seed(seed) for name, seed in seeds.items()}
        states = {}
        for name, value in like.items():
            path, _, state = name.rpartition(".")
            made = torch.rand(value.shape, generator=generators[path])
            if state in BY_THRESHOLD:
                middle, most = (number * _threshold(self.neurons[path]) for number in POTENTIALS[tries[path]])
                reached = 3.0 * float(value.abs().max()) if tries[path] >= FAR else 0.0
                made = middle + max(most, reached) * (2.0 * made - 1.0)
            states[name] = made.to(value) if value.is_floating_point() else value
        return states

    def again(
        self, like: Dict[str, Any], tries: Dict[str, int], idle: Dict[str, bool], wide: bool
    ) -> Tuple[Dict[str, Any], Dict[str, Any], Dict[str, bool]]:
        """Other states, the loop's results from there, and its idle layers: those that were idle before, if possible.

        Where fewer layers fire, a difference may be gone though it is none of rounding.
        """
        for turn in range(1, 1 + AGAIN):
            start = self.drawn(like, tries, turn)
            wanted, now = self.loop(start, wide)
            if now.keys() <= idle.keys():
                break
        return start, wanted, now

    def loop(self, start: Dict[str, Any], wide: bool = False) -> Tuple[Dict[str, Any], Dict[str, bool]]:
        """The loop's results by name, and the layers that fire in no step in some entries and not in others: whether
        they fire nearly everywhere.
        """
        called = tuple(
            n for n, m in self.neurons.items() if any(start[f"{n}.{s}".lstrip(".")].numel() for s in m.states)
        )
        spikes: Dict[str, Any] = {}

        def way(data: Any, states: Any) -> Any:
            outputs, recorded = by_steps(self.net, self.modules, data, STEPS, states, called)
            spikes.update({name: made["spk"] for name, made in recorded.items()})
            return outputs

        results = self.results(way, start, wide)
        idle = {}
        for name, spk in spikes.items():
            if not _spiking(self.neurons[name]):
                continue
            fires = (spk.detach() != 0).flatten(1).double().mean(1)
            share = float(fires.mean())
            if not _some([*fires.tolist(), share], self.neurons[name]):
                idle[name] = share > SOME[0]
        return results, idle

    def run(
        self, start: Dict[str, Any], wide: bool = False, apart: FrozenSet[str] = frozenset(), kernels: bool = True
    ) -> Dict[str, Any]:
        """The results of the network at once, by name; in double precision without kernels, which may not be there."""

        def way(data: Any, states: Any) -> Any:
            fused = self.fused and kernels and not wide
            out, _, over = at_once(self.net, self.modules, data, STEPS, states, fused=fused, apart=apart)
            self.mapped = over.mapped
            return out

        return self.results(way, start, wide)

    def results(self, way: Callable[[Any, Any], Any], start: Dict[str, Any], wide: bool) -> Dict[str, Any]:
        """Outputs, last states, buffers and gradients of one way, by name."""
        with apart_of(self.modules, wide), Wide() if wide else contextlib.nullcontext():
            leaves = {name: p for name, p in self.net.named_parameters() if p.requires_grad}
            data = wide_of(self.data) if wide else self.data
            states = {name: wide_of(value) if wide else value for name, value in start.items()}
            if torch.is_grad_enabled() and (leaves or self.differentiable):
                states = {n: v.clone().requires_grad_(v.is_floating_point()) for n, v in states.items()}
                leaves.update({f"state {name}": value for name, value in states.items() if value.requires_grad})
                if self.differentiable:
                    data = leaves["input"] = data.clone().requires_grad_()
            made = [y for y in tree_flatten(way(data, states))[0] if isinstance(y, torch.Tensor)]
            results = {f"output {i}": y.detach() for i, y in enumerate(made)}
            results.update({f"last state {name}": value for name, value in get_state(self.net).items()})
            results.update({f"buffer {name}": value for name, value in self.net.named_buffers()})
            weighed = [_weighed(y) for y in made if y.requires_grad and y.is_floating_point()]
            if weighed:
                gradients = torch.autograd.grad(sum(weighed), list(leaves.values()), allow_unused=True)
                results.update({f"gradient by {name}": g for name, g in zip(leaves, gradients) if g is not None})
            return results

    def named(self, found: List[str], wanted: Dict[str, Any], start: Dict[str, Any], wide: bool) -> str:
        """The values that differ, and the function of torch that they come from, if one does it."""
        by_params = [name for name in found if name.startswith("gradient by") and " state " not in name]
        what = found[0] if not found[0].startswith("gradient") else (by_params or found)[-1]
        for function in sorted(self.mapped):
            with contextlib.suppress(Exception):
                if not _differences(wanted, self.run(start, wide, frozenset([function])), strict=wide):
                    return f"the {what} differs: torch's {function!r} for all steps at once is not the same"
        return f"the {what} differs"


class _Collectives(TorchDispatchMode):
    """Notes whether operators of ``torch.distributed`` are called."""

    any = False

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.any |= operator.namespace.startswith(("c10d", "_c10d"))
        return operator(*args, **(kwargs or {}))


def _ranks() -> int:
    """The number of processes that train together."""
    together = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if together else 1


def _communicates(module: nn.Module) -> bool:
    """Whether a module waits for that of other processes when it is called."""
    kind = type(module)
    return kind is nn.SyncBatchNorm or kind.__module__.startswith(("torch.nn.parallel.", "torch.distributed."))


def _threshold(neuron: Any) -> float:
    """The mean threshold of a neuron, as a positive number: the scale on which states are drawn."""
    value = getattr(neuron, "threshold", None)
    if value is None:
        core = getattr(getattr(neuron, "_neuron", None), "core", None)
        value = getattr(core[0], "threshold", None) if core else None
        value = 1.0 if value is None else values_of(value)
    return float(torch.as_tensor(value).detach().double().abs().mean()) or 1.0


def _spiking(module: Any) -> bool:
    """Whether a module with a state gives spikes: delays and integrators do not."""
    return not hasattr(module, "_neuron") or bool(getattr(module._neuron, "spiking", False))


def _some(share: List[float], neuron: Any) -> bool:
    """Whether some entries of a layer fire and others do not; ``share``: the fraction in each step and in all."""
    least = 0.0 if getattr(neuron, "inhibition", False) else SOME[0]
    return any(least < part <= SOME[1] for part in share)


def _weighed(y: Any) -> Any:
    return (y * torch.randn(y.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(y)).sum()


def _differences(wanted: Dict[str, Any], found: Dict[str, Any], strict: bool = True) -> List[str]:
    """The names of results that differ by more than rounding does: as compared with their largest value, or with a part
    of the largest gradient of all, for some gradients are zero except for rounding.
    """
    gradients = [float(g.abs().max()) for name, g in wanted.items() if name.startswith("gradient") and g.numel()]
    largest = max((g for g in gradients if math.isfinite(g)), default=0.0)
    part = 1e-3 if strict else 1.0
    return [
        name
        for name in {**wanted, **found}
        if not _same(wanted.get(name), found.get(name), (largest if name.startswith("gradient") else 1.0) * part)
    ]


def _same(a: Any, b: Any, least: float) -> bool:
    if a is None or b is None:  # no gradient is one of zero
        return not bool((b if a is None else a).any())
    if (a.shape, a.dtype) != (b.shape, b.dtype):
        return False
    if not a.numel() or not (a.is_floating_point() or a.is_complex()):
        return bool(torch.equal(a, b))
    error, equal = (a - b).abs().double(), (a == b) | (a.isnan() & b.isnan())
    tolerance = torch.finfo(a.dtype).eps ** 0.5
    scale = a.abs().double().nan_to_num(0.0, 0.0, 0.0).max()
    return bool((equal | (error <= tolerance * scale.clamp(min=least))).all())
