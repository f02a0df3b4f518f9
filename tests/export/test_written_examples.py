"""The examples at the heads of the modules that write C and ONNX are parts of what these modules write."""

import pytest

import spikecore as sc
from spikecore.compression import FixedPoint
from spikecore.export.c import (
    files,
    fixed_kernels,
    fixed_source,
    fixed_tables,
    fixed_words,
    fixed_writer,
    float_kernels,
    float_source,
    float_words,
)
from tests.kernels.written_examples import missing

DENSE = sc.Sequential(sc.Linear(4, 6), sc.Leaky(beta=0.9), sc.Linear(6, 3), sc.LI())
MAPS = sc.Sequential(
    sc.Conv2d(1, 3, 3, padding=1), sc.Leaky(), sc.MaxPool2d(2), sc.Conv2d(3, 2, 3, stride=2), sc.Synaptic(),
    sc.AvgPool2d(1), sc.Flatten(), sc.Linear(2, 2), sc.LI(),
)  # fmt: skip
GRID = FixedPoint(8, 4)
INTEGERS = sc.Sequential(
    sc.Quantized(sc.Linear(4, 6), weight_quant=GRID, bias_quant=GRID, input_quant=GRID),
    sc.Leaky(beta=0.5, state_quant=FixedPoint(16, 8)),
    sc.Quantized(sc.Linear(6, 3), weight_quant=FixedPoint(4, 2), bias_quant=GRID),
)


def written(network, shape, folder, to, **options):
    model = sc.Model(network, seed=1)
    model.build(shape)
    path = folder / ("net" if to == "c" else f"net.{to}")
    sc.export(model, path, to=to, **options)
    return path


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("c")
    dense = written(DENSE, (4,), folder, "c").with_suffix(".c").read_text()
    maps = written(MAPS, (1, 6, 6), folder, "c").with_suffix(".c").read_text()
    return dense + maps, written(INTEGERS, (4,), folder, "c", dtype="fixed").with_suffix(".c").read_text()


@pytest.mark.parametrize("module", [files, float_kernels, float_source, float_words], ids=lambda m: m.__name__)
def test_examples_of_c_in_float32(module, sources):
    assert missing(module, sources[0]) == ""


FIXED = [fixed_kernels, fixed_source, fixed_tables, fixed_words, fixed_writer]


@pytest.mark.parametrize("module", FIXED, ids=lambda m: m.__name__)
def test_examples_of_c_in_integers(module, sources):
    assert missing(module, sources[1]) == ""


@pytest.mark.parametrize("name", ["arithmetic", "any_batch", "body", "operators", "shapes", "writer"])
def test_examples_of_onnx(name, tmp_path):
    onnx = pytest.importorskip("onnx")
    from importlib import import_module

    options = {"batch_size": None} if name == "any_batch" else {}
    network, shape = (MAPS, (1, 6, 6)) if name == "shapes" else (DENSE, (4,))
    path = written(network, shape, tmp_path, "onnx", **options)
    text = onnx.printer.to_text(onnx.load(path))
    assert missing(import_module(f"spikecore.export.onnx.{name}"), text) == ""
