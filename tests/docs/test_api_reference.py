"""docs/reference/ names everything public, once; links of pages that MkDocs does not build lead somewhere."""

from __future__ import annotations

import importlib
import re
from types import ModuleType

import pytest

from tests import ROOT

REFERENCE = ROOT / "docs" / "reference"
MODULES = {  # with what each needs
    "spikecore": "torch",
    "spikecore.backprop": "torch",
    "spikecore.base": "numpy",
    "spikecore.compression": "numpy",
    "spikecore.convert": "torch",
    "spikecore.datasets": "numpy",
    "spikecore.datasets.transforms": "numpy",
    "spikecore.errors": "numpy",
    "spikecore.eventprop": "torch",
    "spikecore.functional": "torch",
    "spikecore.functional.probe": "torch",
    "spikecore.functional.stdp_learner": "torch",
    "spikecore.hardware": "numpy",
    "spikecore.init": "numpy",
    "spikecore.neurobench": "numpy",
    "spikecore.nir": "nir",
    "spikecore.nn": "torch",
    "spikecore.plasticity": "numpy",
    "spikecore.schedule": "numpy",
    "spikecore.spikegen": "numpy",
    "spikecore.spikeplot": "matplotlib",
    "spikecore.surrogate": "numpy",
    "spikecore.tracking": "numpy",
    "spikecore.utils": "torch",
    "spikecore.zoo": "numpy",
}
HELPERS = set("detached picked unchanged Labelled Parts".split())  # parts of modules that say what is public by nothing
SHORT = {  # as the pages write them: docs/builder/reference.py
    "sc": "spikecore",
    "snn": "spikecore.nn",
    "transforms": "spikecore.datasets.transforms",
    **{
        name: f"spikecore.{name}"
        for name in "backprop base compression convert datasets errors eventprop functional hardware init".split()
    },
    **{
        name: f"spikecore.{name}"
        for name in "neurobench nir plasticity schedule spikegen spikeplot surrogate tracking utils zoo".split()
    },
}
pytestmark = pytest.mark.skipif(not REFERENCE.is_dir(), reason="docs/ is not part of this tree")


def listed():
    """Every line of the pages, by its name in full."""
    lines = []
    for page in sorted(REFERENCE.glob("*.md")):
        lines += re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [".".join([SHORT.get(first, first), *rest]) for first, *rest in (line.split(".") for line in lines)]


def found(path):
    """What a dotted name stands for."""
    parts = path.split(".")
    thing = importlib.import_module(parts[0])
    for count, part in enumerate(parts[1:], start=2):
        try:
            thing = getattr(thing, part)
        except AttributeError:
            thing = importlib.import_module(".".join(parts[:count]))
    return thing


def test_nothing_stands_there_twice():
    names = listed()
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_stands_in_the_reference(name):
    pytest.importorskip(MODULES[name])
    names = set(listed())
    module = importlib.import_module(name)
    public = getattr(module, "__all__", None) or [each for each in dir(module) if not each.startswith("_")]
    missing = []
    for each in public:
        thing = getattr(module, each)
        if isinstance(thing, ModuleType):
            continue
        home, own = str(getattr(thing, "__module__", "")), getattr(thing, "__name__", each)
        ours = home.startswith("spikecore") and each not in HELPERS
        whole = home in names and isinstance(found(home), ModuleType)  # a page shows all of a module
        stands = whole or f"{home}.{own}" in names or any(n.endswith(f".{own}") and found(n) is thing for n in names)
        if ours and not stands:
            missing.append(f"{name}.{each}")
    assert not missing


@pytest.mark.parametrize("needed", sorted(set(MODULES.values())))
def test_every_name_of_the_reference_exists(needed):
    """Those of a module that needs no other package than this one; what is missing is an error that says so."""
    pytest.importorskip(needed)
    homes = [(name, max((m for m in MODULES if name.startswith(f"{m}.")), key=len)) for name in listed()]
    names = [name for name, home in homes if MODULES[home] == needed]
    assert names
    assert all(found(name) is not None for name in names)


@pytest.mark.parametrize("page", ["README.md", "CHANGELOG.md"])
def test_links_between_files_lead_somewhere(page):
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / page).read_text(encoding="utf-8"))
    assert targets
    assert not [target for target in targets if not (ROOT / target).exists()]
