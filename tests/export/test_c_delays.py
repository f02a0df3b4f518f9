"""C of delays in a loop: a recurrent connection with a delay for each weight, or for each neuron."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from tests.export.c_rig import assert_same, in_c, needs_compiler

N = 6
X = (np.random.default_rng(0).random((14, 4, 5)) < 0.5).astype("float32")
CONNECTIONS = {
    "dense": sc.DelayedLinear(N, N, 4),
    "each": sc.Delay(sc.learn(1.5, per="neuron"), max_delay=3),
}


@needs_compiler
@pytest.mark.filterwarnings("ignore::spikecore.api.core.messages.TrainingWarning")
def test_c_gives_the_same(tmp_path):
    nets = {}
    for name, connection in CONNECTIONS.items():
        hidden = sc.Recurrent(sc.Leaky(beta=0.8, threshold=0.4), connection)
        net = sc.Sequential(sc.Linear(5, N), hidden, sc.Linear(N, 3), sc.LI(beta=0.9))
        nets[name] = sc.Model(net, "numpy", seed=0, input_shape=(5,))
    for name, program in in_c(nets, tmp_path).items():
        assert_same(program, nets[name], X, exact=False)
