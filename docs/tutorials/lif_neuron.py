# %% [markdown]
# # The leaky integrate-and-fire neuron
#
# At the end of this page you can derive the neuron that most spiking networks consist of, simulate it, and predict when
# it fires from its resistance, capacitance and threshold.
#
# It needs, in the clone of this repository, `pip install -e ".[all,examples]"`. Before it you may want to read
# [Spike encoding](spike_encoding.md); after it comes [A feedforward network by hand](feedforward_by_hand.md).

# %% [markdown]
# ## Between a cell and a sum
#
# How much of a nerve cell belongs in a model? There is a wide range.
#
# ![Three models: Hodgkin and Huxley's with the shape of a spike, the LIF neuron with its times, and the artificial
# neuron without time](drawings/lif_between.svg)
#
# **Hodgkin and Huxley** (1952) described a squid's nerve by four differential equations. For large networks, these are
# too slow and have too many constants. The **leaky integrate-and-fire neuron** (LIF) leaves out the shape of a spike,
# since all spikes look alike and only their *times* matter. The neuron adds up its input, forgets with time, and fires
# when the sum reaches a threshold.
#
# Louis Lapicque had the idea in 1907, decades before anybody knew how a spike comes about. He stimulated nerves of
# frogs and found that they behave like a leaking capacitor (N. Brunel and M. van Rossum tell the story in *Lapicque's
# 1907 paper: from frogs to integrate-and-fire*, 2007).
#
# ## The membrane is a capacitor with a leak
#
# A membrane is a thin film of fat between two salt solutions: an insulator between conductors, which is a capacitor
# $C$. Channels let some ions through: they are a resistor $R$ in parallel.
#
# ![A resistor R and a capacitor C in parallel between the inside and the outside of the cell; the current I(t) leaks
# through R or charges C, whose voltage is U(t)](drawings/lif_circuit.svg)
#
# A current $I(t)$ from a synapse or an electrode splits in two:
#
# $$I(t) = \underbrace{\frac{U(t)}{R}}_{\text{leaks out (Ohm)}} +
# \underbrace{C \frac{dU(t)}{dt}}_{\text{charges the membrane}} .$$
#
# Multiply by $R$ and call $\tau = RC$ the **time constant** of the membrane:
#
# $$\tau \frac{dU(t)}{dt} = -U(t) + R I(t) . \qquad (1)$$
#
# Without current, $dU/dt = -U/\tau$: the higher the voltage, the faster it falls. The function whose slope is
# proportional to itself is the exponential function:
#
# $$U(t) = U_0\, e^{-t/\tau} .$$
#
# ## From a differential equation to time steps
#
# A computer has no $dt$, but it has a small $\Delta t$. The **forward Euler method** takes the slope at the beginning
# of a step for the whole step. With $dU/dt \approx (U[t+1] - U[t])/\Delta t$, equation (1) becomes
#
# $$U[t+1] = \Big(1 - \frac{\Delta t}{\tau}\Big) U[t] + \frac{\Delta t}{C} I[t+1] . \qquad (2)$$
#
# (We take the new input, so that it acts at once.) Ten lines of NumPy show how good this approximation is. The membrane
# starts at 0.9 V and leaks, with $\tau = 5$ ms.

# %% alt="A decaying exponential and its Euler approximations: close for small steps, swinging when a step exceeds tau"
import matplotlib.pyplot as plt
import numpy as np

import spikecore as sc
from spikecore import spikegen

tau, start, end = 5e-3, 0.9, 30e-3  # seconds, volts, seconds


def euler(time_step):
    """The voltage of a membrane that only leaks."""
    mem = [start]
    for _ in range(round(end / time_step)):
        mem.append(mem[-1] + time_step / tau * -mem[-1])
    return np.array(mem)


fig, ax = plt.subplots(figsize=(7, 3))
time = np.linspace(0, end, 300)
ax.plot(1e3 * time, start * np.exp(-time / tau), color="C7", linewidth=4, alpha=0.5, label="exact")
for number, time_step in enumerate((0.2e-3, 1e-3, 7.5e-3)):
    mem = euler(time_step)
    grid = time_step * np.arange(len(mem))
    label = rf"$\Delta t$ = {1e3 * time_step:g} ms"
    ax.plot(1e3 * grid, mem, f"C{number}.-", markersize=4, linewidth=1, label=label)
    error = abs(mem - start * np.exp(-grid / tau)).max()
    factor = 1 - time_step / tau
    print(f"{1e3 * time_step:3.1f} ms: factor per step {factor:5.2f}, largest error {error:.3f} V")
