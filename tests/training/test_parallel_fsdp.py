"""Processes that divide the weights of one model, ``parallel="fsdp"``: as one process with all of them."""

from __future__ import annotations

import gc
import json
import os
import time
import weakref
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
if os.name == "nt" or not torch.distributed.is_available():
    pytest.skip("processes as POSIX has them, and torch.distributed", allow_module_level=True)

import spikecore as sc  # noqa: E402
from spikecore import functional  # noqa: E402
from spikecore.engines.torch.ranks import can_divide  # noqa: E402
from tests.training import test_parallel as whole  # noqa: E402
from tests.training.parallel_networks import KINDS, X, Y, dense, figures, gap, loaded, model, trained  # noqa: E402
from tests.training.parallel_rig import finished, nursery  # noqa: E402

if not can_divide():
    pytest.skip("torch 2.6, which divides weights", allow_module_level=True)

QUICK = ("batch norm", "clipped", "rewired")  # QUICK_OTHERS have a recurrence and dropout
BRANCHES = (
    sc.Residual(sc.Sequential(sc.Linear(12, 12), sc.Leaky(beta=0.9)), sc.Linear(12, 12)),
    sc.Concat(sc.Linear(12, 6), sc.Sequential(sc.Linear(12, 10), sc.Leaky(beta=sc.learn(0.8, per="neuron")))),
    sc.Linear(16, 4),
    sc.LI(beta=0.9),
)
FROZEN = (sc.Group("0.weight", frozen=True), sc.Group("3.*", lr=1e-3))
HALF_PRECISION = "half precision"
OTHERS = {  # layers, options of the model, options of fit
    "branches": (BRANCHES, {}, {}),
    "a layer by itself": (None, {}, {}),
    "groups": (dense(sc.Dropout(0.2)), {}, {"optimizer": sc.AdamW(lr=1e-2, weight_decay=0.1, groups=FROZEN)}),
    "layers computed again": (dense(sc.Dropout(0.2)), {"checkpoint_layers": 2}, {}),
    HALF_PRECISION: (dense(), {"precision": "bf16", "dtype": "float32"}, {}),
}
QUICK_OTHERS = ("branches", "a layer by itself", "groups")
BATCHES = [(X[i : i + 22], Y[i : i + 22]) for i in range(0, 88, 22)]
WIDE = 40  # layers of the network whose memory is looked at
PEAK = (sc.Linear(12, WIDE), *(each for _ in range(4) for each in (sc.Leaky(threshold=0.2), sc.Linear(WIDE, WIDE))))


def other(name, **more):
    layers, options, given = OTHERS[name]
    network = sc.RLeaky(beta=0.8, linear_features=12) if layers is None else sc.Sequential(*layers)
    one = sc.Model(network, engine="torch", seed=3, input_shape=(12,), **{"dtype": "float64", **options})
    given = {"optimizer": sc.Adam(lr=1e-2), "epochs": 3, "num_steps": 5, "progress": False, **given, **more}
    one.fit(BATCHES, loss=functional.ce_rate_loss(), **given)
    return one


# ---- modules under torch's own fully_shard ----

MODULES = whole.MODULES


def rank_uses_fully_shard():
    from torch.distributed.fsdp import fully_shard

    rank = whole.group()

    def sharded(net):
        for layer in net.layers:
            fully_shard(layer)
        return fully_shard(net)

    for kind in MODULES:
        np.savez(f"sharded {kind}-{rank}.npz", **whole.modules_trained(kind, rank, sharded))


# ---- in the ranks ----------------------------------------------------------------------------------------------------


def rank_trains(kinds, names):
    rank, size = whole.group(), int(os.environ["WORLD_SIZE"])
    for kind in kinds:
        one = trained(kind, size, parallel="fsdp")
        assert one.trainer.executor.divided is not None
        np.savez(f"{kind}-{rank}.npz", **figures(one))
    for name in names:
        np.savez(f"{name}-{rank}.npz", **figures(other(name, compute=FSDP)))
    if HALF_PRECISION in names:
        np.savez(f"undivided-{rank}.npz", **figures(other(HALF_PRECISION)))


def rank_trains_quickly():
    rank_trains(QUICK, QUICK_OTHERS)


def rank_trains_every_kind():
    rank_trains(KINDS, ())


def rank_trains_others():
    rank_trains((), OTHERS)


