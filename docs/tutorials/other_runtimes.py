# %% [markdown]
# # From a trained net to another runtime
#
# Training wants a big framework; running wants the opposite. At the end of this page you can take a network that was
# trained with PyTorch and run it
#
# - without PyTorch;
# - one time step per call, in microseconds;
# - on the events of a camera;
# - as modules of PyTorch again;
# - in other spiking libraries.
#
# Each time you will check that it is still the same network, spike by spike.
#
# ![A trained network and six ways to go on: a file, a stream, events, PyTorch, NIR, C](drawings/runtimes.svg)
#
# It needs, in the clone of this repository, `pip install -e ".[all,examples]"`.

# %%
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import spikecore as sc
from spikecore import functional, spikeplot
from spikecore.datasets import Loader, digits, saccades
from spikecore.datasets.transforms import ToFrames

FOLDER = Path(tempfile.mkdtemp())  # for the files of this page
STEPS = 15
train, test = digits()

# %% [markdown]
# ## Train on torch
#
# We train a small classifier for the handwritten digits of scikit-learn. One choice is made with the end in mind:
# `reset_mechanism="zero"` with `reset_delay=False` sets the membrane to zero in the step of the spike. Most other
# runtimes know only this reset, and a network that was trained with another one spikes differently there.

# %%
neuron = sc.Leaky(beta=0.9, reset_mechanism="zero", reset_delay=False)
network = sc.Sequential(sc.Linear(64, 100), neuron, sc.Linear(100, 10), neuron)
model = sc.Model(network, engine="torch", seed=0)
model.fit(Loader(train, batch_size=64, seed=0), optimizer=sc.Adam(lr=5e-3), epochs=10, num_steps=STEPS, progress=False)
accuracy = model.evaluate(Loader(test, batch_size=450, shuffle=False), num_steps=STEPS)["accuracy"]
print(f"{accuracy:.1%} of {len(test)} test images")
assert accuracy > 0.85

# %% [markdown]
# ## Without torch
#
# `save` writes one file: the weights as arrays, and the network as a description. It has no code in it, so a file from
# somebody else cannot run anything on your machine ([Saving and loading](../saving.md)). The engine is not part of the
# file. Here another process loads the file on the NumPy engine, and says at its end whether torch was imported on the
# way.

# %%
model.save(FOLDER / "digits.safetensors")
program = f"""
import sys
import spikecore as sc
from spikecore.datasets import Loader, digits
model = sc.load({str(FOLDER / "digits.safetensors")!r}, engine="numpy")
found = model.evaluate(Loader(digits()[1], batch_size=450, shuffle=False), num_steps={STEPS})
print(f"engine {{model.engine.name}}, torch imported: {{'torch' in sys.modules}}, accuracy {{found['accuracy']:.3f}}")
"""
done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
print(done.stdout)
assert "torch imported: False" in done.stdout
assert abs(float(done.stdout.split()[-1]) - accuracy) < 0.01

# %% [markdown]
# Inside of one program, `to_engine` does the same without a file. Are the spikes the same? In float32 two engines may
# add the products of a sum in different orders, and a membrane that is exactly at the threshold may fall on one side
# or the other. So compare, and do not be surprised by a spike in a million.

# %%
light = model.to_engine("numpy")
ours, theirs = light(test.inputs, num_steps=STEPS).spikes, model(test.inputs, num_steps=STEPS).spikes.numpy()
print(f"{int((ours != theirs).sum())} of {ours.size} output spikes differ")
assert np.mean(ours != theirs) < 1e-3

# %% [markdown]
# ## Twelve lines of NumPy
#
# If even the library is too much for your device, the network is small enough to write down. These lines are the
# whole runtime; `sc.export` writes them as C, for any network ([to a C program](c_program.md)). Everything that they
# need is in `model.params()`, or in the file, which any reader of safetensors opens.


# %%
def run_by_hand(p, images, beta=0.9):
    hidden, out = np.zeros((len(images), 100), np.float32), np.zeros((len(images), 10), np.float32)
    counts = np.zeros((len(images), 10))
    for _ in range(STEPS):
        hidden = beta * hidden + images @ p["0.weight"].T + p["0.bias"]
        spikes = hidden > 1
        hidden[spikes] = 0
        out = beta * out + spikes @ p["2.weight"].T + p["2.bias"]
        fired = out > 1
        out[fired] = 0
        counts += fired
    return counts


