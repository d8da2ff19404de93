"""What else may remember the forgotten samples, as far as an audit knows: original, helpers, entries of the store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from unregress.auditing.training import DeepTests, Retraining
from unregress.data.column_scaler import ColumnScaler
from unregress.evidence import ModelFile, Trace
from unregress.methods.unlearned import Candidate, Unlearned, record_of


def traces_in_models(models: Mapping[str, Candidate], original: str, files: Mapping[str, ModelFile]) -> Iterator[Trace]:
    """Name the original and the methods' helper models.

    Unlearned models are not named here: what they remember is their verdict.

    Args:
        models: the original and the judged models, by name.
        original: the original's name.
        files: the models' weights files, by the models' names.
    """
    file = files.get(original)
    yield Trace(
        what="original model",
        name=original if file is None else file.name,
        sha256="" if file is None else file.sha256,
        why="It was trained on the forgotten records.",
    )
    for name, model in models.items():
        if isinstance(model, Unlearned) and model.helper is not None:
            record = record_of(model)
            unknown = record is None or bool(record.module)
            why = (
                "It is not known which records it was trained on."
                if unknown
                else "It was trained on kept records only."
            )
            yield Trace(what="helper model", name=f"{name}'s helper", why=why, remembers=unknown)


def traces_in_data(fitted: Mapping[str, Any]) -> Iterator[Trace]:
    """Name what else was fitted on the training data, such as scalers.

    Args:
        fitted: see `Splits.fitted`.
    """
    for name, value in fitted.items():
        seen = getattr(value, "n_samples_seen_", None)
        count = f"{int(np.max(seen)):,} records" if seen is not None else "the training records"
        why = f"It was fitted on {count}, the forgotten ones among them"
        if isinstance(value, ColumnScaler):
            why += ", and every model made from the original keeps it"
        yield Trace(what=type(value).__name__, name=name, why=f"{why}.")


def traces_in_store(retraining: Retraining, deep: DeepTests | None) -> Iterator[Trace]:
    """Name the entries that an audit's trainings leave in the store of trained models.

    Args:
        retraining: how golds are trained, and where they are kept.
        deep: the deep tests, which train further models.
    """
    if retraining.store is None:
        return
    store = retraining.store.name
    if deep is not None:
        yield Trace(
            what="models of the deep tests",
            name=store,
            why="Originals among them were trained on the forgotten records.",
        )
    if retraining.golds:
        yield Trace(
            what="retrained models",
            name=store,
            why="They were trained on kept records only.",
            remembers=False,
        )
