# %% [markdown]
# # Training a convolutional spiking network
#
# At the end of this page you can train a convolutional spiking network with a loss on its spikes, notice silent layers
# before they cost you a day, and make them fire. You also see what the network answers after each time step.
#
# ```console
# pip install -e ".[all,examples]"   # in the clone of this repository
# ```
#
# It builds on [training a dense network](train_dense.md), which explains surrogate gradients.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

import spikecore as sc
import spikecore.nn as snn
from spikecore import backprop, spikeplot, surrogate
from spikecore import functional as SF
from spikecore.datasets import Loader, mnist_sample

train, test = mnist_sample(image=True)  # (1, 28, 28): channel, height, width
train, validation = train.split(3200)
print(train)

# %% [markdown]
# ## The network
#
# The network is written 12C5-MP2-64C5-MP2-FC10: convolutions with 12 and 64 kernels of 5 × 5 pixels, a maximum over 2 ×
# 2 pixels after each, and a fully connected layer for the ten classes.
#
# ![The maps of the network: one of 28 by 28 pixels, 12 of 24 by 24 and 12 by 12, 64 of 8 by 8 and 4 by 4, ten
# neurons](drawings/conv_network.svg)
#
# After each of these three layers of weights comes a layer of leaky neurons. The maximum is taken *before* the neurons,
# of currents:
#
# ![The maximum of four currents is one of them; the maximum of four spikes is several of them, and one must be
# chosen](drawings/pool_currents.svg)
#
# (PyTorch and spikecore choose the first.)
#
# A short memory, $\beta = 0.5$, is enough: the image does not move. The surrogate is the fast sigmoid,
#
# $$\frac{\partial S}{\partial U} \leftarrow \frac{1}{(1 + k\,|U - \theta|)^2}, \qquad k = 25,$$
#
# after F. Zenke and S. Ganguli, *SuperSpike: Supervised learning in multilayer spiking neural networks*, 2018. It is
# narrow: a neuron whose membrane is 0.2 below the threshold learns with $1/36$ of the gradient of one at the threshold.

# %%
STEPS, BETA = 10, 0.5
STEEP = surrogate.fast_sigmoid(25)


def network(grad=STEEP, threshold=1.0):
    neuron = sc.Leaky(beta=BETA, surrogate=grad, threshold=threshold)
    return sc.Sequential(
        *(sc.Conv2d(1, 12, 5), sc.MaxPool2d(2), neuron),
        *(sc.Conv2d(12, 64, 5), sc.MaxPool2d(2), neuron),
        *(sc.Flatten(), sc.Linear(64 * 4 * 4, 10), neuron),
    )


model = sc.Model(network(), engine="torch", seed=0, input_shape=(1, 28, 28))
print(model.summary())

# %% [markdown]
# ## The loss, before training
#
# This time the loss reads spikes: a cross-entropy of the spikes at each step, averaged over time (`SF.ce_rate_loss()`).
# If no output neuron fires, all classes are equally likely, and the loss is $\ln 10 = 2.303$. That is what we see, and
# it is a warning.

# %%
images, labels = train.inputs[:128], train.targets[:128]
before = backprop.bptt(model, images, labels, num_steps=STEPS)
print(f"loss {before.loss:.4f}, ln 10 = {np.log(10):.4f}, output spikes: {int(before.out.spikes.sum())}")
assert abs(before.loss - np.log(10)) < 0.05

# %% [markdown]
# ## Do all layers fire?
#
# Look at the firing rate of each layer before you train: the mean number of spikes per neuron and step. A layer that
# does not fire passes nothing forward, so the layers behind it see zeros, whatever the image. And it passes little
# backward: its membranes are far below the threshold, where a narrow surrogate is close to zero.


# %%
def rates_of(model, x=images):
    return [layer.rate for layer in SF.activity(model, x, num_steps=STEPS).firing]


def gradients_of(model):
    grads = backprop.bptt(model, images, labels, num_steps=STEPS).grads
    return [float(np.linalg.norm(grads[name])) for name in ("0.weight", "3.weight", "7.weight")]


def built(network, scale=1.0):
    """A model whose initial weights are multiplied by ``scale``."""
    model = sc.Model(network, engine="torch", seed=0, input_shape=(1, 28, 28))
    state = model.state()
    for name in ("0.weight", "3.weight", "7.weight"):
        state["params"][name] = scale * state["params"][name]
    model.load_state(state)
    return model


