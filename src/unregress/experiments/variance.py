"""How much of a measure's variance is due to training, and how much to unlearning: several repetitions per original."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from unregress.evidence import AuditReport
from unregress.evidence.nested_variance import nested_variance
from unregress.report.formatting import significant

MEASURES = (("mae", "train-forget"), ("paired", "train-forget"), ("mae", "test-retain"))
"""What is measured of each repetition: error and distance on the forgotten samples, and the error on what was kept."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The standard deviations of one measure of one method after one request, of originals and repetitions apart."""

    stage: int
    """Number of the request, from 1."""
    model: str
    metric: str
    title: str
    split: str
    values: tuple[tuple[float, ...], ...]
    """Values by original, of each repetition."""
    training: float
    """Between originals; 0 where the estimated variance is negative."""
    unlearning: float
    """Between repetitions on one original."""
    share: float
    """Share of a single model's variance that is due to training."""
    interval: tuple[float, float]
    """95 % confidence interval of the share, if values vary normally."""


def spreads(repeated: Sequence[Sequence[Sequence[AuditReport]]]) -> tuple[Spread, ...]:
    """Split the variance of each method's measures; nothing with fewer than two originals or repetitions.

    Args:
        repeated: for each request and original, the audits of all repetitions.
    """
    return tuple(each for stage, originals in enumerate(repeated, 1) for each in _of_stage(stage, originals))


def _of_stage(stage: int, originals: Sequence[Sequence[AuditReport]]) -> Iterator[Spread]:
    if len(originals) < 2 or len(originals[0]) < 2:
        return
    first = originals[0][0]
    titles = {about.metric: about.title for about in first.about}
    for model in first.named("unlearned"):
        for metric, split in MEASURES:
            values = [[report.value_of(metric, split, model) for report in each] for each in originals]
            known = tuple(tuple(value for value in each if value is not None) for each in values)
            if any(None in each for each in values) or not np.isfinite(known).all():
                continue
            found = nested_variance(np.array(known))
            yield Spread(
                stage=stage,
                model=model,
                metric=metric,
                title=titles[metric],
                split=split,
                values=known,
                training=max(found.training, 0.0) ** 0.5,
                unlearning=found.unlearning**0.5,
                share=found.share,
                interval=found.share_interval(),
            )


def table(found: Sequence[Spread]) -> list[tuple[str, ...]]:
    """Cells of a table: measure, method, both standard deviations, the share of training with its interval."""
    several = len({each.stage for each in found}) > 1
    return [
        (
            f"{each.title}, {each.split}" + (f", request {each.stage}" if several else ""),
            each.model,
            significant(each.training),
            significant(each.unlearning),
            "–" if np.isnan(each.share) else f"{each.share:.0%} ({each.interval[0]:.0%} to {each.interval[1]:.0%})",
        )
        for each in found
    ]


HEADINGS = ("measure", "method", "between originals", "between repetitions", "share of training (95 %)")
"""Headings of `table`; the two spreads are standard deviations."""


def markdown(found: Sequence[Spread]) -> str:
    """The table in Markdown, after a sentence that says what it shows; empty without any."""
    if not found:
        return ""
    originals, repetitions = len(found[0].values), len(found[0].values[0])
    lines = [f"| {' | '.join(row)} |" for row in (HEADINGS, ["---"] * len(HEADINGS), *table(found))]
    lead = f"Standard deviations of {repetitions} repetitions of unlearning on each of {originals} originals."
    return f"\n{lead}\n\n" + "\n".join(lines) + "\n"
