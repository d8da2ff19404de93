"""The page about small requests: counts by hand, and its tables say what the results say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import small_requests_page
from small_requests_page import PAGE, golds_of, methods, written
from small_requests_table import rows_of


def test_the_page_says_what_the_results_say() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert written(page) == page


def problem(beta: float, share: float) -> dict[str, object]:
    """One request with two golds of each kind, an edit, and an exact retraining that misses one range."""
    own = {"paired / floor": 1.0, "beta": beta, "auc with references": 0.5, "relearning": 3.0}
    exact = {"paired / floor": 0.5, "beta": 0.0, "auc with references": 0.7, "relearning": 3.0}
    golds = {"paired": [2.0, 4.0], "auc with references": [0.4, 0.6], "relearning": [3.0, 3.0]}
    request = {
        "samples": 5,
        "models": {
            "LeaveOutEdit": {"coupled": own, "uncoupled": own, "share of retraining": share},
            "Retrain": {"coupled": exact, "uncoupled": exact, "share of retraining": 1.0},
        },
        "coupled floor": 3.0, "coupled gold beta": [-0.1, 0.1], "coupled golds": golds,
        "uncoupled floor": 3.0, "uncoupled gold beta": [-0.2, 0.2], "uncoupled golds": golds,
        "klom": {"LeaveOutEdit": 0.1, "gold": 0.2},
    }  # fmt: skip
    return {"problem": "wage", "coupling": {"kappa of golds": 0.3}, "requests": {"one": request}}


@pytest.mark.parametrize(("beta", "share", "last"), [(0.05, 0.01, "yes"), (0.15, 0.01, "no"), (0.05, 0.03, "no")])
def test_the_goal_by_hand(
    beta: float, share: float, last: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wage.json").write_text(json.dumps(problem(beta, share)))
    monkeypatch.setattr(small_requests_page, "RESULTS", tmp_path)
    edit, exact = (line.strip("| ").split(" | ") for line in small_requests_page.goal(["wage"])[-2:])
    # With two golds the model is one of three: it is the lowest or the highest with a probability of two thirds.
    inside = "1 of 1, p 1" if beta <= 0.1 else "0 of 1, p 0.67"
    assert edit[:4] == ["wage panel", "0.30", "edit", f"{share:.1%}"]
    assert edit[4:] == ["1 of 1, p 1", inside, "1 of 1, p 1", "1 of 1, p 1", "1 of 1", last]
    # Of distances only the upper end of the range counts, and p is two-sided.
    assert exact[:4] == ["wage panel", "0.30", "exact", "100.0%"]
    assert exact[4:] == ["1 of 1, p 0.67", "1 of 1, p 1", "0 of 1, p 0.67", "1 of 1, p 1", "–", "no"]


def test_golds_and_methods_by_hand() -> None:
    found = problem(0.05, 0.01)
    request = found["requests"]["one"]
    assert golds_of(request, "coupled", "paired / floor") == pytest.approx([2 / 3, 4 / 3])
    assert methods(found)[2].startswith("| gold | 1 | 0.667 to 1.33 | 0.667 to 1.33 | -0.1 to 0.1 | -0.2 to 0.2 |")
    assert methods(found)[3].startswith("| LeaveOutEdit | 0.01 | 1 | 1 | 0.05 | 0.05 | 0.5 | 0.5 | 3 |")


def test_distances_without_models_are_in_the_summary() -> None:
    request = {"coupled floor": 0.5, "uncoupled floor": 0.8, "original - gold": 1.0, "table - gold": 0.6}
    rows = rows_of({"problem": "constant", "requests": {"50 pairs": request}})
    assert [(row["model"], row["coupled paired / floor"]) for row in rows] == [
        ("original", 2.0),
        ("leave-out table", 1.2),
    ]
