# %% [markdown]
# # Second-order neurons
#
# At the end of this page you know what a neuron with a synaptic current does that a plain leaky neuron does not, how to
# choose its two decays, and how to tell whether it helps.
#
# It needs, in the clone of this repository, `pip install -e ".[all,examples]"`. It continues
# [A feedforward network by hand](feedforward_by_hand.md).

# %% [markdown]
# ## A spike does not arrive at once
#
# In the leaky neuron of the pages before, a spike that comes in lifts the membrane within one step. In a cell, a spike
# releases a transmitter, the transmitter opens channels, and the channels close again one by one, over 1 to 100 ms.
# While they are open, a current flows. So there are *two* leaky stages, with the time constants $\tau_\text{syn}$ and
# $\tau_\text{mem}$:
#
# ![A spike, the synaptic current that jumps and decays, and the membrane that rises and falls](drawings/two_stages.svg)
#
# $$\tau_\text{syn} \frac{dI}{dt} = -I + \text{spikes in}, \qquad \tau_\text{mem} \frac{dU}{dt} = -U + R I .$$
#
# Two equations of first order make one of second order, hence the name. Both decay exponentially, so both get a factor
# per step, as on the [page before](feedforward_by_hand.md): $\alpha = e^{-\Delta t/\tau_\text{syn}}$ and
# $\beta = e^{-\Delta t/\tau_\text{mem}}$. With weights that swallow the constants, this is `sc.Synaptic`:
#
# $$\begin{split}
# I[t] &= \alpha\, I[t-1] + W X[t] \\
# U[t] &= \beta\, U[t-1] + I[t] - \theta\, S[t-1] \\
# S[t] &= \Theta(U[t] - \theta)
# \end{split} \qquad (1)$$
#
# The states are called `syn` and `mem`. The reset takes the threshold off the membrane and leaves the current alone.

# %%
import matplotlib.pyplot as plt
import numpy as np

import spikecore as sc
from spikecore import spikegen


def simulate(neuron, weighted_input):
    """Run one neuron on an input (time,); return its states and spikes by name, (time,) each."""
    model = sc.Model(sc.Sequential(neuron), engine="numpy", input_shape=(1,))
    out = model(np.asarray(weighted_input, dtype=np.float32)[:, None, None], record=True)
    return {name: values[:, 0, 0] for name, values in out.states["0"].items()}


def stack(weighted_input, run, names, threshold, title=""):
    """Input, states and spikes, one below the other."""
    rows = len(names) + 2
    fig, axes = plt.subplots(
        rows, 1, figsize=(7, 1.0 + 0.95 * rows), sharex=True, height_ratios=[1] * (rows - 1) + [0.5]
    )
    axes[0].plot(weighted_input, color="C1", drawstyle="steps-mid")
    axes[0].set_ylabel("input")
    axes[0].set_title(title, fontsize=11)
    for number, (ax, name) in enumerate(zip(axes[1:], names)):
        ax.plot(run[name], color=f"C{(0, 2, 4)[number]}")
        ax.set_ylabel(name)
        if name == "mem":
            ax.axhline(threshold, color="C7", linestyle="--", linewidth=1)
    axes[-1].eventplot(np.flatnonzero(run["spikes"]), color="C3", linelengths=0.8, lineoffsets=0)
    axes[-1].set(yticks=[], ylabel="spikes", xlabel="time step")
    fig.align_ylabels()
    fig.tight_layout()


# %% [markdown]
# In this example, a spike with the weight 0.2 arrives every 10 steps, with $\alpha = 0.9$ and $\beta = 0.8$.

# %% alt="Input spikes, the synaptic current that jumps and decays, the rounded membrane, and output spikes"
regular = np.zeros(200)
regular[::10] = 0.2
run = simulate(sc.Synaptic(alpha=0.9, beta=0.8), regular)
stack(regular, run, ("syn", "mem"), 1.0, "Synaptic")
times = np.flatnonzero(run["spikes"]).tolist()
print("Synaptic fires at", times)
assert times == [23, 41, 53, 71, 83, 101, 113, 131, 143, 161, 173, 191]  # as in snnTorch's tutorial

leaky = simulate(sc.Leaky(beta=0.8), regular)
print(f"Leaky: {int(leaky['spikes'].sum())} spikes, highest membrane {leaky['mem'].max():.2f}")

