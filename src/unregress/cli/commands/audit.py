"""`unregress audit` and `unregress report`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from unregress.auditing.assemble import gold_names
from unregress.auditing.expected_verdict import expected_verdict
from unregress.auditing.judging_table import judging
from unregress.auditing.pipeline import AuditJob
from unregress.auditing.training import DeepTests
from unregress.checks.model_check import no_better_than_constant
from unregress.checks.preflight import preflight
from unregress.cli.commands.agreement import AUDIT, GOLDS, TRAINED_WITH, require_agreement
from unregress.cli.commands.audit_options import RetrainOptions, announcements, gold_record, resolve
from unregress.cli.commands.caveats import about_models
from unregress.cli.commands.pages import require_replaceable, run_of
from unregress.cli.commands.recorded import tables_of
from unregress.cli.commands.request_spec import RequestSpec
from unregress.cli.console import say, store_noted, with_progress
from unregress.data.case import Case
from unregress.data.splits import Splits
from unregress.errors import SettingError, StaleError, VerdictError
from unregress.evidence import AuditReport, ModelFile
from unregress.evidence.rule import Rule
from unregress.files.writing import write_text
from unregress.methods.unlearned import Candidate, module_of
from unregress.metrics import Metric, Published
from unregress.report import model_card, print_table, render_html
from unregress.runs.digests import contents, file_of
from unregress.runs.manifest import MANIFEST, digest_of_folder
from unregress.runs.model_io import read_model, read_start, run_folder
from unregress.runs.provenance import require_not_forgotten
from unregress.tasks.base import Task
from unregress.training.from_scratch import training_record
from unregress.training.runtime import Runtime


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
    retrain: RetrainOptions | None = None,
    training: Callable[..., Any] | None = None,
    start: Path | None = None,
    table: Path | None = None,
    deep: DeepTests | None = None,
    original: str = "original",
    rule: Rule = Rule(),  # noqa: B008 frozen
    require: Literal["pass"] | None = None,
    protocol: Literal["repaired", "published"] = "repaired",
    runtime: Runtime = Runtime(),  # noqa: B008 frozen
    allow_overlap: bool = False,
) -> None:
    """Measure how well models forgot, and judge it.

    Models are compared with the original, and with golds: models that were retrained without the forgotten samples.
    With `--predictions FILES` it reads predictions in place of models, see `unregress audit-predictions --help`.

    Args:
        task: import path of a function that returns a `Task`, or of a `Task`'s class.
        data: import path of a function that returns `Splits`, test data among them.
        request: the samples that were to be forgotten; `--request.from_run FOLDER` takes it from a run folder.
        models: a run folder or weights file for each name: `--models.original FILE --models.mine FOLDER ...`.
        metrics: what to measure, by name; by default the paper's metrics, their mistakes repaired, and the tests of
            memory `Memory`, `Readout` and `Revival`.
        output: folder to write: audit.html, audit.json, config.yaml, manifest.json, and golds.json where golds were
            trained.
        config: the resolved configuration.
        golds: run folders or weights files of retrained models that differ by their seed only.  Their distance to each
            other is the noise floor; five or more allow a verdict.  Without any, only a leave-out table gives one.
        retrain: train further golds now: `--retrain {}` trains five with the recipe in the original's run folder,
            `--retrain.workers 2` two at a time.
        training: import path of the function that trained the original, with which golds are trained; see `unregress
            train`.
        start: weights file with the original's initial weights, from which golds start too; by default those in the
            original's run folder.  `--retrain.coupled false` trains golds from new ones.
        table: folder that `unregress table` wrote: one of its tables that taught no model is compared with, and decides
            where there are too few golds.
        deep: also test the methods that made the models, with many trainings as `retrain` says: `--deep {}`.
        original: name of the model before unlearning.
        rule: how a verdict is reached.
        require: `pass` makes the exit code 3 if any model but the original does not pass.
        protocol: `published` also computes the paper's variants of its metrics, marked as such, for comparison.
        runtime: where to run.
        allow_overlap: continue although samples of one split also occur in another.

    Raises:
        VerdictError: a model that was required to pass did not; the report is written nevertheless.
    """
    runtime = with_progress(runtime)
    given = _by_name(golds or [])
    paths = {**models, **given}
    asked = request.resolve(data, task, paths.values())
    case = Case(task=task, splits=data, request=asked.request)
    if original in models:
        require_not_forgotten(models[original], case)
    retraining, deep = resolve(retrain, deep, models, original, golds or [], runtime, training)
    recipe = None if retraining is None else retraining.recipe
    # Before the data are hashed, so that data which cannot be read are refused by the preflight's message.
    found = preflight(case, runtime, recipe=recipe, allow_overlap=allow_overlap)
    require_agreement(paths.values())
    sources = paths if start is None else {**paths, "initial weights": start}
    config += contents(case, sources) + (
        "" if recipe is None else f"# {TRAINED_WITH}: {json.dumps(training_record(recipe))}\n"
    )
    store = None if retraining is None else retraining.store
    with run_folder(runtime.process_group, output, config, sources) as folder, store_noted(store):
        read, notes = _read(paths, case, runtime, original)
        initial = None if start is None else read_start(start, case, runtime)
        judged = [read[name] for name in models if name != original]
        tables = tables_of(table)
        leave_out = judging(tables, case, read[original], judged, say) if tables and original in read else []
        job = AuditJob(
            case=case,
            models={name: read[name] for name in models},
            runtime=runtime,
            golds=[read[name] for name in given],
            retrain=retraining,
            deep=deep,
            original=original,
            start=initial,
            metrics=[*metrics, *([Published()] if protocol == "published" else []), *leave_out],
            rule=rule,
            files=_files(models, given),
            not_found=asked.notes,
            log=say,
        )
        # Everything that can be refused is refused before anything is trained for hours.
        job.check()
        warnings = [*found.warnings, *no_better_than_constant(case, runtime, module_of(read[original]))]
        say(*(f"Warning: {warning}" for warning in warnings))
        if recipe is not None:
            say(*announcements(retrain, recipe, models[original]))
        there = len(given) + (0 if retraining is None else retraining.golds)
        say(*(f"Note: {expected}" for expected in expected_verdict(case, leave_out, there, rule)))
        caveats = [*warnings, *notes, *about_models(paths, read, original, case)]
        report, trained = replace(job, caveats=caveats).run()
        if trained and recipe is not None:
            write_text(folder / GOLDS, gold_record(recipe, trained))
        report.to_json(folder / AUDIT)
        render_html(report, folder / "audit.html")
    show(report, output, require)


def _by_name(golds: list[Path]) -> dict[str, Path]:
    """The given golds by the names that messages use; refuses a path that is given twice."""
    if repeated := [path for place, path in enumerate(golds) if path.resolve() in [p.resolve() for p in golds[:place]]]:
        raise SettingError(
            f"{repeated[0]} is given as a gold twice", expected="golds that differ by their seed", remedy="Name it once"
        )
    return {f"gold {number}": path for number, path in enumerate(golds, 1)}


def _read(
    paths: Mapping[str, Path], case: Case, runtime: Runtime, original: str
) -> tuple[dict[str, Candidate], list[str]]:
    """Read the models from run folders and weights files, with notes on what could not be checked."""
    notes: list[str] = []
    read = {
        name: read_model(path, case, runtime, forgot=name != original, told=notes.append)
        for name, path in paths.items()
    }
    return read, [f"{note}." for note in notes]


def _files(models: Mapping[str, Path], golds: Mapping[str, Path]) -> dict[str, ModelFile]:
    """The weights file of each model, by its name in the report."""
    named = {**models, **dict(zip(gold_names(len(golds)), golds.values(), strict=True))}
    return {name: file_of(path) for name, path in named.items()}


def show(report: AuditReport, output: Path, require: Literal["pass"] | None) -> None:
    """Print a written audit, and require what was asked.

    Raises:
        VerdictError: a model that was required to pass did not.
    """
    print_table(report, everything=False)
    say("", f"Wrote {output}/audit.html and {output}/{AUDIT}", f"Digest of {output}: {digest_of_folder(output)}")
    if require == "pass":
        require_all_passed(report, output)


def require_all_passed(report: AuditReport, output: Path) -> None:
    """Require that every model but the original passed, about earlier requests too.

    Raises:
        VerdictError: one did not.
    """
    if not report.named("unlearned"):
        raise VerdictError("No model but the original was audited, so none passed", expected="an unlearned model")
    verdicts = [report.verdict(name) for name in report.named("unlearned")]
    verdicts += [each for again in report.earlier for each in again.verdicts if each.rejected]
    if unproven := [verdict for verdict in verdicts if verdict.outcome != "PASS"]:
        reasons = "; ".join(f"{verdict.model}: {verdict.outcome}, {verdict.reason}" for verdict in unproven)
        raise VerdictError(
            f"Not every model passed: {reasons.rstrip('.')}", expected="PASS", remedy=f"See {output}/audit.html"
        )


def report(folder: Path, *, output: Path | None = None, card: Path | None = None, everything: bool = False) -> None:
    """Print an audit's table and render its page again.

    A run folder with a manifest is not changed: its audit is checked against the manifest, whose digest is printed,
    and a page is written only to `output`.

    Args:
        folder: an audit's run folder, or the audit.json in it.
        output: HTML file to write: a new file, or an audit's page to replace.  By default the JSON file's name with
            the ending .html, if the folder has no manifest.
        card: Markdown file to write as well: a section for the model's card (README.md).
        everything: print all measurements, not only those that the verdicts read.
    """
    path = folder / AUDIT if folder.is_dir() else folder
    if folder.is_dir() and not path.is_file():
        raise StaleError(
            f"{folder} holds no {AUDIT}", expected="a folder that `unregress audit` or `unregress demo` wrote"
        )
    run = run_of(path)
    found, page = AuditReport.from_json(path), path.with_suffix(".html")
    written = page if run is None and output is None else output
    if written is not None:
        require_replaceable(written)
    if card is not None:
        require_replaceable(card, "card")
        write_text(card, model_card(found))
    if written is not None:
        render_html(found, written)
    print_table(found, everything=everything)
    if run is None:
        say("", f"Not verified: {path.parent} has no {MANIFEST}, so it is unknown whether {path.name} was changed")
    else:
        say("", f"{path} is as it was written; {run.folder} has the digest {digest_of_folder(run.folder)}")
    if card is not None:
        say(f"Wrote {card}")
    if written is not None:
        say(f"Wrote {written}")
    elif run is not None:
        say(run.where(page))
