"""Find the sample that a dataset or a collate function fails on."""

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
    """The exception of the user's dataset, with a note that names the sample that was being read.

    The rows are read again, one by one.

    Args:
        error: raised while a batch was read.
        dataset: the dataset that was read.
        collate: its collate function.
        rows: positions of the batch's samples.
        split: the dataset's name for the note; empty if it is not known.
        copied: whether a worker process raised `error`, which then is a copy with a traceback as its message.  If
            reading the rows again raises too, that exception is returned in its place.

    Returns:
        The exception to raise: `error`, the one raised by reading again, or a `DataError` if a worker process died or
        `StopIteration` was raised, which would end an epoch early.
    """
    of = f" of `{split}`" if split else ""
    if type(error) is RuntimeError and "exited unexpectedly" in message_of(error):
        # Reading these rows again might end this process as well.
        return DataError(
            f"A worker process of the data loader died while it read samples {some(rows)}{of}",
            expected="a dataset that neither ends its process nor needs more memory than is available",
            remedy="Use `--runtime.workers 0`: the dataset is then read in the main process, which shows the cause",
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
    """Read the rows again: the exception that this raises, if any, and a note that names the row."""
    samples = []
    for row in rows:
        try:
            samples.append(dataset[row])
        except Exception as error:
            return error, f"while reading sample {row}"
    if (found := _raised(collate, samples)) is None:
        return None, f"while reading samples {some(rows)}, which were read without an error the second time"
    # Bisect: the shortest prefix of the batch that cannot be collated ends with the sample that does not fit.
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
