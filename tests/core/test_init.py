"""``sc.init``: moments, orthogonality, the same numbers on every engine, files, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

import spikecore as sc
from spikecore import init
from spikecore.api.core.initialisers import drawn
from spikecore.api.core.layer import Key
from spikecore.api.core.weight_initialisers import fans
from spikecore.api.training.description import build, known_classes

KEY = Key((5, "init"))
WEIGHT = (300, 200)


def draw(how, shape=WEIGHT, key=KEY):
    return drawn(how, key, "weight", shape)


@pytest.mark.parametrize(
    ("how", "mean", "std"),
    [
        (init.constant(0.3), 0.3, 0.0),
        (init.uniform(-1.0, 2.0), 0.5, 3 / math.sqrt(12)),
        (init.normal(0.5, 2.0), 0.5, 2.0),
        (init.gamma(20.0), 20.0, 20 / math.sqrt(3)),
        (init.gamma(5.0, shape=1), 5.0, 5.0),
        (init.kaiming_uniform(), 0.0, math.sqrt(2 / 200)),
        (init.kaiming_normal(1.0), 0.0, 1 / math.sqrt(200)),
        (init.xavier_uniform(), 0.0, math.sqrt(2 / 500)),
        (init.xavier_normal(0.5), 0.0, 0.5 * math.sqrt(2 / 500)),
        (init.orthogonal(0.9), 0.0, 0.9 / math.sqrt(300)),
    ],
    ids=repr,
)
def test_moments(how, mean, std):
    values = draw(how)
    n = values.size
    assert values.dtype == np.float64
    assert values.shape == WEIGHT
    assert abs(values.mean() - mean) <= 5 * std / math.sqrt(n) + 1e-12
    assert abs(values.std() - std) <= 0.02 * std + 1e-12


@pytest.mark.parametrize(
    ("how", "law", "options"),
    [
        (init.normal(), "norm", ()),
        (init.gamma(3.0), "gamma", (3,)),
        (init.uniform(0.0, 1.0), "uniform", ()),
        (init.kaiming_normal(math.sqrt(200)), "norm", ()),
    ],
    ids=repr,
)
def test_distributions(how, law, options):
    stats = pytest.importorskip("scipy.stats")
    assert stats.kstest(draw(how).reshape(-1), law, args=options).pvalue > 1e-3


@pytest.mark.parametrize("shape", [(300, 200), (200, 300), (128, 128), (16, 3, 5), (3, 2, 3, 3), (1, 7)])
def test_orthogonal(shape):
    matrix = draw(init.orthogonal(0.7), shape).reshape(shape[0], -1)
    product = matrix @ matrix.T if len(matrix) <= len(matrix.T) else matrix.T @ matrix
    assert abs(product - 0.49 * np.eye(len(product))).max() < 1e-13
    if shape[0] == np.prod(shape[1:]):
        assert abs(np.linalg.eigvals(matrix)) == pytest.approx(0.7)


def test_orthogonal_matrices_prefer_no_sign():
    traces = [np.trace(draw(init.orthogonal(), (4, 4), Key((seed,)))) for seed in range(400)]
    assert abs(np.mean(traces)) < 0.25
    assert abs(np.std(traces) - 1.0) < 0.15


def test_lateral():
    assert (draw(init.lateral(-2.0), (3, 3)) == 2.0 * (np.eye(3) - 1.0)).all()
    with pytest.raises(ValueError, match=r"lateral: is for the square matrix of a recurrent Linear, not .* \(2, 4\)"):
        draw(init.lateral(), (2, 4))


def test_identity():
    assert (draw(init.identity(0.5), (3, 3)) == 0.5 * np.eye(3)).all()
    assert (draw(init.identity(), (2, 4)) == np.eye(2, 4)).all()


def test_fans_are_torchs():
    torch = pytest.importorskip("torch")
    for shape in ((4, 6), (4, 6, 3), (8, 2, 3, 5)):
        assert fans(shape) == torch.nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))


@pytest.mark.parametrize("options", [{}, {"mem_mean": 0.4, "mem_std": 0.5}, {"alpha": 0.8, "beta": 0.7}])
def test_membranes_fluctuate_as_asked(options):
    how = init.fluctuation(0.05, **options)
    alpha, beta = how.alpha, how.beta
    weight = draw(how, (400, 500))
    spikes = np.random.default_rng(0).random((2000, 500)) < 0.05
    syn, mem, seen = np.zeros(400), np.zeros(400), []
    for x in spikes @ weight.T:
        syn = alpha * syn + x
        mem = beta * mem + syn
        seen.append(mem)
    seen = np.array(seen[100:])
    assert seen.mean() == pytest.approx(how.mem_mean, abs=0.2 * how.mem_std)  # weights differ from neuron to neuron
    assert math.sqrt(seen.var(axis=0).mean()) == pytest.approx(how.mem_std, rel=0.05)


def test_a_mean_that_fluctuates_too_much_is_refused():
    with pytest.raises(ValueError, match="mem_mean=5.0 makes a membrane with 4 inputs fluctuate by more than"):
        draw(init.fluctuation(0.1, mem_mean=5.0, mem_std=0.1), (3, 4))


# ---- in networks -----------------------------------------------------------------------------------------------------


def network():
    return sc.Sequential(
        sc.Conv2d(1, 3, 3, weight_init=init.kaiming_normal(), bias_init=init.constant()),
        sc.Leaky(beta=sc.learn(init.uniform(0.7, 0.95), per="channel"), threshold=sc.learn(init.normal(1.0, 0.1))),
        sc.Flatten(),
        sc.Linear(12, 5, weight_init=init.fluctuation(0.2)),
        sc.RLeaky(beta=sc.learn_tau(init.gamma(10.0)), linear_features=5, recurrent_init=init.orthogonal(0.9)),
        sc.RLeaky(beta=0.9, all_to_all=False, V=sc.learn(init.normal(0.0, 0.1))),
    )


def model(engine="numpy", seed=0, **options):
    return sc.Model(network(), engine, seed=seed, input_shape=(1, 4, 4), **options)


def test_draws_are_the_same_on_every_engine():
    pytest.importorskip("torch")
    a, b = model("numpy", dtype="float64").params(), model("torch", dtype="float64").params()
    assert all((a[name] == b[name]).all() for name in a)
    assert a["1.beta"].shape == (3, 1, 1)
    assert a["1.threshold"].shape == (3, 2, 2)
    assert (a["0.bias"] == 0).all()
    assert len(set(a["4.neuron.beta"])) == 5
    other = model(seed=1, dtype="float64").params()
    assert all((a[name] != other[name]).any() for name in a if name != "0.bias")


def test_learned_time_constants_are_those_drawn():
    tau = np.exp(model(dtype="float64").params()["4.neuron.beta"])
    assert tau == pytest.approx(drawn(init.gamma(10.0), Key((0, "init", "4", "neuron")), "beta", (5,)))


def test_what_is_drawn_verifies_and_trains():
    x, y = np.random.default_rng(0).random((2, 3)), [0, 1]
    net = sc.Sequential(
        sc.Linear(3, 2, weight_init=init.fluctuation(0.3)), sc.Leaky(beta=sc.learn(init.uniform(0.5, 0.9)))
    )
    one = sc.Model(net, "numpy", dtype="float64")
    assert sc.verify(one, x, y, num_steps=3).ok
    before = one.params()
    one.train_step(x, y, num_steps=3)
    assert all((x != before[name]).any() for name, x in one.params().items())


def test_files_hold_initialisers(tmp_path):
    one = model()
    one.save(tmp_path / "model")
    again = sc.load(tmp_path / "model", engine="numpy")
    assert again.network == one.network
    assert hash(again.network) == hash(one.network)
    assert all((again.params()[name] == x).all() for name, x in one.params().items())

    class Names(dict):
        def __missing__(self, name):
            return getattr(init, name) if hasattr(init, name) else getattr(sc, name)

    assert eval(repr(one.network), {}, Names()) == one.network


def test_files_from_before_can_be_read():
    """Descriptions without the fields that came later."""
    linear = {"class": "Linear", "in_features": 3, "out_features": 2, "bias": True}
    adam = {"class": "Adam", "lr": 0.01, "weight_decay": 0.0, "betas": [0.9, 0.999], "eps": 1e-8}
    assert build(linear, known_classes()) == sc.Linear(3, 2)
    assert build(adam, known_classes()) == sc.Adam(lr=0.01)


def test_without_them_weights_stay_what_they_were():
    """The first numbers of a seed are part of what users have published."""
    weight = sc.Model(sc.Linear(3, 2), "numpy", seed=0, dtype="float64").params()["weight"]
    engine = sc.get_engine("numpy", dtype="float64")
    assert (weight == (2.0 * engine.uniform((0, "init", "weight"), (2, 3)) - 1.0) * (1.0 / math.sqrt(3))).all()


BAD = [
    (lambda: init.uniform(1.0, 0.0), "uniform: high=0.0 must be greater than low"),
    (lambda: init.normal(std=-1.0), "normal: std=-1.0 must be >= 0"),
    (lambda: init.normal(low=1.0, high=0.5), "normal: high=0.5 must be greater than low"),
    (lambda: init.gamma(0.0), "gamma: mean=0.0 must be > 0"),
    (lambda: init.gamma(1.0, shape=0), "gamma: shape=0 must be an int >= 1"),
    (lambda: init.orthogonal(0.0), "orthogonal: gain=0.0 must be > 0"),
    (lambda: init.fluctuation(1.0), r"fluctuation: rate=1.0 must be in \(0, 1\)"),
    (lambda: init.fluctuation(0.1, beta=1.0), r"beta=1.0 must be in \[0, 1\)"),
    (lambda: sc.Linear(3, 2, weight_init="orthogonal"), "weight_init='orthogonal' must be an initialiser such as"),
    (lambda: sc.Linear(3, 2, bias=False, bias_init=init.constant()), "Linear: bias_init=.* needs bias=True"),
    (lambda: sc.Conv1d(3, 2, 1, bias=False, bias_init=init.constant()), "Conv1d: bias_init=.* needs bias=True"),
    (lambda: sc.Leaky(beta=sc.learn(init.orthogonal())), "learn: value=orthogonal.* is for weights"),
    (lambda: sc.Alpha(alpha=sc.learn(init.uniform(0.8, 0.9))), "Alpha: alpha=.* cannot be drawn: give a number"),
    (lambda: sc.StateLeaky(beta=sc.learn(init.uniform(0.8, 0.9)), channels=3), "StateLeaky: beta=.* cannot be drawn"),
    (lambda: sc.RLeaky(all_to_all=False, recurrent_init=init.identity()), "recurrent_init=.* needs all_to_all=True"),
    (lambda: sc.Model(sc.Linear(3, 2, bias_init=init.kaiming_normal())), "bias: kaiming_normal.* is for weights with"),
    (
        lambda: sc.Model(sc.Conv1d(3, 2, 1, weight_init=init.identity()), input_shape=(3, 4)),
        "identity: is for the matrix",
    ),
    (
        lambda: sc.Model(sc.Leaky(beta=sc.learn(init.normal(1.5, 0.1))), input_shape=3),
        r"Leaky: beta=normal.* drew 1\..*, which must be in \[0, 1\]: give it low and high",
    ),
    (
        lambda: sc.Model(sc.Leaky(beta=sc.learn_tau(init.uniform(-2.0, -1.0))), input_shape=3),
        r"Leaky: beta=uniform.* drew -1.*, which must be > 0",
    ),
]


@pytest.mark.parametrize(("make", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_arguments_are_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
