"""A sequence trained in parts on the IPU engine: states stay on the device, and every step is the torch engine's."""

# ruff: noqa: E402 (nothing of this can be imported without torch)

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the IPU engine is made of torch ops")

import spikecore as sc
from spikecore import functional
from spikecore.api.core.layer import EMPTY, Init, Key, Layer, Result
from spikecore.api.core.tree import State, map_leaves
from spikecore.api.core.variants import unfused
from spikecore.api.layers.containers import walk
from spikecore.conformance import cases
from spikecore.engines.ipu.device_state import DeviceStates
from spikecore.engines.ipu.executor import IpuExecutor
from spikecore.engines.ipu.findings import NotForIpu
from spikecore.engines.ipu.module import Holder, TrainingModule
from spikecore.engines.ipu.networks import check_model
from spikecore.engines.ipu.simulation import Error
from tests.ipu.ipu_rig import NET, NORMALISED, batch, difference, fitted, model, others, some

RATE = functional.ce_rate_loss()
PARTS = {"learning": sc.BPTT(update_every=2), "loss": RATE, "num_steps": 6}


def both(network, shape, loss=RATE, spec=None, **options):
    """Executors on the simulated IPU and on torch, from the same weights."""
    init = network.init(Key((0, "init")), shape)
    engines = sc.get_engine("ipu", simulate=True, **options), unfused(sc.get_engine("torch"))
    return [engine.compile(network, init.params, init.buffers, loss, spec or sc.SGD(lr=0.1)) for engine in engines]


def trained_in_parts(executor, sequences, every, between=lambda executor: None):
    """(loss, weights, buffers) after every part of every sequence, each from where the last one ended."""
    for i, (x, y) in enumerate(sequences):
        state = executor.resting
        for start in range(0, len(x), every):
            key = Key((0, i)).child("part", start)
            loss, out = executor.step(x[start : start + every], y, key=key, state=state)
            state = map_leaves(executor.engine.stop_gradient, out.state)
            between(executor)
            held = executor.state()
            yield loss, held["params"], held["buffers"]


def sequences(shape, classes, steps=4, samples=4, count=2):
    rng = np.random.default_rng((len(shape), steps))
    return [(1.5 * rng.normal(size=(steps, samples, *shape)).astype("float32") + 0.5, rng.integers(0, classes, samples))
            for _ in range(count)]  # fmt: skip


def difference_in_parts(network, shape, between=lambda executor: None, **options):
    """The largest difference of a weight after any part of two sequences."""
    ours, theirs = both(network, shape, **options)
    classes = int(np.prod(network.init(Key((0,)), shape).shape))
    data, worst, moved = sequences(shape, classes), 0.0, 0.0
    before = theirs.state()["params"]
    for (loss, a, b), (expected, c, d) in zip(
        trained_in_parts(ours, data, 2, between), trained_in_parts(theirs, data, 2)
    ):
        assert abs(loss - expected) <= 1e-6 * max(1.0, abs(expected))
        worst = max([worst, *(float(abs(a[name] - c[name]).max()) for name in c)])
        for name in d:
            np.testing.assert_allclose(b[name], d[name], rtol=1e-5, err_msg=name)
        moved = max([moved, *(float(abs(c[name] - before[name]).max()) for name in c)])
    assert moved > 1e-5, "nothing is learned here, so nothing is compared"
    return worst


def behind(layer, shape):
    """A network in which a layer is driven by weights, and its output read by labels."""
    return sc.Sequential(sc.GradedSpikes(shape[0]), layer, sc.Flatten())


