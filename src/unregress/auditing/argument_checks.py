"""Whether what an audit is given is of the kinds that it takes: models by name, golds and metrics in lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeGuard

from torch import Tensor, nn

from unregress.errors import SettingError
from unregress.evidence import MetricInfo
from unregress.methods.base import Unlearned
from unregress.metrics import Metric


def complaints(models: object, golds: object, metrics: object) -> Iterator[SettingError]:
    """What is of another kind.  Types would say it, but nobody has to run a type checker.

    Args:
        models: should be the models by name.
        golds: should be a list of models.
        metrics: should be a list of metrics, each of which explains its measures.
    """
    if not isinstance(models, Mapping) or _is_state(models):
        yield SettingError(
            f"`models` is {_described(models)}",
            expected="models by name",
            remedy="Write `{'original': model, ...}`",
        )
    else:
        for name, candidate in models.items():
            yield from _of_model(f"Model {name!r}", candidate)
    if not _is_list(golds):
        yield SettingError(
            f"`golds` is {_described(golds)}", expected="a list of retrained models", remedy="Write `golds=[...]`"
        )
    else:
        for number, gold in enumerate(golds, 1):
            yield from _of_model(f"Gold {number}", gold)
    if not _is_list(metrics):
        yield SettingError(
            f"`metrics` is {_described(metrics)}",
            expected="a list of metrics",
            remedy="Write `metrics=[Errors(), ...]`",
        )
    else:
        for number, metric in enumerate(metrics, 1):
            yield from _of_metric(number, metric)


def _of_model(title: str, candidate: object) -> Iterator[SettingError]:
    if isinstance(candidate, (nn.Module, Unlearned)):
        return
    loads = "Load it into a model: `model = make_model(); model.load_state_dict(...)`"
    yield SettingError(
        f"{title} is {_described(candidate)}",
        expected="an `nn.Module`, or what a method handed back (`Unlearned`)",
        remedy=loads if _is_state(candidate) else "Pass the model itself",
    )


def _of_metric(number: int, metric: object) -> Iterator[SettingError]:
    if not isinstance(metric, Metric):
        yield SettingError(
            f"Metric {number} is {_described(metric)}",
            expected="an object of a metric's class, such as `unregress.Errors()`",
            remedy=f"Call it: `{metric.__name__}()`" if isinstance(metric, type) else "",
        )
        return
    # Declared in the base class, but nothing makes a class of the user's own set it.
    about: object = getattr(metric, "about", None)
    if not isinstance(about, (tuple, list)) or not all(isinstance(each, MetricInfo) for each in about):
        yield SettingError(
            f"`{type(metric).__name__}.about` is {_described(about)}"
            if about is not None
            else f"The metric {type(metric).__name__} has no `about`",
            expected="a tuple with an `MetricInfo` for each of the metric's measures, which says what it means",
            remedy="Add to the class `about = (MetricInfo(metric=..., title=..., ...),)`, from `unregress.evidence`",
        )


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_state(value: object) -> bool:
    """Whether this is a state dict: weights without the model that they belong to."""
    return isinstance(value, Mapping) and bool(value) and all(isinstance(each, Tensor) for each in value.values())


def _described(value: object) -> str:
    if _is_state(value):
        return "a state dict, weights without a model"
    if isinstance(value, str):
        return f"the text {value!r}"
    return f"the class {value.__name__}" if isinstance(value, type) else f"of type {type(value).__name__}"
