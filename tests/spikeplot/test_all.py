"""What holds for every picture: light imports, any engine's arrays, nothing global, no text over another."""

from __future__ import annotations

import inspect
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from spikecore import spikeplot  # noqa: E402
from spikecore.installing import to_install
from tests.spikeplot.spikeplot_rig import OnDevice, cut_texts, nothing_global_changes, overlapping_texts  # noqa: E402, F401

HISTORY = [{"epoch": 1, "loss": 2.0, "accuracy": 0.3, "val_loss": 2.1}, {"epoch": 2, "loss": 1.0, "accuracy": 0.6}]
U = np.linspace(-2, 2, 81)


@pytest.fixture
def spikes():
    return (np.random.default_rng(0).random((30, 12)) < 0.1).astype(np.float32)


def figures(spikes):
    mem = np.cumsum(spikes, axis=0)
    yield spikeplot.raster(spikes).figure
    yield spikeplot.raster(np.tile(spikes, (1, 50))).figure
    yield spikeplot.traces(mem, spikes, threshold=1.0).mem[0].figure
    yield spikeplot.traces(mem, spikes, threshold=1.0, neurons=8).mem[0].figure
    yield spikeplot.traces(mem, spikes, dim=(3, 3), threshold=1.0).mem[0].figure
    yield spikeplot.training_curves(HISTORY)["loss"].figure
    yield spikeplot.spike_count(spikes).dots.figure
    yield spikeplot.spike_count(spikes, labels=[f"class {n}" for n in range(12)], time_step=1e-3).dots.figure
    yield spikeplot.activity_map({"input": spikes, "a hidden layer": mem, "output": spikes[:, :3]}, graded=True).figure
    yield spikeplot.activity_map({"one": spikes}).figure
    yield spikeplot.weights(mem[:, :9], labels=[n % 10 for n in range(len(mem))]).figure
    yield spikeplot.event_frames(np.tile(spikes.reshape(30, 2, 2, 3), (1, 1, 4, 4)), steps=11)[0].figure
    curve = (U, np.exp(-(U**2)), np.tanh(U))
    yield spikeplot.surrogate_curves({f"straight_through_{n}": curve for n in range(6)})["straight_through_1"][0].figure
    for number in (1, 2):
        yield spikeplot.event_frames(np.ones((3, 2, 4, 4)), steps=number)[0].figure
        yield spikeplot.surrogate_curves({f"curve {n}": curve for n in range(number)})["curve 0"][0].figure
    yield spikeplot.gradient_errors(report())["float64"].ok.figure
    yield spikeplot.gradient_errors(report(), checks=["float64"])["float64"].ok.figure


def report():
    rows = []
    for check in ("float64", "finite differences", "float32"):
        for n in range(12):
            error, name = 10.0 ** -(3 * n % 14), f"gradient {n // 2}.{'bias' if n % 2 else 'weight'}"
            verdict = "ok" if error <= 1e-6 else "FAIL"
            rows.append(SimpleNamespace(check=check, name=name, max_rel=error, limit=1e-6, verdict=verdict))
    return SimpleNamespace(rows=rows)


def test_pictures_have_ink_and_no_text_overlaps_or_is_cut(spikes):
    for figure in figures(spikes):
        assert overlapping_texts(figure) == cut_texts(figure) == []  # draws the figure
        assert np.asarray(figure.canvas.buffer_rgba())[..., :3].std() > 5


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "bool"])
def test_torch_tensors_that_require_gradients(spikes, dtype):
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(spikes).to(getattr(torch, dtype))
    if tensor.is_floating_point():
        tensor.requires_grad_()
    np.testing.assert_array_equal(spikeplot.raster(tensor).get_offsets(), np.argwhere(spikes))
    drawn = spikeplot.traces(tensor, tensor, threshold=torch.ones(12, requires_grad=True))
    np.testing.assert_array_equal(drawn.mem[0].get_ydata(), spikes[:, 0])


def test_arrays_of_a_strict_namespace_and_of_a_gpu(spikes):
    strict = pytest.importorskip("array_api_strict")
    np.testing.assert_array_equal(spikeplot.raster(strict.asarray(spikes)).get_offsets(), np.argwhere(spikes))

    np.testing.assert_array_equal(spikeplot.raster(OnDevice(spikes)).get_offsets(), np.argwhere(spikes))


def test_import_is_light_and_a_missing_matplotlib_names_the_extra():
    code = """
import sys
sys.modules["matplotlib"] = None
from spikecore import spikeplot
assert not {"torch", "cupy"} & set(sys.modules)
try:
    spikeplot.raster([0, 1])
except ImportError as error:
    print(error)
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert to_install("plot") in shown


def test_pyplot_is_not_touched(tmp_path):
    code = "import sys; from spikecore import spikeplot; spikeplot.animator([[[0, 1]]]).save(sys.argv[1], 'pillow'); "
    code += "spikeplot.raster([[0, 1]]).figure.savefig(sys.argv[2]); "
    code += "spikeplot.activity_map({'one': [[0, 1]]}).figure.savefig(sys.argv[2]); "
    code += "assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "any.gif"), str(tmp_path / "any.png")],
        check=True,
        capture_output=True,
    )


def test_the_other_pictures_take_tensors_and_device_arrays(spikes):
    torch = pytest.importorskip("torch")
    for array in (torch.tensor(spikes, requires_grad=True), torch.tensor(spikes).bfloat16(), OnDevice(spikes)):
        counted = spikeplot.spike_count(array).dots.get_xdata()
        np.testing.assert_array_equal(counted, spikes.sum(0))
        np.testing.assert_allclose(spikeplot.activity_map({"a": array}).get_array()[0], spikes.mean(1))
        lines = spikeplot.surrogate_curves({"one": (U[:30], OnDevice(spikes[:, 1]))})["one"]
        np.testing.assert_array_equal(lines.derivative.get_ydata(), spikes[:, 1])
    frames = spikes.reshape(30, 2, 2, 3)
    wanted = [image.get_array() for image in spikeplot.event_frames(frames)]
    for array in (torch.tensor(frames, requires_grad=True), OnDevice(frames)):
        for image, expected in zip(spikeplot.event_frames(array), wanted):
            np.testing.assert_array_equal(image.get_array(), expected)


def test_arguments_are_those_of_snntorch_in_its_order():
    pytest.importorskip("pandas")  # which it imports without asking for it
    theirs = pytest.importorskip("snntorch.spikeplot")
    for name in ("animator", "spike_count"):
        wanted = list(inspect.signature(getattr(theirs, name)).parameters.values())
        ours = list(inspect.signature(getattr(spikeplot, name)).parameters.values())[: len(wanted)]
        assert [p.name for p in ours] == [p.name for p in wanted]
        for mine, one in zip(ours, wanted):
            assert one.default is inspect.Parameter.empty or mine.default == one.default
    assert set(inspect.signature(theirs.traces).parameters) - {"data"} <= set(
        inspect.signature(spikeplot.traces).parameters
    )
