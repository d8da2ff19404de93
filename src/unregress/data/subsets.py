"""Subsets: some samples of a dataset, and a case about some of another case's training samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.utils.data import Dataset, Subset, TensorDataset

from unregress.data.case import Case
from unregress.data.request import ForgetRequest, Index


def subset(dataset: Dataset[Any], rows: Sequence[int]) -> Dataset[Any]:
    """Some rows of a dataset: a copy of a `TensorDataset`'s tensors, which stay fast to read, or else a view."""
    if isinstance(dataset, TensorDataset) and type(dataset).__getitem__ is TensorDataset.__getitem__:
        chosen = torch.tensor(rows)
        return TensorDataset(*(tensor[chosen] for tensor in dataset.tensors))
    return Subset(dataset, rows)


def part_of(case: Case, rows: Sequence[int] | Index, request: ForgetRequest) -> Case:
    """A case about some of the training samples, with a request of its own and all held-out samples retained.

    Args:
        case: the whole.
        rows: positions of the samples in the whole; they may repeat.
        request: which of these samples to forget, by position among `rows`.
    """
    chosen = [int(row) for row in rows]
    train_eval, weights = case.splits.train_eval, case.splits.weight_array
    splits = replace(
        case.splits,
        train=subset(case.splits.train, chosen),
        train_eval=None if train_eval is None else subset(train_eval, chosen),
        ids=None,
        validation_ids=None,
        test_ids=None,
        subjects=None if case.splits.subjects is None else [case.splits.subjects[row] for row in chosen],
        columns={},
        weights=None if weights is None else weights[chosen],
    )
    return Case(task=case.task, splits=splits, request=request)
