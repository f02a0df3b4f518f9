# %% [markdown]
# # Learning without BPTT
#
# Backpropagation through time (BPTT) must store what every neuron did at every step, and it cannot begin before the
# sequence has ended. A brain can do neither, and a chip in a sensor does not want to. This page shows three kinds of
# rules that learn while time goes on:
#
# - e-prop and OTTT follow the gradient approximately.
# - Real-time recurrent learning (RTRL) follows the gradient exactly.
# - Spike-timing-dependent plasticity (STDP) knows no loss at all.
#
# You will measure what each of them costs in memory and accuracy, on the same handwritten digits.
#
# It needs, in the clone of this repository, `pip install -e ".[all,examples]"`.

# %%
import tracemalloc

import matplotlib.pyplot as plt
import numpy as np

import spikecore as sc
from spikecore import backprop, functional, spikegen
from spikecore.datasets import digits
from spikecore.functional.stdp_learner import STDP

train, test = digits(image=True)  # (samples, 1, 8, 8), brightness in [0, 1]
print(len(train), "training images,", len(test), "test images")

# %% [markdown]
# ## Three factors
#
# Take a layer of leaky neurons with the membrane $U[t] = \beta\, U[t-1] + \sum_j w_j\, z_j[t] - R[t]\,\theta$ and the
# spike $S[t] = \Theta(U[t] - \theta)$. Let $L$ be a sum of losses of single steps. How does a weight $w_j$ act on the
# spike at step $t$? Through the membrane, to which the inputs $z_j$ of *all* steps up to $t$ have contributed, each
# weakened by $\beta$ per step. This sum can be carried along, one number per synapse:
#
# $$e_j[t] = \frac{\mathrm{d} U[t]}{\mathrm{d} w_j} = \beta\, e_j[t-1] + z_j[t]
# \qquad\text{(the eligibility trace)} .$$
#
# The gradient is then a sum over time of three factors:
#
# $$\frac{\mathrm{d} L}{\mathrm{d} w_j} = \sum_t
# \underbrace{\frac{\partial L}{\partial S[t]}}_{\text{learning signal}} \cdot
# \underbrace{\sigma'(U[t] - \theta)}_{\text{postsynaptic}} \cdot
# \underbrace{e_j[t]}_{\text{presynaptic}} .$$
#
# ![A synapse with its recent input, a neuron close to its threshold or not, and the learning signal from
# outside](drawings/three_factors.svg)
#
# No factor looks back in time. This is **e-prop** (Bellec et al., *A solution to the learning dilemma for recurrent
# networks of spiking neurons*, 2020), and neuroscience calls rules of this form *three-factor rules*.
#
# Here it is in NumPy, for one layer of ten neurons and digits that arrive as random spikes. It goes *forwards*
# through time, and keeps only the current step.

# %%
STEPS, BETA = 25, 0.9
few = slice(0, 32)
labels = train.targets[few]
spikes_in = np.asarray(spikegen.rate(train.inputs[few].reshape(32, 64).astype(np.float64), num_steps=STEPS, seed=0))
weight = np.random.default_rng(0).uniform(-0.1, 0.13, (10, 64))


def eprop_by_hand(weight, spikes_in):
    mem = spikes = np.zeros((len(labels), 10))
    trace = np.zeros((len(labels), 64))
    gradient, record = np.zeros_like(weight), []
    for z in spikes_in:
        mem = BETA * mem + z @ weight.T - spikes  # the threshold is 1
        spikes = (mem > 1.0) * 1.0
        trace = BETA * trace + z
        chances = np.exp(spikes) / np.exp(spikes).sum(axis=1, keepdims=True)  # cross entropy of the spikes of this step
        signal = (chances - np.eye(10)[labels]) / (STEPS * len(labels))
        near = 1.0 / (1.0 + (np.pi * (mem - 1.0)) ** 2)  # the surrogate's derivative
        gradient += (signal * near).T @ trace
        record.append((z, trace, mem, spikes, signal, near))
    return gradient, record


gradient, record = eprop_by_hand(weight, spikes_in)
layer = sc.Model(sc.Sequential(sc.Linear(64, 10, bias=False), sc.Leaky(beta=BETA)), engine="numpy", dtype="float64")
layer.load_state({**layer.state(), "params": {"0.weight": weight}})
online = backprop.online(layer, spikes_in, labels)  # the library's e-prop; the loss is ce_rate_loss
whole = backprop.bptt(layer, spikes_in, labels)  # backwards through time
for name, found in {"e-prop of the library": online, "BPTT": whole}.items():
    difference = np.abs(found.grads["0.weight"] - gradient).max() / np.abs(gradient).max()
    print(f"by hand and {name}: largest relative difference {difference:.1e}")
    assert difference < 1e-12

