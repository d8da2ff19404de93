"""From a dataset and an order of rows to batches that carry their index.

Two paths that give the same batches: *resident* datasets (`TensorDataset`, whose tensors may be
memory-mapped) are indexed a whole batch at a time; any other dataset streams through a `DataLoader`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset, default_collate

from unregress.data.failing_sample import located
from unregress.distributed.process_group import Team
from unregress.errors import DataError
from unregress.tasks.base import Task

Augment = Callable[[Any, Generator], Any]
"""Batched training augmentation: (batch, seeded CPU generator) -> batch, on the batch's device."""
Collate = Callable[[list[Any]], Any]


@dataclass(frozen=True)
class Batch:
    """One batch with its membership.  Only a `Task` looks into `data`."""

    index: Tensor
    """Positions in the dataset, `(n,)` int64, on the CPU."""
    forget: Tensor
    """True for the rows that are to be forgotten, `(n,)` bool, on the CPU."""
    data: Any
    """What the dataset and its collate function made; on the runtime's device."""
    is_padding: bool = False
    """Whether it only keeps a process without a share of its own in step, and counts for nothing."""

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
    """One view of one split: what to read, which rows are to be forgotten, how to batch them."""

    dataset: Dataset[Any]
    forget: Tensor
    """`(size,)` bool; all false for a held-out split."""
    collate: Collate | None = None
    augment: Augment | None = None
    excluded: Tensor | None = None
    """`(size,)` bool: rows that other requests forgot, which nothing may read; None where there are none."""
    name: str = ""
    """Which split it is, for messages."""

    def __len__(self) -> int:
        return len(self.forget)

    def fetch(self, chunks: list[Tensor], *, workers: int = 0, seed: int = 0) -> Iterator[Batch]:
        """The batches of the given rows, one per chunk, in order, before any batched augmentation.

        Args:
            chunks: rows, one tensor per batch.
            workers: worker processes of the streaming path.
            seed: of what the dataset draws in worker processes.

        Raises:
            DataError: a row is asked for that another request forgot.
        """
        if self.excluded is not None:
            # The last line of defence: rows are chosen from `request.members` already.
            for chunk in chunks:
                if bool(self.excluded[chunk].any()):
                    raise DataError(
                        f"{int(self.excluded[chunk].sum())} samples that another request forgot would be read again",
                        expected="rows among `request.members`",
                        remedy="Choose rows from `case.request.retain`, `.forget` or `.members`",
                    )
        # A sub-class that picks its samples in another way (a transform) must be asked sample by sample.
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
            # Without a generator of its own, a DataLoader draws from the user's global random state.
            generator=Generator().manual_seed(seed),
        )
        batches = iter(loader)
        for chunk in chunks:
            try:
                data = next(batches)
            except Exception as error:
                if workers:
                    # The traceback holds the iterator, and processes that are forked later would inherit its workers.
                    batches._shutdown_workers()  # type: ignore[attr-defined]
                collate = self.collate or default_collate
                found = located(error, self.dataset, collate, chunk.tolist(), self.name, copied=workers > 0)
                if found is error:
                    raise
                raise found from None
            yield Batch(chunk, self.forget[chunk], data)


def chunked(rows: Tensor, batch_size: int, *, shuffle: Generator | None = None) -> list[Tensor]:
    """Cut rows into batches, shuffled if a generator is given.

    A last batch of one row joins the batch before it when shuffling (that is, in training):
    batch normalisation cannot train on a single row, and dropping the row would never train it.

    >>> [len(chunk) for chunk in chunked(torch.arange(9), 4)]
    [4, 4, 1]
    >>> [len(chunk) for chunk in chunked(torch.arange(9), 4, shuffle=torch.Generator())]
    [4, 5]
    """
    if shuffle is None:
        return list(rows.split(batch_size))
    order = rows[torch.randperm(len(rows), generator=shuffle)]
    chunks = list(order.split(batch_size))
    if batch_size > 1 and len(chunks) > 1 and len(chunks[-1]) == 1:
        chunks[-2:] = [torch.cat(chunks[-2:])]
    return chunks


def own_rows(chunk: Tensor, team: Team) -> Tensor:
    """A process's share of a batch's rows, or else the first of them, which keeps it in step with the others."""
    own = team.share(chunk)
    return own if len(own) else chunk[:1]


def own_part(batch: Batch, chunk: Tensor, team: Team, task: Task[Any]) -> Batch:
    """A process's share of a batch, of which all of the chunk or only that share was read.

    Args:
        batch: as it was read.
        chunk: the rows of the whole batch.
        team: the processes that share it.
        task: selects rows.
    """
    places = own_rows(torch.arange(len(chunk)), team)
    if len(batch.index) > len(places):
        data = task.select(batch.data, places.to(task.target(batch.data).device))
        batch = Batch(batch.index[places], batch.forget[places], data)
    return replace(batch, is_padding=not len(team.share(chunk)))


def read_targets(source: Source, task: Task[Any], rows: Tensor | None = None) -> Tensor:
    """The targets of a source's rows, in order; shape `(n, *out)`, on the CPU.

    Args:
        source: what to read, without augmentation.
        task: how to find the target in a batch.
        rows: which rows; None for all.
    """
    wanted = torch.arange(len(source)) if rows is None else rows
    found, done = torch.empty(0), 0
    for batch in source.fetch(chunked(wanted, 4096)):
        target = task.target(batch.data).detach()
        if not done:
            # Made once, and not joined from pieces: see `unregress.metrics.collect.collect`.
            found = torch.empty((len(wanted), *target.shape[1:]), dtype=target.dtype)
        found[done : done + len(target)] = target
        done += len(target)
    return found
