# %% [markdown]
# # Neuromorphic data: the events of a camera
#
# At the end of this page you can read recordings of event cameras, clean them, turn them into frames, train a
# convolutional network on them, and run the trained network on events as they arrive. It needs, in the clone
# of this repository, `pip install -e ".[all,examples]"`.
#
# The events are **simulated**: an event camera is simulated in front of images of MNIST, so that nothing has to be
# downloaded. The same lines run on recordings of N-MNIST; the section [With files of N-MNIST](#with-files-of-n-mnist)
# shows how.

# %% [markdown]
# ## What an event camera records
#
# A usual camera takes pictures, say thirty per second, whether anything happens or not. A pixel of an event camera
# works by itself. It remembers how bright it was when it last spoke. When the logarithm of its brightness has changed
# by a threshold, it sends one event and remembers the new level:
#
# $$|\log I(t) - \log I(t_{\text{last}})| \ge C \quad\Rightarrow\quad \text{event } (t, x, y, p),\qquad
# p = \begin{cases} 1 \text{ (ON)} & \text{brighter}\\ 0 \text{ (OFF)} & \text{darker.}\end{cases}$$
#
# ![The logarithm of a pixel's brightness over time, the level that it remembers, and its ON and OFF
# events](drawings/event_pixel.svg)
#
# So a recording is a list of events, with times in microseconds. Where nothing moves, nothing is sent. The logarithm
# makes the camera see the same edges in sun and in shade.
#
# A digit on a screen does not move, and a camera that stares at it sees nothing. For N-MNIST, a camera was moved in
# three quick steps (*saccades*) along a triangle, 100 ms each, in front of digits of MNIST on a screen (G. Orchard, A.
# Jayawant, G. K. Cohen, N. Thakor, *Converting static image datasets to spiking neuromorphic datasets using saccades*,
# Frontiers in Neuroscience 9:437, 2015). `saccades` simulates this apparatus for any images. The path, the speed and
# the noise were fitted to recordings of N-MNIST. There ON events lie behind a moving digit, so the simulated screen
# shows digits dark.

# %%
import tempfile

import matplotlib.pyplot as plt
import numpy as np

import spikecore as sc
from spikecore import functional as SF
from spikecore import spikeplot
from spikecore.datasets import Cached, Loader, mnist_sample, saccades
from spikecore.datasets.transforms import Denoise, DropEvents, Shift, ToFrames

images, other_images = mnist_sample(image=True)
recordings = saccades(images.inputs[:600], images.targets[:600], name="MNIST")
tests = saccades(other_images.inputs[:200], other_images.targets[:200], name="MNIST")

events, label = recordings[0]
print(recordings)
print(events, "of a", label)

# %% [markdown]
# `recordings` is an `EventDataset`: labels are in memory, and a recording is read (here: simulated) when it is used.
# `Events` holds four arrays, `t`, `x`, `y` and `p`, and the size of the sensor. Look at the first events, and at all
# of them in space and time:

# %%
for t, x, y, p in zip(events.t[:4], events.x, events.y, events.p):
    print(f"t = {t:4d} µs, column {x:2d}, row {y:2d}, {'ON' if p else 'OFF'}")

# %% alt="Events of one recording in time, column and row: three sheets, one per saccade, of ON and OFF events"
fig = plt.figure(figsize=(7, 3.6))
ax = fig.add_axes((0, 0.02, 1, 1), projection="3d")
for polarity, name in ((1, "ON"), (0, "OFF")):
    chosen = events[events.p == polarity]
    ax.scatter(chosen.t / 1000, chosen.x, 33 - chosen.y, s=2, label=name)
ax.set_box_aspect((3, 1.2, 1.2), zoom=1.15)
ax.set_xlabel("time in ms", labelpad=18)
ax.set(ylabel="column", zlabel="row, from below", yticks=(0, 30), zticks=(0, 30))
_ = ax.legend(frameon=False, loc="upper right")

# %% [markdown]
# The time of an event is exact to a microsecond. How are the events spread over time?

# %% alt="Events in 3 ms over the 300 ms of the recording: three waves, one per saccade, with few events between them"
fig, ax = plt.subplots(figsize=(6, 2.5))
ax.hist(events.t / 1000, bins=100)
_ = ax.set(xlabel="time in ms", ylabel="events in 3 ms")

# %% [markdown]
# Each saccade begins slowly and ends slowly, so events come in three waves. The saccades differ in direction, and so in
# how many edges they cross.
#
# ## Noise
#
# Pixels also fire without cause. In the picture above you see single dots away from the digit. Events of an edge have
# neighbours: when an edge passes one pixel, it passes the next soon after. `Denoise` keeps an event only if a
# neighbouring pixel fired within the last 10 ms. It is the *background activity filter* (T. Delbruck, *Frame-free
# dynamic digital vision*, 2008).