ax.set(xlabel="time in ms", ylabel="membrane in V")
ax.legend()
fig.tight_layout()

# %% [markdown]
# Small steps follow the exponential. At $\Delta t = 1.5\,\tau$ the factor $1 - \Delta t/\tau$ is negative: the membrane
# swings around zero, and beyond $2\,\tau$ it would explode. There is a way out: for a constant input over a step, the
# equation has an exact solution, with the factor
#
# $$\beta = e^{-\Delta t/\tau}$$
#
# in place of $1 - \Delta t/\tau$, which is only the first two terms of the exponential series. The next page, [A
# feedforward network by hand](feedforward_by_hand.md), builds on $\beta$. Here we stay with Lapicque's circuit, because
# $R$ and $C$ can be measured.
#
# ## Lapicque's neuron under a step of current
#
# `sc.Lapicque` is equation (2) with a threshold and a reset. A `Model` runs it over a sequence: the input has the shape
# `(time, batch, neurons)`, here 200 steps, one sample and one neuron. From step 10 on, a current of 0.1 A flows. (Real
# cells have nanoamperes and megohms. Only the product matters, and round numbers are easier to read.)

# %%
STEPS = 200


def simulate(neuron, current):
    """Run one neuron on a current (time,); return its membrane and its spikes, (time,) each."""
    model = sc.Model(sc.Sequential(neuron), engine="numpy", input_shape=(1,))
    out = model(np.asarray(current, dtype=np.float32)[:, None, None])
    return out.membrane[:, 0, 0], out.spikes[:, 0, 0]


def step_current(ampere, first=10, last=STEPS):
    """A current that is on from one step to another."""
    current = np.zeros(STEPS)
    current[first:last] = ampere
    return current


def stack(current, mem, spikes=None, threshold=None, title=""):
    """The three pictures of every textbook: input, membrane, spikes."""
    heights = (1, 2) if spikes is None else (1, 2, 0.5)
    size = (7, 1.1 * sum(heights))
    fig, axes = plt.subplots(len(heights), 1, figsize=size, sharex=True, height_ratios=heights)
    axes[0].plot(current, color="C1", drawstyle="steps-mid")
    axes[0].set_ylabel("input")
    axes[0].set_title(title, fontsize=11)
    axes[1].plot(mem, color="C0")
    axes[1].set_ylabel("membrane")
    if threshold is not None:
        axes[1].axhline(threshold, color="C7", linestyle="--", linewidth=1)
    if spikes is not None:
        axes[2].eventplot(np.flatnonzero(spikes), color="C3", linelengths=0.8, lineoffsets=0)
        axes[2].set(yticks=[], ylabel="spikes")
    axes[-1].set_xlabel("time step")
    fig.align_ylabels()
    fig.tight_layout()


# %% alt="Input: a step of 0.1 ampere. Membrane: it rises along an exponential towards 0.5 volt"
neuron = sc.Lapicque(R=5.0, C=1e-3, time_step=1e-3)  # ohm, farad, seconds: tau is 5 ms, five steps
current = step_current(0.1)
mem, spikes = simulate(neuron, current)
stack(current, mem, title="Charging by a constant current")
print("membrane, steps 10 to 14:", mem[10:15].round(5), f"and at the end {mem[-1]:.5f}")
assert np.allclose(mem[10:15], [0.1, 0.18, 0.244, 0.2952, 0.33616], atol=1e-6)
assert abs(mem[-1] - 0.5) < 1e-6
assert spikes.sum() == 0

# %% [markdown]
# The membrane approaches $U_\infty = R I = 0.5$ V, where as much leaks out as comes in. After one time constant it has
# done $1 - 1/e$ = 63 % of the way, after three 95 %:
#
# $$U(t) = R I \left(1 - e^{-t/\tau}\right) . \qquad (3)$$
#
# ## Pulses: how long and how strong
#
# What if the current ends? Then the membrane leaks back to zero. Let us send the same charge, current times duration,
# in 20, 5 and 1 steps.

