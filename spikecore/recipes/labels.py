"""The rules for a class at every step: a network that sees delayed inputs, and updates for parts of a series."""

from __future__ import annotations

import math
from typing import Any, Dict, List, Tuple

import spikecore as sc
from spikecore import functional, init, surrogate
from spikecore.base import Layer
from spikecore.recipes.look import Facts
from spikecore.recipes.rules import FEWEST_EPOCHS, NORM, Choice, batch_size, cosine, scaling

HIDDEN, DELAYS = 36, 32
PARTS, UPDATES, LR, CLIP, MOST = 8, 6000, 1e-2, 1.0, 32  # MOST: samples of a batch


def network(facts: Facts) -> Tuple[Layer, List[Choice]]:
    """The network, and what was chosen in it."""
    features, shortest = facts.shape[1], round(facts.scales[0], 2)
    apart = max(1, round(3.0 * shortest))
    delays = [apart * k for k in range(1, 1 + max(1, min(DELAYS, int(facts.scales[1] / apart))))]
    earlier = sc.Concat(sc.Identity(), *(sc.Delay(d) for d in delays))
    smoothed = sc.Sequential(sc.LI(beta=round(math.exp(-2.0 / apart), 4)), earlier)
    inputs = features * (len(delays) + 2)
    neurons = sc.ALIF(
        beta=sc.learn_tau(init.uniform(shortest, 4.0 * apart)),
        rho=sc.learn_tau(init.uniform(float(apart), float(apart + delays[-1]))),
        adaptation=sc.learn(1.8, per="neuron"),
        surrogate=surrogate.fast_sigmoid(25),
    )
    layers = (
        sc.Standardize(features),
        sc.Concat(sc.Identity(), smoothed),
        sc.BatchNorm1d(inputs),
        *(sc.Linear(inputs, HIDDEN), sc.BatchNorm1d(HIDDEN), neurons),
        *(sc.Linear(HIDDEN, facts.outputs), sc.LI(beta=sc.learn_tau(5.0, per="neuron"))),
    )
    return sc.Sequential(*layers), [
        scaling(features),
        Choice(
            "encoding",
            f"sequence, {len(delays)} delays of {apart} to {delays[-1]} steps",
            f"what a step is depends on what was when; a delay every {apart} steps, three times the {shortest:g} after "
            "which the data resemble themselves by 1/e; an LI before them keeps what is between",
        ),
        Choice("neurons", f"{HIDDEN} ALIF, decays learned", "thresholds that rise tell what begins from what goes on"),
        NORM,
        Choice("readout", "LI, decays learned", "an output that is a number ranks the classes, and does not flicker"),
    ]


def training(facts: Facts) -> Tuple[Dict[str, Any], Dict[str, Any], List[Choice]]:
    """The arguments of ``fit``, those of them that feed samples, and what was chosen."""
    feed: Dict[str, Any] = {"time_axis": 1}
    batch, part = batch_size(facts.samples, MOST), math.ceil(facts.steps / PARTS)
    parts = 1 if facts.unequal else math.ceil(facts.steps / part)
    updates = parts * math.ceil(facts.samples / batch)
    epochs = max(FEWEST_EPOCHS, round(UPDATES / updates))
    rates, how_rates = cosine(epochs)
    arguments = {
        "loss": functional.ce_step_loss(),
        "metric": "accuracy_step",
        "optimizer": sc.AdamW(lr=LR, weight_decay=0.0, clip_norm=CLIP),
        "schedule": rates,
        "epochs": epochs,
        "batch_size": batch,
        **({"learning": sc.BPTT(update_every=part)} if parts > 1 else {}),
        **feed,
    }
    several = f"BPTT(update_every={part})", "steps have classes of their own, so each part of a series teaches"
    whole = "BPTT over whole series", "series differ in length, or are short"
    return (
        arguments,
        feed,
        [
            Choice("loss", "ce_step_loss", "cross-entropy of each step with its class; steps of class -1 do not count"),
            Choice("learning", *(several if parts > 1 else whole)),
            Choice("optimizer", f"AdamW(lr={LR:g})", "a high rate, since it falls to 0; steps are many, and no decay"),
            Choice("clipping", f"clip_norm={CLIP:g}", "a long series can make a huge gradient"),
            how_rates,
            Choice("batch size", f"{batch}", f"small, since each sample has {facts.steps} targets"),
            Choice("epochs", f"{epochs}", f"{epochs * updates} updates of the weights, and at least {FEWEST_EPOCHS}"),
        ],
    )
