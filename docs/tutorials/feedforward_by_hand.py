# %% [markdown]
# # A feedforward network by hand
#
# At the end of this page you can write a leaky neuron in ten lines of NumPy, run a network of them step by step, get
# the same spikes from the library in one call, and see what goes wrong when weights and thresholds do not fit each
# other.
#
# It needs, in the clone of this repository, `pip install -e ".[all,examples]"`. It continues
# [The leaky integrate-and-fire neuron](lif_neuron.md).

# %% [markdown]
# ## From resistors to one number
#
# On the page before, a membrane was a circuit of $R$ and $C$:
#
# $$\tau \frac{dU}{dt} = -U + R I , \qquad \tau = RC .$$
#
# Nobody wants to choose two electrical constants for each of a thousand neurons. Let the current be constant during a
# step of $\Delta t$. The exact solution over this step is
#
# $$U(t + \Delta t) = \beta\, U(t) + (1 - \beta)\, R\, I , \qquad \beta = e^{-\Delta t/\tau} . \qquad (1)$$
#
# (Check it: for $\Delta t \to 0$ the solution is $U(t)$, for $\Delta t \to \infty$ it is $RI$, and in between the
# difference from $RI$ decays like $e^{-t/\tau}$.) So $\beta$ is what is left of the membrane after one step. In place
# of $\beta$, forward Euler had $1 - \Delta t/\tau$, the first two terms of the exponential series.
#
# Now the second simplification. The current of a neuron in a network is a sum of inputs times weights, and the weights
# are learned. A factor $(1 - \beta) R$ in front of them would be learned as well, so we let the weights swallow it:
# $(1 - \beta) R I = W X$. What remains is
#
# $$U[t] = \underbrace{\beta\, U[t-1]}_{\text{leak}} + \underbrace{W X[t]}_{\text{input}} -
# \underbrace{S[t-1]\, \theta}_{\text{reset}} , \qquad S[t] = \Theta(U[t] - \theta) . \qquad (2)$$
#
# ![The neuron as a loop: weighted input, what is left of the membrane and the reset are added; the sum is compared with
# the threshold](drawings/neuron_loop.svg)
#
# A neuron now has one decay, one threshold, and weights. How large is $\beta$?

# %%
import math

import matplotlib.pyplot as plt
import numpy as np

import spikecore as sc
from spikecore import spikegen, spikeplot

for tau in (1, 5, 20, 100):
    print(f"tau = {tau:3} steps: beta = {math.exp(-1 / tau):.3f}, by Euler {1 - 1 / tau:.3f}")
assert abs(math.exp(-1 / 5) - 0.819) < 1e-3

# %% [markdown]
# If the data have a known time base, compute $\beta$ from it, as here; `sc.decay(tau)` does the same. If not, it is a
# hyperparameter: $1/(1 - \beta)$ is roughly the number of steps that a neuron remembers.
#
# ## The neuron in ten lines
#
# These lines are all of equation (2). The reset comes one step after the spike, because it is computed from the
# membrane at the beginning of the step.


# %%
def leaky(mem, weighted_input, beta, threshold=1.0):
    """One step of a leaky integrate-and-fire neuron: its spike and its new membrane."""
    reset = mem > threshold
    mem = beta * mem + weighted_input - reset * threshold
    return mem > threshold, mem


x = np.concatenate([np.zeros(10), np.full(190, 1.0)])  # input from step 10 on
weight, mem = 0.21, 0.0
by_hand = {"mem": [], "spikes": []}
for t in range(200):
    spike, mem = leaky(mem, weight * x[t], beta=0.8)
    by_hand["mem"].append(mem)
    by_hand["spikes"].append(spike)

times = np.flatnonzero(by_hand["spikes"]).tolist()
print("spikes at", times)
print("membrane, steps 10 to 12:", np.round(by_hand["mem"][10:13], 4))
print("membrane, steps 23 and 24:", np.round(by_hand["mem"][23:25], 4))

# %% [markdown]
# The library's neuron has the same equation, but it takes arrays of any size and has gradients. Both neurons give the
# spikes of snnTorch's tutorial.

