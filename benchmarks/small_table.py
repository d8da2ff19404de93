"""False alarms and power of an audit by a leave-out table: how often models with a known memory are flagged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from unregress import LeaveOutEdit
from unregress.data.loading import read_targets
from unregress.data.sample_keys import sample_keys
from unregress.evidence.table_verdict import TABLE_LEVEL
from unregress.hooks.raw_predictions import predict_rows
from unregress.metrics.memory_groups import Groups, lengths_of_runs, needed, of_people, of_runs, random_of
from unregress.metrics.memory_slope import memory_kept, null_of, p_value
from unregress.metrics.predictions import Values

if TYPE_CHECKING:
    from small_requests import Measurement

SIZES = (1, 5, 20, 50)
"""Sizes of the groups of forgotten samples, or of people where requests name people."""
SUBSETS = 40
DRAWS = 400


def audit_rates(measurement: Measurement, edit: LeaveOutEdit) -> dict[str, Any]:
    """The share of groups for which each kind of model is flagged, on either side at the verdict's level."""
    problem, trainings = measurement.problem, measurement.trainings
    case, table = trainings.case(), measurement.judging
    rng = np.random.default_rng(3)
    seen = case.rows("test")
    hashes = sample_keys(case.splits, "test")
    known = {key: place for place, key in enumerate(table.unseen_keys)}
    rows = np.array([row for row in seen if hashes[row] in known])
    unseen = _flat(problem.task.point(table.unseen[[known[hashes[row]] for row in rows]]))
    target = _flat(read_targets(case.source("test"), problem.task, torch.from_numpy(rows)))
    scale = float(((target - unseen) ** 2).mean())
    subjects, held = problem.splits.subjects, problem.splits.test_subjects
    people = None if subjects is None or held is None or len(set(held)) < 2 else [held[row] for row in rows]
    there = len(set(people)) if people else len(rows)

    def groups_like(asked: tuple[int, ...], group: list[int], stretch: bool) -> Groups:
        """Groups of never-seen samples like a group of forgotten ones."""
        if people is not None and subjects is not None:
            return of_people(people, [subjects[asked[place]] for place in group], DRAWS, rng)
        if stretch:
            return of_runs(len(rows), [len(group)], DRAWS, rng)
        return random_of(len(rows), len(group), DRAWS, rng)

    def models_of(asked: tuple[int, ...]) -> dict[tuple[str, int], tuple[Values, Values]]:
        """Predictions of the forgotten and of the never-seen samples, by kind and number of the model."""
        coupled, others = trainings.coupled(asked), trainings.others(asked)
        found = {("gold of another start", k): predicted(gold.model, asked) for k, gold in enumerate(others)}
        original = predicted(trainings.original(0).model, asked)
        for k, each in enumerate(coupled):
            gold = predicted(each.model, asked)
            found["gold", k] = gold
            for share in (0.1, 0.25, 0.5):
                forgotten, held_out = ((1 - share) * a + share * b for a, b in zip(gold, original, strict=True))
                found[f"keeps {share:.0%}", k] = forgotten, held_out
        made = measurement.unlearned(edit, asked).model
        return found | {("original", 0): original, ("LeaveOutEdit", 0): predicted(made, asked)}

    def predicted(model: nn.Module, asked: tuple[int, ...]) -> tuple[Values, Values]:
        raw = predict_rows(model, case, "test", rows, measurement.runtime)
        return measurement.points(model, asked), _flat(problem.task.point(raw))

    requests = [(asked, models_of(asked)) for asked in problem.judged.values()]
    for asked, several in trainings.further():
        requests.append((asked, {("gold", k): predicted(gold.model, asked) for k, gold in enumerate(several)}))
    flagged: dict[str, dict[int, list[bool]]] = {}
    pushed: dict[str, dict[int, list[bool]]] = {}
    for asked, models in requests:
        left_out = _flat(problem.task.point(table.targets(trainings.case(asked))))
        truth = measurement.targets(asked)
        for size in SIZES:
            stretch = len(lengths_of_runs(asked)) == 1 and not people
            groups = (
                _stretches(asked, size, rng) if stretch else _subsets(asked, size, subjects if people else None, rng)
            )
            # With fewer never-seen ones the audit does not judge.
            if not groups or needed(size) > there:
                continue
            # People differ in their numbers of samples, and so do the groups to compare with.
            like = {len(group): group for group in groups}
            drawn = {count: groups_like(asked, group, stretch) for count, group in like.items()}
            for (kind, _), (own, other) in models.items():
                nulls = {
                    count: null_of(other, target, unseen, each.positions, scale, each.widening).slopes
                    for count, each in drawn.items()
                }
                for group in groups:
                    slope, null = memory_kept(own[group], truth[group], left_out[group], scale), nulls[len(group)]
                    beyond = p_value(slope, null) <= TABLE_LEVEL, slope < np.quantile(null, TABLE_LEVEL)
                    for side, is_beyond in zip((flagged, pushed), beyond, strict=True):
                        side.setdefault(kind, {}).setdefault(size, []).append(bool(is_beyond))
    return {
        "unit": "people" if people else "samples, neighbours in a series" if stretch else "samples",
        "level": TABLE_LEVEL,
        "flagged": _shares(flagged),
        "pushed": _shares(pushed),
    }


def _shares(flagged: dict[str, dict[int, list[bool]]]) -> dict[str, dict[str, list[float]]]:
    """The share of groups that are flagged, and their number, by kind of model and size."""
    return {
        kind: {str(size): [round(float(np.mean(each)), 3), len(each)] for size, each in found.items()}
        for kind, found in flagged.items()
    }


def _flat(values: torch.Tensor) -> Values:
    found: Values = values.double().numpy().reshape(len(values), -1)
    return found


def _stretches(asked: tuple[int, ...], size: int, rng: np.random.Generator) -> list[list[int]]:
    """Places of random stretches of a request that is one stretch."""
    if size > len(asked):
        return []
    starts = rng.choice(len(asked) - size + 1, min(SUBSETS, len(asked) - size + 1), replace=False)
    return [list(range(start, start + size)) for start in starts]


def _subsets(asked: tuple[int, ...], size: int, subjects: Any, rng: np.random.Generator) -> list[list[int]]:
    """Places, among a request's samples, of random groups of samples or of people."""
    units: dict[Any, list[int]] = {}
    for place, row in enumerate(asked):
        units.setdefault(row if subjects is None else subjects[row], []).append(place)
    members = list(units.values())
    if size > len(members):
        return []
    count = 1 if size == len(members) else min(SUBSETS, len(members)) if size == 1 else SUBSETS
    return [
        sorted(place for unit in rng.choice(len(members), size, replace=False) for place in members[unit])
        for _ in range(count)
    ]
