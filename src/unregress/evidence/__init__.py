"""The evidence an audit leaves, as plain data: report, findings, noise floor and verdict.  Imports no PyTorch."""

from unregress.evidence.audit_report import CONSTANT, RETRAINED, SCHEMA, AuditedModel, AuditReport, ModelFile, Role
from unregress.evidence.findings import (
    Answer,
    Criterion,
    Curve,
    Figure,
    Kind,
    Measurement,
    MetricInfo,
    Outcome,
    Part,
    Recheck,
    Verdict,
)
from unregress.evidence.model_record import ModelRecord

__all__ = [
    "CONSTANT",
    "RETRAINED",
    "SCHEMA",
    "Answer",
    "AuditReport",
    "AuditedModel",
    "Criterion",
    "Curve",
    "Figure",
    "Kind",
    "Measurement",
    "MetricInfo",
    "ModelFile",
    "ModelRecord",
    "Outcome",
    "Part",
    "Recheck",
    "Role",
    "Verdict",
]
