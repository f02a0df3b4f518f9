"""Finding an engine: by name, by the environment, by an array. Nothing here imports an engine before its use.

Other packages add engines through the entry-point group ``spikecore.engines``.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import sys
from typing import Any, Dict, List, Literal, NamedTuple, Tuple, Type, Union

from spikecore.api.core.engine import Engine
from spikecore.api.core.messages import unknown
from spikecore.arguments import argument_kind, checked
from spikecore.progress import at_work

EngineName = Union[Literal["numpy", "torch", "cupy", "ipu", "jax"], str]  # or that of another package's engine
ENVIRONMENT = "SPIKECORE_ENGINE"
ENTRY_POINTS = "spikecore.engines"
TORCH_HAS = {  # options of the torch engine, and what to say of them where another engine is asked for them
    "device": "has devices",
    "precision": "computes products in bf16 or fp16",
    "checkpoint_layers": "computes groups of layers again",
}
DEVICE = re.compile(r"(cuda|mps|cpu|xpu|gpu)(:\d+)?$")

argument_kind(Engine)  # so that ``checked`` compares arguments annotated with ``Engine``


class EngineEntry(NamedTuple):
    """The place of an engine, and what must be installed for it. Packages with an engine offer such an entry by an
    entry point; the engine itself is imported at first use.
    """

    target: str  # "module:class", imported at first use
    needs: Tuple[str, ...] = ()  # packages that must be importable
    install: str = ""  # the command that installs them, with the variants for other versions
    simulated: Tuple[str, ...] = ()  # those of ``needs`` that are not needed with the option ``simulate=True``
    modules: Tuple[str, ...] = ()  # top-level names of the libraries whose arrays ``engine_of`` hands to the engine
    of: str = ""  # "module:function" from such an array to its engine; "": the engine's class, with the array's dtype
    pip_extra: str = ""  # instead of ``install``: the name of spikecore's extra that installs them
    # "module:function" that makes a Model from an object of one of these ``modules`` and the shape of an input
    converter: str = ""
    layers: Tuple[str, ...] = ()  # "module:class" of layers that need the engine's library


_ENGINES = {  # without "ipu", which comes by an entry point of our own package: see pyproject.toml
    "numpy": EngineEntry("spikecore.engines.numpy.engine:NumpyEngine"),
    "torch": EngineEntry(
        "spikecore.engines.torch.engine:TorchEngine",
        ("torch",),
        modules=("torch",),
        pip_extra="torch",
        converter="spikecore.engines.torch.nn.convert:adopted",
        layers=("spikecore.engines.torch.layer:Torch",),
    ),
    "cupy": EngineEntry(
        "spikecore.engines.numpy.cupy:CupyEngine", ("cupy",), "pip install cupy-cuda13x, or cupy-cuda12x for CUDA 12"
    ),
}

_PLUGINS = {  # engines of this project in packages of their own: entries to use while the package is not installed
    "jax": EngineEntry(
        "spikecore_jax.engine:JaxEngine",
        ("spikecore_jax",),
        "pip install -e plugins/spikecore-jax, in a clone of spikecore's repository; see docs/jax.md",
    ),
}

#: The converters of foreign models by the library that they come from, and the layers that need a library by name.
CONVERTERS = {library: entry.converter for entry in _ENGINES.values() for library in entry.modules if entry.converter}
LAYERS = {place.partition(":")[2]: place for entry in _ENGINES.values() for place in entry.layers}


class EngineStatus(NamedTuple):
    """One line of ``engines()``."""

    name: str
    available: bool
    why: str  # why it is not available; empty if it is
    install: str  # the command that installs what is missing; empty if nothing is


class EngineUnavailable(ImportError):
    """A package that the engine needs is not installed."""


def engines() -> List[EngineStatus]:
    """List every known engine: whether it can be used here, why not, and how to install it. Imports none of them."""
    return [_status(name, entry) for name, entry in _known().items()]


@checked
def get_engine(name: Union[None, str, Engine] = None, **options: Any) -> Engine:
    """Find an engine by name.

    Args:
        name: "numpy", "torch", "cupy", "ipu", "jax" or the name of another package's engine; an Engine is returned as
            it is.
            None (the default) means ``$SPIKECORE_ENGINE``, or "numpy" if that is unset.
        **options: passed to the engine, e.g. ``device="cuda"``, ``dtype="float64"``.

    Raises:
        ValueError: no engine has this name; the message suggests the nearest one.
        TypeError: this engine does not have such an option.
        EngineUnavailable: a package is missing; the message names it, the install command and the usable engines.
    """
    if isinstance(name, Engine):
        if options:
            raise TypeError(f"options {sorted(options)} have no effect on an Engine that already exists")
        return name
    name = name or os.environ.get(ENVIRONMENT) or "numpy"
    entry = entry_of(name)
    status = _status(name, entry, bool(options.get("simulate")))
    if not status.available:
        usable = ", ".join(s.name for s in engines() if s.available)
        raise EngineUnavailable(f"engine {name!r}: {status.why}. To get it: {status.install}. Usable here: {usable}")
    return _constructed(name, _maker(entry), options)


def _maker(entry: Any) -> Type[Engine]:
    """The class of an engine, imported."""
    maker: Type[Engine] = _object(entry.target) if isinstance(entry, EngineEntry) else entry.load()
    return maker


def _object(path: str) -> Any:
    """The imported object that "module:name" names."""
    module, _, name = path.partition(":")
    if module in sys.modules:
        return getattr(sys.modules[module], name)
    with at_work(lambda seconds: f"spikecore: loading {module}, {seconds:.0f} s"):  # said if it takes long
        return getattr(importlib.import_module(module), name)


def entry_of(name: str, remedy: str = "engine='torch', device={device!r}") -> Any:
    """The entry of an engine. Names outside ``_ENGINES`` take a look at all installed packages, which is slow.

    Args:
        name: of the engine.
        remedy: what to write if ``name`` is that of a device, e.g. "cuda"; its place is ``{device!r}``.

    Raises:
        ValueError: no engine has this name; if it is that of a device, the message tells the remedy.
    """
    known = _ENGINES if name in _ENGINES else _known()
    if name not in known:
        raise ValueError(_no_engine(name, known, remedy))
    return known[name]


def _no_engine(name: str, known: Any, remedy: str) -> str:
    if not DEVICE.match(name):
        return unknown("engine", name, known)
    device = name.replace("gpu", "cuda")
    return (
        f"unknown engine {name!r}: it is a device; write {remedy.format(device=device)}. Known: "
        f"{', '.join(sorted(known))}"
    )


def _constructed(name: str, maker: Any, options: Dict[str, Any]) -> Engine:
    try:
        return maker(**options)  # type: ignore[no-any-return]
    except TypeError:
        known = inspect.signature(maker).parameters
        strange = [option for option in options if option not in known]
        if not strange or any(p.kind is p.VAR_KEYWORD for p in known.values()):
            raise
        remedy = TORCH_HAS.get(strange[0])
        torch = f"; engine='torch' {remedy}" if remedy else ""
        raise TypeError(f"engine {name!r}: {unknown('option', strange[0], known)}{torch}") from None


def is_host(x: Any) -> bool:
    """Whether ``x`` is plain host data: a number, a list, a NumPy array."""
    return type(x).__module__.partition(".")[0] in ("builtins", "numpy")


_plain: Dict[Any, Engine] = {}  # a dict: torch.compile looks through no cache of functools, and says so


def plain_engine(name: str, **options: Any) -> Engine:
    """An engine, always the same one for a name and options: nothing in it changes, and making one takes a while."""
    key = (name, *options.items())
    found = _plain.get(key)
    if found is None:
        found = _plain[key] = get_engine(name, **options)
    return found


def on_host(dtype: str) -> Engine:
    """The NumPy engine for a dtype."""
    return plain_engine("numpy", dtype=dtype)


def engine_of(x: Any) -> Engine:
    """The engine that ``x`` is an array of, on the device and in the dtype of ``x``; numpy for lists and numbers.

    Raises:
        TypeError: no engine handles such arrays.
    """
    root = type(x).__module__.partition(".")[0]
    if hasattr(x, "engine"):  # an array on a tape, or a symbol
        return x.engine
    if is_host(x):
        return on_host(_float_name(x))
    if root == "torch":
        return plain_engine("torch", device=x.device, dtype=_float_name(x))
    if root == "cupy":
        return get_engine("cupy", dtype=_float_name(x))
    if root == "array_api_strict":
        return get_engine("numpy", namespace="array_api_strict", dtype=_float_name(x))
    for entry in _known().values():  # ``of``, if an entry has it, finds the engine of an array
        if isinstance(entry, EngineEntry) and root in entry.modules:
            return _object(entry.of)(x) if entry.of else _maker(entry)(dtype=_float_name(x))  # type: ignore[call-arg]
    raise TypeError(
        f"no engine handles {type(x).__module__}.{type(x).__qualname__}; pass a NumPy array or a torch tensor"
    )


def default_engine(name: Any = None) -> Engine:
    """The engine to use where no array tells which: ``name``, or torch if the program has imported it, else numpy."""
    return get_engine(name or ("torch" if "torch" in sys.modules else "numpy"))


def _float_name(x: Any) -> str:
    dtype = getattr(x, "dtype", None)
    kind = getattr(dtype, "kind", None)  # str() of NumPy's dtypes is slow; dtypes of other libraries have no kind
    if kind is not None:
        return "float64" if kind == "f" and dtype.itemsize == 8 else "float32"  # type: ignore[union-attr]
    return "float64" if str(dtype).rpartition(".")[2] == "float64" else "float32"


def _status(name: str, entry: Any, simulate: bool = False) -> EngineStatus:
    if isinstance(entry, EngineStatus):
        return entry
    if not isinstance(entry, EngineEntry):
        return EngineStatus(name, True, "", "")
    needed = [package for package in entry.needs if not (simulate and package in entry.simulated)]
    missing = [package for package in needed if not importable(package)]
    if not missing:
        return EngineStatus(name, True, "", "")
    from spikecore.installing import to_install

    install = to_install(entry.pip_extra) if entry.pip_extra else entry.install
    return EngineStatus(name, False, f"package {', '.join(missing)} is not installed", install)


def importable(package: str) -> bool:
    """Whether a package is installed, or imported already."""
    return sys.modules.get(package) is not None or importlib.util.find_spec(package) is not None


def entry_points_of(group: str) -> Dict[str, Any]:
    """The additions of installed packages to a group of entry points, by name; nothing is imported."""
    import importlib.metadata as metadata  # takes 30 ms to import, so not at the top

    points: Any = metadata.entry_points()
    return {p.name: p for p in (points.select(group=group) if hasattr(points, "select") else points.get(group, ()))}


def _known() -> Dict[str, Any]:
    """Engines by name, ours first: an ``EngineEntry``, an entry point that names a class, or a broken one's status."""
    others = entry_points_of(ENTRY_POINTS)
    return {**_ENGINES, **_PLUGINS, **{name: _described(p) for name, p in others.items() if name not in _ENGINES}}


def _described(point: Any) -> Any:
    """The engine that a package offers. A name in capitals is an ``EngineEntry``; a class is imported at first use."""
    if not point.value.rpartition(":")[2].isupper():
        return point
    try:
        entry = point.load()
    except (ImportError, AttributeError) as error:  # a broken package must not make the other engines unusable
        return EngineStatus(point.name, False, str(error), f"repair the package that offers {point.value}")
    if isinstance(entry, EngineEntry):
        return entry
    why = f"{point.value} is a {type(entry).__name__}, not an EngineEntry"
    return EngineStatus(point.name, False, why, f"repair the package that offers {point.value}")
