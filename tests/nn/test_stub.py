"""The table of ``spikecore.nn``'s modules: snnTorch's signatures, and what editors and type checkers see of them."""

from __future__ import annotations

import importlib.util
import inspect
import json
import subprocess
import sys
import warnings

import pytest

from tests import ROOT

pytest.importorskip("torch", reason="the torch face needs torch")
import spikecore.nn as snn  # noqa: E402
from spikecore.engines.torch.nn.face import Faced  # noqa: E402

SCRIPT = ROOT / "docs" / "make_stub.py"
ROOMS = ("export_nir", "import_nir", "spikeplot")  # which a tree of the core alone does not have
PUBLIC = [getattr(snn, name) for name in dir(snn) if name not in ROOMS]
KINDS = [kind for kind in PUBLIC if isinstance(kind, type) and issubclass(kind, Faced)]


def snntorch():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("snntorch", reason="compared with snnTorch")


def parameters(function):
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_signatures_are_those_of_snntorch(kind):
    theirs = getattr(snntorch(), kind.__name__, None)
    if theirs is None and kind is snn.SynapticDelay:
        pytest.skip("no released snnTorch has SynapticDelay, its main branch has")
    expected, ours = parameters(theirs), parameters(kind)
    assert [(name, how) for name, how, _ in ours] == [(name, how) for name, how, _ in expected]
    required = [name for name, _, default in expected if default is inspect.Parameter.empty]
    assert [p for p in ours if p[0] not in required] == [p for p in expected if p[0] not in required]
    if kind.states and kind is not snn.DeltaLeaky:
        assert parameters(kind.forward) == parameters(theirs.forward)


def test_arguments_are_refused_by_name():
    for call, message in [
        (lambda: snn.Leaky(), "Leaky: beta missing: write Leaky.beta"),
        (lambda: snn.Leaky(0.9, spikegrad=None), "Leaky: unknown argument 'spikegrad'; did you mean 'spike_grad'"),
        (lambda: snn.Leaky(0.9, beta=0.8), "Leaky: multiple values for argument 'beta'"),
        (lambda: snn.AssociativeLeaky(1, 2, 3, 4, True, 6), "AssociativeLeaky: too many positional arguments"),
        (lambda: snn.Leaky(0.9)(1, 2, 3), "Leaky: too many positional arguments, its states are .'mem',"),
        (lambda: snn.Leaky(0.9)(1, syn=3), "Leaky: got an unexpected keyword argument 'syn', its states are"),
        (lambda: snn.Leaky(0.9)(1, 2, mem=3), "Leaky: multiple values for argument 'mem'"),
    ]:
        with pytest.raises(TypeError, match=message):
            call()


def test_states_by_name():
    import torch

    x, syn, mem = torch.rand(3, 2, 4)
    by_place = snn.Synaptic(0.8, 0.9)(x, syn, mem)
    assert all(torch.equal(a, b) for a, b in zip(by_place, snn.Synaptic(0.8, 0.9)(x, mem=mem, syn=syn)))


def test_a_subclass_has_its_own_signature():
    class Own(snn.Leaky):
        def __init__(self, rate, **options):
            super().__init__(beta=1.0 - rate, **options)

    assert str(inspect.signature(Own)) == "(rate, **options)"
    assert float(Own(0.25).beta) == 0.75


# ---- the stub ----


def test_the_stub_is_current():
    spec = importlib.util.spec_from_file_location("make_stub", SCRIPT)
    make_stub = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_stub)
    assert make_stub.STUB.read_text() == make_stub.stub(), "run: make stub"


USES = """
import torch
from torch import nn
import spikecore as sc
import spikecore.nn as snn

lif = snn.Leaky(beta=0.9, spike_grad=sc.surrogate.atan(), init_hidden=True)
rec = snn.RLeaky(torch.rand(3), linear_features=3, learn_beta=True, state_quant=False)
spk, mem = snn.Leaky(0.9, reset_mechanism="zero")(torch.rand(2, 3), lif.mem)
net = nn.Sequential(nn.Linear(3, 3), lif, snn.module(sc.ALIF(beta=sc.learn(0.9)), init_hidden=True))
out = snn.run(net, torch.rand(5, 2, 3))
snn.utils.reset(net)
found = snn.AssociativeLeaky.from_num_spiking_neurons(4, 9)
"""
MISTAKES = {
    "snn.Leky(beta=0.9)": "Leky",
    "snn.Leaky(beta=0.9, spikegrad=None)": "spikegrad",
    "snn.Leaky()": "beta",
    'snn.Leaky(beta=0.9, reset_mechanism="substract")': "substract",
    "snn.Leaky(beta=0.9, init_hidden=3.5)": "init_hidden",
    "snn.Leaky(0.9)(torch.rand(2), syn=None)": "syn",
}


@pytest.mark.skipif(importlib.util.find_spec("pyright") is None, reason="pyright is not installed")
def test_a_type_checker_knows_them(tmp_path):
    file = tmp_path / "script.py"
    file.write_text(USES + "\n".join(MISTAKES) + "\n")
    (tmp_path / "pyrightconfig.json").write_text(json.dumps({"extraPaths": [str(ROOT)]}))
    command = [sys.executable, "-m", "pyright", "-p", str(tmp_path), "--pythonpath", sys.executable, "--outputjson"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    found = json.loads(run.stdout)["generalDiagnostics"]
    errors = {one["range"]["start"]["line"]: one["message"] for one in found if one["severity"] == "error"}
    first = len(USES.splitlines())
    assert [line for line in errors if line < first] == [], errors
    for i, (call, word) in enumerate(MISTAKES.items()):
        assert word in errors.get(first + i, ""), call
