"""Convolutions of spikes by lists: equal to dense ones, whatever the shapes, rates and values."""

from __future__ import annotations

import math
import os
import signal
import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import spikecore as sc

pytest.importorskip("numba", reason="Numba is not installed")
torch = pytest.importorskip("torch", reason="torch is not installed")

from torch.nn import functional as F  # noqa: E402  (as everything below, after it is known to be there)

from spikecore.api.core.windows import window_counts  # noqa: E402
from spikecore.engines.torch.convolution import conv  # noqa: E402
from spikecore.engines.torch.layout import channels_last  # noqa: E402
from spikecore.kernels.sparse import convolution, maps, scatter  # noqa: E402

CLOSE = {"float32": 1e-6, "float64": 1e-13}
CONV = {1: F.conv1d, 2: F.conv2d}


@pytest.fixture(autouse=True, params=["lists", "spike by spike"])
def always(request):
    """Lists for convolutions of any size and rate; or, where there is that way, spikes one by one."""
    with pytest.MonkeyPatch.context() as patch:
        time = math.inf if request.param == "lists" else -math.inf
        patch.setattr(scatter, "time", lambda *_: time)
        patch.setattr(maps, "LEAST", 0)
        patch.setattr(maps, "WORTH", -1e30)
        patch.setattr(maps, "GUESSED", 1e30)
        patch.setattr(maps, "COUNTED", 1e30)
        yield patch


def drawn(seed, shape, rate, dtype="float32", graded=False):
    draw = np.random.default_rng(seed)
    x = (draw.random(shape) < rate).astype(dtype)
    return torch.from_numpy(x * draw.choice([0.5, -1.0, 3.0], shape).astype(dtype) if graded else x)


def laid(x, order):
    """The same maps in another order in memory."""
    if order == "last":
        return x.movedim(1, -1).contiguous().movedim(-1, 1)
    if order == "rows":
        return laid(x.repeat_interleave(2, 0), "last")[::2]
    if order == "samples last":
        return x.movedim(0, -1).contiguous().movedim(-1, 0)
    if order == "one sample":
        return x[:1].expand_as(x)
    if order == "gaps":
        return torch.stack([x, x + 1], -1)[..., 0]
    return x.contiguous()


def normal(seed, shape, dtype="float32"):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(dtype))


def near(a, b, dtype, size=None):
    """Whether two are equal up to rounding, relative to the largest, or to a sum without cancellation."""
    a, b = a.detach(), b.detach()
    return float((a - b).abs().max()) <= CLOSE[dtype] * float((b if size is None else size).abs().max())


def gradients(convolve, x, weight, bias, g, **options):
    operands = [a.detach().requires_grad_() for a in (x, weight, bias)]
    y = convolve(*operands, **options)
    return y, torch.autograd.grad(y, operands, g.to(y.dtype))


