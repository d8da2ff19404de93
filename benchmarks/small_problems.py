"""The data sets, trainings and requests of `small_requests.py`: few samples each, as people ask for."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from small_models import WindowNet, small_cnn
from torch.utils.data import Subset

from unregress import ForecastingTask, Project, Recipe, Runtime
from unregress.data.splits import Splits
from unregress.tasks.adapters import TensorTask
from unregress.tasks.base import Task

Rows = tuple[int, ...]
EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A data set with a training and requests; `tuning` are requests that settings are chosen on, `judged` others."""

    task: Task[Any]
    splits: Splits
    recipe: Recipe
    judged: Mapping[str, Rows]
    tuning: Mapping[str, Rows]
    sequences: tuple[tuple[Rows, ...], ...] = ()
    """Requests to carry out one after the other, disjoint from those that settings are chosen on."""
    further: Mapping[str, Sequence[Rows]] = field(default_factory=dict)
    """Requests for which only coupled golds are trained: for false alarms, and for what leave-out tables are off by."""
    further_golds: int = 5
    """Golds of each of these: one where false alarms alone are counted, which golds of one request share."""
    shares: str = ""
    """Name of the problem whose models it takes, since only the tables differ."""
    folds: int = 5
    teaching: int = 1
    """Number of tables that teach the edit by their mean; one more judges."""
    stack: int = 1
    """Number of a table's models that are trained in one loop."""
    originals: int = 5
    coupled: int = 5
    """Golds of the first original's initial weights, for each request."""
    others: int = 8
    """Golds of other initial weights, for each request."""


def wage(data: Path) -> Problem:
    """545 men with seven yearly records each; requests are men."""
    sys.path.insert(0, str(EXAMPLES))
    import wage_panel as example

    project = Project.from_table(
        example.load_table(),
        build_model=example.build_model,
        features=example.FEATURES,
        target="lwage",
        id="record",
        subject="nr",
        training=Recipe(epochs=60, lr=5e-4, batch_size=64, schedule="one-cycle"),
        runtime=Runtime(accelerator="cpu"),
    )
    subjects = project.splits.subjects or ()
    men = np.random.default_rng(7).permutation(np.unique(np.array(subjects)))

    def rows(chosen: Any) -> Rows:
        return tuple(place for place, man in enumerate(subjects) if man in set(chosen.tolist()))

    return Problem(
        task=project.task,
        splits=project.splits,
        recipe=project.training,  # type: ignore[arg-type]
        judged={"1 man": rows(men[:1]), "5 men": rows(men[1:6]), "20 men": rows(men[6:26])},
        tuning={"5 men": rows(men[26:31]), "20 men": rows(men[31:51])},
        further={
            "1 man": [rows(men[101 + k : 102 + k]) for k in range(8)],
            "5 men": [rows(men[109 + 5 * k : 114 + 5 * k]) for k in range(5)],
            "20 men": [rows(men[134 + 20 * k : 154 + 20 * k]) for k in range(3)],
        },
        # Fewer than a tenth of the men, so that the tables are not too old before the last request.
        sequences=tuple(tuple(rows(men[first + 3 * k : first + 3 * k + 3]) for k in range(10)) for first in (51, 200)),
        folds=20,
    )


def wage_40(data: Path) -> Problem:
    """The same with three tables of forty folds, of which two teach."""
    return changed(wage(data), folds=40, teaching=2, stack=40, shares="wage", sequences=())


def _random(size: int, counts: Mapping[str, int], tuning: Mapping[str, int], ten: int) -> dict[str, Any]:
    """Disjoint random requests."""
    order = np.random.default_rng(7).permutation(size).tolist()
    taken = iter(order)

    def draw(count: int) -> Rows:
        return tuple(sorted(next(taken) for _ in range(count)))

    found: dict[str, Any] = {"judged": {name: draw(count) for name, count in counts.items()}}
    found["tuning"] = {name: draw(count) for name, count in tuning.items()}
    found["sequences"] = (tuple(draw(ten) for _ in range(10)),) if ten else ()
    return found


