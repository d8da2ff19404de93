"""Everything one unlearning job is about, in one value."""

from __future__ import annotations

import copy
import dataclasses
from abc import abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset

from unregress.data.hashing import columns, digest_of, row_hashes
from unregress.data.ids import not_one_each, plain_ids
from unregress.data.loading import Augment, Collate, Source, chunked, read_targets
from unregress.data.request import ForgetRequest, Index, Mask
from unregress.errors import DataError, RequestError, UnregressError, raise_all
from unregress.errors.user_code import frames_of_user
from unregress.tasks.base import Task

Split = Literal["train", "train_eval", "validation", "test"]
HASH = 32
"""Bytes of a sample's hash."""


class _Content:
    """The content of training and held-out data, hashed sample by sample; each split is read once."""

    def content_digest(self, split: Split) -> str:
        """SHA-256 over one split's content, sample by sample in order."""
        return digest_of([self._row_hashes(split)])

    def row_hashes(self, split: Split) -> list[bytes]:
        """SHA-256 of each sample's content, inputs and target together; `train_eval` is `train` where it is not given.

        Raises:
            DataError: there is no such split.
        """
        joined = self._row_hashes(split)
        return [joined[start : start + HASH] for start in range(0, len(joined), HASH)]

    @cached_property
    def data_digest(self) -> str:
        """SHA-256 over the training set's content in order: tells whether an artefact was made for these data."""
        return self.content_digest("train_eval")

    def _row_hashes(self, split: Split) -> bytes:
        if split not in self._hashes:
            source = self._plain_source(split)
            joined = bytearray()
            for batch in source.fetch(chunked(torch.arange(len(source)), 4096)):
                samples = len(batch.index)
                joined += b"".join(row_hashes(list(columns(batch.data, samples)), samples))
            self._hashes[split] = bytes(joined)
        return self._hashes[split]

    @cached_property
    def _hashes(self) -> dict[Split, bytes]:
        """The hashes of each split's samples, joined: a list of them would take twice the memory."""
        return {}

    def __getstate__(self) -> dict[str, Any]:
        # Jobs in other processes need no hashes of all samples.
        return {name: value for name, value in vars(self).items() if name != "_hashes"}

    @abstractmethod
    def _plain_source(self, split: Split) -> Source:
        """All of a split's samples, none of which is to be forgotten, without augmentation."""


@dataclass(frozen=True, kw_only=True)
class Splits(_Content):
    """What a data loading function returns: the data of a `Case`, before anything is to be forgotten."""

    train: Dataset[Any]
    validation: Dataset[Any] | None = None
    test: Dataset[Any] | None = None
    train_eval: Dataset[Any] | None = None
    augment: Augment | None = None
    collate: Collate | None = None
    ids: Sequence[Hashable] | None = None
    """The id of each training sample, for requests by id.  With ids, a request holds when rows are deleted, added or
    reordered; without, only for exactly the data that it was made with."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", plain_ids(self.ids))
        if self.ids is not None and len(self.ids) != self.size:
            raise not_one_each(len(self.ids), self.size)

    def case(self, task: Task[Any], request: ForgetRequest) -> Case:
        """These data with a task and a request."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        case = Case(task=task, request=request, **fields)
        # Of the same data: what was read once need not be read again.
        vars(case)["_hashes"] = self._hashes
        return case

    @property
    def size(self) -> int:
        """Number of training samples.

        Raises:
            DataError: the training set has no length.
        """
        return _length(self.train, "train")

    def _plain_source(self, split: Split) -> Source:
        chosen = getattr(self, split)
        dataset = self.train if split == "train_eval" and chosen is None else chosen
        if dataset is None:
            raise _missing(split)
        name = "train" if dataset is self.train else split
        return Source(dataset, torch.zeros(_length(dataset, split), dtype=torch.bool), self.collate, name=name)


