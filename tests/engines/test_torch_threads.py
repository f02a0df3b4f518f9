"""Small training steps of the torch engine stay on one thread, and nobody else notices."""

from __future__ import annotations

import pytest

import spikecore as sc
from spikecore.api.core.layer import Key

torch = pytest.importorskip("torch", reason="torch is not installed")

from spikecore.engines.torch import threads  # noqa: E402  (needs torch)


@pytest.fixture
def three(monkeypatch):
    """Three threads of torch, whatever the machine has, where threads can be limited at all."""
    if threads.mkl_threads() is None or not hasattr(threads._library(), "omp_set_num_threads"):
        pytest.skip("torch computes with other libraries here")
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def counts():
    return torch.get_num_threads(), threads._library().MKL_Get_Max_Threads()


def test_alone(three):
    with threads.alone():
        assert counts() == (1, 1)
        with threads.alone():
            assert counts() == (1, 1)
        assert counts() == (1, 1)
    assert counts() == (3, 3)
    with pytest.raises(ZeroDivisionError), threads.alone():
        raise ZeroDivisionError
    assert counts() == (3, 3)


def test_kernels_get_their_threads_back(three):
    pytest.importorskip("numba", reason="Numba is not installed (extra 'kernels')")
    from spikecore.kernels.runtime import openmp

    openmp.use_threads(3)
    before = openmp.most_threads()
    with threads.alone():
        openmp.use_threads(torch.get_num_threads())
        assert openmp.most_threads() == 1
    assert openmp.most_threads() == before


@pytest.mark.parametrize(("batch", "expected"), [(1, 1), (4, 1), (600, 3)])
def test_small_steps_take_one_thread(three, batch, expected, monkeypatch):
    engine, seen = sc.get_engine("torch"), []
    network = sc.Sequential(sc.Linear(64, 100), sc.Leaky(), sc.Linear(100, 10), sc.Leaky())
    init = network.init(Key((0,)), (64,))
    executor = engine.compile(network, *init[:2], sc.functional.ce_rate_loss(), sc.Adam())
    update = executor.torch_optimizer.step
    monkeypatch.setattr(executor.torch_optimizer, "step", lambda: (seen.append(counts()), update()))
    executor.step(torch.rand(10, batch, 64), [1] * batch)
    assert seen == [(expected, expected)]
    assert counts() == (3, 3)


def test_maps_take_all_threads(three, monkeypatch):
    """However few weights a convolution has."""
    engine, seen = sc.get_engine("torch"), []
    network = sc.Sequential(sc.Conv2d(1, 2, 3), sc.Leaky(), sc.Flatten(), sc.Linear(8, 2), sc.Leaky())
    init = network.init(Key((0,)), (1, 4, 4))
    executor = engine.compile(network, *init[:2], sc.functional.ce_rate_loss(), sc.Adam())
    update = executor.torch_optimizer.step
    monkeypatch.setattr(executor.torch_optimizer, "step", lambda: (seen.append(counts()), update()))
    executor.step(torch.rand(2, 1, 1, 4, 4), [1])
    assert seen == [(3, 3)]
