"""The quantisers against Brevitas, the library that quantises networks of torch: equal values and gradients.

Brevitas has the same scales from the largest weight, constant and learned ones, and passes gradients where the rounded
integer is in range, as here. It rounds halves to even, which no drawn weight is. Three things differ. Its powers of two
may clip the largest weight. Their derivative goes through the rounded logarithm, while ours are constant, so only their
values are compared. Its learned parameter is the largest value instead of the step, and has no factor, so that
derivatives are converted.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.layer import Key, Pass
from spikecore.api.core.tree import Params, Tree
from spikecore.compression import FixedPoint, ScaledInteger

torch = pytest.importorskip("torch", reason="Brevitas needs torch")
pytest.importorskip("brevitas", reason="Brevitas is not installed (extra 'peers')")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # its import takes ten seconds, and it warns

SHAPES = {"Linear": (20,), "Conv2d": (3, 6, 5)}
TENSOR, CHANNEL = {"power_of_two": False}, {"power_of_two": False, "per": "channel"}
QUANTISERS = {  # ours; the name of theirs and what it is called with
    "int8": (ScaledInteger(8, **TENSOR), "Int8WeightPerTensorFloat", {}),
    "int8-channel": (ScaledInteger(8, **CHANNEL), "Int8WeightPerChannelFloat", {}),
    "int4": (ScaledInteger(4, **TENSOR), "Int8WeightPerTensorFloat", {"bit_width": 4}),
    "int4-channel": (ScaledInteger(4, **CHANNEL), "Int8WeightPerChannelFloat", {"bit_width": 4}),
    "ternary": (ScaledInteger(2, **TENSOR), "Int8WeightPerTensorFloat", {"bit_width": 2}),
    "constant": (ScaledInteger(4, scale=2.0**-5), "Int8WeightPerTensorFloat",
                 {"bit_width": 4, "scaling_impl_type": "const", "scaling_init": 7 * 2.0**-5}),
    "wide": (ScaledInteger(4, scale=2.0**-5, narrow=False), "Int8WeightPerTensorFloat",
             {"bit_width": 4, "scaling_impl_type": "const", "scaling_init": 8 * 2.0**-5, "narrow_range": False}),
    "learned": (ScaledInteger(4, scale="learned", power_of_two=False), "Int8WeightPerTensorFloat",
                {"bit_width": 4, "scaling_impl_type": "parameter_from_stats"}),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _exactly():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        yield
        torch.set_default_dtype(before)


def theirs(kind, quantiser, options):
    import brevitas.nn as qnn
    import brevitas.quant

    given = {f"weight_{name}": value for name, value in options.items()}
    sizes = {"Linear": (20, 12), "Conv2d": (3, 8, 3)}[kind]
    return getattr(qnn, f"Quant{kind}")(
        *sizes, bias=True, weight_quant=getattr(brevitas.quant, quantiser), **given
    ).double()


def compared(kind, ours, quantiser, options):
    """Output and gradients of both: ours by name, theirs by name."""
    module = theirs(kind, quantiser, options)
    sizes = {"Linear": (20, 12), "Conv2d": (3, 8, 3)}[kind]
    layer = sc.Quantized(getattr(sc, kind)(*sizes), ours)
    x = torch.randn(5, *SHAPES[kind], requires_grad=True)
    value = dict(module.named_parameters()).get("weight_quant.tensor_quant.scaling_impl.value")
    if value is not None:
        module(x)  # it looks at the weights first
        with torch.no_grad():
            value.mul_(0.5)  # so that some weights are beyond the range
    out = module(x)
    out = getattr(out, "value", out)
    cotangent = torch.randn_like(out)
    (out * cotangent).sum().backward()
    engine = sc.get_engine("torch", dtype="float64")
    params = {name: engine.asarray(p.detach().numpy()) for name, p in module.named_parameters() if "." not in name}
    if value is not None:
        params["weight_scale"] = engine.asarray(value.detach().numpy().reshape(()) / ours.limits[1])
    held = Tree(params=Params(params), x=engine.asarray(x.detach().numpy()[None]))

    def total(held):
        found = layer.run(Pass(engine), held.params, Tree(), None, held.x).outputs
        return engine.xp.sum(found[0, ...] * engine.asarray(cotangent.numpy())), found

    _, found, grads = engine.value_and_grad(total, held)
    numbers = engine.to_numpy
    mine = {"out": numbers(found)[0], "x": numbers(grads.x)[0], **{n: numbers(g) for n, g in grads.params.items()}}
    others = {"out": out, "x": x.grad, "weight": module.weight.grad, "bias": module.bias.grad}
    if value is not None:
        size, highest = module.weight.numel(), ours.limits[1]
        others["weight_scale"] = value.grad.reshape(()) * highest * (size * highest) ** -0.5
    return mine, {name: one.detach().numpy() for name, one in others.items()}


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("name", QUANTISERS)
def test_values_and_gradients(kind, name):
    ours, others = compared(kind, *QUANTISERS[name])
    assert ours.keys() == others.keys()
    for part, expected in others.items():
        assert np.abs(expected).max() > 0
        np.testing.assert_allclose(ours[part], expected, rtol=0, atol=1e-6 * np.abs(expected).max(), err_msg=part)


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("bits", [8, 4])
def test_powers_of_two(kind, bits):
    """Theirs may clip the largest weight by a step; ours is then the next power."""
    module = theirs(kind, "Int8WeightPerTensorFixedPoint", {"bit_width": bits})
    weight, scale = module.quant_weight().value.detach().numpy(), float(module.quant_weight().scale)
    ours, plain = ScaledInteger(bits), module.weight.detach().numpy()
    engine = sc.get_engine("numpy", dtype="float64")
    fitting = float(ours.scale_of(engine, plain).reshape(()))
    assert fitting == scale * (2.0 if abs(plain).max() > ours.limits[1] * scale else 1.0)
    found = ScaledInteger(bits, scale=scale).quantised(engine, plain)
    np.testing.assert_allclose(found, weight, rtol=0, atol=1e-12)


def test_activations():
    """Fixed point of a constant scale: values, and gradients that stop at the bounds."""
    import brevitas.nn as qnn
    from brevitas.quant import Int8ActPerTensorFixedPoint

    options = {"scaling_impl_type": "const", "scaling_init": 2.0, "restrict_scaling_type": "power_of_two"}
    identity = qnn.QuantIdentity(act_quant=Int8ActPerTensorFixedPoint, bit_width=6, **options)
    x = torch.randn(400, requires_grad=True) * 2.0
    x.retain_grad()
    out = identity(x)
    (out * torch.arange(400.0)).sum().backward()
    grid = FixedPoint(6, 4)
    found = grid(torch.tensor(x.detach().numpy()))
    np.testing.assert_allclose(found.numpy(), out.detach().numpy(), rtol=0, atol=1e-12)
    again = torch.tensor(x.detach().numpy(), requires_grad=True)
    (grid(again) * torch.arange(400.0)).sum().backward()
    np.testing.assert_allclose(again.grad.numpy(), x.grad.numpy(), rtol=0, atol=1e-9)
    assert 0.01 < (again.grad == 0).float().mean() < 0.9


def test_a_network_over_time():
    """Two dense layers of neurons, as modules of torch and as a model: membranes and gradients."""
    import spikecore.nn as snn

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantiser = ("Int8WeightPerChannelFloat", {"bit_width": 4})
        first = theirs("Linear", *quantiser)
        import brevitas.nn as qnn
        import brevitas.quant

        second = qnn.QuantLinear(
            12, 4, bias=True, weight_quant=brevitas.quant.Int8WeightPerChannelFloat, weight_bit_width=4
        ).double()
    one, two = snn.Leaky(beta=0.9, threshold=0.5), snn.Leaky(beta=0.8)
    x = torch.rand(7, 6, 20)
    mems, (a, b) = [], (one.reset_mem(), two.reset_mem())
    for step in x:
        spk, a = one(first(step), a)
        _, b = two(second(spk), b)
        mems.append(b)
    expected = torch.stack(mems)
    (expected**2).sum().backward()
    grid = ScaledInteger(4, **CHANNEL)
    net = sc.Sequential(
        sc.Quantized(sc.Linear(20, 12), grid), sc.Leaky(beta=0.9, threshold=0.5, surrogate=sc.surrogate.atan(2.0)),
        sc.Quantized(sc.Linear(12, 4), grid), sc.Leaky(beta=0.8, surrogate=sc.surrogate.atan(2.0)),
    )  # fmt: skip
    engine = sc.get_engine("torch", dtype="float64")
    like = net.init(Key((0,)), (20,)).params
    modules = {"0": first, "2": second}
    arrays = {n: Params({p: engine.asarray(getattr(m, p).detach().numpy()) for p in ("weight", "bias")})
              for n, m in modules.items()}  # fmt: skip
    params = like.replace(**arrays)

    def total(params):
        out = net.run(Pass(engine, record=True), params, Tree(), None, engine.asarray(x.numpy()))
        mem = out.recorded["3"].mem
        return engine.xp.sum(mem * mem), mem

    _, mem, grads = engine.value_and_grad(total, params)
    np.testing.assert_allclose(engine.to_numpy(mem), expected.detach().numpy(), rtol=0, atol=1e-6)
    for name, module in modules.items():
        for part in ("weight", "bias"):
            other = getattr(module, part).grad.numpy()
            assert np.abs(other).max() > 0
            found = engine.to_numpy(grads[name][part])
            np.testing.assert_allclose(found, other, rtol=0, atol=1e-6 * np.abs(other).max(), err_msg=f"{name}.{part}")