# %%
clean = Denoise(window=10_000)(events)
print(f"{len(events)} events, {len(clean)} after Denoise")
assert len(clean) < len(events)

# %% [markdown]
# ## From events to frames
#
# A network in discrete time needs steps. `ToFrames` counts the events at each pixel and polarity in each step:
#
# ![Events on a line of time, cut into four steps; below each step a frame of ON counts and a frame of OFF
# counts](drawings/events_to_frames.svg)
#
# The length of a step is a choice:
#
# - short steps (`window=1000`, 1 ms) keep the times. A recording has 300 steps, most entries are 0, and training is
#   slow;
# - long steps mix what happened early and late. In one step of 300 ms the digit is a smear;
# - a fixed number of events per step (`count=500`) adapts to the speed of the scene.

# %% alt="Frames of one recording at 5, 20 and 100 ms per step: short frames show few events, long ones smear the digit"
fig, axes = plt.subplots(3, 4, figsize=(7, 5.6), layout="constrained")
for row, window in zip(axes, (5_000, 20_000, 100_000)):
    frames = ToFrames(window=window)(clean)
    count = min(4, len(frames))
    spikeplot.event_frames(frames, list(row[:count]), steps=list(range(count)))
    for ax in row:
        ax.set_axis_off()
    row[0].set_title(f"{window // 1000} ms, step 0", fontsize=9)

# %% [markdown]
# Blue is ON, orange OFF. This page takes steps of 5 ms, so that training takes seconds. The original tutorial of
# snnTorch takes 1 ms; on a fast machine, you can do the same.
#
# Transforms are small objects, and `map` chains them. `split` and masks select recordings. `in_memory()` reads
# everything once. Put it where the data are smallest: events take less memory than frames.

# %%
to_frames = ToFrames(window=5_000, steps=60)
train = recordings.map(Denoise(window=10_000)).in_memory().map(to_frames)
test = tests.map(Denoise(window=10_000)).in_memory().map(to_frames)
frames, label = train[0]
print(f"frames {frames.shape}, {100 * (frames > 0).mean():.1f} % of the entries are not zero")

# %% [markdown]
# ## Data that do not fit into memory
#
# `Cached` stores transformed recordings in a folder and reads them from there in later epochs and programs. An entry
# depends on the recording and on the transform: change one of them, and the cache makes new entries instead of giving
# old ones. Random transforms belong behind the cache, since they should differ from epoch to epoch.

# %%
folder = tempfile.TemporaryDirectory()
cached = Cached(recordings[:50].map(Denoise(window=10_000), ToFrames(steps=20)), folder.name).fill(progress=False)
print(cached)
assert cached[0][0].shape == (20, 2, 34, 34)

augmented = recordings[:50].in_memory().map(Shift(2), DropEvents(0.1), ToFrames(steps=20))
print("in epoch 0 and 1:", [int(augmented.item(0, epoch).sum()) for epoch in (0, 1)], "events are left of sample 0")

# %% [markdown]
# ## Recordings of unequal length
#
# Without `steps`, a longer recording gives more frames. A `Loader` fills the shorter ones of a batch with empty steps,
# through which the network keeps running:
#
# ![Three recordings of a batch with 16, 9 and 12 frames; the shorter ones end in empty
# steps](drawings/padded_batch.svg)
#
# If the loss should not count these steps, give lengths; see [feeding a
# network](../feeding.md#sequences-of-unequal-length).

# %%
uneven = [recordings[i][0].between(0, stop) for i, stop in enumerate((100_000, 200_000, 300_000))]
print("steps:", [len(ToFrames(window=5_000)(each)) for each in uneven])
batch, labels = next(iter(Loader(recordings[:8].map(ToFrames(window=5_000)), batch_size=8, shuffle=False)))
print("a batch of whole recordings, time first:", batch.shape)