IN_PARTS = [case for case in cases.NEURONS if case not in cases.WHOLE]
EVERY = [(case.name, behind(case.layer, case.shape), case.shape) for case in some(IN_PARTS)]
REST = [(case.name, behind(case.layer, case.shape), case.shape) for case in others(IN_PARTS)]
NETWORKS = [(case.name, sc.Sequential(case.layer, sc.Flatten()), case.shape) for case in cases.NETWORKS]
MORE = [
    ("normalised", NORMALISED, (6,)),
    ("learned rest", sc.Sequential(sc.Linear(6, 3), sc.Izhikevich(c=sc.learn(-60.0), threshold=-58.0)), (6,)),
    ("no state", sc.Sequential(sc.Linear(6, 3)), (6,)),
]


ALL = [*EVERY, *NETWORKS, *MORE]


@pytest.mark.parametrize(("name", "network", "shape"), ALL, ids=[one[0] for one in ALL])
def test_every_part_is_torchs(name, network, shape):
    assert difference_in_parts(network, shape) <= 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(("name", "network", "shape"), REST, ids=[one[0] for one in REST])
def test_every_part_is_torchs_for_all_others(name, network, shape):
    assert difference_in_parts(network, shape) <= 1e-6


def looks(executor):
    """What happens between parts: a checkpoint, another program on the device."""
    executor.state()
    executor.run(np.ones((3, 2, 6), "float32"))


def test_states_outlast_what_happens_between_parts():
    assert difference_in_parts(NET, (6,), looks) <= 1e-6


@pytest.mark.parametrize("network", [NET, NORMALISED], ids=["plain", "normalised"])
@pytest.mark.parametrize("steps", [6, None], ids=["constant", "varying"])
def test_fit_in_parts_is_torchs(network, steps):
    """Weights and history after two epochs with validation, without a look at the device between parts."""
    data = [batch(seed=i) for i in range(3)]
    if steps is None:
        data = [(np.stack([x * (0.5 + 0.2 * t) for t in range(6)]), y) for x, y in data]
    options = {
        **PARTS,
        "num_steps": steps,
        "optimizer": sc.SGD(lr=0.1, momentum=0.9),
        "epochs": 2,
        "validation": data[:1],
    }
    ours, theirs = fitted(model(network), data, **options), fitted(sc.Model(network, "torch"), data, **options)
    assert difference(ours, theirs) <= 2e-6
    for a, b in zip(ours.history, theirs.history):
        assert abs(a["loss"] - b["loss"]) < 1e-5
        assert (a["accuracy"], a["val_accuracy"]) == (b["accuracy"], b["val_accuracy"])
    executor = ours.trainer.executor
    assert [one.model.compilations for one in (executor.training, *executor.inference.values())] == [1, 1]
    assert difference(ours, fitted(model(network), data, **{**options, "learning": "bptt"})) > 1e-4


def test_targets_that_vary_and_a_window():
    x, _ = batch(4)
    aims = np.random.default_rng(0).random((6, 4, 3)).astype("float32")
    options = {
        **PARTS,
        "loss": functional.mse_membrane_loss(time_var_targets=True),
        "learning": sc.BPTT(window=2, update_every=3),
    }
    ours, theirs = (fitted(one, [(x, aims)], **options) for one in (model(), sc.Model(NET, "torch")))
    assert difference(ours, theirs) <= 1e-6
    assert difference(ours, fitted(model(), [(x, aims)], **{**options, "learning": sc.BPTT(update_every=3)})) > 1e-5


@pytest.mark.parametrize("short", ["drop", "pad"])
def test_short_batches_in_parts(short):
    data = [batch(8), batch(5)]
    ours = fitted(model(short_batch=short), data, **PARTS)
    whole = fitted(sc.Model(NET, "torch"), data if short == "pad" else data[:1], **PARTS)
    assert difference(ours, whole) <= 2e-6
    if short == "pad":
        assert abs(ours.history[0]["loss"] - whole.history[0]["loss"]) < 1e-5


# ---- what is refused -----------------------------------------------------------------------------------------------