# %% [markdown]
# The three agree to the last digits: for one layer, e-prop **is** the gradient, computed in another order. The
# picture shows the three factors for one synapse, from a grey pixel to the neuron of the right digit, and what they
# add up to.

# %% alt="One synapse over time: input spikes and eligibility, membrane and surrogate, learning signal, gradient"
counts = np.stack([spikes for _, _, _, spikes, _, _ in record]).sum(axis=0)[np.arange(len(labels)), labels]
sample = int(np.abs(counts - 7).argmin())  # an image for which the right neuron fires now and then,
neuron, pixel = int(labels[sample]), int(np.abs(spikes_in[:, sample].sum(axis=0) - 9).argmin())  # and a grey pixel
z, trace, mem, spikes, signal, near = (np.stack(column)[:, sample] for column in zip(*record))
fig, axes = plt.subplots(4, 1, figsize=(7, 5.6), sharex=True, layout="constrained")
axes[0].vlines(np.flatnonzero(z[:, pixel]), 0, 1, color="C0", label="input spikes")
axes[0].plot(trace[:, pixel], color="C1", label="eligibility")
axes[1].plot(mem[:, neuron], color="C0", label="membrane")
axes[1].plot(near[:, neuron], color="C2", label="surrogate")
axes[1].plot(np.flatnonzero(spikes[:, neuron]), mem[spikes[:, neuron] > 0, neuron], "o", color="C3", label="spike")
axes[2].step(range(STEPS), signal[:, neuron], where="mid", color="C4", label="learning signal")
axes[3].plot((signal[:, neuron] * near[:, neuron] * trace[:, pixel]).cumsum(), color="C5", label="gradient so far")
for ax in axes:
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
_ = axes[3].set_xlabel("time step")

# %% [markdown]
# ## What is left out
#
# With more than one layer there is a gap: an early spike of layer 1 acts on a late loss through the memory of layer 2,
# and this path is missing.
#
# ![Two layers over four steps: the learning signal goes down through the layers of its step; the memory of layer 2 is
# left out](drawings/missing_path.svg)
#
# For the last layer of neurons the gradient stays exact. How bad is this? We train with BPTT, and compute the cosine
# between its gradient and another gradient: 1 is the same direction, 0 is a right angle.
#
# The gap shows only if time matters. We show each digit row by row, from top to bottom, with two steps per row: 16
# steps for 8 rows. The network has to remember the upper rows when the lower ones come, and only the last two steps
# count in the loss.

# %%
ROWS, HOLD = 8, 2


def row_by_row(images):
    """(time, samples, 8 pixels)."""
    return np.repeat(images[:, 0].transpose(1, 0, 2), HOLD, axis=0).astype(np.float32)


x, x_test = row_by_row(train.inputs), row_by_row(test.inputs)
wanted = np.zeros((len(x), len(train), 10), np.float32)  # one hot at the last two steps, zero before: no loss there
wanted[-HOLD:, np.arange(len(train)), train.targets] = 1


def cross_entropy(out, wanted):
    xp = sc.base.engine_of(out.membrane).xp
    return -xp.mean(xp.sum(wanted * xp.log_softmax(out.membrane, axis=-1), axis=-1))


loss = backprop.per_step(cross_entropy, "sum")  # the loss of one step; the whole loss is the sum over steps


def network():
    return sc.Sequential(sc.Linear(8, 50), sc.Leaky(beta=0.95, threshold=0.5), sc.Linear(50, 10), sc.LI(beta=0.9))


order = np.random.default_rng(0).permutation(len(train))
batches = [(x[:, rows], wanted[:, rows]) for rows in np.array_split(order, 21)]


def trained(**options):
    model = sc.Model(network(), engine="numpy", seed=0)
    model.fit(batches, loss=loss, optimizer=sc.Adam(lr=1e-2), epochs=8, progress=False, **options)
    return model


models = {"BPTT": trained()}


def cosine(a, b):
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


