"""Trainings on the pretended device and on the CPU, by the same loops, and what comes of each.

On the device, values are read a step late: histories, errors, weights and the place to continue must be the CPU's.
"""

from __future__ import annotations

import numpy as np
import torch

import spikecore as sc

SAMPLES, STEPS = 44, 6  # batches of 8, and a smaller one


def data():
    rng = np.random.default_rng(1)
    return rng.random((SAMPLES, 12), dtype=np.float32), rng.integers(0, 4, SAMPLES)


def network():
    return sc.Sequential(
        sc.Linear(12, 16, bias=False),
        sc.BatchNorm1d(16),
        sc.Leaky(beta=sc.learn(0.9)),
        sc.Dropout(0.1),
        sc.Linear(16, 4),
        sc.Leaky(),
    )


def model_on(device):
    return sc.Model(network(), engine=sc.get_engine("torch", device=device, fused=False), seed=3)


def row_of(history):
    return [{name: value for name, value in row.items() if name not in ("seconds", "samples_per_s")} for row in history]


def state_of(model):
    state = model.state()
    arrays = [float(np.abs(x).sum()) for part in ("params", "buffers", "optimizer") for x in state[part].values()]
    return {"arrays": arrays, "step": state["step"], "epochs": model.epochs_done}


def fitted(model, x, y, **options):
    options = {"num_steps": STEPS, "batch_size": 8, "epochs": 2, "progress": False, **options}
    try:
        model.fit(x, y, **options)
        said = ""
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    return {"said": said, "history": row_of(model.history), **state_of(model)}


class Told:
    """A callback that writes down what it is told, and stops training after so many steps."""

    def __init__(self, most=None):
        self.rows, self.most = [], most

    def after_step(self, model, step):
        self.rows.append([step.batch, step.samples, step.loss, step.metrics, step.lr])
        return len(self.rows) == self.most


def loss_that_breaks(value, after):
    """A loss that gives ``value`` instead of its own from a batch on."""
    whole, calls = sc.functional.ce_rate_loss(), []

    def loss(out, targets):
        calls.append(1)
        return whole(out, targets) * (value if len(calls) > after else 1.0)

    return loss


def gradient_that_breaks(after):
    """A finite loss whose gradient is not from a batch on: the square root at 0."""
    whole, calls = sc.functional.ce_rate_loss(), []

    def loss(out, targets):
        calls.append(1)
        broken = torch.sqrt(out.spikes.sum() * 0.0) if len(calls) > after else 0.0
        return whole(out, targets) + broken

    return loss


def cases(device):
    x, y = data()
    bad = x.copy()
    bad[33] = np.nan
    on = (lambda a: torch.as_tensor(a).to(device)) if device != "cpu" else (lambda a: a)
    told, stopping = Told(), Told(4)
    again = model_on(device)
    lengths = [(x[i : i + 8], y[i : i + 8]) for i in range(0, 40, 8)]
    frames = np.repeat(x[None], STEPS, 0)
    sequences = [(frames[:, i : i + 8], y[i : i + 8], [3, 6, 2, 6, 5, 1, 6, 4]) for i in range(0, 40, 8)]
    yield "plain", fitted(model_on(device), x, y, validation=(x[:16], y[:16]))
    yield "there", fitted(model_on(device), on(x), on(y), validation=(on(x[:16]), on(y[:16])))
    yield "batches", fitted(model_on(device), lengths, None, batch_size=None)
    yield "tensors", fitted(model_on(device), [(on(a), on(b)) for a, b in lengths], None, batch_size=None)
    yield "lengths", fitted(model_on(device), sequences, None, batch_size=None, num_steps=None)
    yield "schedule", fitted(model_on(device), x, y, schedule=sc.schedule.one_cycle())
    yield "accumulate", fitted(model_on(device), x, y, compute=sc.Compute(accumulate=2))
    yield "rmsprop", fitted(model_on(device), x, y, optimizer=sc.RMSprop(lr=1e-3))
    yield "sgd", fitted(model_on(device), x, y, optimizer=sc.SGD(lr=0.1, momentum=0.9, clip_norm=0.5))
    yield "truncated", fitted(model_on(device), x, y, learning=sc.BPTT(window=2))
    yield "parts", fitted(model_on(device), x, y, learning=sc.BPTT(update_every=3))
    yield "told", {**fitted(model_on(device), x, y, callbacks=(told,)), "told": told.rows}
    yield "stopped", {**fitted(again, x, y, callbacks=(stopping,)), "told": stopping.rows}
    yield "continued", fitted(again, x, y, resume=True)
    yield "input-bad", fitted(model_on(device), bad, y)
    for name, value, after in (("inf", float("inf"), 3), ("nan", float("nan"), 8), ("first", float("nan"), 0)):
        broken = model_on(device)
        yield f"loss-{name}", fitted(broken, x, y, loss=loss_that_breaks(value, after))
        yield f"loss-{name}-after", fitted(broken, x, y, loss=sc.functional.ce_rate_loss(), resume=True)
    yield "gradient", fitted(model_on(device), x, y, loss=gradient_that_breaks(3))
    unchecked = {"loss": loss_that_breaks(float("nan"), 3), "compute": sc.Compute(check_finite=False)}
    yield "unchecked", fitted(model_on(device), x, y, **unchecked)
    labels = y.copy()
    labels[30] = 9
    yield "label-bad", fitted(model_on(device), x, labels)
    whole = model_on(device)
    whole.fit(x, y, epochs=1, num_steps=STEPS, batch_size=8, progress=False)
    yield "evaluate", whole.evaluate(on(x), on(y), num_steps=STEPS, batch_size=8, metric=["accuracy", "f1", "rate"])
    try:
        found = whole.evaluate(bad, y, num_steps=STEPS, batch_size=8)
    except ValueError as error:
        found = str(error)
    yield "evaluate-bad", found
