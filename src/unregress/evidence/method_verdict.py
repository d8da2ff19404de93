"""The verdict on a method, over several audits: unlearned models of several seeds against all of their golds.

One audit judges one model by limits that its few golds allow.  Models of several seeds that all lie a little to the
same side of the golds pass one by one and are told together.  Audits that share their golds are one comparison: passes
that rest on the same golds are not independent evidence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from math import comb, prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unregress.errors import SettingError, StaleError, raise_all
from unregress.evidence.audit_report import AuditReport
from unregress.evidence.findings import Outcome, Verdict
from unregress.evidence.verdict_text import shown

Values = NDArray[np.float64]
Place = tuple[str, str]
"""A measurement: metric and part of the data."""
DEFAULT: tuple[Place, ...] = (("mae", "train-forget"),)
"""What is compared unless something else is named: the error on the forgotten samples."""
MOST = 200_000
"""Largest number of arrangements that are all tried; of more, as many are drawn."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One measurement of a method's models beside the golds'."""

    metric: str
    split: str
    models: tuple[float, ...]
    """Values of the unlearned models, one for each audit."""
    golds: tuple[float, ...]
    """Values of all golds, each once."""
    p: float
    """Two-sided p-value of the hypothesis that the models are further golds, corrected for the number of comparisons
    (Holm)."""
    p_original: float
    """The same of the originals, which the comparison must tell apart."""


@dataclass(frozen=True, kw_only=True)
class MethodVerdict:
    """The verdict on a method."""

    model: str
    """The models' name in the audits."""
    outcome: Outcome
    reason: str
    """One sentence."""
    comparisons: tuple[Comparison, ...]
    smallest: float
    """Smallest p-value that was possible with so many models and golds, corrected like the others."""


class _Group(NamedTuple):
    """Audits with the same golds: the values of one measurement."""

    models: tuple[float, ...]
    golds: tuple[float, ...]


class _Exchanged(NamedTuple):
    """The result of exchanging labels between models and golds."""

    models: tuple[float, ...]
    golds: tuple[float, ...]
    p: float
    smallest: float
    """Smallest p-value that was possible."""


