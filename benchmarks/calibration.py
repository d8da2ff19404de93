"""Calibrate the audit's verdict: its false-alarm rate and its power, over thousands of simulated audits.

Many models are trained on the diabetes patients of the demo, and each audit is drawn from them: an original, some golds
to judge by, and a model to judge.  Nothing is trained twice, so thousands of audits cost little more than one; but
they share models, so intervals are over models, not over audits.

    python benchmarks/calibration.py --output results/calibration --plot docs/power.svg --cache runs/calibration
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse import auto_cli
from power_plot import draw
from quick_audit import FORGET, NUMBERS, Drawn, Pool, audited, check, number, pool_of
from scipy.stats import beta, ks_2samp
from side_by_side import Answers, cases, kept, one_by_one

from unregress import Rule
from unregress.evidence import Verdict
from unregress.parallel.jobs import one_thread

GOLDS = (5, 8, 16)
MOVES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""Planted shifts of a gold's predictions towards the forgotten targets, in units of the noise floor."""
BLENDS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7)
"""Planted interpolations from a gold's predictions (0) to an original's (1)."""
TRAINED = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
"""Shares of the forget set that a model was trained on; 0 is a gold, 1 an original."""
FACTORS = (1.0, 1.25, 1.5, 2.0)
"""Blends, as multiples of the share that a PASS says would have been noticed."""


# --- Models to judge --------------------------------------------------------------------------------------------------


ModelFactory = Callable[[Pool, Drawn], Answers]
"""Makes the predictions of the model to judge."""


def a_gold(pool: Pool, drawn: Drawn) -> Answers:
    return pool.one(0.0, drawn.gold)


def moved(floors: float) -> ModelFactory:
    """A gold whose predictions of the forget set are shifted towards their targets, at most up to them."""

    def make(pool: Pool, drawn: Drawn) -> Answers:
        answers = pool.one(0.0, drawn.gold)
        error = pool.targets[FORGET] - answers[FORGET]
        return answers | {FORGET: answers[FORGET] + np.sign(error) * np.minimum(np.abs(error), floors * pool.floor)}

    return make


def blended(share: float) -> ModelFactory:
    """A gold whose predictions are interpolated towards an original's by the given share."""

    def make(pool: Pool, drawn: Drawn) -> Answers:
        return {
            part: (1 - share) * answers + share * drawn.original[part]
            for part, answers in pool.one(0.0, drawn.gold).items()
        }

    return make


def trained(share: float) -> ModelFactory:
    """A model that was trained on a share of the forget set."""

    def make(pool: Pool, drawn: Drawn) -> Answers:
        return pool.one(share, drawn.luck % len(pool.models[share][FORGET])) if share else a_gold(pool, drawn)

    return make


# --- Studies ----------------------------------------------------------------------------------------------------------


