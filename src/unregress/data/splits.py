"""The data that a case is about: a training set, held-out sets, and how to read them."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset, IterableDataset

from unregress.data.hashing import columns, digest_of, row_hashes
from unregress.data.ids import plain_ids
from unregress.data.loading import Augment, Collate, Source, chunked
from unregress.data.sample_checks import about_columns, about_names, plain_columns
from unregress.errors import DataError, UnregressError, raise_all
from unregress.errors.user_code import frames_of_user

Split = Literal["train", "train_eval", "validation", "test"]
"""A dataset of `Splits`; `train_eval` is the training set as it is evaluated, without augmentation."""
Weights = npt.NDArray[np.float64]
"""One weight per sample, `(n,)`."""
NAMES: dict[str, Split] = {
    f"{prefix}{name}": split  # type: ignore[misc]
    for name in ("ids", "subjects")
    for prefix, split in (("", "train"), ("validation_", "validation"), ("test_", "test"))
}
"""The splits by the fields that say which record, and whose record, each sample is."""
HELD_OUT: tuple[Split, ...] = ("validation", "test")
"""The splits that nothing is trained on."""
HASH_SIZE = 32
"""Bytes of a sample's SHA-256."""


@dataclass(frozen=True, kw_only=True)
class Splits:
    """Training data, held-out data, and how to read them: what a data loading function returns.

    Raises:
        DataError: a dataset has no length or no samples, `train_eval` is not of the size of `train`, or there is not
            one id or weight per training sample.
    """

    train: Dataset[Any]
    """The full training set D = D_r ∪ D_f, as the original model saw it."""
    validation: Dataset[Any] | None = None
    """Held-out data for plateau schedules and the anamnesis index."""
    test: Dataset[Any] | None = None
    """Held-out data for errors and the membership attack; an audit needs it."""
    train_eval: Dataset[Any] | None = None
    """The training set without augmentation, in the same order; by default `train` without `augment`."""
    augment: Augment | None = None
    """Batched training augmentation, applied to batches of `train` only."""
    collate: Collate | None = None
    """As a `DataLoader`'s `collate_fn`; by default PyTorch's."""
    ids: Sequence[Hashable] | None = None
    """The id of each training sample.  With ids, a request holds when rows are deleted, added or reordered; without,
    only for exactly the data that it was made with."""
    validation_ids: Sequence[Hashable] | None = None
    """The id of each validation sample, if known, so that a request by ids names the held-out records too."""
    test_ids: Sequence[Hashable] | None = None
    """The id of each test sample, if known."""
    weights: Sequence[float] | Weights | torch.Tensor | None = field(default=None, compare=False)
    """One number per training sample, 0 or more, which a recipe uses as `Recipe.weights` says, and a training function
    as it likes (`TrainingData.weights`); kept as a float64 array."""

    subjects: Sequence[Hashable] | None = None
    """Whose record each training sample is, so that a request can name people; people have any number of samples."""
    validation_subjects: Sequence[Hashable] | None = None
    """Whose record each validation sample is; required where `subjects` is given and there are validation data."""
    test_subjects: Sequence[Hashable] | None = None
    """Whose record each test sample is; required where `subjects` is given and there are test data."""
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict, compare=False, repr=False)
    """Values of the training samples by name, such as a city or a date, by which a request can name samples: lists or
    arrays by name, or a data frame with a row for each sample."""
    validation_columns: Mapping[str, Sequence[Any]] = field(default_factory=dict, compare=False, repr=False)
    """The same of the validation samples: those that meet a request are not monitored by any training."""
    test_columns: Mapping[str, Sequence[Any]] = field(default_factory=dict, compare=False, repr=False)
    """The same of the test samples: those that meet a request are held-out samples of the forgotten kind."""
    fitted: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """What else was fitted on the training samples and so holds a trace of them, by name: a scaler, a vocabulary,
    statistics of the targets.  An audit names it."""

    def __post_init__(self) -> None:
        size = self.size
        complaints: list[UnregressError] = []
        sizes = {"train": size} | {
            split: 0 if (d := getattr(self, split)) is None else length_of(d, split) for split in HELD_OUT
        }
        for name, split in NAMES.items():
            object.__setattr__(self, name, plain_ids(getattr(self, name), name))
            trained = self.subjects if name.endswith("subjects") else self.ids
            complaints += about_names(name, getattr(self, name), split, sizes[split], trained)
        named = {"columns": "train", "validation_columns": "validation", "test_columns": "test"}
        for name, part in named.items():
            object.__setattr__(self, name, plain_columns(getattr(self, name)))
            complaints += about_columns(part, sizes[part], getattr(self, name))
        if self.train_eval is not None and (found := length_of(self.train_eval, "train_eval")) != size:
            complaints.append(
                DataError(
                    f"`train_eval` has {found} samples and `train` {size}",
                    expected="the same samples in the same order, without augmentation",
                )
            )
        if self.weights is not None:
            weights, about_weights = _as_weights(self.weights, size)
            object.__setattr__(self, "weights", weights)
            complaints += about_weights
        if not size:
            complaints.append(DataError("`train` has no samples", expected="data to train on"))
        for name, dataset in (("validation", self.validation), ("test", self.test)):
            if dataset is not None and not length_of(dataset, name):
                complaints.append(DataError(f"`{name}` has no samples", remedy="Pass None, or data"))
        raise_all(complaints)

    @property
    def weight_array(self) -> Weights | None:
        """The `weights` as they are kept: an array, `(n,)`; None if there are none."""
        return None if self.weights is None else np.asarray(self.weights)

    @property
    def size(self) -> int:
        """Number of training samples.

        Raises:
            DataError: the training set has no length.
        """
        return length_of(self.train, "train")

    def source(self, split: Split) -> Source:
        """All samples of one split, as something batches can be read from; none of them is marked to be forgotten.

        Raises:
            DataError: there is no such split.
        """
        dataset = getattr(self, split)
        if split == "train_eval" and dataset is None:
            dataset = self.train
        if dataset is None:
            raise DataError(f"There are no {split} data", remedy=f"Give the `Splits` a `{split}` dataset")
        return Source(
            dataset,
            torch.zeros(length_of(dataset, split), dtype=torch.bool),
            self.collate,
            self.augment if split == "train" else None,
            name="train" if dataset is self.train else split,
        )

    def subjects_of(self, split: Split) -> Sequence[Hashable] | None:
        """Whose record each sample of a split is; None if unknown."""
        if split in ("train", "train_eval"):
            return self.subjects
        return self.validation_subjects if split == "validation" else self.test_subjects

    def number_of_people(self, rows: Iterable[int]) -> int:
        """Number of people whose training samples some are, or of the samples where people are not known.

        Args:
            rows: positions of training samples, each once.
        """
        return len(set(rows) if self.subjects is None else {self.subjects[row] for row in rows})

    def ids_of(self, split: Split) -> Sequence[Hashable] | None:
        """The id of each sample of a split; None if unknown."""
        if split in ("train", "train_eval"):
            return self.ids
        return self.validation_ids if split == "validation" else self.test_ids

    def without_ids(self) -> Splits:
        """The same data without the samples' ids and columns, to be sent to other processes: training needs none."""
        twin = copy.copy(self)
        names = dict.fromkeys(("ids", "validation_ids", "test_ids"))
        vars(twin).update(**names, columns={}, validation_columns={}, test_columns={}, fitted={})
        return twin

    @cached_property
    def data_digest(self) -> str:
        """SHA-256 over the training set's content in order: tells whether an artefact was made for these data."""
        return self.content_digest("train_eval")

    def content_digest(self, split: Split) -> str:
        """SHA-256 over one split's content, sample by sample in order."""
        return digest_of([self._joined_hashes(split)])

    def row_hashes(self, split: Split) -> list[bytes]:
        """SHA-256 of each sample's content, inputs and target together.

        Raises:
            DataError: there is no such split.
        """
        joined = self._joined_hashes(split)
        return [joined[start : start + HASH_SIZE] for start in range(0, len(joined), HASH_SIZE)]

    def _joined_hashes(self, split: Split) -> bytes:
        """The hashes of a split's samples one after the other; the split is read once."""
        if split not in self._hashes:
            source = self.source(split)
            joined = bytearray()
            for batch in source.fetch(chunked(torch.arange(len(source)), 4096)):
                samples = len(batch.index)
                joined += b"".join(row_hashes(list(columns(batch.data, samples)), samples))
            self._hashes[split] = bytes(joined)
        return self._hashes[split]

    @cached_property
    def _hashes(self) -> dict[Split, bytes]:
        """What `_joined_hashes` has read so far; a list of hashes would take twice the memory."""
        return {}

    def __getstate__(self) -> dict[str, Any]:
        # Jobs in other processes need no hashes of all samples.
        return {name: value for name, value in vars(self).items() if name != "_hashes"}


