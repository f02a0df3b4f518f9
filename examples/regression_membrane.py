"""Regression with a membrane: the last neuron does not fire, its potential is the answer (snnTorch's regression 1).

    python examples/regression_membrane.py --picture fit.png
    python examples/regression_membrane.py --readout StateLeaky

The network sees a straight line and has to draw its square root, at each of 50 steps.
"""

import argparse

import numpy as np

import spikecore as sc
from spikecore import functional, surrogate

READOUTS = {
    "Leaky": sc.Leaky(beta=sc.learn(0.5), reset_mechanism="none"),
    "StateLeaky": sc.StateLeaky(beta=sc.learn(0.5)),  # has no reset, so that all steps are computed at once
}


def lines(samples, steps, seed):
    """Lines from 0 to a random end, (time, samples, 1), and their square roots."""
    ends = np.random.default_rng(seed).uniform(0, 1, samples)
    x = np.linspace(0, 1, steps)[:, None, None] * ends[:, None]
    return x, np.sqrt(x)


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Square roots as membrane potentials.")
    parser.add_argument("--engine", default="torch", help="torch or numpy")
    parser.add_argument("--readout", default="Leaky", choices=READOUTS, help="the last neuron")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="32 hidden neurons, 20 steps")
    parser.add_argument("--picture", help="file for a picture of target and answer")
    args = parser.parse_args(arguments)
    hidden, steps = (32, 20) if args.quick else (128, 50)

    fires = sc.Leaky(beta=sc.learn(0.5), surrogate=surrogate.fast_sigmoid(25))
    network = sc.Sequential(
        *(sc.Linear(1, hidden), fires, sc.Linear(hidden, hidden), fires, sc.Linear(hidden, 1)),
        READOUTS[args.readout],
    )
    loss = functional.mse_membrane_loss(time_var_targets=True)
    model = sc.Model(network, engine=args.engine, seed=args.seed)
    x, y = lines(256, steps, args.seed)
    batches = [(x[:, i : i + 32], y[:, i : i + 32]) for i in range(0, 256, 32)]  # (time, batch, 1) both
    model.fit(batches, loss=loss, optimizer=sc.Adam(lr=1e-3), epochs=args.epochs)

    x, y = lines(64, steps, args.seed + 1)
    answer = model.engine.to_numpy(model(x).membrane)
    error = float(abs(answer - y).mean())
    share = 100 * error / y.mean()
    print(f"{args.readout}, seed {args.seed}: mean error {error:.4f}, {share:.2f} % of the mean target")
    if args.picture:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 3.5), layout="constrained")
        ax = figure.subplots()
        ax.plot(y[:, 0, 0], label="target")
        ax.plot(answer[:, 0, 0], label="membrane")
        ax.set(xlabel="time step", ylabel="square root")
        ax.locator_params(axis="x", integer=True)
        ax.legend(frameon=False)
        figure.savefig(args.picture)
    return error


if __name__ == "__main__":
    main()
