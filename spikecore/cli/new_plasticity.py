"""The tables of a new run file for a network that learns without labels: ``spikecore init DATASET --plasticity``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np

from spikecore.cli.messages import ConfigError
from spikecore.cli.new_network import comment
from spikecore.cli.starts import Start

TRAIN: Dict[str, Any] = {
    "epochs": 12,
    "metric": ["rate", "accuracy_vote"],
    "schedule": {"kind": "exponential", "factor": 0.85},
}
#: Keys of the table [train] that are for gradients.
ABSENT: Tuple[str, ...] = tuple("loss regularisers optimizer compute learning pruning rewiring early_stopping".split())
STEPS, WINS = 50, 5  # WINS: spikes of all neurons together for a sample; thresholds see to that


def check_static(start: Start) -> None:
    """Refuse data that are sequences already.

    Raises:
        ConfigError: they are.
    """
    if start.time_axis is not None:
        raise ConfigError(
            [f"--plasticity makes spikes of samples without time: leave it out, or --time-axis {start.time_axis}"]
        )
    if start.recorded:
        raise ConfigError([f"--plasticity: takes images and arrays, which spikes encode, not {start.what}"])


def check_range(path: Path, inputs: np.ndarray) -> None:
    """Refuse inputs that are no probabilities of spikes: the encoder would take all above 1 for 1.

    Raises:
        ConfigError: they are outside [0, 1].
    """
    low, high = inputs.min(), inputs.max()
    if not 0.0 <= low <= high <= 1.0:
        raise ConfigError(
            [f"--path {path}: x_train goes from {low:g} to {high:g}; for --plasticity, which makes spikes of it, scale "
             "it to [0, 1]"]
        )  # fmt: skip


def neurons(start: Start) -> int:
    """Number of neurons that share the samples."""
    return 100 if start.features <= 100 else 400


def tables(start: Start) -> Tuple[List[str], List[str]]:
    """The tables ``[network]`` and ``[encoder]``."""
    return _network(start), _encoder(start)


def _encoder(start: Start) -> List[str]:
    """Random spikes, more of them where a sample has few features."""
    return [
        "[encoder]",
        *comment("random spikes: at most one per step, with gain times the input (in [0, 1]) as its probability"),
        'kind = "rate"',
        f"num_steps = {STEPS}",
        f"gain = {0.4 if start.features <= 100 else 0.2}",
    ]


def _network(start: Start) -> List[str]:
    """Neurons that compete: the first that fires holds all others down."""
    count, total = neurons(start), _total(start)
    neuron = (
        f'{{ kind = "Leaky", beta = 0.98, threshold = {{ learn = {total / 4:.1f}, per = "neuron" }}, '
        'reset_mechanism = "zero", inhibition = true }'
    )
    lateral = '{ kind = "lateral", value = -100.0 }'
    inputs = f'{{ kind = "Linear", in_features = {start.features}, out_features = {count}, bias = false, weight_init = '
    back = (
        f'{{ kind = "Linear", in_features = {count}, out_features = {count}, bias = false, weight_init = {lateral} }}'
    )
    return [
        "[network]",
        *comment("neurons that compete: the first that fires holds all others down, and learns the sample"),
        "layers = [",
        *(['    "Flatten", # what has several axes becomes a vector'] if start.flatten else []),
        f'    {inputs}{{ kind = "uniform", low = 0.0, high = 0.2 }} }},',
        f'    {{ kind = "Recurrent", neuron = {neuron}, connection = {back} }},',
        "]",
    ]


def learning_tables(start: Start) -> List[str]:
    """Tables of the rules that spikes trigger."""
    first = int(start.flatten)
    rate = WINS / (neurons(start) * STEPS)
    return [
        "[train.learning]",
        *comment("local rules, without gradients; docs/plasticity.md says which rule is for what"),
        'kind = "Plasticity"',
        'reduction = "sum" # "mean" is the default; the sum is close to showing one sample after the other',
        "",
        "[train.learning.rules]",
        *comment("by the name of a layer, counted from 0. A neuron moves towards the samples for which it fires"),
        f"{first} = [",
        '    { kind = "PowerLawSTDP", lr_post = 0.03, x_target = 0.3 },',
        '    { kind = "Bounds", low = 0.0, high = 1.0 },',
        f'    {{ kind = "Normalize", total = {_total(start):.1f} }}, # the sum of the weights of a neuron',
        "]",
        *comment(
            "each spike raises a neuron's threshold, so that none wins always; rate: the spikes per step it shall have"
        ),
        f'{first + 1} = {{ kind = "AdaptiveThreshold", lr = {_total(start) / 80:.2f}, rate = {rate:g} }}',
    ]


def _total(start: Start) -> float:
    """The sum of a neuron's weights: a larger share of all where there are few."""
    return start.features * (0.19 if start.features <= 100 else 0.1)
