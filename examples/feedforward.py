"""One leaky neuron by itself, then a thousand of them in a network (snnTorch's tutorial 3).

    python examples/feedforward.py --picture network.png

``Leaky`` has one constant, β, the fraction of the membrane that is left after a step: β = exp(−Δt/τ).
"""

import argparse
import math

import numpy as np

import spikecore as sc
from spikecore import spikegen, spikeplot


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Leaky neurons, one and many.")
    parser.add_argument("--engine", default="torch", help="torch or numpy")
    parser.add_argument("--hidden", type=int, default=1000, help="neurons in the hidden layer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="100 hidden neurons")
    parser.add_argument("--picture", help="file for a picture of the network's spikes")
    args = parser.parse_args(arguments)
    hidden = 100 if args.quick else args.hidden

    print(f"a time constant of 5 steps is beta = {math.exp(-1 / 5):.3f}")
    one = sc.Model(sc.Sequential(sc.Leaky(beta=0.8)), engine=args.engine, input_shape=(1,))
    out = one(np.full((1, 1), 0.21), num_steps=200)  # the same current at each step
    times = np.flatnonzero(one.engine.to_numpy(out.spikes)).tolist()
    print(f"one neuron under a current of 0.21 fires at the steps {times}")

    network = sc.Sequential(sc.Linear(784, hidden), sc.Leaky(beta=0.99), sc.Linear(hidden, 10), sc.Leaky(beta=0.99))
    model = sc.Model(network, engine=args.engine, seed=args.seed)
    noise = spikegen.rate(np.full((1, 784), 0.1), num_steps=200, seed=args.seed)
    out = model(noise, record=True)  # of all layers, not only the last: out.states by layer name
    for name, states in out.states.items():
        rate = float(states.spikes.mean())
        print(f"layer {name}: {states.spikes.shape[2]} neurons fire with {rate:.3f} spikes per step, untrained")
    if args.picture:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 8), layout="constrained")
        above, below = figure.subplots(2, 1, height_ratios=(3, 1))
        spikeplot.raster(out.states["1"].spikes, above, batch_index=0)
        spikeplot.raster(out.spikes, below, batch_index=0)
        figure.savefig(args.picture)
    return times


if __name__ == "__main__":
    main()
