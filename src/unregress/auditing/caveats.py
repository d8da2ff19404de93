"""Caveats: the limits of an audit that a reader of its report must know."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from unregress.evidence import Measurement
from unregress.evidence.model_record import ModelRecord, class_path, differences
from unregress.evidence.rule import Rule
from unregress.evidence.table_verdict import KEPT_BY_TABLE
from unregress.methods.unlearned import Candidate, Unlearned, record_of
from unregress.metrics.base import Panel
from unregress.tasks.unwrap import unwrapping


def panel_caveats(panel: Panel, measures: Sequence[Measurement], rule: Rule) -> Iterator[str]:
    """Caveats that follow from the data, the number of golds and the measurements."""
    forgotten, golds = len(panel.original.parts["train-forget"]), len(panel.golds)
    if not golds and any(each.metric == KEPT_BY_TABLE and each.value is not None for each in measures):
        yield (
            "No model was retrained without the forgotten samples: the verdict rests on predictions of models that "
            "were trained without other groups of samples too, and on samples that no model ever saw."
        )
    elif not golds:
        yield (
            "No model was retrained, so it is unknown how a model that never saw the forgotten samples would behave: "
            "no verdict is possible.  What held-out samples of their kind can tell is whether the forgotten ones still "
            "stand out among them; a model whose samples never stood out may pass that "
            "test without having forgotten anything."
        )
    elif golds < rule.golds:
        yield (
            f"A verdict needs {rule.golds} retrained models, and there {'is' if golds == 1 else 'are'} {golds}, too "
            "few for a noise floor.  Retrain with other seeds."
        )
    predictions = {gold.parts["train-forget"].prediction.tobytes() for gold in panel.golds}
    if len(predictions) < golds:
        yield (
            "Some retrained models make exactly the same predictions, as models of the same seed do, and models of a "
            "small convex problem with any seed.  If the seeds are the same, the noise floor is understated: retrain "
            "with seeds that differ."
        )
    if forgotten < rule.samples:
        counted = "1 sample is" if forgotten == 1 else f"{forgotten} samples are"
        yield (
            f"Only {counted} forgotten: shares and distributions are coarse, and verdicts rest on one test of the "
            "memory kept and on two errors: one far off on these samples, and that on what was to be kept."
        )
    if "test-forget" not in panel.parts:
        yield (
            f"No held-out samples of the forgotten kind are known ({_unnamed(panel)}): errors on them are "
            "absent, and attacks compare with all test samples, which "
            "are of the same kind only if the forgotten samples were drawn at random."
        )
    if not len(panel.validation_forget_like) and any(measure.metric == "relearn-steps" for measure in measures):
        yield (
            "Relearning was monitored on the forgotten samples themselves, since no held-out ones of their kind are "
            "known."
        )


def _unnamed(panel: Panel) -> str:
    """Why no held-out samples of the forgotten kind are known."""
    if panel.case is None:
        return "no row is in the part `test-forget`"
    return "the request is no band of targets, and names no held-out samples of the same people or conditions"


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
    yield from _different_training([found for gold in golds if (found := record_of(gold))], record_of(models[original]))


def _different_training(golds: Sequence[ModelRecord], original: ModelRecord | None) -> Iterator[str]:
    """Caveats about differences between the golds' training, and between theirs and the original's."""
    if not golds:
        return
    first = golds[0]
    if methods := sorted({_path(gold) for gold in golds[1:]} - {_path(first)}):
        yield f"The retrained models were made by different methods: {', '.join([_path(first), *methods])}."
    differing = sorted({name for gold in golds[1:] for name, _, _ in differences(first.settings, gold.settings)})
    if differing:
        yield (
            f"The retrained models were not all trained alike: their settings differ in {', '.join(differing)}, so "
            "that they differ by more than their seeds."
        )
    trained = None if original is None else original.recipe
    recipes = [gold.recipe for gold in golds if gold.recipe is not None]
    found = next((found for recipe in recipes if trained and (found := list(differences(trained, recipe)))), [])
    if found:
        fields = ", ".join(f"{name} ({ours!r} and {theirs!r})" for name, ours, theirs in found)
        yield (
            "By their records the original and the retrained models were not trained with the same recipe, so "
            f"that the audit may measure the difference of recipes.  They differ in {fields}."
        )


def _path(record: ModelRecord) -> str:
    return class_path(record.module, record.method)


def unexamined_caveat(names: Collection[str]) -> list[str]:
    """A caveat that names the models about which a deep audit says nothing; empty if there are none."""
    if not names:
        return []
    return [f"The deep audit says nothing about {', '.join(names)}: the method is neither named nor recorded."]


def as_sentences(*remarks: str) -> tuple[str, ...]:
    """Remarks with a full stop, each once.

    >>> as_sentences("2 of 7 ids are gone", "2 of 7 ids are gone.")
    ('2 of 7 ids are gone.',)
    """
    return tuple(dict.fromkeys(f"{each.removesuffix('.')}." for each in remarks))
