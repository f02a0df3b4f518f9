"""What ``predict`` says that readers of NIR compute, against what they have computed and, where installed, compute."""

from __future__ import annotations

import runpy
from dataclasses import fields, replace

import numpy as np
import pytest

pytest.importorskip("nir", reason="nir is not installed (extra 'nir', Python >= 3.9)")
import h5py  # noqa: E402
import nir  # noqa: E402

if "v_reset" not in nir.LIF.__dataclass_fields__:
    pytest.skip("nir is older than 1.0.6: its neurons have no reset potential", allow_module_level=True)

from spikecore.errors import ShapeError  # noqa: E402
from spikecore.nir import NirError, predict, translate  # noqa: E402
from spikecore.nir.dialects import DIALECTS, FORMULAS, NIR  # noqa: E402
from spikecore.nir.files import written  # noqa: E402
from spikecore.nir.rules import WORDED  # noqa: E402
from tests import ROOT  # noqa: E402
from tests.nir import reader_rig as rig  # noqa: E402

READERS = sorted(rig.NEEDS)


def predicted(reader, seed):
    graph, x, dt = rig.draw(reader, seed)
    said = predict(graph, reader.replace("-loop", ""), x, dt=None if reader in rig.FIXED else dt)
    return said.reader["n1"].spikes, (graph, x, dt)


@pytest.mark.parametrize("reader", READERS)
def test_predictions_are_what_readers_have_computed(reader):
    """``reader_spikes.npz`` was recorded from the packages themselves, by ``reader_rig.py``."""
    recorded = np.load(rig.RECORDED)[reader]
    assert len(recorded) == rig.GRAPHS
    assert (recorded > 0).any(axis=(1, 2)).sum() >= 12
    for seed, theirs in enumerate(recorded):
        np.testing.assert_array_equal(predicted(reader, seed)[0], theirs, err_msg=f"seed {seed}")


@pytest.mark.filterwarnings("ignore")  # the readers warn of their own affairs
@pytest.mark.parametrize("reader", READERS)
def test_predictions_are_what_readers_compute_here(reader):
    where = "`make readers`" if reader in ("lava", "lava-fixed", "nengo", "rockpool", "sinabs") else "extra 'peers'"
    pytest.importorskip(
        rig.NEEDS[reader],
        reason=f"{DIALECTS[reader.replace('-loop', '')].title} is not installed ({where})",
        exc_type=ImportError,
    )
    for seed in range(rig.GRAPHS):
        ours, drawn = predicted(reader, seed)
        np.testing.assert_array_equal(ours, rig.computed(reader, *drawn), err_msg=f"seed {seed}")


# ---- the LIF of the NIR paper: tau 2.5 ms, r 1, threshold 0.1, a step of 0.1 ms ------------------------------------

PULSES = "0000001000000000000000100001000110010100110111111111110000000000000111111111111000001100000000000000"
EXACT = [460, 510, 710, 760]


def one(value, n=1):
    return np.full(n, value, np.float32)


def chain(*nodes):
    return nir.NIRGraph.from_list(*nodes)


def paper_lif():
    """Its graph and its input: a pulse of one step for each 1, ten steps apart (Pedersen et al. 2024, methods)."""
    affine = nir.Affine(weight=np.ones((1, 1), np.float32), bias=one(0))
    lif = nir.LIF(tau=one(0.0025), r=one(1), v_leak=one(0), v_threshold=one(0.1))
    nodes = {"input": nir.Input(input_type=np.array([1])), "0": affine, "1": lif}
    nodes["output"] = nir.Output(output_type=np.array([1]))
    x = np.zeros((1000, 1))
    x[::10, 0] = [int(pulse) for pulse in PULSES]
    return nir.NIRGraph(nodes=nodes, edges=[("input", "0"), ("0", "1"), ("1", "output")]), x


