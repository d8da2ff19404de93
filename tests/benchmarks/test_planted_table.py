"""The table of planted models: shares counted by hand, and the page in docs says what the results say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from planted_table import GOLDS, KINDS, ROWS, lines

ROOT = Path(__file__).resolve().parents[2]


def test_outcomes_are_added_up() -> None:
    shares = {"FAIL: differs": 0.1, "FAIL: remembers": 0.2, "OUTPUTS ONLY": 0.3, "PASS": 0.4}
    found: dict[str, Any] = {kind: {golds: {row[0]: shares for row in ROWS} for golds in GOLDS} for kind in KINDS}
    made = dict(zip([f"{model}: {counted}" for model, counted, *_ in ROWS], lines(found), strict=True))
    assert made["original: "] == "| original | FAIL: remembers | 20% / 20% / 20% | 20% / 20% / 20% | 20% / 20% / 20% |"
    assert "| 30% / 30% / 30% |" in made["a constant: "]
    assert "| 50% / 50% / 50% |" in made["more data: called memory or overshoot"]
    assert "| 30% / 30% / 30% |" in made["gold: OUTPUTS ONLY"] and "| 40% / 40% / 40% |" in made["gold: PASS"]


@pytest.mark.parametrize("row", range(len(ROWS)))
def test_the_page_says_what_the_results_say(row: int) -> None:
    found = json.loads((ROOT / "results" / "calibration" / "planted-models.json").read_text(encoding="utf-8"))
    assert list(lines(found))[row] in (ROOT / "docs" / "calibration.md").read_text(encoding="utf-8").splitlines()