# %% alt="Stack of three pictures: a step of input, the membrane as a sawtooth up to the threshold, and twelve spikes"
model = sc.Model(sc.Sequential(sc.Leaky(beta=0.8)), engine="numpy", input_shape=(1,))
out = model((weight * x).astype(np.float32)[:, None, None])  # (time, batch, neurons)
mem, spikes = out.membrane[:, 0, 0], out.spikes[:, 0, 0]
assert np.flatnonzero(spikes).tolist() == times
assert times == [23, 38, 53, 68, 83, 98, 113, 128, 143, 158, 173, 188]
assert np.allclose(mem[[10, 11, 12, 23, 24]], [0.21, 0.378, 0.5124, 1.0038, 0.0131], atol=1e-4)

fig, axes = plt.subplots(3, 1, figsize=(7, 3.8), sharex=True, height_ratios=(1, 2, 0.5))
axes[0].plot(weight * x, color="C1", drawstyle="steps-mid")
axes[0].set_ylabel("input")
axes[1].plot(mem, color="C0")
axes[1].plot(by_hand["mem"], color="C2", linestyle="none", marker=".", markersize=3)
axes[1].axhline(1.0, color="C7", linestyle="--", linewidth=1)
axes[1].set_ylabel("membrane")
axes[1].set_title("line: library, dots: by hand", fontsize=9, loc="right")
axes[2].eventplot(np.flatnonzero(spikes), color="C3", linelengths=0.8, lineoffsets=0)
axes[2].set(yticks=[], ylabel="spikes", xlabel="time step")
fig.align_ylabels()
fig.tight_layout()

# %% [markdown]
# After the spike at step 23 the membrane is at 0.8 · 1.0038 + 0.21 − 1 = 0.0131. The threshold is subtracted whole, one
# step late, though the leak has left only 80 % of the membrane by then. `reset_mechanism="subtract_decayed"` subtracts
# before the leak and gives 0.8 · (1.0038 − 1) + 0.21 = 0.213.
#
# ## What the decay does
#
# Under a constant input $WX$ and without reset, the membrane of equation (2) approaches $U_\infty = WX / (1 - \beta)$.
# So a large $\beta$ does two things: it remembers longer, *and* it amplifies, by $1/(1 - \beta)$. That is a trap.
# Changing $\beta$ from 0.9 to 0.99 makes the same weights ten times stronger.

# %% alt="Membranes of neurons with beta 0.5, 0.9 and 0.99 under one input: the larger beta, the higher and slower"
fig, ax = plt.subplots(figsize=(7, 2.8))
pulse = np.zeros((80, 1, 1), dtype=np.float32)
pulse[5:40] = 0.1
for number, beta in enumerate((0.5, 0.9, 0.99)):
    neuron = sc.Leaky(beta=beta, reset_mechanism="none")
    one = sc.Model(sc.Sequential(neuron), engine="numpy", input_shape=(1,))
    mem = one(pulse).membrane[:, 0, 0]
    ax.plot(mem, color=f"C{number}", label=rf"$\beta$ = {beta}")
    print(f"beta = {beta:4}: highest membrane {mem.max():.2f}, limit {0.1 / (1 - beta):.1f}")
ax.axhline(1.0, color="C7", linestyle="--", linewidth=1)
ax.set(xlabel="time step", ylabel="membrane, no reset")
ax.legend()
fig.tight_layout()

# %% [markdown]
# ## A network over time
#
# The next network has 784 inputs, 1000 hidden neurons and 10 outputs, fully connected, with $\beta = 0.99$. It is not
# trained: its weights are random. Its input is a digit of MNIST as a [rate code](spike_encoding.md) over 200 steps.
#
# A layer of weights is one matrix product per step, and the neurons follow:
#
# $$U_1[t] = \beta U_1[t-1] + W_1 X[t] + b_1 - \theta S_1[t-1] , \qquad
# U_2[t] = \beta U_2[t-1] + W_2 S_1[t] + b_2 - \theta S_2[t-1] .$$
#
# ![Input and two layers over three steps: spikes go up through all layers within a step, membranes go on to the next
# step](drawings/network_in_time.svg)
#
# Within one step the spikes pass through *all* layers, as in snnTorch and in most libraries. Time passes between steps,
# not between layers.
#
# We let the library draw the weights, and run the network with the function from above.

