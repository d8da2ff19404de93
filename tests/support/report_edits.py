"""Generate every single-field edit of a report's JSON."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

DELETED = object()
HOSTILE = "<script>alert(1)</script>"
CONTROL = "a\x1b[2J\x00\r\x9b\u202e\ud800"
VALUES: dict[str, Any] = {
    "deleted": DELETED,
    "null": None,
    "true": True,
    "a text": "text",
    "a number": 7,
    "negative": -3,
    "huge": 1.7e308,
    "beyond counting": 10**30,
    "an empty text": "",
    "an empty list": [],
    "an empty object": {},
    "a list of lists": [[[1]]],
    "long": "x" * 10_000,
    "control characters": CONTROL,
    "HTML": HOSTILE,
}
"""Replacement values by name."""


class Edit(NamedTuple):
    """The path of one field, and the name of its replacement value."""

    path: tuple[str | int, ...]
    kind: str

    @property
    def field(self) -> str:
        """The name of the field, or of the list or object that contains it."""
        return next(str(step) for step in reversed(self.path) if isinstance(step, str))

    def of(self, data: dict[str, Any]) -> dict[str, Any]:
        """A copy of the data with the edit made."""
        edited = copy.deepcopy(data)
        inside: Any = edited
        for step in self.path[:-1]:
            inside = inside[step]
        if VALUES[self.kind] is DELETED:
            del inside[self.path[-1]]
        else:
            inside[self.path[-1]] = VALUES[self.kind]
        return edited


def edits(data: dict[str, Any]) -> Iterator[Edit]:
    """All edits of all fields."""
    for path in _paths(data, ()):
        for kind in VALUES:
            yield Edit(path, kind)


def _paths(data: Any, before: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    steps = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for step, part in steps:
        yield (*before, step)
        yield from _paths(part, (*before, step))