@st.composite
def problems(draw):
    axes, groups = draw(st.sampled_from([1, 2, 2])), draw(st.sampled_from([1, 1, 2, 3]))
    few = st.integers(1, 3)
    channels, filters = draw(st.integers(1, 24)) * groups, draw(st.sampled_from([1, 5, 16, 33, 64, 70])) * groups
    space = tuple(draw(st.integers(1, 14 if axes == 2 else 90)) for _ in range(axes))
    kernel, stride, padding, dilation = (
        tuple(draw(sizes) for _ in range(axes)) for sizes in (st.integers(1, 5), few, st.integers(0, 2), few)
    )
    dilation = tuple(d if k > 1 else 1 for d, k in zip(dilation, kernel))  # oneDNN crashes on gaps beside a single tap
    assume(min(window_counts(space, kernel, stride, padding, dilation)) > 0)
    return (
        (draw(st.integers(1, 9)), channels, *space),
        (filters, channels // groups, *kernel),
        {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups},
    )


@settings(max_examples=80, deadline=None)
@given(
    problems(), st.sampled_from([0.0, 0.03, 0.3, 1.0]), st.booleans(), st.sampled_from(["float32", "float64"]),
    st.sampled_from(["first", "last", "rows", "gaps", "samples last", "one sample"]), st.booleans(), st.integers(0, 99),
)  # fmt: skip
def test_values_and_gradients_equal_those_of_dense_convolutions(problem, rate, graded, dtype, order, last, seed):
    shape, weight_shape, options = problem
    x = laid(drawn(seed, shape, rate, dtype, graded), order)
    weight, bias = normal(seed, weight_shape, dtype), normal(seed + 1, weight_shape[:1], dtype)
    dense = CONV[x.ndim - 2]
    g = normal(seed + 2, dense(x, weight, bias, **options).shape, dtype)
    y, ours = gradients(lambda *a, **named: conv(*a, last=last, **named), x, weight, bias, g, **options)
    assert type(y.grad_fn).__name__ == "SpikeConvFunctionBackward"
    wide = [a.double() for a in (x, weight, bias, g)]
    exact, theirs = gradients(dense, *wide, **options)
    size, sizes = gradients(dense, *(a.abs() for a in wide), **options)
    assert near(y, exact, dtype, size.detach())
    assert all(near(a, b, dtype, c) for a, b, c in zip(ours, theirs, sizes))
    if order in ("first", "last"):
        like = channels_last(x) if last else x  # what is convolved without lists, also where both orders are one
        assert y.stride() == dense(like, weight, bias, **options).stride() or 1 in y.shape


@pytest.mark.parametrize("order", ["samples last", "one sample"])
@pytest.mark.parametrize("graded", [True, False], ids=["graded", "ones"])
def test_samples_that_do_not_lie_one_behind_the_other(order, graded):
    x, weight, bias = (
        laid(drawn(0, (4, 3, 8, 8), 0.2, "float64", graded), order),
        *(normal(1, shape, "float64") for shape in ((5, 3, 3, 3), (5,))),
    )
    g = torch._neg_view(normal(2, (4, 5, 6, 6), "float64"))  # nor need its gradient be more than a sign
    ours, theirs = (gradients(f, x, weight, bias, g) for f in (conv, F.conv2d))
    assert all(near(a, b, "float64") for a, b in zip((ours[0], *ours[1]), (theirs[0], *theirs[1])))


def test_threads_do_not_change_a_bit():
    x, weight, g = drawn(0, (50, 6, 12, 12), 0.1), normal(0, (70, 6, 5, 5)), normal(1, (50, 70, 8, 8))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            weight.requires_grad_()
            y = conv(x, weight)
            found.append((y.detach(), *torch.autograd.grad(y, weight, g)))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for one in found[1:] for a, b in zip(found[0], one))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_convolves_on_one_thread():
    x, weight = drawn(0, (50, 6, 12, 12), 0.1), normal(0, (70, 6, 5, 5))
    sizes = weight.shape, (1, 1), (0, 0), (1, 1), 1
    expected, child = maps.spike_maps_of(x.numpy(), *sizes).convolved(weight.numpy(), None), os.fork()
    if not child:
        signal.alarm(30)
        again = maps.spike_maps_of(x.numpy(), *sizes).convolved(weight.numpy(), None)
        os._exit(0 if np.array_equal(again, expected) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_many_positions_are_added_up_in_parts():
    x, g = drawn(0, (70, 2, 30, 30), 0.05, "float64"), normal(1, (70, 5, 28, 28), "float64")
    weight = normal(0, (5, 2, 3, 3), "float64").requires_grad_()
    assert convolution.PARTS * convolution.MANY < 70 * 28 * 28
    (ours,), (theirs,) = (torch.autograd.grad(f(x, weight), weight, g) for f in (conv, F.conv2d))
    assert near(ours, theirs, "float64")


def test_a_weight_that_no_spike_meets_may_be_nan():
    x, weight = torch.zeros(2, 3, 5, 5), torch.ones(4, 3, 3, 3)
    x[1, 2, 2, 2] = 1.0
    weight[3, 2, 0, 0] = float("nan")
    weight[1, 0, 1, 1] = float("inf")  # of a channel that is silent
    y = conv(x, weight)
    assert torch.isnan(y).nonzero().tolist() == [[1, 3, 2, 2]]
    assert torch.isfinite(y[~torch.isnan(y)]).all()
    x[0, 0, 0, 0] = float("nan")
    assert torch.isnan(conv(x, weight)[0]).nonzero()[:, 1:].tolist() == [[0, 0]] * 4


@pytest.mark.parametrize("wanted", [(True, False, False), (False, True, False), (False, False, True), (False,) * 3])
def test_only_gradients_that_are_wanted_are_made(wanted):
    x, weight, bias = drawn(0, (3, 2, 6, 6), 0.2), normal(0, (4, 2, 3, 3)), normal(1, (4,))
    for a, want in zip((x, weight, bias), wanted):
        a.requires_grad_(want)
    y, dense = conv(x, weight, bias), F.conv2d(x, weight, bias)
    assert y.requires_grad == any(wanted)
    if any(wanted):
        y.sum().backward()
        for a, want in zip((x, weight, bias), wanted):
            assert (a.grad is not None) == want
            if want:
                assert near(a.grad, *torch.autograd.grad(dense.sum(), a), "float32")


def test_where_lists_are_slow_for_the_gradient_it_is_dense(always):
    x, weight, g = drawn(0, (9, 4, 8, 8), 0.3), normal(0, (6, 4, 3, 3)).requires_grad_(), normal(1, (9, 6, 6, 6))
    y = conv(laid(x, "last"), weight)
    always.setattr(maps, "COUNTED", -1e30)
    assert near(*(torch.autograd.grad(a, weight, g)[0] for a in (y, F.conv2d(x, weight))), "float32")


def test_spikes_that_are_one_keep_a_bit_each_for_backward():
    kept, x, weight = [], drawn(0, (64, 4, 16, 16), 0.05).requires_grad_(), normal(0, (8, 4, 3, 3)).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        y = conv(x, weight)
    assert all(t.numel() == weight.numel() for t in kept)  # and no other tensor
    assert y.grad_fn.maps.values is None
    assert y.grad_fn.maps.bits.words.nbytes * 8 == x.numel()


def test_a_second_derivative_is_exact_or_an_error():
    weight, g = normal(0, (4, 2, 3, 3), "float64"), normal(1, (3, 4, 6, 6), "float64")
    graded, binary = (drawn(0, (3, 2, 8, 8), 0.3, "float64", graded) for graded in (True, False))

    def again(convolve, x, constant):
        operands = x.clone().requires_grad_(not constant), weight.clone().requires_grad_(), g.clone().requires_grad_()
        wanted = operands[constant:]
        first = torch.autograd.grad(convolve(*operands[:2]), operands[constant:2], operands[2], create_graph=True)
        return torch.autograd.grad(sum(a.pow(3).sum() for a in first), wanted, allow_unused=True)

    for x, constant in ((graded, False), (binary, True)):
        for ours, theirs in zip(again(conv, x, constant), again(F.conv2d, x, constant)):
            assert (ours is None) == (theirs is None)
            assert ours is None or near(ours, theirs, "float64")
    with pytest.raises(RuntimeError, match="second derivative"):
        again(conv, binary, False)
    x, weight = binary.requires_grad_(), weight.requires_grad_()
    (by_weight,) = torch.autograd.grad(conv(x, weight), weight, g, create_graph=True)
    with pytest.raises(RuntimeError, match="second derivative"):
        torch.autograd.grad(by_weight.sum(), x, allow_unused=True)


def test_many_gradients_at_once():
    x, weight = drawn(0, (3, 2, 8, 8), 0.3).requires_grad_(), normal(0, (4, 2, 3, 3)).requires_grad_()
    g = normal(1, (5, 3, 4, 6, 6))
    ours, theirs = (torch.autograd.grad(f(x, weight), (x, weight), g, is_grads_batched=True) for f in (conv, F.conv2d))
    assert all(near(a, b, "float32") for a, b in zip(ours, theirs))


def test_what_a_convolution_gives_may_be_edited_in_place():
    x, weight = drawn(0, (3, 2, 8, 8), 0.3), normal(0, (4, 2, 3, 3)).requires_grad_()
    for order in ("first", "last"):
        y = torch.relu_(conv(laid(x, order), weight, last=False))
        assert near(y, torch.relu(F.conv2d(x, weight)), "float32")
        y.sum().backward()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda x, w: (x[0], w), {}),
        (lambda x, w: (x, w), {"padding": "same"}),
        (lambda x, w: (x.to(torch.bfloat16), w.to(torch.bfloat16)), {}),
        (lambda x, w: (x[:0], w), {}),
    ],
)
def test_what_is_no_case_for_lists_is_torchs(change, named):
    x, weight = change(drawn(0, (3, 2, 8, 8), 0.3), normal(0, (4, 2, 3, 3)).requires_grad_())
    y, dense = conv(x, weight, last=False, **named), F.conv2d(x, weight, **named)
    assert torch.equal(y, dense)
    assert type(y.grad_fn) is type(dense.grad_fn)


