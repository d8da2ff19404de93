"""The verdict on a method, over several audits: unlearned models of several seeds against all of their golds.

One audit judges one model by limits that its few golds allow.  Models of several seeds that all lie a little to the
same side of the golds pass one by one and are told together.  Audits that share their golds are one comparison: passes
that rest on the same golds are not independent evidence.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from unregress.errors import SettingError, StaleError, raise_all
from unregress.evidence.audit_report import AuditReport
from unregress.evidence.criterion_specs import KEPT
from unregress.evidence.findings import Outcome, Verdict
from unregress.evidence.permutation import Group, exchanged, holm
from unregress.evidence.rule import Rule
from unregress.evidence.shared_golds import Place, grouped, overlapping, repeated, values_in_groups, values_of_models
from unregress.evidence.verdict_text import shown

DEFAULT: tuple[Place, ...] = (("mae", "train-forget"),)
"""What is compared unless something else is named: the error on the forgotten samples."""
FALSE_ALARM = 0.1
"""About so often, at most, a gold is found against by itself (docs/calibration.md)."""
SHARES = tuple(n / 20 for n in range(1, 21))
"""Shares of the originals' difference from the golds, of which the smallest that would be told is found."""


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
    margin: float
    """Difference from the golds' mean that is tolerated whatever its p-value: `Rule.tolerance` of the originals', or of
    the golds' mean where it is about what was to be kept."""
    sees: float | None
    """Smallest share of the originals' difference, in steps of a twentieth, by which models that differ from the golds'
    mean as the originals do would be told; None if not even by all of it.  Models that keep so much on average scatter
    about it as golds do, and are told about every second time."""

    @property
    def difference(self) -> float:
        """The models' mean less the golds'."""
        return float(np.mean(self.models) - np.mean(self.golds))

    def told(self, level: float) -> bool:
        """Whether the models are told from golds.

        Args:
            level: probability of it where they do not differ.
        """
        return self.p <= level and abs(self.difference) > self.margin


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


def method_verdict(
    reports: Sequence[AuditReport],
    model: str | None = None,
    *,
    level: float = 0.05,
    measures: Sequence[Place] = DEFAULT,
    tolerance: float = Rule.tolerance,
    seed: int = 0,
) -> MethodVerdict:
    """Judge a method by audits of its models of several seeds, each from an original of its own.

    An exact permutation test.  If unlearning equals retraining, then each model is one more of the golds that it was
    audited by, and which of them are called models is arbitrary: their labels are exchanged within the audits that
    share golds, and the p-value is the share of arrangements whose models lie as far from the golds, over all groups.
    S models and R golds of one set can give 1 / C(S + R, S) at best, .018 for 3 and 5, and twice that for as many
    models as golds: .008 for 5 and 5.
    A gold is the same in two audits if it has the same errors in both.  Where an audit's own draws enter a measurement,
    as in an attack, a gold that several audits share is read from one of them, in turn: like a model, from one draw.

    * **FAIL**: the models are told apart from golds, by any of the measurements and by more than the tolerance; or
      most of them are found against by themselves (FAIL or OUTPUTS ONLY), or, where each audit has golds of its own,
      more than false alarms explain.
    * **PASS**: neither, most models pass by themselves, and the originals are told apart by the same test.  Said is
      how small a share of the originals' difference would have been told about every second time.
    * **INCONCLUSIVE**: anything else, such as too few models and golds for any arrangement to tell.

    Args:
        reports: audits of the same request and the same method, one for each seed, each with at least one gold.
        model: the unlearned model's name in the audits; None if each has one, the same.
        level: probability with which a method that equals retraining fails by the permutation test.
        measures: what is compared, named before looking; several are corrected for.
        tolerance: as for a single verdict, see `Rule`.
        seed: of the arrangements that are drawn where there are too many.

    Raises:
        SettingError: fewer than two audits, nothing to compare, or no such level; a PreflightError lists several.
        StaleError: audits of different requests or models, of one original or model twice, ones that share some of
            their golds only, or ones without the model, golds or measurements; all at once.
    """
    model = _require(reports, model, level, measures)
    rng = np.random.default_rng(seed)
    shared = list(grouped(reports))
    names = [model] * len(reports), [report.named("original")[0] for report in reports]
    groups, of_originals = ([values_in_groups(reports, shared, each, place) for place in measures] for each in names)
    tests, original_tests = ([exchanged(each, rng) for each in sides] for sides in (groups, of_originals))
    smallest = min(1.0, len(measures) * min(test.smallest for test in tests))
    corrected, corrected_originals = (holm([test.p for test in each]) for each in (tests, original_tests))
    found = tuple(
        Comparison(
            metric=place[0],
            split=place[1],
            models=values_of_models(groups[n], shared),
            golds=tuple(value for group in groups[n] for value in group.golds),
            p=corrected[n],
            p_original=corrected_originals[n],
            margin=_margin(place, of_originals[n], tolerance),
            sees=_smallest_told(
                of_originals[n], _margin(place, of_originals[n], tolerance), level / len(measures), rng
            ),
        )
        for n, place in enumerate(measures)
    )
    singles = [report.verdict(model) for report in reports if report.verdicts]
    outcome, reason = _concluded(found, smallest, level, singles, independent=len(shared) == len(reports))
    return MethodVerdict(model=model, outcome=outcome, reason=reason, comparisons=found, smallest=smallest)


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
    for role, of_each in {
        "model": [chosen] * len(reports),
        "original": [report.named("original")[0] for report in reports],
    }.items():
        if twice := list(repeated(reports, of_each)):
            listed = ", ".join(f"{first} and {second}" for first, second in twice)
            complaints.append(f"audits {listed} are about the same {role}")
    if overlap := overlapping(reports):
        complaints.append(f"audits {overlap[0]} and {overlap[1]} share some of their retrained models and not all")
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
            expected="audits of one request and one method, each with an original and a model of its own, and golds "
            "that are either the same or all others",
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