@pytest.mark.parametrize(
    ("reader", "steps"),
    {
        "norse": EXACT,
        "snntorch": EXACT,
        "spikingjelly": EXACT,
        "nengo": EXACT,
        "snntorch-paper": EXACT,
        "spinnaker2-paper": EXACT,
        "sinabs-paper": [450, 500, 710, 760],
        "rockpool-paper": [450, 500, 710, 760],
        "spyx-paper": [461, 511, 711, 761],
        "lava-paper": [461, 511, 711, 761],
        "lava": [462, 512, 712, 762],
        "lava-fixed": [462, 512, 712, 762],
    }.items(),
)
def test_the_lif_of_the_paper(reader, steps):
    graph, x = paper_lif()
    said = predict(graph, reader, x, dt=1e-4)
    assert said.nir["1"].steps() == EXACT
    assert said.reader["1"].steps() == steps
    assert said.first("1") == next((t for t in sorted({*steps, *EXACT}) if (t in steps) != (t in EXACT)), None)


# ---- NIR's equations -----------------------------------------------------------------------------------------------


def finely(node, x, dt, parts=2000):
    """Spikes per step and the membrane, by so many small steps of exponential Euler."""
    fine = dt / parts
    leak = getattr(node, "v_leak", 0 * node.r)
    v, spikes, mem = (leak if isinstance(node, nir.LIF) else node.v_reset).astype(float), [], []
    for now in x:
        count = 0 * v
        for _ in range(parts):
            if isinstance(node, nir.LIF):
                goal = leak + node.r * now
                v = goal + (v - goal) * np.exp(-fine / node.tau)
            else:
                v = v + node.r * now * fine
            fired = v > node.v_threshold
            v, count = np.where(fired, node.v_reset, v), count + fired
        spikes.append(count)
        mem.append(v)
    return np.array(spikes), np.array(mem)


@pytest.mark.parametrize("kind", ["LIF", "IF"])
def test_nirs_neurons_fire_within_a_step_as_small_steps_say(kind):
    rng = np.random.default_rng(3)
    n, dt = 6, 1e-3
    shared = {"v_threshold": rng.uniform(0.3, 1, n), "v_reset": rng.uniform(-0.4, 0.1, n)}
    if kind == "LIF":
        node = nir.LIF(
            tau=rng.uniform(1, 9, n) * dt, r=rng.uniform(1, 6, n), v_leak=rng.uniform(-0.2, 0.2, n), **shared
        )
    else:
        node = nir.IF(r=rng.uniform(300, 2000, n), **shared)
    x = rng.normal(size=(40, n)) + 0.4
    graph = nir.NIRGraph({"input": nir.Input(np.array([n])), "n": node, "output": nir.Output(np.array([n]))},
                         [("input", "n"), ("n", "output")])  # fmt: skip
    said = predict(graph, "spyx", x, dt=dt).nir["n"]
    spikes, mem = finely(node, x, dt)
    assert said.spikes.max() > 1
    assert (said.spikes == spikes).mean() > 0.98
    assert (np.abs(said.mem - mem) < 0.03).mean() > 0.95  # small steps fire up to one too late, and this adds up


def test_currents_of_a_cubalif_are_solved_exactly_between_steps():
    n, dt = 3, 1e-3
    node = nir.CubaLIF(
        tau_syn=np.array([2e-3, 5e-3, 4e-3]), tau_mem=np.array([7e-3, 5e-3, 4e-3]), r=one(2.0, n), w_in=one(3.0, n),
        v_leak=np.array([0.1, 0.0, -0.2]), v_threshold=one(1e3, n), v_reset=one(0, n),
    )  # fmt: skip
    x = np.random.default_rng(0).normal(size=(30, n))
    said = predict(node, "norse", x, dt=dt)
    v, i, parts = node.v_leak.copy(), np.zeros(n), 4000
    for t, now in enumerate(x):
        for _ in range(parts):
            i, v = (
                i + dt / parts / node.tau_syn * (3 * now - i),
                v + dt / parts / node.tau_mem * (node.v_leak - v + 2 * i),
            )
        np.testing.assert_allclose(said.nir[next(iter(said.nir))].mem[t], v, atol=5e-4)


