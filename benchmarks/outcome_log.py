"""A pytest plugin that appends each test's outcome to the file UNREGRESS_OUTCOME_LOG as a line of JSON.

Lines are written at once, so that the outcomes of tests that ran are known even if the run is stopped.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

LOG = Path(os.environ["UNREGRESS_OUTCOME_LOG"])
LONGEST = 4000
"""Characters kept of a failure's text."""


def append(entry: dict[str, Any]) -> None:
    with LOG.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def pytest_runtest_logstart(nodeid: str) -> None:
    append({"test": nodeid, "outcome": "started"})


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note the test itself, and a set-up or tear-down that did not pass."""
    if report.when == "call" or report.outcome != "passed":
        text = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
        seconds = round(report.duration, 3)
        append({"test": report.nodeid, "outcome": report.outcome, "seconds": seconds, "text": text[-LONGEST:]})
