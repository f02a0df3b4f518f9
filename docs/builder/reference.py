"""The API reference under the names that users write, and the commands as they describe themselves.

Pages in ``docs/reference`` name one thing a line, ``::: sc.Leaky``, and mkdocstrings writes what it is.
"""

from __future__ import annotations

import re
from typing import Any, Iterator, List

PUBLIC = {  # how a name begins on the page, and where it lies
    "sc": "spikecore",
    "snn": "spikecore.nn",
    "transforms": "spikecore.datasets.transforms",
    **{
        name: f"spikecore.{name}"
        for name in (
            "backprop base compression convert datasets errors eventprop functional hardware init neurobench nir "
            "plasticity schedule spikegen spikeplot surrogate tracking utils zoo"
        ).split()
    },
}
LINE = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)
COMMANDS = "<!-- commands -->"


def on_page_markdown(markdown: str, page: Any, **kwargs: Any) -> str:
    """Turn public names into what mkdocstrings reads."""
    del kwargs
    if not page.file.src_uri.startswith("reference/"):
        return markdown
    if COMMANDS in markdown:
        markdown = markdown.replace(COMMANDS, "\n".join(commands()))
    return LINE.sub(lambda line: entry(line[1], 3 if "\n## " in markdown[: line.start()] else 2), markdown)


def entry(name: str, level: int) -> str:
    """What mkdocstrings reads for a name as users write it; for any other, its last part is the heading."""
    first, _, rest = name.partition(".")
    path = f"{PUBLIC[first]}.{rest}" if first in PUBLIC else name
    heading = name if first in PUBLIC else name.rpartition(".")[2]
    options = f"      heading: {heading}\n      toc_label: {heading}\n      heading_level: {level}\n"
    return f"::: {path}\n    options:\n{options}"


def commands() -> Iterator[str]:
    """A section for each command: what it does, its arguments and options, examples."""
    import typer

    from spikecore.cli.command import app

    group = typer.main.get_command(app)
    for name, command in sorted(group.commands.items()):
        if command.hidden:
            continue
        yield f"## spikecore {name}\n"
        arguments = [each for each in command.params if each.param_type_name == "argument"]
        options = [each for each in command.params if each.param_type_name == "option" and not each.hidden]
        words = [f"[{a.metavar}]" if not a.required else str(a.metavar) for a in arguments]
        yield f"```bash\nspikecore {' '.join([name, *words])}{' [OPTIONS]' if options else ''}\n```\n"
        yield f"{plain(command.help)}\n"
        yield from (f"- `{each.metavar}`: {plain(each.help)}" for each in arguments)
        yield from (f"- {spelled(each)}: {plain(each.help)}{default(each)}" for each in options)
        yield ""
        if command.epilog:
            yield "Examples:\n\n```bash\n" + "\n".join(examples(command.epilog)) + "\n```\n"


def plain(text: Any) -> str:
    """Help without the markup of terminals."""
    shown = re.sub(r"\[/?(?:bold|dim|italic|cyan|green|red|yellow)[a-z ]*\]", "", str(text or "").replace("\b", ""))
    return shown.replace("\\[", "[").strip()


def spelled(option: Any) -> str:
    """An option as it is written, with what it takes."""
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    return names if option.is_flag or not option.metavar else f"{names} `{option.metavar}`"


def default(option: Any) -> str:
    """The default of an option whose help does not name it."""
    shown = not option.is_flag and option.default not in (None, (), []) and "efault" not in str(option.help)
    return f" Default: `{option.default}`." if shown else ""


def examples(epilog: str) -> List[str]:
    """The lines of an epilog that are commands."""
    return [line.strip(" `$") for line in plain(epilog).splitlines() if line.strip(" `$").startswith("spikecore")]
