# %% [markdown]
# # Spike encoding
#
# At the end of this page you can turn images and signals into spikes in several ways, get the values back from the
# spikes, and say what each code costs.
#
# It needs, in the clone of this repository, `pip install -e ".[all,examples]"`, which brings the 5000
# images of MNIST and the electrocardiogram that are used here.

# %% [markdown]
# ## What a spiking network takes as its input
#
# A pixel has a brightness; a neuron has a spike or none. So before a spiking network can see a picture, somebody has to
# say how numbers become spikes. Three properties make this worth the trouble.
#
# - **A spike is one bit.** The product of a weight and a spike is the weight or zero. A processor needs no
#   multiplication for it, and the memory bus carries one bit instead of a number.
# - **Spikes are rare.** Where nothing fires, nothing has to be computed or sent. In the cortex a neuron fires a few
#   times per second, while it could fire several hundred times.
# - **Change matters more than what stays.** An eye or an ear reacts mostly to what changes. A code that is silent for a
#   constant signal gets this for nothing.
#
# This page is about three ways to write a number as spikes, and what each costs:
#
# ![Three pixels of different brightness as a rate code and as a latency code, and a signal as a code of its
# changes](drawings/codes.svg)
#
# In spikecore, spikes are arrays of zeros and ones with the time axis first: `(time, batch, *features)`. An encoder
# gets `(batch, *features)` and adds the time axis.
#
# ![An array of spikes: a sheet for each time step, with a row for each sample of the batch and a column for each
# feature](drawings/spike_array.svg)
#
# Let us take three digits.

# %% alt="Three handwritten digits, 28 by 28 pixels each: a five, a zero and a four"
import matplotlib.pyplot as plt
import numpy as np

import spikecore as sc
from spikecore import spikegen, spikeplot
from spikecore.datasets import mnist_sample

train, test = mnist_sample()  # 4000 and 1000 images of 784 pixels, brightness from 0 to 1
chosen = [int(np.flatnonzero(test.targets == digit)[0]) for digit in (5, 0, 4)]
images = test.inputs[chosen]
print("images:", images.shape, images.dtype, f"from {images.min():.0f} to {images.max():.0f}")


def show(ax, picture, title=""):
    """Draw one image, 0 as the background and 1 as the colour."""
    ax.imshow(np.asarray(picture).reshape(28, 28), cmap="viridis", vmin=0, vmax=1)
    ax.set_title(title, fontsize=10)
    ax.set_axis_off()


fig, axes = plt.subplots(1, 3, figsize=(6, 2.2))
for ax, image, label in zip(axes, images, test.targets[chosen]):
    show(ax, image, f"class {label}")

# %% [markdown]
# ## Rate code: how bright a pixel is by how often it fires
#
# Take the brightness $x \in [0, 1]$ as a probability. At each step, independently of all others, the pixel's neuron
# fires with this probability:
#
# $$P(S[t] = 1) = x .$$
#
# Each step is a coin toss (a Bernoulli trial), and the number of spikes in $T$ steps is binomial with mean $xT$.
# `rate` does this for all pixels. With a `seed` the same call gives the same spikes, on every engine.

# %%
spikes = spikegen.rate(images, num_steps=100, seed=0)  # snnTorch's tutorial takes 100 steps as well
print("spikes:", spikes.shape, "values:", np.unique(spikes))

grey = np.full((1, 1000), 0.5, dtype=np.float32)  # 1000 neurons with the value 0.5
for steps in (10, 100, 1000):
    rates = spikegen.rate(grey, num_steps=steps, seed=0).mean(axis=0)
    print(f"{steps:4} steps: mean rate {rates.mean():.3f}, standard deviation {rates.std():.3f}")

# %% [markdown]
# All neurons together say 0.5 at once, but a single neuron needs time. The standard deviation of a rate that was
# measured over $T$ steps is
#
# $$\sigma = \sqrt{\frac{x (1 - x)}{T}} ,$$
#
# which gives 0.158, 0.05 and 0.016 for the three lines above. Ten times the accuracy costs a hundred times the steps.
# The next picture shows what that means for a digit: single steps are noise, their average is the image.
#
# `gain` multiplies the probabilities. With a gain of 0.25 there are four times fewer spikes, and the image is still
# there, since what a network sees are differences between pixels.

