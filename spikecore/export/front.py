"""``export``: a model as a program or file of another world; files are written whole or not at all."""

from __future__ import annotations

import importlib
import inspect
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, Literal, Mapping, Optional, Protocol, Tuple, cast

from spikecore import Model
from spikecore.api.layers.containers import walk
from spikecore.arguments import PathLike, checked, unknown
from spikecore.export.errors import ExportError
from spikecore.files import write_together

Target = Literal["c", "onnx", "torch", "nir"]

#: The module of each target. It has ``files(model, stem, **options)``, which returns a ``Draft`` and writes nothing.
WRITERS: Dict[str, str] = {
    "c": "spikecore.export.c.writer",
    "onnx": "spikecore.export.onnx.writer",
    "torch": "spikecore.export.torch_writer",
    "nir": "spikecore.export.nir_writer",
}


#: What may stand at the end of ``path``, and says the target where ``to`` does not.
ENDINGS: Dict[str, Tuple[str, ...]] = {
    "c": (".c", ".h"),
    "onnx": (".onnx",),
    "torch": (".pt2",),
    "nir": (".nir", ".h5"),
}

SEPARATORS = tuple(filter(None, (os.sep, os.altsep)))


@dataclass(frozen=True)
class Draft:
    """The draft of a writer: everything in memory.

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
    """The written files, the main one first, and notes on them.

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
def export(model: Model, path: PathLike, to: Optional[Target] = None, **options: Any) -> Exported:
    """Write a trained network as something that runs without this library.

    Files that are there already are replaced as ``Model.save`` replaces one: they keep their mode, and symbolic links
    stay.

    Args:
        model: a model with weights.
        path: a folder and the stem of the files, e.g. "build/net" for "build/net.c" and "build/net.h". The stem is also
            the prefix of names in C. The target's ending (".c", ".onnx", ".pt2", ".nir", ".h5") may be written, too.
        to: the target: "c", "onnx", "torch" or "nir". Default: that of the ending of ``path``; without one, "c".
        **options: of the target; see docs/deploying.md.

    Returns:
        ``Exported``: the files, and what to know about them; ``print`` it.

    Raises:
        ExportError: the target cannot express a layer; the message names it and the remedy. Nothing has been written.
        ImportError: a package that the target needs is not installed; says which.
        OSError: the folder cannot be written to, a file is write-protected, or its place is taken by a folder.
        ValueError: there is no such target, it has no such option, or ``path`` ends as another target's files do.
    """
    target = target_of(path, to)
    checked_options(target, options)
    place = Path(path)
    ends = place.suffix.lower() in ENDINGS[target]
    if not any(True for _ in walk(model.network)):
        raise ExportError("the network has no layers, so there is nothing to export: add some, e.g. sc.Linear(64, 10)")
    draft = writer_of(target).files(model, place.stem if ends else place.name, **options)
    if ends and len(draft.contents) == 1:  # a single file is called as the user says, e.g. net.h5
        draft = replace(draft, contents=dict(zip([place.name], draft.contents.values())))
    kept = [name for name in draft.starters if (place.parent / name).exists()]
    contents = {name: content for name, content in draft.contents.items() if name not in kept}
    notes = (
        *draft.notes,
        *(f"{place.parent / name} was there and stays as it is; for a new one, delete it first" for name in kept),
    )
    return Exported(target, _written(place.parent, contents), notes)


def target_of(path: PathLike, to: Optional[str] = None) -> str:
    """The target that is meant.

    Args:
        path: where the files go.
        to: the target; None: that of the path's ending, or "c".

    Raises:
        ValueError: there is no such target, the path names no file, or it ends as another target's files do.
    """
    written, place = os.fspath(path), Path(path)
    if to is not None and to not in WRITERS:
        raise ValueError(f"export: to={to!r}: {unknown('target', to, tuple(WRITERS))}")
    if written.endswith(SEPARATORS) or place.name in ("", ".."):
        raise ValueError(f"export: path={written!r} is a folder: add the stem of the files, {str(place / 'net')!r}")
    said = next((target for target, endings in ENDINGS.items() if place.suffix.lower() in endings), None)
    if to is not None and said not in (None, to):
        better = str(place.with_suffix("" if to == "c" else ENDINGS[to][0]))
        raise ValueError(
            f"export: path={written!r} ends as files of to={said!r} do, and to is {to!r}: pass to={said!r} or "
            f"path={better!r}"
        )
    return to or said or "c"


def writer_of(to: str) -> Writer:
    """The module of a target."""
    return cast(Writer, importlib.import_module(WRITERS[to]))


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
    """Write files, of which none is replaced before all are complete under other names.

    Raises:
        OSError: the folder cannot be made or written to, or there is a folder where a file goes.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"export: {folder} is a file, and the files go into a folder of that name")
    for name in contents:
        if (folder / name).is_dir():
            raise IsADirectoryError(
                f"export: {folder / name} is a folder, and the file goes there: choose another path"
            )
    write_together({folder / name: content for name, content in contents.items()})
    return tuple(folder / name for name in contents)
