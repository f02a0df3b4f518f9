"""Finding engines: names, precedence, what is missing and how to get it, third parties."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import spikecore
import spikecore as sc
import spikecore.engines.numpy.engine
from spikecore.api.core import engines as core
from spikecore.api.core.layer import Key
from spikecore.engines.numpy.engine import NumpyEngine
from spikecore.installing import to_install
from tests import ROOT


def test_get_engine():
    assert sc.get_engine("numpy").name == "numpy"
    assert sc.get_engine("numpy", dtype="float64").dtype == "float64"
    engine = sc.get_engine("numpy")
    assert sc.get_engine(engine) is engine
    with pytest.raises(TypeError, match=r"options \['dtype'\] have no effect on an Engine that already exists"):
        sc.get_engine(engine, dtype="float64")
    with pytest.raises(ValueError, match="dtype='float16' must be one of float32, float64"):
        sc.get_engine("numpy", dtype="float16")


def test_get_engine_of_torch():
    pytest.importorskip("torch", reason="it is the torch engine that is made")
    assert sc.get_engine("torch", device="cpu").device == "cpu"
    with pytest.raises(ValueError, match="dtype='float16' must be one of float32, float64"):
        sc.get_engine("torch", dtype="float16")


def test_precedence(monkeypatch):
    """The argument, then the environment variable, then numpy."""
    pytest.importorskip("torch", reason="it is the engine that is not the default")
    monkeypatch.delenv(core.ENVIRONMENT, raising=False)
    assert sc.get_engine().name == "numpy" == sc.Model(sc.Linear(1, 1)).engine.name
    monkeypatch.setenv(core.ENVIRONMENT, "torch")
    assert sc.get_engine().name == "torch" == sc.Model(sc.Linear(1, 1)).engine.name
    assert sc.get_engine("numpy").name == "numpy" == sc.Model(sc.Linear(1, 1), "numpy").engine.name
    monkeypatch.setenv(core.ENVIRONMENT, "")
    assert sc.get_engine().name == "numpy"
    monkeypatch.setenv(core.ENVIRONMENT, "nmpy")
    with pytest.raises(ValueError, match="did you mean 'numpy'"):
        sc.get_engine()


def test_unknown_engine_suggests_the_nearest():
    with pytest.raises(
        ValueError, match=r"unknown engine 'toch'; did you mean 'torch'\? Known: cupy, ipu, .*numpy, torch"
    ):
        sc.get_engine("toch")
    with pytest.raises(ValueError, match=r"unknown engine 'zzz'\. Known"):
        sc.get_engine("zzz")


def test_missing_dependency_names_package_command_and_what_works(monkeypatch):
    monkeypatch.setattr(core, "importable", lambda package: package not in ("torch", "cupy", "poptorch"))
    for name, package, command in (
        ("torch", "package torch", re.escape(to_install("torch"))),
        (
            "cupy",
            "package cupy",
            "pip install cupy-cuda13x, or cupy-cuda12x for CUDA 12",
        ),
    ):
        with pytest.raises(
            sc.errors.EngineUnavailable, match=f"engine '{name}': {package} is not installed.*{command}.*: numpy"
        ):
            sc.get_engine(name)
    assert issubclass(sc.errors.EngineUnavailable, ImportError)


def test_engines_lists_all_and_imports_none():
    status = {one.name: one for one in sc.engines()}
    ours = ["numpy", "torch", "cupy", "ipu"]
    assert [name for name in status if name in ours] == ours, "others may be installed besides"

    assert list(sc.engines()) == list(status.values()), "importing a folder of that name does not hide the function"
    assert spikecore.engines.numpy.engine.NumpyEngine is type(sc.get_engine("numpy"))
    assert status["numpy"].available
    assert status["numpy"].why == ""
    assert all(one.available or (one.why and one.install) for one in status.values())
    script = "import sys, spikecore as sc; sc.engines(); print({'torch', 'numpy', 'cupy'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=ROOT)
    assert found.stdout.strip() == "set()"


def test_the_engine_of_host_data_is_made_once(monkeypatch):
    """Functions on arrays ask for it at each call, and so does each draw of weights."""
    made, whole = [], NumpyEngine.__init__
    monkeypatch.setattr(NumpyEngine, "__init__", lambda self, *a, **k: made.append(self) or whole(self, *a, **k))
    core._plain.clear()
    for seed in range(3):
        sc.spikegen.rate(np.full((2, 3), 0.5), 4, seed=seed)
        sc.Sequential(sc.Linear(3, 4), sc.Leaky(beta=0.9)).init(Key((seed,)), (3,))
    assert len(made) <= 2  # for float32 and float64


def test_engine_of():
    torch = pytest.importorskip("torch", reason="torch tensors are among the arrays")
    for x in ([1.0], 2, None, np.ones(2, "float32"), np.arange(3), np.float32(1)):
        engine = sc.base.engine_of(x)
        assert (engine.name, engine.dtype) == ("numpy", "float32")
    assert sc.base.engine_of(np.ones(2)).dtype == "float64"
    for tensor, dtype in (
        (torch.ones(2), "float32"),
        (torch.ones(2).double(), "float64"),
        (torch.arange(2), "float32"),
    ):
        engine = sc.base.engine_of(tensor)
        assert (engine.name, engine.device, engine.dtype) == ("torch", "cpu", dtype)
    with pytest.raises(TypeError, match=r"no engine handles pathlib\..*Path; pass a NumPy array or a torch tensor"):
        sc.base.engine_of(ROOT)


def test_cast_and_clamp01_are_public_and_keep_the_engines_type():
    host = sc.get_engine("numpy", dtype="float32")
    values = host.asarray([-0.5, 0.5, 1.5])
    mask = sc.base.cast(host, values > 0.0)
    assert mask.dtype == np.float32
    assert mask.tolist() == [0.0, 1.0, 1.0]
    assert sc.base.clamp01(host, values).tolist() == [0.0, 0.5, 1.0]
    assert sc.base.clamp01(host, 0.9) == 0.9


def test_engine_of_a_strict_array():
    import array_api_strict

    engine = sc.base.engine_of(array_api_strict.ones(2, dtype=array_api_strict.float64))
    assert (engine.namespace, engine.dtype) == ("array_api_strict", "float64")


def test_engine_of_a_recorded_array():
    """Inside a gradient an array knows who records it."""
    engine = sc.get_engine("numpy", dtype="float64")
    seen = []
    engine.value_and_grad(lambda x: (seen.append(sc.base.engine_of(x)) or engine.xp.sum(x), ()), engine.asarray([1.0]))
    assert seen == [engine]


def test_recorded_arrays_refuse_to_lose_their_gradient():
    engine = sc.get_engine("numpy", dtype="float64")

    def misuse(x):
        for wrong, message in ((np.asarray, "does not turn into a NumPy array"), (bool, "no truth value")):
            with pytest.raises(TypeError, match=message):
                wrong(x)
        assert x.__array_namespace__() is engine.xp
        assert repr(x).startswith("Var(")
        assert x.ndim == 1
        return engine.xp.sum(x), ()

    engine.value_and_grad(misuse, engine.asarray([1.0, 2.0]))
    with pytest.raises(NotImplementedError, match="'where' has no derivative by its argument number 4"):
        engine.value_and_grad(
            lambda x: (x.tape.apply("where", lambda *a: a[1], (x > 0, x, x, x), {}), ()), engine.asarray([1.0])
        )


# ---- a third party's engine, installed as a package would be -------------------------------------------------------

PACKAGE = '''
from spikecore.engines.numpy.engine import NumpyEngine


class Double(NumpyEngine):
    """Another engine: NumPy's, under a name of its own."""

    name = "double"


