"""Pictures of pages are what their code saves, drawn anew when it changes. (That the code runs, `test_docs` sees.)"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from tests import ROOT

pytest.importorskip("matplotlib")
DOCS = ROOT / "docs"
if not DOCS.is_dir():
    pytest.skip("docs/ is not part of this tree", allow_module_level=True)

SPEC = importlib.util.spec_from_file_location("docs_pictures", DOCS / "builder" / "pictures.py")
pictures = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(pictures)

PAGE = """# Any
```python
from spikecore import spikeplot
spikes = [[0, 1], [1, 0]]
```
text
```python
spikeplot.raster(spikes).figure.savefig("marks.png")
```
![Marks](pictures/marks.png)
```python skip
no code
```
![Not drawn here](images/other.png)
"""


def test_the_pictures_are_drawn_by_the_code_of_their_pages():
    assert pictures.changed(DOCS) == [], "their code has changed: `make pictures`"
    assert pictures.not_shown(DOCS) == [], "no page shows them: `make pictures`"


@pytest.fixture
def docs(tmp_path):
    (tmp_path / "any.md").write_text(PAGE, encoding="utf-8")
    (tmp_path / "plain.md").write_text("# Without pictures\n", encoding="utf-8")
    assert pictures.changed(tmp_path) == ["any.md"]
    pictures.build(tmp_path, ["any.md"])
    assert pictures.changed(tmp_path) == []
    return tmp_path


def test_pictures_are_what_the_blocks_save(docs):
    before = Path.cwd()
    assert (docs / "pictures" / "marks.png").read_bytes()[:4] == b"\x89PNG"
    assert Path.cwd() == before
    (docs / "pictures" / "old.png").write_bytes(b"")
    assert [path.name for path in pictures.not_shown(docs)] == ["old.png"]
    pictures.build(docs, [])
    assert pictures.not_shown(docs) == []


@pytest.mark.parametrize("edit", ["code", "text", "picture"])
def test_pictures_are_drawn_anew_when_the_code_changes(edit, docs):
    text = PAGE.replace("[0, 1]", "[1, 1]") if edit == "code" else PAGE + "More.\n"
    (docs / "any.md").write_text(text, encoding="utf-8")
    if edit == "picture":
        (docs / "pictures" / "marks.png").unlink()
    assert pictures.changed(docs) == ([] if edit == "text" else ["any.md"])


def test_an_error_names_the_page_and_the_line(tmp_path):
    with pytest.raises(ZeroDivisionError) as caught:
        pictures.draw("text\n```python\nx = 1\n1 / 0\n```\n", tmp_path, "any.md")
    last = caught.traceback[-1]
    assert (last.frame.code.raw.co_filename, last.lineno + 1) == ("any.md", 4)


def test_a_picture_that_no_block_saves_any_more_is_an_error(docs):
    (docs / "any.md").write_text(PAGE.replace("spikeplot.raster", "# "), encoding="utf-8")
    with pytest.raises(FileNotFoundError, match=r'any.md shows pictures/marks.png, and none .* saves "marks.png"'):
        pictures.build(docs, ["any.md"])


def test_every_picture_has_its_block_and_every_function_its_picture():
    from spikecore import spikeplot

    text = (DOCS / "gallery.md").read_text(encoding="utf-8")
    code = "".join(pictures.BLOCK.findall(text))
    for name in pictures.IMAGE.findall(text):
        assert f'("{name}"' in code, name
    for name in spikeplot.__all__:
        assert not name.islower() or f"spikeplot.{name}(" in code, name


def test_each_thumbnail_of_the_gallery_leads_to_the_section_of_its_picture():
    table, *sections = re.split(r"^## ", (DOCS / "gallery.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    anchors = {section.split("\n")[0].lower().replace(",", "").replace(" ", "-"): section for section in sections}
    thumbnails = re.findall(r"\[!\[[^\]]+\]\(pictures/([^)]+)\)<br>(\w+)\]\(#([^)]+)\)", table)
    assert len(thumbnails) >= 12
    for picture, function, anchor in thumbnails:
        assert f"(pictures/{picture})" in anchors[anchor], picture
        assert f"spikeplot.{function}(" in anchors[anchor], function
    assert {anchor for _, _, anchor in thumbnails} == set(anchors)
