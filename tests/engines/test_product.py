"""The torch engine's matrix product: autograd's gradients, in an order that frees memory earlier."""

from __future__ import annotations

import pytest

import spikecore as sc
from spikecore.api.core.layer import Key, Pass
from spikecore.api.core.tree import Tree, map_leaves

torch = pytest.importorskip("torch", reason="torch is not installed")


def operands(dtype="float64"):
    draw = torch.Generator().manual_seed(0)
    shapes = (6, 4), (4, 3), (6, 3)
    return [torch.rand(s, generator=draw, dtype=getattr(torch, dtype), requires_grad=True) for s in shapes]


@pytest.fixture(autouse=True)
def every_product(monkeypatch):
    from spikecore.engines.torch import product

    monkeypatch.setattr(product, "LARGE", 1)


def test_first_and_second_derivatives_are_autograds():
    a, b, g = operands()
    matmul = sc.get_engine("torch", dtype="float64").xp.matmul
    assert type(matmul(a, b).grad_fn).__name__ == "ByRightBackward"
    assert torch.autograd.gradcheck(matmul, (a, b))
    assert torch.autograd.gradgradcheck(matmul, (a, b))
    ours, theirs = (torch.autograd.grad((f(a, b) * g).sum(), (a, b)) for f in (matmul, torch.matmul))
    assert all(torch.equal(x, y) for x, y in zip(ours, theirs))
    many = torch.stack([g, 2.0 * g]).detach()
    at_once = torch.autograd.grad(matmul(a, b), (a, b), many, is_grads_batched=True)
    assert all(torch.equal(x, torch.stack([y, 2.0 * y])) for x, y in zip(at_once, theirs))


def test_the_left_operand_is_free_before_its_gradient_is_made():
    a, b, g = operands()
    seen = []

    class Watch(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, g):
            seen.append(left() is None)
            return g

    import weakref

    matmul = sc.get_engine("torch", dtype="float64").xp.matmul
    inner = Watch.apply(a)
    left = weakref.ref(inner)
    out = (matmul(inner, b) * g).sum()
    del inner
    out.backward()
    assert seen == [True]
    assert torch.equal(a.grad, g.detach() @ b.detach().T)


@pytest.mark.parametrize("wanted", [(True, False), (False, True), (False, False)])
def test_where_one_gradient_is_wanted_it_is_torchs(wanted):
    a, b, _ = operands()
    a.requires_grad_(wanted[0])
    b.requires_grad_(wanted[1])
    out = sc.get_engine("torch", dtype="float64").xp.matmul(a, b)
    assert torch.equal(out, a @ b)
    assert out.grad_fn is None or type(out.grad_fn).__name__ == "MmBackward0"


def test_autocast_chooses_the_types_of_products_large_and_small(monkeypatch):
    from spikecore.engines.torch import product

    draw = torch.Generator().manual_seed(0)
    module, x = torch.nn.Linear(4, 3), torch.rand(6, 4, generator=draw)
    found = []
    for large in (1, 1 << 30):
        monkeypatch.setattr(product, "LARGE", large)
        lifted = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            y = product.linear(lifted, module.weight, module.bias)
        y.float().sum().backward()
        found.append((y, lifted.grad, module.weight.grad.clone()))
        module.zero_grad()
    assert found[0][0].dtype == torch.bfloat16
    assert all(torch.equal(a, b) for a, b in zip(*found))


def test_what_a_product_gives_may_be_edited_in_place():
    a, b, g = operands()
    matmul = sc.get_engine("torch", dtype="float64").xp.matmul
    out = torch.relu_(matmul(a, b))
    assert type(out.grad_fn).__name__ == "ReluBackward0"
    ours = torch.autograd.grad((out * g).sum(), (a, b))
    theirs = torch.autograd.grad((torch.relu(a @ b) * g).sum(), (a, b))
    assert all(torch.equal(x, y) for x, y in zip(ours, theirs))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # in torch's own forward mode
def test_transforms_look_through_products_of_any_size():
    a, b, g = operands()
    matmul = sc.get_engine("torch", dtype="float64").xp.matmul
    grads = torch.func.grad(lambda a, b: (matmul(a, b) * g.detach()).sum(), argnums=(0, 1))(a, b)
    assert torch.equal(grads[1], a.detach().T @ g.detach())
    with torch.autograd.forward_ad.dual_level():
        made = matmul(torch.autograd.forward_ad.make_dual(a, torch.ones_like(a)), b)
        tangent = torch.autograd.forward_ad.unpack_dual(made).tangent
    assert torch.allclose(tangent, torch.ones_like(a) @ b)


@pytest.mark.parametrize(("size", "few"), [(40, True), (320, False)])
def test_small_products_of_a_recurrence_take_one_thread(monkeypatch, size, few):
    """D9: other threads may get their turn on a busy machine when the step is long over."""
    pytest.importorskip("numba", reason="Numba is not installed (extra 'kernels')")
    from spikecore.engines.torch import product
    from spikecore.engines.torch.threads import _library
    from spikecore.kernels.runtime.openmp import launch
    from spikecore.kernels.sparse import feedback
    from spikecore.kernels.sparse import product as sparse

    for lists in (feedback, sparse):
        monkeypatch.setattr(lists, "LEAST", 1 << 60)  # or few spikes would be lists
    monkeypatch.setattr(product, "DENSE", 1 << 60)  # or oneDNN would multiply
    if product.mkl_threads() is None:
        pytest.skip("torch does not multiply with MKL here")
    threads = _library().MKL_Get_Max_Threads
    launch()  # sets torch's number of threads
    own, seen, multiply = product.mkl_threads(), [], torch.mm
    before = own(3)  # whatever the machine has

    def watched(*matrices, **options):
        seen.append(threads())
        return multiply(*matrices, **options)

    monkeypatch.setattr(torch, "mm", watched)
    try:
        engine, layer = sc.get_engine("torch", fused=True), sc.RLeaky(beta=0.8, linear_features=size)
        params = map_leaves(engine.asarray, layer.init(Key((0,)), (size,)).params)
        held = Tree(params=params, x=torch.rand(4, 200, size))
        engine.value_and_grad(
            lambda held: (layer.run(Pass(engine), held.params, Tree(), None, held.x).outputs.sum(), ()), held
        )
        assert threads() == 3
    finally:
        own(before)
    assert len(seen) == 9  # four steps both ways, and the gradient by the weight
    assert set(seen[:8]) == {1 if few else 3}