def stsb(data: Path, recipe: Recipe, **more: Any) -> Problem:
    """5,249 pairs of sentences; requests are random pairs."""
    from unregress.experiments.families.sentences import FAMILIES

    loaded = FAMILIES["stsb"].open(data / "stsb", ())
    counts = {"5 pairs": 5, "5 other pairs": 5, "50 pairs": 50, "50 other pairs": 50}
    drawn = _random(loaded.splits.size, counts, {"5 pairs": 5, "50 pairs": 50}, 50)
    return Problem(task=loaded.task, splits=loaded.splits, recipe=recipe, **drawn, **more)


def stsb_annealed(data: Path) -> Problem:
    """STS-B with a one-cycle schedule, which couples trainings of one start."""
    return stsb(data, Recipe(epochs=20, lr=3e-3, batch_size=256, schedule="one-cycle"))


def stsb_annealed_20(data: Path) -> Problem:
    """The same with three tables of twenty folds, of which two teach."""
    problem = stsb_annealed(data)
    taken = {
        row for rows in (*problem.judged.values(), *problem.tuning.values(), *problem.sequences[0]) for row in rows
    }
    free = np.setdiff1d(np.arange(problem.splits.size), list(taken))
    drawn = np.random.default_rng(8).permutation(free)
    further = {"50 pairs": [tuple(sorted(drawn[50 * k : 50 * k + 50].tolist())) for k in range(20)]}
    return changed(
        problem,
        folds=20,
        teaching=2,
        shares="stsb-annealed",
        further=further,
        further_golds=1,
    )


def stsb_constant(data: Path) -> Problem:
    """STS-B at the published constant rate: one original, one request."""
    problem = stsb(data, Recipe(epochs=20, lr=1e-2, batch_size=256), originals=1, others=5)
    judged, tuning = ({"50 pairs": each["50 pairs"]} for each in (problem.judged, problem.tuning))
    return changed(problem, judged=judged, tuning=tuning, sequences=())


def averaged(problem: Problem) -> Problem:
    """A problem whose trainings end with a moving average of their weights, over about 100 steps."""
    return changed(problem, recipe=changed(problem.recipe, ema=0.99))


def stsb_people(data: Path) -> Problem:
    """STS-B with a subject for each group of pairs that are connected by a sentence."""
    problem = stsb(data, Recipe(epochs=20, lr=3e-3, batch_size=256, schedule="one-cycle"), originals=1)
    first, second, _ = problem.splits.train[:]
    _, which = np.unique(torch.cat([first, second]).numpy(), axis=0, return_inverse=True)
    ends = which.reshape(2, -1)
    size = int(which.max()) + 1
    _, of_sentence = connected_components(coo_matrix((np.ones(ends.shape[1]), ends), shape=(size, size)))
    group = of_sentence[ends[0]]
    names, counts = np.unique(group, return_counts=True)
    # Three groups have 12 to 20 pairs; settings are chosen on two of the smaller ones.
    larger, smaller = names[(counts >= 12) & (counts <= 20)], names[(counts >= 8) & (counts < 12)]
    draws = np.random.default_rng(7)
    chosen = [*draws.permutation(larger)[:3], *draws.permutation(smaller)[:2]]
    rows = [tuple(np.flatnonzero(group == name).tolist()) for name in chosen]
    splits = changed(
        problem.splits,
        subjects=group.tolist(),
        validation_subjects=[-1] * len(problem.splits.validation),  # type: ignore[arg-type]
        test_subjects=[-1] * len(problem.splits.test),  # type: ignore[arg-type]
    )
    judged = {f"subject {number}": each for number, each in enumerate(rows[:3], 1)}
    tuning = {f"subject {number}": each for number, each in enumerate(rows[3:], 4)}
    return changed(problem, splits=splits, judged=judged, tuning=tuning, sequences=())


def stsb_people_20(data: Path) -> Problem:
    """The same with three tables of twenty folds, of which two teach."""
    return changed(stsb_people(data), folds=20, teaching=2, shares="stsb-people")


