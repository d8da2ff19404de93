"""Judge the committed audits by the present rule, from the numbers that they hold, and write what changed.

Nothing is trained.  Measurements that an earlier version did not make (memory of few samples, loss while relearning,
revival) stay absent, and are read by no verdict; the tables then say so where it matters.  An experiment that kept no
audits is judged by its table, which holds the same numbers.

    python benchmarks/judge_again.py
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import table_reports

from unregress import Rule, __version__
from unregress.evidence import AuditReport, Outcome
from unregress.evidence.combined_memory import ABOUT, SIGNS
from unregress.evidence.verdict import judge
from unregress.experiments.summary import Judged, judged
from unregress.files.writing import write_text

ROOT = Path(__file__).resolve().parent.parent
RESULTS, CHANGES = ROOT / "results" / "reproduction", ROOT / "results" / "reproduction" / "verdicts-changed.json"
Change = tuple[str, str, Outcome, Outcome]
"""Experiment with seed, model, earlier and present outcome."""


def judged_again(report: AuditReport, rule: Rule) -> AuditReport:
    """The report with the present rule's verdicts, and an explanation of what they read."""
    known = {about.metric for about in report.about}
    added = (ABOUT,) if len(known & SIGNS.keys()) > 1 and ABOUT.metric not in known else ()
    settings = {**report.settings, "rule": asdict(rule)}
    return replace(report, about=(*report.about, *added), settings=settings, verdicts=judge(report, rule))


def changes(name: str, before: AuditReport, after: AuditReport) -> Iterator[Change]:
    """The verdicts that changed."""
    for was, now in zip(before.verdicts, after.verdicts, strict=True):
        if was.outcome != now.outcome:
            yield name, was.model, was.outcome, now.outcome


def with_verdicts(table: str, verdicts: tuple[Judged, ...]) -> str:
    """An experiment's table in Markdown, whose rows of verdicts are replaced."""
    lines, stage, models = [], 1, list[str]()
    for line in table.splitlines():
        if line.startswith("Request "):
            stage = int(line.removeprefix("Request "))
        if line.startswith("| measure |"):
            models = [each.strip() for each in line.strip("|").split("|")][2:]
        if line.startswith("| Verdict |"):
            found = {each.model: each.text() for each in verdicts if each.stage == stage}
            line = "| Verdict | | " + " | ".join(found.get(model, "–") for model in models) + " |"
        lines.append(line)
    return "\n".join(lines) + "\n"


def audited(folder: Path, rule: Rule) -> tuple[list[Change], list[list[AuditReport]]]:
    """Judge a folder's audits and write them; changes, and the audits by request and seed."""
    found, stages = list[Change](), dict[str, list[AuditReport]]()
    for file in sorted(folder.glob("audits/*.json")):
        before = AuditReport.from_json(file)
        after = judged_again(before, rule)
        found += changes(f"{folder.name}/{file.stem}", before, after)
        after.to_json(file)
        # Audits of several requests in a row are named seed-0-request-1, and so on.
        stages.setdefault(file.stem.partition("-request-")[2] or "1", []).append(after)
    return found, [stages[number] for number in sorted(stages, key=int)]


def tabled(folder: Path, rule: Rule) -> tuple[list[Change], list[list[AuditReport]]]:
    """The same of an experiment that kept no audits, from its table."""
    record = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    stages = [[judged_again(each, rule) for each in seeds] for seeds in table_reports.reports(record)]
    found = [
        (f"{folder.name}/seed-{seed}" + (f"-request-{each['stage']}" if len(stages) > 1 else ""), each["model"], was,
         report.verdict(each["model"]).outcome)
        for each in record["verdicts"]
        for seed, (was, report) in enumerate(zip(each["outcomes"], stages[each["stage"] - 1], strict=True))
    ]  # fmt: skip
    return [each for each in found if each[2] != each[3]], stages


def since_the_first(found: list[Change], again: set[str]) -> list[Change]:
    """All changes since the rule by which an experiment was judged when it was made, this time's included.

    Args:
        found: this time's changes.
        again: names of experiments that were trained again since, of whose earlier models nothing is said.
    """
    earlier = json.loads(CHANGES.read_text(encoding="utf-8"))["verdicts"] if CHANGES.exists() else []
    known = {(name, model): (was, now) for name, model, was, now in earlier}
    for name, model, was, now in found:
        known[name, model] = known.get((name, model), (was, now))[0], now
    kept = {place: each for place, each in known.items() if place[0].partition("/")[0] not in again}
    return [(*place, was, now) for place, (was, now) in sorted(kept.items()) if was != now]


def main() -> int:
    """Judge again, and write audits, tables, records and the list of changes."""
    rule, found, audits, again = Rule(), list[Change](), 0, set[str]()
    for folder in sorted(each.parent for each in RESULTS.glob("*/result.json")):
        changed, stages = (audited if (folder / "audits").is_dir() else tabled)(folder, rule)
        found, audits = found + changed, audits + sum(map(len, stages))
        verdicts = judged(stages)
        table = folder / "table.md"
        write_text(table, with_verdicts(table.read_text(encoding="utf-8"), verdicts))
        record = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        if record["facts"]["Versions"].startswith(f"unregress {__version__},"):
            again.add(folder.name)
        record["verdicts"] = [asdict(each) for each in verdicts]
        write_text(folder / "result.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    found = since_the_first(found, again)
    counted = Counter(f"{was} to {now}" for _, _, was, now in found)
    told = {
        "command": "python benchmarks/judge_again.py", "rule": asdict(rule), "audits": audits,
        "changed": dict(sorted(counted.items())), "verdicts": [list(each) for each in found],
    }  # fmt: skip
    write_text(CHANGES, json.dumps(told, indent=1) + "\n")
    print(json.dumps(told["changed"], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
