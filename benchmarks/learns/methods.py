"""The methods that ``benchmarks.learns`` compares: each trains on a task and returns its predictions for the test."""

from __future__ import annotations

import importlib
import math
import warnings
from typing import Any, Callable, Dict, Tuple

import numpy as np

import spikecore as sc
from benchmarks.learns.problem import Problem

ROCKETS, STEPS, MOST_UPDATES = 2000, 25, 600
ALPHAS = np.logspace(-3, 3, 13)


def recipe(task: Problem, seed: int) -> Any:
    """``sc.recipe``, as it stands, on the NumPy engine."""
    made = sc.recipe(task.x, task.y, lengths=task.lengths)
    model = sc.Model(made.network, engine=sc.get_engine("numpy", fused=True), seed=seed)
    if task.lengths is None or "num_steps" in made.feed:  # a series that is seen whole counts with its padding
        model.fit(task.x, task.y, progress=False, **made.training)
    else:
        data = sc.datasets.Dataset(task.x, task.y, lengths=task.lengths)
        training = dict(made.training)
        loader = sc.datasets.Loader(data, batch_size=training.pop("batch_size"), seed=seed)
        model.fit(loader, progress=False, **training)
    lengths = None if "num_steps" in made.feed else task.lengths_test
    return model.predict(task.x_test, lengths=lengths, **made.feed)


def _vectors(task: Problem) -> Tuple[np.ndarray, np.ndarray]:
    return task.x.reshape(len(task.x), -1), task.x_test.reshape(len(task.x_test), -1)


def _scikit(make: Callable[[int], Any]) -> Callable[[Problem, int], Any]:
    """An estimator behind a scaler."""

    def run(task: Problem, seed: int) -> Any:
        scaler = importlib.import_module("sklearn.preprocessing").StandardScaler()
        x, x_test = _vectors(task)
        return make(seed).fit(scaler.fit_transform(x), task.y).predict(scaler.transform(x_test))

    return run


def _linear(name: str, **options: Any) -> Callable[[int], Any]:
    return lambda seed: getattr(importlib.import_module("sklearn.linear_model"), name)(**options)


def strong(task: Problem, seed: int) -> Any:
    """MiniRocket and ridge regression for series, gradient-boosted trees for tables and images."""
    if task.x.ndim != 3:
        ensemble = importlib.import_module("sklearn.ensemble")
        some = {"random_state": seed}
        x, x_test = _vectors(task)
        if len(x) > 1000:
            name = "HistGradientBoostingClassifier" if task.classes else "HistGradientBoostingRegressor"
            return getattr(ensemble, name)(**some).fit(x, task.y).predict(x_test)
        name = "GradientBoostingClassifier" if task.classes else "GradientBoostingRegressor"
        if task.y.ndim == 2:
            return np.stack([getattr(ensemble, name)(**some).fit(x, y).predict(x_test) for y in task.y.T], axis=1)
        return getattr(ensemble, name)(**some).fit(x, task.y).predict(x_test)
    rocket = importlib.import_module("aeon.transformations.collection.convolution_based").MiniRocket
    turned = [np.moveaxis(part, 1, 2).astype(np.float32) for part in (task.x, task.x_test)]
    if turned[0].shape[2] < 9:  # the kernels' length
        turned = [np.pad(part, ((0, 0), (0, 0), (0, 9 - part.shape[2]))) for part in turned]
    transform = rocket(n_kernels=ROCKETS, random_state=seed).fit(turned[0])
    x, x_test = (transform.transform(part) for part in turned)
    scaler = importlib.import_module("sklearn.preprocessing").StandardScaler()
    ridge = _linear("RidgeClassifierCV" if task.classes else "RidgeCV", alphas=ALPHAS)(seed)
    return ridge.fit(scaler.fit_transform(x), task.y).predict(scaler.transform(x_test))


def snntorch(task: Problem, seed: int) -> Any:
    """The network of snnTorch's tutorial 5 with its settings, for as many epochs as the recipe; series step by step.

    Two layers of Leaky(beta=0.95) with 1000 hidden neurons, 25 steps of constant current, cross-entropy of the
    membrane summed over time, Adam(5e-4, betas=(0.9, 0.999)), batches of 128, inputs scaled to [0, 1]. For numbers, the
    membrane of a last layer that does not reset, and the squared error at the last step, as in its tutorial on
    regression.
    """
    import snntorch as snn
    import torch

    torch.manual_seed(seed)
    hidden = 1000
    outputs = task.classes or (1 if task.y.ndim == 1 else task.y.shape[1])
    low, high = task.x.min(), max(task.x.max(), task.x.min() + 1e-9)
    x, x_test = (torch.tensor((part - low) / (high - low)) for part in (task.x, task.x_test))
    series = task.x.ndim == 3
    x, x_test = (part.transpose(0, 1) if series else part.flatten(1) for part in (x, x_test))
    mean, deviation = task.y.mean(axis=0), task.y.std(axis=0) + 1e-9
    y = torch.tensor(task.y if task.classes else (task.y - mean) / deviation)
    first, last = torch.nn.Linear(x.shape[-1], hidden), torch.nn.Linear(hidden, outputs)
    neurons = snn.Leaky(beta=0.95), snn.Leaky(beta=0.95, reset_mechanism="subtract" if task.classes else "none")
    optimizer = torch.optim.Adam([*first.parameters(), *last.parameters()], lr=5e-4, betas=(0.9, 0.999))
    epochs = sc.recipe(task.x, task.y, lengths=task.lengths).training["epochs"]
    steps = x.shape[0] if series else STEPS

    def run(part: Any) -> Any:
        one, two = (neuron.reset_mem() for neuron in neurons)
        spikes, membranes = [], []
        for step in range(steps):
            spike, one = neurons[0](first(part[step] if series else part), one)
            spike, two = neurons[1](last(spike), two)
            spikes.append(spike)
            membranes.append(two)
        return torch.stack(spikes), torch.stack(membranes)

    count, loss = len(y), torch.nn.CrossEntropyLoss()
    for _ in range(min(epochs, MOST_UPDATES // max(1, math.ceil(count / 128)))):
        for rows in torch.randperm(count).split(128):
            spikes, membranes = run(x[:, rows] if series else x[rows])
            wanted = y[rows]
            if task.classes:
                value = sum(loss(membrane, wanted) for membrane in membranes)
            else:
                value = ((membranes[-1] - wanted.reshape(len(rows), -1).float()) ** 2).mean()
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    with torch.no_grad():
        spikes, membranes = run(x_test)
    if task.classes:
        return spikes.sum(dim=0).argmax(dim=1).numpy()
    return membranes[-1].numpy().reshape(task.y_test.shape) * deviation + mean


METHODS: Dict[str, Callable[[Problem, int], Any]] = {
    "recipe": recipe,
    "logistic": _scikit(_linear("LogisticRegression", max_iter=3000)),
    "ridge": lambda task, seed: _scikit(_linear("RidgeClassifierCV" if task.classes else "RidgeCV", alphas=ALPHAS))(
        task, seed
    ),
    "strong": strong,
    "snntorch": snntorch,
}
SEEDED = ("recipe", "strong", "snntorch")  # the others have no random draws


def predicted(method: str, task: Problem, seed: int) -> np.ndarray:
    """What a method says about the test samples."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(METHODS[method](task, seed))
