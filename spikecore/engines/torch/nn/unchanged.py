"""Checks that ``forward`` changes nothing but states, and contexts that put modules and random generators back."""

from __future__ import annotations

import contextlib
import io
import pickle
import random
import types
import weakref
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

import numpy as np
import torch
import torch.utils.checkpoint
from torch import nn

from spikecore.engines.torch.nn.over_time import StepByStep

#: What torch ends a call with that a checkpoint makes again, as soon as it has what it needs.
STOPS = tuple(filter(None, [getattr(torch.utils.checkpoint, "_StopRecomputationError", None)]))
_TORCHS = set(vars(nn.Module()))  # what torch keeps on every module
_PLAIN = {bool, int, float, str, type(None), torch.Tensor, nn.Parameter}
_SAME = (torch.Tensor, nn.Module, type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, weakref.ref)


@contextlib.contextmanager
def unchanged(
    modules: Dict[str, Any], buffers: Sequence[Tuple[Any, Any]] = (), reason: Callable[[], str] = str
) -> Iterator[None]:
    """A context that refuses changes of modules' attributes and of random generators; it puts them back after an error.

    Meanwhile the user's own modules hold copies of their lists, dicts and objects, so that a change does no harm. Of an
    object that cannot be copied, such as one with a lock or an open file, the attributes are compared, no deeper.

    Args:
        modules: the modules by name; where all code is torch's and ours, there is nothing to look for.
        buffers: tensors that may change, each with its values from before.
        reason: says in the end what else is wrong; "" for nothing.

    Raises:
        StepByStep: what changes, or what an error says.
    """
    theirs = [module for module in modules.values() if is_foreign(module)]
    attributes = attributes_of(modules) if theirs else []
    drawn, same = Generators(bool(theirs)), {}  # type: Any, Any
    held = [{n: v for n, v in vars(m).items() if n not in _TORCHS and type(v) not in _PLAIN} for m in theirs]
    copies, kept = _copies(held, same) if any(held) else ([], [])
    copied, attributes = _pickled(copies, same), [*attributes, *(vars(value) for value in kept)]
    try:
        with put_back(attributes):
            for module, values in zip(theirs, copies):
                vars(module).update(values)
            begun = [dict(d) for d in attributes]
            yield
            names, why = _rebound(attributes, begun), ""
            if names or _pickled(copies, same) != copied:
                why = f"forward changes {names[0] if names else 'what an attribute holds'} from step to step"
        if drawn.have_drawn():
            why = "forward uses a random number generator outside of layers"
        why = why or reason()
        if why:
            raise StepByStep(why)
    except BaseException as error:
        drawn.put_back()
        with torch.no_grad():
            for buffer, copy in buffers:
                buffer.copy_(copy)
        if isinstance(error, Exception) and not isinstance(error, (StepByStep, *STOPS)):  # whatever stand-ins lead to
            raise StepByStep(first_line(error)) from None
        raise


def attributes_of(modules: Dict[str, Any]) -> List[Dict[str, Any]]:
    """The dicts in which modules keep attributes, parameters, buffers and submodules by name."""
    return [d for m in modules.values() for d in (vars(m), m._parameters, m._buffers, m._modules)]


@contextlib.contextmanager
def put_back(attributes: Sequence[Dict[str, Any]]) -> Iterator[None]:
    """A context at whose end the dicts have the same entries, in the same order, as at its beginning."""
    before = [dict(d) for d in attributes]
    try:
        yield
    finally:
        for now, then in zip(attributes, before):
            if list(now) != list(then):
                now.clear()
            now.update(then)


class Generators:
    """The states of the generators of random numbers: torch's, and Python's and NumPy's where they matter."""

    def __init__(self, all_of_them: bool = True) -> None:
        self.torch = torch.get_rng_state()
        self.cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        self.others = self._others() if all_of_them else None

    @staticmethod
    def _others() -> Tuple[Any, bytes]:
        return random.getstate(), pickle.dumps(_of_numpy().state)

    def have_drawn(self) -> bool:
        """Whether the generators of Python and NumPy have drawn since."""
        return self.others is not None and self._others() != self.others

    def put_back(self) -> None:
        """Set the generators to these states."""
        if self.others is not None:
            random.setstate(self.others[0])
            _of_numpy().state = pickle.loads(self.others[1])
        torch.set_rng_state(self.torch)
        if self.cuda:
            torch.cuda.set_rng_state_all(self.cuda)


