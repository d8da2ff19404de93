"""Verdicts on requests with few samples under attack: planted models, simulated, and how often each outcome is given.

The level of the limit on far-off errors was chosen on seed 1; what is reported comes from another.

    python benchmarks/planted_few.py --output results/calibration/planted-few.json --seed 7
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from calibration_small import drawn, of_memory
from jsonargparse import auto_cli
from judged_measures import report_of
from scipy.stats import t as student

from unregress import Rule
from unregress.evidence import CONSTANT, AuditReport, Measurement, Verdict
from unregress.evidence.criteria import FAR_OFF_SHARE, MEMORY_SHARE
from unregress.evidence.findings import BY_CHANCE
from unregress.metrics.memory import compared_with_golds
from unregress.metrics.memory_groups import Groups, random_of
from unregress.metrics.memory_slope import chance, memory_kept
from unregress.metrics.predictions import Values
from unregress.parallel.jobs import one_thread

FORGET, KEPT = "train-forget", "test-retain"
SPREADS, SAMPLES, GOLDS = ("independent", "offset", "t3", "t3 offset"), (1, 5, 10, 20), (5, 10, 20)
PLANTED = (5, 20)
"""Numbers of samples for which models are planted; of the others, fresh golds alone are looked at."""
HELD_OUT = 200
"""New samples of the kinds kept."""
SIGNAL, RESIDUAL, LEARNT = 3.0, 1.5, 0.9
"""Standard deviations of what golds expect, and of targets from it, in standard deviations of a gold; and the share of
its residuals that an original learnt."""
ALARMS = "fresh gold: beyond memory, error, either, one in twenty"
MODELS = ("original", "half kept", "constant on the forgotten", "1000 everywhere", "permuted", "noise", "gold")
OTHERWISE = ("more data", "trained less")
"""Models that never saw the forgotten samples, and differ from golds on all samples alike."""
KNOWN, SHRUNK = 0.3, 0.8
"""Share of all residuals that a model of more data knows, and share of a gold's predictions after less training."""
GROUPS = 500
"""Groups of never-seen samples."""


def deviations(spread: str, rng: np.random.Generator, models: int, samples: int) -> Values:
    """Of golds from their expectation; `(models, samples)`."""
    if spread == "t3":
        return np.asarray(rng.standard_t(3, size=(models, samples)) / np.sqrt(3))
    return drawn(spread, rng, (1, models, samples)).reshape(models, samples)


def one_audit(spread: str, samples: int, golds: int, rule: Rule, rng: np.random.Generator) -> dict[str, Verdict]:
    """Judge every planted model by the same golds."""
    size = samples + HELD_OUT
    expected = SIGNAL * rng.normal(size=size)
    target = expected + RESIDUAL * rng.normal(size=size)
    fresh, started, *others = expected + deviations(spread, rng, golds + 2, size)
    memory = np.where(np.arange(size) < samples, LEARNT * (target - expected), 0.0)
    original = started + memory
    on_forgotten = {
        "original": original,
        "half kept": fresh + memory / 2,
        "constant on the forgotten": np.zeros(size),
        "1000 everywhere": np.full(size, 1000.0),
        "permuted": np.concatenate([rng.permutation(fresh[:samples]), fresh[samples:]]),
        "noise": np.hypot(SIGNAL, RESIDUAL) * rng.normal(size=size),
        "gold": fresh,
    }
    # On the samples that are kept, planted models answer as the fresh gold does.
    planted = {name: np.concatenate([model[:samples], fresh[samples:]]) for name, model in on_forgotten.items()}
    planted |= {"more data": fresh + KNOWN * (target - expected), "trained less": SHRUNK * fresh}
    models = planted | {f"gold {n}": gold for n, gold in enumerate(others)}
    return {each.model: each for each in audited(models, target, samples, rule).verdicts}


