"""`unregress audit --predictions`: the command `audit-predictions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import yaml

from unregress.auditing.predictions_only import NO_REASON, files_of
from unregress.auditing.predictions_only import audit_predictions as audit_tables
from unregress.cli.commands.agreement import AUDIT
from unregress.cli.commands.audit import show
from unregress.errors import SettingError
from unregress.evidence.rule import Rule
from unregress.files.writing import sha256_of
from unregress.metrics import Metric
from unregress.report import render_html
from unregress.runs.digests import digest_comments
from unregress.runs.folder import check_run, new_run

COMMAND = "audit-predictions"


def routed(words: Sequence[str]) -> list[str]:
    """The words with `audit` replaced by this command if the options, or a configuration file, name predictions.

    >>> routed(["audit", "--predictions", "a.csv"])[0], routed(["audit", "--models.a", "a"])[0]
    ('audit-predictions', 'audit')
    """
    if words[:1] != ["audit"]:
        return list(words)
    options = [word.partition("=") for word in words]
    files = [
        value or following
        for (option, _, value), following in zip(options, [*words[1:], ""], strict=True)
        if option == "--config"
    ]
    named = any(option == "--predictions" for option, _, _ in options) or any(map(_names_predictions, files))
    return [COMMAND, *words[1:]] if named else list(words)


def _names_predictions(file: str) -> bool:
    """Whether a configuration has the option `predictions`; one that cannot be read is reported by the parser."""
    try:
        found = yaml.safe_load(Path(file).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, yaml.YAMLError):
        return False
    return isinstance(found, dict) and "predictions" in found


def audit_predictions(
    *,
    predictions: str | list[str] | dict[str, Path],
    output: Path,
    config: str,
    golds: str | list[str] | None = None,
    data: Path | None = None,
    original: str = "original",
    reason: str = NO_REASON,
    loss: Literal["l1", "mse", "huber"] = "l1",
    metrics: list[Metric] | None = None,
    rule: Rule = Rule(),  # noqa: B008 frozen
    require: Literal["pass"] | None = None,
    seed: int = 0,
) -> None:
    """Judge models of which nothing but predictions is known.

    `unregress audit --predictions original.csv,unlearned.csv --golds 'gold-*.csv' --output runs/audit`: each file is a
    table of one model with the columns `id`, `prediction` (or `prediction_NAME` for each of several outputs), and in at
    least one file, or in `--data`, `target` (`target_NAME`) and `part`: train-retain, train-forget, test-retain or
    test-forget.

    Args:
        predictions: a file for each model, separated by commas; each is called after its file, without the ending.  In
            a configuration also names with files.  CSV, JSON lines (.jsonl, .ndjson) or Parquet.
        output: folder to write: audit.html, audit.json, config.yaml, manifest.json.
        config: the resolved configuration.
        golds: files, or patterns such as 'gold-*.csv', of models retrained without the forgotten samples, separated by
            commas.  Five or more allow a verdict.
        data: a table of targets and parts, if the files of predictions do not have them.
        original: name of the model before unlearning.
        reason: why the samples were to be forgotten.
        loss: the loss that the models were trained on, by which attacks tell members.
        metrics: what to measure; by default everything that predictions allow.
        rule: how a verdict is reached.
        require: `pass` makes the exit code 3 if any model but the original does not pass.
        seed: of the attacks' draws.

    Raises:
        VerdictError: a model that was required to pass did not; the report is written nevertheless.
    """
    models = _by_name(predictions)
    retrained = files_of(golds or [])
    given: dict[str, Path] = {**models, **{f"gold {number}": path for number, path in enumerate(retrained, 1)}}
    if data is not None:
        given["data"] = data
    config += digest_comments({name: sha256_of(path) if path.is_file() else "missing" for name, path in given.items()})
    check_run(output, config)
    report = audit_tables(
        models,
        golds=retrained,
        data=data,
        original=original,
        reason=reason,
        loss=loss,
        metrics=metrics,
        rule=rule,
        seed=seed,
    )
    with new_run(output, config, given) as folder:
        report.to_json(folder / AUDIT)
        render_html(report, folder / "audit.html")
    show(report, output, require)


def _by_name(predictions: str | Sequence[str] | Mapping[str, Path]) -> dict[str, Path]:
    """The models' files by name; of a list, each model is called after its file.

    Raises:
        SettingError: two files have the same name.
    """
    if isinstance(predictions, Mapping):
        return dict(predictions)
    found: dict[str, Path] = {}
    for path in files_of(predictions):
        if (other := found.setdefault(path.stem, path)) is not path:
            raise SettingError(
                f"{other} and {path} would both be called {path.stem!r}",
                expected="files with different names",
                remedy="Rename one, or name them in a configuration: `predictions: {original: FILE, mine: FILE}`",
            )
    return found
