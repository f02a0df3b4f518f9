"""Shared parts of the commands: arguments and options, the examples in their help, and their output as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, List, Optional, TypeVar

import typer
from typer.core import TyperCommand

from spikecore.api.core.engines import engines
from spikecore.cli.run_directory import MODEL, TrainingRun, opened
from spikecore.cli.run_file import read
from spikecore.cli.scaling import saved_scale
from spikecore.files import json_text

COMMAND_LINE = "“Command line” (docs/command_line.md)"
Command = TypeVar("Command", bound=Callable[..., Any])


def engine_names(incomplete: str) -> List[str]:
    """The names of engines that begin with ``incomplete``, for the completion of a shell."""
    return [status.name for status in engines() if status.name.startswith(incomplete)]


# Options as defaults, not as Annotated types: before Python 3.11 a default of None hides the annotation from typer.
RUN = typer.Argument(..., metavar="RUN", help="A run file or a run directory.")
RUN_DIR = typer.Argument(..., metavar="RUN_DIR", help="A directory that `spikecore train` wrote.")
ENGINE = typer.Option(
    None,
    "--engine",
    "-e",
    metavar="NAME",
    autocompletion=engine_names,
    help="Engine. Default: $SPIKECORE_ENGINE, else the one in the run file.",
)
SETS = typer.Option(
    None, "--set", "-s", metavar="KEY=VALUE", help="Change a key of the run file, e.g. train.epochs=3. May be repeated."
)
SIMULATE = typer.Option(
    False, "--simulate", help="With engine ipu: use a simulation of PopTorch on the CPU instead of PopTorch."
)
JSON = typer.Option(False, "--json", help="Print the result as one JSON object, and nothing else, on stdout.")


def examples(*lines: str, pages: str = COMMAND_LINE) -> Callable[[Command], Command]:
    """Give a command the examples that stand at the end of its help, one a line, and the pages to read on."""

    def with_examples(command: Command) -> Command:
        command.ending = epilog(*lines, pages=pages)  # type: ignore[attr-defined]
        return command

    return with_examples


def epilog(*lines: str, pages: str = COMMAND_LINE) -> str:
    """The end of a help text: examples, one a line, and where to read on."""
    shown = ["\b\n" + "\n".join(["Examples:", *(f"  {line}" for line in lines)])] if lines else []
    return "\n\n".join([*shown, f"Read on: {pages}."])


class PlainCommand(TyperCommand):
    """A command whose help says what its arguments are; some versions of typer add Python's types."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for each in self.params:
            if each.param_type_name == "argument":
                each.display_type_rich = lambda ctx: None  # type: ignore[attr-defined, union-attr]


def show_json(value: Any) -> None:
    """Print ``value`` as JSON. Numbers that are not finite become null, since JSON has none."""
    print(json_text(value, indent=2))


def of_file(
    file: Path, engine: Optional[str], sets: Optional[List[str]], directory: Optional[Path] = None, resume: bool = False
) -> TrainingRun:
    """The run that a run file describes, with the options of the command line; with ``resume`` the one that has begun
    in the directory.
    """
    scale = saved_scale(directory / MODEL) if resume and directory is not None else None
    return TrainingRun(read(file, engine, sets or ()), directory, file.name, scale=scale)


def of_file_or_directory(run: Path, engine: Optional[str], sets: Optional[List[str]]) -> TrainingRun:
    """The run of a run file, or of a directory that ``spikecore train`` wrote."""
    return opened(run, engine, sets or ()) if run.is_dir() else of_file(run, engine, sets)


def simulated(sets: Optional[List[str]], simulate: bool) -> List[str]:
    """The changes to the run file, with that of ``--simulate`` among them."""
    return [*(sets or ()), *(["engine_options.simulate=true"] if simulate else [])]
