"""The command line: `unregress demo | train | forget | audit | report | reproduce`."""

from __future__ import annotations

from unregress.cli.main import main

__all__ = ["main"]