# %% alt="Three pulses of the same charge, 20, 5 and 1 steps long: the shorter the pulse, the higher the membrane"
fig, (top, bottom) = plt.subplots(2, 1, figsize=(7, 4), sharex=True)
charge = 2.0  # ampere x steps
for number, length in enumerate((20, 5, 1)):
    current = step_current(charge / length, last=10 + length)
    mem, _ = simulate(sc.Lapicque(R=5.0, C=1e-3, time_step=1e-3, threshold=10.0), current)
    label = f"{charge / length:g} A for {length} ms"
    top.plot(current[:60], color=f"C{number}", drawstyle="steps-mid", label=label)
    bottom.plot(mem[:60], color=f"C{number}")
    print(f"{charge / length:4.1f} A for {length:2} ms: the membrane reaches {mem.max():.2f} V")
top.set_ylabel("input in A")
top.legend()
bottom.set(xlabel="time step", ylabel="membrane in V")
fig.tight_layout()

# %% [markdown]
# The shorter the pulse, the less of its charge leaks out before it ends. The limit is a pulse of a single step: it
# lifts the membrane by $\Delta t\, I / C$ at once, here by 2 V. An incoming *spike* does the same: it delivers a charge
# in no time.
#
# ## The threshold
#
# So far nothing fired. A neuron fires when its membrane exceeds the threshold $\theta$:
#
# $$S[t] = \Theta(U[t] - \theta) = \begin{cases} 1 & U[t] > \theta \\ 0 & \text{else.} \end{cases}$$
#
# A membrane above the threshold would fire at every step for ever, so after a spike something has to pull it down. The
# real cell opens potassium channels. The model **resets** the membrane: by default, it subtracts the threshold. In
# spikecore, as in snnTorch, this happens one step after the spike.
#
# ![A membrane jumps at input spikes and leaks between them; when it passes the threshold, the neuron fires, and one
# step later the membrane loses the threshold](drawings/lif_threshold.svg)
#
# $$U[t+1] = \Big(1 - \frac{\Delta t}{\tau}\Big) U[t] + \frac{\Delta t}{C} I[t+1] - \theta\, S[t] . \qquad (4)$$

# %% alt="Two membranes under 0.3 ampere: without reset it stays above the threshold, with reset it is a sawtooth"
fig, axes = plt.subplots(2, 2, figsize=(7, 3.6), sharex=True, height_ratios=(2, 0.5))
for (ax, below), mechanism in zip(axes.T, ("none", "subtract")):
    slow = sc.Lapicque(R=5.1, C=5e-3, time_step=1e-3, reset_mechanism=mechanism)  # tau = 25.5 ms
    mem, spikes = simulate(slow, step_current(0.3))
    ax.plot(mem, color="C0")
    ax.axhline(1.0, color="C7", linestyle="--", linewidth=1)
    ax.set_title(f'reset_mechanism="{mechanism}"', fontsize=10)
    below.eventplot(np.flatnonzero(spikes), color="C3", linelengths=0.8, lineoffsets=0)
    below.set(yticks=[], xlabel="time step")
    print(f"{mechanism:8}: {int(spikes.sum())} spikes")
axes[0, 0].set_ylabel("membrane")
axes[1, 0].set_ylabel("spikes")
fig.tight_layout()

# %% [markdown]
# The next experiment shows what kind of device this is. The neuron, with a threshold of 1 V, gets three currents:

# %% alt="Input of 0.2 ampere: the membrane creeps up to the threshold and there is a single spike at step 108"
cases = {}
for ampere, threshold in ((0.19, 1.0), (0.2, 1.0), (0.3, 1.0), (0.3, 0.5)):
    slow = sc.Lapicque(R=5.1, C=5e-3, time_step=1e-3, threshold=threshold)
    mem, spikes = simulate(slow, step_current(ampere))
    cases[ampere, threshold] = np.flatnonzero(spikes).tolist()
    print(f"{ampere:4} A, RI = {5.1 * ampere:.2f} V, threshold {threshold} V:", end=" ")
    print(f"spikes: {int(spikes.sum())}, the first at {cases[ampere, threshold][:6]}")

