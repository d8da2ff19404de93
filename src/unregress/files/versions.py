"""Versions of Python and of the libraries that numbers depend on."""

from __future__ import annotations

import platform
from importlib.metadata import version

LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn")
"""Libraries whose versions are recorded."""


def library_versions() -> dict[str, str]:
    """The versions of Python and of `LIBRARIES`, by name."""
    return {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}
