"""The report on firing and operations: counted weight by weight, the same on every engine."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore import functional as F
from spikecore import spikegen
from tests.conformance.own_engines import ENGINES, absent, make

PRESENT = [name for name in ENGINES if not absent(name)]
X = np.random.default_rng(0).integers(0, 9, size=(3, 2, 7, 6)) / 8.0
NETWORK = sc.Sequential(
    sc.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(1, 0), groups=2),
    sc.Leaky(threshold=0.3),
    sc.MaxPool2d(2),
    sc.Flatten(),
    sc.Linear(16, 5),
    sc.RLeaky(linear_features=5, threshold=0.2),
    sc.Residual(sc.Sequential(sc.Linear(5, 5), sc.Leaky(threshold=0.1)), sc.Linear(5, 5)),
)


@pytest.fixture(params=PRESENT)
def engine(request):
    return make(request.param)


def conv_meetings(active, layer):
    """How many weights each input meets, found by sliding the kernel over it."""
    padded = np.pad(active, ((0, 0), (0, 0), *((p, p) for p in layer.padding)))
    total, kernel, stride = 0, layer.kernel_size, layer.stride
    for i in range(0, padded.shape[2] - kernel[0] + 1, stride[0]):
        for j in range(0, padded.shape[3] - kernel[1] + 1, stride[1]):
            total += padded[:, :, i : i + kernel[0], j : j + kernel[1]].sum()
    return total * layer.out_channels / layer.groups


def test_counts(engine):
    model = sc.Model(NETWORK, engine, input_shape=(2, 7, 6))
    report = F.activity(model, X, num_steps=8)
    out = model(X, num_steps=8, record=True)
    spikes = {name: engine.to_numpy(state.spikes) for name, state in out.states.items()}
    assert [row.name for row in report.firing] == ["1", "5", "6.body.1"]
    for row in report.firing:
        fired = spikes[row.name]
        assert row.neurons == fired[0, 0].size
        assert row.spikes == fired.sum() / 3
        assert row.rate == pytest.approx(fired.mean())
        assert row.silent == pytest.approx(1 - fired.any(axis=(0, 1)).mean())
    rows = {row.name: row for row in report.synapses}
    assert list(rows) == ["0", "4", "5.connection", "6.body.0", "6.shortcut"]
    assert rows["0"].synops == conv_meetings(X != 0, NETWORK.layers[0]) / 3, "constant input, multiplied once"
    assert rows["0"].macs == conv_meetings(np.ones_like(X[:1]), NETWORK.layers[0])
    assert not rows["0"].binary
    assert all(rows[name].binary for name in list(rows)[1:])
    assert rows["5.connection"].synops == spikes["5"][:-1].sum() * 5 / 3
    assert rows["6.body.0"].synops == rows["6.shortcut"].synops == spikes["5"].sum() * 5 / 3
    assert rows["4"].macs == 16 * 5
    assert report.synops == sum(row.synops for row in rows.values())
    assert not report.uncounted


def test_energy(engine):
    """An accumulate takes 0.9 pJ, a multiply-accumulate 4.6 pJ (Horowitz 2014), unless told otherwise."""
    model = sc.Model(NETWORK, engine, input_shape=(2, 7, 6))
    report = F.activity(model, X, num_steps=8)
    for row in report.synapses:
        assert row.energy == pytest.approx(row.synops * (0.9e-12 if row.binary else 4.6e-12))
        assert row.dense_energy == pytest.approx(row.macs * 4.6e-12)
    assert report.energy == pytest.approx(sum(row.energy for row in report.synapses))
    cheap = F.activity(model, X, num_steps=8, energy=F.Energy(1.0, 2.0))
    for wrong in ({"accumulate": -1.0}, {"multiply_accumulate": -1e-12}):
        with pytest.raises(ValueError, match=r"Energy: \w*accumulate=-1.* must be >= 0 J"):
            F.Energy(**wrong)
    assert cheap.energy == cheap.synops + cheap.synapses[0].synops
    encoded = F.activity(model, X, num_steps=8, encoder=spikegen.rate)
    assert encoded.synapses[0].binary
    assert encoded.steps == 8


def test_it_prints_and_says_what_it_leaves_out(engine):
    network = sc.Sequential(sc.Linear(4, 3), sc.SLSTM(input_size=3, hidden_size=2, threshold=0.1))
    report = F.activity(sc.Model(network, engine), np.ones((5, 2, 4)))
    assert report.uncounted == ("1 (SLSTM)",)
    text = str(report)
    assert text.startswith("per sample, 5 steps; dense: 5 passes of an artificial network of this shape\nlayer")
    assert "not counted: operations inside 1 (SLSTM)" in text
    assert report.synapses[0].synops == 5 * 4 * 3
    alone = F.activity(sc.Model(sc.Leaky(), engine), np.ones((5, 2, 4)))
    assert alone.firing[0].name == "(the network)"
    assert alone.synops == 0.0


def test_graded_spikes_need_multiplications(engine):
    network = sc.Sequential(sc.Leaky(threshold=0.5, graded_spikes_factor=2.0), sc.Linear(4, 3))
    row = F.activity(sc.Model(network, engine), np.ones((5, 2, 4))).synapses[0]
    assert not row.binary
    assert row.synops <= 5 * 4 * 3


def test_a_readout_that_never_fires_is_not_among_those_that_do(engine):
    model = sc.Model(sc.Sequential(sc.Linear(3, 2), sc.LI()), engine=engine, seed=0)
    found = F.activity(model, np.ones((1, 3)), num_steps=4)
    assert found.firing == ()
    assert [row.name for row in found.synapses] == ["0"]


def test_dense_operations_are_counted_over_the_steps_of_the_data(engine):
    """D7: operations of 80 steps stood beside those of one dense step."""
    network = sc.Sequential(sc.Linear(4, 3), sc.RLeaky(linear_features=3, threshold=1e-6), sc.Linear(3, 2))
    full = np.ones((2, 4))
    sequence = F.activity(sc.Model(network, engine), np.ones((80, 2, 4)))
    assert [row.macs for row in sequence.synapses] == [80 * 12, 80 * 9, 80 * 6]
    assert sequence.synapses[0].synops == sequence.synapses[0].macs, "no input is zero"
    assert sequence.dense_steps == 80
    assert sequence.dense_energy == pytest.approx(80 * 27 * 4.6e-12)
    recoded = F.activity(sc.Model(network, engine), np.ones((80, 2, 4)), encoder=spikegen.delta)
    assert recoded.dense_steps == 80
    for still in ({"num_steps": 80}, {"num_steps": 80, "encoder": spikegen.rate}):
        report = F.activity(sc.Model(network, engine), full, **still)
        assert [row.macs for row in report.synapses] == [12, 9, 6], "an image is one pass"
        assert (report.steps, report.dense_steps) == (80, 1)
        assert "80 steps; dense: a pass of" in str(report)


def test_attention_counts_pairs_of_spikes(engine):
    """Counted pair by pair from recorded spikes; sums over heads one by one."""
    spikes = sc.Sequential(sc.Conv1d(4, 4, 1), sc.Leaky(threshold=0.2))
    gate = sc.HeadGate(sc.Sequential(sc.HeadSum(2), sc.Leaky(threshold=0.9)), sc.Sequential())
    network = sc.Sequential(sc.SpikingSelfAttention(spikes, spikes, spikes, 2), sc.Leaky(threshold=0.1), gate)
    model, x = sc.Model(network, engine, seed=1, input_shape=(4, 3)), 4 * X.reshape(7, 3, 4, 3)
    report, out = F.activity(model, x), model(x, record=True)
    q, k, v = (engine.to_numpy(out.states[f"0.{name}.1"].spikes) for name in ("query", "key", "value"))
    pairs = 0
    for t, b, head in np.ndindex(7, 3, 2):
        rows = [part[t, b, 2 * head : 2 * head + 2] for part in (q, k, v)]
        by_keys = rows[2] @ rows[1].T  # (value channels, key channels): two channels, three positions
        pairs += by_keys.sum() + sum((by_keys[i, j] != 0) * (rows[0][j] != 0).sum() for i in (0, 1) for j in (0, 1))
    row = {row.name: row for row in report.synapses}["0"]
    assert row.kind == "SpikingSelfAttention"
    assert pairs > 20
    assert row.synops == pytest.approx(pairs / 3)
    assert row.binary
    assert row.macs == 7 * 2 * (2 * 3 * 2 + 2 * 2 * 3)
    assert row.energy == pytest.approx(0.9e-12 * pairs / 3)
    summed = {row.name: row for row in report.synapses}["2.gate.0"]
    assert summed.synops == engine.to_numpy(out.states["1"].spikes).sum() / 3
    assert (summed.macs, summed.binary) == (7 * 12, True)


def test_a_network_of_attention_alone_has_a_name_in_the_report(engine):
    one = sc.Sequential(sc.Conv1d(4, 4, 1), sc.Leaky(threshold=0.2))
    report = F.activity(sc.Model(sc.SpikingSelfAttention(one, one, one, 2), engine), X.reshape(7, 3, 4, 3))
    assert report.synapses[-1].name == "(the network)"


def test_a_quantised_connection_is_counted_by_its_rounded_weights_and_inputs(engine):
    """Those that are rounded to zero meet nothing."""
    layer = sc.Quantized(
        sc.Linear(6, 5), sc.compression.ScaledInteger(2), input_quant=sc.compression.FixedPoint(4, 1, signed=False)
    )
    model = sc.Model(sc.Sequential(layer, sc.Leaky()), engine, seed=3)
    row = F.activity(model, X[:, 0]).synapses[0]
    weights = layer.prepare(
        engine, sc.base.Params({n: engine.asarray(model.params()[f"0.{n}"]) for n in ("weight", "bias")})
    )
    exists = engine.to_numpy(weights.weight) != 0
    inputs = np.floor(X[:, 0] * 2 + 0.5)
    assert 0 < exists.sum() < 30
    assert (inputs == 0).sum() > (X[:, 0] == 0).sum()
    assert row.synops * 7 == ((inputs != 0) @ (1.0 * exists.T)).sum()
    assert (row.kind, row.macs) == ("Quantized", 3 * 6 * 5)
