# %% [markdown]
# # Population coding
#
# A single neuron in a single time step can say yes or no. At the end of this page you can build a network in which
# fifty neurons vote for each class, so that one time step is enough, and you know what this costs and when it is
# worth it.
#
# ```console
# pip install -e ".[all,examples]"   # in the clone of this repository
# ```

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

import spikecore as sc
import spikecore.nn as snn
from spikecore import functional as SF
from spikecore import spikegen, surrogate
from spikecore.datasets import Loader, mnist_sample

# %% [markdown]
# ## Neurons instead of time
#
# How does a brain read a number from spikes that are all alike? A *rate code* counts the spikes of a neuron for a
# while. If the neuron fires in each step with probability $p$, the count over $T$ steps, divided by $T$, estimates $p$
# with the error
#
# $$\sigma = \sqrt{\frac{p\,(1-p)}{T}}$$
#
# Precision by rate takes time: for half the error, wait four times as long. But people recognise an image after about
# 150 ms (S. Thorpe, D. Fize, C. Marlot, *Speed of processing in the human visual system*, 1996). In this time, a neuron
# of the cortex fires only a few times. A *population code* asks many neurons at once. Neurons and time can be exchanged
# for each other; only the product $N T$ counts:
#
# ![Twenty-five tosses of a coin as one neuron over 25 steps, five neurons over five steps, and 25 neurons in one
# step](drawings/neurons_or_time.svg)

# %% alt="Error of an estimated rate over the number of neurons, for 1, 5 and 25 steps, along the formula's lines"
p, populations = 0.3, np.array([1, 2, 5, 10, 20, 50, 100])
fig, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
for number, steps in enumerate((1, 5, 25)):
    errors = []
    for neurons in populations:
        level = np.full((2000, neurons), p, dtype=np.float32)  # 2000 trials
        spikes = spikegen.rate(level, steps, seed=1)
        errors.append((spikes.mean(axis=(0, 2)) - p).std())
    expected = np.sqrt(p * (1 - p) / (populations * steps))
    assert np.allclose(errors, expected, rtol=0.1)
    ax.loglog(populations, errors, "o", color=f"C{number}", label="1 step" if steps == 1 else f"{steps} steps")
    ax.loglog(populations, expected, color=f"C{number}", linewidth=1)
ax.set(xlabel="neurons", ylabel="error of the estimate")
_ = ax.legend(frameon=False)

# %% [markdown]
# In the brain the neurons of a population are not copies of each other. Each has its own preference, such as a
# direction of movement, and all of them together point in one direction (A. Georgopoulos, A. Schwartz, R. Kettner,
# *Neuronal population coding of movement direction*, 1986). `spikegen.receptive_fields` has such tuning curves for
# inputs. The number 0.4 becomes the activities of eight neurons, and their weighted mean gives the number back:

# %% alt="Eight overlapping bell-shaped tuning curves between 0 and 1, and a dashed line at 0.4"
values = np.linspace(0, 1, 201, dtype=np.float32)[:, None]
curves = spikegen.receptive_fields(values, neurons=8).reshape(201, -1)
fig, ax = plt.subplots(figsize=(7, 2.4), layout="constrained")
ax.plot(values[:, 0], curves)
ax.axvline(0.4, color="0.5", linestyle="--")
ax.set(xlabel="number", ylabel="activity")
answer = spikegen.receptive_fields(np.array([[0.4]], dtype=np.float32), neurons=8).ravel()
preferred = values[curves.argmax(axis=0), 0]
read = float((answer * preferred).sum() / answer.sum())
print("activities", answer.round(2), "- read as", round(read, 2))
assert abs(read - 0.4) < 0.05

# %% [markdown]
# ## What one step leaves of a neuron
#
# With a single step there is no time. The membrane starts at zero, gets its current, and is compared with the
# threshold:
#
# $$U = W X + b, \qquad S = \Theta(U - \theta)$$
#
# The decay $\beta$ and the reset have nothing to act on, and backpropagation *through time* has no time to go through.
# What remains is a network of binary neurons with thresholds at $\theta$, trained by surrogate gradients ([training a
# dense network](train_dense.md) explains them). The neuron of this page is the same `sc.Leaky` as always: the trained
# network would run over many steps as well, but its outputs would not be those it was trained for.
#
# ## One neuron per class, one step
#
# We classify MNIST in a single time step. The hidden layer has 128 neurons. With one output neuron per class, the
# answer is ten numbers that are 0 or 1.

# %%
train, test = mnist_sample()
train, validation = train.split(3200)


