"""`spikecore warm`: the kernels that runs of common neurons ask for, compiled ahead."""

from __future__ import annotations

import numpy as np
import pytest

for package in ("typer", "pydantic", "tomli_w", "numba"):
    pytest.importorskip(package)

import spikecore as sc  # noqa: E402
from spikecore.api.learning.gradients import bptt  # noqa: E402
from spikecore.cli import command as cli  # noqa: E402
from spikecore.cli import warm  # noqa: E402
from spikecore.kernels import moments, pooling, select, small_numbers  # noqa: E402
from spikecore.kernels.runtime import background, build  # noqa: E402


@pytest.fixture(autouse=True)
def place(monkeypatch, tmp_path):
    """The only place for kernels, where nothing is yet, and nothing in memory."""
    monkeypatch.setenv("SPIKECORE_CACHE", str(tmp_path / "own"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "no home")  # relative: not used
    monkeypatch.setattr(build, "in_memory", {})
    select.remembered.cache_clear()
    yield tmp_path / "own" / "kernels"
    select.remembered.cache_clear()


@pytest.fixture
def asked(monkeypatch):
    """What runs ask for."""
    recipes = []
    monkeypatch.setattr(background, "ask", recipes.extend)
    monkeypatch.setattr(select, "PAUSE", 0.0)
    return recipes


@pytest.fixture(scope="module")
def known():
    return {piece.recipe: piece.label for piece in warm.pieces(())}


@pytest.mark.parametrize("name", warm.NEURONS)
@pytest.mark.parametrize("reset", warm.RESETS)
@pytest.mark.parametrize("surrogate", warm.SURROGATES)
def test_models_ask_for_what_is_listed(name, reset, surrogate, asked, known):
    """Whatever the values of its parameters."""
    kind, values = warm.NEURONS[name]
    layer = getattr(sc, kind)(**values, reset_mechanism=reset, surrogate=warm.SURROGATES[surrogate])
    net = sc.Sequential(sc.Linear(4, warm.SIZE), layer)
    x, labels = np.random.default_rng(0).random((6, 2, 4), dtype="float32"), np.zeros(2, int)
    model = sc.Model(net, engine="numpy")
    model(x)
    bptt(model, x, labels)
    assert asked
    assert not {recipe.name for recipe in asked if recipe not in known}


@pytest.mark.parametrize("returned", [False, True])
@pytest.mark.parametrize("name", warm.NEURONS)
@pytest.mark.parametrize("reset", warm.RESETS)
@pytest.mark.parametrize("surrogate", warm.SURROGATES)
def test_modules_ask_for_what_is_listed(name, reset, surrogate, returned, asked, known):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    import spikecore.nn as snn

    option = {"spike_grad": warm.SURROGATES[surrogate], "reset_mechanism": reset, "init_hidden": True}
    kind, values = warm.NEURONS[name]
    module = getattr(snn, kind)(**values, **option, output=returned)
    net = torch.nn.Sequential(torch.nn.Linear(4, warm.SIZE), module)
    for _ in range(2):  # a first run may find out late which states are returned
        asked.clear()
        snn.run(net, torch.rand(6, 2, 4))
    if reset == warm.RESETS[0] and not returned:
        snn.run(net, torch.rand(2, 4), num_steps=6)
        snn.run(torch.nn.Sequential(net, torch.nn.Linear(warm.SIZE, 10)), torch.rand(6, 2, 4))
    assert len(asked) >= 2
    assert not {recipe.name for recipe in asked if recipe not in known}


def test_a_readout_of_ten_is_listed(asked, known):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    import spikecore.nn as snn

    chain = torch.nn.Sequential(torch.nn.Linear(4, 70), snn.Leaky(0.9, init_hidden=True), torch.nn.Linear(70, 10))
    for steps in (None, 3):
        asked.clear()
        snn.run(chain, torch.rand(*([] if steps else [3]), 2, 4), num_steps=steps)
        names = [recipe.name for recipe in asked]
        assert names[:5] == ["forward", "product", "backward", "by_rows", "by_weight"]
        assert not {recipe.name for recipe in asked if recipe not in known}


def test_a_training_on_maps_takes_what_is_listed(known, monkeypatch):
    """Once all that is listed is compiled, a training step of convolutions, norms and pooling compiles nothing."""
    pytest.importorskip("torch", reason="torch is not installed")
    monkeypatch.undo()  # of ``place``: what other tests have compiled need not be compiled again
    taken, make = {}, build.make
    monkeypatch.setattr(build, "make", lambda recipe, **how: (taken.update({recipe: 1}), make(recipe, **how))[1])
    for kept in (build.kernel_of, build.build_run, moments._kernel, pooling._kernel, small_numbers._kernel):
        kept.cache_clear()
    maps = [sc.Conv2d(16, 16, 3, padding=1), sc.BatchNorm2d(16), sc.Leaky(beta=0.9), sc.MaxPool2d(2)]
    net = sc.Sequential(
        sc.Conv2d(1, 16, 3, padding=1), sc.MaxPool2d(2), *maps, sc.Flatten(), sc.Linear(256, 512), sc.BatchNorm1d(512),
        sc.Leaky(beta=0.9), sc.Linear(512, 10), sc.Leaky(beta=0.9),
    )  # fmt: skip
    draw = np.random.default_rng(0)
    x, labels = draw.random((16, 1, 16, 16), dtype="float32"), draw.integers(0, 10, 16)
    sc.Model(net, engine="torch").fit(x, labels, num_steps=8, epochs=1, batch_size=16, progress=False)
    assert {recipe.name for recipe in taken} >= {"moments", "add_line", "sums", "lines", "maxima", "back", "forward"}
    assert not {recipe.name for recipe in taken if recipe not in known}


@pytest.fixture
def spikecore(capsys):
    """Runs the command line; returns exit code, stdout, stderr."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            cli.main([*arguments])
        return (stop.value.code, *capsys.readouterr())

    return run


def test_what_is_absent_is_compiled_once(spikecore, monkeypatch, place):
    every = warm.pieces(["alpha"])[:2]
    monkeypatch.setattr(warm, "pieces", lambda names: every)
    code, said, _ = spikecore("warm", "--list", "alpha")
    assert code == 0
    assert [line.split()[0] for line in said.splitlines()] == ["absent", "absent", "0"]
    code, said, _ = spikecore("warm", "alpha")
    assert code == 0
    lines = said.splitlines()
    assert "1/2  alpha, reset subtract, atan, Model: forward: compiled in" in lines[0]
    assert lines[2] == f"2 kernels are ready in {place}; 2 of them are new"
    assert len([*place.iterdir()]) == 2
    assert "0 of them are new" in spikecore("warm", "alpha")[1]
    assert [line.split()[0] for line in spikecore("warm", "--list")[1].splitlines()] == ["ready", "ready", "2"]


def test_wrong_names_and_places(spikecore, monkeypatch, tmp_path):
    code, _, said = spikecore("warm", "leeky")
    assert code == 2
    assert "leeky: unknown neuron 'leeky'; did you mean 'leaky'?" in said
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SPIKECORE_CACHE", str(tmp_path / "file"))
    code, _, said = spikecore("warm", "leaky")
    assert code == 2
    assert "cannot write to" in said
    assert "SPIKECORE_CACHE" in said
    monkeypatch.setattr(warm, "has_numba", lambda: False)
    assert "Numba is not installed" in spikecore("warm")[2]