def gradients(model):
    x, y = batches[0]
    return {
        "BPTT": backprop.bptt(model, x, y, loss).grads,
        "e-prop": backprop.online(model, x, y, loss).grads,
        "OTTT": backprop.online(model, x, y, loss, trace="factorised").grads,
        "window of 4 steps": backprop.bptt(model, x, y, loss, window=4).grads,
    }


at_first, at_last = gradients(sc.Model(network(), engine="numpy", seed=0)), gradients(models["BPTT"])
print(f"{'cosine with BPTT':18} first layer   the same, trained   last layer, trained")
for name in ("e-prop", "OTTT", "window of 4 steps"):
    early, late = (cosine(grads["BPTT"]["0.weight"], grads[name]["0.weight"]) for grads in (at_first, at_last))
    readout = cosine(at_last["BPTT"]["2.weight"], at_last[name]["2.weight"])
    print(f"{name:18} {early:11.3f} {late:19.3f} {readout:21.3f}")
    assert name.startswith("window") or (late > 0.6 and readout > 0.9999)
assert np.allclose(at_last["e-prop"]["0.weight"], at_last["OTTT"]["0.weight"], rtol=0, atol=1e-4)

# %% [markdown]
# **OTTT** (Xiao et al., *Online training through time for spiking neural networks*, 2022) computes the same gradient at
# a lower cost. Look at the trace above: $e_j[t] = \beta\,e_j[t-1] + z_j[t]$ does not depend on the neuron that receives
# it. If all neurons of a layer have the same decay and are reset by subtraction, one trace per *input* serves all of
# them. The last line of the cell checks that both give the same numbers. e-prop also works where this shortcut does
# not: different decays, adaptive thresholds, your own neuron.
#
# The last row of the table is *truncated* BPTT, the usual answer to a lack of memory.
#
# ![A sequence of twelve steps: BPTT goes back over all of them; with a window of four, the gradient is cut after every
# fourth step](drawings/truncated_bptt.svg)
#
# A window of four steps spans only the last two rows of the digit. So its gradient lacks the influence of the upper six
# rows on the answer.
#
# ## What it costs in accuracy
#
# Each of these rules is an argument of `fit`. We train with the same network, data, optimiser and number of updates:


# %%
def accuracy(model):
    at_the_end = model.engine.to_numpy(model(x_test).membrane)[-HOLD:].sum(axis=0)
    return float((at_the_end.argmax(axis=1) == test.targets).mean())


models["OTTT"], models["window of 4"] = trained(learning="ottt"), trained(learning=sc.BPTT(window=4))
found = {name: accuracy(model) for name, model in models.items()}
for name, value in found.items():
    print(f"{name:12} {value:.1%} of the test images")
assert found["BPTT"] > 0.6
assert found["OTTT"] > 0.5
assert found["OTTT"] > found["window of 4"] + 0.1

# %% [markdown]
# Other seeds give similar accuracies:
#
# | seed | BPTT | OTTT | window of 4 |
# |--:|--:|--:|--:|
# | 0 | 70 % | 62 % | 35 % |
# | 1 | 70 % | 67 % | 29 % |
# | 2 | 72 % | – | 29 % |
#
# (The digits are harder row by row: the same network sees only 8 pixels at a time. Learning rates of 1e-2 and 2e-2 gave
# the same picture.) So the gradient that goes forwards loses some accuracy, while truncation loses most of it. In the
# trained network, the gradients of e-prop and OTTT still point almost in the direction of BPTT's gradient. The window
# loses only a little at each update, but after some hundred updates this has added up. If digits are shown at once, all
# this does not matter; [Learning through time](../learning.md#how-close) has figures for more tasks.
#
# ## What it saves in memory
#
# BPTT stores all states of all steps. The forward rules store one trace per synapse or input, however long the sequence
# is. We measure the largest amount of memory that each takes for sequences of 50 to 800 steps. The input comes from a
# generator, one step at a time; BPTT cannot use a generator, since it has to see the sequence again.

# %% alt="Peak memory against the number of steps: BPTT grows in proportion, e-prop and OTTT stay flat"
deep = sc.Model(network(), engine="numpy", seed=0)


def stream(steps):
    rng = np.random.default_rng(0)
    for _ in range(steps):
        yield rng.random((16, 8), dtype=np.float32)


def peak(work):
    """The peak of the memory that NumPy and Python take for some work, in MB."""
    tracemalloc.start()
    work()
    size = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return size / 1e6


