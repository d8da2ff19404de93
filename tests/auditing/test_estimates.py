"""What an audit tells of its cost before it measures: relearning and revival."""

from __future__ import annotations

from math import ceil

import pytest
import torch
from torch.utils.data import Subset

import unregress
from support.bump_case import RUNTIME, net
from unregress import Anamnesis, Case, Errors, Published, Recipe, Revival, Splits, TensorTask
from unregress.auditing.estimates import announce_measuring
from unregress.auditing.pipeline import AuditJob

TWO = Recipe(epochs=2, lr=1e-3, batch_size=16)
ONE = Recipe(epochs=1, lr=1e-3, batch_size=16)


@pytest.mark.parametrize("streamed", [False, True])
def test_the_passes_of_relearning_and_revival_are_counted(case: Case, streamed: bool) -> None:
    if streamed:  # data that are read sample by sample
        train = Subset(case.splits.train, range(case.splits.size))
        case = Case(task=case.task, splits=Splits(train=train, test=case.splits.test), request=case.request)
    lines: list[str] = []
    metrics = (Errors(), Anamnesis(recipe=TWO, shuffles=3), Revival(recipe=ONE), Published(recipe=ONE))
    announce_measuring(metrics, 4, case, RUNTIME, lines.append)
    rows, kept, gone = case.splits.size, len(case.requested.retain), len(case.requested.forget)
    # Forward and backward for each sample, and 128 monitored samples after each step.
    epoch = 2 * rows + 128 * ceil(rows / 16)
    passes = 4 * (3 * 2 * epoch + 2 * kept + gone + epoch)
    (line,) = lines
    asked = f"Measuring 4 models by Anamnesis and Revival and Published: at most {passes:,} sample passes"
    assert line.startswith(f"{asked}: at most about ")


def test_the_estimate_comes_before_the_golds(case: Case, original: unregress.Unlearned) -> None:
    lines: list[str] = []
    job = AuditJob(
        case=case,
        models={"original": original, "mine": net()},
        runtime=RUNTIME,
        retrain=unregress.Retraining(recipe=ONE, golds=2),
        metrics=(Errors(), Revival(recipe=ONE)),
        log=lines.append,
    )
    job.run()
    # Original, the model to judge, two golds, and one of other initial weights.
    assert lines[0].startswith("Measuring 5 models by Revival: at most ") and lines[1].startswith("Golds of seeds")


def test_what_trains_nothing_is_not_announced(case: Case) -> None:
    lines: list[str] = []
    announce_measuring((Errors(), Published(recipe=None)), 4, case, RUNTIME, lines.append)
    announce_measuring((Revival(),), 4, case, RUNTIME, None)
    assert lines == []


def test_a_price_without_known_passes_names_none() -> None:
    from unregress.retraining.method_choice import choose_method

    def training(data: unregress.TrainingData, start: torch.nn.Module, seed: int) -> torch.nn.Module:
        return start

    x = torch.arange(8.0)[:, None]
    splits = Splits(train=torch.utils.data.TensorDataset(x, x))
    request = unregress.ForgetRequest(size=8, forget=(0,), reason="test")
    task = TensorTask(build_model=lambda: torch.nn.Linear(1, 1))
    choice = choose_method(Case(task=task, splits=splits, request=request), training, None, RUNTIME)
    assert "passes" not in choice.lines[0] and choice.prices[0].passes is None