# %% [markdown]
# The current jumps; the membrane is round. A leaky neuron with the same weights does not fire at all: a spike adds 0.2
# to its membrane once, while here the current charges the membrane for a while. Keep this in mind for the comparison
# below.
#
# ## The answer to one spike
#
# Without threshold and reset, the neuron is a linear filter: its membrane is the sum of the answers to all input
# spikes. So the answer to a single spike, the **impulse response**, says everything. Put $X = 1, 0, 0, \dots$ into
# equation (1) and write down the first steps of $U$:
#
# $$1, \quad \alpha + \beta, \quad \alpha^2 + \alpha\beta + \beta^2, \quad \dots$$
#
# With the geometric series this is
#
# $$\kappa[n] = \sum_{k=0}^{n} \alpha^{k} \beta^{n-k} = \frac{\alpha^{n+1} - \beta^{n+1}}{\alpha - \beta} , \qquad (2)$$
#
# a difference of two exponentials. It rises with the faster exponential and falls with the slower one. For the
# membrane, it does not matter which of them belongs to $\alpha$: the formula is symmetric.

# %% alt="Impulse responses of Leaky and of Synaptic with alpha 0.5, 0.8 and 0.95: the peaks become higher and later"
impulse = np.zeros(60)
impulse[0] = 1.0
n = np.arange(60)
beta = 0.9
fig, ax = plt.subplots(figsize=(7, 3))
still = {"reset_mechanism": "none"}  # a filter: no reset
ax.plot(simulate(sc.Leaky(beta=beta, **still), impulse)["mem"], color="C7", label="Leaky")
for number, alpha in enumerate((0.5, 0.8, 0.95)):
    kernel = (alpha ** (n + 1) - beta ** (n + 1)) / (alpha - beta)
    mem = simulate(sc.Synaptic(alpha=alpha, beta=beta, **still), impulse)["mem"]
    ax.plot(mem, color=f"C{number}", label=rf"Synaptic, $\alpha$ = {alpha}")
    ax.plot(kernel, color=f"C{number}", linestyle="none", marker=".", markersize=4)
    peak = f"peak {mem.max():.2f} at step {mem.argmax()}"
    print(f"alpha = {alpha:4}: {peak}, sum over 60 steps {kernel.sum():5.1f}")
    assert abs(mem - kernel).max() < 1e-4
ax.set(xlabel="time step", ylabel="membrane")
ax.legend(title=rf"$\beta$ = {beta}; dots: equation (2)")
fig.tight_layout()

# %% [markdown]
# Three things change with $\alpha$:
#
# - **The peak comes later.** A leaky neuron answers at once. Here the answer has a delay that you can choose.
# - **The answer is longer and smoother**, so small differences in the arrival of spikes matter less.
# - **It is larger.** The whole answer sums to $1 / ((1-\alpha)(1-\beta))$. That is a gain of 10 for `Leaky` with $\beta
#   = 0.9$, and of 200 for `Synaptic` with $\alpha = 0.95$.
#
# For $\alpha = 0$ the current forgets at once and `Synaptic` *is* `Leaky`. For $\alpha = \beta$ equation (2) becomes
# $(n + 1)\,\beta^n$, which is called an *alpha function*.
#
# We can check that the membrane is the sum of such answers: for random spikes, we compare a convolution with the kernel
# with the simulation.

# %%
arriving = spikegen.rate(np.full((1, 1), 0.15), num_steps=200, seed=0)[:, 0, 0]
alpha = 0.8
kernel = (alpha ** (np.arange(200) + 1) - beta ** (np.arange(200) + 1)) / (alpha - beta)
by_convolution = np.convolve(arriving, kernel)[:200]
mem = simulate(sc.Synaptic(alpha=alpha, beta=beta, **still), arriving)["mem"]
print(f"largest difference: {abs(by_convolution - mem).max():.1e} of {mem.max():.1f}")
assert np.allclose(by_convolution, mem, rtol=1e-4, atol=1e-4)

