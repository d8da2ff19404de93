"""Data flows left to right: no room of the library imports from one on its right."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "unregress"


class Room(NamedTuple):
    """A module or sub-package of `unregress`, `__init__` being the package itself."""

    name: str
    only: tuple[str, ...] | None = None
    """The rooms it may import; None for all on its left."""


BEFORE_METHODS = (
    Room("errors"),
    Room("text", only=()),
    Room("unfinished", only=()),
    Room("files", only=("errors", "unfinished")),
    Room("user_code", only=("errors",)),
    Room("plain", only=()),
    Room("manifest", only=("errors", "text", "files", "plain")),
    Room("modules", only=("errors",)),
    Room("checkpoint"),
    Room("differences", only=()),
    Room("runs", only=("errors", "files", "manifest", "unfinished", "differences")),
    Room("cost", only=("errors",)),
    Room("recipe", only=("errors",)),
    Room("findings", only=()),
    Room("evidence", only=("errors", "files", "plain", "cost", "findings")),
    Room("content", only=("errors",)),
    Room("means", only=()),
    Room("losses"),
    Room("task"),
    Room("forecasting"),
    Room("bands", only=("errors",)),
    Room("ids", only=("errors",)),
    Room("request"),
    Room("processes", only=("errors",)),
    Room("failing", only=("errors", "text", "user_code")),
    Room("loading"),
    Room("case"),
    Room("subsets", only=("case", "request")),
    Room("records", only=("case", "ids")),
    Room("request_record"),
    Room("lineage"),
    Room("draws", only=()),
    Room("progress", only=()),
    Room("batchnorm", only=()),
    Room("replicas", only=("errors", "user_code", "modules", "processes")),
    Room("runtime"),
    Room("guard"),
    Room("training"),
    Room("activations"),
    Room("attention"),
    Room("survey"),
    Room("duplicates"),
    Room("fresh"),
    Room("model_check"),
    Room("readiness"),
)
LEFT_OF_METHODS = tuple(room.name for room in BEFORE_METHODS)
ROOMS = (
    *BEFORE_METHODS,
    Room("methods"),
    Room("provenance"),
    Room("artefacts"),
    Room("sharing", only=()),
    Room("parallel", only=("errors", "user_code", "sharing")),
    Room("store"),
    Room("circumstances"),
    Room("plans", only=("recipe", "methods")),
    Room("stack"),
    Room("stacked"),
    Room("trainings"),
    Room("trial"),
    Room("features"),
    Room("predictions"),
    Room("floor", only=("means",)),
    Room("metrics"),
    Room("golds"),
    Room("given"),
    Room("lineup"),
    Room("references"),
    Room("panel"),
    Room("criteria", only=("evidence", "floor")),
    Room("verdict", only=("errors", "evidence", "criteria")),
    Room("auditing"),
    Room("report", only=("errors", "text", "files", "cost", "evidence")),
    # On the right of all that measures, which therefore knows no dataset and no architecture by name.
    Room("models", only=LEFT_OF_METHODS),
    Room("datasets", only=LEFT_OF_METHODS),
    Room("experiments"),
    Room("__init__"),
    Room("demo"),
    Room("cli"),
    Room("__main__"),
)

ONLY_IN = {"lightning_fabric": ("runtime",)}
"""Third-party packages that only some rooms may import."""
NOT_IN = {
    "torch": (
        "errors",
        "text",
        "files",
        "user_code",
        "plain",
        "unfinished",
        "manifest",
        "cost",
        "means",
        "findings",
        "evidence",
        "floor",
        "verdict",
        "report",
    )
}
"""Third-party packages that some rooms may not import, so that a report can be made where no model runs."""


class Import(NamedTuple):
    """One import statement's target: `unregress.task.Task`, `numpy`."""

    target: str
    line: int


