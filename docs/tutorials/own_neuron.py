# %% [markdown]
# # A neuron of your own
#
# At the end of this page you can turn the equations of a neuron into a class, train it on real data on two engines,
# verify its gradients, save it, use it as a PyTorch module, and run it as compiled code. You write one method; the
# library does the rest.
#
# The neuron is a *resonator*, which the library does not have. The data are three centuries of sunspots. The page
# needs, in the clone of this repository, `pip install -e ".[all,examples]"`.

# %%
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Dict, Tuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from statsmodels.datasets import sunspots

import spikecore as sc
import spikecore.nn as snn
from spikecore import backprop, functional
from spikecore.base import Membrane, Param, State, cast

# %% [markdown]
# ## From a differential equation to a step
#
# A leaky neuron forgets: whatever comes in decays. Some neurons of the brain do something else. After a push their
# membrane swings, like a pendulum, and a second push counts most when it comes in time with the swing. The
# **resonate-and-fire** neuron is the simplest model of this (Izhikevich, *Resonate-and-fire neurons*, 2001). Its state
# is a point in the plane. The point turns around zero with the angular velocity $\omega$ and approaches it with the
# rate $b$:
#
# $$\dot u = -b\,u - \omega\,v + I, \qquad \dot v = -b\,v + \omega\,u .$$
#
# $u$ is the membrane; $v$ is the other half of the swing. The neuron fires when $u$ exceeds a threshold. A computer
# needs steps. With one time step as the unit of time, we replace the decay by a factor $\rho$ and let $v$ use the
# membrane that has just been computed:
#
# $$
# \begin{aligned}
# U[t] &= \rho\, U[t-1] - \omega\, V[t-1] + I[t] - R[t]\,\theta \\
# V[t] &= \rho\, V[t-1] + \omega\, U[t] \\
# S[t] &= \Theta(U[t] - \theta), \qquad R[t] = S[t-1]
# \end{aligned}
# $$
#
# The order matters. Without spikes, one step multiplies $(U, V)$ by a matrix with the determinant $\rho^2$ and the
# trace $2 \rho - \omega^2$, so the state shrinks by exactly the factor $\rho$ per step and swings with a period $P$ of
#
# $$P = \frac{2\pi}{\arccos\!\left(1 - \omega^2 / 2\rho\right)}
# \qquad\text{or}\qquad \omega = 2 \sqrt{\rho}\, \sin(\pi / P) \text{ steps.}$$
#
# ![The state of a resonator as a spiral in the plane with the threshold to its right; beside it the membrane that
# swings, and a leaky one that only decays](drawings/resonator_plane.svg)
#
# If both updates used the old values, the state would be multiplied by $\sqrt{\rho^2 + \omega^2}$ per step. For a fast
# swing this factor is above 1, so the membrane would grow without end (exercise 1).
#
# ## The class
#
# A neuron is a frozen dataclass with a method `step`. We derive it from `Membrane` of `spikecore.base`, which has the
# threshold, the surrogate, the spike and all ways of resetting.


# %%
@dataclass(frozen=True)
class Resonator(Membrane):
    """A membrane that swings with a period of about 2 pi sqrt(rho) / omega steps, and fires above its threshold."""

    rho: Param = 0.9  # decay per step
    omega: Param = 0.5  # coupling of membrane and swing

    state: ClassVar[Tuple[str, ...]] = ("mem", "swing")
    bounds: ClassVar[Dict[str, Tuple[float, float]]] = {"rho": (0.0, 1.0), "omega": (0.0, 1.0)}

    def step(self, engine, params, state, x):
        reset = self.reset(engine, params, state.mem)
        mem = params.rho * self.reset_before(params, state.mem, reset) - params.omega * state.swing + x
        spikes, mem = self.fire(engine, params, self.reset_after(params, mem, reset))
        swing = params.rho * state.swing + params.omega * mem
        return spikes, State(mem=mem, swing=swing)


def omega_of(period, rho=0.9):
    return 2 * np.sqrt(rho) * np.sin(np.pi / np.asarray(period))


def period_of(omega, rho):
    return 2 * np.pi / np.arccos(1 - np.asarray(omega) ** 2 / (2 * np.asarray(rho)))


print(Resonator(rho=sc.learn(0.9), omega=sc.learn(0.5)))

