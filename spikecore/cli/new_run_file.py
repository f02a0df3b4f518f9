"""Run files to begin with: ``spikecore init``.

A file sets the keys that matter for its data set. All other keys stand in it with their defaults, behind a #. Their
descriptions and limits are those of the models that check run files, so that no key is described twice.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from pydantic_core import PydanticUndefined
from typing_extensions import Literal, get_args, get_origin

from spikecore.api.core.engines import engines
from spikecore.cli import new_plasticity
from spikecore.cli.data_tables import TABLES
from spikecore.cli.messages import ConfigError, models_in
from spikecore.cli.new_network import architecture_table, comment, layer_table, takes_vectors
from spikecore.cli.new_recipe import WARP, WINDOWS, data_keys, network_lines, recipe_for, train_keys, warped
from spikecore.cli.own_starts import MOST_SIDE, OF_OWN, Asked, start_of
from spikecore.cli.run_file import RunFile
from spikecore.cli.starts import STARTS, Start
from spikecore.cli.toml_text import toml_text
from spikecore.cli.track_table import Track
from spikecore.cli.train_table import Train
from spikecore.zoo import Card

STEPS = 15
# what a key may be set to whose default is that it is absent
POSSIBLE: Dict[str, Any] = {
    "device": "cuda",
    "engine_options": {"sparse_backward": 0.02},
    "test_path": "test.npz",
    "inputs": "x_{part}",
    "size": [32, 32],
    "targets": "y_{part}",
    "lengths": "steps_{part}",
    "weights": "balanced",
    "bucket": 20,
    "scale": "standard",
    "target": "species",
    "numbers": True,
    "cache": "cache",
    "metric": "accuracy",
    "tensorboard": True,
    "csv": True,
    "jsonl": True,
    "mlflow": {"experiment": "spikecore"},
    "wandb": {"project": "spikecore", "offline": True},
    "compute": {"memory": "8GB", "accumulate": 2},
    "learning": {"kind": "bptt", "window": 5},
    "save_within": 20.0,
    "early_stopping": {"patience": 5, "monitor": "val_loss"},
    "pruning": {"amount": 0.9, "end": 10},
    "rewiring": {"amount": 0.9, "fraction": 0.3},
    "schedule": "cosine",
}
LIMITS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def listing() -> str:
    """The data sets for which there are run files, a line each."""
    width = max(map(len, STARTS))
    return "\n".join(f"{name:<{width}}  {start.what}" for name, start in STARTS.items())


def new_run_file(
    name: str,
    path: Optional[Path] = None,
    card: Optional[Card] = None,
    time_axis: Optional[int] = None,
    plasticity: bool = False,
    numbers: bool = False,
    look_back: Optional[int] = None,
    horizon: Optional[int] = None,
) -> str:
    """The text of a run file to begin with.

    Args:
        name: a name in ``STARTS``.
        path: the folder of a data set that is downloaded, default "data"; for your own data the file or folder, whose
            arrays decide the sizes of the network.
        card: the architecture; None, the default: the recipe for your own tables, arrays, images, sounds and
            recordings, else two dense layers.
        time_axis: which axis of your own arrays is time; None, the default: samples have no time.
        plasticity: whether neurons that compete learn without labels, instead; default False.
        numbers: whether the targets of your own table or arrays are numbers, though all are whole; default False.
        look_back, horizon: how many steps of series are seen, and how many forecast; None, the defaults: four times the
            horizon, and 24 or a twentieth of a short series.

    Raises:
        ConfigError: ``path`` is missing, or the data set has none, or the archive holds no classes and no numbers, or
            the architecture or plasticity does not take such samples, or both are asked for, or there is no such axis.
        DataError: the archive cannot be read.
    """
    asked = Asked(path, time_axis, plasticity, numbers, look_back, horizon)
    asked.check(name)
    start, samples = start_of(name, asked)
    if not start.classes and (plasticity or card is not None):
        option = "--plasticity" if card is None else f"--zoo {card.name}"
        raise ConfigError([f"{option}: is for classes, and the targets are numbers: leave it out"])
    if plasticity and card is not None:
        raise ConfigError([f"--plasticity has a network of its own: leave --zoo {card.name} out"])
    if plasticity:
        tables = _by_plasticity(name, start)
    elif card is not None:
        tables = _by_card(name, start, card)
    else:
        tables = (_by_recipe(name, start, samples) if name in OF_OWN else None) or _by_layers(name, start)
    usable = {status.name for status in engines() if status.available}
    engine = "torch" if "torch" in usable and not plasticity else "numpy"
    lines = [
        *_heading(start, tables.about),
        *_keys(RunFile, {"engine": engine, "seed": 0}, ("data", "encoder", "network", "train", "track")),
        "",
        "[data]",
        *_keys(TABLES[name], tables.data),
        "",
        *tables.encoder,
        "",
        *tables.network,
        "",
        "[train]",
        *_keys(Train, tables.train, tables.absent),
        "",
        *(tables.rules and [*tables.rules, ""]),
        "[track]",
        *_keys(Track, {}),
    ]
    return "\n".join(lines) + "\n"


class _Tables(NamedTuple):
    """The tables of a run file: the keys that are set in ``[data]`` and ``[train]``, and the lines of others.

    Args:
        about: the network, for the heading.
        absent: keys of ``[train]`` that are left out.
        rules: tables of ways of learning.
    """

    about: str
    data: Dict[str, Any]
    encoder: List[str]
    network: List[str]
    train: Dict[str, Any]
    absent: Tuple[str, ...] = ()
    rules: Sequence[str] = ()


def _by_layers(name: str, start: Start) -> _Tables:
    """Two dense layers."""
    about = f"{start.features}-{start.hidden}-{start.classes} leaky neurons"
    return _Tables(about, _data(name, start), _encoder(start, STEPS), layer_table(start), _train(start))


def _by_card(name: str, start: Start, card: Card) -> _Tables:
    """An architecture of the zoo."""
    network = architecture_table(start, card)
    if "image" in TABLES[name].model_fields and not takes_vectors(card):
        start = replace(start, data={**start.data, "image": True})
    return _Tables(f"zoo.{card.name}", _data(name, start), _encoder(start, card.num_steps), network, _train(start))


def _by_plasticity(name: str, start: Start) -> _Tables:
    """Neurons that compete."""
    new_plasticity.check_static(start)
    about = f"{new_plasticity.neurons(start)} neurons that learn without labels"
    data = {**_data(name, start), "batch_size": 20, "validation": "none"}
    network, encoder = new_plasticity.tables(start)
    rules = new_plasticity.learning_tables(start)
    return _Tables(about, data, encoder, network, new_plasticity.TRAIN, new_plasticity.ABSENT, rules)


def _by_recipe(name: str, start: Start, samples: Any) -> Optional[_Tables]:
    """The choices of the recipe for the user's own data; None if there is none for such samples."""
    smaller: List[Dict[str, Any]] = []
    if name == "event_npz":
        factor = math.ceil(max(start.data["sensor"]) / MOST_SIDE)
        smaller = [{"kind": "Downsample", "factor": factor}] if factor > 1 else []
        start = replace(start, data={**start.data, "transforms": [*smaller, *WINDOWS]})
    samples = TABLES[name](**start.data).load(0)[0] if samples is None else samples
    recipe = recipe_for(samples, start, 1 if name == "wav_folder" else start.time_axis)
    if recipe is None:
        return None
    if name == "event_npz":
        recipe = warped(recipe)
        start = replace(start, data={**start.data, "transforms": [*smaller, WARP, *WINDOWS]})
    data = {"name": name, **data_keys(recipe, start, samples), "batch_size": recipe.training["batch_size"]}
    steps = recipe.feed.get("num_steps")  # None: step by step
    encoder = _encoder(replace(start, time_axis=None, recorded=False) if steps else start, steps or 0)
    network = network_lines(recipe, start.flatten and len(recipe.facts.shape) == 1)
    about = "by the recipe, sc.recipe(x, y); the reasons are below"
    return _Tables(about, data, encoder, network, train_keys(recipe))