@dataclass(frozen=True, kw_only=True)
class Case(_Content):
    """A task, a request and the data they are about.

    Raises:
        RequestError: the request was made for a training set of another size.
        DataError: the evaluation view or a group does not fit its dataset.
    """

    task: Task[Any]
    request: ForgetRequest
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
    """The id of each training sample, by which run folders keep the request; see `Splits.ids`."""
    validation_forget_like: Sequence[int] | None = None
    """Validation samples of the kind that is forgotten; by default those in the request's target band."""
    test_forget_like: Sequence[int] | None = None
    """Test samples of the kind that is forgotten; by default those in the request's target band."""

    def __post_init__(self) -> None:
        complaints: list[UnregressError] = []
        if (size := _length(self.train, "train")) != self.request.size:
            complaints.append(
                RequestError(
                    f"The request is about {self.request.size} samples and `train` has {size}",
                    expected="a request made for this training set",
                    remedy="Build the request from this training set's targets or ids",
                )
            )
        if self.train_eval is not None and _length(self.train_eval, "train_eval") != size:
            complaints.append(
                DataError(
                    f"`train_eval` has {_length(self.train_eval, 'train_eval')} samples and `train` {size}",
                    expected="the same samples in the same order, without augmentation",
                )
            )
        object.__setattr__(self, "ids", plain_ids(self.ids))
        if self.ids is not None and len(self.ids) != size:
            complaints.append(not_one_each(len(self.ids), size))
        groups = (
            ("validation", self.validation, self.validation_forget_like),
            ("test", self.test, self.test_forget_like),
        )
        for name, dataset, group in groups:
            length = 0 if dataset is None else _length(dataset, name)
            if dataset is not None and not length:
                complaints.append(DataError(f"`{name}` has no samples", remedy="Pass None, or data"))
            if group is None:
                continue
            if any(isinstance(i, (bool, np.bool_)) for i in group):
                complaints.append(
                    DataError(
                        f"`{name}_forget_like` is a mask",
                        expected="positions",
                        remedy="Pass `np.flatnonzero(mask)`",
                    )
                )
            elif any(not 0 <= i < length for i in group):
                complaints.append(
                    DataError(f"`{name}_forget_like` names positions outside `{name}`, which has {length} samples")
                )
        raise_all(complaints)

    def source(self, split: Split) -> Source:
        """One split as something batches can be read from.

        Raises:
            DataError: the case has no such split.
        """
        if split in ("train", "train_eval"):
            evaluated = split == "train_eval"
            dataset = self.train_eval if evaluated and self.train_eval is not None else self.train
            augment = None if evaluated else self.augment
            name = "train" if dataset is self.train else split
            return Source(dataset, torch.from_numpy(self.request.mask), self.collate, augment, self._excluded, name)
        held_out = self.validation if split == "validation" else self.test
        if held_out is None:
            raise _missing(split)
        nothing = torch.zeros(_length(held_out, split), dtype=torch.bool)
        return Source(held_out, nothing, self.collate, name=split)

    @cached_property
    def _excluded(self) -> torch.Tensor | None:
        """Which training samples other requests forgot, `(size,)` bool; None if there are none."""
        if not len(self.request.excluded):
            return None
        mask = torch.zeros(self.request.size, dtype=torch.bool)
        mask[torch.from_numpy(self.request.excluded)] = True
        return mask

    @property
    def size(self) -> int:
        """Number of training samples."""
        return self.request.size

    def without_ids(self) -> Case:
        """The same case without the samples' ids, to be sent to other processes: trainings need none."""
        twin = copy.copy(self)
        vars(twin)["ids"] = None
        return twin

    def every_row(self, split: Split) -> Source:
        """One split with the samples that other requests forgot: to identify data and to look at those again.

        Nothing is ever trained from it.
        """
        return dataclasses.replace(self.source(split), excluded=None)

    def _plain_source(self, split: Split) -> Source:
        return dataclasses.replace(self.every_row(split), augment=None)

    def rows(self, split: Split) -> Index:
        """Positions of a split's samples, ascending; of the training set, those that no other request forgot."""
        train = split in ("train", "train_eval")
        return self.request.members if train else np.arange(len(self.source(split)))

    def retained(self, split: Split) -> Mask:
        """Which samples of a split are not of the forgotten kind, `(size,)` bool; none that other requests forgot."""
        kept = ~self.forget_like(split)
        if split in ("train", "train_eval"):
            kept[self.request.excluded] = False
        return kept

    def retained_validation(self) -> torch.Tensor | None:
        """Positions of the validation samples that are not of the forgotten kind; None without any."""
        return None if self.validation is None else torch.from_numpy(np.flatnonzero(~self.forget_like("validation")))

    def forget_like(self, split: Split) -> Mask:
        """Which samples of a split belong to what is forgotten, `(size,)` bool.

        For the training set that is D_f itself; for held-out splits the group given with the case,
        or else the samples in the request's target band.  A band reads the split's targets, in their
        own precision, as the request did: a limit such as 2.2 means the same sample in both.
        """
        if split in ("train", "train_eval"):
            return self.request.mask
        source = self.source(split)
        chosen = self.validation_forget_like if split == "validation" else self.test_forget_like
        if chosen is None and self.request.target_band is not None:
            return self.request.alike(read_targets(source, self.task).numpy())
        mask = np.zeros(len(source), dtype=np.bool_)
        if chosen is not None:
            mask[list(chosen)] = True
        return mask


def _missing(split: Split) -> DataError:
    return DataError(
        f"The case has no {split} data", remedy=f"Give the `Case`, or your data function's `Splits`, a `{split}`"
    )


def _length(dataset: Dataset[Any], name: str) -> int:
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
