"""Files of models from before ``fit`` took objects: they load, give the same outputs, and go on training as they did.

``old_files/`` was written by the code of then: models after a few epochs of ``fit`` with ``clip_norm``, ``window``,
``accumulate`` and others as arguments, and in ``answers.npz`` what came out of them, and of resuming them.
"""

from __future__ import annotations

import pathlib
import warnings

import numpy as np
import pytest

import spikecore as sc
from spikecore import plasticity

OLD = pathlib.Path(__file__).with_name("old_files")
ANSWERS = np.load(OLD / "answers.npz")
Y = ANSWERS["labels"]
MEMBRANE = sc.functional.ce_membrane_loss()
GROUPS = (sc.Group("*.beta", lr=0.01), sc.Group("5.*", frozen=True))
RULES = {
    "0": (plasticity.PowerLawSTDP(lr_post=0.03, x_target=0.3), plasticity.Bounds(0.0, 1.0)),
    "1": plasticity.AdaptiveThreshold(0.05),
}
#: By file: what the code of then was asked to resume with, as it is written now.
RESUMED = {
    "dense": {"epochs": 4, "optimizer": sc.Adam(lr=0.01, clip_norm=0.5), "schedule": sc.schedule.cosine()},
    "cut": {"epochs": 2, "optimizer": sc.Adam(lr=0.01), "learning": sc.BPTT(window=2)},
    "conv": {
        "epochs": 3,
        "optimizer": sc.SGD(lr=0.05, momentum=0.9, groups=GROUPS),
        "loss": MEMBRANE,
        "compute": sc.Compute(accumulate=3),
    },
    "recurrent": {
        "epochs": 2,
        "optimizer": sc.AdamW(lr=0.01),
        "learning": sc.EProp(feedback="random", update_every=2),
    },
    "plastic": {"epochs": 3, "learning": plasticity.Plasticity(RULES)},
    "quantised": {"epochs": 2, "optimizer": sc.RMSprop(lr=0.01)},
    "pruned": {
        "epochs": 4,
        "optimizer": sc.Adam(lr=0.01, keep_zeros=True),
        "callbacks": (sc.compression.Pruning(0.5, end=2),),
    },
}


def loaded(name):
    x = ANSWERS["images" if name == "conv" else "flat"]
    return sc.load(OLD / f"{name}.model", engine="numpy"), x


@pytest.mark.parametrize("name", [path.stem for path in sorted(OLD.glob("*.model"))])
def test_a_model_of_then_gives_the_outputs_of_then(name):
    model, x = loaded(name)
    np.testing.assert_allclose(model(x, num_steps=4).spikes, ANSWERS[f"{name}/spikes"], rtol=1e-6)
    assert model.notes == {"made": "before fit took objects"}


@pytest.mark.parametrize("name", RESUMED)
def test_it_goes_on_as_it_did_then(name):
    model, x = loaded(name)
    data = [(x[i : i + 8], Y[i : i + 8]) for i in range(0, 24, 8)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sc.errors.TrainingWarning)  # a layer that never fires learns as well
        model.fit(data, num_steps=4, progress=False, resume=True, **RESUMED[name])
    # Equal to the bit on the machine that wrote them; another processor adds up in another order.
    figures = [row.get("loss", row.get("rate")) for row in model.history]
    np.testing.assert_allclose(figures, ANSWERS[f"{name}/loss"], rtol=1e-6)
    for key, value in model.params().items():
        np.testing.assert_allclose(value, ANSWERS[f"{name}/after/{key}"], rtol=1e-5, atol=1e-7, err_msg=key)


def test_the_optimiser_of_then_limits_no_gradient_until_it_is_told():
    model, _ = loaded("dense")
    assert model.trainer.optimizer == sc.Adam(lr=0.01)
