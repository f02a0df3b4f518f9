"""docs/names.md has every public name of the installed snnTorch, and every name of ours in it exists."""

from __future__ import annotations

import importlib.util
import inspect
import os
import subprocess
import sys
import warnings

import pytest

from tests import ROOT

pytest.importorskip("torch", reason="the torch face needs torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    snntorch = pytest.importorskip("snntorch", reason="the table is compared with snnTorch")

SCRIPT = ROOT / "docs" / "make_names.py"
spec = importlib.util.spec_from_file_location("make_names", SCRIPT)
make_names = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_names)
TABLE = make_names.SNNTORCH
ROWS = TABLE.rows()


def test_every_public_name_is_in_the_table_once():
    names = [row.theirs for row in ROWS]
    assert names == TABLE.public()
    assert len(names) > 150


def test_every_name_of_ours_exists():
    assert [row.ours for row in ROWS if row.ours and not make_names.exists(row.ours)] == []
    assert not make_names.exists("functional.ce_rate_los")
    assert not make_names.exists("nowhere.Leaky")


def arguments(name):
    """The names of arguments in order; None where there is no signature."""
    module, _, attribute = name.rpartition(".")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # snntorch.backprop tells of its future
        found = getattr(importlib.import_module(module), attribute)
    if not callable(found):  # the name of an autograd class, which has ``apply`` alone
        return None
    return [
        p.name for p in inspect.signature(found).parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]


def disagrees(theirs, ours):
    """Whether ours lacks an argument of snnTorch's, or has it in another place."""
    there, here = arguments(theirs), arguments(f"spikecore.{ours}")
    if here is None:
        return False
    if "loss" in ours:  # losses take keywords alone, which stands under "for all"
        return not set(there) <= set(here)
    return here[: len(there)] != there


def test_arguments_are_called_the_same_where_it_says_so():
    assert [row.theirs for row in ROWS if row.status in ("same", "better") and disagrees(row.theirs, row.ours)] == []
    assert disagrees("snntorch.surrogate.custom_surrogate", "surrogate.custom_surrogate")
    assert disagrees("snntorch.functional.accuracy_rate", "functional.accuracy_rate")


def test_what_is_not_offered_is_not_there():
    missing = [row.theirs.partition(".")[2] for row in ROWS if row.status == "not offered"]
    assert missing
    assert [name for name in missing if make_names.exists(name)] == []


def test_what_differs_is_said():
    for row in ROWS:
        assert row.status in TABLE.status, row
        assert bool(row.ours) == (row.status != "not offered"), row
        assert row.remark or row.status in ("same", "better"), row
        if row.status == "better":  # what is better about neurons in general stands above the table
            assert row.remark or row.theirs.rpartition(".")[0] == "snntorch", row


def test_the_page_is_up_to_date():
    assert TABLE.page.read_text() == make_names.page(TABLE), "run: python docs/make_names.py"


def test_snntorchs_modules_are_found_where_they_were():
    import spikecore.functional as functional
    import spikecore.nn as snn

    for name in ("acc", "loss", "probe", "quant", "reg", "stdp_learner"):
        assert importlib.util.find_spec(f"spikecore.functional.{name}") is not None
    assert snn.surrogate.atan().alpha == 2.0
    assert functional.LossFunctions is functional.Loss


MISSING = [row.theirs for row in ROWS if not row.ours]
MODULES = "backprop export_nir functional import_nir spikegen spikeplot surrogate utils".split()


@pytest.mark.parametrize("name", MODULES)
def test_snntorchs_modules_hang_on_the_package(name):
    """B5: ``import snntorch as snn`` and then ``snn.utils.reset(net)``."""
    import spikecore.nn as snn

    pytest.importorskip({"export_nir": "nir", "import_nir": "nir", "spikeplot": "matplotlib"}.get(name, "torch"))
    ours = getattr(snn, name)
    assert importlib.import_module(f"spikecore.{name if name[-4:] != '_nir' else 'nir'}") is ours
    public = [row.theirs.rpartition(".")[2] for row in ROWS if row.theirs.rpartition(".")[0] == f"snntorch.{name}"]
    public = [each for each in public if f"snntorch.{name}.{each}" not in MISSING]
    assert public
    assert [each for each in public if not hasattr(ours, each)] == []
    assert name in dir(snn)


DOTTED = """
import pickle, sys
import {first}
import spikecore.nn.functional as SF
import spikecore.nn.functional.loss
import spikecore.nn.functional.quant as quant
import spikecore.nn as snn
from spikecore.nn import {names}
from spikecore.nn.functional import ce_rate_loss, probe
from spikecore.nn.surrogate import atan
from spikecore.nn.spikegen import rate
from spikecore.nn.utils import reset
from spikecore.nn.backprop import TBPTT
from spikecore.nn.export_nir import export_to_nir
from spikecore.nn.import_nir import import_from_nir
import spikecore

for name in "{names}".split(", "):
    ours = getattr(spikecore, "nir" if name[-4:] == "_nir" else name)
    assert vars()[name] is getattr(snn, name) is sys.modules["spikecore.nn." + name] is ours, name
    assert ours.__name__ == ours.__spec__.name == "spikecore." + ("nir" if name[-4:] == "_nir" else name)
for name in spikecore.functional.MODULES:
    assert sys.modules["spikecore.nn.functional." + name] is getattr(spikecore.functional, name), name
assert SF is spikecore.functional and quant is SF.quant and spikecore.nn.functional.loss is SF.loss
loss = pickle.loads(pickle.dumps(SF.ce_rate_loss()))
assert type(loss) is spikecore.functional.ce_rate_loss and loss == ce_rate_loss()
"""


FORKS = """
import os, sys, traceback
import torch, matplotlib.pyplot, nir  # which take long, and nothing of ours
assert not [name for name in sys.modules if name.startswith("spikecore")]
codes = []
for script in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        try:
            exec(script, {"__name__": "__main__"})
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    codes.append(os.waitpid(child, 0)[1])
sys.exit(any(codes))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks, as POSIX has them")
def test_snntorchs_modules_are_imported_by_their_dotted_names():
    """``import snntorch.functional as SF``, whatever comes first: one module each, never a second copy of it."""
    pytest.importorskip("nir")
    pytest.importorskip("matplotlib")
    first = ("spikecore.nn.functional", "spikecore.nn.spikeplot", "spikecore.nn.surrogate")
    scripts = [DOTTED.format(first=name, names=", ".join(MODULES)) for name in first]
    done = subprocess.run([sys.executable, "-W", "error", "-c", FORKS, *scripts], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_rest_of_the_package(monkeypatch):
    """B5: the version; what is not there says what is."""
    import spikecore
    import spikecore.nn as snn

    assert snn.__version__ == spikecore.__version__
    with pytest.raises(AttributeError, match="unknown name 'Leeky'; did you mean 'Leaky'"):
        _ = snn.Leeky
    assert not any(name.startswith("_") for name in dir(snn) if name != "__version__")


def test_importing_the_face_loads_none_of_them():
    """B5: neither matplotlib nor NIR, nor what nobody asked for."""

    code = "import sys, spikecore.nn as snn; print([n for n in sys.argv[1:] if n in sys.modules]); snn.utils"
    command = [sys.executable, "-c", code, "matplotlib", "nir", "spikecore.utils", "spikecore.spikegen"]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.split() == ["[]"]
