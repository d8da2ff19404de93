"""Leave-out predictions: for each training sample, the prediction of a model that was trained without it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from unregress.data.case import Case
from unregress.data.fold_effects import FoldEffects
from unregress.data.request import Index
from unregress.data.sample_keys import digests_after_requests, kept_among, retained_copies, sample_keys
from unregress.data.splits import HELD_OUT
from unregress.errors import DataError, StaleError
from unregress.errors.wording import without_addresses
from unregress.evidence.long_values import shortened

CHANGED = 0.1
"""Share of the samples that may have been deleted, or added, before a table is too old: the other predictions were made
by models that saw them."""
_AGAIN = {
    "expected": "a table of this model, and of data of which nine tenths are still there",
    # A folder of tables is that of one training, and samples never come back to a table in it.
    "remedy": "Make one in a new folder (`unregress table --output` or `Project(table=...)`), and delete the old one; "
    "where samples have come since that the model was not trained on, retrain it first",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class LeaveOutTable:
    """Predictions of training samples, and of never-seen samples, by models that were not trained on them.

    The training samples are divided into folds, by people where these are known; for each fold one model is trained on
    the others, predicts the fold, and is deleted.  What remains is one prediction for each sample, as of scikit-learn's
    `cross_val_predict`.  Samples are found by a hash of content and person, so that the table holds when others are
    deleted.

    Raises:
        DataError: there are not as many folds as keys.
        StaleError: when read, a sample is not in the table.
    """

    keys: tuple[bytes, ...] = field(repr=False)
    """Key of each training sample, by which it is found in the data, see `sample_keys`."""
    predictions: Tensor = field(repr=False)
    """Raw prediction of each training sample by the model that never saw it; `(n, *out)`."""
    folds: Tensor = field(repr=False)
    """Fold of each training sample; `(n,)` int64."""
    unseen: Tensor = field(repr=False)
    """Raw predictions of samples that no model ever saw, each by the model of one fold; `(u, *out)`."""
    unseen_keys: tuple[bytes, ...] = field(repr=False)
    """Keys of these samples."""
    seed: int = 0
    """Seed of the trainings."""
    partition: int = 0
    """Number of the partition into folds; a table that teaches a method must not judge it."""
    start_digest: str = ""
    """SHA-256 of the initial weights of all fold models; empty if each had its own."""
    original: str = ""
    """SHA-256 of the weights of the original that the table belongs to."""
    retrained: tuple[str, ...] = ()
    """SHA-256 of the weights of models that were trained as the original was, when the table knew all of their samples;
    the table belongs to them too."""
    made_with: int = 0
    """Number of training samples that the table was made with; where 0 is given, that of `keys`."""
    number_of_folds: int = 0
    """Number of folds that the table was made with; where 0 is given, that of `folds`, which is smaller once all people
    of the last one are forgotten."""
    training: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """How the fold models were trained, see `training_of`; empty if unknown, as of tables of earlier versions."""
    data: str = ""
    """SHA-256 of the training data that the table was made with (`Splits.data_digest`); empty if unknown."""
    coupling: float | None = None
    """κ: how far fold models are from the original on never-seen samples, relative to a training from other initial
    weights; near 0 where the initial weights decide what is learnt, 1 where they do not; None if it could not be
    measured."""
    effects: FoldEffects | None = field(default=None, repr=False)
    """What samples did to the predictions of others; None where it is not known, or not well enough."""

    def __post_init__(self) -> None:
        if len(self.keys) != len(self.folds):
            raise DataError(f"The leave-out table has {len(self.keys)} keys and the folds of {len(self.folds)} samples")
        if not self.number_of_folds and len(self.folds):
            object.__setattr__(self, "number_of_folds", int(self.folds.max()) + 1)
        if not self.made_with:
            object.__setattr__(self, "made_with", len(self.keys))

    @property
    def summary(self) -> dict[str, Any]:
        """What records say of the table: which original it belongs to, and how it was made.

        It stays the same when samples are removed: two tables with one summary come from the same trainings.
        """
        return {
            "original": self.original,
            "start": self.start_digest,
            "seed": self.seed,
            "partition": self.partition,
            "folds": self.number_of_folds,
            "made_with": self.made_with,
        }

    def require_current(
        self,
        case: Case,
        rows: Index,
        weights: Collection[str],
        start: str = "",
        recipe: Mapping[str, Any] | None = None,
        trained_on: str = "",
    ) -> None:
        """Refuse a table that is of another model, or of data of which too much has gone or come since.

        A model belongs to the table if it is the original, or was made from it; or if it was trained as the original
        was, from the same initial weights and on samples of the table alone, all but those of requests that are known:
        an exact retraining after a request is of this kind.  Those in `retrained` stay with the table.

        Args:
            case: the data, with the requests that were carried out.
            rows: positions of the training samples that are still there.
            weights: SHA-256 of the model's weights, and of those that it was made from.
            start: SHA-256 of the initial weights of its training from scratch; empty if unknown.
            recipe: the record of that training; None if unknown.
            trained_on: digest of the samples that it read, see `sample_keys.digest_of_samples`; empty if unknown.

        Raises:
            StaleError: the table belongs to another model, or to data that differ by more than `CHANGED`; or copies of
                a sample are in several of its folds.
        """
        if case.splits.subjects is None and self._splits_copies:
            raise StaleError(
                "Copies of a sample are in several folds of the leave-out table, which an earlier version made",
                expected="all copies of a sample in one fold",
                remedy="Run `unregress table` or `Project.table`, which makes it again",
            )
        known = self._known_positions(case)
        if self.original and not {self.original, *self.retrained} & set(weights):
            self._require_trained_alike(case, known, start, recipe, trained_on)
        there = sum(row in known for row in rows)
        if (gone := 1 - there / max(1, self.made_with)) > CHANGED:
            raise StaleError(f"{gone:.0%} of the samples that the leave-out table was made with have gone", **_AGAIN)
        if (added := 1 - there / len(rows)) > CHANGED:
            raise StaleError(f"{added:.0%} of the training samples are not in the leave-out table", **_AGAIN)

    def staleness(self, case: Case, rows: Index, *lineage: Any) -> StaleError | None:
        """What `require_current` raises, with the same arguments; None if the table is current."""
        try:
            self.require_current(case, rows, *lineage)
        except StaleError as error:
            return error
        return None

    @property
    def _splits_copies(self) -> bool:
        """Whether copies of a sample are in several folds, so that models predicted what they had seen."""
        return len(set(zip(self.keys, self.folds.tolist(), strict=True))) > len(set(self.keys))

    def _require_trained_alike(
        self, case: Case, known: Set[int], start: str, recipe: Mapping[str, Any] | None, trained_on: str
    ) -> None:
        """Refuse a model that was trained from scratch otherwise than the fold models, or on other samples.

        Args:
            case: the data, with the requests that were carried out.
            known: positions of the training samples that the table knows.
            start: as for `require_current`, as are the others.
            recipe: the record of the training.
            trained_on: digest of the samples that it read.

        Raises:
            StaleError: it was.
        """
        if not start or start != self.start_digest:
            raise StaleError("The leave-out table belongs to another version of the model", **_AGAIN)
        again = "The model was trained again from the same initial weights"
        if recipe is None or training_of(case, recipe) != self.training:
            raise StaleError(
                "The leave-out table belongs to another version of the model, which was trained otherwise from the "
                "same initial weights",
                **_AGAIN,
            )
        if not trained_on:
            raise StaleError(f"{again}, and it is not recorded on which samples", **_AGAIN)
        if case.splits.weight_array is not None:
            raise StaleError(f"{again}, and the leave-out table does not know with which weights of samples", **_AGAIN)
        if trained_on not in digests_after_requests(case, known):
            raise StaleError(
                f"{again}, on samples that the leave-out table does not know, or without some that it knows", **_AGAIN
            )

    def retained(self, case: Case) -> LeaveOutTable:
        """A copy with the samples that are still in the data and that no request of a case forgets.

        People's held-out samples go with them.  Where `effects` is known, what the removed samples did to the other
        predictions is taken out, as estimated by ridge regression (exact for a linear model); otherwise these stay as
        they are, made by models that saw the removed samples.
        """
        held_out = [split for split in HELD_OUT if getattr(case.splits, split) is not None]
        own = self._kept_places(case, self._place_of_each(case))
        seen = kept_among(self.unseen_keys, case, held_out)
        predictions, effects = self._only(own)
        return replace(
            self,
            keys=tuple(self.keys[place] for place in own),
            predictions=predictions,
            folds=self.folds[own],
            unseen_keys=tuple(self.unseen_keys[place] for place in seen),
            unseen=self.unseen[seen],
            effects=effects,
        )

    def _only(self, places: Tensor) -> tuple[Tensor, FoldEffects | None]:
        """Predictions and effects of some samples, with the known effects of all others taken out."""
        predictions = self.predictions[places]
        if self.effects is None:
            return predictions, None
        effects, gone = self.effects.without_others(self.folds, places)
        return predictions - gone.reshape(predictions.shape).to(predictions), effects

    def targets(self, case: Case) -> Tensor:
        """Leave-out predictions of a case's samples to forget, in the request's order; `(m, *out)`.

        Raises:
            StaleError: a sample is not in the table, as it was added or changed since, or removed after its request; or
                copies of more than a tenth of the samples are retained, which the table left out too.
        """
        return self.predictions[self._places(case, self._place_of_each(case))]

    def corrected(self, case: Case) -> Tensor:
        """As `targets`, for a model that has lost the samples to forget, those of earlier requests, and no others.

        An estimate by ridge regression, exact for a linear model; `(m, *out)`.

        The effect of the others of a sample's fold is added again, and that of samples which were forgotten since the
        table was made is taken out: the models of other folds were trained on them.  The same as `targets` where the
        effects of samples are not known.

        Raises:
            StaleError: as for `targets`.
        """
        every = self._place_of_each(case)
        places = self._places(case, every)
        there = torch.cat([self._kept_places(case, every), places]).unique()
        left_out, effects = self._only(there)
        own = torch.searchsorted(there, places)
        if effects is None:
            return left_out[own]
        return left_out[own] + effects.of_others(self.folds[there], own).reshape(left_out[own].shape).to(left_out)

    @staticmethod
    def _places(case: Case, every: Mapping[int, int]) -> Tensor:
        """Places of the samples to forget, in the request's order, `(m,)` int64; `every` is `_place_of_each`."""
        forget = case.requested.forget
        if missing := sum(row not in every for row in forget):
            raise StaleError(
                f"{missing} of {len(forget)} samples are not in the leave-out table, from which those of closed "
                "requests are removed",
                **(_AGAIN | {"expected": "samples that the table was made with, unchanged"}),
            )
        if (copied := retained_copies(case)) > CHANGED * len(forget):
            raise StaleError(
                f"Copies of {copied} of {len(forget)} samples are retained, and the leave-out table left out both",
                expected="a request with all copies of its samples",
                remedy="Forget the copies too; otherwise only models retrained without these samples can tell",
            )
        return torch.tensor([every[row] for row in forget], dtype=torch.int64)

    @staticmethod
    def _kept_places(case: Case, every: Mapping[int, int]) -> Tensor:
        """Places of the training samples that no request of a case forgets, ascending; `(n,)` int64."""
        return torch.tensor(sorted({every[row] for row in case.kept("train") if row in every}), dtype=torch.int64)

    def _known_positions(self, case: Case) -> Set[int]:
        """Positions in the data of the training samples that the table knows; of copies as many as it has."""
        left, found = Counter(self.keys), set[int]()
        for row, key in enumerate(sample_keys(case.splits, "train_eval")):
            if left[key]:
                left[key] -= 1
                found.add(row)
        return found

    def _place_of_each(self, case: Case) -> dict[int, int]:
        """The place of each training sample in the data that the table knows, by its position in the data.

        Copies of a sample take its places one after the other; those that came later share the last one.
        """
        known: dict[bytes, list[int]] = {}
        for place, key in enumerate(self.keys):
            known.setdefault(key, []).append(place)
        found, seen = dict[int, int](), Counter[bytes]()
        for row, key in enumerate(sample_keys(case.splits, "train_eval")):
            if key in known:
                found[row] = known[key][min(seen[key], len(known[key]) - 1)]
                seen[key] += 1
        return found


def teaching(tables: Sequence[LeaveOutTable]) -> tuple[LeaveOutTable, ...]:
    """The tables that teach a method: all but the last one, which judges what it made; a single one teaches."""
    return tuple(tables[:-1] or tables)


def training_of(case: Case, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What a training depends on besides data, initial weights and seed, as plain data.

    Args:
        case: its task, augmentation and collation count as `str` shows them, and whether samples have weights.
        recipe: the record of the training, see `training.from_scratch.training_record`.

    Returns:
        `recipe`, `task`, `augment`, `collate` and `weights`.
    """
    splits = case.splits
    parts = {"task": case.task, "augment": splits.augment, "collate": splits.collate}
    named = {name: shortened(without_addresses(str(part))) for name, part in parts.items()}
    return {"recipe": dict(recipe), **named, "weights": splits.weight_array is not None}
