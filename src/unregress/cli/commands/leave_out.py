"""The command `unregress table`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from unregress.checks.preflight import preflight
from unregress.cli.commands.train_forget import how_trained
from unregress.cli.console import say, with_progress
from unregress.data.case import Case
from unregress.data.splits import Splits
from unregress.evidence.coupling import strength
from unregress.methods import Unlearned
from unregress.retraining.table_upkeep import up_to_date_tables
from unregress.runs.manifest import digest_of_folder
from unregress.runs.model_io import read_model, read_start
from unregress.runs.record_matching import TrainingRecords
from unregress.runs.request_chain import Chain
from unregress.runs.requests_nearby import retained_elsewhere_forgotten
from unregress.runs.staleness import changed_data
from unregress.tasks.base import Task
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime


def table(
    *,
    task: Task,  # type: ignore[type-arg] # the parser takes functions for a bare class only
    data: Splits,
    checkpoint: Path,
    output: Path,
    folds: int | None = None,
    partitions: int | None = None,
    workers: int = 1,
    stack: int = 1,
    recipe: Recipe | None = None,
    training: Callable[..., Any] | None = None,
    start: Path | None = None,
    runtime: Runtime = Runtime(),  # noqa: B008 frozen
) -> None:
    """Make a model's leave-out tables, or bring them up to date.

    For each fold of the people, or of the samples where no people are known, a model is trained without it, predicts
    it, and is deleted.  With the predictions, `unregress audit` judges small requests without any gold, and the method
    LeaveOutEdit has its targets.  Call it again after each request, with the request's folder as `--checkpoint`: the
    samples that are forgotten are removed.

    Args:
        task: import path of a function that returns a `Task`, or of a `Task`'s class.
        data: import path of a function that returns `Splits`, test data among them.
        checkpoint: the trained model: a weights file, or a folder that `unregress train` or `unregress forget` wrote.
        output: folder to write, or to bring up to date: table-0.safetensors, table-0.json, ..., config.yaml,
            manifest.json.
        folds: number of folds; more are nearer to the truth, and cost more.  By default that of the tables that exist,
            and 5 if there are none.  A folder keeps its number of folds.
        partitions: number of tables: the last one judges, and the others teach LeaveOutEdit.  By default as many as
            exist, and 2 if there are none; where more are asked for, the missing ones are made.
        workers: number of trainings side by side.
        stack: number of fold models of a small network to train in one loop.
        recipe: how the original was trained; by default as its run folder says.
        training: import path of the function that trained the original; see `unregress train`.
        start: weights file with the original's initial weights; by default those in its run folder.
        runtime: where to run; with the seed of the original.
    """
    runtime = with_progress(runtime)
    how = how_trained(checkpoint, recipe, training)
    bare = Case(task=task, splits=data)
    preflight(bare, runtime, recipe=how, allow_overlap=True)
    model = read_model(checkpoint, bare, runtime, forgot=False, told=say)
    records = TrainingRecords(data)
    chain = Chain.of([checkpoint], records)
    gone = chain.requests()
    beside = retained_elsewhere_forgotten([output, checkpoint], chain, chain.positions)
    say(*(f"Warning: {each}" for each in (*beside, *changed_data({"checkpoint": checkpoint}, records))))
    case = Case(task=task, splits=data, request=gone[0].beside(*gone[1:]) if gone else None)
    known = model.start if isinstance(model, Unlearned) else None
    made = up_to_date_tables(
        case,
        how,
        runtime,
        model,
        start=known if start is None else read_start(start, bare, runtime),
        folder=output,
        folds=folds,
        partitions=partitions,
        workers=workers,
        stack=stack,
        log=say,
    )
    couplings = [each.coupling for each in made]
    told = ", ".join("unknown" if kappa is None else f"{kappa:.2f} ({strength(kappa)})" for kappa in couplings)
    say(
        f"{len(made)} tables of {len(made[0].keys)} training samples and {len(made[0].unseen_keys)} never-seen ones.",
        f"Coupling, how much the initial weights decide what is learnt: {told}",
        f"Wrote {output}",
        f"Digest of {output}: {digest_of_folder(output)}",
    )
