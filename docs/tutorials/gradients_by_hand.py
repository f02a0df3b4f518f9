# %% [markdown]
# # Gradients by hand, verified
#
# At the end of this page you can derive the gradient of a spiking neuron on paper, write its forward and backward pass
# in 25 lines of NumPy, train with it, and find out whether it is right. You will also see how hard a wrong gradient is
# to notice, and how to catch it.
#
# It needs, in the clone of this repository, `pip install -e ".[all,examples]"`.

# %%
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import torch

import spikecore as sc
from spikecore import backprop
from spikecore import surrogate as surrogates
from spikecore.datasets import digits

train, test = digits()  # images of 8 x 8 pixels from scikit-learn, as rows of 64 numbers in [0, 1]
images, labels = train.inputs.astype(np.float64), train.targets
print(images.shape, "training images,", len(test), "test images")

# %% [markdown]
# ## The forward pass
#
# The network has one layer: ten leaky integrate-and-fire neurons, one for each digit. An image goes in as a current
# $I$ that is constant in time, $I = W x + b$. Each neuron then follows three equations, at the time steps
# $t = 0, \dots, T-1$, from rest ($U[-1] = 0$):
#
# $$
# \begin{aligned}
# R[t] &= \Theta(U[t-1] - \theta) && \text{reset: did the neuron fire at the step before?} \\
# U[t] &= \beta\, U[t-1] + I - R[t]\,\theta && \text{membrane: decay, input, reset by subtraction} \\
# S[t] &= \Theta(U[t] - \theta) && \text{spike}
# \end{aligned}
# $$
#
# $\Theta$ is 1 above zero and 0 elsewhere. Four things can be learned: the weights $W$, the bias $b$, the decay
# $\beta$ and the threshold $\theta$. In NumPy this is a loop over time. The loop keeps every membrane $U$ and every
# reset $R$: the backward pass will need them.

# %%
STEPS = 10


def forward(p, x):
    current = x @ p["weight"].T + p["bias"]  # (samples, neurons)
    mem = np.zeros((STEPS + 1, *current.shape))  # mem[t + 1] is U[t], and mem[0] the membrane at rest
    reset = np.zeros((STEPS, *current.shape))
    for t in range(STEPS):
        reset[t] = mem[t] > p["threshold"]
        mem[t + 1] = p["beta"] * mem[t] + current - reset[t] * p["threshold"]
    return mem, reset, (mem[1:] > p["threshold"]) * 1.0


# %% [markdown]
# The loss compares the spikes with what we want: the neuron of the right digit fires at every step, and the others
# never do. With $y = 1$ for the right neuron and $y = 0$ for the others,
#
# $$L = \operatorname{mean}_{t,\,\text{sample},\,\text{neuron}} \left(S[t] - y\right)^2 .$$

# %%
rng = np.random.default_rng(0)
first = {
    "weight": rng.uniform(-0.125, 0.125, (10, 64)),
    "bias": rng.uniform(-0.125, 0.125, 10),
    "beta": np.array(0.8),
    "threshold": np.array(1.0),
}
x, y = images[:128], np.eye(10)[labels[:128]]


def loss_of(spikes, y):
    return ((spikes - y) ** 2).mean()


mem, reset, spikes = forward(first, x)
print(f"loss {loss_of(spikes, y):.4f}, {spikes.mean():.1%} of all neurons and steps have a spike")

# %% [markdown]
# ## Why plain calculus gives nothing
#
# Change one weight a little, and compute the loss again. This is the definition of a derivative, and it does not
# help: the loss is a staircase. Between two stairs no spike changes, so the slope is exactly zero. At a stair it is
# infinite.
#
# The way out is a **surrogate gradient** (Neftci, Mostafa and Zenke, *Surrogate gradient learning in spiking neural
# networks*, 2019). In the forward pass the neuron fires as before. In the backward pass, the derivative of a smooth
# function replaces the derivative of the step $\Theta(u)$. Here the function is the library's default, `atan(2)`:
#
# $$
# \sigma(u) = \tfrac{1}{\pi} \arctan(\pi u) + \tfrac{1}{2}, \qquad
# \sigma'(u) = \frac{1}{1 + (\pi u)^2}, \qquad u = U - \theta .
# $$
#
# The second curve below is the loss of a *different* network: the one in which every spike $\Theta(u)$ is replaced by
# $\sigma(u)$. This loss has a slope everywhere. Keep this network in mind: we will use it to check our gradient.


