"""The optimiser on the IPU engine: its arrays by PopART's names, where they come from and go to; what is refused."""

# ruff: noqa: E402 (nothing of this can be imported without torch)

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the IPU engine is made of torch ops")

import spikecore as sc
from spikecore import functional
from spikecore.api.core.layer import Key
from spikecore.api.core.tree import leaves
from spikecore.engines.ipu import optimizers
from tests.ipu.ipu_rig import NET, batch, difference, fitted, model

SPECS = [
    sc.SGD(lr=0.1, momentum=0.9), sc.SGD(lr=0.1, momentum=0.9, nesterov=True),
    sc.SGD(lr=0.1, momentum=0.9, dampening=0.4), sc.SGD(lr=0.1, dampening=0.4), sc.Adam(lr=0.01),
    sc.AdamW(lr=0.01), sc.RMSprop(lr=0.01), sc.RMSprop(lr=0.01, momentum=0.8),
]  # fmt: skip


def executor(engine, spec, network=NET, **options):
    init = network.init(Key((0, "init")), (6,))
    return sc.get_engine(engine, **options).compile(network, init.params, init.buffers, functional.ce_rate_loss(), spec)


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize(
    ("when", "before"),
    [("before compilation", 3), ("after it", 3), ("after it", 0), ("while another program is attached", 3)],
)
def test_a_state_that_is_loaded_counts(spec, when, before):
    """A2, A3, A11: whenever it is loaded, the next steps are those that torch makes from it; a fresh one resets."""
    theirs, ours = executor("torch", spec), executor("ipu", spec, simulate=True)
    data = [batch(seed=i) for i in range(4)]
    for x, y in data[:before]:
        theirs.step(x[None], y, steps=5)
    if when != "before compilation":
        ours.step(data[0][0][None], data[0][1], steps=5)
    if when == "while another program is attached":
        ours.run(data[0][0][None], steps=5)
    ours.load(theirs.state())
    for one in (theirs, ours):
        for x, y in data[2:]:
            one.step(x[None], y, steps=5)
    found, expected = ours.state(), theirs.state()
    for kind in ("params", "optimizer"):
        assert set(found[kind]) == set(expected[kind])
        for name, value in expected[kind].items():
            np.testing.assert_allclose(found[kind][name], value, atol=1e-6, err_msg=name)


def test_velocities_are_kept_without_the_loss_scaling():
    """A11: on the device they are multiplied with it; a checkpoint means the same on every engine."""
    spec, key = sc.SGD(lr=0.1, momentum=0.9), "Accl1___params.0.weight"
    held = {key: torch.full((8, 6), 8.0), "Accl1___params.0.bias": torch.zeros(8)}
    params = sc.Model(sc.Sequential(sc.Linear(6, 8)), "torch", input_shape=(6,)).trainer.executor.params
    found = optimizers.slots(spec, params, held, 16.0)
    assert found["0.weight.momentum_buffer"].unique().tolist() == [0.5]
    assert optimizers.device_state(spec, params, found, 1, 16.0)[key].unique().tolist() == [8.0]
    moments = {name.replace("Accl1", accl): x for name, x in held.items() for accl in ("Accl1", "Accl2")}
    assert optimizers.slots(sc.Adam(), params, moments, 16.0)["0.weight.exp_avg"].unique().tolist() == [8.0]


@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec.slots], ids=str)
def test_a_parameter_without_a_path_to_the_loss(spec, tmp_path):
    """A11: PopTorch would give it no array; checkpoints hold zeros for it, and it decays, as torch's does."""
    network = sc.Sequential(sc.Linear(6, 3), sc.LI(threshold=sc.learn(1.0)))
    data = [batch()]
    options = {"optimizer": spec, "loss": functional.mse_membrane_loss()}
    ours, theirs = fitted(model(network), data, **options), fitted(sc.Model(network, "torch"), data, **options)
    held = {name: value for name, value in ours.state()["optimizer"].items() if name.startswith("1.threshold")}
    assert held
    assert all(not value.any() for value in held.values())
    assert set(ours.state()["optimizer"]) == set(theirs.state()["optimizer"])
    ours.save(tmp_path / "half.safetensors")
    for engine in (sc.get_engine("ipu", simulate=True), "torch"):
        again = fitted(sc.load(tmp_path / "half.safetensors", engine=engine), data, epochs=2, resume=True, **options)
        whole = fitted(sc.Model(network, "torch"), data, epochs=2, **options)
        assert difference(again, whole) < 2e-6


def test_dampening_begins_with_the_second_step():
    """A11: the velocity begins at zero on the device, in torch at the first gradient."""
    data = [batch(seed=i) for i in range(3)]
    spec = sc.SGD(lr=0.1, momentum=0.9, dampening=0.5)
    options = {"optimizer": spec, "epochs": 2, "validation": data[:1]}
    assert difference(fitted(model(), data, **options), fitted(sc.Model(NET, "torch"), data, **options)) < 2e-6
    with pytest.raises(ValueError, match=r"device_iterations > 1 with SGD\(dampening=\.\.\.\): .* or dampening=0"):
        fitted(model(device_iterations=2), data, optimizer=spec)


def test_a_schedule_survives_validation():
    """A2: attaching a program again sends back what was read before, and with it the old rate."""
    data = [batch(seed=i) for i in range(2)]
    options = {"epochs": 4, "schedule": lambda epoch, epochs: 0.5**epoch, "validation": data[:1]}
    for spec in (sc.SGD(lr=0.2), sc.Adam(lr=0.02)):
        ours, theirs = (
            fitted(one, data, optimizer=spec, **options) for one in (model(), sc.Model(model().network, "torch"))
        )
        assert difference(ours, theirs) < 2e-6


def test_a_missing_optimiser_array_is_told():
    """A3: names that are not PopART's."""
    params = sc.Model(NET, "numpy").trainer.executor.params
    with pytest.raises(KeyError, match=r"no 'Accl1___params\.0\.weight', only Other"):
        optimizers.slots(sc.Adam(), params, {"Other": 1})
    half = {f"Accl1___params.{name}": torch.zeros(1) for name, _ in leaves(params)}
    with pytest.raises(KeyError, match=r"no 'Accl2___params\.0\.weight'"):
        optimizers.slots(sc.Adam(), params, half)


def test_zeros_are_not_kept():
    with pytest.raises(NotImplementedError, match="keep_zeros=True: engine 'ipu' updates all weights"):
        executor("ipu", sc.SGD(lr=0.1, keep_zeros=True), simulate=True)
