"""MkDocs hooks: pages made from the code while the site is built, so that they cannot fall behind it.

The Python reference comes from the docstrings of all public names, the command-line reference from `--help`, and the
notebooks' pages from the notebooks.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

REFERENCE = {
    "project": ("Projects", ["project"], "Model, data and training in one object."),
    "data": ("Data and requests", ["data"], "What the model was trained on, and what it is to forget."),
    "tasks": ("Tasks and losses", ["tasks"], "How the library reads a batch, asks the model and computes the loss."),
    "training": (
        "Training",
        ["training", "trainers", "checks", "cost"],
        "How and where to train, and what is checked.",
    ),
    "methods": ("Unlearning methods", ["methods"], "From a trained model and a case to a model that has forgotten."),
    "metrics": ("Metrics", ["metrics"], "What is measured of every model, beside the golds."),
    "auditing": (
        "Audits",
        ["auditing", "retraining", "evidence", "report", "runs"],
        "Golds, audits, verdicts and reports.",
    ),
    "errors": ("Errors", ["errors"], "Every error says what was found, what is expected and what to do."),
}
"""Page of the Python reference: its title, the folders of the package whose public names it shows, and its subject."""

EXTRA = {
    "data": ["unregress.data.leave_out_table.LeaveOutTable"],
    "training": [
        "unregress.training.loop.fit",
        "unregress.training.objective.Objective",
        "unregress.training.objective.Term",
    ],
    "metrics": [
        "unregress.metrics.base.Panel",
        "unregress.metrics.base.Subject",
        "unregress.metrics.memory_kept.MemoryKept",
        "unregress.metrics.gaussian_poisons.with_gaussian_noise",
    ],
}
"""Names that extensions need, beside those of `unregress`, `unregress.evidence` and `unregress.errors`."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages of the Python reference into the navigation."""
    pages = [{title: f"reference/{name}.md"} for name, (title, _, _) in REFERENCE.items()]

    def filled(nav: Any) -> Any:
        if isinstance(nav, list):
            return [filled(each) for each in nav]
        if isinstance(nav, dict):
            return {title: pages if target == "REFERENCE" else filled(target) for title, target in nav.items()}
        return nav

    config.nav = filled(config.nav)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    made = {f"reference/{name}.md": text for name, text in reference()}
    made["reference/command-line.md"] = command_line()
    for notebook in sorted((Path(config.docs_dir) / "notebooks").glob("*.ipynb")):
        made[f"notebooks/{notebook.stem}.md"] = notebook_page(notebook)
    for path, text in made.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: MkDocsConfig, files: Files) -> str:
    """Let links that leave docs/ lead to the repository, or name the file where no repository is known.

    A link from a name to the file that defines it, as readers of a checkout need, leads to the name's documentation.
    """
    repository = (config.repo_url or "").rstrip("/")

    def outside(found: re.Match[str]) -> str:
        text, target = found.groups()
        path = os.path.normpath(os.path.join("docs", os.path.dirname(page.file.src_uri), target))
        if path.startswith("docs/"):
            return found[0]
        folder, _, module = path.removeprefix("src/unregress/").removesuffix(".py").partition("/")
        if path.startswith("src/") and (shown := [name for name, (_, own, _) in REFERENCE.items() if folder in own]):
            up = "../" * page.file.src_uri.count("/")
            return f"[{text}]({up}reference/{shown[0]}.md#unregress.{folder}.{module}.{text.strip('`')})"
        if repository:
            return f"[{text}]({repository}/blob/main/{path})"
        return f"{text} (`{path}` in the repository)" if path not in text else text

    return re.sub(r"\[([^\]]*)\]\((\.\./[^)\s]+)\)", outside, markdown)


def reference() -> Iterator[tuple[str, str]]:
    """Name and Markdown of each page of the Python reference.

    Raises:
        ValueError: a public name belongs to no page.
    """
    names = [f"{package}.{name}" for package in ("unregress", "unregress.evidence") for name in offered(package)]
    names += [f"unregress.errors.{name}" for name, value in vars(import_module("unregress.errors")).items()
              if isinstance(value, type) and issubclass(value, Exception)]  # fmt: skip
    names += [name for extra in EXTRA.values() for name in extra]
    shown: dict[str, list[str]] = {page: [] for page in REFERENCE}
    for name in dict.fromkeys(names):
        home = home_of(name)
        folder = home.split(".")[1]
        pages = [page for page, (_, folders, _) in REFERENCE.items() if folder in folders]
        if not pages:
            raise ValueError(f"{name} is public, and no page of docs/build/hooks.py shows {home}")
        if home not in shown[pages[0]]:
            shown[pages[0]].append(home)
    for page, (title, _, subject) in REFERENCE.items():
        yield page, f"# {title}\n\n{subject}\n\n" + "\n".join(f"::: {home}\n" for home in shown[page])


def offered(package: str) -> list[str]:
    """The public names of a package that stand for functions and classes of ours."""
    module = import_module(package)
    return [name for name in module.__all__ if str(getattr(getattr(module, name), "__module__", "")).startswith("unr")]


def home_of(name: str) -> str:
    """Where a public name is defined."""
    module, _, attribute = name.rpartition(".")
    value = getattr(import_module(module), attribute)
    return f"{value.__module__}.{value.__qualname__}"


def command_line() -> str:
    """The help of every command, as a page."""
    from unregress.cli import main
    from unregress.cli.help import SUMMARIES

    os.environ["COLUMNS"] = "100"
    text = (
        "# Command line\n\nWhat `unregress COMMAND --help` prints. [Exit codes, errors, signals](../command-line.md) "
        "have a page of their own, and so has [the tour](../guides/command-line-tour.md).\n\n"
    )
    for command in ("", *SUMMARIES):
        printed = io.StringIO()
        with redirect_stdout(printed):
            code = main([*([command] if command else []), "--help"])
        if code:
            raise ValueError(f"`unregress {command} --help` ended with exit code {code}")
        heading = f"## unregress {command}".rstrip()
        text += f"{heading}\n\n```text\n{printed.getvalue().rstrip()}\n```\n\n"
    return text


def notebook_page(path: Path) -> str:
    """A notebook's cells as Markdown, without outputs."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = [
        "".join(cell["source"]) if cell["cell_type"] == "markdown" else f"```python\n{''.join(cell['source'])}\n```"
        for cell in cells
    ]
    note = f"\n\n*This page is the notebook `docs/notebooks/{path.name}`; the tests run it.*"
    return "\n\n".join([texts[0] + note, *texts[1:]]) + "\n"
