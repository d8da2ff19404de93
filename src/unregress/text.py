"""Make text of foreign origin safe to show on a terminal."""

from __future__ import annotations

import unicodedata


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