counts = run_by_hand(model.params(), test.inputs)
same = (counts == ours.sum(axis=0)).all(axis=1).mean()
print(f"equal spike counts for {same:.1%} of the images, accuracy {(counts.argmax(axis=1) == test.targets).mean():.1%}")
assert same > 0.98

# %% [markdown]
# ## One time step per call
#
# A robot does not have sequences. It has a value *now*, and wants an answer before the next one.
#
# ![A model takes a whole sequence and gives all answers at its end; a stream takes a step, keeps the states, and
# answers at once](drawings/sequence_or_stream.svg)
#
# `model.stream()` is the second of these. On the NumPy engine the step of the whole network is
# compiled, and one call runs it ([Streaming and events](../streaming.md)). Here the network sees one digit after
# another, 15 steps each, without a reset in between.

# %% alt="Output spikes while three digits follow each other: each time the neuron of the digit shown fires"
shown = [int(np.flatnonzero(test.targets == digit)[0]) for digit in (7, 0, 4)]
stream = light.stream()
rows = [stream.step(test.inputs[i : i + 1]) for i in shown for _ in range(STEPS)]
spikes = np.stack(rows)[:, 0]
fig, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
spikeplot.raster(spikes, ax, color="C0")
for part, i in enumerate(shown):
    ax.axvline(part * STEPS - 0.5, color="C7", linestyle="--", linewidth=1)
    ax.text(part * STEPS + 0.5, 10.8, f"shown: {test.targets[i]}", color="C1", fontsize=9, va="top")
ax.set(xlabel="time step", ylabel="neuron", yticks=range(10), ylim=(-0.7, 11))
votes = [int(spikes[part * STEPS + 5 : (part + 1) * STEPS].sum(axis=0).argmax()) for part in range(3)]
print("shown", [int(test.targets[i]) for i in shown], "answers", votes)
assert votes == [7, 0, 4]

# %% [markdown]
# A stream that begins at rest gives what the model gives for a whole sequence. How fast is it? We compare one `step`
# with a call of the model for a single step.

# %%
stream.reset()
steps = np.stack([stream.step(test.inputs[:1]) for _ in range(STEPS)])
assert (steps == light(test.inputs[:1], num_steps=STEPS).spikes).all()


def microseconds(work, calls):
    begun = time.perf_counter()
    for _ in range(calls):
        work()
    return 1e6 * (time.perf_counter() - begun) / calls


one = np.ascontiguousarray(test.inputs[:1])
pairs = [
    (microseconds(lambda: stream.step(one), 500), microseconds(lambda: light(one, num_steps=1), 50)) for _ in range(7)
]
print(f"a step of the stream takes {np.median([a for a, _ in pairs]):.0f} µs on this machine,")
print(f"a call of the model {np.median([b / a for a, b in pairs]):.0f} times as long")
print(stream.explain())

# %% [markdown]
# ## A recording of events
#
# An event camera has no frames. Each pixel reports by itself when it gets brighter or darker, as (time, column, row,
# polarity). Most pixels are silent most of the time, and a runtime should not compute what is not there. The
# recordings here are *simulated*: a camera that moves three times in front of a still digit, as for N-MNIST
# ([Neuromorphic data](neuromorphic_data.md)). We train on frames of 15 ms and then run the network on the raw events.

# %%
images, _ = digits(image=True)
recordings = saccades(images.inputs[:300], images.targets[:300], name="digits")
frames = ToFrames(window=15_000, steps=20)
learn, judge = recordings.split(200)
camera = sc.Sequential(sc.Flatten(), sc.Linear(2312, 100), sc.Leaky(beta=0.9), sc.Linear(100, 10), sc.Leaky(beta=0.9))
detector = sc.Model(camera, engine="torch", seed=0, input_shape=(2, 34, 34))
detector.fit(
    Loader(learn.map(frames).in_memory(), batch_size=20, seed=0),
    loss=functional.ce_rate_loss(),
    optimizer=sc.Adam(lr=1e-3),
    epochs=12,
    progress=False,
)
detector = detector.to_engine("numpy")
seen = [judge[i] for i in range(60)]
outs = [detector.run_events(events, window=15_000, num_steps=20) for events, _ in seen]
right = np.mean([out.spikes.sum(axis=0).argmax() == label for out, (_, label) in zip(outs, seen)])
print(seen[0][0])
print(f"{right:.0%} of {len(seen)} test recordings, straight from the events")
dense = detector(frames(seen[0][0])[:, None]).spikes
print(f"{int((outs[0].spikes != dense).sum())} of {dense.size} spikes differ from a run on frames")
assert right > 0.7
assert np.mean(outs[0].spikes != dense) < 0.01