# %%
from spikecore.datasets import mnist_sample

train, test = mnist_sample()
image, label = test.inputs[:1], int(test.targets[0])
spikes_in = spikegen.rate(image, num_steps=200, seed=0)  # (200, 1, 784)

network = sc.Sequential(
    sc.Linear(784, 1000),
    sc.Leaky(beta=0.99),
    sc.Linear(1000, 10),
    sc.Leaky(beta=0.99),
)
model = sc.Model(network, engine="numpy", seed=0)
print(model.summary())
w1, b1, w2, b2 = (model.params()[name] for name in ("0.weight", "0.bias", "2.weight", "2.bias"))

mem1, mem2 = np.zeros((1, 1000), dtype=np.float32), np.zeros((1, 10), dtype=np.float32)
hidden_by_hand, output_by_hand = [], []
for t in range(200):
    spikes1, mem1 = leaky(mem1, spikes_in[t] @ w1.T + b1, beta=0.99)
    spikes2, mem2 = leaky(mem2, spikes1 @ w2.T + b2, beta=0.99)
    hidden_by_hand.append(spikes1)
    output_by_hand.append(spikes2)
counts = np.sum(hidden_by_hand), np.sum(output_by_hand)
print(f"by hand: {counts[0]} spikes of hidden neurons, {counts[1]} of outputs")

# %% [markdown]
# The library runs the network in one call. The loop over time is inside this call, and is compiled if this pays.
# `record=True` asks for the states of all layers, not only of the last. You find them under the name of the layer,
# which is its number in `Sequential`.

# %%
out = model(spikes_in, record=True)
for name, states in out.states.items():
    shapes = ", ".join(f"{key} {value.shape}" for key, value in states.items())
    print(f"layer {name}: {shapes}")
hidden, output = out.states["1"], out.states["3"]
differing = int((hidden.spikes != np.array(hidden_by_hand)).sum())
differing += int((output.spikes != np.array(output_by_hand)).sum())
print(f"library: {int(hidden.spikes.sum())} and {int(output.spikes.sum())} spikes")
print("spikes that differ from the loop:", differing)
assert differing <= 0.001 * hidden.spikes.size

# %% [markdown]
# (If a membrane equals the threshold to the last bit, a spike may differ, since the machine chooses the order in which
# a matrix product adds its terms. That is why `sc.verify`, below, compares in double precision.)
#
# Here is what passed through the network. The raster of the input shows the rows of the digit, as bands. The hidden
# layer has no such order, since each hidden neuron sees all pixels.

# %% alt="Three rasters, one below the other: 784 inputs in bands, 1000 hidden neurons, many silent, and 10 outputs"
options = {"sharex": True, "layout": "constrained"}
fig, axes = plt.subplots(3, 1, figsize=(7, 6), height_ratios=(3, 3, 1.6), **options)
layers = {"input": spikes_in, "hidden": hidden.spikes, "output": output.spikes}
for number, (ax, (name, spikes)) in enumerate(zip(axes, layers.items())):
    ax.set_title(f"{name}: {spikes.shape[2]} neurons, {int(spikes.sum()):,} spikes", fontsize=10)
    spikeplot.raster(spikes, ax, batch_index=0, c=f"C{number}", s=4 if name == "output" else 0.6)
    ax.set_xlabel("")
axes[-1].set_xlabel("time step")
axes[-1].set_yticks(range(0, 10, 3))
fig.align_ylabels()

# %% [markdown]
# Membranes of single neurons are in the same record. These four are hidden neurons; `traces` marks each spike as a dot.
# About half of all hidden neurons never fire. The weights are positive and negative at random and the input is
# positive, so half of the neurons are pulled down. With $\beta = 0.99$ their membranes fall far, since the membrane has
# no lower limit.

# %% alt="Membranes of four hidden neurons: one falls far below zero and never fires, one fires rarely, two fire often"
counts = hidden.spikes[:, 0].sum(axis=0)
silent = float((counts == 0).mean())
print(f"hidden neurons that never fire: {100 * silent:.0f} %")
assert 0.3 < silent < 0.7
order = np.argsort(counts)
# from the most silent to the busiest
neurons = [int(order[int(share * 999)]) for share in (0.0, 0.6, 0.8, 1.0)]
fig, axes = plt.subplots(4, 1, figsize=(7, 5), sharex=True)
spikeplot.traces(hidden.mem, hidden.spikes, axes, threshold=1.0, neurons=neurons, batch_index=0)
for ax in axes[:-1]:
    ax.set_xlabel("")