# %% alt="The loss against one weight: a staircase for spikes, a smooth curve where spikes are smooth"
def soft(u):
    return np.arctan(np.pi * u) / np.pi + 0.5


def smooth_spikes(p, x, reset):
    """The spikes of the smooth network; the resets are given, as constants."""
    current, mem, rows = x @ p["weight"].T + p["bias"], 0.0, []
    for t in range(STEPS):
        mem = p["beta"] * mem + current - reset[t] * p["threshold"]
        rows.append(soft(mem - p["threshold"]))
    return np.stack(rows)


def moved(p, name, index, by):
    changed = {key: value.copy() for key, value in p.items()}
    changed[name][index] += by
    return changed


few, pixel, changes = slice(0, 8), (4, 36), np.linspace(-0.6, 0.6, 601)  # a pixel in the middle, to neuron 4
stairs = [loss_of(forward(moved(first, "weight", pixel, d), x[few])[2], y[few]) for d in changes]
slope = [loss_of(smooth_spikes(moved(first, "weight", pixel, d), x[few], reset[:, few]), y[few]) for d in changes]
fig, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
ax.plot(changes, stairs, label="spikes")
ax.plot(changes, slope, label="smooth spikes")
ax.set(xlabel="change of one weight", ylabel="loss of 8 images")
_ = ax.legend(frameon=False)

# %% [markdown]
# ## The backward pass, on paper
#
# A spiking network is a recurrent network: $U[t]$ depends on $U[t-1]$. So the gradient is backpropagation through
# time, the chain rule along the time axis. Let
#
# $$g[t] = \frac{\partial L}{\partial S[t]}, \qquad \lambda[t] = \frac{\mathrm{d} L}{\mathrm{d} U[t]} .$$
#
# $g[t]$ comes straight from the loss: $2\,(S[t] - y)$ divided by the number of entries of the mean. $\lambda[t]$ is
# what we look for: the change of the loss per change of the membrane at step $t$, *everything later included*. To
# find it, ask where $U[t]$ goes:
#
# ![Membranes and spikes of three steps: gradients come back from the spike by the surrogate and from the next membrane
# by beta; the path of the reset is cut](drawings/bptt_graph.svg)
#
# The reset is treated as a constant, as in snnTorch and most other libraries: how far the neuron fell was decided by
# whether it fired, not by how far it was above the threshold.
#
# Hence, from the last step to the first,
#
# $$\lambda[t] = g[t]\,\sigma'(U[t] - \theta) + \beta\,\lambda[t+1], \qquad \lambda[T] = 0 .$$
#
# The rest is bookkeeping. Look for each quantity in the equations of the forward pass and collect what it touches:
#
# $$
# \frac{\partial L}{\partial I} = \sum_t \lambda[t], \qquad
# \frac{\partial L}{\partial \beta} = \sum_t \lambda[t]\,U[t-1], \qquad
# \frac{\partial L}{\partial \theta} = -\sum_t \Big( g[t]\,\sigma'(U[t]-\theta) + R[t]\,\lambda[t] \Big).
# $$
#
# The threshold has two terms, because it stands in two equations: in the comparison of the spike, and in the size of
# the reset. From $I = W x + b$ follow
# $\partial L / \partial W = \sum_{\text{samples}} \frac{\partial L}{\partial I}\, x^\top$ and
# $\partial L / \partial b = \sum_{\text{samples}} \frac{\partial L}{\partial I}$.

# %% [markdown]
# ## The backward pass, in NumPy
#
# Each line of the loop is one of the formulas above.


# %%
def surrogate(u):
    return 1.0 / (1.0 + (np.pi * u) ** 2)


def backward(p, x, y, mem, reset, spikes):
    g = 2.0 * (spikes - y) / spikes.size
    later = by_current = by_beta = by_threshold = 0.0
    for t in reversed(range(STEPS)):
        direct = g[t] * surrogate(mem[t + 1] - p["threshold"])
        adjoint = direct + p["beta"] * later  # lambda[t]
        by_current = by_current + adjoint
        by_beta += (adjoint * mem[t]).sum()
        by_threshold -= (direct + reset[t] * adjoint).sum()
        later = adjoint
    return {"weight": by_current.T @ x, "bias": by_current.sum(axis=0), "beta": by_beta, "threshold": by_threshold}


