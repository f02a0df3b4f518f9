"""``Torch``: a module of torch's as a layer of a ``Sequential``, on the torch engine."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from typing import Any, ClassVar, Dict, Mapping, Optional, Tuple

import torch
from torch import nn

from spikecore.api.core.layer import Init, Key, Params, Shape, ShapeError, Stateless, Tree
from spikecore.api.core.random import stream
from spikecore.api.core.tree import flatten, nested
from spikecore.arguments import shown
from spikecore.engines.torch.engine import HALF, TorchEngine
from spikecore.engines.torch.nn.state import neurons_of
from spikecore.engines.torch.nn.unchanged import kept_by

FLOATS = (torch.float32, torch.float64)
KERNELS = nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d
COUNTER = "num_batches_tracked"  # batch norm's count of batches, the one buffer of whole numbers that training changes


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Torch(Stateless):
    """A layer of torch's, for networks on the torch engine.

    It is applied to time and batch as one batch, like ``sc.Linear``: its batch norm counts all steps, and its dropout
    draws again at every step. Its parameters are trained under the names that they have in the module; parameters with
    ``requires_grad=False`` are not trained. In training the module is in training mode, else in evaluation mode.

    Args:
        module: the module, without a state that passes from step to step. It is called with one tensor (batch,
            *features). The layer takes a copy; its weights are the first weights of the model. One module in two layers
            becomes two, which are trained separately.
        wraps: the description of the module in a file; ``sc.load`` passes it.

    Shapes: x (time, batch, *features), y (time, batch, *the module's result for a sample).

    Raises:
        TypeError: no ``nn.Module``; a module with spiking neurons in it; weights of half precision; one that cannot be
            copied; when its weights are made, also a module that keeps values from call to call, such as a membrane
            or a generator.
        ValueError: a module whose weights have no shape yet (``nn.LazyLinear``).

    Examples:
        >>> net = sc.Sequential(sc.Linear(784, 100), sc.Torch(nn.LayerNorm(100)), sc.Leaky(beta=0.9))
        >>> model = sc.Model(net, "torch")
    """

    mixes_samples: ClassVar[bool] = True  # nothing is known of a module
    wraps: str
    _module: ClassVar[Any]  # of each layer its own, and no field: a file does not hold it

    def __init__(self, module: Optional[nn.Module] = None, *, wraps: str = "") -> None:
        if module is not None:
            if wraps:
                raise TypeError(f"Torch: wraps={wraps!r} is for files: the module says it itself, leave it out")
            _check(module)
            module = _copied(module)
        elif not wraps:
            raise TypeError("Torch: module=None must be an nn.Module, e.g. sc.Torch(nn.LayerNorm(100))")
        object.__setattr__(self, "wraps", described(module) if module is not None else wraps)
        object.__setattr__(self, "_module", module)

    def __repr__(self) -> str:
        return f"Torch({self.wraps})"

    @property
    def connections(self) -> Tuple[str, ...]:  # type: ignore[override]  # a property in place of a constant
        parts = () if self._module is None else self._module.named_modules()
        found = [name for name, part in parts if isinstance(part, (nn.Linear, *KERNELS))]
        return tuple(f"{name}.weight" if name else "weight" for name in found)

    @property
    def lacks(self) -> str:
        """The file's description of the module, while there is no module; "" if there is one."""
        return "" if self._module is not None else self.wraps

    def fill(self, module: Any) -> None:
        """Take the module that a file does not hold.

        Raises:
            TypeError: it does not fit the file's description.
        """
        _check(module)
        if described(module) != self.wraps:
            raise TypeError(f"{described(module)} was given, but the file says {self.wraps}")
        object.__setattr__(self, "_module", _copied(module))

    @property
    def module(self) -> nn.Module:
        """The module, with its first weights.

        Raises:
            ValueError: the layer comes from a file and was not given its module.
        """
        module: Optional[nn.Module] = self._module
        if module is None:
            raise ValueError(f"Torch: the module {self.wraps} is not in the file: sc.load(path, modules=[...])")
        return module

    def as_module(self, arrays: Mapping[str, Any]) -> nn.Module:
        """A copy of the module with other weights and buffers, arrays by name."""
        module = copy.deepcopy(self.module)
        tensors: Dict[str, Any] = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        with torch.no_grad():
            for name, values in arrays.items():
                tensors[name].copy_(torch.tensor(values))
        return module

    def check_engine(self, engine: Any) -> None:
        if not isinstance(engine, TorchEngine) or not engine.runs_modules:
            raise TypeError(
                f"{self!r} runs on the torch engine alone, not on {engine.name!r}: take sc.Model(network, 'torch'), or "
                "a layer of spikecore's in its place, as verify and exports need"
            )

    def init(self, key: Key, shape: Shape) -> Init:
        module = self.module
        learned = {n: x for n, x in module.named_parameters() if x.requires_grad}
        kept: Dict[str, Any] = {n: x for n, x in module.named_parameters() if not x.requires_grad}
        kept.update({n: x for n, x in module.named_buffers() if x.dtype in FLOATS or n.rpartition(".")[2] == COUNTER})
        params, buffers = (nested({n: _host(x) for n, x in part.items()}) for part in (learned, kept))
        like = next((x for x in (*module.parameters(), *module.buffers()) if x.dtype in FLOATS), torch.zeros(0))
        with torch.no_grad():
            y = self._tried(like.new_full((2, *shape), 0.5))
        return Init(params, Tree(buffers), tuple(y.shape[1:]))

    def _tried(self, x: Any) -> Any:
        """The module's result for ``x``.

        Raises:
            TypeError: it keeps something that is another at the next call: the state of a neuron, a count of steps.
        """
        drawn = torch.get_rng_state()

        def called(*inputs: Any) -> Tuple[Any, Dict[str, bytes]]:
            for each in inputs:
                torch.set_rng_state(drawn)  # what it draws is the same at every call
                y = self._called({}, each, False)
            return y, kept_by(dict(self.module.named_modules()))

        with torch.random.fork_rng(devices=[]):
            before = kept_by(dict(self.module.named_modules()))
            y, after = called(x)
            if after == before:
                return y
            for inputs in ((x,), (x / 2, x)):  # what is made once, or only looked at, is the same again after x
                _, again = called(*inputs)
                for name in (n for n in again if again[n] != after.get(n)):
                    raise TypeError(
                        f"{self!r} keeps {name!r} from call to call, but is called once for all steps: a state would "
                        "not pass from step to step. Write a neuron, a class of sc.base.Neuron with a step; what "
                        "forward does not read, such as a log or a count of calls, keep outside of the module; numbers "
                        "draw from torch's own generator, torch.rand(...)"
                    )
        return y

    def apply(self, engine: Any, params: Params, buffers: Tree, x: Any, *, train: bool, key: Optional[Key]) -> Any:
        self.check_engine(engine)
        constants = {n: b.to(x.device) for n, b in self.module.named_buffers() if n not in flatten(buffers)}
        kept = {name: self._own(name, value) for name, value in flatten(buffers).items()}
        tensors = {**flatten(params), **kept, **constants}
        with torch.random.fork_rng([x.device] if x.is_cuda else [], enabled=train and key is not None):
            if train and key is not None:  # what the module draws depends on the key alone, so that runs can be resumed
                first, second = stream((*key.path, key.first))
                torch.manual_seed((first << 32) | second)
            with engine.autocast():
                y = self._called(tensors, x.flatten(0, 1), train)
            y = y.to(x.dtype) if y.dtype in HALF else y
        after = {name: tensors[name].detach().to(value.dtype) for name, value in flatten(buffers).items()}
        return y.unflatten(0, tuple(x.shape[:2])), Tree(nested(after))

    def _own(self, name: str, value: Any) -> Any:
        """A buffer as the module has it, in memory that the module may write to."""
        return value.to(torch.int64) if name.rpartition(".")[2] == COUNTER else value.clone()

    def _called(self, tensors: Dict[str, Any], x: Any, train: bool) -> Any:
        module = self.module.train(train)
        try:
            y = torch.func.functional_call(module, tensors, (x,))
        except (RuntimeError, ValueError, IndexError) as error:
            raise ShapeError(f"{self!r} refuses samples of shape {tuple(x.shape[1:])}: {error}") from error
        if not isinstance(y, torch.Tensor) or y.ndim < 1 or len(y) != len(x):
            shape: Tuple[int, ...] = tuple(getattr(y, "shape", ()))
            raise TypeError(f"{self!r} returns {type(y).__name__} {shape}, expected one tensor ({len(x)}, *features)")
        return y


def described(module: nn.Module) -> str:
    """A module as text: its class and what it prints of itself."""
    return re.sub(r" at 0x[0-9a-f]+", "", f"{type(module).__module__}.{module!r}")


def _check(module: Any) -> None:
    """Refuse what cannot be a layer."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"Torch: module={shown(module)} must be an nn.Module, e.g. sc.Torch(nn.LayerNorm(100))")
    for name, neuron in neurons_of(module):
        raise TypeError(
            f"Torch: module={type(module).__name__} has a neuron, {name or 'itself'} ({type(neuron).__name__}), whose "
            "state would not pass from step to step: put the neuron of spikecore in the network, e.g. sc.Leaky()"
        )
    for name, x in (*module.named_parameters(), *module.named_buffers()):
        if isinstance(x, (nn.UninitializedParameter, nn.parameter.UninitializedBuffer)):
            raise ValueError(f"Torch: module={type(module).__name__} has no shape yet for {name}: call it once before")
        if x.dtype not in FLOATS and (isinstance(x, nn.Parameter) or x.is_floating_point() or x.is_complex()):
            raise TypeError(f"Torch: {name} of module={type(module).__name__} is {x.dtype}; convert it, module.float()")


def _copied(module: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(module)
    except RuntimeError as error:  # weights that hooks compute anew at each call, by torch.nn.utils.prune, weight_norm
        raise TypeError(
            f"Torch: module={type(module).__name__} cannot be copied: {error} Make its weights parameters before, with "
            "prune.remove or remove_weight_norm, or take torch.nn.utils.parametrizations.weight_norm"
        ) from error


def _host(x: Any) -> Any:
    return x.detach().cpu().double().numpy() if not x.is_floating_point() else x.detach().cpu().clone().numpy()
