"""How close learning forward in time comes to backpropagation: cosines of gradients, and accuracies after training.

``python -m benchmarks.how_close`` prints the tables of docs/learning.md, with ``--quick`` small ones.

Recall: a pattern of spikes is shown for 10 steps, noise follows, and only the last 10 of 30 steps count. Digits: the
same input at every step, or its spikes.
"""

from __future__ import annotations

import argparse
import functools
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

import spikecore as sc
from spikecore import backprop, functional, spikegen
from spikecore.datasets import Loader, digits

PATTERNS = np.random.default_rng(0).random((10, 64))
COMPARED: Dict[str, Any] = {
    "online": "eprop",
    "window=10": sc.BPTT(window=10),
    "window=5": sc.BPTT(window=5),
    "ottt": "ottt",
    "ndot": "ndot",
}


def methods(steps: int) -> Dict[str, Any]:
    """Ways of learning, those of truncated gradients with so many steps."""
    truncated = {"window": sc.BPTT(window=steps), "update_every": sc.BPTT(update_every=steps)}
    return {"BPTT": "bptt", **truncated, "eprop": "eprop", "ottt": "ottt"}


def recall_batch(samples: int, seed: int, steps: int = 30) -> Tuple[Any, Any]:
    """Spikes (time, samples, 64); targets (time, samples, 11): the class, and whether the step counts."""
    rng = np.random.default_rng(seed)
    labels, rate = rng.integers(0, 10, samples), np.full((steps, samples, 64), 0.1)
    rate[:10] = 0.5 * PATTERNS[labels]
    judged = np.zeros((steps, samples, 11))
    judged[:, np.arange(samples), labels], judged[-10:, :, 10] = 1, 1
    return (rng.random(rate.shape) < rate).astype("float32"), judged


def one_step(out: Any, judged: Any) -> Any:
    """Minus the log likelihood of the class at the steps that count."""
    xp = sc.base.engine_of(out.membrane).xp
    likelihood = xp.sum(judged[..., :10] * xp.log_softmax(out.membrane, axis=-1), axis=-1)
    return -xp.mean(judged[..., 10] * likelihood)


def recalled(model: sc.Model, samples: int = 200, seed: int = 1000) -> float:
    """The fraction of new samples whose class has the highest membrane over the steps that count."""
    x, judged = recall_batch(samples, seed)
    membrane = model.engine.to_numpy(model(x).membrane)[-10:].sum(axis=0)
    return float((membrane.argmax(axis=1) == judged[0, :, :10].argmax(axis=1)).mean())


def network(depth: int, beta: float = 0.95, width: int = 64, **neuron: Any) -> sc.Sequential:
    """Layers of leaky neurons, all alike."""
    layers = [sc.Linear(64, width), sc.Leaky(beta=beta, threshold=0.5, **neuron)]
    layers += [sc.Linear(width, width), sc.Leaky(beta=beta, threshold=0.5, **neuron)] * (depth - 1)
    return sc.Sequential(*layers, sc.Linear(width, 10), sc.Leaky(beta=beta, threshold=0.5, **neuron))


def cosines(model: sc.Model, x: Any, targets: Any, loss: Any, **options: Any) -> List[float]:
    """The cosine between the gradient of a rule and the exact one, for each weight from the first layer to the last."""
    found: Any = sc.verify(model, x, targets, loss, against="numpy", **options).cosine
    return [found[name] for name in model.params() if name.endswith("weight")]


def shown(values: Sequence[float]) -> str:
    """Cosines as the tables have them."""
    return ", ".join("1" if value > 0.9995 else f"{value:.2f}" for value in values)


def main(arguments: Optional[Sequence[str]] = None) -> Dict[str, Any]:
    """Print the tables; return their figures by name."""
    parser = argparse.ArgumentParser(description="How close learning forward in time comes to backpropagation.")
    parser.add_argument("--quick", action="store_true", help="one hidden layer, one epoch")
    quick = parser.parse_args(arguments).quick
    depths, epochs = ((1,), 1) if quick else ((1, 2, 3), 8)
    loss, batches = backprop.per_step(one_step, "sum"), [recall_batch(64, seed) for seed in range(1, 9)]
    found: Dict[str, Any] = {}
    rows: Dict[str, Any]
    task = recall_batch(32, 0)

    def trained(depth: int, learning: Any = "bptt") -> sc.Model:
        model = sc.Model(network(depth), "numpy", seed=0)
        model.fit(batches, loss=loss, optimizer=sc.Adam(lr=2e-3), epochs=epochs, learning=learning, progress=False)
        return model

    for depth in depths:
        for name, model in (
            ("initial weights", sc.Model(network(depth), "numpy", seed=0)),
            ("trained", trained(depth)),
        ):
            rows = {way: cosines(model, *task, loss, learning=rule) for way, rule in COMPARED.items()}
            found[f"recall, {depth} hidden, {name}"] = rows
            print(f"recall, {depth} hidden, {name}: " + "; ".join(f"{way} {shown(row)}" for way, row in rows.items()))
    for depth in depths[:2]:
        rows = {method: recalled(trained(depth, way)) for method, way in methods(10).items()}
        found[f"recall, {depth} hidden, accuracy"] = rows
        print(
            f"recall, {depth} hidden, accuracy: " + "; ".join(f"{way} {100 * row:.0f} %" for way, row in rows.items())
        )

    train, test = digits()
    rows = {}
    for method, learning in methods(5).items():
        model = sc.Model(network(1, 0.9), "numpy", seed=0)
        loader = Loader(train, batch_size=64, seed=0)
        rate = functional.ce_rate_loss()
        model.fit(
            loader,
            loss=rate,
            optimizer=sc.Adam(lr=1e-3),
            epochs=1 if quick else 10,
            num_steps=25,
            learning=learning,
            progress=False,
        )
        rows[method] = model.evaluate(Loader(test), loss=rate, num_steps=25, progress=False)["accuracy"]
    found["digits, accuracy"] = rows
    print("digits, accuracy: " + "; ".join(f"{method} {100 * row:.1f} %" for method, row in rows.items()))

    encode = functools.partial(spikegen.rate, seed=0)
    for reset in ("subtract", "zero"):
        model = sc.Model(network(1 if quick else 2, reset_mechanism=reset), "numpy", seed=0)
        model.fit(
            Loader(train, batch_size=64, seed=0), loss=functional.ce_rate_loss(), optimizer=sc.Adam(lr=1e-3),
            epochs=1 if quick else 5, num_steps=25, encoder=spikegen.rate, progress=False,
        )  # fmt: skip
        batch = encode(train.inputs[:64], num_steps=25), train.targets[:64]
        rows = {rule: cosines(model, *batch, functional.ce_rate_loss(), learning=rule) for rule in ("eprop", "ottt")}
        found[f"digits, reset {reset}"] = rows
        print(f"digits, reset {reset}: exact {shown(rows['eprop'])}; factorised {shown(rows['ottt'])}")
    return found


if __name__ == "__main__":
    main()