def etth1(data: Path, days: int = 28) -> Problem:
    """Hourly oil temperature; requests are days, with every window that contains an hour of them.

    Tables leave out blocks of so many days.
    """
    from unregress.datasets.series.ett import ett

    cut = ett(data / "ett")
    splits = cut.splits()
    hours = cut.series.hour[cut.places("train")]
    blocks = ((hours - hours[0]) // (days * 24)).tolist()

    def day(number: int, later: int = 0) -> Rows:
        start = hours[0] + number * 28 * 24 + (9 + later) * 24
        steps = (cut.series.hour >= start) & (cut.series.hour < start + 24)
        return tuple(np.flatnonzero(cut.touched("train", steps, "purge")).tolist())

    def day_by_day(number: int) -> tuple[Rows, ...]:
        """Ten days that follow each other: of each, the windows that no day before has taken."""
        taken, found = set[int](), list[Rows]()
        for later in range(10):
            found.append(tuple(row for row in day(number, later) if row not in taken))
            taken.update(found[-1])
        return tuple(found)

    numbers = np.random.default_rng(7).permutation(12).tolist()
    return Problem(
        task=ForecastingTask(build_model=WindowNet),
        splits=changed(
            splits,
            subjects=blocks,
            validation_subjects=[-1] * len(splits.validation),  # type: ignore[arg-type]
            test_subjects=[-1] * len(splits.test),  # type: ignore[arg-type]
        ),
        recipe=Recipe(epochs=30, lr=3e-3, batch_size=64, schedule="one-cycle"),
        judged={f"a day of block {number + 1}": day(number) for number in numbers[:3]},
        tuning={f"a day of block {number + 1}": day(number) for number in numbers[3:5]},
        # Ten days apart would touch a quarter of all windows, and make the tables too old.
        sequences=tuple(day_by_day(number) for number in numbers[5:7]),
        folds=max(blocks),  # the last block is short
    )


def etth1_weeks(data: Path) -> Problem:
    """The same with tables that leave out a week at a time."""
    return changed(etth1(data, days=7), shares="etth1")


def faces(data: Path, recipe: Recipe, *, by_heart: bool, **more: Any) -> Problem:
    """2,000 of the faces with ages; by heart with a small network and no augmentation."""
    from unregress.experiments.families.faces import FAMILIES

    loaded = FAMILIES["utkface"].open(data / "utkface", ())
    draw = np.random.default_rng(7)
    whole = loaded.splits
    train = np.sort(draw.permutation(whole.size)[:2000]).tolist()
    test = np.sort(draw.permutation(len(whole.test))[:1000]).tolist()  # type: ignore[arg-type]
    splits = Splits(
        train=Subset(whole.train, train),
        test=Subset(whole.test, test),  # type: ignore[arg-type]
        augment=None if by_heart else whole.augment,
        collate=whole.collate,
    )
    build_model = small_cnn if by_heart else loaded.task.build_model
    return Problem(task=TensorTask(build_model=build_model, loss="l1"), splits=splits, recipe=recipe, **more)


def utkface(data: Path) -> Problem:
    """2,000 faces with ages, a ResNet18 with batch normalisation; requests are random images."""
    recipe = Recipe(epochs=12, lr=1e-3, batch_size=64, schedule="one-cycle")
    drawn = _random(2000, {"5 images": 5, "50 images": 50}, {"50 images": 50}, 10)
    return faces(data, recipe, by_heart=False, **drawn)


def faces_by_heart(data: Path) -> Problem:
    """2,000 faces that a small convolutional network learns by heart; requests are random images."""
    recipe = Recipe(epochs=25, lr=3e-3, batch_size=64, schedule="one-cycle")
    drawn = _random(2000, {"5 images": 5, "50 images": 50}, {"50 images": 50}, 10)
    return faces(data, recipe, by_heart=True, originals=1, others=5, **drawn)


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """A command's parser, with the folders of data and trained models; its help is the first line of `doc`."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, default=Path("runs/small-requests"))
    return parser


PROBLEMS: dict[str, Callable[[Path], Problem]] = {
    "wage": wage,
    "wage-40": wage_40,
    "stsb-annealed": stsb_annealed,
    "stsb-annealed-20": stsb_annealed_20,
    "stsb-constant": stsb_constant,
    "stsb-constant-averaged": lambda data: averaged(stsb_constant(data)),
    "stsb-people": stsb_people,
    "stsb-people-20": stsb_people_20,
    "etth1": etth1,
    "etth1-weeks": etth1_weeks,
    "utkface": utkface,
    "faces-by-heart": faces_by_heart,
    "faces-by-heart-averaged": lambda data: averaged(faces_by_heart(data)),
}
