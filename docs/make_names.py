"""Write names.md: every public name of snnTorch, its name in spikecore, and whether both behave alike.

Run from the repository root, with snnTorch installed: ``python docs/make_names.py``.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pathlib
import textwrap
from typing import Dict, Iterator, List, NamedTuple, Tuple

PAGE = pathlib.Path(__file__).with_name("names.md")
TABLE = pathlib.Path(__file__).with_name("names.txt")
PACKAGES = ("snntorch", "snntorch.functional")
STATUS = ("same", "better", "deviates", "not offered")
HEAD = """\
# Names of snnTorch

This page lists every public name of snnTorch 1.0 with its counterpart in spikecore. The status means:

- **same**: names of arguments, defaults and results agree, apart from the common differences below. There may be
  further arguments.
- **better**: works as in snnTorch, and also where snnTorch fails.
- **deviates**: differs on purpose. The last column says how; [Differences from snnTorch](deviations.md) says more.
- **not offered**: the last column says what to use instead.

These differences are common to many names: the dtype follows the input, errors name the argument, random draws take a
`seed`, and losses take their arguments by keyword. A neuron's state belongs to its module: `utils.reset(net)` resets
only this network, copies and pickles work, and setting `reset_mechanism` has an effect ([Modules for
PyTorch](nn.md#what-differs-from-snntorch)). snnTorch's submodules of `functional` exist, too:
`functional.loss.ce_rate_loss` is `functional.ce_rate_loss`.
"""


class Row(NamedTuple):
    """A name of snnTorch, our name (empty if there is none), status, remark."""

    theirs: str
    ours: str
    status: str
    remark: str


def names_of_snntorch() -> List[str]:
    """The sorted dotted names of all public classes and functions of the installed snnTorch."""
    root = pathlib.Path(str(importlib.util.find_spec("snntorch").origin)).parent  # type: ignore[union-attr]
    return sorted({name for path in sorted(root.rglob("*.py")) for name in _names_in(root, path)})


def _names_in(root: pathlib.Path, path: pathlib.Path) -> Iterator[str]:
    parts = ["snntorch", *path.relative_to(root).with_suffix("").parts]
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    if any(part.startswith("_") for part in module.split(".")):
        return
    if path.name == "__init__.py":  # what a package imports from its own modules
        members = vars(importlib.import_module(module)) if module in PACKAGES else {}
        classes_and_functions = {n: v for n, v in members.items() if isinstance(v, type) or callable(v)}
        names = [n for n, v in classes_and_functions.items() if str(v.__module__).startswith("snntorch")]
    else:
        kinds = (ast.FunctionDef, ast.ClassDef)
        names = [node.name for node in ast.parse(path.read_text()).body if isinstance(node, kinds)]
    yield from (f"{module}.{name}" for name in names if not name.startswith("_"))


def rows() -> List[Row]:
    """The rows of the table, each from a line "theirs | ours | status | remark"."""
    lines = (line for line in TABLE.read_text().splitlines() if line and not line.startswith("#"))
    return [Row(*(cell.strip() for cell in line.split("|"))) for line in lines]


def exists(name: str) -> bool:
    """Whether a dotted name of ours exists."""
    module, _, attribute = f"spikecore.{name}".rpartition(".")
    try:
        return hasattr(importlib.import_module(module), attribute)
    except ImportError:
        return False


def page() -> str:
    """The text of the page: for each module a table, in which names with the same status and remark share a row."""
    every = rows()
    last = [(row, row.theirs.rpartition(".")[2], row.ours.rpartition(".")[2]) for row in every]
    once = {(name, ours) for row, name, ours in last if row.theirs.count(".") == 2}  # submodules repeat their package
    modules: Dict[str, Dict[Tuple[str, str, str], List[str]]] = {}
    missing: Dict[str, List[str]] = {}
    for row, name, ours in last:
        module, here = row.theirs.rpartition(".")[0], row.ours.rpartition(".")[0]
        if not row.ours and module.startswith("snntorch.spikevision"):
            missing.setdefault(row.remark, []).append(f"`{name}`")
        elif module.count(".") < 2 or (name, ours) not in once:
            table = modules.setdefault(module, {})
            both = f"`{name}`" if ours in (name, "") else f"`{name}`: `{ours}`"
            table.setdefault((here, row.status, row.remark), []).append(both)
    counts: Tuple[str, ...] = tuple(f"{sum(r.status == s for r in every)} {s}" for s in STATUS)
    text = [HEAD, f"Of {len(every)} names: {', '.join(counts)}.\n"]
    for module, table in modules.items():
        places = " and ".join(sorted({f"`spikecore.{here}`" for here, _, _ in table if here}))
        text += [f"## {module}\n", f"In {places}:\n", "| name | status | remark |", "|---|---|---|"]
        text += [f"| {', '.join(names)} | {status} | {remark} |" for (_, status, remark), names in table.items()]
        text.append("")
    for remark, names in missing.items():
        listed = textwrap.fill(", ".join(dict.fromkeys(names)), 120, break_on_hyphens=False)
        text += [f"## Not offered: {remark}\n", f"{listed}.\n"]
    return "\n".join(text)


if __name__ == "__main__":
    PAGE.write_text(page())
