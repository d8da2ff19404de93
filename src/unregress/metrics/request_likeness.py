"""Whether never-seen samples can stand for the forgotten ones: in which kind of groups, and whether at all."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
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
"""Groups of people with all of their samples, stretches of a series, samples of similar targets, or random ones."""
FEW_RUNS = 4
"""Forgotten samples for each run of consecutive ones from which on they are a stretch of a series or a sorted table."""
NEIGHBOURS = 0.5
"""Mean squared difference of neighbours, relative to that of any two samples, below which they have an order."""
ALIKE_LEVEL = TABLE_LEVEL
"""How often a random request is taken for one whose samples are alike, as often as the verdict is wrong to a side."""
COMPARED = 1000
"""Largest number of never-seen samples whose inputs are read, and number of random groups."""
BATCH = 50
"""Random groups that are compared at a time, for the memory."""
WIDTH = 512
"""Largest number of inputs that are compared; more are averaged in equal parts."""


@dataclass(frozen=True)
class Likeness:
    """Whether, and in which groups, never-seen samples can stand for the forgotten ones of a request."""

    case: Case
    rows: Index
    """Positions of the never-seen samples in the test set."""
    targets: tuple[Values, Values] | None = None
    """Targets of the forgotten and of the never-seen samples, in any unit; None to read them from the data."""
    besides: str = ""
    """Which other held-out samples do not count, in words, for what says that there are too few."""

    @cached_property
    def kind(self) -> Kind:
        """The kind of groups of never-seen samples that are like the forgotten ones."""
        request = self.case.requested
        if self.people:
            return "people"
        if request.target_band is not None:
            return "matched"
        if len(lengths_of_runs(request.forget)) <= len(request.forget) / FEW_RUNS and self._in_order:
            return "stretches"
        return "matched" if _differ(*self._both_targets) else "random"

    @cached_property
    def people(self) -> list[Hashable]:
        """The person of each never-seen sample where whole people are forgotten; else, or if it is only one, empty."""
        subjects = self.case.splits.test_subjects
        if subjects is None or not self.forgotten_people or self._part_of_people:
            return []
        people: list[Hashable] = [subjects[row] for row in self.rows]
        return people if len(set(people)) > 1 else []

    @cached_property
    def forgotten_people(self) -> list[Hashable]:
        """The person of each forgotten sample; empty where people are not known."""
        subjects = self.case.splits.subjects
        return [] if subjects is None else [subjects[row] for row in self.case.requested.forget]

    def groups(self, draws: int, rng: np.random.Generator) -> Groups:
        """Groups of never-seen samples like the forgotten ones.

        Args:
            draws: number of groups.
            rng: random draws.
        """
        forget = self.case.requested.forget
        if self.kind == "people":
            return of_people(self.people, self.forgotten_people, draws, rng)
        if self.kind == "stretches":
            return of_runs(len(self.rows), lengths_of_runs(forget), draws, rng)
        if self.kind == "matched":
            return matched(*self._matched_targets, draws, rng)
        return random_of(len(self.rows), len(forget), draws, rng)

    @cached_property
    def unfit(self) -> str:
        """Why never-seen samples cannot stand for the forgotten ones; empty if they can.

        Where only a part of a person's samples is forgotten, models without memory know the others.  Or never-seen ones
        are too few; or the forgotten ones are alike where random ones are not: all of one company, say.  A leave-out
        model then saw others of that company, and a model that was retrained without any of them answers otherwise
        without any memory.  Told by a permutation test of the inputs, over people where people are forgotten.
        """
        if self._part_of_people:
            return "a part of a person's samples is forgotten, and the leave-out table left out whole people"
        return self._too_few or self._alike

    @cached_property
    def _part_of_people(self) -> bool:
        subjects = self.case.splits.subjects
        if subjects is None:
            return False
        kept = {subjects[row] for row in self.case.requested.retain}
        return any(person in kept for person in self.forgotten_people)

    @property
    def _units(self) -> int:
        """Number of forgotten people, or samples."""
        return len(set(self.forgotten_people)) if self.people else len(self.case.requested.forget)

    @property
    def _too_few(self) -> str:
        forgotten, there = len(self.case.requested.forget), len(self.rows)
        seen, what = (len(set(self.people)), "people") if self.people else (there, "samples")
        if seen < needed(self._units):
            return (
                f"the leave-out table has too few never-seen {what} in the test data: {self._units} forgotten ask for "
                f"{needed(self._units)}, and there are {seen}{self.besides}"
            )
        if there < 2 * forgotten:
            # People of few samples do not make up a group of as many samples.
            return (
                f"the leave-out table has too few never-seen samples in the test data: {forgotten} forgotten ask for "
                f"{2 * forgotten}, and there are {there}{self.besides}"
            )
        return ""

    @property
    def _alike(self) -> str:
        # A single one is like itself; neighbours in a series are alike, and compared with such.
        if self._units == 1 or self.kind == "stretches":
            return ""
        rng = np.random.default_rng(0)
        others = self.rows
        if self.kind == "matched":
            others = np.unique(self.rows[matched_groups(*self._matched_targets, 4, rng)])
        elif len(self.rows) > COMPARED and not self.people:
            others = np.sort(rng.choice(self.rows, COMPARED, replace=False))
        targets = self.kind != "matched"
        own = _inputs(self.case, "train_eval", self.case.requested.forget, targets=targets)
        there = _inputs(self.case, "test", others, targets=targets)
        if own.shape[1:] != there.shape[1:] or not own.shape[1]:
            return ""
        if self.people:
            own, there = _means(own, self.forgotten_people), _means(there, self.people)
        if alike(own, there, rng) > ALIKE_LEVEL:
            return ""
        called = "people" if self.people else "samples"
        return (
            f"the forgotten {called} are alike in their inputs where random {called} are not, and the leave-out models "
            "saw others like them: only retrained models can tell"
        )

    @cached_property
    def _in_order(self) -> bool:
        """Whether never-seen samples that follow each other are alike, as those of a series are.

        By the mean squared difference of neighbours, in units of that of any two samples.
        """
        values = _inputs(self.case, "test", self.rows[:COMPARED], targets=True)
        varying = values[:, values.std(axis=0) > 0]
        if not varying.size:
            return False
        moved = (np.diff(varying, axis=0) ** 2).mean(axis=0)
        return float((moved / (2 * varying.var(axis=0))).mean()) < NEIGHBOURS

    @property
    def _matched_targets(self) -> tuple[Values, Values]:
        """As `_both_targets`, with zeros for unknown ones."""
        first, second = self._both_targets
        return np.nan_to_num(first), np.nan_to_num(second)

    @cached_property
    def _both_targets(self) -> tuple[Values, Values]:
        """Targets of the forgotten and of the never-seen samples, `(n, outputs)`; unknown ones are NaN."""
        found = self.targets
        if found is None:
            wanted: list[tuple[Split, Sequence[int] | Index]] = [
                ("train_eval", self.case.requested.forget),
                ("test", self.rows),
            ]
            source, task = self.case.source, self.case.task
            read = [read_targets(source(split), task, torch.as_tensor(np.asarray(rows))) for split, rows in wanted]
            found = read[0].double().numpy(), read[1].double().numpy()
        first, second = (each.reshape(len(each), -1) for each in found)
        return first, second


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


def _differ(wanted: Values, there: Values) -> bool:
    """Whether forgotten and never-seen samples have targets of other distributions, at a level of 5 %."""
    from scipy.stats import ks_2samp

    outputs = wanted.shape[1]
    pairs = ((wanted[:, each], there[:, each]) for each in range(outputs))
    known = ((a[~np.isnan(a)], b[~np.isnan(b)]) for a, b in pairs)
    return any(len(a) and len(b) and ks_2samp(a, b).pvalue < 0.05 / outputs for a, b in known)