# %% [markdown]
# ![The method step, and what is made from it: training on two engines, verify, a PyTorch module, a
# kernel](drawings/one_step_many_uses.svg)
#
# What the parts do:
#
# - **Fields** annotated `Param` take a number, an array with one value per neuron, or `sc.learn(...)`, which trains
#   them. `step` stays the same.
# - **`state`** names what passes from step to step. It starts at zero.
# - **`bounds`** refuse wrong values. Fields between 0 and 1 are also clamped while they are learned. Since
#   $\omega \le 1$ and $\rho \le 1$, training cannot make this neuron unstable.
# - **`step`** has the equations. It uses Python's operators; for anything else there are the words of `engine.xp`,
#   such as `engine.xp.exp`. It must not name NumPy or torch: this is why it runs on every engine.
#
# [Writing a neuron](../write_a_neuron.md) lists all rules. Always compare a new class with a few lines that are too
# simple to be wrong:


# %%
def by_hand(current, rho, omega, threshold=1.0):
    u = v = 0.0
    membranes = []
    for i in current:
        fired = u > threshold
        u, v_before = rho * u - omega * v + i - fired * threshold, v
        v = rho * v_before + omega * u
        membranes.append(u)
    return np.array(membranes)


def run(neuron, current):
    """Membrane and spikes of one neuron for a current (time,)."""
    model = sc.Model(neuron, engine="numpy", dtype="float64", input_shape=(1,))
    out = model(np.asarray(current, np.float64)[:, None, None])
    return out.membrane[:, 0, 0], out.spikes[:, 0, 0]


noise = np.random.default_rng(0).normal(0.0, 0.6, 200)
mem, spikes = run(Resonator(rho=0.9, omega=0.5), noise)
print(f"{int(spikes.sum())} spikes, largest difference {np.abs(mem - by_hand(noise, 0.9, 0.5)).max():.1e}")
assert spikes.sum() > 5
assert np.allclose(mem, by_hand(noise, 0.9, 0.5), rtol=0, atol=1e-12)

# %% [markdown]
# ## What it is good for
#
# Both neurons get two pulses of 0.7, each too small to reach the threshold of 1. The leaky neuron fires if the second
# pulse comes soon. The resonator has a period of 11 steps, and waits. A pulse after half a period meets the swing on
# its way down; a pulse after a whole period meets it on its way up.

# %% alt="Membranes of a leaky neuron and of a resonator for two pulses 2, 5 and 11 steps apart"
fig, axes = plt.subplots(2, 3, figsize=(7, 3.6), sharex=True, sharey=True, layout="constrained")
resonator = Resonator(rho=0.95, omega=float(omega_of(11, 0.95)))
found = {}
for column, apart in enumerate((2, 5, 11)):
    current = np.zeros(40)
    current[[3, 3 + apart]] = 0.7
    for row, (name, neuron) in enumerate({"Leaky": sc.Leaky(beta=0.85), "Resonator": resonator}.items()):
        mem, spikes = run(neuron, current)
        found[name, apart] = int(spikes.sum())
        ax = axes[row, column]
        ax.plot(mem, color=f"C{row}")
        ax.plot(np.flatnonzero(spikes), mem[spikes > 0], "o", color="C3")
        ax.axhline(1.0, color="grey", linestyle="--", linewidth=1)
        ax.vlines([3, 3 + apart], -1.25, -1.05, color="C2", linewidth=3)
        if column == 0:
            ax.set_ylabel(name)
    axes[0, column].set_title(f"{apart} steps apart", fontsize=10)
    axes[1, column].set_xlabel("time step")
assert [found["Leaky", apart] for apart in (2, 5, 11)] == [1, 1, 0]
assert [found["Resonator", apart] for apart in (2, 5, 11)] == [0, 0, 1]

# %% [markdown]
# So a layer of resonators with different periods is a bank of filters: each neuron hears its own rhythm. The next
# picture drives three of them with sine waves of different periods, at an amplitude that is too small for spikes.

# %% alt="The size of the membrane against the period of the input, for three resonators and one leaky neuron"
inputs = np.geomspace(6, 40, 40)
steps = np.arange(400)
fig, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
tuned = {f"resonator, period {p}": Resonator(rho=0.9, omega=float(omega_of(p))) for p in (8, 11, 20)}
for name, neuron in {**tuned, "leaky": sc.Leaky(beta=0.9)}.items():
    size = [np.abs(run(neuron, 0.05 * np.sin(2 * np.pi * steps / p))[0][200:]).max() / 0.05 for p in inputs]
    ax.plot(inputs, size, label=name, linestyle="--" if name == "leaky" else "-")
