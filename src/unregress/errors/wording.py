"""Words for messages: foreign text safe to show, the first few of many values, names of types."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence


def printable(text: str) -> str:
    r"""Text with everything escaped that would act on a terminal instead of being shown; line breaks stay.

    Escaped are control characters, marks that change the direction of writing, and lone surrogates.

    >>> printable("a\x1b[2Jb\n\u202ec")
    'a\\x1b[2Jb\n\\u202ec'
    """
    return "".join(c if c == "\n" or _shown(c) else c.encode("unicode_escape").decode() for c in text)


def _shown(character: str) -> bool:
    # Python counts spaces of other widths as not printable.
    return character.isprintable() or unicodedata.category(character) == "Zs"


def without_addresses(text: str) -> str:
    """The text of an object without its address in memory, which differs from process to process.

    >>> without_addresses("<function loss at 0x7f3a5c0d>")
    '<function loss>'
    """
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def some(values: Sequence[object], count: int = 5) -> str:
    """The first few of some values, and how many more there are.

    >>> some([1, 2, 3], 2)
    '1, 2 and 1 more'
    """
    shown = ", ".join(repr(value) for value in values[:count])
    return shown + (f" and {len(values) - count} more" if len(values) > count else "")


def type_names(values: Iterable[object]) -> str:
    """The names of some values' types.

    >>> type_names(["p1", 2])
    'int and str'
    """
    return " and ".join(sorted({type(value).__name__ for value in values})) or "any, but there are none"