# %% alt="A five from single steps of a rate code, three noisy pictures, and from averages over 10 and 100 steps"
few = spikegen.rate(images, num_steps=100, gain=0.25, seed=0)
fig, axes = plt.subplots(2, 4, figsize=(7, 3.9))
for row, code, gain in zip(axes, (spikes, few), (1, 0.25)):
    show(row[0], code[0, 0], f"gain {gain}: step 0")
    show(row[1], code[1, 0], "step 1")
    show(row[2], code[:10, 0].mean(axis=0) / gain, "mean of 10 steps")
    show(row[3], code[:, 0].mean(axis=0) / gain, "mean of 100 steps")

error = abs(spikes.mean(axis=0) - images).mean()
share = few.sum() / spikes.sum()
print(f"mean error of a pixel after 100 steps: {error:.3f}")
print(f"share of the spikes that a gain of 0.25 leaves: {share:.2f}")
assert error < 0.02
assert abs(share - 0.25) < 0.02

# %% [markdown]
# A **raster plot** shows the same spikes without averaging: time to the right, neurons upwards, a mark for each spike.
# The horizontal bands are the rows of pixels with ink; between them is background, which never fires.

# %% alt="Raster of 784 neurons over 100 steps: bands of neurons that fire often, and empty bands between them"
fig, ax = plt.subplots(figsize=(7, 3.4))
spikeplot.raster(spikes, ax, batch_index=0, c="C0", s=1.5)
fig.tight_layout()

# %% [markdown]
# Three things to know about rate codes:
#
# - They **forgive**. Losing a few spikes changes a rate by little, and the input is noisy anyway. Rates were the first
#   neural code that was found: Adrian and Zotterman saw in 1926 that a nerve fires faster the more a muscle is
#   stretched.
# - They are **slow and expensive**: this digit needs thousands of spikes for what 784 numbers say.
# - They are **not the whole truth**: people react to a picture within a fraction of a second, while a typical neuron
#   fires only a few spikes in that time, too few for a rate (Thorpe, Fize and Marlot, *Speed of processing in the human
#   visual system*, 1996).
#
# The range of the values matters as well. An image of bytes has values up to 255, and nearly all of them would mean
# "always". The encoder refuses such an image and says what to do:

# %%
try:
    spikegen.rate((images * 255).astype(np.uint8), num_steps=100)
except ValueError as error:
    print(error)

# %% [markdown]
# ## Latency code: how bright a pixel is by how early it fires
#
# One spike per pixel is enough if its *time* counts. The code follows from physics. A constant input $x$ charges a
# membrane, which is a capacitor with a leak and the time constant $\tau$. Its voltage rises towards $x$:
#
# $$U(t) = x \left(1 - e^{-t/\tau}\right) .$$
#
# It reaches the threshold $\theta$ at the time
#
# $$t = \tau \ln \frac{x}{x - \theta} ,$$
#
# and never if $x \le \theta$.
#
# ![Membranes of a bright, a grey and a dark pixel: the bright one reaches the threshold early, the grey one late, the
# dark one never](drawings/latency_membrane.svg)
#
# This is `spikegen.latency`. The logarithm crowds most brightnesses into the first steps, so there is also a straight
# line, `linear=True`: $t = \tau (1 - x)$.

# %% alt="Spike time against brightness: the log code falls steeply near the threshold, the linear code is straight"
x = np.linspace(0.0, 1.0, 201, dtype=np.float32)[:, None]
log_time, _ = spikegen.latency_code(x, num_steps=100, tau=5, threshold=0.2, normalize=False)
line_time, _ = spikegen.latency_code(x, num_steps=100, tau=20, threshold=0.2, linear=True)
fig, ax = plt.subplots(figsize=(6, 2.8))
above = x[:, 0] > 0.2
ax.plot(x[above], log_time[above], label=r"log code, $\tau = 5$ steps")
ax.plot(x[above], line_time[above], label=r"linear code, $\tau = 20$ steps")
ax.axvline(0.2, color="C7", linestyle="--", label=r"threshold $\theta = 0.2$")
ax.set(xlabel="brightness x", ylabel="spike time in steps", ylim=(0, 30))
ax.legend()
fig.tight_layout()

