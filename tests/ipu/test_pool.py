"""Several models on one IPU: whose program is on it, and what becomes of the others' weights and states."""

# ruff: noqa: E402 (nothing of this can be imported without torch)

from __future__ import annotations

import gc

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the IPU engine is made of torch ops")

from torch import nn

import spikecore as sc
from spikecore.api.core.layer import Key
from spikecore.engines.ipu import simulation as poptorch
from tests.ipu.ipu_rig import LOSS, NET, NORMALISED, batch, fitted, model

DATA = [batch(seed=i) for i in range(2)]
X = DATA[0][0]
SPECS = [sc.SGD(lr=0.1), sc.SGD(lr=0.05, momentum=0.9, dampening=0.3), sc.Adam(lr=0.01), sc.RMSprop(lr=0.005)]


@pytest.fixture(autouse=True)
def machine(ipus):
    """A machine with one IPU."""
    return ipus(1)


def same(ours, theirs):
    """Whether two models or executors have the same weights, buffers and arrays of the optimiser, bit for bit."""
    ours, theirs = ours.state(), theirs.state()
    assert (ours["step"], ours["lr"]) == (theirs["step"], theirs["lr"])
    for part in ("params", "buffers", "optimizer"):
        assert ours[part].keys() == theirs[part].keys()
        for name, value in theirs[part].items():
            np.testing.assert_array_equal(ours[part][name], value, err_msg=f"{part} {name}")


# ---- models of the user ---------------------------------------------------------------------------------------------


def alone(seed, spec, network=NORMALISED, epochs=2):
    return fitted(model(network, seed=seed), DATA, optimizer=spec, epochs=epochs, validation=DATA[:1])


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_two_models_side_by_side_train_as_each_does_alone(spec):
    options = {"optimizer": spec, "validation": DATA[:1]}
    first, second = (model(NORMALISED, seed=seed) for seed in (1, 2))
    for epoch in (1, 2):
        for one in (first, second):
            fitted(one, DATA, epochs=epoch, resume=epoch > 1, **options)
            first(X, num_steps=5), second.predict(X, num_steps=5)
    same(first, alone(1, spec))
    same(second, alone(2, spec))


def test_verify_takes_the_ipu_and_gives_it_back():
    first = fitted(model(), DATA, optimizer=sc.Adam(lr=0.01), epochs=1)
    report = sc.verify(first, *DATA[0], num_steps=5, differences=False)
    assert report.ok, report
    fitted(first, DATA, optimizer=sc.Adam(lr=0.01), epochs=2, resume=True)
    same(first, alone(0, sc.Adam(lr=0.01), NET))


def test_a_model_for_each_seed():
    models = [fitted(model(seed=seed), DATA) for seed in range(3)]
    outputs = [one(X, num_steps=5).spikes.numpy() for one in models]
    for one, spikes in zip(models, outputs):
        np.testing.assert_array_equal(one.to_engine("torch")(X, num_steps=5).spikes.detach().numpy(), spikes)


def test_a_model_that_is_dropped_frees_its_ipu_at_once(machine):
    gc.collect()
    gc.disable()
    try:
        one = fitted(model(), DATA, validation=DATA[:1])
        one(X, num_steps=3)
        assert machine.held == 1
        del one
        assert machine.held == 0
    finally:
        gc.enable()


def test_a_model_that_a_circle_keeps_leaves_when_the_ipu_is_needed():
    gc.disable()
    try:
        one = fitted(model(), DATA)
        one.notes["circle"] = one
        del one
        fitted(model(seed=1), DATA)
    finally:
        gc.enable()


# ---- closing --------------------------------------------------------------------------------------------------------


def test_closing_frees_the_ipu_and_keeps_everything_else(machine):
    spec = sc.Adam(lr=0.01)
    closed, open_ = (fitted(model(NORMALISED), DATA, optimizer=spec) for _ in range(2))
    closed.close()
    open_.close()
    assert machine.held == 0
    fitted(open_, DATA, optimizer=spec, epochs=2, resume=True)
    same(closed, alone(0, spec, epochs=1))
    closed.close()  # twice, which is nothing
    np.testing.assert_array_equal(
        closed(X, num_steps=5).spikes.numpy(), alone(0, spec, epochs=1)(X, num_steps=5).spikes.numpy()
    )
    fitted(closed, DATA, optimizer=spec, epochs=2, resume=True)
    same(closed, open_)


