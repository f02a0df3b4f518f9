"""Spikes that come back after a learned delay hold a pattern for longer than delays between layers reach.

A pattern of 8 random bits is shown, one bit a step. After 56 steps of silence the network gives the bits again. The
patterns of the test are not among those of the training.

python examples/recurrent_delays.py
python examples/recurrent_delays.py --connection forward
python examples/recurrent_delays.py --connection recurrent
python examples/recurrent_delays.py --quick
"""

import argparse

import numpy as np

import spikecore as sc

BITS, LONGEST = 8, 15  # length of a pattern, longest delay in steps


def network(connection, neurons):
    """A network whose hidden neurons are silent without input: biases would make clocks of them, which remember."""
    neuron = sc.Leaky(beta=0.3, threshold=1.0, surrogate=sc.surrogate.fast_sigmoid(slope=5.0))
    first = sc.init.uniform(1.0, 1.5)
    if connection == "forward":
        enter, between = (sc.DelayedLinear(ins, neurons, LONGEST, bias=False) for ins in (1, neurons))
        leave = sc.DelayedLinear(neurons, 2, LONGEST)
        return sc.Sequential(enter, neuron, between, neuron, leave, sc.LI(beta=0.3))
    back = {"bias": False, "weight_init": sc.init.identity(1.3)}
    loop = sc.DelayedLinear(neurons, neurons, LONGEST, **back)
    if connection == "recurrent":
        loop = sc.Linear(neurons, neurons, **back)
    held = sc.Recurrent(neuron, loop)
    enter = sc.Linear(1, neurons, bias=False, weight_init=first)
    return sc.Sequential(enter, held, sc.Linear(neurons, 2), sc.LI(beta=0.3))


def samples(patterns, silence):
    """The input (time, samples, 1), and the bits as they are to come (bits, samples)."""
    shown = patterns.T.astype("float32")
    rest = np.zeros((silence + BITS, len(patterns)), "float32")
    return np.concatenate([shown, rest])[..., None], shown


def likelihood(out, bits):
    """Minus the log likelihood of the bits in the last steps, per bit."""
    xp = sc.base.engine_of(out.membrane).xp
    logs = xp.log_softmax(out.membrane[-BITS:, ...], axis=-1)
    return -xp.mean(bits * logs[..., 1] + (1.0 - bits) * logs[..., 0])


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Hold a pattern in loops of delayed spikes.")
    parser.add_argument("--connection", choices=["delayed", "recurrent", "forward"], default="delayed")
    parser.add_argument("--silence", type=int, default=56, help="steps between showing and giving")
    parser.add_argument("--neurons", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=60, help="of 128 patterns")
    parser.add_argument("--engine", choices=["numpy", "torch"], default="torch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="8 steps of silence, 4 neurons, 1 epoch")
    args = parser.parse_args(arguments)
    silence, neurons, epochs = (BITS, 4, 1) if args.quick else (args.silence, args.neurons, args.epochs)
    order = np.random.default_rng(args.seed).permutation(2**BITS)
    patterns = (order[:, None] >> np.arange(BITS)) & 1
    train, test = patterns[:128], patterns[128:]
    model = sc.Model(network(args.connection, neurons), args.engine, seed=args.seed)
    batches = [samples(train[start : start + 32], silence) for start in range(0, 128, 32)]
    x, bits = samples(test, silence)
    groups = () if args.connection == "recurrent" else (sc.Group("*.delay", lr=0.02),)
    optimizer = sc.Adam(lr=0.01, clip_norm=1.0, groups=groups)
    model.fit(batches, loss=likelihood, optimizer=optimizer, schedule=sc.schedule.cosine(), epochs=epochs)
    given = model.engine.to_numpy(model(x, record=True).membrane)[-BITS:].argmax(-1)
    right = float((given == bits).mean())
    print(f"{args.connection}: {100 * right:.1f} % of the bits of {len(test)} new patterns")
    return right


if __name__ == "__main__":
    main()
