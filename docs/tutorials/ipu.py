# %% [markdown]
# # The IPU by a flag
#
# At the end of this page you can switch a network to Graphcore's IPU with one word, find out on any machine whether an
# IPU would take it and train it as meant, and simulate its training. It needs, in the
# clone of this repository, `pip install -e ".[all,examples]"`, and neither an IPU nor PopTorch.
#
# **What this page cannot show:** nobody has run this engine on an IPU, nor on Graphcore's IPU Model, nor through its
# compiler. Everything below runs on a CPU: checks of what would be compiled, and a simulation of PopTorch's rules.
# Speed on an IPU is unknown, and nothing is claimed about it.

# %% [markdown]
# ## What an IPU asks of a network
#
# An IPU (*intelligence processing unit*) is a processor for machine learning with many small cores, each with memory of
# its own. PopTorch is Graphcore's version of PyTorch for it; its last release, 3.4.0, is from September 2023. A GPU
# runs a PyTorch program operator by operator. PopTorch works differently, and spiking networks feel each difference:
#
# - **The whole training step is compiled ahead**: forward, backward and optimiser, for one fixed shape of the batch.
#   Python runs once, while the step is recorded. A number that changes from call to call is compiled with its first
#   value; a branch is compiled as it was taken.
# - **A custom backward is dropped.** The usual spike in PyTorch is a `torch.autograd.Function` whose backward holds the
#   surrogate. PopTorch compiles its forward, silently loses its backward, and the layers below do not learn.
# - **Weights and gradients live on the device.** They come back when somebody asks.
# - **Time is unrolled**: a run of 25 steps is 25 copies of the step in one program.
#
# ![Host and IPU: the network is recorded and compiled once; the program has a copy of each step, forwards and
# backwards, and the optimiser](drawings/ipu_lowering.svg)
#
# snnTorch has a separate package for the IPU, which needs a separate environment. Here the IPU is one more engine.

# %%
import matplotlib.pyplot as plt

import spikecore as sc
from spikecore.datasets import Loader, digits
from spikecore.engines.ipu.networks import check_model

train, test = digits()
STEPS = 15

# %% [markdown]
# ## One word
#
# The network below has leaky neurons and reads images of 8 × 8 pixels, the handwritten digits of scikit-learn. Its
# definition names no engine. `engine="torch"` and `engine="numpy"` train it here; `engine="ipu"` trains it on an IPU.

# %%
network = sc.Sequential(
    *(sc.Linear(64, 128), sc.Leaky(beta=0.9)),
    *(sc.Linear(128, 10), sc.Leaky(beta=0.9)),
)

try:
    sc.Model(network, engine="ipu")
except ImportError as error:
    print(f"{type(error).__name__}: {error}")

# %% [markdown]
# Without PopTorch the engine says what is missing and what you can do. It does not fall back to another engine behind
# your back.
#
# ## Check before you rent
#
# `check_model` builds the module that would be compiled, runs its forward pass twice on the CPU, and watches every call
# of torch. It reports what PopTorch would refuse, and what it would silently get wrong. Each finding names the layer,
# the reason and a remedy.

# %%
model = sc.Model(network, engine="torch", seed=0)
x, labels = train.inputs[:32], train.targets[:32]
report = check_model(model, x, labels, optimizer=sc.Adam(lr=4e-3), num_steps=STEPS)
print(report)
assert report.ok

# %% [markdown]
# The check has no objection: every operator has a handler in PopTorch, there is a single loss, and no gradient goes
# missing. The number of *aten calls* (torch's basic operators) per step tells how the program grows with time.
#
# How can the gradient survive if custom backwards are dropped? The engine writes the spike without one:
#
# $$S = \Theta(u) + h(u)_{\text{detached}} \cdot (u - u_{\text{detached}}),$$
#
# where $h$ is the surrogate's derivative. The second term is exactly 0, so the value is the spike; its derivative is
# $h(u)$, by torch's own rules.
#
# ![A custom backward is lost on the way to the device; the engine's spike keeps its
# derivative](drawings/dropped_backward.svg)
#
# The next cell compares both spikes on one vector.

# %%
import torch

u = torch.linspace(-1, 1, 5, requires_grad=True)
h = 1 / (1 + 25 * u.abs()) ** 2
spike = (u > 0).float() + h.detach() * (u - u.detach())
spike.sum().backward()
print("spikes  ", spike.detach().tolist())
print("gradient", [round(value, 4) for value in u.grad.tolist()])
assert torch.equal(u.grad, h.detach())

# %% [markdown]
# ## What the check finds
#
# Now we check a module that is written as for a GPU. Its spike has a custom backward:


# %%
from spikecore.engines.ipu.check import check


class Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, u):
        ctx.save_for_backward(u)
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(ctx, gradient):
        (u,) = ctx.saved_tensors
        return gradient / (1 + 25 * u.abs()) ** 2


class Handmade(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.last = torch.nn.Linear(64, 128), torch.nn.Linear(128, 10)

    def forward(self, x, y):
        mem, out = torch.zeros(len(x), 128, device=x.device), 0
        for _ in range(STEPS):
            mem = 0.9 * mem + self.hidden(x)
            spikes = Spike.apply(mem - 1)
            mem = mem - spikes
            out = out + self.last(spikes)
        return out, torch.nn.functional.cross_entropy(out, y)


found = check(Handmade(), [torch.as_tensor(x), torch.as_tensor(labels)])
print(found)
assert not found.ok

# %% [markdown]
# PopTorch would compile this module without a word, and the hidden layer would never learn. [The IPU
# engine](../ipu.md#checking) lists all traps that the check knows.
#
# A note is no refusal. Max pooling gets one: at a tie, PopART, the compiler below PopTorch, gives every maximum the
# whole gradient, and spikes tie almost always. The note says how many ties there are in your batch:


# %%
class Pooled(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.last = torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.Linear(64, 10)

    def forward(self, x, y):
        currents = self.conv(x)
        spikes = (currents > 0.1).float() + currents - currents.detach()
        out = self.last(torch.nn.functional.max_pool2d(spikes, 2, stride=2).flatten(1))
        return out, torch.nn.functional.cross_entropy(out, y)


pictures = torch.as_tensor(x).reshape(-1, 1, 8, 8)
print(check(Pooled(), [pictures, torch.as_tensor(labels)]))

# %% [markdown]
# The engine's own `sc.MaxPool2d` compares the entries in reading order instead, so that one maximum gets the gradient,
# as in torch.
#
# ## Simulate the training
#
# With `simulate=True` the same engine runs, and a simulation on the CPU takes PopTorch's place. It follows PopTorch's
# rules as known from its public source: options are frozen, the first call fixes the shapes, weights live on the
# "device" until they are copied, the optimiser's arrays have PopART's names. It is as strict and as silent as PopTorch.
# It shows that the engine follows these rules; it cannot show that there are no other rules.

# %%
batches = Loader(train, batch_size=64, seed=0, drop_last=True)
settings = {"num_steps": STEPS, "optimizer": sc.Adam(lr=4e-3), "epochs": 6, "progress": False}

models = {
    "torch": sc.Model(network, engine="torch", seed=0),
    "numpy": sc.Model(network, engine="numpy", seed=0),
    "ipu, simulated": sc.Model(network, engine="ipu", simulate=True, seed=0),
}
reached = {}
for name, each in models.items():
    each.fit(batches, **settings)
    accuracy = each.to_engine("numpy").evaluate(Loader(test, shuffle=False), num_steps=STEPS)["accuracy"]
    reached[name] = accuracy
    print(f"{name}: loss of the last epoch {each.history[-1]['loss']:.4f}, test accuracy {100 * accuracy:.1f} %")
assert min(reached.values()) > 0.75

# %% alt="Training loss of the torch, the NumPy and the simulated IPU engine over six epochs: three curves in one place"
fig, ax = plt.subplots(figsize=(6, 3))
for (name, each), style in zip(models.items(), ("-", "--", ":")):
    ax.plot(range(1, 7), [row["loss"] for row in each.history], style, label=name, linewidth=2.5)
ax.set(xlabel="epoch", ylabel="loss")
_ = ax.legend(frameon=False)

# %% [markdown]
# The three curves lie on each other: same seed, same first weights, same batches. They drift apart in the last digits,
# because sums are added up in different orders. If a membrane is that close to its threshold, a spike differs, and then
# more spikes do.
#
# ## One batch in parts
#
# An IPU has little memory for each core, so PopTorch cuts batches. `gradient_accumulation=4` runs a batch in four parts
# and makes one step with their mean gradient. `device_iterations=4` makes four steps in one call. Both are options of
# the engine. The step is the same as with the whole batch, so the result is the same, too:

# %%
whole, parts = (sc.Model(network, engine="ipu", simulate=True, seed=0, gradient_accumulation=count) for count in (1, 4))
for each in (whole, parts):
    each.fit([(x, labels)], num_steps=STEPS, optimizer=sc.SGD(lr=0.1), progress=False)
apart = max(float(abs(a - parts.params()[name]).max()) for name, a in whole.params().items())
print(f"weights after one step in one and in four parts differ by at most {apart:.1e}")
assert apart < 1e-6

# %% [markdown]
# ## Long sequences
#
# Because time is unrolled, a program for 1000 steps is 1000 steps long, and needs memory for all of them. Watch the
# number of calls:

# %%
for steps in (5, 15, 45):
    grown = check_model(model, x, labels, optimizer=sc.Adam(), num_steps=steps)
    print(f"{steps} steps: {grown}".splitlines()[0])

# %% [markdown]
# `sc.BPTT(update_every=10)` compiles a program of ten steps, and calls it for each part of a sequence:
#
# ![Four parts of ten steps: states pass from part to part, gradients go back within a part
# only](drawings/parts_of_a_sequence.svg)

# %%
long = sc.Model(network, engine="ipu", simulate=True, seed=0)
long.fit([(x, labels)], num_steps=100, learning=sc.BPTT(update_every=10), epochs=2, progress=False)
print(f"100 steps in ten programs of 10: loss {long.history[0]['loss']:.3f}, then {long.history[1]['loss']:.3f}")

# %% [markdown]
# ## From the command line
#
# In a run file, one word does the same. These commands check a run file and train it in the simulation:
#
# ```
# spikecore check examples/digits.toml --for ipu
# spikecore train examples/digits.toml --engine ipu --simulate
# ```
#
# On a machine with an IPU and PopTorch, leave `--simulate` out. See [run files](../run_files.md).
#
# ## What is not supported
#
# - **float64**: an IPU has none. `verify` compares in float32 there.
# - **Learning forward in time** (`learning="eprop"` and others): it needs gradients step by step, which stay on the
#   device. `sc.BPTT` with `window` and `update_every` works.
# - **Batches of changing size**: the first call fixes the shape. A smaller last batch is left out, or padded with
#   `short_batch="pad"`.
# - **Streams and `run_events`**: inference runs whole sequences. `inference_loop=True` keeps programs short.
#
# It is not known whether Poplar's compiler takes these programs, how much memory they need, and how fast they are.
# Others have measured spiking networks on IPUs: P.-S. V. Sun et al., *Intelligence processing units accelerate
# neuromorphic learning* (2022, arXiv:2211.10725).
#
# ## Exercises
#
# **1.** Write the module `Handmade` so that the check has no objection.


# %% tags=["answer"]
class Mended(Handmade):
    def forward(self, x, y):
        mem, out = torch.zeros(len(x), 128, device=x.device), 0
        for _ in range(STEPS):
            mem = 0.9 * mem + self.hidden(x)
            u = mem - 1
            surrogate = (1 / (1 + 25 * u.abs()) ** 2).detach()
            spikes = (u > 0).to(u.dtype) + surrogate * (u - u.detach())
            mem = mem - spikes
            out = out + self.last(spikes)
        return out, torch.nn.functional.cross_entropy(out, y)


mended = check(Mended(), [torch.as_tensor(x), torch.as_tensor(labels)])
print(mended)
assert mended.ok

# %% [markdown]
# **2.** Ask for learning by e-prop in `check_model`. What does it say?

# %% tags=["answer"]
forward = check_model(model, x, labels, optimizer=sc.Adam(), num_steps=STEPS, learning="eprop")
print(forward)
assert not forward.ok

# %% [markdown]
# **3.** Train on a batch of 32 and then on one of 20 in the simulation. What becomes of the second batch, and what does
# `short_batch="pad"` change?

# %% tags=["answer"]
first, second = (x, labels), (train.inputs[32:52], train.targets[32:52])


def weights_after(batches, option):
    cut = sc.Model(network, engine="ipu", simulate=True, seed=0, short_batch=option)
    cut.fit(batches, num_steps=STEPS, progress=False)
    return cut.params()["0.weight"]


moved = {}
for option in ("drop", "pad"):
    moved[option] = float(abs(weights_after([first, second], option) - weights_after([first], option)).max())
    print(f"short_batch={option!r}: the second batch moves the weights by up to {moved[option]:.1e}")
assert moved["drop"] == 0 < moved["pad"]

# %% [markdown]
# ## Verify the gradients
#
# Gradients stay on an IPU, so the engine derives them from one training step, made with a known learning rate. `verify`
# compares them with those of the NumPy engine, here in the simulation and on a real IPU in the same way. "Not checked"
# names what a training step does not return: the spikes, and the gradient with respect to the inputs.

# %%
report = sc.verify(models["ipu, simulated"], x[:8], labels[:8], num_steps=5)
print(report)
assert report.ok

# %% [markdown]
# ## What you have learned
#
# - `engine="ipu"` switches the engine; the network stays as it is.
# - `check_model`, `check` and `spikecore check` find what PopTorch would refuse or silently break, on any machine.
# - `simulate=True` trains by PopTorch's rules, as far as they are public. Nobody knows yet what a device does.
#
# Next: [gradients by hand](gradients_by_hand.md), or [other runtimes](other_runtimes.md).
