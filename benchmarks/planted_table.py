"""Print the table of docs/calibration.md about planted models, from the results of `planted_models.py`.

python benchmarks/planted_table.py results/calibration/planted-models.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

KINDS = ("tabular", "image", "text")
GOLDS = ("5", "10", "20")
FAIL = ("FAIL",)
ACCUSED = ("FAIL: remembers", "FAIL: overshoots", "OUTPUTS ONLY")
"""Outcomes that say that a model remembers, or was pushed too far."""
ROWS: Sequence[tuple[str, str, str, Sequence[str]]] = (
    ("gold", "", "PASS, or INCONCLUSIVE", FAIL),
    ("ensemble of five golds", "", "PASS, or INCONCLUSIVE", FAIL),
    ("original", "", "FAIL: remembers", ("FAIL: remembers",)),
    ("fine-tuned", "", "FAIL: remembers", ("FAIL: remembers",)),
    ("knows 1 % exactly", "", "FAIL", FAIL),
    ("knows 5 % exactly", "", "FAIL", FAIL),
    ("knows 10 % exactly", "", "FAIL", FAIL),
    ("the original on 20 %", "", "FAIL", FAIL),
    ("kept answered by the median", "", "FAIL: damaged", ("FAIL: damaged",)),
    ("a constant", "", "FAIL", FAIL),
    ("residuals of flipped sign", "", "FAIL", FAIL),
    ("answers permuted", "", "FAIL", FAIL),
    ("similar samples better by 20 %", "", "not memory, no overshoot", FAIL),
    ("more data", "", "not memory", FAIL),
    ("similar samples better by 20 %", "called memory or overshoot", "never", ACCUSED),
    ("more data", "called memory or overshoot", "never", ACCUSED),
    ("kept answered by the median", "called memory or overshoot", "never", ACCUSED),
    ("router, gold last", "OUTPUTS ONLY", "yes", ("OUTPUTS ONLY",)),
    ("router, gold last", "PASS", "never", ("PASS",)),
    ("gold", "OUTPUTS ONLY", "never", ("OUTPUTS ONLY",)),
    ("gold", "PASS", "", ("PASS",)),
)
"""Planted model, what is counted (if nothing is said, what is right, or FAIL), what is right, and the outcomes that
count."""


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The table's rows in Markdown: shares of audits with 5, 10 and 20 golds."""
    for model, counted, right, outcomes in ROWS:
        cells = [" / ".join(_share(found[kind][golds][model], outcomes) for golds in GOLDS) for kind in KINDS]
        yield f"| {model}{counted and f': {counted}'} | {right} | {' | '.join(cells)} |"


def _share(shares: Mapping[str, float], outcomes: Sequence[str]) -> str:
    return f"{sum(share for outcome, share in shares.items() if outcome.startswith(tuple(outcomes))):.0%}"


if __name__ == "__main__":
    print("\n".join(lines(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
