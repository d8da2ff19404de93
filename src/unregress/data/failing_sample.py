"""Which sample it is that a dataset or a collate function fails with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch.utils.data import Dataset

from unregress.errors import DataError
from unregress.errors.user_code import message_of
from unregress.errors.wording import some


def located(
    error: Exception,
    dataset: Dataset[Any],
    collate: Callable[[list[Any]], Any],
    rows: Sequence[int],
    split: str,
    *,
    copied: bool,
) -> Exception:
    """The user's own exception, with a note that says which sample was being read.

    The rows are read again, one by one.

    Args:
        error: raised while the rows were read.
        dataset: what was read.
        collate: puts samples together.
        rows: positions of the batch's samples.
        split: which part of the data it is; empty where that is not known.
        copied: whether a worker process raised it, so that it is a copy with a traceback as its message.  Then the one
            that is raised here takes its place.
    """
    of = f" of `{split}`" if split else ""
    if type(error) is RuntimeError and "exited unexpectedly" in message_of(error):
        # Reading these rows again might end this process as well.
        return DataError(
            f"A worker process of the data loader ended while it read samples {some(rows)}{of}",
            expected="a dataset that neither ends its process nor needs more memory than there is",
            remedy="With `--runtime.workers 0` the dataset is read in the main process, which shows why",
        )
    found, note = _found(dataset, collate, rows)
    if isinstance(found or error, StopIteration):
        return DataError(f"The dataset raised StopIteration {note}{of}", expected="a sample, or another exception")
    mine = found if found is not None and copied else error
    mine.add_note(f"{note}{of}")
    return mine


def _found(
    dataset: Dataset[Any], collate: Callable[[list[Any]], Any], rows: Sequence[int]
) -> tuple[Exception | None, str]:
    """What is raised when the rows are read again, and with which of them."""
    samples = []
    for row in rows:
        try:
            samples.append(dataset[row])
        except Exception as error:
            return error, f"while reading sample {row}"
    if (found := _raised(collate, samples)) is None:
        return None, f"while reading samples {some(rows)}, which could be read the second time"
    # The shortest beginning of the batch that cannot be put together ends with the sample that does not fit.
    fine, failing = 0, len(samples)
    while failing - fine > 1:
        middle = (fine + failing) // 2
        again = _raised(collate, samples[:middle])
        fine, failing, found = (middle, failing, found) if again is None else (fine, middle, again)
    before = " with those before it in the batch" if failing > 1 else ""
    return found, f"while collating sample {rows[failing - 1]}{before}"


def _raised(collate: Callable[[list[Any]], Any], samples: list[Any]) -> Exception | None:
    try:
        collate(samples)
    except Exception as error:
        return error
    return None