# ---- where readers depart ------------------------------------------------------------------------------------------


def test_departures_name_the_node_the_rule_and_the_step():
    graph, x = paper_lif()
    said = predict(graph, "sinabs", x, dt=1e-4)
    found = {each.part: each for each in said.departures}
    assert {each.node for each in said.departures} == {"node 1 (LIF)"}
    assert set(found) == {"dt", "input", "firing", "reset", "within"}
    assert (found["dt"].reader, found["dt"].first) == ("dt = 1", 60)
    assert found["input"].nir == "gain r (1 - decay) = 0.0392106"
    assert "first step that differs is 60" in str(said)
    assert "60(10)" in str(said)
    assert said.dialect.source in str(said)


def test_numbers_that_agree_are_no_departure():
    graph, x = paper_lif()
    assert {each.part for each in predict(graph, "norse", x, dt=1e-4).departures} == {"decay", "within"}
    graph.nodes["1"].r = one(3)
    assert {each.part for each in predict(graph, "norse", x, dt=1e-4).departures} == {"decay", "input", "within"}


REFUSED = {
    "a reader": ("brian", lambda g: g, r"unknown reader 'brian'"),
    "a node": ("rockpool", lambda g: g, r"node 1 \(LIF\): Rockpool 3.1.0 asks a LIF for tau_mem"),
    "a value": ("nengo", lambda g: with_lif(g, r=one(2)), r"node 1 \(LIF\): r=2: this reader needs r = 1"),
    "a leak": ("snntorch", lambda g: with_lif(g, v_leak=one(0.1)), r"v_leak=0.1: this reader needs v_leak = 0"),
    "a reset": ("norse", lambda g: with_lif(g, v_reset=one(0.2)), r"v_reset=0.2 must lie below v_threshold"),
    "a time": ("norse", lambda g: with_lif(g, tau=one(0)), r"node 1 \(LIF\): tau=0 must be > 0"),
    "an unbiased": ("lava", lambda g: with_bias(g), r"node 0 \(Affine\): Lava.* without bias"),
}


def with_lif(graph, **fields):
    for name, value in fields.items():
        setattr(graph.nodes["1"], name, value)
    return graph


def with_bias(graph):
    graph.nodes["0"].bias = one(1)
    return graph


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_reader_refuses_is_refused_by_name(name):
    reader, changed, message = REFUSED[name]
    graph, x = paper_lif()
    with pytest.raises(NirError, match=message):
        predict(changed(graph), reader, x, dt=1e-4)


def test_inputs_are_checked():
    graph, x = paper_lif()
    with pytest.raises(ShapeError, match=r"inputs of shape \(5, 2\): the graph takes \(time, 1\)"):
        predict(graph, "norse", np.zeros((5, 2)))
    with pytest.raises(NirError, match="inputs: hold NaN"):
        predict(graph, "norse", np.full((5, 1), np.nan))
    with pytest.raises(NirError, match=r"Lava.* takes spikes: each input must be 0 or 1"):
        predict(graph, "lava", x * 0.5)
    with pytest.raises(NirError, match="dt=-1"):
        predict(graph, "norse", x, dt=-1)


# ---- from one reader to another ------------------------------------------------------------------------------------


def test_the_lif_of_the_paper_for_sinabs():
    """Its authors scaled by dt / tau, and two of four spikes came early; 1 - exp(-dt / tau) is what NIR says."""
    graph, x = paper_lif()
    made = translate(graph, "nir", "sinabs", dt=1e-4)
    assert predict(made.graph, "sinabs", x).reader["1"].steps() == EXACT
    assert made.graph.metadata["dt"] == 1.0
    assert [line for line in made.notes if "v_threshold is subtracted" in line]
    assert graph.nodes["1"].tau == one(0.0025)