# %% [markdown]
# ## The alpha neuron: the response is the definition
#
# One can turn this around and *define* the neuron by its response: the membrane is the sum of a kernel over all input
# spikes, minus something after each output spike. This is the **spike response model** (Gerstner, *Time structure of
# the activity in neural network models*, 1995). `sc.Alpha` is such a neuron. Its kernel is a difference of two
# exponentials that begins at zero. The rising part is an inhibitory current, the falling part an excitatory one:
#
# $$\begin{split}
# I_\text{exc}[t] &= \alpha\, I_\text{exc}[t-1] + W X[t] \\
# I_\text{inh}[t] &= \beta\, I_\text{inh}[t-1] - W X[t] \\
# U[t] &= \tau \left( I_\text{exc}[t] + I_\text{inh}[t] \right) , \qquad
# \tau = \frac{\ln \alpha}{\ln \beta - \ln \alpha} + 1 , \qquad \alpha > \beta .
# \end{split} \qquad (3)$$
#
# In the step of the spike both currents cancel, so $U$ does not move. From then on the inhibitory part decays faster,
# and the rest is the hump $\tau(\alpha^n - \beta^n)$. The membrane has no memory of its own.

# %% alt="Alpha neuron: input spikes, two currents with opposite signs, the membrane as humps, and two output spikes"
late = np.zeros(200)
late[10] = late[100::10] = 0.85  # one spike alone, then a train
run = simulate(sc.Alpha(alpha=0.8, beta=0.7, threshold=0.5), late)
stack(late, run, ("syn_exc", "syn_inh", "mem"), 0.5, "Alpha")
times = np.flatnonzero(run["spikes"]).tolist()
print("Alpha fires at", times)
assert times == [133, 173]  # as in snnTorch's tutorial

alone = simulate(sc.Alpha(alpha=0.8, beta=0.7, threshold=10.0), impulse)["mem"]
print("answer to one spike:", alone[:6].round(4), f"peak at step {alone.argmax()}")
assert np.allclose(alone[:6], [0, 0.2671, 0.4007, 0.4514, 0.4528, 0.4263], atol=1e-4)

# %% [markdown]
# Each output spike comes three steps after an input spike, at the top of a hump, while a leaky neuron would fire in the
# step of the input. The spike clears all three states (`reset_mechanism="zero"` is the default of this neuron), so the
# next output spike takes four input spikes again.
#
# Compare the kernels: $\tau(\alpha^n - \beta^n)$ is equation (2), one step later and scaled. As filters, `Synaptic` and
# `Alpha` are the same. They differ in what a spike resets.

# %%
same = simulate(sc.Synaptic(alpha=0.8, beta=0.7, **still), impulse)["mem"]
tau = np.log(0.8) / (np.log(0.7) - np.log(0.8)) + 1
print("Synaptic, scaled:   ", (tau * (0.8 - 0.7) * same[:5]).round(4))
print("Alpha, a step later:", alone[1:6].round(4))
assert np.allclose(tau * (0.8 - 0.7) * same[:-1], alone[1:], atol=1e-5)

# %% [markdown]
# ## Which of the three?
#
# ![Leaky answers at once and has one state, which is reset; Synaptic answers later and resets its membrane, not its
# current; Alpha answers one step later and resets all three states](drawings/second_order_resets.svg)
#
# A rounded answer is useful if the *times* of spikes carry the information. The membrane of a leaky neuron jumps when a
# spike arrives. So if one spike moves a little past another, much changes at once. Behind a synaptic current, the
# membrane changes gradually, and gradients with respect to times make sense.
#
# A rounded answer also reads rates better. Below, twenty neurons fire with a probability that an electrocardiogram
# gives, and neurons without reset listen to all of them. A membrane that follows well reproduces the signal, so we
# measure the correlation of both (without the delay). A short memory leaves noise; a long memory blurs the beats. We
# try every decay from 0.3 to 0.95, so that both kinds of neurons show their best.

# %% alt="Correlation of membrane and signal against the decay, a hump for Leaky and a higher one for Synaptic"
import pywt  # carries the recording

ecg = pywt.data.ecg().astype(np.float32)
ecg = (ecg - ecg.min()) / np.ptp(ecg)
draws = 5  # as samples of a batch: each has twenty neurons of its own
chance = np.tile(ecg[:, None, None], (1, draws, 20))
spikes = spikegen.rate(chance, time_var_input=True, seed=0)
noisy = spikes.mean(axis=2, keepdims=True)  # (time, draws, 1)
decays = np.arange(0.3, 0.96, 0.05)


