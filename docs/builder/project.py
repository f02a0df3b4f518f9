"""Pages about the project out of the files at the root of the repository, those that there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict

PAGES = {
    "project/changelog.md": "CHANGELOG.md",
    "project/contributing.md": "CONTRIBUTING.md",
    "project/citing.md": "CITATION.cff",
}
EDIT = "edit/main/docs/"  # where the repository's host edits a page


def on_config(config: Any) -> Any:
    """Leave pages out of the navigation whose file is missing; name the repository if its address is set."""
    root = Path(config.config_file_path).parent
    address = repository(root)
    if address:
        config.repo_url, config.edit_uri = address, EDIT
        config.repo_name = "/".join(address.split("/")[-2:])
        config.theme["features"].append("content.action.edit")
    missing = {page for page, file in PAGES.items() if not (root / file).is_file()}
    for section in config.nav or []:
        for entries in section.values() if isinstance(section, dict) else ():
            if isinstance(entries, list):
                entries[:] = [e for e in entries if not (isinstance(e, dict) and set(map(str, e.values())) & missing)]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages to the files of the site."""
    from mkdocs.structure.files import File

    root = Path(config.config_file_path).parent
    for page, file in PAGES.items():
        if (root / file).is_file():
            text = (root / file).read_text(encoding="utf-8")
            content = citing(text) if file.endswith(".cff") else linked(text)
            generated = File.generated(config, page, content=content)
            generated.edit_uri = f"../{file}"
            files.append(generated)
    return files


def on_page_markdown(markdown: str, page: Any, **kwargs: Any) -> str:
    """Links to these files, which a code host follows, become links to their pages."""
    del kwargs
    if "/" not in page.file.src_uri:
        for target, file in PAGES.items():
            markdown = re.sub(rf"\]\(\.\./{re.escape(file)}(?=[)#])", f"]({target}", markdown)
    return markdown


def repository(root: Path) -> str:
    """The repository's address as pyproject.toml has it; "" while it is unset."""
    import tomllib

    said = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    return str(said["tool"]["hatch"]["metadata"]["hooks"]["custom"]["repository"]).rstrip("/")


def linked(text: str) -> str:
    """Links of a file at the root as links of a page: to documentation as such, to other files as plain words."""
    text = re.sub(r"\]\(docs/([^)]+)\)", r"](../\1)", text)
    return re.sub(r"(?<!!)\[([^\]]+)\]\((?!https?:|#|mailto:|\.\./)[^)]+\)", r"\1", text)


def citing(text: str) -> str:
    """How to cite: what CITATION.cff says, as BibTeX and as it is."""
    import yaml

    said: Dict[str, Any] = yaml.safe_load(text)
    people = [each.get("name") or f"{each['family-names']}, {each['given-names']}" for each in said["authors"]]
    fields = {
        "title": said["title"],
        "author": " and ".join(f"{{{name}}}" if "," not in name else name for name in people),
        "version": said.get("version"),
        "year": str(said.get("date-released", ""))[:4],
        "url": said.get("url") or said.get("repository-code"),
    }
    lines = "".join(f"  {key} = {{{value}}},\n" for key, value in fields.items() if value)
    return (
        f"# Citing spikecore\n\n{said.get('message', 'If you use spikecore, please cite it.')}\n\n"
        f"```bibtex\n@software{{spikecore,\n{lines}}}\n```\n\nThe same as `CITATION.cff`:\n\n```yaml\n{text}```\n"
    )
