"""Delays against DCLS, the library of the paper, and against snnTorch's definition of ``SynapticDelay``."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.layer import Pass
from spikecore.api.core.tree import Params, Tree, map_leaves

torch = pytest.importorskip("torch", reason="torch computes the other side")
ENGINES = pytest.mark.parametrize("engine", ["numpy", "torch"])
INS, OUTS, LONGEST, STEPS, BATCH = 4, 3, 8, 20, 5


def drawn(*shape, low=0.0, high=1.0):
    return np.random.default_rng(shape).uniform(low, high, shape)


def outputs_and_gradients(engine, layer, x, params, cotangent):
    """Of a layer: the outputs, and gradients by parameters and inputs, for a cotangent of the outputs."""
    engine = sc.get_engine(engine, dtype="float64")

    def value(held, cotangent):
        y = layer.run(Pass(engine), held.params, Tree(), None, held.x).outputs
        return engine.xp.sum(engine.xp.multiply(y, cotangent)), y

    held = map_leaves(engine.asarray, Tree(params=Params(params), x=x))
    _, y, grads = engine.value_and_grad(value, held, engine.asarray(cotangent))
    return engine.to_numpy(y), {name: engine.to_numpy(g) for name, g in [*grads.params.items(), ("x", grads.x)]}


@ENGINES
@pytest.mark.parametrize(("version", "options"), [("v1", {}), ("gauss", {"kernel": "gaussian", "sigma": 0.9})])
def test_dcls(engine, version, options):
    """Values and gradients by weight, position and input. Their width is SIG + 0.27; they count from behind."""
    modules = pytest.importorskip("DCLS.construct.modules", reason="dcls 0.1.1 is not installed: extra 'peers'")
    theirs = modules.Dcls1d(INS, OUTS, 1, dilated_kernel_size=LONGEST + 1, bias=False, version=version).double()
    weight, delay = drawn(OUTS, INS, low=-1.0), drawn(OUTS, INS, 1, high=LONGEST)[..., 0]
    x, cotangent = drawn(STEPS, BATCH, INS), drawn(STEPS, BATCH, OUTS, low=-1.0)
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor(weight)[..., None])
        theirs.P.copy_(torch.tensor(LONGEST / 2.0 - delay)[None, ..., None])
        if version == "gauss":
            theirs.SIG.fill_(options["sigma"] - 0.27)
    inputs = torch.tensor(x, requires_grad=True)
    padded = torch.nn.functional.pad(inputs.permute(1, 2, 0), (LONGEST, 0))
    y = theirs(padded).permute(2, 0, 1)
    (y * torch.tensor(cotangent)).sum().backward()

    layer = sc.DelayedLinear(INS, OUTS, LONGEST, bias=False, **options)
    found, grads = outputs_and_gradients(engine, layer, x, {"weight": weight, "delay": delay}, cotangent)
    np.testing.assert_allclose(found, y.detach().numpy(), atol=1e-6)
    np.testing.assert_allclose(grads["weight"], theirs.weight.grad[..., 0].numpy(), atol=1e-6)
    np.testing.assert_allclose(grads["delay"], -theirs.P.grad[0, ..., 0].numpy(), atol=1e-6)
    np.testing.assert_allclose(grads["x"], inputs.grad.numpy(), atol=1e-6)


@ENGINES
@pytest.mark.parametrize(("version", "options"), [("v1", {}), ("gauss", {"kernel": "gaussian", "sigma": 0.9})])
@pytest.mark.parametrize("space", [1, 2])
def test_dcls_of_convolutions(engine, version, options, space):
    """A learned place in time for each weight of a kernel over space: their ``Dcls3_1d``, whose last axis is time."""
    modules = pytest.importorskip("DCLS.construct.modules", reason="dcls 0.1.1 is not installed: extra 'peers'")
    kernel, stride, padding, maps = (2, 3), (1, 2), (1, 0), (2, 5)
    ours = [kernel, stride, padding] if space == 2 else [sizes[1] for sizes in (kernel, stride, padding)]
    wide = (kernel, stride, padding, maps) if space == 2 else ((1, 3), (1, 2), (0, 0), (1, 5))
    theirs = modules.Dcls3_1d(
        INS, 2, 1, (*wide[1], 1), (*wide[2], 0), wide[0], LONGEST + 1, groups=2, version=version
    ).double()
    shape = (2, INS // 2, *wide[0])
    weight, delay, bias = drawn(*shape, low=-1.0), drawn(*shape, 1, high=LONGEST)[..., 0], drawn(2)
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor(weight)[..., None])
        theirs.bias.copy_(torch.tensor(bias))
        theirs.P.copy_(torch.tensor(LONGEST / 2.0 - delay)[None, ..., None])
        if version == "gauss":
            theirs.SIG.fill_(options["sigma"] - 0.27)
    x = drawn(STEPS, BATCH, INS, *wide[3])
    inputs = torch.tensor(x, requires_grad=True)
    y = theirs(torch.nn.functional.pad(inputs.permute(1, 2, 3, 4, 0), (LONGEST, 0))).permute(4, 0, 1, 2, 3)
    cotangent = drawn(*y.shape, low=-1.0)
    (y * torch.tensor(cotangent)).sum().backward()

    kind, flat = (sc.DelayedConv2d, lambda a: a) if space == 2 else (sc.DelayedConv1d, lambda a: a.squeeze(-2))
    layer = kind(INS, 2, ours[0], LONGEST, *ours[1:], groups=2, **options)
    params = {"weight": flat(weight), "delay": flat(delay), "bias": bias}
    found, grads = outputs_and_gradients(engine, layer, flat(x), params, flat(cotangent))
    np.testing.assert_allclose(found, flat(y.detach().numpy()), atol=1e-6)
    np.testing.assert_allclose(grads["weight"], flat(theirs.weight.grad[..., 0].numpy()), atol=1e-6)
    np.testing.assert_allclose(grads["delay"], flat(-theirs.P.grad[0, ..., 0].numpy()), atol=1e-6)
    np.testing.assert_allclose(grads["x"], flat(inputs.grad.numpy()), atol=1e-6)


def as_snntorch_defines(x, delay, kernel, sigma):
    """Lag weights per channel, normalised, and the sum over lags; as its documentation states them (after 1.0)."""
    lags = torch.arange(LONGEST + 1, dtype=torch.float64)
    distance = lags - delay[:, None]
    raw = (1.0 - distance.abs()).clamp(min=0.0) if kernel == "linear" else torch.exp(-(distance**2) / (2.0 * sigma**2))
    weights = raw / raw.sum(1, keepdim=True)
    past = torch.nn.functional.pad(x, (0, 0, 0, 0, LONGEST, 0))
    return sum(weights[:, k] * past[LONGEST - k : LONGEST - k + len(x)] for k in range(LONGEST + 1))


@ENGINES
@pytest.mark.parametrize(("kernel", "sigma"), [("linear", 0.5), ("gaussian", 1.0), ("gaussian", 2.5)])
def test_snntorchs_definition(engine, kernel, sigma):
    delay = drawn(INS, 1, high=LONGEST)[..., 0]
    x, cotangent = drawn(STEPS, BATCH, INS), drawn(STEPS, BATCH, INS, low=-1.0)
    inputs, place = torch.tensor(x, requires_grad=True), torch.tensor(delay, requires_grad=True)
    y = as_snntorch_defines(inputs, place, kernel, sigma)
    (y * torch.tensor(cotangent)).sum().backward()
    layer = sc.Delay(sc.learn(1.0, per="neuron"), max_delay=LONGEST, kernel=kernel, sigma=sigma)
    found, grads = outputs_and_gradients(engine, layer, x, {"delay": delay}, cotangent)
    np.testing.assert_allclose(found, y.detach().numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(grads["delay"], place.grad.numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(grads["x"], inputs.grad.numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("kernel", "sigma"), [("linear", 1.0), ("gaussian", 1.0), ("gaussian", 2.5)])
@pytest.mark.parametrize("step_mode", [True, False])
def test_a_module_by_snntorchs_name(kernel, sigma, step_mode):
    """Its signature, its ``state_dict``, its values and gradients; ``reset_delay`` begins again."""
    from spikecore import nn as snn

    place = torch.tensor(drawn(INS, 1, high=LONGEST)[..., 0], dtype=torch.float32)
    delay = snn.SynapticDelay(LONGEST, place, INS, True, kernel, sigma, step_mode).double()
    assert list(delay.state_dict()) == ["delay"]
    x, cotangent = torch.tensor(drawn(STEPS, BATCH, INS)), torch.tensor(drawn(STEPS, BATCH, INS, low=-1.0))
    wanted = torch.tensor(place.double().numpy(), requires_grad=True)
    expected = as_snntorch_defines(x, wanted, kernel, sigma)
    for _ in range(2):
        found = torch.stack([delay(step) for step in x]) if step_mode else delay(x)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
        delay.reset_delay()
    (found * cotangent).sum().backward()
    (expected * cotangent).sum().backward()
    torch.testing.assert_close(delay.delay.grad, wanted.grad, rtol=0, atol=1e-12)
