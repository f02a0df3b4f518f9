"""Noise that helps, and neurons that differ.

1. Stochastic resonance: a signal too weak to make a neuron fire shows in the spikes of noisy neurons, best at a medium
   noise.
2. Mismatch: a network is trained, then put on "chips" whose neurons and weights deviate; training on the chip mends it.

python examples/noise.py
python examples/noise.py --quick
"""

import argparse

import numpy as np

import spikecore as sc

SIZES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)  # standard deviation of the noise, in units of the threshold
DEVIATIONS = {"threshold": 0.4, "weight": 0.8, "beta": 0.1}  # relative standard deviations of a bad chip


def resonance(engine, neurons, steps=400, period=50):
    """The correlation between a signal and the rate of noisy neurons, for each size of the noise."""
    signal = np.sin(2.0 * np.pi * np.arange(steps) / period)
    current = 0.05 + 0.02 * signal  # alone it lifts the membrane to 0.7 of the threshold at most
    x = np.broadcast_to(current[:, None, None], (steps, 1, neurons)).astype("float32")
    found = {}
    for size in SIZES:
        model = sc.Model(sc.Sequential(sc.Noisy(sc.Leaky(beta=0.9), input_noise=size)), engine)
        rate = model.engine.to_numpy(model(x).spikes)[period:, 0].mean(axis=1)
        found[size] = float(np.corrcoef(rate, signal[period:])[0, 1]) if rate.any() else 0.0
        print(f"noise {size:4.2f}: {rate.mean():.4f} spikes a step, correlation with the signal {found[size]:.2f}")
    return found


def accuracies(engine, epochs, chips, seed):
    """The accuracy as trained, on chips, and on chips after a training there; each the mean over the chips."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = (x[order] / 16.0).astype("float32"), y[order]
    train, test = (x[:1400], y[:1400]), (x[1400:], y[1400:])
    network = sc.Sequential(sc.Linear(64, 100), sc.Leaky(beta=0.9), sc.Linear(100, 10), sc.Leaky(beta=0.9))
    model = sc.Model(network, engine, seed=seed)
    how = {"num_steps": 15, "batch_size": 64, "optimizer": sc.Adam(lr=2e-3), "progress": False}
    model.fit(*train, epochs=epochs, **how)
    found = [[], []]
    for chip in range(chips):
        made = sc.compression.mismatch(model, DEVIATIONS, seed=chip)
        found[0].append(made.evaluate(*test, num_steps=15, progress=False)["accuracy"])
        made.fit(*train, epochs=max(1, epochs // 2), **how)
        found[1].append(made.evaluate(*test, num_steps=15, progress=False)["accuracy"])
    ideal = model.evaluate(*test, num_steps=15, progress=False)["accuracy"]
    result = {"ideal": ideal, "on a chip": np.mean(found[0]), "trained there": np.mean(found[1])}
    print(", ".join(f"{name} {100 * value:.1f} %" for name, value in result.items()))
    return result


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Noise that helps, and neurons that differ.")
    parser.add_argument("--engine", choices=["torch", "numpy"], default="torch")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="fewer neurons, epochs and chips")
    args = parser.parse_args(arguments)
    found = resonance(args.engine, 200 if args.quick else 1000)
    epochs, chips = (3, 1) if args.quick else (args.epochs, 8)
    return found, accuracies(args.engine, epochs, chips, args.seed)


if __name__ == "__main__":
    main()