# %% [markdown]
# ## With files of N-MNIST
#
# `nmnist` reads N-MNIST (CC BY-SA 4.0) from a folder that holds `Train` and `Test`; with `download=True` it fetches the
# files first, 1.2 GB. Then two lines replace the simulation, and everything else stays:
#
# ```python
# from spikecore.datasets import nmnist
#
# recordings, tests = nmnist("data", download=True)      # 60,000 and 10,000 recordings
# train = Cached(recordings.map(Denoise(window=10_000), to_frames), "cache")
# ```
#
# [Data sets](../datasets.md) lists the other formats: DVS-Gesture, SHD and SSC, archives of your own, and data sets of
# tonic.
#
# ## A convolutional network on events
#
# We take the network of snnTorch's tutorial on this subject: 12 maps with kernels of 5 × 5, max pooling, 32 maps with
# kernels of 5 × 5, max pooling, and ten output neurons. Membranes forget quickly, $\beta = 0.5$: after three steps an
# eighth is left. Currents are pooled before the neurons. After the neurons, pooling would have to choose among equal
# spikes.
#
# The loss wants the right neuron to fire in 80 % of the steps and the others in 20 %:
# see [regression 2](regression_recurrent.md).

# %%
lif = sc.Leaky(beta=0.5)
network = sc.Sequential(
    *(sc.Conv2d(2, 12, 5), sc.MaxPool2d(2), lif),
    *(sc.Conv2d(12, 32, 5), sc.MaxPool2d(2), lif),
    *(sc.Flatten(), sc.Linear(32 * 5 * 5, 10), lif),
)
model = sc.Model(network, engine="torch", seed=0, input_shape=(2, 34, 34))
loss = SF.mse_count_loss(correct_rate=0.8, incorrect_rate=0.2)
batches = Loader(train, batch_size=30, seed=0)

untrained = model.evaluate(Loader(test, batch_size=50, shuffle=False), loss=loss)["accuracy"]
model.fit(batches, loss=loss, optimizer=sc.Adam(lr=2e-2), epochs=4, progress=False)
for row in model.history:
    print(f"{20 * row['epoch']:3d} iterations: loss {row['loss']:.2f}, accuracy {100 * row['accuracy']:.0f} %")
tested = model.evaluate(Loader(test, batch_size=50, shuffle=False))["accuracy"]
print(f"200 test recordings: {100 * tested:.0f} %, before training {100 * untrained:.0f} %")
assert tested > 0.4

# %% [markdown]
# Eighty iterations are only a beginning, and the large learning rate of 2e-2 makes it quick. With more recordings and
# epochs, and a smaller rate at the end, the network goes on learning.
#
# Which neurons fired? Each row below is one output neuron, over the 60 steps of a test recording:

# %% alt="Left: a test recording as one image. Right: raster of the ten output neurons over 60 steps; one fires most"
frames, label = test[3]
out = model(frames[:, None])
spikes = model.engine.to_numpy(out.spikes)[:, 0]
fig, (left, right) = plt.subplots(1, 2, figsize=(7, 3), layout="constrained", width_ratios=(1, 2))
spikeplot.event_frames(frames[:12].sum(axis=0, keepdims=True), [left], steps=1)
left.set_title(f"a {label}")
spikeplot.raster(spikes, right, c="C0", marker="|", s=60)
_ = right.set(ylabel="output neuron", yticks=range(10), title=f"most spikes: neuron {spikes.sum(axis=0).argmax()}")

# %% [markdown]
# ## Beside snnTorch
#
# `python -m benchmarks.accuracy neuromorphic`, in the repository, trains this network with both libraries on the same
# 800 simulated recordings: 60 steps, 50 iterations with batches of 32, Adam with 2e-2. The table has medians over three
# seeds, with the range in brackets, from before the simulation was fitted to N-MNIST:
#
# | figure | snnTorch 1.0 | spikecore, the same draws | spikecore, `sc.Model` |
# |---|--:|--:|--:|
# | accuracy of the last 10 training batches, % | 37.2 (24.7–42.2) | 40.0 (26.9–40.6) | 44.4 (11.9–51.3) |
#
# After so few iterations with so large a learning rate, accuracy is still rising steeply, which makes the ranges wide:
# one seed of `sc.Model` has hardly begun to learn, another has passed 50 %. snnTorch's page reports 56 to 60 % for its
# last training batches. It trained on four times as many recordings: 50 iterations with batches of 128, on recorded
# events in 300 steps. The 80 iterations above reach more.

# %% [markdown]
# ## Running on events
#
# Frames were needed to train. The trained network can take the events themselves: `run_events` makes the steps, and
# adds up only the weights of pixels that fired.
#
# ![Two of 64 pixels fired: each adds the kernel around its place, and nothing else is
# computed](drawings/conv_events.svg)
#
# It runs on the NumPy engine, so the model moves there first. The spikes are the same as with frames.

