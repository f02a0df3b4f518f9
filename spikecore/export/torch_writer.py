"""``sc.export(model, "net.pt2", to="torch")``: a step with explicit states, by ``torch.export`` or AOTInductor."""

from __future__ import annotations

import io
import itertools
import json
import os
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List, Mapping, Tuple

import numpy as np
import torch
from torch import nn

from spikecore import Model
from spikecore.api.core.graph import Op, Value, run
from spikecore.api.core.sizes import whole_number
from spikecore.engines.torch.namespace import words
from spikecore.export.errors import ExportError
from spikecore.export.front import Draft
from spikecore.export.recording import step_graph
from spikecore.export.step_graph import StepGraph
from spikecore.export.weight_names import fingerprint, weight_names

# a spike has no derivative here; "constant" is a word of step graphs, and an output must not be a weight itself
STEP_WORDS = {"spike": lambda u, surrogate: u > 0, "constant": torch.clone}
WORDS = SimpleNamespace(**{**vars(words("cpu", "float32")), **STEP_WORDS})
FACTS = "spikecore.json"  # the file within a .pt2 that says what the states are


def files(model: Model, stem: str, *, batch_size: int = 1, aot_inductor: bool = False) -> Draft:
    """A model as a ``.pt2`` file.

    Args:
        model: a model with weights.
        stem: name of the file without its ending.
        batch_size: samples of a step, >= 1; default 1.
        aot_inductor: compile the step to machine code for this kind of machine; needs a C++ compiler. Default False: a
            program, as ``torch.export.load`` reads it.
    """
    whole_number("export: batch_size", batch_size, 1)
    if not isinstance(aot_inductor, bool):
        raise TypeError(f"export: aot_inductor={aot_inductor!r} must be True or False")
    if not hasattr(torch, "export"):
        raise ExportError(
            f"torch {torch.__version__} has no torch.export: install torch 2.3 or newer, or export to ONNX"
        )
    graph = step_graph(model, batch_size)
    # what the caller has set for the work around, a default device or autocast, is not to be in the file
    with torch.no_grad(), torch.device("cpu"), torch.autocast("cpu", enabled=False):
        module = StepModule(graph, weight_names(model, graph.dtype))
        module(*module.at_rest())  # torch.export does not say in which layer torch refuses a word
        program = torch.export.export(module, module.at_rest(), strict=False)
    facts = {state.name: list(graph.shapes[state.after]) for state in graph.states}
    content = _compiled(program) if aot_inductor else _saved(program, facts)
    return Draft({f"{stem}.pt2": content}, _notes(graph, aot_inductor))


def _saved(program: Any, facts: Dict[str, List[int]]) -> bytes:
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={FACTS: json.dumps({"states": facts})})
    return file.getvalue()


def _compiled(program: Any) -> bytes:
    """The machine code, in the archive that ``torch._inductor.aoti_load_package`` reads."""
    compilers = [name for name in (os.environ.get("CXX"), "g++", "clang++", "cl") if name]
    package = getattr(torch._inductor, "aoti_compile_and_package", None)
    if package is None:
        raise ExportError(
            f"torch {torch.__version__} cannot pack what AOTInductor compiles: install torch 2.6 or newer"
        )
    if not any(shutil.which(name) for name in compilers):
        raise ExportError("aot_inductor=True needs a C++ compiler, and there is no g++ or clang++: install one")
    with tempfile.TemporaryDirectory() as folder:
        return Path(package(program, package_path=os.path.join(folder, "net.pt2"))).read_bytes()


def _notes(graph: StepGraph, compiled: bool) -> Tuple[str, ...]:
    load = "torch._inductor.aoti_load_package(path)" if compiled else "torch.export.load(path).module()"
    names = ", ".join(f"{state.name} {list(graph.shapes[state.after])}" for state in graph.states) or "none"
    shape = list(graph.shapes[graph.x])
    return (f"step = {load}; y, states = step(x, states); float32, x {shape}", f"states, a dict by name: {names}")


class StepModule(nn.Module):
    """One time step as a module: ``y, states = step(x, states)``, where ``states`` is a dict of tensors by name.

    Args:
        graph: the step.
        names: names of weights by their ``fingerprint``; other constants are named after the layer that uses them.
    """

    def __init__(self, graph: StepGraph, names: Mapping[Any, str]) -> None:
        super().__init__()
        self.graph, self.weights = graph, nn.Module()
        kept: Dict[Any, Value] = {}
        self.buffer_names: Dict[Value, str] = {}
        self.ops: List[Op] = []  # the step's, whose arrays are values: the buffers
        for op in graph.ops:
            for array in (a for a in op.args if isinstance(a, np.ndarray)):
                key = fingerprint(array)
                if key not in kept:
                    kept[key] = Value(len(graph.graph.types) + len(kept))
                    self.buffer_names[kept[key]] = self._keep(names.get(key, f"{op.layer}.{op.word}_constant"), array)
            args = (kept[fingerprint(a)] if isinstance(a, np.ndarray) else a for a in op.args)
            self.ops.append(op._replace(args=tuple(args)))

    def _keep(self, name: str, array: np.ndarray) -> str:
        """Keep an array as a buffer with a dotted name; returns the name that it got."""
        *path, last = filter(None, name.split("."))
        module, places = self.weights, []
        for part in path:
            is_taken = hasattr(module, part) and part not in module._modules  # a name of nn.Module's, e.g. "training"
            places.append(f"{part}_" if is_taken else part)
            if places[-1] not in module._modules:
                module.add_module(places[-1], nn.Module())
            module = module.get_submodule(places[-1])
        free = itertools.chain([last], (f"{last}_{count}" for count in itertools.count(2)))
        places.append(next(name for name in free if not hasattr(module, name)))
        module.register_buffer(places[-1], torch.tensor(array))
        return ".".join(places)

    def at_rest(self) -> Tuple[torch.Tensor, Dict[str, torch.Tensor]]:
        """An input of zeros and the states at rest."""
        graph, like = self.graph, getattr(torch, self.graph.dtype)
        rest = {
            state.name: torch.tensor(np.broadcast_to(state.rest, graph.shapes[state.after]), dtype=like)
            for state in graph.states
        }
        return torch.zeros(graph.shapes[graph.x], dtype=like), rest

    def forward(self, x: torch.Tensor, states: Dict[str, torch.Tensor]) -> Tuple[torch.Tensor, Dict[str, torch.Tensor]]:
        """The output of a step, and the states after it."""
        graph = self.graph
        values = {graph.x: x.detach()}  # a spike has no derivative here, and none is better than a wrong one
        values.update((state.before, states[state.name].detach()) for state in graph.states)
        values.update((value, self.weights.get_buffer(name)) for value, name in self.buffer_names.items())
        for op in self.ops:
            try:
                run(WORDS, (op,), values)
            except (TypeError, ValueError, RuntimeError) as error:
                raise ExportError(
                    f"{op.where}: torch does not compute {op.word} with these arguments, as NumPy does: {error}. "
                    "Write the step so that it runs on the torch engine, too"
                ) from error
            values[op.out] = values[op.out].to(getattr(torch, graph.dtypes[op.out]))
        after = ((state, values[state.after].to(getattr(torch, graph.dtypes[state.before]))) for state in graph.states)
        return values[graph.output], {state.name: value for state, value in after}
