"""Write names.md and names_spikingjelly.md: public names of other libraries, and their counterparts in spikecore.

Run from the repository root: ``python docs/make_names.py``.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pathlib
import textwrap
import warnings
from typing import Callable, Dict, Iterator, List, NamedTuple, Tuple

DOCS = pathlib.Path(__file__).parent
PACKAGES = ("snntorch", "snntorch.functional")
HEAD_OF_SNNTORCH = """\
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

HEAD_OF_SPIKINGJELLY = """\
# Names of SpikingJelly

This page lists every public class and function of SpikingJelly 2.0, without its examples. `LIFNode`: `sc.Leaky` is a
name there and its counterpart in spikecore, `sc`; one name alone, such as `sc.PSN`, is that of both. The status means:

- **equal**: with what the last column says, the results and gradients are those of SpikingJelly's `step_mode="m"`,
  apart from the [threshold](migrating_others.md#on-the-threshold): SpikingJelly fires if U ≥ θ, spikecore if U > θ.
- **similar**: has the same purpose. The last column says what differs; names of arguments do, too.
- **planned**: there is no counterpart yet.
- **not offered**: the last column says why, or what to use instead.

[Migrating from SpikingJelly](migrating_others.md) has the options of neurons and surrogates, among them `decay_input`,
`v_reset` and `detach_reset`, and [architectures](zoo.md#weights-of-spikingjelly) says how to load weights.
"""


class Row(NamedTuple):
    """A name of another library, our name (empty if there is none), status, remark."""

    theirs: str
    ours: str
    status: str
    remark: str


class Table(NamedTuple):
    """A page, made from lines "theirs | ours | status | remark" of the text file of the same name.

    ``theirs`` is a dotted name, or "module: name, name"; then ``ours`` is one name for all, or one for each.
    """

    page: pathlib.Path
    head: str
    status: Tuple[str, ...]
    public: Callable[[], List[str]]  # the names that the installed package has
    beside: bool  # whether our names stand beside theirs; else a section says in which module they are
    section: Callable[[Row], str]  # the section of a row; empty: with others of the same remark, at the end

    def rows(self) -> List[Row]:
        """The rows of the table, one for each name."""
        lines = self.page.with_suffix(".txt").read_text().splitlines()
        return [row for line in lines if line and not line.startswith("#") for row in _rows_of(line)]


def _rows_of(line: str) -> Iterator[Row]:
    theirs, ours, status, remark = (cell.strip() for cell in line.split("|"))
    module, listed, names = theirs.partition(": ")
    counterparts = ours.split(", ")
    every = [f"{module}.{name}" for name in names.split(", ")] if listed else [theirs]
    if len(counterparts) == 1:
        counterparts *= len(every)
    if len(counterparts) != len(every):
        raise ValueError(f"{line}: {len(every)} names, {len(counterparts)} counterparts")
    return (Row(*pair, status, remark) for pair in zip(every, counterparts))


def names_of_snntorch() -> List[str]:
    """The sorted dotted names of all public classes and functions of the installed snnTorch."""
    return _names_of("snntorch")


def names_of_spikingjelly() -> List[str]:
    """The sorted names of all public classes and functions of the installed SpikingJelly, without its examples."""
    below = (name.partition(".")[2] for name in _names_of("spikingjelly"))
    return [name for name in below if "examples" not in name.split(".")]


def _names_of(package: str) -> List[str]:
    root = pathlib.Path(str(importlib.util.find_spec(package).origin)).parent  # type: ignore[union-attr]
    return sorted({name for path in sorted(root.rglob("*.py")) for name in _names_in(root, path)})


def _names_in(root: pathlib.Path, path: pathlib.Path) -> Iterator[str]:
    parts = [root.name, *path.relative_to(root).with_suffix("").parts]
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    if any(part.startswith("_") for part in module.split(".")):
        return
    if path.name == "__init__.py":  # what a package imports from its own modules
        members = vars(importlib.import_module(module)) if module in PACKAGES else {}
        classes_and_functions = {n: v for n, v in members.items() if isinstance(v, type) or callable(v)}
        names = [n for n, v in classes_and_functions.items() if str(v.__module__).startswith("snntorch")]
    else:
        kinds = (ast.FunctionDef, ast.ClassDef)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes in other people's docstrings
            tree = ast.parse(path.read_text("utf-8"))
        names = [node.name for node in tree.body if isinstance(node, kinds)]
    yield from (f"{module}.{name}" for name in names if not name.startswith("_"))


