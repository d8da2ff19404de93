"""Caveats: the limits of an audit that a reader of its report must know."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from unregress.auditing.assemble import Candidate
from unregress.evidence import Measurement
from unregress.evidence.verdict import Rule
from unregress.methods.base import Unlearned
from unregress.metrics.base import Panel
from unregress.tasks.unwrap import unwrapping


def panel_caveats(panel: Panel, measures: Sequence[Measurement], rule: Rule) -> Iterator[str]:
    """Caveats that follow from the data, the number of golds and the measurements."""
    forgotten, golds = len(panel.case.requested.forget), len(panel.golds)
    if not golds:
        yield (
            "No model was retrained, so nothing says what a model that never saw the forgotten samples would do: no "
            "verdict is possible.  What held-out samples of their kind can tell is whether the forgotten ones still "
            "stand out among them; a model may pass that and have forgotten nothing, if it never stood out."
        )
    elif golds < rule.golds:
        yield (
            f"A verdict needs {rule.golds} retrained models, and there {'is' if golds == 1 else 'are'} {golds}: hardly "
            "a noise floor.  Retrain with other seeds."
        )
    answers = {gold.parts["train-forget"].prediction.tobytes() for gold in panel.golds}
    if len(answers) < golds:
        yield (
            "Some retrained models answer alike to the last digit, as models of one seed do, and those of a small "
            "convex problem whatever their seeds.  If the seeds are the same, the noise floor is understated: retrain "
            "with seeds that differ."
        )
    if forgotten < rule.samples:
        yield f"Only {forgotten} samples are forgotten: shares and distributions are coarse."
    if "test-forget" not in panel.parts:
        yield (
            "No held-out samples of the forgotten kind are known (the request is not a band of targets and the case "
            "names no `test_forget_like`): errors on them are absent, and attacks compare with all test samples, which "
            "are of the same kind only if the forgotten samples were drawn at random."
        )
    if not len(panel.validation_forget_like) and any(measure.metric == "relearn-steps" for measure in measures):
        yield "Relearning was watched on the forgotten samples themselves, for want of held-out ones of their kind."


def gold_caveats(golds: Sequence[Candidate], models: Mapping[str, Candidate], original: str) -> Iterator[str]:
    """Caveats that follow from the models' wrappers and from the records of how models and golds were trained.

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


def unexamined_caveat(names: Collection[str]) -> list[str]:
    """The models about which a deep audit says nothing, if there are any."""
    if not names:
        return []
    return [
        f"The deep audit says nothing about {', '.join(names)}: which method made it is neither named nor recorded."
    ]
