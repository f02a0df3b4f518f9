"""The same training through the real PopTorch, where it is installed: on Graphcore's IPU Model, or on an IPU.

Nobody has run these tests on either. That they run at all shows ``test_hardware_simulated.py``: as they are, with
the simulation in PopTorch's place.
"""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.layer import Key

NET = sc.Sequential(sc.Linear(6, 8), sc.Leaky(beta=sc.learn(0.8)), sc.Linear(8, 3), sc.Leaky())
MAPS = sc.Sequential(
    sc.Conv2d(1, 2, 3, padding=1), sc.Leaky(), sc.MaxPool2d(2), sc.AvgPool2d(2, 1, padding=(1, 0)), sc.Flatten(),
    sc.Linear(6, 3), sc.Leaky(),
)  # fmt: skip
OPTIMISERS = [
    sc.SGD(lr=0.1), sc.SGD(lr=0.05, momentum=0.9), sc.SGD(lr=0.05, momentum=0.9, nesterov=True),
    sc.SGD(lr=0.05, momentum=0.9, dampening=0.5), sc.Adam(lr=0.01), sc.AdamW(lr=0.01),
    sc.RMSprop(lr=0.005, momentum=0.5),
]  # fmt: skip
CLOSE = 1e-5


def batches(shape=(6,), count=3):
    rng = np.random.default_rng(0)
    return [(rng.normal(size=(8, *shape)).astype("float32") + 0.5, rng.integers(0, 3, 8)) for _ in range(count)]


def same(ours, theirs):
    """Whether two models have the same weights, to rounding."""
    ours, theirs = ours.params(), theirs.params()
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], atol=CLOSE, err_msg=name)


def check_training(network=NET, shape=(6,), optimizer=None, update_every=None, **options):
    data = batches(shape)
    models = [sc.Model(network, engine) for engine in (sc.get_engine("ipu", **options), sc.get_engine("torch"))]
    for one in models:
        fitting = {"epochs": 2, "num_steps": 6, "learning": sc.BPTT(update_every=update_every), "validation": data[:1]}
        schedule = lambda epoch, epochs: 0.5**epoch  # noqa: E731
        optimizer = optimizer or sc.SGD(lr=0.1)
        one.fit(data, optimizer=optimizer, schedule=schedule, **fitting, progress=False)
    same(*models)


def check_resuming(tmp_path, optimizer, **options):
    """Two epochs on one engine, two more on the other: what four on one give."""
    engines = sc.get_engine("ipu", **options), sc.get_engine("torch")
    fitting = {"optimizer": optimizer, "num_steps": 6, "progress": False}
    for first, second in (engines, engines[::-1], (engines[0], engines[0])):
        whole, half = sc.Model(NET, engines[1]), sc.Model(NET, first)
        whole.fit(batches(), epochs=4, **fitting)
        half.fit(batches(), epochs=2, **fitting)
        half.save(tmp_path / "half.safetensors")
        again = sc.load(tmp_path / "half.safetensors", engine=second)
        again.fit(batches(), epochs=4, resume=True, **fitting)
        same(again, whole)


def check_exporting(tmp_path, **options):
    """A program that is written to a file and read by another executor trains as one that is compiled."""
    init, (x, y) = NET.init(Key((0, "init")), (6,)), batches()[0]
    executors = [
        sc.get_engine("ipu", **options).compile(
            NET, init.params, init.buffers, sc.functional.ce_rate_loss(), sc.Adam(lr=0.01)
        )
        for _ in range(3)
    ]
    writes, reads, compiles = executors
    path = tmp_path / "program.poptorch"
    writes.export(path, x[None], y, steps=6)
    reads.load_exported(path, x[None], y, steps=6)
    for one in (reads, compiles):
        one.step(x[None], y, steps=6)
    for name, value in compiles.state()["params"].items():
        np.testing.assert_allclose(reads.state()["params"][name], value, atol=1e-7)
    for one in executors:
        one.close()


def check_verifying(**options):
    x, y = batches()[0]
    report = sc.verify(sc.Model(NET, sc.get_engine("ipu", **options)), x, y, num_steps=6)
    print(report)
    assert report.ok, report
    assert "no float64" in str(report)


@pytest.mark.ipu_model
def test_training_on_the_ipu_model():
    check_training(use_ipu_model=True)
    check_training(use_ipu_model=True, update_every=2, inference_loop=True)
    check_training(MAPS, (1, 4, 4), use_ipu_model=True)


@pytest.mark.ipu
def test_training_on_an_ipu():
    check_training()
    check_training(gradient_accumulation=2, device_iterations=1)
    check_training(update_every=2, inference_loop=True)


@pytest.mark.ipu
def test_maps_on_an_ipu():
    check_training(MAPS, (1, 4, 4))


@pytest.mark.ipu
@pytest.mark.parametrize("optimizer", OPTIMISERS, ids=str)
def test_resuming_on_an_ipu(tmp_path, optimizer):
    check_training(optimizer=optimizer)
    check_resuming(tmp_path, optimizer)


@pytest.mark.ipu
def test_exporting_on_an_ipu(tmp_path):
    check_exporting(tmp_path)


@pytest.mark.ipu
def test_verifying_on_an_ipu():
    check_verifying()


@pytest.mark.ipu
def test_a_pipeline_over_two_ipus():
    check_training(pipeline={"0": 0, "2": 1}, gradient_accumulation=4)
