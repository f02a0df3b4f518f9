"""Train a spiking network on the recordings of an event camera.

    python examples/nmnist.py --data N-MNIST                 # the folder with Train and Test
    python examples/nmnist.py --data recordings.npz          # or an archive of recordings, see docs/datasets.md
    python examples/nmnist.py                                # or simulated ones, from scikit-learn's digits

An event camera has no frames: each pixel reports by itself, and at once, that it sees more or less light than before.
A recording is a list of (time, column, row, polarity). Counted in a few steps of time it becomes what a network can
be trained on: (time, polarity, height, width).
"""

import argparse

import spikecore as sc
from spikecore.datasets import Loader, digits, event_npz, nmnist, saccades
from spikecore.datasets.transforms import ToFrames

SENSOR = (34, 34)


def recordings(path, train_samples, test_samples):
    """Two EventDatasets. Nothing but labels is read yet."""
    if path is None:  # simulated: say so wherever you give a number that comes from them
        images, _ = digits(image=True)
        train = test = saccades(images.inputs, images.targets, name="digits", sensor=SENSOR)
    elif path.endswith(".npz"):
        train = test = event_npz(path, SENSOR)
    else:
        train, test = nmnist(path)
    if train is test:  # one source: the first recordings for training, those behind them for testing
        train, test = train.split(train_samples)
    return train[:train_samples], test[:test_samples]


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Train a spiking network on N-MNIST.")
    parser.add_argument("--data", help="folder of N-MNIST, or an archive of recordings; without it, simulated ones")
    parser.add_argument("--engine", default="torch", help="torch, numpy, ...")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=10, help="time steps that a recording is divided into")
    parser.add_argument("--train", type=int, default=200, help="recordings to train on")
    parser.add_argument("--test", type=int, default=100, help="recordings to test on")
    parser.add_argument("--hidden", type=int, default=128, help="neurons in the hidden layer")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)

    # A transform makes arrays of events. in_memory does so once; data that do not fit into memory go into
    # Cached(train.map(...), folder) instead, which keeps them on disk.
    to_frames = ToFrames(steps=args.steps)
    train, test = (part.map(to_frames).in_memory() for part in recordings(args.data, args.train, args.test))

    network = sc.Sequential(
        sc.Flatten(),  # two polarities of 34 × 34 pixels: 2312 inputs at each step
        sc.Linear(2 * SENSOR[0] * SENSOR[1], args.hidden),
        sc.Leaky(beta=0.9),
        sc.Linear(args.hidden, 10),
        sc.Leaky(beta=0.9),  # the class is the neuron that fires most
    )
    model = sc.Model(network, engine=args.engine, seed=args.seed)
    # A Loader's batches of frames are time first, as the model takes them: (time, batch, 2, 34, 34).
    model.fit(
        Loader(train, batch_size=20, seed=args.seed),
        loss=sc.functional.ce_rate_loss(),
        optimizer=sc.Adam(lr=1e-3),
        epochs=args.epochs,
    )
    accuracy = model.evaluate(Loader(test, batch_size=100, shuffle=False))["accuracy"]
    print(f"{test.name}, seed {args.seed}: {100 * accuracy:.1f} % of {len(test)} test recordings")
    return accuracy


if __name__ == "__main__":
    main()
