"""C in fixed point is the quantised model, number by number and to the bit."""

import subprocess
from dataclasses import dataclass
from typing import ClassVar, Tuple

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.layer import EMPTY, Init, Params
from spikecore.api.core.tree import flatten
from spikecore.compression import FixedPoint, ScaledInteger
from spikecore.datasets import Loader
from spikecore.export.c.fixed_step import fixed_step
from tests.export.c_rig import COMPILERS, STRICT, called, needs_compiler, numbers
from tests.export.fixed_rig import assert_equal, drawn, in_fixed_point, printed_by, program
from tests.export.test_c import CASES
from tests.export.test_c_compilers import needs, on_cortex_m4

pytestmark = needs_compiler
STEPS = 10


def sample(model, seed, steps=STEPS):
    return np.random.default_rng(seed).uniform(-1, 5, (steps, *model.input_shape)).astype("float32")


def compare(seeds, folder):
    """Compare networks in C with their models; returns how many give more than zeros, and how many cut numbers off."""
    models = {f"n{seed}": drawn(seed) for seed in seeds}
    found = [
        assert_equal(net, models[name], sample(models[name], seed))
        for seed, (name, net) in enumerate(in_fixed_point(models, folder).items())
    ]
    return sum(active for active, _ in found), sum(saturated > 0 for _, saturated in found)


def test_drawn_networks(tmp_path):
    active, saturated = compare(range(6), tmp_path)
    assert active >= 4
    assert saturated >= 1


@pytest.mark.slow
@pytest.mark.parametrize("first", range(8, 208, 25))
def test_200_drawn_networks(tmp_path, first):
    active, saturated = compare(range(first, first + 25), tmp_path)
    assert active >= 15
    assert saturated >= 5


# ---- every neuron and layer ------------------------------------------------------------------------------------------

INPUTS = FixedPoint(8, 4)
#: Cases that have no exact form in integers, by what they need.
FUNCTIONS = "SLSTM SConv2dLSTM AssociativeLeaky CLIF LIAF EIF AdEx SigmaDelta EIF-none AdEx-delayed attention-softmax"
QUOTIENTS = "ILIF ILIF-delayed AvgPool2d-overlapping AvgPool1d LayerNorm LayerNorm-plain GroupNorm GroupNorm-plain"
STATISTICS = "InstanceNorm1d InstanceNorm2d AdaptiveAvgPool1d Upsample-linear BatchNorm3d BatchNorm1d-length"
UNFOLDED = "BatchNorm1d BatchNorm1d-plain BatchNorm2d ThresholdDependentBatchNorm1d ThresholdDependentBatchNorm2d"
WIDE = "Izhikevich BalancedResonateAndFire TsodyksMarkram LIAF-membrane count-pool Delay-fractions Delay-gaussian "
WIDE += "Recurrent-own-delay"
DRAWS = "Noisy Noisy-inside"
#: Connections that ``quantize`` refuses.
OWN_WEIGHTS = {case.name for case in CASES.values() if case.name.startswith(("DropConnect", "WeightStandardized"))}
DELAYED = {
    case.name for case in CASES.values() if case.name.startswith(("Delayed", "Recurrent-delays", "Recurrent-maps"))
} | {"delays"}
REFUSED = {name for line in (FUNCTIONS, QUOTIENTS, STATISTICS, UNFOLDED, WIDE, DRAWS) for name in line.split()}
EXACT = {key: case for key, case in CASES.items() if case.name not in REFUSED | DELAYED | OWN_WEIGHTS}


def quantised(case):
    model = sc.Model(case.layer, "numpy", seed=0, input_shape=case.shape)
    return sc.compression.quantize(model, states=FixedPoint(16, 8), parameters=8, inputs=INPUTS)


def compare_cases(chosen, folder):
    models = {name: quantised(case) for name, case in chosen.items()}
    for name, net in in_fixed_point(models, folder, inputs=INPUTS).items():
        x = INPUTS(np.random.default_rng(0).uniform(-2, 4, (STEPS, *chosen[name].shape)).astype("float32"))
        assert_equal(net, models[name], x, inputs=INPUTS)


def test_some_neurons_and_layers(tmp_path):
    compare_cases(dict([*EXACT.items()][::20]), tmp_path)


