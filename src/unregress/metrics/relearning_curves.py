"""The figure of relearning: the monitored loss step by step, for each model and for all golds together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from math import inf, isfinite

import numpy as np

from unregress.evidence import Curve, Figure
from unregress.metrics.base import Panel
from unregress.metrics.relearning import Relearning


def relearning_figure(panel: Panel, runs: Mapping[str, Sequence[Relearning]], threshold: float) -> Figure:
    """The relearning curves: one for each model, and one for all golds under the first one's name."""
    pooled: dict[str, list[Relearning]] = {}
    golds = [gold.name for gold in panel.golds]
    for model, found in runs.items():
        pooled.setdefault(golds[0] if model in golds else model, []).extend(found)
    return Figure(
        key="relearning",
        title="Relearning the forgotten samples",
        caption="Loss on samples of the forgotten kind while each model is trained on all data again: the median over "
        "several orders of the data, for the retrained models over all of them too.  A curve ends where half of its "
        "runs had come down to the threshold or were cut off.  Above the threshold, losses may be estimated from a "
        "part of the samples.  A model that forgot relearns like the retrained models; one that remembers reaches "
        "the threshold at once.",
        x_label="training steps",
        y_label="loss",
        curves=tuple(median_curve(model, found) for model, found in pooled.items()),
        threshold=threshold,
    )


def median_curve(model: str, runs: Sequence[Relearning]) -> Curve:
    """The median of several relearnings, step by step, until half of them have ended.

    A run that reached the threshold stays there from then on, and one that was cut off counts as above all others, so
    that the curve meets the threshold where half of the runs had met it.
    """
    end = sorted(run.steps for run in runs)[len(runs) // 2]
    rows = [
        [run.losses[min(step, run.steps)] if step <= run.steps or run.reached else inf for step in range(end + 1)]
        for run in runs
    ]
    y = tuple(takewhile(isfinite, np.median(rows, axis=0).tolist()))
    return Curve(model=model, x=tuple(float(step) for step in range(len(y))), y=y)
