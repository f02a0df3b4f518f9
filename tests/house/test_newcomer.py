"""What a newcomer who knows PyTorch and snnTorch gets wrong first: each error says what to write instead."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest

import spikecore as sc
from spikecore import functional, spikegen, utils
from spikecore.datasets import DataError, Dataset, Loader
from spikecore.installing import to_install
from tests import ROOT
from tests.house.newcomer_rig import SPIKES, X, Y, fit, network, refuses


class Undecorated(sc.base.Neuron):
    gain: sc.base.Param = 0.1


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


REGRESSION = r"for values take mse_value_loss\(\), at every step mse_membrane_loss\(time_var_targets=True\)"


@pytest.mark.parametrize("targets", [np.zeros((2, 6, 3)), np.zeros((2, 6, 1)), np.zeros((6, 1)), np.zeros(6)])
@pytest.mark.parametrize("loss", [functional.mse_membrane_loss(), functional.ce_rate_loss()])
def test_values_as_targets_are_told_of_the_loss_that_takes_them(loss, targets):
    sequence = np.zeros((2, 6, 5))
    refuses(lambda: sc.Model(network(), "numpy").fit([(sequence, targets)], loss=loss), REGRESSION, ValueError)


def test_losses_recognise_exchanged_axes():
    for loss in (functional.ce_rate_loss(), functional.mse_membrane_loss(), functional.mse_temporal_loss()):
        refuses(
            lambda loss=loss: loss(SPIKES, Y[:4]),
            "time and batch axes look exchanged: spikes are",
            sc.errors.ShapeError,
        )


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
        r"no \.mean: write sc\.base\.engine_of\(x\)\.xp\.mean\(x\)",
        AttributeError,
    )
    refuses(
        lambda: fit(loss=lambda out, targets: out.spikes.item()),
        r"no \.item; vars\(.*\) lists the functions",
        AttributeError,
    )


@dataclass(frozen=True)
class Unmarked(sc.base.Neuron):
    beta: float = 0.9

    def step(self, engine, params, state, x):
        mem = params.beta * state.mem + x
        return self.fires(engine, params, mem), sc.base.State(mem=mem)


@dataclass(frozen=True)
class Wordy(sc.base.Neuron):
    def step(self, engine, params, state, x):
        mem = state.mem + engine.xp.sinh(x)
        return self.fires(engine, params, mem), sc.base.State(mem=mem)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("num_steps", [2, 300])
def test_neurons_of_ones_own(engine, num_steps):
    pytest.importorskip(engine)
    run = lambda neuron: sc.Model(neuron, engine)(X, num_steps=num_steps)  # noqa: E731
    refuses(lambda: run(Unmarked()), r"no 'beta' in this Params; .* annotated as sc\.base\.Param", AttributeError)
    refuses(
        lambda: run(Wordy()),
        r"no word 'sinh'; sorted\(vars\(engine\.xp\)\) lists the words that every engine has",
        AttributeError,
    )


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


def test_a_validation_that_cannot_be_read_is_refused_before_an_epoch_is_trained():
    model = sc.Model(network(), "numpy")
    refuses(lambda: model.fit(X, Y, num_steps=2, validation=Dataset(X, Y), progress=False), "validation=")
    assert model.epochs_done == 0


def test_a_file_of_torch_save_is_no_damaged_model(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({}, tmp_path / "weights.pt")
    refuses(
        lambda: sc.load(tmp_path / "weights.pt"), r"as torch\.save writes it; .*from_torch", sc.errors.CheckpointError
    )


def test_an_autograd_class_of_snntorch_is_told_from_the_surrogate():
    pytest.importorskip("torch")
    refuses(lambda: sc.surrogate.ATan(alpha=2), r"surrogate\.ATan is the autograd class.*write surrogate\.atan\(")


def test_what_a_python_prompt_shows_is_meant_for_reading():
    built = sc.Model(network(), "numpy", seed=0)
    assert repr(built.summary()) == str(built.summary())
    report = sc.verify(built, X, Y, num_steps=2)
    assert repr(report) == str(report)
    assert report.verdict in repr(report)
