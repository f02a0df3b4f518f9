"""Tutorials become pages: executed, with what they print and draw. What is wrong with one fails the build, by name.

`make tutorials-check` executes those of the documentation.
"""

from __future__ import annotations

import copy
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import ROOT

for needed in ("nbclient", "nbformat", "ipykernel", "matplotlib"):
    pytest.importorskip(needed)
BUILDER = ROOT / "docs" / "builder"
if not BUILDER.is_dir():
    pytest.skip("docs/ is not part of this tree", allow_module_level=True)
sys.path.insert(0, str(BUILDER))
try:
    import execute
    import tutorials
finally:
    sys.path.remove(str(BUILDER))

PAGE = """# %% [markdown]
# # A line
#
# See [the other page](other.md) and $x^2$.

# %%
print("drawn")

# %% alt="A line that rises"
import matplotlib.pyplot as plt

fig, ax = plt.subplots()
ax.plot([0, 1])

# %% tags=["warns"]
import warnings

warnings.warn("as you see")

# %% [markdown]
# ## Exercises
#
# How much is one and one?

# %% tags=["answer"]
1 + 1

# %%
from IPython.display import HTML

HTML("<b>bold</b>\\n\\n<i>html</i>")

# %%
print("last\\n```")
"""


def built(folder, text, **options):
    source = folder / "any.py"
    source.write_text(text, encoding="utf-8")
    return tutorials.build([source], **options)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a tutorial that was built, and what its execution gave."""
    folder = tmp_path_factory.mktemp("tutorial")
    (folder / "index.md").write_text("# Written by hand\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        done = []

        def executed(pages, then):
            execute.execute(pages, lambda *given: done.append(given) or then(*given))

        patch.setattr(tutorials, "execute", executed)
        assert built(folder, PAGE) == 1
    return folder, done[0]


@pytest.fixture
def folder(made, tmp_path):
    return Path(shutil.copytree(made[0], tmp_path / "tutorials"))


def test_a_page_shows_text_code_output_and_pictures(folder):
    assert {path.name for path in folder.rglob("*.*")} == {"index.md", "any.py", "any.md", "any.ipynb", "any-1.png"}
    text = (folder / "any.md").read_text(encoding="utf-8")
    assert text.startswith("# A line\n\n[Open as a notebook](any.ipynb)\n\n")
    assert "See [the other page](other.md) and $`x^2`$." in text
    assert '```python\nprint("drawn")\n```\n\n```text\ndrawn\n```' in text
    assert "\n\n![A line that rises](pictures/any-1.png)\n\n" in text
    assert "matplotlib.lines" not in text  # the last expression of the cell says nothing beside its picture
    assert '```text\nUserWarning: as you see\n  warnings.warn("as you see")\n```' in text
    assert '\n\n<div class="shown">\n<b>bold</b>\n<i>html</i>\n</div>\n\n' in text
    assert re.search(r"\n````text\nlast\n```\n````\n\n<!-- made from code \w{16} -->\n$", text)
    answer = text.split('<details class="success" markdown>\n<summary>Show the answer</summary>\n')[1]
    assert answer.split("\n</details>\n")[0].strip() == "```python\n1 + 1\n```\n\n```text\n2\n```"


def test_a_notebook_has_cells_without_outputs(folder):
    import nbformat

    notebook = nbformat.read(folder / "any.ipynb", as_version=4)
    nbformat.validate(notebook)
    sources = [cell.source for cell in notebook.cells]
    assert sources[0] == "# A line\n\nSee [the other page](other.ipynb) and $x^2$."
    assert sources[sources.index("1 + 1") - 1] == "#### Answer"
    assert all(cell.outputs == [] for cell in notebook.cells if cell.cell_type == "code")


def test_pictures_have_no_background(folder):
    matplotlib = pytest.importorskip("matplotlib.image")
    corner = matplotlib.imread(folder / "pictures" / "any-1.png")[0, 0]
    assert corner[3] == 0


def test_only_other_code_is_executed_again(folder, monkeypatch):
    before = (folder / "any.md").read_text(encoding="utf-8")
    monkeypatch.setattr(tutorials, "execute", lambda pages, then: pages and pytest.fail("ran again"))
    assert built(folder, PAGE) == 0
    assert (folder / "any.md").read_text(encoding="utf-8") == before
    edited = PAGE.replace("# See", "# A new line.\n#\n# See").replace("that rises", "that climbs")
    assert built(folder, edited) == 0
    text = (folder / "any.md").read_text(encoding="utf-8")
    assert text == before.replace("See", "A new line.\n\nSee").replace("that rises", "that climbs")
    for code, options in ((PAGE.replace("1 + 1", "1 + 2"), {}), (PAGE, {"again": True})):
        with pytest.raises(pytest.fail.Exception, match="ran again"):
            built(folder, code, **options)


def test_what_shows_something_else_is_found(folder, made, monkeypatch):
    source = folder / "any.py"
    _, notebook = copy.deepcopy(made[1])
    monkeypatch.setattr(tutorials, "execute", lambda pages, then: then(source, notebook))
    assert tutorials.check([source]) == []
    shown = [cell for cell in notebook.cells if cell.get("outputs")]
    shown[0].outputs[0].text = "drawn 3 lines"
    (fault,) = tutorials.check([source])
    assert fault.startswith("any.py shows something else than its page:\n")
    assert "\n-drawn\n+drawn # lines" in fault
    shown[0].outputs[0].text = "drawn"
    del shown[1].outputs[-1]
    assert "\n-![](pictures/any#png)" in tutorials.check([source])[0]


def test_numbers_are_no_difference():
    masked = tutorials.masked
    assert masked("loss 0.51,  -3 of 1e-05 s") == masked("loss 12.0, +7 of 2.5E+3 s")
    assert masked("loss 0.51") != masked("losses 0.51")
    assert masked("[1. 2.\n 3.]") != masked("[1. 2. 3.]")


WRONG = {  # a word of a cell, what is done to the executed cell, and the message
    "a warning": ("warn", lambda cell: cell.metadata.tags.clear(), r" wrote to stderr .*\nUserWarning: as you see"),
    "no description": ("ax.plot", lambda cell: cell.metadata.update(alt=""), " draws a picture: say what it shows"),
    "two pictures": ("ax.plot", lambda cell: cell.outputs.append(cell.outputs[-1]), " draws 2 pictures: one picture"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_what_a_cell_may_not_show(made, fault):
    word, change, message = WRONG[fault]
    _, notebook = copy.deepcopy(made[1])
    execute.check(notebook, "any.py")
    number, cell = next((n, c) for n, c in enumerate(notebook.cells, start=1) if word in c.source)
    change(cell)
    with pytest.raises(execute.TutorialError, match=rf"any\.py, cell {number}{message}"):
        execute.check(notebook, "any.py")


def test_a_tutorial_that_does_not_end_fails_the_build(tmp_path, monkeypatch):
    monkeypatch.setattr(execute, "PATIENCE", 4)
    with pytest.raises(execute.TutorialError, match=r"any\.py: did not end within 4 s"):
        built(tmp_path, "# %%\nimport time\ntime.sleep(60)")
    assert [path.name for path in tmp_path.iterdir()] == ["any.py"]  # nothing is written


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs the signals of POSIX")
def test_ctrl_c_ends_the_build(tmp_path):
    page = tmp_path / "long.py"
    page.write_text(
        f"# %%\nimport time\nopen({str(tmp_path / 'began')!r}, 'w').close()\ntime.sleep(300)", encoding="utf-8"
    )
    code = "import signal, sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; import execute\n"
    code += "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a suite in the background ignores Ctrl-C
    code += "execute.execute([Path(sys.argv[2])], print)"
    command = [sys.executable, "-c", code, str(BUILDER), str(page)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not (tmp_path / "began").is_file():
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert "KeyboardInterrupt" in said
    assert process.returncode != 0


def test_a_tutorial_that_takes_too_long_fails_the_build(tmp_path, monkeypatch):
    monkeypatch.setattr(execute, "LIMIT", 0.01)  # a kernel alone takes more
    with pytest.raises(execute.TutorialError, match=r"any\.py: took \d+ s of processor time, more than 0\.01"):
        built(tmp_path, "# %%\n1 + 1")


def test_all_failures_are_reported_at_once_and_what_is_sound_is_written(tmp_path):
    pages = {
        "one": "# %%\nx = 1\n# %%\nx / 0",
        "sound": "# %%\n1 / 1",
        "two": "# %%\nimport warnings\nwarnings.warn('oh')",
    }
    for name, text in pages.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    first = r"one\.py, cell 2: ZeroDivisionError: division by zero\n"
    second = r"two\.py, cell 1 wrote to stderr .*\nUserWarning: oh"
    with pytest.raises(execute.TutorialError, match=f"(?s){first}.*{second}"):
        tutorials.build([tmp_path / f"{name}.py" for name in pages])
    assert {path.stem for path in tmp_path.iterdir() if path.suffix in (".md", ".ipynb")} == {"sound"}
