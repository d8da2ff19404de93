"""`unregress train` and `unregress forget`, as plain functions; only the parsing is elsewhere."""

from __future__ import annotations

from collections.abc import Sized
from pathlib import Path
from typing import cast

from torch import nn

from unregress.artefacts import contents, read_model, run_folder, write_model
from unregress.case import Case, Splits
from unregress.cli.console import say, shown
from unregress.cli.request_spec import RequestSpec
from unregress.errors import SettingError
from unregress.golds import module_of
from unregress.methods import Method, Retrain, Unlearned
from unregress.methods import train as train_original
from unregress.provenance import ancestors, write_request
from unregress.readiness import preflight
from unregress.recipe import Recipe
from unregress.request import ForgetRequest
from unregress.runtime import Runtime
from unregress.store import weights_of
from unregress.task import Task

ORIGINAL = "original.safetensors"
UNLEARNED = "unlearned.safetensors"


def train(
    *,
    task: Task,  # type: ignore[type-arg] # the parser takes functions for a bare class only
    data: Splits,
    output: Path,
    config: str,
    recipe: Recipe = Retrain().recipe,
    runtime: Runtime = Runtime(),  # noqa: B008 frozen
    allow_overlap: bool = False,
) -> None:
    """Train the original model.

    On all training samples: for a start without a trained model.

    Args:
        task: import path of a function that returns a `Task`, or of a `Task`'s class.
        data: import path of a function that returns `Splits`.
        output: folder to write: original.safetensors, history.json, config.yaml, manifest.json.
        config: the resolved configuration.
        recipe: how to train.
        runtime: where to run.
        allow_overlap: go on although samples of one split also occur in another.
    """
    runtime = shown(runtime)
    # Nothing is to be forgotten yet, but a case has a request; training on all of D does not look at it.
    nothing = ForgetRequest(size=len(cast(Sized, data.train)), forget=(0,), reason="none")
    case = data.case(task, nothing)
    with run_folder(runtime.team, output, config + contents(case, {}, asked=False)) as folder:
        preflight(case, runtime, allow_overlap=allow_overlap)
        made = train_original(case, recipe, runtime)
        write_model(folder, ORIGINAL, made, case, None, ())
    say(f"Trained on {nothing.size} samples.", *_summary(made), f"Wrote {output}/{ORIGINAL}")


def forget(
    *,
    task: Task,  # type: ignore[type-arg] # the parser takes functions for a bare class only
    data: Splits,
    request: RequestSpec,
    method: Method,
    output: Path,
    config: str,
    checkpoint: Path | None = None,
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
        method: how to forget: a method's name, then its settings as `--method.NAME VALUE`.
        output: folder to write: unlearned.safetensors, request.json, history.json, config.yaml, manifest.json.
        config: the resolved configuration.
        checkpoint: the trained model: a weights file, or a folder that `unregress train` wrote.  Retrain needs none.
        runtime: where to run.
        allow_overlap: go on although samples of one split also occur in another.
    """
    runtime = shown(runtime)
    case = data.case(task, request.resolve(data, task))
    weights = {} if checkpoint is None else {"checkpoint": checkpoint}
    with run_folder(runtime.team, output, config + contents(case, weights), made_from=weights) as folder:
        model = _trained(checkpoint, method, case, runtime)
        found = preflight(case, runtime, model, allow_overlap=allow_overlap)
        made = method.unlearn(model, case, runtime)
        write_request(folder, case)
        # Retraining starts from nothing, whatever weights it is given.
        started = None if isinstance(method, Retrain) else checkpoint
        before = [] if started is None else [weights_of(model), *ancestors(started)]
        write_model(folder, UNLEARNED, made, case, case.request, found.warnings, before)
    which = f"{len(case.request.forget)} of {case.request.size} training samples: {case.request.reason}"
    # Whether a model has forgotten is for an audit to say.
    told = (
        [f"Retrained without {which}"]
        if isinstance(method, Retrain)
        else [f"Made a model that is to have forgotten {which}", "Whether it has, `unregress audit` says"]
    )
    say(
        *told,
        *_summary(made),
        *(f"Warning: {warning}" for warning in found.warnings),
        f"Wrote {output}/{UNLEARNED}",
    )


def _trained(checkpoint: Path | None, method: Method, case: Case, runtime: Runtime) -> nn.Module:
    """The model to unlearn.  For retraining any model of the architecture will do."""
    if checkpoint is None and not isinstance(method, Retrain):
        raise SettingError(
            f"There is no model for {type(method).__name__} to make forget",
            expected="`checkpoint`, the weights of the trained model",
            remedy="Without a trained model, make one with `unregress train`",
        )
    if checkpoint is None:
        with runtime.isolated("load"):
            return case.task.build_model().eval()
    return module_of(read_model(checkpoint, case, runtime, forgot=False))


def _summary(made: Unlearned) -> list[str]:
    losses = {epoch.stage: epoch.loss for epoch in made.history}
    ended = ", ".join(f"{stage} {loss:.4g}" for stage, loss in losses.items())
    return [
        f"Method: {made.method}",
        f"Cost: {made.cost.passes:,} sample passes, {made.cost.seconds:.1f} s",
        *([f"Mean loss in the last epoch: {ended}"] if losses else []),
        *(f"Note: {note}" for note in made.notes),
    ]
