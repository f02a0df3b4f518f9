"""The command ``warm``: compiles the kernels of common neurons before they are needed."""

from __future__ import annotations

import importlib.util
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

import spikecore as sc
from spikecore.api.core.layer import Key
from spikecore.api.core.tree import flatten, map_leaves
from spikecore.arguments import unknown
from spikecore.cli.messages import ConfigError
from spikecore.kernels.base import Wanted
from spikecore.kernels.readout import BIAS, WEIGHT
from spikecore.kernels.ready import recipes, recipes_of_maps
from spikecore.kernels.runtime import build, store
from spikecore.kernels.select import recipes_of
from spikecore.kernels.sizes import has_numba, no_numba

SIZE = 5  # neurons: any number would do, kernels do not depend on it
OUTS = 10  # rows of the Linear behind a neuron, as in a classifier of digits
READOUT = ("leaky", "synaptic")  # the neurons whose spikes go to it
NORMALISED = "leaky"  # the neuron behind a batch normalisation
OTHERS = {"products": recipes, "maps": recipes_of_maps}  # what multiplies spikes, pools and normalises: of no neuron
RESETS = ("subtract", "zero")
SURROGATES: Dict[str, Any] = {"atan": sc.surrogate.atan(), "fast_sigmoid": sc.surrogate.fast_sigmoid()}
NEURONS: Dict[str, Tuple[str, Dict[str, Any]]] = {  # the class in ``sc`` and ``snn``, and what it needs
    "leaky": ("Leaky", {"beta": 0.9}),
    "synaptic": ("Synaptic", {"alpha": 0.9, "beta": 0.8}),
    "alpha": ("Alpha", {"alpha": 0.9, "beta": 0.8}),
    "lapicque": ("Lapicque", {"beta": 0.9}),
    "rleaky": ("RLeaky", {"beta": 0.9, "linear_features": SIZE}),
    "rsynaptic": ("RSynaptic", {"alpha": 0.9, "beta": 0.8, "linear_features": SIZE}),
}


class KernelToCompile(NamedTuple):
    """One kernel to be compiled.

    Args:
        label: what it is for.
        recipe: what it is compiled from.
    """

    label: str
    recipe: build.KernelRecipe

    @property
    def ready(self) -> bool:
        """Whether the compiled kernel is on disk."""
        return build.at_hand(self.recipe) is not None


class _NeuronInUse(NamedTuple):
    """A neuron as ``Model`` or ``spikecore.nn`` runs it: all that its kernels depend on."""

    label: str
    stepper: Any
    params: Dict[str, Any]
    records: Tuple[Tuple[str, ...], ...]  # the states that are returned, in each of the ways it is called
    learned: Tuple[str, ...]  # the parameters that are always learned: those of a connection
    common: bool  # whether it has the first reset


def pieces(names: Sequence[str]) -> List[KernelToCompile]:
    """The kernels of neurons, each once.

    Raises:
        ConfigError: a name is none of ``NEURONS`` and ``OTHERS``, or Numba is not installed.
    """
    for name in names:
        if name not in (*NEURONS, *OTHERS):
            raise ConfigError([f"{name}: {unknown('neuron', name, [*NEURONS, *OTHERS])}"])
    if not has_numba():
        raise ConfigError([f"warm: {no_numba()}"])
    found: Dict[build.KernelRecipe, KernelToCompile] = {}
    for name in (name for name in names or OTHERS if name in OTHERS):
        for label, recipe in OTHERS[name]("float32"):
            found[recipe] = KernelToCompile(f"{name}, {label}: {recipe.name}", recipe)
    for name in (name for name in names or NEURONS if name in NEURONS):
        for reset in RESETS:
            for surrogate in SURROGATES:
                for run in _runs(name, reset, surrogate):
                    for piece in _pieces_of(run, name):
                        found.setdefault(piece.recipe, piece)
    return list(found.values())


