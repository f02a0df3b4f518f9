r"""Equations as MathML, which browsers show without a script: ``$...$`` in a line, ``$$...$$`` by itself.

pymdownx.arithmatex finds them and leaves them as ``\(...\)`` and ``\[...\]``.
"""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

FOUND = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)

SIZES = re.compile(r"\\[bB]igg?[lrm]?\s*(?=\\)")  # brackets grow by themselves in MathML

# A function and its argument without brackets, between which latex2mathml leaves no space.
APPLIED = re.compile(r"(\\(?:ln|log|exp|sin|cos|arccos|arctan)(?![A-Za-z]))\s*(?=[A-Za-z0-9]|\\(?!left|[,;!]))")


def on_page_content(content: str, page: Any, **kwargs: Any) -> str:
    """Typeset the equations of a page."""
    del kwargs
    return FOUND.sub(lambda found: typeset(found[2], found[1] == "div", page.file.src_uri), content)


def typeset(source: str, display: bool, where: str) -> str:
    """One equation. PluginError if it has a command that nobody knows."""
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
