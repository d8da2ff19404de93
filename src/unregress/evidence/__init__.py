"""The evidence of an audit as plain data: report, findings, noise floor and verdict.  Imports no PyTorch."""

from unregress.evidence.audit_report import CONSTANT, RETRAINED, SCHEMA, AuditedModel, AuditReport, ModelFile, Role
from unregress.evidence.findings import (
    PARTS,
    Criterion,
    CriterionOutcome,
    Curve,
    Figure,
    Kind,
    Measurement,
    MetricInfo,
    Obstacle,
    Outcome,
    Part,
    Recheck,
    Trace,
    Unit,
    Verdict,
)
from unregress.evidence.model_record import ModelRecord

__all__ = [
    "CONSTANT",
    "PARTS",
    "RETRAINED",
    "SCHEMA",
    "AuditReport",
    "AuditedModel",
    "Criterion",
    "CriterionOutcome",
    "Curve",
    "Figure",
    "Kind",
    "Measurement",
    "MetricInfo",
    "ModelFile",
    "ModelRecord",
    "Obstacle",
    "Outcome",
    "Part",
    "Recheck",
    "Role",
    "Trace",
    "Unit",
    "Verdict",
]
