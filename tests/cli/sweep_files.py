"""A run file and spaces for tests of sweeps: small enough that a trial takes a tenth of a second."""

from __future__ import annotations

RUN = """
engine = "numpy"
data = { name = "digits", batch_size = 128, validation = 0.5 }
encoder = { num_steps = 3 }
network = { layers = [
    { kind = "Linear", in_features = 64, out_features = 12 }, { kind = "Leaky", beta = 0.9 },
    { kind = "Linear", in_features = 12, out_features = 10 }, { kind = "Leaky", beta = 0.9 },
] }
train = { epochs = 4, optimizer = { kind = "Adam", lr = 4e-3 } }
"""
LR = """
["train.optimizer.lr"]
low = 1e-4
high = 1.0
log = true
"""
SPACE = f"""
[sweep]
epochs = 2
pruner = "none"
{LR}
["network.layers.0.out_features"]
also = ["network.layers.2.in_features"]
low = 4
high = 16
step = 4
int = true

["network.layers.1.surrogate"]
choices = ["atan", {{ kind = "fast_sigmoid", slope = 5.0 }}]
"""


def written(folder, space=SPACE, run=RUN):
    """Write run.toml and space.toml into the folder; returns both paths as texts."""
    (folder / "run.toml").write_text(run)
    (folder / "space.toml").write_text(space)
    return str(folder / "run.toml"), str(folder / "space.toml")
