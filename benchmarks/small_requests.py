"""Measure methods and audits on requests of few samples: how near to golds, at what cost, and how well it is noticed.

    python benchmarks/small_requests.py stsb-annealed wage --output results/small-requests

Trainings are kept in `--cache`, see `small_trainings.py`.  Settings are tuned on other requests than are reported.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from small_couplings import coupling, couplings, table_error
from small_methods import Rewind, fixed
from small_problems import PROBLEMS, Rows, arguments
from small_table import audit_rates
from small_trainings import Trainings
from small_tuning import best, settings_of, tune
from torch import nn

from unregress import LeaveOutEdit, Method, Retrain
from unregress.auditing.pipeline import audit
from unregress.cost import Cost
from unregress.data.leave_out_table import LeaveOutTable
from unregress.data.loading import read_targets
from unregress.files.writing import write_json
from unregress.hooks.nearest import nearest_rows
from unregress.hooks.raw_predictions import predict_rows
from unregress.methods import Unlearned
from unregress.metrics import Anamnesis, AttackAUC, Deviation, Errors, Metric, Readout, Revival
from unregress.metrics.deep.gaussian_kl import divergence
from unregress.metrics.memory_kept import MemoryKept
from unregress.metrics.memory_slope import memory_kept
from unregress.metrics.predictions import Values
from unregress.parallel.jobs import one_thread

READ = {
    "paired": ("paired", "train-forget"),
    "error": ("mae", "train-forget"),
    "retained": ("mae", "train-retain"),
    "test": ("mae", "test-retain"),
    "auc": ("auc", "train-forget"),
    "auc with references": ("auc-calibrated", "train-forget"),
    "relearning": ("relearn-steps", "train-forget"),
    "revival": ("revival", "train-forget"),
    "readout": ("readout", "train-forget"),
    "memory by the table": ("memory-kept", "train-forget"),
}
"""What is read of an audit's report."""