ax.set(xlabel="period of the input, steps", ylabel="membrane / input", xscale="log", xticks=[6, 8, 11, 20, 40])
ax.xaxis.set_major_formatter("{x:.0f}")
ax.minorticks_off()
_ = fig.legend(frameon=False, loc="outside upper center", ncols=4, fontsize=8)

# %% [markdown]
# ## Real data with a rhythm
#
# The number of sunspots rises and falls with a period of about eleven years, and no two cycles are equal. The task is
# to forecast the next year. A forecast has to beat *persistence*, which says that next year will be like this one.
# The years up to 1909 are for training, and the hundred years after them for testing.

# %% alt="The yearly number of sunspots from 1700 to 2008, with the years of the test marked"
TRAIN, WINDOW, HIDDEN = 209, 60, 32
years = sunspots.load_pandas().data["SUNACTIVITY"].to_numpy() / 100  # hundreds of sunspots per year, from 1700
series = years[:, None, None].astype(np.float32)  # (time, batch of one, 1)
starts = range(0, TRAIN - WINDOW, 4)
x = np.concatenate([series[s : s + WINDOW] for s in starts], axis=1)  # windows of 60 years: (time, batch, 1)
y = np.concatenate([series[s + 1 : s + 1 + WINDOW] for s in starts], axis=1) - x  # the change to the year after
fig, ax = plt.subplots(figsize=(7, 2.4), layout="constrained")
ax.plot(range(1700, 1910), 100 * years[: TRAIN + 1], label="training")
ax.plot(range(1909, 2009), 100 * years[TRAIN:], label="test")
ax.set(xlabel="year", ylabel="sunspots")
_ = ax.legend(frameon=False)

# %% [markdown]
# The network sends the year's number to 32 neurons and reads their spikes with a leaky integrator. The membrane of this
# integrator is the forecast change. We train the network twice:
#
# - with leaky neurons, whose time constants start between 2 and 40 years. Decay and threshold are learned.
# - with resonators, whose periods start between 6 and 40 years. Decay and $\omega$ are learned.
#
# So both kinds of neurons have two learned numbers. No neuron is told of eleven years.


# %%
def neurons(kind):
    if kind == "Leaky":
        decays = 1 - 1 / np.geomspace(2, 40, HIDDEN)
        return sc.Leaky(beta=sc.learn(decays), threshold=sc.learn(np.ones(HIDDEN)))
    return Resonator(rho=sc.learn(np.full(HIDDEN, 0.9)), omega=sc.learn(omega_of(np.geomspace(6.2, 40, HIDDEN))))


def train(kind, engine="torch", seed=0):
    network = sc.Sequential(sc.Linear(1, HIDDEN), neurons(kind), sc.Linear(HIDDEN, 1), sc.LI(beta=sc.learn(0.3)))
    model = sc.Model(network, engine=engine, seed=seed)
    model.fit(
        [(x[:, i::4], y[:, i::4]) for i in range(4)],
        loss=functional.mse_membrane_loss(time_var_targets=True),
        optimizer=sc.Adam(lr=3e-3, clip_norm=1.0),
        epochs=40,
        progress=False,
    )
    return model


def forecast(model):
    """The forecasts of 1701 to 2008, each from the years before it."""
    return years[:-1] + model.engine.to_numpy(model(series[:-1]).membrane)[:, 0, 0]


def error(forecast):
    """Root mean square error of the test years, in sunspots."""
    return float(100 * np.sqrt(np.mean((forecast - years[1:])[TRAIN:] ** 2)))


models = {kind: [train(kind, seed=seed) for seed in range(3)] for kind in ("Leaky", "Resonator")}
errors = {kind: [error(forecast(model)) for model in trained] for kind, trained in models.items()}
lags = np.stack([years[1:-1], years[:-2], np.ones(len(years) - 2)], axis=1)  # this year, the one before, a constant
fitted = np.linalg.lstsq(lags[: TRAIN - 1], years[2 : TRAIN + 1], rcond=None)[0]
linear = np.concatenate([years[:1], lags @ fitted])
print(f"persistence {error(years[:-1]):.1f}, linear autoregression of two years {error(linear):.1f}")
for kind, found in errors.items():
    print(f"{kind:9} mean {np.mean(found):.1f} of seeds 0, 1, 2: {', '.join(f'{e:.1f}' for e in found)}")
assert np.mean(errors["Resonator"]) < 22.5 < error(years[:-1])
assert np.mean(errors["Resonator"]) < np.mean(errors["Leaky"]) - 1