def draws(pool: Pool, golds: int, count: int, seed: int) -> list[Drawn]:
    """Draw the models of `count` audits at random."""
    rng = np.random.default_rng([seed, golds])
    have, originals = (len(pool.models[share][FORGET]) for share in (0.0, 1.0))
    found = []
    for _ in range(count):
        gold, *others = rng.choice(have, golds + 1, replace=False)
        # The lower half of the originals plays the original; the upper half is there to be judged.
        original = pool.one(1.0, int(rng.integers(originals // 2)))
        luck = originals // 2 + int(rng.integers(originals - originals // 2))
        found.append(Drawn(np.array(others), int(gold), original, luck))
    return found


def shares(verdicts: Sequence[Verdict]) -> dict[str, float]:
    return {
        outcome: sum(verdict.outcome == outcome for verdict in verdicts) / len(verdicts)
        for outcome in ("FAIL", "INCONCLUSIVE", "PASS")  # predictions alone: never OUTPUTS ONLY
    }


def false_alarms(pool: Pool, golds: int, count: int, seed: int) -> dict[str, Any]:
    """Outcomes for a gold that is not among the reference models: each FAIL is a false alarm."""
    chosen = draws(pool, golds, count, seed)
    verdicts = [audited(pool, drawn, a_gold(pool, drawn)) for drawn in chosen]
    failed = np.array([verdict.outcome == "FAIL" for verdict in verdicts])
    judged = np.array([drawn.gold for drawn in chosen])
    times, failures = np.bincount(judged), np.bincount(judged, failed)
    rng = np.random.default_rng(seed)
    again = [rng.choice(np.flatnonzero(times), np.count_nonzero(times)) for _ in range(2000)]
    interval = np.quantile([failures[some].sum() / times[some].sum() for some in again], [0.025, 0.975])
    crossed = {
        f"{c.metric}, {c.split}": float(np.mean([v.criteria[place].outcome != "within" for v in verdicts]))
        for place, c in enumerate(verdicts[0].criteria)
    }
    order = rng.permutation(len(pool.models[0.0][FORGET]))
    apart = [
        Drawn(group[1:], int(group[0]), chosen[0].original, 0)
        for group in order[: len(order) // (golds + 1) * (golds + 1)].reshape(-1, golds + 1)
    ]
    alarms = sum(audited(pool, drawn, a_gold(pool, drawn)).outcome == "FAIL" for drawn in apart)
    exact = beta.ppf([0.025, 0.975], [alarms, alarms + 1], [len(apart) - alarms + 1, len(apart) - alarms])
    return {
        **shares(verdicts), "interval over golds": interval.tolist(), "by criterion": crossed,
        "disjoint": {"audits": len(apart), "FAIL": alarms, "interval": np.nan_to_num(exact).tolist()},
    }  # fmt: skip


def noticed_as_promised(pool: Pool, golds: int, count: int, seed: int) -> dict[str, Any]:
    """How often a model fails that retains as much as a PASS says would be detected, or a multiple of it."""
    outcomes: dict[float, list[Verdict]] = {factor: [] for factor in FACTORS}
    promised = []
    for drawn in draws(pool, golds, count, seed):
        criteria = audited(pool, drawn, a_gold(pool, drawn)).criteria
        finest = min(criterion.resolution for criterion in criteria if criterion.split == FORGET)
        if finest <= pool.rule.resolution:
            promised.append(finest)
            for factor, found in outcomes.items():
                found.append(audited(pool, drawn, blended(factor * finest)(pool, drawn)))
    return {
        "median share": float(np.median(promised)),
        "FAIL by factor": {str(factor): shares(found)["FAIL"] for factor, found in outcomes.items()},
    }


def power(pool: Pool, makers: Mapping[float, ModelFactory], count: int, seed: int) -> dict[str, dict[str, list[float]]]:
    """Shares of outcomes by the size of the planted fault, for each number of golds."""
    curves = {}
    for golds in GOLDS:
        points = [
            shares([audited(pool, drawn, make(pool, drawn)) for drawn in draws(pool, golds, count, seed)])
            for make in makers.values()
        ]
        curves[str(golds)] = {outcome: [point[outcome] for point in points] for outcome in points[0]}
    return curves


def alike(pool: Pool, library: Answers) -> dict[str, float]:
    """Compare golds trained in one batch with the library's: p-values of the two-sample Kolmogorov-Smirnov test."""
    own = [pool.one(0.0, gold) for gold in range(len(pool.models[0.0][FORGET]))]
    theirs = [{part: seen[gold] for part, seen in library.items()} for gold in range(len(library[FORGET]))]
    found = {}
    for metric, part in NUMBERS:
        first, second = (np.array([number(pool, metric, part, gold) for gold in side]) for side in (own, theirs))
        found[f"{metric}, {part}"] = float(ks_2samp(first, second).pvalue)
    return found


def main(
    output: Path,
    plot: Path,
    cache: Path,
    golds: int = 600,
    others: int = 50,
    library: int = 96,
    audits: int = 2000,
    seed: int = 0,
    level: float = Rule().level,
    skip: int = 0,
) -> None:
    """Train, audit, print Markdown tables, write `level-LEVEL.json`, and draw.

    Args:
        output: folder for the numbers.
        plot: file for the drawing.
        cache: folder for models' answers, which are not made again.
        golds: models without the forgotten samples.
        others: models with each share of them.
        library: golds trained one by one, to compare with those trained side by side.
        audits: of fresh golds; a fifth of it for each point of a curve.
        seed: of all draws.
        level: of the rule.
        skip: so many golds are left out, such as those that the level was chosen by.
    """
    rule = Rule(level=level)
    found: dict[str, Any] = {}
    with one_thread():
        for name, case in cases().items():
            pool = pool_of(name, case, TRAINED, golds, others, cache, rule, skip)
            check(pool, case, draws(pool, GOLDS[-1], 1, seed)[0])
            theirs = kept(cache / f"{name}-library-{library}.npz", partial(one_by_one, case, range(library)))
            curves: dict[str, dict[float, ModelFactory]] = {
                "moved": {floors: moved(floors) for floors in MOVES},
                "blended": {share: blended(share) for share in BLENDS},
                "trained": {share: trained(share) for share in TRAINED},
            }
            found[name] = {
                "floor": pool.floor,
                "library": alike(pool, theirs),
                "fresh gold": {str(count): false_alarms(pool, count, audits, seed) for count in GOLDS},
                "promise": {str(count): noticed_as_promised(pool, count, audits // 5, seed) for count in GOLDS},
                "power": {
                    kind: {"x": list(makers), **power(pool, makers, audits // 5, seed)}
                    for kind, makers in curves.items()
                },
            }
    settings = {
        "golds": golds, "skip": skip,
        "others": others, "library": library, "audits": audits, "seed": seed, "rule": str(rule),
        "versions": {name: version(name) for name in ("unregress", "torch", "numpy", "scipy")},
    }  # fmt: skip
    output.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"settings": settings, "requests": found}, indent=1, allow_nan=False)
    (output / f"level-{level:g}.json").write_text(text + "\n", encoding="utf-8")
    draw(found, plot)
    print("\n".join(tables(found)))


def tables(found: Mapping[str, Any]) -> list[str]:
    """Format the results as Markdown tables."""
    criteria = list(found["band"]["fresh gold"][str(GOLDS[0])]["by criterion"])
    lines = ["| request | golds | FAIL | INCONCLUSIVE | disjoint audits: FAIL | " + " | ".join(criteria) + " |"]
    lines.append("|" + "---|" * (5 + len(criteria)))
    for name, request in found.items():
        for golds, one in request["fresh gold"].items():
            low, high = one["interval over golds"]
            apart = one["disjoint"]
            crossed = " | ".join(f"{share:.1%}" for share in one["by criterion"].values())
            lines.append(
                f"| {name} | {golds} | {one['FAIL']:.1%} ({low:.1%} to {high:.1%}) | {one['INCONCLUSIVE']:.1%} | "
                f"{apart['FAIL']} of {apart['audits']} | {crossed} |"
            )
    lines += ["", "| request | golds | a PASS promises | " + " | ".join(f"FAIL at {f:g} times" for f in FACTORS) + " |"]
    lines.append("|" + "---|" * (3 + len(FACTORS)))
    for name, request in found.items():
        for golds, one in request["promise"].items():
            caught = " | ".join(f"{share:.0%}" for share in one["FAIL by factor"].values())
            lines.append(f"| {name} | {golds} | {one['median share']:.0%} | {caught} |")
    for kind in ("moved", "blended", "trained"):
        x = found["band"]["power"][kind]["x"]
        lines += ["", f"| {kind} | golds | " + " | ".join(f"{value:g}" for value in x) + " |"]
        lines.append("|" + "---|" * (2 + len(x)))
        for name, request in found.items():
            for golds in map(str, GOLDS):
                failed = " | ".join(f"{share:.0%}" for share in request["power"][kind][golds]["FAIL"])
                lines.append(f"| {name} | {golds} | {failed} |")
    return lines


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
