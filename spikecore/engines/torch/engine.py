"""The torch engine: torch tensors on any device of torch, differentiated by autograd."""

from __future__ import annotations

import copy
from contextlib import ExitStack
from types import MappingProxyType
from typing import Any, Callable, ContextManager, Literal, Optional, Tuple

import numpy as np
import torch

from spikecore.api.core.engine import Engine, Executor
from spikecore.api.core.layer import not_by_steps
from spikecore.api.core.random import CHUNK, arrange, fill, plan, stream
from spikecore.api.core.sizes import check_steps, is_whole
from spikecore.api.core.tree import Params, State, leaves, map_leaves, rebuild
from spikecore.api.core.variants import remade
from spikecore.api.layers.containers import Container, stages_of
from spikecore.api.layers.linear import Linear
from spikecore.api.layers.quantized import Quantized
from spikecore.api.layers.transposed import KERNELS
from spikecore.api.neurons.stepper import Stepper
from spikecore.api.surrogate.truncated import checked_least, truncating
from spikecore.arguments import real
from spikecore.engines.stages import Scans
from spikecore.engines.torch.devices import check_device, has_doubles, on_device
from spikecore.engines.torch.extras import EXTRAS
from spikecore.engines.torch.fusing import ScanOptions, fused_scan, may_multiply_in_kernel, may_run_under_dynamo
from spikecore.engines.torch.layout import FEW_BYTES
from spikecore.engines.torch.loop import loop
from spikecore.engines.torch.modes import casting, compiling, in_functorch, read_by_dynamo, unwrapped_values
from spikecore.engines.torch.namespace import words
from spikecore.engines.torch.pieces import joined, split
from spikecore.engines.torch.precision import FULL, autocast, check_precision, narrow
from spikecore.engines.torch.ranks import can_divide

DTYPES = ("float32", "float64")
HALF = (torch.float16, torch.bfloat16)
Precision = Literal["float32", "bf16", "fp16"]


