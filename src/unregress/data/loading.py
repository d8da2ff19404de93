"""Read batches of given rows from a dataset; each batch carries its rows' positions and which are to be forgotten.

Two paths give the same batches: a *resident* dataset (`TensorDataset`, whose tensors may be memory-mapped) is indexed a
whole batch at a time; any other dataset streams through a `DataLoader`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset, default_collate

from unregress.data.failing_sample import located
from unregress.distributed.process_group import ProcessGroup
from unregress.errors import DataError
from unregress.tasks.base import Task

Augment = Callable[[Any, Generator], Any]
"""Batched training augmentation: (batch, seeded CPU generator) -> batch, on the batch's device."""
Collate = Callable[[list[Any]], Any]
"""Puts a list of samples together to a batch."""


@dataclass(frozen=True)
class Batch:
    """One batch, and which of its rows are to be forgotten.  Only a `Task` looks into `data`."""

    index: Tensor
    """Positions in the dataset, `(n,)` int64, on the CPU."""
    forget: Tensor
    """True for the rows that are to be forgotten, `(n,)` bool, on the CPU."""
    data: Any
    """The collated samples, on the runtime's device."""
    is_padding: bool = False
    """Whether a process without a share of the batch reads it only to stay in step; its losses do not count."""

    @property
    def forgotten(self) -> Tensor:
        """Positions of the forget rows within this batch."""
        return self.forget.nonzero().squeeze(1)

    @property
    def retained(self) -> Tensor:
        """Positions of the retain rows within this batch."""
        return (~self.forget).nonzero().squeeze(1)


@dataclass(frozen=True)
class Source:
    """One view of one split: what to read, which rows are to be forgotten, and how to collate them."""

    dataset: Dataset[Any]
    forget: Tensor
    """True for each row to forget, `(size,)` bool; all false for a held-out split."""
    collate: Collate | None = None
    augment: Augment | None = None
    excluded: Tensor | None = None
    """True for each row that other requests forgot and that must not be read, `(size,)` bool; None for no such row."""
    name: str = ""
    """The split's name in messages."""

    def __len__(self) -> int:
        return len(self.forget)

    def fetch(self, chunks: list[Tensor], *, workers: int = 0, seed: int = 0) -> Iterator[Batch]:
        """Read the given rows, one batch per chunk, in order, before any batched augmentation.

        Args:
            chunks: positions of the rows, one tensor per batch.
            workers: worker processes of the streaming path.
            seed: seed of what the dataset draws in worker processes.

        Raises:
            DataError: a row was forgotten by another request.
        """
        self._require_allowed(chunks)
        # A subclass may change its samples in `__getitem__`, and must be read sample by sample.
        plain = type(self.dataset).__getitem__ is TensorDataset.__getitem__
        if isinstance(self.dataset, TensorDataset) and plain and self.collate is None:
            tensors = self.dataset.tensors
            for chunk in chunks:
                yield Batch(chunk, self.forget[chunk], [tensor[chunk] for tensor in tensors])
            return
        loader = DataLoader(
            self.dataset,
            batch_sampler=[chunk.tolist() for chunk in chunks],
            collate_fn=self.collate or default_collate,
            num_workers=workers,
            # Without a generator, a DataLoader draws from the global random state.
            generator=Generator().manual_seed(seed),
        )
        batches = iter(loader)
        for chunk in chunks:
            try:
                data = next(batches)
            except Exception as error:
                if workers:
                    # The traceback keeps the iterator alive, and processes forked later would inherit its workers.
                    batches._shutdown_workers()  # type: ignore[attr-defined]
                collate = self.collate or default_collate
                found = located(error, self.dataset, collate, chunk.tolist(), self.name, copied=workers > 0)
                if found is error:
                    raise
                raise found from None
            yield Batch(chunk, self.forget[chunk], data)

    def _require_allowed(self, chunks: list[Tensor]) -> None:
        """Refuse rows that other requests forgot: a last check, since callers choose rows from `request.members`."""
        if self.excluded is None:
            return
        for chunk in chunks:
            if forgotten := int(self.excluded[chunk].sum()):
                raise DataError(
                    f"{forgotten} samples that another request forgot would be read again",
                    expected="rows among `request.members`",
                    remedy="Choose rows from `case.requested.retain`, `.forget` or `.members`",
                )


def chunked(rows: Tensor, batch_size: int, *, shuffle: Generator | None = None) -> list[Tensor]:
    """Cut rows into batches, shuffled if a generator is given.

    When shuffling, that is in training, a last batch of one row joins the batch before it: batch normalisation cannot
    train on a single row, and a dropped row would not be trained on.

    Args:
        rows: positions, `(n,)`.
        batch_size: rows of a batch.
        shuffle: draws the order; None keeps it.

    >>> [len(chunk) for chunk in chunked(torch.arange(9), 4)]
    [4, 4, 1]
    >>> [len(chunk) for chunk in chunked(torch.arange(9), 4, shuffle=torch.Generator())]
    [4, 5]
    """
    if shuffle is None:
        return list(rows.split(batch_size))
    return batched(rows[torch.randperm(len(rows), generator=shuffle)], batch_size)


def batched(order: Tensor, batch_size: int) -> list[Tensor]:
    """Cut rows into batches to train on, in their order; a last batch of one row joins the batch before it.

    Args:
        order: positions, `(n,)`.
        batch_size: rows of a batch.
    """
    chunks = list(order.split(batch_size))
    if batch_size > 1 and len(chunks) > 1 and len(chunks[-1]) == 1:
        chunks[-2:] = [torch.cat(chunks[-2:])]
    return chunks


def own_rows(chunk: Tensor, group: ProcessGroup) -> Tensor:
    """A process's share of a batch's rows; if that is empty the first row, which keeps it in step with the others."""
    own = group.share(chunk)
    return own if len(own) else chunk[:1]


def own_part(batch: Batch, chunk: Tensor, group: ProcessGroup, task: Task[Any]) -> Batch:
    """A process's share of a batch.

    Args:
        batch: the whole batch, or already the share alone.
        chunk: positions of the whole batch's rows.
        group: the processes that share the batch.
        task: selects rows of a batch.
    """
    places = own_rows(torch.arange(len(chunk)), group)
    if len(batch.index) > len(places):
        data = task.select(batch.data, places.to(task.target(batch.data).device))
        batch = Batch(batch.index[places], batch.forget[places], data)
    return replace(batch, is_padding=not len(group.share(chunk)))


def read_targets(source: Source, task: Task[Any], rows: Tensor | None = None) -> Tensor:
    """The targets of some rows as the model is trained on them, in their order; shape `(n, *out)`, on the CPU.

    Args:
        source: the data; no augmentation is applied.
        task: finds the target in a batch.
        rows: positions of the rows; None for all.
    """
    wanted = torch.arange(len(source)) if rows is None else rows
    found, done = torch.empty(0), 0
    for batch in source.fetch(chunked(wanted, 4096)):
        target = task.target(batch.data).detach()
        if not done:
            # Allocated once: joining pieces at the end would take twice the memory.
            found = torch.empty((len(wanted), *target.shape[1:]), dtype=target.dtype)
        found[done : done + len(target)] = target
        done += len(target)
    return found
