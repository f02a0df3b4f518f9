r"""Equations as MathML, which browsers show without a script: ``$...$`` in a line, ``$$...$$`` by itself.

pymdownx.arithmatex finds them and leaves them as ``\(...\)`` and ``\[...\]``. On a code host Markdown would take the
backslashes and underscores of such equations for its own; there they stand as code, which pages may write, too: $`...`$
in a line, and a block of code in the language "math".
"""

from __future__ import annotations

import html
import re
from typing import Any, Match, Pattern

FOUND = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)

SIZES = re.compile(r"\\[bB]igg?[lrm]?\s*(?=\\)")  # brackets grow by themselves in MathML

# A function and its argument without brackets, between which latex2mathml leaves no space.
APPLIED = re.compile(r"(\\(?:ln|log|exp|sin|cos|arccos|arctan)(?![A-Za-z]))\s*(?=[A-Za-z0-9]|\\(?!left|[,;!]))")

# Code, in which dollars mean nothing; then equations as tutorials write them, and as code hosts read them.
CODE = (
    r"^(?P<indent> *)(?P<fence>`{3,})[^\n]*\n.*?^(?P=indent)(?P=fence) *$"
    r"|(?<!`)(?P<marks>`+)(?!`).*?(?<!`)(?P=marks)(?!`)"
)
DOLLARS = re.compile(
    rf"\$`[^`]+`\$|{CODE}|^\$\$(?P<block>.*?)\$\$$|\$(?![\s$])(?P<inline>[^$]*?[^$\s])\$", re.DOTALL | re.MULTILINE
)
AS_CODE = re.compile(rf"^```math\n(?P<block>.*?)\n```$|\$`(?P<inline>[^`]+)`\$|{CODE}", re.DOTALL | re.MULTILINE)


def for_hosts(text: str) -> str:
    """Markdown whose equations a code host shows, from Markdown with ``$...$`` and ``$$...$$``."""
    return _rewritten(text, DOLLARS, "```math\n{}\n```", "$`{}`$")


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Equations that stand as code become those that arithmatex finds."""
    del kwargs
    return _rewritten(markdown, AS_CODE, "$$\n{}\n$$", "${}$")


def _rewritten(text: str, pattern: Pattern[str], block: str, inline: str) -> str:
    def write(found: Match[str]) -> str:
        if found["block"] is not None:
            return block.format(found["block"].strip())
        return inline.format(" ".join(found["inline"].split())) if found["inline"] else found[0]

    return pattern.sub(write, text)


def on_page_content(content: str, page: Any, **kwargs: Any) -> str:
    """Typeset the equations of a page."""
    del kwargs
    return FOUND.sub(lambda found: typeset(found[2], found[1] == "div", page.file.src_uri), content)


def typeset(source: str, display: bool, where: str) -> str:
    """One equation. PluginError if it has a command that nobody knows."""
    from latex2mathml.converter import convert
    from mkdocs.exceptions import PluginError

    tex = SIZES.sub("", html.unescape(source).strip())
    tex = APPLIED.sub(r"\1\\,", tex)
    tex = re.sub(r"\\(begin|end)\{aligned\}", r"\\\1{align*}", tex)  # which latex2mathml knows, and means the same here
    try:
        mathml = convert(tex, display="block" if display else "inline")
    except Exception as error:  # any of a dozen classes, none with a common base
        raise PluginError(f"{where}: the equation {tex} is not understood: {type(error).__name__} {error}") from error
    unknown = re.search(r"\\[a-zA-Z]+", html.unescape(mathml))
    if unknown:
        raise PluginError(f"{where}: the equation {tex} has {unknown[0]}, which latex2mathml does not know")
    if "<mi>&</mi>" in mathml:
        raise PluginError(f"{where}: the equation {tex} has columns in an environment that latex2mathml does not know")
    return f'<div class="equation">{mathml}</div>' if display else mathml
