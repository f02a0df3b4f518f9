"""The commands about files of NIR: ``nir check`` says what a reader computes, ``nir convert`` rewrites for another."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional

import numpy as np
import typer

from spikecore.cli.exit_codes import NOT_VERIFIED
from spikecore.cli.messages import ConfigError
from spikecore.cli.options import JSON, epilog, examples, show_json
from spikecore.cli.pictures import ENDINGS, save
from spikecore.datasets import DataError
from spikecore.errors import ShapeError
from spikecore.files import write_atomically
from spikecore.tracking.layers import titled_figure

PAGES = "“NIR: to and from other libraries” (docs/nir.md)"
LINES = (
    "spikecore nir check net.nir --as sinabs                 # spikes, and the rules that part them",
    "spikecore nir convert net.nir steps.nir --from norse --to sinabs --dt 0.001",
)


def reader_names(incomplete: str) -> List[str]:
    """The names of readers that begin with ``incomplete``, for the completion of a shell."""
    from spikecore.nir.dialects import DIALECTS

    return [name for name in ("nir", *DIALECTS) if name.startswith(incomplete)]


FILE = typer.Argument(..., metavar="FILE", help="A NIR file (.nir, .h5).")
AS = typer.Option(
    ...,
    "--as",
    metavar="READER",
    autocompletion=reader_names,
    help="norse, sinabs, snntorch, spyx, spikingjelly, lava, nengo, rockpool or spinnaker2: its current release. With "
    "-paper (sinabs-paper ...): as the authors of the NIR paper ran it, with what they changed by hand. lava-fixed: "
    "with integers.",
)
INPUT = typer.Option(
    "step",
    "--input",
    metavar="INPUT",
    help="constant:CURRENT; step:CURRENT, which is 0 in the first tenth of the steps; or a .npy file, "
    "(time, *features). CURRENT is 1 if it is left out.",
)
STEPS = typer.Option(
    None,
    metavar="STEPS",
    min=1,
    help="Number of steps of a constant or step input; a .npy file has its own. Default: 100.",
)
DT = typer.Option(
    None,
    metavar="DT",
    help="Duration of a step in the file's unit of time. Default: the file's own, else the reader's.",
)
PICTURE = typer.Option(
    None, metavar="FILE.png", help="Draw membranes and spikes of NIR and of the reader; .png, .pdf or .svg."
)
OUT = typer.Argument(..., metavar="OUT", help="The file to write. An existing file is never replaced.")
FROM = typer.Option(
    ..., "--from", metavar="READER", autocompletion=reader_names, help="Whose steps to keep; nir: NIR's own equations."
)
TO = typer.Option(..., "--to", metavar="READER", autocompletion=reader_names, help="Who will read the new file.")
TO_DT = typer.Option(
    None, "--to-dt", metavar="DT", help="Duration of a step in the new file. Default: --dt, or the reader's fixed one."
)
OLD = typer.Option(
    None,
    "--nir-1.0.4/--nir-1.0.6",
    help="Leave out v_reset, which nir before 1.0.6 does not know, or write it. Default: as the reader needs it.",
    show_default=False,
)


@examples(
    "spikecore nir check net.nir --as norse",
    "spikecore nir check net.nir --as snntorch --input constant:0.5 --steps 300",
    "spikecore nir check net.nir --as sinabs --dt 1e-4 --input spikes.npy --picture both.png",
    pages=PAGES,
)
def check(
    file: Path = FILE,
    reader: str = AS,
    given: str = INPUT,
    steps: Optional[int] = STEPS,
    dt: Optional[float] = DT,
    picture: Optional[Path] = PICTURE,
    as_json: bool = JSON,
) -> None:
    """Say what a reader of NIR will compute from a file, spike by spike, and where it departs from NIR's equations.

    The reader need not be installed: its rules were read from its source. Beside its spikes stand those of NIR's
    equations, solved with the input held for a step. Each rule that is not NIR's is listed with its numbers and the
    first step whose spikes it alone changes. Exits with 1 if the spikes differ, or if the reader refuses the file.
    """
    if picture is not None and picture.suffix[1:] not in ENDINGS:
        raise ConfigError([f"--picture {picture}: must end in .{', .'.join(ENDINGS)}"])
    nir_room = _room()
    try:
        graph = _graph(file, nir_room)
        said = nir_room.predict(graph, reader, _inputs(graph, given, steps), dt=dt)
    except (nir_room.NirError, ShapeError) as error:
        raise _refused(error) from None
    differs = {name: said.first(name) for name in said.reader}
    if picture is not None:
        save(_figure(said, differs), picture)
    if as_json:
        show_json(_told(said, differs))
    else:
        print(said)
        if picture is not None:
            print(f"wrote {picture}")
    if any(first is not None for first in differs.values()):
        raise typer.Exit(NOT_VERIFIED)


@examples(
    "spikecore nir convert net.nir for_sinabs.nir --from nir --to sinabs --dt 1e-4",
    "spikecore nir convert snn.nir for_norse.nir --from snntorch --to norse --to-dt 0.001",
    pages=PAGES,
)
def convert(
    file: Path = FILE,
    out: Path = OUT,
    source: str = FROM,
    target: str = TO,
    dt: Optional[float] = DT,
    to_dt: Optional[float] = TO_DT,
    old: Optional[bool] = OLD,
    as_json: bool = JSON,
) -> None:
    """Rewrite a NIR file so that one reader computes from it what another one computes from the given file.

    Time constants, r, w_in, v_leak, thresholds and resets get the numbers with which the new reader takes the same
    steps. What no number can carry over is listed: the kind of reset, spikes that come late, thresholds that count.
    Exits with 1, and writes nothing, if the new reader cannot have these steps at all.
    """
    nir_room = _room()
    if out.exists():
        raise ConfigError([f"{out} already exists, and is not replaced: name another file"])
    from spikecore.nir.dialects import DIALECTS
    from spikecore.nir.files import written

    try:
        made = nir_room.translate(_graph(file, nir_room), source, target, dt=dt, target_dt=to_dt)
        resets = DIALECTS[target].resets if target in DIALECTS else True
        content = written(made.graph, not old if old is not None else resets)
    except (nir_room.NirError, ShapeError) as error:
        raise _refused(error) from None
    write_atomically(out, content)
    if as_json:
        show_json({"file": str(out), "dt": made.graph.metadata["dt"], "notes": list(made.notes)})
        return
    print(f"wrote {out}, a step is {made.graph.metadata['dt']:g}")
    print(
        "\n".join(["not carried over:", *(f"  {note}" for note in made.notes)])
        if made.notes
        else "the steps are the same"
    )


COMMANDS = (check, convert)
HELP = "Say what another library computes from a NIR file, and rewrite the file for it."
ENDING = epilog(*LINES, pages=PAGES)


def _room() -> Any:
    """The room ``nir``; its error says what to install."""
    try:
        from spikecore import nir as room
    except ImportError as error:
        raise ConfigError([str(error)]) from None
    return room


def _refused(error: Exception) -> typer.Exit:
    if "unknown reader" in str(error):
        raise ConfigError([str(error)])
    typer.echo(str(error), err=True)
    return typer.Exit(NOT_VERIFIED)


def _graph(file: Path, room: Any) -> Any:
    """The graph of a file.

    Raises:
        FileNotFoundError, DataError: there is no such file, or it is damaged or no file of NIR.
    """
    from spikecore.nir.files import opened

    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file; `spikecore export RUN --to nir` writes one")
    try:
        return opened(file)
    except room.NirError as error:
        raise DataError(str(error)) from None


def _inputs(graph: Any, given: str, steps: Optional[int]) -> Any:
    """The input over time.

    Raises:
        ConfigError: it is neither one of the kinds nor a file of numbers, or a file's steps were to be another number.
    """
    kind, _, current = given.partition(":")
    if kind in ("constant", "step"):
        steps = 100 if steps is None else steps
        try:
            value = float(current or 1.0)
        except ValueError:
            raise ConfigError([f"--input {given}: {current!r} is no number, e.g. {kind}:0.5"]) from None
        begins = steps // 10 if kind == "step" else 0
        over_time = np.where(np.arange(steps) < begins, 0.0, value)
        from spikecore.nir.prediction import shape_of

        shape = shape_of(graph)
        return np.broadcast_to(over_time.reshape(-1, *(1,) * len(shape)), (steps, *shape))
    if not given.endswith(".npy"):
        raise ConfigError([f"--input {given}: must be constant:CURRENT, step:CURRENT or a .npy file"])
    if steps is not None:
        raise ConfigError([f"--steps {steps}: {given} has its own number of steps: leave out --steps, or cut the file"])
    try:
        return np.load(given, allow_pickle=False)
    except ValueError as error:
        raise DataError(f"--input {given}: no array of numbers: {error}") from None


def _told(said: Any, differs: Dict[str, Optional[int]]) -> Dict[str, Any]:
    nodes = {
        name: {"nir": said.nir[name].steps(), "reader": trace.steps(), "first_difference": differs[name]}
        for name, trace in said.reader.items()
    }
    departures = [vars(each) for each in said.departures]
    return {
        "reader": said.dialect.title,
        "source": said.dialect.source,
        "dt": said.dt,
        "nodes": nodes,
        "departures": departures,
    }


def _figure(said: Any, differs: Dict[str, Optional[int]]) -> Any:
    """Membrane and spikes of one neuron of each node, as NIR and as the reader has them: the first one that differs."""
    figure = titled_figure(1.2 + 1.7 * len(differs), f"NIR and {said.dialect.title}")
    panels = figure.subplots(len(differs), 1, sharex=True, squeeze=False)[:, 0]
    for ax, (name, trace) in zip(panels, said.reader.items()):
        ours, theirs = (each.spikes.reshape(len(each.spikes), -1) for each in (said.nir[name], trace))
        neuron = int(np.argmax((ours != theirs).any(axis=0)))
        for label, each, colour in (("NIR", said.nir[name], "0.5"), ("reader", trace, "C1")):
            mem = each.mem.reshape(len(each.mem), -1)[:, neuron]
            spikes = np.flatnonzero(each.spikes.reshape(len(each.spikes), -1)[:, neuron])
            ax.plot(mem, color=colour, linewidth=1, label=label)
            ax.plot(spikes, mem.max() + 0 * spikes, "|", color=colour, markersize=12 if label == "NIR" else 7)
        ax.set_title(f"node {name}, neuron {neuron}", fontsize=10)
        ax.set_ylabel("membrane")
    panels[0].legend(frameon=False, fontsize=9)
    panels[-1].set_xlabel("step")
    return figure
