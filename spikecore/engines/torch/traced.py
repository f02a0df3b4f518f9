"""Normalisation and its neighbours through ``torch.compile``: one function, compiled for the shapes that come.

Neurons have kernels of their own, and what draws random numbers is left out, so draws stay the same. Each
function is compiled for one shape, and nothing in it varies from step to step: it is never compiled anew.
"""

from __future__ import annotations

import sys
import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import torch

from spikecore.api.core.layer import Layer, Params, Pass, Result, Tree, layer_name
from spikecore.api.core.lowering import Stage, Trees, run_child
from spikecore.api.core.messages import warn
from spikecore.api.core.tree import flatten
from spikecore.api.layers.containers import Chain
from spikecore.api.layers.linear import Flatten, GradedSpikes, Linear
from spikecore.api.layers.normalisation import RunningNorm
from spikecore.api.layers.sample_normalisation import SampleNorm
from spikecore.api.layers.spatial import Spatial

MOST = 16  # shapes for which layers are compiled, each of which takes seconds
LEAST = (2, 4)  # of torch
BACKEND = "inductor"


def check(device: str) -> None:
    """Refuse to compile where torch cannot.

    Raises:
        NotImplementedError: says what is missing.
    """
    remedy = "or leave compile out"
    if tuple(int(n) for n in torch.__version__.split(".")[:2]) < LEAST:
        raise NotImplementedError(f"compile=True needs torch 2.4, and this is {torch.__version__}: update it, {remedy}")
    from torch._dynamo import is_dynamo_supported

    if not is_dynamo_supported():
        version = ".".join(map(str, sys.version_info[:2]))
        raise NotImplementedError(
            f"compile=True: torch {torch.__version__} does not compile on Python {version}, {sys.platform}: use "
            f"others, {remedy}"
        )
    if torch.device(device).type == "cpu":
        from torch._inductor.cpp_builder import get_cpp_compiler
        from torch._inductor.exc import InvalidCxxCompiler

        try:
            get_cpp_compiler()
        except (InvalidCxxCompiler, RuntimeError) as error:
            raise NotImplementedError(
                "compile=True needs a C++ compiler, and torch finds none: install g++, clang or, on Windows, MSVC, "
                f"name one in $CXX, {remedy}"
            ) from error


def is_traced(layer: Layer, batch_on_ranks: bool) -> bool:
    """Whether ``torch.compile`` takes a layer. ``batch_on_ranks``: the samples of a batch are on several ranks."""
    if not type(layer).__module__.startswith("spikecore.api.layers."):  # a subclass may draw, or keep things
        return False
    if is_norm(layer):
        return not (batch_on_ranks and layer.mixes_samples)
    return isinstance(layer, (Linear, Flatten, GradedSpikes, Spatial))


def is_norm(layer: Layer) -> bool:
    """Whether a layer normalises: between a product and a neuron it is what compiling makes faster."""
    return isinstance(layer, (RunningNorm, SampleNorm))


class Functions:
    """The compiled functions of one network, by layers and shape."""

    def __init__(self) -> None:
        self.made: Dict[Any, Callable[..., Any]] = {}
        self.full = False

    def get(self, key: Any, make: Callable[[], Callable[..., Any]]) -> Optional[Callable[..., Any]]:
        """The function of a key; None, with a warning, if there are too many already."""
        if key in self.made:
            return self.made[key]
        if len(self.made) >= MOST:
            if not self.full:
                warn(
                    f"compile=True: inputs have more shapes than the {MOST} for which layers are compiled, so others "
                    "run without torch.compile: use batches of one size and sequences of one length"
                )
            self.full = True
            return None
        function = make()
        # torch keeps what it has compiled with a function's code, and gives up after some versions of one code
        function.__code__ = function.__code__.replace(co_name=f"layers_{len(self.made)}")  # type: ignore[attr-defined]
        self.made[key] = torch.compile(function, fullgraph=True, dynamic=False, backend=BACKEND)
        return self.made[key]


@dataclass(frozen=True, eq=False)
class Traced(Stage):
    """Neighbouring layers without state, in training as one compiled function."""

    layers: Tuple[Tuple[str, Layer], ...]
    stages: Tuple[Stage, ...]  # the same layers, as they run else
    functions: Functions

    @property
    def covers(self) -> Tuple[str, ...]:
        return tuple(name for name, _ in self.layers)

    def run(self, run: Pass, params: Params, buffers: Tree, state: Optional[Tree], x: Any) -> Result:
        function, new = None, False
        if run.train and torch.is_grad_enabled():
            key = run.path, self.covers, x.shape, x.stride(), x.dtype, x.requires_grad
            new = key not in self.functions.made
            function = self.functions.get(key, lambda: _function(self.layers, Pass(run.engine, train=True)))
        if function is None:
            return self._plain(run, params, buffers, state, x)
        own = ({name: flatten(tree.get(name, Tree())) for name in self.covers} for tree in (params, buffers))
        try:
            with warnings.catch_warnings() if new else nullcontext():
                if new:  # the compiler looks for gradients of activations, of which torch warns
                    warnings.filterwarnings("ignore", r"The \.grad attribute of a Tensor that is not a leaf")
                y, moved = function(*own, x)
        except (torch._dynamo.exc.TorchDynamoException, torch._inductor.exc.InductorError) as error:
            kinds = ", ".join(f"{name} ({layer_name(layer)})" for name, layer in self.layers)
            said = str(error).strip().splitlines()[0]
            raise RuntimeError(
                f"compile=True: torch cannot compile layers {kinds}: {said}. Leave compile out"
            ) from error
        return Result(y, Tree({name: Tree(tree) for name, tree in moved.items()}))

    def _plain(self, run: Pass, params: Params, buffers: Tree, state: Optional[Tree], x: Any) -> Result:
        trees = Trees()
        for stage in self.stages:
            x = trees.update(stage.run(run, params, buffers, state, x))
        return trees.result(x)

    def explain(self, engine: Any) -> str:
        return "in training compiled by torch.compile"


def _function(layers: Sequence[Tuple[str, Layer]], run: Pass) -> Callable[..., Any]:
    """Layers as a function of their parameters and buffers by layer, and of x."""

    def through(params: Dict[str, Any], buffers: Dict[str, Any], x: Any) -> Tuple[Any, Dict[str, Any]]:
        trees = Trees()
        held = Params({name: Params(fields) for name, fields in params.items()})
        moving = Tree({name: Tree(fields) for name, fields in buffers.items()})
        for name, layer in layers:
            x = trees.add(name, run_child(run, name, layer, held, moving, None, x))
        return x, {name: dict(tree.items()) for name, tree in trees.buffers.items()}

    return through


def traced(stages: Sequence[Stage], chain: Chain, functions: Functions, batch_on_ranks: bool) -> Tuple[Stage, ...]:
    """Stages in which neighbouring layers without state are compiled, where a normalisation is among them. Without one
    there is nothing to gain: products and kernels stay what they are.
    """
    children, found = dict(chain), []  # type: ignore[var-annotated]

    def taken(stage: Stage) -> bool:
        return all(is_traced(children[name], batch_on_ranks) for name in stage.covers)

    for takes, group in groupby(stages, taken):
        some: List[Stage] = list(group)
        layers = tuple((name, children[name]) for stage in some for name in stage.covers)
        compiles = takes and any(is_norm(layer) for _, layer in layers)
        found += [Traced(layers, tuple(some), functions)] if compiles else some
    return tuple(found)