# %% [markdown]
# The errors are in sunspots. The learning rate was chosen on the years 1870 to 1909, with training on the years before.
# The linear model forecasts next year from this year and the last, and is fitted by least squares. The leaky network is
# worse than this simple model, since each of its neurons only smooths. The resonators are at least as good as the
# linear model, although they send only 0 or 1 to the readout.
#
# ### What was learned
#
# $\omega$ and $\rho$ are parameters like the weights. The picture shows the forecast, and where the periods went. Some
# long periods became very long: these neurons hardly swing any more and have turned into leaky ones.

# %% alt="Above: sunspots and their forecast. Below: the neurons' periods after training against those before"
model = models["Resonator"][0]
params = model.params()
before = period_of(omega_of(np.geomspace(6.2, 40, HIDDEN)), 0.9)
after = period_of(params["1.omega"], params["1.rho"])
fig, (above, below) = plt.subplots(2, 1, figsize=(7, 4.6), layout="constrained")
above.plot(range(1910, 2009), 100 * years[TRAIN + 1 :], label="sunspots")
above.plot(range(1910, 2009), 100 * forecast(model)[TRAIN:], linestyle="--", label="forecast of the year before")
above.set(xlabel="year", ylabel="sunspots", ylim=(-5, 245))
above.legend(frameon=False, ncols=2)
below.plot(before, after, "o", color="C2", markersize=4)
below.plot([6, 40], [6, 40], color="grey", linestyle="--", linewidth=1, label="unchanged")
below.set(xlabel="period before training, years", ylabel="after", xscale="log", yscale="log")
below.set(xticks=[6, 11, 20, 40], xticklabels=[6, 11, 20, 40], yticks=[6, 11, 20, 40, 100])
below.yaxis.set_major_formatter("{x:.0f}")
below.minorticks_off()
below.legend(frameon=False)
change = np.abs(after / before - 1)
print(f"median change of a period: {np.median(change):.0%}")
assert np.median(change) > 0.05

# %% [markdown]
# ## The same neuron on another engine, verified
#
# The NumPy engine has no automatic differentiation; it applies a derivative rule to each operation of `step`, from the
# last time step to the first ([Gradients by hand, verified](gradients_by_hand.md)). It trains the neuron as well. After
# the first spike that rounds differently the two trainings go separate ways, so their errors are close, but not equal.

# %%
on_numpy = train("Resonator", engine="numpy")
print(f"torch {errors['Resonator'][0]:.1f}   numpy {error(forecast(on_numpy)):.1f} sunspots")
assert error(forecast(on_numpy)) < 24

# %% [markdown]
# ## Save and load
#
# A file holds numbers and the names of classes, never code. So pass your class to `sc.load`. A model that was trained
# on one engine can be loaded on any other.

# %%
path = Path(tempfile.mkdtemp()) / "sunspots.safetensors"
model.save(path)
again = sc.load(path, engine="numpy", classes=[Resonator])
print(f"loaded on numpy: {error(forecast(again)):.1f} sunspots")
assert all((again.params()[name] == value).all() for name, value in model.params().items())

# %% [markdown]
# ## As a PyTorch module
#
# `snn.module` makes an `nn.Module` of any neuron. It can stand between other layers of PyTorch, and its learned
# values are parameters of the module. `snn.run` runs a network over a sequence.

# %%
module = torch.nn.Sequential(
    torch.nn.Linear(1, 8),
    snn.module(Resonator(omega=sc.learn(0.5)), init_hidden=True),
    torch.nn.Linear(8, 1),
)
out = snn.run(module, torch.rand(50, 4, 1))
print(tuple(out.shape), [name for name, _ in module.named_parameters()])
assert any("omega" in name for name, _ in module.named_parameters())

# %% [markdown]
# ## As compiled code
#
# You wrote operators, not a kernel. The library runs `step` once on symbols, writes down what happens, differentiates
# the program, and compiles a loop over time around it ([fused kernels](../kernels.md)). `explain` says what an engine
# does with a layer. The next cell compares the compiled gradient with the plain loop: the same numbers in less time.

# %%
batch = np.random.default_rng(0).random((100, 64, 1)).astype(np.float32)
wanted = np.zeros((100, 64, 1), np.float32)
loss = functional.mse_membrane_loss(time_var_targets=True)
compiled, loop = (sc.Model(model.network, sc.get_engine("numpy", fused=fused)) for fused in (True, False))
print(compiled.engine.explain(neurons("Resonator")))


