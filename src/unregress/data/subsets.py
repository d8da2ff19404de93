"""Some samples of a dataset, and a case about some samples of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.utils.data import Dataset, Subset, TensorDataset

from unregress.data.case import Case
from unregress.data.request import ForgetRequest, Index


def subset(dataset: Dataset[Any], rows: Sequence[int]) -> Dataset[Any]:
    """Some rows of a dataset: a copy of resident tensors, which stay fast to read, or else a view."""
    if isinstance(dataset, TensorDataset) and type(dataset).__getitem__ is TensorDataset.__getitem__:
        chosen = torch.tensor(rows)
        return TensorDataset(*(tensor[chosen] for tensor in dataset.tensors))
    return Subset(dataset, rows)


def part_of(case: Case, rows: Sequence[int] | Index, forget: Sequence[int] = (0,), reason: str = "none") -> Case:
    """A case of its own about some of the training samples, none of which is known to be like held-out ones.

    Args:
        case: the whole.
        rows: which samples, as positions in the whole.
        forget: which of them are to be forgotten, as positions among them.
        reason: why.
    """
    chosen = [int(row) for row in rows]
    return replace(
        case,
        request=ForgetRequest(size=len(chosen), forget=tuple(forget), reason=reason),
        train=subset(case.train, chosen),
        train_eval=None if case.train_eval is None else subset(case.train_eval, chosen),
        ids=None,
        validation_forget_like=None,
        test_forget_like=None,
    )