def _runs(name: str, reset: str, surrogate: str) -> Iterator[_NeuronInUse]:
    """The runs of a neuron: in a ``Model``, and as a module of ``spikecore.nn`` if torch is installed."""
    label, recurrent = f"{name}, reset {reset}, {surrogate}", name in ("rleaky", "rsynaptic")
    how, common = {"reset_mechanism": reset}, reset == RESETS[0]
    kind, values = NEURONS[name]
    layer = getattr(sc, kind)(surrogate=SURROGATES[surrogate], **values, **how)
    host = sc.get_engine("numpy", fused=False)
    params = flatten(layer.prepare(host, map_leaves(host.asarray, layer.init(Key((0,)), (SIZE,)).params)))
    spelled = getattr(layer, "recurrent", layer)
    learned = tuple(n for n in params if recurrent and n.startswith("connection."))
    yield _NeuronInUse(f"{label}, Model", spelled, params, ((), tuple(spelled.state)), learned, common)
    if importlib.util.find_spec("torch") is not None:
        import spikecore.nn as snn

        module = getattr(snn, kind)(**values, spike_grad=SURROGATES[surrogate], **how)
        params = flatten(module.prepared())
        yield _NeuronInUse(f"{label}, nn", module._neuron, params, ((), module.returned_states()), learned, common)


def _pieces_of(run: _NeuronInUse, name: str) -> Iterator[KernelToCompile]:
    """The kernels of a run: forwards, and backwards with a gradient by an input at every step, or by a constant one."""
    for record in run.records:
        for constant in (False, True) if run.common and not record else (False,):
            wanted = Wanted(True, run.learned)
            text = f"{run.label}{', states returned' if record else ''}{', constant input' if constant else ''}"
            yield from _named(text, recipes_of(run.stepper, run.params, record, wanted, constant))
    if name in READOUT and run.common:
        for constant in (False, True):
            wanted = Wanted(True, (*run.learned, WEIGHT, BIAS))
            text = f"{run.label}, {OUTS} outputs{', constant input' if constant else ''}"
            yield from _named(text, recipes_of(run.stepper, run.params, (), wanted, constant, (OUTS, SIZE)))
    if name == NORMALISED and run.common and importlib.util.find_spec("torch") is not None:
        from spikecore.engines.torch.normalised import LINE, Scaled

        params = {**{f"neuron.{n}": p for n, p in run.params.items()}, **dict.fromkeys(LINE, np.ones(SIZE, "float32"))}
        for constant in (False, True):
            text = f"{run.label}, behind a batch normalisation{', constant input' if constant else ''}"
            yield from _named(text, recipes_of(Scaled(run.stepper), params, (), Wanted(True, LINE), constant))


def _named(label: str, recipes: Sequence[build.KernelRecipe]) -> Iterator[KernelToCompile]:
    for recipe in recipes:
        yield KernelToCompile(f"{label}: {recipe.name}", recipe)


def warm(names: Sequence[str], say: Callable[[str], Any] = print) -> int:
    """Compile the kernels of neurons that are not on disk yet.

    Args:
        names: of ``NEURONS`` and ``OTHERS``; none are all.
        say: called with a line for each kernel, and one in the end.

    Returns:
        the number of kernels that were compiled.

    Raises:
        ConfigError: see ``pieces``; or there is no place on disk.
    """
    everything, compiled = pieces(names), 0
    if not store.can_keep():
        raise ConfigError([f"warm: cannot write to {_place()}: name another folder in SPIKECORE_CACHE"])
    for number, piece in enumerate(everything, 1):
        begun, ready = time.perf_counter(), piece.ready
        if not ready:
            build.make(piece.recipe, quiet=True)
            compiled += 1
        took = "ready" if ready else f"compiled in {time.perf_counter() - begun:.1f} s"
        say(f"{number:4}/{len(everything)}  {piece.label}: {took}")
    say(f"{len(everything)} kernels are ready in {_place()}; {compiled} of them are new")
    return compiled


def listing(names: Sequence[str]) -> List[str]:
    """A line for each kernel of neurons, and one in the end."""
    everything = [(piece, piece.ready) for piece in pieces(names)]
    lines = [f"{'ready' if ready else 'absent':8}{piece.label}" for piece, ready in everything]
    count = sum(ready for _, ready in everything)
    return [*lines, f"{count} of {len(lines)} kernels are ready in {_place()}"]


def _place() -> Optional[Any]:
    return next(iter(store.places()), None)
