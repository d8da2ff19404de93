"""Format values for messages: escape control characters, abbreviate long lists, name types."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence


def printable(text: str) -> str:
    r"""Escape the characters that a terminal would interpret instead of showing; line breaks are kept.

    These are control characters, marks that change the direction of writing, and lone surrogates.

    >>> printable("a\x1b[2Jb\n\u202ec")
    'a\\x1b[2Jb\n\\u202ec'
    """
    return "".join(c if c == "\n" or _shown(c) else c.encode("unicode_escape").decode() for c in text)


def _shown(character: str) -> bool:
    # `isprintable` is false for every space but the ASCII one.
    return character.isprintable() or unicodedata.category(character) == "Zs"


def without_addresses(text: str) -> str:
    """Remove memory addresses from an object's text: they differ from process to process.

    >>> without_addresses("<function loss at 0x7f3a5c0d>")
    '<function loss>'
    """
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def within_sentence(text: str) -> str:
    """A sentence as a part of another one.

    >>> within_sentence("The table is too old")
    'the table is too old'
    """
    return text[:1].lower() + text[1:]


def some(values: Sequence[object], count: int = 5) -> str:
    """List the first few values, and the number of those left out.

    >>> some([1, 2, 3], 2)
    '1, 2 and 1 more'
    """
    shown = ", ".join(repr(value) for value in values[:count])
    return shown + (f" and {len(values) - count} more" if len(values) > count else "")


def type_names(values: Iterable[object]) -> str:
    """List the distinct type names of some values.

    >>> type_names(["p1", 2])
    'int and str'
    """
    return " and ".join(sorted({type(value).__name__ for value in values})) or "any, but there are none"


def unknown_remedy(unknown: Collection[object], known: Collection[object]) -> str:
    """What to check of values that are not among the known ones: whether they are text, if that is what differs.

    >>> unknown_remedy(["4"], [3, 4])
    'Check their type, which is str: text and numbers differ'
    >>> unknown_remedy([5], [3, 4])
    'Check the spelling, and whether they were deleted before, or drop them'
    """
    texts = {str(value) for value in known}
    # Numbers of several types are equal where their values are; NumPy's are as good as Python's.
    are_text, known_are_text = ({isinstance(value, str) for value in values} for values in (unknown, known))
    if known and (not are_text & known_are_text or any(str(value) in texts for value in unknown)):
        return f"Check their type, which is {type_names(unknown)}: text and numbers differ"
    return "Check the spelling, and whether they were deleted before, or drop them"
