"""A recurrent network learns to remember, by BPTT or forward in time: a bit is shown, then silence, then asked for.

python examples/delay_recall.py
python examples/delay_recall.py --learning bptt
python examples/delay_recall.py --feedback random
python examples/delay_recall.py --learning bptt --epochs 4 --compare
python examples/delay_recall.py --quick
"""

import argparse

import numpy as np

import spikecore as sc
from spikecore import backprop
from spikecore.datasets import delay_recall

PERIOD = 10  # steps of showing, and of asking


def batch(data):
    """Spikes (time, samples, 20), and targets (time, samples, 3): a one for the class, and whether it is asked for."""
    spikes = np.moveaxis(data.inputs, 1, 0)
    targets = np.zeros((*spikes.shape[:2], 3), np.float32)
    targets[:, np.arange(len(data)), data.targets] = 1
    targets[-PERIOD:, :, 2] = 1
    return spikes, targets


def likelihood(out, targets):
    """Minus the log likelihood of the class, where it is asked for; of one step."""
    xp = sc.base.engine_of(out.membrane).xp
    logs = xp.sum(targets[..., :2] * xp.log_softmax(out.membrane, axis=-1), axis=-1)
    return -xp.mean(targets[..., 2] * logs) / PERIOD


def network(neurons):
    """Adaptive neurons, which remember for 50 steps, connected with each other, and a leaky readout."""
    surrogate = sc.surrogate.fast_sigmoid(slope=10.0)
    neuron = sc.ALIF(beta=0.9, rho=0.98, adaptation=20.0, threshold=0.6, surrogate=surrogate)
    weak = sc.init.normal(0.0, 0.3 / neurons**0.5)
    hidden = sc.Recurrent(neuron, sc.Linear(neurons, neurons, weight_init=weak))
    first = sc.Linear(20, neurons, weight_init=sc.init.normal(0.0, 0.5))
    return sc.Sequential(first, hidden, sc.Linear(neurons, 2), sc.LI(beta=0.8))


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Store and recall, by a recurrent spiking network.")
    parser.add_argument("--learning", choices=["bptt", "eprop", "ostl", "ottt", "sltt"], default="eprop")
    parser.add_argument("--feedback", choices=["symmetric", "random", "adaptive", "direct"], default="symmetric")
    parser.add_argument("--delay", type=int, default=40, help="steps between showing and asking")
    parser.add_argument("--epochs", type=int, default=8, help="of 512 new samples")
    parser.add_argument("--engine", choices=["numpy", "torch"], default="numpy")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--compare", action="store_true", help="how close rules are to the exact gradient afterwards")
    parser.add_argument("--quick", action="store_true", help="a delay of 2 steps, 20 neurons, 1 epoch")
    args = parser.parse_args(arguments)
    delay, epochs, neurons = (2, 1, 20) if args.quick else (args.delay, args.epochs, 40)
    task = {"steps": delay + 2 * PERIOD, "delay": delay, "neurons": 5, "rate": 0.4, "distractors": False}
    train, test = delay_recall(512 * epochs, 256, seed=args.seed, **task)
    filtered = {"eprop": sc.EProp, "ostl": sc.OSTL}
    named = args.learning in filtered
    rule = filtered[args.learning](args.feedback, kappa="readout") if named else args.learning
    model, loss = sc.Model(network(neurons), args.engine, seed=args.seed), backprop.per_step(likelihood, "sum")
    options = {"learning": rule, "progress": False}
    for epoch in range(epochs):
        batches = [batch(train[start : start + 64]) for start in range(512 * epoch, 512 * (epoch + 1), 64)]
        row = model.fit(batches, loss=loss, optimizer=sc.Adam(lr=5e-3, clip_norm=1.0), **options)[-1]
        membranes = model.engine.to_numpy(model(batch(test)[0], record=True).membrane)
        right = float((membranes[-PERIOD:].mean(0).argmax(-1) == test.targets).mean())
        print(f"epoch {epoch + 1:2}: loss {row['loss']:.3f}, {100 * right:.1f} % of the test samples", flush=True)
    if args.compare:
        for rule in ("sltt", "eprop", sc.EProp(kappa="readout"), "ostl", sc.OSTL(kappa="readout")):
            cosine = sc.verify(model, *batch(test[:32]), loss, learning=rule).cosine["1.connection.weight"]
            print(f"cosine of the gradient by recurrent weights, {rule}: {cosine:.2f}", flush=True)
    return right


if __name__ == "__main__":
    main()