# %% [markdown]
# Is the formula only an analogy? No: a leaky neuron *is* this encoder. Below, five values are the constant currents of
# five neurons, and each fires for the first time at the step after the formula's time.

# %%
tau, theta = 5.0, 0.2
values = np.array([[0.22, 0.3, 0.5, 0.8, 1.0]], dtype=np.float32)
beta = float(np.exp(-1 / tau))  # what is left of a membrane after one step
neuron = sc.Model(sc.Sequential(sc.Leaky(beta=beta, threshold=theta)), engine="numpy")
fired = neuron((1 - beta) * values, num_steps=40).spikes[:, 0]  # (time, neurons)
first = fired.argmax(axis=0) + 1  # step 0 ends at the time 1
formula = tau * np.log(values[0] / (values[0] - theta))
print("formula:", formula.round(2))
print("neuron: ", first)
assert (first == np.ceil(formula)).all()

# %% [markdown]
# Now we encode the digits with snnTorch's settings: 100 steps, $\tau = 5$, $\theta = 0.01$. First we take the plain
# code, then three options that make it usable:
#
# - `normalize=True` stretches the times over all steps,
# - `linear=True` spreads the brightnesses evenly,
# - `clip=True` lets pixels below the threshold stay silent. Without it, the whole background fires at one late step.

# %% alt="Three rasters of latency codes: spikes in the first steps and one column at the end; spread out; only the ink"
options = {
    "plain": {},
    "normalize, linear": {"normalize": True, "linear": True},
    "normalize, linear, clip": {"normalize": True, "linear": True, "clip": True},
}
fig, axes = plt.subplots(1, 3, figsize=(7, 3.2), sharey=True, layout="constrained")
latency_counts = []
for ax, (name, chosen_options) in zip(axes, options.items()):
    code = spikegen.latency(images, num_steps=100, tau=5, threshold=0.01, **chosen_options)
    latency_counts.append(int(code[:, 0].sum()))
    ax.set_title(f"{name}\n{latency_counts[-1]} spikes", fontsize=10)
    spikeplot.raster(code, ax, batch_index=0, c="C0", s=3)
axes[1].set_ylabel(" ")
axes[2].set_ylabel(" ")
ink = int((images[0] >= 0.01).sum())
print(f"pixels: 784; pixels with ink: {ink}; spikes of the rate code: {int(spikes[:, 0].sum())}")
assert latency_counts == [784, 784, ink]

# %% [markdown]
# The code needs one spike per pixel with ink, instead of thousands of spikes for a digit. This matters on hardware that
# pays per spike. The price is robustness. If one spike is lost, its pixel is lost; if all spikes come a step late, all
# pixels are darker.
#
# Early spikes carry the brightest pixels, so a decision can be made before the code has ended. The pictures below show
# what has arrived after some steps.

# %% alt="The five as its latency code arrives: after 5 steps the brightest pixels, after 50 most, after 100 all of it"
options = {"normalize": True, "linear": True, "clip": True}
code = spikegen.latency(images, num_steps=100, tau=5, threshold=0.01, **options)
fig, axes = plt.subplots(1, 4, figsize=(7, 2.1))
for ax, step in zip(axes, (1, 5, 50, 100)):
    show(ax, code[:step, 0].sum(axis=0), f"after {step} step" + "s" * (step > 1))

# %% [markdown]
# ## Delta modulation: a spike where something changes
#
# For signals there is a third way: fire when the signal has *changed* by at least $\theta$ since the last step.
#
# $$
# S[t] = \begin{cases} +1 & x[t] - x[t-1] \ge \theta \\ -1 & x[t] - x[t-1] \le -\theta \\ 0 & \text{else} \end{cases}
# $$
#
# Without `off_spike=True` there are only the positive spikes. The two signs are two channels of a sensor, ON and OFF;
# event cameras have both at each pixel ([Neuromorphic data](neuromorphic_data.md)).

