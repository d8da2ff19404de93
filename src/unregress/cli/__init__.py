"""The command line: `unregress demo | train | forget | audit | report`."""

from __future__ import annotations

from unregress.cli.main import main

__all__ = ["main"]
