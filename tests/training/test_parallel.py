"""Several processes train one model: as one process with the whole batch, to the last draw."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
if os.name == "nt" or not torch.distributed.is_available():
    pytest.skip("processes as POSIX has them, and torch.distributed", allow_module_level=True)

import spikecore as sc  # noqa: E402
from spikecore import functional, spikegen  # noqa: E402
from spikecore.api.core.ranks import launched  # noqa: E402
from spikecore.samples import Loader  # noqa: E402
from tests.training.parallel_networks import KINDS, QUICK, X, Y, dense, figures, gap, loaded, model, rate, trained  # noqa: E402
from tests.training.parallel_rig import finished, nursery  # noqa: E402

# ---- in the ranks ----------------------------------------------------------------------------------------------------


def group():
    import torch.distributed as dist

    dist.init_process_group("gloo")
    return dist.get_rank()


def rank_trains(kinds=KINDS):
    from spikecore.engines.torch import batch_norm, ranks

    rank, fits, large = group(), batch_norm.fits_rows, ranks.BUCKET
    for kind in kinds:
        ranks.BUCKET = large if kind == "batch norm" else 300  # bytes: gradients in several buckets
        batch_norm.fits_rows = fits if "in words" not in kind else lambda *operands: False
        np.savez(f"{kind}-{rank}.npz", **figures(trained(kind, int(os.environ["WORLD_SIZE"]))))


def rank_trains_quickly():
    rank_trains(QUICK)


def rank_uses_ddp():
    rank = group()
    for kind in MODULES:
        np.savez(f"{kind}-{rank}.npz", **modules_trained(kind, rank))


def rank_has_other_uses():
    """A DistributedSampler, evaluation, callbacks; then everything that is refused. Printed as JSON."""
    rank, found = group(), {}
    sampled = model(dense(sc.Dropout(0.4)))
    sampled.fit(
        own_loader(rank),
        loss=functional.ce_rate_loss(),
        optimizer=sc.Adam(lr=1e-2),
        epochs=2,
        num_steps=5,
        progress=False,
    )
    np.savez(f"sampled-{rank}.npz", **figures(sampled))
    one = model(dense())
    feeding = {"num_steps": 4, "encoder": rate, "progress": False}
    found["evaluated"] = one.evaluate(Loader(X[:21], Y[:21], batch_size=20), parallel="data", **feeding)
    one.fit(X, Y, epochs=5, callbacks=(lambda model, row: rank == 1 and row["epoch"] == 2,), **feeding)
    found["stopped by a callback"] = one.epochs_done
    planned = with_budget(share=0.5)  # enough for the part of rank 0 without means, not for that of rank 1
    found["plan"] = str(planned.trainer.executor.plan.means)
    np.savez(f"planned-{rank}.npz", **figures(planned))
    for name, call in REFUSED.items():
        try:
            call(rank)
            found[name] = "nothing"
        except Exception as error:
            found[name] = f"{type(error).__name__}: {error}"
    fit(rank)  # after all of these the ranks are still in step
    Path(f"found-{rank}.json").write_text(json.dumps(found))


def own_loader(rank, world=2, **options):
    from torch.utils.data import DataLoader, TensorDataset
    from torch.utils.data.distributed import DistributedSampler

    data = TensorDataset(torch.as_tensor(X), torch.as_tensor(Y))
    sampler = DistributedSampler(data, world, rank, shuffle=False)
    return DataLoader(data, batch_size=10, sampler=sampler, **options)


def fit(rank, layers=None, data=None, seed=3, dtype="float64", **options):
    one = sc.Model(sc.Sequential(*(layers or dense())), engine="torch", dtype=dtype, seed=seed)
    data = [(X[:20], Y[:20])] * 2 if data is None else data
    one.fit(data, optimizer=options.pop("optimizer", sc.Adam()), **{"num_steps": 3, "progress": False, **options})
    return one


def with_budget(samples=21, parallel="data", share=None, **options):
    """A network with batch norm and a budget; ``share``: how far it lies between what 10 and 11 samples take."""
    few, more = (1, 1) if share is None else (with_budget(n, "none").trainer.executor.plan.peak for n in (10, 11))
    memory = "1GB" if share is None else int(1.1 * (few + share * (more - few)))
    layers = (sc.Linear(12, 20, bias=False), sc.BatchNorm1d(20), sc.Leaky(beta=0.9), sc.Linear(20, 20, bias=False))
    layers = (*layers, *layers[1:3], sc.Linear(20, 4), sc.LI(beta=0.9))
    compute = sc.Compute(memory=memory, parallel=parallel)
    return fit(0, layers, [(X[:samples], Y[:samples])] * 2, compute=compute, **options)


def with_nan(rank):
    x = X[:20].copy()
    x[15, 2] = np.nan  # in the part of rank 1
    return [(X[:20], Y[:20]), (x, Y[:20])]


def fails(model, row):
    raise OSError("the disk is full")


def restores(model, row):
    """Changes weights, as early stopping does."""
    state = model.state()
    model.load_state({**state, "params": {name: 0.5 * x for name, x in state["params"].items()}})


def with_other_version(rank):
    sc.__version__, before = f"0.{rank}", sc.__version__
    try:
        fit(rank)
    finally:
        sc.__version__ = before


def infinite(out, targets):
    """A loss that is infinite on the rank that has a sample of class 3."""
    return functional.ce_rate_loss()(out, targets) + (np.inf if bool((targets == 3).any()) else 0.0)


class Stream:
    """Batches without a length."""

    def __init__(self, count):
        self.count = count

    def __iter__(self):
        return iter([(X[:20], Y[:20])] * self.count)


REFUSED = {
    "seed": lambda rank: fit(rank, seed=rank),
    "network": lambda rank: fit(rank, layers=dense(sc.Dropout(0.1 * rank))),
    "epochs": lambda rank: fit(rank, epochs=1 + rank),
    "optimizer": lambda rank: fit(rank, optimizer=sc.Adam(lr=1e-3 * (1 + rank))),
    "dtype": lambda rank: fit(rank, dtype="float64" if rank else "float32"),
    "length": lambda rank: fit(rank, data=[(X[:20], Y[:20])] * (2 + rank)),
    "batch size": lambda rank: fit(rank, data=Loader(X, Y, batch_size=20 + rank)),
    "version": with_other_version,
    "too small": lambda rank: fit(rank, data=[(X[:20], Y[:20]), (X[:1], Y[:1])]),
    "other order": lambda rank: fit(rank, data=[(X[k:][:20], Y[k:][:20]) for k in (0, 20 + rank)]),
    "ends early": lambda rank: fit(rank, data=Stream(2 + rank)),
    "bad input": lambda rank: fit(rank, data=with_nan(rank)),
    "bad callback": lambda rank: fit(rank, callbacks=(fails,) if rank == 0 else (lambda model, row: None,)),
    "weights restored on one": lambda rank: fit(rank, epochs=2, callbacks=(restores,) if rank == 0 else ()),
    "not finite": lambda rank: fit(rank, loss=infinite, data=[(X[:20], np.array([0] * 19 + [3]))]),
    "budget": lambda rank: with_budget(share=-2.2),  # enough for rank 0 with means, not for rank 1
    "eprop": lambda rank: fit(rank, learning="eprop"),
    "wrong sampler": lambda rank: fit(rank, data=own_loader(0)),
}
SAID = {
    "seed": "RankError: the processes that train together differ: seed is 1 on rank 1, 0 on rank 0",
    "network": "Dropout(p=0.1), Linear(16, 4)",
    "epochs": "epochs is 2 on rank 1, 1 on rank 0",
    "optimizer": "Adam(lr=0.002) on rank 1, Adam(lr=0.001) on rank 0",
    "dtype": "dtype is float64 on rank 1, float32 on rank 0",
    "length": "data is list 3 batches on rank 1, list 2 batches on rank 0",
    "batch size": "5 batches of 21",
    "version": "spikecore is 0.1 on rank 1, 0.0 on rank 0",
    "too small": "RankError: a batch has 1 sample, and 2 processes train together",
    "other order": "RankError: the ranks have different batches",
    "ends early": "RankError: rank 0 has no more batches, and others have",
    "weights restored on one": "RankError: after the callbacks of epoch 1 the weights of rank 1 are not",
    "not finite": "DivergedError: the loss of epoch 1 is inf in batch 1, where every state is finite",
    "eprop": "ValueError: 2 processes train together, once per batch, but learning=EProp()",
}
DIFFERENT = {
    "bad input": (
        "RankError: rank 1 of 2 has failed: ValueError: input[5, 2] is nan",
        "ValueError: input[5, 2] is nan",
    ),
    "bad callback": ("OSError: the disk is full", "RankError: rank 0 of 2 has failed: OSError: the disk is full"),
    "budget": (
        "RankError: rank 1 of 2 has failed: BudgetError: memory=",
        "of 11 samples",
    ),
    "wrong sampler": (
        "RankError: rank 1 of 2 has failed: RankError: DistributedSampler gives the batches of rank 0",
        "RankError: DistributedSampler gives the batches of rank 0 of 2, but this is rank 1 of 2",
    ),
}


# ---- modules under plain DistributedDataParallel ---------------------------------------------------------------------


def modules():
    import spikecore.nn as snn

    return {
        "ddp dense": [torch.nn.Linear(12, 16), snn.Leaky(beta=0.9), torch.nn.Linear(16, 4), snn.Leaky(beta=0.8)],
        "ddp recurrent": [
            torch.nn.Linear(12, 8),
            snn.RLeaky(beta=0.7, linear_features=8),
            torch.nn.Linear(8, 4),
            snn.Synaptic(alpha=0.8, beta=0.9),
        ],
    }


MODULES = ("ddp dense", "ddp recurrent")


class Net(torch.nn.Module):
    """Modules in a row, over the time steps of a rate code."""

    def __init__(self, layers):
        super().__init__()
        self.layers = torch.nn.ModuleList(layers)

    def forward(self, x, first):
        spikes = 3.0 * spikegen.rate(x / 3.0, num_steps=5, seed=7, first=first)
        neurons = {i: layer for i, layer in enumerate(self.layers) if not isinstance(layer, torch.nn.Linear)}
        states = {i: layer.reset_mem() for i, layer in neurons.items()}
        states = {i: state if isinstance(state, tuple) else (state,) for i, state in states.items()}
        total = 0.0
        for step in spikes:
            for i, layer in enumerate(self.layers):
                if i in neurons:
                    found = layer(step, *states[i])
                    step, states[i] = found[0], found if hasattr(layer, "recurrent") else found[1:]
                else:
                    step = layer(step)
            total = total + found[-1]
        return total


def modules_trained(kind, rank=None, wrap=torch.nn.parallel.DistributedDataParallel):
    """Weights after 8 steps of Adam; ``rank``: of two that share each batch, by what ``wrap`` makes of the network."""
    torch.manual_seed(0)
    net = Net(modules()[kind]).double()
    run = net if rank is None else wrap(net)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for i in range(8):
        first = 20 * (i % 4)
        start, stop = (first, first + 20) if rank is None else (first + 10 * rank, first + 10 * rank + 10)
        scores = run(torch.as_tensor(X[start:stop]), start)
        loss = torch.nn.functional.cross_entropy(scores, torch.as_tensor(Y[start:stop]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    weights = {name: x.detach() for name, x in net.named_parameters()}
    return {name: (x.full_tensor() if hasattr(x, "full_tensor") else x).numpy() for name, x in weights.items()}


# ---- tests -----------------------------------------------------------------------------------------------------------


def worlds(folder, size, *functions):
    """In the nursery: worlds that run functions of this module, one after the other."""
    os.chdir(folder)
    trained("dense", 2)  # in this process, so that the forks have all that it imports
    for name in functions:
        done = finished(int(size), globals()[name], folder, name)
        assert set(done.codes.values()) == {0}, "\n".join(done.said)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    nursery(__name__, "worlds", folder, 2, "rank_trains_quickly", "rank_uses_ddp", "rank_has_other_uses")
    return folder


@pytest.mark.parametrize("kind", QUICK)
def test_two_processes_train_as_one(two, kind):
    one = trained(kind, 2)
    assert one.trainer.executor.steps_done == (6 if kind == "accumulate" else 10)
    assert gap(figures(one), loaded(two, kind)) <= 1e-10
    assert all(np.array_equal(x, y) for x, y in zip(*(rank.values() for rank in loaded(two, kind))))


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 4])
def test_every_kind_of_network(tmp_path, world):
    nursery(__name__, "worlds", tmp_path, world, "rank_trains")
    gaps = {}
    for kind in KINDS:
        one = trained(kind, world)
        assert one.trainer.executor.steps_done == {2: (10, 6), 4: (20, 10)}[world][kind == "accumulate"]
        gaps[kind] = gap(figures(one), loaded(tmp_path, kind, world))
    print(gaps)
    assert max(gaps.values()) <= 1e-10, gaps


@pytest.mark.parametrize("kind", MODULES)
def test_modules_under_ddp_train_as_in_one_process(two, kind):
    assert gap(modules_trained(kind), loaded(two, kind)) <= 1e-10


def test_a_distributed_sampler_gives_each_rank_its_own_batches(two):
    """Draws are those of one process whose batch is that of rank 0 and behind it that of rank 1."""
    ranks = [list(own_loader(rank)) for rank in (0, 1)]
    whole = [tuple(torch.cat(pair) for pair in zip(*both)) for both in zip(*ranks)]
    one = model(dense(sc.Dropout(0.4)))
    one.fit(whole, loss=functional.ce_rate_loss(), optimizer=sc.Adam(lr=1e-2), epochs=2, num_steps=5, progress=False)
    assert gap(figures(one), loaded(two, "sampled")) <= 1e-10


def found(folder):
    return [json.loads((folder / f"found-{rank}.json").read_text()) for rank in (0, 1)]


def test_evaluation_is_over_all_samples(two):
    """The last batch has one sample, fewer than there are ranks."""
    wanted = model(dense()).evaluate(Loader(X[:21], Y[:21], batch_size=20), num_steps=4, encoder=rate, progress=False)
    for rank in found(two):
        assert rank["evaluated"] == pytest.approx(wanted, abs=1e-12)


def test_all_ranks_keep_a_budget_by_the_same_means(two):
    """Else a rank would wait for batch statistics that another one does not compute again."""
    assert [rank["plan"][:9] for rank in found(two)] == ["groups of"] * 2
    assert gap(figures(with_budget()), loaded(two, "planned")) <= 1e-10


def test_a_callback_of_any_rank_ends_training_on_all(two):
    assert [rank["stopped by a callback"] for rank in found(two)] == [2, 2]


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_refused_on_all_ranks(two, case):
    for rank, said in enumerate(found(two)):
        assert (SAID[case] if case in SAID else DIFFERENT[case][rank]) in said[case]


TORCHRUN = {"WORLD_SIZE": "2", "RANK": "0"}


@pytest.mark.parametrize(
    ("engine", "environment", "remedy"),
    [
        ("torch", TORCHRUN, "call torch.distributed.init_process_group"),
        ("numpy", TORCHRUN, "use engine 'torch'"),
        ("numpy", {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3"}, "use engine 'torch'"),
        ("numpy", {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"}, "use engine 'torch'"),
    ],
)
def test_processes_that_do_not_know_each_other_are_refused(monkeypatch, engine, environment, remedy):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    one = sc.Model(sc.Sequential(*dense()), engine=engine)
    with pytest.raises(sc.errors.RankError, match=remedy) as error:
        one.fit(X, Y, num_steps=2, progress=False)
    assert "parallel='none'" in str(error.value)
    one.fit(X, Y, num_steps=2, progress=False, compute=sc.Compute(parallel="none"))
    assert one.epochs_done == 1


def test_a_torch_without_processes_is_named(monkeypatch):
    for name, value in {"PMI_SIZE": "2", "PMI_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.distributed, "is_available", lambda: False)  # as torch says it where it is so built
    with pytest.raises(sc.errors.RankError, match="is built without torch.distributed: install one of https://pytorch"):
        model(dense()).fit(X, Y, num_steps=2, progress=False)


def test_what_is_no_launcher_of_several_processes():
    assert launched({"WORLD_SIZE": "1", "RANK": "0"}) is None
    assert launched({"WORLD_SIZE": "8"}) is None  # of somebody else
    assert launched({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}) is None  # a batch script, which is one process
    assert launched({"PMI_SIZE": "2", "PMI_RANK": "1"}) == ("PMI_SIZE", 2)


def test_parallel_is_a_word():
    with pytest.raises(ValueError, match="unknown parallel 'ddp'. Known: data, data-bf16, fsdp, none"):
        model(dense()).fit(X, Y, num_steps=2, compute=sc.Compute(parallel="ddp"))
    with pytest.raises(ValueError, match="unknown parallel 'ddp'"):
        model(dense()).evaluate(X, Y, num_steps=2, parallel="ddp")
