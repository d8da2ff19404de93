"""Read a file of ids, one per line; refuse tables and other forms."""

from __future__ import annotations

import csv
import re
from collections.abc import Container
from pathlib import Path

from unregress.errors import RequestError

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}


def read_ids(path: Path, known: Container[str]) -> list[str]:
    """Read the ids in a text file; the request checks later which of them exist.

    Args:
        path: the file.
        known: all present and earlier ids, to tell an id that contains a comma from a table.

    Raises:
        RequestError: the file cannot be read, contains no ids, or is a table.
    """
    try:
        # Excel begins UTF-8 text with a byte order mark, which is not part of the first id.
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise RequestError(f"The ids file {path} cannot be read: {reason}", expected="one id per line") from error
    lines = [line.strip() for line in re.split(r"\r\n|\r|\n", text)]
    ids = [line for line in lines if line and not line.startswith("#")]
    if not ids:
        raise RequestError(f"The ids file {path} contains no ids", expected="one id per line")
    if unknown := [each for each in ids if each not in known]:
        _refuse_table(path, ids, unknown, known)
    return ids


def _refuse_table(path: Path, ids: list[str], unknown: list[str], known: Container[str]) -> None:
    """Refuse a file that contains ids in another form: a table, ids in quotes, or a heading."""
    for separator, name in _SEPARATORS.items():
        try:
            rows = list(csv.reader(unknown, delimiter=separator))
        except csv.Error:
            # The line is longer than a table's rows can be.
            continue
        width = max(map(len, rows))
        if width > 1 and any(cell.strip() in known for row in rows for cell in row):
            raise RequestError(
                f"The ids file {path} has up to {width} columns, separated by {name}",
                expected="one id per line",
                remedy="Write a text file with the column of ids alone, without a heading",
            )
    if any(_bare(each) in known for each in unknown):
        raise RequestError(
            f"The ids file {path} has ids in quotes, unlike those of the training set",
            expected="one id per line",
            remedy="Remove the quotes",
        )
    if unknown == ids[:1] and len(ids) > 1:
        raise RequestError(
            "Only the first line of the ids file is not an id of the training set: it seems to be a heading",
            expected="one id per line",
            remedy=f"Remove that line from {path}, or begin it with #",
        )


def _bare(text: str) -> str:
    """A text without the quotes around it."""
    return text[1:-1].strip() if len(text) > 2 and text[0] == text[-1] and text[0] in "'\"" else text
