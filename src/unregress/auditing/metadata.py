"""Metadata of a report: date, settings, models, and the meaning of each measurement."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime

import torch

from unregress.errors import SettingError
from unregress.evidence import AuditedModel, Measurement, MetricInfo, ModelFile, Role, Unit
from unregress.evidence.combined_memory import ABOUT, SIGNS
from unregress.evidence.model_record import ModelRecord
from unregress.evidence.rule import Rule
from unregress.files.versions import library_versions
from unregress.methods.unlearned import Candidate, Unlearned
from unregress.metrics import Metric
from unregress.training.runtime import Runtime

BASELINE = ModelRecord(method="the median of the retained targets", kind="computed")
"""Record of the constant predictor, which is a row of every audit."""


def about(metrics: Sequence[Metric], measures: Sequence[Measurement], unit: str) -> tuple[MetricInfo, ...]:
    """The explanations of all metrics that were measured; target units are replaced by the panel's unit."""
    measured = {measure.metric for measure in measures}
    about = [info for metric in metrics for info in metric.about if info.metric in measured]
    if len(measured & SIGNS.keys()) > 1:
        about.append(ABOUT)
    return tuple(replace(info, unit=unit) if info.unit == Unit.TARGET else info for info in about)


def today() -> str:
    """The day in UTC, or that of `SOURCE_DATE_EPOCH`, which lets an audit be repeated to the byte.

    Raises:
        SettingError: `SOURCE_DATE_EPOCH` is not a number of seconds.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        moment = datetime.now(UTC) if given is None else datetime.fromtimestamp(int(given), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise SettingError(
            f"The environment's SOURCE_DATE_EPOCH is {given!r}", expected="a number of seconds since 1970"
        ) from error
    return moment.date().isoformat()


def audited_model(name: str, role: Role, candidate: Candidate, files: Mapping[str, ModelFile]) -> AuditedModel:
    """A model's entry in the report, with the record of how it was made if there is one."""
    if not isinstance(candidate, Unlearned):
        return AuditedModel(name=name, role=role, file=files.get(name))
    return AuditedModel(
        name=name,
        role=role,
        record=candidate.record,
        notes=candidate.notes,
        deviations=candidate.deviations,
        cost=candidate.cost,
        file=files.get(name),
    )


def settings(task: str, runtime: Runtime, metrics: Sequence[Metric], rule: Rule) -> dict[str, object]:
    """Everything except data and models that the numbers depend on."""
    return {
        "task": task,
        "metrics": [str(metric) for metric in metrics],
        "rule": asdict(rule),
        "seed": runtime.seed,
        "threads": torch.get_num_threads(),
        "processes": runtime.process_group.world_size,
        "precision": runtime.precision,
        "device": torch.cuda.get_device_name(runtime.device) if runtime.device.type == "cuda" else runtime.device.type,
        "versions": library_versions(),
    }