# %%
signal = np.array([0, 1, 0, 2, 8, -20, 20, -5, 0, 1, 0], dtype=np.float32)
delta = spikegen.delta(signal, threshold=4, off_spike=True)
print("signal:", signal.astype(int).tolist())
print("spikes:", delta.astype(int).tolist())
assert delta.tolist() == [0, 0, 0, 0, 1, -1, 1, -1, 1, 0, 0]  # as in snnTorch's tutorial

# %% [markdown]
# `delta` looks at single steps: a signal that rises slowly, by less than $\theta$ per step, never makes it fire.
# **Level crossing** (send on delta) compares the signal with the level that the receiver has, and corrects this level
# by $\pm\theta$ with each spike:
#
# ![A signal rises slowly, then falls at once: delta sees the fall only; level crossing follows
# both](drawings/level_crossing.svg)
#
# $$
# S[t] = \operatorname{sign}(x[t] - L)\, \Big\lfloor \tfrac{|x[t] - L|}{\theta} \Big\rfloor , \qquad
# L \leftarrow L + \theta S[t] .
# $$
#
# The sum of the spikes, times $\theta$, is then the signal to within $\theta$. (`multiple=True` allows a spike of size
# 2 or more where the signal is steep; without it a step has one spike at most.) Let us look at three heartbeats of an
# electrocardiogram.

# %% alt="An electrocardiogram with its reconstructions, and rows of marks for its up and down spikes by both codes"
import pywt  # carries the recording

ecg = pywt.data.ecg().astype(np.float32)
ecg = (ecg - ecg.min()) / np.ptp(ecg)  # from 0 to 1
threshold = 0.05
by_delta = spikegen.delta(ecg, threshold, padding=True, off_spike=True)
by_level = spikegen.level_crossing(ecg, threshold, multiple=True)

options = {"sharex": True, "layout": "constrained"}
fig, (top, bottom) = plt.subplots(2, 1, figsize=(7, 4.2), height_ratios=(2.2, 1), **options)
top.plot(ecg, color="C7", linewidth=3, alpha=0.6, label="signal")
errors = {}
for name, code, colour in (("delta", by_delta, "C1"), ("level crossing", by_level, "C0")):
    back = ecg[0] + threshold * np.cumsum(code)
    errors[name] = float(abs(back - ecg).max())
    top.plot(back, color=colour, linewidth=1, label=f"from the spikes of {name}")
    steps = int((code != 0).sum())
    print(f"{name:14}: spikes in {steps} of {len(ecg)} steps, largest error {errors[name]:.3f}")
top.set_ylabel("signal")
top.legend(fontsize=8)
rows = [by_level > 0, by_level < 0, by_delta > 0, by_delta < 0]
colours = ["C0", "C0", "C1", "C1"]
bottom.eventplot([np.flatnonzero(row) for row in rows], linelengths=0.7, colors=colours)
bottom.set_yticks(range(4), ["level, up", "level, down", "delta, up", "delta, down"])
bottom.set_xlabel("time step")
assert errors["level crossing"] <= threshold + 1e-5 < errors["delta"]

# %% [markdown]
# Between the beats, both codes are almost silent. The level code keeps its promise, an error of at most
# $\theta = 0.05$; `delta` hears only the steep parts and drifts away.
#
# ## More codes, and what each costs
#
# There are more ways to write a number with spikes:
#
# - `phase` writes the number's binary digits over 8 steps.
# - `burst` sends up to five spikes. The larger the value, the closer together they are.
# - `constant` makes no spikes at all. The value itself is the current of the first layer, and that layer's neurons are
#   the encoder (*direct coding*).
# - `population` gives each value several neurons, each tuned to a part of the range.
#
# We ask of each code: how many spikes does it need, and how well can the value be got back? The decoders below are the
# obvious ones.

