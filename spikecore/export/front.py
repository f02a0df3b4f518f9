"""``export``: a model as a program or file of another world; files are written whole or not at all."""

from __future__ import annotations

import importlib
import inspect
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Literal, Mapping, Protocol, Tuple, Union

from spikecore.api.core.messages import unknown
from spikecore.api.training.model import Model
from spikecore.arguments import checked

Target = Literal["c", "onnx", "torch", "nir"]

#: The module of each target. It has ``files(model, stem, **options)``, which returns a ``Draft`` and writes nothing.
WRITERS: Dict[str, str] = {
    "c": "spikecore.export.c.writer",
    "onnx": "spikecore.export.onnx.writer",
    "torch": "spikecore.export.torch_writer",
    "nir": "spikecore.export.nir_writer",
}


#: What may stand at the end of ``path``.
ENDINGS: Dict[str, Tuple[str, ...]] = {
    "c": (".c", ".h"),
    "onnx": (".onnx",),
    "torch": (".pt2",),
    "nir": (".nir", ".h5"),
}


@dataclass(frozen=True)
class Draft:
    """What a writer has made: everything in memory.

    Args:
        contents: the contents of each file, by its name within the folder of ``path``.
        notes: what the user should know, a line each: sizes, operations, how to call it.
        starters: names of those that are the user's to change, e.g. an example: they never replace a file.
    """

    contents: Mapping[str, bytes]
    notes: Tuple[str, ...] = ()
    starters: Tuple[str, ...] = ()


class Writer(Protocol):
    """A target's module."""

    def files(self, model: Model, stem: str, **options: Any) -> Draft: ...


@dataclass(frozen=True)
class Exported:
    """What has been written.

    Args:
        to: the target.
        files: the files, the main one first.
        notes: what to know about them, a line each.
    """

    to: str
    files: Tuple[Path, ...]
    notes: Tuple[str, ...] = ()

    def __str__(self) -> str:
        sizes = [f"{file}  {file.stat().st_size:,} bytes" for file in self.files]
        return "\n".join([*sizes, *self.notes])


@checked
def export(model: Model, path: Union[str, os.PathLike[str]], to: Target = "c", **options: Any) -> Exported:
    """Write a trained network as something that runs without this library.

    Args:
        model: a model with weights.
        path: a folder and the stem of the files, e.g. "build/net" for "build/net.c" and "build/net.h". The stem is also
            the prefix of names in C. A known ending (".onnx", ".nir", ".pt2") may be written, too.
        to: the target: "c", "onnx", "torch" or "nir"; default "c".
        **options: of the target; see docs/deploying.md.

    Returns:
        ``Exported``: the files, and what to know about them; ``print`` it.

    Raises:
        ExportError: the target cannot express a layer; the message names it and the remedy. Nothing has been written.
        ImportError: a package that the target needs is not installed; says which.
        ValueError: there is no such target, or it has no such option.
    """
    if to not in WRITERS:
        raise ValueError(f"export: {unknown('to', to, tuple(WRITERS))}")
    checked_options(to, options)
    place = Path(path)
    stem = place.stem if place.suffix in ENDINGS.get(to, ()) else place.name
    draft = writer_of(to).files(model, stem, **options)
    kept = [name for name in draft.starters if (place.parent / name).exists()]
    contents = {name: content for name, content in draft.contents.items() if name not in kept}
    notes = (*draft.notes, *(f"{place.parent / name} was there and stays as it is" for name in kept))
    return Exported(to, _written(place.parent, contents), notes)


def writer_of(to: str) -> Writer:
    """The module of a target."""
    return importlib.import_module(WRITERS[to])  # type: ignore[return-value]


def checked_options(to: str, options: Mapping[str, Any]) -> None:
    """Refuse options that a target does not have.

    Raises:
        ValueError: names the option and those that there are.
    """
    known = [p.name for p in inspect.signature(writer_of(to).files).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for name in options:
        if name not in known:
            raise ValueError(f"export to {to!r}: {unknown('option', name, known)}")


def _written(folder: Path, contents: Mapping[str, bytes]) -> Tuple[Path, ...]:
    """Write files under other names first, so that an error in between leaves none half-written."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as aside:
        for name, content in contents.items():
            Path(aside, name).parent.mkdir(parents=True, exist_ok=True)
            Path(aside, name).write_bytes(content)
        for name in contents:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(Path(aside, name), folder / name)
    return tuple(folder / name for name in contents)