@pytest.mark.slow
def test_every_neuron_and_layer(tmp_path):
    compare_cases(EXACT, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(REFUSED))
def test_cases_without_an_exact_form_are_refused(name):
    (case,) = [case for case in CASES.values() if case.name == name]
    with pytest.raises(sc.errors.ExportError):
        fixed_step(quantised(case), INPUTS)


@pytest.mark.parametrize("name", sorted(DELAYED | OWN_WEIGHTS))
def test_weights_with_delays_and_those_that_a_layer_makes_have_no_grid(name):
    (case,) = [case for case in CASES.values() if case.name == name]
    with pytest.raises(ValueError, match="makes of its own" if name in OWN_WEIGHTS else "weights with delays have"):
        quantised(case)


# ---- words ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Words(sc.base.Stateless):
    """A layer of all words that integers have and that no neuron above says."""

    def init(self, key, shape):
        return Init(Params(), EMPTY, (69,))

    def apply(self, engine, params, buffers, x, *, train, key):
        xp = engine.xp
        rows = xp.reshape(x, (-1, 2, 3))
        rounded = [xp.floor(x), xp.ceil(x), xp.round(x), xp.round(x * 0.25), xp.floor(x * 0.0625 * 2.0**-30)]
        signs = [xp.abs(x), -x, xp.sign(x), x**2, x * x, x * -1.0, x / 4.0, x * 3.0]
        pairs = [xp.maximum(x, 1.5), xp.minimum(x, -x), xp.where(x > 0.5, x, 2.0), xp.clip(x, -1.25, 2.0)]
        pairs += [3 * x - 1, xp.where(x > 1, x, 2), xp.maximum(x, -2) + True]  # whole numbers of Python
        small, large = x < 0.25, x >= 3.0
        truths = [xp.logical_or(small, large), xp.logical_not(small), xp.logical_and(x <= 0.5, xp.not_equal(x, 0.0))]
        both = xp.matmul(rows, xp.permute_dims(rows, (0, 2, 1)))
        reduced = [xp.sum(rows, axis=2), xp.mean(rows, axis=1)[:, :2], xp.max(rows, axis=2), xp.min(rows, axis=2)]
        places = [
            xp.argmax(rows, axis=2),
            xp.argmin(rows, axis=2),
            xp.any(rows > 3.0, axis=2),
            xp.all(rows > 0.0, axis=2),
        ]
        shaped = [xp.flip(x, axis=2)[..., ::2], xp.pad(x, ((0, 0), (0, 0), (1, 0)), 0.5)[..., :3]]
        shaped.append(xp.pad(x, ((0, 0), (0, 0), (1, 0)), 0.5) * 1.5)
        parts = [*rounded, *signs, *pairs, *truths]
        stacked = xp.sum(xp.stack([xp.astype(p, engine.dtype) for p in parts], axis=0), axis=0)
        flat = [xp.reshape(xp.astype(p, engine.dtype), (*x.shape[:2], -1)) for p in [both, *reduced, *places]]
        return xp.concat([*[xp.astype(p, engine.dtype) for p in parts[:5]], stacked, *flat, *shaped], axis=2), buffers


def test_every_word(tmp_path):
    model = sc.Model(sc.Sequential(Words()), "numpy", input_shape=(6,))
    grid = FixedPoint(8, 4)
    net = in_fixed_point({"net": model}, tmp_path, inputs=grid)["net"]
    x = np.random.default_rng(0).integers(-128, 128, (40, 6)) / 16
    x[0], x[1], x[2] = -8, 127 / 16, 0
    assert_equal(net, model, x.astype("float32"), inputs=grid)


# ---- a trained network ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    """The trained network, with eight bits, and the data set."""
    train, test = sc.datasets.digits()
    model = sc.zoo.pretrained("digits", "numpy", fused=False)
    steps = model.notes["num_steps"]
    bits = {"states": 16, "parameters": 8, "inputs": 8, "x": train.inputs[:300], "num_steps": steps}
    return model, sc.compression.quantize(model, **bits), test, steps