def test_snntorch_to_norse_and_back_keeps_all_spikes():
    clean = 0
    for seed in range(rig.GRAPHS):
        graph, x, _ = rig.draw("snntorch", seed)
        made = translate(graph, "snntorch", "norse", target_dt=1e-3)
        before, after = predict(graph, "snntorch", x), predict(made.graph, "norse", x)
        if not made.notes:
            clean += 1
            np.testing.assert_array_equal(before.reader["n1"].spikes, after.reader["n1"].spikes)
            back = translate(made.graph, "norse", "snntorch").graph
            np.testing.assert_array_equal(before.reader["n1"].spikes, predict(back, "snntorch", x).reader["n1"].spikes)
    assert clean >= 10


def test_one_threshold_for_all_is_made_by_scaling_weights():
    graph, x, dt = rig.draw("norse", 2)
    assert isinstance(graph.nodes["n0"], nir.LIF)
    graph.nodes["n0"].v_leak = graph.nodes["n0"].v_leak * 0
    graph.nodes["n1"] = nir.LIF(tau=one(dt * 5, 4), r=one(1, 4), v_leak=one(0, 4), v_threshold=np.linspace(0.2, 0.5, 4))
    made = translate(graph, "norse", "snntorch", dt=dt)
    assert made.notes == ()
    assert len(np.unique(made.graph.nodes["n1"].v_threshold)) == 1
    ours = predict(graph, "norse", x, dt=dt).reader["n1"].spikes
    assert ours.any()
    np.testing.assert_array_equal(ours, predict(made.graph, "snntorch", x).reader["n1"].spikes)


def test_what_cannot_be_carried_over_is_said_or_refused():
    graph, _ = paper_lif()
    assert "the spike comes one step later" in " ".join(translate(graph, "spyx", "norse", dt=1e-4).notes)
    assert "in the target 2" in " ".join(translate(graph, "norse", "lava", dt=1e-4).notes)
    moved = with_lif(paper_lif()[0], v_reset=one(-0.05))
    assert "resets to -0.05" in " ".join(translate(moved, "nir", "norse", dt=1e-4).notes)
    with pytest.raises(NirError, match=r"node 1 \(LIF\): as LIF: the target does not read LIF; it reads CubaLIF"):
        translate(graph, "norse", "rockpool")
    integrator = chain(nir.IF(r=one(2), v_threshold=one(1)))
    with pytest.raises(NirError, match=r"\(IF\): decays by 1 per step; of IF the target makes 0.9"):
        translate(integrator, "norse", "snntorch")
    with pytest.raises(NirError, match="unknown reader 'brian'"):
        translate(graph, "norse", "brian")
    with pytest.raises(NirError, match="target_dt=0.01 is not for snnTorch 1.0.0: its reader has dt = 0.0001"):
        translate(graph, "norse", "snntorch", dt=1e-4, target_dt=0.01)
    with pytest.raises(NirError, match="does not read IF"):
        predict(integrator, "lava-fixed", np.zeros((3, 1)), dt=1e-4)
    deaf = nir.LIF(tau=one(0.002), r=one(0), v_leak=one(0), v_threshold=one(0.1))
    with pytest.raises(NirError, match=r"\(LIF\): r=0: its input counts nothing"):
        translate(deaf, "nir", "norse", dt=1e-4)
    through = nir.Affine(weight=np.ones((1, 1)), bias=one(1))
    assert not translate(chain(through, deaf), "nir", "norse", dt=1e-4).graph.nodes["affine"].weight.any()
    with pytest.raises(NirError, match=r"\(LIF\): r=0: this reader needs r = 1 or"):
        translate(chain(through, replace(deaf, v_leak=one(0.5))), "nir", "spikingjelly", dt=1e-4)
    three = nir.LIF(tau=one(0.002, 3), r=one(1, 3), v_leak=one(0, 3), v_threshold=one(0.1, 3))
    for source, target in (("nir", "lava"), ("lava", "nir")):
        with pytest.raises(NirError, match=r"\(LIF\): Lava 0.10.0, floating point takes one neuron in a node"):
            translate(chain(three), source, target, dt=1e-4)


