"""In which settings two configurations differ, for whoever wonders why they are not the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

_SHOWN = 5
_SHORT = 40
"""Characters of a value that a line can bear."""
_NOTE = re.compile(r"# (?P<name>[^:]+): (?P<value>.+)")
"""A comment that decides what a run is, as the digest of what it was made from."""
_ABSENT = "none"


def differences(theirs: str, ours: str) -> str:
    """The settings that differ, each with both values if they are short; empty if that cannot be told.

    Args:
        theirs: one configuration: YAML, with notes in its comments.
        ours: the other.

    >>> differences("{lr: 1}", "{lr: 2, clip: 1.0}")
    'lr (1 there, 2 here), clip (none there, 1.0 here)'
    """
    try:
        there, here = dict(_settings(theirs)), dict(_settings(ours))
    except yaml.YAMLError:
        return ""
    names = [name for name in {**here, **there} if there.get(name, _ABSENT) != here.get(name, _ABSENT)]
    # What both have says more than what only one has, as the settings of another method.
    names.sort(key=lambda name: name not in there or name not in here)
    shown = [_both(name, there.get(name, _ABSENT), here.get(name, _ABSENT)) for name in names[:_SHOWN]]
    return ", ".join(shown) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _both(name: str, there: str, here: str) -> str:
    return f"{name} ({there} there, {here} here)" if max(len(there), len(here)) <= _SHORT else name


def _settings(config: str) -> Iterator[tuple[str, str]]:
    yield from _flat(yaml.safe_load(config), "")
    for line in config.splitlines():
        if match := _NOTE.fullmatch(line):
            # A checkpoint may be another under the same name, or the same under another.
            content = re.fullmatch("[0-9a-f]{64}", match["value"])
            yield f"the content of {match['name']}" if content else match["name"], match["value"]


def _flat(value: Any, name: str) -> Iterator[tuple[str, str]]:
    """Dotted names with values as text; what is not set is left out, and a list is one value."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _flat(each, f"{name}.{key}" if name else str(key))
    elif value is not None:
        yield name, str(value)