class Array:
    """An array of a library of which spikecore knows nothing."""


Array.__module__ = "acme_arrays.core"


def engine_of(array):
    return Double("float64")
'''


def install(folder: Path, source: str) -> dict:
    """A package with metadata, as pip lays it out; returns an environment that finds it."""
    info = folder / "acme_engine-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "acme_engine.py").write_text(source)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-engine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[spikecore.engines]\ndouble = acme_engine:Double\n")
    path = os.pathsep.join([str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path}


def test_third_party_engine_is_found(tmp_path):
    script = (
        "import sys, spikecore as sc\n"
        "assert 'acme_engine' not in sys.modules and ('double', True) in [s[:2] for s in sc.engines()]\n"
        "assert 'acme_engine' not in sys.modules\n"
        "engine = sc.get_engine('double', dtype='float64')\n"
        "assert (engine.name, engine.dtype) == ('double', 'float64')\n"
        "model = sc.Model(sc.Sequential(sc.Linear(2, 2), sc.Leaky()), 'double')\n"
        "model.fit([([[0.5, 1.0]], [1])], num_steps=3)\n"
        "try: sc.get_engine('doubel')\n"
        "except ValueError as error: assert \"did you mean 'double'\" in str(error)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env=install(tmp_path, PACKAGE), cwd=tmp_path)


def test_third_party_engines_that_describe_themselves(tmp_path):
    """One is found, one lacks a package, three are broken: none of them takes the others with it."""
    described = (
        "from spikecore.api.core.engines import EngineEntry\n"
        "GOOD = EngineEntry('acme_engine:Double', modules=('acme_arrays',))\n"
        "EXACT = EngineEntry('acme_engine:Double', modules=('exact_arrays',), of='acme_engine:engine_of')\n"
        "LACKING = EngineEntry('acme_engine:Double', needs=('nowhere_to_be_found',), install='pip install nowhere')\n"
        "WRONG = 3\n"
    )
    env = install(tmp_path, PACKAGE)
    (tmp_path / "acme_described.py").write_text(described)
    points = {"good": "GOOD", "exact": "EXACT", "lacking": "LACKING", "wrong": "WRONG", "absent": "ABSENT"}
    lines = [f"{name} = acme_described:{target}" for name, target in points.items()]
    listed = "\n".join(["[spikecore.engines]", *lines, "gone = no_such_package.at_all:ENGINE", ""])
    (tmp_path / "acme_engine-1.0.dist-info" / "entry_points.txt").write_text(listed)
    script = (
        "import sys, spikecore as sc\n"
        "found = {s.name: s for s in sc.engines()}\n"
        "assert 'acme_engine' not in sys.modules and found['numpy'].available and found['good'].available\n"
        "why = {'lacking': 'nowhere_to', 'wrong': 'not an EngineEntry', 'absent': 'ABSENT', 'gone': 'no_such'}\n"
        "for name, part in why.items():\n"
        "    assert not found[name].available and part in found[name].why, found[name]\n"
        "    try: sc.get_engine(name)\n"
        "    except sc.errors.EngineUnavailable as error: assert part in str(error) and 'numpy' in str(error), error\n"
        "    else: raise SystemExit(name)\n"
        "from acme_engine import Array\n"
        "assert sc.base.engine_of(Array()).name == sc.get_engine('good').name == 'double'\n"
        "assert sc.base.engine_of(Array()).dtype == 'float32'\n"
        "Array.__module__ = 'exact_arrays'\n"
        "assert sc.base.engine_of(Array()).dtype == 'float64'\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env=env, cwd=tmp_path)


def test_an_engine_in_a_package_of_its_own_is_named_with_its_package():
    """Where the plugin is not installed; its own tests are those with it."""
    if importlib.util.find_spec("spikecore_jax") is not None:
        pytest.skip("spikecore-jax is installed here")
    message = "package spikecore_jax is not installed. To get it: pip install -e plugins/spikecore-jax"
    for find in (lambda: sc.get_engine("jax"), lambda: sc.Model(sc.Leaky(), engine="jax")):
        with pytest.raises(sc.errors.EngineUnavailable, match=message):
            find()
    shown = next(status for status in sc.engines() if status.name == "jax")
    assert "plugins/spikecore-jax" in shown.install


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_an_axis_that_there_is_not_is_refused(engine):
    """A word that wraps round instead gives a neuron of one's own another shape, and no error."""
    made = sc.get_engine(engine)
    xp, x = made.xp, made.asarray(np.ones((2, 3)))
    assert [tuple(xp.expand_dims(x, axis=axis).shape) for axis in (0, 1, 2, -1, -3)] == [
        (1, 2, 3), (2, 1, 3), (2, 3, 1), (2, 3, 1), (1, 2, 3),
    ]  # fmt: skip
    for axis in (3, -4):
        with pytest.raises(IndexError):
            xp.expand_dims(x, axis=axis)
