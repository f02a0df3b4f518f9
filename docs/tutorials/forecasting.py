# %% [markdown]
# # Forecasting: the next day of an hourly series
#
# At the end of this page you can cut windows from a table of series, train a spiking network on them, judge it against
# persistence, and give its forecasts in the units of the data. It needs, in the clone of this repository,
# `pip install -e ".[all,examples]"`.

# %% [markdown]
# ## Series that we make ourselves
#
# The series belong to a transformer in a power grid. Each row is an hour, with the load, the load's reactive part, and
# the temperature of the oil. All three follow the day and the week, with drifting weather and with noise. The oil is
# warm if the load was high in the last hours. A table of your own, such as `numpy.loadtxt("power.csv", delimiter=",")`,
# takes the place of `table`.

# %%
import matplotlib.pyplot as plt
import numpy as np

import spikecore as sc
from spikecore import datasets, functional, schedule, spikeplot
from spikecore.datasets import Loader

rng = np.random.default_rng(0)
hours = np.arange(24 * 150)
weather = np.convolve(rng.normal(size=len(hours) + 99), np.exp(-np.arange(100) / 40), mode="valid")
day, week = np.sin(2 * np.pi * hours / 24 - 1.5), np.sin(2 * np.pi * hours / 168)
load = 50 + 12 * day + 5 * week + 1.0 * weather + rng.normal(0, 1.5, len(hours))
reactive = 0.3 * load + 4 * np.sin(4 * np.pi * hours / 24) + rng.normal(0, 1.0, len(hours))
oil = 20 + 0.5 * np.convolve(np.r_[np.full(23, 50.0), load], np.full(24, 1 / 24), mode="valid") + 0.3 * weather
table = np.stack([load, reactive, oil], axis=1)
print(table.shape)

# %% alt="Three noisy curves over two weeks with a daily rhythm; the third one is smoother"
fig, ax = plt.subplots(figsize=(7, 2.6))
ax.plot(table[: 24 * 14], label=["load", "reactive", "oil"], linewidth=1.0)
ax.set(xlabel="hour", ylabel="MW, Mvar, °C")
ax.legend(frameon=False, ncols=3, fontsize=9)

# %% [markdown]
# ## Windows
#
# The network sees 48 hours of all three series and predicts the next 24 hours: 72 numbers. `datasets.windows` cuts the
# table into parts for training, validation and test, one after the other, and each part into windows. No window has a
# target in another part.
#
# `datasets.windows` also scales each series to mean 0 and standard deviation 1, **computed from the training part
# alone**. Later values are not known yet at that time. If they were used for scaling, the results would look too good.
#
# ![A series in three parts, training, validation and test; in each part windows slide along, each with a part that the
# network sees and a part that it predicts](drawings/forecast_windows.svg)

# %%
LOOK_BACK, HORIZON = 48, 24
(train, validation, test), standard = datasets.windows(table, LOOK_BACK, HORIZON, parts=(0.7, 0.1, 0.2))
print(train)
print(standard.mean.round(1), standard.deviation.round(1))

# %% [markdown]
# Inputs are (samples, time, series), so `fit` gets `time_axis=1`. Each target has the 24 hours side by side.

# %% [markdown]
# ## A network that reads and then answers
#
# Each hour is a time step. The last neurons are `LI`, leaky integrators that never fire: their membrane is the answer.
# The answer is due when the last hour has been read:
#
# ![At each of 48 steps the spiking neurons read the values of one hour; after the last step the membranes of the LI
# neurons are the values of the next 24 hours](drawings/read_then_answer.svg)
#
# So the loss reads the last step:
#
# $$\frac{1}{K} \sum_k \left(U_k[T] - y_k\right)^2.$$
#
# The time constants of the hidden neurons are spread from 2 to 48 hours, since both the last hour and yesterday matter.
# Their decays are learned.