def method_verdict(
    reports: Sequence[AuditReport],
    model: str | None = None,
    *,
    level: float = 0.05,
    measures: Sequence[Place] = DEFAULT,
    seed: int = 0,
) -> MethodVerdict:
    """Judge a method by audits of its models of several seeds.

    An exact permutation test.  If unlearning equals retraining, then each model is one more of the golds that it was
    audited by, and which of them are called models is arbitrary: their labels are exchanged within the audits that
    share golds, and the p-value is the share of arrangements whose models lie as far from the golds, over all groups.
    S models and R golds of one set can give 1 / C(S + R, S) at best: .018 for 3 and 5, .004 for 5 and 5.

    * **FAIL**: the models are told apart from golds, by any of the measurements; or most of them fail by themselves
      (FAIL or OUTPUTS ONLY), by whatever criterion.
    * **PASS**: neither, and the originals are told apart by the same test.
    * **INCONCLUSIVE**: no arrangement could have told, not even the originals are told apart, or most models could not
      be judged by themselves.

    Args:
        reports: audits of the same request and the same method, one for each seed, each with at least one gold.
        model: the unlearned model's name in the audits; None if each has one, the same.
        level: probability with which a method that equals retraining fails.
        measures: what is compared, named before looking; several are corrected for.
        seed: of the arrangements that are drawn where there are too many.

    Raises:
        SettingError: fewer than two audits, nothing to compare, or no such level; a PreflightError lists several.
        StaleError: audits of different requests or models, or ones without the model, golds or measurements; all at
            once.
    """
    model = _require(reports, model, level, measures)
    rng = np.random.default_rng(seed)
    tests = [_exchanged(_groups(reports, [model] * len(reports), place), rng) for place in measures]
    originals = [report.named("original")[0] for report in reports]
    of_originals = holm([_exchanged(_groups(reports, originals, place), rng).p for place in measures])
    smallest = min(1.0, len(measures) * min(test.smallest for test in tests))
    found = tuple(
        Comparison(metric=place[0], split=place[1], models=test.models, golds=test.golds, p=p, p_original=of_original)
        for place, test, p, of_original in zip(
            measures, tests, holm([test.p for test in tests]), of_originals, strict=True
        )
    )
    outcome, reason = _concluded(
        found, smallest, level, [report.verdict(model) for report in reports if report.verdicts]
    )
    return MethodVerdict(model=model, outcome=outcome, reason=reason, comparisons=found, smallest=smallest)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number, after Holm (1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    scaled = np.asarray(p_values)[order] * np.arange(len(p_values), 0, -1)
    found = np.empty(len(p_values))
    found[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return [float(each) for each in found]


def _require(reports: Sequence[AuditReport], model: str | None, level: float, measures: Sequence[Place]) -> str:
    """Refuse audits that do not belong together, all complaints at once; returns the model's name."""
    settings = []
    if len(reports) < 2:
        settings.append(SettingError(f"A method is judged with {len(reports)} audits", expected="two or more"))
    if not measures:
        settings.append(SettingError("A method is judged by no measurement", expected="one or more"))
    if not 0 < level < 0.5:
        settings.append(SettingError(f"`level` is {level:g}", expected="between 0 and 0.5"))
    raise_all(settings)
    complaints = []
    if len({report.request_digest for report in reports}) > 1:
        complaints.append("the audits are about different requests")
    names = dict.fromkeys(name for report in reports for name in report.named("unlearned"))
    if model is None and len(names) != 1:
        complaints.append(f"the audits are about {len(names)} unlearned models ({', '.join(names)}): name one")
    chosen = next(iter(names), "") if model is None else model
    if repeated := sorted(_repeated(reports, chosen)):
        listed = " and ".join(f"{first} and {second}" for first, second in repeated)
        complaints.append(f"audits {listed} are about the same model")
    for number, report in enumerate(reports, 1):
        if chosen not in report.named("unlearned"):
            if model is not None:
                known = ", ".join(report.named("unlearned")) or "none"
                complaints.append(f"audit {number} has no unlearned model {model!r} (its models: {known})")
            continue
        if not report.golds:
            complaints.append(f"audit {number} has no retrained model")
        complaints += _missing(report, number, chosen, measures)
    if complaints:
        raise StaleError(
            "; ".join(complaints),
            expected="audits of one request and one method, each with original, model and golds",
            remedy="Audit each seed's model with `unregress audit`, and name the model as there",
        )
    return chosen


def _missing(report: AuditReport, number: int, model: str, measures: Sequence[Place]) -> Iterator[str]:
    """Complaints about measurements that an audit does not hold of the model, the original and every gold."""
    holders: dict[Place, set[str]] = {}
    for each in (measure for measure in report.measures if measure.value is not None):
        holders.setdefault((each.metric, each.split), set()).add(each.model)
    held = {place for place, models in holders.items() if models >= {model, report.named("original")[0], *report.golds}}
    for metric, split in sorted(set(measures) - held):
        known = ", ".join(sorted(name for name, part in held if part == split))
        parts = "parts: " + (", ".join(sorted({part for _, part in held})) or "none")
        yield f"audit {number} lacks values of {metric} on {split} (it has {known or parts})"


def _repeated(reports: Sequence[AuditReport], model: str) -> Iterator[tuple[int, int]]:
    """Pairs of audits, by number, whose models have the same measurements: one model that is given twice."""
    seen: dict[tuple[object, ...], int] = {}
    for number, report in enumerate(reports, 1):
        own = tuple((each.metric, each.split, each.value) for each in report.measures if each.model == model)
        if own and (first := seen.setdefault(own, number)) != number:
            yield first, number


def _groups(reports: Sequence[AuditReport], models: Sequence[str], place: Place) -> list[_Group]:
    """The values of one model of each audit, together with those of audits that share its golds."""
    groups: dict[tuple[float, ...], list[float]] = {}
    for report, model in zip(reports, models, strict=True):
        value = report.value_of(*place, model)
        groups.setdefault(tuple(report.over_golds(*place)), []).extend([] if value is None else [value])
    return [_Group(tuple(values), golds) for golds, values in groups.items()]


def _exchanged(groups: Sequence[_Group], rng: np.random.Generator) -> _Exchanged:
    """The test that exchanges labels within each group: the sum of the models' values, each group in its own units."""
    observed, nulls = 0.0, []
    for group in groups:
        everyone = np.array([*group.models, *group.golds])
        standardised = (everyone - everyone.mean()) / (everyone.std() or 1.0)
        observed += float(standardised[: len(group.models)].sum())
        nulls.append(_sums(standardised, len(group.models), rng))
    exact = prod(comb(len(each.models) + len(each.golds), len(each.models)) for each in groups) <= MOST
    if exact:
        sums = reduce(lambda so_far, null: np.add.outer(so_far, null).ravel(), nulls)
    else:
        sums = np.sum([rng.choice(null, MOST) for null in nulls], axis=0)
    # Sums in another order differ by rounding, which must not decide.
    as_far = [int((np.abs(sums) >= size * (1 - 1e-9)).sum()) for size in (abs(observed), np.abs(sums).max())]
    # Of arrangements that are drawn, the observed one is a further one.
    p, smallest = (count / len(sums) if exact else (count + 1) / (len(sums) + 1) for count in as_far)
    return _Exchanged(
        models=tuple(value for group in groups for value in group.models),
        golds=tuple(value for group in groups for value in group.golds),
        p=p,
        smallest=smallest,
    )


def _sums(values: Values, count: int, rng: np.random.Generator) -> Values:
    """Sums of `count` of the values in all choices, or in as many as are tried, drawn at random.

    SciPy's `permutation_test` refuses a sample of one, which is what an audit with golds of its own has.
    """
    if comb(len(values), count) <= MOST:
        return np.array([sum(chosen) for chosen in combinations(values.tolist(), count)])
    return np.asarray(rng.permuted(np.tile(values, (MOST, 1)), axis=1)[:, :count].sum(axis=1))


def _concluded(
    found: Sequence[Comparison], smallest: float, level: float, singles: Sequence[Verdict]
) -> tuple[Outcome, str]:
    """Outcome and reason; `singles` are the audits' own verdicts."""
    first = min(found, key=lambda each: each.p)
    count = f"{len(first.models)} models and {len(first.golds)} retrained ones"
    # Golds that judge no single model judge none together either.
    without_golds = [each for each in singles if each.outcome == "INCONCLUSIVE" and not each.criteria]
    if 2 * len(without_golds) > len(singles):
        return "INCONCLUSIVE", f"{_by_themselves(without_golds, len(singles))} (together p = {first.p:.2g})."
    if smallest > level:
        return "INCONCLUSIVE", (
            f"With {count} no difference could be told: p is at least {smallest:.2g}. Audit models of more seeds, or "
            "train more golds."
        )
    if first.p <= level:
        side = "below" if np.mean(first.models) < np.mean(first.golds) else "above"
        return "FAIL", (
            f"Together its models are told from retrained ones: {first.metric} on {first.split} is "
            f"{shown(float(np.mean(first.models)))} on average, {side} the retrained models' "
            f"{shown(float(np.mean(first.golds)))} (p = {first.p:.2g}, {count})."
        )
    rejected = [each for each in singles if each.rejected]
    undecided = [each for each in singles if each.outcome == "INCONCLUSIVE"]
    if 2 * len(rejected) > len(singles):
        return "FAIL", f"{_by_themselves(rejected, len(singles))} (together p = {first.p:.2g})."
    if 2 * len(undecided) > len(singles):
        return "INCONCLUSIVE", f"{_by_themselves(undecided, len(singles))} (together p = {first.p:.2g})."
    original = min(each.p_original for each in found)
    if original > level:
        return "INCONCLUSIVE", f"Not even the originals are told from retrained models (p = {original:.2g}, {count})."
    return "PASS", (
        f"Together its models are not told from retrained ones (p = {first.p:.2g}, {count}); the originals are "
        f"(p = {original:.2g})."
    )


def _by_themselves(verdicts: Sequence[Verdict], count: int) -> str:
    first = verdicts[0]
    return f"{len(verdicts)} of {count} models are {first.outcome} by themselves: {first.reason.rstrip('.')}"
