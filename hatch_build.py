"""What the package says of itself on an index: the README with links that work there, and the project's addresses.

The repository's address stands in one place, pyproject.toml's ``[tool.hatch.metadata.hooks.custom]``. While it is ""
links in the description stay relative and the package has no addresses. Whether an index has the package stands in one
place, too: the classifier ``PRIVATE``, with which an index refuses it. A release needs the address and no such
classifier; ``python hatch_build.py`` says whether this is so. ``python hatch_build.py --steps`` lists all that a person
does for a release, and marks what is done.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

ROOT = Path(__file__).parent
PICTURE = re.compile(r"!\[([^\]]*)\]\((?!\w+:|#)([^)\s]+)\)")
PRIVATE = "Private :: Do Not Upload"
UNRELEASED = "Until the first release"  # how pages begin what they say of installing, while there is none
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


def steps(folder: Path, repository: str, project: Dict[str, Any]) -> List[Tuple[Optional[bool], str]]:
    """What a person does for a release, in this order, and whether it is done; None where this machine cannot know.

    Args:
        folder: the sources.
        repository: the repository's address; "" while it is unset.
        project: the table ``project`` of pyproject.toml.
    """
    version, address = project["version"], repository or "https://..."
    changes, citation = ((folder / name).read_text(encoding="utf-8") for name in ("CHANGELOG.md", "CITATION.cff"))
    pages = [folder / "README.md", *sorted((folder / "docs").glob("*.md"))]
    early = [str(page.relative_to(folder)) for page in pages if UNRELEASED in page.read_text(encoding="utf-8")]
    return [
        (bool(repository), f'pyproject.toml: the repository\'s address, repository = "{address}"'),
        (PRIVATE not in project["classifiers"], f'pyproject.toml: delete the classifier "{PRIVATE}"'),
        (not early, f'pages that say "{UNRELEASED}", install from a clone: {", ".join(early) or "none"}'),
        (f"\n## [{version}] - " in changes, f"CHANGELOG.md: the section [Unreleased] becomes [{version}] - YYYY-MM-DD"),
        (
            "\ndate-released: " in citation
            and "\nrepository-code: " in citation
            and f"\nversion: {version}" in citation,
            f"CITATION.cff: version: {version}, date-released: YYYY-MM-DD, repository-code: {address}",
        ),
        (
            None,
            f"index: pypi.org, Your account, Publishing: a publisher for {project['name']}, with this repository, "
            "release.yml and the environment release",
        ),
        (None, "repository, Settings: an environment release; Pages from GitHub Actions"),
        (None, "DOI: zenodo.org, GitHub: switch the repository on, before the tag is there"),
        (None, "commit, push, and wait until the workflows are green on all systems"),
        (None, f"tag: git tag -a v{version} -m v{version} && git push origin v{version}; release.yml publishes it"),
        (
            None,
            f"afterwards, in a new environment: `pip install {project['name']}=={version}`, then python tests/smoke.py",
        ),
        ("\ndoi: " in citation, "afterwards, CITATION.cff: doi: 10.5281/zenodo.NUMBER, which Zenodo has made"),
    ]


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
    address = found["tool"]["hatch"]["metadata"]["hooks"]["custom"]["repository"]
    if "--steps" in sys.argv:
        marks = {True: "[done]", False: "[to do]", None: "[look]"}
        print(*(f"{marks[done]:<8}{what}" for done, what in steps(ROOT, address, found["project"])), sep="\n")
    elif lacking := unready(address, found["project"]):
        sys.exit("\n".join(f"pyproject.toml: {line}" for line in lacking))