# %% [markdown]
# The input of a step is the number of events per pixel, as `ToFrames` would count it, but there is no frame: only the
# weights of the pixels that fired are added up. A stream has `run_events`, too; it takes a recording that arrives in
# pieces and continues where it stopped.

# %% alt="Above: events per millisecond of a simulated recording. Below: spikes of the neuron of the right digit"
events, label = seen[1]
live = detector.stream()
pieces = [live.run_events(events, window=15_000, start=begin, num_steps=5) for begin in range(0, 300_000, 75_000)]
output = np.concatenate([piece.spikes for piece in pieces])[:, 0]
fig, (above, below) = plt.subplots(2, 1, figsize=(7, 3.8), layout="constrained")
above.hist(events.t / 1000, bins=300, range=(0, 300), histtype="stepfilled", color="C2")
above.set(xlim=(0, 300), ylabel="events per ms", title=f"a simulated recording of the digit {label}")
spikeplot.raster(output, below, color="C0")
below.set(xlim=(-0.5, 19.5), ylim=(-0.5, 9.5), xlabel="step of 15 ms", ylabel="neuron", yticks=range(10))
whole = detector.run_events(events, window=15_000, start=0, num_steps=20).spikes[:, 0]
print("four pieces give what the whole recording gives:", bool((output == whole).all()))
assert (output == whole).all()

# %% [markdown]
# ## Back to PyTorch: modules
#
# `snn.to_torch` makes a network of `torch.nn` modules, for code that expects one: a training framework, a quantiser,
# your colleague's pipeline. A module computes one time step per call; `snn.run` runs a sequence. `snn.from_torch` is
# the way back, and takes networks that were written with `spikecore.nn` in the first place ([Modules for
# PyTorch](../nn.md)).

# %%
import torch

import spikecore.nn as snn

modules = snn.to_torch(model)
print(modules)
with torch.no_grad():
    sequence = torch.as_tensor(test.inputs[:100]).expand(STEPS, -1, -1)
    as_modules = snn.run(modules, sequence)
spikes = as_modules[0] if isinstance(as_modules, tuple) else as_modules
print(f"{int((spikes.numpy() != theirs[:, :100]).sum())} of {spikes.numel()} spikes differ")
assert np.mean(spikes.numpy() != theirs[:, :100]) < 1e-3
back = snn.from_torch(modules, input_shape=(64,), engine="numpy")
assert np.mean(back(test.inputs, num_steps=STEPS).spikes != ours) < 1e-3

# %% [markdown]
# ## To other libraries and hardware: NIR
#
# The Neuromorphic Intermediate Representation (Pedersen et al., *Neuromorphic intermediate representation: a unified
# instruction set for interoperable brain-inspired computing*, 2024) describes a network as a graph of differential
# equations. Norse, SpikingJelly, snnTorch, Sinabs and others read it, and so do the tools of several neuromorphic
# chips. The equations are continuous, so a graph needs the duration of a step, `dt`.
#
# ![The network as a graph of NIR: Input, Affine, LIF, Affine, LIF, Output, with their
# parameters](drawings/nir_graph.svg)

# %%
import nir

from spikecore.nir import export_to_nir, model_from_nir

graph = export_to_nir(model, dt=1e-3)
nir.write(FOLDER / "digits.nir", graph)
for name, node in graph.nodes.items():
    print(f"{name:8} {type(node).__name__}")
lif = next(node for node in graph.nodes.values() if isinstance(node, nir.LIF))
print(
    f"tau {1000 * lif.tau.flat[0]:.1f} ms: with steps of 1 ms, beta = 1 - dt / tau = {1 - 1e-3 / lif.tau.flat[0]:.2f}"
)

# %%
again = model_from_nir(FOLDER / "digits.nir", engine="numpy")
read_back = again(test.inputs, num_steps=STEPS).spikes
print(f"read from the file: {int((read_back != ours).sum())} of {ours.size} spikes differ")
assert np.mean(read_back != ours) < 1e-3

# %% [markdown]
# What would have happened with the default reset, which subtracts the threshold? NIR has no word for it. The export
# says so, in a warning and in the metadata of the graph, and names what other libraries will do instead:

# %%
import warnings

from spikecore.nir import NirLoss