# %%
on_numpy = model.to_engine("numpy")
clean = Denoise(window=10_000)(tests[3][0])
from_events = on_numpy.run_events(clean, window=5_000, num_steps=60)
differences = int((from_events.spikes[:, 0] != spikes).sum())
print(f"spikes of the output neurons: {int(from_events.spikes.sum())}; different from those of frames: {differences}")
assert differences <= 6  # a membrane that meets its threshold to the last bit may round to the other side

# %% [markdown]
# A camera never stops. For live input, a stream keeps the states and takes one step per call. Here we stop as soon as
# one neuron leads by five spikes: easy recordings are decided early.

# %% alt="Running spike counts of the ten output neurons over time; one of them leads and the decision time is marked"
stream = on_numpy.stream()
counts = np.zeros((60, 10))
decided = None
for step, frame in enumerate(frames):
    counts[step] = counts[step - 1] + stream.step(frame[None])[0]
    second, first = np.sort(counts[step])[-2:]
    if decided is None and first - second >= 5:
        decided = step
        print(f"decided for {counts[step].argmax()} after {5 * (step + 1)} of 300 ms")
fig, ax = plt.subplots(figsize=(6, 3))
for digit in range(10):
    ax.plot(5 * np.arange(1, 61), counts[:, digit], "-" if digit < 8 else "--", label=str(digit))
if decided is not None:
    ax.axvline(5 * (decided + 1), linestyle=":", color="gray")
ax.set(xlabel="time in ms", ylabel="spikes so far")
_ = ax.legend(frameon=False, ncols=2, fontsize=8)

# %% [markdown]
# See [streaming and events](../streaming.md) for what is compiled, and for recordings that arrive in pieces.
#
# ## Exercises
#
# **1.** A recording has times. Does the network use them? Reverse the order of the frames of the test recordings, and
# evaluate.

# %% tags=["answer"]
backwards = test.map(lambda frames: frames[::-1].copy())
reversed_accuracy = model.evaluate(Loader(backwards, batch_size=50, shuffle=False))["accuracy"]
print(f"forwards {100 * tested:.0f} %, backwards {100 * reversed_accuracy:.0f} %")
print("With beta = 0.5 a membrane knows the last few steps only: each frame is judged nearly by itself.")

# %% [markdown]
# **2.** How many events are left if each pixel keeps at most one event per 10 ms?

# %% tags=["answer"]
from spikecore.datasets.transforms import Refractory

events = recordings[0][0]
print(f"{len(events)} events, {len(Refractory(period=10_000)(events))} with a refractory period of 10 ms")

# %% [markdown]
# **3.** Write a transform of your own that removes the polarity by counting all events as ON. Any function of events is
# a transform. If it is a frozen dataclass, its results can be cached, too.

# %% tags=["answer"]
from dataclasses import dataclass

from spikecore.datasets.transforms import Transform


@dataclass(frozen=True)
class AllOn(Transform):
    """Every event becomes an ON event."""

    def __call__(self, events):
        return events.with_arrays(p=np.ones_like(events.p))


frames = to_frames(AllOn()(events))
assert frames[:, 0].sum() == 0
assert frames[:, 1].sum() == to_frames(events).sum()

# %% [markdown]
# ## Verify the gradients
#
# We verify the network before training, on eight steps of two recordings: convolutions, pooling and neurons, on both
# engines and by finite differences.
#
# Where nothing happens, all currents in a window of the pooling are equal, and the maximum of equal numbers has no
# derivative. `verify` notices such a kink and takes the differences a little beside it ([Verifying
# gradients](../verify.md)). Before training, single events make few neurons fire, and silent neurons hardly test a
# gradient, so the counts are multiplied by 6.
#
# The model computes in float64 here. Counts are whole numbers, so two pixels with the same events around them get equal
# currents, and the pooling gives its gradient to the first. In float32 rounding decides which of them is larger, and
# two correct engines may choose differently.

# %%
x = 6 * np.stack([test[i][0][24:32] for i in range(2)], axis=1)
fresh = sc.Model(network, engine="torch", dtype="float64", seed=0, input_shape=(2, 34, 34))
report = sc.verify(fresh, x, test.targets[:2], loss=loss)
print(report)
assert report.ok

# %% [markdown]
# ## What you have learned
#
# - An event camera sends changes: times, places and polarities. `Events` holds them, `EventDataset` reads them.
# - `Denoise`, `ToFrames` and other transforms make arrays; `in_memory` and `Cached` keep them; `Loader` makes batches.
# - Networks train on frames, and run on events or step by step.
#
# Next: [population coding](population_coding.md), or the same network [on other runtimes](other_runtimes.md). A survey
# of event cameras: G. Gallego et al., *Event-based vision: a survey*, IEEE TPAMI 44(1), 2022.