def test_closing_frees_the_ipu_although_its_weights_cannot_be_read(machine, monkeypatch):
    one = fitted(model(), DATA[:1])
    one.trainer.executor.step(X[None], DATA[0][1], steps=5)

    def broken(self):
        self._dirty = False
        raise poptorch.Error("the device is gone")

    monkeypatch.setattr(poptorch.PoplarExecutor, "copyWeightsToHost", broken)
    with pytest.raises(poptorch.Error, match="the device is gone"):
        one.close()
    assert machine.held == 0


@pytest.mark.parametrize("engine", ["numpy", "torch", "ipu"])
def test_a_model_closes_on_every_engine(engine, machine):
    options = {"simulate": True} if engine == "ipu" else {}
    with sc.Model(NET, engine, **options) as one:
        one.close()
        plain = fitted(sc.Model(NET, engine, **options), DATA)
        fitted(one, DATA)
    assert machine.held <= 1  # of the other
    same(one, plain)
    host = one.engine.to_numpy
    np.testing.assert_array_equal(host(one(X, num_steps=3).spikes), host(plain(X, num_steps=3).spikes))


def test_an_error_closes_the_model(machine):
    one = fitted(model(), DATA)
    assert machine.held == 1
    with pytest.raises(sc.errors.ShapeError), one:
        one(X[:, :2], num_steps=5)
    assert machine.held == 0
    with sc.Model(sc.Sequential(sc.Flatten(), sc.Leaky()), "ipu", simulate=True) as unbuilt:
        assert unbuilt.input_shape is None


# ---- executors ------------------------------------------------------------------------------------------------------


def compiled(seed, spec=None, network=NET, **options):
    init = network.init(Key((seed,)), (6,))
    engine = sc.get_engine("ipu", simulate=True, **options)
    return engine.compile(network, init.params, init.buffers, LOSS, spec or sc.Adam(lr=0.01))


def test_states_that_stay_on_the_device_outlast_other_programs():
    """Sequences in parts: between two parts another model trains, and a third one predicts."""
    ours, theirs, other = compiled(0), compiled(0), compiled(1)
    for between in (True, False):
        one = ours if between else theirs
        for x, y in DATA:
            state = one.resting
            for part in range(3):
                state = one.step((0.5 + 0.3 * part) * x[None], y, steps=2, state=state)[1].state
                if between:
                    other.step(x[None], y, steps=2)
                    other.run(x[None], steps=2)
    same(ours, theirs)
    assert [one.model.compilations for one in (ours.training, *other.inference.values())] == [1, 1]


def test_no_program_is_compiled_twice():
    executors = [compiled(seed) for seed in range(2)]
    for _ in range(3):
        for one in executors:
            one.step(X[None], DATA[0][1], steps=3)
            one.run(X[None], steps=3)
    for one in executors:
        assert [program.model.compilations for program in one._programs()] == [1, 1]


def test_a_program_that_cannot_be_compiled_keeps_no_other_from_the_ipu(machine, monkeypatch):
    broken, healthy = compiled(0, check=False), compiled(1)
    monkeypatch.setattr(broken, "_arguments", lambda *arguments: [torch.ones(8, 1, 5)])
    for _ in range(2):
        with pytest.raises((RuntimeError, TypeError, IndexError)):
            broken.step(X[None], DATA[0][1], steps=3)
        assert machine.held == 0
        healthy.step(X[None], DATA[0][1], steps=3)
        assert machine.held == 1


