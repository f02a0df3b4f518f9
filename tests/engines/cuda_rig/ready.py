"""What CUDA graphs and torch.compile need of training steps, on the pretended device; writes it as JSON.

python -m tests.engines.cuda_rig.ready steps       # steps one after the other; kernels are counted and not run
python -m tests.engines.cuda_rig.ready graphs      # trainings with and without graphs, in Triton's interpreter
python -m tests.engines.cuda_rig.ready compiled    # torch.compile, and the operators that stand for kernels
"""

from __future__ import annotations

import gc
import json
import math
import re
import sys

from tests.engines.cuda_rig.device import logged

# ruff: isort: split
import numpy as np
import torch

import spikecore as sc
import spikecore.nn as snn
from spikecore.api.core.extras import TrainingOptions, extra
from spikecore.api.core.layer import Key, Pass
from spikecore.api.core.tree import flatten, map_leaves, unflatten
from spikecore.engines.torch import fusing, operators
from spikecore.engines.torch.graphs import BEFORE
from tests.engines.cuda_rig.graphs import NOT_IN_GRAPHS, marked, watched
from tests.engines.cuda_rig.networks import kernels_that_are_only_counted

CUDA = sc.get_engine("torch", device="cuda")
HALF = sc.get_engine("torch", device="cuda", precision="bf16")
LEAKY, FAST = sc.Leaky(beta=0.95), sc.Leaky(beta=0.5, surrogate=sc.surrogate.fast_sigmoid(25.0))
FIRES = sc.IF(reset_mechanism="zero")