def exists(name: str) -> bool:
    """Whether a dotted name of ours exists."""
    module, _, attribute = f"spikecore.{name}".rpartition(".")
    try:
        return hasattr(importlib.import_module(module), attribute)
    except ImportError:
        return False


def page(table: Table) -> str:
    """The text of a page: for each section a table, in which names with the same status and remark share a row."""
    every = table.rows()
    last = [(row, row.theirs.rpartition(".")[2]) for row in every]
    once = {(name, row.ours.rpartition(".")[2]) for row, name in last if row.theirs.count(".") == 2}
    sections: Dict[str, Dict[Tuple[str, str, str], List[Tuple[str, str]]]] = {}
    missing: Dict[str, List[str]] = {}
    for row, name in last:
        section, (here, _, ours) = table.section(row), row.ours.rpartition(".")
        if not section:
            missing.setdefault(row.remark, []).append(f"`{name}`")
        elif table.beside:
            cells = sections.setdefault(section, {}).setdefault(("", row.status, row.remark), [])
            named = f"`sc.{row.ours}`"
            cells.append((named, "") if ours == name else (f"`{name}`", f": {named}" if ours else ""))
        elif section.count(".") < 2 or (name, ours) not in once:  # submodules repeat their package
            cells = sections.setdefault(section, {}).setdefault((here, row.status, row.remark), [])
            cells.append((f"`{name}`", "" if ours in (name, "") else f": `{ours}`"))
    counts: Tuple[str, ...] = tuple(f"{sum(r.status == s for r in every)} {s}" for s in table.status)
    text = [table.head, f"Of {len(every)} names: {', '.join(counts)}.\n"]
    for section, parts in sections.items():
        places = " and ".join(sorted({f"`spikecore.{here}`" for here, _, _ in parts if here}))
        text += [f"## {section}\n", *([f"In {places}:\n"] if places else [])]
        text += ["| name | status | remark |", "|---|---|---|"]
        text += [f"| {_cell(cells)} | {status} | {remark} |" for (_, status, remark), cells in parts.items()]
        text.append("")
    if len(missing) == 1:
        ((remark, names),) = missing.items()
        text += [f"## Not offered: {remark}\n", f"{_listed(names)}.\n"]
    elif missing:
        text += [
            "## Not offered\n",
            *(f"- {remark}:\n{_listed(names, '  ')}." for remark, names in missing.items()),
            "",
        ]
    return "\n".join(text)


def _listed(names: List[str], indent: str = "") -> str:
    lines = {"initial_indent": indent, "subsequent_indent": indent}
    return textwrap.fill(", ".join(dict.fromkeys(names)), 120, break_on_hyphens=False, **lines)


def _cell(pairs: List[Tuple[str, str]]) -> str:
    """Names and our names; several names that share one of ours have it behind the last."""
    following = [ours for _, ours in pairs[1:]] + [""]
    return ", ".join(
        dict.fromkeys(name + ("" if ours == after else ours) for (name, ours), after in zip(pairs, following))
    )


SNNTORCH = Table(
    DOCS / "names.md",
    HEAD_OF_SNNTORCH,
    ("same", "better", "deviates", "not offered"),
    names_of_snntorch,
    beside=False,
    section=lambda row: (
        "" if not row.ours and row.theirs.startswith("snntorch.spikevision") else row.theirs.rpartition(".")[0]
    ),
)
ROOMS = "ann2snn encoding functional layer learning model neuron rnn surrogate".split()  # with a section of their own


def _room(row: Row) -> str:
    first, second = row.theirs.split(".")[:2]
    return "" if row.status == "not offered" else f"{first}.{second}" if second in ROOMS else first


SPIKINGJELLY = Table(
    DOCS / "names_spikingjelly.md",
    HEAD_OF_SPIKINGJELLY,
    ("equal", "similar", "planned", "not offered"),
    names_of_spikingjelly,
    beside=True,
    section=_room,
)

if __name__ == "__main__":
    for each in (SNNTORCH, SPIKINGJELLY):
        each.page.write_text(page(each))
