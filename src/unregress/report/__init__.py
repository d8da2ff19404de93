"""HTML page, figures and terminal table of an audit, all made from an `AuditReport` alone."""

from __future__ import annotations

from unregress.report.render import render_html
from unregress.report.terminal import print_table

__all__ = ["print_table", "render_html"]