def _margin(place: Place, originals: Sequence[Group], tolerance: float) -> float:
    """The tolerated difference of the means, as for a single verdict's limits."""
    if place == (KEPT.metric, KEPT.split):
        return tolerance * abs(float(np.mean([value for group in originals for value in group.golds])))
    return tolerance * _gap(originals)


def _gap(originals: Sequence[Group]) -> float:
    """How far the originals' mean is from the golds'."""
    models = [value for group in originals for value in group.models]
    golds = [value for group in originals for value in group.golds]
    return abs(float(np.mean(models) - np.mean(golds)))


def _smallest_told(originals: Sequence[Group], margin: float, level: float, rng: np.random.Generator) -> float | None:
    """The smallest of `SHARES` of the originals' difference from the golds' mean that fails a method."""

    def told(share: float) -> bool:
        kept = [
            Group(tuple((1 - share) * float(np.mean(golds)) + share * value for value in models), golds)
            for models, golds in originals
        ]
        return share * _gap(originals) > margin and exchanged(kept, rng).p <= level

    place = bisect_left(SHARES, True, key=told)
    return SHARES[place] if place < len(SHARES) else None


def _concluded(
    found: Sequence[Comparison], smallest: float, level: float, singles: Sequence[Verdict], *, independent: bool
) -> tuple[Outcome, str]:
    """Outcome and reason; `singles` are the audits' own verdicts, `independent` if no two audits share golds."""
    first = min(found, key=lambda each: (not each.told(level), each.p))
    together = f"together p = {first.p:.2g}"
    count = f"{len(first.models)} models and {len(first.golds)} retrained ones"
    # Golds that judge no single model judge none together either.
    without_golds = [each for each in singles if each.outcome == "INCONCLUSIVE" and not each.criteria]
    if 2 * len(without_golds) > len(singles):
        return "INCONCLUSIVE", f"{_by_themselves(without_golds, len(singles))} ({together})."
    if smallest > level:
        return "INCONCLUSIVE", (
            f"With {count} no difference could be told: p is at least {smallest:.2g}. Audit models of more seeds, or "
            "train more golds."
        )
    if first.told(level):
        return "FAIL", (
            f"Together its models are told from retrained ones: {first.metric} on {first.split} is "
            f"{shown(float(np.mean(first.models)))} on average, {'below' if first.difference < 0 else 'above'} the "
            f"retrained models' {shown(float(np.mean(first.golds)))} (p = {first.p:.2g}, {count})."
        )
    rejected = [each for each in singles if each.rejected]
    # Where golds are shared, one odd set of them finds against many models at once.
    many = 2 * len(rejected) > len(singles)
    if many or (independent and _chance_of(len(rejected), len(singles)) <= level):
        return "FAIL", f"{_by_themselves(rejected, len(singles))} ({together})."
    passed = [each for each in singles if each.outcome == "PASS"]
    if singles and 2 * len(passed) <= len(singles):
        others = [each for each in singles if each.outcome == "INCONCLUSIVE"] or rejected
        return "INCONCLUSIVE", (
            f"{len(passed)} of {len(singles)} models pass by themselves, and most must; {_by_themselves(others)} "
            f"({together})."
        )
    original = min(each.p_original for each in found)
    if original > level:
        return "INCONCLUSIVE", f"Not even the originals are told from retrained models (p = {original:.2g}, {count})."
    finest = min((each for each in found if each.sees is not None), key=lambda each: each.sees or 0.0, default=None)
    power = "" if finest is None else (
        f"; of methods that keep {finest.sees:.0%} of what sets those apart about every second one would have been "
        f"told, by {finest.metric}"
    )  # fmt: skip
    return "PASS", (
        f"Together its models are not told from retrained ones (p = {first.p:.2g}, {count}); the originals are "
        f"(p = {original:.2g}){power}."
    )


def _chance_of(rejected: int, count: int) -> float:
    """The probability that of so many golds as many or more are found against by themselves."""
    from scipy.stats import binom

    return float(binom.sf(rejected - 1, count, FALSE_ALARM))


def _by_themselves(verdicts: Sequence[Verdict], of: int | None = None) -> str:
    """The outcome of the first of several models, with its reason, and how many they are, of how many."""
    first = verdicts[0]
    count = f"{len(verdicts)} models are" if of is None else f"{len(verdicts)} of {of} models are"
    return f"{count} {first.outcome} by themselves: {first.reason.rstrip('.')}"
