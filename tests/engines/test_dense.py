"""Dense products by oneDNN: values, gradients, threads, and which products take it."""

from __future__ import annotations

import random

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import spikecore as sc  # noqa: E402
from spikecore.api.core.layer import Key, Pass  # noqa: E402
from spikecore.api.core.tree import Tree, map_leaves  # noqa: E402
from spikecore.engines.torch import dense, product  # noqa: E402
from spikecore.engines.torch.threads import from_library  # noqa: E402
from spikecore.kernels.sparse import feedback  # noqa: E402
from spikecore.kernels.sparse import product as sparse  # noqa: E402

if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
    pytest.skip("torch has no oneDNN here", allow_module_level=True)


@pytest.fixture
def calls(monkeypatch):
    """The threads of each product by oneDNN, which any processor takes here, and small products, too."""
    seen, multiplied = [], dense._multiplied
    count = from_library("omp_get_max_threads") or torch.get_num_threads

    def watched(*operands):
        seen.append(count())
        return multiplied(*operands)

    monkeypatch.setattr(dense, "_half_used", lambda: True)
    monkeypatch.setattr(dense, "_multiplied", watched)
    monkeypatch.setattr(product, "DENSE", 1)
    for name in ("ROWS", "INNER", "WIDE"):
        monkeypatch.setattr(dense, name, 1)
    for lists in (feedback, sparse):
        monkeypatch.setattr(lists, "LEAST", 1 << 60)
    return seen


def matrix(draw, rows, columns):
    """A matrix that lies in memory in one of many ways."""
    ways = (
        lambda: torch.randn(rows, columns),
        lambda: torch.randn(columns, rows).t(),
        lambda: torch.randn(1, columns).expand(rows, columns),
        lambda: torch.randn(rows, columns + 5)[:, 3 : 3 + columns],
        lambda: torch.randn(2 * rows, 2 * columns)[::2, ::2],
        lambda: torch.randn(rows * columns + 3)[3:].view(rows, columns),
    )
    return draw.choice(ways)()


@pytest.mark.parametrize("part", [1 << 18, 64])
def test_values_do_not_depend_on_how_operands_lie(monkeypatch, calls, part):
    monkeypatch.setattr(dense, "PART", part)
    draw = random.Random(0)
    torch.manual_seed(0)
    for _ in range(200):
        m, k, n = (draw.choice([1, 3, 16, 33, 100]) for _ in range(3))
        a, b = matrix(draw, m, k), matrix(draw, k, n)
        bias = draw.choice([None, torch.randn(n), torch.randn(2 * n)[::2], torch.randn(1).expand(n)])
        out = draw.choice([None, torch.empty(m, n), torch.empty(n, m).t()])
        found = dense.product(a, b, bias, out)
        assert out is None or found is out
        exact = a.double() @ b.double() + (0.0 if bias is None else bias.double())
        scale = a.double().abs() @ b.double().abs() + 1.0
        assert ((found.double() - exact).abs() <= 1e-6 * scale).all()
    assert len(calls) >= 200


def test_gradients_of_any_order_are_those_of_torch(calls):
    torch.manual_seed(0)
    leaves = [torch.randn(*shape, requires_grad=True) for shape in ((40, 30), (20, 30), (20,))]
    u, v = torch.randn(40, 20), torch.randn(40, 30)

    def derivatives(linear):
        out = linear(*leaves)
        first = torch.autograd.grad((out**2 * u).sum(), leaves, create_graph=True)
        return [out, *first, *torch.autograd.grad((first[0] * v).sum(), leaves[:2])]

    for ours, theirs in zip(derivatives(product.linear), derivatives(torch.nn.functional.linear)):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert calls
    a, b = leaves[0], leaves[1].t()
    before = len(calls)
    ours = torch.autograd.grad((product.matmul(a, b) * u).sum(), leaves[:2])
    assert len(calls) == before + 3
    for one, other in zip(ours, torch.autograd.grad(((a @ b) * u).sum(), leaves[:2])):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_a_recurrence_has_the_bits_of_its_loop_and_small_products_take_one_thread(calls):
    pytest.importorskip("numba", reason="Numba is not installed (extra 'kernels')")
    layer = sc.RLeaky(beta=0.8, linear_features=40)
    drawn, x = layer.init(Key((0,)), (40,)).params, torch.rand(6, 20, 40)

    def run(fused):
        engine = sc.get_engine("torch", fused=fused)
        params = map_leaves(engine.asarray, drawn)
        held = Tree(params=params, x=x)
        value = lambda held: (layer.run(Pass(engine), held.params, Tree(), None, held.x).outputs.sum(), ())  # noqa: E731
        outputs = layer.run(Pass(engine), params, Tree(), None, x).outputs
        return outputs, engine.value_and_grad(value, held)[2]

    (ours, grads), (loop, by_loop) = run(True), run(False)
    assert torch.equal(ours, loop)
    assert torch.equal(grads.x, by_loop.x)
    assert 0.0 < ours.mean() < 1.0
    threads = torch.get_num_threads()
    before = len(calls)
    torch.set_num_threads(2)
    try:
        run(True)
    finally:
        torch.set_num_threads(threads)
    assert set(calls[before:]) == {1}


@pytest.mark.parametrize(
    ("shapes", "dtype", "least", "takes"),
    [
        (((64, 64), (64, 64)), torch.float32, 1, True),
        (((64, 64), (64, 64)), torch.float32, 1 << 20, False),
        (((64, 64), (64, 64)), torch.float64, 1, False),
        (((64,), (64, 64)), torch.float32, 1, False),
        (((3, 64, 64), (64, 64)), torch.float32, 1, False),
    ],
)
def test_only_large_matrices_of_float32_take_it(monkeypatch, calls, shapes, dtype, least, takes):
    monkeypatch.setattr(product, "DENSE", least)
    a, b = (torch.randn(*shape, dtype=dtype) for shape in shapes)
    torch.testing.assert_close(product.matmul(a, b), a @ b, rtol=1e-4, atol=1e-4)
    assert bool(calls) == takes


def test_intel_and_processors_without_avx512_do_not(monkeypatch):
    def answer(intel, capability):
        monkeypatch.setattr(dense, "from_library", lambda name: intel)
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
        return dense._half_used.__wrapped__()

    has = torch.backends.mkldnn.is_available()
    assert answer(lambda: 0, "AVX512") == has
    assert not answer(lambda: 1, "AVX512")
    assert not answer(lambda: 0, "AVX2")
    assert not answer(None, "AVX512")  # torch without MKL


def test_onednn_gets_no_matrix_with_gaps(calls):
    """It multiplies a slice of a transposed matrix by code that takes seconds."""
    x = torch.randn(30, 40)
    for whole in (x, x.t(), x[3:]):
        assert dense._gapless(whole) is whole
    for part in (x[:, 3:], x.t()[2:9], x[::2], x[:1].expand(5, 40)):
        assert dense._gapless(part).is_contiguous()
        assert torch.equal(dense._gapless(part), part)
