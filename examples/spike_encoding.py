"""From an image, and from a signal, to spikes (snnTorch's tutorial 1).

    python examples/spike_encoding.py --picture encodings.png

A rate code says how bright a pixel is by how often it fires, a latency code by how early. Delta modulation and level
crossing are for signals: they fire where something changes.
"""

import argparse

import numpy as np

import spikecore as sc
from spikecore import spikegen, spikeplot
from spikecore.datasets import digits


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Encode one digit and one signal as spikes.")
    parser.add_argument("--engine", default="torch", help="torch or numpy")
    parser.add_argument("--steps", type=int, default=100, help="time steps")
    parser.add_argument("--seed", type=int, default=0, help="of the random codes")
    parser.add_argument("--quick", action="store_true", help="20 time steps")
    parser.add_argument("--picture", help="file for a picture of all codes")
    args = parser.parse_args(arguments)

    steps = 20 if args.quick else args.steps
    engine = sc.get_engine(args.engine)  # encoders take arrays of any engine, and return the same kind
    image = engine.asarray(digits()[0].inputs[:1])  # (1, 64), brightness from 0 to 1
    wave = np.sin(np.linspace(0, 4 * np.pi, steps)) + np.linspace(0, 1, steps)
    signal = engine.asarray(wave[:, None])  # (time, 1)

    codes = {
        "rate": spikegen.rate(image, num_steps=steps, seed=args.seed),
        "poisson, refractory": spikegen.poisson(image, num_steps=steps, refractory=3, seed=args.seed),
        "latency": spikegen.latency(image, num_steps=steps, tau=5, normalize=True, linear=True, clip=True),
        "phase": spikegen.phase(image, num_steps=steps),
        "delta": spikegen.delta(signal, threshold=0.1, off_spike=True)[:, None],
        "level crossing": spikegen.level_crossing(signal, threshold=0.2)[:, None],
    }
    counts = {}
    for name, spikes in codes.items():  # each is (time, batch, features)
        counts[name] = int((spikes != 0).sum())
        print(f"{name:<20} {counts[name]:5} spikes of {spikes.shape[2]} neurons in {steps} steps")

    brightness = engine.to_numpy(image)[0]
    measured = engine.to_numpy(codes["rate"]).mean(axis=0)[0]
    print(f"rate code: brightness and measured rate differ by {abs(brightness - measured).mean():.3f} on average")
    if args.picture:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 8), layout="constrained")
        for ax, (name, spikes) in zip(figure.subplots(3, 2).flat, codes.items()):
            ax.set_title(name)
            spikeplot.raster(spikes, ax, batch_index=0)
        figure.savefig(args.picture)
    return counts


if __name__ == "__main__":
    main()
