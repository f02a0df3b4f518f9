"""Every command that installs something: in pages, comments, messages and workflows, and what messages say at run time.

Until the first release no index has spikecore, and anybody may take the name. So while pyproject.toml marks the package
as unpublished, nothing may tell a reader to install it by its name.
"""

from __future__ import annotations

import ast
import io
import json
import os
import re
import subprocess
import sys
import tokenize
from functools import lru_cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from spikecore import installing
from tests import ROOT

FOLDERS = "spikecore docs examples tests benchmarks plugins .github .ci".split()
KINDS = (".md", ".py", ".pyi", ".toml", ".yml", ".yaml", ".ipynb")
OTHER_FILES = ("Makefile", ".ci/run")
PLUGIN = "plugins/spikecore-jax"
tomllib = pytest.importorskip("tomllib", reason="part of Python since 3.11")
pytestmark = pytest.mark.skipif(not (ROOT / "hatch_build.py").is_file(), reason="the build files are not in this tree")


def of(folder):
    return tomllib.loads((ROOT / folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]


PROJECT = of(".")
EXTRAS = PROJECT["optional-dependencies"]
UNPUBLISHED = installing.UNPUBLISHED in PROJECT["classifiers"]
OUR_NAMES = ("spikecore", "spikecore-jax")
NAMED = [*PROJECT["dependencies"], *of(PLUGIN)["dependencies"], *(line for lines in EXTRAS.values() for line in lines)]
KNOWN = {canonicalize_name(Requirement(line).name) for line in NAMED} - set(OUR_NAMES)
OTHERS = {  # packages that no extra brings, and why a reader is told to install them
    "sinabs": "it pins an older nir than the extra of that name needs, so that `make readers` takes it without",
    "nvidia-cuda-nvrtc": "a compiler for tests of CUDA C, hundreds of megabytes",
    "uv": "it installs in the place of pip, where it has a wheel",
    "nowhere": "a test makes an engine that needs it",
}
OPTIONS = {"-e", "--editable", "--quiet", "--disable-pip-version-check", "--no-deps"}
INDEXES = {"https://download.pytorch.org/whl/cpu"}  # PyTorch's own, for its wheel without CUDA
ELSEWHERE = {"SDK/poptorch-*.whl"}  # a file of Graphcore's SDK
WHEEL = f"dist/spikecore-{PROJECT['version']}-py3-none-any.whl"  # what `python -m build` writes
WORD = re.compile(r"""(?:"[^"\n]*"|'[^'\n]*'|[^\s"'`|])+""")


# ---- where the commands are


@lru_cache(maxsize=None)
def of_file(path):
    """The commands of a file. Of Python its strings and comments are read, with {} for what varies."""
    whole = path.read_text(encoding="utf-8")
    return [words for text in texts(path, whole) for words in commands(text)] if "pip install" in whole else []


def texts(path, whole):
    if path.suffix == ".ipynb":
        yield from ("".join(cell["source"]) for cell in json.loads(whole)["cells"])
    elif path.suffix in (".py", ".pyi"):
        tree = ast.parse(whole)
        parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                yield "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
                yield node.value
        for token in tokenize.generate_tokens(io.StringIO(whole).readline):
            if token.type == tokenize.COMMENT:
                yield token.string
    else:
        yield whole


def commands(text):
    """What follows each ``pip install``: words up to the end of the line, of the quotation, or of the sentence."""
    for rest in re.findall(r"pip install\b([^\n`]*)", text):
        words = []
        for word in WORD.findall(rest):
            bare = word if word[0] in "\"'" and word[-1] == word[0] else re.sub(r"(?<=[\w\"'\]])[.,;:)]+$", "", word)
            if bare in ("&&", "#", ")") or bare.startswith("("):
                break
            words.append(bare)
            if bare != word:
                break
        if rest.strip():  # `pip install` alone is a name
            yield words


@lru_cache(maxsize=None)
def files():
    """Every file in which a command may stand, but this one."""
    inside = {path for folder in FOLDERS for path in (ROOT / folder).rglob("*")} | {*ROOT.iterdir()}
    found = sorted(p for p in inside if p.suffix in KINDS or p.relative_to(ROOT).as_posix() in OTHER_FILES)
    return [path for path in found if path != Path(__file__)]


# ---- what is wrong with one


def wrong(words, unpublished=True):
    """What a reader would stumble over, or ""."""
    words, indexed = list(words), False
    names = []
    while words:
        word = words.pop(0)
        plain = word.strip("\"'")
        if "{" in word or "$" in word:  # filled in at run time, tested below, or by make
            names.append(word)
        elif word == "--index-url":
            indexed = True
            if not words or words.pop(0) not in INDEXES:
                return "no such index"
        elif word.startswith("-"):
            if word not in OPTIONS:
                return f"option {word}"
        elif plain == word and re.search(r"[<>\[*]", word) and word not in ELSEWHERE:
            return f"{word} is not quoted: a shell takes < and [ for itself"
        else:
            names.append(word)
            if problem := _wrong_name(plain, unpublished, indexed):
                return problem
    return "" if names else "it installs nothing"


def _wrong_name(plain, unpublished, indexed):
    if plain in ELSEWHERE:
        return ""
    path, _, extras = plain.partition("[")
    if path == WHEEL or path.startswith(".") or "/" in path:
        if path != WHEEL and not (ROOT / path / "pyproject.toml").is_file():
            return f"{path} is no package of the repository"
        unknown = {name.strip() for name in extras.rstrip("]").split(",") if extras} - set(EXTRAS)
        return f"no extra {sorted(unknown)}" if unknown else ""
    try:
        asked = Requirement(plain)
    except ValueError as error:
        return f"{plain}: {error}"
    name = canonicalize_name(asked.name)
    if name in OUR_NAMES:
        if unpublished:
            return f"no index has {name}"
        return f"no extra {sorted(asked.extras - set(EXTRAS))}" if asked.extras - set(EXTRAS) else ""
    if indexed and name != "torch":
        return f"{name} is not in PyTorch's index"
    return "" if name in KNOWN or name in OTHERS else f"{name} is in no extra"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('run `pip install "spikecore[plot]"`.', "no index has spikecore"),
        ("pip install spikecore", "no index has spikecore"),
        ("(pip install -U spikecore)", "option -U"),
        ("pip install 'SpikeCore[plot]>=0.1'  # a remark", "no index has spikecore"),
        ("pip install numpy spikecore_jax", "no index has spikecore-jax"),
        ('pip install -e ".[plots]"', "no extra ['plots']"),
        ("pip install -e .[plot]", "not quoted"),
        ("pip install -e plugins/spikecore-tpu", "no package of the repository"),
        ("pip install matplotlob", "matplotlob is in no extra"),
        ("pip install torch>=2.0.1", "not quoted"),
        ("pip install torch --index-url https://example.org/simple", "no such index"),
        ('pip install "dist/spikecore-0.0.1-py3-none-any.whl[plot]"', "no package of the repository"),
        ("python -m pip install --quiet", "installs nothing"),
        ("pip install a package", "is in no extra"),
    ],
)
def test_commands_that_cannot_work_are_found(line, problem):
    (words,) = commands(line)
    assert problem in wrong(words)