fig.tight_layout()

# %% [markdown]
# The output is a rate code: the neuron with the most spikes is the answer. (A picture that moves is
# `spikeplot.spike_count(..., animate=True)`; see the [gallery](../gallery.md).)

# %% alt="Bar chart of the spikes of the ten output neurons, with different lengths and no relation to the digit"
fig, ax = plt.subplots(figsize=(6, 3))
spikeplot.spike_count(output.spikes, ax=ax, batch_index=0, gridshader=False)
answer = int(output.spikes.sum(axis=(0, 1)).argmax())
print(f"the digit is a {label}, the untrained network says {answer}")

# %% [markdown]
# One digit does not show whether the network only guesses. For a thousand digits, `evaluate` encodes, runs and counts;
# 25 steps are enough.

# %%
from spikecore.datasets import Loader

batches = Loader(test, batch_size=250, shuffle=False)
untrained = model.evaluate(batches, num_steps=25, encoder=spikegen.rate)
print(f"untrained: {100 * untrained['accuracy']:.1f} % of 1000 images; guessing gives 10 %")
assert untrained["accuracy"] < 0.3

# %% [markdown]
# ## The same network in PyTorch
#
# If you come from snnTorch, you write a module and the loop yourself. `spikecore.nn` has modules with snnTorch's names,
# arguments and return values. With the same weights, these modules give the same spikes.

# %%
import torch
from torch import nn

import spikecore.nn as snn


class Net(nn.Module):
    """784-1000-10, one time step per call."""

    def __init__(self):
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(784, 1000), snn.Leaky(beta=0.99)
        self.fc2, self.lif2 = nn.Linear(1000, 10), snn.Leaky(beta=0.99)

    def forward(self, x, mem1, mem2):
        spk1, mem1 = self.lif1(self.fc1(x), mem1)
        spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
        return spk2, mem1, mem2


net = Net()
with torch.no_grad():
    for layer, weight, bias in ((net.fc1, w1, b1), (net.fc2, w2, b2)):
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
    mem1, mem2 = (
        net.lif1.reset_mem(),
        net.lif2.reset_mem(),
    )  # at rest; each sequence begins like this
    recorded = []
    for t in range(200):
        spk2, mem1, mem2 = net(torch.from_numpy(spikes_in[t]), mem1, mem2)
        recorded.append(spk2)
in_torch = torch.stack(recorded).numpy()
print(
    "output spikes in PyTorch:",
    int(in_torch.sum()),
    "and differing:",
    int((in_torch != output.spikes).sum()),
)
assert (in_torch != output.spikes).mean() < 0.01

# %% [markdown]
# ## What goes wrong
#
# Random weights have a size, the threshold has a size, and $\beta$ amplifies. The three must fit each other:
#
# ![Rasters of neurons whose weights are too small, fitting, and too large: silent, telling inputs apart, always
# on](drawings/too_quiet_too_loud.svg)
#
# The next picture shows the firing rates of both layers. The thresholds span two orders of magnitude.

# %% alt="Firing rates of hidden and output layer against the threshold: high at the left, falling to zero at the right"
thresholds = np.geomspace(0.05, 20, 11)
rates = {"1": [], "3": []}
for threshold in thresholds:
    layers = [sc.Linear(784, 1000), sc.Leaky(beta=0.99, threshold=float(threshold))]
    layers += [sc.Linear(1000, 10), sc.Leaky(beta=0.99, threshold=float(threshold))]
    changed = sc.Model(sc.Sequential(*layers), engine="numpy", seed=0)
    states = changed(spikes_in[:100], record=True).states
    for name in rates:
        rates[name].append(float(states[name].spikes.mean()))
fig, ax = plt.subplots(figsize=(6, 3))
for name, what in (("1", "hidden layer"), ("3", "output")):
    ax.semilogx(thresholds, rates[name], "o-", markersize=4, label=what)
