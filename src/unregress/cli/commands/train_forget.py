"""The commands `unregress train` and `unregress forget`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from unregress.checks.preflight import preflight
from unregress.cli.commands.agreement import require_agreement
from unregress.cli.commands.recorded import recorded_recipe, tables_of
from unregress.cli.commands.request_spec import RequestSpec
from unregress.cli.console import run_summary, say, with_progress
from unregress.data.case import Case
from unregress.data.request import ForgetRequest
from unregress.data.splits import Splits
from unregress.errors import SettingError
from unregress.methods import Method, Retrain, Unlearned
from unregress.methods import train as train_original
from unregress.methods.retrain import PUBLISHED
from unregress.methods.unlearned import Candidate, with_trained_on
from unregress.retraining.method_choice import BUDGET
from unregress.retraining.method_setup import set_up
from unregress.runs.digests import contents
from unregress.runs.manifest import digest_of_folder
from unregress.runs.model_io import ORIGINAL, UNLEARNED, read_model, read_start, run_folder, write_model
from unregress.runs.provenance import require_not_forgotten
from unregress.runs.record_matching import TrainingRecords
from unregress.runs.request_record import write_request
from unregress.runs.requests_nearby import retained_elsewhere_forgotten, unknown_past
from unregress.runs.staleness import changed_data
from unregress.tasks.base import Task
from unregress.training.fresh_model import call_build_model
from unregress.training.from_scratch import Training
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime


def train(
    *,
    task: Task,  # type: ignore[type-arg] # the parser takes functions for a bare class only
    data: Splits,
    output: Path,
    config: str,
    recipe: Recipe = PUBLISHED,
    training: Callable[..., Any] | None = None,
    start: Path | None = None,
    runtime: Runtime = Runtime(),  # noqa: B008 frozen
    allow_overlap: bool = False,
) -> None:
    """Train the original model.

    It is trained on all training samples.  Needed only if there is no trained model yet.

    Args:
        task: import path of a function that returns a `Task`, or of a `Task`'s class.
        data: import path of a function that returns `Splits`.
        output: folder to write: original.safetensors, start.safetensors (the initial weights), history.json,
            config.yaml, manifest.json; for a table's file also scalers.json.
        config: the resolved configuration.
        recipe: how to train, unless `training` is given.
        training: import path of your own function `(data, start, seed) -> model`, or of a class of such functions with
            its settings, such as `unregress.LightningTraining`.
        start: weights file with the initial weights; by default new ones.
        runtime: where to run.
        allow_overlap: continue although samples of one split also occur in another.
    """
    runtime = with_progress(runtime)
    case = Case(task=task, splits=data)
    # Before the data are hashed, so that data which cannot be read are refused by the preflight's message.
    how = recipe if training is None else training
    if training is not None and recipe != PUBLISHED:
        raise SettingError(
            "Both `recipe` and `training` say how to train", expected="one of them", remedy="Leave out the other"
        )
    found = preflight(case, runtime, recipe=how, allow_overlap=allow_overlap)
    replaced = digest_of_folder(output)
    with run_folder(runtime.process_group, output, config + contents(case, {})) as folder:
        initial = None if start is None else read_start(start, case, runtime)
        made = train_original(case, how, runtime, start=initial)
        write_model(folder, ORIGINAL, made, case, None, found.warnings, continued=True)
    say(
        f"Trained on {data.size} samples.",
        *_summary(made),
        *(f"Warning: {warning}" for warning in found.warnings),
        *run_summary(output, ORIGINAL, replaced),
    )


def forget(
    *,
    task: Task,  # type: ignore[type-arg] # the parser takes functions for a bare class only
    data: Splits,
    request: RequestSpec,
    output: Path,
    config: str,
    method: Method | None = None,
    checkpoint: Path | None = None,
    recipe: Recipe | None = None,
    training: Callable[..., Any] | None = None,
    start: Path | None = None,
    budget: float = BUDGET,
    table: Path | None = None,
    runtime: Runtime = Runtime(),  # noqa: B008 frozen
    allow_overlap: bool = False,
) -> None:
    """Make a trained model forget.

    With `--method Retrain`, make the reference that an audit needs: a model trained from scratch
    without the forgotten samples.

    Args:
        task: import path of a function that returns a `Task`, or of a `Task`'s class.
        data: import path of a function that returns `Splits`.
        request: which training samples to forget, and why.
        output: folder to write: unlearned.safetensors, request.json, history.json, config.yaml, manifest.json; for a
            table's file also scalers.json.
        config: the resolved configuration.
        method: how to forget: a method's name, then its settings as `--method.NAME VALUE`.  By default exact
            retraining, from the original's own initial weights if they are known, where its estimated time is within
            the budget; else LeaveOutEdit if there is a leave-out table whose own error is small, and else Blindspot,
            or the next method of the paper that the model allows.
        checkpoint: the trained model: a weights file, or a folder that `unregress train` or `unregress
            forget` wrote.  Retrain needs none.
        recipe: how the original was trained, where no method is named; by default as its run folder says.
        training: for Retrain, and where no method is named, import path of the function that trains, in place of a
            recipe; see `unregress train`.
        start: for Retrain, a weights file with the initial weights, such as start.safetensors in the folder that
            `unregress train` wrote; by default new ones if Retrain is named, and those in the original's folder if no
            method is.
        budget: seconds that exact retraining may take, where no method is named.
        table: folder that `unregress table` wrote, whose tables, but for the last one, give LeaveOutEdit its targets.
        runtime: where to run.
        allow_overlap: continue although samples of one split also occur in another.
    """
    runtime = with_progress(runtime)
    weights = {} if checkpoint is None else {"checkpoint": checkpoint}
    asked = request.resolve(data, task, weights.values())
    case = Case(task=task, splits=data, request=asked.request)
    notes = list[str]()
    model = None if method is None and checkpoint is None else _trained(checkpoint, method, case, runtime, notes.append)
    how = how_trained(checkpoint, recipe, training) if method is None else None
    if method is None:
        initial = model.start if isinstance(model, Unlearned) and start is None else _start(start, case, runtime)
    else:
        method, initial = _with_training(method, training, start, case, runtime), None
    # Before the data are hashed, so that data which cannot be read are refused by the preflight's message.
    ready = set_up(
        case,
        method,
        runtime,
        training=how,
        start=initial,
        model=None if checkpoint is None else model,
        given=lambda chosen: _trained(checkpoint, chosen, case, runtime, notes.append) if model is None else model,
        tables=tables_of(table),
        budget=budget,
        allow_overlap=allow_overlap,
        log=say,
    )
    method = ready.method
    # Retraining starts from fresh weights, even if a checkpoint is given.
    started = None if method.retrains else checkpoint
    if started is not None:
        require_not_forgotten(started, case)
    records = TrainingRecords(data)
    past = [] if request.after else unknown_past(checkpoint)
    warnings = (*ready.warnings, *asked.notes, *past, *changed_data(weights, records))
    # Said and not recorded: the same work gives the same folder, whatever lies beside it by then.
    beside = retained_elsewhere_forgotten([output, *weights.values()], asked.chain, asked.request.left_out)
    say(*(f"Warning: {each}" for each in beside))
    replaced = digest_of_folder(output)
    require_agreement(weights.values())
    with run_folder(runtime.process_group, output, config + contents(case, weights), weights) as folder:
        made = with_trained_on(method.unlearn(ready.given, case, runtime), case)
        told = (*made.notes, *notes)
        made = replace(made, notes=(*told, *ready.prices))
        write_request(folder, case, asked.before)
        write_model(folder, UNLEARNED, made, case, asked.request, warnings, continued=True)
    which = f"{len(asked.request.forget)} of {data.size} training samples: {asked.request.reason}"
    # Only an audit can show whether the model has forgotten.
    outcome = (
        [f"Retrained without {which}"]
        if method.retrains
        else [f"Made a model that should have forgotten {which}", "`unregress audit` measures whether it has"]
    )
    say(
        *outcome,
        *_carried(asked.request),
        *_summary(replace(made, notes=told)),
        *(f"Warning: {warning}" for warning in warnings),
        *run_summary(output, UNLEARNED, replaced),
    )


def _with_training(
    method: Method, training: Callable[..., Any] | None, start: Path | None, case: Case, runtime: Runtime
) -> Method:
    """The method, for Retrain with the project's training function and the initial weights."""
    if not isinstance(method, Retrain):
        if start is not None:
            # A project's file names it for all commands.
            say(f"Note: {start} is not used, since {type(method).__name__} starts from the trained model")
        return method
    if training is not None:
        method = replace(method, recipe=training)
    return method if start is None else replace(method, start=_start(start, case, runtime))


