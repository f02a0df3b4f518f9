"""Writes names.md: every public name of snnTorch, what it is called here, and whether it behaves alike.

Run from the repository root, with snnTorch installed: ``python docs/make_names.py``.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pathlib
from typing import Dict, Iterator, List, NamedTuple, Tuple

PAGE = pathlib.Path(__file__).with_name("names.md")
TABLE = pathlib.Path(__file__).with_name("names.txt")
PACKAGES = ("snntorch", "snntorch.functional")
STATUS = ("same", "better", "deviates", "not offered")
HEAD = """\
# Names of snnTorch

Every public name of snnTorch 1.0 and its counterpart. This page is written by `docs/make_names.py` from
`docs/names.txt`; a test compares it with the installed snnTorch.

- **same**: names of arguments, defaults and results agree, or differ in a way named under "for all"; there may be
  further arguments.
- **better**: the same where snnTorch works, and works where it fails.
- **deviates**: on purpose; the last column says how, [Migrating from snnTorch](migrating.md) says why.
- **not offered**: with what to use instead.

For all of them: the dtype follows the input; errors name the argument; random draws can have a `seed`; losses take
their arguments by keyword. A neuron's state belongs to its module: `utils.reset(net)` resets this network, copies and
pickles work, and setting `reset_mechanism` takes effect, see [Modules for PyTorch](nn.md#what-differs-from-snntorch).
"nn" is `spikecore.nn`, other names are modules of `spikecore`.
"""


class Row(NamedTuple):
    """One name: of snnTorch, ours (empty if there is none), status, remark."""

    theirs: str
    ours: str
    status: str
    remark: str


def names_of_snntorch() -> List[str]:
    """Dotted names of all public classes and functions, by module, read from the installed package."""
    root = pathlib.Path(str(importlib.util.find_spec("snntorch").origin)).parent  # type: ignore[union-attr]
    return sorted({name for path in sorted(root.rglob("*.py")) for name in _names_in(root, path)})


def _names_in(root: pathlib.Path, path: pathlib.Path) -> Iterator[str]:
    parts = ["snntorch", *path.relative_to(root).with_suffix("").parts]
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    if any(part.startswith("_") for part in module.split(".")):
        return
    if path.name == "__init__.py":  # what a package gathers from its own modules
        held = vars(importlib.import_module(module)) if module in PACKAGES else {}
        own = {n: v for n, v in held.items() if isinstance(v, type) or callable(v)}
        found = [n for n, v in own.items() if str(v.__module__).startswith("snntorch")]
    else:
        kinds = (ast.FunctionDef, ast.ClassDef)
        found = [node.name for node in ast.parse(path.read_text()).body if isinstance(node, kinds)]
    yield from (f"{module}.{name}" for name in found if not name.startswith("_"))


def rows() -> List[Row]:
    """The table as it is written down, one line "theirs | ours | status | remark" for each name."""
    lines = (line for line in TABLE.read_text().splitlines() if line and not line.startswith("#"))
    return [Row(*(cell.strip() for cell in line.split("|"))) for line in lines]


def exists(name: str) -> bool:
    """Whether a dotted name of ours leads to something."""
    module, _, attribute = f"spikecore.{name}".rpartition(".")
    try:
        return hasattr(importlib.import_module(module), attribute)
    except ImportError:
        return False


def page() -> str:
    """The page."""
    modules: Dict[str, List[Row]] = {}
    for row in rows():
        modules.setdefault(row.theirs.rpartition(".")[0], []).append(row)
    counts: Tuple[str, ...] = tuple(f"{sum(r.status == s for r in rows())} {s}" for s in STATUS)
    text = [HEAD, f"Of {len(rows())} names: {', '.join(counts)}.\n"]
    for module, found in modules.items():
        text += [f"## {module}\n", "| snnTorch | spikecore | status | remark |", "|---|---|---|---|"]
        for row in found:
            ours = f"`{row.ours}`" if row.ours else ""
            text.append(f"| `{row.theirs.rpartition('.')[2]}` | {ours} | {row.status} | {row.remark} |")
        text.append("")
    return "\n".join(text)


if __name__ == "__main__":
    PAGE.write_text(page())
