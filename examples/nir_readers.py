"""One LIF of NIR, and the spikes that its readers make of it: the first experiment of the NIR paper.

    python examples/nir_readers.py
    python examples/nir_readers.py --tau 5 --r 2

No reader is needed: spikecore has their rules. Pedersen et al., Neuromorphic intermediate representation, Nature
Communications, 2024.
"""

import argparse

import nir
import numpy as np

from spikecore.nir import NirError, predict, translate
from spikecore.nir.dialects import DIALECTS

DT = 1e-4  # seconds
#: A pulse of one step where there is a 1, every ten steps.
PULSES = "0000001000000000000000100001000110010100110111111111110000000000000111111111111000001100000000000000"


def graph_of(tau, r, threshold):
    """One LIF behind a connection."""
    one = np.ones(1, np.float32)
    nodes = {
        "input": nir.Input(input_type=np.array([1])),
        "w": nir.Affine(weight=np.ones((1, 1), np.float32), bias=0 * one),
        "lif": nir.LIF(tau=tau * one, r=r * one, v_leak=0 * one, v_threshold=threshold * one),
        "output": nir.Output(output_type=np.array([1])),
    }
    return nir.NIRGraph(nodes=nodes, edges=[("input", "w"), ("w", "lif"), ("lif", "output")])


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Spikes that readers of NIR make of one LIF.")
    parser.add_argument("--tau", type=float, default=2.5, help="time constant in ms")
    parser.add_argument("--r", type=float, default=1.0, help="resistance")
    parser.add_argument("--threshold", type=float, default=0.1)
    args = parser.parse_args(arguments)
    graph = graph_of(args.tau / 1000, args.r, args.threshold)
    x = np.zeros((10 * len(PULSES), 1))
    x[::10, 0] = [int(pulse) for pulse in PULSES]

    print(f"{'NIR':18}", *predict(graph, "norse", x, dt=DT).nir["lif"].steps()[:8])
    for reader in DIALECTS:
        try:
            print(f"{reader:18}", *predict(graph, reader, x, dt=DT).reader["lif"].steps()[:8])
        except NirError as error:
            print(f"{reader:18} {error}")
    made = translate(graph, "nir", "sinabs", dt=DT)
    print(f"{'sinabs, translated':18}", *predict(made.graph, "sinabs", x).reader["lif"].steps()[:8])


if __name__ == "__main__":
    main()