def network(per_class):
    neuron = sc.Leaky(beta=0.9, surrogate=surrogate.fast_sigmoid(25))
    return sc.Sequential(sc.Linear(784, 128), neuron, sc.Linear(128, 10 * per_class), neuron)


def trained(per_class, steps=1, epochs=10, seed=0, engine="torch"):
    model = sc.Model(network(per_class), engine=engine, seed=seed)
    model.fit(
        Loader(train, batch_size=128, seed=seed),
        loss=SF.mse_count_loss(population_code=True, num_classes=10),
        optimizer=sc.Adam(lr=2e-3),
        epochs=epochs,
        num_steps=steps,
        validation=Loader(validation, batch_size=400, shuffle=False),
        progress=False,
    )
    return model


def votes_of(model, dataset, steps=1):
    spikes = model.engine.to_numpy(model(dataset.inputs, num_steps=steps).spikes)
    return spikes.sum(axis=0).reshape(len(dataset), 10, -1).sum(axis=2)  # (samples, classes)


alone = trained(per_class=1)
votes = votes_of(alone, validation)
answers = (votes > 0).sum(axis=1)
accuracy = np.mean(votes.argmax(axis=1) == validation.targets)
print(f"accuracy {accuracy:.1%}; no class fires for {np.mean(answers == 0):.1%} of the images,")
one = answers == 1
right = np.mean(votes.argmax(axis=1)[one] == validation.targets[one])
print(f"exactly one for {np.mean(one):.1%} (of which {right:.1%} are right), several for {np.mean(answers > 1):.1%}")
assert 0.6 < accuracy < 0.9

# %% [markdown]
# If exactly one neuron fires, the network is usually right. If no neuron fires, or two do, nothing says which class is
# more likely, and `argmax` takes the lowest class.
#
# The remedy is a group of neurons for each class:
#
# ![A hidden layer, three groups of output neurons with the spikes of each, and their numbers of
# votes](drawings/population_vote.svg)
#
# `SF.mse_count_loss` with `population_code=True` adds up the spikes of a class before it compares them with the target:
#
# $$L = \frac1T \cdot \frac{1}{C} \sum_c \Big( \sum_t \sum_{i \in c} S_i[t] - n_c \Big)^2, \qquad
#   n_c = \begin{cases} N\,T & c \text{ is right} \\ 0 & \text{else} \end{cases}$$
#
# The neurons of class 0 come first, then those of class 1, and so on. Nothing tells the neurons of a class to differ
# from each other. They differ because their initial weights do: each draws its own border between the classes, and the
# errors of fifty borders average out in part. This is an ensemble that shares its hidden layer.
#
# ## Fifty neurons per class

# %%
many = trained(per_class=50)
votes = votes_of(many, validation)
accuracy = np.mean(votes.argmax(axis=1) == validation.targets)
print(f"accuracy {accuracy:.1%}; no neuron fires for {np.mean(votes.sum(axis=1) == 0):.1%} of the images")
assert accuracy > 0.86

# %% alt="Four digits and the votes of their classes; the first two are clear, the others are close decisions"
order = np.sort(votes, axis=1)
margin = order[:, -1] - order[:, -2]
shown = [*np.argsort(margin)[-2:], *np.argsort(margin)[5:7]]
fig, axes = plt.subplots(2, 4, figsize=(7, 3.2), height_ratios=(1, 1.3), layout="constrained", sharey="row")
for (top, bottom), index in zip(axes.T, shown):
    top.imshow(validation.inputs[index].reshape(28, 28), cmap="gray")
    top.set_title(f"a {validation.targets[index]}", fontsize=9)
    top.axis("off")
    bottom.bar(range(10), votes[index], color="C0")
    bottom.set_xticks(range(0, 10, 3))
axes[1, 0].set_ylabel("votes of 50")
_ = fig.supxlabel("class", fontsize=9)

# %% [markdown]
# ## A vote knows how sure it is
#
# The distance between the first and the second class is a measure of confidence that one neuron per class cannot give.
# We sort the validation images by this margin, and look at the accuracy within each quarter. Nearly all mistakes are in
# the first quarter: a program could hand these images to a larger network, or to a person.

# %%
quarters = np.array_split(np.argsort(margin, kind="stable"), 4)
right = votes.argmax(axis=1) == validation.targets
accuracies = [right[rows].mean() for rows in quarters]
for rows, accuracy in zip(quarters, accuracies):
    print(f"margin {margin[rows].min():2.0f} to {margin[rows].max():2.0f} votes: accuracy {accuracy:.1%}")
assert accuracies[-1] > accuracies[0] + 0.1

# %% [markdown]
# ## How many neurons?
#
# We train networks with 1 to 100 neurons per class, with three seeds each.

