"""The command that takes a trained network out of the library: ``export``."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Dict, List, Optional, cast

import typer

from spikecore import load
from spikecore.arguments import unknown
from spikecore.cli.exit_codes import NOT_VERIFIED
from spikecore.cli.messages import ConfigError
from spikecore.cli.options import JSON, examples, show_json
from spikecore.cli.run_directory import MODEL, opened
from spikecore.cli.run_file import value_of
from spikecore.cli.scaling import NOTE
from spikecore.export import ExportError
from spikecore.export.front import ENDINGS, WRITERS, Target, checked_options, target_of
from spikecore.export.front import export as export_to


def target_names(incomplete: str) -> List[str]:
    """The names of targets that begin with ``incomplete``, for the completion of a shell."""
    return [name for name in WRITERS if name.startswith(incomplete)]


TRAINED = typer.Argument(
    ..., metavar="RUN", help="A directory that `spikecore train` wrote, or a checkpoint (.safetensors)."
)
TO = typer.Option(
    None,
    "--to",
    metavar="TARGET",
    autocompletion=target_names,
    help="c: C99 sources. onnx: a file for ONNX runtimes. torch: a .pt2 of torch.export. nir: NIR. Default: what the "
    "ending of --out says, or c.",
)
OUT = typer.Option(
    None,
    metavar="PATH",
    help="A folder and the stem of the files, e.g. build/net. Default: RUN/TARGET/net, or beside a checkpoint.",
)
OPTIONS = typer.Option(
    None,
    "--option",
    "-o",
    metavar="KEY=VALUE",
    help="An option of the target, e.g. example=false or batch_size=none. May be repeated.",
)


@examples(
    "spikecore export runs/digits-001          # C99, into runs/digits-001/c",
    "spikecore export runs/digits-001 --out firmware/net -o example=false",
    "spikecore export runs/digits-001 -o dtype=fixed   # in integers, of a network in few bits",
    "spikecore export digits.safetensors --out digits.onnx",
    "spikecore export runs/digits-001 --to c --json",
    pages="“Deploying” (docs/deploying.md)",
)
def export(
    run: Path = TRAINED,
    to: Optional[str] = TO,
    out: Optional[str] = OUT,
    options: Optional[List[str]] = OPTIONS,
    as_json: bool = JSON,
) -> None:
    """Write a trained network as C, ONNX, NIR or torch.export.

    The program or file runs without this library. The network computes one time step per call; its states pass from
    call to call. In C it is a header and a source without dependencies, with an example, a Makefile and a page about
    sizes and operations. The page "Deploying" (docs/deploying.md) says which target when, and which options each has.

    Exits with 1 if the target cannot express a layer; the message names it. Then nothing is written.
    """
    if to is not None and to not in WRITERS:
        raise ConfigError([f"--to {to}: {unknown('target', to, tuple(WRITERS))}"])
    try:
        target = target_of("net" if out is None else out, to)
    except ValueError as error:
        raise ConfigError([f"--out: {error}"]) from None
    given = _options(target, options or [])
    model = _trained(run)
    try:
        with warnings.catch_warnings(record=True) as warned:
            done = export_to(model, out or _place(run, target), to=cast(Target, target), **given)
    except ExportError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(NOT_VERIFIED) from None
    for one in warned:
        if not any(str(one.message) in note for note in done.notes):  # which are shown below
            warnings.showwarning(one.message, one.category, one.filename, one.lineno)
    if as_json:
        files, kept = [str(file) for file in done.files], model.notes.get(NOTE)
        scale = {} if kept is None else {"scale": kept}
        show_json({"to": done.to, "files": files, "notes": list(done.notes), **scale})
    else:
        print(done)
        if NOTE in model.notes:
            print("It takes scaled inputs, (x - subtract) / divide: export --json shows the numbers")


def _trained(run: Path) -> Any:
    """The model in a run directory or a checkpoint, on the NumPy engine, which every installation has."""
    if run.is_dir():
        if not (run / MODEL).exists() and (run / "run.toml").exists():
            raise FileNotFoundError(f"{run}: holds no {MODEL} yet: run spikecore train {run} --resume first")
        return load(run / MODEL, engine="numpy", classes=opened(run).classes)  # it refuses other folders
    if run.suffix == ".toml":
        raise ConfigError([f"{run}: a run file has no weights yet: spikecore train {run}, then export its directory"])
    if not run.exists():
        raise FileNotFoundError(f"{run}: no such run directory or checkpoint; `spikecore train` makes one")
    return load(run, engine="numpy")


def _place(run: Path, target: str) -> Path:
    stem = "net" if target == "c" else f"net{ENDINGS[target][0]}"
    return run / target / stem if run.is_dir() else run.with_name(f"{run.stem}_{target}") / stem


def _options(target: str, options: List[str]) -> Dict[str, Any]:
    """The options of a target by name.

    Raises:
        ConfigError: one has no value, or the target has no such option.
    """
    given = {}
    for option in options:
        key, equals, value = (part.strip() for part in option.partition("="))
        if not equals or not value:
            raise ConfigError([f"--option {option}: must be key=value, e.g. --option example=false"])
        given[key] = None if value == "none" else value_of(f"--option {option}", value)  # TOML has no word for None
    try:
        checked_options(target, given)
    except ValueError as error:
        raise ConfigError([f"--option: {error}"]) from None
    return given
