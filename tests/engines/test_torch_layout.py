"""How tensors lie in memory on the torch engine: it changes the time things take, and no result."""

from __future__ import annotations

import pytest

import spikecore as sc
from spikecore.api.core.layer import Key, Pass
from spikecore.api.core.tree import Params, Tree, flatten, map_leaves

torch = pytest.importorskip("torch", reason="torch is not installed")

from spikecore.engines.torch.operators import in_rows  # noqa: E402  (needs torch)


def draw(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("channels", [1, 2])
def test_convolutions_give_maps_with_channels_last(channels):
    x, weight = draw(4, channels, 8, 7), draw(3, channels, 3, 3)
    y = sc.get_engine("torch").xp.conv(x, weight, None, (1, 1), (0, 0), (1, 1), 1)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert not y.is_contiguous()
    # Sums of at most 18 positive products: two orders of adding differ by at most 2 x 18 x 6e-8 of the sum.
    assert torch.allclose(y, torch.nn.functional.conv2d(x, weight), rtol=2.2e-6, atol=0)


@pytest.mark.parametrize("channels", [1, 2])
def test_convolutions_keep_their_gradients(channels):
    weight, found = draw(3, channels, 2, 2), []

    def ours(x, w):
        return sc.get_engine("torch").xp.conv(x, w, None, (1, 1), (0, 0), (1, 1), 1)

    for conv in (ours, torch.nn.functional.conv2d):
        leaves = draw(2, channels, 5, 5).requires_grad_(), weight.clone().requires_grad_()
        y = conv(*leaves)
        found.append(torch.autograd.grad((y * y).sum(), leaves))
    for a, b in zip(*found):
        assert torch.allclose(a, b, rtol=1e-5, atol=0)  # all positive: (8 + 32 + 1) roundings of 6e-8, on both sides


GRADIENTS = {
    "as it is": lambda g: g,
    "transposed": lambda g: g.transpose(1, 2).contiguous().transpose(1, 2),
    "time last": lambda g: g.permute(1, 2, 0).contiguous().permute(2, 0, 1),
    "the same at every step": lambda g: g[:1].expand_as(g),
    "transposed, the same at every step": lambda g: g[0].t().contiguous().t().expand_as(g),
    "one number": lambda g: g[0, 0, 0].expand_as(g),
}


@pytest.mark.parametrize("order", GRADIENTS)
def test_gradients_may_lie_in_any_order(order):
    pytest.importorskip("numba", reason="Numba is not installed (extra 'kernels')")
    layer, engine, g = sc.Leaky(beta=0.8, threshold=0.5), sc.get_engine("torch", fused=True), draw(9, 5, 7)
    found = []
    for upstream in (GRADIENTS[order](g), GRADIENTS[order](g).contiguous()):
        x = draw(9, 5, 7).requires_grad_()
        layer.run(Pass(engine), Params(), Tree(), None, x).outputs.backward(upstream)
        found.append(x.grad)
    assert torch.equal(*found)


@pytest.mark.parametrize("order", GRADIENTS)
def test_rows_are_copied_only_where_they_have_to_be(order):
    g = GRADIENTS[order](draw(9, 5, 7))
    rows = in_rows(g, g.shape)
    assert torch.equal(rows, g)
    assert rows[0].is_contiguous()
    assert (rows.data_ptr() == g.data_ptr()) == g[0].is_contiguous()
    assert rows.stride(0) == (0 if g.stride(0) == 0 else 35)


def test_inputs_may_lie_in_any_order():
    pytest.importorskip("numba", reason="Numba is not installed (extra 'kernels')")
    layer, engine, x = sc.Leaky(beta=sc.learn(0.8), threshold=0.5), sc.get_engine("torch", fused=True), draw(9, 5, 7)
    found = []
    for inputs in (x, x.transpose(0, 2).contiguous().transpose(0, 2)):
        lifted, beta = inputs.detach().requires_grad_(), torch.tensor(0.8, requires_grad=True)
        out = layer.run(Pass(engine), Params(beta=beta), Tree(), None, lifted)
        (out.outputs * x).sum().backward()
        found.append((out.outputs, lifted.grad, beta.grad))
    assert all(torch.equal(a, b) for a, b in zip(*found))


MAPS = sc.Sequential(sc.Conv2d(2, 3, 3), sc.MaxPool2d(2), sc.AvgPool2d(2))


@pytest.mark.parametrize("few", [1, 5000, 1 << 24])
def test_layers_over_maps_take_some_steps_at_a_time(monkeypatch, few):
    from spikecore.engines.torch import engine as module

    host, found, sizes = sc.get_engine("torch"), [], []
    conv = host.xp.conv
    monkeypatch.setattr(host.xp, "conv", lambda x, *rest, **named: (sizes.append(len(x)), conv(x, *rest, **named))[1])
    for limit in (few, 1 << 60):
        monkeypatch.setattr(module, "FEW_BYTES", limit)
        params = map_leaves(lambda p: host.asarray(p).requires_grad_(), MAPS.init(Key((0,)), (2, 12, 12)).params)
        x = draw(7, 2, 2, 12, 12).requires_grad_()
        y = MAPS.run(Pass(host), params, Tree(), None, x).outputs
        leaves = x, *flatten(params).values()
        found.append((y.detach(), y.stride(), torch.autograd.grad((y * draw(*y.shape)).sum(), leaves)))
    (some, order, by_some), (whole, _, by_whole) = found
    assert torch.equal(some, whole)
    assert some.any()
    assert order[2] == 1  # channels lie next to each other
    assert torch.equal(by_some[0], by_whole[0])
    for a, b in zip(by_some, by_whole):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-6)
    assert sizes[-1] == 14
    assert sizes[:-1] == {1: [2] * 7, 5000: [4, 4, 4, 2], 1 << 24: [14]}[few]


