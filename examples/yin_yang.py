"""The Yin-Yang data set, learned from spike times alone: exact gradients, no surrogate, no time steps.

    python examples/yin_yang.py
    python examples/yin_yang.py --seeds 10
    python examples/yin_yang.py --quick
    python examples/yin_yang.py --epochs 6 --no-kernels

Each coordinate of a point is the time of one spike, and the class is the output whose membrane is highest.
"""

import argparse
import math
import statistics

import numpy as np

import spikecore as sc
from spikecore.datasets import Dataset, Loader, yin_yang

EARLY, LATE, BIAS = 10.0, 40.0, 20.0  # in ms


def as_times(data):
    """A spike per coordinate between EARLY and LATE, and one at BIAS for every sample alike."""
    times = EARLY + (LATE - EARLY) * data.inputs.astype(np.float64)
    bias = np.full((len(times), 1), BIAS)
    return Dataset(np.concatenate([times, bias], axis=1), data.targets, name=data.name, classes=data.classes)


def falling(epoch, epochs):
    """Half a cosine, from 1 to 0."""
    return 0.5 * (1.0 + math.cos(math.pi * epoch / epochs))


def trained(seed, hidden, epochs, samples, batch_size, lr, fused):
    """Test accuracy after training."""
    train, test = (as_times(data) for data in yin_yang(samples, 1000 if samples > 1000 else 300, seed=seed))
    taus = {"tau_mem": 10.0, "tau_syn": 5.0}
    network = sc.eventprop.Network(
        [
            sc.eventprop.Layer(5, hidden, mean=1.2, std=1.5, **taus),
            sc.eventprop.Layer(hidden, 3, mean=0.5, std=0.5, threshold=None, **taus),  # above 0, see max_membrane_loss
        ],
        duration=60.0,
        fused=fused,
    )
    loss = sc.eventprop.max_membrane_loss()
    fitted = sc.eventprop.fit(
        network,
        Loader(train, batch_size=batch_size, seed=seed),
        loss=loss,
        params=network.init(seed),
        # clip_norm: less than half the norm of a typical batch, so that no batch counts more than others
        optimizer=sc.Adam(lr=lr, betas=(0.9, 0.99), groups=(sc.Group("0.weight", lr=lr / 10.0),), clip_norm=0.05),
        schedule=falling,
        epochs=epochs,
        wake=2e-3,
    )
    return sc.eventprop.evaluate(network, fitted.params, test, loss)["accuracy"]


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Yin-Yang by exact gradients.")
    parser.add_argument("--seeds", type=int, default=1, help="how many networks and data sets; default 1")
    parser.add_argument("--epochs", type=int, default=60, help="passes over the points; default 60")
    parser.add_argument("--hidden", type=int, default=200, help="number of hidden neurons; default 200")
    parser.add_argument("--quick", action="store_true", help="400 samples, 60 hidden neurons, 10 epochs")
    parser.add_argument("--no-kernels", action="store_true", help="run in NumPy alone, without compiled kernels")
    args = parser.parse_args(arguments)
    size = (60, 10, 400, 8, 0.04) if args.quick else (args.hidden, args.epochs, 5000, 64, 0.04)
    accuracies = []
    for seed in range(args.seeds):
        accuracies.append(trained(seed, *size, fused=False if args.no_kernels else None))
        print(f"seed {seed}: {100 * accuracies[-1]:.2f} % of the test points", flush=True)
    if args.seeds > 1:
        spread = statistics.stdev(accuracies)
        print(f"mean of {args.seeds}: {100 * statistics.mean(accuracies):.2f} %, standard deviation {100 * spread:.2f}")
    return statistics.mean(accuracies)


if __name__ == "__main__":
    main()
