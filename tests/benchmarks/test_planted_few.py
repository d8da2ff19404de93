"""The page shows what was measured of planted models on few samples."""

from __future__ import annotations

import json
from pathlib import Path

from planted_few import alarms, lines, reasons

HERE = Path(__file__).resolve().parents[2]


def test_the_page_shows_what_was_measured() -> None:
    found = json.loads((HERE / "results/calibration/planted-few.json").read_text(encoding="utf-8"))
    page = (HERE / "docs/calibration.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in (*lines(found), *reasons(found), *alarms(found)) if line not in page] == []
