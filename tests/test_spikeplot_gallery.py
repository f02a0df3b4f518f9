"""The documentation draws the pictures of its gallery and first page. (That the pages' code runs, `test_docs` sees.)"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
DOCS = Path(__file__).parent.parent / "docs"
if not DOCS.is_dir():
    pytest.skip("docs/ is not part of this tree", allow_module_level=True)

SPEC = importlib.util.spec_from_file_location("docs_gallery", DOCS / "builder" / "gallery.py")
gallery = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(gallery)

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


def test_pictures_are_what_the_blocks_save(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert gallery.draw(PAGE, tmp_path / "deep" / "down") == ["marks.png"]
    assert (tmp_path / "deep" / "down" / "marks.png").read_bytes()[:4] == b"\x89PNG"
    assert Path.cwd() == tmp_path


def test_an_error_names_the_page_and_the_line(tmp_path):
    with pytest.raises(ZeroDivisionError) as caught:
        gallery.draw("text\n```python\nx = 1\n1 / 0\n```\n", tmp_path, "any.md")
    last = caught.traceback[-1]
    assert (last.frame.code.raw.co_filename, last.lineno + 1) == ("any.md", 4)


def test_a_picture_that_no_block_saves_any_more_is_an_error(tmp_path):
    gallery.draw(PAGE, tmp_path)
    with pytest.raises(FileNotFoundError, match=r'gallery.md shows pictures/marks.png, and none .* saves "marks.png"'):
        gallery.draw(PAGE.replace("spikeplot.raster", "# "), tmp_path)


def test_every_picture_has_its_block_and_every_function_its_picture():
    from spikecore import spikeplot

    text = (DOCS / "gallery.md").read_text(encoding="utf-8")
    code = "".join(gallery.BLOCK.findall(text))
    for name in gallery.IMAGE.findall(text):
        assert f'("{name}"' in code, name
    for name in spikeplot.__all__:
        assert not name.islower() or f"spikeplot.{name}(" in code, name
