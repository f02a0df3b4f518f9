"""The commands about run files: ``init`` writes one, ``config`` shows what one says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import List, Optional

import typer

from spikecore.arguments import unknown
from spikecore.cli import new_run_file
from spikecore.cli.command_zoo import architecture_names, known
from spikecore.cli.messages import ConfigError
from spikecore.cli.options import ENGINE, JSON, RUN, SETS, SIMULATE, examples, show_json, simulated
from spikecore.cli.run_directory import RUN as RUN_NAME
from spikecore.cli.run_file import resolved
from spikecore.cli.toml_text import toml_text


def dataset_names(incomplete: str) -> List[str]:
    """The names of data sets that begin with ``incomplete``, for the completion of a shell."""
    return [name for name in new_run_file.STARTS if name.startswith(incomplete)]


DATASET = typer.Argument(
    None,
    metavar="DATASET",
    autocompletion=dataset_names,
    help="The data set to train on. Without it, the data sets are listed.",
    show_default=False,
)
OUT = typer.Option(None, metavar="RUN.toml", help="The file to write, or - for the screen. Default: DATASET.toml.")
PATH = typer.Option(
    None,
    metavar="PATH",
    help="Where the data are: a file for csv, series, npz, hdf5 and event_npz, a folder for the others.",
)
ZOO = typer.Option(
    None,
    metavar="NAME",
    autocompletion=architecture_names,
    help="An architecture for the network; `spikecore zoo` lists them. Default: two dense layers, or for your own "
    "tables, arrays, images, sounds and recordings what the recipe chooses.",
)
TIME_AXIS = typer.Option(
    None,
    metavar="AXIS",
    help="Of your own arrays: the axis that is time, e.g. 1 of (samples, time, features). Default: there is none.",
)
PLASTICITY = typer.Option(
    False, "--plasticity", help="Learn without labels, by local rules (STDP), with neurons that compete."
)
NUMBERS = typer.Option(
    False,
    "--numbers",
    help="The targets of your own table or arrays are numbers to predict, though all are whole. Default: whole numbers "
    "are classes.",
)
LOOK_BACK = typer.Option(
    None, metavar="STEPS", min=1, help="Of series: the steps that the network sees. Default: four times the horizon."
)
HORIZON = typer.Option(
    None,
    metavar="STEPS",
    min=1,
    help="Of series: the steps that it forecasts. Default: 24, or a twentieth of a series shorter than 480 steps.",
)


def _for_file(path: Path) -> str:
    """The command that writes a run file for one's own data."""
    kinds = {".csv": "csv", ".tsv": "csv", ".npz": "npz", ".h5": "hdf5", ".hdf5": "hdf5", ".zarr": "zarr"}
    kind = kinds.get(path.suffix.lower())
    if kind is None and path.is_dir():
        endings = {file.suffix.lower() for folder in ("*/*", "*/*/*") for file in path.glob(folder)}
        kind = "wav_folder" if ".wav" in endings else "npy" if any(path.glob("*.npy")) else "image_folder"
    return f"spikecore init {kind or 'csv'} --path {path}"


@examples(
    "spikecore init",
    "spikecore init digits",
    "spikecore init digits --plasticity --out unlabelled.toml",
    "spikecore init digits --zoo sew_resnet18",
    "spikecore init mnist --path ~/data --out first.toml",
    "spikecore init csv --path my_table.csv",
    "spikecore init npz --path my_arrays.npz",
    "spikecore init npz --path my_traces.npz --time-axis 1",
    "spikecore init series --path my_series.csv --look-back 96 --horizon 24",
    "spikecore init image_folder --path my_images",
    "spikecore init wav_folder --path my_sounds",
    pages="“Your own data” (docs/own_data.md), “Run files” (docs/run_files.md)",
)
def init(
    dataset: Optional[str] = DATASET,
    out: Optional[Path] = OUT,
    path: Optional[Path] = PATH,
    zoo: Optional[str] = ZOO,
    time_axis: Optional[int] = TIME_AXIS,
    plasticity: bool = PLASTICITY,
    numbers: bool = NUMBERS,
    look_back: Optional[int] = LOOK_BACK,
    horizon: Optional[int] = HORIZON,
) -> None:
    """Write a run file to begin with.

    The file trains as it is. It holds every key of a run file, with what it means, its range and its default. An
    existing file is never replaced.
    """
    if dataset is None:
        if zoo is not None:
            raise ConfigError([f"--zoo {zoo}: name the data set, too, e.g. spikecore init digits --zoo {zoo}"])
        if path is not None:
            raise ConfigError([f"--path {path}: name the kind of data, too, {_for_file(path)}"])
        print(new_run_file.listing())
        return
    if dataset not in new_run_file.STARTS:
        own = "Arrays and traces of your own are saved as .npz first: docs/own_data.md"
        if Path(dataset).suffix or Path(dataset).exists():  # a file or a folder
            raise ConfigError([f"{dataset}: is no name of a data set; write {_for_file(Path(dataset))}"])
        raise ConfigError([f"{unknown('data set', dataset, new_run_file.STARTS)}. {own}"])
    card = None if zoo is None else known(zoo)
    text = new_run_file.new_run_file(dataset, path, card, time_axis, plasticity, numbers, look_back, horizon)
    if str(out) == "-":
        sys.stdout.write(text)
        return
    file = Path(f"{dataset}.toml") if out is None else out
    try:
        with open(file, "x", encoding="utf-8") as target:
            target.write(text)
    except FileExistsError:
        raise ConfigError([f"{file} already exists, and is not replaced: name another file with --out"]) from None
    print(f"wrote {file}; train it: spikecore train {file}")


@examples(
    "spikecore config digits.toml",
    "spikecore config runs/digits-001 --set train.epochs=3",
    "spikecore config digits.toml --json",
    pages="“Keys of run files” (docs/run_file_keys.md)",
)
def config(
    run: Path = RUN,
    engine: Optional[str] = ENGINE,
    sets: Optional[List[str]] = SETS,
    as_json: bool = JSON,
    simulate: bool = SIMULATE,
) -> None:
    """Show every value of a run file, and where it comes from.

    A value comes from a line of the file, from --set, --engine or $SPIKECORE_ENGINE, or is the default. Each key is
    spelled as --set takes it. Nothing is loaded and nothing runs.
    """
    file = run / RUN_NAME if run.is_dir() else run
    settings = resolved(file, engine, simulated(sets, simulate))[1]
    if as_json:
        show_json({setting.key: {"value": setting.value, "origin": setting.origin} for setting in settings})
        return
    shown = [(f"{setting.key} = {toml_text(setting.value)}", setting.origin) for setting in settings]
    width = min(60, max(len(text) for text, _ in shown))
    for text, origin in shown:
        print(f"{text:<{width}}  # {origin}")