@pytest.mark.parametrize(
    ("shape", "named"),
    [((4, 3, 3, 3), {}), ((4, 2, 9, 3), {}), ((4, 2, 3, 3), {"groups": 2}), ((4, 2, 3, 3), {"stride": 0}),
     ((4, 2, 3, 3), {"bias": torch.ones(3)})],
)  # fmt: skip
def test_what_does_not_fit_is_torchs_error(shape, named):
    x, weight = drawn(0, (3, 2, 8, 8), 0.3), normal(0, shape)
    with pytest.raises(RuntimeError) as theirs:
        F.conv2d(x, weight, **named)
    with pytest.raises(RuntimeError) as ours:
        conv(x, weight, last=False, **named)
    assert str(ours.value) == str(theirs.value)


def test_transforms_compilers_and_autocast_see_torchs_convolution():
    x, weight = drawn(0, (3, 2, 8, 8), 0.3), normal(0, (4, 2, 3, 3))
    dense = F.conv2d(x, weight)
    assert torch.equal(torch.func.vmap(lambda row: conv(row[None], weight, last=False)[0])(x), dense)
    by_weight = torch.func.grad(lambda w: conv(x, w).sum())(weight)
    assert near(by_weight, torch.func.grad(lambda w: F.conv2d(x, w).sum())(weight), "float32")
    with torch.autocast("cpu", torch.bfloat16):
        assert conv(x, weight).dtype == torch.bfloat16
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit itself
        traced = torch.jit.trace(lambda x, w: conv(x, w, last=False), (x, weight))
    other = drawn(1, (3, 2, 8, 8), 0.3)
    assert near(traced(other, weight), F.conv2d(other, weight), "float32")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("name", ["torch", "numpy"])
