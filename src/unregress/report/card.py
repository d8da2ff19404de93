"""The audit as a section of a model card, in Markdown as the Hugging Face Hub reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from unregress.errors.wording import printable
from unregress.evidence import ERROR_OF, AuditReport, Measurement, MetricInfo, Unit
from unregress.report.conclusion import conclusion
from unregress.report.formatting import DASH, count, measured, percent, plural, significant
from unregress.report.verdicts import verdict_rows

MARK = "<!-- unregress: model card -->"
"""First line of a section, by which it is known as such a file."""
_SHOWN = (("mae", "train-forget"), ("auc", "train-forget"), ("w1", "train-forget"), ("mae", "test-retain"))
"""Metrics and parts of the data in the section's table, as far as they were measured; each output's error besides."""
_PARTS = {"train-forget": "forgotten records", "test-retain": "new records"}


def is_card(path: str | Path) -> bool:
    """Whether a file is a section that `model_card` wrote, by its first line.

    Raises:
        OSError: it cannot be read.
    """
    with Path(path).open("rb") as file:
        return file.read(len(MARK)) == MARK.encode()


def model_card(report: AuditReport) -> str:
    """A section for the card (README.md) of a model: request, method, verdict, figures beside golds, limits, digests.

    Who asked is left out, since a card is public.  The request's reason is quoted: it should name no person.

    Args:
        report: the report of an audit.

    Returns:
        Markdown that begins with a heading of the second level and ends with a newline.
    """
    found = conclusion(report)
    blocks = [MARK, "## Unlearning", _text(found.headline), _request(report), _models(report)]
    blocks += [block for block in (_numbers(report), _limits(report)) if block]
    blocks.append(
        f"Measured with unregress {_text(report.version)}"
        f"{f' on {report.date}' if report.date else ''}. Request `{_code(report.request_digest)}`, training data "
        f"`{_code(report.data_digest)}` (SHA-256)."
    )
    return "\n\n".join(blocks) + "\n"


def _request(report: AuditReport) -> str:
    forgotten, kept = report.samples.get("train-forget"), report.samples.get("train-retain")
    lines = [f"- **Reason:** {_text(report.reason)}"]
    if forgotten is not None and kept is not None:
        total = count(forgotten + kept)
        lines.append(
            f"- **Forgotten:** {count(forgotten)} of {total} records ({percent(forgotten / (forgotten + kept))})"
        )
    if report.requested_on:
        lines.append(f"- **Asked on:** {report.requested_on}")
    lines.append(f"- **Compared with:** {plural(len(report.golds), 'model')} retrained without these records")
    return "\n".join(lines)


def _models(report: AuditReport) -> str:
    """A table of original and unlearned models: method, verdict, cost and file."""
    models = {model.name: model for model in report.models}
    rows = []
    for verdict in verdict_rows(report):
        if verdict.role == "reference":
            continue
        model = models[verdict.model]
        method = DASH if model.record is None else model.record.method
        digest = "" if model.file is None else model.file.sha256
        file = DASH if model.file is None else f"`{_code(model.file.name)}`" + (f" `{digest}`" if digest else "")
        rows.append([_text(verdict.model), _text(method), f"**{verdict.outcome}**", verdict.share or DASH, file])
    if not rows:
        return "No model was judged."
    return _table(["Model", "Method", "Verdict", "Cost of retraining", "File, SHA-256"], rows)


def _numbers(report: AuditReport) -> str:
    """A table of a few measurements beside the golds' range; empty if there are none."""
    names = [*report.named("original"), *report.named("unlearned")]
    shown, rows = list(_shown(report)), []
    for about, split in shown:
        golds = report.over_golds(about.metric, split)
        span = _text(about.in_unit(f"{significant(min(golds))} to {significant(max(golds))}")) if golds else DASH
        cells = [_value(report.found(about.metric, split, name), about) for name in names]
        rows.append([f"{_text(about.title)}, {_PARTS[split]}", span, *cells])
    if not rows:
        return ""
    said = "Nearer to the retrained models is better; lower is not."
    if any(about.unit == Unit.TARGET_SPREAD for about, _ in shown):
        said += " Spreads: a mean over all outputs, each in units of its own spread (see the limits)."
    return _table(["Measure", "Retrained models", *map(_text, names)], rows) + f"\n\n{said}"


def _shown(report: AuditReport) -> Iterator[tuple[MetricInfo, str]]:
    """Metrics and parts of the data in the table: after the mean error that of each output, where there are several."""
    about = {each.metric: each for each in report.about}
    measured_ones = {(measure.metric, measure.split) for measure in report.measures}
    for metric, split in _SHOWN:
        own = [each for each in about if metric == "mae" and each.startswith(ERROR_OF)]
        yield from ((about[each], split) for each in (metric, *own) if each in about and (each, split) in measured_ones)


def _value(measure: Measurement | None, about: MetricInfo) -> str:
    if measure is None or measure.value is None:
        return DASH
    return _text(about.in_unit(measured(measure.value, measure.bound, about.unit)))


def _limits(report: AuditReport) -> str:
    caveats = [f"- {_text(caveat)}" for caveat in report.caveats]
    general = "- A PASS is evidence about what was measured, not a proof that nothing remains in the weights."
    return "\n".join(["**Limits**", "", general, *caveats])


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines: Iterator[list[str]] = iter([heads, ["---"] * len(heads), *rows])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(text: str) -> str:
    r"""A text on one line, in which nothing is Markdown or HTML.

    >>> print(_text("a|b <i>*c*"))
    a\|b &lt;i&gt;\*c\*
    """
    line = " ".join(printable(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", line)


def _code(text: str) -> str:
    """A text between backticks, in a table too."""
    return re.sub(r"[`|]", "", " ".join(printable(text).split()))