def audited(models: Mapping[str, Values], target: Values, samples: int, rule: Rule) -> AuditReport:
    """Audit models by their predictions, of which those of the first samples are of forgotten ones."""
    golds = [name for name in models if name.startswith("gold ")]
    constant = float(np.abs(target[samples:]).mean())
    measured = [Measurement(metric="mae", split=KEPT, model=CONSTANT, value=constant)]
    for name, model in models.items():
        others = np.stack([models[gold][:samples] for gold in golds if gold != name])
        test = compared_with_golds(model[:samples], target[:samples], others, RESIDUAL**2)
        measured += [
            Measurement(metric="mae", split=part, model=name, value=float(np.abs(model - target)[rows].mean()))
            for part, rows in ((FORGET, slice(samples)), (KEPT, slice(samples, None)))
        ]
        interval, p = (None, None) if name in golds else (test.interval, test.p)
        measured.append(
            Measurement(metric="memory", split=FORGET, model=name, value=test.value, interval=interval, p=p)
        )
        center = np.mean([models[gold] for gold in golds if gold != name], axis=0)
        value = by_chance(model, target, center, samples)
        measured.append(Measurement(metric=BY_CHANCE, split=FORGET, model=name, value=value))
    return report_of(measured, samples, rule)


def by_chance(
    model: Values, target: Values, center: Values, samples: int, scale: float = RESIDUAL**2, draws: int = GROUPS
) -> float:
    """`unregress.metrics.memory_by_chance` of predictions whose first samples are forgotten."""
    groups = never_seen_groups(len(target) - samples, samples, draws)
    new, asked = slice(samples, None), slice(samples)
    slope = memory_kept(model[asked], target[asked], center[asked], scale)
    return chance(slope, model[new], target[new], center[new], groups.positions, scale, groups.widening)


@cache
def never_seen_groups(size: int, samples: int, draws: int) -> Groups:
    """The same groups of never-seen samples for all models."""
    return random_of(size, samples, draws, np.random.default_rng(0))


def false_alarms(spread: str, samples: int, golds: int, audits: int, rng: np.random.Generator) -> list[float]:
    """Shares of fresh golds beyond the limits on the forgotten samples: of memory, of error, of either, and the wider.

    The last is the limit beyond which an error is INCONCLUSIVE.
    """
    level = Rule().small_level
    shape = audits, golds + 1, samples
    models = rng.standard_t(3, size=shape) / np.sqrt(3) if spread == "t3" else drawn(spread, rng, shape)
    target = RESIDUAL * rng.normal(size=(audits, 1, samples))
    memory = student.sf(of_memory(models[:, :-1], models[:, -1:], target), golds - 1) < MEMORY_SHARE * level
    errors = np.log(np.abs(models - target).mean(axis=-1))
    theirs, own = errors[:, :-1], errors[:, -1]
    t = (own - theirs.mean(axis=1)) / (theirs.std(axis=1, ddof=1) * np.sqrt(1 + 1 / golds))
    p = student.sf(t, golds - 1)
    far = p < FAR_OFF_SHARE * level
    return [round(float(each.mean()), 4) for each in (memory, far, memory | far, p < level)]


def rates(audits: Sequence[Mapping[str, Verdict]]) -> dict[str, Any]:
    """Shares of outcomes by planted model, and what the verdicts stated beside what was noticed."""
    found: dict[str, Any] = {}
    for name in (*MODELS, *OTHERWISE):
        seen = Counter(label(audit[name]) for audit in audits)
        found[name] = {outcome: round(count / len(audits), 3) for outcome, count in sorted(seen.items())}
        told = [memory for audit in audits if (memory := memory_of(audit[name])) is not None]
        found[f"{name}: memory beyond its limit, and said to be remembered"] = [
            round(sum(outcome != "within" for outcome in told) / len(audits), 3),
            round(told.count("remembers") / len(audits), 3),
        ]
    stated = [power for audit in audits if (power := stated_power(audit["half kept"])) is not None]
    noticed = [
        any(each.kind == "memory" and each.outcome != "within" for each in audit["half kept"].criteria)
        for audit in audits
    ]
    found["half kept: stated power, and share noticed"] = [
        round(float(np.mean(stated)), 3), round(float(np.mean(noticed)), 3)
    ]  # fmt: skip
    return found


