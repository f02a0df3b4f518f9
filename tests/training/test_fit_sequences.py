"""``fit`` and ``evaluate`` on sequences of unequal length, and with encoders that change what a sample looks like."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import spikecore as sc
from spikecore import functional, spikegen

RNG = np.random.default_rng(0)
STEPS, LENGTHS = 7, [3, 7, 5, 1]
X = RNG.normal(0.5, 0.8, (STEPS, 4, 6))
LABELS = np.array([0, 2, 1, 1])
LOSSES = {
    "rate": functional.ce_rate_loss(),
    "count": functional.mse_count_loss(),
    "membrane": functional.mse_membrane_loss(),
    "sum": 2.0 * functional.ce_rate_loss() + functional.ce_max_membrane_loss(),
}


@pytest.fixture(params=["numpy", "torch"])
def engine(request):
    if request.param == "torch":
        pytest.importorskip("torch", reason="torch is not installed (extra torch)")
    return request.param


def model(engine="numpy", inputs=6):
    net = sc.Sequential(sc.Linear(inputs, 8), sc.Leaky(beta=0.8), sc.Linear(8, 3), sc.Leaky(beta=sc.learn(0.7)))
    return sc.Model(net, engine, seed=1, input_shape=(inputs,), dtype="float64")


def trained(engine, data, loss=None, inputs=6, **options):
    made = model(engine, inputs)
    made.fit(data, loss=loss, optimizer=sc.SGD(lr=0.5), **options)
    return made.params()


def assert_same(found, expected, atol=0.0):
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=atol, err_msg=name)


# ---- lengths -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
def test_a_padded_batch_trains_as_its_samples_alone_would(engine, name):
    alone = [trained(engine, [(X[:n, i : i + 1], LABELS[i : i + 1])], LOSSES[name]) for i, n in enumerate(LENGTHS)]
    mean = {key: sum(params[key] for params in alone) / len(alone) for key in alone[0]}
    moved = {key: value - model().params()[key] for key, value in mean.items()}
    assert min(abs(change).max() for change in moved.values()) > 1e-4  # every parameter learns something
    assert_same(trained(engine, [(X, LABELS, LENGTHS)], LOSSES[name]), mean, 1e-12)


def test_the_values_of_padding_do_not_matter(engine):
    padded = X.copy()
    for i, n in enumerate(LENGTHS):
        padded[n:, i] = 9.0
    for loss in (functional.ce_count_loss(), functional.ce_rate_loss() + functional.l1_rate_sparsity(0.01)):
        assert_same(
            trained(engine, [(X, LABELS, LENGTHS)], loss, epochs=2),
            trained(engine, [(padded, LABELS, LENGTHS)], loss, epochs=2),
        )


def test_full_lengths_change_nothing(engine):
    assert_same(trained(engine, [(X, LABELS, [STEPS] * 4)]), trained(engine, [(X, LABELS)]), 1e-15)


def test_lengths_are_told_from_the_batch_axis_whatever_the_time_axis(engine):
    turned = np.swapaxes(X, 0, 1)
    assert_same(
        trained(engine, [(turned, LABELS, np.array(LENGTHS))], time_axis=1), trained(engine, [(X, LABELS, LENGTHS)])
    )


def test_evaluate_is_the_mean_over_samples_alone(engine):
    made = model(engine)
    for loss in LOSSES.values():
        alone = [made.evaluate([(X[:n, i : i + 1], LABELS[i : i + 1])], loss=loss) for i, n in enumerate(LENGTHS)]
        found = made.evaluate([(X, LABELS, LENGTHS)], loss=loss)
        for column in ("loss", "accuracy"):
            assert found[column] == pytest.approx(np.mean([row[column] for row in alone]), abs=1e-12)


def test_accuracy_stops_at_the_length():
    made = sc.Model(sc.Sequential(sc.Flatten(), sc.IF()), "numpy", input_shape=(2,))
    x = np.array([[[2.0, 0.0]], [[0.0, 2.0]], [[0.0, 2.0]]])  # class 0 fires first, class 1 more often
    assert made.evaluate([(x, [0])])["accuracy"] == 0.0
    assert made.evaluate([(x, [0], [1])])["accuracy"] == 1.0


def test_torch_loaders_that_pad(engine):
    torch = pytest.importorskip("torch")
    samples = [(torch.as_tensor(X[:n, i]), int(LABELS[i])) for i, n in enumerate(LENGTHS)]

    def padded(batch):
        xs, ys = zip(*batch)
        return torch.nn.utils.rnn.pad_sequence(xs), torch.tensor(ys), torch.tensor([len(x) for x in xs])

    loader = torch.utils.data.DataLoader(samples, batch_size=4, collate_fn=padded)
    assert_same(trained(engine, loader), trained(engine, [(X, LABELS, LENGTHS)]))


def test_own_losses_take_lengths_or_are_refused(engine):
    def mine(out, targets, lengths):
        assert lengths == LENGTHS
        return functional.ce_rate_loss()(out, targets, lengths)

    assert_same(trained(engine, [(X, LABELS, LENGTHS)], mine), trained(engine, [(X, LABELS, LENGTHS)]))
    for loss in (lambda out, targets: (out.spikes**2).sum(), 1.0 * sc.backprop.per_step(functional.ce_rate_loss())):
        with pytest.raises(TypeError, match=r"takes no lengths.*write it as \(out, targets, lengths\)"):
            trained(engine, [(X, LABELS, LENGTHS)], loss)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([1, 2], r"lengths have shape \(2,\), expected \(4,\)"),
        ([1, 2, 3, 8], r"lengths\[3\] = 8.* in \[1, 7\]"),
        (np.array([1, 0, 3, 4]), r"lengths\[1\] = 0"),
    ],
)
def test_bad_lengths_are_refused_before_anything_is_learned(engine, lengths, message):
    made = model(engine)
    before = made.params()
    with pytest.raises(ValueError, match=message):
        made.fit([(X, LABELS, lengths)])
    assert_same(made.params(), before)
    with pytest.raises(ValueError, match=message):
        made.evaluate([(X, LABELS, lengths)])


@pytest.mark.parametrize("options", [{"learning": sc.BPTT(update_every=2)}, {"learning": "eprop"}])
def test_lengths_go_with_whole_batches_only(engine, options):
    with pytest.raises(ValueError, match="lengths need whole sequences.*without update_every"):
        trained(engine, [(X, LABELS, LENGTHS)], **options)


def test_an_engine_that_takes_no_lengths_says_so():
    pytest.importorskip("torch", reason="torch is not installed (extra torch)")
    made = sc.Model(model().network, "ipu", simulate=True, input_shape=(6,))
    with pytest.raises(NotImplementedError, match="without lengths: train on numpy or torch"):
        made.fit([(X.astype("float32"), LABELS, LENGTHS)])


# ---- encoders ------------------------------------------------------------------------------------------------------

IMAGES = RNG.uniform(0, 1, (4, 2))


def test_an_encoder_may_change_the_number_of_features(engine):
    encoder = partial(spikegen.population, neurons=3)
    encoded = spikegen.population(IMAGES, num_steps=STEPS, neurons=3)
    assert encoded.shape == (STEPS, 4, 6)
    assert_same(
        trained(engine, [(IMAGES, LABELS)], encoder=encoder, num_steps=STEPS), trained(engine, [(encoded, LABELS)])
    )
    made = model(engine)
    assert made.evaluate([(IMAGES, LABELS)], encoder=encoder, num_steps=STEPS) == made.evaluate([(encoded, LABELS)])


def test_the_shape_behind_an_encoder_is_found_from_the_first_batch():
    made = sc.Model(sc.Sequential(sc.Flatten(), sc.Leaky()), "numpy")
    made.fit([(IMAGES, LABELS)], num_steps=STEPS, encoder=partial(spikegen.population, neurons=3))
    assert made.input_shape == (6,)


@pytest.mark.parametrize("encoder", [spikegen.delta, spikegen.level_crossing], ids=lambda f: f.__name__)
def test_encoders_of_sequences(engine, encoder):
    turned = np.swapaxes(X, 0, 1)
    expected = trained(engine, [(encoder(X), LABELS)])
    assert_same(trained(engine, [(X, LABELS)], encoder=encoder), expected)
    assert_same(trained(engine, [(turned, LABELS)], encoder=encoder, time_axis=1), expected)


def test_encoders_and_lengths_go_together(engine):
    found = trained(engine, [(X, LABELS, LENGTHS)], encoder=spikegen.delta)
    assert_same(found, trained(engine, [(spikegen.delta(X), LABELS, LENGTHS)]))
    found = trained(engine, [(X[0], LABELS, LENGTHS)], num_steps=STEPS)
    assert_same(found, trained(engine, [(np.stack([X[0]] * STEPS), LABELS, LENGTHS)]), 1e-12)


def test_an_encoder_that_does_not_fit_the_network_is_named():
    with pytest.raises(sc.errors.ShapeError, match=r"\(4, 2\) is encoded as \(7, 4, 8\), but .* \(time, batch, 6\)"):
        trained("numpy", [(IMAGES, LABELS)], encoder=partial(spikegen.population, neurons=4), num_steps=STEPS)
    with pytest.raises(sc.errors.ShapeError, match=r"returned shape \(7, 3, 6\) for a batch of \(7, 4, 6\)"):
        trained("numpy", [(X, LABELS)], encoder=lambda x: x[:, 1:])