# ---- the parts of the file -----------------------------------------------------------------------------------------


def _data(name: str, start: Start) -> Dict[str, Any]:
    return {"name": name, **start.data, "batch_size": 128 if start.features == 784 else 32 if start.recorded else 64}


def _train(start: Start) -> Dict[str, Any]:
    optimizer = {"kind": "Adam", "lr": start.lr}
    return {"epochs": start.epochs, "loss": {"kind": "ce_rate_loss"}, "optimizer": optimizer}


def _heading(start: Start, network: str) -> List[str]:
    return [
        f"# A run file of spikecore. Data: {start.what}.",
        f"# Network: {network}.",
        "#",
        "#   spikecore train FILE              trains it, into runs/NAME-001",
        "#   spikecore train FILE --dry-run    shows what that would do",
        "#   spikecore config FILE             shows every value, and where it comes from",
        "#",
        "# Lines that begin with #key show keys that are not set: remove the # to set one. docs/run_files.md describes",
        "# all keys. The keys of a layer are the arguments of the class: sc.Leaky(beta=0.9) is",
        '# { kind = "Leaky", beta = 0.9 }.',
        "",
    ]


def _encoder(start: Start, steps: int) -> List[str]:
    if start.recorded or start.time_axis is not None:
        why = "recordings are sequences after the transforms" if start.recorded else "samples are sequences"
        batch = "(time, batch, ...)" if start.recorded else "axis 0 counts samples"
        return [
            "[encoder]",
            *comment(f"how a sample becomes a sequence: {why}, and are not encoded"),
            'kind = "sequence"',
            f"time_axis = {start.time_axis or 0} # where time stands in a batch: {batch}",
        ]
    kinds = ", ".join(_kinds(RunFile.model_fields["encoder"].annotation))
    several = "the network sees a sample whole at each step; if one of its axes is time: init --time-axis"
    return [
        "[encoder]",
        *(comment(several) if start.flatten and "size" not in start.data else []),  # images have no time
        *comment(f"how a sample becomes a sequence: {kinds}"),
        'kind = "constant" # the sample is a current that is the same at each step',
        f"num_steps = {steps} # time steps per sample; >= 1, default 25",
        *comment(
            'kind = "rate" makes random spikes instead: at most one per step, with the input (in [0, 1]) as its '
            "probability"
        ),
    ]


