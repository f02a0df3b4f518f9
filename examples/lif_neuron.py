"""The leaky integrate-and-fire neuron: Lapicque's RC circuit under a step of current (snnTorch's tutorial 2).

    python examples/lif_neuron.py --current 0.3 --picture neuron.png

The membrane is a capacitor C with a leak R. A current charges it towards I R with the time constant R C; at the
threshold the neuron fires, and the threshold is subtracted.
"""

import argparse

import numpy as np

import spikecore as sc
from spikecore import spikeplot


def main(arguments=None):
    parser = argparse.ArgumentParser(description="One neuron under a step of current.")
    parser.add_argument("--engine", default="torch", help="torch or numpy")
    parser.add_argument("--current", type=float, default=0.3, help="ampere, from step 10 on")
    parser.add_argument("--threshold", type=float, default=1.0, help="volt")
    parser.add_argument("--steps", type=int, default=200, help="time steps of 1 ms")
    parser.add_argument("--quick", action="store_true", help="100 time steps")
    parser.add_argument("--picture", help="file for a picture of the membrane")
    args = parser.parse_args(arguments)

    steps = 100 if args.quick else args.steps
    neuron = sc.Lapicque(R=5.1, C=5e-3, time_step=1e-3, threshold=args.threshold)  # R C = 25.5 ms
    model = sc.Model(sc.Sequential(neuron), engine=args.engine, input_shape=(1,))
    current = np.zeros((steps, 1, 1))  # (time, batch, neurons)
    current[10:] = args.current

    out = model(current)
    times = np.flatnonzero(model.engine.to_numpy(out.spikes)).tolist()
    print(f"{args.current} A for {steps - 10} ms: {len(times)} spikes, at the steps {times}")
    limit, fires = args.current * 5.1, args.current * 5.1 > args.threshold
    print(f"I R = {limit:.2f} V is {'above' if fires else 'below'} the threshold of {args.threshold} V")
    if args.picture:
        lines = spikeplot.traces(
            out.membrane, out.spikes, threshold=args.threshold, batch_index=0, titles=[f"{args.current} A"]
        )
        lines.mem[0].figure.savefig(args.picture)
    return times


if __name__ == "__main__":
    main()
