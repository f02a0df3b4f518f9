"""The committed pages and notebooks of tutorials are what their sources make; nothing is executed to see this."""

from __future__ import annotations

import shutil
import sys

import pytest

from tests import ROOT

BUILDER = ROOT / "docs" / "builder"
if not BUILDER.is_dir():
    pytest.skip("docs/ is not part of this tree", allow_module_level=True)
sys.path.insert(0, str(BUILDER))
try:
    import percent
    import tutorials
finally:
    sys.path.remove(str(BUILDER))


def test_pages_and_notebooks_are_made_from_the_tutorials_as_they_are():
    assert len(list(tutorials.FOLDER.glob("*.py"))) == len(list(tutorials.FOLDER.glob("*.ipynb"))) >= 16
    assert tutorials.stale(tutorials.FOLDER) == [], "`make tutorials` writes them anew, and executes only changed code"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "pictures").mkdir()
    for path in [*tutorials.FOLDER.glob("lif_neuron.*"), *tutorials.FOLDER.glob("pictures/lif_neuron-*.png")]:
        shutil.copy(path, tmp_path / path.relative_to(tutorials.FOLDER))
    assert tutorials.stale(tmp_path) == []
    return tmp_path


def edited(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


EDITS = {  # a file, what is replaced in it, by what; and what is said of it
    "the text": ("lif_neuron.py", "# ## The threshold", "# ## A threshold", ["lif_neuron.ipynb", "lif_neuron.md"]),
    "the code": ("lif_neuron.py", "STEPS = 200", "STEPS = 201", ["lif_neuron.py"]),
    "a description": ("lif_neuron.py", 'alt="A decaying', 'alt="The decaying', ["lif_neuron.md"]),
    "the page": ("lif_neuron.md", "## The threshold", "## A threshold", ["lif_neuron.md"]),
    "the page's code": ("lif_neuron.md", "STEPS = 200", "STEPS = 201", ["lif_neuron.py"]),
    "the notebook": ("lif_neuron.ipynb", "STEPS = 200", "STEPS = 201", ["lif_neuron.ipynb"]),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_makes_what_it_made_stale(edit, folder):
    name, old, new, said = EDITS[edit]
    edited(folder / name, old, new)
    assert sorted(fault.split()[0].rstrip(":") for fault in tutorials.stale(folder)) == said


@pytest.mark.parametrize("name", ["lif_neuron.md", "lif_neuron.ipynb", "lif_neuron.py", "pictures/lif_neuron-1.png"])
def test_files_without_their_source_and_sources_without_their_files_are_found(name, folder):
    (folder / name).unlink()
    assert tutorials.stale(folder)


def test_a_picture_that_no_page_shows_is_found(folder):
    (folder / "pictures" / "old-1.png").write_bytes(b"")
    assert tutorials.stale(folder) == ["old-1.png has no source"]


def test_cells_are_read():
    text = '# %% [markdown] tags=["answer"]\n# # Title\n#\n#     code\n\n'
    text += '# %% alt="A \\"line\\"" tags=["answer", "warns"]\nx = 1\n\n# y\n'
    assert percent.read(text) == [
        percent.Cell("markdown", "# Title\n\n    code", ("answer",)),
        percent.Cell("code", "x = 1\n\n# y", ("answer", "warns"), 'A "line"'),
    ]
