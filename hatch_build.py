"""What the package says of itself on an index: the README with links that work there, and the project's addresses.

The repository's address stands in one place, pyproject.toml's ``[tool.hatch.metadata.hooks.custom]``. While it is ""
links in the description stay relative and the package has no addresses. Whether an index has the package stands in one
place, too: the classifier ``PRIVATE``, with which an index refuses it. A release needs the address and no such
classifier; ``python hatch_build.py`` says whether this is so.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Dict, List

ROOT = Path(__file__).parent
PICTURE = re.compile(r"!\[([^\]]*)\]\((?!\w+:|#)([^)\s]+)\)")
PRIVATE = "Private :: Do Not Upload"
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!\w+:|#)([^)\s]+)\)")


def absolute(text: str, repository: str, version: str) -> str:
    """The text with links to files of the repository instead of links to files beside it.

    Args:
        text: Markdown.
        repository: the repository's address; "" leaves the text as it is.
        version: the release, whose tag is "v" and this; links name it, so that they stay right.
    """
    if not repository:
        return text
    text = PICTURE.sub(rf"![\1]({repository}/raw/v{version}/\2)", text)
    return LINK.sub(rf"[\1]({repository}/blob/v{version}/\2)", text)


def urls(repository: str) -> Dict[str, str]:
    """The addresses that an index shows beside the package."""
    return {"Source": repository, "Changelog": f"{repository}/blob/main/CHANGELOG.md", "Issues": f"{repository}/issues"}


def unready(repository: str, project: Dict[str, Any]) -> List[str]:
    """What a release lacks."""
    lacking = []
    if not repository:
        lacking.append("the repository's address is unset: [tool.hatch.metadata.hooks.custom], repository")
    if PRIVATE in project["classifiers"]:
        lacking.append(f"an index refuses the classifier {PRIVATE!r}: delete it")
    return lacking


try:
    from hatchling.metadata.plugin.interface import MetadataHookInterface
except ImportError:  # `python hatch_build.py` needs no build system
    MetadataHookInterface = object  # type: ignore[assignment, misc]


class Description(MetadataHookInterface):
    """Called by hatchling when it builds the package's metadata."""

    def update(self, metadata: Dict[str, Any]) -> None:
        """Add the description, and the addresses if the repository's is known."""
        repository = self.config["repository"].rstrip("/")
        text = absolute((ROOT / "README.md").read_text(encoding="utf-8"), repository, metadata["version"])
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
        if repository:
            metadata["urls"] = urls(repository)


if __name__ == "__main__":
    import tomllib

    found = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    if lacking := unready(found["tool"]["hatch"]["metadata"]["hooks"]["custom"]["repository"], found["project"]):
        sys.exit("\n".join(f"pyproject.toml: {line}" for line in lacking))