def _start(start: Path | None, case: Case, runtime: Runtime) -> nn.Module | None:
    return None if start is None else read_start(start, case, runtime)


def how_trained(checkpoint: Path | None, recipe: Recipe | None, training: Callable[..., Any] | None) -> Training:
    """How the original was trained, as the options or its run folder say.

    Raises:
        SettingError: neither says it.
    """
    if training is not None and recipe is not None:
        raise SettingError("Both `recipe` and `training` say how the original was trained", expected="one of them")
    known = training or recipe or recorded_recipe(checkpoint)
    if known is None:
        raise SettingError(
            "No method is named, and how the original was trained is not known",
            expected="a method, or how to retrain exactly",
            remedy="Name `--method`, `--recipe` or `--training`, or give a folder of `unregress train` as `checkpoint`",
        )
    return known


def _trained(
    checkpoint: Path | None, method: Method | None, case: Case, runtime: Runtime, told: Callable[[str], None]
) -> Candidate:
    """The model to unlearn; for retraining without a checkpoint, a fresh model of the architecture."""
    if checkpoint is None and (method is None or not method.retrains):
        raise SettingError(
            f"There is no model for {type(method).__name__} to make forget",
            expected="`checkpoint`, the weights of the trained model",
            remedy="Without a trained model, make one with `unregress train`",
        )
    if checkpoint is None:
        with runtime.isolated_rng("load"):
            return call_build_model(case).eval()
    return read_model(checkpoint, case, runtime, forgot=False, told=told)


def _carried(request: ForgetRequest) -> list[str]:
    if not request.others:
        return []
    number, samples = len(request.others), len(request.excluded)
    plural = "s" if number > 1 else ""
    return [f"{samples} samples of {number} other request{plural} on the same model are left out of all training"]


def _summary(made: Unlearned) -> list[str]:
    losses = {epoch.stage: epoch.loss for epoch in made.history}
    passes = f"{made.cost.passes:,} sample passes, " if made.cost.passes else ""
    ended = ", ".join(f"{stage} {loss:.4g}" for stage, loss in losses.items())
    return [
        *([] if made.record is None else [f"Method: {made.record.short}"]),
        f"Cost: {passes}{made.cost.seconds:.1f} s",
        *([f"Mean loss in the last epoch: {ended}"] if losses else []),
        *(f"Note: {note}" for note in made.notes),
    ]