def _keys(model: Any, chosen: Dict[str, Any], without: Tuple[str, ...] = ()) -> Iterator[str]:
    """All keys of a table, those first that are set; the others behind a #."""
    names = [*chosen, *(name for name in model.model_fields if name not in chosen)]
    for name in names:
        if name in without:
            continue
        field = model.model_fields[name]
        default = field.get_default(call_default_factory=True)
        given = chosen[name] if name in chosen else POSSIBLE.get(name, default) if default in (None, {}) else default
        text = field.description or (model.__doc__ or "").splitlines()[0].rstrip(".")
        about = [text, *_allowed(field)]
        if default in (None, {}) and name not in chosen:
            about.append("not set by default")
        elif default not in (None, {}, PydanticUndefined) and (name in chosen or given != default):
            about.append(f"default {toml_text(default)}")
        yield from comment("; ".join(about))
        yield f"{'' if name in chosen else '#'}{name} = {toml_text(given)}"


def _allowed(field: Any) -> Iterator[str]:
    """Allowed values of a field, in words: its limits, its texts or its kinds."""
    for limit in field.metadata:
        for name, sign in LIMITS.items():
            if hasattr(limit, name):
                yield f"{sign} {getattr(limit, name)}"
    if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) > 1:
        yield " or ".join(map(toml_text, get_args(field.annotation)))
    kinds = _kinds(field.annotation)
    if len(kinds) > 1:
        yield f"kinds: {', '.join(kinds)}"


def _kinds(annotation: Any) -> List[str]:
    """The names of the kinds among which a table chooses."""
    return [model.model_fields["kind"].default for model in models_in(annotation) if "kind" in model.model_fields]
