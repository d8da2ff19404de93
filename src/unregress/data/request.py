"""Forget requests: which training samples to forget, by position, with a reason and a digest that identifies them.

Membership travels as positions in the training set, never as a column in the user's data.
"""

from __future__ import annotations

import hashlib
import json
import operator
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unregress.data.bands import chosen, in_band, limits
from unregress.data.request_checks import complaints_about, require_list
from unregress.data.samples_by_name import Names
from unregress.data.splits import HELD_OUT, Split, Splits
from unregress.errors import RequestError, raise_all

Index = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class ForgetRequest:
    """The samples of a training set to forget, by position, and why.

    Positions may be given directly, or found by `ids`, `band`, `where` or `random`.

    Raises:
        RequestError: nothing or everything is to be forgotten, or a position is out of range or repeated.
    """

    size: int
    """Number of samples in the training set."""
    forget: tuple[int, ...]
    """Positions of the samples to forget, ascending, without repetition."""
    reason: str
    """Why: the deletion request's reference, the experiment's name.  Goes into the evidence."""
    target_band: tuple[float | None, float | None] | None = None
    """For a request made by `band`, its closed limits; held-out samples between them are of the forgotten kind."""
    by: Literal["samples", "subjects"] = "samples"
    """Whether the request names samples, or people with all of their samples."""
    validation: tuple[int, ...] = ()
    """Positions of validation samples that meet the request too: no training monitors them."""
    test: tuple[int, ...] = ()
    """Positions of such test samples, which are held-out samples of the forgotten kind."""
    others: tuple[ForgetRequest, ...] = ()
    """The other requests carried out on the same model, before this one or after it; set by `beside`.  Their samples
    are neither retained nor forgotten here: no training, evaluation or attack uses them."""
    requested_by: str = ""
    """Who asked, for the evidence, as it is to be shown: a role or a reference says enough."""
    requested_on: str = ""
    """Day on which it was asked, as 2026-01-31, for the evidence."""
    not_found: tuple[str, ...] = ()
    """Remarks for the evidence on what was named and the data do not hold, or what could not be decided."""

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "size", operator.index(self.size))
            for name in ("forget", *HELD_OUT):
                object.__setattr__(self, name, tuple(sorted(operator.index(i) for i in getattr(self, name))))
        except TypeError as error:
            raise RequestError(
                f"Size or forget positions are not whole numbers: {error}",
                expected="positions in the training set, counted from 0",
                remedy="For ids that are not positions use `ForgetRequest.ids`",
            ) from error
        complaints = list(complaints_about(self))
        if not complaints and len(self.forget) + len(self.excluded) == self.size:
            others = f", together with {len(self.others)} other requests" if self.others else ""
            complaints.append(
                RequestError(
                    f"The request forgets all {self.size} training samples{others}",
                    expected="something to retain",
                    remedy="To forget everything, discard the model",
                )
            )
        raise_all(complaints)

    @classmethod
    def ids(cls, all_ids: Sequence[Hashable], forget_ids: Iterable[Hashable], *, reason: str) -> ForgetRequest:
        """Forget the records with the given ids.

        Args:
            all_ids: the id of each training sample, in training-set order.  Where several samples share an id (a
                subject with several records), all of them are forgotten.
            forget_ids: the ids to forget, each once.
            reason: why.

        Raises:
            RequestError: an id is not in the training set or is named twice.

        >>> ForgetRequest.ids(["ann", "bob", "ann"], ["ann"], reason="erasure").forget
        (0, 2)
        """
        for name, given in (("forget_ids", forget_ids), ("all_ids", all_ids)):
            require_list(name, given)
        names = Names(called="ids", train=list(all_ids), held_out={}, complete=False)
        return cls.named(names, forget_ids, reason=reason)

    @classmethod
    def subjects(cls, splits: Splits, people: Iterable[Hashable], *, reason: str) -> ForgetRequest:
        """Forget people: all of their training samples; their held-out samples are left out of every monitor too.

        Args:
            splits: the data, with `subjects`, and `validation_subjects` and `test_subjects` where there are such data.
            people: the people, each once.
            reason: why.

        Raises:
            RequestError: the data name no people, a person is in none of the splits or in held-out ones only, or is
                named twice.
        """
        require_list("subjects", people)
        return cls.named(Names.of(splits, "people"), people, reason=reason)

    @classmethod
    def named(
        cls,
        names: Names,
        wanted: Iterable[Hashable],
        *,
        reason: str,
        as_text: bool = False,
        notes: list[str] | None = None,
    ) -> ForgetRequest:
        """Forget the samples of some people or ids; arguments as for `Names.find`.

        Raises:
            RequestError: as `Names.find` raises.
        """
        places = names.find(wanted, as_text=as_text, notes=notes)
        return cls(
            size=len(names.train),
            forget=places["train"],
            validation=places.get("validation", ()),
            test=places.get("test", ()),
            reason=reason,
            by=names.by,
        )

    @classmethod
    def band(
        cls,
        targets: ArrayLike,
        low: float | None = None,
        high: float | None = None,
        *,
        reason: str,
        rounding: ArrayLike | None = None,
    ) -> ForgetRequest:
        """Forget the samples whose target lies in the closed interval [low, high], as paper Section 6 does.

        Args:
            targets: the training targets, shape `(n,)` or `(n, 1)`.
            low: lower limit in target units; None for no limit.
            high: upper limit, likewise.
            reason: why.
            rounding: how far each target may be off, where they were converted, see `data.bands.in_units`.

        Raises:
            RequestError: no limit is given, one is no number, they are the wrong way round, a target is NaN, or the
                targets are not one per sample.

        >>> ForgetRequest.band([10.0, 60.0, 75.0], low=60, reason="age 60 and over").forget
        (1, 2)
        """
        low, high = limits(low, high)
        within = chosen(targets, low, high, rounding)
        forget = tuple(np.flatnonzero(within).tolist())
        return cls(size=len(within), forget=forget, reason=reason, target_band=(low, high))

    @classmethod
    def where(cls, mask: ArrayLike, *, reason: str) -> ForgetRequest:
        """Forget the samples for which a boolean mask over the training set is true.

        >>> ForgetRequest.where([False, True], reason="year 2015").forget
        (1,)
        """
        values = np.asarray(mask)
        if values.dtype != np.bool_ or values.ndim != 1:
            raise RequestError(
                f"The mask is an array of {values.dtype} with shape {values.shape}",
                expected="one boolean per training sample, shape (n,)",
                remedy="For positions use `ForgetRequest(size=..., forget=..., reason=...)`",
            )
        return cls(size=len(values), forget=tuple(np.flatnonzero(values).tolist()), reason=reason)

    @classmethod
    def random(cls, size: int, count: int, *, seed: int, reason: str) -> ForgetRequest:
        """Forget `count` samples drawn without replacement from `size` ones.

        >>> ForgetRequest.random(10, 3, seed=0, reason="test").forget
        (5, 6, 9)
        """
        if not 0 < count < size:
            raise RequestError(f"{count} of {size} samples are to be drawn", expected=f"between 1 and {size - 1}")
        if seed < 0:
            raise RequestError(f"The seed of the draw is {seed}", expected="0 or more")
        drawn = np.random.default_rng(seed).choice(size, count, replace=False)
        return cls(size=size, forget=tuple(drawn.tolist()), reason=reason)

    @cached_property
    def mask(self) -> Mask:
        """True for each training sample to forget; shape `(size,)`."""
        mask = np.zeros(self.size, dtype=np.bool_)
        mask[list(self.forget)] = True
        return mask

    @cached_property
    def excluded(self) -> Index:
        """Positions of the samples that `others` forget, ascending: neither retained nor forgotten here."""
        return np.unique(np.array([i for other in self.others for i in other.forget], dtype=np.int64))

    def held_out(self, split: Split) -> tuple[int, ...]:
        """Positions of the named people's samples in a held-out split."""
        return self.validation if split == "validation" else self.test if split == "test" else ()

    def excluded_from(self, split: Split) -> Index:
        """Positions in a held-out split of samples of people that `others` forget, ascending."""
        return np.unique(np.array([i for other in self.others for i in other.held_out(split)], dtype=np.int64))

    @cached_property
    def left_out(self) -> frozenset[int]:
        """Positions of all samples that this request or `others` forget: those that a gold never sees."""
        return frozenset((*self.forget, *self.excluded.tolist()))

    @cached_property
    def members(self) -> Index:
        """Positions of the samples to retain or to forget, ascending: all but those that `others` forget."""
        return np.delete(np.arange(self.size), self.excluded)

    @cached_property
    def retain(self) -> Index:
        """Positions of the samples to retain, ascending."""
        return self.members[~self.mask[self.members]]

    @cached_property
    def digest(self) -> str:
        """SHA-256 over size, forgotten and excluded positions, held-out ones too; the reason does not count."""
        positions: list[object] = [self.size, self.forget]
        if len(self.excluded):
            positions.append(self.excluded.tolist())
        if self.validation or self.test:
            positions.append({"validation": self.validation, "test": self.test})
        if gone := {split: rows.tolist() for split in HELD_OUT if len(rows := self.excluded_from(split))}:
            positions.append({"excluded": gone})
        return hashlib.sha256(json.dumps(positions).encode()).hexdigest()

    def beside(self, *others: ForgetRequest) -> ForgetRequest:
        """This request on a model on which other requests were carried out too.

        What they forget stays out of every training, evaluation and attack, and out of this request, which has a
        remark on it.

        Args:
            others: requests about the same training set; their own `others` are included.

        Raises:
            RequestError: others forget all of its samples already, or are about a training set of another size.

        >>> first = ForgetRequest(size=6, forget=(0,), reason="first")
        >>> second = ForgetRequest(size=6, forget=(0, 4), reason="second").beside(first)
        >>> second.forget, second.retain.tolist()
        ((4,), [1, 2, 3, 5])
        """
        every = (each for other in (*self.others, *others) for each in (*other.others, other))
        known = tuple(dict.fromkeys(replace(each, others=()) for each in every))
        gone = {i for each in known for i in each.forget}
        forget = tuple(i for i in self.forget if i not in gone)
        if not forget:
            raise RequestError(
                f"Other requests forget all {len(self.forget)} samples of this request already",
                expected="samples that no other request forgets",
                remedy="Audit the earlier request instead: nothing is left to be done",
            )
        already = len(self.forget) - len(forget)
        told = f"{already} of {len(self.forget)} samples named are forgotten by an earlier request already"
        return replace(self, forget=forget, others=known, not_found=(*self.not_found, *([told] if already else [])))

    def in_target_band(self, targets: ArrayLike, rounding: ArrayLike | None = None) -> Mask:
        """True for each held-out target in the request's band; all false for a request that is not a band.

        Args:
            targets: targets in the training targets' unit, `(n,)` or `(n, 1)`.
            rounding: how far each may be off, as for `band`.
        """
        values = np.asarray(targets)
        if self.target_band is None:
            return np.zeros(len(values), dtype=np.bool_)
        return in_band(values, *self.target_band, rounding)