@pytest.mark.parametrize("axes", [1, 2])
def test_an_engines_convolutions_and_gradients(always, name, dtype, graded, axes):
    engine, dense = (sc.get_engine(name, dtype=dtype, fused=fused) for fused in ("auto", False))
    taken = []
    own = maps.SpikeMaps.convolved
    always.setattr(maps.SpikeMaps, "convolved", lambda *a: taken.append(1) or own(*a))
    space, option = (9, 8)[:axes], {"stride": (2, 1)[:axes], "padding": (1, 0)[:axes], "dilation": (1, 2)[:axes]}
    x, w = drawn(0, (7, 4, *space), 0.2, dtype, graded).numpy(), normal(0, (6, 2, 3, 2)[: axes + 2], dtype).numpy()
    params = sc.base.Params({"x": x, "w": w, "b": normal(1, (6,), dtype).numpy()})

    def run(of):
        def function(p):
            y = of.xp.conv(p["x"], p["w"], p["b"], groups=2, **option)
            return of.xp.sum(y * y * y), y

        _, y, grads = of.value_and_grad(function, sc.base.Params({k: of.asarray(v) for k, v in params.items()}))
        return [torch.from_numpy(of.to_numpy(v)) for v in (y, *(grads[k] for k in params))]

    for ours, theirs in zip(run(engine), run(dense)):
        assert near(ours, theirs, dtype)
    assert len(taken) == 1


def test_constant_weights_and_weights_without_bias_on_a_tape(always):
    engine = sc.get_engine("numpy")
    x, w = drawn(0, (7, 4, 9, 8), 0.2).numpy(), normal(0, (6, 4, 3, 3)).numpy()
    option = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
    for lifted, constant in (({"x": x}, w), ({"w": w}, x)):
        found = []
        for of in (engine, sc.get_engine("numpy", fused=False)):

            def function(p, other, of=of):
                y = of.xp.conv(p["x"], other, None, **option) if "x" in p else of.xp.conv(other, p["w"], None, **option)
                return of.xp.sum(y * y), y

            found.append(of.value_and_grad(function, sc.base.Params(lifted), constant)[2])
        (ours,), (theirs,) = (list(grads.values()) for grads in found)
        assert near(torch.from_numpy(ours), torch.from_numpy(theirs), "float32")


def test_run_takes_lists_and_gives_what_the_loop_gives(always):
    import spikecore.nn as snn

    taken, own = [], maps.SpikeMaps.convolved
    always.setattr(maps.SpikeMaps, "convolved", lambda *a: taken.append(1) or own(*a))
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(2, 6, 3), snn.Leaky(beta=0.8, init_hidden=True), torch.nn.Conv2d(6, 4, 3),
        snn.Leaky(beta=0.8, init_hidden=True),
    )  # fmt: skip
    x = drawn(0, (5, 3, 2, 9, 9), 0.3)
    found = []
    for fused in (True, False):
        taken.clear()
        y = snn.run(net, x, fused=fused)
        found.append((y, *torch.autograd.grad(y.sum(), list(net.parameters()))))
        assert bool(taken) == fused
    assert torch.equal(found[0][0], found[1][0])
    assert all(near(a, b, "float32") for a, b in zip(*found))


def test_the_choice_looks_at_rates_and_shapes(always):
    always.undo()
    x, one = np.random.default_rng(0).random((1024, 12, 12, 12), dtype="float32"), (1, 1)

    def chosen(rate, filters=64, groups=1, x=x, padding=(0, 0)):
        weight = (filters, 12 // groups, 5, 5)
        return maps.spike_maps_of((x < rate).astype("float32"), weight, one, padding, one, groups) is not None

    assert chosen(0.03)
    assert chosen(0.1, padding=(2, 2))
    assert chosen(0.02, filters=12)
    assert not chosen(0.6)
    assert not chosen(0.3, filters=12)
    assert not chosen(0.03, filters=12, groups=12)  # lanes would be empty
    assert not chosen(0.03, x=x[:2])  # there is nothing to win
    assert maps.spike_maps_of(x, (64, 12, 5, 5), one, (0, 0), one, 1) is None
