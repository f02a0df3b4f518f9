"""A user's mistakes, one a statement: ``make type`` requires that mypy refuses each, and
tests/house/test_public_types.py that each is refused when it runs, too.
"""

import numpy as np

import spikecore as sc
import spikecore.nn.functional as SF
from spikecore import backprop, datasets, functional, schedule, spikegen, surrogate, utils

model = sc.Model(sc.Sequential(sc.Linear(2, 3), sc.Leaky()), "numpy")
X, LABELS = np.ones((4, 2)), np.zeros(4, int)

# names
sc.Leky  # type: ignore[attr-defined]
sc.Adamm()  # type: ignore[attr-defined]
model.ft([(X, LABELS)])  # type: ignore[attr-defined]
functional.ce_rate_los()  # type: ignore[attr-defined]
SF.ce_rate_los()  # type: ignore[attr-defined]
surrogate.atn()  # type: ignore[attr-defined]
spikegen.rat(X, 3)  # type: ignore[attr-defined]
schedule.cosin()  # type: ignore[attr-defined]
backprop.bttp(model, X, LABELS)  # type: ignore[attr-defined]
utils.reste(model)  # type: ignore[attr-defined]
datasets.Loder(X, LABELS)  # type: ignore[attr-defined]

model.predict(X, num_steps=3).maen()  # type: ignore[attr-defined]

# arguments
sc.Leaky(0.9)  # type: ignore[call-arg]
sc.Leaky(bta=0.9)  # type: ignore[call-arg]
sc.RLeaky(0.9, linear_features=3)  # type: ignore[call-arg]
model.fit([(X, LABELS)], num_step=3)  # type: ignore[call-arg]
sc.Conv2d(1, 2)  # type: ignore[call-arg]
spikegen.rate(X, 3, sed=1)  # type: ignore[call-arg]

# options
sc.Leaky(beta=0.9, reset_mechanism="substract")  # type: ignore[arg-type]
sc.Alpha(alpha=0.9, beta=0.8, reset_mechanism="subtract_decayed")  # type: ignore[arg-type]
sc.learn(0.9, per="neurn")  # type: ignore[arg-type]
sc.Model(sc.Leaky(), engine=3)  # type: ignore[arg-type]
model.to_engine(None)  # type: ignore[arg-type]
model.fit([(X, LABELS)], num_steps=3, learning=3)  # type: ignore[arg-type]
model.fit([(X, LABELS)], num_steps=3, metric="acuracy")  # type: ignore[arg-type]
model.fit([(X, LABELS)], num_steps=3, optimizer="adam")  # type: ignore[arg-type]
model.fit([(X, LABELS)], num_steps=3, loss="ce")  # type: ignore[arg-type]
sc.EarlyStopping(mode="mn")  # type: ignore[arg-type]
functional.ce_rate_loss(reduction="maen")  # type: ignore[arg-type]
functional.ce_membrane_loss(over_time="max")  # type: ignore[arg-type]
functional.ce_temporal_loss(inverse="negated")  # type: ignore[arg-type]
backprop.online(model, X, LABELS, num_steps=3, trace="exakt")  # type: ignore[arg-type]
spikegen.targets_rate([0], 3, num_steps=4, firing_pattern="regulr")  # type: ignore[arg-type]
spikegen.targets_convert([0], 3, code="latncy", num_steps=4)  # type: ignore[arg-type]

# values
model("x", num_steps=3)  # type: ignore[arg-type]
sc.verify(model, "x", LABELS)  # type: ignore[arg-type]
spikegen.rate("x", 3)  # type: ignore[arg-type]
spikegen.rate([["x"]], 3)  # type: ignore[list-item]
spikegen.rate(None, 3)  # type: ignore[arg-type]
functional.ce_rate_loss()("x", LABELS)  # type: ignore[arg-type]
sc.Leaky(beta="0.9")  # type: ignore[arg-type]
sc.Leaky(surrogate="atan")  # type: ignore[arg-type]
sc.Linear("2", 3)  # type: ignore[arg-type]
sc.Conv2d(1, 2, kernel_size="3")  # type: ignore[arg-type]
sc.Sequential("Leaky")  # type: ignore[arg-type]
sc.Adam(lr="0.1")  # type: ignore[arg-type]
surrogate.atan("2")  # type: ignore[arg-type]