# %% alt="Validation accuracy over the number of neurons per class: it rises up to about ten, then levels off"
sizes = [1, 2, 5, 10, 20, 50, 100]
reached = np.array(
    [[trained(n, seed=seed, engine="numpy").history[-1]["val_accuracy"] for n in sizes] for seed in range(3)]
)
fig, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
ax.semilogx(sizes, reached.T, "o", color="C0", alpha=0.5)
ax.semilogx(sizes, np.median(reached, axis=0), color="C0")
ax.set(xlabel="neurons per class", ylabel="validation accuracy", xticks=sizes, xticklabels=sizes)
ax.minorticks_off()
print("medians", dict(zip(sizes, np.median(reached, axis=0).round(3).tolist())))
assert np.median(reached[:, sizes.index(50)]) > np.median(reached[:, 0]) + 0.05

# %% [markdown]
# Twenty neurons per class are nearly as good as a hundred. Only the last layer grows. So even a hundred neurons per
# class hardly change the time of a step. But the number of weights grows: 128 × 1000 instead of 128 × 10.
#
# ## Neurons or steps
#
# The alternative is time: one neuron per class, and 25 steps. The table compares both, with the numbers of operations.
# *Synops* are additions that spikes cause.

# %%
print(f"{'':28s}accuracy   synops per image")
compared, models = {}, {}
for name, per_class, steps in (
    ("one per class, 1 step", 1, 1),
    ("one per class, 25 steps", 1, 25),
    ("50 per class, 1 step", 50, 1),
):
    model = trained(per_class, steps)
    counted = SF.activity(model, test.inputs[:200], num_steps=steps)
    hidden = sum(row.synops for row in counted.synapses if row.binary)
    compared[name], models[name] = model.history[-1]["val_accuracy"], (model, steps)
    print(f"{name:28s}{compared[name]:8.1%}{hidden:19,.0f}")


def milliseconds(model, steps):
    begun = time.perf_counter()
    model(test.inputs, num_steps=steps)
    return 1000 * (time.perf_counter() - begun)


rounds = [{name: milliseconds(*each) for name, each in models.items()} for _ in range(12)]
for name in models:  # the fastest of twelve, since other programs make a run slower and never faster
    print(f"{name:28s}{min(row[name] for row in rounds):8.1f} ms for 1000 images")
assert compared["50 per class, 1 step"] > compared["one per class, 1 step"]

# %% [markdown]
# Both ways lead above 90 %, and neither is free. The population answers in one step. This matters if a step takes a
# fixed time, as on hardware with a clock, or if the answer is needed now. But the population made *more* additions,
# since each hidden spike meets 500 weights instead of 10, and it keeps 50 times as many weights in the last layer. With
# 25 steps the network was somewhat more accurate here: time makes the hidden layer finer, too, while the population
# widens only the last layer. If memory is scarce and time is not, take the steps. (The milliseconds are those of the
# machine that built this page. It computes ten neurons over 25 steps at once, in little more than the time of one step.
# Hardware that runs step by step would take 25 times as long.)
#
# The two can be combined: a few steps, and a few neurons per class. In [training a convolutional
# network](train_convolutional.md), exercise 2 counts operations, and a curve of accuracy over time shows how few steps
# can be enough.
#
# ## By hand, in PyTorch

# %%
torch.manual_seed(0)
grad = surrogate.fast_sigmoid(slope=25)
net = nn.Sequential(
    *(nn.Linear(784, 128), snn.Leaky(beta=0.9, spike_grad=grad, init_hidden=True)),
    *(nn.Linear(128, 500), snn.Leaky(beta=0.9, spike_grad=grad, init_hidden=True, output=True)),
)
optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
loss_of = SF.mse_count_loss(correct_rate=1.0, incorrect_rate=0.0, population_code=True, num_classes=10)
for epoch in range(3):
    for images, labels in Loader(train, batch_size=128, seed=epoch):
        sc.utils.reset(net)
        spk, mem = net(torch.as_tensor(images))
        loss = loss_of(spk[None], torch.as_tensor(labels))  # [None]: a time axis with one step
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    sc.utils.reset(net)
    with torch.no_grad():
        spk, mem = net(torch.as_tensor(validation.inputs))
    accuracy = SF.accuracy_rate(spk[None], validation.targets, population_code=True, num_classes=10)
    print(f"epoch {epoch + 1}: validation accuracy {accuracy:.1%}")
assert accuracy > 0.75

# %% [markdown]
# ## The test, and snnTorch
#
# This is the result of the network with fifty neurons per class on the test images:

# %%
accuracy = np.mean(votes_of(many, test).argmax(axis=1) == test.targets)
print(f"test accuracy {accuracy:.1%}")
assert accuracy > 0.87

# %% [markdown]
# The same networks were trained with both libraries, on the same data and with the same settings and seeds. The table
# has medians over seeds 0 to 4, with the range in brackets. "The same draws" is `spikecore.nn`, where torch draws the
# same weights and batches for both libraries; `sc.Model` draws its own.
#
# ```console
# python -m benchmarks.accuracy population plain --seeds 0 1 2 3 4
# ```
#
# | test accuracy, % | snnTorch 1.0 | spikecore, the same draws | spikecore, `sc.Model` |
# |---|--:|--:|--:|
# | 784-128-500, 1 step, 10 epochs | 92.6 (92.4–93.2) | 93.3 (92.6–93.8) | 92.9 (91.8–93.3) |
# | 784-128-10, 1 step, 10 epochs | 83.3 (80.9–84.1) | 81.3 (78.3–83.1) | 82.0 (77.5–85.0) |
#
# The draws are the same, yet the results are not equal: gradients differ in the last bit, and 250 updates later a few
# spikes and then weights differ. With one neuron per class the spread is wide, because it depends on a single neuron
# whether a class is learned at all. The population is not only better; it also depends less on luck.
#
# ## Exercises
#
# **1. Wounds.** Silence 10, 25, then 40 of the 50 neurons of each class, at random, without training again. How much
# does the accuracy fall?

# %% tags=["answer"]
spikes = many.engine.to_numpy(many(test.inputs, num_steps=1).spikes)[0].reshape(len(test), 10, 50)
rng = np.random.default_rng(0)
for gone in (0, 10, 25, 40):
    kept = rng.permutation(50)[gone:]
    print(f"{gone:2d} of 50 silent: {np.mean(spikes[:, :, kept].sum(axis=2).argmax(axis=1) == test.targets):.1%}")
# It hardly falls: ten neurons per class are enough here, as the curve above says, and the other forty are a reserve.
# One neuron per class has none.

# %% [markdown]
# **2. Fewer votes for the winner.** The loss wants all fifty neurons of the right class to fire. Set
# `correct_rate=0.5` and `incorrect_rate=0.1`. What changes?

# %% tags=["answer"]
relaxed = sc.Model(network(50), engine="numpy", seed=0)
relaxed.fit(
    Loader(train, batch_size=128, seed=0),
    loss=SF.mse_count_loss(correct_rate=0.5, incorrect_rate=0.1, population_code=True, num_classes=10),
    optimizer=sc.Adam(lr=2e-3),
    epochs=10,
    num_steps=1,
    progress=False,
)
for name, model in (("1 and 0", many), ("0.5 and 0.1", relaxed)):
    found = votes_of(model, validation)
    accuracy = np.mean(found.argmax(axis=1) == validation.targets)
    print(f"rates {name}: {accuracy:.1%}, spikes per image {found.sum(axis=1).mean():.0f}")
# The targets are 25 votes for the right class and 5 for each other, 70 spikes instead of 50. Without a population, one
# step has no rate between 0 and 1 to ask for.

# %% [markdown]
# **3. Diversity.** Start all fifty neurons of a class from the same weights. Why is the result no better than one
# neuron per class?

# %% tags=["answer", "warns"]
copies = sc.Model(network(50), engine="numpy", seed=0)
state = copies.state()
for name in ("2.weight", "2.bias"):
    state["params"][name] = np.repeat(state["params"][name][::50], 50, axis=0)
copies.load_state(state)
copies.fit(
    Loader(train, batch_size=128, seed=0),
    loss=SF.mse_count_loss(population_code=True, num_classes=10),
    optimizer=sc.Adam(lr=2e-3),
    epochs=10,
    num_steps=1,
    progress=False,
)
same = votes_of(copies, validation)
unanimous = np.mean((same == 0) | (same == 50))
print(f"classes whose fifty neurons agree: {unanimous:.1%}")
print(f"accuracy {np.mean(same.argmax(axis=1) == validation.targets):.1%}")
assert unanimous > 0.9
# Equal weights get equal gradients and stay equal, up to rounding: fifty neurons that always agree are one neuron.
# Where all of them vote rightly the loss is zero, and so is its gradient: `fit` may warn of that.

# %% [markdown]
# ## Verify the gradients

# %%
loss = SF.mse_count_loss(population_code=True, num_classes=10)
report = sc.verify(many, test.inputs[:16], test.targets[:16], loss, num_steps=1)
print(report)
assert report.ok

# %% [markdown]
# Next: outputs that are not classes but numbers, in [regression with membranes](regression_membrane.md).