def test_the_whole_test_set(digits, tmp_path):
    _, model, test, steps = digits
    net = in_fixed_point({"net": model}, tmp_path, None, "-O2")["net"]
    out = model(test.inputs, num_steps=steps)
    spikes, states = np.zeros(out.spikes.shape), {name: [] for name in ("1.mem", "3.mem")}
    for i, x in enumerate(test.inputs):
        net.reset()
        net.quantise(x)
        for t in range(steps):
            spikes[t, i] = net.step()
        for name, found in states.items():
            found.append(net.members[name].copy())
    np.testing.assert_array_equal(spikes * 2.0 ** -net["OUTPUT_FRACTION"], out.spikes)
    formats = fixed_step(model)
    for state in formats.graph.states:
        found = np.array(states[state.name]) * 2.0 ** -formats.formats[state.before].fraction
        np.testing.assert_array_equal(found, flatten(out.state)[state.name])


def test_eight_bits_are_as_good_as_float(digits):
    model, small, test, steps = digits
    exact, rounded = (np.mean(m.predict(test.inputs, num_steps=steps) == test.targets) for m in (model, small))
    assert rounded >= exact - 0.005


@pytest.mark.slow
def test_four_bits_after_training(digits, tmp_path):
    model, _, test, steps = digits
    train = sc.datasets.digits()[0]
    bits = {"states": 16, "parameters": 8, "inputs": 8, "x": train.inputs[:300], "num_steps": steps}
    small = sc.compression.quantize(model, weights=4, **bits)
    small.fit(Loader(train, batch_size=128, seed=0), optimizer=sc.Adam(lr=2e-3), epochs=5, num_steps=steps)
    exact, rounded = (np.mean(m.predict(test.inputs, num_steps=steps) == test.targets) for m in (model, small))
    assert rounded >= exact - 0.02
    net = in_fixed_point({"net": small}, tmp_path)["net"]
    assert_equal(net, small, np.broadcast_to(test.inputs[0], (steps, 64)))


# ---- compilers and machines -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    models, folder = {f"n{seed}": drawn(seed) for seed in (1, 5)}, tmp_path_factory.mktemp("few")
    return printed_by(models), program(models, folder), folder


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    models, folder = {f"n{seed}": drawn(seed) for seed in range(25)}, tmp_path_factory.mktemp("many")
    return printed_by(models), program(models, folder), folder


def built_and_run(networks, compiler, *options, runner=()):
    expected, sources, folder = networks
    called(compiler, *options, *sources, "-o", folder / "program")
    assert called(*runner, folder / "program") == expected


@pytest.mark.parametrize("compiler", COMPILERS)
def test_without_a_warning_and_under_sanitizers(few, compiler):
    options = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    built_and_run(few, compiler, *STRICT, *options, "-O1")


@pytest.mark.slow
@pytest.mark.parametrize("level", ["-O0", "-O3", "-Os"])
@pytest.mark.parametrize("compiler", COMPILERS)
def test_every_drawn_network_under_sanitizers(many, compiler, level):
    built_and_run(many, compiler, *STRICT, "-fsanitize=address,undefined", "-fno-sanitize-recover=all", level)


@pytest.mark.slow
@needs("arm-linux-gnueabihf-gcc", "qemu-arm")
def test_every_drawn_network_on_arm(many):
    built_and_run(many, "arm-linux-gnueabihf-gcc", *STRICT, "-static", "-O2", runner=["qemu-arm"])


@pytest.mark.slow
@needs("arm-none-eabi-gcc", "qemu-system-arm")
def test_networks_on_a_cortex_m4(few, tmp_path):
    expected, sources, _ = few
    machine = "-mcpu=cortex-m4 -mthumb".split()
    called("arm-none-eabi-gcc", *machine, *STRICT, "-O2", "-c", *sources[:-1], cwd=tmp_path)
    assert on_cortex_m4(machine, sources, tmp_path) == expected


# ---- wide numbers, small tables, files ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Named(sc.Leaky):
    """A neuron whose states have the names of other members of the struct."""

    state: ClassVar[Tuple[str, ...]] = ("mem", "saturations", "scratch_int8")

    def step(self, engine, params, state, x):
        spikes, after = super().step(engine, params, sc.base.State(mem=state.mem), x + state.saturations)
        return spikes, sc.base.State(mem=after.mem, saturations=spikes, scratch_int8=state.saturations)


