"""Forecast a time series, next year's sunspots, with the recurrent neurons of snnTorch's regression 2.

    pip install statsmodels                                  # it carries the series, 1700 to 2008
    python examples/regression_sunspots.py --picture sunspots.png

A forecast is worth something only if it beats persistence, which says that next year will be like this one.
"""

import argparse

import numpy as np

import spikecore as sc
from spikecore import functional

TRAIN, WINDOW = 209, 40  # years to train on, in windows of so many; the 100 years after them are the test
SCALE = 100.0  # sunspots that count as 1


def sunspots():
    """The yearly number of sunspots, (309,)."""
    try:
        from statsmodels.datasets import sunspots
    except ImportError as error:
        raise SystemExit("the series comes with statsmodels: pip install statsmodels") from error
    return sunspots.load_pandas().data["SUNACTIVITY"].to_numpy() / SCALE


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Forecast sunspots, one year ahead.")
    parser.add_argument("--engine", default="torch", help="torch or numpy")
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--hidden", type=int, default=64, help="recurrent neurons")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="16 recurrent neurons")
    parser.add_argument("--picture", help="file for a picture of the forecast")
    args = parser.parse_args(arguments)
    hidden = 16 if args.quick else args.hidden

    years = sunspots()
    series = years[:, None, None]  # (time, batch of one, 1)
    starts = range(0, TRAIN - WINDOW, 4)
    x = np.concatenate([series[s : s + WINDOW] for s in starts], axis=1)  # (time, batch, 1)
    y = np.concatenate([series[s + 1 : s + 1 + WINDOW] for s in starts], axis=1) - x  # the change to the year after

    network = sc.Sequential(
        sc.Linear(1, hidden),
        sc.RLeaky(beta=sc.learn(0.7, per="neuron"), linear_features=hidden),  # each hears the spikes of all
        sc.Linear(hidden, 1),
        sc.LI(beta=sc.learn(0.3)),  # a leaky integrator: its membrane is the change forecast
    )
    model = sc.Model(network, engine=args.engine, seed=args.seed)
    model.fit(
        [(x[:, i::4], y[:, i::4]) for i in range(4)],
        loss=functional.mse_membrane_loss(time_var_targets=True),
        optimizer=sc.Adam(lr=3e-3, clip_norm=1.0),
        epochs=args.epochs,
    )
    forecast = years[:-1] + model.engine.to_numpy(model(series[:-1]).membrane)[:, 0, 0]  # from 1700 on, state and all
    errors = {"spiking network": forecast - years[1:], "persistence": years[:-1] - years[1:]}
    found = {name: float(SCALE * np.sqrt(np.mean(e[TRAIN:] ** 2))) for name, e in errors.items()}
    for name, error in found.items():
        print(f"{name:<16} seed {args.seed}: root mean square error {error:.1f} sunspots, 1910 to 2008")
    if args.picture:
        from matplotlib.figure import Figure

        ax = Figure(figsize=(8, 3.5), layout="constrained").subplots()
        ax.plot(range(1910, 2009), SCALE * years[TRAIN + 1 :], label="sunspots")
        ax.plot(range(1910, 2009), SCALE * forecast[TRAIN:], label="forecast of the year before")
        ax.set(xlabel="year", ylabel="sunspots")
        ax.legend(frameon=False)
        ax.figure.savefig(args.picture)
    return found


if __name__ == "__main__":
    main()