def test_delays_keep_their_steps_and_old_files_have_no_reset(tmp_path):
    delay = nir.Delay(delay=one(3e-4))
    lif = nir.LIF(tau=one(0.002), r=one(1), v_leak=one(0), v_threshold=one(0.1))
    made = translate(chain(delay, lif), "nir", "nir", dt=1e-4, target_dt=1e-3)
    assert [float(node.delay[0]) for node in made.graph.nodes.values() if isinstance(node, nir.Delay)] == pytest.approx(
        [3e-3]
    )
    for resets in (True, False):
        file = tmp_path / f"{resets}.nir"
        file.write_bytes(written(made.graph, resets))
        with h5py.File(file) as stored:
            assert any(name.endswith("v_reset") for name in names_in(stored)) == resets


def names_in(file):
    found = []
    file.visit(found.append)
    return found


@pytest.mark.skipif(not (ROOT / "examples").is_dir(), reason="examples/ is not part of this tree")
def test_the_example(capsys):
    runpy.run_path(str(ROOT / "examples" / "nir_readers.py"))["main"]([])
    said = capsys.readouterr().out.splitlines()
    assert said[0].split() == ["NIR", "460", "510", "710", "760"]
    assert [line for line in said if line.startswith("rockpool ") and "asks a LIF for tau_mem" in line]
    assert said[-1].split()[-4:] == ["460", "510", "710", "760"]


def test_feedback_in_snntorch_takes_the_input_through_its_weights():
    graph, x, _ = rig.draw("snntorch-loop", 1)
    said = predict(graph, "snntorch", x)
    found = {each.part: each for each in said.departures if each.node.startswith("node n1 ")}
    assert found["feedback"].first is not None
    with pytest.raises(NirError, match=r"node n1 \(.*\): Nengo 4.1.0 is not predicted with feedback"):
        predict(rig.draw("norse-loop", 1)[0], "nengo", x)
    made = translate(rig.draw("norse-loop", 1)[0], "norse", "nir")
    assert not [note for note in made.notes if "feedback" in note]
    with pytest.raises(NirError, match="feedback is not predicted for the target"):
        translate(graph, "snntorch", "spyx")


def test_each_row_has_formulas_that_exist_and_each_formula_is_in_a_row():
    rules = [rule for each in DIALECTS.values() for rule in (*each.rules.values(), *each.looped.values()) if rule]
    named = set()
    for rule in (*rules, *NIR.values()):
        formulas = {f.name: getattr(rule, f.name) for f in fields(rule) if f.type == "str" and f.name not in WORDED}
        assert set(formulas.values()) <= set(FORMULAS), rule
        named |= {*formulas.values(), *(formula for _, several in rule.needs for formula in several)}
    assert named == set(FORMULAS)


@pytest.mark.parametrize("reader", [name for name in DIALECTS if "chain" not in DIALECTS[name].limits])
def test_each_kind_that_a_row_names_runs(reader):
    dt = 1e-4 if reader == "snntorch" else 1.0
    n = {"v_leak": one(0), "v_threshold": one(0.5)}
    nodes = {
        "LIF": nir.LIF(tau=one(20 * dt), r=one(1), **n), "IF": nir.IF(r=one(1), v_threshold=one(0.5)),
        "CubaLIF": nir.CubaLIF(tau_syn=one(5 * dt), tau_mem=one(20 * dt), r=one(20), w_in=one(5), **n),
    }  # fmt: skip
    for kind in DIALECTS[reader].rules:
        weights = nir.Affine(weight=np.ones((1, 1), np.float32), bias=one(0))
        said = predict(chain(weights, nodes[kind]), reader, np.ones((40, 1)), dt=dt)
        assert len(said.reader) == 1
        assert all(len(trace.steps()) > 1 for trace in said.reader.values())
        assert said.departures