ax.set(xlabel="threshold", ylabel="spikes per neuron and step", ylim=(-0.02, 1))
ax.legend()
fig.tight_layout()
print(f"threshold {thresholds[0]:.2f}: rates {rates['1'][0]:.2f} and {rates['3'][0]:.2f}")
print(f"threshold {thresholds[-1]:.0f}: rates {rates['1'][-1]:.4f} and {rates['3'][-1]:.4f}")
assert rates["1"][0] > 10 * rates["1"][-1]
assert rates["3"][-1] == 0.0

# %% [markdown]
# At the left, half of the hidden neurons are pulled up by the input and fire at almost every step. At the right, few
# spikes are left in the hidden layer and none in the output: activity dies from layer to layer. That is why deep
# spiking networks are initialised with more care than this, and why you should look at rates before you train: no layer
# should be silent, and none should always fire. [Training recipes](../training.md) has the remedies. In [Training a
# dense network](train_dense.md) the weights learn.

# %% [markdown]
# ## Exercises
#
# **1.** A neuron gets spikes with the weight 0.4 from one input that fires every $n$ steps. What is the largest $n$ for
# which the neuron ever fires, if $\beta = 0.9$ and $\theta = 1$? Sum the geometric series first, then simulate.

# %% tags=["answer"]
# Just after an input spike the membrane approaches 0.4 (1 + b^n + b^2n + ...) = 0.4 / (1 - b^n). It exceeds 1 if
# b^n > 0.6, so if n < ln 0.6 / ln 0.9 = 4.85.
one = sc.Model(sc.Sequential(sc.Leaky(beta=0.9)), engine="numpy", input_shape=(1,))
fires = {}
for every in range(1, 9):
    x = np.zeros((400, 1, 1), dtype=np.float32)
    x[::every] = 0.4
    fires[every] = bool(one(x).spikes.any())
print(
    "fires for n =",
    [every for every, any_spike in fires.items() if any_spike],
    f"limit {np.log(0.6) / np.log(0.9):.2f}",
)
assert [every for every, any_spike in fires.items() if any_spike] == [1, 2, 3, 4]

# %% [markdown]
# **2.** Equation (2) dropped the factor $(1 - \beta)$ of equation (1). Put it back: scale the weights of the first
# layer by $1 - \beta$ for $\beta$ = 0.9 and 0.99, and compare the largest membranes of a layer without reset and bias.

# %% tags=["answer"]
largest = {}
for beta in (0.9, 0.99):
    leak = sc.Leaky(beta=beta, reset_mechanism="none")
    layer = sc.Model(sc.Sequential(sc.Linear(784, 1000, bias=False), leak), engine="numpy", seed=0)
    plain = layer(spikes_in).membrane
    scaled = layer(spikes_in * np.float32(1 - beta)).membrane  # the same as scaling the weights
    largest[beta] = float(scaled.max())
    print(f"beta = {beta}: largest membrane {plain.max():5.2f}, scaled {largest[beta]:.2f}")
# Scaled, the membrane is a running mean of the input: its size hardly depends on beta.
assert largest[0.9] / 2 < largest[0.99] < 2 * largest[0.9]

# %% [markdown]
# **3.** Cut the sequence of 200 steps into two calls of 100 steps, so that the second continues where the first
# stopped. (Look at `out.state`.)

# %% tags=["answer"]
first = model(spikes_in[:100])
second = model(spikes_in[100:], state=first.state)
joined = np.concatenate([first.spikes, second.spikes])
print("spikes in two calls:", int(joined.sum()), "and in one:", int(output.spikes.sum()))
assert (joined != output.spikes).mean() < 0.01

# %% [markdown]
# ## Verify the gradients
#
# The next step is training, and training needs gradients through 25 or 200 steps. Is the chain rule right? `sc.verify`
# computes loss, spikes, states and gradients twice: with the model's engine, and with the hand-written gradients of the
# NumPy engine. It also compares the hand-written gradients with finite differences. The network is the one from above.
# We take a copy with the same weights on torch, where autograd is an independent witness.

# %%
on_torch = model.to_engine("torch")
x, targets = test.inputs[:2], test.targets[:2]
report = sc.verify(on_torch, x, targets, num_steps=12, encoder=spikegen.rate)
print(report)
assert report.ok
