"""docs/api.md names everything public; links of pages that MkDocs does not build lead somewhere."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
API = ROOT / "docs" / "api.md"
MODULES = {  # with what each needs
    "spikecore": "torch",
    "spikecore.backprop": "torch",
    "spikecore.datasets": "numpy",
    "spikecore.datasets.transforms": "numpy",
    "spikecore.functional": "torch",
    "spikecore.functional.probe": "torch",
    "spikecore.functional.stdp_learner": "torch",
    "spikecore.nir": "nir",
    "spikecore.nn": "torch",
    "spikecore.schedule": "numpy",
    "spikecore.spikegen": "numpy",
    "spikecore.spikeplot": "matplotlib",
    "spikecore.surrogate": "numpy",
    "spikecore.utils": "torch",
}
ALIASES = {"LIF"}  # snnTorch's second name for a class that is listed
pytestmark = pytest.mark.skipif(not API.is_file(), reason="docs/ is not part of this tree")


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_stands_in_the_reference(name):
    pytest.importorskip(MODULES[name])
    listed = set(re.findall(r"^::: (\S+)", API.read_text(encoding="utf-8"), re.MULTILINE))
    module = importlib.import_module(name)
    public = getattr(module, "__all__", None) or [each for each in dir(module) if not each.startswith("_")]
    missing = []
    for each in public:
        thing = getattr(module, each)
        if isinstance(thing, ModuleType):
            continue
        home, own = str(getattr(thing, "__module__", "")), getattr(thing, "__name__", each)
        ours = home.startswith("spikecore") and not home.startswith("spikecore.spikeplot") and each not in ALIASES
        if ours and home not in listed and f"{home}.{own}" not in listed:
            missing.append(f"{home}.{own}")
    assert not missing
    assert name != "spikecore.spikeplot" or name in listed


@pytest.mark.parametrize("page", ["README.md", "CHANGELOG.md"])
def test_links_between_files_lead_somewhere(page):
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / page).read_text(encoding="utf-8"))
    assert targets
    assert not [target for target in targets if not (ROOT / target).exists()]
