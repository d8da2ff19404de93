"""Write the tables of docs/small-requests.md from results/small-requests.

python benchmarks/small_requests_page.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unregress.evidence.permutation import Group, exchanged

ROOT = Path(__file__).resolve().parents[1]
PAGE, RESULTS = ROOT / "docs" / "small-requests.md", ROOT / "results" / "small-requests"
TITLES = {
    "stsb-annealed": "STS-B, tables of 5 folds",
    "stsb-annealed-20": "STS-B, three tables of 20 folds",
    "stsb-people": "STS-B, connected pairs, tables of 5 folds",
    "stsb-people-20": "STS-B, connected pairs, three tables of 20 folds",
    "wage": "wage panel",
    "wage-40": "wage panel, three tables of 40 folds",
    "etth1": "ETTh1",
    "etth1-weeks": "ETTh1, tables of weeks",
    "utkface": "UTKFace",
    "faces-by-heart": "UTKFace, learnt by heart",
}
BOTH, ONE = ("coupled", "uncoupled"), ("coupled",)
NUMBERS = (
    ("distance / floor", "paired / floor", BOTH),
    ("β", "beta", BOTH),
    ("attack", "auc with references", BOTH),
    ("relearning", "relearning", ONE),
    ("revival", "revival", ONE),
    ("retain error", "retained", ONE),
    ("test error", "test", ONE),
)
"""Column, its name in the results, and the kinds of golds that it is measured beside."""
KINDS = {
    "gold": "gold, same start",
    "gold of another start": "gold, other start",
    "keeps 25%": "keeps 25 %",
    "keeps 50%": "keeps 50 %",
    "original": "original",
    "LeaveOutEdit": "LeaveOutEdit",
}
"""Kinds of models whose rates are shown, by their names in the results."""
SHARE, COUPLED = 0.02, 0.5
"""The goal: share of a retraining, and κ up to which coupled golds decide."""


def load(name: str) -> dict[str, Any]:
    """The results of a problem."""
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def methods(found: Mapping[str, Any]) -> list[str]:
    """A problem's table of methods: means over its requests, and the range of golds."""
    requests = list(found["requests"].values())
    columns = [(f"{title}, {kind}", name, kind) for title, name, kinds in NUMBERS for kind in kinds]
    head = ["", "share", *(title.removesuffix(", coupled") for title, *_ in columns), "KLoM", "drift of near"]
    gold = ["gold", "1"]
    for _, name, kind in columns:
        values = [value for each in requests for value in golds_of(each, kind, name)]
        gold.append(_range(values))
    gold += [_mean(each.get("klom", {}).get("gold") for each in requests), "–"]
    rows = [gold]
    for model in requests[0]["models"]:
        own = [each["models"][model] for each in requests]
        row = [model, _mean(each.get("share of retraining", 0.0) for each in own)]
        row += [_mean(each[kind].get(name) for each in own) for _, name, kind in columns]
        row.append(_mean(each.get("klom", {}).get(model) for each in requests))
        row.append(_mean(each.get("drift of near samples") for each in own))
        rows.append(row)
    return _table(head, rows)


def golds_of(request: Mapping[str, Any], kind: str, name: str) -> list[float]:
    """The golds' own values of a request."""
    if name == "beta":
        return list(request[f"{kind} gold beta"])
    golds = request[f"{kind} golds"]
    if name == "paired / floor":
        return [value / request[f"{kind} floor"] for value in golds["paired"]]
    return list(golds.get(name, []))


def goal(names: Iterable[str]) -> list[str]:
    """In how many requests a model is within the range of golds, by number, and whether it is told from them."""
    head = ["", "κ", "", "share of retraining", "distance", "β", "attack", "relearning", "KLoM", "all inside, at 2 %"]
    return _table(head, [row for name in names for row in _goal_rows(name)])


def _goal_rows(name: str) -> list[list[str]]:
    """The row of the edit, and that of an exact retraining, which is a gold."""
    found = load(name)
    requests, kappa = list(found["requests"].values()), found["coupling"]["kappa of golds"]
    kind = "coupled" if kappa <= COUPLED else "uncoupled"
    rows = []
    for title, model in (("edit", "LeaveOutEdit"), ("exact", "Retrain")):
        counts, every = [], True
        for number in ("paired / floor", "beta", "auc with references", "relearning"):
            # Relearning was measured beside coupled golds only.
            there = kind if golds_of(requests[0], kind, number) else "coupled"
            groups = [
                Group((each["models"][model][there][number],), tuple(golds_of(each, there, number)))
                for each in requests
            ]
            inside = sum(
                own <= max(golds) and (number == "paired / floor" or own >= min(golds)) for (own,), golds in groups
            )
            p = exchanged(groups, np.random.default_rng(0)).p
            counts.append(f"{inside} of {len(groups)}, p {p:.2g}")
            every &= inside == len(groups)
        kloms = [each["klom"] for each in requests if model in each.get("klom", {})]
        within = sum(klom[model] <= klom["gold"] for klom in kloms)
        counts.append(f"{within} of {len(kloms)}" if kloms else "–")
        share = float(np.mean([each["models"][model]["share of retraining"] for each in requests]))
        reached = every and within == len(kloms) > 0 and share <= SHARE
        rows.append([TITLES[name], f"{kappa:.2f}", title, f"{share:.1%}", *counts, "yes" if reached else "no"])
    return rows