def kept_by(modules: Dict[str, Any]) -> Dict[str, bytes]:
    """The values of what modules keep in attributes and buffers, by name, to be compared with later ones."""
    found: Dict[str, bytes] = {}
    for path, module in modules.items():
        where = f"{path}." if path else ""
        own = {name: value for name, value in vars(module).items() if name not in _TORCHS}
        found.update({where + name: _values(value) for name, value in {**own, **module._buffers}.items()})
    return found


def is_foreign(module: Any) -> bool:
    """Whether a module runs code that is not torch's or ours."""
    return "forward" in vars(module) or not type(module).__module__.startswith(("spikecore.", "torch.nn.modules."))


def _rebound(attributes: Sequence[Dict[str, Any]], before: Sequence[Dict[str, Any]]) -> List[str]:
    """The attributes that have other values than before, in words."""
    both = [(name, now, then) for now, then in zip(attributes, before) for name in {**now, **then}]
    return [f"the attribute {name!r}" for name, now, then in both if now.get(name, now) is not then.get(name, now)]


class _Pickler(pickle.Pickler):
    """A pickler for which tensors, modules and functions stay what they are: ``same`` gets them, by their ``id``."""

    same: Dict[int, Any]

    def persistent_id(self, value: Any) -> Any:
        library = type(value).__module__.partition(".")[0]
        if not isinstance(value, _SAME) and (library not in ("torch", "spikecore") or type(value) is torch.Generator):
            return None
        self.same[id(value)] = value
        return id(value)


class _Unpickler(pickle.Unpickler):
    same: Dict[int, Any]

    def persistent_load(self, number: Any) -> Any:
        return self.same[number]


def _pickled(value: Any, same: Dict[int, Any]) -> bytes:
    """A value as bytes, which are equal as long as nothing in it has changed."""
    file = io.BytesIO()
    pickler = _Pickler(file, 4)
    pickler.same = same
    pickler.dump(value)
    return file.getvalue()


class _ValuePickler(pickle.Pickler):
    """A pickler for which tensors are their values, and modules and functions stay what they are."""

    def persistent_id(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            dense = value.detach().to_dense() if value.layout is not torch.strided else value.detach()
            numbers = dense.cpu().resolve_conj().resolve_neg().reshape(-1).contiguous().view(torch.uint8).numpy()
            return str(value.dtype), tuple(value.shape), numbers.tobytes()
        return id(value) if isinstance(value, _SAME) else None


def _values(value: Any) -> bytes:
    """A value as bytes, which another one with the same values has as well; what cannot be read is just itself."""
    file = io.BytesIO()
    try:
        _ValuePickler(file, 4).dump(value)
    except Exception:  # noqa: BLE001  (objects of the user's own raise anything)
        return repr(id(value)).encode()
    return file.getvalue()


def _copied(value: Any, same: Dict[int, Any]) -> Any:
    loader = _Unpickler(io.BytesIO(_pickled(value, same)))
    loader.same = same
    return loader.load()


def _copies(held: List[Dict[str, Any]], same: Dict[int, Any]) -> Tuple[Any, List[Any]]:
    """Copies of attributes by module, and the objects among them that cannot be copied.

    Raises:
        StepByStep: one that is no object with attributes, such as a generator, cannot be copied.
    """
    try:
        return _copied(held, same), []
    except Exception:  # noqa: BLE001  (objects of the user's own raise anything)
        kept = []
    for values in held:
        for name in list(values):
            try:
                _pickled(values[name], same)
            except Exception as error:  # noqa: BLE001  (as above)
                if not isinstance(getattr(values[name], "__dict__", None), dict):
                    why = f"the attribute {name!r} of a module cannot be copied: {first_line(error)}"
                    raise StepByStep(why) from None
                kept.append(values.pop(name))
    return _copied(held, same), kept


def _of_numpy() -> Any:
    return np.random.get_bit_generator()  # type: ignore[attr-defined]  # public since NumPy 1.24


def first_line(error: BaseException) -> str:
    """The first line of an error's message."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