def test_states_of_any_name(tmp_path):
    model = sc.Model(Named(beta=0.5, state_quant=FixedPoint(8, 2)), "numpy", input_shape=(3,))
    net = in_fixed_point({"net": model}, tmp_path, inputs=INPUTS)["net"]
    x = INPUTS(np.random.default_rng(0).uniform(-2, 4, (STEPS, 3)).astype("float32"))
    assert assert_equal(net, model, x, inputs=INPUTS)[0]


def test_sums_of_64_bits(tmp_path):
    wide = sc.Quantized(sc.Linear(5, 3), ScaledInteger(16), input_quant=FixedPoint(20, 10))
    back = sc.Quantized(sc.Linear(3, 4), ScaledInteger(12), input_quant=FixedPoint(24, 16))
    net = sc.Sequential(wide, sc.QuantizedNeuron(sc.LI(beta=0.75), None, FixedPoint(24, 12)), back)
    model = sc.Model(net, "numpy", seed=0, input_shape=(5,))
    step = fixed_step(model)
    assert step.graph.dtype == "float64"
    assert max(part.width for part in step.sums.values()) == 64
    x = np.random.default_rng(0).uniform(-600, 600, (20, 5)).astype("float32")
    assert assert_equal(in_fixed_point({"net": model}, tmp_path)["net"], model, x)[0]


def table_bytes(model, folder):
    sc.export(model, folder / "net", dtype="fixed", example=False, inputs="spikes")
    return numbers((folder / "net.h").read_text())["CONSTANT_BYTES"]


def test_small_weights_share_bytes(tmp_path):
    bytes_of = {}
    for bits in (2, 4, 8):
        layer = sc.Quantized(sc.Linear(40, 32, bias=False), ScaledInteger(bits))
        bytes_of[bits] = table_bytes(sc.Model(sc.Sequential(layer), "numpy", seed=0, input_shape=(40,)), tmp_path)
    assert bytes_of == {2: 40 * 8, 4: 40 * 16, 8: 40 * 32}


def test_channels_of_several_scales_stay_small(tmp_path):
    """Per channel, weights of eight bits are bytes, whatever the scales; their sums are shifted."""
    layer = sc.Quantized(sc.Linear(40, 3, bias=False), ScaledInteger(8, per="channel", scale=(2.0**-12, 1.0, 0.25)))
    model = sc.Model(sc.Sequential(layer), "numpy", seed=0, input_shape=(40,))
    params = {"0.weight": np.random.default_rng(0).normal(size=(3, 40)) * [[0.02], [60.0], [20.0]]}
    model.load_state({**model.state(), "params": {k: v.astype("float32") for k, v in params.items()}})
    assert table_bytes(model, tmp_path) == 40 * 3 + 3
    x = np.random.default_rng(0).integers(0, 2, (20, 40)).astype("float32")
    assert_equal(in_fixed_point({"net": model}, tmp_path, inputs="spikes")["net"], model, x, inputs="spikes")


def test_pruned_weights_are_stored_without_zeros(tmp_path):
    layers = (
        sc.Quantized(sc.Linear(60, 50, bias=False), ScaledInteger(8)),
        sc.IF(state_quant=FixedPoint(8, 4)),
    )
    model = sc.Model(sc.Sequential(*layers), "numpy", seed=0, input_shape=(60,))
    weight = np.random.default_rng(0).normal(size=(50, 60)) * (np.random.default_rng(1).random((50, 60)) < 0.05)
    model.load_state({**model.state(), "params": {"0.weight": weight.astype("float32")}})
    assert table_bytes(model, tmp_path) < 60 * 50 / 5
    x = np.random.default_rng(0).integers(0, 2, (20, 60)).astype("float32")
    assert assert_equal(in_fixed_point({"net": model}, tmp_path, inputs="spikes")["net"], model, x, inputs="spikes")[0]