class TorchEngine(Scans, Engine):
    """Torch tensors, differentiated by autograd.

    Args:
        device: a torch device, e.g. "cpu", "cuda", "cuda:1", "mps", "xpu", "hpu".
        dtype: "float32" or "float64".
        fused: whether compiled kernels run the time steps. "auto": for long runs. True: always, and a run that has no
            kernel raises. False: never.
        checkpoint_every: number of steps, >= 1. Where the loop runs, it stores what the backward pass needs at every so
            many steps only and computes the steps between again; None stores everything. Kernels always compute again.
        sparse_backward: a surrogate's derivative of at most this magnitude counts as zero, finite and >= 0; default
            0.0: gradients are exact. See docs/sparse.md.
        precision: in what products and convolutions compute, in training and in evaluation. "float32", the default: in
            ``dtype``. "bf16" or "fp16": in half precision; states, neurons, losses, weights and the optimiser stay in
            float32. "fp16" needs an accelerator, and scales the loss. See docs/memory.md.
        checkpoint_layers: number of layers, >= 1. In training each group of about so many layers keeps its input alone,
            and the backward pass computes the group again; None stores everything.

    Raises:
        ValueError: an option other than these, a name that is no device, a device that the installed torch cannot use,
            or a precision that does not go with device or dtype.
    """

    name = "torch"
    extras = EXTRAS
    # defaults for subclasses whose constructor has no such options
    sparse_backward: float = 0.0
    precision: str = FULL
    checkpoint_layers: Optional[int] = None
    runs_modules: bool = True  # whether layers may be modules of torch
    gathers: bool = False  # whether weights are divided among ranks, so that each layer gathers its own
    batch_on_ranks: bool = False  # whether the samples of a batch are on several ranks
    beside: Any = None  # an engine of the same types on the CPU, once one was needed
    functions: Any = None  # where ``torch.compile`` is asked for: the compiled functions of a network

    def __init__(
        self,
        device: str = "cpu",
        dtype: str = "float32",
        fused: Any = "auto",
        checkpoint_every: Optional[int] = None,
        sparse_backward: float = 0.0,
        precision: Precision = "float32",
        checkpoint_layers: Optional[int] = None,
    ) -> None:
        if fused not in ("auto", True, False):
            raise ValueError(f"fused={fused!r} must be 'auto', True or False")
        if dtype not in DTYPES:
            raise ValueError(f"dtype={dtype!r} must be one of {', '.join(DTYPES)}")
        check_device(device)
        check_precision(precision, dtype, device)
        if not has_doubles(device):
            self.lacks = MappingProxyType({**self.lacks, "float64": f"{device} computes in float32"})
            if dtype == "float64":
                raise ValueError(f"dtype='float64': {device} computes in float32 alone; use dtype='float32' there")
        for name, number, unit in (
            ("checkpoint_every", checkpoint_every, "steps"),
            ("checkpoint_layers", checkpoint_layers, "layers"),
        ):
            if number is not None and not is_whole(number, 1):
                raise ValueError(f"{name}={number!r} must be a number of {unit}, at least 1, or None")
        self.device, self.dtype, self.fused, self.checkpoint_every = str(device), dtype, fused, checkpoint_every
        self.sparse_backward = checked_least(sparse_backward)
        self.truncation = repr(self.sparse_backward)  # a text is a constant to Dynamo, a number may vary
        self.precision, self.checkpoint_layers = precision, checkpoint_layers
        self.xp = words(self.device, dtype, lean=True, look=fused is not False and precision == FULL)
        self.xp.spike = truncating(self.xp.spike, self.sparse_backward)
        if precision != FULL:
            self.halves = narrow(self.xp, precision, back=False)
            self.xp = narrow(self.xp, precision)
            self.full = remade(self, precision=FULL)  # runs the steps of neurons, which stay in float32

    def __repr__(self) -> str:
        truncation = f", sparse_backward={self.sparse_backward!r}" if self.sparse_backward else ""
        precision = f", precision={self.precision!r}" if self.precision != FULL else ""
        return f"TorchEngine(device={self.device!r}, dtype={self.dtype!r}{truncation}{precision})"

    # ---- host and engine ----

    def asarray(self, x: Any, dtype: Optional[str] = None) -> Any:
        wanted = getattr(torch, dtype or self.dtype)
        if not isinstance(x, torch.Tensor):
            x = real(np.asarray(x))
            if x.dtype.itemsize > 8 or not x.dtype.isnative:  # long doubles, and what comes from other machines
                x = x.astype(x.dtype.newbyteorder("=") if x.dtype.itemsize <= 8 else "float64")
            if not x.flags.writeable or min(x.strides, default=0) < 0:  # torch cannot share such memory
                x = x.copy()
            return on_device(x, self.device, wanted)
        if not compiling() and x.is_inference() and not torch.is_inference_mode_enabled():
            x = x.clone()  # autograd refuses tensors of inference mode
        if x.dtype == wanted and x.is_cpu and self.device == "cpu":
            return x
        if x.is_floating_point() and wanted.is_floating_point and x.dtype != wanted:
            its_dtype = str(x.dtype).rpartition(".")[2]
            other = f", or use get_engine('torch', dtype={its_dtype!r})" if its_dtype in DTYPES else ""
            raise TypeError(f"a {x.dtype} tensor came to an engine of {wanted}: convert it with x.to({wanted}){other}")
        return on_device(real(x), self.device, wanted)

    def to_numpy(self, x: Any) -> Any:
        if not isinstance(x, torch.Tensor):
            return np.asarray(x)
        # inside torch.func a tensor is wrapped, and its values are those of the innermost one
        return unwrapped_values(x) if in_functorch() else x.numpy(force=True)

    def isolated(self) -> ContextManager[Any]:
        contexts, kind = ExitStack(), torch.device(self.device).type
        if not torch.is_grad_enabled():  # under no_grad, or in inference mode, whose tensors have no gradients
            contexts.enter_context(torch.inference_mode(False))  # ends either and enables gradients
        if casting(kind):  # autocast would choose the types, and use cached weights from before an update
            contexts.enter_context(torch.autocast(kind, enabled=False))
        return contexts

    # ---- randomness ----

    def uniform(self, key: Any, shape: Tuple[int, ...], *, sample_axis: Optional[int] = None, first: int = 0) -> Any:
        layout = plan(tuple(shape), sample_axis, first)
        out = torch.empty(layout.samples * layout.blocks, 4, dtype=getattr(torch, self.dtype), device=self.device)
        if self.device == "cpu":  # NumPy's unsigned integers are twice as fast as torch's signed ones
            fill(out.numpy(), layout, stream(key), lambda a, b: np.arange(a, b, dtype=np.uint64), CHUNK)
        else:
            from spikecore.engines.torch.draws import draw

            draw(out, layout, stream(key), self.fused is not False)
        return arrange(self.xp, layout, out)

    # ---- spikes, time, gradients ----

    # A long sequence goes through layers without state a few steps at a time, so that what lies between them stays in
    # the cache: see ``Scans``.
    def in_pieces(self, function: Callable[[Any], Any], x: Any, elements: int) -> Any:
        steps = max(1, FEW_BYTES // (elements * x.element_size()))
        if steps >= x.shape[0] or not x.is_cpu or compiling():
            return function(x)
        # with time and batch on one axis, maps have four axes, and torch keeps their memory order, as do gradients
        batch, flat = x.shape[1], x.flatten(0, 1)
        parts = [function(part.unflatten(0, (-1, batch))) for part in split(flat, steps * batch)]
        return joined([part.flatten(0, 1) for part in parts]).unflatten(0, (-1, batch))

    def scan(
        self,
        stepper: Any,
        params: Params,
        state: State,
        inputs: Any,
        *,
        steps: Optional[int] = None,
        record: Tuple[str, ...] = (),
        window: Optional[int] = None,
        repeating: bool = False,
    ) -> Tuple[Any, State, State]:
        options = ScanOptions(inputs.shape[0] if steps is None else steps, record, window, repeating)
        if self.precision != FULL:  # a neuron's step is in float32, products in it included
            return self.full.scan(stepper, params, state, inputs, **options._asdict())
        check_steps(options.steps, inputs.shape[0])
        if inputs.dtype in HALF:  # states and arithmetic in float32, spikes in the input's dtype
            state = map_leaves(torch.Tensor.float, state)
            # kernels for CUDA read half precision themselves
            if inputs.is_cuda and self.fused is not False and not read_by_dynamo():
                results = fused_scan(self, stepper, params, state, inputs, options)
                if results is not None:
                    return results
            outputs, *rest = self.scan(stepper, params, state, inputs.float(), **options._asdict())
            return outputs.to(inputs.dtype), *rest
        if self.fused is not False and read_by_dynamo():
            if may_run_under_dynamo(stepper):
                from spikecore.engines.torch import compiling as dynamo

                return dynamo.scan(self, stepper, params, state, inputs, options.steps, record, window)
        elif self.fused is not False:
            results = fused_scan(self, stepper, params, state, inputs, options)
            if results is not None:
                return results
        return loop(self, stepper, params, state, inputs, options.steps, record, window)

    # the products of a neuron's spikes with the weight of the Linear behind it; no spikes are stored: see ``Scans``
    def readout_scan(
        self,
        stepper: Any,
        params: Params,
        state: State,
        inputs: Any,
        weight: Any,
        bias: Optional[Any] = None,
        *,
        steps: Optional[int] = None,
        window: Optional[int] = None,
        repeating: bool = False,
    ) -> Optional[Tuple[Any, State]]:
        steps = inputs.shape[0] if steps is None else steps
        check_steps(steps, inputs.shape[0])
        if self.fused is False or not may_multiply_in_kernel(inputs, weight, bias):
            return None
        options = ScanOptions(steps, (), window, repeating)
        results = fused_scan(self, stepper, params, state, inputs, options, (weight, bias))
        return None if results is None else (results[0], results[2])

    def any_size(self, repeating: bool) -> bool:
        """Whether a run of any size may use kernels that are compiled already.

        Not in training: there the size alone decides between kernel and loop, so that a training can be repeated to the
        last bit.
        """
        return not repeating

    def keeping(self) -> TorchEngine:
        """This engine without ``checkpoint_layers``: all layers keep what their backward pass needs."""
        if self.checkpoint_layers is None:
            return self
        other = copy.copy(self)
        other.checkpoint_layers = None
        return other

    def autocast(self) -> ContextManager[Any]:
        """A context in which torch's own modules compute in the engine's ``precision``."""
        return autocast(self.device, self.precision)

    def explain(self, stepper: Any) -> str:
        from spikecore.kernels.select import explain

        if isinstance(stepper, Container):
            return stages_of(self, stepper)
        if self.precision != FULL:
            return f"{self.full.explain(stepper)}{_in_half(stepper, self.precision)}"
        target = self.device.partition(":")[0]
        if target in ("cpu", "cuda"):
            return explain(self.fused, stepper, target, self.sparse_backward)
        loop = f"loop: one {type(stepper).__name__}.step per time step on {self.device}, differentiated by autograd"
        return not_by_steps(stepper) or loop

    def value_and_grad(
        self, function: Callable[..., Tuple[Any, Any]], argument: Any, *constants: Any
    ) -> Tuple[Any, Any, Any]:
        lifted = map_leaves(lambda x: x.detach().requires_grad_(), argument)
        inputs = [x for _, x in leaves(lifted)]
        with torch.enable_grad():
            value, extra = function(lifted, *constants)
        gradients: Any = (None,) * len(inputs)
        if value.requires_grad:
            gradients = torch.autograd.grad(value, inputs, allow_unused=True)
        grads = [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, gradients)]
        return value.detach(), extra, rebuild(lifted, iter(grads))

    def compile(
        self, network: Any, params: Params, buffers: Any, loss: Any, optimizer: Any, **options: Any
    ) -> Executor:
        if options.pop("compiles", False):
            from spikecore.engines.torch.traced import Functions

            engine = copy.copy(self)
            engine.functions = Functions()
            return engine.compile(network, params, buffers, loss, optimizer, **options)
        if options.pop("graphs", False):
            from spikecore.engines.torch.graphs import GraphedExecutor

            return GraphedExecutor(self, network, params, buffers, loss, optimizer, **options)
        if options.pop("divides", False):
            if not can_divide():
                raise NotImplementedError(
                    f"parallel='fsdp' needs torch 2.6, and this is {torch.__version__}: install a newer one, or train "
                    "with parallel='data'"
                )
            from spikecore.engines.torch.divided_executor import DividedExecutor

            return DividedExecutor(self, network, params, buffers, loss, optimizer, **options)
        from spikecore.engines.torch.executor import TorchExecutor

        return TorchExecutor(self, network, params, buffers, loss, optimizer, **options)


def _in_half(layer: Any, precision: str) -> str:
    """For ``explain``: which of a layer's products are in half precision."""
    if isinstance(layer, Stepper):
        return f"; the product with its input in {precision}, its steps in float32" if layer.projects else ""
    layer = layer.layer if isinstance(layer, Quantized) else layer
    return f"; its product in {precision}" if isinstance(layer, (Linear, *KERNELS)) else ""
