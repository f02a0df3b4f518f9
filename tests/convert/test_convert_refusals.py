"""What cannot be converted is refused by the name of the layer, with what to write instead."""

from __future__ import annotations

import re

import pytest

torch = pytest.importorskip("torch", reason="what is converted is a network of torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

from spikecore.convert import QCFS, ConversionError, LeastError, Percentile, convert  # noqa: E402
from spikecore.datasets import Dataset  # noqa: E402


class Calls(nn.Module):
    """A network whose forward is a function of its layers and the input."""

    def __init__(self, forward, **layers):
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.function = forward

    def forward(self, x):
        return self.function(self, x)


def net(*middle, ins=4, outs=4):
    return nn.Sequential(nn.Linear(ins, 4), *middle, nn.Linear(4, outs))


def asserting(self, x):
    torch._assert(x.size(0) == 5, "")
    return self.one(x)


@pytest.fixture(autouse=True)
def seeded():
    """Weights of some seeds leave all ReLUs of a layer at 0, which is refused for another reason."""
    torch.manual_seed(0)


torch.manual_seed(0)
X, MAPS = torch.rand(5, 4) - 0.5, torch.rand(5, 2, 6, 6)
LAYERS = {"one": nn.Linear(4, 4), "two": nn.Linear(4, 4)}
CONV = nn.Conv2d(2, 2, 1)
REFUSED = {
    "GELU": (net(nn.GELU()), X, r"layer 1 \(GELU\): .* nn\.ReLU or spikecore\.convert\.QCFS"),
    "LeakyReLU": (net(nn.LeakyReLU()), X, r"layer 1 \(LeakyReLU\): .* nn\.ReLU"),
    "LayerNorm": (net(nn.LayerNorm(4), nn.ReLU()), X, r"layer 1 \(LayerNorm\): .* nn\.BatchNorm1d"),
    "Softmax": (net(nn.ReLU(), nn.Linear(4, 4), nn.Softmax(1)), X, r"layer 3 \(Softmax\): leave it out"),
    "nested": (nn.Sequential(net(nn.ReLU()), net(nn.Sigmoid())), X, r"layer 1\.1 \(Sigmoid\)"),
    "attention": (
        Calls(lambda self, x: self.mha(x, x, x)[0], mha=nn.MultiheadAttention(4, 1)),
        X,
        r"layer mha",
    ),
    "product": (Calls(lambda self, x: self.one(x) * torch.relu(self.two(x)), **LAYERS), X, r"mul\(\) in forward"),
    "constant": (
        Calls(lambda self, x: self.one(x) + 1.0, **LAYERS),
        X,
        r"add\(\) in forward .*: takes 1\.0, which",
    ),
    "softmax call": (Calls(lambda self, x: F.softmax(self.one(x), 1), **LAYERS), X, r"softmax\(\) in forward"),
    "scaled input": (Calls(lambda self, x: self.one((x - 0.1) / 0.3), **LAYERS), X, r"sub\(\) in forward"),
    "branch": (
        Calls(lambda self, x: self.one(x) if x.sum() > 0 else x, **LAYERS),
        X,
        r"Calls: it looks at values",
    ),
    "hardtanh": (net(nn.Hardtanh()), X, r"layer 1 \(Hardtanh\): clips to -1\.0 … 1\.0; .* min_val=0"),
    "norm of vectors": (net(nn.ReLU(), nn.BatchNorm1d(4)), X, r"layer 2 \(BatchNorm1d\): does not follow a layer of"),
    "no statistics": (net(nn.BatchNorm1d(4, track_running_stats=False), nn.ReLU()), X, r"track_running_stats=False"),
    "padding": (nn.Sequential(nn.Conv2d(2, 2, 3, padding_mode="reflect")), MAPS, r"layer 0 \(Conv2d\): padding_mode"),
    "even same": (nn.Sequential(nn.Conv2d(2, 2, (3, 2), padding="same")), MAPS, r"layer 0 \(Conv2d\): .* odd kernels"),
    "ceil": (nn.Sequential(CONV, nn.ReLU(), nn.MaxPool2d(4, ceil_mode=True)), MAPS, r"layer 2 \(MaxPool2d\): ceil"),
    "adaptive": (nn.Sequential(CONV, nn.AdaptiveAvgPool2d(4)), MAPS, r"layer 1 \(AdaptiveAvgPool2d\): .*divide"),
    "flatten": (nn.Sequential(CONV, nn.Flatten(2)), MAPS, r"layer 1 \(Flatten\): start_dim=2"),
    "view": (Calls(lambda self, x: self.c(x).view(-1, 4, 18), c=CONV), MAPS, r"view\(\) in forward .* only flattening"),
    "fixed batch": (
        Calls(lambda self, x: self.c(x).view(5, -1), c=CONV),
        MAPS,
        r"fails on 2 samples of shape",
    ),
    "says nothing": (Calls(asserting, **LAYERS), X, r"fails on 2 samples of shape \(4,\): assert\(\) in forward"),
    "cat of space": (Calls(lambda self, x: torch.cat([self.c(x), x], 2), c=CONV), MAPS, r"dim=2; only channels"),
    "unknown": (nn.Sequential(CONV, nn.PixelShuffle(1)), MAPS, r"layer 1 \(PixelShuffle\): conversion does not know"),
    "negative threshold": (net(QCFS(4)), X, r"layer 1 \(QCFS\): its threshold is -1; .* train it again"),
}
with torch.no_grad():
    REFUSED["negative threshold"][0][1].threshold.fill_(-1.0)


@pytest.mark.filterwarnings("ignore:Using padding=.same. with even kernel")  # torch says so as it runs
@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name):
    ann, x, message = REFUSED[name]
    with pytest.raises(ConversionError) as error:
        convert(ann, x)
    assert re.search(message, str(error.value), re.DOTALL), str(error.value)


