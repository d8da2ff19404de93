"""The verdict on a method, over several audits: unlearned models of several seeds against all of their golds.

One audit judges one model by limits that its few golds allow.  Models of several seeds that all lie a little to the
same side of the golds pass one by one and are told together.  Audits that share their golds are one comparison: passes
that rest on the same golds are not independent evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb, prod

import numpy as np
from numpy.typing import NDArray

from unregress.errors import SettingError, StaleError
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


@dataclass(frozen=True)
class _Group:
    """Audits with the same golds: the values of one measurement."""

    models: Values
    golds: Values


def method_verdict(
    reports: Sequence[AuditReport],
    model: str,
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
        model: the unlearned model's name in the audits.
        level: probability with which a method that equals retraining fails.
        measures: what is compared, named before looking; several are corrected for.
        seed: of the arrangements that are drawn where there are too many.

    Raises:
        SettingError: fewer than two audits, or nothing to compare.
        StaleError: audits of different requests, or ones without the model, golds or measurements; all at once.
    """
    _require(reports, model, level, measures)
    raw: list[tuple[float, float, float]] = []
    for place in measures:
        grouped, of_originals = _groups(reports, model, place), _groups(reports, None, place)
        p, smallest = _p_value(grouped, seed)
        raw.append((p, _p_value(of_originals, seed)[0], smallest))
    adjusted, of_original = (holm([each[side] for each in raw]) for side in (0, 1))
    smallest = min(1.0, len(measures) * min(each[2] for each in raw))
    found = tuple(
        Comparison(
            metric=place[0],
            split=place[1],
            models=tuple(_value(report, place, model) for report in reports),
            golds=tuple(float(gold) for group in _groups(reports, model, place) for gold in group.golds),
            p=p,
            p_original=other,
        )
        for place, p, other in zip(measures, adjusted, of_original, strict=True)
    )
    singles = [report.verdict(model) for report in reports if report.verdicts]
    outcome, reason = _concluded(found, smallest, level, singles)
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


def _require(reports: Sequence[AuditReport], model: str, level: float, measures: Sequence[Place]) -> None:
    """Refuse audits that do not belong together, all complaints at once."""
    if len(reports) < 2 or not measures or not 0 < level < 0.5:
        raise SettingError(
            f"A method is judged with {len(reports)} audits, {len(measures)} measurements and the level {level:g}",
            expected="two audits or more, a measurement or more, a level between 0 and 0.5",
        )
    complaints = []
    if len({report.request_digest for report in reports}) > 1:
        complaints.append("the audits are about different requests")
    if repeated := sorted(_repeated(reports, model)):
        listed = " and ".join(f"{first} and {second}" for first, second in repeated)
        complaints.append(f"audits {listed} are about the same model")
    for number, report in enumerate(reports, 1):
        if model not in report.named("unlearned"):
            known = ", ".join(report.named("unlearned")) or "none"
            complaints.append(f"audit {number} has no unlearned model {model!r} (its models: {known})")
            continue
        if not report.golds:
            complaints.append(f"audit {number} has no retrained model")
        for metric, split in measures:
            names = (model, report.named("original")[0], *report.golds)
            if any(report.value_of(metric, split, name) is None for name in names):
                complaints.append(f"audit {number} lacks values of {metric} on {split}")
    if complaints:
        raise StaleError(
            "; ".join(complaints),
            expected="audits of one request and one method, each with original, model and golds",
            remedy="Audit each seed's model with `unregress audit`, and name the model as there",
        )


def _repeated(reports: Sequence[AuditReport], model: str) -> Iterator[tuple[int, int]]:
    """Pairs of audits, by number, whose models have the same measurements: one model that is given twice."""
    seen: dict[tuple[object, ...], int] = {}
    for number, report in enumerate(reports, 1):
        own = tuple((each.metric, each.split, each.value) for each in report.measures if each.model == model)
        if own and (first := seen.setdefault(own, number)) != number:
            yield first, number


def _groups(reports: Sequence[AuditReport], model: str | None, place: Place) -> list[_Group]:
    """The values of the models (None: of the originals), by the golds that they share."""
    groups: dict[tuple[float, ...], list[float]] = {}
    for report in reports:
        golds = tuple(_value(report, place, gold) for gold in report.golds)
        groups.setdefault(golds, []).append(_value(report, place, model or report.named("original")[0]))
    return [_Group(np.array(models), np.array(golds)) for golds, models in groups.items()]


def _value(report: AuditReport, place: Place, model: str) -> float:
    return report.value(*place, model) or 0.0


def _p_value(groups: Sequence[_Group], seed: int) -> tuple[float, float]:
    """The two-sided p-value, and the smallest that was possible."""
    observed = sum(float(_standardised(group)[: len(group.models)].sum()) for group in groups)
    arrangements = prod(comb(len(group.models) + len(group.golds), len(group.models)) for group in groups)
    if arrangements > MOST:
        rng = np.random.default_rng(seed)
        drawn = sum((_drawn_sums(group, rng) for group in groups), np.zeros(MOST))
        # The observed arrangement is one of them.
        farther = 1 + int((np.abs(drawn) >= _just_below(observed)).sum())
        return farther / (MOST + 1), 1 / (MOST + 1)
    sums = np.zeros(1)
    for group in groups:
        sums = (sums[:, None] + _all_sums(group)).ravel()
    sizes = np.abs(sums)
    return float((sizes >= _just_below(observed)).mean()), float((sizes >= _just_below(sizes.max())).mean())


def _standardised(group: _Group) -> Values:
    """Models and golds, less their common mean, in units of their common standard deviation."""
    everyone = np.concatenate([group.models, group.golds])
    deviation = float(everyone.std())
    return np.asarray((everyone - everyone.mean()) / (deviation or 1.0))


def _all_sums(group: _Group) -> Values:
    """The models' sum in every arrangement."""
    values = _standardised(group)
    chosen: Iterable[tuple[int, ...]] = combinations(range(len(values)), len(group.models))
    return np.array([values[list(places)].sum() for places in chosen])


def _drawn_sums(group: _Group, rng: np.random.Generator) -> Values:
    """The models' sum in arrangements drawn at random."""
    values, count = _standardised(group), len(group.models)
    return np.array([rng.permutation(values)[:count].sum() for _ in range(MOST)])


def _just_below(size: float) -> float:
    """Sums in another order differ by rounding, which must not decide."""
    return abs(size) * (1 - 1e-9)


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