def costs(names: Iterable[str]) -> list[str]:
    """What the tables cost, and from which request on they pay."""
    one, golds = (
        "break-even against one retraining for each request",
        "break-even against one retraining and five golds",
    )
    head = ["in retrainings", "all tables", "an edit", "pay against one retraining", "against it and five golds"]
    rows = []
    for name in names:
        cost = load(name)["cost in retrainings"]
        rows.append([
            TITLES[name], f"{cost['tables']:g}", f"{cost['edit']:.3f}",
            f"request {np.ceil(cost[one]):.0f}", f"request {np.ceil(cost[golds]):.0f}",
        ])  # fmt: skip
    return _table(head, rows)


def in_a_row(names: Iterable[str]) -> list[str]:
    """Ten requests, one after the other: distances from golds without all of them, memory kept, and the test error."""
    head = ["", "", "share", "distance", "β", "the first request's β: at once", "at most", "after ten", "test error"]
    rows = []
    for name in names:
        for found in load(f"{name}-sequence")["sequences"]:
            title = f"{TITLES[name]}, {found['samples']} samples"
            for model in ("original", "in a row", "in a row, 600 held", "at once"):
                share = found["share of retraining, an edit"].get(model)
                distance, beta = (f"{found['all'][model][key]:.3f}" for key in ("distance", "beta"))
                after = [each["beta"] for each in found["first"]["after each"].get(model, [])]
                first = [f"{value:.3f}" for value in (after[0], max(after), after[-1])] if after else ["–"] * 3
                if model == "original":
                    first[0] = f"{found['first']['original']['beta']:.3f}"
                cells = [title, model, "–" if share is None else f"{share:.1%}", distance, beta, *first]
                rows.append([*cells, f"{found['test error'][model]:.3g}"])
            golds, first = found["golds"], found["first"]["golds"]
            floor = f"{np.mean([each['distance'] for each in golds]):.3f}"
            betas = [_range([each["beta"] for each in several]) for several in (golds, first)]
            rows.append([title, "golds", "–", floor, *betas, "–", "–", f"{found['test error']['golds']:.3g}"])
    return _table(head, rows)


def rates(names: Iterable[str]) -> list[str]:
    """Share of groups that the table's audit flags, by the kind of model and the size of the group."""
    rows = []
    for name in names:
        by_table = load(name)["audit by the table"]
        flagged, pushed = by_table["flagged"], by_table.get("pushed")
        for size in next(iter(flagged.values())):
            shares = [f"{flagged[kind][size][0]:.2g}" for kind in KINDS]
            shares.append("–" if pushed is None else f"{pushed['gold'][size][0]:.2g}")
            rows.append([TITLES[name], size, f"{flagged['gold'][size][1]}", *shares])
    return _table(["", "forgotten", "groups", *KINDS.values(), "gold, pushed beyond"], rows)


def others_of_a_fold(name: str) -> list[str]:
    """Distances of leave-out predictions from coupled golds, by number of tables and folds, as means of requests."""
    found = load(f"{name}-fold-others")["distance / floor"]
    rows = [[*how.split(", "), *(f"{np.mean(values):.2f}" for values in each.values())] for how, each in found.items()]
    return _table(["tables", "predictions", *next(iter(found.values()))], rows)


def of_features(name: str) -> list[str]:
    """Edits of predictions alone and of hidden features too, as means over requests; of golds the range."""
    requests = list(load(name)["edits"].values())
    for each in requests:
        floor = np.mean(each["paired"]["golds"])
        each["floors"] = {model: np.divide(value, floor).tolist() for model, value in each["paired"].items()}
    numbers = ("floors", "beta", "revival", "readout", "retained", "test")
    rows = [["gold", "1", *(_range([value for each in requests for value in each[key]["golds"]]) for key in numbers)]]
    for model in [model for model in requests[0]["beta"] if model != "golds"]:
        share = _mean(each["share of retraining"].get(model, float(model == "Retrain")) for each in requests)
        rows.append([model, share, *(_mean(each[key][model] for each in requests) for key in numbers)])
    return _table(["", "share", "distance / floor", "β", "revival", "readout", "retain error", "test error"], rows)


def blocks() -> dict[str, list[str]]:
    """Every table of the page, by its name in the page's comments."""
    made = {f"methods {name}": methods(load(name)) for name in TITLES}
    made["goal"] = goal(TITLES)
    made["costs"] = costs(TITLES)
    made["ten in a row"] = in_a_row(("stsb-annealed-20", "wage", "etth1-weeks", "utkface", "faces-by-heart"))
    made["audit by the table"] = rates(TITLES)
    made["others of a fold"] = others_of_a_fold("wage")
    made["features"] = of_features("stsb-features")
    return made


def written(page: str) -> str:
    """The page with all tables made anew, each after the comment that names it."""
    for name, lines in blocks().items():
        marks = f"<!-- table: {name} -->", "<!-- end of table -->"
        pattern = f"{re.escape(marks[0])}.*?{re.escape(marks[1])}"
        text = "\n".join([marks[0], "", *lines, "", marks[1]])
        page, count = re.subn(pattern, text.replace("\\", r"\\"), page, flags=re.DOTALL)
        if count != 1:
            raise SystemExit(f"{PAGE} has {count} places for the table {name!r}, not one")
    return page


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _mean(values: Iterable[float | None]) -> str:
    known = [float(value) for value in values if value is not None]
    return f"{np.mean(known):.3g}" if known else "–"


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.3g} to {max(values):.3g}" if values else "–"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