# %%
x = images[:1]
weights = 0.5 ** np.arange(1, 9)  # of binary digits
decoders = {
    "rate, 100 steps": (spikegen.rate(x, num_steps=100, seed=0), lambda s: s.mean(axis=0)),
    "rate, 10 steps": (spikegen.rate(x, num_steps=10, seed=0), lambda s: s.mean(axis=0)),
    "latency, 100 steps": (
        spikegen.latency(x, num_steps=100, normalize=True, linear=True, clip=True),
        lambda s: s.max(axis=0) * (1 - s.argmax(axis=0) / 99),
    ),
    "phase, 8 steps": (spikegen.phase(x, num_steps=8), lambda s: np.tensordot(weights, s, 1)),
    "burst, 10 steps": (spikegen.burst(x, num_steps=10), lambda s: s.sum(axis=0) / 5),
}
print("code                 spikes  mean error of a pixel with ink")
for name, (code, decode) in decoders.items():
    loss = abs(decode(code) - x)[x > 0].mean()
    print(f"{name:20} {int(code.sum()):6}  {loss:.3f}")
    assert loss < 0.2

# %% [markdown]
# Per spike, `latency` is the most accurate by far; per step it is `phase`, the binary digits. Both need a decoder that
# knows what time it is: the first spike of `phase` counts 128 times as much as the last. A neuron has no such clock. It
# adds up what arrives and forgets. So the best code for a decoder need not be the best for a network.
#
# ## Which one for a network?
#
# So we train a network with each code. It has 784 inputs, 100 hidden neurons and 10 outputs, and learns for three
# epochs from 2000 images, with 25 steps. The accuracy is measured on 1000 other images. The settings are the same for
# all codes, and none was tuned. (What happens in `fit` is the subject of [Training a dense network](train_dense.md).)

# %%
from functools import partial

from spikecore.datasets import Loader

part, _ = train.split(2000, seed=0)
encoders = {
    "constant current": spikegen.constant,
    "rate": spikegen.rate,
    "latency, clipped": partial(spikegen.latency, normalize=True, linear=True, clip=True),
    "phase": spikegen.phase,
}
accuracy = {}
seeds = {"rate": {"seed": 0}}  # for the count of spikes; fit has a seed of its own
for name, encoder in encoders.items():
    neuron = sc.Leaky(beta=0.95)
    network = sc.Sequential(sc.Linear(784, 100), neuron, sc.Linear(100, 10), neuron)
    model = sc.Model(network, engine="numpy", seed=0)
    loader = Loader(part, batch_size=50, seed=0)
    options = {"num_steps": 25, "encoder": encoder, "progress": False}
    model.fit(loader, optimizer=sc.Adam(lr=2e-3), epochs=3, **options)
    result = model.evaluate(Loader(test, batch_size=500, shuffle=False), **options)
    accuracy[name] = result["accuracy"]
    code = encoder(test.inputs[:100], 25, **seeds.get(name, {}))
    count = "no" if name == "constant current" else round((code != 0).sum() / 100)
    print(f"{name:16}: {100 * accuracy[name]:.1f} %, {count} input spikes per image")
assert min(accuracy.values()) > 0.75

# %% [markdown]
# All codes can be learned. A constant current, a rate code and a phase code do equally well. (The phase code repeats
# itself here, and has about as many spikes as the rate code.) The latency code is behind. It gives the network less
# than a tenth of the spikes, and a spike has the same size whether the pixel is bright or dark. And the hidden neurons
# forget 5 % of what they have at each step.
#
# Start with a constant current if your inputs are numbers and your hardware allows it: it has no noise. Take a rate
# code if the input must be spikes and robust. Take a latency code if you pay per spike. Take level crossing or an event
# camera if the data are signals.
#
# Outputs need a code as well:
#
# ![Data, encoder, network and decoder in a row, with spikes before and behind the
# network](drawings/coding_pipeline.svg)
#
# The loss chooses the decoder: see [the table of losses](../losses.md#which-decoder-belongs-to-which-loss). [Population
# coding](population_coding.md) gives each class several neurons.