@pytest.mark.parametrize(
    "line",
    [
        'pip install -e ".[all,examples]"   # in the clone',
        "pip install -e . -e plugins/spikecore-jax",
        f'pip install "{WHEEL}[all]", then',
        'pip install "matplotlib>=3.7" numba (or not)',
        "pip install torch --index-url https://download.pytorch.org/whl/cpu",
        "the sunspots (pip install statsmodels)",
        '`pip install "jax[cuda13]"` for GPUs',
    ],
)
def test_commands_that_work_pass(line):
    (words,) = commands(line)
    assert wrong(words) == ""


def test_once_an_index_has_the_name_it_may_stand_in_commands():
    assert wrong(["'spikecore[plot]'"], unpublished=False) == ""
    assert "no extra" in wrong(["'spikecore[plots]'"], unpublished=False)


def test_commands_are_found_in_every_kind_of_text(tmp_path):
    python = '"""pip install a"""\nb = f"pip install b{1}"  # pip install c\nd = "pip " "install d"\n'
    (tmp_path / "one.py").write_text(python)
    cell = {"cell_type": "markdown", "source": ["# title\n", 'pip install "e"']}
    (tmp_path / "two.ipynb").write_text(json.dumps({"cells": [cell]}))
    (tmp_path / "three.md").write_text("a line\n| `pip install f` |\n")
    found = [words for path in tmp_path.iterdir() for words in of_file(path)]
    assert sorted(found) == [['"e"'], ["a"], ["b{}"], ["c"], ["d"], ["f"]]


# ---- all of them


def test_every_command_of_the_repository_can_work():
    found, problems = 0, []
    for path in files():
        for words in of_file(path):
            found += 1
            if problem := wrong(words, UNPUBLISHED):
                problems.append(f"{path.relative_to(ROOT)}: pip install {' '.join(words)}: {problem}")
    assert not problems, "\n".join(problems)
    assert found > 60


def test_a_page_that_installs_from_the_clone_says_so():
    dumb = [
        path.relative_to(ROOT).as_posix()
        for path in files()
        if path.suffix in (".md", ".py", ".ipynb")
        if any(word.startswith('".[') for words in of_file(path) for word in words)
        and "clone" not in path.read_text(encoding="utf-8")
    ]
    assert not dumb