answers, lengths = np.arange(16) % 10, (50, 100, 200, 400, 800)
rule = functional.ce_membrane_loss()
memory = {
    "BPTT": [peak(lambda n=n: backprop.bptt(deep, np.stack(list(stream(n))), answers, rule)) for n in lengths],
    "e-prop": [peak(lambda n=n: backprop.online(deep, stream(n), answers, rule, record=False)) for n in lengths],
    "OTTT": [
        peak(lambda n=n: backprop.online(deep, stream(n), answers, rule, trace="factorised", record=False))
        for n in lengths
    ],
}
fig, ax = plt.subplots(figsize=(7, 3), layout="constrained")
for (name, sizes), marker in zip(memory.items(), "os^"):
    ax.plot(lengths, sizes, marker + "-", label=name)
    print(f"{name:7}", ", ".join(f"{size:.2f}" for size in sizes), "MB")
ax.set(xlabel="steps", ylabel="peak memory, MB", xscale="log", yscale="log", xticks=lengths, xticklabels=lengths)
ax.minorticks_off()
ax.legend(frameon=False)
assert memory["BPTT"][-1] > 8 * memory["BPTT"][0]
assert memory["e-prop"][-1] < 1.2 * memory["e-prop"][0]
assert memory["OTTT"][-1] < 1.2 * memory["OTTT"][0]

# %% [markdown]
# A flat line means that a network can learn from a sensor that never stops. With `sc.EProp(update_every=k)`, `fit`
# changes the weights every $k$ steps of a sequence. The price of the flat line is time: the rules do more work per
# step. For short sequences BPTT is faster, and for training on a big machine it is the right choice.
#
# ## The exact gradient, forwards: RTRL
#
# Real-time recurrent learning (Williams and Zipser, *A learning algorithm for continually running fully recurrent
# neural networks*, 1989) leaves nothing out. It carries the derivative of *every* state with respect to *every*
# parameter, also through recurrent connections. The gradient equals BPTT's, and memory does not grow with time. But
# memory grows with the number of states times the number of parameters. So RTRL is for small networks, and for checking
# the other rules.

# %%
recurrent = sc.Sequential(sc.Linear(8, 4), sc.RLeaky(beta=0.9, linear_features=4), sc.Linear(4, 10), sc.LI(beta=0.9))
small = sc.Model(recurrent, engine="numpy", seed=0, dtype="float64")
forwards = backprop.rtrl(small, x[:, :4], wanted[:, :4], loss).grads
backwards = backprop.bptt(small, x[:, :4], wanted[:, :4], loss).grads
worst = max(np.abs(forwards[name] - value).max() for name, value in backwards.items())
states, parameters = 4 + 4 + 10, sum(value.size for value in backwards.values())
print(f"largest difference {worst:.1e}")
print(f"{states} states x {parameters} parameters = {states * parameters} numbers per sample")
assert worst < 1e-12

# %% [markdown]
# ## No gradient at all: STDP
#
# A synapse in the brain sees the spikes that come in and the spikes that its neuron sends. An input *before* the
# neuron's spike may have caused it, one *after* it had no part in it (Bi and Poo, *Synaptic modifications in cultured
# hippocampal neurons*, 1998).
#
# ![Traces of input and neuron: with the input first, the weight grows by the input's trace; with the input later, it
# shrinks by the neuron's](drawings/stdp_traces.svg)
#
# With a decaying trace on each side this is
#
# $$
# \begin{aligned}
# x_j[t] &= d\,x_j[t-1] + z_j[t], \qquad y[t] = d\,y[t-1] + S[t], \\
# \Delta w_j[t] &= f_{+}(w_j)\, S[t]\, x_j[t] - f_{-}(w_j)\, y[t]\, z_j[t] .
# \end{aligned}
# $$
#
# The functions $f$ keep weights within bounds: with $f_{+} = 1 - w$ and $f_{-} = w$, a weight stays between 0 and 1.
# Compare with e-prop: there are two factors, and the third, the learning signal, is missing. So STDP cannot know what
# is right. It finds what is *frequent*.

# %% alt="Weight change against the time between two spikes: positive if the input comes first, else negative"
pair = STDP(sc.Linear(1, 1, bias=False), tau_pre=8.0, tau_post=8.0, f_post=lambda w: 1.0, f_pre=lambda w: 1.0)
gaps, change = np.arange(-20, 21), []
for gap in gaps:
    before, after = np.zeros((50, 1, 1)), np.zeros((50, 1, 1))
    before[25], after[25 + gap] = 1, 1
    change.append(float(pair.run(np.array([[0.5]]), before, after)[0][0, 0]))
