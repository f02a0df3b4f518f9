"""Every relative link and picture of the repository's pages opens in a fresh clone, as a code host shows it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests import ROOT

BLOCK = re.compile(r"^(?P<indent>[ >]*)(?P<fence>`{3,}|~{3,}).*?^[ >]*(?P=fence)[`~]* *$", re.DOTALL | re.MULTILINE)
HIDDEN = re.compile(
    r"<!--.*?-->|(?<!`)(?P<marks>`+)(?!`).*?(?<!`)(?P=marks)(?!`)", re.DOTALL
)  # comments, code in a line
LINKS = re.compile(
    r"\]\(\s*<?([^)\s>]*)>?(?:\s+[\"'(][^)]*)?\)"  # [text](target "title"), ![text](target)
    r"|^ {0,3}\[[^\]]+\]:\s+<?([^\s>]+)"  # [text]: target
    r"|<(?:a|img|source|video)\s[^>]*?(?:href|src)=[\"']([^\"']*)",
    re.MULTILINE,
)
HEADING = re.compile(r"^ {0,3}#{1,6} +(.*?)(?: +#+)? *$", re.MULTILINE)


def files_of(root):
    """What a clone has: files that git knows or would add; in a source distribution, which has no git, all files."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        told = subprocess.run(listed, cwd=root, capture_output=True, text=True, check=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        every = (path.relative_to(root) for path in root.rglob("*"))
        told = [path.as_posix() for path in every if not re.match(r"\.|build$", path.parts[0])]
    return {name for name in told if name and (root / name).is_file()}


def anchors(text):
    """The names of a page's headings, as code hosts make them: small letters, hyphens, a number from the second on."""
    text = BLOCK.sub("", text)
    found = set(re.findall(r"<\w+\s[^>]*?(?:id|name)=[\"']([^\"']+)", text))
    counts = {}
    for heading in HEADING.findall(text):
        plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.replace("`", "").lower()).replace(" ", "-")
        found.add(f"{slug}-{counts[slug]}" if slug in counts else slug)
        counts[slug] = counts.get(slug, 0) + 1
    return found


def links(text):
    """The targets of all links and pictures outside of code."""
    return ["".join(groups) for groups in LINKS.findall(HIDDEN.sub("", BLOCK.sub("", text)))]


def dead(root):
    """``page: link`` for every relative link that leads nowhere."""
    files = files_of(root)
    folders = {parent.as_posix() for name in files for parent in Path(name).parents}
    texts = {name: (root / name).read_text(encoding="utf-8") for name in sorted(files) if name.endswith(".md")}
    known = {name: anchors(text) for name, text in texts.items()}
    found = []
    for page, text in texts.items():
        for link in links(text):
            path, _, anchor = unquote(link).partition("#")
            target = os.path.normpath(os.path.join(os.path.dirname(page), path)).replace(os.sep, "/") if path else page
            is_there = target in files or target in folders
            if not re.match(r"\w+:|//", link) and not (is_there and (not anchor or anchor in known.get(target, ()))):
                found.append(f"{page}: {link}")
    return found


@pytest.mark.skipif(not (ROOT / "README.md").is_file(), reason="the pages are not part of this tree")
def test_every_relative_link_opens_in_a_clone():
    count = sum(name.endswith(".md") for name in files_of(ROOT))
    assert count > 80
    assert dead(ROOT) == []


SOUND = """# One

See [the other](b/two.md#a-heading-with-code), [up](#one), [its third](b/two.md#twice-1), [the folder](b/),
[a file](x%20y.py), [elsewhere](https://example.org/none), [mail](mailto:a@example.org), [a picture
![in a link](p.png)](p.png "with a title"), <a href="b/two.md">HTML</a> and [by name][name].

[name]: b/two.md

`[no](link.md)` <!-- [no](link.md) -->

```text
[no](link.md)
```
- ```text
  [no](link.md)
  ```
"""
TWO = """# A *heading*, with `code`

## Twice

## Twice

```bash
# no heading
```
<a id="here"></a>[up](../one.md)
"""


def repository(folder, more=""):
    for name, text in {"one.md": SOUND + more, "b/two.md": TWO, "x y.py": "", "p.png": "", "build/made.md": ""}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / ".gitignore").write_text("build/\n", encoding="utf-8")
    return folder


def test_sound_links_are_not_reported(tmp_path):
    assert dead(repository(tmp_path, "[here](b/two.md#here)")) == []


@pytest.mark.parametrize(
    "more",
    [
        "[a](none.md)",
        "![a](none.png)",
        "[a long\ntext](none.md)",
        "[![a](p.png)](none.md)",
        "[a](#none)",
        "[a](b/two.md#none)",
        "[a](b/two.md#no-heading)",
        "[a](b/two.md#twice-2)",
        "[a](ONE.md)",
        "[a](../one.md)",
        "[a]: none.md",
        '<img alt="a" src="none.png">',
        "[a](<none.md>)",
        '[a](none.md "title")',
    ],
)
def test_a_dead_link_is_found(more, tmp_path):
    found = dead(repository(tmp_path, f"\n{more}\n"))
    assert len(found) == 1
    assert found[0].startswith("one.md: ")


def test_what_git_ignores_is_not_in_a_clone(tmp_path):
    if subprocess.run(["git", "init", "--quiet", tmp_path], capture_output=True).returncode != 0:
        pytest.skip("needs git")
    assert dead(repository(tmp_path, "[a](build/made.md)")) == ["one.md: build/made.md"]