def test_our_own_name_with_an_extra_stands_nowhere_but_in_the_projects():
    """Messages make it, once an index has it; anywhere else it would be a requirement that nobody can meet."""
    if not UNPUBLISHED:
        return
    allowed = {ROOT / name for name in ("pyproject.toml", f"{PLUGIN}/pyproject.toml", "spikecore/installing.py")}
    named = re.compile(r"spikecore\\*\[")
    assert not [path for path in files() if path not in allowed and named.search(path.read_text(encoding="utf-8"))]


# ---- what messages say


def asked_for(folder):
    """The extras that messages name, read from the sources."""
    for path in (ROOT / folder).rglob("*.py"):
        whole = path.read_text(encoding="utf-8")
        yield from re.findall(r"\bto_install\(['\"]([^'\"]+)['\"]\)", whole)
        yield from re.findall(r"\bEngineEntry\(.*\bpip_extra=\"([^\"]+)\"", whole)


def test_messages_name_extras_that_exist():
    named = {*asked_for("spikecore"), *asked_for("benchmarks")}
    assert {"torch", "plot", "cli"} <= named <= set(EXTRAS)


def expanded(extra):
    """Its requirements, without the names of other extras; as the build system writes them."""
    for line in map(Requirement, EXTRAS[extra]):
        if line.name == "spikecore":
            for other in line.extras:
                yield from expanded(other)
        else:
            yield line


def bare(asked):
    """A requirement without its condition."""
    return str(asked).partition(";")[0].strip()


def wanted(extra, python=None):
    """The requirements that hold on a version of Python, on Linux."""
    here = {"platform_system": "Linux", **({"python_version": python} if python else {})}
    return {bare(asked) for asked in expanded(extra) if asked.marker is None or asked.marker.evaluate(here)}


def requires(extra):
    """Its lines in the metadata, as hatchling writes them."""
    for asked in expanded(extra):
        condition = f"({asked.marker}) and ".replace('"', "'") if asked.marker else ""
        yield f"{bare(asked)}; {condition}extra == '{extra}'"


def metadata(folder, classifiers):
    """The metadata of an installed package, in a folder for sys.path."""
    lines = ["Metadata-Version: 2.4", "Name: spikecore", "Version: 9.9"]
    lines += [f"Classifier: {name}" for name in classifiers]
    lines += [f"Requires-Dist: {line}" for extra in EXTRAS for line in requires(extra)]
    (folder / "spikecore-9.9.dist-info").mkdir()
    (folder / "spikecore-9.9.dist-info" / "METADATA").write_text("\n".join(lines) + "\n")


def said(names, path):
    """What ``to_install`` says in a process of its own, in which ``path`` comes first."""
    script = "import json, sys; from spikecore.installing import to_install as f; "
    script += "print(json.dumps([f(name) for name in sys.argv[1:]]))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    command = [sys.executable, "-c", script, *names]
    return json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def test_unpublished_a_message_names_the_packages_of_the_extra(tmp_path):
    metadata(tmp_path, [installing.UNPUBLISHED])
    for extra, command in zip(EXTRAS, said(EXTRAS, [tmp_path, ROOT])):
        (words,) = commands(command)
        assert wrong(words) == "", command
        assert command == f"pip install {' '.join(words)}"
        assert {word.strip('"') for word in words} == wanted(extra)


def test_published_a_message_names_the_extra(tmp_path):
    metadata(tmp_path, PROJECT["classifiers"][:1])
    for extra, command in zip(EXTRAS, said(EXTRAS, [tmp_path, ROOT])):
        assert command == f'pip install "spikecore[{extra}]"'
        (words,) = commands(command)
        assert wrong(words, unpublished=False) == ""


def test_a_clone_that_is_on_the_path_and_not_installed_names_itself(monkeypatch):
    from importlib import metadata as installed

    def absent(name):
        raise installed.PackageNotFoundError(name)

    monkeypatch.setattr(installed, "distribution", absent)
    assert installing.to_install("plot") == 'pip install -e ".[plot]", in the clone of spikecore'


@pytest.mark.parametrize("python", [(3, minor) for minor in range(8, 14)])
def test_packages_are_those_that_this_python_takes(python):
    """The same as an installer's own reading of the conditions."""
    lines = [line for extra in EXTRAS for line in requires(extra)]
    for extra in EXTRAS:
        fitting = wanted(extra, f"{python[0]}.{python[1]}")
        assert set(installing.packages(lines, extra, python)) == (fitting or {bare(one) for one in expanded(extra)})


def test_what_the_benchmarks_say_of_libraries_that_are_missing():
    from benchmarks.plan import PEERS

    assert not [name for _, name in PEERS.values() if wrong([name])]