grads = backward(first, x, y, mem, reset, spikes)
print("largest entry of each gradient:", {name: f"{np.abs(g).max():.3f}" for name, g in grads.items()})

# %% [markdown]
# The picture follows one neuron through both passes. It shows the neuron of the right digit and one image. The
# forward pass runs from left to right, and the backward pass from right to left.

# %% alt="Membrane, surrogate derivative and adjoint of one neuron over ten steps"
sample, neuron = 4, int(labels[4])
level = np.append(mem[1:, sample, neuron], np.nan)
g = 2.0 * (spikes[:, sample, neuron] - y[sample, neuron]) / spikes.size
adjoints = np.zeros(STEPS + 1)
for t in reversed(range(STEPS)):
    adjoints[t] = g[t] * surrogate(level[t] - first["threshold"]) + first["beta"] * adjoints[t + 1]
fig, axes = plt.subplots(3, 1, figsize=(7, 5), sharex=True, layout="constrained")
axes[0].plot(level, "o-", color="C0")
axes[0].axhline(1.0, color="C1", linestyle="--", label="threshold")
axes[0].plot(np.flatnonzero(level[:-1] > 1.0), level[level > 1.0], "o", color="C3", markersize=10, label="spike")
axes[0].set(ylabel="membrane U", ylim=(0.3, 1.9))
axes[0].legend(frameon=False, ncols=2, loc="upper right")
axes[1].bar(range(STEPS), surrogate(level[:-1] - 1.0), color="C2")
axes[1].set_ylabel("surrogate σ'")
axes[2].plot(adjoints[:-1], "s-", color="C3")
_ = axes[2].set(xlabel="time step", ylabel="adjoint λ")

# %% [markdown]
# This neuron should fire at every step. Where it fires, $g$ is zero. Where it does not, $g$ is negative: a higher
# membrane would mean less loss. The surrogate says how much the spike can still change: much if the membrane is close
# to the threshold, little if it is far away. The adjoint $\lambda$ adds these contributions up from right to left and
# shrinks by the factor $\beta$ per step. Of a contribution at step 9, $0.8^5 \approx 33\,\%$ arrives at step 4. This is
# also how gradients vanish over long times, and why a $\beta$ close to 1 helps a network to remember.
#
# ## Train with it
#
# Nothing else is needed for learning. The loop below is gradient descent with momentum on minibatches of 64 images.
# The two numbers $\beta$ and $\theta$ act on every neuron at every step, so their gradients are large; they get a
# fiftieth of the learning rate.

# %%
RATES = {"weight": 0.1, "bias": 0.1, "beta": 0.002, "threshold": 0.002}