def test_parts_have_one_length():
    with pytest.raises(ValueError, match=r"update_every=4 does not divide the 6 steps .* choose a divisor"):
        fitted(model(), [batch()], **{**PARTS, "learning": sc.BPTT(update_every=4)})
    report = check_model(model(), *batch(), num_steps=6, learning=sc.BPTT(update_every=4))
    assert "update_every=4 does not divide the 6 steps" in str(report)
    assert not report.ok


@pytest.mark.parametrize("option", ["device_iterations", "gradient_accumulation", "replication_factor"])
def test_a_batch_that_is_cut_cannot_be_trained_in_parts(option):
    with pytest.raises(ValueError, match=rf"a batch is cut into 2 parts\. Leave out .*{option}"):
        fitted(model(**{option: 2}), [batch()], **PARTS)
    engine = sc.get_engine("ipu", simulate=True, **{option: 2})
    report = check_model(model(), *batch(), num_steps=6, learning=sc.BPTT(update_every=2), engine=engine)
    assert "a batch is cut into 2 parts" in str(report)
    assert not report.ok


def test_a_step_goes_on_only_from_the_last_one():
    ours, theirs = both(NET, (6,))
    ((x, y),) = sequences((6,), 3, 6, count=1)
    _, first = ours.step(x[:2], y, state=ours.resting)
    _, second = ours.step(x[2:4], y, state=first.state)
    elsewhere = theirs.step(x[:2], y)[1].state
    for state in (first.state, elsewhere):
        with pytest.raises(ValueError, match="continues only from the state that this executor's last step returned"):
            ours.step(x[4:], y, state=state)
    ours.load(ours.state())
    with pytest.raises(ValueError, match="begin the sequence again with state=executor.resting"):
        ours.step(x[4:], y, state=second.state)
    whole, _ = both(NET, (6,))
    whole.step(x, y)
    with pytest.raises(ValueError, match="compiled for whole sequences"):
        whole.step(x, y, state=whole.resting)


@pytest.mark.parametrize("learning", ["eprop", "ottt", "rtrl"])
def test_gradients_made_elsewhere_are_refused(learning):
    with pytest.raises(NotImplementedError, match=rf"(?i)returns no gradients: learning={learning}\(\)"):
        fitted(model(), [batch()], **{**PARTS, "learning": learning})


@dataclass(frozen=True)
class Delay(Layer):
    """The step before, by a ``run`` of its own; ``asks`` the pass where to start or begins at rest itself."""

    asks: bool = True
    dtype: str = "float32"
    state = ("line",)

    def init(self, key, shape):
        return Init(EMPTY, EMPTY, shape)

    def run(self, run, params, buffers, state, x):
        resting = State(line=run.engine.xp.astype(0.0 * x[0], self.dtype))
        held = (run.start(resting) if self.asks else resting) if state is None else state
        before = run.engine.xp.astype(held.line, run.engine.dtype)
        y = run.engine.xp.concat([before[None], x[:-1]], axis=0)
        return Result(y, EMPTY, State(line=run.engine.xp.astype(x[-1], self.dtype)))

    def step(self, engine, params, state, x):
        return state.line, State(line=x)


def test_a_layer_that_does_not_say_where_it_starts():
    network = sc.Sequential(Delay(), *(layer for _, layer in walk(NET)))
    assert difference_in_parts(network, (6,)) <= 1e-6
    for layer, error, message in (
        (Delay(asks=False), NotForIpu, "the layer of state '0.line' must get its state from"),
        (Delay(dtype="int64"), ValueError, r"the state '0\.line', which is torch\.int64, .* Make it a float"),
    ):
        with pytest.raises(error, match=message):
            difference_in_parts(sc.Sequential(layer, *(layer for _, layer in walk(NET))), (6,))


# ---- checked, and what a wrong buffer would do ---------------------------------------------------------------------


IN_PARTS = [case for case in cases.FAMILY if case not in cases.WHOLE]


