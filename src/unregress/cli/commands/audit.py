"""`unregress audit` and `unregress report`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from unregress.auditing.golds import module_of
from unregress.auditing.participants import check, gold_names
from unregress.auditing.pipeline import audit as measure
from unregress.auditing.pipeline import today
from unregress.checks.model_check import no_better_than_constant
from unregress.checks.preflight import preflight
from unregress.cli.commands.agreement import AUDIT, GOLDS, TRAINED_WITH, require_agreement
from unregress.cli.commands.audit_options import Deep, Retraining
from unregress.cli.commands.caveats import about_models, unexamined
from unregress.cli.commands.pages import require_replaceable, run_of
from unregress.cli.commands.recorded import recorded_recipe
from unregress.cli.commands.request_spec import RequestSpec
from unregress.cli.console import kept_in, say, shown
from unregress.data.case import Case
from unregress.data.splits import Splits
from unregress.errors import SettingError, StaleError, VerdictError
from unregress.evidence import AuditReport
from unregress.evidence.model_record import settings_of
from unregress.evidence.verdict import Rule
from unregress.files.writing import write_text
from unregress.metrics import Metric, Published
from unregress.report import print_table, render_html
from unregress.retraining.model_factory import StoredModel
from unregress.retraining.model_store import Store
from unregress.runs.manifest import MANIFEST, digest_of_folder
from unregress.runs.model_io import contents, file_of, read_model, run_folder
from unregress.runs.provenance import require_remembering
from unregress.tasks.base import Task
from unregress.training.recipe import Recipe
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
        output: folder to write: audit.html, audit.json, config.yaml, manifest.json, and golds.json where golds were
            trained.
        config: the resolved configuration.
        golds: run folders or weights files of retrained models that differ by their seed only.  Their distance to each
            other is the noise floor; five or more allow a verdict.  Without any, the report says what it cannot say.
        retrain: train golds now, beside those that are given: `--retrain {}` trains five as the original's run folder
            says that it was trained, `--retrain.workers 2` two at a time.
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
    runtime = shown(runtime)
    today()  # refuses a wrong SOURCE_DATE_EPOCH before anything is trained
    _require_once(golds or [])
    named = {f"gold {n}": path for n, path in enumerate(golds or [], 1)}
    paths = {**models, **named}
    asked = request.resolve(data, task, paths.values())
    case = Case(task=task, splits=data, request=asked.request)
    if not metrics:
        raise SettingError("No metric is named: nothing is measured", remedy="Leave `metrics` out for all of them")
    if original in models:
        require_remembering(models[original], case)
    measured = [*metrics, *([Published()] if protocol == "published" else [])]
    # A deep audit without golds of its own still trains originals.
    training = Retraining(golds=0) if retrain is None and deep is not None else retrain
    further, store = (0, None) if training is None else (training.golds, training.folder)
    # A missing original is complained about below, with all else that is wrong with the models.
    recipe = None if training is None or original not in models else training.recipe_of(models[original])
    if training is not None and recipe is not None:
        training.require_possible(case, runtime, recipe)
    # Before the data are hashed: what cannot be read is told in its words.
    found = preflight(case, runtime, recipe=recipe, allow_overlap=allow_overlap)
    origin = "" if recipe is None else f"# {TRAINED_WITH}: {json.dumps(settings_of(recipe))}\n"
    require_agreement(paths.values())
    group, config = runtime.process_group, config + contents(case, paths) + origin
    with run_folder(group, output, config, paths) as folder, kept_in(store):
        notes: list[str] = []
        read = {
            name: read_model(path, case, runtime, forgot=name != original, told=notes.append)
            for name, path in paths.items()
        }
        own = {name: read[name] for name in models}
        given = [read[name] for name in named]
        # All that can be refused is refused before anything is trained for hours.
        check(case, own, runtime, golds=given, original=original, metrics=measured, further=further)
        warnings = [*found.warnings, *no_better_than_constant(case, runtime, module_of(read[original]))]
        # Before golds are trained for hours on what may be worth none.
        say(*(f"Warning: {warning}" for warning in warnings))
        caveats = [*warnings, *(f"{note}." for note in notes), *asked.notes]
        caveats += about_models(paths, read, original, case)
        retrained: list[StoredModel] = []
        if training is not None and recipe is not None:
            training.refuse_repeated(golds or [], runtime, recipe)
            source = "as the options say" if training.recipe is not None else f"as {models[original]} says"
            say(f"Golds are trained {source}: {recipe}")
            say(*_before_training(len(asked.request.forget), rule, recipe, models[original]))
            names = gold_names(len(given) + further)
            if deep is not None:
                judged = {name: path for name, path in models.items() if name != original}
                methods = deep.examined(judged, names)
                measured += deep.metrics(methods, training, recipe, case, runtime)
                caveats += unexamined([name for name in judged if name not in methods])
            if retrained := training.run(case, runtime, recipe):
                text = training.record(names[len(given) :], retrained, recipe, runtime)
                write_text(folder / GOLDS, text)
        kept = [Store(root=training.folder).folder("gold", made.key) for made in retrained] if training else []
        gold_files = zip(gold_names(len(given) + len(kept)), [*named.values(), *kept], strict=True)
        report = measure(
            case,
            own,
            runtime,
            original=original,
            golds=[*given, *(made.unlearned for made in retrained)],
            metrics=measured,
            rule=rule,
            caveats=caveats,
            files={name: file_of(path) for name, path in (*models.items(), *gold_files)},
        )
        report.to_json(folder / AUDIT)
        render_html(report, folder / "audit.html")
    print_table(report)
    say("", f"Wrote {output}/audit.html and {output}/{AUDIT}", f"Digest of {output}: {digest_of_folder(output)}")
    if require == "pass":
        _require_pass(report, output)


def _before_training(forgotten: int, rule: Rule, recipe: Recipe, original: Path) -> list[str]:
    """What is known already to limit what the trained golds will be good for."""
    lines = []
    if (recorded := recorded_recipe(original)) not in (None, recipe):
        lines.append(f"Warning: {original} says that the original was trained otherwise: {recorded}")
    if forgotten < rule.samples:
        lines.append(
            f"Warning: {forgotten} samples are forgotten, and a verdict needs {rule.samples}: the audit will measure, "
            "and conclude nothing.  `--rule.samples` lowers that number, and makes limits less certain"
        )
    return lines


def _require_once(golds: list[Path]) -> None:
    """Refuse a gold that is given twice, of which equal weights would be no sign."""
    if repeated := [path for place, path in enumerate(golds) if path.resolve() in [p.resolve() for p in golds[:place]]]:
        raise SettingError(
            f"{repeated[0]} is given as a gold twice", expected="golds that differ by their seed", remedy="Name it once"
        )


def _require_pass(report: AuditReport, output: Path) -> None:
    if not report.named("unlearned"):
        raise VerdictError("No model but the original was audited, so none passed", expected="an unlearned model")
    verdicts = [report.verdict(name) for name in report.named("unlearned")]
    verdicts += [each for again in report.earlier for each in again.verdicts if each.outcome == "FAIL"]
    if unproven := [verdict for verdict in verdicts if verdict.outcome != "PASS"]:
        reasons = "; ".join(f"{verdict.model}: {verdict.outcome}, {verdict.reason}" for verdict in unproven)
        raise VerdictError(
            f"Not every model passed: {reasons.rstrip('.')}", expected="PASS", remedy=f"See {output}/audit.html"
        )


def report(folder: Path, *, output: Path | None = None) -> None:
    """Print an audit's table and render its page anew.

    A run folder with a manifest stays as it was written: its audit is checked against the manifest, whose digest is
    printed, and a page is written only where `output` says.

    Args:
        folder: an audit's run folder, or the audit.json in it.
        output: HTML file to write: a new one, or a page of an audit.  By default beside the JSON, under its name,
            where the folder has no manifest.
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
        render_html(found, written)
    print_table(found)
    if run is None:
        say("", f"Not verified: {path.parent} has no {MANIFEST}, so that nothing shows whether {path.name} was changed")
    else:
        say("", f"{path} is as it was written; {run.folder} has the digest {digest_of_folder(run.folder)}")
    if written is not None:
        say(f"Wrote {written}")
    elif run is not None:
        say(run.where(page))