def test_layers_over_maps_say_what_does_not_fit():
    with pytest.raises(sc.errors.ShapeError, match="Conv2d: samples of shape"):
        MAPS.run(
            Pass(sc.get_engine("torch")), MAPS.init(Key((0,)), (2, 12, 12)).params, Tree(), None, draw(3, 2, 4, 9, 9)
        )


@pytest.mark.parametrize("kind", [sc.MaxPool2d, sc.AvgPool2d])
def test_the_gradient_of_a_pooling_lies_as_its_input_does(kind):
    """Also where it comes from behind a Flatten: in another order torch copies the map before the pooling twice."""
    x = draw(6, 5, 7, 7, 3).requires_grad_()
    y = kind(2).run(Pass(sc.get_engine("torch")), Params(), Tree(), None, x.movedim(-1, 2)).outputs
    g = draw(6, 5, 3, 3, 3)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True) as profile:
        (found,) = torch.autograd.grad(y.flatten(2), x, g.flatten(2))
    copied = [event.input_shapes[0] for event in profile.events() if event.name == "aten::copy_"]
    assert [30, 3, 7, 7] not in copied
    assert [30, 3, 3, 3] in copied
    own = getattr(torch.nn.functional, kind(2).word + "2d")
    (expected,) = torch.autograd.grad(own(x.movedim(-1, 2).flatten(0, 1), 2).reshape(6, 5, -1), x, g.flatten(2))
    assert torch.equal(found, expected)


def test_pieces_of_a_sequence_keep_the_order_of_maps(monkeypatch):
    """Of the maps themselves and of their gradients."""
    monkeypatch.setattr("spikecore.engines.torch.engine.FEW_BYTES", 1)
    engine, x = sc.get_engine("torch"), draw(6, 5, 7, 7, 3).requires_grad_()
    y = engine.in_pieces(lambda part: part * 2.0, x.movedim(-1, 2), 1)
    assert y.movedim(2, -1).is_contiguous()
    (g,) = torch.autograd.grad(y, x, y.detach())
    assert torch.equal(g, 4.0 * x)
    assert g.is_contiguous()


def test_pieces_of_a_sequence_are_differentiated_like_the_whole(monkeypatch):
    """Twice, and many gradients at once."""
    engine, found = sc.get_engine("torch", dtype="float64"), []
    for few in (1, 1 << 24):
        monkeypatch.setattr("spikecore.engines.torch.engine.FEW_BYTES", few)
        x = draw(5, 2, 3, 4, 4).double().requires_grad_()
        y = engine.in_pieces(lambda part: part**3, x, 96)
        (g,) = torch.autograd.grad((y**2).sum(), x, create_graph=True)
        many = torch.stack([y.detach(), torch.ones_like(y)])
        found.append((g, *torch.autograd.grad(g.sum(), x, retain_graph=True)))
        found[-1] += torch.autograd.grad(y, x, many, is_grads_batched=True)
    assert all(torch.allclose(a, b, rtol=1e-12) for a, b in zip(*found))
