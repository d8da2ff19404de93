"""The generated faces, and one experiment on them, run once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from support.face_images import faces, run, write_faces, young
from unregress.experiments.families.base import Loaded
from unregress.experiments.runner import Outcome


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generated faces."""
    return write_faces(tmp_path_factory.mktemp("faces") / "utkface")


@pytest.fixture(scope="session")
def loaded(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return faces(folder, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def first(loaded: Loaded, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome, list[str]]:
    """The store that a run left, its outcome, and the kinds of what it made.  Not to be written to."""
    store = tmp_path_factory.mktemp("store")
    return store, *run(loaded, store)


@pytest.fixture(scope="session")
def several(loaded: Loaded, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome, list[str]]:
    """The same of three requests, one after another."""
    store = tmp_path_factory.mktemp("several")
    return store, *run(loaded, store, young(name="several", highs=(10, 20, 30)))


@pytest.fixture
def store(first: tuple[Path, Outcome, list[str]], tmp_path: Path) -> Path:
    """A copy of the store of `first`, to be written to."""
    shutil.copytree(first[0], tmp_path / "store")
    return tmp_path / "store"