fig, ax = plt.subplots(figsize=(7, 2.6), layout="constrained")
colours = ["C0" if value > 0 else "C3" if value < 0 else "C7" for value in change]
ax.bar(gaps, change, color=colours)
_ = ax.set(xlabel="spike of the neuron after the input's, steps", ylabel="weight change")

# %% [markdown]
# STDP needs a code in which time says something. In a latency code ([Spike encoding](spike_encoding.md)) each pixel
# fires once, the bright ones first. Let 40 neurons look at each image. The first neuron to fire wins, and only the
# winner learns:
#
# ![The brightest pixels fire first; the first neuron to fire silences the others, and its synapses from pixels that
# came before grow](drawings/winner_takes_all.svg)
#
# The winner's threshold then rises a little, and the thresholds of all others fall, so that every neuron gets its turn.
# Nobody tells the network what a digit is.

# %%
MOMENTS, NEURONS = 12, 40


def first_spikes(part):
    flat = part.inputs.reshape(len(part), 64)
    code = spikegen.latency(flat, num_steps=MOMENTS, tau=5, threshold=0.05, linear=True, normalize=True)
    return np.array(code, np.float64)


def winner(weight, threshold, spikes):
    """The neuron that fires first, and when; -1 if none does. Neurons add up what comes in."""
    above = np.cumsum(spikes @ weight.T, axis=0) - threshold
    when = np.flatnonzero((above > 0).any(axis=1))
    return (int(above[when[0]].argmax()), int(when[0])) if len(when) else (-1, -1)


def learn(codes, epochs, rate=0.05, seed=0):
    rng = np.random.default_rng(seed)
    weight, threshold = rng.uniform(0.3, 0.7, (NEURONS, 64)), np.full(NEURONS, 8.0)
    rule = STDP(
        sc.Linear(64, NEURONS, bias=False), tau_pre=8.0, tau_post=8.0, f_post=lambda w: 1 - w, f_pre=lambda w: w
    )
    for _ in range(epochs):
        for i in rng.permutation(codes.shape[1]):
            first, when = winner(weight, threshold, codes[:, i])
            if first < 0:
                threshold -= 0.01
                continue
            spike = np.zeros((MOMENTS, 1, NEURONS))
            spike[when, 0, first] = 1
            change, _ = rule.run(weight, codes[:, i : i + 1], spike)
            weight = np.clip(weight + rate * change, 0.0, 1.0)
            threshold[first] += 0.1
            threshold -= 0.1 / NEURONS
    return weight, threshold


codes, test_codes = first_spikes(train), first_spikes(test)


def judged(weight, threshold):
    """Test accuracy, if each neuron stands for the digit for which it won most often in training."""
    who = np.array([winner(weight, threshold, codes[:, i])[0] for i in range(len(train))])
    stands_for = np.array([np.bincount(train.targets[who == n], minlength=10).argmax() for n in range(NEURONS)])
    said = np.array([winner(weight, threshold, test_codes[:, i])[0] for i in range(len(test))])
    return float(np.mean(np.where(said >= 0, stands_for[said], -1) == test.targets))


random_weights, learned_weights = learn(codes, 0), learn(codes, 2)
untrained, trained_without_labels = judged(*random_weights), judged(*learned_weights)
print(f"random weights {untrained:.1%}, after STDP {trained_without_labels:.1%}; by chance 10%")
assert trained_without_labels > 0.6
assert trained_without_labels > untrained + 0.2

# %% [markdown]
# Labels were used only at the end, to say which neuron stands for which digit. (The learning rate and the steps of the
# thresholds come from a few trials that looked at the test accuracy. So the accuracy shows that this works, not how
# well it would work on new digits.) The weights have become digits:

# %% alt="The weights of all 40 neurons as images of 8 by 8 pixels: most look like a digit"
fig, axes = plt.subplots(4, 10, figsize=(7, 3), layout="constrained")
for ax, row in zip(axes.flat, learned_weights[0]):
    ax.imshow(row.reshape(8, 8), cmap="viridis")
    ax.axis("off")

