"""Write the tables of docs/reproduction.md from the results under results/reproduction.

python benchmarks/reproduction_page.py            # writes them between the page's markers
python benchmarks/reproduction_page.py --check    # fails if they are not what results say
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from math import nan
from pathlib import Path
from statistics import median

import orderings
import table_reports
from judge_again import judged_again
from orderings import METHODS

from unregress import Rule
from unregress.errors import StaleError
from unregress.evidence import IN_WEIGHTS, AuditReport, Part
from unregress.evidence.method_verdict import method_verdict
from unregress.evidence.verdict_text import shown
from unregress.experiments.experiment import names
from unregress.report.models import share_of_retraining, typical_retraining

ROOT = Path(__file__).resolve().parents[1]
PAGE, RESULTS = ROOT / "docs" / "reproduction.md", ROOT / "results" / "reproduction"
SHOWN = (
    "Wasserstein distance to the retrained models, train-forget",
    "Paired difference to the retrained models,",
    "Membership inference: AUC,",
    "Membership inference, calibrated: AUC,",
    "Membership attack: share called members,",
    "Linear probe on the features,",
    "Anamnesis index,",
    "Verdict",
)
"""Columns of a result table that the page shows, beside the errors that the paper names."""


ELSEWHERE: tuple[tuple[str, Part], ...] = (
    *(
        (metric, "train-forget")
        for metric in ("w1", "auc", "auc-calibrated", "memory-of-few", "attack", "probe", "readout", "revival")
    ),
    ("relearn-loss", "validation-forget"),
    ("relearn-loss", "train-forget"),
)
"""Measures of memory beside the error, by which a method's verdict is not decided."""
SUSPECT = 0.05


def folders() -> Iterator[Path]:
    """Experiments with results, as published and tuned, in the order of `--list`."""
    for name in names():
        yield from filter(Path.is_dir, (RESULTS / name, RESULTS / f"{name}-tuned"))


def judged() -> Iterator[str]:
    """Table of the methods' verdicts, distances and costs."""
    yield f"| | {' | '.join(METHODS)} |"
    yield "|---" * (1 + len(METHODS)) + "|"
    for folder in folders():
        stages = _stages(folder)
        for number, reports in enumerate(stages, 1):
            cells = [_judged(method, reports) for method in METHODS]
            if any(cell != "–" for cell in cells):
                name = folder.name if len(stages) == 1 else f"{folder.name}, request {number}"
                yield f"| {name} | {' | '.join(cells)} |"


def _stages(folder: Path) -> list[list[AuditReport]]:
    """An experiment's audits by request and seed, or what its table tells of them."""
    if audits := [AuditReport.from_json(file) for file in sorted(folder.glob("audits/seed-*.json"))]:
        return [audits]
    record = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return [[judged_again(each, Rule()) for each in reports] for reports in table_reports.reports(record)]


def _judged(method: str, reports: list[AuditReport]) -> str:
    if method not in reports[0].named("unlearned"):
        return "–"
    (model,) = (model for model in reports[0].models if model.name == method)
    retraining = typical_retraining(reports[0])
    share = "" if model.cost is None else f"; {share_of_retraining(model, retraining)}"
    over_seeds = method_verdict(reports, method)
    verdicts = [report.verdict(method) for report in reports]
    in_weights = any(each.kind in IN_WEIGHTS for verdict in verdicts for each in verdict.criteria)
    alone = " by predictions alone" if over_seeds.outcome == "PASS" and not in_weights else ""
    together = f"{over_seeds.outcome}{alone}, p = {min(each.p for each in over_seeds.comparisons):.2g}"
    if not all(verdict.criteria for verdict in verdicts):
        return f"{together}; golds are no better than a constant{share}"
    passed = sum(verdict.outcome == "PASS" for verdict in verdicts)
    worst = [max(verdict.criteria, key=lambda criterion: criterion.excess) for verdict in verdicts]
    typical = sorted(worst, key=lambda criterion: criterion.excess)[len(worst) // 2]
    far = median(criterion.excess for criterion in worst)
    return f"{together}; {passed} of {len(reports)}; {far:.2f} ({typical.kind}){share}"


def told_elsewhere() -> Iterator[str]:
    """Of each method that passes over seeds: other measures that tell it from golds, each by itself, uncorrected."""
    yield "| | method | measure | its models | golds | originals | p |"
    yield "|---|---|---|---|---|---|---|"
    for folder in folders():
        for reports in _stages(folder):
            for method in METHODS:
                known = method in reports[0].named("unlearned")
                if not known or method_verdict(reports, method).outcome != "PASS":
                    continue
                for place in ELSEWHERE:
                    try:
                        (found,) = method_verdict(reports, method, measures=[place]).comparisons
                    except StaleError:  # not measured
                        continue
                    if found.p <= SUSPECT:
                        originals = [report.value(*place, report.named("original")[0]) or nan for report in reports]
                        sides = (found.models, found.golds, originals)
                        cells = [f"{shown(min(each))} to {shown(max(each))}" for each in sides]
                        yield f"| {folder.name} | {method} | {place[0]} | {' | '.join(cells)} | {found.p:.2g} |"


def sections() -> Iterator[str]:
    """Heading, command and table of each experiment with results."""
    for folder in folders():
        told = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        tuned = ", tuned" if folder.name.endswith("-tuned") else f" ({told['experiment']['source']})"
        command = told["facts"]["Command"].removesuffix(" --runtime.accelerator cpu")
        lines = (folder / "table.md").read_text(encoding="utf-8").splitlines()
        table = "\n".join(_shown(lines))
        title = f"### {told['experiment']['title']}{tuned}"
        yield f"{title}\n\n{told['facts']['Data']}.\n\n`{command}`\n\n{table}\n"


def _shown(lines: list[str]) -> Iterator[str]:
    following = [*lines[1:], ""]
    # A table without the paper's numbers shows the errors that others show beside these.
    shown = SHOWN if any(" | paper |" in line for line in lines) else ("Mean absolute error,", *SHOWN)
    for line, after in zip(lines, following, strict=True):
        named = line.removeprefix("| ")
        heading = not line.startswith("|") or named.startswith(("measure", "|---", "--- "))
        paper = " | paper |" in line
        if heading or paper or named.startswith(shown) or after.startswith("| err_D"):
            yield line


def main() -> int:
    page = PAGE.read_text(encoding="utf-8")
    made = page
    tables = {
        "rows": sections(),
        "orderings": orderings.lines(RESULTS),
        "verdicts": judged(),
        "elsewhere": told_elsewhere(),
    }
    for name, lines in tables.items():
        before, rest = made.split(f"<!-- {name}, by benchmarks/reproduction_page.py -->\n")
        after = rest.split("<!-- end -->\n", maxsplit=1)[1]
        body = "\n".join(lines).strip()
        made = f"{before}<!-- {name}, by benchmarks/reproduction_page.py -->\n\n{body}\n\n<!-- end -->\n{after}"
    if "--check" in sys.argv[1:]:
        if made == page:
            return 0
        print(f"{PAGE} is not what {RESULTS} says; run `python {Path(__file__).name}`", file=sys.stderr)
        return 1
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