def correlation(neuron):
    """The correlation with the signal for each decay, at the best delay, mean of all draws."""
    reader = sc.Model(sc.Sequential(neuron), engine="numpy", input_shape=(len(decays),))
    mem = reader(np.tile(noisy, (1, 1, len(decays)))).membrane  # (time, draws, decays)
    by_delay = []
    for late in range(10):
        signal = ecg[: len(ecg) - late]
        readings = mem[late:].reshape(len(signal), -1).T  # one for each draw and decay
        by_delay.append([np.corrcoef(signal, reading)[0, 1] for reading in readings])
    return np.max(by_delay, axis=0).reshape(draws, -1).mean(axis=0)


fig, ax = plt.subplots(figsize=(6, 3))
best = {}
for name, neuron in (
    ("Leaky", sc.Leaky(beta=decays, **still)),
    ("Synaptic, both decays", sc.Synaptic(alpha=decays, beta=decays, **still)),
):
    values = correlation(neuron)
    best[name] = values.max()
    ax.plot(decays, values, "o-", markersize=4, label=name)
    print(f"{name:21}: at best {best[name]:.3f}, with a decay of {decays[values.argmax()]:.2f}")
ax.set(xlabel="decay per step", ylabel="correlation")
ax.legend()
fig.tight_layout()
assert best["Synaptic, both decays"] > best["Leaky"] + 0.003

# %% [markdown]
# Two short stages beat one longer stage, because they remove more noise for the same delay. The advantage is small, but
# we found it in each draw that we tried.

# %% [markdown]
# ## Does it help to learn?
#
# Here is a task where time matters: digits of 8 × 8 pixels as a latency code ([Spike encoding](spike_encoding.md)).
# Each pixel fires at most once, bright ones early. A network that counts its output spikes at the end must remember
# what came at the beginning. We train the same network with three kinds of neurons; the test images are by other
# writers than those in the training set.

# %%
from functools import partial

from spikecore.datasets import Loader, digits

train, test = digits()
encoder = partial(spikegen.latency, normalize=True, linear=True, clip=True)


def accuracy_of(neuron, seed=0):
    """Train a network of these neurons; return its accuracy on the test set."""
    network = sc.Sequential(sc.Linear(64, 60), neuron, sc.Linear(60, 10), neuron)
    model = sc.Model(network, engine="numpy", seed=seed)
    batches = Loader(train, batch_size=64, seed=seed)
    options = {"num_steps": 20, "encoder": encoder, "progress": False}
    model.fit(batches, optimizer=sc.Adam(lr=5e-3), epochs=8, **options)
    return model.evaluate(Loader(test, batch_size=450, shuffle=False), **options)["accuracy"]


kinds = {
    "Leaky, beta 0.9": sc.Leaky(beta=0.9),
    "Synaptic, 0.8 and 0.8": sc.Synaptic(alpha=0.8, beta=0.8),
    "Alpha, 0.9 and 0.8": sc.Alpha(alpha=0.9, beta=0.8, threshold=0.25),
}
accuracy = {name: accuracy_of(neuron) for name, neuron in kinds.items()}
for name, value in accuracy.items():
    print(f"{name:22}: {100 * value:.1f} %")
assert accuracy["Synaptic, 0.8 and 0.8"] > accuracy["Leaky, beta 0.9"] + 0.05

# %% [markdown]
# The second state gains more than ten points! It is tempting to stop here. But recall the two things that $\alpha$
# changed besides the shape: the neuron *remembers longer* and its *gain is larger*, 25 against 10. Neither needs a
# second state. So give the leaky neuron the same chance: $\beta = 0.95$ and a threshold of 0.25.

# %% alt="Bars of accuracy: Leaky with beta 0.9 lowest, then Alpha; Synaptic and the adjusted Leaky are highest"
fair = accuracy_of(sc.Leaky(beta=0.95, threshold=0.25))
print(f"Leaky, beta 0.95, threshold 0.25: {100 * fair:.1f} %")
bars = {**accuracy, "Leaky, beta 0.95,\nthreshold 0.25": fair}
fig, ax = plt.subplots(figsize=(6, 2.4))
ax.barh(list(bars), [100 * value for value in bars.values()], color=["C0", "C1", "C2", "C0"])
ax.set(xlabel="accuracy in % (test set)", xlim=(60, 100))
ax.invert_yaxis()
fig.tight_layout()
assert abs(fair - accuracy["Synaptic, 0.8 and 0.8"]) < 0.05

