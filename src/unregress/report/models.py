"""The audited models: their origin, and their cost compared with retraining."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from unregress.cost import Cost
from unregress.evidence import RETRAINED, AuditedModel, AuditReport, ModelFile, Role
from unregress.report.figures import GOLD, Style
from unregress.report.formatting import DASH, count, percent, plural, significant

ROLES: dict[Role, tuple[str, str]] = {
    "original": ("original", "trained on all training samples; the model as it was before the request"),
    "gold": ("gold", "trained from scratch without the samples to forget: what forgetting should lead to"),
    "unlearned": ("unlearned", "the original, made to forget by this method"),
    "reference": ("reference", "shown for scale; not meant to be used"),
}
ORDER: tuple[Role, ...] = ("original", "gold", "unlearned", "reference")


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    """One audited model, or all golds: origin and cost."""

    name: str
    role: Role
    label: str
    """The role in words; empty if the name is the same."""
    meaning: str
    style: Style
    method: str
    """The method that made the model; empty if it is not recorded."""
    settings: tuple[str, ...]
    notes: tuple[str, ...]
    deviations: tuple[str, ...]
    is_method: bool
    costed: bool
    passes: str
    forward: str
    backward: str
    seconds: str
    share: str


@dataclass(frozen=True, kw_only=True)
class FileRow:
    """One model and the file that it was read from."""

    model: str
    role: Role
    file: ModelFile | None
    unknown: str
    """The unknown facts about the file, in words; empty if name and digest are known."""


NO_FILE = "no file is recorded, so it is unknown which weights were measured"
NO_DIGEST = "no digest is recorded, so it is unknown whether a file of this name is the file that was measured"


def file_rows(report: AuditReport, *roles: Role) -> tuple[FileRow, ...]:
    """The files of the models of some roles, in reading order; golds without a file are left out."""
    shown = (m for m in report.models if m.role in roles and (m.file or m.role != "gold"))
    found = sorted(shown, key=lambda model: ORDER.index(model.role))
    return tuple(
        FileRow(
            model=model.name,
            role=model.role,
            file=model.file,
            unknown=NO_FILE if model.file is None else "" if model.file.sha256 else NO_DIGEST,
        )
        for model in found
    )


def model_rows(report: AuditReport, look: Mapping[str, Style]) -> tuple[ModelRow, ...]:
    """The models in reading order, all golds as one."""
    retraining = typical_retraining(report)
    rows = []
    for role in ORDER:
        found = [model for model in report.models if model.role == role]
        if role == "gold" and found:
            alike = all(_made_alike(model, found[0]) for model in found)
            label = plural(len(found), "gold")
            rows.append(_row(retraining or found[0], RETRAINED, label, GOLD, retraining, alike=alike))
        else:
            label = ROLES[role][0]
            rows += [
                _row(m, m.name, "" if label == m.name else label, look[m.name], retraining, alike=True) for m in found
            ]
    return tuple(rows)


def _made_alike(model: AuditedModel, other: AuditedModel) -> bool:
    """Whether two models were made by the same method with the same settings, or neither has a record."""
    if model.record is None or other.record is None:
        return model.record is other.record
    return model.record.made_like(other.record)


def typical_retraining(report: AuditReport) -> AuditedModel | None:
    """The gold of median cost, with which other costs are compared; None if no gold's cost is known."""
    known = [(model.cost.passes, model.cost.seconds, n) for n, model in enumerate(report.models)
             if model.role == "gold" and model.cost is not None]  # fmt: skip
    return report.models[sorted(known)[(len(known) - 1) // 2][-1]] if known else None


def share_of_retraining(model: AuditedModel, retraining: AuditedModel | None) -> str:
    """A model's cost as a percentage of a retraining; empty if unknown.

    Args:
        model: the model.
        retraining: the gold to compare with, from `typical_retraining`.
    """
    if model.cost is None or retraining is None or retraining.cost is None or not retraining.cost.passes:
        return ""
    return percent(model.cost.share_of(retraining.cost))


def _row(
    model: AuditedModel, name: str, label: str, style: Style, retraining: AuditedModel | None, *, alike: bool
) -> ModelRow:
    record = model.record
    method = "made in different ways" if not alike else "" if record is None else record.method
    cost: Cost | None = model.cost
    return ModelRow(
        name=name,
        role=model.role,
        label=label,
        meaning=ROLES[model.role][1],
        style=style,
        method=method,
        settings=record.lines() if alike and record is not None else (),
        notes=model.notes,
        deviations=model.deviations,
        is_method=record is not None and model.role == "unlearned",
        costed=cost is not None,
        passes=DASH if cost is None else count(cost.passes),
        forward=DASH if cost is None else count(cost.forward),
        backward=DASH if cost is None else count(cost.backward),
        seconds=DASH if cost is None else significant(cost.seconds),
        share=share_of_retraining(model, retraining) or DASH,
    )