# these are the steps of snnTorch's tutorial
assert cases[0.19, 1.0] == []
assert cases[0.2, 1.0] == [108]
assert cases[0.3, 1.0] == [36, 63, 91, 118, 146, 173]
early = [19, 30, 40, 50, 61, 71, 82, 92, 102]
late = [113, 123, 134, 144, 154, 165, 175, 186, 196]
assert cases[0.3, 0.5] == early + late

mem, spikes = simulate(sc.Lapicque(R=5.1, C=5e-3, time_step=1e-3), step_current(0.2))
stack(step_current(0.2), mem, spikes, 1.0, "0.2 A")

# %% [markdown]
# - Below $\theta / R$ = 0.196 A the neuron never fires, however long one waits. Lapicque called this current the
#   *rheobase*.
# - Just above this current, a spike takes long: with 0.2 A, $U_\infty$ is 1.02 V, and an exponential approaches its
#   limit slowly.
# - With more current the neuron fires regularly, and the more current, the faster. It converts a current to a rate.
# - A lower threshold is reached sooner, so there are more spikes.
#
# ## The rate against the current
#
# How fast exactly? Let the reset set the membrane to zero. Between two spikes it rises from 0 to $\theta$ along
# equation (3). Solve it for the time to get the interval:
#
# $$t_\text{fire} = \tau \ln\frac{RI}{RI - \theta} , \qquad
# f(I) = \frac{1}{t_\text{ref} + t_\text{fire}} . \qquad (5)$$
#
# $t_\text{ref}$ is the **refractory period**: after a spike, sodium channels need 1 to 2 ms to recover, and meanwhile a
# real neuron cannot fire at all. So there is a highest rate, $1/t_\text{ref}$. `sc.Refractory` wraps a neuron of any
# kind: for `period` steps after a spike, the neuron gets no input. The measurement takes one neuron per current, all in
# one run, with steps of 0.1 ms so that we see the equation and not the rounding to steps.

# %% alt="Firing rate against current: zero below the rheobase, then rising; with a refractory period it levels off"
currents = np.linspace(0.1, 1.5, 57, dtype=np.float32)
seconds, dt = 2.0, 1e-4
lapicque = sc.Lapicque(R=5.1, C=5e-3, time_step=dt, reset_mechanism="zero")
kinds = {
    "no refractory period": (lapicque, 0.0),
    "refractory for 10 ms": (sc.Refractory(lapicque, period=100), 10e-3),
}
fig, ax = plt.subplots(figsize=(7, 3.2))
for number, (name, (neuron, pause)) in enumerate(kinds.items()):
    model = sc.Model(sc.Sequential(neuron), engine="numpy")
    out = model(currents[None], num_steps=round(seconds / dt))  # constant in time
    counts = out.spikes.sum(axis=0)[0]
    drive = 5.1 * currents.astype(float)
    fires = drive > 1.0
    theory = np.zeros(len(currents))
    theory[fires] = 1 / (pause + 25.5e-3 * np.log(drive[fires] / (drive[fires] - 1.0)))
    ax.plot(currents, theory, color="C7", linewidth=3, alpha=0.6)
    ax.plot(currents, counts / seconds, f"C{number}o", markersize=3, label=name)
    off = abs(counts / seconds - theory)[fires].max()
    print(f"{name}: largest difference from the equation {off:.1f} Hz of {theory.max():.0f} Hz")
    assert off < 0.05 * theory.max()
    assert (counts[~fires] == 0).all()
ax.set(xlabel="current in A", ylabel="spikes per second", title="grey: equation (5)")
ax.legend()
fig.tight_layout()