class Measurement:
    """All that is measured of one problem."""

    def __init__(self, name: str, data: Path, cache: Path) -> None:
        self.name, self.problem = name, PROBLEMS[name](data)
        self.trainings = Trainings(self.problem, cache / (self.problem.shares or name))
        self.runtime = self.trainings.runtime(0)
        self.teaching = self.taught_by(0)
        self.retraining = Cost(
            forward=self.problem.splits.size * self.problem.recipe.epochs,
            backward=self.problem.splits.size * self.problem.recipe.epochs,
        )

    @cached_property
    def judging(self) -> LeaveOutTable:
        """The table that judges what the others taught."""
        return self.trainings.table(0, self.problem.teaching)

    def taught_by(self, seed: int) -> tuple[LeaveOutTable, ...]:
        """The tables of an original that teach."""
        return tuple(self.trainings.table(seed, number) for number in range(self.problem.teaching))

    def points(self, model: nn.Module, rows: Rows) -> Values:
        """A model's point predictions of training samples."""
        raw = predict_rows(model, self.trainings.case(), "train_eval", np.array(rows), self.runtime)
        found: Values = self.problem.task.point(raw).double().numpy().reshape(len(rows), -1)
        return found

    def targets(self, rows: Rows) -> Values:
        source = self.trainings.case().source("train_eval")
        return read_targets(source, self.problem.task, torch.tensor(rows)).double().numpy().reshape(len(rows), -1)

    def unlearned(self, method: Method, rows: Rows, seed: int = 0, before: tuple[Rows, ...] = ()) -> Unlearned:
        return method.unlearn(
            self.trainings.original(seed), self.trainings.case(rows, before), self.trainings.runtime(seed)
        )

    def test_error(self, model: nn.Module) -> float:
        case = self.trainings.case()
        rows = case.rows("test")
        raw = predict_rows(model, case, "test", rows, self.runtime)
        target = read_targets(case.source("test"), case.task, torch.from_numpy(rows)).double()
        return float((case.task.point(raw).double().reshape(target.shape) - target).abs().mean())

    def request(self, rows: Rows, methods: Mapping[str, Method]) -> dict[str, Any]:
        """Every method on one request, judged beside coupled and uncoupled golds."""
        made = {name: self.unlearned(method, rows) for name, method in methods.items()}
        coupled, others = self.trainings.coupled(rows), self.trainings.others(rows)
        case, original = self.trainings.case(rows), self.trainings.original(0)
        models = {"original": original, **made}
        metrics: list[Metric] = [
            Errors(),
            Deviation(),
            AttackAUC(),
            Readout(),
            *self._training_metrics(),
            MemoryKept(self.judging),
        ]
        reports = {
            kind: audit(case, models, self.runtime, golds=golds, metrics=metrics if kind == "coupled" else metrics[:3])
            for kind, golds in (("coupled", coupled), ("uncoupled", others))
        }
        near = tuple(
            sorted(nearest_rows(original.model, case, 50, self.runtime.generator("near"), self.runtime).tolist())
        )
        found: dict[str, Any] = {"samples": len(rows), "models": {}}
        for kind, golds in (("coupled", coupled), ("uncoupled", others)):
            report = reports[kind]
            floor = float(np.mean(report.over_golds("paired", "train-forget")))
            places = np.stack([self.points(gold.model, rows) for gold in golds])
            target, scale = self.targets(rows), float(((self.targets(rows) - places.mean(0)) ** 2).mean())
            of_golds = [
                memory_kept(places[k], target, np.delete(places, k, 0).mean(0), scale) for k in range(len(places))
            ]
            found[f"{kind} floor"] = floor
            found[f"{kind} gold beta"] = [round(each, 4) for each in of_golds]
            found[f"{kind} golds"] = {
                name: [round(value, 5) for value in report.over_golds(*place)]
                for name, place in READ.items()
                if report.over_golds(*place)
            }
            for name in models:
                entry = found["models"].setdefault(name, {})
                values = {each: report.measures and self._value(report, place, name) for each, place in READ.items()}
                entry[kind] = {each: value for each, value in values.items() if value is not None}
                entry[kind]["paired / floor"] = entry[kind]["paired"] / floor
                entry[kind]["beta"] = memory_kept(self.points(models[name].model, rows), target, places.mean(0), scale)
        for name, model in made.items():
            entry = found["models"][name]
            entry["share of retraining"] = model.cost.share_of(self.retraining)
            entry["seconds"] = round(model.cost.seconds, 3)
            entry["drift of near samples"] = float(
                np.abs(self.points(model.model, near) - self.points(original.model, near)).mean()
            )
            verdicts = {kind: report.verdict(name).outcome for kind, report in reports.items()}
            entry["verdict"] = verdicts
        return found

    def _training_metrics(self) -> list[Metric]:
        recipe = replace(self.problem.recipe, epochs=2, lr=self.problem.recipe.lr / 10, schedule="constant")
        return [Anamnesis(recipe=recipe), Revival(recipe=replace(recipe, epochs=1))]

    @staticmethod
    def _value(report: Any, place: tuple[str, str], name: str) -> float | None:
        try:
            value = report.value(*place, name)
        except KeyError:
            try:
                value = report.value(place[0], "validation-forget", name)
            except KeyError:
                return None
        return None if value is None else float(value)

    def klom(self, rows: Rows, methods: Mapping[str, Method]) -> dict[str, float]:
        """Divergence of each method's results, one from each original, from uncoupled golds; a gold's own for scale.

        Rewinds are left out: each would train the part that it keeps again, for every original.
        """
        golds = np.stack([self.points(gold.model, rows) for gold in self.trainings.others(rows)])
        seeds = range(self.problem.originals)
        sides = {"original": [self.trainings.original(seed).model for seed in seeds]}
        for name, method in methods.items():
            if not isinstance(method, Rewind):
                sides[name] = [self._of_seed(method, rows, seed).model for seed in seeds]
        half = len(golds) // 2
        found = {name: np.stack([self.points(each, rows) for each in side]) for name, side in sides.items()}
        result = {name: float(divergence(side, golds).mean()) for name, side in found.items()}
        result["gold"] = float(divergence(golds[:half], golds[half:]).mean())
        return result

    def _of_seed(self, method: Method, rows: Rows, seed: int) -> Unlearned:
        """A method applied to the original of a seed, with that original's own tables or initial weights."""
        if isinstance(method, LeaveOutEdit) and method.table is not None:
            method = replace(method, table=self.taught_by(seed))
        if isinstance(method, Retrain):
            method = replace(method, start=self.trainings.original(seed).start)
        return self.unlearned(method, rows, seed)

    def readouts(self) -> dict[str, Any]:
        """What hidden layers tell of the forgotten samples, for the edit and both kinds of golds."""
        edit, _ = best(self, settings_of(self)["LeaveOutEdit"])
        original, found = self.trainings.original(0), dict[str, Any]()
        exact = Retrain(recipe=self.problem.recipe, start=original.start)
        for name, rows in self.problem.judged.items():
            models = {
                "original": original,
                "LeaveOutEdit": self.unlearned(edit, rows),
                "Retrain": self.unlearned(exact, rows),
            }
            found[name] = {}
            for kind, golds in (("coupled", self.trainings.coupled(rows)), ("uncoupled", self.trainings.others(rows))):
                report = audit(
                    self.trainings.case(rows), models, self.runtime, golds=golds, metrics=[Errors(), Readout()]
                )
                found[name][kind] = {each: report.value(*READ["readout"], each) for each in models}
                found[name][kind]["golds"] = report.over_golds(*READ["readout"])
        header = self.header()
        command = f"{header['command']} --readout"
        return {**header, "coupling": coupling(self), "command": command, "requests": found}

    def header(self, script: str = "small_requests.py") -> dict[str, Any]:
        return {
            "problem": self.name,
            "command": f"python benchmarks/{script} {self.name}",
            "versions": {"python": platform.python_version(), "torch": torch.__version__},
            "machine": f"{platform.machine()}, CPU, one thread",
            "recipe": str(self.problem.recipe),
            "folds": self.problem.folds,
            "tables that teach": self.problem.teaching,
        }

    def run(self) -> dict[str, Any]:
        started = time.process_time()
        tuned, scores = tune(self)
        edit = tuned["LeaveOutEdit"]
        assert isinstance(edit, LeaveOutEdit)
        start = self.trainings.original(0).start
        assert start is not None
        methods = {**tuned, **fixed(self.problem.recipe, start, edit)}
        methods["Retrain"] = Retrain(recipe=self.problem.recipe, start=start)
        requests = {}
        for name, rows in self.problem.judged.items():
            requests[name] = {**self.request(rows, methods), "table": table_error(self, rows)}
            if self.problem.originals > 3:
                requests[name]["klom"] = self.klom(rows, methods)
            print(self.name, name, f"{time.process_time() - started:.0f} s", flush=True)
        found: dict[str, Any] = {
            **self.header(),
            "coupling": coupling(self),
            "settings": {
                name: str(replace(m, table=None) if isinstance(m, LeaveOutEdit) else m) for name, m in tuned.items()
            },
            "tuning scores": scores,
            "requests": requests,
            "audit by the table": audit_rates(self, edit),
        }
        tables = self.problem.teaching + 1
        # For each K trainings on (K - 1)/K of the samples, and one from other initial weights.
        price = tables * self.problem.folds
        found["cost in retrainings"] = {
            "tables": price,
            "edit": float(
                np.mean([each["models"]["LeaveOutEdit"]["share of retraining"] for each in requests.values()])
            ),
            "break-even against one retraining for each request": price,
            "break-even against one retraining and five golds": round(price / 6, 1),
        }
        found["processor seconds of the measurement"] = round(time.process_time() - started)
        return found


def main() -> None:
    """Measure some problems and write their results."""
    parser = arguments(__doc__)
    parser.add_argument("problems", nargs="+", choices=PROBLEMS)
    parser.add_argument("--output", type=Path, default=Path("results/small-requests"))
    parser.add_argument("--coupling", action="store_true", help="measure the coupling alone, and no method")
    parser.add_argument("--readout", action="store_true", help="measure the readout of hidden layers alone")
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    for name in given.problems:
        with one_thread():
            measurement = Measurement(name, given.data, given.cache)
            if given.readout:
                write_json(given.output / f"{name}-readout.json", measurement.readouts())
            else:
                found = couplings(measurement) if given.coupling else measurement.run()
                write_json(given.output / f"{name}.json", found)


if __name__ == "__main__":
    main()