def _as_weights(weights: object, size: int) -> tuple[Weights, list[UnregressError]]:
    """The weights of samples as an array, and complaints about them.

    Args:
        weights: a sequence, array, tensor or data frame's column.
        size: number of training samples.
    """
    try:
        numbers = weights.detach().cpu().numpy() if isinstance(weights, torch.Tensor) else weights
        found = np.array(numbers, dtype=np.float64)
    except (TypeError, ValueError) as error:
        return np.ones(size), [DataError(f"`weights` are not numbers: {error}", expected="one number per sample")]
    if found.shape != (size,):
        text = f"`weights` have the shape {found.shape} for {size} training samples"
        return found, [DataError(text, expected="one weight per sample")]
    bad = np.flatnonzero(~(np.isfinite(found) & (found >= 0)))
    if len(bad):
        text = (
            f"{len(bad)} weights are negative, NaN or infinite; the first, at position {bad[0]}, is {found[bad[0]]:g}"
        )
        return found, [DataError(text, expected="numbers, 0 or more")]
    if size and not found.any():
        return found, [DataError("All weights are 0", expected="a positive weight for at least one sample")]
    return found, []


def length_of(dataset: Dataset[Any], name: str) -> int:
    """Number of samples of a dataset.

    Args:
        dataset: a map-style dataset.
        name: what messages call it.

    Raises:
        DataError: it has no length, or `__len__` returns none.
    """
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        raise DataError(
            f"`{name}` is a {type(dataset).__name__}, which has no index to forget by",
            expected="a map-style dataset with `__len__` and `__getitem__`",
            remedy="Wrap it in a map-style one",
        )
    try:
        return len(dataset)
    except (TypeError, ValueError) as error:
        if frames_of_user(error):
            raise
        # Python's own, about what `__len__` has returned.
        raise DataError(f"`{name}` has no usable length: {error}", expected="`__len__` to return a number") from error
