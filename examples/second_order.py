"""Neurons with a synaptic current: a spike that comes in takes time to act (snnTorch's tutorial 4).

    python examples/second_order.py --picture neurons.png

``Synaptic`` filters its input once more before the membrane does; ``Alpha`` is the sum of a rising and a falling
exponential, so that its membrane peaks a while after the spike that came in.
"""

import argparse

import numpy as np

import spikecore as sc
from spikecore import spikeplot


def main(arguments=None):
    parser = argparse.ArgumentParser(description="The same neurons under spikes that come in.")
    parser.add_argument("--engine", default="torch", help="torch or numpy")
    parser.add_argument("--steps", type=int, default=200, help="time steps")
    parser.add_argument("--quick", action="store_true", help="150 time steps")
    parser.add_argument("--picture", help="file for a picture of the membranes")
    args = parser.parse_args(arguments)
    steps = 150 if args.quick else args.steps

    regular = np.zeros(steps)
    regular[::10] = 0.2  # a spike every ten steps, with this weight
    late = np.zeros(steps)
    late[10] = late[100::10] = 0.85  # one spike alone, then a burst
    cases = {
        "Leaky": (sc.Leaky(beta=0.8), regular),
        "Synaptic": (sc.Synaptic(alpha=0.9, beta=0.8), regular),
        "Alpha": (sc.Alpha(alpha=0.8, beta=0.7, threshold=0.5), late),
    }
    times, membranes = {}, []
    for name, (neuron, spikes_in) in cases.items():
        model = sc.Model(sc.Sequential(neuron), engine=args.engine, input_shape=(1,))
        out = model(spikes_in.reshape(steps, 1, 1))
        times[name] = np.flatnonzero(model.engine.to_numpy(out.spikes)).tolist()
        membranes.append(model.engine.to_numpy(out.membrane)[:, 0, 0])
        print(f"{name:<9} states {', '.join(neuron.state)}: fires at the steps {times[name]}")
    if args.picture:
        lines = spikeplot.traces(np.stack(membranes, axis=1), threshold=[1.0, 1.0, 0.5], titles=list(cases))
        lines.mem[0].figure.savefig(args.picture)
    return times


if __name__ == "__main__":
    main()
