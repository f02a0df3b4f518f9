"""The rules by which a recipe chooses: few, each with the reason that it prints."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import spikecore as sc
from spikecore import functional, init, schedule
from spikecore.base import Layer
from spikecore.recipes.look import Facts

STEPS, POOLED_STEPS = 8, 4  # of a sample that is seen whole; where rates are means over many places, fewer do
HIDDEN = 64
CHANNELS, KERNEL, POOLED, LONG = 32, 9, 4, 128
WINDOWS = 1000  # so many, or up to half as many more, are left of a series of 2,000 steps or more
SHAPES, SEQUENCES = 96, 64  # channels of the two convolutions of a series
PER_WEIGHT = 4  # samples for each entry of a series or an image, from which a shortcut does not fit noise
UPDATES, FEWEST_EPOCHS, FEWEST, MOST = 400, 10, 8, 64
LR, DROPOUT = 3e-3, 0.2
FEW, FEW_OF_CLASSES = 100, 40  # up to so many samples, weights decay at these rates; with more, in proportion less
DECAY, DECAY_OF_TABLES = 1.0, 5.0


class Choice(NamedTuple):
    """A choice and its reason.

    Args:
        what: what is chosen.
        value: what it is, in a few words.
        why: the reason.
    """

    what: str
    value: str
    why: str


Body = Tuple[Layer, List[Choice]]


def steps_of(facts: Facts) -> int:
    """How many steps the network runs for a sample."""
    return STEPS if len(facts.shape) == 1 else POOLED_STEPS


def network(facts: Facts) -> Tuple[Layer, List[Choice]]:
    """The network, and what was chosen in it."""
    if facts.ahead:
        return _forecast(facts)
    first: List[Layer] = [sc.Permute((1, 0))] if facts.steps else []
    seen: List[Choice] = []
    steps, features = facts.shape[0], facts.shape[-1 if facts.steps else 0]
    if facts.steps and steps >= 2 * WINDOWS:
        window, features = steps // WINDOWS, 2 * features
        first.append(sc.Concat(sc.AvgPool1d(window), sc.MaxPool1d(window)))
        facts = replace(facts, shape=(steps // window, features))
        why = f"kernels of {KERNEL} steps would skip most of {steps}"
        seen = [Choice("windows", f"means and maxima of {window} steps", why)]
    body, choices = {1: _table, 2: _series, 3: _images}[len(facts.shape)](facts)
    inner = body.layers if isinstance(body, sc.Sequential) else (body,)
    return sc.Sequential(*first, sc.Standardize(features), *inner, sc.LI(beta=0.9)), [
        *seen,
        scaling(features),
        *choices,
        READOUT,
    ]


def training(facts: Facts) -> Tuple[Dict[str, Any], Dict[str, Any], List[Choice]]:
    """The arguments of ``fit``, those of them that feed samples, and what was chosen."""
    feed: Dict[str, Any] = {"num_steps": steps_of(facts)}
    batch = batch_size(facts.samples)
    updates = math.ceil(facts.samples / batch)
    epochs = max(FEWEST_EPOCHS, round(UPDATES / updates))
    rates, how_rates = cosine(epochs)
    table = len(facts.shape) == 1
    few = FEW_OF_CLASSES if table and facts.classes else FEW
    decay = round((DECAY_OF_TABLES if table else DECAY) * min(1.0, few / facts.samples), 3)
    if facts.classes:
        loss: Any = functional.ce_membrane_loss()
        why = Choice(
            "loss", "ce_membrane_loss", "cross-entropy of the readout at every step: no gradient has far to go"
        )
    else:
        loss = functional.mse_value_loss(**unit(facts))
        why = Choice(
            "loss",
            "mse_value_loss",
            "squared error of the readout's mean over time, in deviations of the targets; predictions have their unit",
        )
    arguments = {
        "loss": loss,
        "optimizer": sc.AdamW(lr=LR, weight_decay=decay),
        "schedule": rates,
        "epochs": epochs,
        "batch_size": batch,
        **feed,
    }
    return (
        arguments,
        feed,
        [
            why,
            Choice(
                "optimizer",
                f"AdamW(lr={LR:g}, weight_decay={decay:g})",
                "a high rate, since it falls to 0; the fewer samples, the more weights decay: they fit noise otherwise",
            ),
            how_rates,
            Choice(
                "batch size",
                f"{batch}",
                f"an eighth of {facts.samples} samples, but {FEWEST} to {MOST}; none is left alone",
            ),
            Choice(
                "epochs",
                f"{epochs}",
                f"{epochs * updates} updates: what counts is their number, however few the samples",
            ),
        ],
    )


def unit(facts: Facts) -> Dict[str, Any]:
    """Mean and deviation of targets that are numbers, to a thousandth of the deviation."""
    if facts.ahead and max(map(abs, facts.mean)) < 0.5 and min(facts.deviation) > 0.5 and max(facts.deviation) < 2.0:
        return {}  # of series in standard units, e.g. by ``datasets.windows``: many numbers that change nothing
    rows = [
        (round(mean, digits), round(deviation, digits))
        for mean, deviation in zip(facts.mean, facts.deviation)
        for digits in [3 - math.floor(math.log10(deviation))]
    ]
    mean, deviation = zip(*rows)
    return {"mean": mean, "deviation": deviation} if len(rows) > 1 else {"mean": mean[0], "deviation": deviation[0]}


def scaling(features: int) -> Choice:
    """The first layer."""
    return Choice(
        "scaling", f"Standardize({features})", "features of any unit count alike; the scale is saved as a layer"
    )


def cosine(epochs: int) -> Tuple[schedule.cosine, Choice]:
    """The schedule of a training of so many epochs."""
    warmup = max(1, epochs // 20)
    return schedule.cosine(warmup=warmup, each="step"), Choice(
        "schedule", f"cosine, warm-up epochs: {warmup}", "large steps in the middle, small ones at both ends"
    )


def batch_size(samples: int, most: int = MOST) -> int:
    """An eighth of the samples within bounds, such that no batch has a single sample, which has no variance."""
    batch = min(most, max(FEWEST, samples // 8))
    while samples % batch == 1:
        batch += 1
    return batch


# ---- networks ------------------------------------------------------------------------------------------------------

READOUT = Choice(
    "readout", "LI(beta=0.9)", "an output that is a number ranks the classes; spike counts of few steps tie"
)
NORM = Choice("normalisation", "batch norm", "currents are of the threshold's size, so neurons fire from the start")
SHORTCUT = Choice("shortcut", "Linear, added", "what is linear in the data needs no spikes; they learn the rest")
ZERO = Choice(
    "first weights", "0 in the last layers", "it begins with the mean; of few samples, drawn weights would stay"
)


def _shortcut(facts: Facts) -> List[Choice]:
    """Whether there are samples enough for the weights of a Linear layer beside the network."""
    return [SHORTCUT] if facts.samples >= PER_WEIGHT * math.prod(facts.shape) else []


def _beside_linear(facts: Facts, body: Layer, zero: init.Initialiser) -> Layer:
    if not _shortcut(facts):
        return body
    linear = sc.Linear(math.prod(facts.shape), facts.outputs, weight_init=zero)
    return sc.Add(sc.Sequential(sc.Flatten(), linear), body)


def _outputs(facts: Facts, size: int, first: Optional[init.Initialiser] = None) -> Tuple[Layer, Layer]:
    return sc.Dropout(DROPOUT), sc.Linear(size, facts.outputs, weight_init=first)


def _table(facts: Facts) -> Body:
    (size,) = facts.shape
    zero = init.constant(0.0)
    hidden = sc.Linear(size, HIDDEN), sc.BatchNorm1d(HIDDEN), sc.Leaky(beta=0.8)
    spiking = sc.Sequential(*hidden, *_outputs(facts, HIDDEN, zero))
    return sc.Add(sc.Linear(size, facts.outputs, weight_init=zero), spiking), [
        Choice("encoding", f"constant, {STEPS} steps", "a table has no time; the first layer learns the currents"),
        Choice("neurons", f"{HIDDEN} Leaky(beta=0.8)", f"a memory of 5 steps: rates within {STEPS} steps are graded"),
        NORM,
        SHORTCUT,
        ZERO,
    ]


def _series(facts: Facts) -> Body:
    steps, features = facts.shape
    stride = max(1, steps // LONG)
    dilations = [2**i for i in range(steps.bit_length()) if (KERNEL - 1) * 2**i < steps] or [1]
    each = max(8, SHAPES // len(dilations))
    convolutions = [
        sc.Conv1d(features, each, KERNEL, stride=stride, padding=(KERNEL - 1) * d // 2, dilation=d) for d in dilations
    ]
    shapes, pooled, zero = each * len(dilations), min(POOLED, steps), init.constant(0.0)
    parts = sc.Concat(*(sc.Sequential(sc.AdaptiveAvgPool1d(count), sc.Flatten()) for count in (1, pooled)))
    sequences = sc.Conv1d(shapes, SEQUENCES, 5, padding=4, dilation=2), sc.BatchNorm1d(SEQUENCES), sc.Leaky(beta=0.5)
    body: Layer = sc.Sequential(
        sc.Concat(*convolutions),
        sc.BatchNorm1d(shapes),
        sc.Leaky(beta=0.5),
        sc.Concat(parts, sc.Sequential(*sequences, parts)),
        *_outputs(facts, (shapes + SEQUENCES) * (1 + pooled), zero),
    )
    choices = [
        Choice("encoding", f"whole series, {POOLED_STEPS} steps", "all of it at once, as a map: position counts"),
        Choice(
            "convolution",
            f"Conv1d, kernel {KERNEL}, dilations {', '.join(map(str, dilations))}",
            "shapes of several lengths, wherever they are; a second one sees which follow one another",
        ),
        Choice(
            "neurons",
            f"{shapes} and {SEQUENCES} channels of Leaky(beta=0.5)",
            "each says whether its shape, or its sequence of shapes, is there",
        ),
        Choice(
            "pooling",
            f"means of the whole and of {pooled} parts",
            "the share of places that have the shape, as in MiniRocket; the parts say where",
        ),
        NORM,
        ZERO,
    ]
    return _beside_linear(facts, body, zero), [*choices, *_shortcut(facts)]


def _forecast(facts: Facts) -> Body:
    (steps, series), ahead, zero = facts.shape, facts.ahead, init.constant(0.0)
    spiking = sc.Sequential(
        sc.Conv1d(steps, HIDDEN, 1),
        sc.BatchNorm1d(HIDDEN),
        sc.Leaky(beta=0.5),
        sc.Dropout(DROPOUT),
        sc.Conv1d(HIDDEN, ahead, 1, weight_init=zero),
    )
    scaled = sc.Permute((1, 0)), sc.Standardize(series), sc.Permute((1, 0))
    body = sc.Add(sc.Conv1d(steps, ahead, 1, weight_init=zero), spiking)
    return sc.Sequential(*scaled, body, sc.Flatten(), sc.LI(beta=0.9)), [
        scaling(series),
        Choice("encoding", f"whole series, {POOLED_STEPS} steps", "all of it at once: the answer is due at its end"),
        Choice(
            "forecast",
            f"{ahead} steps of each series by itself",
            "targets continue the series; weights that all series share have few windows to fit noise to",
        ),
        Choice("neurons", f"{HIDDEN} Leaky(beta=0.5) a series", "behind a Conv1d of kernel 1: steps are its channels"),
        NORM,
        Choice("shortcut", "Conv1d, kernel 1, added", SHORTCUT.why),
        ZERO,
        READOUT._replace(why="its membrane is a number, as what is forecast"),
    ]


def _images(facts: Facts) -> Body:
    channels, height, width = facts.shape
    side, stride, zero = min(4, height, width), 2 if min(height, width) > 16 else 1, init.constant(0.0)
    spiking: Layer = sc.Sequential(
        sc.Conv2d(channels, CHANNELS, 5, padding=2, stride=stride),
        sc.BatchNorm2d(CHANNELS),
        sc.Leaky(beta=0.5),
        sc.Conv2d(CHANNELS, 2 * CHANNELS, 3, padding=1, stride=stride),
        sc.BatchNorm2d(2 * CHANNELS),
        sc.Leaky(beta=0.5),
        sc.AdaptiveAvgPool2d((side, side)),
        sc.Flatten(),
        *_outputs(facts, 2 * CHANNELS * side * side, zero),
    )
    return _beside_linear(facts, spiking, zero), [
        Choice(
            "encoding", f"constant, {POOLED_STEPS} steps", "an image has no time; the convolution learns the currents"
        ),
        Choice(
            "neurons",
            f"{CHANNELS} and {2 * CHANNELS} channels of Leaky(beta=0.5)",
            f"behind a Conv2d of 5 x 5 and one of 3 x 3, each of stride {stride}",
        ),
        Choice("pooling", f"mean over {side} x {side} parts", "where in the image does not matter to the pixel"),
        NORM,
        ZERO,
        *_shortcut(facts),
    ]
