"""The data that a case is about: a training set, held-out sets, and how to read them."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterator, Mapping, Sequence
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
from unregress.data.missing_values import is_missing
from unregress.errors import DataError, UnregressError, raise_all
from unregress.errors.user_code import frames_of_user
from unregress.errors.wording import type_names

Split = Literal["train", "train_eval", "validation", "test"]
"""A dataset of `Splits`; `train_eval` is the training set as it is evaluated, without augmentation."""
Weights = npt.NDArray[np.float64]
"""One weight per sample, `(n,)`."""
SUBJECTS: dict[str, Split] = {"subjects": "train", "validation_subjects": "validation", "test_subjects": "test"}
"""The splits by the fields that say whose record each sample is."""
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
        object.__setattr__(self, "ids", plain_ids(self.ids))
        complaints: list[UnregressError] = []
        for name, split in SUBJECTS.items():
            object.__setattr__(self, name, plain_ids(getattr(self, name), name))
            complaints += _about_subjects(self, name, split)
        named = {"columns": "train", "validation_columns": "validation", "test_columns": "test"}
        for name, part in named.items():
            object.__setattr__(self, name, _plain_columns(getattr(self, name)))
            complaints += _about_columns(part, getattr(self, part), getattr(self, name))
        if self.train_eval is not None and (found := length_of(self.train_eval, "train_eval")) != size:
            complaints.append(
                DataError(
                    f"`train_eval` has {found} samples and `train` {size}",
                    expected="the same samples in the same order, without augmentation",
                )
            )
        if self.ids is not None and len(self.ids) != size:
            complaints.append(
                DataError(f"There are {len(self.ids)} ids for {size} training samples", expected="one id per sample")
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

    def without_ids(self) -> Splits:
        """The same data without the samples' ids and columns, to be sent to other processes: training needs none."""
        twin = copy.copy(self)
        vars(twin).update(ids=None, columns={}, validation_columns={}, test_columns={}, fitted={})
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


def _about_subjects(splits: Splits, name: str, split: str) -> Iterator[UnregressError]:
    """Complain about a split's people: their number, missing values, and types that differ from the training set's."""
    found, dataset = getattr(splits, name), getattr(splits, split)
    if found is None:
        if splits.subjects is not None and dataset is not None:
            yield DataError(
                f"`subjects` is given, and `{name}` is not",
                expected=f"whose record each {split} sample is, since a request is about all records of a person",
            )
        return
    size = 0 if dataset is None else length_of(dataset, split)
    if len(found) != size:
        yield DataError(f"`{name}` has {len(found)} entries for {size} {split} samples", expected="one for each")
    if missing := [place for place, value in enumerate(found) if is_missing(value)]:
        yield DataError(
            f"`{name}` has {len(missing)} missing values, the first at position {missing[0]}",
            expected="a person for each sample",
            remedy="Drop these samples, or give each a person of its own",
        )
    kinds, known = ({type(value) for value in each or ()} for each in (found, splits.subjects))
    if split != "train" and known and kinds and not kinds <= known:
        yield DataError(
            f"`{name}` holds {type_names(found)} and `subjects` {type_names(splits.subjects or ())}",
            expected="the same type, or a person would not be found in both",
        )


def _plain_columns(columns: Any) -> dict[str, Any]:
    """Columns by name, each of which is read by position: a data frame's column is read by its labels."""
    names = columns if isinstance(columns, Mapping) else columns.columns
    found = {str(name): columns[name] for name in names}
    return {name: each if isinstance(each, list | tuple | np.ndarray) else list(each) for name, each in found.items()}


def _about_columns(
    split: str, dataset: Dataset[Any] | None, columns: Mapping[str, Sequence[Any]]
) -> Iterator[UnregressError]:
    """Complain about columns that do not have a value for each sample of a split."""
    size = 0 if dataset is None else length_of(dataset, split)
    for name, values in columns.items():
        if len(values) != size:
            yield DataError(
                f"The column {name!r} has {len(values)} values for {size} {split} samples", expected="one for each"
            )


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