def normed(ins, outs, kernel, stride=1):
    return sc.Conv2d(ins, outs, kernel, stride, kernel // 2, bias=False), sc.BatchNorm2d(outs), FIRES


def sew_resnet18(classes, width):
    """SEW-ResNet-18 with a stem of 3 x 3 (Fang et al., NeurIPS 2021)."""
    layers, ins = [*normed(3, width, 3)], width
    for outs, stride in ((width, 1), (2 * width, 2), (4 * width, 2), (8 * width, 2)):
        for step in (stride, 1):
            aside = None if step == 1 and ins == outs else sc.Sequential(*normed(ins, outs, 1, step))
            body = sc.Sequential(*normed(ins, outs, 3, step), *normed(outs, outs, 3))
            layers.append(sc.Residual(body, aside, "add"))
            ins = outs
    return sc.Sequential(*layers, sc.GlobalAvgPool(), sc.Linear(ins, classes))


#: Networks with the shape of a sample and the number of time steps.
NETWORKS = {
    "tutorial 5": ((784,), 25, sc.Sequential(sc.Linear(784, 1000), LEAKY, sc.Linear(1000, 10), LEAKY)),
    "tutorial 6": (
        (1, 28, 28),
        8,
        sc.Sequential(
            *(sc.Conv2d(1, 12, 5), sc.MaxPool2d(2), FAST, sc.Conv2d(12, 64, 5), sc.MaxPool2d(2), FAST),
            *(sc.Flatten(), sc.Linear(1024, 10), FAST),
        ),
    ),
    "RLeaky": (
        (32,),
        25,
        sc.Sequential(sc.Linear(32, 64), sc.RLeaky(beta=0.9, linear_features=64), sc.Linear(64, 10), LEAKY),
    ),
    "SEW-ResNet18": ((3, 16, 16), 4, sew_resnet18(10, width=8)),
}
BATCH = 4


def trained(name, count, engine=CUDA, keep=False, **compute):
    """The logs of so many training steps on one batch, as ``fit`` makes them; what it reads is read between them.

    ``keep``: outputs of all steps are kept, as a program of the user's own might.
    """
    shape, steps, network = NETWORKS[name]
    model, rng = sc.Model(network, engine=engine, seed=0), np.random.default_rng(0)
    x, y = rng.random((BATCH, *shape), dtype=np.float32), rng.integers(0, 10, BATCH)
    model.fit(x, y, epochs=1, num_steps=steps, batch_size=BATCH, progress=False, compute=sc.Compute(**compute))
    executor, queue = model.trainer.executor, extra(engine, TrainingOptions).queue(engine)
    queue.defer(executor, True)
    x, y = torch.as_tensor(x)[None].cuda(), torch.as_tensor(y).cuda()
    logs, kept = [], []
    gc.collect()  # what it frees amid the steps, of earlier networks, some of them would take, and others not
    gc.disable()  # in this process
    for step in range(count):
        marked(executor.leaves)
        with logged() as log:
            report, out = executor.step(x, y, steps=steps, key=Key((0, step)))
        queue.settle(executor, report)
        kept += [out] if keep else []
        del report, out
        logs.append(log)
    return logs


def converted(log):
    """How many numbers are converted between float32 and bfloat16."""
    found = 0
    for kind, name, tensors in log.events:
        types, shapes = zip(*re.findall(r"(\w+)\[([\d,]*)\]", tensors)) if "[" in tensors else ((), ())
        if (kind, name) == ("launch", "copy_") and {*types} == {"Float", "BFloat16"}:
            found += math.prod(int(extent) for extent in shapes[0].split(",") if extent)
    return found


def steps():
    """Of each network: whether two steps have the same operators and addresses; what waits; launches with a graph."""
    kernels_that_are_only_counted()
    watched()
    found = {}
    for name in NETWORKS:
        *_, before, last = trained(name, 5)
        # no more steps: what kernels do not write adds up
        *_, graphed = trained(name, BEFORE + 2, keep=True, cuda_graph=True)
        found[name] = {
            "operators": before.shapes() == last.shapes(),
            "addresses": before.events == last.events,
            "waits and copies": last.count(*NOT_IN_GRAPHS),
            "launches": last.count("launch"),
            "launches with a graph": graphed.count("launch"),
            "waits and copies with a graph": graphed.count(*NOT_IN_GRAPHS),
        }
    found["refused"] = refused()
    found["tutorial 6"]["converted in bf16"] = converted(trained("tutorial 6", 4, engine=HALF)[-1])
    return found


def refused():
    """What is said of a loss that waits for its value at each step."""
    loss = sc.functional.ce_rate_loss()

    def waits(out, targets):
        value = loss(out, targets)
        return value if float(value) > 0.0 else 2.0 * value

    model, x = sc.Model(sc.Sequential(sc.Linear(3, 2), LEAKY), engine=CUDA, seed=0), np.ones((10, 3), np.float32)
    try:
        model.fit(
            x, [0, 1] * 5, num_steps=2, batch_size=2, loss=waits, progress=False, compute=sc.Compute(cuda_graph=True)
        )
    except RuntimeError as error:
        return str(error)
    return "nothing"


def graphs():
    """Trainings without and with graphs: histories, and sums of all arrays. With kernels, and in loops."""
    watched()
    rng = np.random.default_rng(0)
    x, y = rng.random((20, 1, 5, 5), dtype=np.float32), rng.integers(0, 4, 20)
    network = sc.Sequential(
        *(sc.Conv2d(1, 4, 3, bias=False), sc.BatchNorm2d(4), sc.Leaky(beta=sc.learn(0.9), threshold=0.3)),
        *(sc.Flatten(), sc.Dropout(0.2), sc.Linear(36, 8), sc.RLeaky(beta=0.9, linear_features=8, threshold=0.3)),
        *(sc.Linear(8, 4), sc.Leaky(beta=0.9, threshold=0.3)),
    )
    found = {}
    for fused in ("auto", False):
        for graph in (False, True):
            model = sc.Model(network, engine=sc.get_engine("torch", device="cuda", fused=fused), seed=3)
            model.fit(
                x, y, epochs=3, num_steps=3, batch_size=8, schedule=sc.schedule.one_cycle(), progress=False,
                validation=(x[:4], y[:4]), compute=sc.Compute(cuda_graph=graph),
            )  # fmt: skip
            rows = [{n: v for n, v in row.items() if n not in ("seconds", "samples_per_s")} for row in model.history]
            state = model.state()
            parts = (state[part] for part in ("params", "buffers", "optimizer"))
            arrays = {n: float(abs(a).sum()) for part in parts for n, a in part.items()}
            count = len(getattr(model.trainer.executor, "graphs", ()))
            mean = weighted_mean(model, x, y)
            found[f"{fused}, {graph}"] = {"history": rows, "arrays": arrays, "graphs": count, "mean": mean}
    return found


def weighted_mean(model, x, y):
    """Sums of the mean gradient of two batches, of which the first has three times the weight."""
    executor = model.trainer.executor
    extra(model.engine, TrainingOptions).queue(model.engine).defer(executor, True)
    executor.discard()
    for weight, part in ((3.0, slice(0, 8)), (1.0, slice(8, 16))):
        inputs, targets = torch.as_tensor(x[part])[None].cuda(), torch.as_tensor(y[part]).cuda()
        executor.add(inputs, targets, weight=weight, steps=3, key=Key((0,)))
    return {name: float(g.double().sum()) for name, g in flatten(executor.gradient()).items()}


class Own(torch.nn.Module):
    """A network whose forward loops over time, as in snnTorch's tutorials."""

    def __init__(self):
        super().__init__()
        self.fc1, self.lif1 = torch.nn.Linear(6, 8), snn.Leaky(beta=0.9, threshold=0.3, learn_beta=True)
        self.fc2, self.lif2 = torch.nn.Linear(8, 3), snn.Synaptic(alpha=0.8, beta=0.9)

    def forward(self, x):
        mem1, (syn2, mem2), kept = self.lif1.reset_mem(), self.lif2.reset_mem(), []
        for step in range(x.shape[0]):
            spikes, mem1 = self.lif1(self.fc1(x[step]), mem1)
            _, syn2, mem2 = self.lif2(self.fc2(spikes), syn2, mem2)
            kept.append(mem2)
        return torch.stack(kept)


def layers_over_time():
    """This library's layers as a function of x, and their weights."""
    network = sc.Sequential(
        sc.Linear(6, 5),
        sc.Leaky(beta=sc.learn(0.8), threshold=sc.learn(0.2)),
        sc.RLeaky(beta=0.7, linear_features=5, threshold=0.2),
    )
    init = network.init(Key((0,)), (6,))
    params = map_leaves(CUDA.asarray, init.params)
    flat = {name: weight.requires_grad_() for name, weight in flatten(params).items()}
    return lambda x: network.run(Pass(CUDA), unflatten(flat, params), init.buffers, None, x).outputs, flat.values()


def differences(function, weights, x):
    """The largest difference between a compiled function with its gradients and itself, by backend; and its mean."""

    def results(call):
        out = call(x)
        upstream = torch.arange(out.numel(), device=x.device, dtype=out.dtype).reshape(out.shape)
        return [out.detach(), *torch.autograd.grad((out * upstream).sum(), list(weights))]

    expected, found = results(function), {}
    for backend in ("eager", "aot_eager"):
        torch.compiler.reset()
        made = results(torch.compile(function, backend=backend, fullgraph=True))
        found[backend] = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(made, expected))
    return {**found, "mean": float(expected[0].mean())}


