"""What a newcomer who knows PyTorch and snnTorch gets wrong first: each error says what to write instead."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from dataclasses import dataclass

import numpy as np
import pytest

import spikecore as sc
from spikecore import functional, spikegen, utils
from spikecore.datasets import DataError, Dataset, Events, Loader
from spikecore.installing import to_install
from tests import ROOT

X, Y = np.random.default_rng(0).random((6, 5)), np.array([0, 1, 2, 0, 1, 2])
SPIKES = np.zeros((4, 6, 3))


def network():
    return sc.Sequential(sc.Linear(5, 3), sc.Leaky())


def fit(data=((X, Y),), **options):
    return sc.Model(network(), "numpy").fit(data, num_steps=2, progress=False, **options)


class Undecorated(sc.Neuron):
    gain: sc.Param = 0.1


def refuses(act, message, kind=TypeError):
    with pytest.raises(kind, match=message):
        act()


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: sc.SLSTM(8, 4), r"SLSTM takes keyword arguments only, e\.g\. SLSTM\(input_size=8, hidden_size=4\)"),
        (lambda: sc.Synaptic(0.9, 0.8), r"e\.g\. Synaptic\(alpha=0\.9, beta=0\.8\)"),
        (lambda: sc.IF(2.0), r"e\.g\. IF\(threshold=2\.0\)"),
        (lambda: sc.Leaky(bta=0.9), "Leaky: unknown argument 'bta'; did you mean 'beta'"),
        (lambda: sc.Leaky(learn_beta=True), r"'learn_beta': write beta=sc\.learn\(\.\.\.\); spikecore\.nn has modules"),
        (lambda: sc.Leaky(learn_tau=True), "unknown argument 'learn_tau'.* Known: beta"),
        (lambda: sc.Leaky(spike_grad=None), r"'spike_grad': write surrogate=\.\.\."),
        (lambda: sc.RLeaky(init_hidden=True), "RLeaky: unknown argument 'init_hidden': leave it out"),
        (lambda: Undecorated(gain=0.2), r"'gain' is annotated but no field: .*@dataclass\(frozen=True\)"),
    ],
)
def test_arguments_of_neurons(act, message):
    refuses(act, message)


def test_a_neuron_may_have_a_constructor_of_its_own():
    @dataclass(frozen=True, init=False)
    class Own(sc.Leaky):
        def __init__(self, half: float):
            super().__init__(beta=0.5**half)

    assert Own(half=1.0).beta == 0.5


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: sc.Model([sc.Linear(5, 3), sc.Leaky()]), r"give layers one by one: sc\.Sequential\(\*layers\)"),
        (lambda: sc.Sequential([sc.Linear(5, 3)]), r"entry 0 is .*give layers one by one"),
        (lambda: sc.Sequential(sc.Linear(5, 3), sc.Leaky), r"it is a class: write Leaky\(\.\.\.\)"),
        (lambda: sc.verify(network(), X, Y, num_steps=2), r"wrap it, sc\.Model\(network\)"),
        (lambda: fit(schedule="cosine"), r"schedule='cosine' must be a callable \(epoch, epochs\) -> factor"),
        (lambda: fit(Dataset(X, Y)), r"gives samples, not batches: wrap it, spikecore\.datasets\.Loader\(data\)"),
        (lambda: sc.get_engine("numpy", device="cuda"), "engine 'numpy': unknown option 'device'. Known: .*dtype"),
        (lambda: functional.ce_rate_loss()((SPIKES, SPIKES), Y), r"spikes is a tuple, expected an array \(time, batch"),
        (lambda: utils.data_subset([1, 2], 2), "dataset is a list without data and targets"),
    ],
)
def test_one_kind_of_thing_for_another(act, message):
    refuses(act, message)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: fit([(X, np.eye(3)[Y])]), r"for a one-hot code take targets\.argmax\(-1\)"),
        (lambda: fit([(X, Y[:, None])]), r"take targets\[:, 0\]"),
        (lambda: fit([(X, Y * 1.0)]), "dtype float.*compared with classes"),
        (lambda: fit([(X[:, :, None, None], Y)]), r"put a Flatten\(\) before the first layer"),
        (lambda: sc.Model(network(), "numpy")(X[0], num_steps=2), r"a single sample needs a batch axis: x\[None\]"),
        (lambda: functional.accuracy_rate(SPIKES, Y[:4]), r"targets have shape \(4,\), expected \(6,\)"),
        (
            lambda: fit(loss=functional.ce_rate_loss(reduction="none")),
            r"loss gave values of shape \(6,\), expected a sc",
        ),
        (lambda: spikegen.rate((X * 255).astype("uint8"), num_steps=2), "dtype uint8 make probabilities above 1"),
        (lambda: spikegen.rate_conv(np.array([[0, 2]])), r"rate_conv: .* above 1: divide"),
        (lambda: Loader((X, Y)), r"pass inputs and targets separately: Loader\(inputs, targets\)"),
    ],
)
def test_shapes_and_values(act, message):
    refuses(act, message, DataError if "Loader" in message else ValueError)


def test_whole_numbers_that_are_probabilities_pass():
    image = (X * 255).astype("uint8")
    right = spikegen.rate(image / np.float32(255), 3, seed=0)
    assert (spikegen.rate(image, 3, gain=1 / 255, seed=0) == right).mean() > 0.95
    assert (spikegen.rate(np.eye(3, dtype=int), 4)[1] == np.eye(3)).all()
    assert spikegen.rate(np.zeros((0, 3), dtype=int), 2).shape == (2, 0, 3)


def test_descriptions_and_modules_are_told_apart():
    torch = pytest.importorskip("torch")
    import spikecore.nn as snn

    module = torch.nn.Sequential(torch.nn.Linear(5, 3), snn.Leaky(beta=0.9, init_hidden=True))
    refuses(lambda: sc.Model(module), r"spikecore\.nn\.from_torch\(net\) makes a Model of them")
    refuses(lambda: sc.Sequential(torch.nn.Linear(5, 3)), "modules go into torch.nn.Sequential")
    refuses(lambda: utils.reset(sc.Model(network(), "torch")), "net=Model.* must be an nn.Module")
    refuses(lambda: snn.run(network(), torch.rand(6, 5), num_steps=2), "net=Sequential.* must be an nn.Module")
    refuses(lambda: snn.to_torch(network()), r"of a network make one, sc\.Model\(network\)")
    refuses(lambda: module[1](X), r"input_ is a ndarray, expected a tensor: torch\.as_tensor\(x\)")
    refuses(lambda: sc.get_engine("torch", device="gpu"), "device='gpu' is not a torch device; use e.g.", ValueError)


def test_modules_of_functional_are_found_as_in_snntorch():
    pytest.importorskip("torch")
    assert functional.acc.accuracy_rate is functional.accuracy_rate
    assert functional.loss.ce_rate_loss is functional.ce_rate_loss
    assert functional.reg.l1_rate_sparsity is functional.l1_rate_sparsity
    assert functional.probe.OutputMonitor is functional.OutputMonitor
    assert functional.quant.state_quant(num_bits=4)
    assert functional.stdp_learner.STDPLearner


@pytest.mark.parametrize("wanted", ["nn", "functional.OutputMonitor", "functional.probe", "backprop.BPTT"])
def test_without_torch_the_modules_say_how_to_get_it(wanted):
    script = f"import sys; sys.modules['torch'] = None; import spikecore as sc; sc.{wanted}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert f"need torch: {to_install('torch')}" in done.stderr


def test_names_that_are_found_when_somebody_asks_are_suggested():
    from spikecore.functional import stdp_learner

    for module, wrong, right in (
        (sc.backprop, "TBPT", "TBPTT"),
        (functional, "OutputMonitr", "OutputMonitor"),
        (sc.surrogate, "FastSigmod", "FastSigmoid"),
        (stdp_learner, "STDPLerner", "STDPLearner"),
        (stdp_learner, "stdp_linear_step", "stdp_linear_single_step"),
    ):
        refuses(lambda m=module, w=wrong: getattr(m, w), f"did you mean '{right}'", AttributeError)
    refuses(lambda: stdp_learner.engineof, "Known: RewardSTDP, STDP, STDPLearner, mstdp", AttributeError)


REGRESSION = r"for values at every step take mse_membrane_loss\(time_var_targets=True\)"


@pytest.mark.parametrize("targets", [np.zeros((2, 6, 3)), np.zeros((2, 6, 1)), np.zeros((6, 1)), np.zeros(6)])
@pytest.mark.parametrize("loss", [functional.mse_membrane_loss(), functional.ce_rate_loss()])
def test_values_as_targets_are_told_of_the_loss_that_takes_them(loss, targets):
    sequence = np.zeros((2, 6, 5))
    refuses(lambda: sc.Model(network(), "numpy").fit([(sequence, targets)], loss=loss), REGRESSION, ValueError)


def test_losses_recognise_exchanged_axes():
    for loss in (functional.ce_rate_loss(), functional.mse_membrane_loss(), functional.mse_temporal_loss()):
        refuses(lambda loss=loss: loss(SPIKES, Y[:4]), "time and batch axes look exchanged: spikes are", sc.ShapeError)


def test_losses_of_other_libraries_are_answered_with_what_a_loss_here_gets():
    torch = pytest.importorskip("torch")
    theirs = type("ce_rate_loss", (), {"__call__": lambda self, out, y: None, "__module__": "snntorch.functional.loss"})
    one = r"called with \(out, targets\); with criterion = .* write lambda out, targets: criterion\(out\.spikes\.mean"
    for engine in ("numpy", "torch"):
        model = sc.Model(network(), engine)
        for loss, message in (
            (torch.nn.CrossEntropyLoss(), one),
            (torch.nn.functional.mse_loss, one),
            (theirs(), r"write spikecore\.functional\.ce_rate_loss\(\)"),
        ):
            refuses(lambda m=model, x=loss: m.fit([(X, Y)], loss=x, num_steps=2), message)

    class Own(torch.nn.CrossEntropyLoss):
        def forward(self, out, targets):
            return super().forward(out.spikes.mean(0), targets)

    assert sc.Model(network(), "torch").fit([(X.astype("float32"), Y)], loss=Own(), num_steps=2)


def test_recorded_arrays_say_which_words_there_are():
    refuses(
        lambda: fit(loss=lambda out, targets: out.spikes.mean()),
        r"no \.mean: write sc\.engine_of\(x\)\.xp\.mean\(x\)",
        AttributeError,
    )
    refuses(
        lambda: fit(loss=lambda out, targets: out.spikes.item()),
        r"no \.item; vars\(.*\) lists the functions",
        AttributeError,
    )


@dataclass(frozen=True)
class Unmarked(sc.Neuron):
    beta: float = 0.9

    def step(self, engine, params, state, x):
        mem = params.beta * state.mem + x
        return self.fires(engine, params, mem), sc.State(mem=mem)


@dataclass(frozen=True)
class Wordy(sc.Neuron):
    def step(self, engine, params, state, x):
        mem = state.mem + engine.xp.sinh(x)
        return self.fires(engine, params, mem), sc.State(mem=mem)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("num_steps", [2, 300])
def test_neurons_of_ones_own(engine, num_steps):
    pytest.importorskip(engine)
    run = lambda neuron: sc.Model(neuron, engine)(X, num_steps=num_steps)  # noqa: E731
    refuses(lambda: run(Unmarked()), r"no 'beta' in this Params; .* annotated as sc\.Param", AttributeError)
    refuses(
        lambda: run(Wordy()),
        r"no word 'sinh'; sorted\(vars\(engine\.xp\)\) lists the words that every engine has",
        AttributeError,
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"callbacks": sc.EarlyStopping()}, r"callbacks=EarlyStopping\(.*must be a tuple .*\(sc\.EarlyStopping\(\),\)"),
        ({"callbacks": [1]}, r"callbacks=\[1\] must be a tuple of callables \(model, row\)"),
        ({"callbacks": (sc.EarlyStopping,)}, "must be a tuple of callables"),
        ({"validation": 0.2}, r"validation=0\.2 must be an iterable of batches"),
        ({"data": 5}, "data=5 must be an iterable of batches"),
        (
            {"data": [(X[0], 1)]},
            "batch 0 has one target, 1: .* gives samples, not batches; wrap it in a torch DataLoader",
        ),
        ({"data": [(X[0], Y[0])]}, "gives samples, not batches"),
        ({"schedule": sc.schedule.cosine}, r"schedule=<class .*must be a callable .*schedule\.cosine\(\)"),
    ],
)
def test_arguments_of_fit(options, message):
    refuses(lambda: fit(**options), message)


@pytest.mark.parametrize("factor", [float("nan"), float("inf"), -1.0, None])
def test_a_schedule_gives_finite_factors(factor):
    refuses(lambda: fit(schedule=lambda epoch, epochs: factor), f"schedule gave {factor} in epoch 0 of 1", ValueError)


def test_numbers_of_numpy_are_numbers():
    assert fit(schedule=lambda epoch, epochs: np.float32(0.5), epochs=np.int64(2))[-1]["lr"] == 0.00025
    model = sc.Model(network(), "numpy", seed=np.int64(3))
    assert model.seed == 3
    assert model(X, num_steps=np.int64(4)).spikes.shape == (4, 6, 3)


def test_whole_numbers_are_checked():
    refuses(lambda: sc.Model(network(), seed=1.7), r"seed=1\.7 must be an int", ValueError)
    refuses(lambda: sc.Model(network(), "numpy")(X, num_steps=True), "num_steps=True must be an int >= 1", ValueError)
    refuses(lambda: sc.EarlyStopping(patience="a"), "EarlyStopping: patience='a' must be an int >= 1")
    refuses(lambda: sc.Adam(clip_norm="a"), "Adam: clip_norm='a' must be a finite number, or None")
    refuses(
        lambda: fit(clip_norm=1), r"Model.fit: unknown argument 'clip_norm': write optimizer=sc.Adam\(clip_norm=1\)"
    )


def test_the_shape_of_a_sample():
    assert sc.Model(sc.Leaky(), "numpy", input_shape=64).input_shape == (64,)
    for bad in ("ab", (2.5,), (-1,), 0, 2.5):
        refuses(
            lambda b=bad: sc.Model(sc.Leaky(), input_shape=b), r"must be the sizes of one sample, .*\(64,\)", ValueError
        )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sc.Leaky(beta="0.9"), "Leaky: beta='0.9' must be a number or an array of numbers"),
        (lambda: sc.Leaky(beta=None), "Leaky: beta=None must be a number"),
        (lambda: sc.Leaky(beta=[0.1, "0.2"]), r"Leaky: beta=\[0.1, '0.2'\] must be a number or an array"),
        (lambda: sc.LeakyParallel(input_size=2, hidden_size=2, beta="a"), "LeakyParallel: beta='a' must be a number"),
        (lambda: sc.RLeaky(all_to_all=False, V="a"), "RLeaky: V='a' must be a number"),
        (lambda: sc.learn("0.9"), "learn: value='0.9' must be a number"),
        (
            lambda: sc.RLeaky(linear_features=3, learn_recurrent=False),
            r"'learn_recurrent': .* write V=sc\.learn\(\.\.\.\)",
        ),
        (lambda: sc.RLeaky(linear_features=3, V=3.0), r"RLeaky: V=3\.0 needs all_to_all=False"),
    ],
)
def test_values_of_parameters(make, message):
    refuses(make, message)


def test_a_tensor_with_a_gradient_is_no_constant():
    torch = pytest.importorskip("torch")
    beta = torch.nn.Parameter(torch.tensor(0.5))
    refuses(lambda: sc.Leaky(beta=beta), r"Leaky: beta: a tensor with requires_grad=True .*sc\.learn\(\.\.\.\)")
    assert sc.Leaky(beta=sc.learn(beta)).beta == sc.learn(torch.tensor(0.5))
    assert sc.Leaky(beta=beta.detach()).beta.tolist() == 0.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: sc.RLeaky(parallel=True, linear_features=3, reset_mechanism="none"),
            "RLeaky: parallel=True has no eff",
        ),
        (lambda: sc.RSynaptic(parallel=True, linear_features=3, reset_mechanism="none"), "RSynaptic: parallel=True"),
        (
            lambda: sc.Refractory(sc.Leaky(parallel=True, reset_mechanism="none")),
            "Refractory: parallel=True has no effect",
        ),
        (lambda: sc.LinearLeaky(in_features=3, out_features=2, channels=4), "LinearLeaky: channels=4: leave it out"),
    ],
)
def test_options_without_effect(make, message):
    refuses(make, message, ValueError)
    assert sc.Refractory(sc.StateLeaky())  # parallel by itself, not by request


def test_a_time_constant_in_another_unit_than_the_step():
    """Of 20 ms in seconds, the decay was 2e-22: a neuron that forgets at once."""
    with pytest.warns(sc.TrainingWarning, match=r"tau=0\.02 and steps of dt=1 nothing is left after a step"):
        sc.decay(0.02)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sc.decay(0.02, dt=0.001) == sc.decay(20.0) == sc.decay(20)
        sc.decay(0.2)


@pytest.mark.parametrize(
    ("act", "message", "kind"),
    [
        (lambda: sc.Dropout("a"), "Dropout: p='a' must be a finite number", TypeError),
        (lambda: sc.decay("a"), "decay: tau='a' must be a finite number", TypeError),
        (lambda: sc.decay(5.0, "a"), "decay: dt='a' must be a finite number", TypeError),
        (lambda: sc.get_engine("numpy", checkpoint_every="a"), "checkpoint_every='a' must be a number of", ValueError),
        (lambda: sc.get_engine("numpy", checkpoint_every=2.5), "checkpoint_every=2.5 must be a number of", ValueError),
        (
            lambda: sc.get_engine("numpy", sparse_backward=-1),
            "sparse_backward=-1 must be a finite number, at",
            ValueError,
        ),
        (lambda: run(state=5), r"state=5 must be the state that an earlier call returned, out\.state", TypeError),
        (lambda: run(state=run()), r"state=Output\(.* must be the state that an earlier call", TypeError),
        (lambda: run(record=3), "record=3 must be True, False, 'last', or names of layers: 1", TypeError),
        (lambda: run(record="all"), "unknown layer to record 'all'.* Known: 1; True records all", ValueError),
        (lambda: run(sc.Linear(5, 3), record="1"), "record='1': no layer has a state", ValueError),
        (
            lambda: run(record=False).states["1"],
            "no states of layer '1' were recorded .*: none.*pass record=True",
            KeyError,
        ),
    ],
)
def test_arguments_of_another_type(act, message, kind):
    refuses(act, message, kind)


def run(net=None, **options):
    return sc.Model(net or network(), "numpy")(X, num_steps=2, **options)


def test_encoders_take_numbers_of_numpy():
    assert spikegen.rate(X, num_steps=np.int64(3)).shape == (3, 6, 5)
    assert spikegen.latency(X, num_steps=np.int32(3), normalize=True, linear=True).shape == (3, 6, 5)
    refuses(lambda: spikegen.rate(X, num_steps=True), "rate: num_steps=True must be an int >= 1", ValueError)


def test_a_state_is_loaded_whole_and_may_hold_tensors():
    torch = pytest.importorskip("torch")
    model, other = sc.Model(network(), "numpy", seed=0), sc.Model(network(), "numpy", seed=1)
    state = model.state()
    refuses(
        lambda: other.load_state({"params": state["params"]}), "state has no buffers, optimizer, step, lr", ValueError
    )
    other.load_state({**state, "params": {name: torch.tensor(x) for name, x in state["params"].items()}})
    assert all((other.params()[name] == x).all() for name, x in model.params().items())


# ---- fifty mistakes and more ---------------------------------------------------------------------------------------

IMAGES = np.zeros((4, 1, 28, 28), "float32")
SEQUENCES, VALUES = np.zeros((6, 9, 5)), np.zeros((9, 6, 3))
REGRESSED = functional.mse_membrane_loss(time_var_targets=True)


def model(**options):
    return sc.Model(network(), "numpy", **options)


def convolved(*behind):
    front = (sc.Conv2d(1, 4, 5), sc.MaxPool2d(4), sc.Leaky())
    return sc.Model(sc.Sequential(*front, *behind), "numpy", input_shape=(1, 28, 28))


def out():
    return model()(X, num_steps=2)


def names(count=6):
    return np.array(["cat", "dog", "owl"])[np.arange(count) % 3]


def traced():
    """A network of one input."""
    return sc.Model(sc.Sequential(sc.Linear(1, 3), sc.Leaky()), "numpy")


class Column(list):
    """A column of a data frame of pandas, as far as it matters here."""

    dtype, ndim = np.dtype(object), 1


class Frame:
    """A data frame with a column of text."""

    columns, dtypes = ("length", "species"), (np.dtype(float), np.dtype(object))

    def __array__(self, dtype=None, copy=None):
        return np.array([[0.1, "cat"]] * 6, dtype=object)


#: A mistake: what is written, and what the message must say: what is wrong, where, and what to write instead.
MISTAKES = {
    # engines and devices
    "engine='cuda'": (lambda: sc.Model(network(), "cuda"), "'cuda'", "engine", "engine='torch', device='cuda'"),
    "engine='gpu'": (lambda: sc.Model(network(), "gpu"), "'gpu'", "engine", "device='cuda'"),
    "engine='Torch'": (lambda: sc.Model(network(), "Torch"), "'Torch'", "engine", "did you mean 'torch'"),
    "device= on numpy": (lambda: model(device="cuda"), "'device'", "engine 'numpy'", "engine='torch' has devices"),
    # words of PyTorch
    "model.parameters()": (lambda: model().parameters(), "'parameters'", "Model", r"model\.params\(\).*to_torch"),
    "model.train()": (lambda: model().train(), "'train'", "Model", "leave it out"),
    "model.eval()": (lambda: model().eval(), "'eval'", "Model", "leave it out"),
    "model.to('cuda')": (lambda: model().to("cuda"), "'to'", "Model", r"to_engine\('torch', device='cuda'\)"),
    "model.forward(x)": (lambda: model().forward(X), "'forward'", "Model", r"model\(x, num_steps=25\)"),
    "model.state_dict()": (lambda: model().state_dict(), "'state_dict'", "Model", r"model\.state\(\)"),
    "model.zero_grad()": (lambda: model().zero_grad(), "'zero_grad'", "Model", r"to_torch\(model\).*bptt"),
    "model.compile(loss)": (lambda: model().compile("adam"), "'compile'", "Model", "arguments of fit"),
    "model.reset()": (lambda: model().reset(), "'reset'", "Model", "each call starts at rest"),
    "model.fitt": (lambda: model().fitt, "'fitt'", "Model", "did you mean 'fit'"),
    "net(x)": (lambda: network()(X), "cannot be called", "Sequential", r"sc\.Model\(network\)"),
    "neuron(x)": (lambda: sc.Leaky(beta=0.9)(X), "cannot be called", "Leaky", r"sc\.Model\(network\)"),
    # outputs
    "out.mem": (lambda: out().mem, "'mem'", "Output", r"out\.membrane"),
    "out.sum()": (lambda: out().sum(), "'sum'", "Output", r"out\.spikes"),
    "out[0]": (lambda: out()[0], "no tuple", "Output", r"out\.spikes or out\.membrane"),
    "spk, mem = model(x)": (lambda: (lambda spk, mem: spk)(*out()), "unpacked", "Output", r"out\.spikes or out\.mem"),
    "out.states[1]": (lambda: out().states[1], "names of layers", "states", r"states\['1'\]"),
    # arguments
    "Adam(learning_rate=)": (lambda: sc.Adam(learning_rate=1e-3), "'learning_rate'", "Adam", "did you mean 'lr'"),
    "fit(num_step=)": (lambda: model().fit(X, Y, num_step=2), "'num_step'", r"Model\.fit", "did you mean 'num_steps'"),
    "fit(timesteps=)": (lambda: model().fit(X, Y, timesteps=2), "'timesteps'", r"Model\.fit", "mean 'num_steps'"),
    "fit(num_epochs=)": (lambda: model().fit(X, Y, num_epochs=2), "'num_epochs'", r"Model\.fit", "mean 'epochs'"),
    "fit(lr=)": (lambda: model().fit(X, Y, lr=1e-3), "'lr'", r"Model\.fit", r"optimizer=sc\.Adam\(lr=0\.001\)"),
    "fit(criterion=)": (lambda: model().fit(X, Y, criterion=1), "'criterion'", r"Model\.fit", "did you mean 'loss'"),
    "fit(batches, batch_size=)": (lambda: fit(batch_size=2), "batch_size=2", "data=", r"Loader\(x, y, batch_size=2\)"),
    "Linear(units=)": (lambda: sc.Linear(in_features=5, units=3), "'units'", "Linear", "did you mean 'out_features'"),
    "Leaky(0.9)": (lambda: sc.Leaky(0.9), "keyword arguments only", "Leaky", r"Leaky\(beta=0\.9\)"),
    "Leaky(learn_beta=)": (lambda: sc.Leaky(learn_beta=True), "'learn_beta'", "Leaky", r"beta=sc\.learn"),
    "sc.Leeky": (lambda: sc.Leeky, "'Leeky'", "spikecore", "did you mean 'Leaky'"),
    # one kind of thing for another
    "a class as a layer": (lambda: sc.Sequential(sc.Linear(5, 3), sc.Leaky), "a class", "entry 1", r"write Leaky\("),
    "a class as a network": (lambda: sc.Model(sc.Leaky), "a class", "network", r"write Leaky\(\.\.\.\)"),
    "a class as a loss": (lambda: fit(loss=functional.ce_rate_loss), "<class", "loss=", r"ce_rate_loss\(\)"),
    "a class as an optimiser": (lambda: fit(optimizer=sc.Adam), "<class", "optimizer=", r"sc\.Adam\(lr=1e-3\)"),
    "loss='ce'": (lambda: fit(loss="ce"), "'ce'", "loss=", r"ce_rate_loss\(\)"),
    "optimizer='adam'": (lambda: fit(optimizer="adam"), "'adam'", "optimizer=", r"sc\.Adam\(lr=1e-3\)"),
    "encoder='rate'": (lambda: fit(encoder="rate"), "'rate'", "encoder=", r"spikecore\.spikegen\.rate"),
    "surrogate='atan'": (lambda: sc.Leaky(surrogate="atan"), "'atan'", "surrogate=", r"surrogate\.atan\(\)"),
    "a list of layers": (lambda: sc.Sequential([sc.Linear(5, 3)]), "not a spikecore layer", "entry 0", r"\(\*layers\)"),
    "verify(network)": (lambda: sc.verify(network(), X, Y), "Sequential", "model=", r"sc\.Model\(network\)"),
    # shapes
    "Linear behind a convolution": (
        lambda: convolved(sc.Flatten(), sc.Linear(128, 10)),
        r"\(144,\)",
        "layer 4: Linear",
        r"write Linear\(144, 10\)",
    ),
    "Linear without Flatten": (
        lambda: convolved(sc.Linear(144, 10)),
        r"\(4, 6, 6\)",
        "layer 3: Linear",
        r"put a Flatten\(\) before it",
    ),
    "Linear behind Linear": (
        lambda: sc.Model(sc.Sequential(sc.Linear(5, 8), sc.Linear(10, 3))),
        r"\(8,\)",
        "layer 1",
        r"write Linear\(8, 3\)",
    ),
    "images into Linear": (
        lambda: sc.Model(sc.Sequential(sc.Linear(784, 3)), "numpy")(IMAGES, num_steps=2),
        r"\(4, 1, 28, 28\)",
        "input",
        r"put a Flatten\(\)",
    ),
    "a single sample": (lambda: model()(X[0], num_steps=2), r"\(5,\)", "input", r"x\[None\]"),
    "num_steps forgotten": (lambda: model()(X), r"\(6, 5\)", "input", "pass num_steps"),
    "num_steps forgotten in fit": (lambda: model().fit(X, Y), r"\(6, 5\)", "x of shape", "pass num_steps=25"),
    "num_steps of a sequence": (
        lambda: model()(SEQUENCES, num_steps=2),
        r"\(6, 9, 5\)",
        "input",
        "leave out num_steps",
    ),
    "batch first": (lambda: model().fit([(SEQUENCES, Y)]), "axes look exchanged", "6 time steps", "pass time_axis=1"),
    "batch first in regression": (
        lambda: model().fit([(SEQUENCES, VALUES)], loss=REGRESSED),
        "axes .* look exchanged",
        "targets",
        "pass time_axis=1",
    ),
    "inputs and targets of unequal number": (
        lambda: model().fit(X, Y[:4], num_steps=2),
        "6 inputs but 4 targets",
        "targets",
        "axis 0 of both",
    ),
    # targets
    "names as labels": (lambda: model().fit(X, names(), num_steps=2), "'cat'", "targets=", r"return_inverse=True"),
    "names in batches": (lambda: fit([(X, names())]), "'cat'", "entries of type", r"np\.unique\(names, return_inv"),
    "a column of names": (
        lambda: Loader(X, Column(["cat", "dog"] * 3)),
        "Column",
        "targets",
        r"np\.unique\(names, return_inverse",
    ),
    "a data frame with text": (lambda: Loader(Frame(), Y), "Frame", "inputs", r"select_dtypes\('number'\)"),
    "labels from 1": (lambda: model().fit(X, Y + 1, num_steps=2), "out of range", r"targets\[2\] = 3", r"\(0\.\.2\)"),
    "one-hot labels": (lambda: model().fit(X, np.eye(3)[Y], num_steps=2), r"\(6, 3\)", "targets", r"argmax\(-1\)"),
    "labels as floats": (lambda: model().fit(X, Y * 1.0, num_steps=2), "float", "targets", "integer class indices"),
    "a column of labels": (lambda: model().fit(X, Y[:, None], num_steps=2), r"\(6, 1\)", "targets", r"targets\[:, 0\]"),
    "predict after regression": (
        lambda: model().predict(X, num_steps=2, loss=REGRESSED),
        "compares with none",
        "loss=",
        r"out\.membrane",
    ),
    # values
    "NaN in the input": (
        lambda: model()(X * np.nan, num_steps=2),
        "is nan",
        r"input\[0, 0\]",
        "in this batch; in your data np.argwhere",
    ),
    "uint8 into rate": (
        lambda: spikegen.rate((X * 255).astype("uint8"), 2),
        "above 1",
        "rate: data of dtype uint8",
        "data / 255",
    ),
    "objects as input": (lambda: model()(np.array([None] * 5)), "None", "input=", "an array of numbers"),
    "num_steps=2.5": (lambda: model()(X, num_steps=2.5), r"2\.5", "num_steps", "an int >= 1"),
    "beta=1.5": (lambda: sc.Leaky(beta=1.5), r"1\.5", "Leaky: beta", r"in \[0, 1\]"),
    # data
    "fit(Dataset)": (lambda: fit(Dataset(X, Y)), "samples, not batches", "data=", r"Loader\(data\)"),
    "fit((x, y))": (lambda: model().fit((X, Y)), "a tuple of arrays", "data", r"fit\(inputs, targets\)"),
    "evaluate(x)": (lambda: model().evaluate(X, num_steps=2), "no targets", "data", r"fit\(x, y\)"),
    "validation=0.2": (lambda: fit(validation=0.2), r"0\.2", "validation=", r"Dataset\(x, y\)\.split\(0\.8, seed=0\)"),
    "spike times in seconds": (
        lambda: Events(t=[0.1, 0.2], x=[0, 1], sensor=(2,)),
        "float64",
        "t: need one axis of whole numbers",
        r"np\.round\(1e6 \* t\)",
    ),
    "a trace without an axis of features": (
        lambda: traced().fit(SEQUENCES[:, :, 0], Y, time_axis=1),
        r"shape \(9, 6\)",
        "time, batch, 1",
        r"x\[\.\.\., None\]",
    ),
    "numbers without an axis of features": (
        lambda: traced()(Y * 1.0, num_steps=2),
        r"shape \(6,\)",
        "batch, 1",
        r"x\[\.\.\., None\]",
    ),
    "a current as one series": (
        lambda: traced()(Y * 1.0),
        r"shape \(6,\)",
        "time, batch",
        r"x\[:, None, None\]",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_what_where_and_what_instead(mistake):
    act, what, where, remedy = MISTAKES[mistake]
    with pytest.raises((TypeError, ValueError, AttributeError, KeyError, DataError)) as caught:
        act()
    for part in (what, where, remedy):
        assert re.search(part, str(caught.value)), str(caught.value)


def test_there_are_fifty():
    assert len(MISTAKES) >= 50


def modules():
    torch = pytest.importorskip("torch")
    import spikecore.nn as snn

    return torch, torch.nn, snn


def test_modules_in_the_wrong_container():
    torch, nn, snn = modules()
    refuses(lambda: sc.Sequential(sc.Linear(5, 3), snn.Leaky(beta=0.9)), r"entry 1 is Leaky.*write sc\.Leaky\(\.\.\.\)")
    refuses(lambda: sc.Sequential(nn.Linear(5, 3)), r"entry 0 is Linear.*write sc\.Linear\(\.\.\.\)")
    twice = nn.Sequential(snn.Leaky(beta=0.9), snn.Leaky(beta=0.9))
    refuses(lambda: twice(torch.rand(6, 5)), r"input_ is a tuple.*\(spikes, state\).*init_hidden=True")
    optimiser = torch.optim.Adam(nn.Linear(2, 2).parameters())
    refuses(
        lambda: fit(optimizer=optimiser),
        r"optimizer=Adam \(.*must be a spikecore optimiser, e\.g\. sc\.Adam\(lr=1e-3\)",
    )


def troubleshooting():
    return (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")


def test_what_torch_itself_says_stands_on_the_page_for_it():
    """Errors that torch raises before this library is asked, and a forgotten reset: the page has words and remedy."""
    torch, nn, snn = modules()

    def again():
        net = nn.Sequential(nn.Linear(5, 3), snn.Leaky(beta=0.9, init_hidden=True))
        for _ in range(2):
            net(torch.rand(6, 5))
            net[1].mem.sum().backward()

    page = " ".join(troubleshooting().split())
    for act, kind, words in (
        (
            lambda: nn.Sequential(snn.Leaky(beta=0.9), nn.Linear(5, 3))(torch.rand(6, 5)),
            TypeError,
            "must be Tensor, not tuple",
        ),
        (lambda: nn.Sequential(nn.Linear(5, 3), sc.Leaky(beta=0.9)), TypeError, "is not a Module subclass"),
        (again, RuntimeError, "Leaky: backward\\(\\) reaches its state 'mem'"),
    ):
        refuses(act, words, kind)
        assert words.replace("\\", "") in page


# ---- and what three more readers got wrong: a student, a researcher, an engineer -------------------------------------


def history():
    return fit()


def conv(shape):
    return sc.Model(sc.Sequential(sc.Conv2d(1, 4, 5), sc.Leaky()), "numpy", input_shape=shape)


#: As above: what is written, and what the message must say.
MORE_MISTAKES = {
    "Leaky(reset=)": (lambda: sc.Leaky(reset="zero"), "'reset'", "Leaky", "reset_mechanism='subtract'"),
    "Leaky(tau=)": (lambda: sc.Leaky(tau=20.0), "'tau'", "Leaky", r"beta=sc\.decay\(tau\)"),
    "Leaky(decay=)": (lambda: sc.Leaky(decay=0.9), "'decay'", "Leaky", "write beta="),
    "sc.LIF": (lambda: sc.LIF, "'LIF'", "spikecore", r"sc\.Leaky\(beta=0\.9\)"),
    "sc.ReLU": (lambda: sc.ReLU, "'ReLU'", "spikecore", r"a neuron, e\.g\. sc\.Leaky"),
    "sc.Dense": (lambda: sc.Dense, "'Dense'", "spikecore", r"sc\.Linear\(in_features, out_features\)"),
    "sc.CrossEntropyLoss": (lambda: sc.CrossEntropyLoss, "'CrossEntropyLoss'", "spikecore", r"ce_rate_loss\(\)"),
    "sc.Input": (lambda: sc.Input, "'Input'", "spikecore", "input_shape="),
    "sc.onnx": (lambda: sc.onnx, "'onnx'", "spikecore", r"sc\.export\(model, path, to='onnx'\)"),
    "sc.conv2D": (lambda: sc.conv2D, "'conv2D'", "spikecore", "did you mean 'Conv2d'"),
    "datasets.MNIST": (lambda: sc.datasets.MNIST, "'MNIST'", r"spikecore\.datasets", "did you mean 'mnist'"),
    "channels last": (lambda: conv((28, 28, 1)), r"\(28, 28, 1\)", "layer 0: Conv2d", r"np\.moveaxis\(x, -1, -3\)"),
    "no channels": (lambda: conv((28, 28)), r"\(28, 28\)", "layer 0: Conv2d", r"x\.reshape\(\*x\.shape\[:-2\], 1, "),
    "stream(x)": (lambda: model().stream()(X), "cannot be called", "Stream", r"stream\.step\(x\)"),
    "net[0]": (lambda: network()[0], "no indices", "Sequential", r"network\.layers\[0\]"),
    "net.append": (lambda: network().append(sc.Leaky()), "'append'", "Sequential", r"sc\.Sequential\(\*layers\)"),
    "history['loss']": (lambda: history()["loss"], "list of rows", "History", r"\[row\['loss'\] for row in history\]"),
    "history.loss": (lambda: history().loss, "'loss'", "History", r"\[row\['loss'\] for row in history\]"),
    "history.history": (lambda: history().history, "'history'", "History", r"\[row\['loss'\] for row in history\]"),
    "model.net": (lambda: model().net, "'net'", "Model", r"write model\.network"),
    "model.export": (lambda: model().export("net.onnx"), "'export'", "Model", r"spikecore\.export\(model, path"),
    "validation=Dataset": (
        lambda: fit(validation=Dataset(X, Y)),
        "samples, not batches",
        "validation=",
        r"Loader\(data\)",
    ),
    "validation=x": (lambda: fit(validation=X), "no targets", "validation", r"validation=\(x, y\)"),
    "verify(..., labels from 1)": (
        lambda: sc.verify(model(), X, Y + 1, num_steps=2),
        "out of range",
        r"targets\[2\] = 3",
        r"\(0\.\.2\)",
    ),
    "activity of an Output": (
        lambda: spikegen.rate(out(), 3),
        r"Output\(",
        "rate: data=",
        r"pass out\.spikes or out\.membrane",
    ),
}


@pytest.mark.parametrize("mistake", MORE_MISTAKES)
def test_a_mistake_of_three_more_readers_is_told_as_well(mistake):
    act, what, where, remedy = MORE_MISTAKES[mistake]
    with pytest.raises((TypeError, ValueError, AttributeError)) as caught:
        act()
    for part in (what, where, remedy):
        assert re.search(part, str(caught.value)), str(caught.value)


def test_a_validation_that_cannot_be_read_is_refused_before_an_epoch_is_trained():
    model = sc.Model(network(), "numpy")
    refuses(lambda: model.fit(X, Y, num_steps=2, validation=Dataset(X, Y), progress=False), "validation=")
    assert model.epochs_done == 0


def test_a_file_of_torch_save_is_no_damaged_model(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({}, tmp_path / "weights.pt")
    refuses(lambda: sc.load(tmp_path / "weights.pt"), r"as torch\.save writes it; .*from_torch", sc.CheckpointError)


def test_an_autograd_class_of_snntorch_is_told_from_the_surrogate():
    pytest.importorskip("torch")
    refuses(lambda: sc.surrogate.ATan(alpha=2), r"surrogate\.ATan is the autograd class.*write surrogate\.atan\(")


def test_what_a_python_prompt_shows_is_meant_for_reading():
    built = sc.Model(network(), "numpy", seed=0)
    assert repr(built.summary()) == str(built.summary())
    report = sc.verify(built, X, Y, num_steps=2)
    assert repr(report) == str(report)
    assert report.verdict in repr(report)