class Two(nn.Module):
    def forward(self, x, y):
        return x + y


def test_wrong_data_and_options():
    ann = net(nn.ReLU())
    with pytest.raises(ConversionError, match=r"Two\.forward takes x, y; it must take one"):
        convert(Two(), X)
    with pytest.raises(ConversionError, match=r"no data to find thresholds by.* layer 1 \(ReLU\) needs them"):
        convert(ann, input_shape=4)
    with pytest.raises(ConversionError, match="neither data nor input_shape"):
        convert(net(QCFS(4)))
    with pytest.raises(ConversionError, match="is no batch; give arrays"):
        convert(ann, [{"image": X}])
    with pytest.raises(ConversionError, match=r"input_shape=3, but the data have samples of \(4,\)"):
        convert(ann, X, input_shape=3)
    with torch.no_grad():
        silent = net(nn.ReLU())
        silent[0].weight.zero_()
        silent[0].bias.fill_(-1.0)
    with pytest.raises(ConversionError, match=r"layer 1 \(ReLU\): all its activations are 0"):
        convert(silent, X)
    for options, message in (
        ({"method": "maximum"}, r"method 'maximum'.*'max'"),
        ({"per": "neuron"}, r"per 'neuron'.*channel"),
        ({"charge": 1.0}, r"charge=1\.0 must be a share"),
    ):
        with pytest.raises(ValueError, match=message):
            convert(ann, X, **options)
    for percent in (0.0, 0.999, 100.5):
        with pytest.raises(ValueError, match=rf"percent={percent} must be in \[1, 100\], in percent, e\.g\. 99\.9"):
            Percentile(percent)
    with pytest.raises(ValueError, match="num_steps=0 must be an int >= 1"):
        LeastError(0)
    with pytest.raises(ValueError, match="levels=0 must be"):
        QCFS(0)
    with pytest.raises(ValueError, match=r"threshold=-1\.0 must be a number > 0"):
        QCFS(4, -1.0)
    with pytest.raises(ConversionError, match="gave no batch"):
        convert(ann, X).report([])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_data_that_are_not_finite_are_refused(value):
    data = X.clone()
    data[2, 1] = value
    with pytest.raises(ConversionError, match="NaN or infinity"):
        convert(net(nn.ReLU()), data)


LABELS = torch.arange(5) % 4
SAMPLES = {
    "a data set": Dataset(X.numpy(), LABELS.numpy()),
    "a data set of torch": torch.utils.data.TensorDataset(X),
    "a list of samples": list(zip(X, LABELS)),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_not_taken_for_batches(name):
    ann = net(nn.ReLU())
    for use in (lambda data: convert(ann, data), convert(ann, X).report):
        with pytest.raises(ConversionError, match=r"samples, not batches; wrap .*DataLoader"):
            use(SAMPLES[name])


def test_batches_on_which_the_network_fails_and_labels_of_other_kinds():
    snn = convert(net(nn.ReLU()), X)
    for use in (lambda data: convert(net(nn.ReLU()), data), snn.report):
        with pytest.raises(ConversionError, match=r"fails on 5 samples of shape \(3,\).* Give batches"):
            use([X, X[:, :3]])
    for labels in (LABELS[:3], F.one_hot(LABELS)):
        with pytest.raises(ConversionError, match=r"labels for outputs \(5, 4\); labels are class numbers"):
            snn.report([(X, labels)])


def hooked():
    ann = net(nn.ReLU())
    ann[0].register_forward_hook(lambda module, given, y: 2 * y)
    return ann


def diverged(layer):
    with torch.no_grad():
        layer.weight[0] = float("nan")
    return layer


@pytest.mark.parametrize(
    ("ann", "message"),
    [
        (lambda: torch.jit.trace(net(nn.ReLU()), X), r"torch\.jit .* the nn\.Module that it was made of"),
        (lambda: nn.DataParallel(net(nn.ReLU())), r"DataParallel wraps the network; give ann\.module"),
        (hooked, r"layer 0 \(Linear\): has forward hooks, .* handle\.remove\(\)"),
        (lambda: net(diverged(nn.Linear(4, 4)), nn.ReLU()), r"layer 1 \(Linear\): .* NaN or infinity"),
        (lambda: net(diverged(nn.BatchNorm1d(4)), nn.ReLU()), r"layer 1 \(BatchNorm1d\): .* NaN or infinity"),
        (
            lambda: net(nn.utils.parametrizations.orthogonal(nn.Linear(4, 4)), nn.ReLU()),
            r"layer 1 .*: make its weight a plain one: .*remove_parametrizations",
        ),
    ],
    ids=["traced", "parallel", "hooked", "diverged", "diverged norm", "parametrised"],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_networks_that_are_more_than_their_forward_are_refused(ann, message):
    with pytest.raises(ConversionError, match=message):
        convert(ann(), X)
