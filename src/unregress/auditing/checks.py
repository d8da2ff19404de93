"""Check the arguments of an audit before anything is measured or trained: types, names and golds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TypeGuard

from torch import Tensor, nn

from unregress.auditing.assemble import gold_names, participants
from unregress.auditing.judging_table import table_errors
from unregress.checks.model_check import quick_check
from unregress.data.case import Case
from unregress.data.request import ForgetRequest
from unregress.errors import DataError, ModelError, SettingError, UnregressError, raise_all
from unregress.evidence import CONSTANT, OTHER_START, MetricInfo
from unregress.evidence.model_record import class_path
from unregress.methods.unlearned import Candidate, Unlearned, module_of, record_of
from unregress.metrics import Metric
from unregress.tasks.weights import weights_of
from unregress.training.fresh_model import architecture_mismatches
from unregress.training.runtime import Runtime


def check(
    case: Case,
    models: Mapping[str, Candidate],
    runtime: Runtime,
    *,
    golds: Sequence[Candidate] = (),
    original: str = "original",
    metrics: Sequence[Metric] = (),
    deep: Sequence[Metric] = (),
    further: int = 0,
    references: Mapping[str, Candidate] = MappingProxyType({}),
) -> None:
    """Refuse everything that `audit` would refuse, before golds are trained for hours.

    Args:
        case: the request and the data.
        models: the original and the models to judge, by name.
        runtime: where a few samples are predicted.
        golds: the golds that exist.
        original: name of the model before unlearning.
        metrics: the metrics that will be measured.
        deep: metrics that the audit adds by itself.
        further: number of golds that are still to be trained.
        references: retrained models that are shown for scale and are no golds, by name.

    Raises:
        UnregressError: as `audit` raises before it measures.
    """
    errors: list[UnregressError] = [*check_arguments(models, golds, metrics)]
    well_typed = not errors
    if case.splits.test is None:
        errors.append(DataError("The case has no test data", remedy="Give the `Splits` a `test` dataset"))
    # The next checks call methods of models and metrics.
    if well_typed:
        errors += _check_names(case, models, golds, original, [*metrics, *deep], further)
    raise_all(errors)
    for name, _, candidate in participants(models, golds, original, references):
        try:
            quick_check(case, runtime.private_copy(module_of(candidate)), runtime)
        except ModelError as error:
            raise ModelError(f"Model {name!r}: {error.found}", expected=error.expected, remedy=error.remedy) from error


def _check_names(
    case: Case,
    models: Mapping[str, Candidate],
    golds: Sequence[Candidate],
    original: str,
    metrics: Sequence[Metric],
    further: int,
) -> Iterator[UnregressError]:
    """Errors about clashing names, invalid golds, repeated metrics and options of metrics."""
    if original not in models:
        yield SettingError(
            f"There is no model called {original!r} among {', '.join(models) or 'the models (none)'}",
            expected="the original model under that name",
            remedy="Add it, or name it with `original=`",
        )
    candidates = participants(models, golds, original)
    # Reserved even without golds, so that an audited model cannot be mistaken for the reference.
    expected = gold_names(max(1, len(golds) + further))
    reserved = [CONSTANT, OTHER_START, *expected]
    names = Counter([*reserved, *(name for name, role, _ in candidates if role != "gold")])
    if clashes := [name for name, count in names.items() if count > 1]:
        yield SettingError(
            f"A model is called {clashes[0]!r}, a name that the report itself uses",
            remedy="Give the model another name; retrained ones are passed as `golds`",
        )
    retrained = {name: model for name, role, model in candidates if role == "gold"}
    yield from check_golds(retrained, models, case.requested)
    if original in models:
        yield from architecture_mismatches(
            {name: module_of(gold) for name, gold in retrained.items()}, module_of(models[original])
        )
    keys = Counter(about.metric for metric in metrics for about in metric.about)
    if repeated := [key for key, count in keys.items() if count > 1]:
        yield SettingError(
            f"Two metrics measure {', '.join(map(repr, repeated))}",
            expected="each measure once",
            remedy="Audit twice to compare a metric's options",
        )
    examined = [*(name for name in models if name != original), *expected]
    for metric in metrics:
        yield from metric.objections(case, examined)
    if original in models:
        judged = [model for name, model in models.items() if name != original]
        yield from table_errors(metrics, case, models[original], judged, len(golds) + further)


def check_arguments(models: object, golds: object, metrics: object) -> Iterator[SettingError]:
    """Errors about arguments of `audit` that are not of the declared types.

    Args:
        models: expected to be models by name.
        golds: expected to be a list of models.
        metrics: expected to be a list of metrics, each with an `about`.
    """
    if not isinstance(models, Mapping) or _is_state_dict(models):
        yield SettingError(
            f"`models` is {_described(models)}",
            expected="models by name",
            remedy="Write `{'original': model, ...}`",
        )
    else:
        for name, candidate in models.items():
            yield from _check_model(f"Model {name!r}", candidate)
    if not _is_list(golds):
        yield SettingError(
            f"`golds` is {_described(golds)}", expected="a list of retrained models", remedy="Write `golds=[...]`"
        )
    else:
        for number, gold in enumerate(golds, 1):
            yield from _check_model(f"Gold {number}", gold)
    yield from check_metrics(metrics)


def check_metrics(metrics: object) -> Iterator[SettingError]:
    """Errors about metrics that are not a list of `Metric` objects with explanations.

    Args:
        metrics: expected to be a list of metrics, each with an `about`.
    """
    if not _is_list(metrics):
        yield SettingError(
            f"`metrics` is {_described(metrics)}",
            expected="a list of metrics",
            remedy="Write `metrics=[Errors(), ...]`",
        )
    else:
        for number, metric in enumerate(metrics, 1):
            yield from _check_metric(number, metric)


def _check_model(title: str, candidate: object) -> Iterator[SettingError]:
    if isinstance(candidate, (nn.Module, Unlearned)):
        return
    loads = "Load it into a model: `model = make_model(); model.load_state_dict(...)`"
    yield SettingError(
        f"{title} is {_described(candidate)}",
        expected="an `nn.Module`, or what a method returned (`Unlearned`)",
        remedy=loads if _is_state_dict(candidate) else "Pass the model itself",
    )


def _check_metric(number: int, metric: object) -> Iterator[SettingError]:
    if not isinstance(metric, Metric):
        yield SettingError(
            f"Metric {number} is {_described(metric)}",
            expected="an object of a metric's class, such as `unregress.Errors()`",
            remedy=f"Call it: `{metric.__name__}()`" if isinstance(metric, type) else "",
        )
        return
    # Declared in the base class, but a user's class may not set it.
    about: object = getattr(metric, "about", None)
    if not isinstance(about, (tuple, list)) or not all(isinstance(each, MetricInfo) for each in about):
        yield SettingError(
            f"`{type(metric).__name__}.about` is {_described(about)}"
            if about is not None
            else f"The metric {type(metric).__name__} has no `about`",
            expected="a tuple with a `MetricInfo` for each of the metric's measures, which says what it means",
            remedy="Add to the class `about = (MetricInfo(metric=..., title=..., ...),)`, from `unregress.evidence`",
        )


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_state_dict(value: object) -> bool:
    """Whether a value is a state dict: weights without a model."""
    return isinstance(value, Mapping) and bool(value) and all(isinstance(each, Tensor) for each in value.values())


def _described(value: object) -> str:
    if _is_state_dict(value):
        return "a state dict, weights without a model"
    if isinstance(value, str):
        return f"the text {value!r}"
    return f"the class {value.__name__}" if isinstance(value, type) else f"of type {type(value).__name__}"


def check_golds(
    golds: Mapping[str, Candidate], models: Mapping[str, Candidate], request: ForgetRequest
) -> Iterator[SettingError]:
    """Errors about models that cannot be golds: an invalid reference would make the audit too lenient.

    Args:
        golds: the golds by name.
        models: the original and the models to judge, by name.
        request: the request that is audited.
    """
    for name, gold in golds.items():
        if (record := record_of(gold)) is not None and record.kind != "retrained":
            yield SettingError(
                f"Gold {name!r} was made by {class_path(record.module, record.method)}",
                expected="models retrained from scratch without the forgotten samples",
                remedy="Make it with the method `Retrain` or a subclass of it",
            )
        if left := _forget_samples_seen(gold, request):
            yield SettingError(
                f"Gold {name!r} was trained on {left} samples that the requests of this audit forget",
                expected="models retrained without the samples of every request that the judged models have forgotten",
                remedy="Retrain them for this request: `--retrain {}`, or `--request.from_run` of the last run folder",
            )
    seen: dict[str, str] = {}
    for name, candidate in (*models.items(), *golds.items()):
        model = module_of(candidate)
        if not model.state_dict():
            continue
        weights = weights_of(model)
        known = [weights] if name in models else [weights, _identity(candidate, weights)]
        other = next((seen[key] for key in known if key in seen), name)
        seen.setdefault(known[-1], name)
        if name in golds and other != name:
            yield SettingError(
                f"Models {other!r} and {name!r} have the same weights",
                expected="golds of seeds that differ, none of them among the models to judge",
                remedy="Give each model once, and retrain with other seeds",
            )


def _forget_samples_seen(gold: Candidate, request: ForgetRequest) -> int:
    """Number of samples of this or an earlier request that a gold was trained on, as far as its record says."""
    if not isinstance(gold, Unlearned) or gold.request is None:
        return 0
    return len(request.left_out - gold.request.left_out)


def _identity(gold: Candidate, weights: str) -> str:
    """A key that two golds share only if they are the same training run.

    Equal weights are no proof of that: small convex models have the same ones whatever their seed, see `gold_caveats`.
    """
    if isinstance(gold, Unlearned) and gold.history and gold.cost.seconds:
        return f"{weights} in {gold.cost.seconds} s"
    return f"in memory at {[value.data_ptr() for value in module_of(gold).state_dict().values()]}"