@pytest.mark.parametrize("case", [*IN_PARTS[::20], *cases.NETWORKS], ids=lambda case: case.name)
def test_check_accepts_parts(case):
    """As it does in every training above, before it begins."""
    samples = np.moveaxis(np.random.default_rng(0).normal(size=(4, 6, *case.shape)), 1, 0)
    network = sc.Sequential(case.layer, sc.Flatten())
    one = sc.Model(network, "numpy", input_shape=case.shape)
    report = check_model(one, samples, np.zeros(4, int), optimizer=sc.Adam(), learning=sc.BPTT(update_every=3))
    assert report.ok, report
    assert report.steps == 3
    assert report.nodes > check_model(one, samples[:3], np.zeros(4, int)).nodes, "reading and keeping states costs ops"


def buffers_of(kept, state):
    for name, value in state["1"].items():
        yield kept.buffers._modules["1"]._buffers, name, value.detach()


def reassigned(kept, state):
    """A new tensor in the buffer's place."""
    for folder, name, value in buffers_of(kept, state):
        folder[name] = value


def by_data(kept, state):
    """Another storage under the same tensor."""
    for folder, name, value in buffers_of(kept, state):
        folder[name].data = value


def whole_numbers(kept, state):
    """In place, but in whole numbers."""
    for folder, name, value in buffers_of(kept, state):
        folder[name].copy_((64 * value).round())


def integers(patch):
    """Buffers of whole 64ths."""
    make = TrainingModule.__init__

    def made(module, *common, **options):
        make(module, *common, **options)
        whole = map_leaves(lambda x: torch.zeros_like(x, dtype=torch.int64), module.like_state)
        module.kept = Holder(whole, learned=False)

    def read(kept, path, rest):
        return torch.where(kept.begins.reshape(-1, 1) > 0, rest, kept.buffers.tensor(path) / 64)

    patch.setattr(TrainingModule, "__init__", made)
    patch.setattr(DeviceStates, "_start", read)


WRONG = {
    "reassigned buffer": (reassigned, Error, lambda patch: None),
    ".data =": (by_data, None, lambda patch: None),
    "integer buffer": (whole_numbers, None, integers),
}
SMALL = sc.Sequential(sc.Linear(6, 3), sc.Leaky(beta=0.9, reset_mechanism="none"))


@pytest.mark.parametrize("trap", WRONG)
def test_a_wrong_buffer_is_refused_or_would_be_lost(monkeypatch, trap):
    """The simulation loses what PopTorch loses: training is wrong without a word, and ``check`` has the word."""
    keep, error, prepare = WRONG[trap]
    assert difference_in_parts(SMALL, (6,)) <= 1e-6
    prepare(monkeypatch)
    monkeypatch.setattr(DeviceStates, "keep", keep)
    if error is not None:
        with pytest.raises(error, match=r"kept\.1\.mem was reassigned"):
            difference_in_parts(SMALL, (6,), check=False)
    else:
        ours, forgets = (in_parts(SMALL, check=False, always=always) for always in (False, True))
        assert not np.array_equal(in_parts(SMALL, torchs=True), ours)
        np.testing.assert_array_equal(ours, forgets, "as if every part began at rest")
    with pytest.raises(NotForIpu, match=trap):
        difference_in_parts(SMALL, (6,))


def in_parts(network, torchs=False, always=False, **options):
    """The first layer's weights after two sequences in parts; ``always`` begins every part at rest."""
    executor = both(network, (6,), **options)[torchs]
    for x, y in sequences((6,), 3):
        state = executor.resting
        for start in range(0, 4, 2):
            out = executor.step(x[start : start + 2], y, state=executor.resting if always else state)[1]
            state = map_leaves(executor.engine.stop_gradient, out.state)
    return executor.state()["params"]["0.weight"]


def test_the_comparison_has_teeth(monkeypatch):
    monkeypatch.setattr(IpuExecutor, "_begins", lambda self, state: True)
    with pytest.raises(AssertionError):
        assert difference_in_parts(SMALL, (6,)) <= 1e-6
