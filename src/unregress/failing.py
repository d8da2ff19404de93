"""Which sample it is that a dataset or a collate function fails with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch.utils.data import Dataset

from unregress.errors import DataError


def located(
    error: Exception, dataset: Dataset[Any], collate: Callable[[list[Any]], Any], rows: Sequence[int], split: str
) -> Exception:
    """The user's own exception, with a note that says which sample was being read.

    The rows are read again, one by one.  With worker processes, what these hand over is a copy of the exception,
    and the one that is raised here takes its place.

    Args:
        error: raised while the rows were read.
        dataset: what was read.
        collate: puts samples together.
        rows: positions of the batch's samples.
        split: which part of the data it is; empty where that is not known.
    """
    of = f" of `{split}`" if split else ""
    if "DataLoader worker" in str(error) and "exited unexpectedly" in str(error):
        # Reading these rows again might end this process as well.
        return DataError(
            f"A worker process of the data loader ended while it read samples {_some(rows)}{of}",
            expected="a dataset that neither ends its process nor needs more memory than there is",
            remedy="With `--runtime.workers 0` the dataset is read in the main process, which shows why",
        )
    found, note = _found(dataset, collate, rows)
    if isinstance(found or error, StopIteration):
        return DataError(f"The dataset raised StopIteration {note}{of}", expected="a sample, or another exception")
    # Without workers this is the exception that the user's code has raised itself.
    mine = error if found is None or "DataLoader worker" not in str(error) else found
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
        return None, f"while reading samples {_some(rows)}, which could be read the second time"
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


def _some(rows: Sequence[int]) -> str:
    return ", ".join(map(str, rows[:5])) + (f" and {len(rows) - 5} more" if len(rows) > 5 else "")
