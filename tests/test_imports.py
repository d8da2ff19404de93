"""Data flows left to right: no folder of the library imports from one on its right."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "unregress"


ORDER = """
    errors files cost evidence
    tasks distributed data training checks hooks methods
    runs trainers parallel retraining
    metrics auditing report project
    models datasets experiments
    __init__ demo cli __main__
"""
"""The folders and modules of the package: each imports only from itself and from what stands before it."""
ONLY = {
    "report": "errors files cost evidence",  # a report can be rendered where no model runs
    "models": "errors",  # architectures know nothing of the library but its errors
    "datasets": "errors files cost evidence tasks distributed data training checks hooks",  # nothing of what measures
}
"""Folders that import less than all that stands before them."""
TORCHLESS = "errors files cost evidence report"
"""Folders that may not import PyTorch."""
ONLY_IN = {"pytorch_forecasting": "models"}
"""Third-party packages, and the one folder that may import them."""
ACROSS = "benchmarks e2e examples fuzz gpu oracles support"
"""Folders of tests that are about no single folder of the library."""
AGAINST = {("evidence/audit_report.py", "report")}
"""Imports against the flow, in functions only: `AuditReport.to_html` and its siblings call what renders a report."""


class Rules(NamedTuple):
    """What a package's folders may import."""

    order: tuple[str, ...]
    only: dict[str, tuple[str, ...]]
    torchless: tuple[str, ...] = ()
    only_in: dict[str, str] = {}  # noqa: RUF012 # never changed
    against: frozenset[tuple[str, str]] = frozenset()

    def allowed(self, folder: str) -> tuple[str, ...]:
        return self.only.get(folder, self.order[: self.order.index(folder)])


RULES = Rules(
    tuple(ORDER.split()),
    {name: tuple(text.split()) for name, text in ONLY.items()},
    tuple(TORCHLESS.split()),
    ONLY_IN,
    frozenset(AGAINST),
)


class Import(NamedTuple):
    """One import statement's target: `unregress.tasks.base.Task`, `numpy`."""

    target: str
    line: int
    lazy: bool
    """Whether it stands in a function, so that it runs when the function is called."""


def imports(path: Path, package: Path) -> Iterator[Import]:
    """Everything a file imports, wherever in the file, relative imports resolved."""
    here = [package.name, *path.relative_to(package).parent.parts]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    inside = {each for function in functions for each in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, node in inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (Import(f"{module}.{alias.name}", node.lineno, node in inside) for alias in node.names)


def folder_of(target: str, package: Path, order: tuple[str, ...]) -> str:
    """The folder an import leads to: the package itself unless its next part is a folder or a module there."""
    name = [*target.split("."), "__init__"][1]
    known = name in order or (package / name).is_dir() or (package / f"{name}.py").is_file()
    return name if known else "__init__"


def complaints(package: Path, rules: Rules) -> list[str]:
    """What is wrong with a package's imports, one line each."""
    found = []
    for path in sorted(package.rglob("*.py")):
        relative = path.relative_to(package)
        own = relative.parts[0].removesuffix(".py")
        if own not in rules.order:
            found.append(f"{package.name}/{relative}: {own!r} has no place in the order")
            continue
        for target, line, lazy in imports(path, package):
            where = f"{package.name}/{relative}:{line} imports {target}"
            top = target.split(".")[0]
            if top != package.name:
                if own != rules.only_in.get(top, own):
                    found.append(f"{where}: only {rules.only_in[top]} may import {top}")
                if top == "torch" and own in rules.torchless:
                    found.append(f"{where}: {own} does without {top}")
            elif lazy and (relative.as_posix(), folder_of(target, package, rules.order)) in rules.against:
                continue
            elif (folder := folder_of(target, package, rules.order)) != own and folder not in rules.allowed(own):
                may = ", ".join(rules.allowed(own)) or "no other folder"
                found.append(f"{where}: {own} may import {may}")
    return found


def test_no_import_against_the_flow() -> None:
    found = complaints(PACKAGE, RULES)
    assert not found, "\n".join(["imports against the flow:", *found])


def test_every_folder_has_one_place_in_the_order() -> None:
    there = {path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert len(set(RULES.order)) == len(RULES.order)
    assert set(RULES.order) == there - {"__pycache__"}
    assert {*RULES.only, *RULES.torchless, *RULES.only_in.values()} <= set(RULES.order)


def test_tests_mirror_the_folders() -> None:
    here = Path(__file__).parent
    for path in here.rglob("test_*.py"):
        first = [*path.parent.relative_to(here).parts, ""][0]
        assert (PACKAGE / first).is_dir() or first in ACROSS.split(), path


def test_every_folder_and_module_says_what_it_is_for() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").strip(), path


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("left.py", "from pkg.right import x", "pkg/left.py:1 imports pkg.right.x: left may import no"),
        ("left.py", "import pkg.right", "pkg/left.py:1 imports pkg.right: left may import no other folder"),
        ("left.py", "from pkg import right", "pkg/left.py:1 imports pkg.right: left may import no"),
        ("left.py", "from . import right", "pkg/left.py:1 imports pkg.right: left may import no"),
        ("left.py", "from pkg import Public", "pkg/left.py:1 imports pkg.Public: left may import no"),
        ("left.py", "def f():\n    import pkg.right.deep", "pkg/left.py:2 imports pkg.right.deep: left may"),
        ("right/deep.py", "from ..aside import x", "pkg/right/deep.py:1 imports pkg.aside.x: right may"),
        ("aside.py", "import pkg.middle", "pkg/aside.py:1 imports pkg.middle: aside may import left"),
        ("new.py", "", "pkg/new.py: 'new' has no place in the order"),
        ("left.py", "import pytorch_forecasting.data", "only right may import pytorch_forecasting"),
    ],
)
def test_checker_catches_a_planted_back_arrow(tmp_path: Path, file: str, text: str, expected: str) -> None:
    package = planted(tmp_path)
    (package / file).write_text(text)
    (complaint,) = complaints(package, PLANTED)
    assert expected in complaint


def test_a_named_import_against_the_flow_is_accepted_in_a_function_only(tmp_path: Path) -> None:
    package = planted(tmp_path)
    rules = PLANTED._replace(against=frozenset({("left.py", "right")}))
    (package / "left.py").write_text("def f():\n    from pkg.right import other\n")
    assert complaints(package, rules) == []
    (package / "left.py").write_text("from pkg.right import other\n")
    assert len(complaints(package, rules)) == 1


def test_checker_accepts_the_flow(tmp_path: Path) -> None:
    assert complaints(planted(tmp_path), PLANTED) == []


def test_checker_keeps_torch_out_of_the_report(tmp_path: Path) -> None:
    package = tmp_path / "pkg"
    (package / "report").mkdir(parents=True)
    (package / "report" / "render.py").write_text("from torch import Tensor\n")
    assert complaints(package, Rules(("report",), {}, ("report",))) == [
        "pkg/report/render.py:1 imports torch.Tensor: report does without torch"
    ]


PLANTED = Rules(
    ("left", "middle", "right", "aside", "__init__"), {"aside": ("left",)}, only_in={"pytorch_forecasting": "right"}
)


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