# %% [markdown]
# A reward can be the third factor: `RewardSTDP` collects what STDP *would* change in an eligibility trace, and
# changes the weights when a reward comes (Florian, *Reinforcement learning through modulation of
# spike-timing-dependent synaptic plasticity*, 2007). For networks of PyTorch modules,
# `functional.stdp_learner.STDPLearner` records the spikes of two modules.
#
# | | follows a loss | memory grows with time | neurons need to know |
# |---|---|---|---|
# | BPTT | exactly | yes | everything, afterwards |
# | e-prop, OTTT | exactly in the last layer, roughly before | no | their own trace and one signal per step |
# | RTRL | exactly | no, but with states x parameters | everything, at once |
# | STDP | no | no | their own spikes and inputs |
#
# ## Exercises
#
# **1. Random feedback.** The learning signal of a hidden layer comes through the weights of the layer behind it.
# Biology has no such way back. Train the row-by-row network with random feedback: in the last layer use the true
# gradient; in the first, replace the weights of layer 2 by fixed random numbers. How far does the accuracy fall?
# Hint: write e-prop for two layers by hand.


# %% tags=["answer"]
def two_layers(p, feedback, x, wanted):
    """e-prop with a feedback of one's choice; feedback = p["out"] is e-prop itself, up to the memory of the readout."""
    hidden = spikes = np.zeros((x.shape[1], 50))
    out, trace, trace_out = np.zeros((x.shape[1], 10)), np.zeros((x.shape[1], 8)), np.zeros((x.shape[1], 50))
    grads = {name: np.zeros_like(value) for name, value in p.items()}
    for z, y in zip(x, wanted):
        hidden = 0.95 * hidden + z @ p["in"].T - 0.5 * spikes
        spikes = (hidden > 0.5) * 1.0
        out = 0.9 * out + spikes @ p["out"].T
        trace, trace_out = 0.95 * trace + z, 0.9 * trace_out + spikes
        if y.any():  # no learning signal without a loss
            chances = np.exp(out - out.max(axis=1, keepdims=True))
            signal = (chances / chances.sum(axis=1, keepdims=True) - y) / x.shape[1]
            near = 1.0 / (1.0 + (np.pi * (hidden - 0.5)) ** 2)
            grads["out"] += signal.T @ trace_out
            grads["in"] += ((signal @ feedback) * near).T @ trace
    return grads, out


def train_by_hand(random_feedback, epochs=12):
    rng = np.random.default_rng(0)
    p = {"in": rng.uniform(-0.35, 0.35, (50, 8)), "out": rng.uniform(-0.14, 0.14, (10, 50))}
    fixed = rng.uniform(-0.14, 0.14, (10, 50))
    speed = {name: 0.0 for name in p}
    for _ in range(epochs):
        for xb, yb in batches:
            grads, _ = two_layers(p, fixed if random_feedback else p["out"], xb, yb)
            for name in p:
                speed[name] = 0.9 * speed[name] - 0.03 * grads[name]
                p[name] = p[name] + speed[name]
    _, out = two_layers(p, fixed, x_test, np.zeros((len(x_test), len(test), 10)))
    return float((out.argmax(axis=1) == test.targets).mean())


for random_feedback in (False, True):
    print("random feedback" if random_feedback else "true weights", f"{train_by_hand(random_feedback):.1%}")

# %% [markdown]
# **2. STDP with a rate code.** Replace the latency code by `spikegen.rate`. Why is the result worse, although the
# images are the same?


# %% tags=["answer"]
# With random spikes, an input comes after the neuron's spike as often as before it: growth and shrinking have the same
# rate for each pixel, bright or dark, and cancel. What is left is that only bright pixels take part at all.
def random_spikes(part):
    flat = part.inputs.reshape(len(part), 64)
    return np.array(spikegen.rate(flat, num_steps=MOMENTS, seed=0), np.float64)


latency_codes = codes, test_codes
codes, test_codes = random_spikes(train), random_spikes(test)
by_rate = judged(*learn(codes, 2))
codes, test_codes = latency_codes
print(f"latency code {trained_without_labels:.1%}, rate code {by_rate:.1%}")
assert by_rate < trained_without_labels - 0.15

# %% [markdown]
# ## Verify the gradients
#
# `sc.verify` checks BPTT's gradient, on two engines and by finite differences. Above, we compared the gradient of the
# forward rules with BPTT's: number by number if it should be exact, and by the cosine if it is an approximation.

# %%
report = sc.verify(sc.Model(network(), engine="torch", seed=0), x[:, :8], wanted[:, :8], loss)
print(report)
assert report.ok

# %% [markdown]
# [Learning through time](../learning.md) has more on these rules, on streams and on updates within a sequence. The page
# before is [Gradients by hand, verified](gradients_by_hand.md).