# %%
HIDDEN = 96
decays = np.exp(-1 / np.geomspace(2, 48, HIDDEN))
network = sc.Sequential(
    *(sc.Linear(3, HIDDEN), sc.Leaky(beta=sc.learn(decays), threshold=0.5)),
    *(sc.Linear(HIDDEN, 3 * HORIZON), sc.LI(beta=sc.learn(np.full(3 * HORIZON, 0.8)))),
)
model = sc.Model(network, engine="numpy", seed=0)
history = model.fit(
    Loader(train, batch_size=64, seed=0),
    loss=functional.mse_value_loss(over_time="last"),
    optimizer=sc.Adam(lr=5e-3),
    schedule=schedule.cosine(),
    epochs=25,
    time_axis=1,
    validation=Loader(validation, batch_size=256, shuffle=False),
    metric=["mae", "r2"],
    progress=False,
)
print({name: round(value, 3) for name, value in history[-1].items() if name.startswith("val_")})

# %% [markdown]
# ## Is that good?
#
# A forecast has to beat simple rules. *Persistence* says that all hours will be like the last one. *Yesterday* says
# that the next 24 hours will be like the last 24 hours, which is hard to beat for a series with a daily rhythm. The
# third rule is a linear regression on all 144 numbers of a window.


# %%
def error(predicted):
    """Mean squared error in standard units on the test part."""
    return float(np.mean((np.asarray(predicted).reshape(len(test), -1) - test.targets) ** 2))


def linear(x):
    return np.c_[x.reshape(len(x), -1), np.ones(len(x))]


weights = np.linalg.lstsq(linear(train.inputs), train.targets, rcond=None)[0]
predicted = model.predict(test.inputs, time_axis=1)
found = {
    "persistence": error(np.repeat(test.inputs[:, -1:], HORIZON, axis=1)),
    "yesterday": error(test.inputs[:, -24:]),
    "linear regression": error(linear(test.inputs) @ weights),
    "spiking network": error(predicted),
}
for name, value in found.items():
    print(f"{name:>18}  {value:.3f}")
assert found["spiking network"] < min(found["persistence"], found["yesterday"])

# %% [markdown]
# ## In the units of the data
#
# `standard.undo` gives (samples, hours, series) in megawatts and degrees:

# %%
forecast, truth = standard.undo(predicted), standard.undo(test.targets)
print(forecast.shape, f"load: mean absolute error {np.abs(forecast - truth)[..., 0].mean():.2f} MW")

# %% alt="Three panels, each with two days of a series, the true next day and the forecast, which follows it"
fig, panels = plt.subplots(1, 3, figsize=(9, 2.6), layout="constrained")
for series, (ax, name) in enumerate(zip(panels, ("load / MW", "reactive / Mvar", "oil / °C"))):
    seen = test.inputs[100, :, series] * standard.deviation[series] + standard.mean[series]
    ax.plot(np.arange(-LOOK_BACK, 0), seen, color="0.5", linewidth=1.0, label="seen")
    ax.plot(np.arange(HORIZON), truth[100, :, series], linewidth=1.2, label="true")
    ax.plot(np.arange(HORIZON), forecast[100, :, series], linewidth=1.8, label="forecast")
    ax.set(xlabel="hour", ylabel=name)
panels[0].legend(frameon=False, fontsize=8)

# %% alt="Points of predicted against true loads, close to a diagonal line"
drawn = spikeplot.fitted_values(truth[::24, :, 0], forecast[::24, :, 0])

# %% [markdown]
# ## Exercises
#
# **1.** How much worse is the forecast of the twenty-fourth hour than the forecast of the first?

# %% tags=["answer"]
by_hour = ((forecast - truth) ** 2 / standard.deviation**2).mean(axis=(0, 2))
print(f"first hour {by_hour[0]:.3f}, last hour {by_hour[-1]:.3f}")

# %% [markdown]
# **2.** Why is the test part the last one, and not drawn at random?

# %% [markdown] tags=["answer"]
# Neighbouring windows share 71 of 72 hours. If the test part were drawn at random, nearly all of a test window would
# also be in a training window. The error would then say how well the network remembers, not how well it forecasts.

# %% [markdown]
# ## What you have learned
#
# - `datasets.windows` cuts series into windows, in standard units by the training part; `standard.undo` brings
#   forecasts back.
# - `mse_value_loss(over_time="last")` reads the membrane when the sequence has been seen.
# - A forecast is judged against persistence, against yesterday and against a linear regression.
#
# For a CSV file, `spikecore init series --path FILE.csv` writes a [run file](../run_file_keys.md#data). Its network is
# chosen by [the recipe](../what_it_learns.md#the-rules), which lets all series share weights.
# How to predict quantiles instead, and other [tasks](../tasks.md).
