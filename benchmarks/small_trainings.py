"""The trainings of `small_requests.py`, kept in a folder: originals, golds of both kinds, and leave-out tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from small_problems import PROBLEMS, Problem, Rows, arguments
from torch import Tensor, nn

from unregress import ForgetRequest, Retrain, Runtime, train
from unregress.cost import Cost
from unregress.data.case import Case
from unregress.data.leave_out_table import LeaveOutTable
from unregress.methods import Unlearned
from unregress.parallel.jobs import one_thread
from unregress.retraining.leave_out import fit_table
from unregress.runs.table_folder import read_table, write_table

FIRST = 1001
"""Seed of the first gold."""


@dataclass(frozen=True)
class Trainings:
    """Models of one problem, trained when they are first asked for and kept in a folder."""

    problem: Problem
    folder: Path

    def runtime(self, seed: int) -> Runtime:
        return Runtime(accelerator="cpu", seed=seed, progress=False)

    def case(self, rows: Rows | None = None, before: tuple[Rows, ...] = ()) -> Case:
        """The data, with a request to forget some rows after others were forgotten."""
        size = self.problem.splits.size
        asked = None if rows is None else ForgetRequest(size=size, forget=rows, reason="small requests")
        if asked is not None and before:
            asked = asked.beside(*(ForgetRequest(size=size, forget=each, reason="before") for each in before))
        return Case(task=self.problem.task, splits=self.problem.splits, request=asked)

    def original(self, seed: int) -> Unlearned:
        """The original of a seed, with its initial weights."""
        return self._kept(
            f"original-{seed}", lambda: train(self.case(), self.problem.recipe, self.runtime(seed)), with_start=True
        )

    def gold(self, rows: Rows, number: int, start: int | None, before: tuple[Rows, ...] = ()) -> Unlearned:
        """A gold of a request; `start` is the seed of the original whose initial weights it has, None for its own."""
        name = f"gold-{len(rows)}-{sum(rows) % 10**9}-{len(before)}-{'own' if start is None else start}-{number}"
        return self._kept(name, lambda: self._retrain(rows, number, start, before))

    def coupled(self, rows: Rows, start: int = 0, before: tuple[Rows, ...] = ()) -> list[Unlearned]:
        """Golds of an original's initial weights."""
        return [self.gold(rows, number, start, before) for number in range(self.problem.coupled)]

    def further(self) -> Iterator[tuple[Rows, list[Unlearned]]]:
        """The further requests, and golds of the first original's initial weights for each."""
        for rows in chain.from_iterable(self.problem.further.values()):
            yield rows, [self.gold(rows, number, 0) for number in range(self.problem.further_golds)]

    def others(self, rows: Rows, before: tuple[Rows, ...] = ()) -> list[Unlearned]:
        """Golds of initial weights of their own."""
        return [self.gold(rows, number, None, before) for number in range(self.problem.others)]

    def table(self, seed: int, partition: int, folds: int | None = None) -> LeaveOutTable:
        """A leave-out table of an original."""
        count = folds or self.problem.folds
        place = self.folder / f"table-{seed}-{count}"
        if not (place / f"table-{partition}.json").exists():
            place.mkdir(parents=True, exist_ok=True)
            original = self.original(seed)
            made = fit_table(
                self.case(),
                self.problem.recipe,
                self.runtime(seed),
                original.model,
                start=original.start,
                folds=count,
                partition=partition,
                stack=self.problem.stack,
            )
            write_table(place, made)
            print("table", seed, partition, count, f"coupling {made.coupling}", flush=True)
        return read_table(place, partition)

    def _retrain(self, rows: Rows, number: int, start: int | None, before: tuple[Rows, ...]) -> Unlearned:
        first = self.original(0)
        initial = None if start is None else self.original(start).start
        method = Retrain(recipe=self.problem.recipe, start=initial)
        return method.unlearn(first.model, self.case(rows, before), self.runtime(FIRST + number))

    def _kept(self, name: str, make: Callable[[], Unlearned], *, with_start: bool = False) -> Unlearned:
        path, initial = self.folder / f"{name}.safetensors", self.folder / f"{name}-start.safetensors"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            made = make()
            if with_start and made.start is not None:
                save_file(_contiguous(made.start), str(initial))
            save_file(_contiguous(made.model), str(path), metadata={"passes": str(made.cost.passes)})
            print(name, f"{made.cost.seconds:.1f} s", flush=True)
        return Unlearned(
            model=self._read(path), history=(), cost=Cost(), start=self._read(initial) if with_start else None
        )

    def _read(self, path: Path) -> nn.Module:
        with torch.random.fork_rng():
            model = self.problem.task.build_model()
        model.load_state_dict(load_file(str(path)))
        return model.eval()


def _contiguous(model: nn.Module) -> dict[str, Tensor]:
    """A model's weights as safetensors takes them; those of convolutions may lie channels last."""
    return {name: value.contiguous() for name, value in model.state_dict().items()}


def everything(trainings: Trainings) -> None:
    """Train all models that the measurements read."""
    problem = trainings.problem
    for seed in range(problem.originals):
        trainings.original(seed)
    for partition in range(problem.teaching + 1):
        trainings.table(0, partition)
    for rows in problem.judged.values():
        trainings.coupled(rows)
        trainings.others(rows)
    for rows in problem.tuning.values():
        trainings.coupled(rows)
    for _ in trainings.further():
        pass
    for seed in range(1, problem.originals):
        for partition in range(problem.teaching):
            trainings.table(seed, partition)
    for requests in problem.sequences:
        trainings.coupled(requests[-1], before=requests[:-1])


def main() -> None:
    """Train everything of some problems."""
    parser = arguments(__doc__)
    parser.add_argument("problems", nargs="+", choices=PROBLEMS)
    given = parser.parse_args()
    for name in given.problems:
        problem = PROBLEMS[name](given.data)
        with one_thread():
            everything(Trainings(problem, given.cache / (problem.shares or name)))


if __name__ == "__main__":
    main()
