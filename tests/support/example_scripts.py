"""Scripts of the examples as modules, and the real data that they read."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def example(name: str) -> ModuleType:
    """Import a script of the examples."""
    found = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def needs(folder: str) -> pytest.MarkDecorator:
    """Skip a test where the data are absent."""
    there = (ROOT.parent / "shared/data" / folder).is_dir()
    return pytest.mark.skipif(not there, reason=f"there is no folder ../shared/data/{folder} here")
