"""``fit(..., compute=Compute(memory="8GB"))`` and ``checkpoint_layers=k``: less memory, the same gradients."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore import functional, spikegen
from spikecore.api.core.variants import approximates, exact, unfused, with_dtype
from spikecore.api.training.budgets import bytes_of

torch = pytest.importorskip("torch", reason="torch is not installed")
if not hasattr(torch.library, "custom_op"):
    pytest.skip("a budget needs torch 2.4", allow_module_level=True)
from spikecore.engines.torch.budget import BudgetError, MemoryPlan  # noqa: E402

RNG = np.random.default_rng(0)
X, Y = RNG.random((24, 12)), RNG.integers(0, 4, 24)
MAPS = RNG.random((24, 1, 8, 8))

DENSE = (
    sc.Linear(12, 30), sc.Leaky(beta=sc.learn(0.9), threshold=0.3), sc.Dropout(0.3), sc.Linear(30, 20),
    sc.RLeaky(beta=0.8, linear_features=20), sc.Linear(20, 4), sc.Leaky(beta=0.8, threshold=0.4),
)  # fmt: skip
NORMED = (
    sc.Conv2d(1, 6, 3), sc.BatchNorm2d(6), sc.Leaky(beta=0.9, threshold=0.3), sc.Conv2d(6, 4, 3), sc.BatchNorm2d(4),
    sc.Residual(sc.Sequential(sc.Conv2d(4, 4, 3, padding=1), sc.Leaky(beta=0.9))), sc.Flatten(), sc.Linear(64, 4),
    sc.Leaky(beta=0.8),
)  # fmt: skip


def trained(layers, fused=True, checkpoint_layers=None, memory=None, accumulate=1, **fit):
    options = {"fused": fused, "checkpoint_layers": checkpoint_layers}
    model = sc.Model(sc.Sequential(*layers), "torch", dtype="float64", seed=1, **options)
    x = MAPS if layers is NORMED else X
    compute = sc.Compute(memory=memory, accumulate=accumulate)
    rest = {"optimizer": sc.Adam(lr=0.01), "num_steps": 6, "epochs": 2, "progress": False, "compute": compute, **fit}
    model.fit([(x[:16], Y[:16]), (x[16:], Y[16:])], **rest)
    return model


def same(one, other, limit):
    state, expected = one.state(), other.state()
    for part in ("params", "buffers"):
        for name, value in expected[part].items():
            assert np.abs(state[part][name] - value).max() <= limit, name
    assert [row["loss"] for row in one.history] == pytest.approx([row["loss"] for row in other.history], abs=limit)


# ---- groups of layers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("net", [DENSE, NORMED], ids=["dense", "normed"])
@pytest.mark.parametrize("fused", [False, True])
def test_groups_of_layers_change_nothing(net, fused):
    """To the last bit; running statistics move once, and dropout draws the same again."""
    options = {"encoder": spikegen.rate} if net is DENSE else {}
    plain = trained(net, fused, **options)
    for layers in (1, 3):
        same(trained(net, fused, layers, **options), plain, 0.0)


def kept(engine):
    """How many elements autograd keeps of a pass."""
    from spikecore.api.core.layer import Key, Pass
    from spikecore.api.core.tree import map_leaves

    net = sc.Sequential(*(layer for _ in range(4) for layer in (sc.Linear(50, 50), sc.Leaky(beta=0.9))))
    init = net.init(Key((0,)), (50,))
    params = map_leaves(lambda w: engine.asarray(w).requires_grad_(), init.params)
    sizes = {}

    def pack(x):
        sizes[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        net.run(Pass(engine, train=True), params, init.buffers, None, torch.rand(40, 6, 50))
    return sum(sizes.values())


def test_groups_of_layers_keep_less():
    plain, by_four = (kept(sc.get_engine("torch", fused=False, checkpoint_layers=n)) for n in (None, 4))
    assert by_four < 0.5 * plain


def test_explain_says_what_is_computed_again():
    lines = sc.get_engine("torch", checkpoint_layers=3).explain(sc.Sequential(*DENSE)).split("\n")
    assert lines[0] == "0 + 1 + 2 (Linear + Leaky + Dropout): computed once more on the way back"
    assert [line[:4] for line in lines[1:4]] == ["  0:", "  1:", "  2:"]
    assert not lines[-1].startswith("  ")  # the last group keeps what it needs


@pytest.mark.parametrize("bad", [0, 1.5, True])
def test_a_bad_number_of_layers_is_refused(bad):
    with pytest.raises(ValueError, match="checkpoint_layers=.* must be a number of layers, at least 1, or None"):
        sc.get_engine("torch", checkpoint_layers=bad)


def test_copies_of_an_engine_keep_their_options():
    engine = sc.get_engine("torch", checkpoint_layers=2, checkpoint_every=3, sparse_backward=0.1, precision="bf16")
    for copy in (with_dtype(engine, "float64"), unfused(engine), exact(engine)):
        assert (copy.checkpoint_layers, copy.checkpoint_every) == (2, 3)
    assert with_dtype(engine, "float64").precision == "float32"
    assert approximates(exact(engine)) == ""
    assert approximates(engine) == "sparse_backward and precision='bf16'"


# ---- a budget --------------------------------------------------------------------------------------------------------


def peak(net, **options):
    """Bytes of a step without means."""
    plan = trained(net, memory="1TB", epochs=1, **options).trainer.executor.plan
    assert isinstance(plan, MemoryPlan)
    assert plan.peak == plan.plain
    assert str(plan.means) == "nothing need be done"
    return plan.peak


def refused(net):
    """What is said of a budget that cannot be."""
    with pytest.raises(BudgetError, match=r"is not enough for a batch of 16 samples.*Allow memory='\d+MB'") as error:
        trained(net, memory=1000)
    return str(error.value)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"accumulate": 2, "loss": functional.ce_rate_loss() + functional.l1_rate_sparsity(1e-3)},
        *(
            pytest.param(options, marks=pytest.mark.slow)
            for options in (
                {"encoder": spikegen.rate},
                {"learning": sc.BPTT(window=3)},
                {"loss": functional.ce_membrane_loss(weight=[1.0, 2.0, 3.0, 4.0], normalise=True)},
            )
        ),
    ],
    ids=lambda options: " ".join(options) or "plain",
)
def test_parts_of_a_batch_make_the_gradient_of_the_whole(options):
    """Whatever the loss is: also a sum over the batch, and one divided by the weights of its labels."""
    budget = int(0.6 * peak(DENSE, **options))
    few = trained(DENSE, memory=budget, **options)
    assert few.trainer.executor.plan.means.parts > 1
    assert few.trainer.executor.plan.peak * 1.1 <= budget
    same(few, trained(DENSE, **options), 1e-10)


def test_lengths_belong_to_their_samples():
    lengths = RNG.integers(2, 7, 24)
    sequences = RNG.random((6, 24, 12))
    models = []
    for memory in (None, 200_000):
        model = sc.Model(sc.Sequential(*DENSE), "torch", dtype="float64", seed=1, fused=True)
        model.fit([(sequences, Y, lengths)] * 2, compute=sc.Compute(memory=memory), progress=False)
        models.append(model)
    assert models[1].trainer.executor.plan.means.parts > 1
    same(models[1], models[0], 1e-10)


def test_batch_statistics_are_those_of_the_whole_batch():
    """A network with batch norm is not divided; groups of layers are computed again."""
    assert "Its batches are not divided" in refused(NORMED)
    less = trained(NORMED, memory=int(1.0 * peak(NORMED)))
    assert less.trainer.executor.plan.means.parts == 1
    assert less.trainer.executor.plan.means.layers is not None
    same(less, trained(NORMED), 0.0)


def test_loops_are_computed_again():
    """Batch norm keeps the batch whole."""
    net = sc.Sequential(sc.Linear(3, 20), sc.BatchNorm1d(20), sc.SLSTM(input_size=20, hidden_size=20))
    loss = lambda out, targets: (out.spikes * out.spikes).sum()  # noqa: E731
    sequences = RNG.random((9, 64, 3))

    def fitted(memory):
        model = sc.Model(net, "torch", dtype="float64", seed=0)
        model.fit([(sequences, np.zeros(64))] * 2, loss=loss, compute=sc.Compute(memory=memory), progress=False)
        return model

    plain = fitted("1TB")
    less = fitted(int(0.95 * plain.trainer.executor.plan.peak))
    assert less.trainer.executor.plan.means.every == 3
    assert less.trainer.executor.plan.means.parts == 1
    same(less, plain, 0.0)


def test_a_refused_budget_leaves_the_model_as_it_was():
    model = sc.Model(sc.Sequential(*DENSE), "torch", seed=0, fused=True, input_shape=12)
    before = model.params()
    with pytest.raises(BudgetError):
        model.fit([(X, Y)], num_steps=5, compute=sc.Compute(memory="2kB"), progress=False)
    assert model.epochs_done == 0
    assert model.trainer.executor.steps_done == 0
    assert all(np.array_equal(value, before[name]) for name, value in model.params().items())


def test_the_least_budget_can_be_kept():
    least = refused(DENSE).partition("Allow memory='")[2].partition("'")[0]
    assert trained(DENSE, memory=least, epochs=1).trainer.executor.plan.peak <= bytes_of(least)


def test_a_larger_batch_is_planned_anew():
    model = sc.Model(sc.Sequential(*DENSE), "torch", seed=0, fused=True)
    options = {"num_steps": 5, "progress": False}
    model.fit([(X[:4], Y[:4]), (X, Y), (X[:4], Y[:4])], compute=sc.Compute(memory="1GB"), **options)
    large = model.trainer.executor.plan.peak
    model.fit([(X[:4], Y[:4])], compute=sc.Compute(memory="1GB"), **options)
    assert model.trainer.executor.plan.peak < large


def test_a_loss_that_looks_at_values_is_refused_with_the_remedy():
    model = sc.Model(sc.Sequential(*DENSE), "torch", seed=0, fused=True)
    loss = lambda out, targets: out.spikes.sum() * float(out.spikes.detach().max())  # noqa: E731
    with pytest.raises(BudgetError, match="looks at values.*leave memory out"):
        model.fit([(X, Y)], loss=loss, num_steps=5, compute=sc.Compute(memory="1GB"), progress=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("512MB", 512_000_000), ("8GB", 8 * 10**9), ("1.5 GiB", 3 * 2**29), ("700k", 700_000), (4096, 4096), ("9", 9)],
)
def test_budgets_are_sizes(text, expected):
    assert bytes_of(text) == expected


@pytest.mark.parametrize("bad", ["8 XB", "", "-1GB", "0", 0, -5, True, "GB"])
def test_what_is_no_size_is_refused(bad):
    with pytest.raises((ValueError, TypeError), match="memory"):
        sc.Compute(memory=bad)


def test_engines_without_plans_refuse_it():
    with pytest.raises(NotImplementedError, match="engine 'numpy' does not plan its memory. Use engine='torch'"):
        sc.Model(sc.Sequential(*DENSE), "numpy").fit(
            [(X, Y)], num_steps=5, compute=sc.Compute(memory="1GB"), progress=False
        )
    with pytest.raises(ValueError, match="memory='1GB' is for learning='bptt'"):
        sc.Model(sc.Sequential(*DENSE[-2:]), "torch").fit(
            [(X[:, :20], Y)], num_steps=5, compute=sc.Compute(memory="1GB"), learning="eprop", progress=False
        )
