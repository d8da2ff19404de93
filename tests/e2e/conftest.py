"""A trained model, all methods' results and an audit, made once through the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from unregress.cli import main

PROJECT = ["--task", "support.tiny_project.make_task", "--data", "support.tiny_project.load_data"]
REQUEST = ["--request.band", "[55, null]", "--request.reason", "letter 17"]
SHORT = ["--method.recipe.epochs", "3", "--method.recipe.lr", "0.01"]
METHODS = ("FineTune", "UniformAmnesiac", "GaussianAmnesiac", "Blindspot")


def audit_words(runs: Path, output: Path) -> list[str]:
    models = [f"--models.{name}={runs / name}" for name in ("original", *METHODS)]
    golds = [word for name in ("retrained", "retrained-2") for word in ("--golds+", str(runs / name))]
    return ["audit", *PROJECT, "--request.from_run", str(runs / "retrained"), *models, *golds,
            "--output", str(output)]  # fmt: skip


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders: original, retrained, retrained-2, one per method, audit."""
    folder = tmp_path_factory.mktemp("runs")
    commands = [["train", *PROJECT, "--recipe.epochs", "30", "--output", str(folder / "original")]]
    for number, name in enumerate(("retrained", "retrained-2"), 1):
        commands.append(["forget", *PROJECT, *REQUEST, "--method", "Retrain", "--method.recipe.epochs", "30",
                         "--runtime.seed", str(number), "--output", str(folder / name)])  # fmt: skip
    for name in METHODS:
        commands.append(["forget", *PROJECT, *REQUEST, "--checkpoint", str(folder / "original"), "--method", name,
                         *SHORT, "--output", str(folder / name)])  # fmt: skip
    commands.append(audit_words(folder, folder / "audit"))
    for words in commands:
        assert main(words) == 0, words
    return folder
