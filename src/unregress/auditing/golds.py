"""Whether the models that an audit is given as golds can be the yardstick: each retrained, none given twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import nn

from unregress.data.request import ForgetRequest
from unregress.errors import SettingError
from unregress.evidence.model_record import ModelRecord, class_path, differences
from unregress.methods.base import Unlearned
from unregress.tasks.unwrap import unwrapped, unwrapping
from unregress.tasks.weights import weights_of

Candidate = nn.Module | Unlearned


def module_of(candidate: Candidate) -> nn.Module:
    """The model itself, in no wrapper of PyTorch's, whether or not a method's record comes with it."""
    return unwrapped(candidate.model if isinstance(candidate, Unlearned) else candidate)


def record_of(candidate: Candidate) -> ModelRecord | None:
    """How a model was made, as far as that is known."""
    return candidate.record if isinstance(candidate, Unlearned) else None


def _read_again(gold: Candidate, request: ForgetRequest) -> int:
    """How many of the samples that are forgotten here or earlier a gold was trained on, as far as that is known."""
    if not isinstance(gold, Unlearned) or gold.request is None:
        return 0
    return len(request.left_out - gold.request.left_out)


def complaints(
    golds: Mapping[str, Candidate], models: Mapping[str, Candidate], request: ForgetRequest
) -> Iterator[SettingError]:
    """What speaks against some models as golds: a poisoned yardstick can only help a model pass.

    Args:
        golds: the golds by name.
        models: the original and the models to judge, by name.
        request: what the audit is about.
    """
    for name, gold in golds.items():
        if (record := record_of(gold)) is not None and record.kind != "retrained":
            yield SettingError(
                f"Gold {name!r} was made by {_path(record)}",
                expected="models retrained from scratch without the forgotten samples",
                remedy="Make it with the method `Retrain` or a subclass of it",
            )
        if left := _read_again(gold, request):
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


def _identity(gold: Candidate, weights: str) -> str:
    """What two golds have in common only if they are one and the same training.

    Equal weights are no sign of it: small convex models end in the same ones whatever their seed, as a caveat says.
    """
    if isinstance(gold, Unlearned) and gold.history and gold.cost.seconds:
        return f"{weights} in {gold.cost.seconds} s"
    return f"in memory at {[value.data_ptr() for value in module_of(gold).state_dict().values()]}"


def caveats(golds: Sequence[Candidate], models: Mapping[str, Candidate], original: str) -> Iterator[str]:
    """What golds and models, or the records of their making, say that a reader must know.

    Args:
        golds: the golds.
        models: the original and the models to judge, by name.
        original: the original's name.
    """
    named = {**models, **{f"gold {number}": gold for number, gold in enumerate(golds, 1)}}
    for name, candidate in named.items():
        for note in unwrapping(candidate.model if isinstance(candidate, Unlearned) else candidate):
            yield f"Model {name!r} was {note}."
    yield from _different_training([found for gold in golds if (found := record_of(gold))], record_of(models[original]))


def _different_training(golds: Sequence[ModelRecord], original: ModelRecord | None) -> Iterator[str]:
    """In what the golds' training differs from each other's, and from that of the original."""
    if not golds:
        return
    first = golds[0]
    if methods := sorted({_path(gold) for gold in golds[1:]} - {_path(first)}):
        yield f"The retrained models were made by different methods: {', '.join([_path(first), *methods])}."
    differing = sorted({name for gold in golds[1:] for name, _, _ in differences(first.settings, gold.settings)})
    if differing:
        yield (
            f"The retrained models were not all trained alike: their settings differ in {', '.join(differing)}, so "
            "that more than their seeds tells them apart."
        )
    trained = None if original is None else original.recipe
    recipes = [gold.recipe for gold in golds if gold.recipe is not None]
    found = next((found for recipe in recipes if trained and (found := list(differences(trained, recipe)))), [])
    if found:
        fields = ", ".join(f"{name} ({ours!r} and {theirs!r})" for name, ours, theirs in found)
        yield (
            "By their records the original and the retrained models were not trained with the same recipe: what the "
            f"audit measures may be the recipe.  They differ in {fields}."
        )


def _path(record: ModelRecord) -> str:
    return class_path(record.module, record.method)
