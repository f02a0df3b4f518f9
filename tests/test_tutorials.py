"""Tutorials become pages: executed, with what they print and draw. What is wrong with one fails the build, by name.

Their own code runs when the documentation is built (`make tutorials`).
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

for needed in ("jupytext", "nbclient", "nbformat", "ipykernel", "matplotlib"):
    pytest.importorskip(needed)
BUILDER = Path(__file__).parent.parent / "docs" / "builder"
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
print("last\\n```")
"""


def built(tmp_path, text):
    source = tmp_path / "any.py"
    source.write_text(text, encoding="utf-8")
    out = tmp_path / "out"
    return tutorials.build([source], out), out


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tutorial")
    names, out = built(folder, PAGE)
    return folder, names, out


def test_a_page_shows_text_code_output_and_pictures(page):
    _, names, out = page
    assert names == ["any.md", "any-3.png", "any.ipynb"]
    text = (out / "any.md").read_text(encoding="utf-8")
    assert text.startswith("# A line\n\n[Download as a notebook](any.ipynb) · took ")
    assert "See [the other page](other.md) and $x^2$." in text
    assert '```python\nprint("drawn")\n```\n\n```text\ndrawn\n```' in text
    assert "![A line that rises](any-3.png){ width=" in text
    assert "matplotlib.lines" not in text  # the last expression of the cell says nothing beside its picture
    assert '```text\nUserWarning: as you see\n  warnings.warn("as you see")\n```' in text
    assert text.endswith("````text\nlast\n```\n````\n")
    answer = text.split("/// details | Show the answer\n    type: success\n")[1].split("\n///\n")[0]
    assert answer.strip() == "```python\n1 + 1\n```\n\n```text\n2\n```"


def test_the_notebook_is_whole_without_the_site(page):
    import nbformat

    notebook = nbformat.read(page[2] / "any.ipynb", as_version=4)
    nbformat.validate(notebook)
    sources = [cell.source for cell in notebook.cells]
    how_long = r"Running all cells takes about \d+ s on one core\."
    assert re.fullmatch(r"# A line\n\nSee the other page and \$x\^2\$\.\n\n" + how_long, sources[0])
    assert sources[sources.index("1 + 1") - 1] == "#### Answer"
    assert notebook.cells[1].outputs[0].text == "drawn\n"
    assert "key" not in str(notebook.metadata)


def test_pictures_have_no_background(page):
    matplotlib = pytest.importorskip("matplotlib.image")
    corner = matplotlib.imread(page[2] / "any-3.png")[0, 0]
    assert corner[3] == 0


def test_nothing_runs_again_before_something_changes(page, monkeypatch):
    folder, names, _ = page

    async def run(notebook, page):
        raise AssertionError("ran again")

    monkeypatch.setattr(execute, "_run", run)
    assert built(folder, PAGE)[0] == names
    with pytest.raises(AssertionError, match="ran again"):
        built(folder, PAGE + "# more\n")
    monkeypatch.setattr(execute, "_library", lambda: "another state of the library")
    with pytest.raises(AssertionError, match="ran again"):
        built(folder, PAGE)


WRONG = {
    "an error": ("# %%\nx = 1\n# %%\nx / 0", r"any\.py, cell 2: ZeroDivisionError: division by zero\n"),
    "a warning": ("# %%\nimport warnings\nwarnings.warn('oh')", r"cell 1 wrote to stderr .*\nUserWarning: oh"),
    "no description": ("# %%\nimport matplotlib.pyplot as plt\nplt.plot([1]);", r"cell 1 draws a picture: say what"),
    "two pictures": (
        '# %% alt="a"\nimport matplotlib.pyplot as plt\nplt.figure()\nplt.plot([1])\nplt.figure()\nplt.plot([1]);',
        r"cell 1 draws 2 pictures: one picture for each cell",
    ),
    "no end": ("# %%\nwhile True: pass", r"any\.py: did not end within 6 s"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_what_is_wrong_fails_the_build(fault, tmp_path, monkeypatch):
    text, message = WRONG[fault]
    monkeypatch.setattr(execute, "PATIENCE", 6 if fault == "no end" else 60)
    with pytest.raises(execute.TutorialError, match=message):
        built(tmp_path, text)
    assert not list(tmp_path.glob("out/executed/*"))  # a failure is not kept


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs the signals of POSIX")
def test_ctrl_c_ends_the_build(tmp_path):
    page = tmp_path / "long.py"
    page.write_text(
        f"# %%\nimport time\nopen({str(tmp_path / 'began')!r}, 'w').close()\ntime.sleep(300)", encoding="utf-8"
    )
    code = "import signal, sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; import execute\n"
    code += "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a suite in the background ignores Ctrl-C
    code += "execute.executed([Path(sys.argv[2])], Path(sys.argv[3]))"
    command = [sys.executable, "-c", code, str(BUILDER), str(page), str(tmp_path / "out")]
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


def test_all_failures_are_reported_at_once(tmp_path):
    pages = [tmp_path / "one.py", tmp_path / "two.py"]
    for page in pages:
        page.write_text("# %%\n1 / 0", encoding="utf-8")
    with pytest.raises(execute.TutorialError, match=r"(?s)one\.py, cell 1: .*two\.py, cell 1: "):
        tutorials.build(pages, tmp_path / "out")