def compiled():
    """A loop of the user's own and this library's layers through torch.compile; operators by ``opcheck``."""
    torch.manual_seed(0)
    own, (function, weights) = Own().cuda(), layers_over_time()
    x, calls, found = (torch.rand(4, 5, 6) * 2).cuda(), [], {}
    for name in ("run", "run_back"):
        call = getattr(operators, name)
        setattr(fusing, name, lambda *given, name=name, call=call: (calls.append((name, given)), call(*given))[1])
    function(x).sum().backward()
    fusing.run, fusing.run_back = operators.run, operators.run_back
    for name, (kernels, inputs, *given) in calls:
        arrays = given[: 1 if name == "run" else 3]
        arguments = [inputs, *arrays, operators.number_of(kernels), *given[len(arrays) :]]
        arguments = map_tensors(torch.Tensor.detach, arguments)
        operator = getattr(torch.ops.spikecore, {"run": "scan", "run_back": "scan_back"}[name])
        found[f"{name} {len(found)}"] = torch.library.opcheck(operator.default, arguments)
    return {
        "operators": found,
        "own loop": differences(own, [*own.parameters()], x),
        "layers": differences(function, weights, x),
    }


def map_tensors(function, values):
    if isinstance(values, torch.Tensor):
        return function(values)
    return [map_tensors(function, x) for x in values] if isinstance(values, (list, tuple)) else values


if __name__ == "__main__":
    if sys.argv[1] != "steps":
        from tests.kernels import libdevice  # noqa: F401  # for what it puts in Triton
    json.dump({"steps": steps, "graphs": graphs, "compiled": compiled}[sys.argv[1]](), sys.stdout)
