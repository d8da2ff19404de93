"""The command `unregress method`, on audits that are committed."""

from __future__ import annotations

from pathlib import Path

import pytest

from unregress.cli.dispatch import dispatch

AUDITS = sorted((Path(__file__).parents[2] / "results/reproduction/utkface-60-100-tuned/audits").glob("seed-*.json"))


def test_audits_of_three_seeds_are_judged_together(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["method", *map(str, AUDITS), "--model", "UniformAmnesiac"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("FAIL  UniformAmnesiac: Together its models are told from retrained ones")
    assert "mae on train-forget: p = 0.0179" in said


@pytest.mark.parametrize(("model", "code"), [("UniformAmnesiac", 3), ("GaussianAmnesiac", 0)])
def test_a_pass_can_be_required(model: str, code: int) -> None:
    assert dispatch(["method", *map(str, AUDITS), "--model", model, "--require", "pass"]) == code


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([str(AUDITS[0]), "--model", "Blindspot"], "1 audits"),
        ([*map(str, AUDITS)], "4 unlearned models"),
        ([str(AUDITS[0]), str(AUDITS[0]), "--model", "Blindspot"], "audits 1 and 2 are about the same model"),
        ([*map(str, AUDITS), "--model", "Blindspot", "--measures", "[mae]"], "`measures` holds 'mae'"),
        (["nowhere.json", "--model", "Blindspot"], "nowhere.json"),
    ],
)
def test_bad_input_is_refused(words: list[str], found: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["method", *words]) == 2
    assert found in capsys.readouterr().err
