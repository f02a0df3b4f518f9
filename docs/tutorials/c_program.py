# %% [markdown]
# # From training to a C program
#
# A microcontroller has no Python. At the end of this page you have trained a network, written it as C that depends on
# nothing, compiled it, and fed it the test set through a pipe. You will know what it costs in memory and time, and that
# it is the same network, spike by spike.
#
# It needs a C compiler, and in the clone of this repository `pip install -e ".[all,examples]"`.

# %%
import ctypes
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import spikecore as sc
from spikecore.datasets import Loader, digits

FOLDER = Path(tempfile.mkdtemp())  # for the files of this page
STEPS = 20
COMPILER = next((name for name in ("gcc", "clang", "cc") if shutil.which(name)), None)
train, test = digits()

# %% [markdown]
# ## Train
#
# The network is a small classifier for the handwritten digits of scikit-learn. It has 64 inputs, 60 hidden neurons, and
# 10 output neurons that vote by firing. Any layers, neurons and engine will do, even [a neuron that you write
# yourself](own_neuron.md).

# %%
network = sc.Sequential(sc.Linear(64, 60), sc.Leaky(beta=0.9), sc.Linear(60, 10), sc.Leaky(beta=0.9))
model = sc.Model(network, engine="numpy", seed=0)
model.fit(Loader(train, batch_size=64, seed=0), optimizer=sc.Adam(lr=5e-3), epochs=8, num_steps=STEPS, progress=False)
accuracy = model.evaluate(Loader(test, batch_size=450, shuffle=False), num_steps=STEPS)["accuracy"]
print(f"{accuracy:.1%} of {len(test)} test images")
assert accuracy > 0.85

# %% [markdown]
# Were the gradients right? `sc.verify` compares them with a second engine and with finite differences:

# %%
print(sc.verify(model, test.inputs[:8], test.targets[:8], num_steps=5))

# %% [markdown]
# ## Export
#
# One call writes the network and an example program. `net` is the stem of the file names and the prefix of the names in
# the code.
#
# ![The model is exported as net.h, net.c, main.c and net.md; the first three become a program that reads pixels and
# writes counts](drawings/c_files.svg)

# %%
done = sc.export(model, FOLDER / "net", to="c")
print(done)

# %% [markdown]
# The header is what a program sees: a type for the memory, two functions, and sizes as macros.

# %%
print((FOLDER / "net.h").read_text())

# %% [markdown]
# Now read the step: it is the network. The first product multiplies the pixels by weights. The second product
# multiplies nothing: it only adds up the weights of the neurons that have fired. Between the products stands the neuron
# of your Python program, with one line for its membrane and one for its spike.

# %%
source = (FOLDER / "net.c").read_text()
print(source[source.index("void net_step") :])

# %% [markdown]
# The network allocates no memory while it runs. The size of `net_state` is the RAM that the network needs.
#
# ![Flash holds weights and code, RAM holds states and scratch memory; input goes into the RAM, spikes come
# out](drawings/c_memory.svg)

# %% alt="Bytes of the states, of the scratch memory, and of the weights"
words = [line.split() for line in (FOLDER / "net.h").read_text().splitlines() if "_BYTES" in line]
sizes = {name[4:-6].lower(): int(value) for _, name, value, *_ in words}
fig, ax = plt.subplots(figsize=(6, 1.6), layout="constrained")
ax.barh([f"{name}: {value:,}" for name, value in sizes.items()], list(sizes.values()), color=["C0", "C0", "C1"])
ax.set(xlabel="bytes", xscale="log")
print(sizes)

# %% [markdown]
# ## Build and run
#
# The example program, `main.c`, reads samples from stdin. Its argument is the number of steps. It shows each sample for
# this number of steps, beginning at rest, and prints how often each output neuron has fired. A Makefile builds it; here
# we call the compiler ourselves. `-ffp-contract=off` is worth remembering: it keeps compilers from merging a product
# and a sum into one operation that rounds differently.