candidates = {
    "as it is": built(network()),
    "threshold 0.3": built(network(threshold=0.3)),
    "weights × 3": built(network(), scale=3.0),
    "surrogate atan(2)": built(network(surrogate.atan(2.0))),
}
print(f"{'':20s}{'rate of layer 1, 2, 3':30s}size of the gradient in 1, 2, 3")
for name, each in candidates.items():
    rates = "  ".join(f"{rate:7.2%}" for rate in rates_of(each))
    print(f"{name:20s}{rates:30s}" + "  ".join(f"{size:8.1e}" for size in gradients_of(each)))
assert rates_of(candidates["as it is"])[2] < 0.01  # the last layer is (nearly) silent
assert rates_of(candidates["threshold 0.3"])[2] > 10 * rates_of(candidates["as it is"])[2]

# %% [markdown]
# With the weights that a layer draws by default, uniform in $\pm 1/\sqrt{n}$ for $n$ inputs, activity dies out from
# layer to layer. In a network of ReLUs this would only make the numbers small, and smaller numbers still differ from
# each other. A neuron with a threshold turns small numbers into zero.
#
# There are three remedies, and they are not the same:
#
# - **A lower threshold, or larger weights**, make the layers fire. For the spikes, only the ratio of weights to
#   threshold counts. For learning, more matters: the width of the surrogate is measured in units of the membrane, and
#   Adam changes a weight by about the learning rate, however small the weight is.
# - **A wider surrogate** changes no spike. It makes silent layers learn, because the gradient reaches neurons far below
#   the threshold. In recurrent networks, over many steps, it makes gradients explode: see
#   [training recipes](../training.md).
# - **Batch normalisation** before the neurons (`sc.BatchNorm2d`) does for each layer what the first remedy does by
#   hand.
#
# Do these differences matter? We train with each remedy for two epochs, and with the low threshold once more at a low
# learning rate.


# %%
def fit(model, epochs, lr=5e-3):
    model.fit(
        Loader(train, batch_size=128, seed=0),
        loss=SF.ce_rate_loss(),
        optimizer=sc.Adam(lr=lr),
        epochs=epochs,
        num_steps=STEPS,
        validation=Loader(validation, batch_size=400, shuffle=False),
        progress=False,
    )
    return model


reached = {}
for name, each in [*candidates.items(), ("threshold 0.3, lower lr", built(network(threshold=0.3)))]:
    fit(each, epochs=2, lr=1.5e-3 if "lower lr" in name else 5e-3)
    reached[name] = [row["val_accuracy"] for row in each.history]
    print(f"{name:25s}" + ", ".join(f"{value:.1%}" for value in reached[name]) + " after 1 and 2 epochs")
assert min(reached[name][1] for name in ("as it is", "weights × 3", "surrogate atan(2)")) > 0.75
assert reached["threshold 0.3, lower lr"][1] > reached["threshold 0.3"][1]

# %% alt="Firing rate of the three layers in four variants of the network, before and after two epochs of training"
untrained = {
    "as it is": built(network()),
    "threshold 0.3": built(network(threshold=0.3)),
    "weights × 3": built(network(), scale=3.0),
    "surrogate atan(2)": built(network(surrogate.atan(2.0))),
}
fig, axes = plt.subplots(1, 4, figsize=(7, 2.3), sharey=True, layout="constrained")
for ax, name in zip(axes, candidates):
    ax.plot([1, 2, 3], rates_of(untrained[name]), "o--", color="C1", label="before")
    ax.plot([1, 2, 3], rates_of(candidates[name]), "o-", color="C0", label="after two epochs")
    ax.set(title=name, xlabel="layer", xticks=[1, 2, 3])
    ax.title.set_fontsize(9)
axes[0].set_ylabel("rate per step")
_ = axes[1].legend(frameon=False, fontsize=7, loc="lower center")

# %% [markdown]
# Training wakes the silent layers up, after some updates in which little happens. The low threshold is a trap: with the
# same learning rate, each update is three times as large relative to the threshold, which is too large to learn. A
# network with more layers does not wake up by itself: see exercise 1.
#
# ## Training
#
# The learning rate, 5e-3, was chosen on the validation images; the other candidate was 1e-2, the rate of snnTorch's
# tutorial. We train the network as it is, with the thresholds at 1, for four epochs; two are done.

# %%
model = fit(candidates["as it is"], epochs=2)

# %% alt="Loss and accuracy over four epochs, in training and in validation"
fig, axes = plt.subplots(1, 2, figsize=(7, 2.8), layout="constrained")
lines = spikeplot.training_curves(model.history, axes)

# %% [markdown]
# ## The test
#
# The predicted class is the neuron with the most spikes.

# %%
out = model(test.inputs, num_steps=STEPS)
spikes = model.engine.to_numpy(out.spikes)
counts = spikes.sum(axis=0)
accuracy = SF.accuracy_rate(out, test.targets)
print(f"test accuracy {accuracy:.1%}")
print("images without any output spike:", int((counts.sum(axis=1) == 0).sum()), "of", len(test))
assert accuracy > 0.86