def seconds(model):
    begun = time.perf_counter()
    backprop.bptt(model, batch, wanted, loss)
    return time.perf_counter() - begun


one, other = (backprop.bptt(m, batch, wanted, loss).grads for m in (compiled, loop))
difference = max(np.abs(one[name] - value).max() / np.abs(value).max() for name, value in other.items())
pairs = [(seconds(compiled), seconds(loop)) for _ in range(5)]
print(f"largest relative difference of a gradient {difference:.1e}")
print(f"the loop takes {np.median([b / a for a, b in pairs]):.1f} times as long")
assert difference < 1e-4

# %% [markdown]
# ## Exercises
#
# **1. The order of the updates.** Write the neuron so that both updates use the old values. Show that its membrane
# grows without end after a single pulse, for $\rho = 0.95$ and a period of 11 steps.


# %% tags=["answer"]
@dataclass(frozen=True)
class Explicit(Resonator):
    def step(self, engine, params, state, x):
        mem = params.rho * state.mem - params.omega * state.swing + x
        swing = params.rho * state.swing + params.omega * state.mem  # the membrane before the step
        return self.fires(engine, params, mem), State(mem=mem, swing=swing)


pulse = np.zeros(60)
pulse[0] = 0.5
omega = float(omega_of(11, 0.95))
for neuron in (Explicit(rho=0.95, omega=omega), Resonator(rho=0.95, omega=omega)):
    mem, _ = run(neuron, pulse)
    print(f"{type(neuron).__name__:9} largest membrane of the last 12 steps: {np.abs(mem[-12:]).max():.2f}")
print(f"growth per step: {np.hypot(0.95, omega):.3f}")
assert np.abs(run(Explicit(rho=0.95, omega=omega), pulse)[0][-12:]).max() > 10

# %% [markdown]
# **2. A refractory resonator.** `sc.Refractory(neuron, period)` wraps any neuron, also yours. Drive a resonator with a
# strong sine wave of its own period. How many spikes per cycle does it fire? How many with a refractory time of 10
# steps?

# %% tags=["answer"]
strong = 0.6 * np.sin(2 * np.pi * np.arange(220) / 11)
plain = Resonator(rho=0.95, omega=omega)
counts = {
    name: run(neuron, strong)[1].sum() / 20
    for name, neuron in {"plain": plain, "refractory": sc.Refractory(plain, 10)}.items()
}
print("spikes per cycle:", ", ".join(f"{name} {count:.2f}" for name, count in counts.items()))
assert counts["refractory"] <= 1 < counts["plain"]

# %% [markdown]
# **3. A threshold that adapts.** Give the neuron a third state: each spike raises the threshold by `kappa`, and the
# rise decays by a factor of 0.9 per step. Train it on the sunspots. Does it help?


# %% tags=["answer"]
@dataclass(frozen=True)
class Adaptive(Resonator):
    kappa: Param = 0.3

    state: ClassVar[Tuple[str, ...]] = ("mem", "swing", "tired")

    def step(self, engine, params, state, x):
        level = params.threshold + params.kappa * state.tired
        reset = cast(engine, state.mem > level)
        mem = params.rho * state.mem - params.omega * state.swing + x - reset * level
        spikes = engine.spike(mem - level, self.surrogate)
        swing = params.rho * state.swing + params.omega * mem
        return spikes, State(mem=mem, swing=swing, tired=0.9 * state.tired + spikes)


plain_neurons = neurons


def neurons(kind):  # the training above asks for its neurons by this name
    if kind != "Adaptive":
        return plain_neurons(kind)
    spread = omega_of(np.geomspace(6.2, 40, HIDDEN))
    return Adaptive(rho=sc.learn(np.full(HIDDEN, 0.9)), omega=sc.learn(spread), kappa=sc.learn(0.3))


tired = train("Adaptive")
print(f"{error(forecast(tired)):.1f} sunspots; learned kappa: {float(tired.params()['1.kappa']):.2f}")

# %% [markdown]
# ## Verify the gradients
#
# A class of your own is checked like those of the library: the engines against each other, and the reference against
# finite differences, which use no rules for derivatives.

# %%
report = sc.verify(model, x[:20, :4], y[:20, :4], functional.mse_membrane_loss(time_var_targets=True))
print(report)
assert report.ok

# %% [markdown]
# Next: [from a trained net to another runtime](other_runtimes.md) runs such a network one step at a time, in
# microseconds.