# %%
if COMPILER:
    options = ["-std=c99", "-O3", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"]
    files = [FOLDER / "main.c", FOLDER / "net.c"]
    subprocess.run([COMPILER, *options, *files, "-o", FOLDER / "net", "-lm"], check=True)
    lines = "\n".join(" ".join(f"{pixel:.9g}" for pixel in image) for image in test.inputs)
    begun = time.perf_counter()
    printed = subprocess.run([FOLDER / "net", str(STEPS)], input=lines, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - begun
    counts = np.loadtxt(printed.stdout.splitlines())
    print(printed.stdout.splitlines()[0], "<- the first image, a", int(test.targets[0]))

# %% [markdown]
# Is it the same network? Compare all spike counts of all images, and the accuracy.

# %%
expected = model(test.inputs, num_steps=STEPS).spikes.sum(axis=0)
if COMPILER:
    print(f"equal spike counts for {(counts == expected).all(axis=1).mean():.1%} of the images")
    print(f"accuracy {np.mean(counts.argmax(axis=1) == test.targets):.1%}, in Python {accuracy:.1%}")
    print(f"{len(test) * STEPS} steps in {seconds:.3f} s, the reading of text included")
    assert (counts == expected).all(axis=1).mean() > 0.99

# %% [markdown]
# ## From another language
#
# Programs in C++, Rust, Java or Go can call the network, and so can a PLC. Here Python calls it, by `ctypes`. Python
# sees the network as any program does: as a piece of memory, and two functions that take its address. One call is one
# time step, so the input may change at each call.

# %%
if COMPILER:
    library = FOLDER / "libnet.so"
    shared = ["-shared", "-fPIC", FOLDER / "net.c", "-o", library, "-lm"]
    subprocess.run([COMPILER, *options, *shared], check=True)
    net = ctypes.CDLL(str(library))
    state = (ctypes.c_ubyte * (sizes["state"] + sizes["scratch"]))()
    out = (ctypes.c_float * 10)()
    net.net_reset(state)
    spikes = []
    for image in (test.inputs[0], test.inputs[1]):  # one after the other, without a reset in between
        for _ in range(STEPS):
            net.net_step(state, np.ascontiguousarray(image).ctypes.data_as(ctypes.c_void_p), out)
            spikes.append(list(out))
    both = np.repeat(test.inputs[:2, None], STEPS, axis=0)
    print("as in the library:", np.array_equal(spikes, model(both).spikes[:, 0]))
    assert np.mean(np.array(spikes) == model(both).spikes[:, 0]) > 0.99

# %% [markdown]
# ## Onto the device
#
# `net.c` and `net.h` go into the project of the firmware as they are. This command compiles them for a Cortex-M4:
#
# ```
# arm-none-eabi-gcc -std=c99 -ffp-contract=off -Os -mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16 -c net.c
# ```
#
# `net.md`, which was written beside them, lists the operations of each layer, which are the most that a step can cost.
# The real cost depends on how many neurons fire. [Deploying](../deploying.md) lists the options, says what is exact,
# and shows other routes: integers, ONNX, NIR.
#
# ## Exercises
#
# **1. Fewer weights.** In the first layer, set the smallest 80 % of the weights, by magnitude, to zero. Export again,
# and compare the sizes of the weights and the accuracy.

# %% tags=["answer"]
thin = sc.Model(network, engine="numpy", seed=0)
weights = model.state()
first = weights["params"]["0.weight"]
weights["params"]["0.weight"] = np.where(np.abs(first) < np.quantile(np.abs(first), 0.8), 0, first).astype(np.float32)
thin.load_state(weights)
less = thin.evaluate(Loader(test, batch_size=450, shuffle=False), num_steps=STEPS)["accuracy"]
print(sc.export(thin, FOLDER / "thin", example=False).notes[-1])
print(f"accuracy {accuracy:.1%} -> {less:.1%} without any training afterwards")

# %% [markdown]
# **2. Who is busy?** On average, how many hidden neurons fire in a step? So how many of the 600 weights of the last
# product are added up?

# %% tags=["answer"]
recorded = model(test.inputs, num_steps=STEPS, record=True)
busy = float(recorded.states["1"].spikes.mean())
print(f"{busy:.1%} of the hidden neurons fire in a step: {600 * busy:.0f} of 600 weights")
assert 0 < busy < 0.5
