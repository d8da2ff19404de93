"""One unlearning job in one value: a task, the data, and what is to be forgotten of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from unregress.data.bands import in_units
from unregress.data.loading import Source, read_targets
from unregress.data.request import ForgetRequest, Index, Mask
from unregress.data.splits import Split, Splits, length_of
from unregress.errors import DataError, RequestError, UnregressError, raise_all
from unregress.tasks.base import Task


@dataclass(frozen=True, kw_only=True)
class Case:
    """A task, the data, and what is to be forgotten of them.

    Training needs no request.  What needs one (`Method.unlearn`, `audit`, `retrain`) refuses a case without.

    Raises:
        RequestError: the request was made for a training set of another size.
        DataError: held-out positions do not fit their dataset.
    """

    task: Task[Any]
    splits: Splits
    request: ForgetRequest | None = None
    """The training samples to forget; None as long as nothing is to be forgotten."""
    validation_forget_like: Sequence[int] | None = None
    """Validation samples of the kind that is forgotten; by default those in the request's target band."""
    test_forget_like: Sequence[int] | None = None
    """Test samples of the kind that is forgotten; by default those in the request's target band."""

    def __post_init__(self) -> None:
        complaints: list[UnregressError] = []
        if self.request is not None and self.request.size != self.splits.size:
            complaints.append(
                RequestError(
                    f"The request is about {self.request.size} samples and `train` has {self.splits.size}",
                    expected="a request made for this training set",
                    remedy="Build the request from this training set's targets or ids",
                )
            )
        if self.request is not None and not self.request.forget:
            complaints.append(
                RequestError("The request forgets no training sample", remedy="Name at least one training sample")
            )
        complaints += _misplaced("validation", self.splits.validation, self.validation_forget_like)
        complaints += _misplaced("test", self.splits.test, self.test_forget_like)
        raise_all(complaints)

    @property
    def requested(self) -> ForgetRequest:
        """The case's request.

        Raises:
            RequestError: it has none.
        """
        if self.request is None:
            raise RequestError(
                "The case has no request",
                expected="a `ForgetRequest`, which says which training samples to forget",
                remedy="Pass one: `Case(task=..., splits=..., request=...)`",
            )
        return self.request

    def source(self, split: Split) -> Source:
        """One split as something batches can be read from, with the samples to forget marked.

        Raises:
            DataError: the case has no such split.
        """
        source = self.splits.source(split)
        if not _of_training(split):
            gone = self._excluded_from(split)
            return source if gone is None else dataclasses.replace(source, excluded=gone)
        return dataclasses.replace(source, forget=torch.from_numpy(self.forget_mask), excluded=self._excluded)

    @cached_property
    def forget_mask(self) -> Mask:
        """True for each training sample to forget, `(size,)`; all false without a request."""
        return np.zeros(self.splits.size, dtype=np.bool_) if self.request is None else self.request.mask

    @cached_property
    def _excluded(self) -> torch.Tensor | None:
        """True for each training sample that other requests forgot, `(size,)`; None if there are none."""
        if self.request is None or not len(self.request.excluded):
            return None
        mask = torch.zeros(self.request.size, dtype=torch.bool)
        mask[torch.from_numpy(self.request.excluded)] = True
        return mask

    def _excluded_from(self, split: Split) -> torch.Tensor | None:
        """True for each held-out sample of people that other requests forgot, `(size,)`; None if there are none."""
        if self.request is None or not len(gone := self.request.excluded_from(split)):
            return None
        mask = torch.zeros(len(self.splits.source(split)), dtype=torch.bool)
        mask[torch.from_numpy(gone)] = True
        return mask

    def without_ids(self) -> Case:
        """The same case without the samples' ids, see `Splits.without_ids`."""
        return dataclasses.replace(self, splits=self.splits.without_ids())

    def rows(self, split: Split) -> Index:
        """Positions of a split's samples, ascending, without those that other requests forgot."""
        if _of_training(split) and self.request is not None:
            return self.request.members
        every = np.arange(len(self.splits.source(split)))
        return every if self.request is None else np.delete(every, self.request.excluded_from(split))

    def kept(self, split: Split) -> Index:
        """Positions of a split's samples that no request forgets, ascending; all of them without a request."""
        if self.request is None:
            return self.rows(split)
        gone = self.request.forget if _of_training(split) else self.request.held_out(split)
        return np.setdiff1d(self.rows(split), gone)

    def retained(self, split: Split) -> Mask:
        """True for each sample of a split that is to be kept, or of a held-out split is like those, `(size,)`.

        False for the samples to forget, for held-out ones like them, and for those that other requests forgot.

        Raises:
            RequestError: the case has no request.
        """
        kept = ~self.forget_like(split)
        gone = self.requested.excluded if _of_training(split) else self.requested.excluded_from(split)
        kept[gone] = False
        return kept

    def retained_validation(self) -> torch.Tensor | None:
        """Positions of the validation samples that are not of the forgotten kind; None without validation data."""
        if self.splits.validation is None:
            return None
        return torch.from_numpy(np.flatnonzero(self.retained("validation")))

    def forget_like(self, split: Split) -> Mask:
        """True for each sample of a split that is to be forgotten, or is of the forgotten kind, `(size,)`.

        For the training set that is D_f itself; for held-out splits the positions given with the case, or else those of
        the people whom the request names, or those in its target band.  A band reads the split's targets as exactly as
        the request did: a limit such as 2.2 means the same sample in both.

        Raises:
            RequestError: the case has no request.
        """
        request = self.requested
        if _of_training(split):
            return request.mask
        source = self.source(split)
        chosen = self.validation_forget_like if split == "validation" else self.test_forget_like
        if chosen is None and request.target_band is not None:
            targets = read_targets(source, self.task, torch.from_numpy(self.rows(split)))
            alike = request.in_target_band(*in_units(targets, self.task))
            mask = np.zeros(len(source), dtype=np.bool_)
            mask[self.rows(split)] = alike
            return mask
        mask = np.zeros(len(source), dtype=np.bool_)
        mask[list(request.held_out(split) if chosen is None else chosen)] = True
        mask[request.excluded_from(split)] = False
        return mask


def _of_training(split: Split) -> bool:
    return split in ("train", "train_eval")


def _misplaced(split: str, dataset: Dataset[Any] | None, forget_like: Sequence[int] | None) -> Iterator[DataError]:
    """Complain about held-out positions that are a mask, or outside their dataset."""
    if forget_like is None:
        return
    length = 0 if dataset is None else length_of(dataset, split)
    if any(isinstance(position, (bool, np.bool_)) for position in forget_like):
        yield DataError(f"`{split}_forget_like` is a mask", expected="positions", remedy="Pass `np.flatnonzero(mask)`")
    elif any(not 0 <= position < length for position in forget_like):
        yield DataError(
            f"`{split}_forget_like` names positions outside `{split}`, which has {length} samples",
            expected="positions counted from 0",
        )
