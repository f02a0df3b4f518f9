"""The table of ``benchmarks.learns``: scores by set and method; whether the recipe is worse than a linear method."""

from __future__ import annotations

import math
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from benchmarks.learns.sets import names

LINEAR = ("logistic", "ridge")
NAMES = ("recipe", "logistic", "ridge", "strong", "snntorch")
# the 97.5 % quantile of Student's t by degrees of freedom; beyond them that of the normal distribution
T975 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26, 10: 2.23}

Runs = Dict[Tuple[str, str], List[Dict[str, Any]]]


def losses(line: Dict[str, Any]) -> np.ndarray:
    """The loss of each test sample of a line."""
    return np.array([float(c) for c in line["losses"]])


def worse(ours: Sequence[Dict[str, Any]], theirs: Sequence[Dict[str, Any]]) -> bool:
    """Whether we are worse at a level of 5 %, two-sided, by pairs of the same test samples.

    With several splits by their means over seeds, whose variance is corrected for the samples that splits share
    (Nadeau and Bengio, 2003); with one by its test samples.
    """
    pairs: Dict[int, np.ndarray] = {}
    for split in sorted({line["split"] for line in ours} & {line["split"] for line in theirs}):
        mine, other = (
            np.mean([losses(line) for line in side if line["split"] == split], axis=0) for side in (ours, theirs)
        )
        pairs[split] = mine - other
    if len(pairs) > 1:
        means = np.array([pair.mean() for pair in pairs.values()])
        shared = len(next(iter(pairs.values()))) / ours[0]["train"]
        error = math.sqrt(means.var(ddof=1) * (1.0 / len(means) + shared))
    else:
        means = next(iter(pairs.values()))
        error = math.sqrt(means.var(ddof=1) / len(means))
    return bool(means.mean() > T975.get(len(means) - 1, 1.96) * error and means.mean() > 0)


def table(lines: Sequence[Dict[str, Any]], part: str) -> str:
    """The table, in Markdown, and its summary."""
    runs: Runs = {}
    for line in lines:
        runs.setdefault((line["set"], line["method"]), []).append(line)
    shown = [name for name in names(part) if (name, "recipe") in runs]
    rows = [f"| set | samples | {' | '.join(NAMES)} | worse than linear |", "|---" * (len(NAMES) + 3) + "|"]
    ranks: Dict[str, List[float]] = {}
    chance, lost, last, behind, compared = [], [], [], [], 0
    for name in shown:
        means = {
            method: float(np.mean([line["score"] for line in runs[name, method]]))
            for method in NAMES
            if (name, method) in runs
        }
        first = runs[name, "recipe"][0]
        sign = -1.0 if first["classes"] else 1.0  # errors are to be small
        linear = [method for method in LINEAR if method in means]
        best = min(linear, key=lambda method: sign * means[method])
        is_worse = worse(runs[name, "recipe"], runs[name, best])
        lost += [name] * is_worse
        everyday = [m for m in means if m not in LINEAR] + [best]
        order = sorted(sign * means[m] for m in everyday)
        for method in everyday:
            at = [i for i, value in enumerate(order) if value == sign * means[method]]
            ranks.setdefault("linear" if method in LINEAR else method, []).append(1.0 + float(np.mean(at)))
        if sign * means["recipe"] == order[-1] and order[0] < order[-1]:
            last.append(name)
        if "snntorch" in means:
            compared += 1
            behind += [name] * (sign * means["snntorch"] > sign * means["recipe"])
        most = 0.0
        if first["classes"]:
            most = 1.0 / first["classes"]
        chance += [name] * (means["recipe"] <= 1.1 * most if first["classes"] else means["recipe"] >= 1.0)
        texts = [
            f"{100 * means[m]:.1f}" if first["classes"] and m in means else f"{means[m]:.3f}" if m in means else "–"
            for m in NAMES
        ]
        rows.append(f"| {name} | {first['train']} | {' | '.join(texts)} | {'yes' if is_worse else 'no'} |")
    count = max(1, len(shown))
    said = ", ".join(
        f"{name} {np.mean(values):.2f}" for name, values in sorted(ranks.items(), key=lambda p: np.mean(p[1]))
    )
    return "\n".join(
        [
            *rows,
            "",
            f"{len(shown)} sets. Mean ranks: {said}. At chance: {chance or 'none'}. Worse than the better linear "
            f"method: {lost or 'none'} ({100 * (1 - len(lost) / count):.0f} % are not). Last: {last or 'none'}. "
            f"snnTorch is behind on {len(behind)} of {compared}.",
        ]
    )