def rank_has_other_uses():
    rank, found = whole.group(), {}
    found["bytes"], found["gathered"] = memory()
    options = {"optimizer": sc.Adam(lr=1e-2), "num_steps": 5, "progress": False, "compute": FSDP}
    one = model(dense(sc.Dropout(0.4)))
    one.fit(BATCHES, epochs=2, **options)
    one.save(f"saved-{rank}.safetensors")
    one.fit(BATCHES, epochs=4, resume=True, **options)
    np.savez(f"whole-{rank}.npz", **figures(one))
    again = sc.load("saved-0.safetensors", engine="torch", dtype="float64")
    again.fit(BATCHES, epochs=4, resume=True, **options)
    np.savez(f"resumed-{rank}.npz", **figures(again))
    found["evaluated"] = one.evaluate([(X[:21], Y[:21]), (X[:1], Y[:1])], num_steps=5, parallel="fsdp", progress=False)
    found["text"] = repr(one)
    copy = one.to_engine("torch")
    found["copy"] = [copy.trainer.executor.divided is not None, gap(copy.params(), [one.params()])]
    one.fit(BATCHES, epochs=6, resume=True, **{**options, "compute": sc.Compute()})
    np.savez(f"data-{rank}.npz", **figures(one))
    for name, call in REFUSED.items():
        try:
            call(rank)
            found[name] = "nothing"
        except Exception as error:
            found[name] = f"{type(error).__name__}: {error}"
    trained("dense", 2, parallel="fsdp")  # after all of these the ranks are still in step
    Path(f"found-{rank}.json").write_text(json.dumps(found))


def memory():
    """Bytes of what this rank keeps of weights and moments; and how many layers were whole at once, at most."""
    from spikecore.engines.torch import gathering

    alive, most, make = [], [0], gathering.Gather.apply

    def counted(x):
        y = make(x)
        if y.ndim == 2:
            for _ in range(100):
                alive[:] = [one for one in alive if one() is not None]
                if not alive:
                    break
                time.sleep(0.01)  # Gloo's thread lets go of the last one a moment after it has arrived
            alive.append(weakref.ref(y))
            most[0] = max(most[0], len(alive))
        return y

    gathering.gathered = lambda x: counted(x) if isinstance(x, gathering.DTensor) else x
    gc.disable()  # what is let go must be let go at once
    one = model(PEAK)
    one.fit(BATCHES, optimizer=sc.Adam(), epochs=1, num_steps=3, compute=sc.Compute(parallel="fsdp"), progress=False)
    gc.enable()
    gathering.gathered = lambda x: make(x) if isinstance(x, gathering.DTensor) else x
    states = one.trainer.executor.torch_optimizer.state
    kept = [
        x
        for weight in one.trainer.executor.leaves
        for x in (weight, states[weight]["exp_avg"], states[weight]["exp_avg_sq"])
    ]
    return sum(x.to_local().untyped_storage().nbytes() for x in kept), most[0]


FSDP = sc.Compute(parallel="fsdp")


def fit(rank, **options):
    return whole.fit(rank, compute=FSDP, **options)


def not_finite(rank):
    """A weight that becomes infinite on the one rank that has its row."""

    def spoils(model, row):
        state = model.state()
        state["params"]["0.weight"][15] = np.inf
        model.load_state(state)

    return fit(rank, epochs=2, callbacks=(spoils,))


def no_metric(out, targets):
    if os.environ["RANK"] == "1" and len(targets) == 3:  # in validation
        raise ValueError("no metric")
    return 0.0


def halves(model, row):
    model.load_state(HALF)


HALF = model(dense()).state()
HALF["params"] = {name: 0.5 * x for name, x in HALF["params"].items()}
REFUSED = {
    "seed": lambda rank: fit(rank, seed=rank),
    "bad input": lambda rank: fit(rank, data=whole.with_nan(rank)),
    "weights restored on one": lambda rank: fit(
        rank, callbacks=(lambda model, row: model.load_state(HALF),) * (rank == 0)
    ),
    "budget": lambda rank: whole.fit(rank, compute=sc.Compute(parallel="fsdp", memory="1GB")),
    "eprop": lambda rank: fit(rank, learning="eprop"),
    "not finite": not_finite,
    "validation": lambda rank: fit(rank, validation=whole.with_nan(rank)),
    "metric": lambda rank: fit(rank, validation=[(X[:6], Y[:6])], metric=no_metric),
    "train_step": lambda rank: fit(rank).train_step(X[:4], Y[:4], num_steps=2),
    "value_and_grad": lambda rank: fit(rank).value_and_grad(X[:4], Y[:4], num_steps=2),
}
SAID = {
    "seed": ("RankError: the processes that train together differ: seed is 1 on rank 1, 0 on rank 0",) * 2,
    "bad input": whole.DIFFERENT["bad input"],
    "weights restored on one": ("RankError: after the callbacks of epoch 1 the weights of rank 1 are not",) * 2,
    "budget": ("ValueError: memory='1GB' is planned for whole weights, and parallel='fsdp' divides them",) * 2,
    "eprop": ("ValueError: 2 processes train together, once per batch, but learning=EProp()",) * 2,
    "not finite": ("DivergedError: in batch 1 of epoch 2 0.weight holds NaN or infinity: training",) * 2,
    "validation": whole.DIFFERENT["bad input"],
    "metric": ("RankError: rank 1 of 2 has failed: ValueError: no metric", "ValueError: no metric"),
    "train_step": ("NotImplementedError: model.train_step: fit with parallel='fsdp' has divided the weights",) * 2,
    "value_and_grad": ("NotImplementedError: model.value_and_grad: fit with parallel='fsdp' has divided",) * 2,
}


