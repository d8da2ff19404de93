"""Caveats about the files and run folders of the audited models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from unregress.data.case import Case
from unregress.methods import Unlearned
from unregress.methods.unlearned import Candidate, module_of, record_of
from unregress.runs.provenance import unverified
from unregress.runs.record_matching import TrainingRecords
from unregress.runs.staleness import changed_data
from unregress.tasks.weights import weights_of


def about_models(paths: Mapping[str, Path], read: Mapping[str, Candidate], original: str, case: Case) -> list[str]:
    """Caveats that follow from the models' files, data, requests and ancestors.

    Args:
        paths: weights files and run folders by name, golds among them.
        read: the models read from them, by name.
        original: name of the model before unlearning.
        case: the request and the data.
    """
    judged = {name: model for name, model in read.items() if name != original}
    return [
        *changed_data(paths, TrainingRecords(case.splits)),
        *_unverified(paths),
        *_of_earlier_requests(judged, case),
        *_without_record(judged),
        *_of_another_original(judged, read[original]),
    ]


def _unverified(paths: Mapping[str, Path]) -> list[str]:
    if not (names := [name for name, path in paths.items() if unverified(path)]):
        return []
    return [f"These have no manifest, so it is unknown whether they were changed: {', '.join(names)}."]


def _of_earlier_requests(models: Mapping[str, Candidate], case: Case) -> list[str]:
    """Caveats about models that forgot fewer requests than the golds left out."""
    notes = []
    for name, model in models.items():
        if isinstance(model, Unlearned) and model.request is not None:
            kept = case.requested.left_out - model.request.left_out
            if kept:
                notes.append(
                    f"{name} was not made to forget {len(kept)} of the samples that the golds never saw, so that it "
                    "differs from them by more than this request."
                )
    return notes


def _without_record(models: Mapping[str, Candidate]) -> list[str]:
    names = [name for name, model in models.items() if not isinstance(model, Unlearned)]
    if not names:
        return []
    return [f"Given as bare weights files, so it is unknown for which request they were made: {', '.join(names)}."]


def _of_another_original(models: Mapping[str, Candidate], original: Candidate) -> list[str]:
    """A caveat about models that were made from another original than the given one."""
    own = weights_of(module_of(original))
    noted = {name: record.parents for name, model in models.items() if (record := record_of(model)) is not None}
    names = [name for name, parents in noted.items() if parents and own not in parents]
    if not names:
        return []
    return [
        f"Made from other weights than those of the original in this audit, by their records: {', '.join(names)}.  "
        "Their differences from it need not come from the method."
    ]
