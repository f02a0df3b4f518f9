"""Train with one seed and print the bits of the weights: what is the same on another engine, thread, processor?

    python examples/same_seed.py --engine numpy --epochs 1
    OMP_NUM_THREADS=2 python examples/same_seed.py --engine torch --dtype float64

docs/reproducible.md has what this printed under many settings.
"""

import argparse
import hashlib

import spikecore as sc
from spikecore.datasets import digits


def bits(model):
    """A number of eight digits that is another one if any bit of any weight is."""
    return hashlib.sha256(b"".join(values.tobytes() for values in model.params().values())).hexdigest()[:8]


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Train with one seed and print the bits of the weights.")
    parser.add_argument("--engine", default="torch", help="torch or numpy")
    parser.add_argument("--dtype", default="float32", help="float32 or float64")
    parser.add_argument("--loop", action="store_true", help="a loop over time in the place of kernels")
    parser.add_argument("--hidden", type=int, default=100, help="neurons in the hidden layer")
    parser.add_argument("--epochs", type=int, default=8, help="0: the first weights")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)

    train, test = digits()
    neuron = sc.Leaky(beta=0.9)
    network = sc.Sequential(sc.Linear(64, args.hidden), neuron, sc.Linear(args.hidden, 10), neuron)
    how = {"dtype": args.dtype, "fused": not args.loop}
    model = sc.Model(network, engine=args.engine, seed=args.seed, input_shape=64, **how)
    training = {"optimizer": sc.Adam(lr=5e-3), "num_steps": 10, "progress": False}
    if args.epochs:
        model.fit(train.inputs, train.targets, epochs=args.epochs, **training)
    row = model.evaluate(test.inputs, test.targets, num_steps=10)
    print(f"weights {bits(model)}  test loss {row['loss']:.15f}  accuracy {100 * row['accuracy']:.2f} %")
    return model


if __name__ == "__main__":
    main()
