"""Whether never-seen samples can stand for the forgotten ones: in which kind of groups, and whether at all."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np
import torch

from unregress.data.case import Case
from unregress.data.hashing import columns
from unregress.data.loading import chunked, read_targets
from unregress.data.request import Index
from unregress.data.splits import Split
from unregress.evidence.table_verdict import TABLE_LEVEL
from unregress.hooks.activations import narrowed
from unregress.metrics.memory_groups import (
    Groups,
    lengths_of_runs,
    matched,
    matched_groups,
    needed,
    of_people,
    of_runs,
    random_of,
)
from unregress.metrics.predictions import Values

Kind = Literal["people", "stretches", "matched", "random"]
"""What the groups of never-seen samples consist of: people with all of their samples, stretches of a series, samples
of nearly the same targets, or random ones."""
FEW_RUNS = 4
"""Forgotten samples for each run of consecutive ones from which on they are a stretch of a series or of a sorted
table."""
ALIKE_LEVEL = TABLE_LEVEL
"""How often a random request is taken for one whose samples are alike, as often as the verdict is wrong to a side."""
COMPARED = 1000
"""Largest number of never-seen samples whose inputs are read, and number of random groups."""
BATCH = 50
"""Random groups that are compared at a time, for the memory."""
WIDTH = 512
"""Largest number of inputs that are compared; more are averaged in equal parts."""


def kind_of_request(case: Case, rows: Index) -> Kind:
    """The kind of groups of never-seen samples that are like the forgotten ones.

    Args:
        case: the request and the data.
        rows: positions of the never-seen samples in the test set.
    """
    request = case.requested
    if people_of(case, rows):
        return "people"
    if len(lengths_of_runs(request.forget)) <= len(request.forget) / FEW_RUNS:
        return "stretches"
    if request.target_band is not None or _differ(*_both_targets(case, rows)):
        return "matched"
    return "random"


def groups_like(case: Case, rows: Index, wanted: Values, there: Values, draws: int, rng: np.random.Generator) -> Groups:
    """Groups of never-seen samples like the forgotten ones.

    Args:
        case: the request and the data.
        rows: positions of the never-seen samples in the test set.
        wanted: targets of the forgotten samples.
        there: those of the never-seen ones.
        draws: number of groups.
        rng: random draws.
    """
    kind = kind_of_request(case, rows)
    if kind == "people":
        return of_people(people_of(case, rows), forgotten_people(case), draws, rng)
    if kind == "stretches":
        return of_runs(len(rows), lengths_of_runs(case.requested.forget), draws, rng)
    if kind == "matched":
        first, second = (np.nan_to_num(each).reshape(len(each), -1) for each in (wanted, there))
        return matched(first, second, draws, rng)
    return random_of(len(rows), len(wanted), draws, rng)


def people_of(case: Case, rows: Index) -> list[Hashable]:
    """The person of each never-seen sample where people are forgotten; empty otherwise, and where there is one."""
    subjects = case.splits.test_subjects
    people = [] if subjects is None or case.requested.by != "subjects" else [subjects[row] for row in rows]
    return people if len(set(people)) > 1 else []


def forgotten_people(case: Case) -> list[Hashable]:
    """The person of each forgotten sample."""
    subjects = case.splits.subjects or ()
    return [subjects[row] for row in case.requested.forget]


def unfit(case: Case, rows: Index) -> str:
    """Why never-seen samples cannot stand for the forgotten ones; empty if they can.

    They are too few; or the forgotten ones are alike where random ones are not: all of one company, say.  A leave-out
    model then saw others of that company, and a model that was retrained without any of them answers otherwise without
    any memory.  Told by a permutation test of the inputs, over people where people are forgotten.

    Args:
        case: the request and the data.
        rows: positions of the never-seen samples in the test set.
    """
    forget, people = case.requested.forget, people_of(case, rows)
    units = len(set(forgotten_people(case))) if people else len(forget)
    if (seen := len(set(people)) if people else len(rows)) < needed(units):
        what = "people" if people else "samples"
        return (
            f"the leave-out table has too few never-seen {what} in the test data: {units} forgotten ask for "
            f"{needed(units)}, and there are {seen}"
        )
    if len(rows) < 2 * len(forget):
        # People of few samples do not make up a group of as many samples.
        return (
            f"the leave-out table has too few never-seen samples in the test data: {len(forget)} forgotten ask for "
            f"{2 * len(forget)}, and there are {len(rows)}"
        )
    # A single one is like itself; neighbours in a series are alike, and compared with such.
    if units == 1 or (kind := kind_of_request(case, rows)) == "stretches":
        return ""
    rng = np.random.default_rng(0)
    others = rows
    if kind == "matched":
        wanted, there = map(np.nan_to_num, _both_targets(case, rows))
        others = np.unique(rows[matched_groups(wanted, there, 4, rng)])
    elif len(rows) > COMPARED and not people:
        others = np.sort(rng.choice(rows, COMPARED, replace=False))
    own, there = (
        _inputs(case, *each, targets=kind != "matched") for each in (("train_eval", forget), ("test", others))
    )
    if own.shape[1:] != there.shape[1:] or not own.shape[1]:
        return ""
    if people:
        own, there = _means(own, forgotten_people(case)), _means(there, people)
    if alike(own, there, rng) > ALIKE_LEVEL:
        return ""
    called = "people" if people else "samples"
    return (
        f"the forgotten {called} are alike in their inputs where random {called} are not, and the leave-out models saw "
        "others like them: only retrained models can tell"
    )


def alike(own: Values, there: Values, rng: np.random.Generator) -> float:
    """Permutation p-value of whether some units are a random part of all units, by their values.

    Three statistics share the level: how far the mean of any column is off, how little any column varies, and how
    little all of them do.

    Args:
        own: `(m, columns)`.
        there: of the others, `(u, columns)`.
        rng: random draws.

    >>> rng = np.random.default_rng(0)
    >>> there = rng.normal(size=(100, 3))
    >>> alike(rng.normal(size=(5, 3)), there, rng) > 0.05, alike(np.full((5, 3), 0.1), there, rng) < 0.01
    (True, True)
    """
    from scipy.stats import permutation_test

    values = np.concatenate([own, there])
    spread = values.std(axis=0)
    values = (values - values.mean(axis=0))[:, spread > 0] / spread[spread > 0]
    if not values.shape[1]:
        return 1.0

    def off(units: Index, others: Index, axis: int) -> Values:
        return np.asarray(np.abs(values[units].mean(axis=-2)).max(axis=-1))

    def alike_in_one(units: Index, others: Index, axis: int) -> Values:
        return np.asarray(-values[units].var(axis=-2).round(12).min(axis=-1))

    def alike_in_all(units: Index, others: Index, axis: int) -> Values:
        return np.asarray(-values[units].var(axis=-2).sum(axis=-1))

    statistics = [off, alike_in_one, alike_in_all] if len(own) > 1 else [off]
    # Positions are permuted, so that a unit keeps all of its columns.
    positions = np.split(np.arange(len(values)), [len(own)])
    found = [
        permutation_test(
            positions, each, vectorized=True, n_resamples=COMPARED, batch=BATCH, alternative="greater", random_state=rng
        ).pvalue
        for each in statistics
    ]
    return min(1.0, len(statistics) * float(min(found)))


def _inputs(case: Case, split: Split, rows: Sequence[int] | Index, *, targets: bool) -> Values:
    """The numbers of some samples as a batch has them, flattened, `(n, columns)`; no columns where they differ in size.

    Args:
        case: the data.
        split: the split.
        rows: positions in it.
        targets: whether targets are among them.
    """
    found: list[torch.Tensor] = []
    for batch in case.source(split).fetch(chunked(torch.as_tensor(np.asarray(rows, np.int64)), 256)):
        size, target = len(batch.index), case.task.target(batch.data)
        flat = [each.reshape(size, -1).double().cpu() for each in columns(batch.data, size) if hasattr(each, "reshape")]
        if not targets:
            own = target.reshape(len(target), -1).double().cpu()
            flat = [each for each in flat if not torch.equal(each.nan_to_num(), own.nan_to_num())]
        found.append(narrowed(torch.cat(flat, dim=1), WIDTH) if flat else torch.empty(size, 0))
    if len({each.shape[1] for each in found}) != 1:
        return np.zeros((len(rows), 0))
    values: Values = torch.cat(found).nan_to_num().numpy().astype(np.float64)
    return values


def _means(values: Values, people: Sequence[Hashable]) -> Values:
    """Each person's mean, `(people, columns)`."""
    _, unit, counts = np.unique(np.array([str(each) for each in people]), return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), values.shape[1]))
    np.add.at(sums, unit, values)
    found: Values = sums / counts[:, None]
    return found


def _both_targets(case: Case, rows: Index) -> tuple[Values, Values]:
    """Targets of the forgotten and of the never-seen samples, `(n, outputs)`."""
    wanted: list[tuple[Split, Sequence[int] | Index]] = [("train_eval", case.requested.forget), ("test", rows)]
    found = [read_targets(case.source(split), case.task, torch.as_tensor(np.asarray(each))) for split, each in wanted]
    first, second = (each.double().reshape(len(each), -1).numpy() for each in found)
    return first, second


def _differ(wanted: Values, there: Values) -> bool:
    """Whether forgotten and never-seen samples have targets of other distributions, at a level of 5 %."""
    from scipy.stats import ks_2samp

    outputs = wanted.shape[1]
    pairs = ((wanted[:, each], there[:, each]) for each in range(outputs))
    known = ((a[~np.isnan(a)], b[~np.isnan(b)]) for a, b in pairs)
    return any(len(a) and len(b) and ks_2samp(a, b).pvalue < 0.05 / outputs for a, b in known)
