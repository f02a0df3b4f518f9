"""The examples at the heads of the modules that write kernels are parts of what these modules write."""

import pytest

import spikecore as sc
from spikecore.kernels import (
    cuda,
    elementwise,
    eligibility,
    emit,
    large,
    readout,
    recurrence,
    recurrence_gpu,
    sequence_gpu,
    sequence_numba,
    sinks,
    step_kernel,
    tiles,
)
from spikecore.kernels.form import step_of
from spikecore.kernels.sparse import packed
from spikecore.kernels.streaming import neurons_numba
from tests.kernels.written_examples import missing

CONSTANTS = (("beta", 0.9), ("threshold", 1.0), ("graded_spikes_factor", 1.0))
LEAKY = step_of(sc.Leaky(beta=0.9), CONSTANTS, (), (), "float32")
STATES = LEAKY.trace.states


def one_step():
    return step_kernel._forward(step_kernel.StepKernel(LEAKY)).recipe.text


def traces():
    """A neuron with two states, each with the coefficients of both, then that of the input."""
    return eligibility.source(
        eligibility.Form((("number", "zero", "number"), ("number", "number", "zero")), ("number",) * 2, False)
    )


def recurrence_on_gpu():
    constants = (*(("neuron." + name, value) for name, value in CONSTANTS), ("connection.weight", None))
    neuron = sc.Recurrent(sc.Leaky(beta=0.9), sc.Linear(4, 4, bias=False))
    step = step_of(recurrence.elementwise_part(neuron), constants, (), (), "float32")
    kernels = recurrence_gpu.RecurrenceOnDevice(step, cuda.SequenceCuda)
    return recurrence_gpu.forward_step(kernels).source + recurrence_gpu.backward_step(kernels, (), False).source


def on_gpu(target):
    forward = sequence_gpu.forward_kernel(target, LEAKY, STATES, False).source
    return forward + sequence_gpu.backward_kernel(target, LEAKY, True, (), False, False).source


WRITTEN = {
    emit: one_step,
    elementwise: one_step,
    sequence_numba: lambda: sequence_numba.forward_source(LEAKY, sinks.Sink()),
    sinks: lambda: sequence_numba.forward_source(LEAKY, sinks.Sink()),
    large: lambda: sequence_numba.forward_source(LEAKY, large.Large(1)),
    readout: lambda: sequence_numba.forward_source(LEAKY, readout.Multiply(3)),
    packed: lambda: sequence_numba.forward_source(LEAKY, packed.Packed()),
    tiles: lambda: tiles.recipe_of("product", 2, "float32").text,
    eligibility: traces,
    neurons_numba: lambda: neurons_numba.neuron_source(LEAKY, False, True),
    cuda: lambda: on_gpu(cuda.CudaC("float32")),
    recurrence_gpu: recurrence_on_gpu,
    sequence_gpu: lambda: on_gpu(cuda.CudaC("float32")),
}


@pytest.mark.parametrize("module", WRITTEN, ids=lambda module: module.__name__)
def test_an_example_is_part_of_what_its_module_writes(module):
    assert missing(module, WRITTEN[module]()) == ""


def test_so_is_that_of_triton():
    pytest.importorskip("torch")
    from spikecore.kernels import draws, triton

    assert missing(draws, draws.DRAW) == ""
    assert missing(triton, on_gpu(triton.Triton("float32"))) == ""
