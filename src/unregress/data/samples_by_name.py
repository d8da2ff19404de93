"""Find samples by name: the people, or the ids, that a request names, in every split."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Literal

from unregress.data.ids import by_text, whole_text
from unregress.data.request_checks import repeated_in
from unregress.data.splits import HELD_OUT, Split, Splits
from unregress.errors import RequestError, raise_all
from unregress.errors.wording import some, type_names, unknown_remedy


@dataclass(frozen=True, kw_only=True)
class Names:
    """Whose record, or which record, each sample is, in every split."""

    called: Literal["people", "ids"]
    train: Sequence[Hashable]
    """One for each training sample."""
    held_out: Mapping[Split, Sequence[Hashable]]
    """The same of the held-out samples, where known."""
    complete: bool
    """Whether all held-out samples are known by name."""

    @classmethod
    def of(cls, splits: Splits, called: Literal["people", "ids"]) -> Names:
        """The people or ids of some data.

        Raises:
            RequestError: the data name none.
        """
        find = splits.subjects_of if called == "people" else splits.ids_of
        trained = find("train")
        if trained is None:
            if called == "people":
                raise RequestError(
                    "The data do not say whose record each sample is",
                    expected="`Splits(subjects=...)`, one entry for each training sample",
                )
            raise RequestError("The data have no ids", expected="`ids=` of the project, one for each training sample")
        held = {split: names for split in HELD_OUT if (names := find(split)) is not None}
        present = [split for split in HELD_OUT if getattr(splits, split) is not None]
        return cls(called=called, train=trained, held_out=held, complete=set(present) <= set(held))

    @property
    def by(self) -> Literal["samples", "subjects"]:
        """What a request names by them."""
        return "subjects" if self.called == "people" else "samples"

    def __contains__(self, text: object) -> bool:
        """Whether a text stands for one of the names, as in `matching`.

        >>> names = Names(called="ids", train=[7, 8], held_out={}, complete=False)
        >>> "7" in names, "7.0" in names, "9" in names
        (True, True, False)
        """
        return text in self._texts or whole_text(str(text)) in self._texts

    @cached_property
    def _texts(self) -> frozenset[str]:
        """The texts of all names, and those of whole numbers."""
        known = by_text([*chain(self.train, *self.held_out.values())])
        return frozenset((*known, *map(whole_text, known)))

    def matching(self, texts: Iterable[str]) -> dict[str, Hashable]:
        """The names that some texts stand for, by text; one that stands for none is a name of its own.

        The text of a number such as 7.0, which a column with gaps makes of 7, stands for 7, unless the data tell the
        two apart.

        >>> Names(called="ids", train=[7, 8], held_out={}, complete=False).matching(["7.0", "8", "9"])
        {'7.0': 7, '8': 8, '9': '9'}
        """
        exact = by_text([*chain(self.train, *self.held_out.values())])
        whole: dict[str, list[Hashable]] = {}
        for text, name in exact.items():
            whole.setdefault(whole_text(text), []).append(name)
        only = {text: names[0] for text, names in whole.items() if len(names) == 1}
        return {text: exact.get(text, only.get(whole_text(text), text)) for text in texts}

    def find(
        self, wanted: Iterable[Hashable], *, as_text: bool = False, notes: list[str] | None = None
    ) -> dict[Split, tuple[int, ...]]:
        """The positions of the named samples, by split.

        Args:
            wanted: the people or ids, each once.
            as_text: whether they are texts, of a file or a command line, that stand for names.
            notes: if given, names without training samples are no error while others have some: it is extended by
                sentences that count them.

        Raises:
            RequestError: names are not in the data, or of held-out samples only, or are given twice.
        """
        listed = list(wanted)
        if as_text:
            texts = list(map(str, listed))
            names = self.matching(texts)
            # Two texts of one name are the name once; a text that is there twice is not.
            listed = [*dict.fromkeys(names.values()), *(names[str(text)] for text in repeated_in(texts))]
        named = set(listed)
        trained = {name for name in self.train if name in named}
        held = {name for names in self.held_out.values() for name in names if name in named}
        absent = list(dict.fromkeys(name for name in listed if name not in trained and name not in held))
        only = list(dict.fromkeys(name for name in listed if name in held and name not in trained))
        complaints: list[RequestError] = []
        if notes is None or not trained:
            complaints += self._complaints(absent, only, len(listed), as_text)
        else:
            notes += self._notes(absent, only)
        if repeated := repeated_in(listed if notes is None else [name for name in listed if name not in absent]):
            called = "People" if self.called == "people" else "Ids"
            complaints.append(RequestError(f"{called} named more than once: {some(repeated)}", remedy="Name each once"))
        raise_all(complaints)
        everyone: dict[Split, Sequence[Hashable]] = {"train": self.train, **self.held_out}
        return {
            split: tuple(place for place, name in enumerate(names) if name in named)
            for split, names in everyone.items()
        }

    def _complaints(
        self, absent: Sequence[Hashable], only: Sequence[Hashable], count: int, as_text: bool
    ) -> Iterator[RequestError]:
        """Complain about names without training samples."""
        people = self.called == "people"
        if absent:
            # Never an example of one who is: the ids are people's.
            spelling = unknown_remedy((), ())
            yield RequestError(
                f"{'People who' if people else 'Ids that'} are not in the {'data' if self.complete else 'training set'}"
                f", {len(absent)} of {count}: {some(absent)}",
                expected=f"{self.called} of the data" if as_text else f"entries of type {type_names(self.train)}",
                remedy=spelling if as_text else unknown_remedy(absent, self.train),
            )
        if only:
            yield RequestError(
                f"{'People with' if people else 'Ids of'} held-out samples only, {len(only)} of {count}: {some(only)}",
                expected=f"{self.called} whose samples the model was trained on",
                remedy="Delete their held-out samples: there is nothing for the model to forget",
            )

    def _notes(self, absent: Sequence[Hashable], only: Sequence[Hashable]) -> Iterator[str]:
        """Count names without training samples."""
        if absent:
            where = "in the data" if self.complete else "among the training records"
            yield f"{len(absent)} {self.called} of the request are not {where}"
        if only:
            yield (
                f"{len(only)} {self.called} of the request have held-out samples only: the model was not trained on "
                "them, and they are left out of what is retained"
            )