# %% alt="A test digit beside the number of spikes of each of the ten output neurons"
index = 3
fig, (left, right) = plt.subplots(1, 2, figsize=(7, 2.8), width_ratios=(1, 2), layout="constrained")
left.imshow(test.inputs[index, 0], cmap="gray")
left.set_title(f"a {test.targets[index]}")
left.axis("off")
drawn = spikeplot.spike_count(spikes[:, index], ax=right, labels=test.classes, gridshader=False)

# %% [markdown]
# ## What the first layer sees
#
# The picture shows the twelve maps of the first layer, as spikes per pixel in ten steps. Each map has learned another
# edge or stroke. Some maps may stay dark for this image or for all images: their neurons are silent, and cost nothing
# on hardware that works by spikes ([pay per spike](../sparse.md)).

# %% alt="Spike counts of the twelve maps of the first layer for one digit: edges of different directions"
first = model(test.inputs[index : index + 1], num_steps=STEPS, record=True).states["2"].spikes
maps = model.engine.to_numpy(first)[:, 0].sum(axis=0)  # (12, 12, 12)
fig, axes = plt.subplots(2, 6, figsize=(7, 2.5), layout="constrained")
for number, (ax, values) in enumerate(zip(axes.flat, maps)):
    shown = ax.imshow(values, vmin=0, vmax=STEPS, cmap="viridis")
    ax.set_title(f"map {number}", fontsize=8)
    ax.axis("off")
_ = fig.colorbar(shown, ax=axes, label="spikes")

# %% [markdown]
# ## An answer at each step
#
# A spiking network need not wait for the last step. At any time, the counts so far are an answer, and later answers are
# better. On the NumPy engine, `model.stream()` runs one step per call, compiled ([Streaming and
# events](../streaming.md)), and gives the same spikes.

# %%
host = model.to_engine("numpy")
stream, so_far = host.stream(), np.zeros(10)
for step in range(STEPS):
    so_far += stream.step(test.inputs[index : index + 1])[0]
    print(f"after step {step + 1}: spikes {so_far.astype(int)}")
whole = host(test.inputs[index : index + 1], num_steps=STEPS).spikes.sum(axis=0)[0]
assert (so_far == whole).all()

# %% alt="Test accuracy by the number of time steps: it rises up to the second or third step, then levels off"
after = [np.mean(spikes[: n + 1].sum(axis=0).argmax(axis=1) == test.targets) for n in range(STEPS)]
fig, ax = plt.subplots(figsize=(7, 2.6), layout="constrained")
ax.plot(range(1, STEPS + 1), after, "o-")
ax.set(xlabel="time steps that are used", ylabel="test accuracy", ylim=(0.75, 1))
assert after[-1] > after[0]
print(f"after 1 step {after[0]:.1%}, after 2 {after[1]:.1%}, after {STEPS} {after[-1]:.1%}")

# %% [markdown]
# Two or three steps would do for this network. Training with ten and answering with three is the cheapest speed-up
# there is; measure it on validation data before you rely on it.
#
# ## The same in PyTorch
#
# In `nn.Sequential`, a neuron has to keep its state itself: `init_hidden=True`. The last neuron returns its membrane as
# well: `output=True`. `utils.reset` sets all states to rest before each batch. `snn.run` runs the network over all
# steps at once; a loop over steps gives the same.

# %%
grad = surrogate.fast_sigmoid(25)
torch.manual_seed(0)
net = nn.Sequential(
    *(nn.Conv2d(1, 12, 5), nn.MaxPool2d(2), snn.Leaky(beta=BETA, spike_grad=grad, init_hidden=True)),
    *(nn.Conv2d(12, 64, 5), nn.MaxPool2d(2), snn.Leaky(beta=BETA, spike_grad=grad, init_hidden=True)),
    *(nn.Flatten(), nn.Linear(64 * 4 * 4, 10), snn.Leaky(beta=BETA, spike_grad=grad, init_hidden=True, output=True)),
)
with torch.no_grad():  # larger weights, so that all layers fire from the start
    for name, parameter in net.named_parameters():
        parameter *= 3.0 if name.endswith("weight") else 1.0

x, y = torch.as_tensor(train.inputs[:128]), torch.as_tensor(train.targets[:128])
optimizer, loss_of = torch.optim.Adam(net.parameters(), lr=5e-3), SF.ce_rate_loss()
for update in range(8):
    spk, mem = snn.run(net, x, num_steps=STEPS)
    loss = loss_of(spk, y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"update {update}: loss {loss.item():.3f}, output spikes {int(spk.sum())}")