# %% [markdown]
# Without a refractory period the measured rate lies up to 4 % below the curve: an interval is a whole number of steps,
# and the reset takes one of them. At 280 Hz an interval has only 36 steps.
#
# This curve is, so to speak, the activation function of a spiking neuron: zero below a bias, then rising, and with a
# refractory period bending like a sigmoid. But it holds for constant currents only. A spiking neuron can do more,
# because its spikes have times.
#
# ## Three ways to reset
#
# ![The same membrane with three resets: subtract keeps what was above the threshold, zero loses it, none leaves the
# membrane alone](drawings/lif_resets.svg)
#
# `"subtract"`, the default, loses no input and is best for networks. `"zero"` is simple on hardware and saves spikes.
# `"none"` is for outputs that are read as a voltage ([Regression with a membrane](regression_membrane.md)).
#
# The difference shows when input comes in lumps. Here the input is a random train of spikes: at each step, `rate` draws
# a spike with the probability 0.4. Each spike is a current of 0.7 A during one step. The neuron has $\tau$ = 5 steps.

# %% alt="Random input spikes; two membranes, by subtraction and to zero; the rows of output spikes, fewer with zero"
arriving = spikegen.rate(np.full((1, 1), 0.4), num_steps=100, seed=3)[:, 0, 0]
fig, axes = plt.subplots(4, 1, figsize=(7, 4.6), sharex=True, height_ratios=(0.5, 2, 2, 0.9))
axes[0].eventplot(np.flatnonzero(arriving), color="C1", linelengths=0.8, lineoffsets=0)
axes[0].set(yticks=[], ylabel="input")
trains = {}
for ax, mechanism, colour in zip(axes[1:3], ("subtract", "zero"), ("C0", "C2")):
    neuron = sc.Lapicque(R=5.0, C=1e-3, time_step=1e-3, reset_mechanism=mechanism)
    mem, spikes = simulate(neuron, 0.7 * arriving)
    trains[mechanism] = np.flatnonzero(spikes)
    ax.plot(mem, color=colour)
    ax.axhline(1.0, color="C7", linestyle="--", linewidth=1)
    ax.set_ylabel(mechanism)
    print(f"{mechanism:8}: {int(arriving.sum())} spikes in, {len(trains[mechanism])} spikes out")
axes[3].eventplot(list(trains.values()), colors=["C0", "C2"], linelengths=0.8)
axes[3].set(yticks=(0, 1), yticklabels=list(trains), xlabel="time step")
fig.tight_layout()
assert len(trains["subtract"]) > len(trains["zero"])

# %% [markdown]
# With subtraction the membrane may fall a little below zero: the reset is one step late, so the threshold is subtracted
# from a membrane that has leaked meanwhile.
#
# Look at what the neuron does with its input: a single spike does not make it fire, but two or three spikes close
# together do. How close they must be depends on $\tau$:
#
# ![With a short time constant only two spikes close together make the neuron fire; with a long one it fires at every
# second spike](drawings/lif_coincidence.svg)
#
# ## A neuron that counts heartbeats
#
# A single neuron can already do something useful. The input is an electrocardiogram. Three heartbeats stand out in it,
# but there are waves before and after them, and the base line drifts, so a plain threshold is not enough. As a current,
# we take the size of the signal's change from sample to sample. The membrane adds up the fast rise and fall of a beat
# and lets slow changes leak away. The refractory period leaves one spike where there would be several.

# %% alt="Electrocardiogram with three beats, the membrane of a neuron that it drives, and one spike at each beat"
import pywt  # carries the recording

ecg = pywt.data.ecg().astype(np.float32)
ecg = (ecg - ecg.min()) / np.ptp(ecg)
change = abs(np.diff(ecg, prepend=ecg[0]))
detector = sc.Refractory(sc.Leaky(beta=0.9, threshold=0.5), period=100)
model = sc.Model(sc.Sequential(detector), engine="numpy", input_shape=(1,))
out = model(change[:, None, None])
beats = np.flatnonzero(out.spikes)
fig, (top, bottom) = plt.subplots(2, 1, figsize=(7, 3.6), sharex=True)
top.plot(ecg, color="C1", linewidth=1)
top.set_ylabel("signal")
bottom.plot(out.states["0"].mem[:, 0, 0], color="C0")
bottom.plot(beats, [0.5] * len(beats), "C3v", label="spike")
bottom.axhline(0.5, color="C7", linestyle="--", linewidth=1)
bottom.set(xlabel="sample", ylabel="membrane")
bottom.legend()
fig.tight_layout()

