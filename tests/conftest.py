"""What all tests share: the same examples every time, no network, and where the data lies."""

from __future__ import annotations

import gc
import importlib.util
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
SLOW = ("e2e", "fuzz", "examples", "auditing/attacks", "test_readme.py")
"""Whole commands, their misuse, examples and planted models: folders and files whose tests are all marked as slow."""

# No deadline: the first example pays for what torch loads lazily.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


if (found := importlib.util.find_spec("datasets")) is not None and found.origin is None:
    # transformers would take the folder `tests/datasets` for the package of that name, which is not installed.
    sys.modules["datasets"] = None  # type: ignore[assignment] # means that there is no such module


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder with the public datasets, `../shared/data` or UNREGRESS_DATA; skips where there is none."""
    root = Path(os.environ.get("UNREGRESS_DATA") or ROOT.parent / "shared" / "data")
    if not root.is_dir():
        pytest.skip(f"no data at {root}; set UNREGRESS_DATA to the folder that holds utkface/, stsb/, ...")
    return root


@pytest.hookimpl(tryfirst=True)  # before pytest reads the markers for -m
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses `data_root` as `data`, and what is in `SLOW` as `slow`."""
    for item in items:
        if any(item.path.is_relative_to(ROOT / "tests" / place) for place in SLOW):
            item.add_marker("slow")
        if "data_root" in getattr(item, "fixturenames", ()):
            item.add_marker("data")


def pytest_collection_finish() -> None:
    """Let the garbage collector leave alone what was imported: millions of objects that stay until the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that connects to another machine; sockets on this one stay usable (DDP needs them)."""

    def guarded(connect: Callable[[socket.socket, Any], Any]) -> Callable[[socket.socket, Any], Any]:
        def connect_here(self: socket.socket, address: Any) -> Any:
            internet = self.family in (socket.AF_INET, socket.AF_INET6)
            if internet and not (address[0] in ("localhost", "::1") or address[0].startswith("127.")):
                pytest.fail(f"a test tried to connect to {address[0]}:{address[1]}; tests use no network")
            return connect(self, address)

        return connect_here

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, guarded(getattr(socket.socket, name)))