sc.utils.reset(net)
with torch.no_grad():
    by_hand = torch.stack([net(x[:4])[0] for _ in range(STEPS)])
    at_once, _ = snn.run(net, x[:4], num_steps=STEPS)
assert loss.item() < 2.3
assert (by_hand != at_once).sum() <= 1  # sums are rounded in another order

# %% [markdown]
# ## Beside snnTorch
#
# The same network was trained with both libraries, on the same data and with the same settings and seeds. The table has
# medians over seeds 0, 1 and 2, with the range in brackets. "The same draws" is `spikecore.nn`, where torch draws the
# same weights and batches for both libraries; `sc.Model` draws its own.
#
# ```console
# python -m benchmarks.accuracy convolutional --seeds 0 1 2
# ```
#
# | test accuracy, % | snnTorch 1.0 | spikecore, the same draws | spikecore, `sc.Model` |
# |---|--:|--:|--:|
# | 12C5-MP2-64C5-MP2-FC10, 10 steps, 4 epochs | 92.7 (91.1–94.8) | 94.1 (94.1–94.7) | 95.3 (93.4–95.6) |
#
# The differences are within the spread over seeds. From the same draws the first updates agree; then a gradient differs
# in its last bit, a spike flips, and the networks diverge. Both libraries have the same equations, so no difference is
# to be expected.
#
# ## Exercises
#
# **1. A deeper network.** Put a second fully connected layer with 100 neurons before the last one, and another before
# that. Does it wake up? Try `sc.BatchNorm1d` between each new `Linear` and its neurons.


# %% tags=["answer", "warns"]
def deeper(norm):
    neuron = sc.Leaky(beta=BETA, surrogate=surrogate.fast_sigmoid(25))
    middle = []
    for inputs in (64 * 4 * 4, 100, 100):
        middle += [sc.Linear(inputs, 100), *([sc.BatchNorm1d(100)] if norm else []), neuron]
    last = [sc.Linear(100, 10), *([sc.BatchNorm1d(10)] if norm else []), neuron]
    return sc.Sequential(
        *(sc.Conv2d(1, 12, 5), sc.MaxPool2d(2), neuron),
        *(sc.Conv2d(12, 64, 5), sc.MaxPool2d(2), neuron),
        *(sc.Flatten(), *middle, *last),
    )


for norm in (False, True):
    each = fit(sc.Model(deeper(norm), engine="torch", seed=0, input_shape=(1, 28, 28)), epochs=2)
    rates = ", ".join(f"{rate:.1%}" for rate in rates_of(each))
    print(f"batch norm {norm}: validation {each.history[-1]['val_accuracy']:.1%}, rates {rates}")
# Without batch norm the last layers are silent, as the warning says, and stay so: the loss does not move from ln 10.
# With it, the currents of each layer have a variance of one, so that some of them exceed the threshold, and the network
# learns.

# %% [markdown]
# **2. Pay for spikes.** Add a cost per output spike, `SF.ce_rate_loss() + SF.l1_rate_sparsity(1e-4)`. Which layer does
# it act on? How much energy would the network take?

# %% tags=["answer"]
print(SF.activity(model, test.inputs[:100], num_steps=STEPS))
# l1_rate_sparsity counts the spikes of the last layer only, which has ten neurons. Nearly all operations are in the
# second convolution, which reads the spikes of the first layer. Over ten steps it makes more of them than an artificial
# network would in its one pass, but they are additions instead of multiplications. Fewer steps or a higher threshold in
# the first layer would lower them.

# %% [markdown]
# **3. Where does the network err?** Count which digits are confused with which.

# %% tags=["answer"]
confused = np.zeros((10, 10), int)
np.add.at(confused, (test.targets, counts.argmax(axis=1)), 1)
np.fill_diagonal(confused, 0)
for right, read in zip(*np.unravel_index(np.argsort(confused, axis=None)[::-1][:4], confused.shape)):
    print(f"a {right} read as {read}: {confused[right, read]} times")

# %% [markdown]
# ## Verify the gradients
#
# Convolution and pooling are verified like everything else: torch's autograd against derivatives by hand, then finite
# differences ([Verifying gradients](../verify.md)). One thing is special. The maximum of equal numbers has no
# derivative: if two pixels of a window have the same current, raising one of them changes the maximum, and lowering it
# does not. The black background of these images makes such windows by the hundred. `verify` notices the kink and takes
# the differences with respect to the inputs a little beside it.

# %%
report = sc.verify(model, test.inputs[:4], test.targets[:4], SF.ce_rate_loss(), num_steps=STEPS)
print(report)
assert report.ok

# %% [markdown]
# Next: the same kind of network on [events of a camera](neuromorphic_data.md), and
# [population coding](population_coding.md).