def imports(path: Path, package: Path) -> Iterator[Import]:
    """Everything a file imports, wherever in the file, relative imports resolved."""
    here = [package.name, *path.relative_to(package).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (Import(f"{module}.{alias.name}", node.lineno) for alias in node.names)


def room_of(target: str, package: Path, order: list[str]) -> str:
    """The room an import leads to: the package itself unless its next part is a room or a module there."""
    name = [*target.split("."), "__init__"][1]
    is_room = name in order or (package / name).is_dir() or (package / f"{name}.py").is_file()
    return name if is_room else "__init__"


def complaints(package: Path, rooms: tuple[Room, ...]) -> list[str]:
    """What is wrong with a package's imports, one line each."""
    order = [room.name for room in rooms]
    table = {room.name: room for room in rooms}
    found = []
    for path in sorted(package.rglob("*.py")):
        relative = path.relative_to(package)
        own = relative.parts[0].removesuffix(".py")
        if own not in table:
            found.append(f"{package.name}/{relative}: the room {own!r} is unknown: add it to the table")
            continue
        only = table[own].only
        allowed = order[: order.index(own)] if only is None else only
        for target, line in imports(path, package):
            where = f"{package.name}/{relative}:{line} imports {target}"
            top = target.split(".")[0]
            if top != package.name:
                if own not in ONLY_IN.get(top, (own,)):
                    found.append(f"{where}: only {', '.join(ONLY_IN[top])} may import {top}")
                if own in NOT_IN.get(top, ()):
                    found.append(f"{where}: {own} does without {top}")
            elif (room := room_of(target, package, order)) != own and room not in allowed:
                if room not in table:
                    found.append(f"{where}: the room {room!r} is unknown: add it to the table")
                else:
                    found.append(f"{where}: {own} may import {', '.join(allowed) or 'no other room'}")
    return found


def test_no_import_against_the_flow() -> None:
    found = complaints(PACKAGE, ROOMS)
    assert not found, "\n".join(["imports against the flow:", *found])


def test_every_room_is_listed_once() -> None:
    names = [room.name for room in ROOMS]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("left.py", "from pkg.right import x", "pkg/left.py:1 imports pkg.right.x: left may import no"),
        ("left.py", "import pkg.right", "pkg/left.py:1 imports pkg.right: left may import no other room"),
        ("left.py", "from pkg import right", "pkg/left.py:1 imports pkg.right: left may import no"),
        ("left.py", "from . import right", "pkg/left.py:1 imports pkg.right: left may import no"),
        ("left.py", "from pkg import Public", "pkg/left.py:1 imports pkg.Public: left may import no"),
        ("left.py", "def f():\n    import pkg.right.deep", "pkg/left.py:2 imports pkg.right.deep: left may"),
        ("right/deep.py", "from ..aside import x", "pkg/right/deep.py:1 imports pkg.aside.x: right may"),
        ("aside.py", "import pkg.middle", "pkg/aside.py:1 imports pkg.middle: aside may import left"),
        ("new.py", "", "pkg/new.py: the room 'new' is unknown: add it to the table"),
        ("left.py", "import lightning_fabric.utilities", "only runtime may import lightning_fabric"),
    ],
)
def test_checker_catches_a_planted_back_arrow(tmp_path: Path, file: str, text: str, expected: str) -> None:
    package = planted(tmp_path)
    (package / file).write_text(text)
    (complaint,) = complaints(package, PLANTED_ROOMS)
    assert expected in complaint


def test_checker_accepts_the_flow(tmp_path: Path) -> None:
    assert complaints(planted(tmp_path), PLANTED_ROOMS) == []


def test_checker_keeps_torch_out_of_the_report(tmp_path: Path) -> None:
    package = tmp_path / "pkg"
    (package / "report").mkdir(parents=True)
    (package / "report" / "render.py").write_text("from torch import Tensor\n")
    assert complaints(package, (Room("report"),)) == [
        "pkg/report/render.py:1 imports torch.Tensor: report does without torch"
    ]


PLANTED_ROOMS = (Room("left"), Room("middle"), Room("right"), Room("aside", only=("left",)), Room("__init__"))


def planted(folder: Path) -> Path:
    """A small package whose imports are in order."""
    files = {
        "__init__.py": "from pkg.right.deep import thing as Public\n",
        "left.py": "import os\n",
        "middle.py": "from .left import x\nimport torch\n",
        "aside.py": "from pkg.left import x\n",
        "right/__init__.py": "",
        "right/deep.py": "from pkg.right import other\nfrom ..left import x\nfrom pkg import middle\n",
    }
    package = folder / "pkg"
    for name, text in files.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return package
