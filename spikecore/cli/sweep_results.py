"""Results of a sweep: a row for each trial, the best values as a run file, and pictures."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any, Dict, List

from spikecore.cli.sweep_pictures import Axis, draw
from spikecore.cli.sweep_storage import Storage
from spikecore.cli.toml_text import toml_text
from spikecore.files import write_atomically

TABLE, BEST_RUN = "trials.csv", "best.toml"
STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting"}
MOST_ROWS = 5


def values_of(storage: Storage, trial: Any) -> Dict[str, Any]:
    """The values of a trial by key, as the run file says them; without those that it has not got yet."""
    values = {}
    for parameter in storage.space.parameters:
        if parameter.key in trial.params:
            stored = trial.params[parameter.key]
            values[parameter.key] = stored if parameter.limits.choices is None else parameter.named[stored]
    return values


def value_of(trial: Any) -> Any:
    """The value that judges a trial; of a pruned one the value of its last epoch; None if there is none."""
    return trial.value if trial.value is not None else trial.intermediate_values.get(trial.last_step)


def rows(storage: Storage) -> List[Dict[str, Any]]:
    """A row for each trial."""
    return [
        {
            "trial": trial.number,
            "state": STATES[trial.state.name],
            storage.settings.metric: value_of(trial),
            "epochs": trial.user_attrs.get("epochs"),
            "seconds": trial.user_attrs.get("seconds"),
            **{key: _plain(value) for key, value in values_of(storage, trial).items()},
            "reason": trial.user_attrs.get("reason"),
        }
        for trial in storage.all()
    ]


def write_table(directory: Path, storage: Storage) -> None:
    """Write all trials to trials.csv."""
    metric, keys = storage.settings.metric, [parameter.key for parameter in storage.space.parameters]
    text = io.StringIO()
    table = csv.DictWriter(text, ["trial", "state", metric, "epochs", "seconds", *keys, "reason"], lineterminator="\n")
    table.writeheader()
    table.writerows(rows(storage))
    write_atomically(directory / TABLE, text.getvalue().encode())


def summary(directory: Path, storage: Storage, tested: Dict[str, Any]) -> Dict[str, Any]:
    """The result of a sweep: how many trials ended how, the best one, and its metrics on the test samples."""
    best, states = storage.best(), [STATES[trial.state.name] for trial in storage.all()]
    assert best is not None
    return {
        "directory": str(directory),
        "trials": len(states),
        **{state: states.count(state) for state in ("complete", "pruned", "failed")},
        "metric": storage.settings.metric,
        "best_trial": best.number,
        "best_value": best.value,
        "best": values_of(storage, best),
        **{name: value for name, value in tested.items() if name.startswith("test_")},
    }


def pictures(directory: Path, storage: Storage) -> List[Path]:
    """Draw the pictures of a sweep that has a complete trial; returns their paths.

    Raises:
        ImportError: matplotlib is missing.
    """
    metric, axes, shown = storage.settings.metric, [], rows(storage)
    for parameter in storage.space.parameters:
        names = [] if parameter.limits.choices is None else [short(each) for each in parameter.ends]
        axes.append(Axis(parameter.key, names, parameter.limits.log))
        for row, trial in zip(shown, storage.all()) if names else ():
            if parameter.key in trial.params:
                row[parameter.key] = list(parameter.named).index(trial.params[parameter.key])
    with_values = [row for row in shown if row[metric] is not None and math.isfinite(row[metric])]
    return draw(directory, with_values, axes, metric, storage.settings.maximize)


def line(storage: Storage, number: int, done: int) -> str:
    """One line of text about a trial that is done, one of ``done``, and about the best so far."""
    trial, best, metric = storage.all()[number], storage.best(), storage.settings.metric
    value = value_of(trial)
    said = f"{metric} {value:.4f}" if value is not None else "no value"
    if trial.state.name != "COMPLETE":
        said += f", {STATES[trial.state.name]} after {trial.user_attrs.get('epochs', 0)} epochs"
    if "reason" in trial.user_attrs:
        said += f" ({trial.user_attrs['reason']})"
    names = short_keys(storage)
    shown = "  ".join(f"{names[key]} = {short(value)}" for key, value in values_of(storage, trial).items())
    leading = "" if best is None else f"  [best {best.value:.4f}, trial {best.number}]"
    return f"{done:>3} of {storage.total}  trial {number}: {said}  {shown}{leading}"


def best_rows(storage: Storage) -> str:
    """The best trials as a table of text."""
    metric, sign = storage.settings.metric, -1 if storage.settings.maximize else 1
    complete = [trial for trial in storage.all() if trial.state.name == "COMPLETE"]
    complete.sort(key=lambda trial: sign * trial.value)
    keys = short_keys(storage)
    cells = [["trial", metric, *keys.values()]]
    for trial in complete[:MOST_ROWS]:
        values = values_of(storage, trial)
        cells.append([str(trial.number), f"{trial.value:.4f}", *(short(values[key]) for key in keys)])
    widths = [max(map(len, column)) for column in zip(*cells)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in cells)


def short_keys(storage: Storage) -> Dict[str, str]:
    """Each key of the space by its last parts, as few as tell it from the others: "lr", or "1.beta" and "3.beta"."""
    keys = [parameter.key for parameter in storage.space.parameters]

    def end(key: str, parts: int) -> str:
        return ".".join(key.split(".")[-parts:])

    def parts(key: str) -> int:
        return next(n for n in range(1, 1 + len(key)) if [end(each, n) for each in keys].count(end(key, n)) == 1)

    return {key: end(key, parts(key)) for key in keys}


def _plain(value: Any) -> Any:
    return toml_text(value) if isinstance(value, (dict, list, bool)) else value


def short(value: Any) -> str:
    """A value for people: four digits of a number, and a table with a kind as one would write it in Python."""
    if isinstance(value, dict) and "kind" in value:
        options = ", ".join(f"{key}={short(part)}" for key, part in value.items() if key != "kind")
        return f"{value['kind']}({options})"
    return f"{value:.4g}" if isinstance(value, float) else str(_plain(value))
