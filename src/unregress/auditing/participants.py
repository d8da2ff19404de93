"""Who takes part in an audit, under which name and role, and whether all of them can."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from unregress.auditing.argument_checks import complaints as misfits
from unregress.auditing.golds import Candidate, module_of
from unregress.auditing.golds import complaints as objections
from unregress.checks.model_check import quick_check
from unregress.data.case import Case
from unregress.errors import DataError, ModelError, SettingError, UnregressError, raise_all
from unregress.evidence import CONSTANT, RETRAINED, Role
from unregress.methods.base import Unlearned
from unregress.metrics import Metric
from unregress.training.fresh_model import misshapen
from unregress.training.runtime import Runtime


def participants(
    models: Mapping[str, Candidate], golds: Sequence[Candidate], original: str
) -> list[tuple[str, Role, Candidate]]:
    """All models with name and role: original, golds, those to judge, and the helpers that taught them."""
    roles: list[tuple[str, Role, Candidate]] = [
        (name, "original" if name == original else "unlearned", model) for name, model in models.items()
    ]
    retrained: list[tuple[str, Role, Candidate]] = [
        (name, "gold", model) for name, model in zip(gold_names(len(golds)), golds, strict=True)
    ]
    helpers: list[tuple[str, Role, Candidate]] = [
        (f"{name}'s helper", "reference", model.helper)
        for name, model in models.items()
        if isinstance(model, Unlearned) and model.helper is not None
    ]
    return [*roles, *retrained, *helpers]


def gold_names(count: int) -> list[str]:
    """What a report calls its golds, in order.

    >>> gold_names(2)
    ['retrained', 'retrained #2']
    """
    return [RETRAINED if number == 1 else f"{RETRAINED} #{number}" for number in range(1, count + 1)]


def check(
    case: Case,
    models: Mapping[str, Candidate],
    runtime: Runtime,
    *,
    golds: Sequence[Candidate] = (),
    original: str = "original",
    metrics: Sequence[Metric] = (),
    further: int = 0,
) -> None:
    """Refuse at once what `audit` would refuse: call it before golds are trained for hours.

    Args:
        case: as for `audit`, like all that is not said here.
        models: the models by name.
        runtime: where a few samples are predicted.
        golds: those that exist.
        original: name of the model before unlearning.
        metrics: what will be measured.
        further: number of golds that are still to be trained.

    Raises:
        UnregressError: as `audit` raises before it measures.
    """
    complaints: list[UnregressError] = [*misfits(models, golds, metrics)]
    sound = not complaints
    if case.splits.test is None:
        complaints.append(DataError("The case has no test data", remedy="Give the `Splits` a `test` dataset"))
    # What follows looks into models and metrics, which must be such for it.
    if sound:
        complaints += _clashes(case, models, golds, original, metrics, further)
    raise_all(complaints)
    for name, _, candidate in participants(models, golds, original):
        try:
            quick_check(case, runtime.private_copy(module_of(candidate)), runtime)
        except ModelError as error:
            raise ModelError(f"Model {name!r}: {error.found}", expected=error.expected, remedy=error.remedy) from error


def _clashes(
    case: Case,
    models: Mapping[str, Candidate],
    golds: Sequence[Candidate],
    original: str,
    metrics: Sequence[Metric],
    further: int,
) -> Iterator[UnregressError]:
    """Names, golds, measures and options that do not go together."""
    if original not in models:
        yield SettingError(
            f"There is no model called {original!r} among {', '.join(models) or 'the models (none)'}",
            expected="the original model under that name",
            remedy="Add it, or name it with `original=`",
        )
    candidates = participants(models, golds, original)
    # `retrained` even where there is no gold: nobody should be given a model to judge for the one to judge by.
    ours = [CONSTANT, *gold_names(max(1, len(golds) + further))]
    names = Counter([*ours, *(name for name, role, _ in candidates if role != "gold")])
    if clashes := [name for name, count in names.items() if count > 1]:
        yield SettingError(
            f"A model is called {clashes[0]!r}, as a row of the report's own is",
            remedy="Give the model another name; retrained ones are passed as `golds`",
        )
    retrained = {name: model for name, role, model in candidates if role == "gold"}
    yield from objections(retrained, models, case.requested)
    if original in models:
        yield from misshapen({name: module_of(gold) for name, gold in retrained.items()}, module_of(models[original]))
    keys = Counter(about.metric for metric in metrics for about in metric.about)
    if repeated := [key for key, count in keys.items() if count > 1]:
        yield SettingError(
            f"Two metrics measure {', '.join(map(repr, repeated))}",
            expected="each measure once",
            remedy="Audit twice to compare a metric's options",
        )
    examined = [*(name for name in models if name != original), *ours[1:]]
    for metric in metrics:
        yield from metric.objections(case, examined)
