"""The wheel and the source distribution: what they say of themselves, and that they work where nothing else is."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from spikecore.installing import UNPUBLISHED
from tests import ROOT

TAGS = ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13"]
pytestmark = pytest.mark.skipif(not (ROOT / "hatch_build.py").is_file(), reason="the build files are not in this tree")


@pytest.fixture(scope="module")
def hook():
    sys.path.insert(0, str(ROOT))
    try:
        import hatch_build

        return hatch_build
    finally:
        sys.path.remove(str(ROOT))


def test_links_become_absolute_where_the_address_is_known(hook):
    text = "[a](docs/a.md#b) ![c](docs/c.svg) [d](https://example.org) [e](#f)"
    assert hook.absolute(text, "", "1.0") == text
    assert hook.absolute(text, "https://example.org/x", "1.0") == (
        "[a](https://example.org/x/blob/v1.0/docs/a.md#b) ![c](https://example.org/x/raw/v1.0/docs/c.svg) "
        "[d](https://example.org) [e](#f)"
    )


def test_every_relative_link_of_the_readme_is_found(hook):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    left = re.findall(
        r"\]\((?!https://example\.org|\w+:|#)([^)]*)\)", hook.absolute(text, "https://example.org", "1.0")
    )
    assert left == []


def project():
    tomllib = pytest.importorskip("tomllib", reason="part of Python since 3.11")
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_a_release_needs_the_address_and_an_index_that_takes_it(hook):
    free, private = {"classifiers": ["Typing :: Typed"]}, {"classifiers": [hook.PRIVATE]}
    assert hook.PRIVATE == UNPUBLISHED
    assert hook.unready("https://example.org/x", free) == []
    assert "address is unset" in "".join(hook.unready("", free))
    assert "delete it" in "".join(hook.unready("https://example.org/x", private))
    of = project()
    lacking = hook.unready(of["tool"]["hatch"]["metadata"]["hooks"]["custom"]["repository"], of["project"])
    done = subprocess.run([sys.executable, ROOT / "hatch_build.py"], capture_output=True, text=True)
    assert (done.returncode != 0) == bool(lacking)
    assert all(line in done.stderr for line in lacking)


def test_a_person_is_told_what_is_left_to_do_for_a_release(hook, tmp_path):
    """Each line that a file of the repository decides is "to do" before, and "done" after, what it asks for."""
    (tmp_path / "docs").mkdir()
    for name in ("README.md", "docs/install.md"):
        (tmp_path / name).write_text(f"{hook.UNRELEASED}, install from a clone.", encoding="utf-8")
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n", encoding="utf-8")
    (tmp_path / "CITATION.cff").write_text("\nversion: 0.0.1\n", encoding="utf-8")
    of = {"name": "spikecore", "version": "1.2.3", "classifiers": [hook.PRIVATE]}
    before = hook.steps(tmp_path, "", of)
    assert {done for done, _ in before} == {False, None}
    assert "README.md, docs/install.md" in "".join(what for _, what in before)
    for name in ("README.md", "docs/install.md"):
        (tmp_path / name).write_text("It is on an index.", encoding="utf-8")
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## [1.2.3] - 2027-01-02\n", encoding="utf-8")
    lines = ["version: 1.2.3", "date-released: 2027-01-02", "repository-code: https://example.org/x", "doi: 10.5/7"]
    (tmp_path / "CITATION.cff").write_text("\n".join(["cff-version: 1.2.0", *lines]), encoding="utf-8")
    after = hook.steps(tmp_path, "https://example.org/x", {**of, "classifiers": []})
    assert {done for done, _ in after} == {True, None}
    assert [done is None for done, _ in after] == [done is None for done, _ in before]
    of = project()
    printed = subprocess.run([sys.executable, ROOT / "hatch_build.py", "--steps"], capture_output=True, text=True)
    assert printed.returncode == 0, printed.stderr
    assert f"git push origin v{of['project']['version']}" in printed.stdout


def test_the_citation_has_the_version_and_the_address():
    citation, of = (ROOT / "CITATION.cff").read_text(encoding="utf-8"), project()
    address = of["tool"]["hatch"]["metadata"]["hooks"]["custom"]["repository"]
    assert f"\nversion: {of['project']['version']}\n" in citation
    assert ("\nrepository-code: " in citation) == bool(address)
    assert address in citation


def test_the_workflows_try_every_python_that_the_package_names():
    workflow = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(project()["project"]["classifiers"]))
    assert named == TAGS
    assert re.findall(r"\"(3\.\d+)\"", re.search(r"python: \[(.*)\]", workflow)[1]) == TAGS


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """What was built, in the folder ``$PACKAGE`` (`make package` names it), or is built now."""
    if os.environ.get("PACKAGE"):
        return ROOT / os.environ["PACKAGE"]
    pytest.importorskip("build", reason="the extra dev brings it")
    folder = tmp_path_factory.mktemp("package")
    subprocess.run([sys.executable, "-m", "build", "--outdir", folder, ROOT], check=True, capture_output=True)
    return folder


@pytest.mark.slow
def test_what_is_inside(built):
    (wheel,), (sources,) = built.glob("*.whl"), built.glob("*.tar.gz")
    inside = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in inside if ".dist-info" not in name}
    assert tops == {"spikecore"}
    assert {"spikecore/py.typed", "spikecore/__init__.pyi", "spikecore/nn/__init__.pyi"} <= set(inside)
    with tarfile.open(sources) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {
        "tests/smoke.py",
        "hatch_build.py",
        "README.md",
        "CONTRIBUTING.md",
        "CITATION.cff",
        "Makefile",
    } <= names


def pythons():
    """Every Python of a supported version that lies here: its version and its path; None where there is none of one.

    Those of pyenv lie in folders of their own: its shims in PATH start only those that are switched on.
    """
    path = [Path(name) for name in os.environ.get("PATH", "").split(os.pathsep) if name]
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    folders = [*(each for each in path if each.name != "shims"), *sorted(root.glob("versions/*/bin"))]
    named = [(each.name[6:], each) for folder in folders for each in sorted(folder.glob("python3.*"))]
    own = (f"{sys.version_info[0]}.{sys.version_info[1]}", Path(sys.executable))
    found = {each.resolve(): (tag, str(each)) for tag, each in reversed([own, *named]) if tag in TAGS}
    lacking = [(tag, None) for tag in TAGS if tag not in {tag for tag, _ in found.values()}]
    return sorted(found.values(), key=lambda each: (TAGS.index(each[0]), each[1])) + lacking


def numpys(tag):
    """The oldest NumPy that the package takes, and 2.x, where there are such for this Python."""
    return ["numpy==1.24.*"] * (TAGS.index(tag) <= TAGS.index("3.11")) + ["numpy>=2"] * (tag != "3.8")


PYTHONS = pythons()
UV = shutil.which("uv", path=str(Path(sys.executable).parent))


def done(*command, **options):
    """A program that has ended well."""
    ended = subprocess.run(command, capture_output=True, text=True, **options)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended


@pytest.fixture
def environment(tmp_path):
    """Makes a new environment of a Python, with what is named; returns its own python. It is deleted afterwards.

    By uv, where `make` has installed it: it links what it has unpacked once, where pip unpacks anew each time.
    """

    def make(python, *wanted, by=UV):
        if python is None:
            pytest.skip("no Python of this version on this machine")
        inside = tmp_path / "venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        if by:
            done(by, "venv", "--quiet", "--no-config", "--python", python, tmp_path / "venv")
            done(by, "pip", "install", "--quiet", "--no-config", "--python", inside, *wanted)
            return inside
        made = subprocess.run([python, "-m", "venv", tmp_path / "venv"], capture_output=True, text=True)
        if "ensurepip is not" in made.stdout:
            pytest.skip(f"{python} makes no environments: {made.stdout.strip()}")
        assert made.returncode == 0, made.stdout + made.stderr
        done(inside, "-m", "pip", "install", "--quiet", *wanted)
        return inside

    yield make
    shutil.rmtree(tmp_path / "venv", ignore_errors=True)


def tried(inside, script, folder):
    """What a script in tests/ prints, run by that Python, beside no sources and with no kernels of others."""
    around = {**os.environ, "SPIKECORE_CACHE": str(folder / "cache"), "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    around.pop("PYTHONPATH", None)  # what is installed is tried
    return done(inside, ROOT / "tests" / script, cwd=folder, env=around).stdout


def test_pythons_that_pyenv_keeps_are_found(monkeypatch, tmp_path):
    """Its shims are none of them."""
    for place in ("versions/3.9.1/bin/python3.9", "versions/3.7.2/bin/python3.7", "shims/python3.10"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_text("")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "shims"))
    found = dict(pythons())
    assert found["3.9"] == str(tmp_path / "versions" / "3.9.1" / "bin" / "python3.9")
    assert set(found) == set(TAGS)
    assert [tag for tag, path in found.items() if path is None] == [
        tag for tag in TAGS if tag not in ("3.9", f"3.{sys.version_info[1]}")
    ]


@pytest.mark.slow
def test_a_message_of_the_wheel_names_a_command_that_works(built, environment, tmp_path):
    """pip installs the wheel; where matplotlib is missing, pip finds everything that the message's command names."""
    (wheel,) = built.glob("*.whl")
    inside = environment(sys.executable, wheel, by=None)
    script = "from spikecore import spikeplot; spikeplot.raster([0, 1])"
    said = subprocess.run([inside, "-c", script], cwd=tmp_path, capture_output=True, text=True).stderr
    command = re.search(r"ImportError: .*: (pip .*)", said)[1]
    done(inside, "-m", *shlex.split(command), "--dry-run", "--quiet", cwd=tmp_path)


def trials():
    """The wheel for each Python; the sources for the oldest and the newest, where their build may fail.

    What they give is the wheel: `python -m build` has made it of them.
    """
    here = [each for each in PYTHONS if each[1]]
    return [("*.whl", *each) for each in PYTHONS] + [("*.tar.gz", *each) for each in (here[0], here[-1])]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "tag", "python"), trials())
def test_it_works_where_nothing_else_is_installed(built, environment, tmp_path, kind, tag, python):
    (package,) = built.glob(kind)
    assert f"on Python {tag}" in tried(environment(python, package), "smoke.py", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("tag", "python", "numpy"), [(*each, numpy) for each in PYTHONS for numpy in numpys(each[0])])
def test_kernels_the_command_and_a_tutorial_work_there(built, environment, tmp_path, tag, python, numpy):
    (wheel,) = built.glob("*.whl")
    inside = environment(python, f"{wheel}[kernels,cli,plot,data]", numpy)
    said = tried(inside, "smoke_extras.py", tmp_path)
    assert f"on Python {tag}" in said
    assert f"NumPy {numpy[7:].rstrip('.*')}." in said
