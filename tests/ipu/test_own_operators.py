"""``check`` where PopTorch is installed: its own operators are those of its namespace ``poptorch::``, not torch's."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest.importorskip("torch", reason="the IPU engine is made of torch ops")

# What stands in for the installed package: operators registered as its C++ does, and Python functions that call them.
PACKAGE = """
import torch

library = torch.library.Library("poptorch", "DEF")


def operator(schema, function):
    library.define(schema)
    library.impl(schema.partition("(")[0], function, KEY)


operator("identity_loss(Tensor x, int reduction) -> Tensor", lambda x, r: (torch.sum, torch.mean, torch.clone)[r](x))
operator("start_for_loop(Tensor[] inputs) -> ()", lambda inputs: None)
operator("end_for_loop(Tensor[] outputs, Tensor[] inputs, int trip_count) -> Tensor[]",
         lambda outputs, inputs, count: [x.clone() for x in outputs])
operator("set_available_memory(Tensor t, float mem) -> Tensor", lambda x, share: x.clone())
operator("dynamic_slice(Tensor self, int dim, Tensor start, int size, int step) -> Tensor",
         lambda x, dim, start, size, step: x.narrow(dim, 0, size).clone())


def identity_loss(x, reduction):
    return torch.ops.poptorch.identity_loss(x, ["sum", "mean", "none"].index(reduction))


def for_loop(count, body, inputs):
    copies = [x.clone() for x in inputs]
    torch.ops.poptorch.start_for_loop(copies)
    return torch.ops.poptorch.end_for_loop(list(body(*copies)), copies, count)
"""

# Forward passes of a layer and its input and labels; (training, forward).
SCRIPT = """
import json
import poptorch, torch
import torch.nn.functional as F
from spikecore.engines.ipu.check import check

other = torch.library.Library("elsewhere", "DEF")
other.define("relu(Tensor x) -> Tensor")
other.impl("relu", torch.relu, "CPU")
own = torch.ops.poptorch


def looped(module, x):
    return poptorch.for_loop(3, lambda a: [module.layer(a)], [x])[0]


CASES = {
    "mean": (True, lambda m, x, y: poptorch.identity_loss(m.layer(x) ** 2, "mean")),
    "with a penalty": (True, lambda m, x, y: poptorch.identity_loss(F.mse_loss(m.layer(x), x) + m.loss(), "none")),
    "unwrapped": (True, lambda m, x, y: F.cross_entropy(m.layer(x), y) + m.loss()),
    "two losses": (True, lambda m, x, y: (poptorch.identity_loss(m.layer(x), "sum"), F.cross_entropy(m.layer(x), y))),
    "not reduced": (True, lambda m, x, y: poptorch.identity_loss(m.layer(x), "none")),
    "memory": (True, lambda m, x, y: poptorch.identity_loss(own.set_available_memory(m.layer(x), .2), "sum")),
    "loop": (False, lambda m, x: looped(m, x)),
    "loop in training": (True, lambda m, x, y: poptorch.identity_loss(looped(m, x), "sum")),
    "slice": (False, lambda m, x: own.dynamic_slice(m.layer(x), 0, torch.zeros(1, dtype=torch.int32), 2, 1)),
    "another's": (False, lambda m, x: torch.ops.elsewhere.relu(m.layer(x))),
}


class Net(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.layer, self.function = torch.nn.Linear(3, 3), function

    def loss(self):
        return self.layer.weight.square().sum()

    def forward(self, *inputs):
        return self.function(self, *inputs)


found, before = {}, dict(vars(torch.ops.poptorch))
for name, (training, function) in CASES.items():
    inputs = [torch.ones(6, 3), torch.arange(6) % 3][: 1 + training]
    report = check(Net(function), inputs, training=training)
    found[name] = [report.ok, [(x.trap, x.reason) for x in report.findings if x.trap != "dtype"]]
assert dict(vars(torch.ops.poptorch)).items() >= before.items(), "the operators are there again"
print(json.dumps(found))
"""


KEYS = [
    pytest.param("CPU", id="opaque"),
    pytest.param("CompositeImplicitAutograd", id="decomposed", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("key", KEYS)
def test_poptorchs_own_operators(tmp_path, key):
    """However they are registered: as functions of torch's operators, or without a gradient of their own."""
    (tmp_path / "poptorch").mkdir()
    (tmp_path / "poptorch" / "__init__.py").write_text(PACKAGE.replace("KEY", repr(key)))
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{SCRIPT}"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    for name in ("mean", "with a penalty", "memory", "loop", "slice"):
        assert found[name] == [True, []], (name, found[name])
    for name, trap in {"unwrapped": "unwrapped loss", "two losses": "several losses", "not reduced": "loss"}.items():
        assert (found[name][0], [one for one, _ in found[name][1]]) == (False, [trap]), (name, found[name])
    ok, findings = found["loop in training"]
    assert not ok
    assert ["operator", "poptorch.for_loop is for inference only"] in findings
    assert found["another's"] == [False, [["operator", "elsewhere::relu is not lowered"]]]
