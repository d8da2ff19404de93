"""List the settings in which two YAML configurations differ."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

_SHOWN = 5
_MAX_LENGTH = 40
"""Longest value that is shown, in characters."""
_NOTE = re.compile(r"# (?P<name>[^:]+): (?P<value>.+)")
"""A comment with content that identifies the run, such as the digest of an input."""
_ABSENT = "none"


def differences(theirs: str, ours: str) -> str:
    """List the settings that differ, with both values if they are short; empty if a configuration cannot be parsed.

    Args:
        theirs: the existing configuration: YAML, with digests in its comments.
        ours: the present configuration.

    >>> differences("{lr: 1}", "{lr: 2, clip: 1.0}")
    'lr (1 there, 2 here), clip (none there, 1.0 here)'
    """
    try:
        there, here = dict(_settings(theirs)), dict(_settings(ours))
    except yaml.YAMLError:
        return ""
    names = [name for name in {**here, **there} if there.get(name, _ABSENT) != here.get(name, _ABSENT)]
    # Settings of both come first: those of only one often follow from them, as settings of another method.
    names.sort(key=lambda name: name not in there or name not in here)
    shown = [_both(name, there.get(name, _ABSENT), here.get(name, _ABSENT)) for name in names[:_SHOWN]]
    return ", ".join(shown) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _both(name: str, there: str, here: str) -> str:
    return f"{name} ({there} there, {here} here)" if max(len(there), len(here)) <= _MAX_LENGTH else name


def _settings(config: str) -> Iterator[tuple[str, str]]:
    yield from _flat(yaml.safe_load(config), "")
    for line in config.splitlines():
        if match := _NOTE.fullmatch(line):
            # A file's name and its content are separate settings: either may differ without the other.
            content = re.fullmatch("[0-9a-f]{64}", match["value"])
            yield f"the content of {match['name']}" if content else match["name"], match["value"]


def _flat(value: Any, name: str) -> Iterator[tuple[str, str]]:
    """Flatten nested settings to dotted names with values as text; null is left out, a list is one value."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _flat(each, f"{name}.{key}" if name else str(key))
    elif value is not None:
        yield name, str(value)
