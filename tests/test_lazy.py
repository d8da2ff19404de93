"""What costs nothing: importing the library, and asking the command line what it can do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import unregress
from unregress import metrics
from unregress.cli import main
from unregress.cli.dispatch import COMMANDS, _text
from unregress.cli.help import SUMMARIES, answer

HEAVY = ("torch", "torch._dynamo", "numpy", "scipy", "sklearn", "jsonargparse", "matplotlib", "rich")


def loaded_by(code: str) -> set[str]:
    """Which heavy libraries a fresh interpreter has loaded after some code."""
    asked = f"import sys\n{code}\nprint('\\n' + ' '.join(name for name in {HEAVY} if name in sys.modules))"
    out = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout
    return set(out.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import unregress",
        "import unregress; dir(unregress)",
        "from unregress.cli import main; main(['--help'])",
        "from unregress.cli import main; main(['--version'])",
    ],
)
def test_nothing_heavy_is_loaded(code: str) -> None:
    assert loaded_by(code) == set()


@pytest.mark.slow
def test_a_command_begins_without_what_only_audits_use() -> None:
    assert loaded_by("import unregress.cli.dispatch").isdisjoint({"torch._dynamo", "sklearn", "matplotlib"})


@pytest.mark.slow
def test_names_are_loaded_when_they_are_asked_for() -> None:
    assert "torch" in loaded_by("import unregress; unregress.Blindspot")
    assert "torch" not in loaded_by("from unregress import Cost")


@pytest.mark.slow
def test_every_name_that_is_offered_is_there() -> None:
    assert len(set(unregress.__all__)) == len(unregress.__all__) >= 40
    for name in unregress.__all__:
        assert getattr(unregress, name).__name__ == name
    # Modules that are imported by themselves do not hide what is offered.
    modules = "unregress.auditing.pipeline, unregress.checks.preflight, unregress.retraining.model_factory"
    code = f"import {modules}, unregress\n"
    assert "torch" in loaded_by(f"{code}assert callable(unregress.audit) and callable(unregress.preflight)")


def test_a_metric_is_registered_in_one_place() -> None:
    """`unregress.metrics` names it; the package and its stub take the names from there."""
    assert set(metrics.__all__) < set(unregress.__all__)
    assert all(getattr(unregress, name) is getattr(metrics, name) for name in metrics.__all__)
    stub = Path(unregress.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    assert "EnergyDistance" in metrics.__all__ and "EnergyDistance" not in stub


def test_summaries_are_the_commands_own() -> None:
    assert {name: _text(command).split("\n\n")[0] for name, command in COMMANDS.items()} == SUMMARIES


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0 and main(["-h"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for name, summary in SUMMARIES.items():
        assert f"{name} {summary}" in out
    assert main(["--version"]) == 0 and capsys.readouterr().out.startswith("unregress 0.")
    assert answer(["demo", "--help"]) is None and answer([]) is None