usual = sc.Model(sc.Sequential(sc.Linear(64, 10), sc.Leaky(beta=0.9)), engine="numpy", seed=0)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", NirLoss)
    export_to_nir(usual, dt=1e-3)
print(caught[0].message)
assert issubclass(caught[0].category, NirLoss)

# %% [markdown]
# spikecore itself reads its own graphs back with the original reset, which a note in the node names. [NIR](../nir.md)
# has tables of layers, of units, and of what each library understands.
#
# ## What is there, and what is not
#
# | you have | you take |
# |---|---|
# | Python without torch | `sc.load(path, engine="numpy")` |
# | one value per step, an answer in microseconds | `model.stream()` |
# | an event camera | `model.run_events`, `stream.run_events` |
# | a program of PyTorch | `snn.to_torch(model)` |
# | another spiking library, a chip with NIR tools | `spikecore.nir.export_to_nir` |
# | a Graphcore IPU | `model.to_engine("ipu")`; [the IPU by a flag](ipu.md) |
# | a microcontroller, C code | `sc.export(model, "net")`; [to a C program](c_program.md) |
# | ONNX Runtime, PyTorch without this library, integers | [Deploying](../deploying.md) |
#
# ## Exercises
#
# **1. The reset matters.** Load the trained weights into a network with the default reset (subtract, one step later)
# and evaluate it without training. How much accuracy is lost? This is what happens, silently, to a network that moves
# to a runtime with another reset.

# %% tags=["answer"]
other = sc.Model(sc.Sequential(sc.Linear(64, 100), sc.Leaky(beta=0.9), sc.Linear(100, 10), sc.Leaky(beta=0.9)), "numpy")
other.load_state({**other.state(), "params": model.params()})
moved = other.evaluate(Loader(test, batch_size=450, shuffle=False), num_steps=STEPS)["accuracy"]
changed = np.mean(other(test.inputs, num_steps=STEPS).spikes != ours)
print(f"accuracy {accuracy:.1%} -> {moved:.1%}; {changed:.1%} of the output spikes differ")
assert changed > 0.01

# %% [markdown]
# **2. Stop early.** A stream may stop as soon as the answer is clear. Stop when one neuron leads by three spikes, at
# the latest after 15 steps. How many steps does an image take on average, and what does this cost in accuracy?

# %% tags=["answer"]
used, answers = [], []
for image in test.inputs:
    stream.reset()
    seen_so_far, step = np.zeros(10), 0
    for _ in range(STEPS):
        seen_so_far += stream.step(image[None])[0]
        step += 1
        second, first = np.sort(seen_so_far)[-2:]
        if first - second >= 3:
            break
    used.append(step)
    answers.append(seen_so_far.argmax())
early = np.mean(np.array(answers) == test.targets)
print(f"{np.mean(used):.1f} steps instead of {STEPS}, accuracy {early:.1%} instead of {accuracy:.1%}")
assert np.mean(used) < STEPS

# %% [markdown]
# **3. A graph of your own.** Write a NIR graph by hand, with the package `nir` alone: 64 inputs, an `Affine` node, a
# `LIF` node with a time constant of 10 ms, an output. Read it with `model_from_nir`. Which `beta` does the neuron
# get?

# %% tags=["answer"]
drawn = nir.NIRGraph(
    nodes={
        "input": nir.Input({"input": np.array([64])}),
        "affine": nir.Affine(weight=np.ones((10, 64), np.float32), bias=np.zeros(10, np.float32)),
        "lif": nir.LIF(
            tau=np.full(10, 10e-3),
            r=np.full(10, 10.0),
            v_leak=np.zeros(10),
            v_threshold=np.ones(10),
            v_reset=np.zeros(10),
        ),
        "output": nir.Output({"output": np.array([10])}),
    },
    edges=[("input", "affine"), ("affine", "lif"), ("lif", "output")],
)
own = model_from_nir(drawn, dt=1e-3, engine="numpy")
print(own.network)
print("spikes:", own(np.full((5, 1, 64), 0.01), num_steps=None).spikes.sum(axis=(1, 2)))

# %% [markdown]
# ## Verify the gradients
#
# A network that only runs needs no gradients. But its training did. The engine that runs the network now is an
# independent witness for the engine that trained it:

# %%
report = sc.verify(model, test.inputs[:16], test.targets[:16], num_steps=STEPS)
print(report)
assert report.ok

# %% [markdown]
# Next: [the IPU by a flag](ipu.md), a runtime that is also a place to train.