peaks = [start + int(ecg[start : start + 350].argmax()) for start in (0, 350, 700)]
print("spikes at", beats.tolist(), "and the highest points of the three beats at", peaks)
assert len(beats) == 3
assert abs(beats - np.array(peaks)).max() < 15

# %% [markdown]
# ## Exercises
#
# **1.** Lapicque varied the length of his pulses and looked for the weakest current that still made the muscle twitch.
# From equation (3), a pulse of the length $d$ needs $I(d) = \frac{\theta}{R} \big/ (1 - e^{-d/\tau})$. Find the weakest
# currents of a simulated neuron for $d$ = 5, 20 and 80 ms and compare.

# %% tags=["answer"]
tried = np.linspace(0.15, 1.5, 541, dtype=np.float32)  # one neuron for each current
model = sc.Model(sc.Sequential(sc.Lapicque(R=5.1, C=5e-3, time_step=1e-4)), engine="numpy")
for length in (5, 20, 80):
    fires = model(tried[None], num_steps=10 * length).spikes.sum(axis=0)[0] > 0
    weakest, predicted = tried[fires].min(), 1.0 / 5.1 / (1 - np.exp(-length / 25.5))
    print(f"{length:2} ms: {weakest:.3f} A in the simulation, {predicted:.3f} A by the equation")
    assert abs(weakest / predicted - 1) < 0.02

# %% [markdown]
# **2.** With 0.2 A, $R$ = 5.1 Ω and $\theta$ = 1 V, equation (3) says when the membrane reaches the threshold. Compute
# the step, and explain the difference from the step 108 above.

# %% tags=["answer"]
exact = 25.5 * np.log(1.02 / 0.02)  # in steps of 1 ms, after the current begins
by_euler = np.log(0.02 / 1.02) / np.log(1 - 1 / 25.5)
print(f"exact {exact:.1f} steps, by Euler's factor {by_euler:.1f} steps")
# The current begins at step 10, and that step already ends with one charge: step 9 + 99 = 108 is the first above.
# Euler's membrane is ahead of the exact one, since it takes the steep slope of the beginning for the whole step.
assert 9 + np.ceil(by_euler) == 108

# %% [markdown]
# **3.** Two neurons get the same input spikes, each of which lifts a membrane by 0.6 V; the threshold is 1 V. Pairs of
# spikes are 2 steps apart, or 10 steps. Which time constants tell the two apart?

# %% tags=["answer"]
results = {}
for beta in (0.4, 0.9, 0.98):  # what is left after a step
    near, far = np.zeros(40), np.zeros(40)
    near[[5, 7]] = 0.6
    far[[5, 15]] = 0.6
    fired = [int(simulate(sc.Leaky(beta=beta), pulses)[1].sum()) for pulses in (near, far)]
    results[beta] = fired
    print(f"tau = {-1 / np.log(beta):4.1f} steps: spikes for near {fired[0]}, for far {fired[1]}")
assert results == {0.4: [0, 0], 0.9: [1, 0], 0.98: [1, 1]}
# It fires if 0.6 exp(-d/tau) + 0.6 > 1, so if tau > d/ln(1.5): above 4.9 steps for d = 2, above 24.7 for d = 10.
# In between the neuron detects the coincidence; below it is deaf, above it counts.

# %% [markdown]
# ## Verify the gradients
#
# Training needs $\partial L/\partial R$ and $\partial L/\partial C$, through all steps and all resets. The derivative
# of the threshold is zero nearly everywhere, so another function stands in for it: a *surrogate* ([Surrogate
# gradients](../surrogates.md)). The rest is the chain rule, and one can get it wrong. `sc.verify` compares torch's
# gradients with those of the NumPy engine, which were derived by hand ([Gradients by hand](gradients_by_hand.md)). It
# also compares the gradients by hand with finite differences.

# %%
neurons = sc.Lapicque(R=sc.learn(5.1), C=sc.learn(5e-3), time_step=1e-3)  # both are parameters now
model = sc.Model(sc.Sequential(sc.Linear(3, 4), neurons), engine="torch", seed=0)
x = np.random.default_rng(0).uniform(0, 1, (60, 8, 3)).astype(np.float32)  # (time, batch, features)
report = sc.verify(model, x, np.arange(8) % 4)
print(report)
assert report.ok
