"""How often never-seen samples lean as far from the golds towards their true values as the forgotten ones do.

A model that differs from the golds in some other way, such as by a shorter training, leans on samples that it never saw
as it does on the forgotten ones.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from unregress.evidence import Part
from unregress.evidence.findings import BY_CHANCE
from unregress.metrics.base import NEVER_SEEN, MetricResult, Panel, measured, without_value
from unregress.metrics.memory_groups import Groups, needed, random_of
from unregress.metrics.memory_kept import held_out
from unregress.metrics.memory_slope import chance, memory_kept
from unregress.metrics.predictions import Values
from unregress.metrics.request_likeness import Likeness

FORGOTTEN: list[Part] = ["train-forget"]
DRAWS = 1000
"""Number of random groups of never-seen samples."""


def memory_by_chance(panel: Panel, unit: float, scale: float) -> Iterator[MetricResult]:
    """The p-value of every model, compared with golds; without value where never-seen samples cannot stand in.

    Args:
        panel: the audited models, of which two or more are golds.
        unit: divisor of predictions and targets, so that large ones can be squared.
        scale: as for `memory_kept`, in these units.
    """
    found = _groups(panel)
    if isinstance(found, str):
        yield from without_value([BY_CHANCE], "train-forget", [each.name for each in panel.subjects], found)
        return
    parts, groups = found
    target, there = panel.original.parts["train-forget"].target / unit, _targets(panel, parts) / unit
    for subject in panel.subjects:
        golds = panel.others(subject)
        center, new = (np.mean([gold.answers(each) for gold in golds], axis=0) / unit for each in (FORGOTTEN, parts))
        slope = memory_kept(subject.answers(FORGOTTEN) / unit, target, center, scale)
        own = subject.answers(parts) / unit
        value = chance(slope, own, there, new, groups.positions, scale, groups.widening)
        yield measured(metric=BY_CHANCE, split="train-forget", model=subject.name, value=value, note=groups.how)


def _groups(panel: Panel) -> tuple[list[Part], Groups] | str:
    """The parts that no model saw and groups of their samples, taken one after the other; or why there are none."""
    case, wanted = panel.case, panel.original.parts["train-forget"].target
    parts = list(held_out(panel)) if case is not None else [part for part in NEVER_SEEN if part in panel.parts]
    rows = np.concatenate([np.zeros(0, np.int64), *(panel.original.parts[part].index for part in parts)])
    if len(rows) < needed(len(wanted)):
        return f"{len(wanted)} forgotten samples ask for {needed(len(wanted))} never-seen ones; there are {len(rows)}"
    rng = np.random.default_rng(panel.runtime.generator("memory-by-chance").initial_seed())
    if case is None:
        return parts, random_of(len(rows), len(wanted), DRAWS, rng)
    like = Likeness(case, rows, (wanted, _targets(panel, parts)))
    if like.unfit:
        return "never-seen samples are too few, or not like the forgotten ones"
    return parts, like.groups(DRAWS, rng)


def _targets(panel: Panel, parts: list[Part]) -> Values:
    found: Values = np.concatenate([panel.original.parts[part].target for part in parts])
    return found
