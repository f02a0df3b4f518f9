"""The command line: ``spikecore`` and its commands, and how each of them ends.

The commands are in files of their own, by what they do: ``command_file.py`` (init, config), ``command_train.py``
(train, evaluate, plot), ``command_sweep.py`` (sweep), ``command_submit.py`` (submit), ``command_check.py`` (verify,
check), ``command_export.py`` (export), ``command_nir.py`` (nir check, nir convert), ``command_zoo.py`` (zoo),
``command_machine.py`` (engines, warm, bench).
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
import traceback
import warnings
from typing import Any, Callable, Iterator, List, Optional, Tuple

from spikecore.arguments import unknown
from spikecore.cli.exit_codes import DATA, EXIT_CODES, INTERRUPTED, NOT_VERIFIED, OK, RUNTIME, USAGE, Interrupted
from spikecore.installing import to_install
from spikecore.progress import at_work

__all__ = ["DATA", "INTERRUPTED", "NOT_VERIFIED", "OK", "RUNTIME", "USAGE", "app", "guarded", "main"]

# After a product, OpenBLAS's threads wait in a busy loop and take cores from the kernels. A short timeout prevents it.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")

try:
    with at_work(lambda seconds: f"spikecore starts, {seconds:.0f} s"):
        import typer

        from spikecore import __version__
        from spikecore.cli import (
            command_check,
            command_export,
            command_file,
            command_machine,
            command_nir,
            command_submit,
            command_sweep,
            command_train,
            command_zoo,
            processes,
        )
        from spikecore.cli.lock import Occupied
        from spikecore.cli.messages import ConfigError
        from spikecore.cli.options import PlainCommand, epilog
        from spikecore.cli.run_file import keys_called
        from spikecore.datasets import DataError
        from spikecore.errors import CheckpointError, RankError
        from spikecore.utils import keep_memory
except ModuleNotFoundError as missing:  # any package outside this extra is a fault of the installation: raise it
    if missing.name is None or missing.name.partition(".")[0] not in "typer pydantic tomli tomli_w".split():
        raise
    print(f"spikecore: the command line needs {missing.name}: {to_install('cli')}", file=sys.stderr)
    raise SystemExit(USAGE) from None
except KeyboardInterrupt:
    print("interrupted", file=sys.stderr)
    raise SystemExit(INTERRUPTED) from None

COMMANDS: Tuple[Any, ...] = (  # in the order in which a user needs them
    command_file.init,
    command_train.train,
    command_train.evaluate,
    command_check.verify,
    command_train.plot,
    command_sweep.sweep,
    command_submit.submit,
    command_export.export,
    command_file.config,
    command_check.check,
    command_zoo.zoo,
    command_machine.engines,
    command_machine.warm,
    command_machine.bench,
)
FIRST_STEPS = (
    "spikecore init digits                    # write digits.toml",
    "spikecore train digits.toml              # train it, into runs/digits-001",
    "spikecore verify runs/digits-001         # verify its gradients",
    "spikecore export runs/digits-001 --to c  # write it as C",
    "spikecore train --help                   # what a command does",
)

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Train spiking networks from run files on any engine, verify their gradients, plot their spikes, and export "
    "them to C, ONNX and NIR.",
    epilog=epilog(*FIRST_STEPS) + "\n\n" + EXIT_CODES,
)


def _interruptible(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command, raising Interrupted for a Ctrl-C of which it does not say more."""

    @functools.wraps(command)
    def called(*arguments: Any, **options: Any) -> Any:
        if command is not command_train.train and processes.rank():
            return None  # rank 0 does it alone
        try:
            return command(*arguments, **options)
        except KeyboardInterrupt:
            raise Interrupted("interrupted") from None

    return called


nir = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=command_nir.HELP, epilog=command_nir.ENDING)
for _group, _commands in ((app, COMMANDS), (nir, command_nir.COMMANDS)):
    for _command in _commands:
        _group.command(cls=PlainCommand, epilog=_command.ending)(_interruptible(_command))
