"""The command ``spikecore bench``: it checks its arguments, and writes tables to the screen and to a file."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import replace
from pathlib import Path
from typing import Callable, List, Optional, Sequence, Tuple

from benchmarks import machine, picture, runner
from benchmarks.plan import PEERS, Settings, Workload
from benchmarks.report import Section, as_json, as_markdown
from benchmarks.workloads import WORKLOADS
from spikecore.cli.messages import ConfigError
from spikecore.installing import to_install

ENGINES = ("torch", "numpy")
PICTURED = {"rates": picture.of_rates, "growth": picture.of_growth}  # panels of the workloads with a picture


def listing() -> str:
    """The description of every workload, and for every peer whether it is installed."""
    parts = [f"{workload.name}: {workload.title}\n{_indented(workload.text)}" for workload in WORKLOADS.values()]
    states = (f"{key} ({_state(key)})" for key in PEERS)
    return "\n\n".join([*parts, f"peers: {', '.join(states)}"])


def measure(
    names: Sequence[str],
    settings: Settings,
    rounds: int,
    out: Optional[Path],
    progress: Optional[bool],
    say: Callable[[str], None] = print,
    plot: Optional[Path] = None,
) -> bool:
    """Measure workloads, print the table of each when it is finished, and write all tables so far to a file.

    Args:
        names: names of workloads; none for all.
        settings: device, engines, peers and sizes.
        rounds: how often each side is timed.
        out: file for the results, .md or .json; .jsonl gets a line for each group, and a group that has one is not
            measured again; None for no file.
        progress: whether to show progress bars; None shows them on a terminal.
        say: takes the text of a table.
        plot: file for the picture of the first workload that has one, .svg or .png; None for no picture.

    Returns:
        False if a side failed; a side whose package is missing has not failed.

    Raises:
        ConfigError: a workload, engine or peer is unknown, the device or the file cannot be used, or torch is missing.
    """
    workloads = _checked(names, settings, out, plot)
    where = {**machine.describe(settings.device), "memory_kept": settings.memory_kept}
    say(machine.sentence(where))
    done: List[Section] = []
    pictured = next((workload.name for workload in workloads if workload.name in PICTURED), None)
    lines = out if out is not None and out.suffix == ".jsonl" else None

    def ready(section: Section) -> None:
        if plot is not None and section.name == pictured and any(row.figures for row in section.rows):
            picture.draw(PICTURED[section.name](section.rows), plot)
            beside = plot if out is None else Path(os.path.relpath(plot, out.parent))
            section = replace(section, picture=beside.as_posix())
        done.append(section)
        say("\n" + as_markdown(where, [section]).partition("\n\n")[2].rstrip())
        if out is not None and out != lines:
            out.write_text((as_json if out.suffix == ".json" else as_markdown)(where, done), encoding="utf-8")

    runner.run(workloads, settings, rounds, progress, ready, lines)
    return not any(row.failed for section in done for row in section.rows)


def _checked(
    names: Sequence[str], settings: Settings, out: Optional[Path], plot: Optional[Path]
) -> Tuple[Workload, ...]:
    problems = [f"WORKLOAD {name}: there are {', '.join(WORKLOADS)}" for name in names if name not in WORKLOADS]
    problems += [f"--engine {name}: must be torch or numpy" for name in settings.engines if name not in ENGINES]
    problems += [f"--peers {k}: there are {', '.join(PEERS)}, and none" for k in settings.peers or () if k not in PEERS]
    if out is not None and (out.suffix not in (".md", ".json", ".jsonl") or not out.parent.is_dir()):
        problems.append(f"--out {out}: must end in .md, .json or .jsonl and lie in a directory that exists")
    if plot is not None:
        problems += picture.problems(plot)
        if names and not set(PICTURED).intersection(names):
            problems.append(f"--plot {plot}: it shows the workload {' or '.join(PICTURED)}; neither is chosen")
    if importlib.util.find_spec("torch") is None:
        problems.append(f"bench needs torch: {to_install('torch')}")
    elif settings.device != "cpu":
        problems += _device_problems(settings.device)
    if problems:
        raise ConfigError(problems)
    return tuple(WORKLOADS[name] for name in names or WORKLOADS)


def _device_problems(device: str) -> List[str]:
    import torch

    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        return [f"--device {device}: this torch cannot use it: {str(error).splitlines()[0]}"]
    return []


def _state(key: str) -> str:
    package, install = PEERS[key]
    return "installed" if importlib.util.find_spec(package) is not None else f"pip install {install}"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