# ---- tests -----------------------------------------------------------------------------------------------------------


def worlds(folder, size, *functions):
    """In the nursery: see ``test_parallel.worlds``."""
    import torch.distributed.fsdp  # noqa: F401  (forks have what is imported here)

    import spikecore.engines.torch.divided_executor  # noqa: F401

    os.chdir(folder)
    trained("dense", 2)
    for name in functions:
        done = finished(int(size), globals()[name], folder, name)
        assert set(done.codes.values()) == {0}, "\n".join(done.said)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    nursery(__name__, "worlds", folder, 2, "rank_trains_quickly", "rank_has_other_uses", "rank_uses_fully_shard")
    return folder


@pytest.mark.parametrize("kind", QUICK)
def test_two_processes_train_as_one(two, kind):
    one = trained(kind, 2)
    assert one.trainer.executor.steps_done == 10
    assert gap(figures(one), loaded(two, kind)) <= 1e-10
    assert all(np.array_equal(x, y) for x, y in zip(*(rank.values() for rank in loaded(two, kind))))


@pytest.mark.parametrize("name", QUICK_OTHERS)
def test_other_networks_and_options(two, name):
    assert gap(figures(other(name)), loaded(two, name)) <= 1e-10


@pytest.mark.slow
def test_four_processes_and_every_kind_of_network(tmp_path):
    nursery(__name__, "worlds", tmp_path, 4, "rank_trains_every_kind", "rank_trains_others")
    gaps = {kind: gap(figures(trained(kind, 4)), loaded(tmp_path, kind, 4)) for kind in KINDS}
    gaps.update({name: gap(figures(other(name)), loaded(tmp_path, name, 4)) for name in OTHERS})
    # in half precision one process rounds other sums than four do
    gaps[HALF_PRECISION] = gap(loaded(tmp_path, "undivided", 4)[0], loaded(tmp_path, HALF_PRECISION, 4))
    print(gaps)
    assert max(value for name, value in gaps.items() if name != HALF_PRECISION) <= 1e-10, gaps
    assert gaps[HALF_PRECISION] <= 1e-5


def found(folder):
    return [json.loads((folder / f"found-{rank}.json").read_text()) for rank in (0, 1)]


def test_each_process_keeps_its_part_and_one_whole_layer(two):
    everything = 3 * sum(x.nbytes for x in model(PEAK).params().values())
    for rank in found(two):
        assert rank["bytes"] == pytest.approx(everything / 2, rel=0.01)
        assert rank["gathered"] == 1


def test_a_saved_model_goes_on_to_the_same_bits(two):
    assert not (two / "saved-1.safetensors").exists()
    assert gap(loaded(two, "whole")[0], loaded(two, "resumed")) == 0.0


def test_a_saved_model_goes_on_anywhere(two):
    """In one process, and in two that each have all weights."""
    alone = sc.load(two / "saved-0.safetensors", engine="torch", dtype="float64")
    options = {"optimizer": sc.Adam(lr=1e-2), "num_steps": 5, "progress": False, "resume": True}
    alone.fit(BATCHES, epochs=4, **options)
    assert gap(figures(alone), loaded(two, "whole")) <= 1e-10
    wanted = alone.evaluate([(X[:21], Y[:21]), (X[:1], Y[:1])], num_steps=5, progress=False)
    alone.fit(BATCHES, epochs=6, **options)
    assert gap(figures(alone), loaded(two, "data")) <= 1e-10
    for rank in found(two):
        assert rank["evaluated"] == pytest.approx(wanted, abs=1e-12)
        assert "277 parameters" in rank["text"]
        assert rank["copy"] == [False, 0.0]


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_refused_on_all_ranks(two, case):
    for rank, said in enumerate(found(two)):
        assert SAID[case][rank] in said[case]


@pytest.mark.parametrize("kind", MODULES)
def test_modules_under_fully_shard_train_as_in_one_process(two, kind):
    assert gap(whole.modules_trained(kind), loaded(two, f"sharded {kind}")) <= 1e-10


def test_one_process_has_all_weights():
    one = model(dense())
    one.fit(BATCHES, num_steps=2, compute=sc.Compute(parallel="fsdp"), progress=False)
    assert one.trainer.executor.divided is None
    one.train_step(X[:4], Y[:4], num_steps=2)
