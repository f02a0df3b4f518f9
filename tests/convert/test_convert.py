"""Networks of torch as spiking networks: rates are quantised activations exactly, and more steps lose less."""

from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="what is converted is a network of torch")
from hypothesis import example, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

import spikecore as sc  # noqa: E402
from spikecore.convert import QCFS, Conversion, LeastError, Percentile, convert  # noqa: E402
from spikecore.convert.thresholds import METHODS, Histogram  # noqa: E402
from spikecore.datasets import Loader, digits  # noqa: E402

LEVELS = 8


def drawn(net, seed=0):
    """The network in float64, with weights and statistics of batch norms drawn by a seed."""
    generator = torch.Generator().manual_seed(seed)
    net = net.double().eval()
    with torch.no_grad():
        for name, x in (*net.named_parameters(), *net.named_buffers()):
            if x.is_floating_point() and "threshold" not in name:
                x.copy_(torch.randn(x.shape, generator=generator, dtype=torch.float64) * 0.5)
                if "running_var" in name:
                    x.copy_(x.abs() + 0.5)
    return net


def images(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mean_output(conversion, x, steps):
    return conversion.model(x, num_steps=steps).spikes.mean(0).numpy()


# ---- one layer of neurons: exact -----------------------------------------------------------------------------------


@given(
    st.lists(st.integers(-160, 320), min_size=1, max_size=12),
    st.sampled_from([0.5, 0.75, 1.0, 3.0]),
    st.integers(1, 20),
    st.sampled_from([0.0, 0.5]),
)
@example([32, 96, -32], 1.0, 1, 0.5)  # ties at the last step, which no later one mends
@example([64, 16], 1.0, 4, 0.0)
@settings(max_examples=25, deadline=None)
def test_counts_are_those_of_the_theory_ties_included(sixtyfourths, threshold, steps, charge):
    """A neuron fires clip(floor(T a / theta + charge), 0, T) times: one that reaches the threshold exactly fires."""
    ann = nn.Sequential(nn.Linear(1, 1, bias=False), QCFS(4, threshold), nn.Linear(1, 1, bias=False)).double()
    with torch.no_grad():
        ann[0].weight.fill_(1.0)
        ann[2].weight.fill_(1.0)
    a = np.array(sixtyfourths) / 64.0
    model = convert(ann, input_shape=1, charge=charge, engine="numpy").model
    counts = model(a[:, None], num_steps=steps).spikes.sum(axis=0)[:, 0] / threshold
    np.testing.assert_allclose(counts, np.clip(np.floor(steps * a / threshold + charge), 0, steps), atol=1e-9)


class Branches(nn.Module):
    """Sums and concatenations of neurons with different thresholds."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.three = (nn.Conv2d(2, 4, 3, padding=1) for _ in range(3))
        self.norm, self.fc = nn.BatchNorm2d(4, eps=0.3), nn.Linear(8 * 4, 3)
        self.a, self.b, self.c = QCFS(LEVELS, 1.5), QCFS(LEVELS, 0.7), QCFS(LEVELS, 2.5)

    def forward(self, x):
        added = self.a(self.one(x)) + self.b(self.two(x))
        y = torch.cat([added, self.c(self.norm(self.three(x)))], dim=1)
        return self.fc(F.max_pool2d(y, 3, stride=2, padding=1).flatten(1))


EXACT = {
    "dense": nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), QCFS(LEVELS, 1.3), nn.Dropout(0.3), nn.Linear(5, 4)),
    "no bias": nn.Sequential(nn.Linear(6, 5, bias=False), QCFS(LEVELS, 0.8), nn.Linear(5, 4, bias=False)),
    "ends in neurons": nn.Sequential(nn.Linear(6, 5), QCFS(LEVELS, 2.2)),
    "convolution": nn.Sequential(
        nn.Conv2d(2, 4, 3, padding="same", groups=2), nn.BatchNorm2d(4, affine=False), QCFS(LEVELS, 1.7),
        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 3),
    ),
    "max pooling of neurons": nn.Sequential(
        nn.Conv2d(2, 4, 3), QCFS(LEVELS, 1.7), nn.MaxPool2d(2), nn.Conv2d(4, 2, 1), nn.Flatten()
    ),
    "max pooling of currents": nn.Sequential(nn.Conv2d(2, 4, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4, 2)),
    "length": nn.Sequential(
        nn.Conv1d(2, 4, 3, stride=2), QCFS(LEVELS, 1.1), nn.MaxPool1d(2), nn.AvgPool1d(2), nn.Flatten()
    ),
    "norm first": nn.Sequential(
        nn.BatchNorm2d(2), nn.Conv2d(2, 4, 3), QCFS(LEVELS, 1.1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    ),
    "groups after a concatenation": Branches(),
}  # fmt: skip
SHAPES = {name: (6,) for name in ("dense", "no bias", "ends in neurons")}
SHAPES["length"] = (2, 19)


@pytest.mark.parametrize("name", EXACT)
def test_with_one_layer_of_neurons_and_as_many_steps_as_levels_nothing_is_lost(name):
    """The mean output is the output of the network that was converted, to rounding."""
    ann = drawn(copy.deepcopy(EXACT[name]))
    x = images(7, *SHAPES.get(name, (2, 4, 4) if name != "max pooling of neurons" else (2, 6, 6)))
    found = mean_output(convert(ann, input_shape=x.shape[1:]), x, LEVELS)
    wanted = ann(x).detach().numpy()
    assert np.ptp(wanted) > 0.1, "the case is too quiet to show anything"
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-10)


# ---- deep networks: the error falls with the number of steps -----------------------------------------------------


class Block(nn.Module):
    """A residual block as torchvision writes it."""

    def __init__(self, ins, outs, stride=1):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(ins, outs, 3, stride, 1, bias=False), nn.BatchNorm2d(outs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2, self.bn2 = nn.Conv2d(outs, outs, 3, 1, 1, bias=False), nn.BatchNorm2d(outs)
        self.down = None
        if stride != 1 or ins != outs:
            self.down = nn.Sequential(nn.Conv2d(ins, outs, 1, stride, bias=False), nn.BatchNorm2d(outs))

    def forward(self, x):
        aside = x if self.down is None else self.down(x)
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += aside
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU6(), nn.MaxPool2d(3, 2, 1))
        self.layers = nn.Sequential(Block(6, 6), Block(6, 8, 2))
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        x = self.layers(self.stem(x)).mean([2, 3])
        return self.fc(x)


def test_with_data_learned_thresholds_are_upper_limits():
    ann = drawn(nn.Sequential(nn.Conv2d(2, 4, 3), QCFS(LEVELS, 1.7), nn.Flatten(), nn.Linear(64, 3)))
    with torch.no_grad():
        ann[0].weight[1] /= 50.0
        ann[0].bias[1] = 0.3
    x = images(50, 2, 6, 6)
    (one,) = convert(ann, x, "max").layers
    largest = ann[:2](x).detach().amax(dim=(0, 2, 3)).numpy()
    np.testing.assert_allclose(one.threshold, np.minimum(largest, 1.7))
    assert largest[1] < 1.0
    np.testing.assert_allclose(convert(ann, input_shape=(2, 6, 6)).layers[0].threshold, [1.7])


class Calls(nn.Module):
    """Layers as functions."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Linear(16, 3)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm(self.conv(x))), 2)
        x = F.dropout(F.avg_pool2d(x, 2).clamp(0, 0.5), 0.3, self.training)
        return self.fc(x.reshape(x.shape[0], -1).view(x.size(0), -1))


def test_functions_are_the_layers_of_their_names():
    calls, x = drawn(Calls()), images(20, 2, 10, 10)
    layers = nn.Sequential(
        calls.conv, calls.norm, nn.ReLU(), nn.MaxPool2d(2), nn.AvgPool2d(2), nn.Hardtanh(0, 0.5), nn.Flatten(), calls.fc
    )
    one, two = (convert(ann, x) for ann in (calls, layers))
    assert one.model.network == two.model.network
    np.testing.assert_array_equal(mean_output(one, x, 9), mean_output(two, x, 9))
    assert one.layers[1].threshold.max() == 0.5  # what clamp clips at


class Crossing(nn.Module):
    """Branches that cross: the output of each of two layers goes to both that follow."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.three, self.four = (nn.Linear(6, 6) for _ in range(4))
        self.fc = nn.Linear(6, 4)

    def forward(self, x):
        a, b = torch.relu(self.one(x)), torch.relu(self.two(x))
        c, d = torch.relu(self.three(a + b)), torch.relu(self.four(a))
        return self.fc(c + d + b)


def test_branches_may_cross():
    ann, x = drawn(Crossing()), images(12, 6)
    snn, wanted = convert(ann, x, "max"), ann(x).detach().numpy()
    errors = [np.linalg.norm(mean_output(snn, x, steps) - wanted) / np.linalg.norm(wanted) for steps in (8, 64, 512)]
    assert errors[0] > 3 * errors[1] > 9 * errors[2]
    assert errors[2] < 0.01


@pytest.fixture(scope="module")
def resnet():
    return drawn(ResNet()), images(12, 1, 10, 10)


@pytest.mark.parametrize("per", ["layer", "channel"])
def test_a_residual_network_comes_closer_with_more_steps(resnet, per):
    ann, x = resnet
    snn = convert(ann, x, "max", per=per)
    wanted = ann(x).detach().numpy()
    errors = [np.linalg.norm(mean_output(snn, x, steps) - wanted) / np.linalg.norm(wanted) for steps in (8, 64, 512)]
    assert errors[0] > 3 * errors[1] > 9 * errors[2]
    assert errors[2] < 0.01
    kinds = {type(layer) for _, layer in sc.api.layers.containers.walk(snn.model.network)}
    assert sc.CountMaxPool2d in kinds
    assert sc.BatchNorm2d not in kinds


def test_the_model_is_one_like_any_other(resnet, tmp_path):
    """Spikes on NumPy, gradients that are verified, files."""
    ann, x = resnet
    snn = convert(ann, x)
    model, first = snn.model, snn.layers[0].layer
    on_numpy = model.to_engine("numpy")
    np.testing.assert_array_equal(
        model(x, num_steps=6, record=True).states[first].spikes.numpy(),
        on_numpy(x.numpy(), num_steps=6, record=True).states[first].spikes,
    )
    assert sc.verify(model, x[:3].numpy(), [0, 1, 2], num_steps=4).ok
    model.save(tmp_path / "net.safetensors")
    again = sc.load(tmp_path / "net.safetensors", engine="numpy")
    np.testing.assert_array_equal(again(x.numpy(), num_steps=6).spikes, on_numpy(x.numpy(), num_steps=6).spikes)


def test_the_network_that_is_converted_stays_as_it_is(resnet):
    ann = copy.deepcopy(resnet[0]).train()
    before = copy.deepcopy(ann.state_dict())
    convert(ann, resnet[1])
    assert ann.training
    assert all(torch.equal(x, before[name]) for name, x in ann.state_dict().items())


# ---- thresholds ----------------------------------------------------------------------------------------------------


def histogram(values, groups=1):
    found = Histogram(groups)
    for part in torch.as_tensor(values).split(7):
        found.add(part)
    return found


def test_thresholds_by_definition():
    values = np.random.default_rng(0).exponential(size=(400, 3, 5)) - 0.5
    positive = values[values > 0]
    found = histogram(values)
    assert found.thresholds(METHODS["max"]) == [positive.max()]
    for percentile in (50.0, 90.0, 99.9):
        (threshold,) = found.thresholds(Percentile(percentile))
        assert abs(threshold / np.quantile(positive, percentile / 100) - 1) < 0.02  # a bin, and between two values
    assert found.thresholds(Percentile(100.0)) == [positive.max()]
    assert abs(found.above(np.quantile(positive, [0.9])) - 0.1) < 0.01

    def lost(threshold):
        return ((positive - np.clip(np.floor(4 * positive / threshold + 0.5), 0, 4) * threshold / 4) ** 2).sum()

    (threshold,) = found.thresholds(LeastError(4))
    assert lost(threshold) <= 1.01 * min(lost(each) for each in np.linspace(0.2, positive.max(), 200))

    channels = histogram(values, groups=3).thresholds(METHODS["max"])
    np.testing.assert_array_equal(channels, values.max(axis=(0, 2)))


def test_each_way_to_find_thresholds_and_each_kind_of_data(resnet):
    ann, x = resnet
    labels = torch.zeros(len(x), dtype=torch.int64)
    largest = convert(ann, x, "max", per="layer").layers
    robust = convert(ann, x, Percentile(95), per="layer").layers
    least = convert(ann, x, LeastError(num_steps=4), per="layer").layers
    assert [one.clipped for one in largest] == [0.0] * 5
    for high, low, mse in zip(largest, robust, least):
        assert low.threshold < high.threshold
        assert mse.threshold < high.threshold
        assert 0.02 < low.clipped <= 0.05
    assert largest[0].threshold <= 6.0  # ReLU6
    pairs = torch.utils.data.TensorDataset(x, labels)
    for data in (
        x.numpy(),
        [x],
        (x, labels),
        [x, labels],
        iter([(x[:5], labels[:5]), (x[5:], labels[5:])]),
        torch.utils.data.DataLoader(pairs, batch_size=5),
        Loader(sc.datasets.Dataset(x.numpy(), labels.numpy()), batch_size=5, shuffle=False),
    ):
        again = convert(ann, data, "max", per="layer").layers
        assert [one.threshold for one in again] == [one.threshold for one in largest]


# ---- what users do with it -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digit_network():
    train, test = digits()
    torch.manual_seed(0)
    ann = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10))
    x, y = torch.as_tensor(train.inputs), torch.as_tensor(train.targets)
    optimizer = torch.optim.Adam(ann.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(ann(x), y).backward()
        optimizer.step()
    return ann, train, test


def test_the_report_says_what_evaluate_says(digit_network):
    ann, train, test = digit_network
    snn = convert(ann, Loader(train, batch_size=200))
    assert isinstance(snn, Conversion)
    report = snn.report(Loader(test, batch_size=100, shuffle=False), num_steps=20)
    assert report.num_steps == (1, 2, 4, 8, 16, 20)
    assert report.samples == len(test)
    for steps, accuracy in zip(report.num_steps, report.accuracy):
        found = snn.model.evaluate(Loader(test, batch_size=64, shuffle=False), num_steps=steps, metric="accuracy_rate")
        assert found["accuracy_rate"] == pytest.approx(accuracy)
    assert report.ann_accuracy - report.accuracy[-1] < 0.02
    right = ann(torch.as_tensor(test.inputs)).argmax(1).numpy() == test.targets
    assert report.ann_accuracy == pytest.approx(right.mean())
    assert report.ann_accuracy > 0.9
    first, second, output = report.layers
    assert (first.place, first.layer, output.place) == ("layer 1 (ReLU)", "1", "output")
    assert first.errors[0] > 4 * first.errors[-1]
    assert 0 < second.rate < 1
    assert "accuracy" in str(report)
    assert "layer 3 (ReLU)" in report._repr_html_()
    assert "layer 3 (ReLU)" in repr(snn)
    unlabelled = snn.report(test.inputs[:50], num_steps=4)
    assert unlabelled.accuracy == ()
    assert unlabelled.agreement[-1] > 0.5


def test_the_picture_shows_the_report(digit_network):
    pytest.importorskip("matplotlib", reason="it draws")
    ann, train, test = digit_network
    report = convert(ann, train.inputs).report([(test.inputs, test.targets)], num_steps=8)
    lines = report.plot()
    assert list(lines) == ["accuracy", "ann", "layer 1 (ReLU)", "layer 3 (ReLU)", "output"]
    np.testing.assert_array_equal(lines["accuracy"].get_ydata(), report.accuracy)
    np.testing.assert_array_equal(lines["output"].get_xdata(), report.num_steps)


def test_training_after_the_conversion_recovers_what_few_steps_lose(digit_network):
    ann, train, test = digit_network
    model = convert(ann, train.inputs, engine="numpy").model
    loader = Loader(test, batch_size=200, shuffle=False)
    before = model.evaluate(loader, num_steps=2, metric="accuracy_rate")["accuracy_rate"]
    model.fit(Loader(train, batch_size=128, seed=0), optimizer=sc.Adam(lr=1e-3), epochs=3, num_steps=2, progress=False)
    after = model.evaluate(loader, num_steps=2, metric="accuracy_rate")["accuracy_rate"]
    assert after > before + 0.05


def test_qcfs_is_its_formula_and_learns():
    activation = QCFS(4, threshold=2.0)
    x = torch.linspace(-1.0, 3.0, 81, requires_grad=True)
    y = activation(x)
    expected = 2.0 * torch.clamp(torch.floor(4 * x.detach() / 2.0 + 0.5), 0, 4) / 4
    torch.testing.assert_close(y.detach(), expected)
    y.sum().backward()
    inside = (x.detach() >= 0) & (x.detach() <= 2)  # where the clip has the derivative 1, its ends included
    torch.testing.assert_close(x.grad[inside], torch.ones(int(inside.sum())))
    assert not x.grad[(x.detach() < -1e-3) | (x.detach() > 2 + 1e-3)].any()
    shares = torch.clamp(x.detach() / 2.0, 0, 1)
    wanted = (y.detach() / 2.0 - shares * inside).sum()  # by theta: the level, less the share where it is not clipped
    torch.testing.assert_close(activation.threshold.grad, wanted, rtol=1e-4, atol=1e-4)
    assert "levels=4" in repr(activation)