def train_by(gradient, epochs=20, momentum=0.9):
    p = {name: value.copy() for name, value in first.items()}
    speed = {name: 0.0 for name in p}
    rng, losses = np.random.default_rng(1), []
    for _ in range(epochs):
        total = []
        for rows in np.array_split(rng.permutation(len(images)), len(images) // 64):
            xb, yb = images[rows], np.eye(10)[labels[rows]]
            passed = forward(p, xb)
            total.append(loss_of(passed[2], yb))
            for name, value in gradient(p, xb, yb, *passed).items():
                speed[name] = momentum * speed[name] - RATES[name] * value
                p[name] = p[name] + speed[name]
            p["beta"] = np.clip(p["beta"], 0.0, 1.0)
        losses.append(np.mean(total))
    return p, losses


def accuracy(p):
    counts = forward(p, test.inputs)[2].sum(axis=0)
    return (counts.argmax(axis=1) == test.targets).mean()


learned, right = train_by(backward)
print(f"test accuracy {accuracy(first):.1%} before, {accuracy(learned):.1%} after training")
print(f"beta {first['beta']} -> {learned['beta']:.3f}, threshold {first['threshold']} -> {learned['threshold']:.3f}")
assert accuracy(learned) > 0.8

# %% [markdown]
# ## Is it right?
#
# The loss falls and the network learns. That does **not** show that the gradient is right. Here are three typical
# mistakes in the same loop. Before you run the cell, guess how well each of them trains:
#
# - *no decay*: the carry is `later` instead of `beta * later`;
# - *no time*: the carry is forgotten, so each step learns as if it were alone;
# - *one term*: the threshold's gradient misses the term of the reset.


# %% alt="The training loss with the right gradient and with three wrong ones: all four fall"
def wrong(carry=None, reset_term=True):
    def gradient(p, x, y, mem, reset, spikes):
        g = 2.0 * (spikes - y) / spikes.size
        later = by_current = by_beta = by_threshold = 0.0
        for t in reversed(range(STEPS)):
            direct = g[t] * surrogate(mem[t + 1] - p["threshold"])
            adjoint = direct + (p["beta"] if carry is None else carry) * later
            by_current = by_current + adjoint
            by_beta += (adjoint * mem[t]).sum()
            by_threshold -= (direct + reset_term * reset[t] * adjoint).sum()
            later = adjoint
        return {"weight": by_current.T @ x, "bias": by_current.sum(axis=0), "beta": by_beta, "threshold": by_threshold}

    return gradient


mistakes = {"no decay": wrong(carry=1.0), "no time": wrong(carry=0.0), "one term": wrong(reset_term=False)}
fig, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
ax.plot(right, label=f"right: {accuracy(learned):.1%}")
for name, gradient in mistakes.items():
    p, losses = train_by(gradient)
    found = accuracy(p)
    print(f"{name}: test accuracy {found:.1%}")
    ax.plot(losses, linestyle="--", label=f"{name}: {found:.1%}")
    assert found > 0.8
ax.set(xlabel="epoch", ylabel="training loss", xticks=range(0, 20, 5))
_ = ax.legend(frameon=False)

# %% [markdown]
# All of them learn, and the test accuracies are within a few images of each other. One wrong gradient even gives a
# lower training loss than the right one: it is too large, which acts like a larger learning rate. Nobody who looks at
# these curves would suspect anything. On a task in which time matters, a wrong gradient costs accuracy, again without a
# message. So a gradient has to be compared with something. There are three witnesses.
#
# ![The forward pass is differentiated by finite differences, by PyTorch and by the library's engines; each is compared
# with your gradient](drawings/three_witnesses.svg)
#
# ### First witness: finite differences in smooth mode
#
# A difference quotient of the spiking loss is useless: it is the staircase from above. But the *smooth* network has
# an ordinary derivative, and the chain rule for it has exactly the steps of our backward pass, with $\sigma$ in the
# place of $\Theta$. So we run both on the smooth network. Two details matter. The smooth spikes also enter $g$. And
# the resets keep the values that they have at the point where the derivative is taken, because the formulas treat
# them as constants; otherwise quotient and formula would differ, and both would be right.


# %%
def by_quotients(p, x, y, reset, name, index, h=1e-5):
    ahead, back = (loss_of(smooth_spikes(moved(p, name, index, d), x, reset), y) for d in (h, -h))
    return (ahead - back) / (2 * h)


def smooth_run(p, x, reset):
    current, mem = x @ p["weight"].T + p["bias"], np.zeros((STEPS + 1, len(x), 10))
    for t in range(STEPS):
        mem[t + 1] = p["beta"] * mem[t] + current - reset[t] * p["threshold"]
    return mem, reset, soft(mem[1:] - p["threshold"])


run = smooth_run(first, x, reset)
checked = {"right": backward(first, x, y, *run), **{name: f(first, x, y, *run) for name, f in mistakes.items()}}
places = [("weight", pixel), ("bias", (3,)), ("beta", ()), ("threshold", ())]
print(f"{'':10}" + "".join(f"{name:>12}" for name, _ in places))
for name, found in checked.items():
    errors = []
    for parameter, index in places:
        quotient = by_quotients(first, x, y, reset, parameter, index)
        errors.append(abs(np.asarray(found[parameter])[index] / quotient - 1))
    print(f"{name:10}" + "".join(f"{error:12.1e}" for error in errors))
    assert (max(errors) < 1e-6) == (name == "right")

# %% [markdown]
# The table has relative errors. The right gradient agrees to about eight digits, which is what difference quotients
# can give. Each mistake is far off in at least one column.
#
# ### Second witness: automatic differentiation
#
# PyTorch's autograd knows nothing of our formulas. We write only the forward pass. The two `detach` give the spike its
# hard value and its smooth derivative.


# %%
def torch_gradients(p, x, y):
    w, b, beta, theta = (torch.tensor(p[n], requires_grad=True) for n in ("weight", "bias", "beta", "threshold"))
    current, mem, total = torch.tensor(x) @ w.T + b, torch.zeros(len(x), 10, dtype=torch.float64), 0.0
    for _ in range(STEPS):
        mem = beta * mem + current - (mem > theta).double() * theta
        curve = torch.atan(torch.pi * (mem - theta)) / torch.pi
        spike = (mem > theta).double() + curve - curve.detach()
        total = total + ((spike - torch.tensor(y)) ** 2).mean() / STEPS
    total.backward()
    return {"weight": w.grad, "bias": b.grad, "beta": beta.grad, "threshold": theta.grad}


for name, value in torch_gradients(first, x, y).items():
    difference = np.abs(grads[name] - value.numpy()).max() / np.abs(value.numpy()).max()
    print(f"{name:10} largest relative difference {difference:.1e}")
    assert difference < 1e-12

# %% [markdown]
# ### Third witness: the library's engines
#
# The same network in spikecore is two lines. Its NumPy engine has no autograd library either: it runs the loop that
# you have just written, for any neuron ([Gradients by hand](../bptt.md) shows how). The torch engine leaves the
# derivative to autograd. Both must give our numbers.


# %%
def squared_difference(out, targets):
    difference = out.spikes - targets
    return sc.base.engine_of(difference).xp.mean(difference * difference)


network = sc.Sequential(sc.Linear(64, 10), sc.Leaky(beta=sc.learn(0.8), threshold=sc.learn(1.0)))
names = {"weight": "0.weight", "bias": "0.bias", "beta": "1.beta", "threshold": "1.threshold"}
models = {}
for engine in ("numpy", "torch"):
    model = models[engine] = sc.Model(network, engine=engine, dtype="float64")
    model.load_state({**model.state(), "params": {names[name]: value for name, value in first.items()}})
    found = backprop.bptt(model, x, y, squared_difference, num_steps=STEPS)
    difference = max(np.abs(grads[n] - found.grads[names[n]]).max() / np.abs(grads[n]).max() for n in names)
    print(f"{engine:6} loss {found.loss:.6f}, largest relative difference of a gradient {difference:.1e}")
    assert difference < 1e-12

# %% [markdown]
# ## A wrong derivative, caught
#
# `sc.verify` calls the second and the third witness, and the first one for every parameter, on *your* model with *your*
# loss and data. Let us hand it a mistake of the kind that is easy to make: a surrogate whose derivative misses one
# factor $\pi$ inside of the square. The forward pass does not change, because only the backward pass uses the
# derivative.


# %%
@dataclass(frozen=True)
class missing_pi(surrogates.atan):
    def derivative(self, xp, u):
        return 1.0 / (1.0 + u * u)  # right: 1 / (1 + (pi u)^2)


bad = sc.Sequential(sc.Linear(64, 10), sc.Leaky(beta=sc.learn(0.8), surrogate=missing_pi()))
report = sc.verify(sc.Model(bad, engine="torch"), x[:16], y[:16], squared_difference, num_steps=STEPS)
print(f"ok: {report.ok}")
print(f"between the engines   {report.worst:.1e}")
print(f"finite differences    {report.worst_difference:.1e}")
assert not report.ok
assert report.worst < 1e-11
assert report.worst_difference > 0.1

# %% [markdown]
# Read the two numbers together. The engines agree with each other to the last digits, since both use the same wrong
# formula. Comparing two implementations finds mistakes in one of them, never a mistake in what both were told. The
# finite differences use no derivative at all, only $\sigma$ itself, so they notice.
#
# No check can tell you whether $\sigma$ is a *good* surrogate. Every increasing function gives a correct "surrogate
# gradient" in this sense, and some of them train badly; [training recipes](../training.md) and
# [surrogates](../surrogates.md) are about that.
#
# ## Exercises
#
# **1. A loss on the membrane.** Let the loss be $L = \operatorname{mean} (U[t] - y)^2$ instead. What changes in the
# backward pass? Write it, and compare with the library.

# %% tags=["answer"]
# The loss now reads the membrane, so U[t] has a direct derivative m[t] = 2 (U[t] - y) / size, and the spikes have none:
# lambda[t] = m[t] + beta lambda[t+1]. There is no surrogate in it, and the threshold acts only through the reset.
m = 2.0 * (mem[1:] - y) / spikes.size
later = by_current = by_threshold = 0.0
for t in reversed(range(STEPS)):
    later = m[t] + first["beta"] * later
    by_current = by_current + later
    by_threshold -= (reset[t] * later).sum()


def of_membrane(out, targets):
    difference = out.membrane - targets
    return sc.base.engine_of(difference).xp.mean(difference * difference)


found = backprop.bptt(models["numpy"], x, y, of_membrane, num_steps=STEPS).grads
print(f"largest difference {np.abs(found['0.weight'] - by_current.T @ x).max():.1e}")
assert np.allclose(found["0.weight"], by_current.T @ x, rtol=1e-10)
assert np.allclose(found["1.threshold"], by_threshold, rtol=1e-10)

# %% [markdown]
# **2. Truncated BPTT.** Cut the gradient every five steps: no $\lambda$ crosses from step 5 to step 4. Spikes do not
# change. Which single line of `backward` changes? Compare with `backprop.bptt(..., window=5)`.

# %% tags=["answer"]
# The carry is dropped at the cut: after step 5 has been done, "later" starts again from zero.
g = 2.0 * (spikes - y) / spikes.size
later, by_current = 0.0, 0.0
for t in reversed(range(STEPS)):
    later = g[t] * surrogate(mem[t + 1] - first["threshold"]) + first["beta"] * later * ((t + 1) % 5 != 0)
    by_current = by_current + later
found = backprop.bptt(models["numpy"], x, y, squared_difference, num_steps=STEPS, window=5).grads["0.weight"]
similar = (found * grads["weight"]).sum() / np.sqrt((found**2).sum() * (grads["weight"] ** 2).sum())
print(f"cosine between the truncated and the full gradient: {similar:.3f}")
assert np.allclose(found, by_current.T @ x, rtol=1e-10)

# %% [markdown]
# **3. The reset, differentiated.** Leave the reset in the chain: with `reset_delay=False` the membrane falls in the
# step of the spike, $U[t] = F[t] - S[t]\,\theta$ with $F[t] = \beta U[t-1] + I$ and $S[t] = \Theta(F[t] - \theta)$,
# and the library differentiates this, too. Derive $\mathrm{d}L / \mathrm{d}F[t]$, and check your result.

# %% tags=["answer"]
# F[t] acts on S[t] by sigma', and on U[t] directly and through S[t]. With k[t] = dL/dU[t] = beta dL/dF[t+1]:
# dL/dF[t] = g[t] sigma' + k[t] (1 - sigma' theta).
current = x @ first["weight"].T + first["bias"]
before, u = np.zeros_like(current), []
for _ in range(STEPS):
    u.append(first["beta"] * before + current)
    before = u[-1] - (u[-1] > 1.0)
g = 2.0 * ((np.array(u) > 1.0) - y) / spikes.size
by_f, by_current = 0.0, 0.0
for t in reversed(range(STEPS)):
    k, slope = first["beta"] * by_f, surrogate(u[t] - 1.0)
    by_f = g[t] * slope + k * (1.0 - slope * 1.0)
    by_current = by_current + by_f
at_once = sc.Sequential(sc.Linear(64, 10), sc.Leaky(beta=0.8, reset_delay=False))
model = sc.Model(at_once, engine="torch", dtype="float64")
model.load_state({**model.state(), "params": {names[n]: first[n] for n in ("weight", "bias")}})
found = backprop.bptt(model, x, y, squared_difference, num_steps=STEPS).grads["0.weight"]
print(f"largest difference {np.abs(found - by_current.T @ x).max():.1e}")
assert np.allclose(found, by_current.T @ x, rtol=1e-10)

# %% [markdown]
# ## Verify the gradients
#
# Here is the same check for the right network. It compares torch's autograd with the NumPy engine in float64 and in
# float32, and the NumPy engine with finite differences of the smooth network. [Verifying gradients](../verify.md)
# explains each row.

# %%
model = sc.Model(network, engine="torch", seed=0)
report = sc.verify(model, x[:16], y[:16], squared_difference, num_steps=STEPS)
print(report)
assert report.ok

# %% [markdown]
# Next: [a neuron of your own](own_neuron.md), for which the library derives all of this from the forward pass, and
# [learning without backpropagation through time](without_bptt.md).