# %% [markdown]
# ## Exercises
#
# **1.** How many steps does a rate code need until the average error of a pixel with $x = 0.5$ is below 0.02? First
# compute it: for a normal distribution the mean absolute error is $\sqrt{2/\pi}\,\sigma$. Then measure.

# %% tags=["answer"]
steps = int(np.ceil(2 / np.pi * 0.25 / 0.02**2))
rates = spikegen.rate(grey, num_steps=steps, seed=1).mean(axis=0)
measured = abs(rates - 0.5).mean()
print(f"computed: {steps} steps; measured error with as many: {measured:.4f}")
assert abs(measured - 0.02) < 0.002

# %% [markdown]
# **2.** A real neuron cannot fire again at once. `spikegen.poisson(..., refractory=r)` has $r$ silent steps after each
# spike. What is the rate for the probability $x$? Compare your formula with a measurement for $x = 0.5$, $r = 3$.

# %% tags=["answer"]
# Between two spikes are r silent steps and then, on average, 1/x tosses until the coin shows a spike.
spaced = spikegen.poisson(grey, num_steps=1000, refractory=3, seed=0)
expected = 1 / (3 + 1 / 0.5)
print(f"formula 1/(r + 1/x) = {expected:.3f}, measured {spaced.mean():.3f}")
assert abs(spaced.mean() - expected) < 0.003

# %% [markdown]
# **3.** Make a random spike train in which the probability itself changes over time, as a sine between 0 and 0.5.

# %% tags=["answer"] alt="Raster of 50 neurons whose spikes come in waves, with the probability as a curve above"
wave = 0.25 + 0.25 * np.sin(np.linspace(0, 6 * np.pi, 200))
random_spikes = spikegen.rate(np.tile(wave[:, None, None], (1, 1, 50)), time_var_input=True, seed=0)
options = {"sharex": True, "layout": "constrained"}
fig, (top, bottom) = plt.subplots(2, 1, figsize=(7, 3.4), height_ratios=(1, 2), **options)
top.plot(wave, label="probability")
top.plot(random_spikes[:, 0].mean(axis=1), linewidth=0.8, label="share of neurons that fire")
top.legend(fontsize=8, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))
spikeplot.raster(random_spikes, bottom, batch_index=0, c="C0", s=3)
fig.align_ylabels()

# %% [markdown]
# **4.** In the raster of the plain latency code, a column of neurons fires at one late step. Which neurons are they,
# and why at this step? What would a network make of them?

# %% tags=["answer"]
plain = spikegen.latency(images[:1], num_steps=100, tau=5, threshold=0.01)[:, 0]
step = int(plain.sum(axis=1).argmax())
values = images[0][plain[step] > 0]
print(f"step {step}: {len(values)} neurons fire; their brightest pixel has {values.max():.3f}")
# They are the background. Values below the threshold are raised to the threshold plus epsilon = 1e-7, and
# 5 ln((0.01 + 1e-7)/1e-7) = 57.6. To a network it is a wave of spikes that is the same in every image, apart from the
# ink that is missing in it: it costs most of the spikes and says little. clip=True takes it away.
assert step == round(5 * np.log((0.01 + 1e-7) / 1e-7))
assert values.max() < 0.01

# %% [markdown]
# ## Verify the gradients
#
# An encoder has no parameters and needs no gradients: it is drawn once, and the same spikes then go to every engine. So
# `sc.verify` can compare gradients of a network behind a random code. It encodes the batch once. Then it computes loss,
# spikes, states and gradients twice: with the model's engine, and with the hand-written gradients of the NumPy engine.
# It also compares the hand-written gradients with finite differences ([Verifying gradients](../verify.md)).

# %%
neuron = sc.Leaky(beta=0.9)
network = sc.Sequential(sc.Linear(784, 20), neuron, sc.Linear(20, 10), neuron)
small = sc.Model(network, engine="torch", seed=0)
report = sc.verify(small, images, test.targets[chosen], num_steps=15, encoder=spikegen.rate)
print(report)
assert report.ok
