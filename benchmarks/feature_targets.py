"""Whether an edit that also moves hidden features to those of leave-out models forgets more than one of predictions.

    python benchmarks/feature_targets.py --cache runs/small-requests

On STS-B: beside a pair's prediction the model gives features of its last hidden layer, by a random projection of the
units; a leave-out table then has both, and the edit takes them as further outputs.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from small_couplings import memory_beside
from small_problems import Problem, Rows, arguments, stsb_annealed
from small_requests import READ
from small_trainings import Trainings
from torch import Tensor, nn
from torch.nn import functional

from unregress import LeaveOutEdit, Retrain
from unregress.auditing.pipeline import audit
from unregress.cost import Cost
from unregress.data.case import Case
from unregress.data.leave_out_table import LeaveOutTable
from unregress.data.loading import read_targets
from unregress.files.writing import write_json
from unregress.hooks.raw_predictions import flattened
from unregress.methods import Unlearned
from unregress.methods.edit_samples import predict_raw
from unregress.metrics import Deviation, Errors, Readout, Revival
from unregress.metrics.predictions import Values
from unregress.models.sentence_pair import SentencePairLSTM
from unregress.parallel.jobs import one_thread
from unregress.tasks.adapters import TensorTask

FEATURES = (0, 4, 16)
"""Numbers of features that the edit moves beside the prediction."""
HIDDEN = 64
"""Units of the last hidden layer."""
FOLDS, TEACHING = 20, 2
MEASURED = ("paired", "retained", "test", "revival", "readout")
"""What is read of an audit's report, see `small_requests.READ`."""


