"""Random encoders: fresh draws from the framework's generator, or those that a seed names."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore import spikegen
from spikecore.samples import Loader

X = np.full((8, 5), 0.5, dtype="float32")
Y = np.arange(8) % 3
RANDOM = {
    "rate": lambda x, y, **seed: spikegen.rate(x, 6, **seed),
    "rate over time": lambda x, y, **seed: spikegen.rate(x, time_var_input=True, **seed),
    "rate_conv": lambda x, y, **seed: spikegen.rate_conv(x, **seed),
    "poisson": lambda x, y, **seed: spikegen.poisson(x, 6, refractory=1, **seed),
    "targets_rate": lambda x, y, **seed: spikegen.targets_rate(
        y, 3, 40, correct_rate=0.6, incorrect_rate=0.3, firing_pattern="poisson", **seed
    ),
    "targets_convert": lambda x, y, **seed: spikegen.targets_convert(
        y, 3, num_steps=40, correct_rate=0.6, incorrect_rate=0.3, firing_pattern="uniform", **seed
    ),
    "target_rate_code": lambda x, y, **seed: spikegen.target_rate_code(
        40, rate=0.5, firing_pattern="poisson", engine=sc.base.engine_of(x), **seed
    )[0],
}


# How to make an array, and how its users seed.
FRAMEWORKS = [pytest.param(np.asarray, np.random.seed, id="numpy")]
try:
    import torch
except ImportError:
    pass
else:
    FRAMEWORKS.append(pytest.param(torch.as_tensor, torch.manual_seed, id="torch"))


def host(x):
    return np.asarray(x)


@pytest.mark.parametrize("encode", RANDOM.values(), ids=list(RANDOM))
@pytest.mark.parametrize(("array", "seed"), FRAMEWORKS)
def test_without_a_seed_each_call_draws_anew_and_the_frameworks_generator_governs(encode, array, seed):
    """B2: the same spikes at every call, whatever ``torch.manual_seed`` says."""
    x, y = array(X), array(Y)
    seed(7)
    first, second = host(encode(x, y)), host(encode(x, y))
    seed(7)
    again = host(encode(x, y))
    seed(8)
    other = host(encode(x, y))
    assert (first != second).any()
    np.testing.assert_array_equal(again, first)
    assert (other != first).any()


@pytest.mark.parametrize("encode", RANDOM.values(), ids=list(RANDOM))
@pytest.mark.parametrize(("array", "seed"), FRAMEWORKS)
def test_with_a_seed_the_frameworks_generator_is_left_alone(encode, array, seed):
    """B2: equal seeds, equal spikes, on every framework."""
    x, y = array(X), array(Y)
    seed(7)
    fresh = host(spikegen.rate_conv(x))
    seed(7)
    first, again = host(encode(x, y, seed=3)), host(encode(x, y, seed=3))
    np.testing.assert_array_equal(again, first)
    np.testing.assert_array_equal(host(spikegen.rate_conv(x)), fresh, "the generator did not move")
    np.testing.assert_array_equal(first, host(encode(X, Y, seed=3)), "as on NumPy")


@pytest.mark.parametrize(("array", "seed"), FRAMEWORKS)
def test_codes_without_chance_do_not_move_the_generator(array, seed):
    """B2"""
    x, y = array(X), array(Y)
    seed(7)
    fresh = host(spikegen.rate_conv(x))
    seed(7)
    spikegen.latency(x, 20)
    spikegen.targets_rate(y, 3, 20, correct_rate=0.5)
    spikegen.target_rate_code(20, rate=0.5, engine=sc.base.engine_of(x))
    np.testing.assert_array_equal(host(spikegen.rate_conv(x)), fresh)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_training_has_noise_of_its_own_and_stays_reproducible(engine):
    """B2: an encoder of ``fit`` follows the model's seed, whatever the generators say."""
    if engine == "torch":
        pytest.importorskip("torch")

    def trained(state):
        np.random.seed(state)  # noqa: NPY002
        model = sc.Model(sc.Sequential(sc.Linear(5, 3), sc.Leaky()), engine=engine, seed=0)
        model.fit(Loader(X, Y, batch_size=4, seed=0), epochs=2, num_steps=4, encoder=spikegen.rate, progress=False)
        return model.params()["0.weight"], np.random.get_state()[1]  # noqa: NPY002

    (one, after), (two, _) = trained(1), trained(2)
    np.testing.assert_array_equal(one, two)
    np.random.seed(1)  # noqa: NPY002
    np.testing.assert_array_equal(after, np.random.get_state()[1], "and leaves them alone")  # noqa: NPY002