# %% [markdown]
# The gap has gone. What helped was memory and gain. This is a common trap when neurons are compared: a new
# equation comes with new constants, and the constants do the work. Compare neurons only after each has had its own
# $\beta$, threshold and learning rate (chosen on validation data, not on the test set).
#
# In practice: start with `Leaky`. Take `Synaptic` if the data have two time scales, if the target hardware or the
# biology has a synaptic current, or if spike times must act smoothly. Take `Alpha` for models of the spike response
# kind. And watch the gain: with the weights of a `Leaky` network, a `Synaptic` one may fire at every step. Either scale
# the weights by $1 - \alpha$ or raise the threshold.
#
# Both decays can be learned, per layer or per neuron: `sc.Synaptic(alpha=sc.learn(0.9), beta=sc.learn(0.8))`.

# %% [markdown]
# ## Exercises
#
# **1.** When is the peak of the alpha kernel $\tau(\alpha^n - \beta^n)$? Find the maximum for continuous $n$ and
# compare with a simulation for $\alpha = 0.95$, $\beta = 0.8$.

# %% tags=["answer"]
# The derivative is zero where a^n ln a = b^n ln b, so n = ln(ln b / ln a) / ln(a / b).
a, b = 0.95, 0.8
peak = np.log(np.log(b) / np.log(a)) / np.log(a / b)
simulated = int(simulate(sc.Alpha(alpha=a, beta=b, threshold=100.0), impulse)["mem"].argmax())
print(f"formula {peak:.2f}, simulated {simulated}")
assert abs(peak - simulated) <= 0.6

# %% [markdown]
# **2.** Show that `Synaptic` with $\alpha = 0$ is `Leaky`, spike by spike.

# %% tags=["answer"]
strong = 0.6 * arriving
with_current, without = (
    simulate(sc.Synaptic(alpha=0.0, beta=0.9), strong),
    simulate(sc.Leaky(beta=0.9), strong),
)
print("spikes:", int(with_current["spikes"].sum()), "and", int(without["spikes"].sum()))
assert (with_current["spikes"] == without["spikes"]).all()
assert without["spikes"].sum() > 0

# %% [markdown]
# **3.** Two input spikes arrive, the second $d$ steps after the first. For which $d$ does a neuron fire, if each spike
# alone lifts its membrane to 0.6 at most? Compare `Leaky` and `Synaptic` with the same $\beta = 0.8$, scaled so that
# both have this peak. What does the synaptic current do to a detector of coincidences?

# %% tags=["answer"]
window = {}
for name, neuron in (("Leaky", sc.Leaky(beta=0.8)), ("Synaptic", sc.Synaptic(alpha=0.8, beta=0.8))):
    filtered = simulate(type(neuron)(**{**vars(neuron), "reset_mechanism": "none"}), impulse)["mem"]
    weight, fires = 0.6 / filtered.max(), []
    for distance in range(25):
        pair = np.zeros(60)
        pair[5] += weight
        pair[5 + distance] += weight
        if simulate(neuron, pair)["spikes"].any():
            fires.append(distance)
    window[name] = max(fires)
    print(f"{name:8} fires for distances up to {window[name]} steps")
# The longer answer to a spike makes the window longer: the neuron is more tolerant, and less precise.
assert window["Synaptic"] > window["Leaky"]

# %% [markdown]
# ## Verify the gradients
#
# A second-order neuron has gradients through two states, each with a decay of its own. Here the decays are parameters,
# one per neuron in the hidden layer, and the torch engine's gradients are compared with hand-written ones and with
# finite differences ([Verifying gradients](../verify.md)).

# %%
hidden = sc.Synaptic(alpha=sc.learn(np.full(20, 0.8)), beta=sc.learn(np.full(20, 0.8)))
last = sc.Alpha(alpha=0.9, beta=0.8, threshold=0.25)
network = sc.Sequential(sc.Linear(64, 20), hidden, sc.Linear(20, 10), last)
model = sc.Model(network, engine="torch", seed=0)
report = sc.verify(model, test.inputs[:8], test.targets[:8], num_steps=20, encoder=encoder)
print(report)
assert report.ok