def label(found: Verdict) -> str:
    """The outcome; of a FAIL, what was crossed; of an INCONCLUSIVE, why; of a PASS, whether it warns of an error."""
    if found.outcome == "FAIL" and found.decisive is not None:
        return f"FAIL: {found.decisive.metric}@{found.decisive.split}"
    if found.outcome == "INCONCLUSIVE":
        return f"INCONCLUSIVE: {found.obstacle}"
    return "PASS, error above every gold's" if "pushed too far" in found.reason else str(found.outcome)


def memory_of(found: Verdict) -> str | None:
    """What the criterion of memory says; None without it."""
    return next((each.outcome for each in found.criteria if each.kind == "memory"), None)


def stated_power(found: Verdict) -> float | None:
    """The probability, stated in a verdict, that half of the memory is noticed."""
    return next((each.power for each in found.criteria if each.kind == "memory"), None)


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Rows of docs/calibration.md: shares of outcomes over all spreads, with 5, 10 and 20 golds."""
    for name in MODELS:
        for samples in ("5", "20"):
            cells = [
                " / ".join(f"{_share(found, samples, str(golds), name, outcome):.0%}" for golds in GOLDS)
                for outcome in ("FAIL", "FAIL: mae@test-retain", "INCONCLUSIVE", "INCONCLUSIVE: far", "PASS")
            ]
            yield f"| {name} | {samples} | {' | '.join(cells)} |"


def reasons(found: Mapping[str, Any]) -> Iterator[str]:
    """Rows of docs/calibration.md: beyond the memory's limit, and said to be remembered, with 5, 10 and 20 golds."""
    for name in ("original", "half kept", *OTHERWISE, "gold"):
        for samples in map(str, PLANTED):
            key = f"{name}: memory beyond its limit, and said to be remembered"
            shares = [
                np.mean([found[spread][samples][str(golds)][key] for spread in SPREADS], axis=0) for golds in GOLDS
            ]
            cells = [" / ".join(f"{share[place]:.0%}" for share in shares) for place in (0, 1)]
            yield f"| {name} | {samples} | {' | '.join(cells)} |"


def alarms(found: Mapping[str, Any]) -> Iterator[str]:
    """Rows of docs/calibration.md: fresh golds beyond limits, the mean and the largest over samples and golds."""
    for spread in SPREADS:
        seen = np.array([cell[ALARMS] for by_golds in found[spread].values() for cell in by_golds.values()])
        cells = [f"{mean:.1%} ({most:.1%})" for mean, most in zip(seen.mean(axis=0), seen.max(axis=0), strict=True)]
        yield f"| {spread} | {' | '.join(cells)} |"


def _share(found: Mapping[str, Any], samples: str, golds: str, name: str, outcome: str) -> float:
    shares = [found[spread][samples][golds][name] for spread in SPREADS]
    return float(np.mean([sum(share for seen, share in each.items() if seen.startswith(outcome)) for each in shares]))


def main(output: Path, audits: int = 20, simulations: int = 4000, seed: int = 0) -> None:
    """Simulate, and write the shares of outcomes.

    Args:
        output: file for the numbers.
        audits: for each spread, number of samples and number of golds.
        simulations: audits of fresh golds for each of these, of the limits on the forgotten samples alone.
        seed: of all draws.
    """
    rule = Rule()
    found: dict[str, Any] = {
        "command": f"python benchmarks/planted_few.py --output {output} --audits {audits} --seed {seed}",
        "settings": {
            "audits": audits, "simulations": simulations, "seed": seed, "rule": str(rule),
            "signal": SIGNAL, "residual": RESIDUAL, "learnt": LEARNT,
            "versions": {name: version(name) for name in ("unregress", "numpy", "scipy")},
        },
    }  # fmt: skip
    output.parent.mkdir(parents=True, exist_ok=True)
    with one_thread():
        for place, spread in enumerate(SPREADS):
            for samples in SAMPLES:
                for golds in GOLDS:
                    rng = np.random.default_rng([seed, place, samples, golds])
                    times = audits if samples in PLANTED else 0
                    made = [one_audit(spread, samples, golds, rule, rng) for _ in range(times)]
                    found.setdefault(spread, {}).setdefault(str(samples), {})[str(golds)] = (
                        rates(made) if made else {}
                    ) | {ALARMS: false_alarms(spread, samples, golds, simulations, rng)}
            output.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n", encoding="utf-8")
            print(spread, flush=True)


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