def test_more_weights_than_16_bits_count(tmp_path):
    layers = (
        sc.Quantized(sc.Linear(800, 900, bias=False), ScaledInteger(8)),
        sc.IF(state_quant=FixedPoint(8, 4)),
    )
    model = sc.Model(sc.Sequential(*layers), "numpy", seed=0, input_shape=(800,))
    random = np.random.default_rng(0)
    weight = np.rint(random.normal(size=(900, 800)) * 20) * (random.random((900, 800)) < 0.1)
    assert np.count_nonzero(weight) > 2**16
    model.load_state({**model.state(), "params": {"0.weight": (weight / 64).astype("float32")}})
    x = random.integers(0, 2, (2, 800)).astype("float32")
    assert assert_equal(in_fixed_point({"net": model}, tmp_path, inputs="spikes")["net"], model, x, inputs="spikes")[0]


@pytest.mark.parametrize("bits", [8, 12])
def test_inputs_are_quantised_as_the_library_does(tmp_path, bits):
    grid = FixedPoint(bits, 5)
    model = sc.Model(sc.Sequential(sc.IF(state_quant=FixedPoint(8, 4))), "numpy", input_shape=(4,))
    net = in_fixed_point({"net": model}, tmp_path, inputs=grid)["net"]
    random = np.random.default_rng(0)
    for x in np.float32(random.normal(size=(200, 4)) * [[0.1, 1, 10, 1000]]):
        np.testing.assert_array_equal(net.quantise(x) / 32, grid(x))
    ties = np.float32([0.5, 1.5, -0.5, -1.5]) / 32
    np.testing.assert_array_equal(net.quantise(ties) / 32, grid(ties))
    lowest, highest = grid.limits
    np.testing.assert_array_equal(net.quantise([np.nan, np.inf, -np.inf, -0.0]), [lowest, highest, lowest, 0])


@needs("gcc", "nm")
def test_files_say_what_they_need(digits, tmp_path):
    _, model, _, _ = digits
    done = sc.export(model, tmp_path / "net", dtype="fixed")
    assert [file.name for file in done.files] == ["net.c", "net.h", "net.md", "main.c", "Makefile", "CMakeLists.txt"]
    called("gcc", "-O0", "-c", tmp_path / "net.c", "-o", tmp_path / "net.o")
    symbols = called("nm", "-S", "--defined-only", tmp_path / "net.o").splitlines()
    sizes = [int(line.split()[1], 16) for line in symbols if line.split()[2] in "rR" and "." not in line.split()[3]]
    found = numbers((tmp_path / "net.h").read_text())
    assert sum(sizes) == found["CONSTANT_BYTES"]
    page = (tmp_path / "net.md").read_text()
    assert f"{found['CONSTANT_BYTES']:,}" in page
    assert "| `mem_1`, 1.mem | 16 |" in page
    assert any("1.mem" in note for note in done.notes)


@needs("make")
def test_the_example_counts_spikes(digits, tmp_path):
    _, model, test, steps = digits
    sc.export(model, tmp_path / "net", dtype="fixed")
    called("make", "-C", tmp_path)
    samples = "\n".join(" ".join(map(str, x)) for x in test.inputs[:20])
    printed = called(tmp_path / "net", str(steps), input=samples)
    counts = model(test.inputs[:20], num_steps=steps).spikes.sum(axis=0)
    np.testing.assert_array_equal(np.array([line.split() for line in printed.splitlines()], "float64"), counts)


@needs("make")
def test_an_example_of_the_network_in_floats_is_not_built_with_the_integers(digits, tmp_path):
    """Its pointers to floats would be taken, with a warning, for pointers to integers."""
    _, model, _, _ = digits
    sc.export(sc.Model(sc.Sequential(sc.Linear(64, 10), sc.Leaky()), "numpy", input_shape=(64,)), tmp_path / "net")
    sc.export(model, tmp_path / "net", dtype="fixed")
    built = subprocess.run(["make", "-C", str(tmp_path)], capture_output=True, text=True, timeout=300, check=False)
    assert built.returncode != 0
    assert "delete main.c, and export again" in built.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int8"}, "dtype='int8' must be"),
        ({"inputs": "spikes"}, 'is for dtype="fixed"'),
        ({"dtype": "fixed", "inputs": 8}, "inputs=8 must be"),
    ],
)
def test_options_are_checked(digits, tmp_path, options, message):
    with pytest.raises(sc.errors.ExportError, match=message):
        sc.export(digits[1], tmp_path / "net", **options)
    assert not list(tmp_path.iterdir())
