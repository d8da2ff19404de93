"""HTML page, model card, figures and terminal table of an audit, all made from an `AuditReport` alone."""

from __future__ import annotations

from unregress.report.card import model_card
from unregress.report.mlflow_log import log_mlflow
from unregress.report.render import render_html
from unregress.report.terminal import print_table

__all__ = ["log_mlflow", "model_card", "print_table", "render_html"]
