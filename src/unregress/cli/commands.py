"""What each command does, as a plain function; only the parsing is elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sized
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast

from rich.console import Console
from torch import nn

from unregress.artefacts import contents, read_model, run_folder, write_model, write_request
from unregress.audit import audit as measure
from unregress.case import Case, Splits
from unregress.cli.audit_options import Deep, Retraining
from unregress.cli.request_spec import RequestSpec
from unregress.errors import SettingError, VerdictError
from unregress.evidence import AuditReport
from unregress.methods import Method, Retrain, Unlearned
from unregress.methods import train as train_original
from unregress.metrics import Metric, Published
from unregress.preflight import preflight
from unregress.recipe import Recipe
from unregress.report import print_table, render_html
from unregress.request import ForgetRequest
from unregress.runtime import Runtime
from unregress.task import Task
from unregress.trainings import trial
from unregress.verdict import Rule

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
        output: folder to write: original.safetensors, history.json, config.yaml.
        config: the resolved configuration.
        recipe: how to train.
        runtime: where to run.
        allow_overlap: go on although samples of one split also occur in another.
    """
    runtime = _shown(runtime)
    # Nothing is to be forgotten yet, but a case has a request; training on all of D does not look at it.
    nothing = ForgetRequest(size=len(cast(Sized, data.train)), forget=(0,), reason="none")
    case = data.case(task, nothing)
    with run_folder(runtime.team, output, config + contents(case, {}, asked=False)) as folder:
        preflight(case, runtime, allow_overlap=allow_overlap)
        made = train_original(case, recipe, runtime)
        write_model(folder, ORIGINAL, made, case, None, ())
    _say(f"Trained on {nothing.size} samples.", *_summary(made), f"Wrote {output}/{ORIGINAL}")


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
        output: folder to write: unlearned.safetensors, request.json, history.json, config.yaml.
        config: the resolved configuration.
        checkpoint: the trained model: a weights file, or a folder that `unregress train` wrote.  Retrain needs none.
        runtime: where to run.
        allow_overlap: go on although samples of one split also occur in another.
    """
    runtime = _shown(runtime)
    case = data.case(task, request.resolve(data, task))
    weights = {} if checkpoint is None else {"checkpoint": checkpoint}
    with run_folder(runtime.team, output, config + contents(case, weights)) as folder:
        model = _trained(checkpoint, method, case, runtime)
        found = preflight(case, runtime, model, allow_overlap=allow_overlap)
        made = method.unlearn(model, case, runtime)
        write_request(folder, case)
        write_model(folder, UNLEARNED, made, case, case.request, found.warnings)
    _say(
        f"Forgot {len(case.request.forget)} of {case.request.size} training samples: {case.request.reason}",
        *_summary(made),
        *(f"Warning: {warning}" for warning in found.warnings),
        f"Wrote {output}/{UNLEARNED}",
    )


def audit(
    *,
    task: Task,  # type: ignore[type-arg] # the parser takes functions for a bare class only
    data: Splits,
    request: RequestSpec,
    models: dict[str, Path],
    metrics: list[Metric],
    output: Path,
    config: str,
    golds: list[Path] | None = None,
    retrain: Retraining | None = None,
    deep: Deep | None = None,
    original: str = "original",
    rule: Rule = Rule(),  # noqa: B008 frozen
    require: Literal["pass"] | None = None,
    protocol: Literal["repaired", "published"] = "repaired",
    runtime: Runtime = Runtime(),  # noqa: B008 frozen
    allow_overlap: bool = False,
) -> None:
    """Measure how well models forgot, and judge it.

    They are compared with the original, and with golds: models that were retrained without the forgotten samples.

    Args:
        task: import path of a function that returns a `Task`, or of a `Task`'s class.
        data: import path of a function that returns `Splits`, test data among them.
        request: what was to be forgotten; `--request.from_run FOLDER` takes it from a run folder.
        models: a run folder or weights file for each name: `--models.original FILE --models.mine FOLDER ...`.
        metrics: what to measure, by name; by default the paper's metrics and their repaired twins.
        output: folder to write: audit.html, audit.json, config.yaml.
        config: the resolved configuration.
        golds: run folders or weights files of retrained models that differ by their seed only.  Their distance to each
            other is the noise floor; five or more allow a verdict.  Without any, the report says what it cannot say.
        retrain: train golds now, beside those that are given: `--retrain.recipe.epochs 50 --retrain.workers 2`.
        deep: also test the methods that made the models, with many trainings as `retrain` says: `--deep {}`.
        original: name of the model before unlearning.
        rule: how a verdict is reached.
        require: `pass` makes the exit code 3 if any model but the original does not pass.
        protocol: `published` also computes the paper's variants of its metrics, marked as such, for comparison.
        runtime: where to run.
        allow_overlap: go on although samples of one split also occur in another.

    Raises:
        VerdictError: a model did not pass that was required to; the report is written all the same.
    """
    runtime = _shown(runtime)
    case = data.case(task, request.resolve(data, task))
    named = {f"gold {n}": path for n, path in enumerate(golds or [], 1)}
    paths = {**models, **named}
    asked = [*metrics, *([Published()] if protocol == "published" else [])]
    judged = {name: path for name, path in models.items() if name != original}
    with run_folder(runtime.team, output, config + contents(case, paths)) as folder:
        found = preflight(case, runtime, allow_overlap=allow_overlap)
        read = {name: read_model(path, case, runtime, forgot=name != original) for name, path in paths.items()}
        asked += [] if deep is None else _deep(deep, case, judged, retrain, runtime)
        retrained = [] if retrain is None else retrain.run(case, runtime)
        report = measure(
            case,
            {name: read[name] for name in models},
            runtime,
            original=original,
            golds=[*(read[name] for name in named), *retrained],
            metrics=asked,
            rule=rule,
            caveats=(*found.warnings, *_unproven(read, original)),
        )
        report.to_json(folder / "audit.json")
        render_html(report, folder / "audit.html")
    print_table(report)
    _say("", f"Wrote {output}/audit.html and {output}/audit.json")
    if require == "pass":
        _require_pass(report, output)


def _deep(
    deep: Deep, case: Case, models: dict[str, Path], retraining: Retraining | None, runtime: Runtime
) -> tuple[Metric, ...]:
    """The metrics of a deep audit; says what they will take before they begin."""
    if retraining is None:
        raise SettingError(
            "A deep audit trains originals and does not know how",
            expected="`--retrain.recipe`, the original's",
            remedy="With `--retrain.golds 0` it trains no further golds",
        )
    metrics = deep.metrics(models, retraining)
    pace = trial(case, retraining.recipe, runtime)
    for metric in metrics:
        plan = metric.plan(case).sentence(pace, retraining.workers)
        _say(f"{type(metric).__name__}, if nothing of it is in {retraining.folder} yet: {plan}")
    return metrics


def _require_pass(report: AuditReport, output: Path) -> None:
    if not report.named("unlearned"):
        raise VerdictError("No model but the original was audited, so none passed", expected="an unlearned model")
    verdicts = {verdict.model: verdict for verdict in report.verdicts}
    unproven = [name for name in report.named("unlearned") if name not in verdicts or verdicts[name].outcome != "PASS"]
    if unproven:
        reasons = "; ".join(
            f"{name}: {verdicts[name].outcome}, {verdicts[name].reason}" if name in verdicts else f"{name}: no golds"
            for name in unproven
        )
        raise VerdictError(
            f"Not every model passed: {reasons.rstrip('.')}", expected="PASS", remedy=f"See {output}/audit.html"
        )


def report(audit_json: Path, output: Path | None = None) -> None:
    """Print an audit's table and render its page anew.

    Args:
        audit_json: the audit.json that `unregress audit` or `unregress demo` wrote.
        output: HTML file to write; by default beside the JSON, under its name.
    """
    found = AuditReport.from_json(audit_json)
    page = audit_json.with_suffix(".html") if output is None else output
    try:
        render_html(found, page)
    except OSError as error:
        raise SettingError(f"{page} cannot be written: {error.strerror}", remedy="Choose another `--output`") from error
    print_table(found)
    _say("", f"Wrote {page}")


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
    read = read_model(checkpoint, case, runtime, forgot=False)
    return read.model if isinstance(read, Unlearned) else read


def _unproven(read: dict[str, nn.Module | Unlearned], original: str) -> list[str]:
    names = [name for name, model in read.items() if name != original and not isinstance(model, Unlearned)]
    if not names:
        return []
    return [f"Given as bare weights files, so that for which request they were made is not known: {', '.join(names)}."]


def _shown(runtime: Runtime) -> Runtime:
    """With progress bars wherever somebody can see them."""
    return replace(runtime, progress=runtime.progress or sys.stdout.isatty())


def _summary(made: Unlearned) -> list[str]:
    losses = {epoch.stage: epoch.loss for epoch in made.history}
    ended = ", ".join(f"{stage} {loss:.4g}" for stage, loss in losses.items())
    return [
        f"Method: {made.method}",
        f"Cost: {made.cost.passes:,} sample passes, {made.cost.seconds:.1f} s",
        *([f"Mean loss in the last epoch: {ended}"] if losses else []),
        *(f"Note: {note}" for note in made.notes),
    ]


def _say(*lines: str) -> None:
    console = Console(highlight=False, markup=False, emoji=False)
    for line in lines:
        console.print(line)