def test_exporting_and_loading_take_turns_with_training(tmp_path):
    y, path = DATA[0][1], tmp_path / "program"
    trains, writes, reads, plain = (compiled(seed) for seed in (1, 0, 0, 0))
    for _ in range(2):
        trains.step(X[None], y, steps=3)
        writes.export(path, X[None], y, steps=3)
    trains.step(X[None], y, steps=3)
    reads.load_exported(path, X[None], y, steps=3)
    trains.step(X[None], y, steps=3)
    for one in (reads, writes, plain):
        one.step(X[None], y, steps=3)
    same(reads, plain)
    same(writes, plain)
    offline = compiled(0, offline_target=2)
    for _ in range(2):
        offline.export(path, X[None], y, steps=3)
        trains.step(X[None], y, steps=3)


# ---- the simulated machine ------------------------------------------------------------------------------------------


class Loss(nn.Module):
    """One weight per input; its stages run on ``stages`` IPUs."""

    def __init__(self, stages=0):
        super().__init__()
        self.layer, self.stages = nn.Linear(4, 1), stages

    def forward(self, x):
        for stage in range(self.stages):
            poptorch.Block.start(str(stage), ipu_id=stage)
        return poptorch.identity_loss(self.layer(x), "mean")


INPUT = torch.ones(12, 4)


def test_a_program_holds_its_ipu_from_compilation_on(machine):
    first, second = poptorch.trainingModel(Loss()), poptorch.trainingModel(Loss())
    assert machine.held == 0
    first.compile(INPUT)
    assert machine.held == 1
    for _ in range(2):
        with pytest.raises(poptorch.Error, match=r"Failed to acquire 1 IPU\(s\)"):
            second(INPUT)
        assert not second.isCompiled()
    first.detachFromDevice()
    second(INPUT)
    with pytest.raises(poptorch.Error, match=r"Failed to acquire 1 IPU\(s\)"):
        first(INPUT)
    second.destroy()
    assert machine.held == 0
    first.attachToDevice()
    assert machine.held == 1


def test_a_dropped_program_holds_its_ipu_until_a_garbage_collection(machine):
    gc.disable()
    try:
        poptorch.trainingModel(Loss())(INPUT)
        assert machine.held == 1
    finally:
        gc.enable()
    gc.collect()
    assert machine.held == 0


@pytest.mark.parametrize(("stages", "replicas", "rounded", "held"), [
    (0, 1, False, 1), (2, 1, False, 2), (0, 3, True, 4), (3, 1, True, 4), (2, 3, True, 8)])  # fmt: skip
def test_programs_hold_as_many_as_they_need(ipus, stages, replicas, rounded, held):
    options = poptorch.Options().replicationFactor(replicas).autoRoundNumIPUs(rounded).broadcastBuffers(False)
    options.Training.gradientAccumulation(max(1, 2 * stages - 1))
    x = torch.ones(replicas * max(1, 2 * stages - 1), 4)
    machine = ipus(held - 1)
    with pytest.raises(poptorch.Error, match=rf"Failed to acquire {held} IPU\(s\)"):
        poptorch.trainingModel(Loss(stages), options=options.clone())(x)
    machine = ipus(held)
    poptorch.trainingModel(Loss(stages), options=options)(x)
    assert machine.held == held


def test_other_numbers_than_powers_of_two_are_rounded_on_request_only():
    options = poptorch.Options().replicationFactor(3)
    with pytest.raises(poptorch.Error, match="the use of 3 IPUs, however PopTorch must reserve a minimum of 4"):
        poptorch.trainingModel(Loss(), options=options)(INPUT)


def test_the_emulator_and_offline_programs_hold_none(machine):
    poptorch.trainingModel(Loss(), options=poptorch.Options().useIpuModel(True))(INPUT)
    offline = poptorch.trainingModel(Loss(), options=poptorch.Options().useOfflineIpuTarget())
    offline.compile(INPUT)
    assert machine.held == 0
    with pytest.raises(AssertionError, match="offline"):
        offline.attachToDevice()


def test_by_default_one_program_has_what_it_needs_and_a_second_one_nothing(ipus):
    machine = ipus(None)
    first = poptorch.trainingModel(Loss(), options=poptorch.Options().replicationFactor(4))
    first(INPUT)
    assert machine.held == 4
    with pytest.raises(poptorch.Error, match=r"Failed to acquire 1 IPU\(s\)"):
        poptorch.trainingModel(Loss())(INPUT)
