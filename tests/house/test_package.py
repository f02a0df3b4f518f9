"""The wheel and the source distribution: what they say of themselves, and that they work where nothing else is."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import zipfile

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


def interpreter(tag):
    """A Python of this version, or None. A launcher may be there without the version that it launches."""
    name = sys.executable if sys.version_info[:2] == tuple(map(int, tag.split("."))) else shutil.which(f"python{tag}")
    works = name and subprocess.run([name, "-c", "import venv, ensurepip"], capture_output=True).returncode == 0
    return name if works else None


@pytest.mark.slow
def test_a_message_of_the_wheel_names_a_command_that_works(built, tmp_path):
    """What it says where matplotlib is missing; pip finds everything that the command names."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True, capture_output=True)
    inside = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    (wheel,) = built.glob("*.whl")
    subprocess.run([inside, "-m", "pip", "install", "--quiet", wheel], check=True, capture_output=True)
    script = "from spikecore import spikeplot; spikeplot.raster([0, 1])"
    done = subprocess.run([inside, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    command = re.search(r"ImportError: .*: (pip .*)", done.stderr)[1]
    trial = [inside, "-m", *shlex.split(command), "--dry-run", "--quiet"]
    done = subprocess.run(trial, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz"])
def test_it_works_where_nothing_else_is_installed(built, tmp_path, kind, tag):
    python = interpreter(tag)
    if python is None:
        pytest.skip(f"no Python {tag} on this machine")
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True, capture_output=True)
    inside = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    (package,) = built.glob(kind)
    done = subprocess.run([inside, "-m", "pip", "install", "--quiet", package], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([inside, ROOT / "tests" / "smoke.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"on Python {tag}" in done.stdout