class WithFeatures(SentencePairLSTM):
    """The model with the same weights; its output has features of the last hidden layer beside the prediction."""

    def __init__(self, mix: Tensor, **settings: Any) -> None:
        super().__init__(**settings)
        self.mix = mix
        """Matrix from units to features, `(64, k)`."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        units: list[Tensor] = []
        with self.hidden.register_forward_hook(lambda *call: units.append(call[-1])):
            prediction = super().forward(first, second)
        return torch.cat([prediction, functional.relu(units[0]) @ self.mix], dim=1)


class FirstOutput(TensorTask):
    """The loss, and the point prediction, are those of the first output."""

    def predict(self, model: nn.Module, batch: Sequence[Tensor]) -> Tensor:
        found: Tensor = model(*batch[:2])
        return found

    def point(self, prediction: Tensor) -> Tensor:
        return prediction[:, 0]

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        return super().loss(prediction[:, 0], target)


def with_features(problem: Problem, mix: Tensor) -> Problem:
    """A problem whose models give features beside predictions; their weights are those of the problem itself."""
    words = problem.task.build_model().embedding.num_embeddings  # type: ignore[union-attr]
    task = FirstOutput(build_model=partial(WithFeatures, mix, words=words), loss="mse")
    return replace(problem, task=task, folds=FOLDS)


def mixed(table: LeaveOutTable, mix: Tensor) -> LeaveOutTable:
    """A table of predictions and all units as one of predictions and features."""

    def of(values: Tensor) -> Tensor:
        return torch.cat([values[:, :1], values[:, 1:] @ mix], dim=1)

    return replace(table, predictions=of(table.predictions), unseen=of(table.unseen))


def projection(units: Tensor, predictions: Tensor, count: int) -> Tensor:
    """A random projection of units to features that vary as much as predictions do; `(64, count)`."""
    drawn = torch.randn(units.shape[1], count, generator=torch.Generator().manual_seed(11))
    if not count:
        return drawn
    spread = (units @ drawn).std(dim=0, correction=0)
    return drawn * (predictions.std() / spread)


def measure(data: Path, cache: Path) -> dict[str, Any]:
    """Edits of predictions alone and of features too, beside coupled golds and an exact retraining."""
    problem = stsb_annealed(data)
    plain = Trainings(problem, cache / "stsb-annealed")
    runtime = plain.runtime(0)
    whole = Trainings(with_features(problem, torch.eye(HIDDEN)), cache / "stsb-features")
    tables = [whole.table(0, number) for number in range(TEACHING)]
    original = whole.original(0)
    outputs = predict_raw(original.model, whole.case(), torch.arange(problem.splits.size), runtime).float()
    retraining = Cost(
        forward=problem.splits.size * problem.recipe.epochs, backward=problem.splits.size * problem.recipe.epochs
    )
    recipe = replace(problem.recipe, epochs=1, lr=problem.recipe.lr / 10, schedule="constant")
    found = {}
    for name in ("50 pairs", "50 other pairs"):
        rows = problem.judged[name]
        bare = {"original": _bare(problem, original.model)}
        shares = {}
        for count in FEATURES:
            mix = projection(outputs[:, 1:], outputs[:, 0], count)
            featured = Trainings(with_features(problem, mix), cache / "unused")
            student = featured.problem.task.build_model().eval()
            student.load_state_dict(original.model.state_dict())
            edit = LeaveOutEdit(table=[mixed(table, mix) for table in tables], anchors=150, layers="first")
            made = edit.unlearn(student, featured.case(rows), runtime)
            bare[f"{count} features"] = _bare(problem, made.model)
            shares[f"{count} features"] = made.cost.share_of(retraining)
        # The same initial weights as those of `original`, in a model without features.
        exact = Retrain(recipe=problem.recipe, start=plain.original(0).start)
        models = {**bare, "Retrain": exact.unlearn(bare["original"], plain.case(rows), runtime).model}
        golds = plain.coupled(rows)
        report = audit(
            plain.case(rows), models, runtime, golds=golds,
            metrics=[Errors(), Deviation(), Readout(), Revival(recipe=recipe)],
        )  # fmt: skip
        found[name] = {
            "share of retraining": shares,
            **{
                key: {
                    "golds": report.over_golds(*READ[key]),
                    **{each: report.value(*READ[key], each) for each in models},
                }
                for key in MEASURED
            },
            "beta": _betas(plain.case(rows), models, golds, rows, plain),
        }
        print(name, shares, flush=True)
    return {
        "command": "python benchmarks/feature_targets.py",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "machine": f"{platform.machine()}, CPU, one thread",
        "recipe": str(problem.recipe),
        "folds": FOLDS,
        "tables that teach": TEACHING,
        "edits": found,
    }


def _bare(problem: Problem, model: nn.Module) -> nn.Module:
    """The problem's own model with the weights of one that gives features too."""
    found = problem.task.build_model().eval()
    found.load_state_dict(model.state_dict())
    return found


def _betas(
    case: Case, models: dict[str, nn.Module], golds: list[Unlearned], rows: Rows, trainings: Trainings
) -> dict[str, float | list[float]]:
    """Memory kept beside the mean of the golds; of each gold beside the others."""
    at, runtime = torch.tensor(rows), trainings.runtime(0)

    def points(model: nn.Module) -> Values:
        found: Values = flattened(predict_raw(model, case, at, runtime)).double().numpy()
        return found

    places = [points(gold.model) for gold in golds]
    target = read_targets(case.source("train_eval"), case.task, at).double().numpy().reshape(len(rows), -1)
    own = {name: memory_beside(points(model), places, target) for name, model in models.items()}
    others = [[*places[:k], *places[k + 1 :]] for k in range(len(places))]
    return {**own, "golds": [memory_beside(gold, rest, target) for gold, rest in zip(places, others, strict=True)]}


def main() -> None:
    """Measure, and write the numbers."""
    parser = arguments(__doc__)
    parser.add_argument("--output", type=Path, default=Path("results/small-requests"))
    given = parser.parse_args()
    with one_thread():
        write_json(given.output / "stsb-features.json", measure(given.data, given.cache))


if __name__ == "__main__":
    main()
