"""The finished site is read as its readers do: what is broken on a page fails the build."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Dict, List, Set, Tuple
from urllib.parse import unquote, urlsplit

HEAVIEST = 400_000  # bytes of a page
VOID = set("area base br col embed hr img input link meta source track wbr".split())
CODE = {"pre", "code", "script", "style", "template", "math"}
# What Markdown looks like where it was not understood: fences, directives, boxes, attributes, equations.
LITERAL = re.compile(r"```|^\s*(?:::: [\w.]+|\?\?\? |!!! |/// )|\{ \.[\w-]+ \}|\{ width=|\$\$|\\\(|\\\[", re.MULTILINE)
LANGUAGES = "python|pycon|py|text|bash|console|toml|json|yaml|c|cpp|ini"
RUN_IN = re.compile(rf"^(?:{LANGUAGES})\n")  # a fence that became code within a line


class Page(HTMLParser):
    """What of a page can be wrong."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.ids: Set[str] = set()
        self.links: List[str] = []
        self.titles = 0
        self.faults: List[str] = []
        self.open: List[str] = []
        self.inline: List[str] = []
        self.feed(text)
        self.close()
        if self.titles > 1:
            self.faults.append(f"{self.titles} titles (h1)")

    def handle_starttag(self, tag: str, attrs: List[Tuple[str, Any]]) -> None:
        given: Dict[str, Any] = dict(attrs)
        self.ids.update(given[key] for key in ("id", "name") if given.get(key))
        self.links += [given[key] for key in ("href", "src", "poster") if given.get(key)]
        self.titles += tag == "h1"
        if tag == "img" and not (given.get("alt") or "").strip():
            self.faults.append(f"an image without alt text: {given.get('src', '')[:80]}")
        if tag == "code" and "pre" not in self.open:
            self.inline = []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            while self.open.pop() != tag:
                pass
        if tag == "code" and "pre" not in self.open and RUN_IN.match("".join(self.inline)):
            self.faults.append(f"a code block within a line: {''.join(self.inline)[:60]!r}")

    def handle_data(self, data: str) -> None:
        if "code" in self.open:
            self.inline.append(data)
        if not CODE & set(self.open):
            found = LITERAL.search(data)
            if found:
                self.faults.append(
                    f"Markdown that was not understood: {data[max(found.start() - 20, 0) :][:80].strip()!r}"
                )


def on_post_build(config: Any, **kwargs: Any) -> None:
    """Fail the build if a page is broken."""
    from mkdocs.exceptions import PluginError

    del kwargs
    faults = check(Path(config.site_dir))
    if faults:
        raise PluginError("\n".join([f"{len(faults)} faults in the site:", *faults]))


def check(site: Path) -> List[str]:
    """Read every page of a site; returns what is wrong, a line each, which begins with the page's path."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    faults = []
    for path, page in pages.items():
        here = path.relative_to(site).as_posix()
        faults += [f"{here}: {fault}" for fault in page.faults]
        size = path.stat().st_size
        if size > HEAVIEST:
            faults.append(f"{here}: {size / 1000:.0f} kB, more than {HEAVIEST / 1000:.0f}")
        for link in dict.fromkeys(page.links):
            fault = broken(link, path, site, pages)
            if fault:
                faults.append(f"{here}: {fault}: {link}")
    return faults


def broken(link: str, path: Path, site: Path, pages: Dict[Path, Page]) -> str:
    """What is wrong with a link, or nothing."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return ""
    target = path
    if parts.path:
        start = site if parts.path.startswith("/") else path.parent
        target = (start / unquote(parts.path).lstrip("/")).resolve()
        target = target / "index.html" if target.is_dir() else target
        if not target.is_file():
            return "a link to nothing"
    known = pages.get(target) or pages.get(target.resolve())
    if parts.fragment and known is not None and not {parts.fragment, unquote(parts.fragment)} & known.ids:
        return "" if parts.fragment == "__search" else "a link to an anchor that is not there"
    return ""
