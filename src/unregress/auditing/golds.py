"""Whether the models that an audit is given as golds can be the yardstick: each retrained, none given twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import nn

from unregress.data.request import ForgetRequest
from unregress.errors import SettingError
from unregress.methods.base import Unlearned
from unregress.retraining.model_store import weights_of
from unregress.tasks.unwrap import unwrapped, unwrapping

Candidate = nn.Module | Unlearned


def module_of(candidate: Candidate) -> nn.Module:
    """The model itself, in no wrapper of PyTorch's, whether or not a method's record comes with it."""
    return unwrapped(candidate.model if isinstance(candidate, Unlearned) else candidate)


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
        if isinstance(gold, Unlearned) and gold.method and not gold.method.startswith("Retrain("):
            yield SettingError(
                f"Gold {name!r} was made by {gold.method.split('(')[0]}",
                expected="models retrained from scratch without the forgotten samples",
                remedy="Make it with the method `Retrain`",
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
    recipes = {_recipe(gold.method) for gold in golds if isinstance(gold, Unlearned) and gold.method}
    if len(recipes) > 1:
        yield "The retrained models were not all trained with one recipe: more than their seeds tells them apart."
    trained = _recipe(start.method) if isinstance(start := models[original], Unlearned) else ""
    if trained and recipes and recipes != {trained}:
        yield (
            "By their records the original and the retrained models were not trained with the same recipe: what the "
            "audit measures may be the recipe."
        )


def _recipe(method: str) -> str:
    """The recipe within `train(Recipe(...))` or `Retrain(recipe=Recipe(...))`; empty for any other method."""
    if not method.startswith(("train(", "Retrain(")):
        # An original that has forgotten an earlier request: its last recipe is not the one that it was trained by.
        return ""
    _, found, rest = method.partition("Recipe(")
    return rest.rstrip(")") if found else ""