app.add_typer(nir, name="nir")


def _version(asked: bool) -> None:
    if asked:
        print(f"spikecore {__version__}")
        raise typer.Exit


VERSION = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version and exit.")
DEBUG = typer.Option(False, "--debug", help="Show the traceback of an error. May stand anywhere on the line.")


@app.callback()
def options(context: typer.Context, version: bool = VERSION, debug: bool = DEBUG) -> None:
    """Options of every command; ``main`` reads --debug before typer does."""
    if context.invoked_subcommand != "bench":  # bench measures a process with the system's own memory settings
        keep_memory()


# ---- how a command ends --------------------------------------------------------------------------------------------


def main(arguments: Optional[List[str]] = None) -> None:
    """Run a command and end the process with the command's exit code.

    Args:
        arguments: the words after ``spikecore``; default: those of the command line.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"]
    with _plain_warnings():
        guarded(lambda: app(given, prog_name="spikecore", standalone_mode=False), debug)


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Print what the library warns of without a line of source, which here would be one of typer's."""
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(message: Any, category: Any, *place: Any, **named: Any) -> None:
            if category.__module__.partition(".")[0] == "spikecore":
                print(f"warning: {message}", file=sys.stderr)
            else:
                others(message, category, *place, **named)

        warnings.showwarning = show
        yield


def guarded(command: Callable[[], Optional[int]], debug: bool = False) -> None:
    """Call ``command`` and end the process with the exit code that it returns, or with that of the error it raises.

    Args:
        command: returns an exit code, or None for success.
        debug: print the traceback of an error before the line that explains it.
    """
    try:
        code = command()
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exc()
        code = _explained(error)
    raise SystemExit(code or OK)


def _hints(said: str, context: Any) -> Iterator[str]:
    """Advice for words that a command does not take."""
    word = re.search(r"No such command '([^']*)'", said)
    if word:
        yield unknown("command", word[1], [*(command.__name__ for command in COMMANDS), "nir"])
    if "unexpected extra argument" in said and context is not None:
        if context.info_name == "init":
            yield "your own data are named by --path, e.g. spikecore init csv --path FILE.csv"
        elif any(each.name == "sets" for each in context.command.params):
            yield "a key and its value are one word: --set KEY=VALUE"


def _explained(error: BaseException) -> int:
    """Print what went wrong, and return the exit code."""
    if hasattr(error, "exit_code") and hasattr(error, "show"):  # typer's errors; their module depends on its version
        error.show()
        context = getattr(error, "ctx", None)  # None where an option at the end of the line has no value
        for hint in _hints(str(getattr(error, "message", "")), context):
            print(hint, file=sys.stderr)
        takes = [each.name for each in context.command.params] if context is not None else []
        if hasattr(error, "option_name") and "sets" in takes:
            for key in keys_called(error.option_name.lstrip("-")):
                print(f"{key} is a key of run files: write --set {key}=VALUE", file=sys.stderr)
        return USAGE
    if processes.silent(error):
        error, shown = error.__cause__ or error, False
    else:
        shown = True
    say = (lambda text: print(processes.named(text), file=sys.stderr)) if shown else (lambda text: None)
    if isinstance(error, (Interrupted, KeyboardInterrupt)):
        say(f"\n{error}" if error.args else "\ninterrupted")  # behind the terminal's ^C
        return error.code if isinstance(error, Interrupted) else INTERRUPTED
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    for kinds, code in (((ConfigError, Occupied), USAGE), ((DataError, CheckpointError, OSError), DATA)):
        if isinstance(error, kinds):
            say(text)
            return code
    say(str(text) if isinstance(error, RankError) else f"{type(error).__name__}: {text} (--debug shows where)")
    return RUNTIME


if __name__ == "__main__":
    main()
